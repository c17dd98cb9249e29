package recon

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/commit"
)

// Outcomes of a line, as its row carries them; the others are the name of the class
// of its break.
const (
	matched    = "matched"
	unmatched  = "unmatched"
	wrongState = "wrong_state"
)

// item is a line under judgement.
type item struct {
	channel.Line
	id      pay.ID
	attempt int16
	outcome string
	class   string // of the break to open; empty for none
	detail  string
	healed  string       // why the break is closed as it opens; empty leaves it open
	value   money.Amount // of the break
	// word is what a line says that moves executed money the other way.
	word pay.FactKind
	known
}

// known is what we have on a payment that a line may be about.
type known struct {
	kind   pay.Kind
	via    channel.Name // of a deposit; an attempt has its own
	asset  money.Asset
	amount money.Amount
	state  pay.State // when we looked
	// attempts are the channels that the attempts went to.
	attempts []string
}

// at is the channel that attempt n went to.
func (k *known) at(n int16) channel.Name {
	if n > 0 && int(n) <= len(k.attempts) {
		return channel.Name(k.attempts[n-1])
	}
	return k.via
}

// stated is a line that we have from before.
type stated struct {
	channel.Line
	outcome string
}

// same reports whether the channel says the same of both lines; formats write the
// time and the remittance of one line differently.
func (s *stated) same(l *channel.Line) bool {
	return s.Direction == l.Direction && s.Reference == l.Reference && s.Amount == l.Amount && s.Fee == l.Fee && s.Asset == l.Asset
}

// past holds earlier lines by what a new one may repeat.
type past struct {
	byID, byReference map[string][]stated
}

func (p *past) add(s stated) {
	p.byID[s.ID] = append(p.byID[s.ID], s)
	p.byReference[s.Reference] = append(p.byReference[s.Reference], s)
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
	var refs []string
	lineIDs := make([]string, len(lines))
	for i := range lines {
		items[i] = item{Line: lines[i], value: lines[i].Amount}
		lineIDs[i] = lines[i].ID
		if id, attempt, err := pay.ParseReference(lines[i].Reference); err == nil {
			items[i].id, items[i].attempt = id, attempt
			ids, refs = append(ids, int64(id)), append(refs, lines[i].Reference)
		}
	}
	payments, err := r.payments(ctx, ids)
	if err != nil {
		return nil, err
	}
	before, err := r.before(ctx, name, refs, lineIDs)
	if err != nil {
		return nil, err
	}
	for i := range items {
		it := &items[i]
		it.judge(name, payments, before)
		outcome := it.outcome
		if outcome == "" {
			outcome = matched // for the lines behind it on this page: they cannot both settle
		}
		before.add(stated{it.Line, outcome})
	}
	return items, nil
}

// judge finds what stands against the line, in the order in which it matters: a
// line that was told before tells nothing, whatever it is about.
func (it *item) judge(name channel.Name, payments map[pay.ID]known, before past) {
	if it.repeats(before.byID[it.ID]) {
		return
	}
	var ok bool
	it.known, ok = payments[it.id]
	switch {
	case it.id == 0:
		it.stray("nobody knows the reference")
	case !ok:
		it.outcome, it.class, it.detail = unmatched, unknownReference, "the reference has our form, and there is no such payment"
	case it.Return && it.at(it.attempt) == name && it.Asset == it.asset && reverses(it.kind, it.attempt, it.Direction) != 0:
		it.word = reverses(it.kind, it.attempt, it.Direction)
	case it.at(it.attempt) != name || !fits(it.kind, it.attempt, it.Direction):
		it.outcome, it.class = unmatched, misdirected
		it.detail = fmt.Sprintf("a line of money %s for attempt %d of a %s through %q", it.Direction, it.attempt, it.kind, it.at(it.attempt))
	case it.asset != it.Asset:
		it.outcome, it.class = wrongAsset, wrongAsset
		it.detail = fmt.Sprintf("the line is in %s, the payment in %s", it.Asset, it.asset)
	default:
		it.doubles(before.byReference[it.Reference])
	}
	if it.outcome == "" && it.word == 0 && it.Direction == channel.In && it.Amount == it.amount && it.Fee.Cmp(it.Amount) > 0 {
		it.outcome, it.class, it.value = feeUnexpected, feeUnexpected, it.Fee
		it.detail = "the fee is more than what came in: nothing was posted"
	}
}

