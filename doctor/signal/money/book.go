package money

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/big"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// pageRows is how many open items are read at a time, and two pages a look: what a
// second costs does not depend on what is open.
const pageRows = 20_000

// moment is a time that somebody makes up: the payment is 0 where nobody needs to know.
type moment struct {
	at      time.Time
	payment int64
}

func (m moment) none() bool { return m.at.IsZero() }

func earlier(a, b moment) moment {
	if a.none() || (!b.none() && b.at.Before(a.at)) {
		return b
	}
	return a
}

// ages is what is open at a place.
type ages struct {
	// Items wait for the hop itself; Held wait for a person or a holder.
	Items, Held int64
	// Overdue and Astray are past their deadline and past the time of their next look.
	Overdue, Orphans int64
	// Oldest entered first, Due has the earliest deadline, Next the earliest next look.
	Oldest, Due, Next moment
	// Value is what Items are worth, by asset, in the smallest unit.
	Value map[string]*big.Int
}

func (a *ages) add(o *ages) {
	a.Items, a.Held, a.Overdue, a.Orphans = a.Items+o.Items, a.Held+o.Held, a.Overdue+o.Overdue, a.Orphans+o.Orphans
	a.Oldest, a.Due, a.Next = earlier(a.Oldest, o.Oldest), earlier(a.Due, o.Due), earlier(a.Next, o.Next)
	for asset, v := range o.Value {
		a.worth(asset, v)
	}
}

// worth adds to the value; it keeps no hold of v.
func (a *ages) worth(asset string, v *big.Int) {
	if a.Value == nil {
		a.Value = map[string]*big.Int{}
	}
	sum := a.Value[asset]
	if sum == nil {
		sum = new(big.Int)
		a.Value[asset] = sum
	}
	sum.Add(sum, v)
}

// page is a run of payments as it was last read. What does not move keeps its age
// without being read again; whoever makes up an age is looked up each time.
type page struct {
	after, until int64 // payments after < id <= until
	read         int   // number of the look
	stale        bool
	places       map[place]*ages
}

// book is everything that is open, page by page.
type book struct {
	pages []*page
	look  int
	rows  int64 // of a page; fewer while the database is slow
}

func newBook() *book { return &book{pages: []*page{{until: math.MaxInt64}}, rows: pageRows} }

// slow makes the pages smaller, quick larger again: a look must not fail because the
// database is slow, since then it is needed most. What is known is read anew.
func (b *book) slow() {
	*b = book{pages: []*page{{until: math.MaxInt64}}, look: b.look, rows: max(b.rows/2, pageRows/32)}
}

func (b *book) quick() { b.rows = min(b.rows+b.rows/8, pageRows) }

// What waits for a person or a holder is no stall: the pay plane says so of its hops, a
// deposit that is announced waits for whoever pays it, and what has a case has an owner.
const (
	// The cases come in this order because the last ones cost a call a row.
	openItems = `(select payment, hop, coalesce(channel, '') as channel, asset, value, entered_at, deadline, next_at,
	    case when hop in ('holder', 'operator') or payment = any($4) then true
	      when hop = 'channel' and attempt = 0 then kind = 'deposit' and state = 'created' else false end as held
	    from facts.open_items where payment > $1 and payment <= $2 order by payment limit $3),
	  g as (select hop, channel, held, asset, count(*) as n, sum(value) as value, max(payment) as top, count(*) filter (where deadline < now()) as overdue,
	    count(*) filter (where next_at < now() - interval '5 seconds') as astray,
	    min(entered_at) as entered, min(deadline) as due, min(next_at) as next from i group by 1, 2, 3, 4)
	  select hop, channel, held, asset, trunc(value)::text, n, top, overdue, astray, entered, due, next, `
	// The rows are gone through once, and kept nowhere.
	selectPage = `with i as not materialized ` + openItems + `0::bigint, 0::bigint, 0::bigint from g`
	// What is not read again at the next look also needs to be known by whom it is so old:
	// the first of those who are, in a copy of the page. Joining all of it back to its
	// groups took twice the time.
	selectPageAside = `with i as materialized ` + openItems + `
	    (select payment from i where i.entered_at = g.entered and i.hop = g.hop and i.channel = g.channel and i.held = g.held and i.asset = g.asset limit 1),
	    (select payment from i where i.deadline = g.due and i.hop = g.hop and i.channel = g.channel and i.held = g.held and i.asset = g.asset limit 1),
	    (select payment from i where i.next_at = g.next and i.hop = g.hop and i.channel = g.channel and i.held = g.held and i.asset = g.asset limit 1) from g`
	selectAgain   = `select payment, hop, coalesce(channel, ''), entered_at, deadline, next_at from facts.open_items where payment = any($1)`
	selectOrphans = `select hop, coalesce(channel, ''), count(*) from facts.timers
	    where payment > $1 and payment <= $2 and orphan and next_at < now() - interval '5 seconds' group by 1, 2`
)

