package app

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/intake"
)

// disputed is a payout of 1000 whose two attempts were proven absent and that waits in
// review: bank-ab says that it executed the first.
func (b *bureau) disputed() (pay.ID, string) {
	b.t.Helper()
	id, account := b.unknown()
	prove := func(n int16) pay.Fact {
		return pay.Fact{Kind: pay.ProveAbsent, Payment: id, Attempt: n, AttemptState: pay.Absent, SendBy: b.payment(id).Attempt.SendBy}
	}
	b.fact(prove(1))
	b.fact(pay.Fact{Kind: pay.Intend, Payment: id, Attempt: 2, SendBy: time.Now().Add(-time.Minute), Channel: "bank-cd"})
	word := pay.Fact{Kind: pay.Confirm, Payment: id, Attempt: 1, Source: "callback", Amount: money.Int(1000), Asset: "CZK", Channel: "bank-ab", At: time.Now()}
	_, err := b.losing.Submitter.Submit(b.t.Context(), commit.Fact{Payment: &word})
	require.ErrorIs(b.t, err, fault.AlreadyFinal)
	_, err = b.pool.Exec(b.t.Context(), `insert into breaks (class, channel, payment, reference, asset, amount, executed) values ('contradiction', 'bank-ab', $1, $2, 'CZK', 1000, true)`,
		int64(id), pay.Reference(id, 1)) // as settle does for that word
	require.NoError(b.t, err)
	b.fact(prove(2))
	require.Equal(b.t, pay.InReview, b.payment(id).State)
	return id, account
}

// takenThenDeclined is a disputed payout whose second attempt was proven absent, taken
// after all, which is a break, and declined in the end: bank-cd never said that it
// executed it.
func (b *bureau) takenThenDeclined() pay.ID {
	b.t.Helper()
	id, _ := b.unknown()
	absent := func(n int16) pay.Fact {
		return pay.Fact{Kind: pay.ProveAbsent, Payment: id, Attempt: n, AttemptState: pay.Absent, SendBy: b.payment(id).Attempt.SendBy}
	}
	b.fact(absent(1))
	b.fact(pay.Fact{Kind: pay.Intend, Payment: id, Attempt: 2, SendBy: time.Now().Add(-time.Minute), Channel: "bank-cd"})
	b.fact(absent(2))
	b.fact(pay.Fact{Kind: pay.Ack, Payment: id, Attempt: 2, Source: "callback", Channel: "bank-cd"})
	_, err := b.pool.Exec(b.t.Context(), `insert into breaks (class, channel, payment, reference, asset, amount) values ('contradiction', 'bank-cd', $1, $2, 'CZK', 1000)`,
		int64(id), pay.Reference(id, 2)) // as settle does for that word
	require.NoError(b.t, err)
	word := pay.Fact{Kind: pay.Confirm, Payment: id, Attempt: 1, Source: "callback", Amount: money.Int(1000), Asset: "CZK", Channel: "bank-ab", At: time.Now()}
	_, err = b.losing.Submitter.Submit(b.t.Context(), commit.Fact{Payment: &word})
	require.ErrorIs(b.t, err, fault.AlreadyFinal)
	b.fact(pay.Fact{Kind: pay.Decline, Payment: id, Attempt: 2, Source: "callback", Channel: "bank-cd"})
	p := b.payment(id)
	require.Equal(b.t, []any{pay.InReview, pay.Declined}, []any{p.State, p.Attempt.State})
	return id
}

// names is evidence of what bank-ab executed; more are parameters and their values.
func names(id pay.ID, more ...string) access.Parameters {
	p := evidence(id, "executed")
	p["reference"], p["channel"], p["amount"], p["channel_id"] = pay.Reference(id, 1), "bank-ab", "1000", "AB-77"
	for i := 0; i < len(more); i += 2 {
		p[more[i]] = more[i+1]
	}
	return p
}

// Two people name the attempt that has executed, through a crash before and after the
// Fact's commit: the payment has succeeded by it, once, with its money in that channel's
// clearing.
func TestTwoPeopleNameTheAttemptThatExecutedThroughACrash(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	for _, after := range []bool{false, true} {
		id, account := b.disputed()
		require.EqualValues(t, -1000, b.balance(account), "what is disputed is held")
		v := b.approved("resolve_unknown", names(id))
		require.Contains(t, v.Words.En, "by the books of bank-ab that "+pay.Reference(id, 1)+", attempt 1 of "+id.String()+", was executed with 1000")
		v = b.lost(v, !after, after)
		require.Equal(t, []string{access.Done, id.String() + " succeeded"}, []string{v.Outcome, v.Result})
		p := b.payment(id)
		require.Equal(t, []any{pay.Succeeded, int16(1), pay.Confirmed, "AB-77", "bank-ab", int16(2)},
			[]any{p.State, p.Attempt.N, p.Attempt.State, p.Attempt.ChannelID, p.Channel, p.Tried})
		require.EqualValues(t, 1, b.count(`select count(*) from transitions where payment = $1 and to_state = 6 and source = 'operators' and reason like 'evidence of apr\_%'`, int64(id)))
		require.EqualValues(t, -1000, b.balance(account))
	}
	require.EqualValues(t, 2000, b.count(`select sum(p.amount)::bigint from facts.postings p join accounts a on a.id = p.account where a.name = 'clr:bank-ab:out'`))
	require.Zero(t, b.count(`select coalesce(sum(p.amount), 0)::bigint from facts.postings p join accounts a on a.id = p.account where a.name = 'clr:bank-cd:out'`))
	require.Zero(t, b.count(`select sum(amount)::bigint from facts.postings`))
	require.Zero(t, b.count(`select count(*) from open_payments`))
	require.Zero(t, b.count(`select coalesce(sum(open), 0)::bigint from hop_counts`))
}

