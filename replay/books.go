package replay

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/moneta-pay/moneta/money"
)

// mismatchesKept bounds the mismatches that are listed; all are counted.
const mismatchesKept = 1_000

// OutsideBooks compares the file with what the banks' own books say happened,
// per source row id. Our own books take no part in it.
type OutsideBooks struct {
	Expected int64 `json:"expected"` // rows that touch a bank
	Effects  int64 `json:"effects"`  // effects in the banks' books that carry a row id of the file
	Lost     int64 `json:"lost"`     // rows without an effect
	Doubled  int64 `json:"doubled"`  // rows with more than one
	Wrong    int64 `json:"wrong"`    // rows whose one effect has another amount, asset, direction or bank
	Stray    int64 `json:"stray"`    // effects of rows that should touch no bank
	Foreign  int64 `json:"foreign"`  // effects since the start of the run that carry no row id of the file

	Mismatches []Mismatch `json:"mismatches"` // the first 1,000
}

// Mismatch is one row on which the file and the outside books disagree.
type Mismatch struct {
	RowID string `json:"row_id"`
	Class string `json:"class"` // lost, doubled, wrong, stray or foreign
	Says  string `json:"says"`  // what the books hold
}

func (b *OutsideBooks) match(allowForeign bool) bool {
	return b.Lost == 0 && b.Doubled == 0 && b.Wrong == 0 && b.Stray == 0 && (allowForeign || b.Foreign == 0)
}

func (b *OutsideBooks) add(rowID, class, says string) {
	if len(b.Mismatches) < mismatchesKept {
		b.Mismatches = append(b.Mismatches, Mismatch{rowID, class, says})
	}
}

// bookEntry is what the file expects of one row and what the books hold.
type bookEntry struct {
	row     *Row
	effects int
	wrong   string
}

// bookTally collects effects against the file.
type bookTally struct {
	asset   string
	entries map[string]*bookEntry
	out     OutsideBooks
}

func newBookTally(p *Plan) *bookTally {
	t := &bookTally{asset: p.Mapping.Asset.Code, entries: make(map[string]*bookEntry, p.Rows)}
	t.out.Mismatches = []Mismatch{}
	for _, a := range p.Accounts {
		for _, s := range a.Steps {
			t.entries[s.ID] = &bookEntry{row: s.Row}
			if s.Bank != "" {
				t.out.Expected++
			}
		}
	}
	return t
}

// effect counts one effect of a bank's books. Effects from before the run with
// an id that the file does not know are not ours to judge.
func (t *bookTally) effect(bank string, e effect, baseline int64) {
	entry := t.entries[e.Remittance]
	says := fmt.Sprintf("bank %s: %s %s %s, reference %q, seq %d", bank, e.Direction, e.Amount, e.Asset, e.Reference, e.Seq)
	switch {
	case entry == nil && e.Seq > baseline:
		t.out.Foreign++
		t.out.add(e.Remittance, "foreign", says)
	case entry == nil:
	case entry.row.Bank == "":
		t.out.Effects++
		t.out.Stray++
		t.out.add(e.Remittance, "stray", says)
	default:
		t.out.Effects++
		entry.effects++
		if !sameEffect(entry.row, bank, t.asset, e) {
			entry.wrong = says
		}
	}
}

func sameEffect(r *Row, bank, asset string, e effect) bool {
	direction := "out"
	if r.Credit {
		direction = "in"
	}
	return e.Direction == direction && strings.EqualFold(bank, r.Bank) && e.Asset == asset && e.Amount == r.Amount
}

// verdict closes the tally.
func (t *bookTally) verdict(p *Plan) OutsideBooks {
	for _, a := range p.Accounts {
		for _, s := range a.Steps {
			entry := t.entries[s.ID]
			switch {
			case s.Bank == "":
			case entry.effects == 0:
				t.out.Lost++
				t.out.add(s.ID, "lost", fmt.Sprintf("bank %s: nothing; the file has %s %s of %s", s.Bank, s.Kind, s.Amount, s.Day.Format("2006-01-02")))
			case entry.effects > 1:
				t.out.Doubled++
				t.out.add(s.ID, "doubled", fmt.Sprintf("bank %s: %d effects; the file has one %s of %s", s.Bank, entry.effects, s.Kind, s.Amount))
			case entry.wrong != "":
				t.out.Wrong++
				t.out.add(s.ID, "wrong", fmt.Sprintf("%s; the file has %s %s", entry.wrong, s.Kind, s.Amount))
			}
		}
	}
	return t.out
}

// markBooks notes where each bank's books stand before the run.
func (d *driver) markBooks(ctx context.Context) error {
	for _, code := range d.bankCodes(ctx) {
		last, err := d.outside.books(ctx, code, 0, func(effect) {})
		if err != nil {
			return fmt.Errorf("replay: %w", err)
		}
		d.baseline[code] = last
	}
	return nil
}

// compareBooks reads every bank's books.
func (d *driver) compareBooks(ctx context.Context) (OutsideBooks, error) {
	codes := d.bankCodes(ctx)
	d.meter.stage(StageBooks, int64(len(codes)))
	t := newBookTally(d.plan)
	for _, code := range codes {
		_, err := d.outside.books(ctx, code, 0, func(e effect) { t.effect(code, e, d.baseline[code]) })
		if err != nil {
			return t.out, fmt.Errorf("replay: %w", err)
		}
		d.meter.done.Add(1)
	}
	return t.verdict(d.plan), nil
}

// bankCodes lists the banks of the file and all others that the outside world
// plays: money that went to a bank the file does not know is a mismatch too.
func (d *driver) bankCodes(ctx context.Context) []string {
	if d.o.SandboxURL == "" {
		return nil
	}
	var codes []string
	for _, b := range d.plan.Banks {
		codes = append(codes, b.Code)
	}
	for _, code := range d.outside.banks(ctx) {
		if plainName(code) {
			codes = append(codes, code)
		}
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

// balances reads our closing of every account-day and judges the accounts.
func (d *driver) balances(ctx context.Context) ([]accountVerdict, error) {
	var days int64
	for _, a := range d.plan.Accounts {
		days += int64(len(a.Days))
	}
	d.meter.stage(StageBalances, days)
	verdicts := make([]accountVerdict, len(d.plan.Accounts))
	err := d.each(ctx, len(verdicts), func(ctx context.Context, i int) error {
		a := d.plan.Accounts[i]
		ours := make([]*money.Amount, len(a.Days))
		for j, day := range a.Days {
			b, err := d.api.available(ctx, d.accounts[i], day.LastAt)
			if err != nil {
				return fmt.Errorf("account %s on %s: %w", a.ID, day.Date.Format("2006-01-02"), err)
			}
			ours[j] = &b
			d.meter.done.Add(1)
		}
		verdicts[i] = judgeAccount(a, ours, d.plan.Mapping.within)
		return nil
	})
	if err != nil {
		return verdicts, fmt.Errorf("replay: %w", err)
	}
	return verdicts, nil
}
