package commit

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/pgfence"
	"github.com/moneta-pay/moneta/pay"
)

// Role is the database role that the pay plane works under: it may insert into
// the money tables, and neither update nor delete there.
const Role = "moneta_pay"

// Config is what a Node needs.
type Config struct {
	// DSN of the primary.
	DSN   string
	Shard int16
	// URL under which the other nodes reach Handler, for example
	// http://127.0.0.1:7070; empty when there is one node.
	URL string
	// Reads reaches the primary, to answer known keys while nobody leads; nil for
	// no such answers.
	Reads  *pgxpool.Pool
	Clock  clock.Clock
	Logger *slog.Logger
	// Registerer for the metrics; nil for none.
	Registerer prometheus.Registerer
	// Lead is called when this node begins to lead, with all open payments; its
	// context ends with the leadership. It must not block.
	Lead func(ctx context.Context, open []pay.Payment)
	// Left is called when the leadership has ended, and waits for what Lead
	// started. Bounded by HandOverTimeout.
	Left func()
	// Changed is called after each COMMIT with the payments that moved. It must
	// not block.
	Changed func([]pay.Payment)
	// Guard compares this machine's clock with the database's; nil makes one with the
	// defaults. What must wait while clocks disagree asks TimeUnsound.
	Guard *clock.Guard
	// Fence refuses connections to an old primary; nil takes any server for the right one.
	Fence *pgfence.Fence
	// Flights knows the keys under way on this node; other nodes' callers are told of
	// them while it leads. Nil tells nobody.
	Flights Flights
	// Progress of the other leader loops; each must be within ProgressMax for the
	// heartbeat to beat.
	Progress []func() time.Time
}

// How leadership is kept and taken. A standby acts after it has read the same
// heartbeat in at least takeoverReads reads over takeoverAfter of its own
// monotonic clock; a leader that could not beat for beatMax exits.
const (
	watchEvery    = 100 * time.Millisecond
	beatEvery     = 400 * time.Millisecond
	beatMax       = 2 * time.Second
	takeoverAfter = 2100 * time.Millisecond
	takeoverReads = 3
	// ProgressMax is how old the progress of a leader loop may be.
	ProgressMax = 2 * time.Second
	// rebuildMax bounds how long a new leader reads the shard.
	rebuildMax = time.Minute
	// HandOverTimeout bounds what a leaving leader still finishes.
	HandOverTimeout = 10 * time.Second
)

// Node is this process's part in a shard: it leads it, or stands by and
// forwards. It implements Submitter.
type Node struct {
	cfg     Config
	queue   *queue
	metrics *metrics
	waiters *waiters
	forward *forwarder
	clocks  *clocks

	leading atomic.Bool
	leader  atomic.Pointer[leaderSeen]
	terms   terms
	trouble trouble
	decider atomic.Pointer[decider]
	// gate keeps leading from ending while somebody puts Facts into the queue.
	gate sync.RWMutex
	// waits ends when this node stops telling of final states, submits when it
	// can neither decide nor forward any more.
	waits, submits       context.Context
	endWaits, endSubmits context.CancelFunc
}

// leaderSeen is the shard row as last read.
type leaderSeen struct {
	id    [16]byte
	known bool
	epoch int64
	url   string
	at    time.Time
	// beats means that its heart was seen to beat, not only that its name stands there.
	beats bool
	// beatAt is when its last heartbeat was read first.
	beatAt time.Time
}

// New makes a Node that does nothing until Run.
func New(cfg Config) *Node {
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Guard == nil {
		cfg.Guard = clock.NewGuard(clock.GuardConfig{Clock: cfg.Clock})
	}
	n := &Node{cfg: cfg, queue: newQueue(), metrics: newMetrics(cfg.Registerer), waiters: newWaiters()}
	n.forward = newForwarder(n)
	n.clocks = &clocks{cfg.Guard, cfg.Logger, n.metrics}
	n.waits, n.endWaits = context.WithCancel(context.Background())     //nolint:forbidigo // as long as the node
	n.submits, n.endSubmits = context.WithCancel(context.Background()) //nolint:forbidigo // as long as the node
	return n
}

