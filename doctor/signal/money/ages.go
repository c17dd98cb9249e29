package money

import (
	"context"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// Ages is how old what waits at a place is, now.
type Ages struct {
	Hop     string `json:"hop"`
	Channel string `json:"channel,omitempty"`
	// Buckets are from the youngest to the oldest.
	Buckets []AgeBucket `json:"buckets"`
	// Whole says that all of it was looked at, and not only what was accepted first.
	Whole bool `json:"whole"`
}

// AgeBucket counts what is at least FromS and less than the next one's seconds old.
type AgeBucket struct {
	FromS int   `json:"from_s"`
	Items int64 `json:"items"`
}

// ageSteps are the lower bounds of the buckets, in seconds.
var ageSteps = []int{0, 1, 5, 15, 60, 300, 900, 3600, 21600, 86400}

const (
	agesRows   = 20_000
	agesWithin = 2 * time.Second
	selectAges = `select width_bucket(extract(epoch from now() - entered_at)::float8, $4::float8[]) as b, count(*)
		from (select entered_at from facts.open_items where hop = $1 and ($2 = '' or coalesce(channel, '') = $2)
		  and not ` + heldItem + ` order by payment limit $3) i group by 1`
)

// Ages counts what waits at a hop by its age, of the oldest agesRows payments there at most.
// The hop has the name that readings use; a channel is a hop.
func (c *Collector) Ages(ctx context.Context, hop, channel string) (Ages, error) {
	out := Ages{Hop: hop, Channel: channel, Whole: true}
	fact := map[string]string{doctor.HopDecider: factIntake, doctor.HopDispatch: factDispatch, doctor.HopSettle: factSettle}[hop]
	if fact == "" {
		fact, channel = factChannel, hop
	}
	steps := make([]float64, len(ageSteps))
	for i, s := range ageSteps {
		steps[i] = float64(s)
		out.Buckets = append(out.Buckets, AgeBucket{FromS: s})
	}
	ctx, cancel := context.WithTimeout(ctx, agesWithin)
	defer cancel()
	rows, err := c.pool.Query(ctx, selectAges, fact, channel, agesRows, steps)
	if err != nil {
		return out, err
	}
	defer rows.Close()
	total := int64(0)
	for rows.Next() {
		var bucket int
		var n int64
		if err := rows.Scan(&bucket, &n); err != nil {
			return out, err
		}
		i := min(max(bucket-1, 0), len(out.Buckets)-1) // a clock that is behind makes age 0
		out.Buckets[i].Items += n
		total += n
	}
	out.Whole = total < agesRows
	return out, rows.Err()
}
