package prove

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/moneta-pay/moneta/money"
)

// span is a range of ids that are no rows, both ends included.
type span struct{ first, last int64 }

// lastIDs are the newest ids of the snapshot, over all shards.
type lastIDs struct{ payment, transfer, transition int64 }

// open connects and takes the one snapshot that everything is read in.
func (p *prover) open(ctx context.Context) (done func(), err error) {
	cfg, err := pgx.ParseConfig(p.cfg.DSN)
	if err != nil {
		return nil, fmt.Errorf("the address of the database: %w", err)
	}
	// The rows' text, which is hashed, must not depend on the server's settings.
	for name, value := range map[string]string{
		"application_name": "moneta-prove", "default_transaction_read_only": "on", "TimeZone": "UTC", "DateStyle": "ISO, YMD", "bytea_output": "hex",
		"statement_timeout": ms(p.cfg.Statement), "lock_timeout": ms(lockWithin), "idle_in_transaction_session_timeout": "0", "jit": "off",
		// A page is a small part of a table: a plan for any range would read it whole, and
		// workers would be started for each.
		"plan_cache_mode": "force_custom_plan", "max_parallel_workers_per_gather": "0",
	} {
		cfg.RuntimeParams[name] = value
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	done = func() { _ = conn.Close(context.WithoutCancel(ctx)) }
	if p.tx, err = conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}); err != nil {
		done()
		return nil, err
	}
	if err := p.begin(ctx); err != nil {
		done()
		return nil, err
	}
	return done, nil
}

func ms(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// begin reads what the snapshot is of. Its first statement fixes it.
func (p *prover) begin(ctx context.Context) error {
	d := &p.out.Database
	err := p.tx.QueryRow(ctx, `select now(), (select system_identifier::text from pg_control_system()), (select timeline_id::text from pg_control_checkpoint()),
	    pg_is_in_recovery(), case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end::text,
	    (select coalesce(max(version_id), 0) from schema_migrations),
	    (select coalesce(max(id), 0) from payments), (select coalesce(max(id), 0) from transfers), (select coalesce(max(id), 0) from transitions),
	    coalesce((select value from marks where name = 'recon_expected'), 0)`).
		Scan(&p.at, &d.System, &d.Timeline, &d.Standby, &d.LSN, &d.Schema, &p.last.payment, &p.last.transfer, &p.last.transition, &p.expected)
	if err != nil {
		return err
	}
	d.LastPayment, d.LastTransfer, d.LastTransition = itoa(p.last.payment), itoa(p.last.transfer), itoa(p.last.transition)
	// A failover and a restore leave out transitions between the last that the new
	// history has and its first, and as many steps of 2^32 payments and accounts.
	err = p.rows(ctx, `select shard, n, lost_after, begins from timelines order by shard, n`, nil, func(r *row) {
		if first, last := r.int(2)+1, r.int(3)-1; last >= first {
			p.lost = append(p.lost, span{first, last})
			p.steps[r.int(0)]++
		}
	})
	if err != nil {
		return err
	}
	return p.rows(ctx, `select channel, finished_at from recon_runs`, nil, func(r *row) { p.runs[r.text(0)] = r.time(1) })
}

// row is one row as text. Getters return zero for null; what cannot be read is
// noted once.
type row struct {
	v   [][]byte
	bad int // column that could not be read, from 1
}

func (r *row) int(i int) int64 {
	b := r.v[i]
	if len(b) == 0 {
		return 0
	}
	var n uint64
	negative := b[0] == '-'
	if negative {
		b = b[1:]
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			r.bad = i + 1
			return 0
		}
		n = n*10 + uint64(c-'0')
	}
	if negative {
		return -int64(n)
	}
	return int64(n)
}

func (r *row) amount(i int) (a money.Amount) {
	if r.v[i] == nil {
		return a
	}
	if err := a.UnmarshalText(r.v[i]); err != nil {
		r.bad = i + 1
	}
	return a
}

func (r *row) text(i int) string { return string(r.v[i]) }

// pgTime is how Postgres writes an instant under the settings of open.
const pgTime = "2006-01-02 15:04:05.999999999-07"

func (r *row) time(i int) time.Time {
	if r.v[i] == nil || bytes.HasSuffix(r.v[i], []byte("infinity")) {
		return time.Time{}
	}
	t, err := time.Parse(pgTime, string(r.v[i]))
	if err != nil {
		r.bad = i + 1
	}
	return t
}

// rows hands each row of a statement to visit. With a digest they are hashed.
func (p *prover) rows(ctx context.Context, sql string, d *digest, visit func(*row), args ...any) error {
	found, err := p.tx.Query(ctx, sql, append([]any{pgx.QueryResultFormats{pgx.TextFormatCode}}, args...)...)
	if err != nil {
		return err
	}
	defer found.Close()
	var r row
	for found.Next() {
		r.v, r.bad = found.RawValues(), 0
		if d != nil {
			d.add(r.v)
		}
		visit(&r)
		if r.bad > 0 {
			name := found.FieldDescriptions()[r.bad-1].Name
			table := "a row"
			if d != nil {
				table = d.table
			}
			p.find(checkReadable, 0, time.Time{}, fmt.Sprintf("%s %s", table, r.v[0]), fmt.Sprintf("%s is %.60q", name, r.v[r.bad-1]))
		}
		if d != nil {
			p.check(checkReadable).Asked++
		}
	}
	return found.Err()
}

// digest is a table as it was read: each value as its length, a colon and its text,
// null as a hyphen; each row ends with a line feed.
type digest struct {
	table string
	rows  int64
	hash  hash.Hash
	buf   []byte
}

func (p *prover) digest(table string) *digest {
	d := p.digests[table]
	if d == nil {
		d = &digest{table: table, hash: sha256.New()}
		p.digests[table] = d
	}
	return d
}

func (d *digest) add(values [][]byte) {
	d.rows++
	d.buf = d.buf[:0]
	for _, v := range values {
		if v == nil {
			d.buf = append(d.buf, '-')
			continue
		}
		d.buf = strconv.AppendInt(d.buf, int64(len(v)), 10)
		d.buf = append(d.buf, ':')
		d.buf = append(d.buf, v...)
	}
	d.buf = append(d.buf, '\n')
	d.hash.Write(d.buf)
}

// counted closes the digests.
func (p *prover) counted() (all []Counted, sum string) {
	total := sha256.New()
	for _, table := range slices.Sorted(maps.Keys(p.digests)) {
		d := p.digests[table]
		c := Counted{Table: table, Rows: d.rows, SHA256: hex.EncodeToString(d.hash.Sum(nil))}
		fmt.Fprintf(total, "%s %d %s\n", c.Table, c.Rows, c.SHA256)
		all = append(all, c)
	}
	return all, hex.EncodeToString(total.Sum(nil))
}

func sqlState(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}
