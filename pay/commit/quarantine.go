package commit

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
)

const (
	// asideFor is how long a step that was put aside is refused from memory: who
	// drives the payment offers it again every few seconds, and each time the whole
	// batch would be taken apart. Then it is tried again: somebody may have mended it.
	asideFor = time.Minute
	// asideMax bounds the steps remembered; beyond it all are forgotten.
	asideMax = 10_000
	// errorMax bounds what is kept of the reason, in bytes.
	errorMax = 2_000
)

// step is one step of a payment, as often as it is offered. What is told of its money
// by name is a step for each name: a return may come in parts.
type step struct {
	payment pay.ID
	kind    pay.FactKind
	attempt int16
	event   pay.Key
}

// String is how the step's row names it.
func (s *step) String() string {
	if s.event == (pay.Key{}) {
		return fmt.Sprintf("%s %d", s.kind, s.attempt)
	}
	return fmt.Sprintf("%s %d %x", s.kind, s.attempt, s.event)
}

// stepOf names the step that a Fact about a payment takes; what would make a
// payment has a key instead.
func stepOf(f Fact) (step, bool) {
	if f.Payment == nil || f.Payment.Payment == 0 {
		return step{}, false
	}
	return step{f.Payment.Payment, f.Payment.Kind, f.Payment.Attempt, f.Payment.Key}, true
}

func errQuarantined() *fault.Error {
	return fault.New(fault.PaymentQuarantined, "the ledger could not take this and put it aside for a person")
}

// isAside refuses a step that was put aside a moment ago.
func (d *decider) isAside(f Fact) error {
	if len(d.aside) == 0 {
		return nil
	}
	s, ok := stepOf(f)
	if !ok {
		return nil
	}
	at, aside := d.aside[s]
	if !aside || time.Since(at) > asideFor { //nolint:forbidigo // the monotonic clock, on purpose
		return nil
	}
	return errQuarantined().WithResource(s.payment.String())
}

// putPoisonAside quarantines the Facts that panicked and returns the others.
func (d *decider) putPoisonAside(ctx context.Context, tickets []*ticket) ([]*ticket, error) {
	for _, t := range tickets {
		if t.poison == nil {
			continue
		}
		if err := d.quarantine(ctx, t, t.poison); err != nil {
			return nil, err
		}
	}
	return withoutAnswered(tickets), nil
}

// quarantine puts a Fact that cannot be committed aside, for a person, and pages.
// Its row and the refusal of its key are one transaction under the fence, so that
// the same request gets the same answer for good, and no batch is taken apart for
// it again. A crash before leaves nothing: the Fact is tried again. After it, the
// answer is found by the key. Memory must be what is committed.
func (d *decider) quarantine(ctx context.Context, t *ticket, cause error) error {
	key, keyed := keyOf(t.fact)
	if keyed {
		if err := d.need(ctx, []*ticket{{ctx: ctx, fact: t.fact}}); err != nil {
			return err
		}
		switch e, known := d.mem.keys.get(key); {
		case known && e.kind == keyPayment && isEvent(t.fact):
			keyed = false // the event has made its payment; what cannot be taken is more that is told of it
		case known: // put aside before, and the answer was lost
			j := &judge{shard: d.shard, mem: d.mem}
			r, err := j.replay(e, fingerprintOf(t.fact))
			t.answer(Outcome{Result: r, Err: err})
			return nil
		}
	}
	no := errQuarantined()
	s, about := stepOf(t.fact)
	if about {
		no = no.WithResource(s.payment.String())
	}
	err := d.writeAside(ctx, t.fact, cause, keyed)
	if blamesFact(err) { // even that: without anything of the Fact's own
		if err := d.reload(ctx); err != nil {
			return err
		}
		err = d.writeAside(ctx, Fact{}, cause, false)
	}
	if err != nil {
		return err
	}
	if about {
		if d.aside == nil || len(d.aside) >= asideMax {
			d.aside = make(map[step]time.Time)
		}
		d.aside[s] = time.Now() //nolint:forbidigo // the monotonic clock, on purpose
	}
	d.metrics.quarantined()
	d.logger.ErrorContext(ctx, "fact quarantined: a person must decide", slog.String("payment", s.payment.String()),
		slog.String("kind", kindOf(t.fact)), slog.Any("error", cause))
	t.answer(Outcome{Err: no.WithCause(cause)})
	return nil
}

// writeAside commits the row, and with keyed the refusal.
func (d *decider) writeAside(ctx context.Context, f Fact, cause error, keyed bool) error {
	b := newBatch()
	b.reset(d.now())
	text, err := json.Marshal(f)
	if err != nil {
		text = fmt.Appendf(nil, "unreadable fact: %v", err)
	}
	key, _ := keyOf(f)
	var e keyEntry
	if keyed {
		no := errQuarantined()
		e = keyEntry{fingerprint: fingerprintOf(f), kind: keyRefusal, refusal: &refusal{code: no.Code, detail: no.Detail}}
		b.writeKey(key, e)
	}
	b.writeQuarantine(d.shard, f, storable(string(text), len(text)), storable(cause.Error(), errorMax))
	b.writes = true
	b.seal()
	b.writeFence(d.shard, d.epoch, d.leader, d.mem.last)
	if err := d.write(ctx, b); err != nil {
		return err
	}
	if keyed {
		d.mem.keys.put(key, e)
	}
	return nil
}

// storable is what Postgres takes as a text of at most that many bytes.
func storable(s string, most int) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s[:min(len(s), most)], ""), "\x00", "")
}

// isEvent reports whether the Fact tells of an event about a payment's money, which has
// a key of its own.
func isEvent(f Fact) bool {
	return f.Payment != nil && f.Payment.Kind != pay.Accept && f.Payment.Key != pay.Key{}
}

func kindOf(f Fact) string {
	if f.Payment != nil {
		return f.Payment.Kind.String()
	}
	return "account"
}

func (b *batch) writeQuarantine(shard int16, f Fact, text, cause string) {
	c := b.tables[quarantineRows].columns
	c[0].AddInt(int64(shard))
	c[2].AddText(text)
	c[3].AddText(cause)
	c[4].AddTime(b.at)
	if s, ok := stepOf(f); ok {
		c[1].AddInt(int64(s.payment))
		c[6].AddText(s.String())
	} else {
		c[1].AddIntOrNull(0)
		c[6].AddTextOrNull("")
	}
	key, keyed := keyOf(f)
	if !keyed {
		c[5].Null()
		return
	}
	c[5].AddUUID(key)
}
