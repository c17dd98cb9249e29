package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/internal/lifecycle"
)

const (
	readConnections = 8
	// readFollow is how many further pages a caller turns after the first.
	readFollow = 4
	// readAccounts is how many accounts are read, besides the two busy ones.
	readAccounts = 90
	// rowsMax is how many rows a request may touch before it counts as a scan: the
	// window of a filtered list (10,000 payments), with what else the answer takes.
	rowsMax = 15_000
	// scanFrom is how many payments must be stored before a scan is one: a table
	// that is hardly larger than a list's window is rightly read whole.
	scanFrom = 200_000
	// countRequests is how many requests of a kind are counted, and countTries how many
	// turns that may take: one request would vanish in what else is read meanwhile.
	countRequests, countTries = 200, 400
	// poolForgets is how long a pooled session lies idle before the pool looks
	// whether it is still there; a second (pgxpool), and a little.
	poolForgets = 1100 * time.Millisecond
)

// ReadFigure is one kind of reading request.
type ReadFigure struct {
	Name     string  `json:"name"`
	Requests int64   `json:"requests"`
	Latency  Latency `json:"latency_ms"`
	// Rows of the large tables that Postgres fetched a request, and how often it
	// read one of them from end to end; the requests' own statements, as run.
	Rows  float64 `json:"rows_per_request"`
	Scans int64   `json:"sequential_scans"`
}

// readsPlan has connections read pages back to back.
type readsPlan struct {
	Address     string        `json:"address"`
	Key         string        `json:"key"`
	Paths       []string      `json:"paths"`
	Connections int           `json:"connections"`
	Follow      int           `json:"follow"`
	For         time.Duration `json:"for_ns"`
}

func (p *readsPlan) run(ctx context.Context) (loadResult, error) {
	if len(p.Paths) == 0 || p.Connections < 1 {
		return loadResult{}, errors.New("the plan needs connections and paths")
	}
	readers := make([]*reader, p.Connections)
	var wg sync.WaitGroup
	began := time.Now()
	for i := range readers {
		readers[i] = &reader{plan: p, wire: newWire(p.Address, p.Key)}
		wg.Go(func() {
			defer readers[i].wire.close()
			for time.Since(began) < p.For && ctx.Err() == nil {
				readers[i].turn(ctx)
			}
		})
	}
	wg.Wait()
	results := make([]loadResult, len(readers))
	var times []time.Duration
	for i, v := range readers {
		results[i] = v.res
		times = append(times, v.times...)
	}
	sum := sumOf(results, began)
	sum.Latency = latencyOf(times)
	return sum, ctx.Err()
}

type reader struct {
	plan  *readsPlan
	wire  *wire
	res   loadResult
	times []time.Duration
}

// turn reads one page and then those that follow.
func (v *reader) turn(ctx context.Context) {
	path := v.plan.Paths[rand.IntN(len(v.plan.Paths))]
	next := path
	for range 1 + v.plan.Follow {
		from := time.Now()
		status, answer, err := v.wire.request(ctx, "GET", next, "", nil)
		if err != nil || status != 200 {
			v.res.Refused++
			if v.res.Error == "" {
				v.res.Error = fmt.Sprintf("GET %s: %d %.300s %v", next, status, answer, err)
			}
			return
		}
		v.times = append(v.times, time.Since(from))
		v.res.Acked++
		v.res.Done++
		after := cursorOf(answer)
		if after == "" {
			return
		}
		joint := "?"
		if strings.Contains(path, "?") {
			joint = "&"
		}
		next = path + joint + "after=" + after
	}
}

// cursorOf finds the after of the next page at the end of an answer; empty when
// there is none.
func cursorOf(answer []byte) string {
	const mark = `"next":"`
	at := bytes.LastIndex(answer, []byte(mark))
	if at < 0 || !bytes.Contains(answer, []byte(`"has_more":true`)) {
		return ""
	}
	cursor, _, closed := bytes.Cut(answer[at+len(mark):], []byte(`"`))
	if !closed {
		return ""
	}
	return string(cursor)
}

