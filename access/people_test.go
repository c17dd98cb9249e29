package access

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
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
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/pgtest"
)

// office is a tenant with people: mara the maker (operator), cleo and abe who may
// approve (approver, admin), and vic who may read.
type office struct {
	t      *testing.T
	pool   *pgxpool.Pool // as the owner
	store  *Store        // as the pay plane
	clock  *clock.Manual
	tenant int32
	files  map[string]KeyFile
}

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{t: t, pool: pgtest.Database(t), clock: clock.NewManual(time.Now()), files: map[string]KeyFile{}}
	cfg := o.pool.Config()
	cfg.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "set role moneta_pay")
		return err
	}
	pay, err := pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(pay.Close)
	o.store = newStore(pay, o.clock)
	o.tenant, err = o.store.CreateTenant(t.Context(), "office")
	require.NoError(t, err)
	for _, p := range []struct {
		name string
		role Role
	}{{"abe", Chief}, {"cleo", Approver}, {"mara", Operate}, {"vic", Viewer}} {
		o.add(p.name, p.role)
	}
	return o
}

// add adds an operator with a signing key.
func (o *office) add(name string, role Role) {
	o.t.Helper()
	file, credential, _, err := Enrol(name, Ed25519)
	require.NoError(o.t, err)
	_, err = o.store.AddLocally(o.t.Context(), o.tenant, name, role, credential)
	require.NoError(o.t, err)
	o.files[name] = file
}

func (o *office) who(name string) *Principal {
	o.t.Helper()
	f := o.files[name]
	r := o.request(http.MethodGet, "/", "")
	require.NoError(o.t, f.Sign(r, nil, o.clock.Now()))
	p, err := o.store.AuthenticateSigned(o.t.Context(), r, nil)
	require.NoError(o.t, err)
	return &p
}

func (o *office) request(method, uri, body string) *http.Request {
	return httptest.NewRequestWithContext(o.t.Context(), method, "http://moneta.test"+uri, strings.NewReader(body))
}

func (o *office) signature(name string, v *Approval) []byte {
	f := o.files[name]
	private, err := f.private()
	require.NoError(o.t, err)
	return ed25519.Sign(private, CheckStatement(v.ID, v.Hash))
}

// deed is a kind whose acts are counted by key, as a decider would.
type deed struct {
	mu    sync.Mutex
	acts  map[[16]byte]int // how often each key acted: never more than once
	calls atomic.Int64
	fail  func(stage string) error
}

func (d *deed) kind() Kind {
	return Kind{
		Name: "deed", Members: []Member{{Name: "what"}, {Name: "more", Optional: true, Max: 1000}},
		Describe: func(a *Action) fault.Text {
			return fault.Text{En: "Do " + a.Parameters["what"], Zh: "执行 " + a.Parameters["what"]}
		},
		Perform: func(_ context.Context, a *Action, key [16]byte) (string, error) {
			d.calls.Add(1)
			if err := d.at("before"); err != nil {
				return "", err
			}
			d.mu.Lock()
			if d.acts[key] == 0 {
				d.acts[key]++
			}
			d.mu.Unlock()
			return "did " + a.Parameters["what"], d.at("after")
		},
	}
}

func (d *deed) at(stage string) error {
	if d.fail == nil {
		return nil
	}
	return d.fail(stage)
}

func (o *office) approvals() (*Approvals, *deed) {
	a, d := NewApprovals(o.store, slog.New(slog.DiscardHandler)), &deed{acts: map[[16]byte]int{}}
	a.Register(d.kind())
	return a, d
}

func (o *office) proposed(a *Approvals) Approval {
	o.t.Helper()
	v, err := a.Propose(o.t.Context(), o.who("mara"), Proposal{Kind: "deed", Parameters: Parameters{"what": "it"}, Reason: "case 7"})
	require.NoError(o.t, err)
	return v
}

func (o *office) approved(a *Approvals) Approval {
	o.t.Helper()
	v := o.proposed(a)
	v, err := a.Approve(o.t.Context(), o.who("cleo"), v.ID, v.Hash, o.signature("cleo", &v), "seen")
	require.NoError(o.t, err)
	require.Equal(o.t, Approved, v.State)
	return v
}

