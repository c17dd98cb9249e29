package access

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
)

const consoleAt = "http://localhost:7878"

// entrance is an office with a door, and a wire to the database that can be cut.
type entrance struct {
	*office
	door *Door
	cut  *atomic.Bool
	file string
	key  string // of the local person
}

func newEntrance(t *testing.T) *entrance {
	t.Helper()
	e := &entrance{office: newOffice(t), cut: &atomic.Bool{}, file: filepath.Join(t.TempDir(), "roll.json")}
	cfg := e.pool.Config()
	dial := cfg.ConnConfig.DialFunc
	cfg.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if e.cut.Load() {
			return nil, os.ErrDeadlineExceeded
		}
		return dial(ctx, network, addr)
	}
	cfg.PrepareConn = func(context.Context, *pgx.Conn) (bool, error) { return !e.cut.Load(), nil }
	cfg.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "set role moneta_pay")
		return err
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	e.door = e.another(pool)
	e.door.Refresh(t.Context())
	return e
}

// another is the same door in a new process.
func (e *entrance) another(pool *pgxpool.Pool) *Door {
	keys, err := NewPasskeys(consoleAt)
	require.NoError(e.t, err)
	return NewDoor(newStore(pool, e.clock), keys, DoorConfig{File: e.file, LocalKey: func() string { return e.key }, Logger: slog.New(slog.DiscardHandler), Clock: e.clock})
}

func (e *entrance) invited(name string, role Role) (token string) {
	e.t.Helper()
	token, credential := Invite(time.Now().Add(time.Hour))
	e.byTwo("add_operator", Parameters{"name": name, "role": string(role), "credential": credential})
	return token
}

// byTwo lets abe propose and cleo approve.
func (e *entrance) byTwo(kind string, p Parameters) {
	e.t.Helper()
	a, _ := e.approvals()
	ctx := e.t.Context()
	v, err := a.Propose(ctx, e.who("abe"), Proposal{Kind: kind, Parameters: p, Reason: "r"})
	require.NoError(e.t, err)
	v, err = a.Approve(ctx, e.who("cleo"), v.ID, v.Hash, e.signature("cleo", &v), "")
	require.NoError(e.t, err)
	v, err = a.Execute(ctx, e.who("abe"), v.ID, v.Hash)
	require.NoError(e.t, err)
	require.Equal(e.t, Done, v.Outcome, v.Result)
}

// enrolled takes an invitation up with a passkey.
func (e *entrance) enrolled(name string, role Role) (*authenticator, Visit) {
	e.t.Helper()
	token, key := e.invited(name, role), newAuthenticator(e.t, consoleAt)
	id, options, err := e.door.BeginEnrolPasskey(e.t.Context(), token)
	require.NoError(e.t, err)
	v, err := e.door.EndEnrolPasskey(e.t.Context(), token, id, key.makes(options), "laptop", "test")
	require.NoError(e.t, err)
	return key, v
}

// enter signs in with a passkey.
func (e *entrance) enter(key *authenticator) (Visit, error) {
	e.t.Helper()
	id, options, err := e.door.BeginPasskey()
	require.NoError(e.t, err)
	key.count++
	return e.door.EndPasskey(e.t.Context(), id, key.says(options), "test")
}

