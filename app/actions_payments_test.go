package app

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/intake"
)

func (b *bureau) available(id string) string {
	b.t.Helper()
	var sum string
	a := b.account(id)
	require.NoError(b.t, b.pool.QueryRow(b.t.Context(), `select coalesce(sum(amount), 0)::text from facts.postings where account = $1`, int64(a.ID)).Scan(&sum))
	return sum
}

func TestTwoPeopleAssignMoneyWithoutAnOwner(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	ctx := t.Context()
	to := b.open()
	in := pay.Payment{Tenant: pay.TenantID(b.tenant), Kind: pay.Inbound, Asset: "CZK", Amount: money.Int(900), Channel: "bank-ab", Link: "L1", Key: pay.Key{7}}
	res, err := b.losing.Submit(ctx, commit.Fact{Payment: &pay.Fact{Kind: pay.Accept, New: &in, Source: "statement"}})
	require.NoError(t, err)
	assign := access.Parameters{"payment": res.Payment.ID.String(), "to": to, "amount": "900"}
	preview := func(kind string, p access.Parameters) []access.Movement {
		_, moves, err := b.desk.Preview(ctx, b.who("abe"), access.Proposal{Kind: kind, Parameters: p})
		require.NoError(t, err)
		return moves
	}
	require.Equal(t, []access.Movement{{Debit: access.Side{Role: "susp:in"}, Credit: access.Side{Role: "to:av", Account: to}, Amount: "900", Asset: "CZK"}},
		preview("assign_inbound", assign))
	require.Equal(t, []access.Movement{{Debit: access.Side{Role: "susp:in"}, Credit: access.Side{Role: "from:held"}, Amount: "300", Asset: "CZK"}},
		preview("refund", access.Parameters{"payment": res.Payment.ID.String(), "asset": "CZK", "amount": "300", "payee": "123456"}))
	v := b.approved("assign_inbound", assign)
	done, err := b.desk.Execute(ctx, b.who("abe"), v.ID, v.Hash)
	require.NoError(t, err)
	require.Equal(t, access.Done, done.Outcome)
	require.Equal(t, "900", b.available(to))
}

// movedIn gives an account 1000 by a deposit.
func (b *bureau) movedIn() (deposit pay.ID, account string) {
	b.t.Helper()
	account = b.open()
	res, err := b.in.Accept(b.t.Context(), &intake.Request{
		Tenant: pay.TenantID(b.tenant), Key: rand16(), Kind: "deposit", To: account, Channel: "bank-ab", Amount: "1000", Asset: "CZK",
	})
	require.NoError(b.t, err)
	b.fact(pay.Fact{Kind: pay.Confirm, Payment: res.Payment.ID, Amount: money.Int(1000), Asset: "CZK", Channel: "bank-ab"})
	require.Equal(b.t, "1000", b.available(account))
	return res.Payment.ID, account
}

