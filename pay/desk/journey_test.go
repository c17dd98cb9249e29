package desk_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/desk"
	"github.com/moneta-pay/moneta/pay/ledger"
)

func (r *road) account(name string) pay.AccountID {
	r.t.Helper()
	res, err := r.node.Submit(r.t.Context(), commit.Fact{Account: &ledger.AccountFact{Kind: ledger.Open, Key: padded(name), New: ledger.Account{
		Tenant: 1, Kind: ledger.User, Asset: "CZK", Name: name,
	}}})
	require.NoError(r.t, err)
	return pay.AccountID(res.Account.ID)
}

// padded makes a key of a short name.
func padded(name string) (k [16]byte) {
	copy(k[:], name)
	return k
}

func (r *road) accept(name string, p pay.Payment) pay.Payment {
	r.t.Helper()
	p.Tenant, p.Asset, p.Channel, p.Key = 1, "CZK", "bank-ab", padded(name)
	return r.fact(pay.Fact{Kind: pay.Accept, New: &p, Fingerprint: padded(name)})
}

// asked is the answer to one question about a payment.
func (r *road) asked(id pay.ID, question string) desk.Answer {
	r.t.Helper()
	j, err := r.desk.Journey(r.t.Context(), 1, id)
	require.NoError(r.t, err)
	for _, a := range j.Answers {
		if a.Question == question {
			return a
		}
	}
	r.t.Fatal("no such question: " + question)
	return desk.Answer{}
}

// line puts a line into the bank's statement.
func (r *road) line(seq int, reference string, direction int16, outcome string) {
	r.t.Helper()
	_, err := r.pool.Exec(r.t.Context(), `insert into statement_lines (channel, seq, line_id, direction, reference, amount, fee, asset, remittance, booked_at, outcome)
	  values ('bank-ab', $1::bigint, 'L' || $1::bigint, $2, $3, 100, 0, 'CZK', '', now(), $4)`, seq, direction, reference, outcome)
	require.NoError(r.t, err)
}

func TestADepositThatCameTwiceIsSeen(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	to := r.account("alice")
	d := r.accept("deposit", pay.Payment{Kind: pay.Deposit, Amount: money.Int(100), To: to})
	r.fact(pay.Fact{Kind: pay.Confirm, Payment: d.ID, Source: "callback", Amount: d.Amount, Asset: d.Asset})
	reference := pay.Reference(d.ID, 0)
	r.line(1, reference, 2, "matched")
	r.line(2, reference, 2, "duplicate_line")
	r.line(3, reference, 1, "matched") // charged back: it went the other way
	require.Equal(t, "no", r.asked(d.ID, "duplicated").Answer)
	require.Equal(t, "not_needed", r.asked(d.ID, "dispatched").Answer)
	r.line(4, reference, 2, "double_execution")
	require.Equal(t, "yes", r.asked(d.ID, "duplicated").Answer, "its payer paid twice")

	late := r.accept("late", pay.Payment{Kind: pay.Deposit, Amount: money.Int(70), To: to})
	r.fact(pay.Fact{Kind: pay.Decline, Payment: late.ID, Source: "callback"})
	r.fact(pay.Fact{Kind: pay.Confirm, Payment: late.ID, Source: "callback", Amount: late.Amount, Asset: late.Asset})
	require.Equal(t, "no", r.asked(late.ID, "duplicated").Answer, "credited once, late")
	_, err := r.pool.Exec(t.Context(), `insert into transfers select (select max(id) + 1 from transfers), x.payment, debit, credit, x.amount, debit_seq + 100, credit_seq + 100,
	    debit_balance, credit_balance, x.transition, x.effective_at, booked_at from transfers x join payments p on p.id = x.payment and p.original = $1`, int64(late.ID))
	require.NoError(t, err)
	_, err = r.pool.Exec(t.Context(), `update transitions set transfers = transfers + 1 where payment in (select id from payments where original = $1) and transfers > 0`, int64(late.ID))
	require.NoError(t, err)
	require.Equal(t, "yes", r.asked(late.ID, "duplicated").Answer, "and here twice, as only damage does it")
}

func TestARefundThatWentTwiceIsSeen(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	to := r.account("alice")
	credited := func(name string, amount int64) pay.Payment {
		d := r.accept(name, pay.Payment{Kind: pay.Deposit, Amount: money.Int(amount), To: to})
		r.fact(pay.Fact{Kind: pay.Confirm, Payment: d.ID, Source: "callback", Amount: d.Amount, Asset: d.Asset})
		return d
	}
	sent := func(name string, d pay.Payment, amount int64) pay.Payment {
		p := r.accept(name, pay.Payment{Kind: pay.Refund, Amount: money.Int(amount), From: to, Original: d.ID, PayeeAccount: "1"})
		r.fact(pay.Fact{Kind: pay.Intend, Payment: p.ID, Attempt: 1, SendBy: time.Now().Add(time.Minute)})
		return p
	}
	confirm := func(p pay.Payment) {
		r.fact(pay.Fact{Kind: pay.Confirm, Payment: p.ID, Attempt: 1, Source: "query", Amount: p.Amount, Asset: p.Asset})
	}
	d := credited("deposit", 100)
	_ = credited("more", 1000)
	part := sent("part", d, 40)
	require.Equal(t, "unknown", r.asked(part.ID, "dispatched").Answer)
	confirm(part)
	require.Equal(t, "yes", r.asked(part.ID, "dispatched").Answer)
	require.Equal(t, "no", r.asked(part.ID, "duplicated").Answer)
	equal := sent("equal", d, 40)
	confirm(equal)
	twins := r.asked(part.ID, "duplicated")
	require.Equal(t, "unknown", twins.Answer)
	require.Contains(t, twins.Evidence[0].Detail, equal.ID.String())
	require.Equal(t, "no", r.asked(d.ID, "duplicated").Answer, "both together are less than came")

	whole := credited("whole", 300)
	first := sent("first", whole, 300)
	r.fact(pay.Fact{Kind: pay.Decline, Payment: first.ID, Attempt: 1, Source: "callback"})
	second := sent("second", whole, 300)
	confirm(second)
	require.Equal(t, "no", r.asked(whole.ID, "duplicated").Answer)
	confirm(first) // declined, and executed all the same
	got := r.asked(whole.ID, "duplicated")
	require.Equal(t, "yes", got.Answer)
	require.Contains(t, got.Evidence[0].Detail+got.Evidence[1].Detail, first.ID.String())
	require.Contains(t, got.Evidence[0].Detail+got.Evidence[1].Detail, second.ID.String())

	r.line(1, pay.Reference(part.ID, 1), 1, "matched")
	r.line(2, pay.Reference(part.ID, 1), 2, "matched") // it came back
	require.Equal(t, "unknown", r.asked(part.ID, "duplicated").Answer)
	r.line(3, pay.Reference(part.ID, 1), 1, "double_execution")
	require.Equal(t, "yes", r.asked(part.ID, "duplicated").Answer)
}
