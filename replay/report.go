package replay

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/money"
)

// Report is what a replay found. Amounts are strings of smallest units; a
// value that the server did not tell is null, never a comforting zero.
type Report struct {
	Mapping string   `json:"mapping"`
	Data    []string `json:"data"`
	Asset   string   `json:"asset"`

	Payments  int64 `json:"payments"`  // rows of the file that fit the mapping
	Succeeded int64 `json:"succeeded"` // final, money moved
	Failed    int64 `json:"failed"`    // refused by the API, or final without money moved
	Open      int64 `json:"open"`      // accepted, not final in the time given
	Unsent    int64 `json:"unsent"`    // held back behind an open row of the same account
	BadRows   int64 `json:"bad_rows"`  // records that do not fit the mapping
	Openings  int64 `json:"openings"`  // of Payments, those that only give an account its first balance

	Doubled          int64 `json:"doubled"` // rows with more than one effect in the outside books
	Lost             int64 `json:"lost"`    // rows that touch a bank, without an effect there
	LedgerSumZero    *bool `json:"ledger_sum_zero"`
	OutsideBooksOK   bool  `json:"outside_books_match"`
	Accounts         int64 `json:"accounts"`
	AccountsExact    int64 `json:"accounts_exact"`         // every day equals the bank's closing
	AccountsWithin   int64 `json:"accounts_within_1_unit"` // every day within the mapping's tolerance
	AccountsUnjudged int64 `json:"accounts_unjudged"`      // a day lacks a recorded balance

	Breaks             map[string]int64 `json:"breaks"` // the server's open reconciliation breaks by class
	UnknownResolved    *int64           `json:"unknown_resolved"`
	DuplicateCallbacks *int64           `json:"duplicate_callbacks"`
	Kills              int64            `json:"kills"`
	UnexplainedMaxS    *json.Number     `json:"unexplained_max_s"` // seconds
	ServerOpen         *int64           `json:"server_open"`       // open payments by the server's own count

	PerSecond    Thousandths `json:"per_second"`           // rows per second, first row sent to last final
	AcceptP50    Thousandths `json:"accept_p50_ms"`        // row sent to accepted, with all retries
	AcceptP99    Thousandths `json:"accept_p99_ms"`        //
	TimeFinalP99 Thousandths `json:"time_to_final_p99_ms"` // accepted to final, by the server's times
	Wall         Thousandths `json:"wall_s"`               // the whole run
	Retries      int64       `json:"retries"`              // calls that were repeated
	Stages       []StageTime `json:"stages"`

	LargestDifference money.Amount   `json:"largest_difference"` // |ours - bank| over all account-days
	Within            money.Amount   `json:"within"`             // the mapping's tolerance
	AccountBreaks     []AccountBreak `json:"account_breaks"`     // all of them, by account
	Outside           OutsideBooks   `json:"outside_books"`
	RowFaults         []RowFault     `json:"row_faults"` // the first 1,000 rows that did not succeed
	Bad               []BadRow       `json:"bad"`        // the first 1,000 bad records

	CutShort   string   `json:"cut_short,omitempty"` // why the run ended early
	Unanswered []string `json:"unanswered"`          // what the server could not be asked

	noOracle     bool // the mapping names no balance column
	allowForeign bool
}

// run performs all stages. Whatever was learned before a stage failed is in
// the report that accompanies the error.
func (d *driver) run(ctx context.Context, started time.Time) (*Report, error) {
	r := d.blank()
	err := d.stages(ctx, r)
	d.meter.stop()
	d.mu.Lock()
	defer d.mu.Unlock()
	r.Succeeded, r.Failed, r.Open, r.Unsent = d.tally.succeeded, d.tally.failed, d.tally.open, d.tally.unsent
	r.RowFaults = append(r.RowFaults, d.rowFault...)
	r.AcceptP50, r.AcceptP99 = d.accepted.percentile(50), d.accepted.percentile(99)
	r.TimeFinalP99 = d.final.percentile(99)
	r.Retries = d.meter.retries.Load()
	r.Stages = d.meter.spent
	r.Wall = thousandthsOf(d.o.Clock.Now().Sub(started), time.Second)
	if d.o.Kills != nil {
		r.Kills = d.o.Kills()
	}
	if err != nil {
		r.CutShort = err.Error()
	}
	return r, err
}

func (d *driver) blank() *Report {
	p := d.plan
	return &Report{
		Mapping: p.Mapping.Name, Data: d.o.Data, Asset: p.Mapping.Asset.Code,
		Payments: p.Rows, BadRows: p.BadRows, Openings: p.Openings, Accounts: int64(len(p.Accounts)), Within: p.Mapping.within,
		Breaks: map[string]int64{}, AccountBreaks: []AccountBreak{}, RowFaults: []RowFault{},
		Bad: slices.Concat([]BadRow{}, p.Bad), Unanswered: []string{},
		noOracle: p.Mapping.Columns.Balance == "", allowForeign: d.o.AllowForeign,
	}
}

