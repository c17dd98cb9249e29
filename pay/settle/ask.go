package settle

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel/attribute"
	"golang.org/x/sync/errgroup"

	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/lifecycle"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/commit"
)

// Bounds of the asker.
const (
	// DefaultConcurrency is how many queries one channel gets at a time.
	DefaultConcurrency = 16

	askQueue     = 10_000 // due queries waiting at one channel
	answersQueue = 1_000
	answersMax   = 500 // facts in one submit
	submitters   = 2
	submitWithin = 10 * time.Second
	attemptsMax  = 3 // attempts proven absent before the holder gets the money back
	againAfter   = time.Second
	movedWithin  = 10 * time.Second
)

// AskerConfig is what an Asker needs.
type AskerConfig struct {
	Submitter commit.Submitter
	Channels  []channel.Channel
	// Pool keeps breaks and the contracts of the channels; the role of the pay plane. Nil
	// keeps none.
	Pool *pgxpool.Pool
	// Live reports whether this process has a call for the payment on the wire.
	Live func(pay.ID) bool
	// Clock tells the time; nil means the system's.
	Clock clock.Clock
	// Telemetry takes logs and metrics; required.
	Telemetry *telemetry.Telemetry
	// Concurrency bounds the queries of one channel under way; 0 is the default.
	Concurrency int
	// Redirects reports whether a payout that was declined for this reason is to be
	// tried at another channel; nil never.
	Redirects func(p *pay.Payment, reason string) bool
	// Resend asks for an attempt to be sent once more under its reference, and
	// reports whether that is in hand; nil never. It must refuse where the channel's
	// de-duplication is not proven.
	Resend func(pay.Payment) bool
	// ResendCount not-founds over at least ResendAfter make us ask for that; 0 means
	// 3 over 2 minutes (life cycle T9).
	ResendCount int
	ResendAfter time.Duration
}

// Asker asks channels what became of payments. It runs on the leader.
type Asker struct {
	cfg     AskerConfig
	log     *slog.Logger
	metrics metrics
	lanes   map[channel.Name]*askLane
	answers chan pay.Fact
	turns   atomic.Int64 // answers and submits that ended

	mu   sync.Mutex
	held map[pay.ID]bool
	// known is when this process learned of a payment's live attempt.
	known  map[pay.ID]sighting
	absent map[pay.ID]absences
}

// sighting is the first sight of an attempt, on this process's monotonic clock.
// An attempt that is sent once more is seen anew: it has another send_by.
type sighting struct {
	attempt int16
	sendBy  time.Time
	at      time.Time
	doubted bool // its outcome was unknown, and is not known yet
}

type askLane struct {
	ch    channel.Channel
	name  channel.Name
	caps  channel.Capabilities
	due   chan pay.Payment
	moved clock.Mark   // the last answer
	calls atomic.Int64 // queries on the wire
}

// NewAsker returns an asker that asks nothing before Run.
func NewAsker(cfg AskerConfig) *Asker {
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	if cfg.Concurrency <= 0 {
		cfg.Concurrency = DefaultConcurrency
	}
	if cfg.ResendCount <= 0 {
		cfg.ResendCount = resendCount
	}
	if cfg.ResendAfter <= 0 {
		cfg.ResendAfter = resendAfter
	}
	a := &Asker{
		cfg: cfg, log: cfg.Telemetry.Logger().With(slog.String("station", "settle")), metrics: newMetrics(cfg.Telemetry),
		lanes: make(map[channel.Name]*askLane), answers: make(chan pay.Fact, answersQueue),
		held: make(map[pay.ID]bool), known: make(map[pay.ID]sighting), absent: make(map[pay.ID]absences),
	}
	for _, ch := range cfg.Channels {
		l := &askLane{ch: ch, name: ch.Name(), caps: ch.Capabilities(), due: make(chan pay.Payment, askQueue)}
		l.moved.Set(cfg.Clock.Now())
		a.lanes[l.name] = l
	}
	return a
}

// Run asks until ctx ends. What it was about to ask is asked by the next leader.
func (a *Asker) Run(ctx context.Context) error {
	var g errgroup.Group
	for _, l := range a.lanes {
		for range a.cfg.Concurrency {
			g.Go(func() error { a.ask(ctx, l); return nil })
		}
	}
	for range submitters {
		g.Go(func() error { a.submit(ctx); return nil })
	}
	g.Go(func() error { a.tellContracts(ctx); return nil })
	return g.Wait()
}

// Load forgets what it knew and notes the open payments found at takeover: how
// long nobody has heard of their attempts counts from here.
func (a *Asker) Load(open []pay.Payment) {
	a.mu.Lock()
	clear(a.known)
	a.mu.Unlock()
	a.Note(open)
}

