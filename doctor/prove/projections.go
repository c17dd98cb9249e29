package prove

import (
	"context"
	"fmt"
	"time"

	"github.com/moneta-pay/moneta/money"
)

// foundMax bounds the rows that one question about a projection may name.
const foundMax = "1000"

// checkKeys asks for keys that lead to nothing; the payments' own were asked with
// them.
func (p *prover) checkKeys(ctx context.Context) error {
	var keys int64
	if err := p.rows(ctx, `select count(*) from keys where kind in (1, 2)`, nil, func(r *row) { keys = r.int(0) }); err != nil {
		return fmt.Errorf("count the keys: %w", err)
	}
	p.asked(checkKeys, keys)
	err := p.rows(ctx, `select k.key, k.kind, k.subject, k.at from keys k
	  where k.kind = 1 and not exists (select from payments p where p.id = k.subject and p.key = k.key)
	     or k.kind = 2 and not exists (select from accounts a where a.id = k.subject) limit `+foundMax, nil, func(r *row) {
		what := "payment"
		id := r.int(2)
		if r.int(1) == 2 {
			what, id = "account", 0
		}
		p.find(checkKeys, id, r.time(3), "key "+r.text(0), fmt.Sprintf("it answers for %s %d, which does not have it or is not there", what, r.int(2)))
	})
	if err != nil {
		return fmt.Errorf("read the keys: %w", err)
	}
	return nil
}

// checkLastIDs compares the last ids that each shard gave out with the last that are
// there: the newest row can be missing without a gap.
func (p *prover) checkLastIDs(ctx context.Context) error {
	type last struct{ shard, account, payment, transfer, transition int64 }
	var shards []last
	err := p.rows(ctx, `select id, last_account, last_payment, last_transfer, last_transition from shards order by id`, p.digest("shards"), func(r *row) {
		shards = append(shards, last{r.int(0), r.int(1), r.int(2), r.int(3), r.int(4)})
	})
	if err != nil {
		return fmt.Errorf("read the shards: %w", err)
	}
	for _, s := range shards {
		var has last
		err := p.rows(ctx, `select coalesce((select max(id) from accounts where id between $1 and $2), $1), coalesce((select max(id) from payments where id between $1 and $2), $1),
		    coalesce((select max(id) from transfers where id between $1 and $2), $1), coalesce((select max(id) from transitions where id between $1 and $2), $1)`, nil, func(r *row) {
			has = last{s.shard, seqOf(r.int(0)) / 2, seqOf(r.int(1)), seqOf(r.int(2)), seqOf(r.int(3))}
		}, s.shard<<48, s.shard<<48+1<<48-1)
		if err != nil {
			return fmt.Errorf("read the newest ids: %w", err)
		}
		for _, l := range p.lost { // a history that has no transition yet
			if shardOf(l.last) == s.shard {
				has.transition = max(has.transition, seqOf(l.last))
			}
		}
		for _, x := range []struct {
			table     string
			said, has int64
			steps     bool
		}{
			{"accounts", s.account, has.account, true},
			{"payments", s.payment, has.payment, true},
			{"transfers", s.transfer, has.transfer, false},
			{"transitions", s.transition, has.transition, false},
		} {
			p.asked(checkIDs, 1)
			apart := x.said - x.has
			if apart == 0 || x.steps && apart > 0 && apart%stepApart == 0 && apart/stepApart <= p.steps[s.shard] {
				continue
			}
			p.find(checkIDs, 0, time.Time{}, fmt.Sprintf("shard %d", s.shard), fmt.Sprintf("number %d is the last of %s that it gave out, and %d is the last that is there", x.said, x.table, x.has))
		}
	}
	return nil
}

// question is asked of a projection and the rows behind it; each answer is a fault:
// what, a payment or 0, and the detail.
type question struct{ check, sql string }

