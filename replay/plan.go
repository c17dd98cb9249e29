package replay

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/money"
)

// Bounds of a plan, which lives in memory.
const (
	rowsMax       = 5_000_000
	rowsPerDayMax = 86_000 // one second each within a day, the last kept free
	badRowsKept   = 1_000  // all are counted, this many keep their reason
)

// Plan is what a replay will do, known before the first call: every account
// with its floor and its rows in booking order.
type Plan struct {
	Mapping  *Mapping
	Accounts []*AccountPlan // by number of rows, most first, so that long ones start early
	Banks    []Bank         // that rows touch, by code
	Houses   []string       // names of house accounts, sorted

	Records                 int64 // data records read, good and bad
	Rows                    int64 // good ones, and openings
	Openings                int64 // rows made here to give accounts their first balance
	Deposits, Payouts, Sent int64 // Rows by kind; Sent are those against house accounts
	BadRows                 int64
	Bad                     []BadRow // the first badRowsKept
}

// Bank is one outside bank that the file mentions.
type Bank struct{ Code, Channel string }

// AccountPlan is one account of the file.
type AccountPlan struct {
	ID    string
	Floor money.Amount // min(0, lowest balance in our booking order, lowest recorded)
	Steps []*Step      // in booking order
	// Opening is the first step when the mapping takes openings from the
	// record and the account had money or debt before its first row.
	Opening *Step
	Days    []*Day // in order
}

// Step is one row with its place in time.
type Step struct {
	*Row
	EffectiveAt time.Time    // day + position within the account's day, in seconds
	Balance     money.Amount // of the account after this step, by arithmetic
}

// Day is one day of one account.
type Day struct {
	Date     time.Time
	LastAt   time.Time    // effective time of the day's last step
	Expected money.Amount // our balance after the last step, by arithmetic
	Bank     Closing      // what the bank recorded
}

// LoadPlan reads the files, in this order, and plans the replay. Rows that do
// not fit the mapping are in Plan.Bad; an error means a file as a whole cannot
// be used.
func LoadPlan(m *Mapping, paths ...string) (*Plan, error) {
	b := newPlanBuilder(m)
	for _, path := range paths {
		if err := readFile(path, m, b.row, b.bad); err != nil {
			return nil, err
		}
	}
	return b.build()
}

type planBuilder struct {
	plan     *Plan
	accounts map[string][]*Row
	ids      map[string]struct{}
	banks    map[Bank]struct{}
	houses   map[string]struct{}
}

func newPlanBuilder(m *Mapping) *planBuilder {
	return &planBuilder{
		plan: &Plan{Mapping: m}, accounts: map[string][]*Row{}, ids: map[string]struct{}{},
		banks: map[Bank]struct{}{}, houses: map[string]struct{}{},
	}
}

func (b *planBuilder) bad(r BadRow) error {
	b.plan.Records++
	b.plan.BadRows++
	if len(b.plan.Bad) < badRowsKept {
		b.plan.Bad = append(b.plan.Bad, r)
	}
	return nil
}

func (b *planBuilder) row(r *Row) error {
	if _, twice := b.ids[r.ID]; twice {
		return b.bad(BadRow{r.File, r.Line, fmt.Sprintf("row id %q was already used by an earlier row", r.ID)})
	}
	if b.plan.Rows >= rowsMax {
		return fmt.Errorf("more than %d rows; replay the file in parts", rowsMax)
	}
	b.ids[r.ID] = struct{}{}
	b.accounts[r.Account] = append(b.accounts[r.Account], r)
	b.plan.Records++
	b.plan.Rows++
	switch r.Kind {
	case kindDeposit:
		b.plan.Deposits++
		b.banks[Bank{r.Bank, r.Channel}] = struct{}{}
	case kindPayout:
		b.plan.Payouts++
		b.banks[Bank{r.Bank, r.Channel}] = struct{}{}
	default:
		b.plan.Sent++
		b.houses[r.House] = struct{}{}
	}
	return nil
}

func (b *planBuilder) opening(s *Step) error {
	if _, taken := b.ids[s.ID]; taken || len(s.ID) > fieldBytesMax {
		return fmt.Errorf("row id %.40q of the opening balance is taken or too long", s.ID)
	}
	b.houses[s.House] = struct{}{}
	b.plan.Rows++
	b.plan.Sent++
	b.plan.Openings++
	return nil
}

