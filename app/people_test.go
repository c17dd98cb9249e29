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
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/intake"
	"github.com/moneta-pay/moneta/pay/ledger"
	"github.com/moneta-pay/moneta/pay/recon"
)

// bureau is a real decider with two people who may approve.
type bureau struct {
	t        *testing.T
	pool     *pgxpool.Pool
	in       *intake.Intake
	accounts *ledger.Reader
	desk     *access.Approvals
	gate     *recon.Gate
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
	b.in, err = intake.New(intake.Config{Submitter: b.losing, Accounts: b.accounts, Originals: commit.NewReader(b.pool)})
	require.NoError(t, err)
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{Service: "test"})
	require.NoError(t, err)
	b.gate = recon.NewGate(b.pool, tel)
	store := access.NewStore(b.pool)
	b.tenant, err = store.CreateTenant(t.Context(), "bureau")
	require.NoError(t, err)
	b.desk = access.NewApprovals(store, slog.New(slog.DiscardHandler))
	registerActions(b.desk, b.in, b.accounts, b.gate)
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
	return &access.Principal{Tenant: b.tenant, Operator: name, Role: access.Chief, Method: access.Ed25519}
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