// A refund and a capture are shown before they are proposed, made once whatever is lost on
// the way, and refused when nothing is left of what they take from.
func TestTwoPeopleRefundAndCapture(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	ctx := t.Context()
	deposit, account := b.movedIn()
	preview := func(kind string, p access.Parameters) ([]access.Movement, error) {
		_, moves, err := b.desk.Preview(ctx, b.who("abe"), access.Proposal{Kind: kind, Parameters: p})
		return moves, err
	}
	refund := access.Parameters{"payment": deposit.String(), "asset": "CZK", "amount": "400"}
	moves, err := preview("refund", refund)
	require.NoError(t, err)
	require.Equal(t, []access.Movement{{Debit: access.Side{Role: "from:av", Account: account}, Credit: access.Side{Role: "from:held", Account: account}, Amount: "400", Asset: "CZK"}}, moves)
	require.Zero(t, b.count(`select count(*) from approvals`), "a preview keeps nothing")
	for _, lose := range []struct{ before, after bool }{{true, false}, {false, true}} {
		done := b.lost(b.approved("refund", refund), lose.before, lose.after)
		require.Equal(t, access.Done, done.Outcome, done.Result)
	}
	require.EqualValues(t, 2, b.count(`select count(*) from payments where kind = $1 and amount = 400`, int16(pay.Refund)), "each once")
	left := b.payment(deposit)
	require.Equal(t, "200", left.Remaining().String())
	_, err = preview("refund", refund)
	require.ErrorIs(t, err, fault.AmountExceedsRemaining)
	about, _, err := b.desk.List(ctx, b.tenant, "", access.About{Payment: deposit.String()}, access.ApprovalID{}, 100)
	require.NoError(t, err)
	require.Len(t, about, 2)
	_, err = b.desk.Propose(ctx, b.who("abe"), access.Proposal{Kind: "refund", Parameters: refund, Reason: "r"})
	require.ErrorIs(t, err, fault.AmountExceedsRemaining, "not even proposed")
	_, err = preview("refund", access.Parameters{"payment": deposit.String(), "asset": "EUR", "amount": "100"})
	require.ErrorIs(t, err, fault.AssetMismatch)

	to := b.open()
	_, from := b.movedIn()
	hold, err := b.in.Accept(ctx, &intake.Request{Tenant: pay.TenantID(b.tenant), Key: rand16(), Kind: "hold", From: from, To: to, Amount: "700", Asset: "CZK"})
	require.NoError(t, err)
	capture := access.Parameters{"payment": hold.Payment.ID.String(), "asset": "CZK", "amount": "300"}
	moves, err = preview("capture", capture)
	require.NoError(t, err)
	require.Equal(t, []access.Movement{{Debit: access.Side{Role: "from:held", Account: from}, Credit: access.Side{Role: "to:av", Account: to}, Amount: "300", Asset: "CZK"}}, moves)
	require.Equal(t, access.Done, b.lost(b.approved("capture", capture), false, true).Outcome)
	require.Equal(t, "300", b.available(to))
	left = b.payment(hold.Payment.ID)
	require.Equal(t, "400", left.Remaining().String())

	// One that goes out names who gets it, and shows that dispatch sends it.
	_, from = b.movedIn()
	out, err := b.in.Accept(ctx, &intake.Request{
		Tenant: pay.TenantID(b.tenant), Key: rand16(), Kind: "hold", From: from, Channel: "bank-ab", PayeeAccount: "123456", PayeeName: "Jan", Amount: "700", Asset: "CZK",
	})
	require.NoError(t, err)
	outward := access.Parameters{"payment": out.Payment.ID.String(), "asset": "CZK", "amount": "700"}
	_, err = preview("capture", outward)
	require.ErrorContains(t, err, "123456")
	outward["payee"] = "654321"
	_, err = b.desk.Propose(ctx, b.who("abe"), access.Proposal{Kind: "capture", Parameters: outward, Reason: "r"})
	require.ErrorIs(t, err, fault.MalformedRequest)
	outward["payee"] = "123456"
	moves, err = preview("capture", outward)
	require.NoError(t, err)
	require.Equal(t, []access.Movement{{Debit: access.Side{Role: "from:held", Account: from}, Credit: access.Side{Role: "clr:out"}, Amount: "700", Asset: "CZK"}}, moves)
	sent := b.approved("capture", outward)
	about, _, err = b.desk.List(ctx, b.tenant, "", access.About{Payment: out.Payment.ID.String()}, access.ApprovalID{}, 100)
	require.NoError(t, err)
	require.Len(t, about, 1, "only those about this payment")
	require.Contains(t, sent.Words.En, "send it to the account 123456 outside")
	require.Contains(t, sent.Words.Zh, "123456")
	_, err = b.desk.Execute(ctx, b.who("abe"), sent.ID, sent.Hash)
	require.NoError(t, err)
	require.EqualValues(t, 1, b.count(`select count(*) from payments where kind = $1 and from_account = $2`, int16(pay.Capture), int64(b.account(from).ID)))

	// One approved before the rest was taken is refused when it is carried out, for good.
	late := b.approved("capture", access.Parameters{"payment": hold.Payment.ID.String(), "asset": "CZK", "amount": "400"})
	_, err = b.in.Cancel(ctx, hold.Payment.ID, "r")
	require.NoError(t, err)
	_, err = b.desk.Execute(ctx, b.who("abe"), late.ID, late.Hash)
	require.ErrorIs(t, err, fault.AmountExceedsRemaining)
	require.Equal(t, "300", b.available(to))
	stranger := b.who("abe")
	stranger.Tenant++
	_, _, err = b.desk.Preview(ctx, stranger, access.Proposal{Kind: "capture", Parameters: capture})
	require.ErrorIs(t, err, fault.NotFound)
}
