package fault

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	rail "github.com/moneta-pay/moneta/pay/channel/sandbox"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/dispatch"
	"github.com/moneta-pay/moneta/pay/intake"
	"github.com/moneta-pay/moneta/pay/ledger"
	"github.com/moneta-pay/moneta/pay/recon"
	"github.com/moneta-pay/moneta/pay/settle"
	"github.com/moneta-pay/moneta/pay/timer"
)

// quick are capabilities whose waits suit a test; what they promise is true of the
// sandbox.
func quick() channel.Capabilities {
	c := rail.DefaultCapabilities()
	c.ClientTimeout, c.VisibilityDelay, c.SendWindow = 700*time.Millisecond, 300*time.Millisecond, 300*time.Millisecond
	c.QuerySchedule = []time.Duration{50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond}
	c.QueryBudget = 0
	return c
}

// life is one process of the pay plane, from its start to its crash: its own road to
// the database, its own road to the banks, and all stations between, wired as serve
// wires them.
type life struct {
	world    *world
	database *postgres
	road     *road
	dead     atomic.Bool   // nothing of it reaches anybody any more
	killed   chan struct{} // closed by the crash
	once     sync.Once
	ended    chan struct{} // closed when its node no longer takes part

	ctx      context.Context
	cancel   context.CancelFunc
	tel      *telemetry.Telemetry
	pool     *pgxpool.Pool
	rail     *rail.Channel
	payments *commit.Reader
	node     *commit.Node
	intake   *intake.Intake
	dispatch *dispatch.Dispatcher
	asker    *settle.Asker
	inbox    *settle.Inbox
	recon    *recon.Recon
	wheel    *timer.Wheel
	expirer  *timer.Expirer

	endLeader context.CancelFunc
	leading   sync.WaitGroup
}

func (w *world) newLife() (*life, error) {
	l := &life{world: w, killed: make(chan struct{}), ended: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	var dsn string
	var err error
	if l.database, dsn, err = before(l, w.dsn); err != nil {
		return nil, err
	}
	l.road = w.bank.road(l)
	if l.tel, err = telemetry.Setup(l.ctx, telemetry.Config{LogOutput: w.log}); err != nil {
		return nil, err
	}
	if l.pool, err = openPool(l.ctx, dsn); err != nil {
		return nil, err
	}
	if l.rail, err = rail.New(rail.Config{BaseURL: l.road.http.URL, Bank: "ab", Secrets: []string{secret}, Capabilities: w.caps}); err != nil {
		return nil, err
	}
	if err := l.build(dsn); err != nil {
		return nil, err
	}
	w.group.Go(l.run)
	return l, nil
}

func openPool(ctx context.Context, dsn string) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	cfg.MaxConns = 6
	cfg.ConnConfig.ConnectTimeout = 3 * time.Second
	rp := cfg.ConnConfig.RuntimeParams
	rp["application_name"], rp["statement_timeout"], rp["lock_timeout"] = "moneta stations", "30s", "5s"
	cfg.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "set role "+commit.Role)
		return err
	}
	return pgxpool.NewWithConfig(ctx, cfg)
}

