package access

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/clock"
)

// Door signs people in to the console and says who asks. It works through the database,
// and without it: then by the roll, for what the doctor can do alone. A session opened
// without the database is written into it as soon as it answers, if its person is active
// there; one that was ended meanwhile is ended there; see ADR 0028.
type Door struct {
	store *Store
	keys  *Passkeys
	cfg   DoorConfig
	now   func() time.Time

	settling sync.Mutex

	mu         sync.Mutex
	roll       Roll
	sessions   map[string]*seat
	ceremonies *once[ceremonyOf]
	links      *once[link]
	codes      *once[newCodes]
	tries      map[string]tried
	wrong      tried
	failedAt   time.Time // when the database last did not answer
	owed       bool      // codes or counts were used up that it does not know of
}

// DoorConfig is what a Door needs.
type DoorConfig struct {
	// File keeps the roll.
	File string
	// LocalKey is the API key that stands for the person at this machine as long as there
	// are no two people who may approve; nil or "" is none.
	LocalKey func() string
	Logger   *slog.Logger
	Clock    clock.Clock
}

// seat is a session as it is known here.
type seat struct {
	hash           [sha256.Size]byte
	who            Principal
	madeAt, seenAt time.Time
	// sealed is the secret of the codes under the token, if it was opened here.
	sealed []byte
	// pending is not in the database yet; local never is. ended is not ended there yet.
	pending      *visit
	local, ended bool
	client       string // what the program calls itself that opened it here
	touched      bool   // seen since the database was told
}

// Bounds.
const (
	seatsMax = 1000
	// rollEvery is how old the roll gets while the database answers.
	rollEvery = 10 * time.Second
	// askDoor is how long somebody who is known already waits for the database.
	askDoor = 500 * time.Millisecond
	// downFor is for how long a database that did not answer is not asked again for
	// somebody who is known already.
	downFor = time.Second
	linkFor = 15 * time.Minute
	// wrongMax bounds failed sign-ins a minute, of all together.
	wrongMax = 30
)

type tried struct {
	n  int
	at time.Time
}

// ceremonyOf is a ceremony that was begun; operator is empty for a sign-in, invitation
// that of who is not in yet.
type ceremonyOf struct {
	Ceremony
	operator, invitation string
}

type link struct {
	operator string
	method   Method
}

type newCodes struct {
	file                           KeyFile
	credential, secret, invitation string
}

// NewDoor opens a door; keys is nil where no passkeys can be made.
func NewDoor(s *Store, keys *Passkeys, cfg DoorConfig) *Door {
	d := &Door{store: s, keys: keys, cfg: cfg, now: cfg.Clock.Now, sessions: map[string]*seat{}, tries: map[string]tried{}}
	d.ceremonies, d.links, d.codes = newOnce[ceremonyOf](ceremonyFor), newOnce[link](linkFor), newOnce[newCodes](linkFor)
	if r, err := readRoll(cfg.File); err == nil {
		d.roll = r
	}
	return d
}

