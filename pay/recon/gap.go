package recon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/commit"
)

const (
	// restoreGap is what a channel did in the time that a restore lost.
	restoreGap = "restore_gap"
	// attemptsAhead is how many attempts behind the last one that we know the lost
	// time may have made: as many as dispatch makes of which no byte is sent.
	attemptsAhead = 12
	askAtOnce     = 16
	gapFinder     = "gap finder"
)

// restored is a payout that waits in the restored ledger for its next attempt.
type restored struct {
	id      pay.ID
	attempt int16
	asset   money.Asset
	amount  money.Amount
}

const selectRestored = `select payment, attempt, asset, amount::text from open_payments
  where channel = $1 and payment <= $2 and kind = any($3) and state = $4 order by payment`

// reclaim asks the channel for every attempt that the lost time may have made of
// the restored payouts that wait to be sent, and takes over what it knows. Only
// afterwards may they be sent, and only afterwards is the statement read: its
// lines then find their payments.
func (r *Recon) reclaim(ctx context.Context, ch channel.Channel) error {
	p := r.cfg.Gate.state()
	if p == nil {
		return nil
	}
	waiting, err := r.restored(ctx, ch.Name(), p)
	if err != nil || len(waiting) == 0 {
		return err
	}
	if err := proves(ch.Capabilities(), p.pausedAt, r.pausedSince(p), r.cfg.Clock.Now()); err != nil {
		return fmt.Errorf("%d restored payouts wait: %w", len(waiting), err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(askAtOnce)
	for _, w := range waiting {
		g.Go(func() error { return r.askBehind(ctx, ch, w) })
	}
	return g.Wait()
}

func (r *Recon) restored(ctx context.Context, name channel.Name, p *pause) ([]restored, error) {
	rows, err := r.cfg.Pool.Query(ctx, selectRestored, string(name), int64(p.last), leaving, int16(pay.Reserved))
	if err != nil {
		return nil, fmt.Errorf("read the restored payouts: %w", err)
	}
	var found []restored
	var w restored
	var amount string
	_, err = pgx.ForEachRow(rows, []any{&w.id, &w.attempt, &w.asset, &amount}, func() error {
		if r.cfg.Gate.askedAfter(w.id, w.attempt) {
			return nil
		}
		var err error
		w.amount, err = money.ParseMinor(amount)
		found = append(found, w)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the restored payouts: %w", err)
	}
	return found, nil
}

// pausedSince is when this process first met the pause, with the reading of its
// monotonic clock.
func (r *Recon) pausedSince(p *pause) time.Time {
	r.metLock.Lock()
	defer r.metLock.Unlock()
	if r.met != p.id || r.metAt.IsZero() {
		r.met, r.metAt = p.id, r.cfg.Clock.Now()
	}
	return r.metAt
}

// proves reports why a not-found would not yet, or never, tell that the lost time
// made no attempt. Nothing was sent after the pause began; how long ago that was
// is also counted here, since the clock that wrote it down may be wrong.
func proves(caps channel.Capabilities, pausedAt, met, now time.Time) error {
	counts := caps.NotFoundCounts(pausedAt)
	if here := now.Add(caps.NotFoundAfter() - now.Sub(met)); here.After(counts) {
		counts = here
	}
	switch {
	case !caps.QueryByReference:
		return errors.New("the channel cannot be asked by reference: a person must decide")
	case !caps.NotFoundMeansNever && !caps.DedupByReference:
		return errors.New("the channel's not-found proves nothing and it does not know a reference again: a person must decide")
	case now.Before(counts):
		return fmt.Errorf("what was sent last may not be visible before %s", counts.UTC().Format(time.RFC3339))
	}
	return nil
}

// askBehind asks for the attempts after the last that we know, up to the first
// that the channel has.
func (r *Recon) askBehind(ctx context.Context, ch channel.Channel, w restored) error {
	for n := w.attempt + 1; n <= w.attempt+attemptsAhead; n++ {
		reference := pay.Reference(w.id, n)
		ctx, cancel := context.WithTimeout(ctx, ch.Capabilities().ClientTimeout+time.Second)
		word := ch.Query(ctx, reference)
		cancel()
		r.metrics.requests.WithLabelValues(string(ch.Name()), "query", word.Verdict.String()).Inc()
		switch word.Verdict {
		case channel.NotFound:
			continue
		case channel.Acked, channel.Confirmed, channel.Declined:
			return r.adopt(ctx, ch.Name(), w, n, word)
		case channel.Unknown, channel.NeverSent, channel.Returned, channel.ChargedBack:
		}
		return fmt.Errorf("ask for %s of a restored payout: %w", reference, word.Err())
	}
	r.cfg.Gate.note(w.id, w.attempt)
	return nil
}

// adopt commits the attempt that the channel has and we lost, without sending
// anything: the intent as it must have been, and the channel's word.
func (r *Recon) adopt(ctx context.Context, name channel.Name, w restored, n int16, word channel.Word) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pageWithin)
	defer cancel()
	for k := w.attempt + 1; k <= n; k++ {
		now := r.cfg.Clock.Now()
		facts := []pay.Fact{{
			Kind: pay.Intend, Payment: w.id, At: now, Attempt: k, Source: "restore", SendBy: now.Truncate(time.Microsecond),
			NextAt: now.Add(time.Second),
		}, {
			Kind: pay.ProveAbsent, Payment: w.id, At: now, Attempt: k, AttemptState: pay.Absent, Source: "restore", Reason: "not_found",
			NextAt: now.Add(r.cfg.Every),
		}}
		if k == n {
			facts[1] = said(w.id, n, word, now)
		}
		for i := range facts {
			if err := r.cfg.Submitter.SubmitAll(ctx, []commit.Fact{{Payment: &facts[i]}})[0].Err; err != nil {
				return fmt.Errorf("take over attempt %d of %s: %w", k, w.id, err)
			}
		}
	}
	reference := pay.Reference(w.id, n)
	r.log.LogAttrs(ctx, slog.LevelWarn, "took over an attempt from before the restore", slog.String("channel", string(name)),
		slog.String("reference", reference), slog.String("verdict", word.Verdict.String()))
	_, err := r.cfg.Pool.Exec(ctx, `insert into breaks (class, channel, payment, reference, asset, amount, detail, state, closed_at, closed_by, close_reason)
	  values ($1, $2, $3, $4, $5, $6::numeric, $7, 'resolved', now(), 'recon', 'taken over from the channel''s word') on conflict do nothing`,
		restoreGap, string(name), int64(w.id), reference, string(w.asset), w.amount.String(),
		"attempted after the restored point; the channel says "+word.Verdict.String()+", and the ledger took it over")
	if err != nil {
		return fmt.Errorf("note the attempt that was taken over: %w", err)
	}
	return nil
}

func said(id pay.ID, n int16, w channel.Word, now time.Time) pay.Fact {
	f := pay.Fact{Payment: id, At: now, Attempt: n, Source: "restore", ChannelID: w.ChannelID, Reason: w.Reason, NextAt: now.Add(time.Second)}
	switch w.Verdict {
	case channel.Confirmed:
		f.Kind, f.Amount, f.Asset = pay.Confirm, w.Amount, w.Asset
	case channel.Declined:
		f.Kind = pay.Decline
	case channel.Acked, channel.Unknown, channel.NotFound, channel.NeverSent, channel.Returned, channel.ChargedBack:
		f.Kind = pay.Ack
	}
	return f
}

// gapOr names the class of a line's break: what happened in the lost time is a
// gap, whatever it looks like.
func (r *Recon) gapOr(it *item) string {
	p := r.cfg.Gate.state()
	lateRestored := p.paused() && (it.class == lateOutcome || it.class == contradiction) && it.id <= p.last
	if p.lost(it.id) || lateRestored {
		return restoreGap
	}
	return it.class
}

// resumeWhenClean ends the pause once every statement was read to its end, every
// restored payout's attempts are known, and nothing is open that only the outside
// knows.
func (r *Recon) resumeWhenClean(ctx context.Context) error {
	if !r.cfg.Gate.state().paused() {
		return nil
	}
	s, err := r.cfg.Gate.State(ctx)
	if err != nil || !s.Paused || s.OpenGaps > 0 {
		return err
	}
	unasked, err := r.unasked(ctx)
	if err != nil || unasked > 0 {
		return err
	}
	_, err = r.cfg.Gate.Resume(ctx, gapFinder, "every channel was read to its end: nothing is missing here")
	return err
}

// unasked counts restored payouts that could be sent and were not asked for, or
// whose last attempt is still in doubt.
func (r *Recon) unasked(ctx context.Context) (n int64, err error) {
	p := r.cfg.Gate.state()
	err = r.cfg.Pool.QueryRow(ctx, `select count(*) from open_payments where payment <= $1 and kind = any($2) and state = any($3)`,
		int64(p.last), leaving, []int16{int16(pay.Created), int16(pay.Dispatching), int16(pay.Unknown)}).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count restored payouts in doubt: %w", err)
	}
	for _, ch := range r.cfg.Channels {
		waiting, err := r.restored(ctx, ch.Name(), p)
		if err != nil {
			return 0, err
		}
		n += int64(len(waiting))
	}
	return n, nil
}