// What does not name an attempt that its channel says it executed is refused, with what
// to do; looked at when it is proposed, right before the act, and behind that look.
func TestEvidenceOfAnotherAttemptIsRefused(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	ctx := t.Context()
	id, _ := b.disputed()
	other, _ := b.disputed()
	plain, _ := b.unknown()
	declined := b.takenThenDeclined()
	adopted, _ := b.disputed()
	_, err := b.pool.Exec(ctx, `insert into breaks (class, channel, payment, reference, state, closed_at) values ('restore_gap', 'bank-cd', $1, $2, 'resolved', now())`,
		int64(adopted), pay.Reference(adopted, 2)) // as the gap finder does for what it took over
	require.NoError(t, err)
	for name, c := range map[string]struct {
		p    access.Parameters
		says string
	}{
		"that it is absent":            {evidence(id, "absent"), "the evidence is about attempt 1, the payment's last is 2"},
		"without its name":             {evidence(id, "executed"), "name the attempt that has executed by reference, channel and amount"},
		"without an amount":            {names(id, "amount", ""), "name the attempt"},
		"taken, and declined":          {names(declined, "attempt", "2", "reference", pay.Reference(declined, 2), "channel", "bank-cd"), "is declined by its channel's own word"},
		"that a restored ledger has":   {names(adopted, "attempt", "2", "reference", pay.Reference(adopted, 2), "channel", "bank-cd"), "is absent by its channel's own word"},
		"of its channel alone":         {names(plain, "amount", "", "reference", ""), "name the attempt by reference, channel and amount"},
		"of its channel's id alone":    {names(plain, "amount", "", "reference", "", "channel", ""), "name the attempt by reference, channel and amount"},
		"of another channel's":         {names(plain, "channel", "bank-cd"), "attempt 1 went to bank-ab"},
		"proven absent, and no word":   {names(id, "attempt", "2", "reference", pay.Reference(id, 2), "channel", "bank-cd"), "is absent by its channel's own word"},
		"that was never made":          {names(id, "attempt", "3", "reference", pay.Reference(id, 3)), "the payment's last is 2"},
		"of another payment":           {names(id, "reference", pay.Reference(other, 1)), "this is an attempt of " + other.String()},
		"another than the approval's":  {names(id, "reference", pay.Reference(id, 2)), "this is attempt 2, and the evidence is filed for attempt 1"},
		"no reference of ours":         {names(id, "reference", "INV-1"), "this is no reference of ours"},
		"from another channel's books": {names(id, "channel", "bank-cd"), "attempt 1 went to bank-ab"},
		"with another amount":          {names(id, "amount", "1001"), "the payment is of 1000"},
	} {
		for _, maybe := range []string{"reference", "channel", "amount"} {
			if c.p[maybe] == "" {
				delete(c.p, maybe)
			}
		}
		_, err := b.desk.Propose(ctx, b.who("abe"), access.Proposal{Kind: "resolve_unknown", Parameters: c.p, Reason: "r"})
		require.ErrorIs(t, err, fault.IllegalTransition, name)
		require.ErrorContains(t, err, c.says, name)
	}
	// Two pairs of people name it, and one refuses the payment in between.
	one, two := b.approved("resolve_unknown", names(id)), b.approved("resolve_unknown", names(other))
	b.fact(pay.Fact{Kind: pay.ReviewNo, Payment: id, Source: "operator"})
	_, err = b.desk.Execute(ctx, b.who("abe"), one.ID, one.Hash)
	require.ErrorIs(t, err, fault.IllegalTransition, "looked at right before the act")
	_, err = b.in.Resolve(ctx, &intake.Evidence{Tenant: pay.TenantID(b.tenant), Payment: id, Attempt: 1, Executed: true, Approval: one.ID.String()})
	require.Error(t, err, "and behind that look")
	require.Equal(t, pay.Cancelled, b.payment(id).State)
	_, err = b.desk.Execute(ctx, b.who("abe"), two.ID, two.Hash)
	require.NoError(t, err)
	require.Equal(t, pay.Succeeded, b.payment(other).State)
	require.Zero(t, b.count(`select sum(amount)::bigint from facts.postings`))
	require.NotContains(t, two.Words.Zh+two.Words.En, "%!")
}

// Of an attempt that is plainly unknown, the evidence may name it as well; what it says
// of the channel's own name of it is kept.
func TestEvidenceOfAnUnknownAttemptMayNameIt(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	id, _ := b.unknown()
	v := b.approved("resolve_unknown", names(id))
	require.Contains(t, v.Words.En, "by the books of bank-ab that "+pay.Reference(id, 1)+", attempt 1 of "+id.String()+", was executed with 1000 (smallest units)")
	_, err := b.desk.Execute(t.Context(), b.who("abe"), v.ID, v.Hash)
	require.NoError(t, err)
	p := b.payment(id)
	require.Equal(t, []any{pay.Succeeded, "bank-ab", "AB-77"}, []any{p.State, p.Channel, p.Attempt.ChannelID})
}

// An open break of an attempt that went to another channel than the last one counts: the
// payment's status must not call it safe.
func TestABreakOfAnEarlierChannelCounts(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	id, _ := b.disputed()
	require.Equal(t, "bank-cd", b.payment(id).Channel)
	line, err := commit.NewReader(b.pool).Timeline(t.Context(), pay.TenantID(b.tenant), id)
	require.NoError(t, err)
	require.EqualValues(t, 1, line.Breaks)
}
