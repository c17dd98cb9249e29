package commit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/pgbatch"
	"github.com/moneta-pay/moneta/internal/pgfence"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// ErrLost reports that the shard is led by another node, or that nobody can tell
// any more. The process must stop dispatching and exit; what was not answered is
// answered by the next leader.
var ErrLost = errors.New("leadership of the shard is lost")

// writeTimeout bounds one batch, a wait for a synchronous standby included.
const writeTimeout = 30 * time.Second

// decider turns queued Facts into committed batches while this node leads. One
// goroutine (run) owns the memory and decides; another (write) owns the writing
// connection. While a batch is on the wire the next one is decided on the
// memory that the first left behind; if the first fails, both are decided anew.
type decider struct {
	shard    int16
	leader   [16]byte
	epoch    int64
	history  pgfence.History
	queue    *queue
	clock    clock.Clock
	guard    *clock.Guard
	logger   *slog.Logger
	metrics  *metrics
	dial     func(ctx context.Context) (*pgx.Conn, error)
	changed  func([]pay.Payment)
	progress clock.Mark
	onWire   atomic.Pointer[flight]

	mem    *memory
	load   *loader
	writer *pgbatch.Conn
	wire   *pgx.Conn
	last   time.Time
	// aside are steps that were put aside, and when.
	aside map[step]time.Time
}

// start connects and reads the shard's state. The epoch must already be ours.
func (d *decider) start(ctx context.Context) error {
	if err := d.connect(ctx); err != nil {
		return err
	}
	return d.reload(ctx)
}

func (d *decider) connect(ctx context.Context) error {
	d.close(ctx)
	read, err := d.dial(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	wire, err := d.dial(ctx)
	if err != nil {
		_ = read.Close(ctx)
		return fmt.Errorf("connect: %w", err)
	}
	d.load, d.wire, d.writer = &loader{read, d.alive}, wire, pgbatch.NewConn(wire.PgConn())
	return nil
}

func (d *decider) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if d.wire != nil {
		_ = d.wire.Close(ctx)
		_ = d.load.conn.Close(ctx)
	}
	d.wire, d.load, d.writer = nil, nil, nil
}

// reload drops the memory and reads what is committed.
func (d *decider) reload(ctx context.Context) error {
	d.alive()
	m := newMemory()
	err := d.load.conn.QueryRow(ctx, `select last_account, last_payment, last_transfer, last_transition
  from shards where id = $1 and epoch = $2 and leader = $3`, d.shard, d.epoch, pgtype.UUID{Bytes: d.leader, Valid: true}).
		Scan(&m.last.account, &m.last.payment, &m.last.transfer, &m.last.transition)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrLost
	}
	if err != nil {
		return fmt.Errorf("read the shard: %w", err)
	}
	if err := d.readLast(ctx, &m.last); err != nil {
		return err
	}
	if err := d.load.systemAccounts(ctx, m); err != nil {
		return err
	}
	if err := d.load.periods(ctx, m); err != nil {
		return err
	}
	for _, until := range m.closed { // whoever closed it knew that it was over
		d.notBefore(until)
	}
	if err := d.load.openPayments(ctx, m); err != nil {
		return err
	}
	d.mem = m
	return nil
}

// readLast reads when the last transition was: time goes on from there, whatever
// the clock of the leader before showed.
func (d *decider) readLast(ctx context.Context, last *ids) error {
	var at time.Time
	err := d.load.conn.QueryRow(ctx, `select at from transitions where id <= $1 and id > $2 order by id desc limit 1`,
		int64(d.shard)<<48|last.transition, int64(d.shard)<<48).Scan(&at)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil // there is none yet
	}
	if err != nil {
		return fmt.Errorf("read the last transition: %w", err)
	}
	d.notBefore(at.UTC())
	return nil
}

// notBefore lets time go on from an instant that the ledger has written down.
func (d *decider) notBefore(at time.Time) {
	if at.After(d.last) {
		d.last = at
	}
	d.guard.NotBefore(at)
}

// open returns copies of all open payments; only before run.
func (d *decider) open() []pay.Payment {
	out := make([]pay.Payment, 0, len(d.mem.open))
	for _, p := range d.mem.open {
		out = append(out, *p)
	}
	return out
}

