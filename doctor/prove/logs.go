package prove

import (
	"context"
	"fmt"
	"time"

	"github.com/moneta-pay/moneta/money"
)

// stepApart is how many ids a new history leaves to what may be lost (ADR 0015).
const stepApart = int64(1) << 32

// ids follows the ids of one table, which have no gap but those of histories.
type ids struct {
	p       *prover
	table   string
	step    int64
	steps   bool // histories leave out 2^32 at once
	before  int64
	who     string
	skipped map[int64]int64 // by shard: steps that were left out so far
}

func (p *prover) newIDs(table string, step int64, steps bool) *ids {
	return &ids{p: p, table: table, step: step, steps: steps, skipped: map[int64]int64{}}
}

// next takes the next id; who names what it is about, for the neighbour of a gap.
func (s *ids) next(id int64, who string) {
	s.p.asked(checkIDs, 1)
	want := s.before + s.step
	if shardOf(id) != shardOf(s.before) || s.before == 0 {
		want = shardOf(id)<<48 | s.step
	}
	if id != want && !s.allowed(want, id) {
		detail := fmt.Sprintf("%s to %s missing", itoa(want), itoa(id-s.step))
		if s.who != "" {
			detail += ", between " + s.who + " and " + who
		}
		s.p.find(checkIDs, 0, time.Time{}, fmt.Sprintf("%s %d", s.table, want), detail)
	}
	s.before, s.who = id, who
}

// allowed reports whether a history may have left out the ids from want to before id.
func (s *ids) allowed(want, id int64) bool {
	missing := (id - want) / s.step
	if missing <= 0 {
		return false
	}
	if s.steps {
		n := missing / stepApart
		if missing%stepApart != 0 || s.skipped[shardOf(id)]+n > s.p.steps[shardOf(id)] {
			return false
		}
		s.skipped[shardOf(id)] += n
		return true
	}
	for _, l := range s.p.lost { // one after the other, without a row between
		if l.first == want {
			want = l.last + s.step
		}
	}
	return want == id
}

// claim is a transition that made transfers.
type claim struct {
	id, payment, transition, first, end int64
	seen                                int64
}

// posted is a transfer as the walk keeps it.
type posted struct {
	id, payment, debit, credit, debitSeq, creditSeq, transition int64
	amount, debitBalance, creditBalance                         money.Amount
}

const (
	selectTransfers = `select id, payment, debit, credit, amount, debit_seq, credit_seq, debit_balance, credit_balance, transition, effective_at, booked_at
  from transfers where id > $1 order by id limit $2`
	selectTransitions = `select id, payment, transition, first_transfer, transfers, seq, from_state, to_state, settlement, attempt, source, reason, at
  from transitions where id > $1 order by id limit $2`
)

// walk goes through both logs by id, side by side: the decider writes a step's
// transfers and then the step, so that both rise together.
type walk struct {
	p           *prover
	transitions *ids
	transfers   *ids
	claims      []claim
	after       int64
	ended       bool
}

func (p *prover) walkLogs(ctx context.Context) error {
	w := &walk{p: p, transitions: p.newIDs("transition", 1, false), transfers: p.newIDs("transfer", 1, false)}
	page := make([]posted, 0, logPage)
	var done int64
	for after := int64(0); ; {
		page = page[:0]
		err := p.rows(ctx, selectTransfers, p.digest("transfers"), func(r *row) {
			page = append(page, posted{
				id: r.int(0), payment: r.int(1), debit: r.int(2), credit: r.int(3), amount: r.amount(4), debitSeq: r.int(5), creditSeq: r.int(6),
				debitBalance: r.amount(7), creditBalance: r.amount(8), transition: r.int(9),
			})
		}, after, logPage)
		if err != nil {
			return fmt.Errorf("read the transfers after %d: %w", after, err)
		}
		for i := range page {
			if err := w.transfer(ctx, &page[i]); err != nil {
				return err
			}
		}
		done += int64(len(page))
		p.cfg.Progress("transfers", done, p.last.transfer)
		if len(page) < logPage {
			break
		}
		after = page[len(page)-1].id
	}
	for !w.ended {
		if err := w.load(ctx); err != nil {
			return err
		}
	}
	for i := range w.claims {
		w.close(&w.claims[i])
	}
	return nil
}

// load reads a page of transitions.
func (w *walk) load(ctx context.Context) error {
	n := 0
	err := w.p.rows(ctx, selectTransitions, w.p.digest("transitions"), func(r *row) {
		n++
		w.after = r.int(0)
		w.transitions.next(w.after, "a step of "+paymentID(r.int(1)))
		if count := r.int(4); count > 0 {
			w.claims = append(w.claims, claim{id: w.after, payment: r.int(1), transition: r.int(2), first: r.int(3), end: r.int(3) + count})
		}
	}, w.after, logPage)
	if err != nil {
		return fmt.Errorf("read the transitions after %d: %w", w.after, err)
	}
	w.ended = n < logPage
	return nil
}