func TestAPasskeyFromInvitationToApproval(t *testing.T) {
	t.Parallel()
	e := newEntrance(t)
	ctx := t.Context()
	token, key := e.invited("dana", Approver), newAuthenticator(t, consoleAt)
	in, err := e.door.Invited(ctx, token)
	require.NoError(t, err)
	require.Equal(t, Invitation{"dana", Approver}, in)
	id, options, err := e.door.BeginEnrolPasskey(ctx, token)
	require.NoError(t, err)
	require.NotContains(t, string(options), token)
	v, err := e.door.EndEnrolPasskey(ctx, token, id, key.makes(options), "laptop", "Firefox")
	require.NoError(t, err)
	require.Equal(t, []string{"dana", "passkey"}, []string{v.Operator, string(v.Method)})
	_, err = e.door.Invited(ctx, token)
	require.ErrorIs(t, err, fault.Unauthenticated, "an invitation is taken up once")

	v, err = e.enter(key)
	require.NoError(t, err)
	require.False(t, v.Offline)
	require.Equal(t, v.Token, e.door.Bearer(&v))

	a, _ := e.approvals()
	p := e.proposed(a)
	_, err = a.Approve(ctx, &v.Principal, p.ID, p.Hash, nil, "")
	require.ErrorIs(t, err, fault.SignatureInvalid, "the session alone says yes to nothing")
	key.count++
	other := key.signs(b64.EncodeToString(PasskeyChallenge(CheckStatement(p.ID, [32]byte{1}))))
	_, err = a.ApproveByPasskey(ctx, &v.Principal, p.ID, p.Hash, string(other), "")
	require.ErrorIs(t, err, fault.SignatureInvalid, "a yes to something else")
	yes := key.signs(b64.EncodeToString(PasskeyChallenge(CheckStatement(p.ID, p.Hash))))
	stolen := e.who("cleo")
	_, err = a.ApproveByPasskey(ctx, stolen, p.ID, p.Hash, string(yes), "")
	require.ErrorIs(t, err, fault.SignatureInvalid, "somebody else's passkey")
	p, err = a.ApproveByPasskey(ctx, &v.Principal, p.ID, p.Hash, string(yes), "seen")
	require.NoError(t, err)
	require.Equal(t, []string{"approved", "dana", "passkey"}, []string{string(p.State), p.Checker, string(p.Method)})
	_, err = e.pool.Exec(ctx, `alter table approvals disable trigger approvals_guard`)
	require.NoError(t, err)
	_, err = e.pool.Exec(ctx, `update approvals set check_signature = replace(convert_from(check_signature, 'UTF8'), 'localhost', 'localhose')::bytea where id = $1`, p.ID)
	require.NoError(t, err)
	_, err = a.Execute(ctx, e.who("mara"), p.ID, p.Hash)
	require.ErrorIs(t, err, fault.ApprovalChanged, "the proof is looked at again right before the act")
}