// run decides until ctx ends or leadership is lost. When ctx ends, what is
// queued is still decided and answered; when life ends, nothing more is.
func (d *decider) run(life, ctx context.Context) error {
	r := newRound(life, d)
	defer r.close()
	draining := ctx.Done()
	alive := time.NewTicker(time.Second / 2)
	defer alive.Stop()
	for {
		d.alive()
		var err error
		select {
		case t := <-r.incoming():
			err = r.take(t)
		case w := <-r.done:
			err = r.landed(w)
		case <-alive.C: // keeps the progress mark fresh
		case <-draining:
			draining = nil
		}
		if err != nil {
			return err
		}
		r.send()
		if draining == nil && r.idle() {
			return nil
		}
	}
}

// alive marks progress: without it the heartbeat stops and the shard is taken.
func (d *decider) alive() { d.progress.Set(time.Now()) } //nolint:forbidigo // liveness, not a decision

// now is the batch's time; it never runs backwards, nor behind what former
// leaders wrote.
func (d *decider) now() time.Time {
	t := d.clock.Now().UTC().Truncate(time.Microsecond)
	if t.Before(d.last) {
		t = d.last
	}
	d.last = t
	return t
}

// drain takes what else is queued, up to the batch's bound. No waiting.
func (d *decider) drain(first *ticket, b *batch) []*ticket {
	tickets := []*ticket{first}
	for len(tickets)+len(b.tickets) < BatchMax {
		select {
		case t := <-d.queue.tickets:
			tickets = append(tickets, t)
		default:
			return tickets
		}
	}
	return tickets
}

// errPoisoned reports that a Fact panicked and memory cannot be trusted.
var errPoisoned = errors.New("a fact panicked")

// extend loads what tickets need and decides them into b.
func (d *decider) extend(ctx context.Context, b *batch, tickets []*ticket) error {
	live := tickets[:0]
	for _, t := range tickets {
		if !t.tried && t.ctx.Err() != nil {
			t.answer(Outcome{Err: fault.New(fault.Timeout, "the caller left before the ledger looked at it").WithMoneyState(fault.NotMoved)})
			continue
		}
		t.tried = true
		live = append(live, t)
	}
	first := len(b.tickets)
	if first == 0 {
		b.at = d.now() // it may have been prepared long ago
	}
	b.tickets = append(b.tickets, live...)
	if err := d.need(ctx, live); err != nil {
		return err
	}
	j := &judge{d.shard, d.mem, b, d.guard.Unsound()}
	for _, t := range b.tickets[first:] {
		if err := d.decideOne(j, t); err != nil {
			return err
		}
	}
	return nil
}

// decideOne recovers a panic: the Fact is put aside when memory can be trusted
// again, its neighbours go on.
func (d *decider) decideOne(j *judge, t *ticket) (err error) {
	defer func() {
		if r := recover(); r != nil {
			t.poison = fmt.Errorf("panic: %v", r)
			d.logger.Error("a fact panicked", slog.Any("panic", r), slog.String("stack", string(debug.Stack())))
			err = errPoisoned
		}
	}()
	if err := d.isAside(t.fact); err != nil {
		t.out.Err = err
		return nil
	}
	t.out.Result, t.out.Err = j.decide(t.fact)
	return nil
}

// linksMax is how many payments one leads to at most: a refund that failed, its
// deposit, and the late outcome of either.
const linksMax = 3

// need reads the keys, payments and accounts that tickets refer to and memory
// does not hold: none, usually, but the keys.
func (d *decider) need(ctx context.Context, tickets []*ticket) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var keys []pgtype.UUID
	for _, t := range tickets {
		if k, ok := keyOf(t.fact); ok {
			if _, known := d.mem.keys.get(k); !known {
				keys = append(keys, pgtype.UUID{Bytes: k, Valid: true})
			}
		}
	}
	if len(keys) > 0 {
		if err := d.load.keys(ctx, keys, d.mem); err != nil {
			return err
		}
	}
	payments, accounts := d.wanted(tickets)
	for range linksMax {
		if len(payments) == 0 {
			break
		}
		if err := d.load.payments(ctx, payments, d.mem); err != nil {
			return err
		}
		asked := payments
		if payments, accounts = d.wanted(tickets); slices.Equal(asked, payments) { // there are none of these
			break
		}
	}
	if len(accounts) > 0 {
		return d.load.accounts(ctx, accounts, d.mem)
	}
	return nil
}

