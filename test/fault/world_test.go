package fault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/test/books"
)

// patience is how long anything may take that must happen in the end.
const patience = 30 * time.Second

// world is one database, one bank, and one process of the pay plane after the other:
// whoever crashes is followed by a new one on the same database.
type world struct {
	dsn     string
	db      *pgxpool.Pool // the judge's: past every proxy
	bank    *bank
	effects sequence
	caps    channel.Capabilities
	paused  atomic.Bool // dispatch holds payouts back
	// takeovers lets the next process wait, as in life, until a heart has not beaten.
	takeovers atomic.Bool
	log       *logs
	group     sync.WaitGroup // lives, and who watches over them
	stop      context.CancelFunc
	ctx       context.Context

	// What a negative control breaks on purpose; nil breaks nothing.
	adapter   func(channel.Channel) channel.Channel
	submitter func(commit.Submitter) commit.Submitter
	freshKeys bool
	patience  time.Duration // how long the story's end may stay away

	mu       sync.Mutex
	current  *life
	restarts int
	problems []string
	acked    map[pay.ID]string
	final    map[pay.ID]pay.State

	// What the stories have moved: by account, and at the bank by remittance.
	accounts map[string]string
	want     map[string]int64
	outside  map[string]int
	told     map[string]bool // problems that were told
}

// logs keep the end of what the lives said.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write keeps the last megabyte or so.
func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.b.Len() > 1<<20 {
		l.b.Reset()
	}
	return l.b.Write(p)
}

// newWorld opens a world; the first life leads and the accounts are funded.
func newWorld(t testing.TB, change func(*world)) (*world, error) {
	t.Helper()
	w := &world{
		dsn: pgtest.DSN(t), log: &logs{}, caps: quick(), acked: map[pay.ID]string{}, final: map[pay.ID]pay.State{}, patience: patience,
		accounts: map[string]string{}, want: map[string]int64{}, outside: map[string]int{}, told: map[string]bool{},
	}
	w.ctx, w.stop = context.WithCancel(context.Background())
	if change != nil {
		change(w)
	}
	cfg, err := pgxpool.ParseConfig(w.dsn)
	if err != nil {
		return nil, err
	}
	cfg.MaxConns, cfg.ConnConfig.RuntimeParams["application_name"] = 3, "judge"
	if w.db, err = pgxpool.NewWithConfig(w.ctx, cfg); err != nil {
		return nil, err
	}
	t.Cleanup(w.db.Close)
	if w.bank, err = openBank(w); err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("what the processes said last:\n%.20000s", w.log.b.String())
		}
	})
	t.Cleanup(w.close)
	if w.current, err = w.newLife(); err != nil {
		return nil, err
	}
	w.group.Go(w.watchOver)
	return w, w.fund()
}

func (w *world) close() {
	w.stop()
	if l := w.live(); l != nil {
		l.kill()
	}
	w.group.Wait()
	w.bank.close()
}

func (w *world) live() *life {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.current
}

func (w *world) problem(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if text := fmt.Sprintf(format, args...); !w.told[text] {
		w.told[text] = true
		w.problems = append(w.problems, text)
	}
}

// report returns what was found since the last report.
func (w *world) report() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	found := w.problems
	w.problems = nil
	return found
}

// watchOver starts a new life after each that crashed or ended, and counts
// everything before it.
func (w *world) watchOver() {
	for {
		l := w.live()
		select {
		case <-w.ctx.Done():
			return
		case <-l.killed:
		case <-l.ended:
		}
		l.kill()
		if w.ctx.Err() != nil {
			return
		}
		if err := w.follow(); err != nil {
			w.problem("no process follows: %v", err)
			return
		}
	}
}

// follow starts the next life.
func (w *world) follow() error {
	if err := w.vacate(); err != nil {
		return err
	}
	w.check("when the process was gone")
	next, err := w.newLife()
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.current, w.restarts = next, w.restarts+1
	w.mu.Unlock()
	if err := next.untilLeading(patience); err != nil {
		return err
	}
	w.check("when the next process leads")
	return nil
}