// TestAPasskeyThatIsRefused: replay, another origin, nobody there, a copy, a removed one.
func TestAPasskeyThatIsRefused(t *testing.T) {
	t.Parallel()
	e := newEntrance(t)
	ctx := t.Context()
	key, _ := e.enrolled("dana", Operate)
	id, options, err := e.door.BeginPasskey()
	require.NoError(t, err)
	key.count++
	answer := key.says(options)
	_, err = e.door.EndPasskey(ctx, id, answer, "")
	require.NoError(t, err)
	_, err = e.door.EndPasskey(ctx, id, answer, "")
	require.ErrorIs(t, err, fault.Unauthenticated, "a challenge counts once")
	again, _, err := e.door.BeginPasskey()
	require.NoError(t, err)
	_, err = e.door.EndPasskey(ctx, again, answer, "")
	require.ErrorIs(t, err, fault.Unauthenticated, "an answer to another challenge")

	late, options, err := e.door.BeginPasskey()
	require.NoError(t, err)
	e.clock.Advance(ceremonyFor + time.Second)
	key.count++
	_, err = e.door.EndPasskey(ctx, late, key.says(options), "")
	require.ErrorIs(t, err, fault.Unauthenticated, "too late")

	for name, change := range map[string]func(a *authenticator){
		"another origin":     func(a *authenticator) { a.originPretends = "http://localhost.evil.example:7878" },
		"another port":       func(a *authenticator) { a.originPretends = "http://localhost:9999" },
		"another party":      func(a *authenticator) { a.rp = "evil.example" },
		"nobody verified":    func(a *authenticator) { a.unverified = true },
		"counts back":        func(a *authenticator) { a.count = 0 },
		"somebody else's id": func(a *authenticator) { a.handle = make([]byte, 16) },
	} {
		bad := *key
		bad.count = key.count
		id, options, err := e.door.BeginPasskey()
		require.NoError(t, err)
		bad.count++
		change(&bad)
		_, err = e.door.EndPasskey(ctx, id, bad.says(options), "")
		require.ErrorIs(t, err, fault.Unauthenticated, name)
	}
	_, err = e.enter(key)
	require.NoError(t, err, "the control")

	// Two devices with one counter: of the same count one gets in.
	var in atomic.Int64
	var wg sync.WaitGroup
	key.count++
	for range 8 {
		wg.Go(func() {
			id, options, err := e.door.BeginPasskey()
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := e.door.EndPasskey(ctx, id, key.says(options), ""); err == nil {
				in.Add(1)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, in.Load())

	dana := &Principal{Operator: "dana", Tenant: e.tenant, Role: Operate}
	require.ErrorIs(t, e.store.RemovePasskey(ctx, &Principal{Operator: "mara", Tenant: e.tenant, Role: Operate}, "dana", key.id), fault.Forbidden)
	require.NoError(t, e.store.RemovePasskey(ctx, dana, "dana", key.id))
	_, err = e.enter(key)
	require.ErrorIs(t, err, fault.Unauthenticated, "removed")
}

func TestOldPasskeysGoWhenOthersRotate(t *testing.T) {
	t.Parallel()
	e := newEntrance(t)
	key, v := e.enrolled("dana", Operate)
	token, credential := Invite(time.Now().Add(time.Hour))
	e.byTwo("rotate_operator", Parameters{"operator": "dana", "credential": credential})
	_, err := e.enter(key)
	require.ErrorIs(t, err, fault.Unauthenticated)
	e.clock.Advance(freshFor)
	_, err = e.door.Look(t.Context(), v.Token, true)
	require.ErrorIs(t, err, fault.Unauthenticated, "their sessions ended too")
	in, err := e.door.Invited(t.Context(), token)
	require.NoError(t, err)
	require.Equal(t, "dana", in.Name)
}

func TestSessionsSlideAndEnd(t *testing.T) {
	t.Parallel()
	e := newEntrance(t)
	ctx := t.Context()
	key, _ := e.enrolled("dana", Operate)
	v, err := e.enter(key)
	require.NoError(t, err)
	age := func(column, by string) {
		_, err := e.pool.Exec(ctx, `update operator_sessions set `+column+` = `+column+` - $1::interval where prefix = $2`, by, v.session)
		require.NoError(t, err)
		e.clock.Advance(freshFor)
	}
	age("seen_at", "14 minutes")
	got, err := e.store.AuthenticateSession(ctx, v.Token, false)
	require.NoError(t, err)
	require.Greater(t, got.unseen, 13*time.Minute, "a page that asks by itself keeps nothing open")
	_, err = e.store.AuthenticateSession(ctx, v.Token, true)
	require.NoError(t, err)
	age("seen_at", "14 minutes")
	_, err = e.store.AuthenticateSession(ctx, v.Token, false)
	require.NoError(t, err, "the person was there 14 minutes ago")
	age("seen_at", "61 seconds")
	_, err = e.store.AuthenticateSession(ctx, v.Token, true)
	require.ErrorIs(t, err, fault.Unauthenticated, "15 idle minutes")

	v, err = e.enter(key)
	require.NoError(t, err)
	age("expires_at", "12 hours")
	_, err = e.store.AuthenticateSession(ctx, v.Token, true)
	require.ErrorIs(t, err, fault.Unauthenticated, "12 hours, whatever is done")

	// Lists and revocation.
	v, err = e.enter(key)
	require.NoError(t, err)
	w, err := e.enter(key)
	require.NoError(t, err)
	list, err := e.door.Sessions(ctx, &v)
	require.NoError(t, err)
	require.Len(t, list, 3, "enrolling opened one")
	_, mine := e.enrolled("eve", Operate)
	require.ErrorIs(t, e.door.End(ctx, &mine, w.session), fault.NotFound, "not hers to end")
	list, err = e.door.Sessions(ctx, &mine)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.NoError(t, e.door.End(ctx, &v, w.session))
	_, err = e.door.Look(ctx, w.Token, true)
	require.ErrorIs(t, err, fault.Unauthenticated, "here at once")
	// On another node it was known a moment ago; a second later it is over.
	chief := e.who("abe")
	_, err = e.store.AuthenticateSession(ctx, v.Token, false)
	require.NoError(t, err)
	require.NoError(t, newStore(e.pool, e.clock).EndSession(ctx, chief, v.session))
	e.clock.Advance(freshFor)
	_, err = e.store.AuthenticateSession(ctx, v.Token, false)
	require.ErrorIs(t, err, fault.Unauthenticated)
}

// TestTheDoorWithoutTheDatabase: people sign in to the doctor, the pay plane is told when
// it is back, and what was used up stays used.
func TestTheDoorWithoutTheDatabase(t *testing.T) {
	t.Parallel()
	e := newEntrance(t)
	ctx := t.Context()
	key, _ := e.enrolled("dana", Operate)
	tina := e.invited("tina", Approver)
	codes, err := e.door.BeginEnrolCodes(ctx, tina)
	require.NoError(t, err)
	code := func() string {
		c, err := totp.GenerateCode(codes.Secret, e.clock.Now())
		require.NoError(t, err)
		return c
	}
	_, err = e.door.EndEnrolCodes(ctx, tina, codes.ID, "000000", "")
	require.ErrorIs(t, err, fault.Unauthenticated, "nothing counts before a code was shown")
	_, err = e.store.SignIn(ctx, codes.Pass, code(), "")
	require.ErrorIs(t, err, fault.Unauthenticated)
	was, err := e.door.EndEnrolCodes(ctx, tina, codes.ID, code(), "")
	require.NoError(t, err)
	e.door.Refresh(ctx)
	for _, secret := range []string{codes.Pass, codes.Secret, was.Token} {
		raw, err := os.ReadFile(e.file)
		require.NoError(t, err)
		require.NotContains(t, string(raw), secret)
	}
	info, err := os.Stat(e.file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	e.cut.Store(true)
	e.clock.Advance(2 * freshFor)
	got, err := e.door.Look(ctx, was.Token, true)
	require.NoError(t, err, "who was in stays in")
	require.True(t, got.Offline)
	require.Empty(t, e.door.Bearer(&got), "the pay plane would not take it")
	v, err := e.enter(key)
	require.NoError(t, err)
	require.True(t, v.Offline)
	_, err = e.door.Look(ctx, v.Token, true)
	require.NoError(t, err)
	back := *key
	back.count--
	_, err = e.enter(&back)
	require.ErrorIs(t, err, fault.Unauthenticated, "the count is kept here too")
	e.clock.Advance(stepSeconds * time.Second)
	s, err := e.door.SignIn(ctx, "tina", codes.Pass, code(), "")
	require.NoError(t, err)
	used := code()
	_, err = e.door.SignIn(ctx, "tina", codes.Pass, used, "")
	require.ErrorIs(t, err, fault.Unauthenticated, "a code counts once")
	require.ErrorIs(t, e.door.Confirm(ctx, &s, used, "", []byte("x")), fault.Unauthenticated)
	e.clock.Advance(stepSeconds * time.Second)
	require.NoError(t, e.door.Confirm(ctx, &s, code(), "", []byte("x")))
	key.count++
	require.NoError(t, e.door.Confirm(ctx, &v, "", string(key.signs(b64.EncodeToString(PasskeyChallenge([]byte("x"))))), []byte("x")))
	require.ErrorIs(t, e.door.Confirm(ctx, &v, "", string(key.signs(b64.EncodeToString(PasskeyChallenge([]byte("y"))))), []byte("x")), fault.SignatureInvalid)

	// Another process has the file, with what was used up in it.
	restarted := e.another(e.door.store.pool)
	_, err = restarted.SignIn(ctx, "", codes.Pass, code(), "")
	require.ErrorIs(t, err, fault.Unauthenticated, "the code was used in the process before")
	for range codesFree {
		_, err = restarted.SignIn(ctx, "", codes.Pass, "000000", "")
		require.Error(t, err)
	}
	e.clock.Advance(stepSeconds * time.Second)
	_, err = restarted.SignIn(ctx, "", codes.Pass, code(), "")
	require.ErrorIs(t, err, fault.RateLimited)

	// One is ended, and one's person is disabled by somebody at the database.
	require.NoError(t, e.door.End(ctx, &got, got.session))
	_, err = e.door.Look(ctx, was.Token, true)
	require.ErrorIs(t, err, fault.Unauthenticated)
	_, err = e.store.Disable(ctx, e.tenant, "dana", Local)
	require.NoError(t, err)

	e.cut.Store(false)
	e.clock.Advance(downFor)
	now, err := e.door.Look(ctx, s.Token, true)
	require.NoError(t, err)
	require.False(t, now.Offline, "the database knows of it by now")
	who, err := e.store.AuthenticateSession(ctx, s.Token, true)
	require.NoError(t, err)
	require.Equal(t, "tina", who.Operator)
	_, err = e.door.Look(ctx, v.Token, true)
	require.ErrorIs(t, err, fault.Unauthenticated, "whoever was disabled has no session")
	e.clock.Advance(freshFor)
	_, err = e.store.AuthenticateSession(ctx, was.Token, true)
	require.ErrorIs(t, err, fault.Unauthenticated, "what was ended without the database is ended in it")
	_, err = e.store.SignIn(ctx, codes.Pass, used, "")
	require.ErrorIs(t, err, fault.Unauthenticated, "what was used without the database is used in it")
}

func TestAnOldRollSignsNobodyIn(t *testing.T) {
	t.Parallel()
	e := newEntrance(t)
	key, _ := e.enrolled("dana", Operate)
	e.door.Refresh(t.Context())
	e.cut.Store(true)
	e.clock.Advance(RollFor + time.Second)
	_, err := e.enter(key)
	require.ErrorIs(t, err, fault.DatabaseUnavailable)
}

func TestLinks(t *testing.T) {
	t.Parallel()
	e := newEntrance(t)
	ctx := t.Context()
	_, err := e.door.LocalLink(ctx)
	require.ErrorIs(t, err, fault.Forbidden, "there are two who may approve")
	f := e.files["mara"]
	at := e.clock.Now().UTC().Format(time.RFC3339)
	public, signature, err := f.SignText(LinkStatement(consoleAt, at))
	require.NoError(t, err)
	id, err := e.door.SignedLink(ctx, consoleAt, public, signature, at)
	require.NoError(t, err)
	_, err = e.door.SignedLink(ctx, "http://localhost:1", public, signature, at)
	require.ErrorIs(t, err, fault.Unauthenticated, "signed for another console")
	v, err := e.door.OpenLink(ctx, id, "test")
	require.NoError(t, err)
	require.Equal(t, []string{"mara", "ed25519"}, []string{v.Operator, string(v.Method)})
	_, err = e.door.OpenLink(ctx, id, "test")
	require.ErrorIs(t, err, fault.Unauthenticated, "once")
	id, err = e.door.SignedLink(ctx, consoleAt, public, signature, at)
	require.NoError(t, err)
	e.clock.Advance(linkFor)
	_, err = e.door.OpenLink(ctx, id, "test")
	require.ErrorIs(t, err, fault.Unauthenticated, "ten minutes")
	_, err = e.door.SignedLink(ctx, consoleAt, public, signature, at)
	require.ErrorIs(t, err, fault.Unauthenticated, "an old signature")
}

// TestGuessingIsBounded: of everybody together, without shutting out who has a link.
func TestGuessingIsBounded(t *testing.T) {
	t.Parallel()
	e := newEntrance(t)
	ctx := t.Context()
	for i := range wrongMax {
		_, err := e.door.SignIn(ctx, "mara", newSecret(passHead), "123456", "")
		require.ErrorIs(t, err, fault.Unauthenticated, i)
	}
	_, err := e.door.SignIn(ctx, "mara", newSecret(passHead), "123456", "")
	require.ErrorIs(t, err, fault.RateLimited)
	_, err = e.door.Invited(ctx, newSecret(tokenHead))
	require.ErrorIs(t, err, fault.RateLimited)
	f, at := e.files["mara"], e.clock.Now().UTC().Format(time.RFC3339)
	public, signature, err := f.SignText(LinkStatement(consoleAt, at))
	require.NoError(t, err)
	id, err := e.door.SignedLink(ctx, consoleAt, public, signature, at)
	require.NoError(t, err)
	_, err = e.door.OpenLink(ctx, id, "")
	require.NoError(t, err)
	e.clock.Advance(time.Minute)
	_, err = e.door.SignIn(ctx, "mara", newSecret(passHead), "123456", "")
	require.ErrorIs(t, err, fault.Unauthenticated)
}

// TestTheFirstPeople: the local person adds them, until there are two who may approve.
func TestTheFirstPeople(t *testing.T) {
	t.Parallel()
	e := newEntrance(t)
	e.key = "mk_live_local"
	ctx := t.Context()
	_, err := e.pool.Exec(ctx, `update tenants set installation = false`)
	require.NoError(t, err)
	_, err = e.pool.Exec(ctx, `insert into tenants (id, name, installation) values (50, 'young', true)`)
	require.NoError(t, err)
	id, err := e.door.LocalLink(ctx)
	require.NoError(t, err)
	v, err := e.door.OpenLink(ctx, id, "test")
	require.NoError(t, err)
	require.True(t, v.Local)
	require.Equal(t, "mk_live_local", e.door.Bearer(&v))
	_, _, err = e.door.BeginNewPasskey(ctx, &v)
	require.ErrorIs(t, err, fault.Forbidden)
	for i, name := range []string{"one", "two"} {
		_, err := e.door.Look(ctx, v.Token, true)
		require.NoError(t, err)
		token, _, added, err := e.door.Invite(ctx, &v, name, Chief)
		require.NoError(t, err)
		require.True(t, added, i)
		in, err := e.door.Invited(ctx, token)
		require.NoError(t, err)
		require.Equal(t, name, in.Name)
	}
	_, credential, added, err := e.door.Invite(ctx, &v, "three", Chief)
	require.NoError(t, err)
	require.False(t, added, "from now on by two")
	require.True(t, strings.HasPrefix(credential, inviteHead))
	e.door.Refresh(ctx)
	_, err = e.door.Look(ctx, v.Token, true)
	require.ErrorIs(t, err, fault.Unauthenticated, "and there is no local person any more")
}

func TestAddressesForPasskeys(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "localhost", "http://127.0.0.1:7878", "https://10.0.0.1", "http://moneta.example", "https://[::1]:1", "https://moneta.example/console", "ftp://localhost"} {
		_, err := NewPasskeys(bad)
		require.Error(t, err, bad)
	}
	for _, good := range []string{"http://localhost:7878", "https://moneta.example", "https://moneta.example:8443/"} {
		_, err := NewPasskeys(good)
		require.NoError(t, err, good)
	}
}

// TestCeremoniesAreBounded: a flood of begun ones takes bounded room.
func TestCeremoniesAreBounded(t *testing.T) {
	t.Parallel()
	e := newEntrance(t)
	var last string
	var options json.RawMessage
	key, _ := e.enrolled("dana", Operate)
	for range 4 * onceMax {
		var err error
		last, options, err = e.door.BeginPasskey()
		require.NoError(t, err)
	}
	require.Len(t, e.door.ceremonies.held, onceMax)
	key.count++
	_, err := e.door.EndPasskey(t.Context(), last, key.says(options), "")
	require.NoError(t, err)
}

// TestTheDoorWaitsForNoDatabase that stands still: it is as good as dead.
func TestTheDoorWaitsForNoDatabase(t *testing.T) {
	t.Parallel()
	e := newEntrance(t)
	ctx := t.Context()
	key, _ := e.enrolled("dana", Operate)
	v, err := e.enter(key)
	require.NoError(t, err)
	tx, err := e.pool.Begin(ctx)
	require.NoError(t, err)
	_, err = tx.Exec(ctx, `lock table operator_sessions, operators, operator_passkeys in access exclusive mode`)
	require.NoError(t, err)
	require.NoError(t, e.door.SignOut(ctx, &v))
	w, err := e.enter(key)
	require.NoError(t, err)
	require.True(t, w.Offline)
	list, err := e.door.Sessions(ctx, &w)
	require.NoError(t, err)
	require.NotEmpty(t, list)
	require.NoError(t, tx.Rollback(ctx))
	e.clock.Advance(downFor)
	now, err := e.door.Look(ctx, w.Token, true)
	require.NoError(t, err)
	require.False(t, now.Offline)
	_, err = e.door.Look(ctx, v.Token, true)
	require.ErrorIs(t, err, fault.Unauthenticated)
}