func keyOf(f Fact) ([16]byte, bool) {
	switch {
	case f.Payment != nil && f.Payment.Kind == pay.Accept && f.Payment.New != nil:
		return f.Payment.New.Key, true
	case f.Account != nil && (f.Account.Kind == ledger.Open || f.Account.Key != [16]byte{}):
		return f.Account.Key, true
	case f.Payment != nil && f.Payment.Key != pay.Key{}:
		return f.Payment.Key, true
	}
	return [16]byte{}, false
}

// wanted lists the payments and accounts that are not in memory.
func (d *decider) wanted(tickets []*ticket) (payments, accounts []int64) {
	seen := make(map[int64]struct{})
	account := func(id int64) {
		if id == 0 {
			return
		}
		if _, dup := seen[id]; dup {
			return
		}
		seen[id] = struct{}{}
		if _, system := d.mem.systemByID[ledger.AccountID(id)]; system {
			return
		}
		if _, ok := d.mem.accounts.get(ledger.AccountID(id)); !ok {
			accounts = append(accounts, id)
		}
	}
	var payment func(id pay.ID)
	payment = func(id pay.ID) {
		p, ok := d.mem.payment(id)
		if !ok {
			payments = append(payments, int64(id))
			return
		}
		account(int64(p.From))
		account(int64(p.To))
		if p.Open() && p.Kind == pay.Capture || p.State != pay.Succeeded && p.Kind == pay.Refund { // it may give back what it took, or have taken it after all
			payment(p.Original)
		}
		if p.Late != 0 {
			payment(p.Late)
		}
	}
	for _, t := range tickets {
		f := t.fact
		if k, ok := keyOf(f); ok {
			if e, known := d.mem.keys.get(k); known && e.kind == keyPayment {
				payment(pay.ID(e.subject))
				if f.Payment != nil && f.Payment.New == nil { // an event, and what it is about
					payment(f.Payment.Payment)
				}
				continue
			} else if known && e.kind == keyAccount {
				account(e.subject)
				continue
			}
		}
		switch {
		case f.Account != nil:
			account(int64(f.Account.ID))
		case f.Payment == nil:
		case f.Payment.New != nil:
			account(int64(f.Payment.New.From))
			account(int64(f.Payment.New.To))
			if f.Payment.New.Original != 0 {
				payment(f.Payment.New.Original)
			}
		default:
			payment(f.Payment.Payment)
		}
	}
	return payments, accounts
}

// write sends one sealed batch and waits for its COMMIT.
func (d *decider) write(ctx context.Context, b *batch) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	start := time.Now() //nolint:forbidigo // a duration for the metric
	d.onWire.Store(&flight{start, d.wire.PgConn().PID(), cancel})
	defer d.onWire.Store(nil)
	err := d.writer.Run(ctx, b.calls)
	d.metrics.batch(len(b.tickets), time.Since(start), err) //nolint:forbidigo // as above
	return err
}

// flight is a batch on the wire.
type flight struct {
	since  time.Time
	pid    uint32
	cancel context.CancelFunc
}

// answer tells every caller of a committed batch, then the stations.
func (d *decider) answer(b *batch) {
	for _, t := range b.tickets {
		t.answer(t.out)
	}
	for i := range b.late {
		p := &b.late[i]
		d.metrics.lateOutcome(p.Kind.String())
		d.logger.Error("a payment that was called failed has executed; nothing flipped, a linked payment stands for it",
			slog.String("payment", p.Original.String()), slog.String("late", p.ID.String()), slog.String("kind", p.Kind.String()),
			slog.String("amount", p.Amount.String()), slog.String("asset", string(p.Asset)), slog.String("state", p.State.String()))
	}
	if len(b.changed) > 0 && d.changed != nil {
		d.changed(b.changed)
	}
}