func TestTwoPeopleAgree(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	a, d := o.approvals()
	ctx := t.Context()
	v := o.proposed(a)
	require.Equal(t, Proposed, v.State)
	require.Equal(t, "Do it", v.Words.En)
	require.WithinDuration(t, v.MadeAt.Add(ApprovalDefault), v.ExpiresAt, time.Second)

	_, err := a.Execute(ctx, o.who("abe"), v.ID, v.Hash)
	require.ErrorIs(t, err, fault.ApprovalClosed, "nobody has approved it")
	_, err = a.Approve(ctx, o.who("mara"), v.ID, v.Hash, o.signature("mara", &v), "")
	require.ErrorIs(t, err, fault.Forbidden, "an operator does not approve")
	other := v.Hash
	other[0] ^= 1
	_, err = a.Approve(ctx, o.who("cleo"), v.ID, other, o.signature("cleo", &v), "")
	require.ErrorIs(t, err, fault.ApprovalChanged)
	_, err = a.Approve(ctx, o.who("cleo"), v.ID, v.Hash, o.signature("abe", &v), "")
	require.ErrorIs(t, err, fault.SignatureInvalid, "somebody else's signature")
	_, err = a.Approve(ctx, o.who("cleo"), v.ID, v.Hash, nil, "")
	require.ErrorIs(t, err, fault.SignatureInvalid)

	v, err = a.Approve(ctx, o.who("cleo"), v.ID, v.Hash, o.signature("cleo", &v), "seen")
	require.NoError(t, err)
	_, err = a.Approve(ctx, o.who("abe"), v.ID, v.Hash, o.signature("abe", &v), "")
	require.ErrorIs(t, err, fault.ApprovalClosed)
	_, err = a.Execute(ctx, o.who("vic"), v.ID, v.Hash)
	require.ErrorIs(t, err, fault.Forbidden)
	v, err = a.Execute(ctx, o.who("mara"), v.ID, v.Hash)
	require.NoError(t, err)
	require.Equal(t, []string{string(Used), Done, "did it", "mara", "cleo"}, []string{string(v.State), v.Outcome, v.Result, v.UsedBy, v.Checker})
	_, err = a.Execute(ctx, o.who("mara"), v.ID, v.Hash)
	require.ErrorIs(t, err, fault.ApprovalClosed, "once")
	require.EqualValues(t, 1, d.calls.Load())
	_, err = a.Withdraw(ctx, o.who("mara"), v.ID)
	require.ErrorIs(t, err, fault.ApprovalClosed)

	_, err = a.One(ctx, o.tenant+1, v.ID)
	require.ErrorIs(t, err, fault.NotFound, "another tenant's")
}

func TestNobodyApprovesTheirOwn(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	a, _ := o.approvals()
	ctx := t.Context()
	v, err := a.Propose(ctx, o.who("cleo"), Proposal{Kind: "deed", Parameters: Parameters{"what": "it"}, Reason: "r"})
	require.NoError(t, err)
	_, err = a.Approve(ctx, o.who("cleo"), v.ID, v.Hash, o.signature("cleo", &v), "")
	require.ErrorIs(t, err, fault.ApprovalOwn)
	_, err = a.Reject(ctx, o.who("cleo"), v.ID, v.Hash, "")
	require.ErrorIs(t, err, fault.ApprovalOwn)
	// Nor past the code, in the database itself.
	for _, sql := range []string{
		`update approvals set state = 'approved', checker = 'cleo', checked_at = now(), check_method = 'totp' where id = $1`,
		`update approvals set state = 'used', used_by = 'cleo', used_at = now() where id = $1`,
		`update approvals set state = 'approved', checker = 'mara', checked_at = now(), check_method = 'totp' where id = $1`,
		`update approvals set state = 'approved' where id = $1`,
		`update approvals set maker = 'mara' where id = $1`,
		`update approvals set parameters = '{"what":"more"}' where id = $1`,
		`delete from approvals where id = $1`,
	} {
		_, err := o.store.pool.Exec(ctx, sql, v.ID)
		require.Error(t, err, sql)
	}
	_, err = o.store.pool.Exec(ctx, `insert into approvals (id, tenant, kind, parameters, reason, hash, maker, made_at, expires_at, state, checker, checked_at)
		select gen_random_uuid(), tenant, kind, parameters, reason, hash, maker, made_at, expires_at, 'approved', 'abe', now() from approvals`)
	require.Error(t, err, "an approval is not born approved")
	// The control: the same statement about another person is taken.
	_, err = o.store.pool.Exec(ctx, `update approvals set state = 'approved', checker = 'abe', checked_at = now(), check_method = 'totp' where id = $1`, v.ID)
	require.NoError(t, err)
}

