// Package settle brings payments to their final answer by what the channels say:
// callbacks, stored raw before anybody judges them, and answers to our queries.
// It refuses to acknowledge a callback that is not durable, to believe one that
// is not signed, to keep invented ones without a bound, to take "not found" for
// proof where the rail's contract does not say so, and to let a word flip what is
// final: that becomes a break.
package settle

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/commit"
)

// Bounds of the inbox.
const (
	storeMax    = 1000     // callbacks in one commit
	storeQueue  = 4000     // callbacks waiting for a commit; more are refused
	doubtMax    = 100      // unverified callbacks in one commit, so that it is short
	doubtQueue  = 200      // unverified callbacks waiting for a commit; more are refused
	applyMax    = 500      // callbacks applied at once
	applyQueue  = 8000     // callbacks waiting to be applied; the sweep takes the rest
	appliers    = 2        // so that one batch is judged while another commits
	headersMax  = 16 << 10 // bytes of headers kept with a callback
	storeWithin = 10 * time.Second
	applyWithin = 20 * time.Second
	drainWithin = 3 * time.Second
)

// notKept are headers that may hold secrets of somebody else's.
var notKept = []string{"Authorization", "Cookie", "Proxy-Authorization"}

// InboxConfig is what an Inbox needs.
type InboxConfig struct {
	// Pool of the primary, in the role of the pay plane.
	Pool      *pgxpool.Pool
	Submitter commit.Submitter
	Channels  []channel.Channel
	// Clock tells the time; nil means the system's.
	Clock clock.Clock
	// Telemetry takes logs and metrics; required.
	Telemetry *telemetry.Telemetry
	// SweepEvery is how often left-over callbacks are looked for; 0 means 2 s.
	SweepEvery time.Duration
	// SweepAfter is how old an unapplied callback must be before the sweep takes
	// it from whoever received it; 0 means 3 s.
	SweepAfter time.Duration
	// Redirects reports whether a payout that was declined for this reason is to be
	// tried at another channel; nil never.
	Redirects func(p *pay.Payment, reason string) bool
	// ParkEvery and ParkFor bound the retries of a callback about a payment that
	// nobody knows; 0 means every 30 s for 5 min.
	ParkEvery, ParkFor time.Duration
	// UnverifiedRows and UnverifiedBytes bound what is stored in an hour, by this node,
	// of one channel's callbacks that do not verify; 0 means the defaults. Ten times as
	// much of a channel is kept in all.
	UnverifiedRows, UnverifiedBytes int
	// KeepFor is how long judged callbacks are kept, KeepUnverified how long those that
	// do not verify; 0 means the defaults. RetainEvery is how often the old ones are
	// deleted; 0 means every minute.
	KeepFor, KeepUnverified, RetainEvery time.Duration
}

func (c *InboxConfig) fill() {
	if c.Clock == nil {
		c.Clock = clock.System
	}
	for _, f := range []struct {
		d     *time.Duration
		value time.Duration
	}{
		{&c.SweepEvery, 2 * time.Second},
		{&c.SweepAfter, 3 * time.Second},
		{&c.ParkEvery, 30 * time.Second},
		{&c.ParkFor, 5 * time.Minute},
		{&c.KeepFor, DefaultKeepFor},
		{&c.KeepUnverified, DefaultKeepUnverified},
		{&c.RetainEvery, time.Minute},
	} {
		if *f.d <= 0 {
			*f.d = f.value
		}
	}
	if c.UnverifiedRows <= 0 {
		c.UnverifiedRows = DefaultUnverifiedRows
	}
	if c.UnverifiedBytes <= 0 {
		c.UnverifiedBytes = DefaultUnverifiedBytes
	}
}

