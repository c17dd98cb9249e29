package app

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/intake"
	"github.com/moneta-pay/moneta/pay/ledger"
	"github.com/moneta-pay/moneta/pay/recon"
	"github.com/moneta-pay/moneta/pay/settle"
)

// bureau is a real decider with two people who may approve.
type bureau struct {
	t        *testing.T
	pool     *pgxpool.Pool
	in       *intake.Intake
	accounts *ledger.Reader
	desk     *access.Approvals
	breaks   *recon.Recon
	inbox    *settle.Inbox
	gate     *recon.Gate
	bank     *mute
	losing   *losing
	tenant   int32
	files    map[string]access.KeyFile
}

// losing stands before the decider and loses what comes back, or what goes in.
type losing struct {
	commit.Submitter
	before, after bool
}

func (l *losing) Submit(ctx context.Context, f commit.Fact) (commit.Result, error) {
	lost := fault.New(fault.CommitUnknown, "")
	if l.before {
		return commit.Result{}, lost
	}
	res, err := l.Submitter.Submit(ctx, f)
	if l.after {
		return commit.Result{}, lost
	}
	return res, err
}

func newBureau(t *testing.T) *bureau {
	t.Helper()
	b := &bureau{t: t, pool: pgtest.Database(t), files: map[string]access.KeyFile{}}
	ctx, cancel := context.WithCancel(context.Background())
	node := commit.New(commit.Config{DSN: b.pool.Config().ConnString(), Logger: slog.New(slog.DiscardHandler)})
	done := make(chan error, 1)
	go func() { done <- node.Run(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-done) })
	require.Eventually(t, node.Leading, 30*time.Second, 2*time.Millisecond)
	b.losing = &losing{Submitter: node}
	b.accounts = ledger.NewReader(b.pool)
	var err error
	b.in, err = intake.New(intake.Config{
		Submitter: b.losing, Accounts: b.accounts, Originals: commit.NewReader(b.pool), Channels: []string{"bank-ab"},
		Linked: func(ctx context.Context, tenant pay.TenantID, link string) error {
			return linkedTo(b.breaks, nil)(ctx, tenant, link)
		},
		Contradicted: func(ctx context.Context, channel, reference string) (bool, error) {
			return b.breaks.Contradicted(ctx, channel, reference)
		},
	})
	require.NoError(t, err)
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{Service: "test"})
	require.NoError(t, err)
	b.gate = recon.NewGate(b.pool, tel)
	store := access.NewStore(b.pool)
	b.tenant, err = store.CreateTenant(t.Context(), "bureau")
	require.NoError(t, err)
	b.desk = access.NewApprovals(store, slog.New(slog.DiscardHandler))
	b.bank = &mute{}
	b.breaks = recon.New(recon.Config{
		Pool: b.pool, Telemetry: tel, Submitter: node, Channels: []channel.Channel{b.bank},
		Terms: map[channel.Name]recon.Terms{"bank-ab": {Calendar: recon.Calendar{Grace: time.Nanosecond}}},
	})
	b.inbox = settle.NewInbox(settle.InboxConfig{Pool: b.pool, Submitter: node, Telemetry: tel})
	registerActions(b.desk, b.in, b.accounts, b.gate, b.breaks, b.inbox)
	registerPaymentActions(b.desk, b.in, commit.NewReader(b.pool))
	for _, name := range []string{"abe", "cleo"} {
		file, credential, _, err := access.Enrol(name, access.Ed25519)
		require.NoError(t, err)
		_, err = store.AddLocally(t.Context(), b.tenant, name, access.Chief, credential)
		require.NoError(t, err)
		b.files[name] = file
	}
	return b
}

func (b *bureau) who(name string) *access.Principal {
	return &access.Principal{Tenant: b.tenant, Operator: name, Role: access.Chief, Method: access.Ed25519, Scopes: []access.Scope{access.Installation}}
}

// open opens an account of a user and returns its id.
func (b *bureau) open() string {
	b.t.Helper()
	res, err := b.in.OpenAccount(b.t.Context(), &intake.OpenRequest{Tenant: pay.TenantID(b.tenant), Key: rand16(), Asset: "CZK"})
	require.NoError(b.t, err)
	return pay.AccountID(res.Account.ID).String()
}

func rand16() string { return time.Now().Format(time.RFC3339Nano) }