func TestWhatIsNotApprovedIsNotDone(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	a, d := o.approvals()
	ctx := t.Context()
	// forge changes what the guard keeps, as somebody with the owner's role could.
	forge := func(v *Approval, sql string) {
		_, err := o.pool.Exec(ctx, `alter table approvals disable trigger approvals_guard`)
		require.NoError(t, err)
		_, err = o.pool.Exec(ctx, sql, v.ID)
		require.NoError(t, err)
		_, err = o.pool.Exec(ctx, `alter table approvals enable trigger approvals_guard`)
		require.NoError(t, err)
	}
	for _, c := range []struct {
		sql  string
		want fault.Code
	}{
		{`update approvals set parameters = '{"what":"another"}' where id = $1`, fault.ApprovalChanged},
		{`update approvals set parameters = '{ "what":"it"}' where id = $1`, fault.ApprovalChanged},
		{`update approvals set parameters = '{"what":"another"}', hash = sha256('x') where id = $1`, fault.ApprovalChanged},
		{`update approvals set reason = 'another' where id = $1`, fault.ApprovalChanged},
		{`update approvals set maker = 'abe' where id = $1`, fault.ApprovalChanged},
		{`update approvals set expires_at = expires_at + interval '1 hour' where id = $1`, fault.ApprovalChanged},
		{`update approvals set check_signature = decode(repeat('00', 64), 'hex') where id = $1`, fault.ApprovalChanged},
		{`update approvals set made_at = made_at - interval '23 hours', expires_at = now() - interval '1 second' where id = $1`, fault.ApprovalChanged},
	} {
		v := o.approved(a)
		forge(&v, c.sql)
		_, err := a.Execute(ctx, o.who("mara"), v.ID, v.Hash)
		require.ErrorIs(t, err, c.want, c.sql)
	}
	// A forger who hashes anew still lacks the checker's key.
	v := o.approved(a)
	act := v.Action
	act.Parameters = Parameters{"what": "another"}
	hash := act.Hash()
	forge(&v, `update approvals set parameters = '{"what":"another"}', hash = decode('`+HashText(hash)+`', 'hex') where id = $1`)
	_, err := a.Execute(ctx, o.who("mara"), v.ID, hash)
	require.ErrorIs(t, err, fault.ApprovalChanged)
	require.Zero(t, d.calls.Load())
	// The control: what nobody touched is done.
	v = o.approved(a)
	_, err = a.Execute(ctx, o.who("mara"), v.ID, v.Hash)
	require.NoError(t, err)
	require.EqualValues(t, 1, d.calls.Load())
}

func TestApprovalsExpire(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	a, d := o.approvals()
	ctx := t.Context()
	// older makes an approval whose time is over, with a hash and a signature to fit.
	older := func(state State) Approval {
		v := o.proposed(a)
		act := v.Action
		act.ID, act.ExpiresAt = newApprovalID(), time.Now().Add(-time.Second).UTC().Truncate(time.Second)
		v.Action, v.Hash = act, act.Hash()
		_, err := o.pool.Exec(ctx, `alter table approvals disable trigger approvals_guard`)
		require.NoError(t, err)
		f := o.files["cleo"]
		private, err := f.private()
		require.NoError(t, err)
		_, err = o.pool.Exec(ctx, `insert into approvals (id, tenant, kind, parameters, reason, hash, maker, made_at, expires_at, state, checker, checked_at, check_method, check_key, check_signature)
			values ($1, $2, $3, $4, $5, $6, $7, now() - interval '1 hour', $8, $9, 'cleo', now(), 'ed25519', $10, $11)`,
			act.ID, act.Tenant, act.Kind, act.Parameters.Canonical(), act.Reason, v.Hash[:], act.Maker, act.ExpiresAt, state,
			[]byte(private.Public().(ed25519.PublicKey)), o.signature("cleo", &v))
		require.NoError(t, err)
		_, err = o.pool.Exec(ctx, `alter table approvals enable trigger approvals_guard`)
		require.NoError(t, err)
		return v
	}
	v := older(Approved)
	_, err := a.Execute(ctx, o.who("mara"), v.ID, v.Hash)
	require.ErrorIs(t, err, fault.ApprovalClosed)
	w := older(Proposed)
	_, err = a.Approve(ctx, o.who("abe"), w.ID, w.Hash, o.signature("abe", &w), "")
	require.ErrorIs(t, err, fault.ApprovalClosed)
	shown, err := a.One(ctx, o.tenant, v.ID)
	require.NoError(t, err)
	require.Equal(t, Expired, shown.State)
	require.NoError(t, a.Tidy(ctx))
	var state State
	require.NoError(t, o.pool.QueryRow(ctx, `select state from approvals where id = $1`, v.ID).Scan(&state))
	require.Equal(t, Expired, state)
	require.Zero(t, d.calls.Load())

	for _, bad := range []time.Duration{-time.Second, ApprovalMax + time.Minute} {
		_, err := a.Propose(ctx, o.who("mara"), Proposal{Kind: "deed", Parameters: Parameters{"what": "it"}, Reason: "r", ExpiresAt: time.Now().Add(bad)})
		require.ErrorIs(t, err, fault.MalformedRequest)
	}
}

