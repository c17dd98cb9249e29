package app

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/moneta-pay/moneta/config"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/recon"
	"github.com/moneta-pay/moneta/pay/recon/statement"
)

// ReconConfig says what to show of reconciliation, or what to import.
type ReconConfig struct {
	Database
	// Config is the file of serve with the channels' terms; empty takes the defaults.
	Config string
	// Filter selects breaks.
	Filter recon.BreakFilter
	// File is imported; Mapping is the file of its CSV mapping, Accept why it is taken
	// although it does not add up.
	File, Mapping, Accept string
	// Asset, From and To select a roll-forward.
	Asset, From, To string
	// Lang is en or zh, where the command speaks both.
	Lang string
	JSON bool
	Out  io.Writer
}

// open connects; close must be called.
func (c *ReconConfig) open(ctx context.Context) (r *recon.Recon, terms map[channel.Name]recon.Terms, done func(), err error) {
	if c.Config != "" {
		cfg, err := config.Load(c.Config)
		if err != nil {
			return nil, nil, nil, err
		}
		if terms, err = statementTerms(cfg.Channels); err != nil {
			return nil, nil, nil, err
		}
	}
	tel, err := telemetry.Setup(ctx, telemetry.Config{LogOutput: io.Discard, SampleOneIn: telemetry.SampleOff})
	if err != nil {
		return nil, nil, nil, err
	}
	pool, err := c.pool(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	return recon.New(recon.Config{Pool: pool, Terms: terms, Telemetry: tel}), terms, func() {
		pool.Close()
		_ = tel.Shutdown(context.WithoutCancel(ctx))
	}, nil
}

// ReconBreaks lists a page of breaks.
func ReconBreaks(ctx context.Context, c ReconConfig) error {
	r, _, done, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	found, more, err := r.Breaks(ctx, c.Filter)
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(c.Out, found)
	}
	if len(found) == 0 {
		_, err := fmt.Fprintln(c.Out, "No such break.")
		return err
	}
	t := tabwriter.NewWriter(c.Out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tSEV\tCLASS\tCHANNEL\tAMOUNT\tAGE\tOWNER\tSTATE\tREFERENCE\tWHAT WOULD HEAL IT")
	for i := range found {
		b := &found[i]
		what := b.Reference
		if what == "" {
			what = b.Line
		}
		fmt.Fprintf(t, "%d\t%d\t%s\t%s\t%s %s\t%s\t%s\t%s\t%.32q\t%s %s\n", b.ID, b.Severity, b.Class, b.Channel, money.Format(b.Amount, b.Asset), b.Asset,
			age(b.AgeSeconds), b.Owner, b.State, what, b.Suggestion.Action, b.Suggestion.Transition)
	}
	if more {
		fmt.Fprintf(t, "more: --after %d\n", found[len(found)-1].ID)
	}
	return t.Flush()
}

func age(seconds int64) string {
	switch d := time.Duration(seconds) * time.Second; {
	case d >= 48*time.Hour:
		return strconv.FormatInt(int64(d/(24*time.Hour)), 10) + "d"
	case d >= 2*time.Hour:
		return strconv.FormatInt(int64(d/time.Hour), 10) + "h"
	case d >= 2*time.Minute:
		return strconv.FormatInt(int64(d/time.Minute), 10) + "m"
	default:
		return strconv.FormatInt(seconds, 10) + "s"
	}
}

// ReconExport writes all breaks that the filter lets through, as CSV or as JSON, one
// array, amounts in the smallest unit.
func ReconExport(ctx context.Context, c ReconConfig) error {
	r, _, done, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	table := csv.NewWriter(c.Out)
	all := []recon.Break{}
	if !c.JSON {
		if err := table.Write(recon.BreakColumns()); err != nil {
			return err
		}
	}
	f := c.Filter
	f.Limit = recon.BreaksMax
	for {
		page, more, err := r.Breaks(ctx, f)
		if err != nil {
			return err
		}
		for i := range page {
			if c.JSON {
				all = append(all, page[i])
			} else if err := table.Write(page[i].Row()); err != nil {
				return err
			}
		}
		if !more {
			break
		}
		f.After = page[len(page)-1].ID
	}
	if c.JSON {
		return writeJSON(c.Out, all)
	}
	table.Flush()
	return table.Error()
}

// ReconImport imports a statement file; the leading node judges its lines.
func ReconImport(ctx context.Context, c ReconConfig) error {
	r, terms, done, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	file, err := os.Open(c.File)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	in := recon.Import{Channel: c.Filter.Channel, File: file, Mapping: terms[c.Filter.Channel].Mapping, By: "command line", Accept: c.Accept}
	if who, err := user.Current(); err == nil {
		in.By = "command line, " + who.Username
	}
	if c.Mapping != "" {
		raw, err := os.ReadFile(c.Mapping)
		if err != nil {
			return err
		}
		if in.Mapping, err = statement.ParseMapping(raw); err != nil {
			return err
		}
	}
	taken, err := r.Import(ctx, in)
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(c.Out, taken)
	}
	return printStatements(c.Out, taken)
}