// approved proposes as abe and approves as cleo.
func (b *bureau) approved(kind string, p access.Parameters) access.Approval {
	b.t.Helper()
	v, err := b.desk.Propose(b.t.Context(), b.who("abe"), access.Proposal{Kind: kind, Parameters: p, Reason: "r"})
	require.NoError(b.t, err)
	f := b.files["cleo"]
	signature, err := f.Approve(&v.Action)
	require.NoError(b.t, err)
	require.Len(b.t, signature, ed25519.SignatureSize)
	v, err = b.desk.Approve(b.t.Context(), b.who("cleo"), v.ID, v.Hash, signature, "")
	require.NoError(b.t, err)
	return v
}

func (b *bureau) account(id string) ledger.Account {
	b.t.Helper()
	n, err := intake.ParseAccount(id)
	require.NoError(b.t, err)
	a, err := b.accounts.Account(b.t.Context(), b.tenant, n)
	require.NoError(b.t, err)
	return a
}

func (b *bureau) setFloor(id, floor string) {
	b.t.Helper()
	n, err := intake.ParseAccount(id)
	require.NoError(b.t, err)
	_, err = b.in.SetFloor(b.t.Context(), pay.TenantID(b.tenant), n, floor, "test", pay.Key{})
	require.NoError(b.t, err)
}

// TestALimitIsSetOnceThroughACrash loses the Fact before and after its COMMIT. In
// between somebody takes the limit back: what has happened must not happen again,
// and what has not must happen still.
func TestALimitIsSetOnceThroughACrash(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	ctx := t.Context()
	for _, c := range []struct {
		name          string
		before, after bool
		want          string
	}{
		{"before the Fact's COMMIT", true, false, "-500"},
		{"after it", false, true, "-7"},
	} {
		id := b.open()
		v := b.approved("set_floor", access.Parameters{"account": id, "asset": "CZK", "floor": "-500"})
		require.Equal(t, "Let the account "+id+" pay until its balance is -5.00 CZK; its old limit ends", v.Words.En)
		b.losing.before, b.losing.after = c.before, c.after
		_, err := b.desk.Execute(ctx, b.who("abe"), v.ID, v.Hash)
		require.ErrorIs(t, err, fault.CommitUnknown)
		b.losing.before, b.losing.after = false, false
		b.setFloor(id, "-7")
		_, err = b.pool.Exec(ctx, `update approvals set held_until = now() - interval '1 second' where finished_at is null and used_at is not null`)
		require.NoError(t, err)
		require.NoError(t, b.desk.Tidy(ctx))
		now, err := b.desk.One(ctx, b.tenant, v.ID)
		require.NoError(t, err)
		require.Equal(t, []string{access.Done, id}, []string{now.Outcome, now.Result}, c.name)
		require.Equal(t, c.want, b.account(id).Floor.String(), c.name)
	}
}

func TestRegisteredActions(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	ctx := t.Context()
	id := b.open()
	run := func(kind string, p access.Parameters) access.Approval {
		v := b.approved(kind, p)
		v, err := b.desk.Execute(ctx, b.who("cleo"), v.ID, v.Hash)
		require.NoError(t, err)
		return v
	}
	require.Equal(t, access.Done, run("freeze_account", access.Parameters{"account": id}).Outcome)
	require.True(t, b.account(id).Frozen)
	require.Equal(t, access.Done, run("thaw_account", access.Parameters{"account": id}).Outcome)
	require.False(t, b.account(id).Frozen)

	_, err := b.pool.Exec(ctx, `insert into dispatch_pauses (reason, restored_to, last_payment, next_payment) values ('restored', now(), 1, 2)`)
	require.NoError(t, err)
	state, err := b.gate.State(ctx)
	require.NoError(t, err)
	tenants := b.who("abe")
	tenants.Scopes = nil
	_, err = b.desk.Propose(ctx, tenants, access.Proposal{Kind: "resume_dispatch", Parameters: access.Parameters{"paused_at": time.Now().Format(time.RFC3339Nano)}, Reason: "r"})
	require.ErrorIs(t, err, fault.Forbidden, "people of another tenant")
	require.Equal(t, access.Refused, run("resume_dispatch", access.Parameters{"paused_at": time.Now().Format(time.RFC3339Nano)}).Outcome, "another pause")
	require.Equal(t, access.Done, run("resume_dispatch", access.Parameters{"paused_at": state.PausedAt.Format(time.RFC3339Nano)}).Outcome)
	state, err = b.gate.State(ctx)
	require.NoError(t, err)
	require.Equal(t, []any{false, "operator abe"}, []any{state.Paused, state.ResumedBy})

	for _, p := range []access.Parameters{
		{"account": id, "asset": "EUR", "floor": "-1"},
		{"account": id, "asset": "CZK", "floor": "1"},
		{"account": id, "asset": "CZK", "floor": "a"},
		{"account": "acct_9999", "asset": "CZK", "floor": "-1"},
		{"account": "x", "asset": "CZK", "floor": "-1"},
		{"account": id, "asset": "CZK"},
	} {
		_, err := b.desk.Propose(ctx, b.who("abe"), access.Proposal{Kind: "set_floor", Parameters: p, Reason: "r"})
		require.Error(t, err, p)
	}
	for _, k := range b.desk.Kinds() {
		words := k.Describe(&access.Action{Parameters: access.Parameters{}})
		require.NotEmpty(t, words.En, k.Name)
		require.NotEqual(t, words.En, words.Zh, k.Name)
	}
}