func (d *driver) stages(ctx context.Context, r *Report) error {
	if err := d.markBooks(ctx); err != nil {
		return err
	}
	if err := d.createAccounts(ctx); err != nil {
		return err
	}
	began := d.o.Clock.Now()
	if err := d.sendAll(ctx); err != nil {
		return err
	}
	if err := ask(ctx, d.o.Heal); err != nil {
		return fmt.Errorf("heal: %w", err)
	}
	if err := d.waitFinal(ctx); err != nil {
		return err
	}
	if took := d.o.Clock.Now().Sub(began); took > 0 {
		r.PerSecond = Thousandths(r.Payments * int64(time.Second) / max(int64(took/1000), 1))
	}
	if err := ask(ctx, d.o.Settle); err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	verdicts, err := d.balances(ctx)
	if err != nil {
		return err
	}
	r.judge(verdicts)
	if r.Outside, err = d.compareBooks(ctx); err != nil {
		return err
	}
	r.Lost, r.Doubled = r.Outside.Lost, r.Outside.Doubled
	r.OutsideBooksOK = r.Outside.match(d.o.AllowForeign)
	d.askServer(ctx, r)
	return nil
}

func ask(ctx context.Context, hook func(context.Context) error) error {
	if hook == nil {
		return nil
	}
	return hook(ctx)
}

func (r *Report) judge(verdicts []accountVerdict) {
	for _, v := range verdicts {
		if v.exact {
			r.AccountsExact++
		}
		if v.within {
			r.AccountsWithin++
		}
		if v.unchecked {
			r.AccountsUnjudged++
		}
		if v.worst.Cmp(r.LargestDifference) > 0 {
			r.LargestDifference = v.worst
		}
		if v.brk != nil {
			r.AccountBreaks = append(r.AccountBreaks, *v.brk)
		}
	}
	slices.SortFunc(r.AccountBreaks, func(x, y AccountBreak) int {
		return cmp.Or(cmp.Compare(len(x.Account), len(y.Account)), strings.Compare(x.Account, y.Account))
	})
}

// askServer fetches what the server says of itself. Failing to answer costs
// the run its OK, not its report.
func (d *driver) askServer(ctx context.Context, r *Report) {
	if t, err := d.api.totals(ctx); err != nil {
		r.Unanswered = append(r.Unanswered, err.Error())
	} else {
		zero := len(t.Ledger) > 0
		for _, l := range t.Ledger {
			zero = zero && l.Sum.IsZero()
		}
		r.LedgerSumZero, r.ServerOpen = &zero, t.Open
		r.UnknownResolved, r.DuplicateCallbacks, r.UnexplainedMaxS = t.UnknownResolved, t.DuplicateCallbacks, t.UnexplainedMaxS
	}
	if breaks, err := d.api.breaks(ctx); err != nil {
		r.Unanswered = append(r.Unanswered, err.Error())
	} else {
		r.Breaks = breaks
	}
}

// OK tells whether the replay met every promise: Problems is empty.
func (r *Report) OK() bool { return len(r.Problems()) == 0 }

// Problems lists, in English and worst first, what keeps the report from OK.
func (r *Report) Problems() []string { return r.problems(english) }

func (r *Report) problems(w *words) []string {
	var out []string
	when := func(bad bool, text string, args ...any) {
		if bad {
			out = append(out, fmt.Sprintf(text, args...))
		}
	}
	when(r.CutShort != "", w.cutShort, r.CutShort)
	when(r.Lost > 0, w.lost, r.Lost)
	when(r.Doubled > 0, w.doubled, r.Doubled)
	when(r.Outside.Wrong > 0, w.wrong, r.Outside.Wrong)
	when(r.Outside.Stray > 0, w.stray, r.Outside.Stray)
	when(r.Outside.Foreign > 0 && !r.allowForeign, w.foreign, r.Outside.Foreign)
	if r.LedgerSumZero != nil && !*r.LedgerSumZero {
		out = append(out, w.notZero)
	}
	when(r.Failed > 0, w.failed, r.Failed)
	when(r.Open > 0, w.open, r.Open)
	when(r.Unsent > 0, w.unsent, r.Unsent)
	when(r.BadRows > 0, w.badRows, r.BadRows)
	when(len(r.AccountBreaks) > 0, w.accountBreaks, len(r.AccountBreaks))
	when(!r.noOracle && r.AccountsUnjudged > 0, w.unjudged, r.AccountsUnjudged)
	when(len(r.Unanswered) > 0, w.unanswered, strings.Join(r.Unanswered, "; "))
	if r.keyReused() {
		out = append(out, w.keyReused)
	}
	return out
}

// keyReused recognises the commonest mistake: replaying a file twice into the
// same server, whose keys the first replay has used.
func (r *Report) keyReused() bool {
	return slices.ContainsFunc(r.RowFaults, func(f RowFault) bool {
		return f.Fate == fateRefused && strings.Contains(f.Reason, "idempotency")
	})
}

// JSON returns the report as one indented JSON document.
func (r *Report) JSON() ([]byte, error) {
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, errors.Join(errors.New("replay: encode report"), err)
	}
	return append(raw, '\n'), nil
}
