package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/finance"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// ExportConfig says what to export.
type ExportConfig struct {
	Database
	// From and To are days (2006-01-02, UTC), both included; empty is open.
	From, To string
	// AsOf is a day, included, or an instant (RFC 3339); empty is now.
	AsOf  string
	Asset string
	// By is booking or effective.
	By string
	// Path is the file of the journal, written whole or not at all; empty is Out.
	Path          string
	JSON          bool
	Out, Progress io.Writer
}

func (c *ExportConfig) scope() (s finance.Scope, err error) {
	by, ok := ledger.ParseBy(c.By)
	if !ok {
		return s, fmt.Errorf("--by is booking or effective, not %q", c.By)
	}
	s.By = by
	if c.Asset != "" {
		if _, ok := money.LookupAsset(c.Asset); !ok {
			return s, fmt.Errorf("--asset: %q is not an asset; codes are upper case, such as CZK", c.Asset)
		}
		s.Asset = money.Asset(c.Asset)
	}
	if c.From != "" {
		if s.From, err = time.Parse(time.DateOnly, c.From); err != nil {
			return s, fmt.Errorf("--from is a day such as 2026-01-31, not %q", c.From)
		}
	}
	if c.To != "" {
		if s.Until, err = time.Parse(time.DateOnly, c.To); err != nil {
			return s, fmt.Errorf("--to is a day such as 2026-01-31, not %q", c.To)
		}
		s.Until = s.Until.AddDate(0, 0, 1)
	}
	if !s.From.IsZero() && !s.Until.IsZero() && !s.From.Before(s.Until) {
		return s, fmt.Errorf("--from %s is after --to %s", c.From, c.To)
	}
	if c.AsOf == "" {
		return s, nil
	}
	if s.Until, err = time.Parse(time.DateOnly, c.AsOf); err == nil {
		s.Until = s.Until.AddDate(0, 0, 1)
		return s, nil
	}
	if s.Until, err = time.Parse(time.RFC3339Nano, c.AsOf); err != nil {
		return s, fmt.Errorf("--as-of is a day or an instant such as 2026-01-31T12:00:00Z, not %q", c.AsOf)
	}
	// The instant itself counts; rows are kept to the microsecond.
	s.Until = s.Until.Truncate(time.Microsecond).Add(time.Microsecond)
	return s, nil
}

// ExportJournal writes the ledger as an hledger journal; what it wrote is said on
// the progress stream.
func ExportJournal(ctx context.Context, c ExportConfig) error {
	scope, err := c.scope()
	if err != nil {
		return err
	}
	pool, err := c.pool(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	line := newProgressLine(c.Progress)
	defer line.end()
	started := time.Now()
	line.last = started // nothing is said of what takes less than two seconds
	write := func(w io.Writer) (finance.Journal, error) {
		return finance.NewReader(pool).WriteJournal(ctx, scope, w, func(done, total int64) {
			line.show(fmt.Sprintf("journal: transfer %d of %d, %.0f s", done, total, time.Since(started).Seconds()))
		})
	}
	var j finance.Journal
	if c.Path == "" {
		j, err = write(c.Out)
	} else {
		j, err = writeWhole(c.Path, write)
	}
	if err != nil {
		return err
	}
	line.say(fmt.Sprintf("journal: %d transfers on %d books, %.1f MB in %.1f s", j.Transfers, j.Books, float64(j.Bytes)/1e6, time.Since(started).Seconds()))
	return nil
}

// writeWhole lets write fill a file that appears under its name only when it is
// complete: half a journal would look like a damaged ledger.
func writeWhole(path string, write func(io.Writer) (finance.Journal, error)) (j finance.Journal, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return j, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	j, err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return j, err
	}
	return j, os.Rename(f.Name(), path)
}

// ExportTrialBalance prints every account's balance at an instant, by asset. It
// exits with ExitMoney when an asset is off.
func ExportTrialBalance(ctx context.Context, c ExportConfig) error {
	scope, err := c.scope()
	if err != nil {
		return err
	}
	pool, err := c.pool(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	if c.AsOf == "" {
		c.AsOf = time.Now().UTC().Format(time.RFC3339)
	}
	stop := ticking(c.Progress, "trial balance: adding up the ledger")
	tb, err := finance.NewReader(pool).TrialBalance(ctx, scope)
	stop()
	if err != nil {
		return err
	}
	if c.JSON {
		err = writeJSON(c.Out, struct {
			AsOf string `json:"as_of"`
			By   string `json:"by"`
			finance.TrialBalance
		}{c.AsOf, tb.By.String(), tb})
	} else {
		err = printTrialBalance(c.Out, c.AsOf, tb)
	}
	if err == nil && !tb.Sound() {
		return &ExitError{Code: ExitMoney, Message: "the trial balance is off: see its totals"}
	}
	return err
}

func printTrialBalance(w io.Writer, asOf string, tb finance.TrialBalance) error {
	t := tabwriter.NewWriter(w, 0, 4, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "Trial balance, %s, by %s (UTC); debits are what is ours or spent, credits what we owe or earned\n\n", asOf, tb.By)
	fmt.Fprintln(t, "debit\tcredit\tasset\t  account")
	i := 0
	for _, total := range tb.Totals {
		for ; i < len(tb.Lines) && tb.Lines[i].Asset == total.Asset; i++ {
			l := tb.Lines[i]
			debit, credit := money.Format(l.Debit, l.Asset), ""
			if !l.Credit.IsZero() {
				debit, credit = "", money.Format(l.Credit, l.Asset)
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t  %s\n", debit, credit, l.Asset, l.Account)
		}
		verdict := "balanced"
		if !total.Balanced {
			verdict = "NOT BALANCED"
		}
		if total.Astray > 0 {
			verdict += fmt.Sprintf(", %d BOOKS DIFFER FROM WHAT THEIR ROWS SAY", total.Astray)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t  = %s\n\t\t\t\n", money.Format(total.Debit, total.Asset), money.Format(total.Credit, total.Asset), total.Asset, verdict)
	}
	return t.Flush()
}

// ticking says every two seconds that something still goes on, until stop.
func ticking(w io.Writer, what string) (stop func()) {
	line := newProgressLine(w)
	started := time.Now()
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(2 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				line.end()
				return
			case <-tick.C:
				line.show(fmt.Sprintf("%s, %.0f s", what, time.Since(started).Seconds()))
			}
		}
	}()
	return func() { close(quit); <-done }
}
