package settle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/commit"
)

// Verdicts on a callback, as its row carries them.
const (
	applied     = "applied"
	duplicate   = "duplicate" // an event id that was used before; applied all the same
	forged      = "forged"
	expired     = "stale"
	malformed   = "malformed"
	noChannel   = "no_channel"
	parked      = "parked" // nobody knows the payment yet
	unknownRef  = "unknown_reference"
	contradicts = "late_outcome"
	mismatches  = "amount_mismatch"
	refused     = "refused"    // the table knows no such move
	unstorable  = "unstorable" // Postgres refuses what it says; counted, and set aside
)

// belied is the class of the break of a channel that belies itself: a proof of absence,
// after which the payment goes on rightly, or a word about an attempt.
const belied = "contradiction"

// item is a letter under judgement.
type item struct {
	letter
	id      pay.ID
	attempt int16
	verdict string // empty: leave the row, it is tried again
	brk     *brk
	fact    *pay.Fact
	left    error // why the decider did not judge it; nil when it did
}

// apply judges letters and applies them: what each means is committed first, and
// its row is marked after. A crash in between applies it twice, which is a replay.
func (b *Inbox) apply(ctx context.Context, letters []letter) error {
	_, err := b.applyItems(ctx, letters)
	return err
}

func (b *Inbox) applyItems(ctx context.Context, letters []letter) ([]item, error) {
	ctx, cancel := context.WithTimeout(ctx, applyWithin)
	defer cancel()
	defer b.applying.begin()()
	items := make([]item, len(letters))
	var ids []int64
	for i := range letters {
		it := &items[i]
		it.letter = letters[i]
		b.read(ctx, it)
		if it.id != 0 {
			ids = append(ids, int64(it.id))
		}
	}
	known, err := b.lookUp(ctx, ids)
	if err != nil {
		return items, err
	}
	for i := range items {
		b.match(&items[i], known)
	}
	b.submit(ctx, items)
	return items, b.mark(ctx, items)
}

// read verifies a letter over its raw bytes and reads it.
func (b *Inbox) read(ctx context.Context, it *item) {
	ch := b.channels[it.channel]
	if ch == nil {
		it.verdict = noChannel
		return
	}
	if it.judge(ch); it.wrong != nil {
		it.verdict = unreadable(it.wrong)
		b.disbelieve(ctx, &it.letter, it.verdict)
		return
	}
	word := &it.word
	if !word.OccurredAt.IsZero() {
		b.metrics.delay.WithLabelValues(string(it.channel)).Observe(max(it.receivedAt.Sub(word.OccurredAt), 0).Seconds())
	}
	id, attempt, err := pay.ParseReference(word.Reference)
	if err != nil {
		it.verdict = unknownRef // not one of ours, and it never will be
		it.brk = it.breakOf(unknownRef, "the reference is not one of ours")
		return
	}
	it.id, it.attempt = id, attempt
}

// disbelieve says that a callback which is stored changes nothing.
func (b *Inbox) disbelieve(ctx context.Context, l *letter, verdict string) {
	b.log.LogAttrs(ctx, slog.LevelWarn, "callback is not believed", slog.String("channel", string(l.channel)),
		slog.Int64("inbox", l.id), slog.String("verdict", verdict), slog.Any("error", l.wrong))
}

func unreadable(err error) string {
	switch {
	case errors.Is(err, channel.ErrSignature):
		return forged
	case errors.Is(err, channel.ErrStale):
		return expired
	default:
		return malformed
	}
}

// match checks that the word may be about the payment at all: a channel speaks
// for its own payments only, of money out for attempts, of money in for deposits.
func (b *Inbox) match(it *item, known map[pay.ID]about) {
	if it.verdict != "" {
		return
	}
	p, ok := known[it.id]
	switch {
	case !ok:
		it.park(b.cfg.Clock.Now(), b.cfg.ParkFor)
	case p.at(it.attempt) != it.channel || !fits(p.kind, it.attempt, &it.word):
		it.verdict = unknownRef
		it.brk = it.breakOf(unknownRef, fmt.Sprintf("a word of %s, %s, about attempt %d of a %s through %q",
			it.channel, it.word.Direction, it.attempt, p.kind, p.channel))
	default:
		next := b.cfg.Clock.Now().Add(b.channels[it.channel].Capabilities().QueryAfter(0))
		if it.fact = factOf(it.channel, it.word, it.id, it.attempt, "callback", next); it.fact == nil {
			it.verdict = applied // it says nothing that changes anything, or its statement line will
			return
		}
		redirect(it.fact, &pay.Payment{
			ID: it.id, Kind: p.kind, Asset: p.asset, PayeeAccount: p.payee, Channel: string(it.channel), Attempt: pay.Attempt{N: it.attempt},
		}, b.cfg.Redirects)
	}
}

