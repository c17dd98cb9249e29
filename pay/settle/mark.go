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
}

const detailMax = 500 // bytes of a break's detail

func (it *item) breakOf(class, detail string) *brk {
	return &brk{
		class: class, channel: it.channel, payment: it.id, reference: it.word.Reference,
		asset: it.word.Asset, amount: it.word.Amount, detail: strings.ToValidUTF8(detail[:min(len(detail), detailMax)], ""),
	}
}

// An event is new when its row in inbox_events is ours; of several letters of
// one event in a batch, the first is. A letter that another node marked first is
// left alone.
const markInbox = `with given as (
  select id, verdict, channel, event_id, event_id <> '' as named,
         row_number() over (partition by channel, event_id order by id) as nth
    from unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) as g(id, verdict, channel, event_id)
), fresh as (
  insert into inbox_events (channel, event_id)
  select channel, event_id from given where named and nth = 1 order by channel, event_id
  on conflict do nothing returning channel, event_id
), judged as (
  select g.id, g.channel, g.verdict, g.named and (f.event_id is null or g.nth > 1) as again
    from given g left join fresh f on f.channel = g.channel and f.event_id = g.event_id
), done as (
  update inbox i set applied_at = $5, verdict = case when j.again and j.verdict = 'applied' then 'duplicate' else j.verdict end
    from judged j where i.id = j.id and i.applied_at is null
  returning i.channel, i.verdict, j.again
), counted as (
  insert into marks (name, value) select 'duplicate_callbacks', count(*) from done where again having count(*) > 0
  on conflict (name) do update set value = marks.value + excluded.value
)
select channel, verdict, count(*) from done group by channel, verdict`

const markParked = `update inbox set verdict = 'parked' where id = any($1) and applied_at is null and verdict is distinct from 'parked'`

// One break for all that is said about one reference: recon's, if the statement was
// faster.
const openBreaks = `insert into breaks (class, channel, payment, reference, asset, amount, detail)
  select class, channel, nullif(payment, 0), reference, asset, amount::numeric, detail
    from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[])
         as b(class, channel, payment, reference, asset, amount, detail)
   where not exists (select from breaks k where k.class = b.class and k.channel = b.channel and k.reference = b.reference)
   order by class, channel, reference
  on conflict do nothing`

// mark writes the verdicts of a batch, its event ids and its breaks, in one
// transaction and one round trip.
func (b *Inbox) mark(ctx context.Context, items []item) error {
	var ids, waiting []int64
	var verdicts, channels, events []string
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
		ids = append(ids, it.letter.id)
		verdicts, channels, events = append(verdicts, it.verdict), append(channels, string(it.channel)), append(events, it.word.EventID)
		if it.brk != nil {
			breaks = append(breaks, it.brk)
		}
	}
	var batch pgx.Batch
	if len(ids) > 0 {
		batch.Queue(markInbox, ids, verdicts, channels, events, b.cfg.Clock.Now()).Query(b.count)
	}
	if len(waiting) > 0 {
		batch.Queue(markParked, waiting)
	}
	queueBreaks(&batch, breaks)
	return send(ctx, b.cfg.Pool, &batch)
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