func TestFiftyUseItOnce(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	a, d := o.approvals()
	v := o.approved(a)
	who := o.who("mara")
	var done, refused atomic.Int64
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			switch _, err := a.Execute(t.Context(), who, v.ID, v.Hash); {
			case err == nil:
				done.Add(1)
			case errors.Is(err, fault.ApprovalClosed):
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.Equal(t, []int64{1, 49, 1}, []int64{done.Load(), refused.Load(), d.calls.Load()})
}

// TestACrashAtEachStep stops the execution at each step by a panic, which is what a
// crash leaves of a transaction, and lets another node finish.
func TestACrashAtEachStep(t *testing.T) {
	t.Parallel()
	for _, stage := range []string{"before", "after", "outcome"} {
		t.Run(stage, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t)
			a, d := o.approvals()
			ctx := t.Context()
			v := o.approved(a)
			d.fail = func(at string) error {
				if at == stage {
					panic("crash")
				}
				return nil
			}
			if stage == "outcome" { // the outcome cannot be written
				_, err := o.pool.Exec(ctx, `alter table approvals add constraint down check (finished_at is null)`)
				require.NoError(t, err)
				_, err = a.Execute(ctx, o.who("mara"), v.ID, v.Hash)
				require.Error(t, err)
				require.Equal(t, fault.UnknownWillResolve, fault.MoneyStateOf(err))
				_, err = o.pool.Exec(ctx, `alter table approvals drop constraint down`)
				require.NoError(t, err)
			} else {
				require.Panics(t, func() { _, _ = a.Execute(ctx, o.who("mara"), v.ID, v.Hash) })
			}
			d.fail = nil
			_, err := a.Execute(ctx, o.who("mara"), v.ID, v.Hash)
			require.ErrorIs(t, err, fault.ApprovalClosed, "it is used, whatever became of it")
			require.NoError(t, a.Tidy(ctx))
			require.Zero(t, a.unfinished.Load())
			require.EqualValues(t, 1, d.calls.Load(), "as long as somebody may hold it, nobody takes it over")
			_, err = o.pool.Exec(ctx, `update approvals set held_until = now() - interval '1 second'`)
			require.NoError(t, err)
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() { require.NoError(t, a.Tidy(ctx)) })
			}
			wg.Wait()
			require.EqualValues(t, 2, d.calls.Load())
			now, err := a.One(ctx, o.tenant, v.ID)
			require.NoError(t, err)
			require.Equal(t, []string{Done, "did it"}, []string{now.Outcome, now.Result})
			require.Equal(t, map[[16]byte]int{[16]byte(v.ID): 1}, d.acts)
		})
	}
}

func TestARefusalIsAnOutcomeAndDoubtIsNone(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	a, d := o.approvals()
	ctx := t.Context()
	d.fail = func(string) error { return fault.New(fault.AccountNotFound, "gone") }
	v := o.approved(a)
	v, err := a.Execute(ctx, o.who("mara"), v.ID, v.Hash)
	require.NoError(t, err)
	require.Equal(t, []string{Refused, "account-not-found: gone"}, []string{v.Outcome, v.Result})

	d.fail = func(string) error { return fault.New(fault.CommitUnknown, "") }
	w := o.approved(a)
	_, err = a.Execute(ctx, o.who("mara"), w.ID, w.Hash)
	require.ErrorIs(t, err, fault.CommitUnknown)
	d.fail = nil
	_, err = o.pool.Exec(ctx, `update approvals set held_until = now() - interval '1 second' where finished_at is null`)
	require.NoError(t, err)
	require.NoError(t, a.Tidy(ctx))
	w, err = a.One(ctx, o.tenant, w.ID)
	require.NoError(t, err)
	require.Equal(t, Done, w.Outcome)
}

// expire puts the approval's time into the past, with a hash and a signature to fit.
func (o *office) expire(v *Approval) {
	o.t.Helper()
	v.ExpiresAt = time.Now().Add(-time.Second).UTC().Truncate(time.Second)
	v.Hash = v.Action.Hash()
	ctx := o.t.Context()
	_, err := o.pool.Exec(ctx, `alter table approvals disable trigger approvals_guard`)
	require.NoError(o.t, err)
	_, err = o.pool.Exec(ctx, `update approvals set made_at = now() - interval '1 hour', expires_at = $2, hash = $3, check_signature = $4 where id = $1`,
		v.ID, v.ExpiresAt, v.Hash[:], o.signature("cleo", v))
	require.NoError(o.t, err)
	_, err = o.pool.Exec(ctx, `alter table approvals enable trigger approvals_guard`)
	require.NoError(o.t, err)
}