func (b *planBuilder) build() (*Plan, error) {
	p := b.plan
	for id, rows := range b.accounts {
		a, err := planAccount(p.Mapping, id, rows)
		if err == nil && a.Opening != nil {
			err = b.opening(a.Opening)
		}
		if err != nil {
			return nil, fmt.Errorf("replay: account %q: %w", id, err)
		}
		p.Accounts = append(p.Accounts, a)
	}
	slices.SortFunc(p.Accounts, func(x, y *AccountPlan) int {
		return cmp.Or(cmp.Compare(len(y.Steps), len(x.Steps)), strings.Compare(x.ID, y.ID))
	})
	for bank := range b.banks {
		p.Banks = append(p.Banks, bank)
	}
	slices.SortFunc(p.Banks, func(x, y Bank) int {
		return cmp.Or(strings.Compare(x.Code, y.Code), strings.Compare(x.Channel, y.Channel))
	})
	for house := range b.houses {
		p.Houses = append(p.Houses, house)
	}
	slices.Sort(p.Houses)
	return p, nil
}

// planAccount orders an account's rows, runs its balance and finds its floor.
func planAccount(m *Mapping, id string, rows []*Row) (*AccountPlan, error) {
	chain := slices.Clone(rows)
	slices.SortStableFunc(rows, func(x, y *Row) int {
		return cmp.Or(x.Day.Compare(y.Day), inDay(m.OrderInDay, x, y))
	})
	slices.SortStableFunc(chain, func(x, y *Row) int { return x.Day.Compare(y.Day) })
	a := &AccountPlan{ID: id, Steps: make([]*Step, 0, len(rows)+1)}
	var balance money.Amount
	if m.Opening == openingRecorded {
		var err error
		if balance, err = a.open(chain, m.rounding); err != nil {
			return nil, err
		}
	}
	closing := balance
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && rows[n].Day.Equal(rows[0].Day) {
			n++
		}
		if n > rowsPerDayMax {
			return nil, fmt.Errorf("more than %d rows on %s", rowsPerDayMax, rows[0].Day.Format(time.DateOnly))
		}
		var err error
		if balance, err = a.bookDay(rows[:n], balance); err != nil {
			return nil, err
		}
		day := a.Days[len(a.Days)-1]
		// The oracle sees the bank's rows in the file's order: nothing of ours.
		day.Bank = closingOf(chain[:n], closing, m.rounding)
		if day.Bank.Found() {
			closing = day.Bank.Balance
		}
		rows, chain = rows[n:], chain[n:]
	}
	return a, nil
}

// openingHouse is the house account against which openings are booked, and
// openingPrefix makes the row id of an opening.
const (
	openingHouse  = "opening"
	openingPrefix = "opening:"
)

// open books the balance that the bank recorded before the account's first
// row, at midnight of that day. Where the records do not tell it, the account
// starts from zero and will show as a break.
func (a *AccountPlan) open(rows []*Row, rounding money.Amount) (money.Amount, error) {
	n := 1
	for n < len(rows) && rows[n].Day.Equal(rows[0].Day) {
		n++
	}
	balance, found := openingOf(rows[:n], rounding)
	if !found || balance.IsZero() {
		return money.Amount{}, nil
	}
	size, err := distance(balance, money.Amount{})
	if err != nil {
		return balance, fmt.Errorf("opening balance: %w", err)
	}
	if balance.Sign() < 0 {
		a.Floor = balance
	}
	first := rows[0]
	a.Opening = &Step{EffectiveAt: first.Day, Balance: balance, Row: &Row{
		File: first.File, Line: first.Line,
		ID: openingPrefix + a.ID, Account: a.ID, Day: first.Day, Amount: size, Credit: balance.Sign() > 0, Kind: kindHouse, House: openingHouse,
	}}
	a.Steps = append(a.Steps, a.Opening)
	return balance, nil
}

// bookDay appends the steps of one day and returns the balance after it.
func (a *AccountPlan) bookDay(rows []*Row, balance money.Amount) (money.Amount, error) {
	var err error
	for i, r := range rows {
		if balance, err = balance.Add(r.Signed()); err != nil {
			return balance, fmt.Errorf("line %d: balance: %w", r.Line, err)
		}
		if balance.Cmp(a.Floor) < 0 {
			a.Floor = balance
		}
		if r.HasBalance && r.Balance.Cmp(a.Floor) < 0 {
			a.Floor = r.Balance
		}
		at := r.Day.Add(time.Duration(i+1) * time.Second)
		a.Steps = append(a.Steps, &Step{Row: r, EffectiveAt: at, Balance: balance})
	}
	last := a.Steps[len(a.Steps)-1]
	a.Days = append(a.Days, &Day{Date: rows[0].Day, LastAt: last.EffectiveAt, Expected: balance})
	return balance, nil
}

func inDay(order string, x, y *Row) int {
	if order == orderFile || x.Credit == y.Credit {
		return 0
	}
	if x.Credit == (order == orderCreditsFirst) {
		return -1
	}
	return 1
}

// reasons tells the first n reasons why rows did not fit, for messages.
func (p *Plan) reasons(n int) string {
	if len(p.Bad) == 0 {
		return "the files have no rows"
	}
	var out []string
	for _, b := range p.Bad[:min(n, len(p.Bad))] {
		out = append(out, b.String())
	}
	return strings.Join(out, "; ")
}