// vacate waits until the database has noticed that the process is gone, and gives
// the shard free, so that nobody has to wait for a heart that does not beat: that
// wait is tortured in pay/commit, and kept here in a part of the whole torture.
func (w *world) vacate() error {
	for began := time.Now(); ; pause() {
		var left int
		err := w.db.QueryRow(w.ctx, `select count(*) from pg_stat_activity where datname = current_database() and application_name like 'moneta%'`).Scan(&left)
		if err != nil {
			return err
		}
		if left == 0 {
			break
		}
		if time.Since(began) > patience {
			return fmt.Errorf("%d sessions of a dead process are left", left)
		}
	}
	if w.takeovers.Load() {
		return nil
	}
	_, err := w.db.Exec(w.ctx, `update shards set leader = null, leader_url = '' where id = 0`)
	return err
}

// check counts the raw rows, the clients' receipts and the bank's own books. It may
// be asked at any moment: what must hold only in the end is asked in the end.
func (w *world) check(when string) {
	broken, err := books.Broken(w.ctx, w.db)
	if err != nil && w.ctx.Err() == nil {
		w.problem("%s: %v", when, err)
	}
	for _, b := range broken {
		w.problem("%s: %s", when, b)
	}
	w.checkReceipts(when)
	w.checkBank(when)
}

// checkReceipts wants every acknowledged payment to be there, once, and what was
// final to be as it was.
func (w *world) checkReceipts(when string) {
	w.mu.Lock()
	acked := maps.Clone(w.acked) // before the rows are read: clients go on meanwhile
	w.mu.Unlock()
	rows, err := w.db.Query(w.ctx, `select distinct on (payment) payment, to_state from transitions order by payment, seq desc`)
	if err != nil {
		return // the next check asks again
	}
	states := map[pay.ID]pay.State{}
	var id pay.ID
	var state pay.State
	for rows.Next() {
		if err := rows.Scan(&id, &state); err != nil {
			w.problem("%s: %v", when, err)
		}
		states[id] = state
	}
	if rows.Err() != nil {
		return
	}
	w.mu.Lock()
	var found []string
	for id, what := range acked {
		if states[id] == pay.None {
			found = append(found, fmt.Sprintf("%s: lost: %s was acknowledged as %s and is nowhere", when, what, id))
		}
	}
	for id, was := range w.final {
		if states[id] != was {
			found = append(found, fmt.Sprintf("%s: %s flipped from %s to %s", when, id, was, states[id]))
		}
	}
	for id, state := range states {
		if state.Final() {
			w.final[id] = state
		}
	}
	w.mu.Unlock()
	for _, f := range found {
		w.problem("%s", f)
	}
}

// checkBank wants at most one effect an order in the bank's own books.
func (w *world) checkBank(when string) {
	all, err := w.bank.books()
	if err != nil {
		w.problem("%s: the bank's books: %v", when, err)
		return
	}
	n := map[string]int{}
	for _, m := range all {
		if n[m.Remittance]++; n[m.Remittance] > 1 {
			w.problem("%s: doubled: the bank moved %q %d times, last as %s", when, m.Remittance, n[m.Remittance], m.Reference)
		}
	}
	var double string
	if err := w.db.QueryRow(w.ctx, `select coalesce(string_agg(remittance, ', '), '') from
	  (select remittance from payments where remittance <> '' and kind <> 5 and original is null group by remittance having count(*) > 1) d`).Scan(&double); err == nil && double != "" {
		w.problem("%s: doubled: several payments for one order: %s", when, double)
	}
}

