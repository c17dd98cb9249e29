package recon_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/recon"
)

// filed are the terms of a bank whose statement comes as files.
func filed() map[channel.Name]recon.Terms {
	t := terms()["bank-ab"]
	t.Files = true
	return map[channel.Name]recon.Terms{"bank-ab": t}
}

// closed asks the bank for the file of its day, when that is over.
func (w *world) closed(format string) (date, file string) {
	w.t.Helper()
	w.call(http.MethodPatch, "/behaviour", `{"clock_skew_ms":172800000}`)
	var list struct {
		Files []struct{ Date string }
	}
	require.NoError(w.t, json.Unmarshal([]byte(w.call(http.MethodGet, "/statements", "")), &list))
	date = list.Files[0].Date
	return date, w.call(http.MethodGet, "/statements/"+date+"?format="+format, "")
}

func (w *world) take(file, accept string) ([]recon.Imported, error) {
	return w.recon.Import(context.Background(), recon.Import{Channel: "bank-ab", File: strings.NewReader(file), By: "test", Accept: accept})
}

func (w *world) imported(file string) recon.Imported {
	w.t.Helper()
	got, err := w.take(file, "")
	require.NoError(w.t, err)
	require.Len(w.t, got, 1)
	return got[0]
}

func (w *world) day(date string) recon.RollDay {
	w.t.Helper()
	d, err := recon.ParseDate(date)
	require.NoError(w.t, err)
	roll, err := w.recon.RollForward(context.Background(), "bank-ab", "CZK", d, d)
	require.NoError(w.t, err)
	require.Len(w.t, roll, 1)
	require.True(w.t, roll[0].Unexplained.IsZero(), "%+v", roll[0])
	return roll[0]
}

// A real bank's file, in either format, settles what its API would have: everything
// runs to zero, the day's closing balance is the bank's, and clearing is empty. The
// same file again changes nothing, even if we die in the middle of applying it.
func TestAFileSettlesEverythingToZero(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"csv", "camt.053"} {
		w := buildWith(t, 3, filed())
		w.call(http.MethodPatch, "/behaviour", `{"fee":"2"}`)
		var all []pay.Payment
		for i := range 5 {
			p := w.payout(fmt.Sprint("out", i), int64(100+i))
			w.booked(pay.Reference(p.ID, 1))
			d := w.deposit(fmt.Sprint("in", i), int64(200+i))
			w.instruct(pay.Reference(d.ID, 0), int64(200+i))
			all = append(all, p, d)
		}
		w.run()
		require.Empty(t, w.classes(), "nothing was imported, and nothing is missing yet")
		ages, err := w.recon.ClearingAges(t.Context())
		require.NoError(t, err)
		require.Len(t, ages, 1, "%+v", ages)
		require.Equal(t, "out", ages[0].Direction)
		require.Equal(t, money.Int(510), ages[0].Balance)
		require.True(t, ages[0].Unexplained.IsZero())
		require.Len(t, ages[0].Oldest, 5)
		require.Equal(t, int64(5), ages[0].Buckets[0].Count)

		date, file := w.closed(format)
		one := w.imported(file)
		require.Equal(t, 10, one.Lines)
		require.Equal(t, date, one.Day)
		w.flaky.fails, w.flaky.after = 1, true
		require.ErrorIs(t, w.recon.Run(t.Context()), fault.CommitUnknown)
		w.run()
		for _, p := range all {
			require.True(t, w.settled(p.ID), format)
		}
		require.Empty(t, w.classes())
		m := w.money()
		require.True(t, m.ClearingIn.IsZero() && m.ClearingOut.IsZero() && m.Difference.IsZero(), "%+v", m)
		require.Equal(t, money.Int(1010-510-10), m.Bank)
		again, err := w.take(file, "")
		require.NoError(t, err)
		require.True(t, again[0].Replayed)
		require.Equal(t, 10, again[0].Applied)
		w.run()
		require.Equal(t, m, w.money())
		ages, err = w.recon.ClearingAges(t.Context())
		require.NoError(t, err)
		require.Empty(t, ages)

		roll := w.day(date)
		require.Equal(t, int64(10), roll.Lines)
		require.Equal(t, []money.Amount{money.Int(1010), money.Int(510), money.Int(10), money.Int(490), money.Int(490)},
			[]money.Amount{roll.In, roll.Out, roll.Fees, roll.Closing, roll.Posted})
		require.True(t, roll.Off.IsZero(), "the bank says %s", roll.Stated)

		_, err = w.take(strings.Replace(file, "M0000000000001A1", "M0000000000003A1", 1), "")
		require.ErrorIs(t, err, fault.StatementChanged)
		_, err = w.take(file[:len(file)*2/3], "")
		require.ErrorIs(t, err, fault.StatementRefused)
	}
}