// A lever refuses what two people agreed on: nothing comes of it later by itself, and they
// can still withdraw it, or carry it out when the lever is gone.
func TestWhatALeverRefusesDoesNotHappenLater(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	a, d := o.approvals()
	ctx := t.Context()
	paused := func(string) error { return fault.New(fault.IntakePaused, "by a lever").WithRetryAfter(time.Hour) }
	due := func() {
		_, err := o.pool.Exec(ctx, `update approvals set held_until = now() - interval '1 second' where used_at is not null and finished_at is null`)
		require.NoError(t, err)
		require.NoError(t, a.Tidy(ctx))
	}
	one := func(v Approval) Approval {
		now, err := a.One(ctx, o.tenant, v.ID)
		require.NoError(t, err)
		return now
	}
	crashed := func() Approval {
		v := o.approved(a)
		d.fail = func(string) error { panic("crash") }
		require.Panics(t, func() { _, _ = a.Execute(ctx, o.who("mara"), v.ID, v.Hash) })
		d.fail = paused
		return v
	}

	d.fail = paused
	v, w := o.approved(a), o.approved(a)
	for _, it := range []Approval{v, w} {
		_, err := a.Execute(ctx, o.who("mara"), it.ID, it.Hash)
		require.ErrorIs(t, err, fault.IntakePaused)
		require.Equal(t, fault.NotMoved, fault.MoneyStateOf(err))
		require.Equal(t, Approved, one(it).State)
	}
	// A node that dies in the middle leaves it to another, which meets the same lever.
	x := crashed()
	_, err := o.pool.Exec(ctx, `update approvals set held_until = now() - interval '1 second' where used_at is not null and finished_at is null`)
	require.NoError(t, err)
	require.ErrorIs(t, a.Tidy(ctx), fault.IntakePaused)
	require.Equal(t, Approved, one(x).State)

	// One that has expired meanwhile is refused for good.
	y := crashed()
	o.expire(&y)
	due()
	now := one(y)
	require.Equal(t, []string{string(Used), Refused}, []string{string(now.State), now.Outcome})
	require.Contains(t, now.Result, "intake-paused")

	d.fail = nil // the lever is gone
	due()
	require.Empty(t, d.acts, "nothing happens by itself")
	_, err = a.Withdraw(ctx, o.who("mara"), v.ID)
	require.NoError(t, err)
	now, err = a.Execute(ctx, o.who("mara"), w.ID, w.Hash)
	require.NoError(t, err)
	require.Equal(t, Done, now.Outcome)
	require.Equal(t, map[[16]byte]int{[16]byte(w.ID): 1}, d.acts)

	// What may have happened is not put back: here the first call's answer was lost, and who
	// calls again reaches nobody.
	d.fail = func(at string) error {
		if at == "after" {
			return fault.New(fault.CommitUnknown, "")
		}
		return nil
	}
	z := o.approved(a)
	_, err = a.Execute(ctx, o.who("mara"), z.ID, z.Hash)
	require.ErrorIs(t, err, fault.CommitUnknown)
	d.fail = func(string) error { return fault.New(fault.NotLeader, "") }
	_, err = o.pool.Exec(ctx, `update approvals set held_until = now() - interval '1 second' where used_at is not null and finished_at is null`)
	require.NoError(t, err)
	require.ErrorIs(t, a.Tidy(ctx), fault.CommitUnknown)
	require.Equal(t, Used, one(z).State)
	d.fail = nil
	due()
	require.Equal(t, Done, one(z).Outcome)
}

func TestPeopleAreAddedByPeople(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	a, _ := o.approvals()
	ctx := t.Context()
	file, credential, _, err := Enrol("nina", Ed25519)
	require.NoError(t, err)
	_, err = o.store.AddLocally(ctx, o.tenant, "nina", Chief, credential)
	require.ErrorIs(t, err, fault.ApprovalRequired, "two may approve already")
	_, err = o.store.pool.Exec(ctx, `insert into operators (name, tenant, role, public_key, created_by) values ('eve', $1, 'approver', sha256('eve'), 'eve')`, o.tenant)
	require.Error(t, err, "nor past the code")
	v, err := a.Propose(ctx, o.who("abe"), Proposal{Kind: "add_operator", Parameters: Parameters{"name": "nina", "role": "approver", "credential": credential}, Reason: "new colleague"})
	require.NoError(t, err)
	_, err = a.Propose(ctx, o.who("mara"), Proposal{Kind: "add_operator", Parameters: v.Parameters, Reason: "r"})
	require.ErrorIs(t, err, fault.Forbidden)
	v, err = a.Approve(ctx, o.who("cleo"), v.ID, v.Hash, o.signature("cleo", &v), "")
	require.NoError(t, err)
	_, err = o.store.pool.Exec(ctx, `insert into operators (name, tenant, role, public_key, created_by, approval) values ('eve', $1, 'approver', sha256('eve'), 'eve', $2)`, o.tenant, v.ID)
	require.Error(t, err, "an approval for somebody else, and not used")
	v, err = a.Execute(ctx, o.who("abe"), v.ID, v.Hash)
	require.NoError(t, err)
	require.Equal(t, Done, v.Outcome)
	o.files["nina"] = file
	require.Equal(t, Approver, o.who("nina").Role)

	// The same name again is refused, and the approval is used up all the same.
	v, err = a.Propose(ctx, o.who("abe"), Proposal{Kind: "add_operator", Parameters: v.Parameters, Reason: "again"})
	require.NoError(t, err)
	v, err = a.Approve(ctx, o.who("cleo"), v.ID, v.Hash, o.signature("cleo", &v), "")
	require.NoError(t, err)
	v, err = a.Execute(ctx, o.who("abe"), v.ID, v.Hash)
	require.NoError(t, err)
	require.Equal(t, Refused, v.Outcome)
	require.Contains(t, v.Result, "in use already")

	// Roles do not grow, and nobody comes back.
	for _, sql := range []string{`update operators set role = 'admin' where name = 'mara'`, `update operators set tenant = 99 where name = 'mara'`} {
		_, err = o.store.pool.Exec(ctx, sql)
		require.Error(t, err, sql)
	}
	_, err = o.store.Disable(ctx, o.tenant, "mara", "abe")
	require.NoError(t, err)
	_, err = o.store.pool.Exec(ctx, `update operators set disabled_at = null, disabled_by = null where name = 'mara'`)
	require.Error(t, err)
}