var questions = []question{
	{checkCounts, `with o as (select hop, channel, asset, count(*) as open, sum(amount) as value from open_payments group by 1, 2, 3)
	  select format('%s %s %s', hop, channel, asset), 0, format('it counts %s open worth %s (%s came, %s left); the open items are %s worth %s',
	      coalesce(h.open, 0), coalesce(h.value, 0), coalesce(h.entered, 0), coalesce(h."left", 0), coalesce(o.open, 0), coalesce(o.value, 0))
	    from hop_counts h full join o using (hop, channel, asset)
	   where coalesce(h.open, 0) <> coalesce(o.open, 0) or coalesce(h.value, 0) <> coalesce(o.value, 0) or h.open <> h.entered - h."left"`},
	{checkViews, `with v as (select hop, coalesce(channel, '') as channel, asset, count(*) as n, sum(value) as value from facts.open_items group by 1, 2, 3),
	    o as (select hop, channel, asset, count(*) as n, sum(amount) as value from open_payments group by 1, 2, 3)
	  select format('facts.open_items %s %s %s', hop, channel, asset), 0, format('%s worth %s; the rows are %s worth %s', coalesce(v.n, 0), coalesce(v.value, 0), coalesce(o.n, 0), coalesce(o.value, 0))
	    from v full join o using (hop, channel, asset) where v.n is distinct from o.n or v.value is distinct from o.value`},
	{checkViews, `with v as (select hop, coalesce(channel, '') as channel, asset, open, value from facts.hops),
	    o as (select hop, channel, asset, count(*) as open, sum(amount) as value from open_payments group by 1, 2, 3)
	  select format('facts.hops %s %s %s', hop, channel, asset), 0, format('%s open worth %s; the rows are %s worth %s', coalesce(v.open, 0), coalesce(v.value, 0), coalesce(o.open, 0), coalesce(o.value, 0))
	    from v full join o using (hop, channel, asset) where coalesce(v.open, 0) <> coalesce(o.open, 0) or coalesce(v.value, 0) <> coalesce(o.value, 0)`},
	{checkViews, `select 'facts.timers of payment ' || coalesce(t.payment, o.payment), coalesce(t.payment, o.payment), 'the view and the rows do not have the same open items, or not the same timer'
	    from facts.timers t full join open_payments o on o.payment = t.payment
	   where t.payment is null or o.payment is null or t.next_at <> o.next_at or t.deadline <> o.deadline limit ` + foundMax},
	{checkViews, `select 'facts.live_attempts of payment ' || coalesce(v.payment, a.payment), coalesce(v.payment, a.payment), 'the view and the rows do not have the same last attempt'
	    from facts.live_attempts v full join (select a.payment, a.n, a.reference from open_payments o join attempts a on a.payment = o.payment
	      and a.n = (select max(n) from attempts m where m.payment = o.payment)) a on a.payment = v.payment
	   where v.payment is null or a.payment is null or v.n <> a.n or v.reference <> a.reference limit ` + foundMax},
	{checkViews, `select 'facts.projections ' || v.name, 0, format('it says %s behind %s; the log ends at %s', v.behind, v.position, m.head)
	    from facts.projections v cross join (select greatest(coalesce((select max(id) from transitions), 0), coalesce((select max(begins) - 1 from timelines), 0)) as head) m
	   where (select count(*) from shards) = 1 and (v.behind <> greatest(m.head - v.position, 0) or v.position > m.head)`},
	{checkViews, `select 'facts.expectations', 0, format('%s in the view, %s rows', v.n, e.n)
	    from (select count(*) as n from facts.expectations) v, (select count(*) as n from expectations) e where v.n <> e.n`},
	{checkLinked, `select 'payment ' || c.id, c.id, format('its original %s is not there', c.original)
	    from payments c where c.original is not null and not exists (select from payments p where p.id = c.original) limit ` + foundMax},
}

// checkProjections compares what others read with the rows behind it.
func (p *prover) checkProjections(ctx context.Context) error {
	for _, q := range questions {
		p.asked(q.check, 1)
		err := p.rows(ctx, q.sql, nil, func(r *row) { p.find(q.check, r.int(1), time.Time{}, r.text(0), r.text(2)) })
		if err != nil {
			return fmt.Errorf("compare %s: %w", q.check, err)
		}
	}
	err := p.rows(ctx, `select coalesce(payment, 0), at from quarantine`, nil, func(r *row) {
		p.fly(flightKey{"quarantine", "operator", "", ""}, money.Amount{}, r.time(1), time.Time{}, paymentID(r.int(0)))
	})
	if err != nil {
		return fmt.Errorf("read the quarantine: %w", err)
	}
	p.cfg.Progress("projections", 1, 1)
	return nil
}

// webhookWindow is how many transitions one question about webhooks looks through, and
// webhookDays how far back deliveries are kept for sure (30 days, then pruned).
const (
	webhookWindow = 50_000
	webhookDays   = 29
)

type endpoint struct {
	id, tenant, upTo int64
	since            time.Time
}