func fits(kind pay.Kind, attempt int16, w *channel.Word) bool {
	d := w.Direction
	switch w.Verdict {
	case channel.Returned:
		return kind.Leaves() && attempt > 0 && d != channel.Out
	case channel.ChargedBack:
		return kind == pay.Deposit && attempt == 0 && d != channel.In
	case channel.Unknown, channel.Acked, channel.Confirmed, channel.Declined, channel.NotFound, channel.NeverSent:
	}
	if kind == pay.Deposit {
		return attempt == 0 && d != channel.Out
	}
	return kind.Leaves() && attempt > 0 && d != channel.In
}

// park keeps a letter for a payment that may still appear; after a while it is
// a break.
func (it *item) park(now time.Time, atMost time.Duration) {
	if now.Sub(it.receivedAt) < atMost {
		it.verdict = parked
		return
	}
	it.verdict = unknownRef
	it.brk = it.breakOf(unknownRef, "nobody knows this payment")
}

// factOf turns a channel's word into a fact, or nil when it brings no news.
func factOf(name channel.Name, w channel.Word, id pay.ID, attempt int16, source string, next time.Time) *pay.Fact {
	f := &pay.Fact{Payment: id, Attempt: attempt, Channel: string(name), ChannelID: w.ChannelID, Reason: w.Reason, Source: source, NextAt: next}
	switch w.Verdict {
	case channel.Acked:
		f.Kind = pay.Ack
	case channel.Confirmed:
		f.Kind, f.Amount, f.Asset = pay.Confirm, w.Amount, w.Asset
	case channel.Declined:
		f.Kind = pay.Decline
	case channel.Returned:
		return reversal(f, pay.Returned, pay.Return, &w)
	case channel.ChargedBack:
		return reversal(f, pay.ChargedBack, pay.Chargeback, &w)
	case channel.Unknown, channel.NotFound, channel.NeverSent:
		return nil
	default:
		return nil
	}
	return f
}

// reversal completes the fact that executed money came back or was taken back. Its
// name is the channel's id of that movement, by which its statement line is the
// same event; without one only the statement tells.
func reversal(f *pay.Fact, kind pay.FactKind, makes pay.Kind, w *channel.Word) *pay.Fact {
	if w.ChannelID == "" {
		return nil
	}
	f.Kind, f.Amount, f.Asset = kind, w.Amount, w.Asset
	f.Key = pay.EventKey(0, f.Channel, makes, w.ChannelID)
	return f
}

// redirect turns a decline into the wish for another channel, where the routes have
// one for it.
func redirect(f *pay.Fact, p *pay.Payment, redirects func(*pay.Payment, string) bool) {
	if f.Kind == pay.Decline && p.Kind == pay.Payout && redirects != nil && redirects(p, f.Reason) {
		f.Kind = pay.Redirect
	}
}

func (b *Inbox) submit(ctx context.Context, items []item) {
	var facts []commit.Fact
	var of []*item
	now := b.cfg.Clock.Now()
	for i := range items {
		if f := items[i].fact; f != nil {
			f.At = now
			facts = append(facts, commit.Fact{Payment: f})
			of = append(of, &items[i])
		}
	}
	if len(facts) == 0 {
		return
	}
	for i, answer := range b.cfg.Submitter.SubmitAll(ctx, facts) {
		_, end := b.cfg.Telemetry.Step(ctx, answer.Payment.TraceID, "settle.callback", of[i].receivedAt,
			attribute.String("payment", answer.Payment.ID.String()), attribute.String("channel", string(of[i].channel)))
		end(answer.Err)
		b.conclude(ctx, of[i], &answer)
	}
}

