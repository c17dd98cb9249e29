package access

import (
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/pquerna/otp"

	"github.com/moneta-pay/moneta/fault"
)

// One-time links, for who is at the machine: whoever has the token of the watch makes
// one, for the local person or with a signature for an operator.

// LinkStatement is what an operator signs for a link.
func LinkStatement(origin, at string) []byte {
	return []byte("moneta-console/1\n" + origin + "\n" + at + "\n")
}

// LocalLink makes a link for the person at this machine. As soon as there are two people
// who may approve there is no such person any more: fault.Forbidden.
func (d *Door) LocalLink(ctx context.Context) (string, error) {
	d.Refresh(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.roll.ReadAt.IsZero() {
		return "", fault.New(fault.DatabaseUnavailable, "who the people are here is not known before the database has answered once")
	}
	if d.roll.FourEyes {
		return "", fault.New(fault.Forbidden, "there are people who may approve here: sign in as one of them, or take a link with your key, --as FILE")
	}
	return d.links.put(d.now(), link{operator: Local}), nil
}

// SignedLink makes a link for the operator whose key has signed LinkStatement, at most a
// minute ago.
func (d *Door) SignedLink(ctx context.Context, origin, public, signature, at string) (string, error) {
	when, err := time.Parse(time.RFC3339, at)
	if err != nil || d.now().Sub(when).Abs() > skewMax {
		return "", fault.New(fault.Unauthenticated, "the time of the signature is more than a minute from ours; set the clock and ask again")
	}
	if !VerifyText(public, signature, LinkStatement(origin, at)) {
		return "", fault.New(fault.Unauthenticated, "the signature does not fit")
	}
	d.Refresh(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.rollGood(); err != nil {
		return "", err
	}
	p := d.roll.by(func(p *RollPerson) bool {
		return len(p.PublicKey) > 0 && subtle.ConstantTimeCompare([]byte(b64.EncodeToString(p.PublicKey)), []byte(public)) == 1
	})
	if p == nil {
		return "", fault.New(fault.Unauthenticated, "no active operator has this key")
	}
	return d.links.put(d.now(), link{p.Name, Ed25519}), nil
}

// OpenLink opens a session by a link, which counts once. It has 192 random bits, so that
// tries are not counted: here somebody gets in whom others lock out of the rest.
func (d *Door) OpenLink(ctx context.Context, id, client string) (Visit, error) {
	l, ok := d.links.take(d.now(), id)
	if !ok {
		return Visit{}, fault.New(fault.Unauthenticated, "this link was used, or is older than 15 minutes: moneta console link prints another one")
	}
	if l.operator == Local {
		who := Principal{Operator: Local, Role: Chief, Scopes: scopesOf(true)}
		return d.enter(ctx, newVisit(Local, Ed25519, client, ""), who, true)
	}
	d.mu.Lock()
	p := d.roll.named(l.operator)
	var who Principal
	if p != nil {
		who = p.principal("", l.method)
	}
	d.mu.Unlock()
	if p == nil {
		return Visit{}, errOver
	}
	return d.enter(ctx, newVisit(l.operator, l.method, client, ""), who, false)
}

// Bearer is what the pay plane takes for this visit: an API key or session, or "" while
// it would take none.
func (d *Door) Bearer(v *Visit) string {
	switch {
	case v.Local && d.cfg.LocalKey != nil:
		return d.cfg.LocalKey()
	case v.Local || v.Offline:
		return ""
	}
	return v.Token
}

// Sessions lists the person's own sessions, or for an admin those of the tenant.
func (d *Door) Sessions(ctx context.Context, v *Visit) ([]OpenSession, error) {
	var all []OpenSession
	var err error
	ctx, cancel := brief(ctx)
	defer cancel()
	if !v.Local {
		of := v.Operator
		if v.Role.Covers(Chief) {
			of = ""
		}
		if all, err = d.store.Sessions(ctx, v.Tenant, of); err != nil && !unavailable(err) {
			return nil, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, s := range d.sessions {
		known := slices.ContainsFunc(all, func(o OpenSession) bool { return o.ID == id })
		mine := s.who.Operator == v.Operator || v.Role.Covers(Chief) && s.who.Tenant == v.Tenant
		// While the database answers it alone knows of those that are in it.
		if s.ended || known || !mine || err == nil && s.pending == nil && !s.local {
			continue
		}
		seen := d.visit(s, "", false)
		all = append(all, OpenSession{ID: id, Operator: s.who.Operator, Method: s.who.Method, Client: s.client, MadeAt: s.madeAt, SeenAt: s.seenAt, EndsAt: seen.EndsAt})
	}
	all = slices.DeleteFunc(all, func(o OpenSession) bool { s := d.sessions[o.ID]; return s != nil && s.ended })
	slices.SortFunc(all, func(a, b OpenSession) int { return cmp.Or(b.MadeAt.Compare(a.MadeAt), cmp.Compare(a.ID, b.ID)) })
	return all, nil
}

// End ends a session of the person's own, or as an admin anybody's of the tenant: here
// at once, elsewhere within a second, or as soon as the database answers.
func (d *Door) End(ctx context.Context, v *Visit, id string) error {
	var err error = fault.New(fault.NotFound, "no open session of yours has this id")
	ctx, cancel := brief(ctx)
	defer cancel()
	if !v.Local {
		err = d.store.EndSession(ctx, &v.Principal, id)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.sessions[id]
	if s == nil || s.who.Operator != v.Operator && (!v.Role.Covers(Chief) || s.who.Tenant != v.Tenant) {
		return err
	}
	switch {
	case err == nil:
		delete(d.sessions, id)
		return nil
	case s.local || unavailable(err) || s.pending != nil:
		s.ended, s.touched = true, true
		return nil
	}
	return err
}

// SignOut ends the visit itself.
func (d *Door) SignOut(ctx context.Context, v *Visit) error { return d.End(ctx, v, v.session) }

// dirty reports whether there is something that the database does not know yet.
func (d *Door) dirty() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.owed {
		return true
	}
	for _, s := range d.sessions {
		if !s.local && (s.pending != nil || s.ended || s.touched) {
			return true
		}
	}
	return false
}

// settle tells the database what happened without it. Somebody who is disabled there
// gets no session, and loses the one that he has here.
func (d *Door) settle(ctx context.Context) error {
	if !d.settling.TryLock() {
		return nil
	}
	defer d.settling.Unlock()
	ctx, cancel := context.WithTimeout(ctx, askDoor)
	defer cancel()
	type open struct {
		id string
		seat
	}
	var all []open
	d.mu.Lock()
	for id, s := range d.sessions {
		if !s.local && (s.pending != nil || s.ended || s.touched) {
			all = append(all, open{id, *s})
		}
	}
	now := d.now()
	d.mu.Unlock()
	for _, o := range all {
		gone := o.ended
		var err error
		if o.pending != nil && !o.ended {
			_, err = d.store.open(ctx, o.pending)
			if gone = err != nil && !unavailable(err); gone {
				err = nil
			}
		}
		if err == nil && !gone {
			err = d.store.saw(ctx, o.id, now.Sub(o.seenAt))
		}
		if err == nil && o.ended && o.pending == nil {
			err = d.store.end(ctx, o.id, o.who.Operator)
		}
		d.mu.Lock()
		if err != nil {
			d.failedAt = d.now()
			d.mu.Unlock()
			return err
		}
		if s := d.sessions[o.id]; s != nil && gone {
			delete(d.sessions, o.id)
		} else if s != nil {
			s.pending = nil
			s.touched = s.touched && !s.seenAt.Equal(o.seenAt)
		}
		d.mu.Unlock()
	}
	return d.settleCounts(ctx)
}

// settleCounts tells the database which codes and counts were used up without it.
func (d *Door) settleCounts(ctx context.Context) error {
	d.mu.Lock()
	people := slices.Clone(d.roll.People)
	owed := d.owed
	d.mu.Unlock()
	if !owed {
		return nil
	}
	for i := range people {
		p := &people[i]
		if _, err := d.store.pool.Exec(ctx, `update operators set totp_step = $2 where name = $1 and totp_step < $2 and pass_prefix = $3`, p.Name, p.Step, p.PassPrefix); err != nil {
			return faultOf("access.settle", err)
		}
		for j := range p.Passkeys {
			k := &p.Passkeys[j]
			if _, err := d.store.pool.Exec(ctx, `update operator_passkeys set sign_count = $2 where id = $1 and sign_count < $2`, k.ID, int64(k.SignCount)); err != nil {
				return faultOf("access.settle", err)
			}
		}
	}
	d.mu.Lock()
	d.owed = false
	d.mu.Unlock()
	return nil
}

// Confirm makes sure that the person is there now, for exactly this text: by a fresh
// code, or by a passkey's answer to PasskeyChallenge of the text.
func (d *Door) Confirm(ctx context.Context, v *Visit, code, assertion string, text []byte) error {
	switch {
	case v.Local:
		return nil // whoever it is; the caller knows how little that says
	case assertion != "":
		return d.confirmPasskey(ctx, v, assertion, text)
	case code == "":
		return fault.New(fault.MalformedRequest, "say yes with a passkey, or with a fresh code").WithParam("/code")
	}
	ctx, cancel := brief(ctx)
	defer cancel()
	err := d.store.Confirm(ctx, &v.Principal, v.Token, code)
	if err == nil || !unavailable(err) && !v.Offline {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s, p := d.sessions[v.session], d.roll.named(v.Operator)
	if s == nil || p == nil || s.sealed == nil {
		return fault.New(fault.Unauthenticated, "the database does not answer, and this session was not opened with a code here: sign in again with pass and code")
	}
	if err := d.try(p.Name); err != nil {
		return err
	}
	secret, err := unseal(v.Token, v.session, s.sealed)
	if err != nil {
		return err
	}
	step, err := matchCode(secret, code, d.now(), p.Step)
	if err != nil {
		return err
	}
	p.Step, d.owed = step, true
	delete(d.tries, p.Name)
	return d.roll.write(d.cfg.File)
}

func (d *Door) confirmPasskey(ctx context.Context, v *Visit, assertion string, text []byte) error {
	asking, cancel := brief(ctx)
	defer cancel()
	_, _, err := d.store.ConfirmPasskey(asking, &v.Principal, assertion, text)
	if err == nil || !unavailable(err) {
		return err
	}
	proof := passkeyProof{Answer: json.RawMessage(assertion)}
	id, _, err := verifyPasskey(nil, &proof, nil)
	if err != nil {
		return err
	}
	d.mu.Lock()
	var k PasskeyRecord
	if p := d.roll.named(v.Operator); p != nil {
		for _, mine := range p.Passkeys {
			if subtle.ConstantTimeCompare(mine.ID, id) == 1 {
				k = mine
			}
		}
	}
	d.mu.Unlock()
	if k.ID == nil {
		return fault.New(fault.SignatureInvalid, "this is none of your passkeys").WithParam("/assertion")
	}
	proof.Origin = k.Origin
	if _, k.SignCount, err = verifyPasskey(k.PublicKey, &proof, text); err != nil {
		return err
	}
	_, err = d.countHere(ctx, v.Operator, &k)
	return err
}

// Making a passkey, by who is signed in.

// BeginNewPasskey asks the browser to make one. Somebody who signed in more than five
// minutes ago signs in again first.
func (d *Door) BeginNewPasskey(ctx context.Context, v *Visit) (id string, options json.RawMessage, err error) {
	switch {
	case d.keys == nil:
		return "", nil, errNoPasskeys
	case v.Local:
		return "", nil, fault.New(fault.Forbidden, "a passkey is somebody's: add yourself as an operator first")
	case !v.Fresh(d.now()):
		return "", nil, fault.New(fault.Forbidden, "this changes how you sign in: sign in again first, it counts for five minutes")
	}
	h, err := d.store.holder(ctx, "name", v.Operator, d.keys.origin)
	if err != nil {
		return "", nil, err
	}
	return d.offer(h, ceremonyOf{operator: v.Operator})
}

func (d *Door) offer(h *holder, of ceremonyOf) (id string, options json.RawMessage, err error) {
	if of.Ceremony, err = d.keys.offer(h); err != nil {
		return "", nil, err
	}
	return d.ceremonies.put(d.now(), of), of.Options, nil
}

// EndNewPasskey keeps what the browser made.
func (d *Door) EndNewPasskey(ctx context.Context, v *Visit, id string, answer []byte, label string) (PasskeyRecord, error) {
	c, ok := d.ceremonies.take(d.now(), id)
	if !ok || d.keys == nil || v.Local || c.operator != v.Operator {
		return PasskeyRecord{}, errCeremony
	}
	h, err := d.store.holder(ctx, "name", v.Operator, d.keys.origin)
	if err != nil {
		return PasskeyRecord{}, err
	}
	k, err := d.keys.made(&c.Ceremony, h, answer, label)
	if err != nil {
		return k, err
	}
	if err := addPasskey(ctx, d.store.pool, v.Operator, &k); err != nil {
		return k, err
	}
	k.MadeAt = d.now().UTC()
	d.Refresh(ctx)
	return k, nil
}

// Passkeys lists the person's own.
func (d *Door) Passkeys(ctx context.Context, v *Visit) ([]PasskeyRecord, error) {
	if v.Local {
		return nil, nil
	}
	return d.store.PasskeysOf(ctx, v.Tenant, v.Operator)
}

// RemovePasskey takes one of the person's own away.
func (d *Door) RemovePasskey(ctx context.Context, v *Visit, id []byte) error {
	if err := d.store.RemovePasskey(ctx, &v.Principal, v.Operator, id); err != nil {
		return err
	}
	d.Refresh(ctx)
	return nil
}

// Taking up an invitation.

// Invitation is who one is for.
type Invitation struct {
	Name string `json:"name"`
	Role Role   `json:"role"`
}

// Invited says who an invitation is for, without using it up.
func (d *Door) Invited(ctx context.Context, token string) (Invitation, error) {
	if err := d.patience(); err != nil {
		return Invitation{}, err
	}
	h, err := d.store.invited(ctx, token)
	if err != nil {
		d.counted(err)
		return Invitation{}, err
	}
	return Invitation{h.name, h.role}, nil
}

// BeginEnrolPasskey asks the browser of who was invited to make a passkey.
func (d *Door) BeginEnrolPasskey(ctx context.Context, token string) (id string, options json.RawMessage, err error) {
	if d.keys == nil {
		return "", nil, errNoPasskeys
	}
	if _, err := d.Invited(ctx, token); err != nil {
		return "", nil, err
	}
	h, err := d.store.invited(ctx, token)
	if err != nil {
		return "", nil, err
	}
	return d.offer(h, ceremonyOf{invitation: token})
}

// EndEnrolPasskey uses the invitation up with what the browser made, and signs its
// holder in.
func (d *Door) EndEnrolPasskey(ctx context.Context, token, id string, answer []byte, label, client string) (Visit, error) {
	c, ok := d.ceremonies.take(d.now(), id)
	if !ok || d.keys == nil || c.invitation == "" || c.invitation != token {
		return Visit{}, errCeremony
	}
	h, err := d.store.invited(ctx, token)
	if err != nil {
		return Visit{}, err
	}
	k, err := d.keys.made(&c.Ceremony, h, answer, label)
	if err != nil {
		return Visit{}, err
	}
	if err := d.store.takeUp(ctx, token, &k, &credential{}, 0); err != nil {
		return Visit{}, err
	}
	return d.enrolled(ctx, newVisit(h.name, Passkey, client, ""))
}

func (d *Door) enrolled(ctx context.Context, v *visit) (Visit, error) {
	d.Refresh(ctx)
	out, err := d.store.open(ctx, v)
	if err != nil {
		return Visit{}, err
	}
	return d.Look(ctx, out.Token, false)
}

// Codes are a pass and the secret of an authenticator, shown once.
type Codes struct {
	ID, Name, Pass, Secret, Address string
}

// BeginEnrolCodes makes a pass and a secret for who was invited. They count when a code
// of theirs was shown.
func (d *Door) BeginEnrolCodes(ctx context.Context, token string) (Codes, error) {
	in, err := d.Invited(ctx, token)
	if err != nil {
		return Codes{}, err
	}
	file, credential, address, err := Enrol(in.Name, TOTP)
	if err != nil {
		return Codes{}, err
	}
	key, err := otp.NewKeyFromURL(address)
	if err != nil {
		return Codes{}, fault.New(fault.Internal, "").WithOp("access.BeginEnrolCodes").WithCause(err)
	}
	id := d.codes.put(d.now(), newCodes{file, credential, key.Secret(), token})
	return Codes{ID: id, Name: in.Name, Pass: file.Pass, Secret: key.Secret(), Address: address}, nil
}

// EndEnrolCodes uses the invitation up, if the code is the authenticator's. A wrong one
// leaves everything as it is, five times.
func (d *Door) EndEnrolCodes(ctx context.Context, token, id, code, client string) (Visit, error) {
	if err := d.patience(); err != nil {
		return Visit{}, err
	}
	n, ok := d.codes.peek(d.now(), id)
	if !ok || n.invitation != token {
		return Visit{}, errCeremony
	}
	step, err := matchCode(n.secret, code, d.now(), 0)
	if err != nil {
		d.counted(err)
		return Visit{}, err
	}
	if _, ok := d.codes.take(d.now(), id); !ok {
		return Visit{}, errCeremony
	}
	c, err := parseCredential(n.credential)
	if err != nil {
		return Visit{}, err
	}
	if err := d.store.takeUp(ctx, token, nil, &c, step); err != nil {
		return Visit{}, err
	}
	return d.enrolled(ctx, newVisit(n.file.Operator, TOTP, client, n.secret))
}

// peek looks without taking.
func (o *once[T]) peek(now time.Time, id string) (what T, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	h, ok := o.held[id]
	return h.what, ok && now.Sub(h.at) < o.lasts
}

// Invite makes an invitation, and adds its operator at once where one person may: the
// local one or an admin, as long as there are no two people who may approve. Otherwise
// added is false, and the credential is for the proposal.
func (d *Door) Invite(ctx context.Context, v *Visit, name string, role Role) (token, credential string, added bool, err error) {
	if !v.Role.Covers(Chief) {
		return "", "", false, fault.New(fault.Forbidden, "this needs the role admin")
	}
	if err := checkOperator(name, role); err != nil {
		return "", "", false, err
	}
	token, credential = Invite(d.now().Add(InvitationMax))
	tenant := v.Tenant
	if v.Local {
		if tenant, err = d.store.installation(ctx); err != nil {
			return "", "", false, err
		}
	}
	two, err := d.store.FourEyes(ctx, tenant)
	if err != nil || two {
		return token, credential, false, err
	}
	_, err = d.store.AddLocally(ctx, tenant, name, role, credential)
	if errors.Is(err, fault.ApprovalRequired) {
		return token, credential, false, nil
	}
	return token, credential, err == nil, err
}

func (s *Store) installation(ctx context.Context) (id int32, err error) {
	err = s.pool.QueryRow(ctx, `select id from tenants where installation`).Scan(&id)
	return id, faultOf("access.installation", err)
}
