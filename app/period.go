package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"text/tabwriter"
	"time"

	"github.com/moneta-pay/moneta/pay/finance"
)

// sealEvery is how often the leader looks for closed periods without a hash.
const sealEvery = time.Minute

// seal adds the hash to periods that were closed by a process that died before it.
func (p *plane) seal(ctx context.Context) error {
	books := finance.NewReader(p.stations)
	ticker := time.NewTicker(sealEvery)
	defer ticker.Stop()
	for {
		if err := books.Seal(ctx); err != nil && ctx.Err() == nil {
			p.log.ErrorContext(ctx, "a closed period cannot be sealed", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Periods lists a tenant's closed periods, or recounts them: it exits with ExitMoney
// when one is not what it was when it was sealed.
func Periods(ctx context.Context, d Database, tenant string, verify, asJSON bool, w io.Writer) error {
	_, id, done, err := d.keys(ctx, tenant)
	if err != nil {
		return err
	}
	defer done()
	pool, err := d.pool(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	books := finance.NewReader(pool)
	all, err := books.Periods(ctx, id)
	if err != nil {
		return err
	}
	var changed []finance.Period
	if verify {
		if changed, err = books.Verify(ctx, id); err != nil {
			return err
		}
	}
	if asJSON {
		err = writeJSON(w, map[string]any{"periods": all, "changed": append([]finance.Period{}, changed...)})
	} else {
		err = printPeriods(w, all, changed, verify)
	}
	if err == nil && len(changed) > 0 {
		err = &ExitError{Code: ExitMoney, Message: fmt.Sprintf("%d closed periods are not what they were when they were sealed", len(changed))}
	}
	return err
}

func printPeriods(w io.Writer, all, changed []finance.Period, verified bool) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "Nothing is closed.")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "THROUGH\tASSET\tCLOSED\tBY\tTRIAL BALANCE\tVERDICT")
	for _, p := range all {
		verdict := ""
		if verified {
			verdict = "as sealed"
		}
		if p.Hash == "" {
			verdict = "not sealed yet"
		}
		for _, c := range changed {
			if c.Asset == p.Asset && c.Until.Equal(p.Until) {
				verdict = "CHANGED"
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%.16s\t%s\n", p.Through, p.Asset, p.ClosedAt.Format(time.RFC3339), p.ClosedBy, p.Hash, verdict)
	}
	return t.Flush()
}