// readPhases serves the full ledger and reads its lists and statements, page after
// page.
func (r *run) readPhases(ctx context.Context) (err error) {
	p := &plane{run: r, name: grownDB, alone: true, dsn: r.server.DSN(grownDB)}
	// What autovacuum does within a minute of such growth.
	if err := p.analyse(ctx); err != nil {
		return err
	}
	r.say("reads: starting serve on the full ledger")
	defer func() { err = errors.Join(err, p.stop(ctx)) }()
	if err := p.start(ctx); err != nil {
		return err
	}
	kinds, err := p.readKinds(ctx)
	if err != nil {
		return err
	}
	for _, kind := range kinds {
		figure, err := p.readKind(ctx, kind.name, kind.paths)
		if err != nil {
			return err
		}
		r.report.Reads = append(r.report.Reads, figure)
		r.say("reads, %s: %d requests, p50 %.1f p99 %.1f ms", figure.Name, figure.Requests, figure.Latency.P50, figure.Latency.P99)
	}
	return p.countRows(ctx, kinds)
}

func (p *plane) analyse(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, p.dsn)
	if err != nil {
		return fmt.Errorf("reads: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, "vacuum analyze"); err != nil {
		return fmt.Errorf("reads: %w", err)
	}
	return nil
}

// readKind is one kind of request, with the paths that stand for it.
type readKind struct {
	name  string
	paths []string
}

// readKinds makes the paths: the two oldest accounts are the busy ones.
func (p *plane) readKinds(ctx context.Context) ([]readKind, error) {
	w := newWire(p.api, p.key)
	defer w.close()
	accounts, err := p.ids(ctx, w, "/v1/accounts?limit=99")
	if err != nil {
		return nil, err
	}
	payments, err := p.ids(ctx, w, "/v1/payments?limit=100")
	if err != nil {
		return nil, err
	}
	if len(accounts) < 3 || len(payments) < 1 {
		return nil, fmt.Errorf("reads: the full ledger shows %d accounts and %d payments", len(accounts), len(payments))
	}
	busy, calm := accounts[:2], accounts[2:min(len(accounts), readAccounts+2)]
	under := func(prefix string, ids []string, suffix string) (paths []string) {
		for _, id := range ids {
			paths = append(paths, prefix+id+suffix)
		}
		return paths
	}
	return []readKind{
		{"payments, newest", []string{"/v1/payments?limit=50"}},
		{"payments of an account", under("/v1/payments?limit=50&account=", calm, "")},
		{"payments, nothing matches", []string{"/v1/payments?limit=50&kind=deposit"}},
		{"statement", under("/v1/accounts/", calm, "/statement?limit=50")},
		{"statement, busy account", under("/v1/accounts/", busy, "/statement?limit=100")},
		{"balances", under("/v1/accounts/", accounts, "/balances")},
		{"payment", under("/v1/payments/", payments, "")},
		{"timeline", under("/v1/payments/", payments, "/timeline")},
	}, nil
}

func (p *plane) ids(ctx context.Context, w *wire, path string) ([]string, error) {
	status, answer, err := w.request(ctx, "GET", path, "", nil)
	var page struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	if err == nil && status == 200 {
		err = json.Unmarshal(answer, &page)
	}
	if err != nil || status != 200 {
		return nil, fmt.Errorf("GET %s: %d %.300s %w", path, status, answer, err)
	}
	var ids []string
	for _, d := range page.Data {
		ids = append(ids, d.ID)
	}
	return ids, nil
}

func (p *plane) readKind(ctx context.Context, name string, paths []string) (ReadFigure, error) {
	figure := ReadFigure{Name: name}
	plan := readsPlan{Address: p.api, Key: p.key, Paths: paths, Connections: readConnections, Follow: readFollow, For: p.profile.reads}
	res, err := p.generate(ctx, loadJob{Reads: &plan}, plan.For)
	if err != nil {
		return figure, err
	}
	if res.Refused > 0 || res.Acked == 0 {
		p.report.Unserved = append(p.report.Unserved, fmt.Sprintf("reads, %s: %d failed, %d answered; the first: %s", name, res.Refused, res.Acked, res.Error))
	}
	figure.Requests, figure.Latency = res.Acked, res.Latency
	return figure, nil
}

const countersSQL = `select coalesce(sum(seq_scan), 0)::float8, coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)::float8
	from pg_stat_user_tables where relname in ('payments', 'transfers', 'transitions', 'keys')`

