package recon

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/pay"
)

// What is expected on statements is derived from the log of transitions, and can be
// derived again: what has no row gets one, and a row that the log does not bear out goes.
// It moves no money and judges no line.
//
// Crash points: each piece of the log is one transaction, and each piece twice is once;
// who goes on begins at the piece that he knows was done, or anywhere before it.

// Rebuilt is how far a rebuilding came.
type Rebuilt struct {
	// Added rows were missing, Dropped ones are not borne out by the log.
	Added, Dropped int
	// Next is where to go on, More whether there is anything.
	Next int64
	More bool
}

// rebuildWithin bounds one call; the caller goes on at Next.
const rebuildWithin = 5 * time.Second

// Of those that are there, the ones that the raw rows do not bear out: settled, never
// succeeded, or of another amount.
const selectUnborne = `select e.payment from expectations e
  where e.payment > $1 and ((select max(settlement) from transitions t where t.payment = e.payment) is distinct from 1
     or (select p.amount from payments p where p.id = e.payment) is distinct from e.amount)
  order by e.payment limit $2`

// Rebuild derives anew what is expected, from what happened since a time, or from an id
// of the log on when after is not zero. With dry set it only counts. No run goes on
// meanwhile. It goes as far as the log was followed, and no further.
func (r *Recon) Rebuild(ctx context.Context, since time.Time, after int64, dry bool) (out Rebuilt, err error) {
	if err := r.takeTurn(ctx); err != nil {
		return out, err
	}
	defer r.turn.Unlock()
	var cursor int64
	if err := r.cfg.Pool.QueryRow(ctx, `select coalesce((select value from marks where name = $1), 0), case when $2 > 0 then $2 else facts.transitions_since($3) - 1 end`,
		markExpected, after, since.UTC()).Scan(&cursor, &out.Next); err != nil {
		return out, fmt.Errorf("read %s: %w", markExpected, err)
	}
	end := r.cfg.Clock.Now().Add(rebuildWithin)
	if after == 0 { // of what is there, all is looked at once
		if out.Dropped, err = r.dropUnborne(ctx, dry); err != nil {
			return out, err
		}
	}
	for out.Next < cursor && r.cfg.Clock.Now().Before(end) {
		n, last, err := r.rebuildChunk(ctx, out.Next, cursor, dry)
		if err != nil {
			return out, fmt.Errorf("derive what is expected: %w", err)
		}
		out.Added += n
		if out.Next = last; n == 0 && last == 0 { // nothing is left up to the cursor
			out.Next = cursor
		}
	}
	out.More = out.Next < cursor
	return out, nil
}

// takeTurn waits for the run that goes on.
func (r *Recon) takeTurn(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !r.turn.TryLock() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("a run of reconciliation goes on: %w", ctx.Err())
		}
	}
	return nil
}

// dropUnborne deletes rows that the raw rows do not bear out; those that should be there
// with another amount come again.
func (r *Recon) dropUnborne(ctx context.Context, dry bool) (n int, err error) {
	for last := int64(0); ; {
		rows, err := r.cfg.Pool.Query(ctx, selectUnborne, last, missedChunk)
		if err != nil {
			return n, fmt.Errorf("look for what is expected wrongly: %w", err)
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil {
			return n, fmt.Errorf("look for what is expected wrongly: %w", err)
		}
		n += len(ids)
		if len(ids) > 0 && !dry {
			if _, err := r.cfg.Pool.Exec(ctx, `delete from expectations where payment = any($1)`, ids); err != nil {
				return n, fmt.Errorf("drop what is expected wrongly: %w", err)
			}
		}
		if len(ids) < missedChunk {
			return n, nil
		}
		last = ids[len(ids)-1]
	}
}

// rebuildChunk adds what a piece of the log lets expect and has no row; last is where
// the piece ends, 0 when there was none.
func (r *Recon) rebuildChunk(ctx context.Context, from, cursor int64, dry bool) (n int, last int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, pageWithin)
	defer cancel()
	found, last, err := r.succeeded(ctx, from, cursor)
	if err != nil || last == from {
		return 0, 0, err
	}
	ids := make([]int64, 0, len(found))
	for i := range found {
		ids = append(ids, int64(found[i].payment))
	}
	rows, err := r.cfg.Pool.Query(ctx, `select payment from expectations where payment = any($1)`, ids)
	if err != nil {
		return 0, 0, err
	}
	have, err := pgx.CollectRows(rows, pgx.RowTo[pay.ID])
	if err != nil {
		return 0, 0, err
	}
	there := make(map[pay.ID]bool, len(have)+1)
	for _, id := range have {
		there[id] = true
	}
	there[0] = true // the chunk's end
	missing := found[:0]
	for i := range found {
		if !there[found[i].payment] {
			missing = append(missing, found[i])
		}
	}
	if len(missing) == 0 || dry {
		return len(missing), last, nil
	}
	var batch pgx.Batch
	r.queueExpectations(&batch, missing)
	return len(missing), last, r.cfg.Pool.SendBatch(ctx, &batch).Close()
}