// Leading reports whether this node leads the shard now.
func (n *Node) Leading() bool { return n.leading.Load() }

// watchName marks the session in which a node looks who leads.
const watchName = "moneta watch"

// Run stands by and leads until ctx ends, which hands the shard over, or until
// leadership is lost: then it returns ErrLost and the process must exit. After a
// hand-over the node goes on forwarding to its successor, so that the edge may
// close after Run: until then it serves.
func (n *Node) Run(ctx context.Context) (err error) {
	conn, err := dial(ctx, n.cfg.DSN, watchName, false, n.cfg.Fence)
	if err != nil {
		n.endWaits()
		n.endSubmits()
		return fmt.Errorf("connect to the primary: %w", err)
	}
	defer func() {
		n.part(ctx, conn, err)
		_ = conn.Close(context.WithoutCancel(ctx))
	}()
	if err := n.forward.readCredential(ctx, conn); err != nil {
		return err
	}
	w, under := n.newWatch(), n.cfg.Fence.Known()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		if n.cfg.Fence.Known() != under { // nobody may take the shard in a history that is over
			_ = conn.Close(context.WithoutCancel(ctx))
		}
		if conn.IsClosed() {
			fresh, err := dial(ctx, n.cfg.DSN, watchName, false, n.cfg.Fence)
			if err == nil {
				conn, w, under = fresh, n.newWatch(), n.cfg.Fence.Known()
			} else if ctx.Err() == nil {
				n.trouble.note(err)
			}
		}
		if !conn.IsClosed() {
			take := n.look(ctx, conn, w)
			if take {
				if err := n.takeAndLead(ctx, conn, w); err != nil {
					return err
				}
				w = n.newWatch()
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// look reads the shard and tells whether its leader is gone.
func (n *Node) look(ctx context.Context, conn *pgx.Conn, w *watch) bool {
	readCtx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	seen, gone, err := w.read(readCtx, conn)
	if err != nil {
		if ctx.Err() == nil {
			n.trouble.note(err)
			n.cfg.Logger.WarnContext(ctx, "cannot read who leads", slog.Any("error", err))
		}
		return false
	}
	n.sees(&seen)
	if !n.trouble.refused() || seen.beats { // who beats, writes
		n.trouble.note(nil)
	}
	return gone
}

// takeAndLead takes the shard and leads it until ctx ends or it is lost.
func (n *Node) takeAndLead(ctx context.Context, conn *pgx.Conn, w *watch) error {
	started := time.Now() //nolint:forbidigo // a duration for the log
	id := newLeaderID()
	t, err := w.take(ctx, conn, id, n.cfg.URL)
	switch {
	case errors.Is(err, errTaken), ctx.Err() != nil:
		return nil //nolint:nilerr // another node leads, or nobody wants us to
	case err != nil:
		n.trouble.note(err)
		n.cfg.Logger.WarnContext(ctx, "cannot take the shard", slog.Any("error", err))
		return nil
	}
	if t.failedOver {
		n.failedOver(ctx, t.history)
	}
	d := &decider{
		shard: n.cfg.Shard, leader: id, epoch: t.epoch, history: t.history, queue: n.queue, clock: n.cfg.Guard, guard: n.cfg.Guard,
		logger: n.cfg.Logger, metrics: n.metrics, changed: n.changed,
	}
	d.dial = func(ctx context.Context) (*pgx.Conn, error) { return n.dialInHistory(ctx, d, true) }
	if err := n.rebuild(ctx, conn, d); err != nil {
		d.close(ctx)
		n.cfg.Logger.WarnContext(ctx, "cannot rebuild the shard", slog.Any("error", err))
		return nil
	}
	n.cfg.Logger.InfoContext(ctx, "leading the shard", slog.Int("shard", int(n.cfg.Shard)), slog.Int64("epoch", t.epoch),
		slog.Int("open_payments", len(d.mem.open)), slog.Duration("took", time.Since(started))) //nolint:forbidigo // as above
	return n.lead(ctx, d)
}

// rebuild reads the shard's state. It beats meanwhile, on the connection that
// looks who leads: a large shard must not look like one without a leader.
func (n *Node) rebuild(ctx context.Context, conn *pgx.Conn, d *decider) error {
	ctx, cancel := context.WithTimeout(ctx, rebuildMax)
	defer cancel()
	beaten := make(chan struct{})
	go func() {
		defer close(beaten)
		for ctx.Err() == nil && n.raiseBeat(context.WithoutCancel(ctx), conn, d) == nil {
			pause(ctx, beatEvery)
		}
	}()
	err := d.start(ctx)
	cancel()
	<-beaten
	return err
}

// lead runs the decider, the heartbeat and the stations of the leader.
func (n *Node) lead(ctx context.Context, d *decider) error {
	leadCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	n.decider.Store(d)
	d.progress.Set(time.Now())                                                                                  //nolint:forbidigo // liveness
	n.sees(&leaderSeen{id: d.leader, known: true, epoch: d.epoch, url: n.cfg.URL, at: time.Now(), beats: true}) //nolint:forbidigo // liveness
	n.gate.Lock()
	n.leading.Store(true)
	n.gate.Unlock()
	n.metrics.lead(true)
	if n.cfg.Lead != nil {
		n.cfg.Lead(leadCtx, d.open())
	}
	decideCtx, drain := context.WithCancel(leadCtx)
	defer drain()
	decided, beaten := make(chan error, 1), make(chan error, 1)
	go func() { decided <- d.run(leadCtx, decideCtx) }()
	go func() { beaten <- n.beat(decideCtx, d) }()
	var err error
	select {
	case <-ctx.Done():
	case err = <-beaten:
		beaten = nil
	case err = <-decided:
		decided = nil
	}
	if err != nil {
		n.cfg.Logger.ErrorContext(ctx, "stop leading", slog.Any("error", err))
	}
	n.leave(d, err, stop, drain, decided)
	return err
}

// leave stops the stations, answers what is queued, and gives the shard back.
func (n *Node) leave(d *decider, cause error, stop, drain context.CancelFunc, decided <-chan error) {
	if cause != nil {
		n.closeQueue()
		stop()
	} else if n.cfg.Left != nil {
		n.cfg.Left() // the stations finish what is on the wire, still led by us
	}
	n.closeQueue()
	drain()
	finished := decided == nil
	if !finished {
		select {
		case err := <-decided:
			finished = true
			if err != nil && cause == nil {
				n.cfg.Logger.Warn("the last batches were not answered", slog.Any("error", err))
			}
		case <-time.After(HandOverTimeout): //nolint:forbidigo // a bound
			n.cfg.Logger.Warn("the decider did not finish in time")
		}
	}
	stop() // what the decider still has in hand it gives up now
	if !finished {
		select {
		case err := <-decided:
			finished = true
			n.cfg.Logger.Warn("the last batches were cut off", slog.Any("error", err))
		case <-time.After(time.Second): //nolint:forbidigo // a bound
		}
	}
	n.refuseQueued()
	if finished { // else its memory and connections are still its own
		if cause == nil {
			n.handOver(d)
		}
		d.close(context.Background()) //nolint:forbidigo // outlives the caller's context
	}
	n.decider.Store(nil)
}

// closeQueue lets no new Fact in; those who are putting some in are waited for.
func (n *Node) closeQueue() {
	n.gate.Lock()
	n.leading.Store(false)
	n.gate.Unlock()
	n.metrics.lead(false)
}

// handOver tells the standbys that nobody leads: they need not wait for the
// heartbeat to go silent.
func (n *Node) handOver(d *decider) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second) //nolint:forbidigo // outlives the caller's context
	defer cancel()
	conn, err := d.dial(ctx)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, `update shards set leader = null, leader_url = '' where id = $1 and epoch = $2 and leader = $3`,
		d.shard, d.epoch, uuidOf(d.leader)); err != nil {
		n.cfg.Logger.Warn("cannot hand over; a standby takes the shard when the heartbeat is silent", slog.Any("error", err))
	}
}

