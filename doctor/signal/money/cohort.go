package money

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/doctor"
)

// Bounds of what is read for the scope.
const (
	sampleRows = 200  // of the newest open payments, each look
	lateRows   = 2000 // of those that are stuck or past their deadline
	// sampleFor is how long a payment that was seen counts as one of those that could be
	// affected: what is affected is seen for as long as it is.
	sampleFor = time.Minute
	// apart is for how long nobody is hurt between two troubles.
	apart      = 10 * time.Second
	sampleMost = 10_000
	// namedMost bounds the values that a dimension names; the rest are one.
	namedMost = 50
	others    = "others"
)

func digits(n int64) string { return strconv.FormatInt(n, 10) }

const (
	itemColumns  = `payment, hop, coalesce(channel, ''), entered_at, deadline, tenant, account, kind, asset, amount_band`
	heldItem     = `case when hop in ('holder', 'operator') then true when hop = 'channel' and attempt = 0 then kind = 'deposit' and state = 'created' else false end`
	selectNewest = `select ` + itemColumns + ` from (select * from facts.open_items order by payment desc limit 5 * $1::int) i where not ` + heldItem + ` limit $1`
	selectLate   = `select ` + itemColumns + ` from facts.open_items
	  where (deadline < now() or (entered_at < now() - interval '1 second' and hop = any($1) and coalesce(channel, '') = any($2))) and not ` + heldItem + `
	  order by payment limit $3`
)

// affected reads a sample of what is under way, and, while something is stuck or late,
// who it is.
func (c *Collector) affected(ctx context.Context, tx pgx.Tx, f *facts) error {
	open := false
	for k, a := range f.lanes {
		if _, _, ok := k.named(); ok && a.Items > 0 {
			open = true
		}
	}
	if !open {
		return nil
	}
	b := new(pgx.Batch)
	fields := func(i *item) []any {
		return []any{&i.Payment, &i.Hop, &i.Channel, &i.EnteredAt, &i.Due, &i.Tenant, &i.Account, &i.Kind, &i.Asset, (*band)(&i.Band)}
	}
	all(b, selectNewest, &f.sample, fields, sampleRows)
	if hops, channels := c.flow.suspects(f); len(hops) > 0 {
		all(b, selectLate, &f.late, fields, hops, channels, lateRows)
	}
	return tx.SendBatch(ctx, b).Close()
}

// band is the number of an amount's digits, as the word of a cohort.
type band string

// Scan implements sql.Scanner.
func (b *band) Scan(v any) error {
	if n, ok := v.(int64); ok {
		*b = band(digits(n) + " digits")
	}
	return nil
}

// suspects are the places of which the rows are read: with work that is late for its
// hop, or past its deadline, and all of them while nobody leads.
func (f *flow) suspects(in *facts) (hops, channels []string) {
	for k, a := range in.lanes {
		ln := f.lanes[k]
		if _, _, ok := k.named(); !ok || ln == nil || a.Items == 0 {
			continue
		}
		late := !f.paused[k] && in.at.Sub(a.Oldest.at) > lateFor(ln.residence(k.hop))
		if late || a.Overdue > 0 || f.silent > beatGrace {
			hops, channels = append(hops, k.hop), append(channels, k.channel)
		}
	}
	return hops, channels
}

// lateFor is the age from which work that waits with others that are stuck is one of
// the affected: somebody looks at a screen meanwhile.
func lateFor(residence time.Duration) time.Duration { return max(2*time.Second, 2*residence) }

type seenAt struct {
	payment int64
	at      time.Time
}