// close tells of a claim whose transfers are not all there.
func (w *walk) close(c *claim) {
	if missing := c.end - c.first - c.seen; missing > 0 {
		w.p.find(checkOwner, c.payment, time.Time{}, fmt.Sprintf("transition %d", c.id),
			fmt.Sprintf("it names transfers %d to %d, and %d of them are not its own or not there", c.first, c.end-1, missing))
	}
}

func (w *walk) transfer(ctx context.Context, t *posted) error {
	w.transfers.next(t.id, "")
	w.p.posting(t)
	w.p.asked(checkOwner, 1)
	for {
		for len(w.claims) > 0 && w.claims[0].end <= t.id {
			w.close(&w.claims[0])
			w.claims = w.claims[1:]
		}
		if len(w.claims) > 0 || w.ended {
			break
		}
		if err := w.load(ctx); err != nil {
			return err
		}
	}
	if len(w.claims) == 0 || t.id < w.claims[0].first {
		w.p.find(checkOwner, t.payment, time.Time{}, fmt.Sprintf("transfer %d", t.id), "no step of any payment names it")
		return nil
	}
	if c := &w.claims[0]; c.payment == t.payment && c.transition == t.transition {
		c.seen++
	} else {
		w.p.find(checkOwner, t.payment, time.Time{}, fmt.Sprintf("transfer %d", t.id), fmt.Sprintf("it is of T%d of %s, and a T%d of %s names it",
			t.transition, paymentID(t.payment), c.transition, paymentID(c.payment)))
	}
	return nil
}

// posting checks both sides of a transfer against the rows before it of their books.
func (p *prover) posting(t *posted) {
	a := &p.accounts
	place := fmt.Sprintf("transfer %d", t.id)
	d, okD := a.find(t.debit)
	c, okC := a.find(t.credit)
	p.asked(checkSums, 1)
	switch {
	case !okD || !okC:
		p.find(checkSums, t.payment, time.Time{}, place, fmt.Sprintf("from book %d to book %d: one of them belongs to no account", t.debit, t.credit))
	case a.asset[d] != a.asset[c] || a.tenant[d] != a.tenant[c]:
		p.find(checkSums, t.payment, time.Time{}, place, fmt.Sprintf("from %s of tenant %d to %s of tenant %d",
			a.assets[a.asset[d]], a.tenant[d], a.assets[a.asset[c]], a.tenant[c]))
	}
	if okD {
		b := &a.books[2*d+int(t.debit&1)]
		b.debits++
		p.side(t, b, t.debit, neg(t.amount), t.debitBalance, t.debitSeq, b.debits)
		if b.debits != t.debitSeq {
			b.debits = t.debitSeq
		}
		total := &a.totals[a.asset[d]]
		total.transfers++
		total.moved = p.add(total.moved, t.amount)
	}
	if okC {
		b := &a.books[2*c+int(t.credit&1)]
		b.credits++
		p.side(t, b, t.credit, t.amount, t.creditBalance, t.creditSeq, b.credits)
		if b.credits != t.creditSeq {
			b.credits = t.creditSeq
		}
	}
}

// side checks one side: its number follows, and its balance is the one before it,
// moved by the amount. After a step it goes on from what the row says, so that each
// step is told once.
func (p *prover) side(t *posted, b *book, id int64, moved, balance money.Amount, seq, want int64) {
	p.asked(checkBalances, 1)
	p.asked(checkSequence, 1)
	if seq != want {
		p.find(checkSequence, t.payment, time.Time{}, fmt.Sprintf("transfer %d", t.id), fmt.Sprintf("it is number %d of %s, after number %d", seq, p.bookName(id), want-1))
	}
	if due := p.add(b.recorded, moved); due != balance {
		p.find(checkBalances, t.payment, time.Time{}, fmt.Sprintf("transfer %d", t.id),
			fmt.Sprintf("%s was %s before, moved by %s, and is said to be %s", p.bookName(id), b.recorded, moved, balance))
	}
	if id&1 == 1 && balance.Sign() < 0 {
		p.find(checkHolds, t.payment, time.Time{}, fmt.Sprintf("transfer %d", t.id), fmt.Sprintf("%s falls to %s: more was let go than was held", p.bookName(id), balance))
	}
	b.recorded, b.recounted = balance, p.add(b.recounted, moved)
}
