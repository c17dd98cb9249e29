package app

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/recon"
)

// mute is a bank whose statement has no lines, and which answers a question with word.
type mute struct {
	channel.Channel
	mu    sync.Mutex
	word  channel.Word
	asked int
}

func (*mute) Name() channel.Name { return "bank-ab" }

func (*mute) Capabilities() channel.Capabilities {
	return channel.Capabilities{QueryByReference: true, NotFoundMeansNever: true, ClientTimeout: time.Second}
}

func (m *mute) Query(context.Context, string) channel.Word {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked++
	return m.word
}

func (*mute) Statement(context.Context, int64, int) (channel.Statement, error) {
	return channel.Statement{}, nil
}

// unstated is a payout of 1000 that its bank said it had executed, and that its statement does
// not show: the break that recon opens about it.
func (b *bureau) unstated() (id pay.ID, account string, found recon.Break) {
	b.t.Helper()
	id, account = b.unknown()
	b.fact(pay.Fact{Kind: pay.Confirm, Payment: id, Attempt: 1, Source: "callback", Amount: money.Int(1000), Asset: "CZK", Channel: "bank-ab"})
	require.Eventually(b.t, func() bool {
		require.NoError(b.t, b.breaks.Run(b.t.Context()))
		page, _, err := b.breaks.Breaks(b.t.Context(), recon.BreakFilter{Class: "missing_in_statement"})
		require.NoError(b.t, err)
		for i := range page {
			if page[i].Payment == id.String() {
				found = page[i]
			}
		}
		return found.ID != 0
	}, 30*time.Second, 5*time.Millisecond)
	return id, account, found
}

// hand is the doctor's, as the API calls it.
func (b *bureau) hand(dry bool) api.BacklogWork {
	b.t.Helper()
	out, err := owing{b.breaks, b.desk}.propose(b.t.Context(), &api.Hasten{Act: api.ActPropose, Dry: dry, Reason: "incident inc-7"})
	require.NoError(b.t, err)
	return out
}

// yes is a person's approval.
func (b *bureau) yes(name string, v access.Approval) (access.Approval, error) {
	b.t.Helper()
	f := b.files[name]
	signature, err := f.Approve(&v.Action)
	require.NoError(b.t, err)
	return b.desk.Approve(b.t.Context(), b.who(name), v.ID, v.Hash, signature, "")
}

func (b *bureau) stands(id string) access.Approval {
	b.t.Helper()
	n, err := access.ParseApprovalID(id)
	require.NoError(b.t, err)
	v, err := b.desk.One(b.t.Context(), b.tenant, n)
	require.NoError(b.t, err)
	return v
}