// Inbox takes callbacks on every node and applies them.
type Inbox struct {
	cfg      InboxConfig
	log      *slog.Logger
	metrics  metrics
	channels map[channel.Name]channel.Channel
	doubts   map[channel.Name]*doubt // what is left of each channel's quota
	puts     chan *put               // what verifies
	doubtful chan *put               // what does not, and is within its quota
	letters  [appliers]chan letter   // by channel, so that one channel's words are applied in the order in which they came
	closed   chan struct{}           // Run has ended: nothing is stored any more
	beat     atomic.Int64
	judged   atomic.Int64  // when the decider last took what a callback said
	again    chan struct{} // SweepNow
	storing  turns
	applying turns
	retained int64 // up to where old callbacks were deleted; Retain's alone
}

// letter is one callback as it came.
type letter struct {
	id         int64
	channel    channel.Name
	header     http.Header
	body       []byte
	trace      string
	receivedAt time.Time
	// Once it is judged: what it says, or why nobody believes it.
	judged bool
	word   channel.Word
	wrong  error
}

// judge verifies a letter over its raw bytes and reads it, once.
func (l *letter) judge(ch channel.Channel) {
	if !l.judged {
		l.word, l.wrong = ch.CallbackAt(l.receivedAt, l.header, l.body)
		l.judged = true
	}
}

// put is a letter on its way into the table.
type put struct {
	letter
	headers string
	verdict string // of one that does not verify; it is not applied any more
	done    chan error
}

// NewInbox returns an inbox that stores nothing before Run.
func NewInbox(cfg InboxConfig) *Inbox {
	cfg.fill()
	b := &Inbox{
		cfg: cfg, log: cfg.Telemetry.Logger().With(slog.String("station", "settle")), metrics: newMetrics(cfg.Telemetry),
		channels: byName(cfg.Channels), puts: make(chan *put, storeQueue), doubtful: make(chan *put, doubtQueue), letters: letterQueues(),
		closed: make(chan struct{}), again: make(chan struct{}, 1),
	}
	b.doubts = newDoubts(&b.cfg)
	return b
}

func byName(channels []channel.Channel) map[channel.Name]channel.Channel {
	m := make(map[channel.Name]channel.Channel, len(channels))
	for _, ch := range channels {
		m[ch.Name()] = ch
	}
	return m
}

// Receive stores a callback exactly as it came and returns nil only when it is
// durable. It looks at the signature only to tell what knows no bound, a channel's
// word, from what anybody can send: that has a queue and a quota of its own, so that
// a flood of it neither fills the disk nor stands before a channel's word. Errors are
// *fault.Error: fault.NotFound (no such channel), fault.BodyTooLarge,
// fault.SignatureInvalid (it does not verify, and the quota of such is used up),
// fault.Overloaded, fault.DatabaseUnavailable, fault.Timeout; after each of them the
// channel may send it again.
func (b *Inbox) Receive(ctx context.Context, name channel.Name, header http.Header, body []byte) error {
	ch := b.channels[name]
	if ch == nil {
		return fault.New(fault.NotFound, "no such channel").WithOp("settle.Receive")
	}
	if len(body) > channel.MaxBody {
		return fault.New(fault.BodyTooLarge, fmt.Sprintf("a callback has at most %d bytes", channel.MaxBody)).WithOp("settle.Receive")
	}
	header, text, err := keepable(header)
	if err != nil {
		return err
	}
	p := &put{
		letter: letter{
			channel: name, header: header, body: body, receivedAt: b.cfg.Clock.Now(),
			trace: telemetry.TraceID(ctx),
		},
		headers: text, done: make(chan error, 1),
	}
	queue := b.puts
	if p.judge(ch); unverified(p.wrong) {
		if err := b.admitUnverified(ctx, p); err != nil {
			return err
		}
		p.verdict, queue = unreadable(p.wrong), b.doubtful
	}
	select {
	case queue <- p:
	default:
		b.metrics.refused.WithLabelValues(string(name)).Inc()
		return fault.New(fault.Overloaded, "too many callbacks wait to be stored; send it again").WithOp("settle.Receive")
	}
	select {
	case err := <-p.done:
		return err
	case <-b.closed:
		return fault.New(fault.Overloaded, "this node is stopping; send it again").WithOp("settle.Receive")
	case <-ctx.Done():
		return fault.New(fault.Timeout, "the callback was not stored in time; send it again").WithOp("settle.Receive").WithCause(ctx.Err())
	}
}

