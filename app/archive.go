package app

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/internal/lifecycle"
	"github.com/moneta-pay/moneta/internal/pgserver"
	"github.com/moneta-pay/moneta/internal/pgserver/basebackup"
)

const (
	pruneEvery = time.Minute
	// archiveNote in the data folder names the archive, for backup.
	archiveNote = "archive"
	gigabyte    = int64(1) << 30
)

// archiver keeps the log of up's Postgres.
type archiver struct {
	basebackup.Archive
	most int64
	log  *slog.Logger
}

func (a archiver) show(lang string) string {
	h, err := a.Holding()
	if err != nil || h.Segments == 0 {
		return say(lang, "up-archive", a.Dir, 0, 0, "-", "-")
	}
	return say(lang, "up-archive", a.Dir, h.Segments, h.Bytes>>20, h.Oldest.UTC().Format(time.RFC3339), h.Newest.UTC().Format(time.RFC3339))
}

// startArchive copies the log of w's Postgres from now on, or lets go of it when
// nobody asks for that. stop is never nil.
func startArchive(ctx context.Context, w *world, place string) (stop func(context.Context) error, err error) {
	stop = func(context.Context) error { return nil }
	note := filepath.Join(w.cfg.DataDir, archiveNote)
	conn, err := pgx.Connect(ctx, w.dsn)
	if err != nil {
		return stop, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if w.cfg.Archive == "" {
		if err := os.Remove(note); err != nil && !os.IsNotExist(err) {
			return stop, err
		}
		return stop, basebackup.DropLog(ctx, conn)
	}
	a := archiver{basebackup.Archive{Dir: w.cfg.Archive}, int64(max(w.cfg.ArchiveMaxGB, 1)) * gigabyte, w.logger}
	w.archive = a
	if err := a.Claim(place); err != nil {
		return stop, err
	}
	gap, err := basebackup.KeepLog(ctx, conn)
	if err != nil {
		return stop, err
	}
	if gap {
		w.logger.ErrorContext(ctx, "the archive has a gap: make a new backup", slog.String("folder", a.Dir))
	}
	if err := writeFile(note, []byte(w.cfg.Archive), 0o600); err != nil {
		return stop, err
	}
	bin, err := pgserver.FindBinaries(ctx, "", 0)
	if err != nil {
		return stop, err
	}
	return a.start(ctx, w, bin)
}

// start runs the receiver as a child and prunes beside it, until stop.
func (a archiver) start(ctx context.Context, w *world, bin pgserver.Binaries) (stop func(context.Context) error, err error) {
	log, err := os.OpenFile(filepath.Join(w.cfg.DataDir, "archive.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return func(context.Context) error { return nil }, err
	}
	path, args := a.Receiver(bin, w.dsn)
	c := lifecycle.NewChild(lifecycle.ChildConfig{
		Name: "archive", Path: path, Args: args, Env: basebackup.Env(bin), Stdout: log, Stderr: log, Logger: w.logger,
		Backoff: lifecycle.Backoff{First: 50 * time.Millisecond, Max: time.Second, Healthy: 5 * time.Second},
	})
	pruning, endPruning := context.WithCancel(context.WithoutCancel(ctx))
	pruned := make(chan struct{})
	go func() {
		defer close(pruned)
		a.prune(pruning)
	}()
	stop = func(ctx context.Context) error {
		endPruning()
		<-pruned
		err := c.Stop(ctx)
		_ = log.Close() // the child's last lines are written
		return err
	}
	return stop, c.Start(ctx)
}

func (a archiver) prune(ctx context.Context) {
	ticker := time.NewTicker(pruneEvery)
	defer ticker.Stop()
	for {
		removed, err := a.Prune(a.most)
		if err != nil {
			a.log.ErrorContext(ctx, "the archive cannot be pruned", slog.Any("error", err))
		}
		if removed > 0 {
			a.log.InfoContext(ctx, "the oldest log was removed from the archive", slog.Int("segments", removed))
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// archiveOf returns the archive that a running up writes, or "".
func archiveOf(dataDir string) (string, error) {
	raw, err := os.ReadFile(filepath.Join(dataDir, archiveNote))
	if os.IsNotExist(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read where the log is archived: %w", err)
	}
	return string(raw), nil
}