// What recon finds is proposed by the doctor, once however often it asks; two people agree,
// it is posted once through a crash, the break is closed by it, and the books are even.
func TestWhatABreakOwesIsProposedAndPaid(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	ctx := t.Context()
	id, account, found := b.unstated()
	require.True(t, found.Owes())
	b.bank.word = channel.Word{Verdict: channel.NotFound}

	would := b.hand(true)
	require.Equal(t, 1, would.Items)
	require.Zero(t, b.bank.asked, "a dry run asks no bank")
	require.Zero(t, b.count(`select count(*) from approvals`))

	var group sync.WaitGroup // two nodes, or one and who takes over from it
	for range 4 {
		group.Go(func() { b.hand(false) })
	}
	group.Wait()
	require.EqualValues(t, 1, b.count(`select count(*) from approvals`))
	again := b.hand(false)
	require.Zero(t, again.Items, "it was asked once more after a crash before the journal knew")
	require.Len(t, again.Proposals, 1)
	v := b.stands(again.Proposals[0].Approval)
	require.Equal(t, []any{access.Proposed, true, access.ServiceName(b.tenant)}, []any{v.State, v.Service, v.Maker})
	require.Contains(t, v.Parameters["evidence"], "it does not know it")
	require.Contains(t, v.Words.En, "10.00 CZK")
	require.NotContains(t, v.Words.En, "渠道")
	require.Contains(t, v.Words.Zh, "渠道答复无此笔")
	require.Equal(t, id.String(), v.Parameters["payment"])
	list, _, err := b.desk.List(ctx, b.tenant, access.Proposed, access.About{Payment: id.String()}, access.ApprovalID{}, 10)
	require.NoError(t, err)
	require.Len(t, list, 1)

	v, err = b.yes("cleo", v)
	require.NoError(t, err)
	require.Equal(t, []any{access.Proposed, "cleo"}, []any{v.State, v.Endorser}, "the machine is none of the two people")
	_, err = b.desk.Execute(ctx, b.who("abe"), v.ID, v.Hash)
	require.ErrorIs(t, err, fault.ApprovalClosed)
	_, err = b.yes("cleo", v)
	require.ErrorIs(t, err, fault.ApprovalOwn, "one person is one person")
	v, err = b.yes("abe", v)
	require.NoError(t, err)
	require.Equal(t, []any{access.Approved, "cleo", "abe"}, []any{v.State, v.Endorser, v.Checker})

	before := b.available(account)
	b.losing.after = true
	_, err = b.desk.Execute(ctx, b.who("abe"), v.ID, v.Hash)
	require.ErrorIs(t, err, fault.CommitUnknown)
	b.losing.after = false
	_, err = b.pool.Exec(ctx, `update approvals set held_until = now() - interval '1 second' where finished_at is null and used_at is not null`)
	require.NoError(t, err)
	require.NoError(t, b.desk.Tidy(ctx))
	v = b.stands(v.ID.String())
	require.Equal(t, access.Done, v.Outcome, v.Result)
	require.Equal(t, []string{"-1000", "0"}, []string{before, b.available(account)})
	closed, err := b.breaks.Break(ctx, found.ID)
	require.NoError(t, err)
	require.Equal(t, []string{recon.Resolved, "posted", "approval " + v.ID.String()}, []string{closed.State, closed.Code, closed.ClosedBy})
	require.EqualValues(t, 0, b.count(`select coalesce(sum(amount), 0)::bigint from facts.postings`), "the books are even")
	require.Empty(t, b.hand(false).Proposals)
}

// Nothing is proposed of what does not say what it owes, what is closed, or what its bank
// does not bear out; and what was proposed is refused once something was learnt.
func TestWhatIsNotOwedIsNotProposed(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	ctx := t.Context()
	_, _, found := b.unstated()
	_, err := b.pool.Exec(ctx, `insert into breaks (class, channel, reference, asset, amount) values ('unmatched_outbound', 'bank-ab', 'x', 'CZK', 5)`)
	require.NoError(t, err)
	for _, w := range []struct {
		word channel.Word
		why  string
	}{
		{channel.Word{Verdict: channel.Confirmed}, "says that it executed it"},
		{channel.Word{Verdict: channel.Unknown, Reason: "timeout"}, "proves nothing"},
		{channel.Word{Verdict: channel.Acked}, "proves nothing"},
	} {
		b.bank.word = w.word
		got := b.hand(false)
		require.Zero(t, got.Items)
		require.Len(t, got.Proposals, 1, "what has no suggestion that says what it owes is not even asked for")
		require.Contains(t, got.Proposals[0].Why, w.why)
	}
	require.Zero(t, b.count(`select count(*) from approvals`))

	b.bank.word = channel.Word{Verdict: channel.Declined, Reason: "closed\naccount"}
	v := b.stands(b.hand(false).Proposals[0].Approval)
	require.Contains(t, v.Parameters["evidence"], "declined it (closed?account)")
	_, err = b.yes("cleo", v)
	require.NoError(t, err)
	v, err = b.yes("abe", v)
	require.NoError(t, err)
	_, err = b.pool.Exec(ctx, `update breaks set detail = detail || ', and the bank has written' where id = $1`, found.ID)
	require.NoError(t, err)
	_, err = b.desk.Execute(ctx, b.who("abe"), v.ID, v.Hash)
	require.ErrorIs(t, err, fault.ApprovalChanged)
	_, err = b.pool.Exec(ctx, `update breaks set amount = 999 where id = $1`, found.ID)
	require.NoError(t, err)
	_, err = b.pool.Exec(ctx, `update approvals set state = 'used', used_by = 'abe', used_at = now() where id = $1`, v.ID)
	require.ErrorContains(t, err, "closed, or has changed", "the database says so too")
	_, err = b.breaks.Close(ctx, found.ID, recon.Closing{State: recon.Explained, Who: "ann", Why: "the bank has it"})
	require.NoError(t, err)
	_, err = b.desk.Execute(ctx, b.who("abe"), v.ID, v.Hash)
	require.ErrorIs(t, err, fault.AlreadyFinal)
	_, err = b.breaks.Owed(ctx, found.ID)
	require.ErrorIs(t, err, fault.AlreadyFinal)
	require.Empty(t, b.hand(false).Proposals)
	require.Zero(t, b.count(`select count(*) from payments where kind = $1`, int16(pay.Compensation)))
}