// fact submits what a station would, past what loses.
func (b *bureau) fact(f pay.Fact) {
	b.t.Helper()
	f.At = time.Now()
	_, err := b.losing.Submitter.Submit(b.t.Context(), commit.Fact{Payment: &f})
	require.NoError(b.t, err)
}

// unknown returns a payout of 1000 whose first attempt nobody knows of, and the
// account that pays it.
func (b *bureau) unknown() (id pay.ID, account string) {
	b.t.Helper()
	account = b.open()
	b.setFloor(account, "-1000")
	res, err := b.in.Accept(b.t.Context(), &intake.Request{
		Tenant: pay.TenantID(b.tenant), Key: rand16(), Kind: "payout", From: account, Channel: "bank-ab", PayeeAccount: "123456", PayeeName: "Jan",
		Amount: "1000", Asset: "CZK",
	})
	require.NoError(b.t, err)
	id = res.Payment.ID
	b.fact(pay.Fact{Kind: pay.Intend, Payment: id, Attempt: 1, SendBy: time.Now().Add(-time.Minute), Channel: "bank-ab"})
	b.fact(pay.Fact{Kind: pay.Doubt, Payment: id, Attempt: 1, Source: "timer"})
	return id, account
}

func (b *bureau) payment(id pay.ID) pay.Payment {
	b.t.Helper()
	p, err := commit.NewReader(b.pool).Payment(b.t.Context(), pay.TenantID(b.tenant), id)
	require.NoError(b.t, err)
	return p
}

func (b *bureau) count(sql string, args ...any) (n int64) {
	b.t.Helper()
	require.NoError(b.t, b.pool.QueryRow(b.t.Context(), sql, args...).Scan(&n))
	return n
}

// lost executes while what goes to or comes from the decider is lost, then lets
// another node finish.
func (b *bureau) lost(v access.Approval, before, after bool) access.Approval {
	b.t.Helper()
	ctx := b.t.Context()
	b.losing.before, b.losing.after = before, after
	_, err := b.desk.Execute(ctx, b.who("abe"), v.ID, v.Hash)
	require.ErrorIs(b.t, err, fault.CommitUnknown)
	b.losing.before, b.losing.after = false, false
	_, err = b.pool.Exec(ctx, `update approvals set held_until = now() - interval '1 second' where finished_at is null and used_at is not null`)
	require.NoError(b.t, err)
	require.NoError(b.t, b.desk.Tidy(ctx))
	v, err = b.desk.One(ctx, b.tenant, v.ID)
	require.NoError(b.t, err)
	return v
}

const balanceOf = `select coalesce((select sum(amount) from facts.postings where account = $1), 0)::bigint`

func (b *bureau) balance(account string) int64 {
	b.t.Helper()
	return b.count(balanceOf, int64(b.account(account).ID))
}

