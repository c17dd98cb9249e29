package commit

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
)

// knownWithin bounds the look for keys while nobody leads.
const knownWithin = 2 * time.Second

// Refuse answers facts that are not to be decided now: those whose keys were decided
// before as the decider would, and each other one with the error of its place. It
// only reads, and leads nothing to the decider. Where it cannot be read whether a key
// was decided, the error does not say that nothing has moved: the same key tells later.
func (n *Node) Refuse(ctx context.Context, facts []Fact, why []error) []Outcome {
	out := make([]Outcome, len(facts))
	for i := range out {
		out[i].Err = why[i]
	}
	out, read := n.lookUp(ctx, facts, out)
	for i := range out {
		if _, keyed := keyOf(facts[i]); keyed && !read {
			out[i].Err = fault.From(out[i].Err).WithRetry(fault.SafeSameKey).WithMoneyState(fault.UnknownWillResolve)
		}
	}
	return out
}

// known answers those of the refused facts whose keys were decided before, as the
// decider would: that only needs reading, and whoever repeats a request because
// its answer was lost must not be told that nothing has moved. What cannot be
// read stays refused.
func (n *Node) known(ctx context.Context, facts []Fact, out []Outcome) []Outcome {
	out, _ = n.lookUp(ctx, facts, out)
	return out
}

// lookUp is known, and says whether it could read.
func (n *Node) lookUp(ctx context.Context, facts []Fact, out []Outcome) (_ []Outcome, read bool) {
	if n.cfg.Reads == nil || (n.trouble.why() != nil && !n.trouble.refused()) {
		return out, false
	}
	var keys []pgtype.UUID
	for i := range facts {
		if k, ok := keyOf(facts[i]); ok {
			keys = append(keys, uuidOf(k))
		}
	}
	if len(keys) == 0 {
		return out, true
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), knownWithin)
	defer cancel()
	m, err := n.recall(ctx, keys)
	if err != nil {
		return out, false
	}
	j := &judge{mem: m}
	for i := range facts {
		k, ok := keyOf(facts[i])
		if !ok || settles(facts[i]) {
			continue
		}
		if e, found := m.keys.get(k); found {
			out[i].Result, out[i].Err = j.replay(e, fingerprintOf(facts[i]))
		}
	}
	return out, true
}

// recall reads what the keys were answered with, from the primary.
func (n *Node) recall(ctx context.Context, keys []pgtype.UUID) (*memory, error) {
	conn, err := n.cfg.Reads.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	l, m := &loader{conn.Conn(), func() {}}, newMemory()
	if err := l.keys(ctx, keys, m); err != nil {
		return nil, err
	}
	var payments, accounts []int64
	for _, k := range keys {
		switch e, _ := m.keys.get(k.Bytes); e.kind {
		case keyPayment:
			payments = append(payments, e.subject)
		case keyAccount:
			accounts = append(accounts, e.subject)
		case keyRefusal: // it is all there
		}
	}
	if len(payments) > 0 {
		if err := l.payments(ctx, payments, m); err != nil {
			return nil, err
		}
	}
	if len(accounts) > 0 {
		return m, l.accounts(ctx, accounts, m)
	}
	return m, nil
}

// settles reports whether a Fact has more to do where its key is known: what a callback
// told before is settled by its statement line.
func settles(f Fact) bool {
	return f.Payment != nil && f.Payment.Kind != pay.Accept && f.Payment.Settled
}

func fingerprintOf(f Fact) [16]byte {
	if f.Account != nil {
		return f.Account.Fingerprint
	}
	return f.Payment.Fingerprint
}
