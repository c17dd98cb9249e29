package sandbox

import (
	"fmt"
	"time"

	"github.com/moneta-pay/moneta/money"
)

// Status of an order, as on the wire.
const (
	accepted = "accepted"
	executed = "executed"
	declined = "declined"
)

// Directions, seen from the wallet whose bank this is.
const (
	out = "out"
	in  = "in"
)

// plan is what the dice decided for one order when it was accepted. It is
// journalled with the order, so that a restart changes no fate.
type plan struct {
	CallbackDelay int64        `json:"cd,omitempty"` // ms
	ExecuteDelay  int64        `json:"xd,omitempty"` // ms; the order waits as accepted
	Fee           money.Amount `json:"fee"`
	Reason        string       `json:"why,omitempty"` // of a decline to come or done
	Refuse        bool         `json:"no,omitempty"`  // the outcome is a decline
	Late          bool         `json:"lat,omitempty"` // and comes after an acceptance
	Silent        bool         `json:"sil,omitempty"` // no callback: the reply said it all
	TellAccepted  bool         `json:"tac,omitempty"`
	OutOfOrder    bool         `json:"ooo,omitempty"`
	Duplicate     bool         `json:"dup,omitempty"`
	Lose          bool         `json:"los,omitempty"`
	Forge         bool         `json:"for,omitempty"`
	Omit          bool         `json:"som,omitempty"`
	Repeat        bool         `json:"srp,omitempty"`
	Wrong         bool         `json:"swr,omitempty"`
	// Odd holds the rarer misdeeds; nil for the many orders without any.
	Odd *quirks `json:"odd,omitempty"`
}

// movement is what a customer asked for: us, or one of theirs who pays us.
type movement struct {
	Direction  string       `json:"dir"`
	Reference  string       `json:"ref"`
	Amount     money.Amount `json:"amt"`
	Asset      money.Asset  `json:"ast"`
	Account    string       `json:"acc,omitempty"`
	Name       string       `json:"nam,omitempty"`
	Remittance string       `json:"rem,omitempty"`
	// ReturnOf is the number of the order whose money comes back with this one.
	ReturnOf uint64 `json:"ret,omitempty"`
}

// key finds a movement again. A return quotes the reference of what it returns,
// and hides neither it nor money that quotes the same.
func (m *movement) key() refKey {
	if m.ReturnOf != 0 {
		return refKey{"return", m.Reference}
	}
	return refKey{m.Direction, m.Reference}
}

// order is one accepted movement with its fate. All but status, settledAt,
// returned and events is constant, and what a cancellation makes of the plan.
type order struct {
	movement
	plan
	number     uint64 // from 1, per bank
	status     string
	acceptedAt time.Time
	settledAt  time.Time
	events     [2]eventState // by event kind
	returned   bool          // its money came back: an order of its own says so
}

// line is one row of the statement: which order, its number among the effects,
// and whether told wrongly. A line without an effect is invented.
type line struct {
	order  *order
	effect int // from 1; 0 is none
	wrong  bool
}

// record is one journal entry: "o" an order accepted, "x" its outcome when it
// came later, "k" its cancellation, "t" the cancellation of a reference that
// nobody had used, "c" the end of a callback.
type record struct {
	Kind   string     `json:"k"`
	Number uint64     `json:"n"`
	At     time.Time  `json:"at,omitzero"`
	Move   *movement  `json:"m,omitempty"`
	Plan   *plan      `json:"p,omitempty"`
	Status string     `json:"s,omitempty"`
	Event  eventKind  `json:"e,omitempty"`
	State  eventState `json:"es,omitempty"`
}

// refKey keeps payments out apart from money in that quotes the same text.
type refKey struct{ direction, reference string }

// books are everything one bank knows: orders, executed effects, statement,
// balances. They have no lock of their own.
type books struct {
	code     string // lower case
	prefix   string // of bank ids, upper case
	orders   []*order
	byRef    map[refKey]*order
	effects  []*order
	lines    []line
	balances map[money.Asset]money.Amount
	days     map[dayKey]*bookDay
	stones   map[string]bool // references cancelled before they were used
}

func newBooks(code, prefix string) books {
	return books{
		code: code, prefix: prefix,
		byRef: map[refKey]*order{}, balances: map[money.Asset]money.Amount{},
		days: map[dayKey]*bookDay{}, stones: map[string]bool{},
	}
}

