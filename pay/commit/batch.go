package commit

import (
	"time"

	"github.com/moneta-pay/moneta/internal/pgbatch"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// batch is one transaction under construction: the tickets it answers and the
// rows it writes.
type batch struct {
	at      time.Time
	tickets []*ticket
	tables  [tableCount]*table
	calls   []pgbatch.Call

	touched  map[pay.ID]*touched
	accounts map[ledger.AccountID]ledger.Account
	attempts map[attemptKey]*attemptRow
	hops     map[hopKey]*hopDelta
	changed  []pay.Payment
	late     []pay.Payment // successes after the failure, to be told of once they stand
	writes   bool
}

type touched struct {
	payment *pay.Payment
	wasOpen bool
}

type attemptKey struct {
	payment pay.ID
	n       int16
}

type attemptRow struct {
	attempt pay.Attempt
	channel string
	born    bool
}

type hopKey struct {
	hop, channel string
	asset        money.Asset
}

type hopDelta struct {
	entered, left int64
	value         money.Amount
}

func newBatch() *batch {
	b := &batch{
		tables:   newTables(),
		touched:  make(map[pay.ID]*touched),
		accounts: make(map[ledger.AccountID]ledger.Account),
		attempts: make(map[attemptKey]*attemptRow),
		hops:     make(map[hopKey]*hopDelta),
	}
	for _, t := range b.tables {
		b.calls = append(b.calls, pgbatch.Call{Statement: &t.statement, Columns: t.columns})
	}
	return b
}

// reset empties the batch and keeps its memory.
func (b *batch) reset(at time.Time) {
	b.at, b.writes = at, false
	clear(b.tickets)
	b.tickets, b.changed = b.tickets[:0], nil
	b.late = b.late[:0]
	for _, t := range b.tables {
		t.reset()
	}
	clear(b.touched)
	clear(b.accounts)
	clear(b.attempts)
	clear(b.hops)
}

func (b *batch) touch(p *pay.Payment, wasOpen bool) {
	if _, ok := b.touched[p.ID]; !ok {
		b.touched[p.ID] = &touched{p, wasOpen}
		return
	}
	b.touched[p.ID].payment = p
}

func (b *batch) attempt(p *pay.Payment, born bool) {
	k := attemptKey{p.ID, p.Attempt.N}
	if o, ok := b.attempts[k]; ok {
		o.attempt = p.Attempt
		return
	}
	b.attempts[k] = &attemptRow{p.Attempt, p.Channel, born}
}

// hop counts a payment out of one hop and into another, which is also elsewhere
// when the channel is another. The value is bounded by what the ledger holds, so an
// overflow here would already be one there.
func (b *batch) hop(p *pay.Payment, fromChannel, from, to string) {
	if from == to && fromChannel == p.Channel {
		return
	}
	if from != "" {
		d := b.hopDelta(hopKey{from, fromChannel, p.Asset})
		d.left++
		d.value, _ = d.value.Sub(p.Amount)
	}
	if to != "" {
		d := b.hopDelta(hopKey{to, p.Channel, p.Asset})
		d.entered++
		d.value, _ = d.value.Add(p.Amount)
	}
}

func (b *batch) hopDelta(k hopKey) *hopDelta {
	d := b.hops[k]
	if d == nil {
		d = &hopDelta{}
		b.hops[k] = d
	}
	return d
}

// tellAll tells the stations also of payments that the batch only looked at: when
// the answer to a COMMIT is lost, their move stands and was told to nobody.
func (b *batch) tellAll() {
	for _, t := range b.tickets {
		if p := &t.out.Payment; p.ID != 0 && b.touched[p.ID] == nil {
			b.changed = append(b.changed, *p)
		}
	}
}

// seal writes what is known only when the batch is complete.
func (b *batch) seal() {
	b.writeOpen()
	b.writeAccountUpdates()
	b.writeAttempts()
	b.writeHops()
	for _, t := range b.touched {
		if t.wasOpen || t.payment.Open() { // nobody waits for what was born final
			b.changed = append(b.changed, *t.payment)
		}
	}
}