// Run keeps the roll, and brings the database up to date, until ctx ends.
func (d *Door) Run(ctx context.Context) {
	tick := time.NewTicker(rollEvery)
	defer tick.Stop()
	for {
		d.Refresh(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Refresh reads the roll and settles what is open.
func (d *Door) Refresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	if d.settle(ctx) != nil {
		return // the database does not answer; others say so
	}
	r, err := d.store.Roll(ctx)
	if err != nil {
		return // as above
	}
	d.mu.Lock()
	r.newer(&d.roll)
	d.roll = r
	d.mu.Unlock()
	if err := r.write(d.cfg.File); err != nil {
		d.cfg.Logger.WarnContext(ctx, "who may sign in without the database cannot be written down", slog.Any("error", err))
	}
}

// Visit is somebody who has signed in.
type Visit struct {
	Principal
	Token string
	// Offline says that the database does not know of it, or did not answer just now: the
	// pay plane will not take its word.
	Offline bool
	// Local is the person at this machine, whoever it is.
	Local  bool
	MadeAt time.Time
	// EndsAt is when it ends if nothing is done in it.
	EndsAt time.Time
}

// Fresh reports whether the person signed in within the last five minutes: what changes
// how they sign in asks for that.
func (v *Visit) Fresh(now time.Time) bool { return now.Sub(v.MadeAt) < 5*time.Minute }

// CSRF is what a page shows to prove that it is the console's own: it follows from the
// token, which no page can read.
func (v *Visit) CSRF() string {
	m := hmac.New(sha256.New, []byte(v.Token))
	m.Write([]byte("moneta-csrf/1"))
	return b64.EncodeToString(m.Sum(nil))
}

var errOver = fault.New(fault.Unauthenticated, "the session is over; sign in again")

// brief bounds what is asked of the database while somebody waits: one that stands still
// is as good as dead.
func brief(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, lookupTimeout)
}

// unavailable tells a database that does not answer from one that says no.
func unavailable(err error) bool {
	return errors.Is(err, fault.DatabaseUnavailable) || errors.Is(err, fault.Timeout)
}

// Look finds whose session it is. present says that the person does something: the
// session goes on from here.
func (d *Door) Look(ctx context.Context, token string, present bool) (Visit, error) {
	prefix, ok := splitAs(sessionHead, token)
	if !ok {
		return Visit{}, errOver
	}
	sum := digest(token)
	if d.dirty() && !d.down() {
		_ = d.settle(ctx) // what is open stays so
	}
	d.mu.Lock()
	s := d.sessions[prefix]
	if s != nil && (s.ended || subtle.ConstantTimeCompare(s.hash[:], sum[:]) != 1) {
		d.mu.Unlock()
		return Visit{}, errOver
	}
	here := s != nil && (s.local || s.pending != nil)
	d.mu.Unlock()
	if here || s != nil && d.down() {
		return d.here(s, token, prefix, present)
	}
	who, err := d.ask(ctx, token, present, s != nil)
	switch {
	case err == nil:
		return d.remember(token, prefix, sum, &who, present), nil
	case !unavailable(err):
		d.mu.Lock()
		delete(d.sessions, prefix)
		d.mu.Unlock()
		return Visit{}, err
	case s != nil:
		return d.here(s, token, prefix, present)
	}
	return Visit{}, fault.New(fault.DatabaseUnavailable, "the database does not answer, and this session is not known here: sign in again, which works without it").WithCause(err)
}

func (d *Door) ask(ctx context.Context, token string, present, known bool) (Principal, error) {
	if known {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, askDoor)
		defer cancel()
	}
	who, err := d.store.AuthenticateSession(ctx, token, present)
	if err != nil && unavailable(err) {
		d.mu.Lock()
		d.failedAt = d.now()
		d.mu.Unlock()
	}
	return who, err
}

// down reports whether the database did not answer a moment ago.
func (d *Door) down() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.failedAt.IsZero() && d.now().Sub(d.failedAt) < downFor
}

// here answers from what is known in this process.
func (d *Door) here(s *seat, token, prefix string, present bool) (Visit, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	if d.sessions[prefix] != s || s.ended || now.Sub(s.seenAt) >= SessionIdle || now.Sub(s.madeAt) >= SessionMax || s.local && d.roll.FourEyes {
		delete(d.sessions, prefix)
		return Visit{}, errOver
	}
	if p := d.roll.named(s.who.Operator); s.pending != nil && p == nil {
		delete(d.sessions, prefix)
		return Visit{}, errOver
	}
	if present {
		s.seenAt, s.touched = now, true
	}
	return d.visit(s, token, !s.local), nil
}

func (d *Door) visit(s *seat, token string, offline bool) Visit {
	ends := s.seenAt.Add(SessionIdle)
	if last := s.madeAt.Add(SessionMax); last.Before(ends) {
		ends = last
	}
	return Visit{Principal: s.who, Token: token, Offline: offline, Local: s.local, MadeAt: s.madeAt.UTC(), EndsAt: ends.UTC()}
}

// remember keeps what the database said a moment ago.
func (d *Door) remember(token, prefix string, sum [sha256.Size]byte, who *Principal, present bool) Visit {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	d.failedAt = time.Time{}
	s := d.sessions[prefix]
	if s == nil {
		s = d.sit(prefix, &seat{hash: sum})
		s.madeAt = now.Add(-who.sessionAge)
	}
	s.who, s.touched = *who, false
	if s.seenAt = now.Add(-who.unseen); present {
		s.seenAt = now
	}
	return d.visit(s, token, false)
}

// sit makes room for a session: those that are over go, and then the one that nobody
// has used for longest.
func (d *Door) sit(prefix string, s *seat) *seat {
	if len(d.sessions) >= seatsMax {
		var oldest string
		for p, o := range d.sessions {
			if d.now().Sub(o.seenAt) >= SessionIdle {
				delete(d.sessions, p)
			} else if oldest == "" || o.seenAt.Before(d.sessions[oldest].seenAt) {
				oldest = p
			}
		}
		if len(d.sessions) >= seatsMax {
			delete(d.sessions, oldest)
		}
	}
	d.sessions[prefix] = s
	return s
}