func (l *life) build(dsn string) (err error) {
	w := l.world
	channels := []channel.Channel{l.rail}
	if w.adapter != nil {
		channels[0] = w.adapter(l.rail)
	}
	l.payments = commit.NewReader(l.pool)
	l.node = commit.New(commit.Config{
		DSN: dsn, Reads: l.pool, Logger: l.tel.Logger(), Lead: l.lead, Left: l.left,
		Changed:  func(p []pay.Payment) { l.wheel.Note(p); l.asker.Note(p) },
		Progress: []func() time.Time{func() time.Time { return l.wheel.Progress() }, func() time.Time { return l.dispatch.Progress() }},
	})
	l.dispatch = dispatch.New(dispatch.Config{
		Submitter: l.node, Channels: channels, Telemetry: l.tel, BreakerDelay: 50 * time.Millisecond,
		Hold:        func(*pay.Payment) bool { return w.paused.Load() },
		DedupProven: func(channel.Name) bool { return true },
	})
	l.asker = settle.NewAsker(settle.AskerConfig{
		Submitter: l.node, Channels: channels, Pool: l.pool, Live: l.dispatch.Live, Telemetry: l.tel,
		Resend: l.dispatch.Resend, ResendAfter: 250 * time.Millisecond,
	})
	l.inbox = settle.NewInbox(settle.InboxConfig{
		Pool: l.pool, Submitter: l.node, Channels: channels, Telemetry: l.tel,
		SweepEvery: 50 * time.Millisecond, SweepAfter: 200 * time.Millisecond, ParkEvery: 50 * time.Millisecond, ParkFor: 2 * time.Second,
	})
	l.recon = recon.New(recon.Config{Pool: l.pool, Submitter: l.node, Channels: channels, Telemetry: l.tel})
	l.expirer = timer.NewExpirer(l.node, nil, l.node.TimeUnsound, l.tel)
	l.wheel = timer.New(timer.Config{
		Due:  timer.Route{Dispatch: l.dispatch.Offer, Settle: l.asker.Check, Time: l.expirer.Offer}.Due,
		Pool: l.pool, Reload: l.payments.ByID, Telemetry: l.tel, Guard: 200 * time.Millisecond, WatchEvery: 100 * time.Millisecond,
	})
	var submitter commit.Submitter = l.node
	if w.submitter != nil {
		submitter = w.submitter(l.node)
	}
	l.intake, err = intake.New(intake.Config{
		Submitter: submitter, Accounts: ledger.NewReader(l.pool), Originals: l.payments, Channels: []string{"bank-ab"},
	})
	return err
}

// lead starts what only the leader does.
func (l *life) lead(ctx context.Context, open []pay.Payment) {
	ctx, l.endLeader = context.WithCancel(ctx)
	l.wheel.Load(open)
	l.asker.Load(open)
	l.dispatch.Start(ctx)
	for _, loop := range []func(context.Context) error{l.wheel.Run, l.expirer.Run, l.asker.Run, l.inbox.Sweep} {
		l.leading.Go(func() { _ = loop(ctx) })
	}
}

func (l *life) left() {
	ctx, cancel := context.WithTimeout(context.Background(), commit.HandOverTimeout)
	defer cancel()
	_ = l.dispatch.Stop(ctx)
	l.endLeader()
	l.leading.Wait()
}

// run takes part in the shard until the crash, or until the node may not any more.
func (l *life) run() {
	inbox := make(chan struct{})
	go func() { defer close(inbox); _ = l.inbox.Run(l.ctx) }()
	err := l.node.Run(l.ctx)
	if err != nil && l.endLeader != nil {
		l.left()
	}
	close(l.ended)
	<-l.killed // nothing is tidied up that a dead process would have left
	<-inbox
	l.rail.Close()
	l.pool.Close()
	l.road.http.CloseClientConnections()
	l.road.http.Close()
	l.database.wg.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = l.tel.Shutdown(ctx)
}

// kill ends the process at once: its connections are cut before anything in it knows.
func (l *life) kill() {
	l.once.Do(func() {
		l.dead.Store(true)
		l.database.cut()
		go l.road.http.CloseClientConnections()
		l.cancel()
		close(l.killed)
	})
}

// untilLeading waits until it leads, has crashed again, or ended.
func (l *life) untilLeading(within time.Duration) error {
	for began := time.Now(); time.Since(began) < within; pause() {
		select {
		case <-l.killed:
			return nil
		case <-l.ended:
			return nil
		default:
		}
		if l.node.Leading() {
			return nil
		}
	}
	return fmt.Errorf("a new process does not lead within %s", within)
}

// pause is how long a loop waits between two looks.
func pause() {
	t := time.NewTimer(5 * time.Millisecond)
	<-t.C
}