// notice keeps who was under way and who was affected within the last minute.
func (f *flow) notice(in *facts, now time.Time) {
	for _, i := range in.sample {
		if _, known := f.seen[i.Payment]; !known && len(f.seen) < sampleMost {
			f.seenAt = append(f.seenAt, seenAt{i.Payment, now})
			f.seen[i.Payment] = i
		}
	}
	for len(f.seenAt) > 0 && now.Sub(f.seenAt[0].at) > sampleFor {
		delete(f.seen, f.seenAt[0].payment)
		f.seenAt = f.seenAt[1:]
	}
	for _, i := range in.late {
		if _, known := f.affected[i.Payment]; (i.Due.Before(in.at) || f.tooLong(&i, in.at)) && (known || len(f.affected) < sampleMost) {
			f.affected[i.Payment] = hit{i, now}
		}
	}
	for id, h := range f.affected { // who was, and is no more, counts as long as who was not
		if now.Sub(h.at) > sampleFor {
			delete(f.affected, id)
		}
	}
}

// cohorts counts who is affected, of what was under way within the last minute.
// Nothing is told while nobody is.
func (f *flow) cohorts(in *facts, now time.Time) []doctor.Cohort {
	if len(f.stuckAt)+len(f.behindAt) > 0 || f.silent > stayLeast || in.overdue() {
		if now.Sub(f.trouble) > apart { // another trouble than before: who was hurt by that one is not by this
			maps.DeleteFunc(f.affected, func(_ int64, h hit) bool { return now.Sub(h.at) > apart })
		}
		f.trouble = now
	}
	if len(f.affected) == 0 || f.trouble.IsZero() || now.Sub(f.trouble) > apart {
		return nil
	}
	return tally(f.affected, f.seen)
}

// hit is somebody who is affected, and when he last was.
type hit struct {
	item
	at time.Time
}

func (in *facts) overdue() bool {
	for k, a := range in.lanes {
		if _, _, ok := k.named(); ok && a.Overdue > 0 {
			return true
		}
	}
	return false
}

func (f *flow) tooLong(i *item, at time.Time) bool {
	ln := f.lanes[place{i.Hop, i.Channel}]
	if ln == nil {
		return false
	}
	if f.silent > beatGrace { // nobody's could move
		return at.Sub(i.EnteredAt) > lateFor(0)
	}
	return at.Sub(i.EnteredAt) > lateFor(ln.residence(i.Hop))
}

type tallied struct{ affected, total int }

// tally counts each payment once in every dimension.
func tally(affected map[int64]hit, seen map[int64]item) (out []doctor.Cohort) {
	dimensions := map[string]func(*item) string{
		"tenant":      func(i *item) string { return digits(i.Tenant) },
		"kind":        func(i *item) string { return i.Kind },
		"channel":     func(i *item) string { return cmp.Or(i.Channel, "none") },
		"asset":       func(i *item) string { return i.Asset },
		"amount_band": func(i *item) string { return i.Band },
		"account":     func(i *item) string { return digits(i.Account) },
	}
	for _, name := range slices.Sorted(maps.Keys(dimensions)) {
		of := dimensions[name]
		counts := make(map[string]*tallied)
		at := func(i *item) *tallied {
			v := of(i)
			if counts[v] == nil {
				counts[v] = new(tallied)
			}
			return counts[v]
		}
		for _, i := range affected {
			t := at(&i.item)
			t.affected, t.total = t.affected+1, t.total+1
		}
		for id, i := range seen {
			if _, also := affected[id]; !also {
				at(&i).total++
			}
		}
		out = append(out, named(name, counts)...)
	}
	return out
}

// named lists the values of a dimension, those most affected by name.
func named(dimension string, counts map[string]*tallied) (out []doctor.Cohort) {
	values := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b].affected, counts[a].affected), cmp.Compare(counts[b].total, counts[a].total), cmp.Compare(a, b))
	})
	rest := doctor.Cohort{Dimension: dimension, Value: others}
	for i, v := range values {
		if t := counts[v]; i < namedMost {
			out = append(out, doctor.Cohort{Dimension: dimension, Value: v, Affected: t.affected, Total: t.total})
		} else {
			rest.Affected, rest.Total = rest.Affected+t.affected, rest.Total+t.total
		}
	}
	if rest.Total > 0 {
		out = append(out, rest)
	}
	return out
}