// keepable drops headers that may hold secrets and encodes the rest.
func keepable(header http.Header) (http.Header, string, error) {
	kept := make(http.Header, len(header))
	for name, values := range header {
		if !slices.Contains(notKept, name) {
			kept[name] = values
		}
	}
	text, err := json.Marshal(kept)
	if err != nil || len(text) > headersMax {
		return nil, "", fault.New(fault.BodyTooLarge, fmt.Sprintf("a callback has at most %d bytes of headers", headersMax)).
			WithOp("settle.Receive").WithCause(err)
	}
	return kept, string(text), nil
}

// Run stores and applies callbacks until ctx ends, and then finishes what it has
// taken, for at most three seconds.
func (b *Inbox) Run(ctx context.Context) error {
	defer close(b.closed)
	var g errgroup.Group
	g.Go(func() error { b.store(ctx); return nil })
	for _, queue := range b.letters {
		g.Go(func() error { b.applyQueued(ctx, queue); return nil })
	}
	return g.Wait()
}

// store is the group commit: it takes what is queued, and never waits for more.
func (b *Inbox) store(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			late, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainWithin)
			defer cancel()
			for len(b.puts) > 0 {
				b.storeBatch(late, gather(<-b.puts, b.puts, storeMax))
			}
			for len(b.doubtful) > 0 {
				b.storeBatch(late, gather(<-b.doubtful, b.doubtful, doubtMax))
			}
			return
		case first := <-b.puts:
			b.storeBatch(ctx, gather(first, b.puts, storeMax))
		case first := <-b.doubtful:
			b.storeBatch(ctx, gather(first, b.doubtful, doubtMax))
		}
	}
}

// gather takes what is queued behind first, to limit in all.
func gather[T any](first T, queue <-chan T, limit int) []T {
	batch := []T{first}
	for len(batch) < limit {
		select {
		case next := <-queue:
			batch = append(batch, next)
		default:
			return batch
		}
	}
	return batch
}

// turns count the batches of one of the inbox's loops.
type turns struct{ busy, ended atomic.Int64 }

// begin marks a batch as under way until the returned func is called.
func (t *turns) begin() (end func()) {
	t.busy.Add(1)
	return func() { t.busy.Add(-1); t.ended.Add(1) }
}

// Storing says whether callbacks wait to be stored, and counts the batches that ended:
// work with a count that stands still is a loop that hangs. Applying says the same of
// stored callbacks that wait to be applied.
func (b *Inbox) Storing() (work bool, ended int64) {
	return len(b.puts)+len(b.doubtful) > 0 || b.storing.busy.Load() > 0, b.storing.ended.Load()
}

// Applying is like Storing, of what is stored.
func (b *Inbox) Applying() (work bool, ended int64) {
	waiting := 0
	for _, queue := range b.letters {
		waiting += len(queue)
	}
	return waiting > 0 || b.applying.busy.Load() > 0, b.applying.ended.Load()
}

func (b *Inbox) storeBatch(ctx context.Context, batch []*put) {
	defer b.storing.begin()()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeWithin)
	defer cancel()
	ids, err := b.insert(ctx, batch)
	if err != nil {
		b.log.LogAttrs(ctx, slog.LevelError, "callbacks were not stored", slog.Int("callbacks", len(batch)), slog.Any("error", err))
		err = fault.New(fault.DatabaseUnavailable, "the callback was not stored; send it again").WithOp("settle.Receive").WithCause(err)
	}
	for i, p := range batch {
		p.done <- err
		if err != nil {
			continue
		}
		p.id = ids[i]
		if p.verdict != "" {
			b.disbelieve(ctx, &p.letter, p.verdict)
			b.metrics.callbacks.WithLabelValues(string(p.channel), p.verdict).Inc()
			continue
		}
		select {
		case b.queueOf(p.channel) <- p.letter:
		default:
			b.metrics.leftover.Inc() // durable: the sweep applies it
		}
	}
}