// Note takes copies of payments that moved, after COMMIT. It does not block.
func (a *Asker) Note(changed []pay.Payment) {
	now := a.cfg.Clock.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range changed {
		a.sight(&changed[i], now)
	}
}

// sight returns when this process learned of p's attempt. The caller holds the lock.
func (a *Asker) sight(p *pay.Payment, now time.Time) time.Time {
	s, ok := a.known[p.ID]
	over := !p.Kind.Leaves() || !p.Attempt.State.Live() || p.State.Final()
	if ok && s.doubted && (over || s.attempt != p.Attempt.N) {
		a.metrics.truth(p, s.attempt)
		s.doubted = false
	}
	if over {
		delete(a.known, p.ID)
		delete(a.absent, p.ID)
		return now
	}
	if !ok || s.attempt != p.Attempt.N || !s.sendBy.Equal(p.Attempt.SendBy) {
		s = sighting{attempt: p.Attempt.N, sendBy: p.Attempt.SendBy, at: now, doubted: s.doubted}
	}
	s.doubted = s.doubted || p.State == pay.Unknown
	a.known[p.ID] = s
	return s.at
}

func (a *Asker) knownSince(p *pay.Payment, now time.Time) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sight(p, now)
}

// Check takes a payment whose channel must be asked. It does not block, and
// reports whether the payment is in hand: its call or query runs, or waits in a
// queue that moves. False means: offer it again later.
func (a *Asker) Check(p pay.Payment) bool {
	l := a.lanes[channel.Name(p.Channel)]
	if l == nil {
		return false
	}
	if p.State == pay.Dispatching {
		return a.checkWire(l, &p)
	}
	if !a.hold(p.ID) {
		return a.cfg.Clock.Now().Sub(l.moved.Time()) < movedWithin
	}
	select {
	case l.due <- p:
		return true
	default:
		a.drop(p.ID)
		return false
	}
}

// checkWire doubts an attempt that nobody in this process is sending any more,
// once nothing of it can be on the wire: its process died, or its word was lost.
func (a *Asker) checkWire(l *askLane, p *pay.Payment) bool {
	now := a.cfg.Clock.Now()
	if a.cfg.Live(p.ID) || now.Before(p.Attempt.SendBy.Add(l.caps.ClientTimeout)) {
		return true
	}
	if !a.hold(p.ID) {
		return true
	}
	doubt := pay.Fact{
		Kind: pay.Doubt, Payment: p.ID, At: now, Attempt: p.Attempt.N, Source: "timer", Reason: "no_word",
		NextAt: now.Add(l.caps.QueryAfter(0)),
	}
	select {
	case a.answers <- doubt:
		return true
	default:
		a.drop(p.ID)
		return false
	}
}

func (a *Asker) hold(id pay.ID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.held[id] {
		return false
	}
	a.held[id] = true
	return true
}

func (a *Asker) drop(id pay.ID) {
	a.metrics.unasked.Inc()
	a.release(id)
}

func (a *Asker) release(id pay.ID) {
	a.mu.Lock()
	delete(a.held, id)
	a.mu.Unlock()
}

// ask is one of a lane's workers.
func (a *Asker) ask(ctx context.Context, l *askLane) {
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-l.due:
			fact := a.askOne(ctx, l, &p)
			l.moved.Set(a.cfg.Clock.Now())
			a.turns.Add(1)
			select {
			case <-ctx.Done():
				return
			case a.answers <- fact:
			}
		}
	}
}

func (a *Asker) askOne(ctx context.Context, l *askLane, p *pay.Payment) pay.Fact {
	asked := a.cfg.Clock.Now() // proof of absence counts from when we asked, not from the answer
	ctx, end := a.cfg.Telemetry.Step(ctx, p.TraceID, "settle.query", time.Time{},
		attribute.String("payment", p.ID.String()), attribute.String("channel", string(l.name)))
	ctx, cancel := context.WithTimeout(ctx, l.caps.ClientTimeout+time.Second)
	defer cancel()
	l.calls.Add(1)
	word := l.ch.Query(ctx, pay.Reference(p.ID, p.Attempt.N))
	l.calls.Add(-1)
	end(word.Err())
	a.metrics.word(string(l.name), word)
	a.metrics.budget(string(l.name), l.caps, p, asked)
	fact := answerOf(l.caps, p, word, a.knownSince(p, asked), asked, a.cfg.Clock.Now())
	redirect(&fact, p, a.cfg.Redirects)
	a.again(p, &word, &fact, asked)
	return fact
}

// submit commits answers in batches of whatever is queued.
func (a *Asker) submit(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case first := <-a.answers:
			a.submitBatch(ctx, gather(first, a.answers, answersMax))
		}
	}
}