func TestTheDisabledStopWithinASecond(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	a, d := o.approvals()
	ctx := t.Context()
	other := NewStore(o.pool)
	sign := func(store *Store, name string) error {
		f := o.files[name]
		r := o.request(http.MethodGet, "/", "")
		require.NoError(t, f.Sign(r, nil, time.Now()))
		_, err := store.AuthenticateSigned(ctx, r, nil)
		return err
	}
	require.NoError(t, sign(other, "cleo"))
	v, w := o.approved(a), o.proposed(a)
	_, err := o.store.Disable(ctx, o.tenant, "cleo", "abe")
	require.NoError(t, err)
	since := time.Now()
	require.Error(t, sign(o.store, "cleo"), "at once where it was done")
	require.Eventually(t, func() bool { return sign(other, "cleo") != nil }, 5*time.Second, 5*time.Millisecond)
	require.Less(t, time.Since(since), freshFor+500*time.Millisecond)

	_, err = a.Execute(ctx, o.who("mara"), v.ID, v.Hash)
	require.ErrorIs(t, err, fault.ApprovalClosed, "the checker is not to be trusted any more")
	require.Zero(t, d.calls.Load())
	cleo := &Principal{Tenant: o.tenant, Operator: "cleo", Role: Approver, Method: Ed25519}
	_, err = a.Approve(ctx, cleo, w.ID, w.Hash, o.signature("cleo", &w), "")
	require.ErrorIs(t, err, fault.Unauthenticated, "not even within the second that a node may remember")
}

func TestSignedRequests(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	ctx := t.Context()
	f := o.files["mara"]
	body := `{"a":1}`
	signed := func() *http.Request {
		r := o.request(http.MethodPost, "/v1/approvals?x=1", body)
		require.NoError(t, f.Sign(r, []byte(body), o.clock.Now()))
		return r
	}
	r := signed()
	p, err := o.store.AuthenticateSigned(ctx, r, []byte(body))
	require.NoError(t, err)
	require.Equal(t, []string{"mara", "operator", "ed25519"}, []string{p.Operator, string(p.Role), string(p.Method)})
	require.False(t, p.May(Admin))
	require.False(t, p.May(PaymentsWrite))
	_, err = o.store.AuthenticateSigned(ctx, r, []byte(body))
	require.ErrorIs(t, err, fault.Unauthenticated, "a replay")
	_, err = newStore(o.pool, o.clock).AuthenticateSigned(ctx, r, []byte(body))
	require.ErrorIs(t, err, fault.Unauthenticated, "a replay on another node")

	for name, change := range map[string]func(r *http.Request, body []byte) []byte{
		"method": func(r *http.Request, b []byte) []byte { r.Method = http.MethodPut; return b },
		"path":   func(r *http.Request, b []byte) []byte { r.URL.Path = "/v1/other"; return b },
		"query":  func(r *http.Request, b []byte) []byte { r.URL.RawQuery = "x=2"; return b },
		"host":   func(r *http.Request, b []byte) []byte { r.Host = "other.test"; return b },
		"body":   func(_ *http.Request, b []byte) []byte { return append(b, ' ') },
		"none":   func(r *http.Request, b []byte) []byte { r.Header.Del("Authorization"); return b },
		"time": func(r *http.Request, b []byte) []byte {
			h := r.Header.Get("Authorization")
			at := strconv.FormatInt(o.clock.Now().Unix(), 10)
			r.Header.Set("Authorization", strings.Replace(h, at, strconv.FormatInt(o.clock.Now().Unix()+1, 10), 1))
			return b
		},
		// S + L is the other S that the curve's equation takes for the same message.
		"malleable": func(r *http.Request, b []byte) []byte {
			r.Header.Set("Authorization", malleated(t, r.Header.Get("Authorization")))
			return b
		},
	} {
		r := signed()
		_, err := o.store.AuthenticateSigned(ctx, r, change(r, []byte(body)))
		require.ErrorIs(t, err, fault.Unauthenticated, name)
	}
	for _, off := range []time.Duration{-skewMax - time.Second, skewMax + 2*time.Second} {
		r := o.request(http.MethodGet, "/", "")
		require.NoError(t, f.Sign(r, nil, o.clock.Now().Add(off)))
		_, err := o.store.AuthenticateSigned(ctx, r, nil)
		require.ErrorIs(t, err, fault.Unauthenticated, off)
	}
	stranger, _, _, err := Enrol("stranger", Ed25519)
	require.NoError(t, err)
	r = o.request(http.MethodGet, "/", "")
	require.NoError(t, stranger.Sign(r, nil, o.clock.Now()))
	_, err = o.store.AuthenticateSigned(ctx, r, nil)
	require.ErrorIs(t, err, fault.Unauthenticated)
	var nonces int
	require.NoError(t, o.pool.QueryRow(ctx, `select count(*) from operator_nonces`).Scan(&nonces))
	require.Equal(t, 1, nonces, "only what was good takes room")

	_, err = o.store.Rotate(ctx, o.tenant, "mara", credentialOf(t, "mara"))
	require.NoError(t, err)
	_, err = o.store.AuthenticateSigned(ctx, signed(), []byte(body))
	require.ErrorIs(t, err, fault.Unauthenticated, "the old key")
}

