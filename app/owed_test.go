package app

import (
	"context"
	"strconv"
	"strings"
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

// mute is a bank whose statement has the lines that it is given, and which answers a
// question with word.
type mute struct {
	channel.Channel
	mu    sync.Mutex
	word  channel.Word
	asked int
	lines []channel.Line
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

func (m *mute) Statement(_ context.Context, after int64, limit int) (channel.Statement, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	lines := m.lines[min(int(after), len(m.lines)):]
	return channel.Statement{Lines: lines[:min(limit, len(lines))], HasMore: len(lines) > limit}, nil
}

// states puts a payout of 1000 on the statement.
func (m *mute) states(reference string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := int64(len(m.lines) + 1)
	m.lines = append(m.lines, channel.Line{
		Seq: n, ID: "L" + strconv.FormatInt(n, 10), Direction: channel.Out, Reference: reference, Amount: money.Int(1000), Asset: "CZK", BookedAt: time.Now(),
	})
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
	out, err := owing{b.breaks, b.desk}.propose(b.t.Context(), &api.Hasten{Act: api.ActPropose, Dry: dry, Reason: "inc-20261123-010203"})
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
	last := b.hand(false).Proposals
	require.Len(t, last, 2)
	require.Equal(t, []string{strconv.FormatInt(other.ID, 10), ""}, []string{last[1].Break, last[1].Approval})
	require.Contains(t, last[1].Why, "is disabled")
	require.EqualValues(t, 2, b.count(`select count(*) from approvals`))
}

// agreed is what the doctor proposes about the break, agreed to by both people.
func (b *bureau) agreed(breakID int64) access.Approval {
	b.t.Helper()
	b.bank.word = channel.Word{Verdict: channel.NotFound}
	for _, p := range b.hand(false).Proposals {
		if p.Break != strconv.FormatInt(breakID, 10) {
			continue
		}
		require.NotEmpty(b.t, p.Approval, p.Why)
		v, err := b.yes("cleo", b.stands(p.Approval))
		require.NoError(b.t, err)
		v, err = b.yes("abe", v)
		require.NoError(b.t, err)
		return v
	}
	b.t.Fatal("nothing is proposed about the break")
	return access.Approval{}
}

// unheld lets the next round of Tidy take up what nobody finished.
func (b *bureau) unheld() {
	b.t.Helper()
	_, err := b.pool.Exec(b.t.Context(), `update approvals set held_until = now() - interval '1 second' where finished_at is null and used_at is not null`)
	require.NoError(b.t, err)
}

// past makes an approval one that was proposed and agreed to for until an hour ago.
func (b *bureau) past(v access.Approval) {
	b.t.Helper()
	ctx := b.t.Context()
	v.ExpiresAt = time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	hash := v.Action.Hash()
	sign := func(name string) []byte {
		f := b.files[name]
		signature, err := f.Approve(&v.Action)
		require.NoError(b.t, err)
		return signature
	}
	_, err := b.pool.Exec(ctx, `alter table approvals disable trigger approvals_guard`)
	require.NoError(b.t, err)
	_, err = b.pool.Exec(ctx, `update approvals set made_at = $2::timestamptz - interval '23 hours', expires_at = $2, hash = $3, endorse_signature = $4, check_signature = $5 where id = $1`,
		v.ID, v.ExpiresAt, hash[:], sign(v.Endorser), sign(v.Checker))
	require.NoError(b.t, err)
	_, err = b.pool.Exec(ctx, `alter table approvals enable trigger approvals_guard`)
	require.NoError(b.t, err)
}

func (b *bureau) compensations() int64 {
	b.t.Helper()
	return b.count(`select count(*) from payments where kind = $1`, int16(pay.Compensation))
}

// A break that cannot be closed once its compensation is posted leaves the approval used and
// without an outcome, however often that is, and over its expiry: it is never approved again,
// refused, or proposed anew. Then it is finished, and paid once.
func TestWhatIsPaidIsNeverCalledUnpaid(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	ctx := t.Context()
	for i, expired := range []bool{false, true} {
		_, _, found := b.unstated()
		v := b.agreed(found.ID)
		_, err := b.pool.Exec(ctx, `create or replace function not_now() returns trigger language plpgsql as $$ begin raise exception 'not now' using errcode = '57P03'; end $$;
			create trigger not_now before update on breaks for each row when (new.closed_by like 'approval%') execute function not_now()`)
		require.NoError(t, err)
		_, err = b.desk.Execute(ctx, b.who("abe"), v.ID, v.Hash)
		require.ErrorIs(t, err, fault.CommitUnknown)
		if expired {
			b.past(v)
		}
		b.unheld()
		require.Error(t, b.desk.Tidy(ctx))
		now := b.stands(v.ID.String())
		require.Equal(t, []any{access.Used, ""}, []any{now.State, now.Outcome})
		for _, p := range b.hand(false).Proposals {
			require.False(t, p.New)
		}
		for name, sql := range map[string]string{
			"put back": `update approvals set state = 'approved', used_by = null, used_at = null, held_until = null where id = $1`,
			"refused":  `update approvals set outcome = 'refused', finished_at = now() where id = $1`,
		} {
			_, err = b.pool.Exec(ctx, sql, v.ID)
			require.ErrorContains(t, err, "MO001", name)
		}
		_, err = b.pool.Exec(ctx, `drop trigger not_now on breaks`)
		require.NoError(t, err)
		b.unheld()
		require.NoError(t, b.desk.Tidy(ctx))
		now = b.stands(v.ID.String())
		require.Equal(t, []any{access.Used, access.Done}, []any{now.State, now.Outcome}, now.Result)
		closed, err := b.breaks.Break(ctx, found.ID)
		require.NoError(t, err)
		require.Equal(t, "approval "+v.ID.String(), closed.ClosedBy)
		require.EqualValues(t, i+1, b.compensations())
	}
}

// What two people paid by the payment's name in the link alone is about that payment too:
// its line is told of when it comes, and no machine proposes the same.
func TestACompensationIsAboutThePaymentOfItsLink(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	ctx := t.Context()
	id, account, found := b.unstated()
	v := b.approved("compensate", access.Parameters{"account": account, "asset": "CZK", "amount": "1000", "link": id.String()})
	v, err := b.desk.Execute(ctx, b.who("abe"), v.ID, v.Hash)
	require.NoError(t, err)
	paid, _, _ := strings.Cut(v.Result, " ")
	of, err := pay.ParseID(paid)
	require.NoError(t, err)
	require.Equal(t, id, b.payment(of).Original)
	_, err = b.breaks.Owed(ctx, found.ID)
	require.ErrorIs(t, err, fault.IllegalTransition, "somebody has paid it")
	b.bank.states(pay.Reference(id, 1))
	require.NoError(t, b.breaks.Run(ctx))
	page, _, err := b.breaks.Breaks(ctx, recon.BreakFilter{Class: "compensated_executed"})
	require.NoError(t, err)
	require.Len(t, page, 1)
	require.Equal(t, id.String(), page[0].Payment)
}

// A line that comes between the use of an approval and its posting forbids it. One that comes
// after the posting, before the break is closed or long after, is told of: nobody is paid
// twice without somebody knowing.
func TestALineAndACompensationAreNeverBothQuiet(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	ctx := t.Context()
	run := func(id pay.ID) {
		b.bank.states(pay.Reference(id, 1))
		require.NoError(t, b.breaks.Run(ctx))
		require.Equal(t, pay.SettlementMatched, b.payment(id).Settlement)
	}
	twice := func(id pay.ID) (found []recon.Break) {
		page, _, err := b.breaks.Breaks(ctx, recon.BreakFilter{Class: "compensated_executed"})
		require.NoError(t, err)
		for i := range page {
			if page[i].Payment == id.String() {
				found = append(found, page[i])
			}
		}
		return found
	}

	// Before the posting.
	id, account, found := b.unstated()
	v := b.agreed(found.ID)
	b.losing.before = true
	_, err := b.desk.Execute(ctx, b.who("abe"), v.ID, v.Hash)
	require.ErrorIs(t, err, fault.CommitUnknown)
	b.losing.before = false
	run(id)
	b.unheld()
	require.NoError(t, b.desk.Tidy(ctx))
	v = b.stands(v.ID.String())
	require.Equal(t, []any{access.Used, access.Refused}, []any{v.State, v.Outcome}, v.Result)
	require.Zero(t, b.compensations())
	require.Equal(t, "-1000", b.available(account))
	require.Empty(t, twice(id))

	// After the posting, before the break is closed.
	id, _, found = b.unstated()
	v = b.agreed(found.ID)
	b.losing.after = true
	_, err = b.desk.Execute(ctx, b.who("abe"), v.ID, v.Hash)
	require.ErrorIs(t, err, fault.CommitUnknown)
	b.losing.after = false
	b.bank.states(pay.Reference(id, 1))
	_, err = b.breaks.Close(ctx, found.ID, recon.Closing{State: recon.Explained, Who: "ann", Why: "the bank has it"})
	require.NoError(t, err)
	b.unheld()
	require.NoError(t, b.desk.Tidy(ctx))
	v = b.stands(v.ID.String())
	require.Equal(t, access.Done, v.Outcome, v.Result)
	require.Contains(t, v.Result, "was closed meanwhile by ann")
	told := twice(id)
	require.Len(t, told, 1)
	require.Equal(t, []any{recon.Open, int16(recon.MoneyAtRisk), "1000", ""}, []any{told[0].State, told[0].Severity, told[0].Amount.String(), told[0].Line})
	require.NoError(t, b.breaks.Run(ctx))
	told = twice(id)
	require.Len(t, told, 1, "its line is the same break's")
	require.NotEmpty(t, told[0].Line)

	// Long after.
	id, _, found = b.unstated()
	v = b.agreed(found.ID)
	v, err = b.desk.Execute(ctx, b.who("abe"), v.ID, v.Hash)
	require.NoError(t, err)
	require.Equal(t, access.Done, v.Outcome, v.Result)
	require.NoError(t, b.breaks.Run(ctx))
	require.Empty(t, twice(id))
	run(id)
	told = twice(id)
	require.Len(t, told, 1)
	require.Equal(t, []any{recon.Open, int16(recon.MoneyAtRisk), "1000", "recall"}, []any{told[0].State, told[0].Severity, told[0].Amount.String(), told[0].Suggestion.Action})
	require.Contains(t, told[0].Suggestion.En, "Recover it from the holder")
	_, err = b.breaks.Close(ctx, told[0].ID, recon.Closing{State: recon.Resolved, Code: "recovered", Who: "ann", Why: "the holder has sent it back"})
	require.NoError(t, err)
	require.NoError(t, b.breaks.Run(ctx))
	require.Empty(t, twice(id), "told once")
	require.EqualValues(t, 0, b.count(`select coalesce(sum(amount), 0)::bigint from facts.postings`))
}

// People's compensation and the machine's exclude each other, whichever comes first, by the
// break, by another break of the payment, and by the payment: as long as one stands, and for
// good once one is paid.
func TestPeopleAndTheMachineDoNotPayForTheSame(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	ctx := t.Context()
	id, account, found := b.unstated()
	link := "break " + strconv.FormatInt(found.ID, 10)
	people := []access.Parameters{
		{"account": account, "asset": "CZK", "amount": "1000", "link": link},
		{"account": account, "asset": "CZK", "amount": "1000", "link": "incident 7", "payment": id.String()},
		{"account": account, "asset": "CZK", "amount": "1000", "link": id.String()},
	}
	refused := func() {
		t.Helper()
		for _, p := range people {
			_, err := b.desk.Propose(ctx, b.who("abe"), access.Proposal{Kind: "compensate", Parameters: p, Reason: "r"})
			require.ErrorIs(t, err, fault.IllegalTransition, p)
			require.ErrorContains(t, err, "makes up for the same", p)
		}
	}
	not := func(why string) {
		t.Helper()
		out := b.hand(false)
		require.Zero(t, out.Items)
		require.Len(t, out.Proposals, 1)
		require.Contains(t, out.Proposals[0].Why, why)
	}
	// People first: proposed, carried out at the same time by another road, and paid.
	for _, p := range people {
		v, err := b.desk.Propose(ctx, b.who("abe"), access.Proposal{Kind: "compensate", Parameters: p, Reason: "r"})
		require.NoError(t, err)
		b.bank.word = channel.Word{Verdict: channel.NotFound}
		not("makes up for the same")
		_, err = b.desk.Withdraw(ctx, b.who("abe"), v.ID)
		require.NoError(t, err)
	}
	// The machine first.
	v := b.agreed(found.ID)
	refused()
	_, err := b.pool.Exec(ctx, `insert into approvals (id, tenant, kind, parameters, reason, hash, maker, made_at, expires_at)
		values (gen_random_uuid(), $1, 'compensate', $2, 'r', sha256('x'), 'abe', now(), now() + interval '1 hour')`, b.tenant, people[0].Canonical())
	require.ErrorContains(t, err, "another approval makes up for the same", "the database says so too")
	v, err = b.desk.Execute(ctx, b.who("abe"), v.ID, v.Hash)
	require.NoError(t, err)
	require.Equal(t, access.Done, v.Outcome, v.Result)
	refused()
	require.EqualValues(t, 1, b.compensations())

	// Paid by people, and the break left open.
	for i := range people {
		id, account, found = b.unstated()
		p := []access.Parameters{
			{"account": account, "asset": "CZK", "amount": "1000", "link": "break " + strconv.FormatInt(found.ID, 10)},
			{"account": account, "asset": "CZK", "amount": "1000", "link": "incident 7", "payment": id.String()},
		}[i%2]
		v = b.approved("compensate", p)
		v, err = b.desk.Execute(ctx, b.who("abe"), v.ID, v.Hash)
		require.NoError(t, err)
		require.Equal(t, access.Done, v.Outcome, v.Result)
		not("is booked about it already")
		_, err = b.pool.Exec(ctx, `insert into approvals (id, tenant, kind, parameters, reason, hash, maker, made_at, expires_at)
			values (gen_random_uuid(), $1, 'compensate_break', $2, 'r', sha256('x'), $3, now(), now() + interval '1 hour')`, b.tenant,
			access.Parameters{"break": strconv.FormatInt(found.ID, 10), "asset": "CZK", "amount": "1000", "link": "break " + strconv.FormatInt(found.ID, 10)}.Canonical(), access.ServiceName(b.tenant))
		require.ErrorContains(t, err, "owes so much", "the database says so too")
		_, err = b.breaks.Close(ctx, found.ID, recon.Closing{State: recon.Resolved, Who: "ann", Why: "paid"})
		require.NoError(t, err)
	}

	// Sent back by the bank (T13).
	id, _, _ = b.unstated()
	b.fact(pay.Fact{Kind: pay.Returned, Payment: id, Attempt: 1, Source: "callback", Amount: money.Int(1000), Asset: "CZK", Channel: "bank-ab", ChannelID: "R1", Key: pay.EventKey(0, "bank-ab", pay.Return, "R1")})
	not("is booked about it already")
}

// Nothing is proposed while anything else says that money may have left: another break of the
// payment, another attempt, a line about one, or its channel's word.
func TestEveryAttemptIsLookedAt(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	ctx := t.Context()
	id, _, found := b.unstated()
	b.bank.word = channel.Word{Verdict: channel.NotFound}
	attempt := func(state pay.AttemptState) string {
		return `insert into attempts (payment, n, channel, reference, state, send_by, intended_at) select $1, 2, 'bank-cd', 'x2', ` + strconv.Itoa(int(state)) + `, now(), now()`
	}
	const drop = `delete from attempts where payment = $1 and n = 2`
	for _, c := range []struct{ sql, undo, why string }{
		{
			`insert into breaks (class, channel, payment, reference, asset, amount) values ('double_execution', 'bank-cd', $1, 'x', 'CZK', 5)`,
			`delete from breaks where payment = $1 and reference = 'x'`, "(double_execution) is open about the same payment",
		},
		{
			`insert into breaks (class, channel, payment, reference, asset, amount, executed, state, closed_at) values ('contradiction', 'bank-cd', $1, 'x', 'CZK', 5, true, 'explained', now())`,
			`delete from breaks where payment = $1 and reference = 'x'`, "has said that it executed one of its attempts",
		},
		{attempt(pay.AttemptUnknown), drop, "attempt 2 (x2) may have executed"},
		{attempt(pay.Acked), drop, "attempt 2 (x2) may have executed"},
	} {
		_, err := b.pool.Exec(ctx, c.sql, int64(id))
		require.NoError(t, err)
		_, err = b.breaks.Owed(ctx, found.ID)
		require.ErrorIs(t, err, fault.IllegalTransition, c.sql)
		require.ErrorContains(t, err, c.why)
		_, err = b.pool.Exec(ctx, c.undo, int64(id))
		require.NoError(t, err)
	}
	_, err := b.pool.Exec(ctx, attempt(pay.Absent), int64(id))
	require.NoError(t, err)
	_, err = b.breaks.Owed(ctx, found.ID)
	require.NoError(t, err, "an attempt that was proven absent says nothing")
	_, err = b.pool.Exec(ctx, `insert into statement_lines (channel, seq, line_id, direction, reference, amount, fee, asset, remittance, booked_at, payment, outcome)
		values ('bank-cd', 1, 'L9', 1, 'x2', 1000, 0, 'CZK', '', now(), $1, 'wrong_state')`, int64(id))
	require.NoError(t, err)
	_, err = b.breaks.Owed(ctx, found.ID)
	require.ErrorContains(t, err, "the statement has the line L9 about attempt 2")
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

// What was proposed hours ago is asked for once more right before it is posted: unless its
// channel still disowns it, it is refused for good, and another one may follow.
func TestTheChannelIsAskedRightBeforeThePosting(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	ctx := t.Context()
	_, _, found := b.unstated()
	for _, word := range []channel.Word{{Verdict: channel.Confirmed}, {Verdict: channel.Unknown}} {
		v := b.agreed(found.ID)
		require.LessOrEqual(t, v.ExpiresAt.Sub(v.MadeAt), 4*time.Hour)
		require.Equal(t, "The doctor found that the statement does not show what we called sent: inc-20261123-010203.", v.Reason)
		require.Contains(t, v.Parameters["evidence"], "which was called executed at 2")
		require.Contains(t, v.Parameters["evidence"], "(callback)")
		b.bank.word = word
		v, err := b.desk.Execute(ctx, b.who("abe"), v.ID, v.Hash)
		require.NoError(t, err)
		require.Equal(t, []any{access.Used, access.Refused}, []any{v.State, v.Outcome}, v.Result)
	}
	require.Zero(t, b.compensations())
	v := b.agreed(found.ID)
	v, err := b.desk.Execute(ctx, b.who("abe"), v.ID, v.Hash)
	require.NoError(t, err)
	require.Equal(t, access.Done, v.Outcome, v.Result)
	require.EqualValues(t, 1, b.compensations())
}

// The holder gets back all that it cost him, our fee with it.
func TestTheFeeIsOwedToo(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	ctx := t.Context()
	id, account, found := b.unstated()
	_, err := b.pool.Exec(ctx, `update payments set fee = 20 where id = $1`, int64(id)) // no request carries one yet
	require.NoError(t, err)
	v := b.agreed(found.ID)
	require.Equal(t, "1020", v.Parameters["amount"])
	require.Contains(t, v.Words.En, "10.20 CZK")
	require.Contains(t, v.Words.En, "Our fee of 0.20 CZK is in the amount")
	require.Contains(t, v.Words.Zh, "0.20 CZK")
	v, err = b.desk.Execute(ctx, b.who("abe"), v.ID, v.Hash)
	require.NoError(t, err)
	require.Equal(t, access.Done, v.Outcome, v.Result)
	require.Equal(t, "20", b.available(account))
}

// Breaks that cannot be answered for keep no others waiting: the oldest are looked at first,
// a turn says where to go on, a silent channel is asked once in it, and what is wrong with one
// is said of that one.
func TestOneBreakKeepsNoOtherWaiting(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	ctx := t.Context()
	_, _, first := b.unstated()
	_, _, second := b.unstated()
	b.bank.word = channel.Word{Verdict: channel.Unknown}
	out := b.hand(false)
	require.Len(t, out.Proposals, 2)
	require.Equal(t, []string{strconv.FormatInt(first.ID, 10), strconv.FormatInt(second.ID, 10)}, []string{out.Proposals[0].Break, out.Proposals[1].Break})
	require.Equal(t, 1, b.bank.asked)
	require.Contains(t, out.Proposals[1].Why, "asked another time")

	// Twenty that are refused stand between the two and another one.
	b.bank.word = channel.Word{Verdict: channel.NotFound}
	for range 20 {
		_, _, last := b.unstated()
		_, err := b.pool.Exec(ctx, `insert into breaks (class, channel, payment, reference, asset, amount) select 'contradiction', channel, payment, reference, asset, 1 from breaks where id = $1`, last.ID)
		require.NoError(t, err)
	}
	_, _, newest := b.unstated()
	out = b.hand(false)
	require.Equal(t, 2, out.Items)
	require.NotEmpty(t, out.Next)
	after, err := strconv.ParseInt(out.Next, 10, 64)
	require.NoError(t, err)
	out, err = owing{b.breaks, b.desk}.propose(ctx, &api.Hasten{Act: api.ActPropose, After: after})
	require.NoError(t, err)
	require.Empty(t, out.Next)
	require.Equal(t, 1, out.Items)
	require.Equal(t, strconv.FormatInt(newest.ID, 10), out.Proposals[len(out.Proposals)-1].Break)
}