// countRows sends requests of each kind once more, a few, and reads from Postgres'
// own counters what their statements touched: a count over the whole table or a scan
// of it cannot hide there. An EXPLAIN would tell of statements as somebody copied
// them. The counters are the database's, so that what serve's own stations read all
// the time is measured by itself first, and taken off.
func (p *plane) countRows(ctx context.Context, kinds []readKind) error {
	conn, err := pgx.Connect(ctx, p.dsn)
	if err != nil {
		return fmt.Errorf("reads: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	p.say("reads: counting the rows that each kind touches")
	w := newWire(p.api, p.key)
	defer w.close()
	idle, err := p.countIdle(ctx, conn)
	if err != nil {
		return err
	}
	before, err := p.counters(ctx, conn)
	if err != nil {
		return err
	}
	for i, kind := range kinds {
		v := &reader{plan: &readsPlan{Paths: kind.paths, Follow: readFollow}, wire: w}
		// A session that was ended may be handed to a request yet: that one is lost.
		for turns := 0; v.res.Acked < countRequests && turns < countTries; turns++ {
			v.turn(ctx)
		}
		if v.res.Acked == 0 {
			p.report.Faults = append(p.report.Faults, fmt.Sprintf("reads, %s: rows not counted: %s", kind.name, v.res.Error))
		}
		after, err := p.counters(ctx, conn)
		if err != nil {
			return err
		}
		figure := &p.report.Reads[i]
		figure.Scans, figure.Rows = after.since(before, idle, v.res.Acked)
		before = after
		if p.profile.stored > scanFrom && (figure.Scans > 0 || figure.Rows > rowsMax) {
			p.report.Faults = append(p.report.Faults,
				fmt.Sprintf("reads, %s: %d scans of a large table, %.0f rows a request", kind.name, figure.Scans, figure.Rows))
		}
	}
	return nil
}

// countIdle is what the database's counters rise by a second with no request.
func (p *plane) countIdle(ctx context.Context, conn *pgx.Conn) (perS counters, err error) {
	var from, to counters
	if from, err = p.counters(ctx, conn); err == nil {
		err = lifecycle.Pause(ctx, p.profile.reads)
	}
	if err == nil {
		to, err = p.counters(ctx, conn)
	}
	took := to.at.Sub(from.at).Seconds()
	return counters{scans: (to.scans - from.scans) / took, rows: (to.rows - from.rows) / took}, err
}

// counters are scans of the large tables and rows read of them, until a moment.
type counters struct {
	at          time.Time
	scans, rows float64
}

// since is what each of so many requests did since before, beside the idle work. Less
// than a whole scan is none: the idle work is not the same every second.
func (c counters) since(before, idle counters, requests int64) (scans int64, rows float64) {
	took := c.at.Sub(before.at).Seconds()
	scans = int64(max(0, c.scans-before.scans-idle.scans*took) + 0.5)
	return scans, rounded(over(max(0, c.rows-before.rows-idle.rows*took), float64(requests)))
}

// counters reads Postgres' counters after the sessions of serve's reading pool
// have told theirs, which each does at its end; the pool opens new ones.
func (p *plane) counters(ctx context.Context, conn *pgx.Conn) (c counters, err error) {
	const gone = `select count(*) from pg_stat_activity where datname = current_database() and pid = any($1)`
	var pids []int32
	err = conn.QueryRow(ctx, `select coalesce(array_agg(pid), '{}') from (select pid, pg_terminate_backend(pid)
		from pg_stat_activity where datname = current_database() and application_name = 'moneta reads') t`).Scan(&pids)
	for left := 1; err == nil && left > 0; {
		if err = conn.QueryRow(ctx, gone, pids).Scan(&left); err == nil && left > 0 {
			err = lifecycle.Pause(ctx, poll)
		}
	}
	if err == nil {
		err = lifecycle.Pause(ctx, poolForgets)
	}
	if err == nil {
		c.at = time.Now()
		err = conn.QueryRow(ctx, countersSQL).Scan(&c.scans, &c.rows)
	}
	if err != nil {
		return c, fmt.Errorf("reads: count rows: %w", err)
	}
	return c, nil
}
