package settle

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/moneta-pay/moneta/pay/channel"
)

// tellEvery is the time between two tries to write down the contracts.
const tellEvery = 5 * time.Second

// tellSQL replaces all contracts by those of this leader. A leader that was replaced
// meanwhile may write last: what it says was so a moment ago, and the next one corrects it.
const tellSQL = `
with gone as (delete from channel_contracts where channel <> all($1::text[]))
insert into channel_contracts (channel, adapter, not_found_after, told_at)
select c.channel, c.adapter, make_interval(secs => nullif(c.ms, 0) / 1000.0), $4
  from unnest($1::text[], $2::text[], $3::bigint[]) as c (channel, adapter, ms)
on conflict (channel) do update set adapter = excluded.adapter, not_found_after = excluded.not_found_after, told_at = excluded.told_at`

// tellContracts writes down what this leader plays by, once it can: who watches the plane
// cannot know otherwise for how long an unknown outcome may stay so.
func (a *Asker) tellContracts(ctx context.Context) {
	if a.cfg.Pool == nil {
		return
	}
	var names, adapters []string
	var proves []int64
	for _, l := range slices.SortedFunc(maps.Values(a.lanes), func(x, y *askLane) int { return cmp.Compare(x.name, y.name) }) {
		names, adapters, proves = append(names, string(l.name)), append(adapters, l.caps.Adapter), append(proves, provesAfter(l.caps))
	}
	t := time.NewTicker(tellEvery)
	defer t.Stop()
	for {
		within, cancel := context.WithTimeout(ctx, submitWithin)
		_, err := a.cfg.Pool.Exec(within, tellSQL, names, adapters, proves, a.cfg.Clock.Now())
		cancel()
		if err == nil || ctx.Err() != nil {
			return
		}
		a.log.LogAttrs(ctx, slog.LevelWarn, "the contracts of the channels are not written down yet", slog.Any("error", err))
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// provesAfter is from when on a not-found proves absence, in milliseconds; 0 is never.
func provesAfter(caps channel.Capabilities) int64 {
	if !caps.NotFoundMeansNever {
		return 0
	}
	return max(caps.NotFoundAfter().Milliseconds(), 1)
}