// Ids are given in the order of the select, which is ours.
const insertInbox = `insert into inbox (channel, headers, body, trace_id, received_at, applied_at, verdict)
  select channel, headers, body, nullif(trace, '')::uuid, received_at, case when verdict <> '' then received_at end, nullif(verdict, '')
    from unnest($1::text[], $2::text[], $3::bytea[], $4::text[], $5::timestamptz[], $6::text[])
         with ordinality as u(channel, headers, body, trace, received_at, verdict, n)
   order by n
  returning id`

func (b *Inbox) insert(ctx context.Context, batch []*put) ([]int64, error) {
	channels, headers, traces := make([]string, len(batch)), make([]string, len(batch)), make([]string, len(batch))
	bodies, times, verdicts := make([][]byte, len(batch)), make([]time.Time, len(batch)), make([]string, len(batch))
	for i, p := range batch {
		channels[i], headers[i], bodies[i], traces[i], times[i] = string(p.channel), p.headers, p.body, p.trace, p.receivedAt
		verdicts[i] = p.verdict
		if bodies[i] == nil {
			bodies[i] = []byte{}
		}
	}
	rows, err := b.cfg.Pool.Query(ctx, insertInbox, channels, headers, bodies, traces, times, verdicts)
	if err != nil {
		return nil, fmt.Errorf("insert into inbox: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err == nil && len(ids) != len(batch) {
		err = fmt.Errorf("%d ids for %d callbacks", len(ids), len(batch))
	}
	if err != nil {
		return nil, fmt.Errorf("insert into inbox: %w", err)
	}
	return ids, nil
}

func letterQueues() (queues [appliers]chan letter) {
	for i := range queues {
		queues[i] = make(chan letter, applyQueue/appliers)
	}
	return queues
}

// queueOf is the queue of a channel's letters. Two words about one payment, the second
// contradicting the first, must not overtake each other: the first one holds.
func (b *Inbox) queueOf(name channel.Name) chan<- letter {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // a hash takes everything
	return b.letters[h.Sum32()%appliers]
}

// applyQueued applies what arrives, in batches of whatever is queued.
func (b *Inbox) applyQueued(ctx context.Context, queue <-chan letter) {
	for {
		select {
		case <-ctx.Done():
			return // the sweep applies what is left
		case first := <-queue:
			if err := b.apply(ctx, gather(first, queue, applyMax)); err != nil && ctx.Err() == nil {
				b.log.LogAttrs(ctx, slog.LevelError, "callbacks were not applied; the sweep takes them", slog.Any("error", err))
			}
		}
	}
}

// The channel of a payout is that of each attempt.
const selectKinds = `select id, kind, coalesce(channel, ''), asset, coalesce(payee_account, ''),
       array(select a.channel from attempts a where a.payment = p.id order by a.n)
  from payments p where id = any($1)`

// about is what a payment is, as far as a word on it is concerned.
type about struct {
	kind     pay.Kind
	channel  channel.Name
	asset    money.Asset
	payee    string
	attempts []string // channels, by attempt
}

// at is the channel that attempt n went to.
func (a *about) at(n int16) channel.Name {
	if n > 0 && int(n) <= len(a.attempts) {
		return channel.Name(a.attempts[n-1])
	}
	return a.channel
}

func (b *Inbox) lookUp(ctx context.Context, ids []int64) (map[pay.ID]about, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	rows, err := b.cfg.Pool.Query(ctx, selectKinds, ids)
	if err != nil {
		return nil, fmt.Errorf("look up payments: %w", err)
	}
	found := make(map[pay.ID]about, len(ids))
	var id pay.ID
	var a about
	if _, err := pgx.ForEachRow(rows, []any{&id, &a.kind, &a.channel, &a.asset, &a.payee, &a.attempts}, func() error { found[id] = a; return nil }); err != nil {
		return nil, fmt.Errorf("look up payments: %w", err)
	}
	return found, nil
}