// enter opens a session: in the database, or here until it answers.
func (d *Door) enter(ctx context.Context, v *visit, who Principal, offline bool) (Visit, error) {
	v.madeAt = d.now().UTC()
	s := &seat{hash: digest(v.token), who: who, madeAt: v.madeAt, seenAt: v.madeAt, sealed: v.sealed, client: v.client}
	s.who.session, s.who.Method = v.prefix(), v.method
	switch {
	case who.Operator == Local:
		s.local = true
	case offline:
		s.pending = v
	default:
		asking, cancel := brief(ctx)
		defer cancel()
		out, err := d.store.open(asking, v)
		if err != nil && !unavailable(err) {
			return Visit{}, err
		}
		if err != nil {
			s.pending = v
		} else {
			s.who.Role = out.Role
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sit(v.prefix(), s)
	return d.visit(s, v.token, s.pending != nil), nil
}

// SignIn opens a session by pass and code. name is what the person says they are
// called, if they say so.
func (d *Door) SignIn(ctx context.Context, name, pass, code, client string) (Visit, error) {
	if err := d.patience(); err != nil {
		return Visit{}, err
	}
	v, err := d.signIn(ctx, name, pass, code, client)
	d.counted(err)
	return v, err
}

func (d *Door) signIn(ctx context.Context, name, pass, code, client string) (Visit, error) {
	if prefix, ok := splitAs(passHead, pass); ok && name != "" {
		d.mu.Lock()
		p := d.roll.by(func(p *RollPerson) bool { return p.PassPrefix == prefix })
		d.mu.Unlock()
		if p != nil && p.Name != name {
			return Visit{}, fault.New(fault.Unauthenticated, "")
		}
	}
	asking, cancel := brief(ctx)
	defer cancel()
	out, err := d.store.SignIn(asking, pass, code, client)
	if err == nil {
		return d.Look(ctx, out.Token, false)
	}
	if !unavailable(err) {
		return Visit{}, err
	}
	d.mu.Lock()
	d.failedAt = d.now()
	if err := d.rollGood(); err != nil {
		d.mu.Unlock()
		return Visit{}, err
	}
	p, secret, err := d.roll.passHere(pass, code, d.now(), d.try)
	var who Principal
	if err == nil {
		who, d.owed = p.principal("", TOTP), true
		delete(d.tries, p.Name)
	}
	d.mu.Unlock()
	if err != nil {
		return Visit{}, err
	}
	d.keepRoll(ctx)
	return d.enter(ctx, newVisit(who.Operator, TOTP, client, secret), who, true)
}

// rollGood refuses a roll that is too old. Callers hold mu.
func (d *Door) rollGood() error {
	if d.now().Sub(d.roll.ReadAt) > RollFor {
		return fault.New(fault.DatabaseUnavailable, "the database does not answer, and who may sign in without it is not known here since a day or more")
	}
	return nil
}

// keepRoll writes down that something in it was used up.
func (d *Door) keepRoll(ctx context.Context) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.roll.write(d.cfg.File); err != nil {
		d.cfg.Logger.WarnContext(ctx, "a used code is known to this process only", slog.Any("error", err))
	}
}

// try counts one try of a code without the database. Callers hold mu.
func (d *Door) try(name string) error {
	t := d.tries[name]
	if t.n >= codesFree && d.now().Sub(t.at) < time.Minute {
		return fault.New(fault.RateLimited, "too many wrong codes; wait a minute").WithRetryAfter(time.Minute)
	}
	d.tries[name] = tried{t.n + 1, d.now()}
	return nil
}

// patience bounds the failed sign-ins of everybody together.
func (d *Door) patience() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.now().Sub(d.wrong.at) >= time.Minute {
		d.wrong = tried{0, d.now()}
	}
	if d.wrong.n >= wrongMax {
		return fault.New(fault.RateLimited, "too many failed sign-ins here; wait a minute, or take a one-time link: moneta console link").WithRetryAfter(time.Minute)
	}
	return nil
}

func (d *Door) counted(err error) {
	if err != nil && !unavailable(err) {
		d.mu.Lock()
		d.wrong.n++
		d.mu.Unlock()
	}
}

var errNoPasskeys = fault.New(fault.NotFound, "there are no passkeys at this address: open the console at its own name, as moneta console prints it")

// BeginPasskey asks the browser for whichever passkey the person picks. The number
// names the ceremony, once.
func (d *Door) BeginPasskey() (id string, options json.RawMessage, err error) {
	if d.keys == nil {
		return "", nil, errNoPasskeys
	}
	c, err := d.keys.ask()
	if err != nil {
		return "", nil, err
	}
	return d.ceremonies.put(d.now(), ceremonyOf{Ceremony: c}), c.Options, nil
}

