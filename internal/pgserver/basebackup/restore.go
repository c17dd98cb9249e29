package basebackup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/moneta-pay/moneta/internal/pgserver"
)

// Layout says how a cluster is put together again.
type Layout struct {
	// From is the folder that Take filled.
	From string
	// Archive of the log; an empty Dir restores the base alone.
	Archive Archive
	// DataDir is the cluster's new folder, as pgserver.Config has it.
	DataDir string
	// To is the second to stop at; zero is the end of what there is.
	To time.Time
}

// Lay verifies the backup, copies it and the log into the empty folder and
// returns the settings with which pgserver.Start recovers it.
func Lay(ctx context.Context, bin pgserver.Binaries, l Layout) (settings map[string]string, err error) {
	base := filepath.Join(l.From, baseFolder)
	if _, err := os.Stat(base); err != nil {
		return nil, fmt.Errorf("basebackup: %s holds no backup that was finished: %w", l.From, err)
	}
	if err := Empty(l.DataDir); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, takeWithin)
	defer cancel()
	if err := verify(ctx, bin, base); err != nil {
		return nil, err
	}
	log, err := l.log(base)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(l.DataDir, "data")
	if err := os.MkdirAll(l.DataDir, 0o755); err != nil { //nolint:gosec // pgserver closes it when it takes it
		return nil, fmt.Errorf("basebackup: %w", err)
	}
	if err := copyTree(ctx, base, data); err != nil {
		return nil, err
	}
	for _, name := range log {
		if err := addSegment(filepath.Join(l.Archive.Dir, name), filepath.Join(data, "pg_wal", strings.TrimSuffix(name, partial))); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(filepath.Join(data, "recovery.signal"), nil, 0o600); err != nil {
		return nil, fmt.Errorf("basebackup: %w", err)
	}
	syscall.Sync() // the copy is as durable as what initdb makes
	settings = map[string]string{
		// All of the log that there is lies in pg_wal already.
		"restore_command": "false", "recovery_target_timeline": "current", "recovery_target_action": "promote",
		// Nobody connects before the recovery is over.
		"hot_standby": "off",
	}
	if !l.To.IsZero() {
		settings["recovery_target_time"] = l.To.UTC().Format("2006-01-02 15:04:05.999999+00")
	}
	return settings, nil
}

// log names the archive's segments that belong to the base and what follows.
func (l Layout) log(base string) ([]string, error) {
	if l.Archive.Dir == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(filepath.Join(base, "pg_wal"))
	if err != nil {
		return nil, fmt.Errorf("basebackup: %w", err)
	}
	var have []string
	for _, e := range entries {
		if segmentName.MatchString(e.Name()) {
			have = append(have, e.Name())
		}
	}
	if len(have) == 0 {
		return nil, errors.New("basebackup: the base has no log of its own")
	}
	slices.Sort(have)
	return l.Archive.after(have)
}

// addSegment copies a segment of the archive, unless the base reaches further in
// it: a receiver that was behind when it ended has less. What is not written yet
// is zero in both.
func addSegment(from, to string) error {
	theirs, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("basebackup: %w", err)
	}
	ours, err := os.ReadFile(to)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("basebackup: %w", err)
	}
	if len(bytes.TrimRight(theirs, "\x00")) <= len(bytes.TrimRight(ours, "\x00")) {
		return nil
	}
	if err := os.WriteFile(to, theirs, 0o600); err != nil { //nolint:gosec // our own copy
		return fmt.Errorf("basebackup: %w", err)
	}
	return nil
}

func copyTree(ctx context.Context, from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("basebackup: %w", err)
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return fmt.Errorf("basebackup: %w", err)
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			if err := os.Mkdir(target, 0o700); err != nil {
				return fmt.Errorf("basebackup: %w", err)
			}
			return nil
		case !d.Type().IsRegular():
			return fmt.Errorf("basebackup: %s is no plain file: tablespaces elsewhere are not restored", path)
		}
		return copyFile(path, target)
	})
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("basebackup: %w", err)
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("basebackup: %w", err)
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("basebackup: copy %s: %w", from, err)
	}
	return nil
}