func TestACompensationIsPaidOnceThroughACrash(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	ctx := t.Context()
	for name, lost := range map[string][2]bool{"before the Fact's COMMIT": {true, false}, "after it": {false, true}} {
		account := b.open()
		v := b.approved("compensate", access.Parameters{"account": account, "asset": "CZK", "amount": "250", "link": "incident 7"})
		require.Contains(t, v.Words.En, "Pay 2.50 CZK of our own money to the account "+account)
		v = b.lost(v, lost[0], lost[1])
		require.Equal(t, access.Done, v.Outcome, name)
		require.EqualValues(t, 250, b.balance(account), name)
		require.EqualValues(t, 1, b.count(`select count(*) from payments where to_account = $1`, int64(b.account(account).ID)), name)
	}
	require.Zero(t, b.count(`select sum(amount)::bigint from facts.postings`))

	// The ledger's refusal is the outcome, and stays one.
	v := b.approved("compensate", access.Parameters{"account": b.open(), "asset": "EUR", "amount": "250", "link": "incident 7"})
	v, err := b.desk.Execute(ctx, b.who("abe"), v.ID, v.Hash)
	require.NoError(t, err)
	require.Equal(t, access.Refused, v.Outcome)
	require.Contains(t, v.Result, "asset-mismatch")
	for _, p := range []access.Parameters{
		{"account": b.open(), "asset": "CZK", "amount": "0", "link": "x"},
		{"account": b.open(), "asset": "CZK", "amount": "-1", "link": "x"},
		{"account": b.open(), "asset": "CZK", "amount": "1"},
		{"account": b.open(), "asset": "CZK", "amount": "1", "link": "break 4711"},
		{"account": b.open(), "asset": "CZK", "amount": "1", "link": "x", "payment": "y"},
	} {
		_, err := b.desk.Propose(ctx, b.who("abe"), access.Proposal{Kind: "compensate", Parameters: p, Reason: "r"})
		require.Error(t, err, p)
	}
}