// The bank leaves a line out: its own balances convict it. Refused, or taken with a
// reason, and then the payment is missing and the roll-forward says by how much the
// bank is off.
func TestAStatementThatDoesNotAddUpIsRefusedOrABreak(t *testing.T) {
	t.Parallel()
	w := buildWith(t, 100, filed())
	p := w.payout("seen", 100)
	w.booked(pay.Reference(p.ID, 1))
	q := w.payout("omitted", 250)
	w.booked(pay.Reference(q.ID, 1))
	w.fact(pay.Fact{Kind: pay.Confirm, Payment: q.ID, Attempt: 1, Amount: q.Amount, Asset: q.Asset, Source: "callback"})
	date, file := w.closed("csv")
	lines := strings.SplitAfter(file, "\r\n")
	var kept []string
	for _, l := range lines {
		if !strings.Contains(l, pay.Reference(q.ID, 1)) {
			kept = append(kept, l)
		}
	}
	short := strings.Replace(strings.Join(kept, ""), ",2\r\n", ",1\r\n", 1)
	_, err := w.take(short, " ")
	require.ErrorIs(t, err, fault.StatementRefused)
	require.ErrorContains(t, err, "-250 is off")
	got, err := w.take(short, "the bank confirms it by phone")
	require.NoError(t, err)
	require.Equal(t, "the bank confirms it by phone", got[0].Accepted)
	w.run()
	require.Equal(t, map[string]int{"statement_unbalanced": 1, "missing_in_statement": 1}, w.classes())
	require.True(t, w.settled(p.ID) && !w.settled(q.ID))
	roll := w.day(date)
	require.Equal(t, money.Int(-250), *roll.Off)
	require.Equal(t, money.Int(-250), roll.Awaited, "what is awaited explains it")
}

// A statement between two others is missing: the balances do not meet. It closes when
// the missing one comes.
func TestAMissingStatementIsABreakUntilItComes(t *testing.T) {
	t.Parallel()
	w := buildWith(t, 100, filed())
	day := func(n int, opening, closing string) string {
		date := time.Date(2026, 3, n, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
		head := "record,line_id,booking_date,booked_at,direction,reference,amount,fee,asset,remittance,return_reason,balance,lines\n"
		return head + "open,," + date + ",,,,,,CZK,,," + opening + ",\n" +
			fmt.Sprintf("line,D%d,%s,%sT09:00:00Z,in,RENT,1.00,0.00,CZK,,,,\n", n, date, date) +
			"close,," + date + ",,,,,,CZK,,," + closing + ",1\n"
	}
	w.imported(day(2, "10.00", "11.00"))
	w.imported(day(4, "12.00", "13.00"))
	w.run()
	require.Equal(t, 1, w.classes()["balance_gap"])
	w.imported(day(3, "11.00", "12.00"))
	w.run()
	require.Equal(t, map[string]int{"-balance_gap": 1, "unmatched_inbound": 3}, w.classes())
	roll := w.day("2026-03-03")
	require.Equal(t, money.Int(100), roll.Explained["unmatched_inbound"])
	require.True(t, roll.Off.IsZero())
}

// The same lines from both sources count once.
func TestAFileAndTheAPIOfOneChannelAgree(t *testing.T) {
	t.Parallel()
	w := build(t, 100)
	d := w.deposit("in", 200)
	w.instruct(pay.Reference(d.ID, 0), 200)
	w.run()
	_, file := w.closed("csv")
	w.imported(file)
	w.run()
	require.Equal(t, map[string]int{"-duplicate_line": 1}, w.classes())
	require.Equal(t, money.Int(200), w.money().Bank)
}