func credentialOf(t *testing.T, name string) string {
	t.Helper()
	_, c, _, err := Enrol(name, Ed25519)
	require.NoError(t, err)
	return c
}

// malleated adds the group's order to the S of a signature.
func malleated(t *testing.T, header string) string {
	t.Helper()
	m := signatureForm.FindStringSubmatch(header)
	require.NotNil(t, m)
	sig, err := b64.DecodeString(m[4])
	require.NoError(t, err)
	order := [32]byte{0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 31: 0x10}
	carry := 0
	for i := range order {
		sum := int(sig[32+i]) + int(order[i]) + carry
		sig[32+i], carry = byte(sum), sum>>8
	}
	return strings.Replace(header, m[4], b64.EncodeToString(sig), 1)
}

func TestCodes(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	a, _ := o.approvals()
	ctx := t.Context()
	file, credential, address, err := Enrol("tina", TOTP)
	require.NoError(t, err)
	require.NotContains(t, credential, file.Pass)
	v, err := a.Propose(ctx, o.who("abe"), Proposal{Kind: "add_operator", Parameters: Parameters{"name": "tina", "role": "approver", "credential": credential}, Reason: "r"})
	require.NoError(t, err)
	v, err = a.Approve(ctx, o.who("cleo"), v.ID, v.Hash, o.signature("cleo", &v), "")
	require.NoError(t, err)
	_, err = a.Execute(ctx, o.who("abe"), v.ID, v.Hash)
	require.NoError(t, err)

	_, secret, ok := strings.Cut(address, "secret=")
	require.True(t, ok)
	code := func() string {
		c, err := totp.GenerateCode(secret, o.clock.Now())
		require.NoError(t, err)
		return c
	}
	_, err = o.store.SignIn(ctx, newSecret(passHead), code(), "test")
	require.ErrorIs(t, err, fault.Unauthenticated, "a code without the pass")
	s, err := o.store.SignIn(ctx, file.Pass, code(), "test")
	require.NoError(t, err)
	_, err = o.store.SignIn(ctx, file.Pass, code(), "test")
	require.ErrorIs(t, err, fault.Unauthenticated, "a code counts once")
	who, err := o.store.AuthenticateSession(ctx, s.Token, true)
	require.NoError(t, err)
	require.Equal(t, "tina", who.Operator)
	_, err = o.store.AuthenticateSession(ctx, newSecret(sessionHead), true)
	require.ErrorIs(t, err, fault.Unauthenticated)

	require.ErrorIs(t, o.store.Confirm(ctx, &who, s.Token, code()), fault.Unauthenticated, "nor here")
	o.clock.Advance(stepSeconds * time.Second)
	require.NoError(t, o.store.Confirm(ctx, &who, s.Token, code()))
	w := o.proposed(a)
	w, err = a.Approve(ctx, &who, w.ID, w.Hash, nil, "")
	require.NoError(t, err)
	require.Equal(t, TOTP, w.Method)
	w, err = a.Execute(ctx, o.who("mara"), w.ID, w.Hash)
	require.NoError(t, err)
	require.Equal(t, Done, w.Outcome)

	// A wrong code costs; many at once are all counted.
	o.clock.Advance(stepSeconds * time.Second)
	var limited atomic.Int64
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := o.store.SignIn(ctx, file.Pass, "x", "test"); errors.Is(err, fault.RateLimited) {
				limited.Add(1)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 20-codesFree, limited.Load())
	_, err = o.store.SignIn(ctx, file.Pass, code(), "test")
	require.ErrorIs(t, err, fault.RateLimited, "a right one waits too")
	_, err = o.pool.Exec(ctx, `update operators set tried_at = now() - interval '2 minutes' where name = 'tina'`)
	require.NoError(t, err)
	_, err = o.store.SignIn(ctx, file.Pass, code(), "test")
	require.NoError(t, err)

	require.NoError(t, o.store.SignOut(ctx, &who))
	_, err = o.store.AuthenticateSession(ctx, s.Token, true)
	require.ErrorIs(t, err, fault.Unauthenticated)
	o.clock.Advance(stepSeconds * time.Second)
	require.ErrorIs(t, o.store.Confirm(ctx, &who, s.Token, code()), fault.Unauthenticated)

	// Neither pass, nor token, nor secret is in the database.
	for _, text := range []string{file.Pass, s.Token, secret} {
		var found bool
		require.NoError(t, o.pool.QueryRow(ctx, `select exists (select from operators o where strpos(o::text, $1) > 0 or position(convert_to($1, 'UTF8') in totp_sealed) > 0)
			or exists (select from operator_sessions s where strpos(s::text, $1) > 0 or position(convert_to($1, 'UTF8') in sealed) > 0)`, text).Scan(&found))
		require.False(t, found)
	}
}

