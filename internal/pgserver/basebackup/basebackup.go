// Package basebackup copies a running PostgreSQL cluster with its own tools and
// lays the copy out again: a verified base backup, an archive of the write-ahead
// log that follows every commit, and a data folder that recovers to a chosen
// second. It refuses to call a backup good that pg_verifybackup does not, to
// write into a folder that holds something, and to lay out a log with a gap.
package basebackup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/moneta-pay/moneta/internal/pgserver"
)

// ErrNotEmpty means that the target folder holds something.
var ErrNotEmpty = errors.New("folder is not empty")

// ErrGap means that a segment of the log is missing between the base and the end.
var ErrGap = errors.New("the archive of the log has a gap")

const (
	baseFolder = "base"
	// takeWithin bounds one copy and one verification.
	takeWithin = 6 * time.Hour
)

// Taken describes a base backup.
type Taken struct {
	StartLSN string `json:"start_lsn"`
	// StopLSN is the point that the base alone restores to.
	StopLSN string `json:"stop_lsn"`
	// Bytes of all files.
	Bytes int64 `json:"bytes"`
}

// Take copies the cluster at dsn into the empty or new folder dir and verifies
// every file against the manifest that the server wrote. A backup that failed
// leaves its remains in dir, without anything that Restore would take.
func Take(ctx context.Context, bin pgserver.Binaries, dsn, dir string) (Taken, error) {
	var t Taken
	if err := Empty(dir); err != nil {
		return t, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return t, fmt.Errorf("basebackup: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, takeWithin)
	defer cancel()
	fresh := filepath.Join(dir, baseFolder+".new")
	if err := run(ctx, bin, "pg_basebackup", "-d", dsn, "-D", fresh, "--checkpoint=fast", "--wal-method=stream", "--no-password",
		"--label=moneta", "--manifest-checksums=SHA256"); err != nil {
		return t, err
	}
	if err := verify(ctx, bin, fresh); err != nil {
		return t, err
	}
	t, err := describe(fresh)
	if err != nil {
		return t, err
	}
	if err := os.Rename(fresh, filepath.Join(dir, baseFolder)); err != nil {
		return t, fmt.Errorf("basebackup: %w", err)
	}
	return t, nil
}

// Empty returns ErrNotEmpty when dir exists and holds something.
func Empty(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("basebackup: %w", err)
	case len(entries) > 0:
		return fmt.Errorf("basebackup: %w: %s; give a new one", ErrNotEmpty, dir)
	}
	return nil
}

func verify(ctx context.Context, bin pgserver.Binaries, base string) error {
	return run(ctx, bin, "pg_verifybackup", "--quiet", "--exit-on-error", base)
}

// run calls one of PostgreSQL's own programs, with an environment of our own.
func run(ctx context.Context, bin pgserver.Binaries, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(bin.Dir, name), args...) //nolint:gosec // from where the operator keeps them
	cmd.Env = Env(bin)
	out, err := cmd.CombinedOutput()
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("basebackup: %s holds no %s: install the package `postgresql`: %w", bin.Dir, name, err)
	}
	if err != nil {
		return fmt.Errorf("basebackup: %s: %w: %s", name, err, bytes.TrimSpace(out))
	}
	return nil
}

// Env is the environment of PostgreSQL's programs: nothing of ours that begins
// with PG may decide where they connect.
func Env(bin pgserver.Binaries) []string {
	env := []string{"PATH=" + bin.Dir + ":/usr/bin:/bin", "LC_ALL=C"}
	for _, keep := range []string{"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR"} {
		if v, ok := os.LookupEnv(keep); ok {
			env = append(env, keep+"="+v)
		}
	}
	return env
}

func describe(base string) (Taken, error) {
	var t Taken
	raw, err := os.ReadFile(filepath.Join(base, "backup_manifest"))
	if err != nil {
		return t, fmt.Errorf("basebackup: %w", err)
	}
	var m struct {
		Files []struct{ Size int64 }
		Range []struct {
			Start string `json:"Start-LSN"`
			End   string `json:"End-LSN"`
		} `json:"WAL-Ranges"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return t, fmt.Errorf("basebackup: backup_manifest: %w", err)
	}
	if len(m.Range) == 0 {
		return t, errors.New("basebackup: backup_manifest names no range of the log")
	}
	for _, f := range m.Files {
		t.Bytes += f.Size
	}
	t.StartLSN, t.StopLSN = m.Range[0].Start, m.Range[len(m.Range)-1].End
	return t, nil
}
