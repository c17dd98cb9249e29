package replay

import (
	"slices"

	"github.com/moneta-pay/moneta/money"
)

// ClosingKind says how the bank's closing balance of a day was found.
type ClosingKind string

// The ways in which a day's closing is found, or not.
const (
	ClosingTail   ClosingKind = "tail"   // one recorded balance opens no other row: the chain's tail
	ClosingWalk   ClosingKind = "walk"   // none does (the day returns to a balance it had): walked from the previous closing
	ClosingBroken ClosingKind = "broken" // the recorded balances form no chain
	ClosingNone   ClosingKind = "none"   // a row has no recorded balance
)

// Closing is the balance at the end of an account's day as the bank recorded it.
type Closing struct {
	Kind    ClosingKind
	Balance money.Amount // meaningful when Found
}

// Found tells whether Balance is known.
func (c Closing) Found() bool { return c.Kind == ClosingTail || c.Kind == ClosingWalk }

// walkStepsMax bounds the looks at rows while one day is walked. Only days that
// return to an earlier balance are walked at all, and equal rows are tried once.
const walkStepsMax = 5_000_000

// closingOf finds the day's closing from the bank's records alone. Within a day
// the file's order is not the booking order, so the rows are joined by their
// balances: a row's opening (balance minus signed amount) is the recorded
// balance of the row before it, within the bank's rounding.
func closingOf(rows []*Row, previous, rounding money.Amount) Closing {
	links, problem := linksOf(rows)
	if problem != "" {
		return Closing{Kind: problem}
	}
	tails := tailsOf(links, rounding)
	switch len(tails) {
	case 1:
		return Closing{Kind: ClosingTail, Balance: tails[0]}
	case 0:
		w := walk{links: links, rounding: rounding, used: make([]bool, len(links))}
		if closing, ok := w.from(previous, 0); ok {
			return Closing{Kind: ClosingWalk, Balance: closing}
		}
	}
	// Two tails cannot be one chain: somewhere a record does not join.
	return Closing{Kind: ClosingBroken}
}

// openingOf finds the balance before a day's first row from the bank's records:
// the head of the chain, which is the tail when the chain is read backwards. A
// day without a single head gives no opening.
func openingOf(rows []*Row, rounding money.Amount) (money.Amount, bool) {
	links, problem := linksOf(rows)
	if problem != "" {
		return money.Amount{}, false
	}
	for i, l := range links {
		links[i] = link{opening: l.balance, balance: l.opening}
	}
	heads := tailsOf(links, rounding)
	if len(heads) != 1 {
		return money.Amount{}, false
	}
	return heads[0], true
}

type link struct{ opening, balance money.Amount }

func linksOf(rows []*Row) (links []link, problem ClosingKind) {
	for _, r := range rows {
		if !r.HasBalance {
			return nil, ClosingNone
		}
		opening, err := r.Balance.Sub(r.Signed())
		if err != nil {
			return nil, ClosingBroken
		}
		links = append(links, link{opening: opening, balance: r.Balance})
	}
	return links, ""
}

// tailsOf returns the balances that open no other row of the day. Sorting the
// openings keeps a day with many rows from costing their square.
func tailsOf(links []link, rounding money.Amount) []money.Amount {
	byOpening := make([]int, len(links))
	for i := range byOpening {
		byOpening[i] = i
	}
	slices.SortFunc(byOpening, func(x, y int) int { return links[x].opening.Cmp(links[y].opening) })
	var tails []money.Amount
	for i, l := range links {
		low, err := l.balance.Sub(rounding)
		if err != nil {
			low = l.balance
		}
		at, _ := slices.BinarySearchFunc(byOpening, low, func(j int, v money.Amount) int { return links[j].opening.Cmp(v) })
		opens := false
		for ; at < len(byOpening) && near(links[byOpening[at]].opening, l.balance, rounding); at++ {
			if byOpening[at] != i {
				opens = true
				break
			}
		}
		if !opens {
			tails = append(tails, l.balance)
		}
	}
	return tails
}

// walk searches an order of all rows in which each opens where the one before
// it closed.
type walk struct {
	links    []link
	rounding money.Amount
	used     []bool
	steps    int
}

func (w *walk) from(at money.Amount, done int) (money.Amount, bool) {
	if done == len(w.links) {
		return at, true
	}
	tried := map[link]bool{}
	for i, l := range w.links {
		if w.steps++; w.steps > walkStepsMax {
			return money.Amount{}, false
		}
		if w.used[i] || tried[l] || !near(l.opening, at, w.rounding) {
			continue
		}
		tried[l], w.used[i] = true, true
		if closing, ok := w.from(l.balance, done+1); ok {
			return closing, true
		}
		w.used[i] = false
	}
	return money.Amount{}, false
}

// near tells whether two amounts differ by at most within.
func near(a, b, within money.Amount) bool {
	d, err := distance(a, b)
	return err == nil && d.Cmp(within) <= 0
}

// distance is |a - b|.
func distance(a, b money.Amount) (money.Amount, error) {
	d, err := a.Sub(b)
	if err == nil && d.Sign() < 0 {
		d, err = d.Neg()
	}
	return d, err
}