// read brings two pages up to date, verifies the ages of the others and sums up.
func (b *book) read(ctx context.Context, tx pgx.Tx, f *facts) error {
	b.look++
	last := b.pages[len(b.pages)-1]
	if err := b.readPage(ctx, tx, last, f.cases); err != nil {
		return err
	}
	if err := b.verify(ctx, tx, f.cases); err != nil {
		return err
	}
	if p := b.next(); p != nil {
		if err := b.readPage(ctx, tx, p, f.cases); err != nil {
			return err
		}
	}
	f.lanes, f.pages = make(map[place]ages), len(b.pages)
	for _, p := range b.pages {
		for k, a := range p.places {
			sum := f.lanes[k]
			sum.add(a)
			f.lanes[k] = sum
		}
	}
	b.tidy()
	return nil
}

// next is the page to read beside the last one: what is known to be wrong first, then
// what was not read for longest.
func (b *book) next() *page {
	rest := b.pages[:len(b.pages)-1]
	if len(rest) == 0 {
		return nil
	}
	return slices.MinFunc(rest, func(x, y *page) int {
		if x.stale != y.stale {
			if x.stale {
				return -1
			}
			return 1
		}
		return cmp.Compare(x.read, y.read)
	})
}

func (b *book) readPage(ctx context.Context, tx pgx.Tx, p *page, cases []int64) error {
	sql := selectPageAside
	if p.until == math.MaxInt64 {
		sql = selectPage
	}
	rows, err := tx.Query(ctx, sql, p.after, p.until, b.rows, cases)
	if err != nil {
		return err
	}
	p.places, p.read, p.stale = make(map[place]*ages), b.look, false
	var n, newest, astray int64
	var k place
	var held bool
	var items, top, overdue, late int64
	var oldest, due, next moment
	var asset, value string
	_, err = pgx.ForEachRow(rows, []any{
		&k.hop, &k.channel, &held, &asset, &value, &items, &top, &overdue, &late, &oldest.at, &due.at, &next.at, &oldest.payment, &due.payment, &next.payment,
	}, func() error {
		a := p.places[k]
		if a == nil {
			a = new(ages)
			p.places[k] = a
		}
		n, newest = n+items, max(newest, top)
		if held {
			a.Held += items
			return nil
		}
		astray += late
		a.add(&ages{Items: items, Overdue: overdue, Oldest: oldest, Due: due, Next: next})
		worth, ok := new(big.Int).SetString(value, 10)
		if !ok {
			return fmt.Errorf("the value %q of open items is no number", value)
		}
		a.worth(asset, worth)
		return nil
	})
	if err != nil {
		return err
	}
	if n == b.rows && p.until == math.MaxInt64 { // it is full: what comes later is another page
		p.until = newest
		b.pages = append(b.pages, &page{after: newest, until: math.MaxInt64, stale: true, places: map[place]*ages{}})
	}
	if astray == 0 {
		return nil
	}
	return p.readOrphans(ctx, tx)
}

func (p *page) readOrphans(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, selectOrphans, p.after, p.until)
	if err != nil {
		return err
	}
	var k place
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&k.hop, &k.channel, &n}, func() error {
		if a := p.places[k]; a != nil {
			a.Orphans = n
		}
		return nil
	})
	return err
}

// verify looks up who makes up the ages of the pages that are not read now. Who has
// moved on takes his age with him, and his page is read next.
func (b *book) verify(ctx context.Context, tx pgx.Tx, cases []int64) error {
	var ids []int64
	for _, p := range b.pages {
		if p.read == b.look {
			continue
		}
		for _, a := range p.places {
			for _, m := range []moment{a.Oldest, a.Due, a.Next} {
				if m.payment != 0 {
					ids = append(ids, m.payment)
				}
			}
		}
	}
	if len(ids) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, selectAgain, ids)
	if err != nil {
		return err
	}
	type now struct {
		place
		entered, due, next time.Time
	}
	found := make(map[int64]now, len(ids))
	var id int64
	var v now
	if _, err := pgx.ForEachRow(rows, []any{&id, &v.hop, &v.channel, &v.entered, &v.due, &v.next}, func() error {
		found[id] = v
		return nil
	}); err != nil {
		return err
	}
	for _, id := range cases {
		delete(found, id)
	}
	for _, p := range b.pages {
		if p.read == b.look {
			continue
		}
		for k, a := range p.places {
			holds := func(m *moment, at func(now) time.Time) {
				if m.payment == 0 {
					return
				}
				if v, ok := found[m.payment]; !ok || v.place != k || !at(v).Equal(m.at) {
					*m, p.stale = moment{}, true
				}
			}
			holds(&a.Oldest, func(v now) time.Time { return v.entered })
			holds(&a.Due, func(v now) time.Time { return v.due })
			holds(&a.Next, func(v now) time.Time { return v.next })
		}
	}
	return nil
}

// tidy joins a page that has become nearly empty with the one before it, so that the
// pages are as many as what is open needs.
func (b *book) tidy() {
	size := func(p *page) (n int64) {
		for _, a := range p.places {
			n += a.Items + a.Held
		}
		return n
	}
	for i := 1; i < len(b.pages); i++ {
		before, p := b.pages[i-1], b.pages[i]
		if p.read > 0 && before.read > 0 && size(before)+size(p) < b.rows/4 {
			before.until, before.stale = p.until, true
			for k, a := range p.places {
				if before.places[k] == nil {
					before.places[k] = new(ages)
				}
				before.places[k].add(a)
			}
			b.pages = slices.Delete(b.pages, i, i+1)
			i--
		}
	}
}