// ReconStatements lists the newest imported statements.
func ReconStatements(ctx context.Context, c ReconConfig) error {
	r, _, done, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	found, err := r.Statements(ctx, c.Filter.Channel, c.Filter.Limit)
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(c.Out, found)
	}
	return printStatements(c.Out, found)
}

func printStatements(w io.Writer, all []recon.Imported) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "CHANNEL\tSTATEMENT\tDAY\tASSET\tOPENING\tNET\tCLOSING\tLINES\tJUDGED\tNOTE")
	for i := range all {
		s := &all[i]
		note := ""
		switch {
		case s.Replayed:
			note = "the same file was taken before"
		case s.Accepted != "":
			note = "does not add up; taken because: " + s.Accepted
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\n", s.Channel, s.StatementID, s.Day, s.Asset, stated(s.Opening, s.Asset),
			money.Format(s.Net, s.Asset), stated(s.Closing, s.Asset), s.Lines, s.Applied, note)
	}
	return t.Flush()
}

func stated(a *money.Amount, asset money.Asset) string {
	if a == nil {
		return "-"
	}
	return money.Format(*a, asset)
}

// ReconClearing shows what is in clearing by age. It exits with ExitMoney when some of
// it belongs to no payment.
func ReconClearing(ctx context.Context, c ReconConfig) error {
	r, _, done, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	found, err := r.ClearingAges(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		err = writeJSON(c.Out, found)
	} else {
		err = printClearing(c.Out, found)
	}
	for i := range found {
		if err == nil && !found[i].Unexplained.IsZero() {
			err = &ExitError{Code: ExitMoney, Message: "money is in clearing that no payment put there: see UNEXPLAINED"}
		}
	}
	return err
}

func printClearing(w io.Writer, all []recon.Clearing) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "Clearing is empty: everything has settled.")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "CHANNEL\tWAY\tASSET\tBALANCE\t< 1 h\t< 1 day\t< 3 days\t< 7 days\tolder\tOVERDUE\tUNEXPLAINED\t")
	for i := range all {
		a := &all[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s", a.Channel, a.Direction, a.Asset, money.Format(a.Balance, a.Asset))
		for _, b := range a.Buckets {
			fmt.Fprintf(t, "\t%s (%d)", money.Format(b.Value, a.Asset), b.Count)
		}
		fmt.Fprintf(t, "\t%s\t%s\t\n", money.Format(a.Overdue, a.Asset), money.Format(a.Unexplained, a.Asset))
	}
	return t.Flush()
}

// ReconRollForward shows a channel's account day by day. It exits with ExitMoney when
// a difference belongs to no break.
func ReconRollForward(ctx context.Context, c ReconConfig) error {
	from, err := recon.ParseDate(c.From)
	if err != nil {
		return fmt.Errorf("--from: %w", err)
	}
	to := from
	if c.To != "" {
		if to, err = recon.ParseDate(c.To); err != nil {
			return fmt.Errorf("--to: %w", err)
		}
	}
	asset := money.Asset(c.Asset)
	if _, ok := money.LookupAsset(asset); !ok {
		return fmt.Errorf("--asset: %q is not an asset; codes are upper case, such as CZK", c.Asset)
	}
	r, _, done, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	days, err := r.RollForward(ctx, c.Filter.Channel, asset, from, to)
	if err != nil {
		return err
	}
	if c.JSON {
		err = writeJSON(c.Out, days)
	} else {
		err = printRoll(c.Out, days, asset)
	}
	for i := range days {
		if err == nil && !days[i].Unexplained.IsZero() {
			err = &ExitError{Code: ExitMoney, Message: "a difference between the statement and the ledger belongs to no break: see UNEXPLAINED"}
		}
	}
	return err
}

func printRoll(w io.Writer, days []recon.RollDay, asset money.Asset) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "DAY\tOPENING\tIN\tOUT\tFEES\tCLOSING\tSTATED\tLEDGER\tDIFFERENCE\tUNEXPLAINED\tAWAITED\t")
	for i := range days {
		d := &days[i]
		fmt.Fprintf(t, "%s", d.Day)
		for _, a := range []money.Amount{d.Opening, d.In, d.Out, d.Fees, d.Closing} {
			fmt.Fprintf(t, "\t%s", money.Format(a, asset))
		}
		fmt.Fprintf(t, "\t%s", stated(d.Stated, asset))
		for _, a := range []money.Amount{d.Posted, d.Difference, d.Unexplained, d.Awaited} {
			fmt.Fprintf(t, "\t%s", money.Format(a, asset))
		}
		fmt.Fprintln(t, "\t")
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for i := range days {
		for class, value := range days[i].Explained {
			if _, err := fmt.Fprintf(w, "  %s: %s %s %s\n", days[i].Day, money.Format(value, asset), asset, class); err != nil {
				return err
			}
		}
	}
	return nil
}

// ChannelName is a channel as flags write it.
func ChannelName(s string) channel.Name { return channel.Name(s) }