// People's no ends it: the doctor does not ask for the same again. What ran out may be
// proposed anew, and a tenant that has disabled the machine hears nothing of it.
func TestPeoplesNoEndsWhatTheDoctorProposes(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	ctx := t.Context()
	_, _, found := b.unstated()
	b.bank.word = channel.Word{Verdict: channel.NotFound}
	v := b.stands(b.hand(false).Proposals[0].Approval)
	_, err := b.pool.Exec(ctx, `alter table approvals disable trigger approvals_guard`)
	require.NoError(t, err)
	_, err = b.pool.Exec(ctx, `update approvals set made_at = now() - interval '25 hours', expires_at = now() - interval '1 hour' where id = $1`, v.ID)
	require.NoError(t, err)
	_, err = b.pool.Exec(ctx, `alter table approvals enable trigger approvals_guard`)
	require.NoError(t, err)
	second := b.hand(false)
	require.Equal(t, 1, second.Items)
	v = b.stands(second.Proposals[0].Approval)
	require.Equal(t, access.Proposed, v.State)
	v, err = b.yes("cleo", v)
	require.NoError(t, err)
	_, err = b.desk.Reject(ctx, b.who("cleo"), v.ID, v.Hash, "I was too quick")
	require.NoError(t, err, "who agreed may still say no")
	third := b.hand(false)
	require.Equal(t, []any{0, string(access.Rejected)}, []any{third.Items, third.Proposals[0].State})

	_, _, other := b.unstated()
	require.NotEqual(t, found.ID, other.ID)
	_, err = access.NewStore(b.pool).Disable(ctx, b.tenant, access.ServiceName(b.tenant), "abe")
	require.NoError(t, err)
	for _, p := range b.hand(false).Proposals {
		if p.Break == strconv.FormatInt(other.ID, 10) {
			require.Contains(t, p.Why, "is disabled")
		}
	}
	require.EqualValues(t, 2, b.count(`select count(*) from approvals`))
}

// Whoever reads a list sees that a machine proposed it, and how many have agreed.
func TestAListSaysThatAMachineProposed(t *testing.T) {
	t.Parallel()
	v := shownApproval{Service: true, Maker: "doctor.1", State: "proposed"}
	require.Equal(t, []string{"doctor.1 (a machine; two people decide)", "0 of 2"}, []string{v.maker("en"), v.deciders("en")})
	require.Equal(t, []string{"doctor.1（机器；须两人同意）", "0/2"}, []string{v.maker("zh"), v.deciders("zh")})
	v.Endorser = "cleo"
	require.Equal(t, "cleo 1 of 2", v.deciders("en"))
	v.State, v.Checker = "approved", "abe"
	require.Equal(t, "cleo, abe", v.deciders("en"))
	v = shownApproval{Maker: "ann", State: "proposed"}
	require.Equal(t, []string{"ann", ""}, []string{v.maker("en"), v.deciders("en")})
}