func (n *Node) changed(changed []pay.Payment) {
	n.waiters.note(changed)
	if n.cfg.Changed != nil {
		n.cfg.Changed(changed)
	}
}

// Progress is when the decider last turned; zero while this node does not lead.
func (n *Node) Progress() time.Time {
	d := n.decider.Load()
	if d == nil || !n.leading.Load() {
		return time.Time{}
	}
	return d.progress.Time()
}

// Ready reports why this node cannot make progress, or nil.
func (n *Node) Ready(context.Context) error {
	if err := n.trouble.why(); err != nil {
		return err
	}
	if d := n.decider.Load(); n.leading.Load() && d != nil {
		age := time.Since(d.progress.Time()) //nolint:forbidigo // liveness
		if age > ProgressMax {
			return fault.New(fault.Overloaded, fmt.Sprintf("the decider has made no progress for %s", age.Round(time.Millisecond)))
		}
		return nil
	}
	seen := n.leader.Load()
	if seen == nil || !seen.known || seen.url == "" || !seen.beats {
		return fault.New(fault.NotLeader, "no node leads the shard yet")
	}
	if age := time.Since(seen.at); age > 2*ProgressMax { //nolint:forbidigo // liveness
		return fault.New(fault.DatabaseUnavailable, "the database has not told who leads for "+age.Round(time.Millisecond).String())
	}
	return nil
}