// checkWebhooks asks whether every payment that became final was queued for each
// endpoint that was to be told, up to where the planner is.
func (p *prover) checkWebhooks(ctx context.Context) error {
	var position int64
	if err := p.rows(ctx, `select position from webhook_cursor`, nil, func(r *row) { position = r.int(0) }); err != nil {
		return fmt.Errorf("read the webhooks' cursor: %w", err)
	}
	p.asked(checkWebhooks, 1)
	newest := p.last.transition
	for _, l := range p.lost {
		newest = max(newest, l.last)
		if position >= l.first && position <= l.last && p.last.transition > l.last {
			p.find(checkWebhooks, 0, time.Time{}, fmt.Sprintf("cursor %d", position), "it names an event that was lost by a failover or a restore")
		}
	}
	if position > newest {
		p.find(checkWebhooks, 0, time.Time{}, fmt.Sprintf("cursor %d", position), fmt.Sprintf("the log ends at %d: events were told that are not there", newest))
	}
	var endpoints []endpoint
	err := p.rows(ctx, `select id, tenant, coalesce(behind, $1), created_at from webhook_endpoints where state = 1 or state = 2 and behind is not null order by id`, nil, func(r *row) {
		// The decider's clock and the database's may differ by seconds.
		since := r.time(3).Add(time.Minute)
		if kept := p.at.AddDate(0, 0, -webhookDays); since.Before(kept) {
			since = kept
		}
		endpoints = append(endpoints, endpoint{r.int(0), r.int(1), r.int(2), since})
	}, position)
	if err != nil {
		return fmt.Errorf("read the webhooks' endpoints: %w", err)
	}
	for _, e := range endpoints {
		if err := p.checkEndpoint(ctx, e); err != nil {
			return fmt.Errorf("read the messages of endpoint %d: %w", e.id, err)
		}
	}
	return p.rows(ctx, `select d.state, count(*), min(d.created_at), min(d.endpoint) from webhook_deliveries d
	  join webhook_endpoints e on e.id = d.endpoint and e.state <> 3 where d.state in (1, 3) group by 1`, nil, func(r *row) {
		what := "webhook"
		if r.int(0) == 3 {
			what = "webhook_given_up"
		}
		p.inFlight[flightKey{what, "notify", "", ""}] = &Flight{
			What: what, Hop: "notify", Count: r.int(1), OldestSeconds: max(int64(p.at.Sub(r.time(2))/time.Second), 0), Oldest: "endpoint " + r.text(3),
		}
	})
}

func (p *prover) checkEndpoint(ctx context.Context, e endpoint) error {
	var after int64
	if err := p.rows(ctx, `select facts.transitions_since($1) - 1`, nil, func(r *row) { after = r.int(0) }, e.since); err != nil {
		return err
	}
	for after < e.upTo {
		var end, asked int64
		err := p.rows(ctx, `select coalesce(max(id), 0), count(*) filter (where from_state <> to_state and to_state between 6 and 9)
		  from (select id, from_state, to_state from transitions where id > $1 and id <= $2 order by id limit $3) t`, nil, func(r *row) {
			end, asked = r.int(0), r.int(1)
		}, after, e.upTo, webhookWindow)
		if err != nil || end == 0 {
			return err
		}
		p.asked(checkWebhooks, asked)
		err = p.rows(ctx, `select t.id, t.payment, t.at from transitions t join payments p on p.id = t.payment and p.tenant = $4
		  where t.id > $1 and t.id <= $2 and t.from_state <> t.to_state and t.to_state between 6 and 9 and t.at > $5
		    and not exists (select from webhook_deliveries d where d.endpoint = $3 and d.event = t.id) order by t.id limit `+foundMax, nil, func(r *row) {
			p.find(checkWebhooks, r.int(1), r.time(2), fmt.Sprintf("transition %d", r.int(0)), fmt.Sprintf("endpoint %d is not told that the payment is final", e.id))
		}, after, end, e.id, e.tenant, e.since)
		if err != nil {
			return err
		}
		after = end
	}
	return nil
}

// readBreaks sums up the open breaks, and marks the findings that one of them knows.
func (p *prover) readBreaks(ctx context.Context) error {
	p.out.Breaks = []BreakSum{}
	err := p.rows(ctx, `select class, owner, severity, count(*), floor(extract(epoch from now() - min(opened_at)))::bigint from breaks where closed_at is null
	  group by 1, 2, 3 order by 3, 1, 2`, nil, func(r *row) {
		p.out.Breaks = append(p.out.Breaks, BreakSum{Class: r.text(0), Owner: r.text(1), Severity: r.int(2), Count: r.int(3), OldestSeconds: r.int(4)})
	})
	if err != nil {
		return fmt.Errorf("read the breaks: %w", err)
	}
	var payments []int64
	for i := range p.out.Findings {
		if id := p.out.Findings[i].payment; id != 0 {
			payments = append(payments, id)
		}
	}
	known := map[int64]string{}
	err = p.rows(ctx, `select payment, id, class, owner, state from breaks where payment = any($1) order by id`, nil, func(r *row) {
		known[r.int(0)] = fmt.Sprintf("%d %s (%s, %s)", r.int(1), r.text(2), r.text(3), r.text(4))
	}, payments)
	if err != nil {
		return fmt.Errorf("read the breaks of what was found: %w", err)
	}
	for i := range p.out.Findings {
		f := &p.out.Findings[i]
		f.Break = known[f.payment]
	}
	return nil
}