// settled waits until nothing is open and every callback is applied, reconciles until
// clearing is zero, and counts everything.
func (w *world) settled(what string) {
	var last string
	for began := time.Now(); ; pause() {
		var open, letters, clearing int
		err := w.db.QueryRow(w.ctx, `select (select count(*) from open_payments), (select count(*) from inbox where applied_at is null)`).Scan(&open, &letters)
		if err == nil && open == 0 && letters == 0 {
			ctx, cancel := context.WithTimeout(w.ctx, 10*time.Second)
			err = w.live().recon.Run(ctx)
			cancel()
			if err == nil {
				err = w.db.QueryRow(w.ctx, `select count(*) from (select x.account from facts.postings x join accounts a on a.id = x.account
				  where a.name like 'clr:%' group by 1 having sum(x.amount) <> 0) c`).Scan(&clearing)
			}
		}
		if err == nil && open+letters+clearing == 0 {
			break
		}
		last = fmt.Sprintf("%d payments open, %d callbacks not applied, %d clearing accounts not zero, %v", open, letters, clearing, err)
		if time.Since(began) > w.patience {
			w.problem("%s: stuck: %s", what, last)
			break
		}
	}
	w.check(what)
	w.checkFigures(what)
}

// checkFigures compares accounts and the bank's books with what the stories moved.
func (w *world) checkFigures(what string) {
	rows, err := w.db.Query(w.ctx, `select a.name, sum(p.amount)::bigint from facts.postings p join accounts a on a.id = p.account & ~1::bigint group by 1`)
	if err != nil {
		w.problem("%s: %v", what, err)
		return
	}
	got := map[string]int64{}
	var name string
	var sum int64
	for rows.Next() {
		if err := rows.Scan(&name, &sum); err != nil {
			w.problem("%s: %v", what, err)
		}
		got[name] = sum
	}
	for name, sum := range w.want {
		if got[name] != sum {
			w.problem("%s: %s has %d, not %d", what, name, got[name], sum)
		}
	}
	all, err := w.bank.books()
	if err != nil {
		w.problem("%s: %v", what, err)
	}
	n := map[string]int{}
	for _, m := range all {
		n[m.Remittance]++
	}
	for remittance, times := range w.outside {
		if n[remittance] != times {
			w.problem("%s: the bank moved %q %d times, not %d", what, remittance, n[remittance], times)
		}
	}
	for remittance := range n {
		if _, ordered := w.outside[remittance]; !ordered {
			w.problem("%s: the bank moved %q, which nobody ordered", what, remittance)
		}
	}
	w.sound(what)
}

// sound wants nothing put aside, and no difference that waits for a person.
func (w *world) sound(what string) {
	var aside, breaks int
	var classes string
	err := w.db.QueryRow(w.ctx, `select (select count(*) from quarantine), count(*), coalesce(string_agg(class || ' ' || detail, '; '), '')
	  from breaks where closed_at is null`).Scan(&aside, &breaks, &classes)
	if err != nil || aside+breaks != 0 {
		w.problem("%s: %d facts put aside, %d breaks open (%s), %v", what, aside, breaks, classes, err)
	}
}

// errUnanswered reports that a client gave up.
var errUnanswered = errors.New("no answer")

// ask sends a request, always the same, until it is answered: what every client does
// that was told to try again with the same key. A refusal is an answer.
func (w *world) ask(what string, request func(ctx context.Context, l *life, try int) (commit.Result, error)) (commit.Result, error) {
	var err error
	for began := time.Now(); time.Since(began) < patience && w.ctx.Err() == nil; pause() {
		l := w.live()
		ctx, cancel := context.WithTimeout(w.ctx, time.Second)
		release := context.AfterFunc(l.ctx, cancel) // the connection to a dead process ends
		tries := 0
		if w.freshKeys {
			tries = int(time.Since(began))
		}
		var r commit.Result
		r, err = request(ctx, l, tries)
		release()
		cancel()
		if l.dead.Load() { // whatever it said, nobody heard it
			continue
		}
		if err == nil && r.Payment.ID != 0 {
			w.mu.Lock()
			w.acked[r.Payment.ID] = what
			w.mu.Unlock()
		}
		if err == nil || fault.HTTPStatus(fault.CodeOf(err)) < 500 && fault.CodeOf(err) != fault.IdempotencyInFlight {
			return r, err
		}
	}
	return commit.Result{}, fmt.Errorf("%w to %s within %s: %w", errUnanswered, what, patience, err)
}