// enter adds an accepted order. The first of a reference is the one that
// queries find.
func (b *books) enter(move movement, p plan, at time.Time) *order {
	o := &order{movement: move, plan: p, number: uint64(len(b.orders)) + 1, status: accepted, acceptedAt: at}
	b.orders = append(b.orders, o)
	if move.ReturnOf != 0 {
		b.orders[move.ReturnOf-1].returned = true
	}
	key := move.key()
	if b.byRef[key] == nil {
		b.byRef[key] = o
	}
	return o
}

// settle gives an accepted order its outcome; executed ones enter the effects,
// the statement and the balance.
func (b *books) settle(o *order, at time.Time) error {
	if o.status != accepted {
		return fmt.Errorf("order %d is %s already", o.number, o.status)
	}
	o.settledAt = at
	if o.Refuse {
		o.status = declined
		if o.odd().Phantom {
			b.state(line{order: o})
		}
		return nil
	}
	balance, err := b.balanceAfter(o)
	if err != nil {
		return fmt.Errorf("balance after order %d: %w", o.number, err)
	}
	o.status = executed
	b.balances[o.Asset] = balance
	b.effects = append(b.effects, o)
	effect := len(b.effects)
	if err := b.move(o); err != nil {
		return fmt.Errorf("balance of the day after order %d: %w", o.number, err)
	}
	if o.Omit {
		return nil
	}
	b.state(line{o, effect, o.Wrong})
	if o.Repeat {
		b.state(line{o, effect, o.Wrong})
	}
	return nil
}

func (b *books) balanceAfter(o *order) (money.Amount, error) {
	balance := b.balances[o.Asset]
	if o.Direction == in {
		return balance.Add(o.Amount)
	}
	balance, err := balance.Sub(o.Amount)
	if err != nil {
		return balance, err
	}
	return balance.Sub(o.Fee)
}

// replay rebuilds the books from one record of the journal.
func (b *books) replay(rec record) error {
	if rec.Kind == "o" {
		if rec.Move == nil || rec.Plan == nil || rec.Number != uint64(len(b.orders))+1 || rec.Move.ReturnOf >= rec.Number {
			return fmt.Errorf("order %d does not follow order %d", rec.Number, len(b.orders))
		}
		o := b.enter(*rec.Move, *rec.Plan, rec.At)
		if rec.Status == accepted {
			return nil
		}
		return b.settle(o, rec.At)
	}
	if rec.Kind == "t" && rec.Move != nil {
		b.stones[rec.Move.Reference] = true
		return nil
	}
	if rec.Number == 0 || rec.Number > uint64(len(b.orders)) {
		return fmt.Errorf("record for order %d, which is not in the books", rec.Number)
	}
	o := b.orders[rec.Number-1]
	switch {
	case rec.Kind == "x":
		return b.settle(o, rec.At)
	case rec.Kind == "k":
		return b.cancel(o, rec.At)
	case rec.Kind == "c" && int(rec.Event) < len(o.events):
		o.events[rec.Event] = rec.State
		return nil
	default:
		return fmt.Errorf("unknown record %q", rec.Kind)
	}
}

// cancel settles an accepted order as one that will never be executed.
func (b *books) cancel(o *order, at time.Time) error {
	o.Refuse, o.Reason = true, reasonCancelled
	return b.settle(o, at)
}

// reasonCancelled is the reason of a decline that the customer asked for.
const reasonCancelled = "cancelled"

func (b *books) bankID(o *order) string { return fmt.Sprintf("%s-%08d", b.prefix, o.number) }

// wireEffect is one executed movement: the outside truth.
type wireEffect struct {
	Seq        int64        `json:"seq"`
	BankID     string       `json:"bank_id"`
	Direction  string       `json:"direction"`
	Reference  string       `json:"reference"`
	Remittance string       `json:"remittance"`
	Amount     money.Amount `json:"amount"`
	Fee        money.Amount `json:"fee"`
	Asset      money.Asset  `json:"asset"`
	ExecutedAt time.Time    `json:"executed_at"`
	Return     bool         `json:"return,omitempty"`
}

func (b *books) effect(seq int64) wireEffect {
	o := b.effects[seq-1]
	return wireEffect{
		Seq: seq, BankID: b.bankID(o), Direction: o.Direction, Reference: o.Reference, Remittance: o.Remittance,
		Amount: o.Amount, Fee: o.Fee, Asset: o.Asset, ExecutedAt: o.settledAt,
		Return: o.ReturnOf != 0,
	}
}