func (a *Asker) submitBatch(ctx context.Context, batch []pay.Fact) {
	ctx, cancel := context.WithTimeout(ctx, submitWithin)
	defer cancel()
	facts := make([]commit.Fact, len(batch))
	for i := range batch {
		facts[i].Payment = &batch[i]
	}
	var breaks []*brk
	var instead []commit.Fact
	for i, answer := range a.cfg.Submitter.SubmitAll(ctx, facts) {
		f := &batch[i]
		if answer.Err == nil && belies(f, &answer) {
			breaks = append(breaks, a.breakOf(f, asked(f, &answer), belied, errors.New(answer.Payment.Reason)))
			logBelied(ctx, a.log, &a.metrics, f, &answer)
		}
		if answer.Err == nil {
			a.metrics.settle(f, &answer)
		}
		if answer.Err == nil || !definite(answer.Err) {
			continue // not committed: the timer offers it again
		}
		if class := classOf(answer.Err, f, &answer.Payment); class != "" {
			breaks = append(breaks, a.breakOf(f, asked(f, &answer), class, answer.Err))
			logBreak(ctx, a.log, &a.metrics, f, class, answer.Err)
		}
		// A word that was refused is no news; the next look still needs a time.
		instead = append(instead, commit.Fact{Payment: &pay.Fact{
			Kind: pay.Checked, Payment: f.Payment, At: f.At, Source: f.Source, NextAt: f.At.Add(movedWithin),
		}})
	}
	if len(instead) > 0 {
		a.cfg.Submitter.SubmitAll(ctx, instead)
	}
	a.keep(ctx, breaks)
	for i := range batch {
		a.release(batch[i].Payment)
	}
	a.turns.Add(1)
}

// Turns says whether the asker has work that it could do, and counts what it finished:
// work with a count that stands still is a loop that hangs. Who waits for a channel's
// answer does not hang.
func (a *Asker) Turns() (work bool, turns int64) {
	work = len(a.answers) > 0
	for _, l := range a.lanes {
		work = work || len(l.due) > 0 && l.calls.Load() < int64(a.cfg.Concurrency)
	}
	return work, a.turns.Load()
}

// asked is the channel whose word it is: by now the payment may have gone to another.
func asked(f *pay.Fact, answer *commit.Outcome) string {
	if f.Channel != "" {
		return f.Channel
	}
	return answer.Payment.Channel
}

func (a *Asker) breakOf(f *pay.Fact, name, class string, err error) *brk {
	detail := err.Error()
	return &brk{
		class: class, channel: channel.Name(name), payment: f.Payment, reference: pay.Reference(f.Payment, f.Attempt),
		asset: f.Asset, amount: f.Amount, detail: strings.ToValidUTF8(detail[:min(len(detail), detailMax)], ""),
		executed: f.Kind == pay.Confirm,
	}
}

func (a *Asker) keep(ctx context.Context, breaks []*brk) {
	if err := a.tryKeep(ctx, breaks); err != nil {
		a.log.LogAttrs(ctx, slog.LevelError, "breaks were not kept; the next query finds them again", slog.Any("error", err))
	}
}

func (a *Asker) tryKeep(ctx context.Context, breaks []*brk) error {
	if a.cfg.Pool == nil {
		return nil
	}
	var batch pgx.Batch
	queueBreaks(&batch, breaks)
	return send(ctx, a.cfg.Pool, &batch)
}

// A break of a reply is tried so often, so far apart: nobody asks about what is final,
// so that no query would find it again.
const (
	replyTries = 5
	replyPause = 200 * time.Millisecond
)

// Replied judges what the decider answered to a channel's reply to an order, as it is
// done for callbacks and queries: one that contradicts what is final, that states
// another amount, or that belies a proof of absence is a break. It reports whether it
// was one. A crash before the break is durable leaves the note in the payment's log,
// and money that moved to the statement.
func (a *Asker) Replied(ctx context.Context, name channel.Name, f *pay.Fact, answer *commit.Outcome) bool {
	var class string
	err := answer.Err
	switch {
	case err == nil && belies(f, answer):
		class, err = belied, errors.New(answer.Payment.Reason)
		logBelied(ctx, a.log, &a.metrics, f, answer)
	case err == nil || !definite(err):
		return false
	default:
		if class = classOf(err, f, &answer.Payment); class == "" {
			return false
		}
		logBreak(ctx, a.log, &a.metrics, f, class, err)
	}
	breaks := []*brk{a.breakOf(f, string(name), class, err)}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), submitWithin)
	defer cancel()
	for try := 1; ; try++ {
		if err = a.tryKeep(ctx, breaks); err == nil {
			return true
		}
		if try == replyTries || lifecycle.Pause(ctx, replyPause) != nil {
			break
		}
	}
	a.log.LogAttrs(ctx, slog.LevelError, "a break was not kept; the payment's log has the contradiction", slog.String("payment", f.Payment.String()),
		slog.String("class", class), slog.Any("error", err))
	return true
}
