package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/internal/pgserver"
	"github.com/moneta-pay/moneta/internal/pgserver/basebackup"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/schema"
)

// BackupConfig is what `moneta backup` was asked for.
type BackupConfig struct {
	DataDir, To string
	JSON        bool
	Lang        string
	Out         io.Writer
}

// Manifest says what a backup holds.
type Manifest struct {
	// BeganAt is when the ledger was counted; every restore has all of that count.
	BeganAt time.Time `json:"began_at"`
	// TakenAt is the earliest second that a restore can go to.
	TakenAt  time.Time        `json:"taken_at"`
	Moneta   string           `json:"moneta"`
	Schema   int64            `json:"schema"`
	Postgres string           `json:"postgres"`
	Base     basebackup.Taken `json:"base"`
	// Archive is the folder of the log that follows; empty when there was none.
	Archive string      `json:"archive,omitempty"`
	Ledger  LedgerCount `json:"ledger"`
}

const manifestFile = "manifest.json"

// tools are the programs of the PostgreSQL that fits the cluster in place.
func tools(ctx context.Context, place string) (pgserver.Binaries, error) {
	major := 0
	raw, err := os.ReadFile(filepath.Join(place, "PG_VERSION"))
	if err != nil {
		return pgserver.Binaries{}, fmt.Errorf("which PostgreSQL made it: %w", err)
	}
	if _, err := fmt.Sscan(string(raw), &major); err != nil {
		return pgserver.Binaries{}, fmt.Errorf("which PostgreSQL made it: %w", err)
	}
	return pgserver.FindBinaries(ctx, "", major)
}

// Backup copies the running private cluster of up, verifies the copy, and writes
// beside it what the ledger was.
func Backup(ctx context.Context, cfg BackupConfig) error {
	place, _, err := pgserver.Place(ctx, pgFolder(cfg.DataDir))
	if err != nil {
		return err
	}
	dsn, err := pgserver.Locate(place, DatabaseName)
	if err != nil {
		return fmt.Errorf("%w; start `moneta up`", err)
	}
	bin, err := tools(ctx, filepath.Join(place, "data"))
	if err != nil {
		return err
	}
	m := Manifest{BeganAt: time.Now().UTC(), Moneta: Version, Postgres: bin.Version}
	if m.Archive, err = archiveOf(cfg.DataDir); err != nil {
		return err
	}
	if m.Schema, m.Ledger, err = countAt(ctx, dsn); err != nil {
		return err
	}
	if m.Base, err = basebackup.Take(ctx, bin, dsn, cfg.To); err != nil {
		return err
	}
	m.TakenAt = time.Now().UTC()
	raw, err := json.MarshalIndent(&m, "", "  ")
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(cfg.To, manifestFile), raw, 0o600); err != nil {
		return err
	}
	if cfg.JSON {
		return writeJSON(cfg.Out, &m)
	}
	return m.print(cfg)
}

func (m *Manifest) print(cfg BackupConfig) error {
	var b strings.Builder
	b.WriteString(say(cfg.Lang, "backed-up", cfg.To, m.Base.Bytes>>20, m.TakenAt.Format(time.RFC3339), m.Base.StopLSN))
	for _, a := range m.Ledger.Assets {
		b.WriteString(say(cfg.Lang, "backup-asset", a.Asset, a.Accounts, a.Transfers, a.Hash))
	}
	if m.Archive == "" {
		b.WriteString(say(cfg.Lang, "no-archive"))
	} else {
		b.WriteString(archiver{Archive: basebackup.Archive{Dir: m.Archive}}.show(cfg.Lang))
	}
	_, err := io.WriteString(cfg.Out, b.String())
	return err
}

