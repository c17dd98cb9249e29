package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/lifecycle"
	"github.com/moneta-pay/moneta/pay/commit"
)

// A fact that may not have been committed is submitted again, the same, up to
// triesMax times: about five seconds in all. After that the timer finds the
// attempt, and the channel is asked.
const (
	triesMax     = 8
	retryFirst   = 20 * time.Millisecond
	retryMax     = 1500 * time.Millisecond
	submitWithin = 10 * time.Second
)

// report submits outcomes in batches of whatever is queued.
func (d *Dispatcher) report() {
	for first := range d.outcomes {
		batch := []outcome{first}
	gather:
		for len(batch) < reportMax {
			select {
			case o, ok := <-d.outcomes:
				if !ok {
					break gather
				}
				batch = append(batch, o)
			default:
				break gather
			}
		}
		d.commitOutcomes(batch)
	}
}

func (d *Dispatcher) commitOutcomes(batch []outcome) {
	facts := make([]commit.Fact, len(batch))
	for i := range batch {
		facts[i].Payment = &batch[i].fact
	}
	answers := d.submit(facts)
	for i := range batch {
		o := &batch[i]
		called := d.cfg.Contradicted != nil && d.cfg.Contradicted(d.ctx, o.lane.name, &o.fact, &answers[i])
		if err := answers[i].Err; err != nil && !called {
			d.notReported(o, err)
		}
		d.release(o.lane, o.fact.Payment)
	}
}

func (d *Dispatcher) notReported(o *outcome, err error) {
	level := slog.LevelWarn
	if errors.Is(err, fault.AlreadyFinal) || errors.Is(err, fault.AmountInvalid) {
		level = slog.LevelError
		d.metrics.contradictions.Inc()
	}
	d.log.LogAttrs(d.ctx, level, "the channel's reply was not applied", slog.String("payment", o.fact.Payment.String()),
		slog.Int("attempt", int(o.fact.Attempt)), slog.String("fact", o.fact.Kind.String()), slog.Any("error", err))
}

// submit submits facts and, boundedly, those again that may not stand yet. The
// same fact twice is answered from what was committed.
func (d *Dispatcher) submit(facts []commit.Fact) []commit.Outcome {
	answers := d.submitOnce(facts)
	for try := range triesMax - 1 {
		var again []int
		for i := range answers {
			if retryable(answers[i].Err) {
				again = append(again, i)
			}
		}
		if len(again) == 0 || !d.pause(min(retryFirst<<try, retryMax)) {
			return answers
		}
		rest := make([]commit.Fact, len(again))
		for k, i := range again {
			rest[k] = facts[i]
		}
		for k, answer := range d.submitOnce(rest) {
			answers[again[k]] = answer
		}
	}
	return answers
}

func (d *Dispatcher) submitOnce(facts []commit.Fact) []commit.Outcome {
	ctx, cancel := context.WithTimeout(d.ctx, submitWithin)
	defer cancel()
	return d.cfg.Submitter.SubmitAll(ctx, facts)
}

// pause waits, or reports false when everything ends.
func (d *Dispatcher) pause(wait time.Duration) bool {
	return lifecycle.Pause(d.ctx, wait) == nil
}

// undecided are the faults after which the same fact may still be taken.
var undecided = []fault.Code{
	fault.CommitUnknown, fault.NotLeader, fault.Overloaded, fault.DatabaseUnavailable, fault.Timeout, fault.RateLimited,
}

func retryable(err error) bool { return slices.Contains(undecided, fault.CodeOf(err)) }