// EndPasskey opens a session by the browser's answer.
func (d *Door) EndPasskey(ctx context.Context, id string, answer []byte, client string) (Visit, error) {
	if err := d.patience(); err != nil {
		return Visit{}, err
	}
	v, err := d.endPasskey(ctx, id, answer, client)
	d.counted(err)
	return v, err
}

func (d *Door) endPasskey(ctx context.Context, id string, answer []byte, client string) (Visit, error) {
	c, ok := d.ceremonies.take(d.now(), id)
	if !ok || c.operator != "" || c.invitation != "" || d.keys == nil {
		return Visit{}, errCeremony
	}
	offline := d.down()
	asking, cancel := brief(ctx)
	defer cancel()
	find := func(_, handle []byte) (*holder, error) {
		if !offline {
			h, err := d.store.holder(asking, "handle", uuidOf(handle), d.keys.origin)
			if err == nil || !unavailable(err) {
				return h, err
			}
		}
		offline = true
		d.mu.Lock()
		defer d.mu.Unlock()
		d.failedAt = d.now()
		if err := d.rollGood(); err != nil {
			return nil, err
		}
		p := d.roll.by(func(p *RollPerson) bool { return subtle.ConstantTimeCompare(p.Handle, handle) == 1 })
		if p == nil {
			return nil, errPasskey
		}
		return d.roll.holder(p, d.keys.origin), nil
	}
	h, k, err := d.keys.answered(&c.Ceremony, answer, find)
	if err != nil {
		return Visit{}, err
	}
	if !offline {
		if err := d.store.usedPasskey(asking, &k); err != nil && !unavailable(err) {
			return Visit{}, err
		} else if err != nil {
			offline = true
		}
	}
	v := newVisit(h.name, Passkey, client, "")
	if !offline {
		out, err := d.store.open(asking, v)
		if err == nil {
			return d.Look(ctx, out.Token, false)
		}
		if !unavailable(err) {
			return Visit{}, err
		}
	}
	who, err := d.countHere(ctx, h.name, &k)
	if err != nil {
		return Visit{}, err
	}
	return d.enter(ctx, v, who, true)
}

var errCeremony = fault.New(fault.Unauthenticated, "this took too long, or was answered already: begin again")

// countHere takes the passkey's count into the roll, if nobody else has with it.
func (d *Door) countHere(ctx context.Context, name string, k *PasskeyRecord) (Principal, error) {
	d.mu.Lock()
	p := d.roll.named(name)
	err := error(errPasskey)
	var who Principal
	for i := 0; p != nil && i < len(p.Passkeys); i++ {
		if mine := &p.Passkeys[i]; subtle.ConstantTimeCompare(mine.ID, k.ID) == 1 {
			if err = counted(mine.SignCount, k.SignCount); err == nil {
				mine.SignCount, who, d.owed = k.SignCount, p.principal("", Passkey), true
			}
		}
	}
	d.mu.Unlock()
	if err == nil {
		d.keepRoll(ctx)
	}
	return who, err
}

func uuidOf(handle []byte) (id [16]byte) {
	copy(id[:], handle)
	return id
}

// randomID names something that only its maker shall be able to name.
func randomID() string {
	raw := make([]byte, 24)
	_, _ = rand.Read(raw) // never fails: it ends the program instead
	return b64.EncodeToString(raw)
}

// once keeps a bounded number of things that are taken once, for some time. When it is
// full the oldest goes: who floods it takes nobody's place for long.
type once[T any] struct {
	mu    sync.Mutex
	lasts time.Duration
	order []string
	held  map[string]held[T]
}

type held[T any] struct {
	what T
	at   time.Time
}

const onceMax = 256

func newOnce[T any](lasts time.Duration) *once[T] {
	return &once[T]{lasts: lasts, held: map[string]held[T]{}}
}

// put keeps it under a new name that nobody guesses.
func (o *once[T]) put(now time.Time, what T) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.order) >= onceMax {
		delete(o.held, o.order[0])
		o.order = o.order[1:]
	}
	id := randomID()
	o.held[id], o.order = held[T]{what, now}, append(o.order, id)
	return id
}

// take gives it out, and never again.
func (o *once[T]) take(now time.Time, id string) (what T, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	h, ok := o.held[id]
	delete(o.held, id)
	return h.what, ok && now.Sub(h.at) < o.lasts
}