// dialInHistory opens a session of the leader d, unless the address leads to
// another history by now: then the leadership is lost.
func (n *Node) dialInHistory(ctx context.Context, d *decider, asPay bool) (*pgx.Conn, error) {
	conn, err := dial(ctx, n.cfg.DSN, leaderName(d.leader), asPay, n.cfg.Fence)
	if err != nil {
		return nil, err
	}
	if err := same(ctx, d.history, conn); err != nil {
		_ = conn.Close(context.WithoutCancel(ctx))
		return nil, err
	}
	return conn, nil
}

func newLeaderID() (id [16]byte) {
	if _, err := rand.Read(id[:]); err != nil {
		panic("commit: no randomness: " + err.Error())
	}
	return id
}

// leaderName marks the database sessions of one leadership, so that a successor
// can end exactly those.
func leaderName(id [16]byte) string { return "moneta leader " + hex.EncodeToString(id[:]) }

// probeOnly are the planner's ways that sessions of the pay plane turn off, whose
// statements probe an index for each row that they are about. Their plans are made
// once, when the tables may be empty, and must not read them whole when they are
// not: statistics come later than the first million rows.
var probeOnly = []string{"enable_seqscan", "enable_hashjoin", "enable_mergejoin"}

// dial opens a session with short waits. The pay role may only append.
func dial(ctx context.Context, dsn, name string, asPay bool, fence *pgfence.Fence) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("database address: %w", err)
	}
	fence.Guard(&cfg.Config)
	cfg.ConnectTimeout = 3 * time.Second
	cfg.RuntimeParams["application_name"] = name
	cfg.RuntimeParams["lock_timeout"] = "5s"
	cfg.RuntimeParams["idle_in_transaction_session_timeout"] = "10s"
	if asPay {
		for _, way := range probeOnly {
			cfg.RuntimeParams[way] = "off"
		}
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if asPay {
		if _, err := conn.Exec(ctx, "set role "+Role); err != nil {
			_ = conn.Close(ctx)
			return nil, fmt.Errorf("take the role %s: %w", Role, err)
		}
	}
	return conn, nil
}