func evidence(id pay.ID, outcome string) access.Parameters {
	return access.Parameters{
		"payment": id.String(), "attempt": "1", "outcome": outcome, "evidence": "letter of the bank, 22 November",
		"evidence_sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	}
}

func TestEvidenceResolvesOnceThroughACrash(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	for _, c := range []struct {
		outcome       string
		before, after bool
		state         pay.State
		balance       int64
	}{
		{"executed", true, false, pay.Succeeded, -1000},
		{"executed", false, true, pay.Succeeded, -1000},
		{"absent", true, false, pay.Failed, 0},
		{"absent", false, true, pay.Failed, 0},
	} {
		id, account := b.unknown()
		require.EqualValues(t, -1000, b.balance(account), "unknown moves no money")
		v := b.lost(b.approved("resolve_unknown", evidence(id, c.outcome)), c.before, c.after)
		require.Equal(t, []string{access.Done, id.String() + " " + c.state.String()}, []string{v.Outcome, v.Result})
		require.Equal(t, c.state, b.payment(id).State)
		require.Equal(t, c.balance, b.balance(account), c.outcome)
		require.EqualValues(t, 1, b.count(`select count(*) from transitions where payment = $1 and source = 'operators' and reason like '%apr\_%'`, int64(id)))
	}
	require.Zero(t, b.count(`select sum(amount)::bigint from facts.postings`))
}

// TestTheChannelsWordIsBetter: what the channel has said by the time of the act
// stands, and evidence makes nothing of it.
func TestTheChannelsWordIsBetter(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	ctx := t.Context()
	words := map[string]pay.Fact{
		"absent":   {Kind: pay.Confirm, Attempt: 1, Source: "callback", Amount: money.Int(1000), Asset: "CZK", Channel: "bank-ab"},
		"executed": {Kind: pay.Decline, Attempt: 1, Source: "callback", Channel: "bank-ab"},
	}
	for outcome, word := range words {
		id, _ := b.unknown()
		v := b.approved("resolve_unknown", evidence(id, outcome))
		word.Payment = id
		b.fact(word)
		before := b.payment(id)
		_, err := b.desk.Execute(ctx, b.who("abe"), v.ID, v.Hash)
		require.ErrorIs(t, err, fault.IllegalTransition, "looked at right before the act")
		// And behind that look, at the decider itself.
		_, err = b.in.Resolve(ctx, &intake.Evidence{
			Tenant: pay.TenantID(b.tenant), Payment: id, Attempt: 1, Executed: outcome == "executed", Approval: v.ID.String(),
		})
		require.ErrorIs(t, err, fault.AlreadyFinal)
		after := b.payment(id)
		require.Equal(t, []any{before.State, before.Seq, before.Late}, []any{after.State, after.Seq, after.Late}, outcome)
		require.Zero(t, after.Late)
	}
	id, _ := b.unknown()
	other := evidence(id, "absent")
	other["attempt"] = "2"
	for _, p := range []access.Parameters{other, evidence(id, "maybe"), evidence(id+1000, "absent")} {
		_, err := b.desk.Propose(ctx, b.who("abe"), access.Proposal{Kind: "resolve_unknown", Parameters: p, Reason: "r"})
		require.Error(t, err, p)
	}
	_, err := b.desk.Propose(ctx, b.who("abe"), access.Proposal{Kind: "write_off", Parameters: access.Parameters{"payment": id.String()}, Reason: "r"})
	require.ErrorIs(t, err, fault.IllegalTransition, "a payout is no debt")
}

// TestEvidenceFromBeforeAnOrderIsNone: what two people agreed on before the attempt went
// out once more says nothing of that order; taken for proof, it would pay twice.
func TestEvidenceFromBeforeAnOrderIsNone(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	ctx := t.Context()
	id, _ := b.unknown()
	old := evidence(id, "absent")
	old["as_of"] = time.Now().Add(-2 * time.Minute).Format(time.RFC3339)
	_, err := b.desk.Propose(ctx, b.who("abe"), access.Proposal{Kind: "resolve_unknown", Parameters: old, Reason: "r"})
	require.ErrorIs(t, err, fault.IllegalTransition, "older than the first order")
	old["as_of"] = "yesterday"
	_, err = b.desk.Propose(ctx, b.who("abe"), access.Proposal{Kind: "resolve_unknown", Parameters: old, Reason: "r"})
	require.ErrorIs(t, err, fault.MalformedRequest)

	v, w := b.approved("resolve_unknown", evidence(id, "absent")), b.approved("resolve_unknown", evidence(id, "absent"))
	b.fact(pay.Fact{Kind: pay.Resend, Payment: id, Attempt: 1, SendBy: time.Now().Add(time.Second)})
	b.fact(pay.Fact{Kind: pay.Doubt, Payment: id, Attempt: 1, Source: "timer"})
	_, err = b.desk.Execute(ctx, b.who("abe"), v.ID, v.Hash)
	require.ErrorIs(t, err, fault.IllegalTransition, "looked at right before the act")
	_, err = b.pool.Exec(ctx, `update approvals set state = 'used', used_by = 'abe', used_at = now(), held_until = now() where id = $1`, w.ID)
	require.NoError(t, err)
	require.NoError(t, b.desk.Tidy(ctx), "and behind that look, when somebody else takes over")
	w, err = b.desk.One(ctx, b.tenant, w.ID)
	require.NoError(t, err)
	require.Equal(t, access.Refused, w.Outcome, w.Result)
	require.Equal(t, pay.Unknown, b.payment(id).State)
	_, err = b.in.Resolve(ctx, &intake.Evidence{Tenant: pay.TenantID(b.tenant), Payment: id, Attempt: 1, Executed: true, Approval: "letter"})
	require.NoError(t, err, "that it has executed is true whenever it was said")
	require.Equal(t, pay.Succeeded, b.payment(id).State)
}

func TestADebtIsWrittenOffOnceThroughACrash(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	for _, after := range []bool{false, true} {
		id, account := b.unknown()
		b.fact(pay.Fact{Kind: pay.Decline, Payment: id, Attempt: 1, Source: "callback", Channel: "bank-ab"})
		b.setFloor(account, "0") // nothing is left to cover what was executed after all
		b.fact(pay.Fact{Kind: pay.Confirm, Payment: id, Attempt: 1, Source: "callback", Amount: money.Int(1000), Asset: "CZK", Channel: "bank-ab"})
		debt := b.payment(id).Late
		require.Equal(t, pay.Processing, b.payment(debt).State)
		v := b.lost(b.approved("write_off", access.Parameters{"payment": debt.String()}), !after, after)
		require.Equal(t, []string{access.Done, debt.String() + " succeeded"}, []string{v.Outcome, v.Result})
		require.EqualValues(t, 1, b.count(`select count(*) from transitions where payment = $1 and source = 'operators'`, int64(debt)))
	}
	require.EqualValues(t, -2000, b.count(`select coalesce(sum(p.amount), 0)::bigint from facts.postings p join accounts a on a.id = p.account where a.name = 'loss:ops'`))
	require.Zero(t, b.count(`select sum(amount)::bigint from facts.postings`))
}