func countAt(ctx context.Context, dsn string) (version int64, c LedgerCount, err error) {
	if err := schema.Check(ctx, dsn); err != nil {
		return 0, c, err
	}
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return 0, c, fmt.Errorf("connect to the database: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	c, err = countLedger(ctx, conn, -1)
	return schema.Version(), c, err
}

// RestoreConfig is what `moneta restore` was asked for.
type RestoreConfig struct {
	From, DataDir string
	// To is the second to stop at; zero is the end of the log.
	To time.Time
	// Archive of the log; empty means the one that the backup names, if it is there.
	Archive string
	JSON    bool
	Lang    string
	Out     io.Writer
}

// Restored says what a restore brought back.
type Restored struct {
	// UpTo is the last commit that is there.
	UpTo   time.Time   `json:"up_to"`
	Folder string      `json:"folder"`
	Ledger LedgerCount `json:"ledger"`
	Off    []string    `json:"off,omitempty"`
}

// Restore lays a backup out in a new data folder, recovers it to the second asked
// for, counts it from its rows, and leaves it with dispatch paused. A ledger that
// does not add up is an error with ExitMoney.
func Restore(ctx context.Context, cfg RestoreConfig) error {
	var m Manifest
	raw, err := os.ReadFile(filepath.Join(cfg.From, manifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s holds no backup that was finished: %w", cfg.From, err)
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return fmt.Errorf("the manifest of %s is broken: %w", cfg.From, err)
	}
	if !cfg.To.IsZero() && cfg.To.Before(m.TakenAt) {
		return fmt.Errorf("the backup was taken at %s: no earlier second can be restored from it", m.TakenAt.Format(time.RFC3339Nano))
	}
	if cfg.Archive == "" {
		cfg.Archive = m.Archive
	}
	if cfg.Archive == "" && !cfg.To.IsZero() {
		return errors.New("the log was not archived: only the backup's own moment can be restored; leave out --to-time")
	}
	out, err := restore(ctx, cfg, &m)
	if err != nil {
		return err
	}
	if cfg.JSON {
		err = writeJSON(cfg.Out, &out)
	} else {
		err = out.print(cfg)
	}
	if len(out.Off) > 0 {
		return &ExitError{ExitMoney, say(cfg.Lang, "restore-off", strings.Join(out.Off, "; "))}
	}
	return err
}

func (r *Restored) print(cfg RestoreConfig) error {
	text := say(cfg.Lang, "restored", r.UpTo.Format(time.RFC3339Nano), cfg.DataDir, r.Ledger.Payments, r.Ledger.LastTransfer, r.Ledger.Accounts)
	if len(r.Off) == 0 {
		text += say(cfg.Lang, "recounted")
	}
	_, err := io.WriteString(cfg.Out, text+say(cfg.Lang, "stays-paused", cfg.DataDir))
	return err
}

func restore(ctx context.Context, cfg RestoreConfig, m *Manifest) (out Restored, err error) {
	if err := basebackup.Empty(cfg.DataDir); err != nil {
		return out, err
	}
	place, _, err := pgserver.Place(ctx, pgFolder(cfg.DataDir))
	if err != nil {
		return out, err
	}
	bin, err := tools(ctx, filepath.Join(cfg.From, "base"))
	if err != nil {
		return out, err
	}
	mark := filepath.Join(cfg.DataDir, restoringMark)
	if err := writeFile(mark, []byte(cfg.From), 0o600); err != nil {
		return out, err
	}
	settings, err := basebackup.Lay(ctx, bin, basebackup.Layout{
		From: cfg.From, Archive: basebackup.Archive{Dir: cfg.Archive}, DataDir: place, To: cfg.To,
	})
	if err != nil {
		return out, err
	}
	server, err := pgserver.Start(ctx, pgserver.Config{
		DataDir: place, Extra: settings, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)), StartTimeout: recoverWithin,
	})
	if err != nil && !cfg.To.IsZero() {
		return out, fmt.Errorf("recover the backup to %s; if the log ends before that (its files say so), leave out --to-time: %w", cfg.To.Format(time.RFC3339Nano), err)
	}
	if err != nil {
		return out, fmt.Errorf("recover the backup: %w", err)
	}
	defer func() {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
		defer cancel()
		err = errors.Join(err, server.Stop(stopping))
		if err == nil && len(out.Off) == 0 {
			err = os.Remove(mark)
		}
	}()
	out.Folder = place
	err = out.finish(ctx, server.DSN(DatabaseName), m)
	return out, err
}

// recoverWithin bounds the replay of the log.
const recoverWithin = time.Hour

// restoringMark stands in a data folder until its restore is whole: up refuses it,
// since dispatch may not be paused yet or the ledger may not add up.
const restoringMark = "restoring"

func refuseHalfRestored(dataDir string) error {
	if _, err := os.Stat(filepath.Join(dataDir, restoringMark)); err == nil {
		return fmt.Errorf("the restore into %s did not end well: restore into another new folder", dataDir)
	}
	return nil
}

// finish pauses dispatch and counts the recovered ledger.
func (r *Restored) finish(ctx context.Context, dsn string, m *Manifest) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return fmt.Errorf("connect to the restored database: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	// After recovery this stays the time of the last commit that was replayed.
	var upTo *time.Time
	if err := conn.QueryRow(ctx, `select pg_last_xact_replay_timestamp()`).Scan(&upTo); err != nil {
		return fmt.Errorf("how far did it get: %w", err)
	}
	r.UpTo = m.TakenAt
	if upTo != nil {
		r.UpTo = upTo.UTC()
	}
	if err := schema.Migrate(ctx, dsn); err != nil {
		return err
	}
	if err := pauseDispatch(ctx, conn, r.UpTo); err != nil {
		return err
	}
	r.Ledger, r.Off, err = recount(ctx, dsn, conn, m.Ledger)
	return err
}

// pauseDispatch makes the next serve start without sending, and leaves out the ids
// that the lost time may have given away.
func pauseDispatch(ctx context.Context, conn *pgx.Conn, upTo time.Time) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return fmt.Errorf("pause dispatch: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	rows, err := tx.Query(ctx, `select id from shards order by id`)
	if err != nil {
		return fmt.Errorf("pause dispatch: %w", err)
	}
	shards, err := pgx.CollectRows(rows, pgx.RowTo[int16])
	if err != nil {
		return fmt.Errorf("pause dispatch: %w", err)
	}
	for _, shard := range shards {
		if err := commit.BeginHistory(ctx, tx, shard, "restored from a backup: the channels are asked first", upTo); err != nil {
			return fmt.Errorf("pause dispatch: %w", err)
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("pause dispatch: %w", err)
	}
	return nil
}