// repeats reports whether the channel told the line before.
func (it *item) repeats(before []stated) bool {
	if it.ID == "" || len(before) == 0 {
		return false
	}
	for i := range before {
		if before[i].same(&it.Line) {
			it.outcome, it.class, it.detail = duplicateLine, duplicateLine, "line "+it.ID+" is stated twice; it moved money once"
			it.healed = "it counts once"
			return true
		}
	}
	was := &before[0]
	it.outcome, it.class = lineChanged, lineChanged
	it.detail = fmt.Sprintf("line %s was %s %s %s for %q with a fee of %s, and is now %s %s %s for %q with a fee of %s", it.ID,
		was.Direction, money.Format(was.Amount, was.Asset), was.Asset, was.Reference, money.Format(was.Fee, was.Asset),
		it.Direction, money.Format(it.Amount, it.Asset), it.Asset, it.Reference, money.Format(it.Fee, it.Asset))
	return true
}

func (it *item) doubles(before []stated) {
	for i := range before {
		if before[i].outcome == matched && before[i].Direction == it.Direction { // what came back moved the other way
			it.outcome, it.class = doubled, doubled
			it.detail = "line " + it.ID + " moves money that line " + before[i].ID + " has moved already"
			return
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
const selectPayments = `select p.id, p.kind, coalesce(p.channel, ''), p.asset, p.amount::text, t.to_state,
       array(select a.channel from attempts a where a.payment = p.id order by a.n)
  from payments p
  join lateral (select to_state from transitions where payment = p.id order by seq desc limit 1) t on true
 where p.id = any($1)`

func (r *Recon) payments(ctx context.Context, ids []int64) (map[pay.ID]known, error) {
	rows, err := r.cfg.Pool.Query(ctx, selectPayments, ids)
	if err != nil {
		return nil, fmt.Errorf("look up payments: %w", err)
	}
	found := make(map[pay.ID]known, len(ids))
	var id pay.ID
	var k known
	var amount string
	_, err = pgx.ForEachRow(rows, []any{&id, &k.kind, &k.via, &k.asset, &amount, &k.state, &k.attempts}, func() (err error) {
		k.amount, err = money.ParseMinor(amount)
		found[id] = k
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look up payments: %w", err)
	}
	return found, nil
}

// Each key is one probe of an index, whatever the planner believes of a table that
// grew since it was analysed.
const selectBefore = `with keyed as (
  select s.id, s.line_id, s.direction, s.reference, s.amount, s.fee, s.asset, s.outcome from unnest($2::text[]) as k(reference)
   cross join lateral (select * from statement_lines l where l.reference = k.reference offset 0) s where s.channel = $1
   union all
  select s.id, s.line_id, s.direction, s.reference, s.amount, s.fee, s.asset, s.outcome from unnest($3::text[]) as k(line)
   cross join lateral (select * from statement_lines l where l.line_id = k.line offset 0) s where s.channel = $1
)
select distinct on (id) line_id, direction, reference, amount::text, fee::text, asset, outcome from keyed order by id`

// before looks up the lines that new ones with these references or ids may repeat.
func (r *Recon) before(ctx context.Context, name channel.Name, refs, lineIDs []string) (past, error) {
	found := past{byID: map[string][]stated{}, byReference: map[string][]stated{}}
	rows, err := r.cfg.Pool.Query(ctx, selectBefore, string(name), refs, lineIDs)
	if err != nil {
		return found, fmt.Errorf("look up lines: %w", err)
	}
	var s stated
	var amount, fee string
	_, err = pgx.ForEachRow(rows, []any{&s.ID, &s.Direction, &s.Reference, &amount, &fee, &s.Asset, &s.outcome}, func() (err error) {
		if s.Amount, err = money.ParseMinor(amount); err == nil {
			s.Fee, err = money.ParseMinor(fee)
		}
		found.add(s)
		return err
	})
	if err != nil {
		return found, fmt.Errorf("look up lines: %w", err)
	}
	return found, nil
}

// settle commits what the lines say. A line about a payment that is still open
// is the channel's word first, and its settlement second. An error means that
// nothing may be kept of this page yet.
func (r *Recon) settle(ctx context.Context, name channel.Name, items []item) error {
	var facts []commit.Fact
	var of []*item
	add := func(it *item, kind pay.FactKind) {
		f := &pay.Fact{
			Kind: kind, Payment: it.id, Attempt: it.attempt, At: r.cfg.Clock.Now(), Source: "statement",
			Amount: it.Amount, Asset: it.Asset, Channel: string(name),
		}
		if kind == pay.Settle {
			f.Cost = it.Fee
		}
		facts, of = append(facts, commit.Fact{Payment: f}), append(of, it)
	}
	for i := range items {
		it := &items[i]
		switch now := r.cfg.Clock.Now(); {
		case it.bookable() && r.gapOr(it) == it.class:
			facts, of = append(facts, it.found(name, now)), append(of, it)
			continue
		case it.outcome != "":
			continue
		case it.word != 0:
			facts, of = append(facts, it.reversal(name, now)), append(of, it)
			continue
		}
		if !it.state.Final() {
			add(it, pay.Confirm)
		}
		add(it, pay.Settle)
	}
	if len(facts) == 0 {
		return nil
	}
	var ours []*item
	for i, answer := range r.cfg.Submitter.SubmitAll(ctx, facts) {
		if err := of[i].conclude(&answer); err != nil {
			return err
		}
		if of[i].ours(&answer) {
			ours = append(ours, of[i])
		}
		if answer.Err == nil && answer.Payment.Reason == pay.ReasonLate {
			of[i].class, of[i].detail = contradiction, "the payment was to be sent again: the attempt was "+pay.ReasonLate
		}
	}
	return r.book(ctx, name, ours)
}

// ours reports whether money has come back of a late payout whose debt was written off:
// the ledger has said so for good, and a person decides whose it is. No other refusal
// books anything: of what is not booked as having left, nothing can come back.
func (it *item) ours(answer *commit.Outcome) bool {
	if it.word != pay.Returned || !errors.Is(answer.Err, commit.ErrWrittenOff) {
		return false
	}
	it.outcome, it.class = unmatched, unmatchedInbound
	return it.bookable()
}

// book puts lines that settle nothing into suspense. A page that is read again after a
// crash comes here again: the same lines are refused for the same reason, and each is
// booked once by its key.
func (r *Recon) book(ctx context.Context, name channel.Name, items []*item) error {
	if len(items) == 0 {
		return nil
	}
	facts := make([]commit.Fact, len(items))
	for i, it := range items {
		facts[i] = it.found(name, r.cfg.Clock.Now())
	}
	for i, answer := range r.cfg.Submitter.SubmitAll(ctx, facts) {
		if answer.Err != nil {
			return fmt.Errorf("book %s to suspense: %w", items[i].ID, answer.Err)
		}
	}
	return nil
}

// conclude writes what the decider said about one of the line's facts; the first
// refusal names the outcome. Errors are those after which the page is read again.
func (it *item) conclude(answer *commit.Outcome) error {
	err := answer.Err
	switch {
	case err == nil:
		if it.outcome == "" {
			it.outcome = matched
		}
		if it.state.Final() && it.state != pay.Succeeded && it.word == 0 {
			it.class, it.healed, it.detail = lateOutcome, "a linked payment stands for it", "the payment was "+it.state.String()+" here, and executed"
		}
		return nil
	case !definite(err):
		return fmt.Errorf("settle %s: %w", it.Reference, err)
	case it.outcome != "" && it.outcome != matched:
		return nil
	case errors.Is(err, fault.AmountInvalid), errors.Is(err, fault.AmountExceedsRemaining):
		it.outcome, it.class = amountMismatch, amountMismatch
	case errors.Is(err, fault.NotFound):
		it.outcome, it.class = unmatched, unknownReference
	case it.state.Final() && it.state != pay.Succeeded && it.word == 0 && answer.Payment.Late == 0: // else another attempt was the late outcome
		it.outcome, it.class = wrongState, lateOutcome
	default:
		it.outcome, it.class = wrongState, contradiction
	}
	it.detail = err.Error()
	return nil
}

// checkFee holds a matched line's fee against what was agreed for the channel; the
// fee is booked as stated in any case, because it was taken.
func (it *item) checkFee(agreed map[money.Asset]money.Amount) error {
	want, ok := agreed[it.Asset]
	if it.outcome != matched || it.class != "" || !ok || it.Fee == want {
		return nil
	}
	difference, err := it.Fee.Sub(want)
	if err != nil {
		return fmt.Errorf("fee of line %s: %w", it.ID, err)
	}
	it.class, it.value = feeUnexpected, difference
	it.detail = fmt.Sprintf("the fee is %s %s, agreed is %s %[2]s", money.Format(it.Fee, it.Asset), it.Asset, money.Format(want, it.Asset))
	return nil
}

// judged are the faults by which the decider says no; after any other the same
// fact may still be taken.
var judged = []fault.Code{
	fault.AmountInvalid, fault.AmountExceedsRemaining, fault.NotFound, fault.AlreadyFinal, fault.IllegalTransition, fault.PaymentQuarantined,
}

func definite(err error) bool { return slices.Contains(judged, fault.CodeOf(err)) }