// conclude writes what became of an item's fact.
func (b *Inbox) conclude(ctx context.Context, it *item, answer *commit.Outcome) {
	err := answer.Err
	if err == nil {
		b.judged.Store(b.cfg.Clock.Now().UnixNano())
	}
	switch class := classOf(err, it.fact, &answer.Payment); {
	case err == nil && belies(it.fact, answer):
		it.verdict = applied
		it.brk = it.breakOf(belied, answer.Payment.Reason)
		logBelied(ctx, b.log, &b.metrics, it.fact, answer)
	case err == nil:
		it.verdict = applied
		b.metrics.settle(it.fact, answer)
	case class != "":
		it.verdict = class
		it.brk = it.breakOf(class, err.Error())
		logBreak(ctx, b.log, &b.metrics, it.fact, class, err)
	case errors.Is(err, fault.NotFound), errors.Is(err, fault.IllegalTransition) && tooEarly(it.fact.Kind):
		it.park(b.cfg.Clock.Now(), b.cfg.ParkFor)
	case definite(err):
		it.verdict = refused
		b.log.LogAttrs(ctx, slog.LevelWarn, "callback does not fit the payment", slog.String("payment", it.id.String()),
			slog.String("fact", it.fact.Kind.String()), slog.Any("error", err))
	default: // overloaded, no leader, commit unknown: the sweep tries again
		it.left = err
		b.metrics.leftover.Inc()
	}
}

// classOf names the break that a refused word about the payment p makes; empty when it
// makes none. Recon sorts lines in the same way, so that a callback and the line
// of one movement are one break.
func classOf(err error, f *pay.Fact, p *pay.Payment) string {
	switch s := p.State; {
	case errors.Is(err, fault.AlreadyFinal) && (!s.Final() || s == pay.Succeeded || p.Late != 0 || tooEarly(f.Kind)):
		// Nothing is late: it is about another attempt than the one that executed, or takes a word back.
		return belied
	case errors.Is(err, fault.AlreadyFinal):
		return contradicts
	case errors.Is(err, fault.AmountInvalid), errors.Is(err, fault.AmountExceedsRemaining):
		return mismatches
	case errors.Is(err, fault.IllegalTransition) && f.Kind == pay.Confirm:
		return contradicts // the channel moved money that the table has no place for
	}
	return ""
}

// tooEarly reports whether a word of the kind may have overtaken the one before it:
// what comes back was executed first.
func tooEarly(k pay.FactKind) bool { return k == pay.Returned || k == pay.ChargedBack }

// undecided are the faults after which the same fact may still be taken.
var undecided = []fault.Code{
	fault.CommitUnknown, fault.NotLeader, fault.Overloaded, fault.DatabaseUnavailable, fault.DatabaseUnsafe,
	fault.Timeout, fault.RateLimited, fault.ReadOnly, fault.Internal,
}

// definite reports whether the decider judged the fact, so that the same fact
// again would be judged the same.
func definite(err error) bool { return !slices.Contains(undecided, fault.CodeOf(err)) }

// belies reports whether the fact gave a proof of absence the lie. It does so again
// when it is repeated, so that a crash before the break is kept loses none.
func belies(f *pay.Fact, answer *commit.Outcome) bool {
	return (f.Kind == pay.Ack || f.Kind == pay.Confirm) && answer.Payment.Belied()
}

// logBelied calls for a person, once: nothing was lost this time.
func logBelied(ctx context.Context, log *slog.Logger, m *metrics, f *pay.Fact, answer *commit.Outcome) {
	if answer.NoOp {
		return
	}
	m.contradictions.Inc()
	log.LogAttrs(ctx, slog.LevelError, "the channel has what it said it never had; nothing more is sent for it", slog.String("payment", f.Payment.String()),
		slog.Int("attempt", int(f.Attempt)), slog.String("fact", f.Kind.String()), slog.String("source", f.Source), slog.String("reason", answer.Payment.Reason))
}

func logBreak(ctx context.Context, log *slog.Logger, m *metrics, f *pay.Fact, class string, err error) {
	m.contradictions.Inc()
	log.LogAttrs(ctx, slog.LevelError, "the channel contradicts us; nothing was changed", slog.String("class", class),
		slog.String("payment", f.Payment.String()), slog.Int("attempt", int(f.Attempt)), slog.String("fact", f.Kind.String()),
		slog.String("source", f.Source), slog.Any("error", err))
}