func TestFourEyesCount(t *testing.T) {
	t.Parallel()
	s := NewStore(pgtest.Database(t))
	ctx := t.Context()
	tenant, err := s.CreateTenant(ctx, "small")
	require.NoError(t, err)
	for i, name := range []string{"one", "two"} {
		yes, err := s.FourEyes(ctx, tenant)
		require.NoError(t, err)
		require.False(t, yes, "%d people are not four eyes", i)
		_, err = s.AddLocally(ctx, tenant, name, Chief, credentialOf(t, name))
		require.NoError(t, err)
	}
	for _, of := range []int32{tenant, 0} {
		yes, err := s.FourEyes(ctx, of)
		require.NoError(t, err)
		require.True(t, yes)
	}
	yes, err := s.FourEyes(ctx, tenant+1)
	require.NoError(t, err)
	require.False(t, yes)
}

func TestWeakKeysAreRefused(t *testing.T) {
	t.Parallel()
	// The points whose order divides eight, each with both signs of x.
	for _, y := range []string{
		"0100000000000000000000000000000000000000000000000000000000000000",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"0000000000000000000000000000000000000000000000000000000000000000",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	} {
		point, err := hex.DecodeString(y)
		require.NoError(t, err)
		for _, sign := range []byte{0, 0x80} {
			point[31] = point[31]&0x7f | sign
			_, err := parseCredential(signingHead + b64.EncodeToString(point))
			// With the other sign, 1 and -1 are no points at all, or the same ones.
			if err == nil {
				require.False(t, ed25519.Verify(point, []byte("m"), make([]byte, ed25519.SignatureSize)))
				require.Equal(t, byte(0x80), sign, y)
				continue
			}
			require.ErrorIs(t, err, fault.MalformedRequest)
		}
	}
	for range 20 {
		_, err := parseCredential(credentialOf(t, "somebody"))
		require.NoError(t, err)
	}
	for _, bad := range []string{"", "ed25519:", "totp:", "totp:a.b.c", strings.Repeat("x", 1000), "ed25519:" + strings.Repeat("A", 44)} {
		_, err := parseCredential(bad)
		require.ErrorIs(t, err, fault.MalformedRequest, bad)
	}
}

// TestACrashWithinATransaction: what changes our own tables happens with the use
// of the approval, or not at all.
func TestACrashWithinATransaction(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	a := NewApprovals(o.store, slog.New(slog.DiscardHandler))
	crash := true
	a.Register(Kind{
		Name: "rename", Describe: func(*Action) fault.Text { return fault.Text{En: "Rename", Zh: "改名"} },
		Apply: func(ctx context.Context, tx pgx.Tx, _ *Action) (string, error) {
			_, err := tx.Exec(ctx, `insert into tenants (id, name) values (77, 'renamed')`)
			if crash {
				panic("crash")
			}
			return "", err
		},
	})
	ctx := t.Context()
	v, err := a.Propose(ctx, o.who("mara"), Proposal{Kind: "rename", Reason: "r"})
	require.NoError(t, err)
	v, err = a.Approve(ctx, o.who("cleo"), v.ID, v.Hash, o.signature("cleo", &v), "")
	require.NoError(t, err)
	require.Panics(t, func() { _, _ = a.Execute(ctx, o.who("mara"), v.ID, v.Hash) })
	now, err := a.One(ctx, o.tenant, v.ID)
	require.NoError(t, err)
	require.Equal(t, Approved, now.State)
	crash = false
	var done, refused atomic.Int64
	var wg sync.WaitGroup
	who := o.who("mara")
	for range 50 {
		wg.Go(func() {
			now, err := a.Execute(ctx, who, v.ID, v.Hash)
			switch {
			case err == nil && now.Outcome == Done:
				done.Add(1)
			case errors.Is(err, fault.ApprovalClosed):
				refused.Add(1)
			default:
				t.Error(now.Outcome, now.Result, err)
			}
		})
	}
	wg.Wait()
	require.Equal(t, []int64{1, 49}, []int64{done.Load(), refused.Load()})
}
