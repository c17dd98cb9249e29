// Package repair is the doctor's hands for what ends a fault: a session that blocks the
// others, a statement that queues, a lost index, a process that stands still, and what
// waits in the pay plane. Each looks at its target right before the deed, in the same
// statement where that is the database's, and reports what it found for the
// never-list.
//
// It refuses a session that is not the root of a blocking tree, any session that waits
// for a standby, replicates, vacuums against wraparound or belongs to the decider, and
// it writes no money: what concerns payments goes through the pay plane's API, and
// through its decider.
package repair

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/moneta-pay/moneta/doctor"
)

const (
	// dialWithin bounds a new connection, statementWithin one statement of a look.
	dialWithin      = 3 * time.Second
	statementWithin = "5s"
	// appName is how the doctor's sessions are named in pg_stat_activity.
	appName = "moneta doctor acts"
	// queryShown is how much of a statement people are shown, in bytes.
	queryShown = 120
)

// Database is where the hands for Postgres act.
type Database struct {
	// DSN of the primary, as a login that may signal others' sessions.
	DSN string
	// Protected are beginnings of application names whose sessions are the decider's.
	Protected []string
}

// Leader is how the sessions of the one writer of money begin their names.
const Leader = "moneta leader "

// connect opens a session for one act: a pool would hold places while the database is
// short of them.
func (d *Database) connect(ctx context.Context) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(d.DSN)
	if err != nil {
		return nil, fmt.Errorf("database address: %w", err)
	}
	cfg.ConnectTimeout = dialWithin
	rp := cfg.RuntimeParams
	rp["application_name"], rp["statement_timeout"], rp["lock_timeout"] = appName, statementWithin, "1s"
	rp["idle_in_transaction_session_timeout"], rp["timezone"] = "5s", "UTC"
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	return pgx.ConnectConfig(ctx, cfg)
}

// with runs f in a session of its own.
func (d *Database) with(ctx context.Context, f func(*pgx.Conn) error) error {
	conn, err := d.connect(ctx)
	if err != nil {
		return fmt.Errorf("reach the database: %w", err)
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(closing)
	}()
	return f(conn)
}

// denied explains an error that a missing grant makes.
func denied(err error, needs string) error {
	var pg *pgconn.PgError
	if ok := asPg(err, &pg); ok && pg.Code == "42501" {
		return fmt.Errorf("%w: this login may not; grant %s", err, needs)
	}
	return err
}

var literal = regexp.MustCompile(`'(?:[^']|'')*'?|\b\d+\b`)

// masked is a statement as people may see it: no literals, one line, not long.
func masked(query string) string {
	s := strings.Join(strings.Fields(literal.ReplaceAllString(query, "?")), " ")
	if len(s) > queryShown {
		s = strings.ToValidUTF8(s[:queryShown], "") + "…"
	}
	return s
}

func rows(all []string) []string { return all[:min(len(all), doctor.RowsShown)] }
