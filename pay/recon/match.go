package recon

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/commit"
)

// Outcomes of a line, as its row carries them.
const (
	matched        = "matched"
	duplicateLine  = "duplicate_line"   // the same line stated again: moves nothing
	doubled        = "double_execution" // another line for what has matched already
	unmatched      = "unmatched"
	amountMismatch = "amount_mismatch"
	wrongState     = "wrong_state"
)

// Classes of breaks beside those that are named like an outcome.
const (
	unmatchedInbound   = "unmatched_inbound"
	unmatchedOutbound  = "unmatched_outbound"
	missingInStatement = "missing_in_statement"
	lateOutcome        = "late_outcome"
)

// item is a line under judgement.
type item struct {
	channel.Line
	id      pay.ID
	attempt int16
	outcome string
	class   string // of the break to open; empty for none
	detail  string
	open    bool // the payment was not final when we looked
}

// known is what we have on a payment that a line may be about.
type known struct {
	kind    pay.Kind
	channel channel.Name
	open    bool
	// attempts are the channels that the attempts went to.
	attempts []string
}

// at is the channel that attempt n went to.
func (k *known) at(n int16) channel.Name {
	if n > 0 && int(n) <= len(k.attempts) {
		return channel.Name(k.attempts[n-1])
	}
	return k.channel
}

// stated is a line that we have from before, by reference.
type stated struct {
	lineID  string
	outcome string
}

func (r *Recon) cursor(ctx context.Context, name channel.Name) (int64, error) {
	var seq int64
	err := r.cfg.Pool.QueryRow(ctx, `select coalesce(max(seq), 0) from statement_lines where channel = $1`, string(name)).Scan(&seq)
	if err != nil {
		return 0, fmt.Errorf("read the cursor: %w", err)
	}
	return seq, nil
}

// match finds for each line the payment that it is about, and what stands
// against believing it.
func (r *Recon) match(ctx context.Context, name channel.Name, lines []channel.Line) ([]item, error) {
	items := make([]item, len(lines))
	var ids []int64
	refs := make([]string, len(lines))
	for i := range lines {
		items[i] = item{Line: lines[i]}
		refs[i] = lines[i].Reference
		if id, attempt, err := pay.ParseReference(lines[i].Reference); err == nil {
			items[i].id, items[i].attempt = id, attempt
			ids = append(ids, int64(id))
		}
	}
	payments, err := r.payments(ctx, ids)
	if err != nil {
		return nil, err
	}
	before, err := r.before(ctx, name, refs)
	if err != nil {
		return nil, err
	}
	for i := range items {
		it := &items[i]
		it.judge(name, payments, before[it.Reference])
		if it.outcome == "" {
			// For the lines behind it on this page: they cannot both settle.
			before[it.Reference] = append(before[it.Reference], stated{it.ID, matched})
		}
	}
	return items, nil
}

func (it *item) judge(name channel.Name, payments map[pay.ID]known, before []stated) {
	p, ok := payments[it.id]
	switch {
	case it.id == 0 || !ok:
		it.stray("nobody knows the reference")
		return
	case p.at(it.attempt) != name || !fits(p.kind, it.attempt, it.Direction):
		it.stray(fmt.Sprintf("a line of money %s for attempt %d of a %s through %q", it.Direction, it.attempt, p.kind, p.channel))
		return
	}
	it.open = p.open
	for _, s := range before {
		if s.lineID == it.ID {
			it.outcome, it.class, it.detail = duplicateLine, duplicateLine, "line "+it.ID+" is stated twice; it moved money once"
			return
		}
		if s.outcome == matched {
			it.outcome, it.class = doubled, doubled
			it.detail = "line " + it.ID + " moves money that line " + s.lineID + " has moved already"
		}
	}
}

func (it *item) stray(detail string) {
	it.outcome, it.class, it.detail = unmatched, unmatchedInbound, detail
	if it.Direction == channel.Out {
		it.class = unmatchedOutbound
	}
}

