package settle

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
)

// MarkDuplicates is the row of marks that counts callbacks whose event had come
// before.
const MarkDuplicates = "duplicate_callbacks"

// brk is a row of breaks to be opened.
type brk struct {
	class     string
	channel   channel.Name
	payment   pay.ID
	reference string
	asset     money.Asset
	amount    money.Amount
	detail    string
	// executed: the word was that the channel executed what the reference names.
	executed bool
}

const detailMax = 500 // bytes of a break's detail

func (it *item) breakOf(class, detail string) *brk {
	return &brk{
		class: class, channel: it.channel, payment: it.id, reference: it.word.Reference,
		asset: it.word.Asset, amount: it.word.Amount, detail: strings.ToValidUTF8(detail[:min(len(detail), detailMax)], ""),
		executed: it.fact != nil && it.fact.Kind == pay.Confirm,
	}
}

// An event is new when its row in inbox_events is ours; of several letters of one
// event in a batch, the first is: $3 to $5 are the firsts, $6 the letters behind
// them. A letter that another node marked first is left alone. Nothing is joined: the
// planner cannot know how many rows there are, and would go through all of them for
// each letter. "in" makes a hash table, and "any" probes the index.
const markInbox = `with fresh as (
  insert into inbox_events (channel, event_id)
  select channel, event_id from unnest($4::text[], $5::text[]) as f(channel, event_id) order by channel, event_id
  on conflict do nothing returning channel, event_id
), again as (
  select id from unnest($3::bigint[], $4::text[], $5::text[]) as f(id, channel, event_id)
   where (channel, event_id) not in (select channel, event_id from fresh)
   union all
  select id from unnest($6::bigint[]) as behind(id)
), done as (
  update inbox set applied_at = $7,
         verdict = case when id in (select id from again) then replace(($2::text[])[array_position($1, id)], 'applied', 'duplicate') else ($2::text[])[array_position($1, id)] end
   where id = any($1::bigint[]) and applied_at is null
  returning channel, verdict, id in (select id from again) as again
), counted as (
  insert into marks (name, value) select 'duplicate_callbacks', count(*) from done where again having count(*) > 0
  on conflict (name) do update set value = marks.value + excluded.value
)
select channel, verdict, count(*) from done group by channel, verdict`

const markParked = `update inbox set verdict = 'parked' where id = any($1) and applied_at is null and verdict is distinct from 'parked'`

// One break for all that is said about one reference: recon's, if the statement was
// faster, whose line may be somebody's money without an owner.
const openBreaks = `insert into breaks (class, channel, payment, reference, asset, amount, detail)
  select class, channel, nullif(payment, 0), reference, asset, amount::numeric, detail
    from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[])
         as b(class, channel, payment, reference, asset, amount, detail)
   where not exists (select from breaks k where k.channel = b.channel and k.reference = b.reference
           and (k.class = b.class or b.class = 'unknown_reference' and k.class in ('unmatched_inbound', 'misdirected') and k.line <> ''))
   order by class, channel, reference
  on conflict do nothing`

// One break may have several words: people need to know whether execution is among them.
const markExecuted = `update breaks b set executed = true from unnest($1::text[], $2::text[], $3::text[]) as e(class, channel, reference)
 where b.class = e.class and b.channel = e.channel and b.reference = e.reference and not b.executed`

// mark writes the verdicts of a batch, its event ids and its breaks, in one
// transaction and one round trip.
func (b *Inbox) mark(ctx context.Context, items []item) error {
	var judged judgements
	var waiting []int64
	var breaks []*brk
	for i := range items {
		it := &items[i]
		switch it.verdict {
		case "":
			continue
		case parked:
			waiting = append(waiting, it.letter.id)
			b.metrics.callbacks.WithLabelValues(string(it.channel), parked).Inc()
			continue
		}
		judged.add(it)
		if it.brk != nil {
			breaks = append(breaks, it.brk)
		}
	}
	var batch pgx.Batch
	if len(judged.ids) > 0 {
		batch.Queue(markInbox, judged.ids, judged.verdicts, judged.firsts, judged.channels, judged.events, judged.behind, b.cfg.Clock.Now()).Query(b.count)
	}
	if len(waiting) > 0 {
		batch.Queue(markParked, waiting)
	}
	queueBreaks(&batch, breaks)
	return send(ctx, b.cfg.Pool, &batch)
}

// judgements are the parameters of markInbox.
type judgements struct {
	ids, firsts, behind        []int64
	verdicts, channels, events []string
	seen                       map[event]bool
}

// event is what a channel calls one happening, in however many letters.
type event struct {
	channel channel.Name
	id      string
}

func (j *judgements) add(it *item) {
	j.ids, j.verdicts = append(j.ids, it.letter.id), append(j.verdicts, it.verdict)
	e := event{it.channel, it.word.EventID}
	switch {
	case e.id == "":
	case j.seen[e]:
		j.behind = append(j.behind, it.letter.id)
	default:
		if j.seen == nil {
			j.seen = map[event]bool{}
		}
		j.seen[e] = true
		j.firsts, j.channels, j.events = append(j.firsts, it.letter.id), append(j.channels, string(e.channel)), append(j.events, e.id)
	}
}

func (b *Inbox) count(rows pgx.Rows) error {
	var name, verdict string
	var n int64
	_, err := pgx.ForEachRow(rows, []any{&name, &verdict, &n}, func() error {
		for range n { // counters take floats, and there are none in this package
			b.metrics.callbacks.WithLabelValues(name, verdict).Inc()
		}
		return nil
	})
	return err
}

func queueBreaks(batch *pgx.Batch, breaks []*brk) {
	if len(breaks) == 0 {
		return
	}
	n := len(breaks)
	classes, channels, refs := make([]string, n), make([]string, n), make([]string, n)
	assets, amounts, details := make([]string, n), make([]string, n), make([]string, n)
	payments := make([]int64, n)
	for i, k := range breaks {
		classes[i], channels[i], payments[i], refs[i] = k.class, string(k.channel), int64(k.payment), k.reference
		assets[i], amounts[i], details[i] = string(k.asset), k.amount.String(), k.detail
	}
	batch.Queue(openBreaks, classes, channels, payments, refs, assets, amounts, details)
	var said [3][]string
	for _, k := range breaks {
		if k.executed {
			said[0], said[1], said[2] = append(said[0], k.class), append(said[1], string(k.channel)), append(said[2], k.reference)
		}
	}
	if len(said[0]) > 0 {
		batch.Queue(markExecuted, said[0], said[1], said[2])
	}
}

// send runs a batch as one transaction: one Sync, no begin.
func send(ctx context.Context, pool *pgxpool.Pool, batch *pgx.Batch) error {
	if batch.Len() == 0 {
		return nil
	}
	if err := pool.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("mark: %w", err)
	}
	return nil
}
