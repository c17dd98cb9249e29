package recon_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/recon"
)

// Three columns side by side: what matches, what the statement lacks, what it has too
// much, and whose word a success rests on.
func TestThePictureHoldsThreeColumns(t *testing.T) {
	t.Parallel()
	w := build(t, 100)
	today, err := recon.ParseDate(time.Now().UTC().Format(time.DateOnly))
	require.NoError(t, err)
	tomorrow, err := recon.ParseDate(time.Now().UTC().AddDate(0, 0, 1).Format(time.DateOnly))
	require.NoError(t, err)
	say := func(p pay.Payment, source string) {
		w.fact(pay.Fact{Kind: pay.Confirm, Payment: p.ID, Attempt: 1, Amount: p.Amount, Asset: p.Asset, Source: source})
	}
	plain := w.payout("plain", 100)
	w.booked(pay.Reference(plain.ID, 1))
	say(plain, "callback")
	quiet := w.payout("only the statement tells", 20)
	w.booked(pay.Reference(quiet.ID, 1))
	omitted := w.accepted("omitted", 300)
	w.fact(pay.Fact{Kind: pay.Intend, Payment: omitted.ID, Attempt: 1, SendBy: time.Now().Add(time.Second)})
	say(omitted, "reply")
	w.call(http.MethodPatch, "/behaviour", `{"statement_wrong_amount":1}`)
	wrong := w.payout("wrong", 400)
	w.booked(pay.Reference(wrong.ID, 1))
	say(wrong, "query")
	w.call(http.MethodPatch, "/behaviour", `{"statement_wrong_amount":0,"statement_duplicate":1}`)
	twice := w.payout("twice", 7)
	w.booked(pay.Reference(twice.ID, 1))
	w.instruct("GRANDMOTHER", 50)
	w.run()
	w.run()

	p, err := w.recon.Picture(t.Context(), "", today, tomorrow) // tomorrow, if it is midnight just now
	require.NoError(t, err)
	require.Len(t, p.Channels, 1)
	require.NotNil(t, p.Channels[0].ReadAt)
	sum := map[string]*recon.DayPicture{}
	for i := range p.Channels[0].Days {
		d := &p.Channels[0].Days[i]
		one := sum[d.Direction]
		if one == nil {
			one = &recon.DayPicture{}
			sum[d.Direction] = one
		}
		for _, pair := range [][2]*recon.Column{
			{&one.Ledger, &d.Ledger},
			{&one.Said, &d.Said},
			{&one.Stated, &d.Stated},
			{&one.Matched, &d.Matched},
			{&one.Surplus, &d.Surplus},
			{&one.Awaited, &d.Awaited},
			{&one.Overdue, &d.Overdue},
		} {
			pair[0].Count += pair[1].Count
			pair[0].Value, err = pair[0].Value.Add(pair[1].Value)
			require.NoError(t, err)
		}
	}
	col := func(n, value int64) recon.Column { return recon.Column{Count: n, Value: money.Int(value)} }
	out, in := sum["out"], sum["in"]
	require.Equal(t, col(5, 100+20+300+400+7), out.Ledger)
	require.Equal(t, col(3, 100+300+400), out.Said, "two succeeded by the statement alone")
	require.Equal(t, col(4, 100+20+401+7), out.Stated, "a line that was told twice counts once")
	require.Equal(t, col(3, 100+20+7), out.Matched)
	require.Equal(t, col(1, 401), out.Surplus)
	require.Equal(t, col(2, 300+400), out.Awaited)
	require.Equal(t, col(2, 300+400), out.Overdue)
	require.Equal(t, col(1, 50), in.Stated)

	found := map[string]int64{}
	ages, err := w.recon.BreakAges(t.Context())
	require.NoError(t, err)
	for _, a := range ages {
		found[a.Class] += a.Count
		require.Equal(t, "1h", a.Under)
		require.NotEmpty(t, a.Owner)
	}
	open := map[string]int64{}
	for class, n := range w.classes() {
		if class[0] != '-' {
			open[class] = int64(n)
		}
	}
	require.Equal(t, open, found)
	require.Contains(t, found, "amount_mismatch")

	breaks, _, err := w.recon.Breaks(t.Context(), recon.BreakFilter{Class: "amount_mismatch"})
	require.NoError(t, err)
	b, err := w.recon.Break(t.Context(), breaks[0].ID)
	require.NoError(t, err)
	require.Equal(t, money.Int(400), b.Sides.Ours.Amount)
	require.Equal(t, []money.Amount{money.Int(401)}, []money.Amount{b.Sides.Lines[0].Amount})
	_, err = w.recon.Picture(t.Context(), "", tomorrow, today)
	require.ErrorIs(t, err, fault.MalformedRequest, fmt.Sprint(err))
}