func fits(kind pay.Kind, attempt int16, d channel.Direction) bool {
	if kind == pay.Deposit {
		return attempt == 0 && d == channel.In
	}
	return kind.Leaves() && attempt > 0 && d == channel.Out
}

// The channel of a payout is that of each attempt.
const selectPayments = `select p.id, p.kind, coalesce(p.channel, ''), o.payment is not null,
       array(select a.channel from attempts a where a.payment = p.id order by a.n)
  from payments p left join open_payments o on o.payment = p.id where p.id = any($1)`

func (r *Recon) payments(ctx context.Context, ids []int64) (map[pay.ID]known, error) {
	rows, err := r.cfg.Pool.Query(ctx, selectPayments, ids)
	if err != nil {
		return nil, fmt.Errorf("look up payments: %w", err)
	}
	found := make(map[pay.ID]known, len(ids))
	var id pay.ID
	var k known
	if _, err := pgx.ForEachRow(rows, []any{&id, &k.kind, &k.channel, &k.open, &k.attempts}, func() error { found[id] = k; return nil }); err != nil {
		return nil, fmt.Errorf("look up payments: %w", err)
	}
	return found, nil
}

const selectBefore = `select reference, line_id, outcome from statement_lines where channel = $1 and reference = any($2)`

func (r *Recon) before(ctx context.Context, name channel.Name, refs []string) (map[string][]stated, error) {
	rows, err := r.cfg.Pool.Query(ctx, selectBefore, string(name), refs)
	if err != nil {
		return nil, fmt.Errorf("look up lines: %w", err)
	}
	found := make(map[string][]stated)
	var ref string
	var s stated
	if _, err := pgx.ForEachRow(rows, []any{&ref, &s.lineID, &s.outcome}, func() error { found[ref] = append(found[ref], s); return nil }); err != nil {
		return nil, fmt.Errorf("look up lines: %w", err)
	}
	return found, nil
}

// settle commits what the lines say. A line about a payment that is still open
// is the channel's word first, and its settlement second. An error means that
// nothing may be kept of this page yet.
func (r *Recon) settle(ctx context.Context, items []item) error {
	var facts []commit.Fact
	var of []*item
	add := func(it *item, kind pay.FactKind) {
		f := &pay.Fact{
			Kind: kind, Payment: it.id, Attempt: it.attempt, At: r.cfg.Clock.Now(), Source: "statement",
			Amount: it.Amount, Asset: it.Asset,
		}
		if kind == pay.Settle {
			f.Cost = it.Fee
		}
		facts, of = append(facts, commit.Fact{Payment: f}), append(of, it)
	}
	for i := range items {
		it := &items[i]
		if it.outcome != "" {
			continue
		}
		if it.open {
			add(it, pay.Confirm)
		}
		add(it, pay.Settle)
	}
	if len(facts) == 0 {
		return nil
	}
	for i, answer := range r.cfg.Submitter.SubmitAll(ctx, facts) {
		if err := of[i].conclude(answer.Err); err != nil {
			return err
		}
	}
	return nil
}

// conclude writes what the decider said about one of the line's facts; the first
// refusal names the outcome. Errors are those after which the page is read again.
func (it *item) conclude(err error) error {
	switch {
	case err == nil:
		if it.outcome == "" {
			it.outcome = matched
		}
		return nil
	case !definite(err):
		return fmt.Errorf("settle %s: %w", it.Reference, err)
	case it.outcome != "" && it.outcome != matched:
		return nil
	case errors.Is(err, fault.AmountInvalid):
		it.outcome, it.class = amountMismatch, amountMismatch
	case errors.Is(err, fault.NotFound):
		it.stray("nobody knows the payment")
	default:
		it.outcome, it.class = wrongState, lateOutcome
	}
	it.detail = err.Error()
	return nil
}

// judged are the faults by which the decider says no; after any other the same
// fact may still be taken.
var judged = []fault.Code{
	fault.AmountInvalid, fault.NotFound, fault.AlreadyFinal, fault.IllegalTransition, fault.PaymentQuarantined,
}

func definite(err error) bool { return slices.Contains(judged, fault.CodeOf(err)) }
