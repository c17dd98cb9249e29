package schema

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/moneta-pay/moneta/internal/lifecycle"
)

const (
	// LockTimeout is the longest that a migration waits in a lock queue, with
	// everybody else queued behind it, before it steps back.
	LockTimeout = 2 * time.Second
	// maxAttempts bounds the tries of one Migrate against busy tables.
	maxAttempts  = 10
	firstBackoff = 200 * time.Millisecond
	maxBackoff   = 5 * time.Second
	// turnTimeout bounds the wait for another migrator to finish.
	turnTimeout = 5 * time.Minute
	turnPoll    = 50 * time.Millisecond
	// advisoryKey is the lock that migrators take turns by; the number is
	// arbitrary and must never change.
	advisoryKey = 6_010_773_290_117_552_021
	// versionTable records what was applied.
	versionTable = "schema_migrations"
)

// Errors of Migrate and Check.
var (
	// ErrNewer means that the database was migrated by a newer binary.
	ErrNewer = errors.New("database is newer than this binary")
	// ErrOlder means that migrations are missing.
	ErrOlder = errors.New("database needs migrations")
	// ErrBusy means that some table stayed locked through every attempt.
	ErrBusy = errors.New("tables stayed locked by others")
)

// Migrate brings the database behind dsn to Version, on one connection.
// Several nodes may call it at once: one works, the others wait their turn.
// A statement that waits longer than LockTimeout for a lock is given up,
// rolled back and tried again with backoff, at most 10 times, so that a long
// reader never makes the migration block everybody else. Migrations applied
// before a failure stay applied.
func Migrate(ctx context.Context, dsn string, guards ...func(*pgconn.Config)) error {
	return migrate(ctx, dsn, Migrations(), guards...)
}

// Check returns ErrOlder or ErrNewer, wrapped, unless the database behind dsn
// is exactly at Version. It changes nothing.
func Check(ctx context.Context, dsn string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return fmt.Errorf("schema: connect: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	have, err := applied(ctx, conn)
	if err != nil {
		return err
	}
	switch want := Version(); {
	case have > want:
		return newerError(have, want)
	case have < want:
		return fmt.Errorf("schema: %w: it is at %d, this binary needs %d: run `moneta migrate`", ErrOlder, have, want)
	}
	return nil
}

func newerError(have, want int64) error {
	return fmt.Errorf("schema: %w: it is at %d, this binary knows %d: run the newer binary, or restore a backup from before the upgrade",
		ErrNewer, have, want)
}

func migrate(ctx context.Context, dsn string, migrations fs.FS, guards ...func(*pgconn.Config)) (err error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return fmt.Errorf("schema: connection string: %w", err)
	}
	for _, guard := range guards {
		guard(&cfg.Config)
	}
	cfg.RuntimeParams["application_name"] = "moneta migrate"
	cfg.RuntimeParams["lock_timeout"] = fmt.Sprintf("%dms", LockTimeout.Milliseconds())
	turn, err := takeTurn(ctx, cfg)
	if err != nil {
		return err
	}
	// The turn ends with the session, so a killed migrator blocks nobody.
	defer func() { err = errors.Join(err, turn.Close(context.WithoutCancel(ctx))) }()
	want, err := newest(migrations)
	if err != nil {
		return err
	}
	have, err := applied(ctx, turn)
	if err != nil {
		return err
	}
	if have > want {
		return newerError(have, want)
	}
	if have == want {
		return nil
	}
	db := stdlib.OpenDB(*cfg)
	db.SetMaxOpenConns(1)
	defer func() { err = errors.Join(err, db.Close()) }()
	return up(ctx, db, migrations)
}

// takeTurn returns a session that holds the migrators' lock. It asks again
// and again instead of waiting inside the server: a waiting statement would
// hold a snapshot, which stops vacuum and CREATE INDEX CONCURRENTLY.
func takeTurn(ctx context.Context, cfg *pgx.ConnConfig) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("schema: connect: %w", err)
	}
	for {
		var mine bool
		err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", int64(advisoryKey)).Scan(&mine)
		if err == nil && mine {
			return conn, nil
		}
		if err == nil {
			err = lifecycle.Pause(ctx, turnPoll)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("schema: wait for another migrator: %w", err), conn.Close(context.WithoutCancel(ctx)))
		}
	}
}

// applied returns the version of the database, 0 when it has none.
func applied(ctx context.Context, conn *pgx.Conn) (int64, error) {
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", versionTable).Scan(&exists); err != nil {
		return 0, fmt.Errorf("schema: read version: %w", err)
	}
	if !exists {
		return 0, nil
	}
	var v int64
	if err := conn.QueryRow(ctx, "SELECT coalesce(max(version_id), 0) FROM "+versionTable).Scan(&v); err != nil {
		return 0, fmt.Errorf("schema: read version: %w", err)
	}
	return v, nil
}

// up applies what is missing, again from where it stopped after each lock
// timeout.
func up(ctx context.Context, db *sql.DB, migrations fs.FS) error {
	provider, err := goose.NewProvider(goose.DialectPostgres, db, migrations,
		goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return fmt.Errorf("schema: %w", err)
	}
	wait := firstBackoff
	for attempt := 1; ; attempt++ {
		_, err := provider.Up(ctx)
		if err == nil {
			return nil
		}
		if !isLockTimeout(err) {
			return fmt.Errorf("schema: migrate: %w", err)
		}
		if attempt == maxAttempts {
			return fmt.Errorf("schema: %w: gave up after %d attempts of %v each: find the holder in pg_stat_activity (oldest xact_start): %w",
				ErrBusy, attempt, LockTimeout, err)
		}
		slog.WarnContext(ctx, "migration waits for a lock: stepping back", slog.Int("attempt", attempt), slog.Duration("again_in", wait))
		if err := lifecycle.Pause(ctx, wait); err != nil {
			return fmt.Errorf("schema: migrate: %w", err)
		}
		wait = min(2*wait, maxBackoff)
	}
}

// isLockTimeout recognises SQLSTATE 55P03, lock_not_available.
func isLockTimeout(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "55P03"
}
