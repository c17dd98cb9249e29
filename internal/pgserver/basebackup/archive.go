package basebackup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/internal/pgserver"
)

// Slot is the replication slot that keeps the log until the archive has it.
const Slot = "moneta_archive"

const (
	ownerFile = "owner"
	partial   = ".partial"
)

var segmentName = regexp.MustCompile(`^[0-9A-F]{24}(\.partial)?$`)

// Archive is a folder of log segments that belongs to one cluster. The newest
// segment is partial and grows with every commit.
type Archive struct{ Dir string }

// Holding is what an archive has.
type Holding struct {
	Segments int
	Bytes    int64
	// Oldest and Newest are when the first and the last segment were last written.
	Oldest, Newest time.Time
}

// Claim makes the folder, for the cluster in dataDir alone.
func (a Archive) Claim(dataDir string) error {
	if err := os.MkdirAll(a.Dir, 0o700); err != nil {
		return fmt.Errorf("basebackup: archive: %w", err)
	}
	path := filepath.Join(a.Dir, ownerFile)
	owner, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := Empty(a.Dir); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(dataDir), 0o600); err != nil {
			return fmt.Errorf("basebackup: archive: %w", err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("basebackup: archive: %w", err)
	}
	if string(owner) != dataDir {
		return fmt.Errorf("basebackup: archive %s belongs to the cluster in %s: give another folder", a.Dir, owner)
	}
	return nil
}

// Receiver returns the program and arguments that copy the log as it is written,
// commit by commit. Whoever runs it starts it again when it ends.
func (a Archive) Receiver(bin pgserver.Binaries, dsn string) (path string, args []string) {
	return filepath.Join(bin.Dir, "pg_receivewal"),
		[]string{"-d", dsn, "-D", a.Dir, "--slot=" + Slot, "--synchronous", "--no-loop", "--no-password"}
}

// KeepLog makes the slot, so that nothing is lost while the receiver is down. A
// slot that the server gave up is made anew, and reported: the archive has a gap.
func KeepLog(ctx context.Context, conn *pgx.Conn) (gap bool, err error) {
	var status *string
	err = conn.QueryRow(ctx, `select wal_status from pg_replication_slots where slot_name = $1`, Slot).Scan(&status)
	if err == nil && (status == nil || *status != "lost") {
		return false, nil
	}
	if err == nil {
		if err := DropLog(ctx, conn); err != nil {
			return true, err
		}
		gap = true
	} else if !errors.Is(err, pgx.ErrNoRows) {
		return false, fmt.Errorf("basebackup: look for the slot: %w", err)
	}
	if _, err := conn.Exec(ctx, `select pg_create_physical_replication_slot($1, true)`, Slot); err != nil {
		return gap, fmt.Errorf("basebackup: make the slot: %w", err)
	}
	return gap, nil
}

// DropLog lets go of the log when nobody archives it any more: a slot without a
// reader fills the disk.
func DropLog(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, `select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1 and not active`, Slot)
	if err != nil {
		return fmt.Errorf("basebackup: drop the slot: %w", err)
	}
	return nil
}

// segments lists the segments by name, which is their order.
func (a Archive) segments() ([]fs.FileInfo, error) {
	entries, err := os.ReadDir(a.Dir)
	if err != nil {
		return nil, fmt.Errorf("basebackup: archive: %w", err)
	}
	var found []fs.FileInfo
	for _, e := range entries {
		if !segmentName.MatchString(e.Name()) {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // completed, and so renamed, meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("basebackup: archive: %w", err)
		}
		found = append(found, info)
	}
	return found, nil
}

// Holding tells what the archive has now.
func (a Archive) Holding() (Holding, error) {
	var h Holding
	found, err := a.segments()
	for i, s := range found {
		if i == 0 {
			h.Oldest = s.ModTime()
		}
		h.Segments++
		h.Bytes += s.Size()
		h.Newest = s.ModTime()
	}
	return h, err
}

// Prune removes the oldest complete segments while the archive is larger than
// most bytes. Backups from before what is left restore no further than themselves.
func (a Archive) Prune(most int64) (removed int, err error) {
	found, err := a.segments()
	if err != nil {
		return 0, err
	}
	var total int64
	for _, s := range found {
		total += s.Size()
	}
	for _, s := range found {
		if total <= most || strings.HasSuffix(s.Name(), partial) {
			break
		}
		if err := os.Remove(filepath.Join(a.Dir, s.Name())); err != nil {
			return removed, fmt.Errorf("basebackup: archive: %w", err)
		}
		total -= s.Size()
		removed++
	}
	return removed, nil
}

// after returns the names from segment first on, and ErrGap when one is missing.
func (a Archive) after(have []string) ([]string, error) {
	found, err := a.segments()
	if err != nil {
		return nil, err
	}
	first, last := have[0], have[len(have)-1]
	var names []string
	for _, s := range found {
		if bare := strings.TrimSuffix(s.Name(), partial); bare >= first && !slices.Contains(names, bare) {
			names = append(names, s.Name())
		}
	}
	next := last
	for _, name := range names {
		bare := strings.TrimSuffix(name, partial)
		if bare <= last {
			continue
		}
		if next = following(next); bare != next {
			return nil, fmt.Errorf("basebackup: %w: %s is missing before %s", ErrGap, next, bare)
		}
	}
	return names, nil
}

// following names the segment after name; segments have 16 MiB, as initdb makes them.
func following(name string) string {
	log, err1 := strconv.ParseUint(name[8:16], 16, 32)
	seg, err2 := strconv.ParseUint(name[16:24], 16, 32)
	if err1 != nil || err2 != nil {
		return "" // cannot be: the name matched
	}
	if seg++; seg > 0xFF {
		log, seg = log+1, 0
	}
	return fmt.Sprintf("%s%08X%08X", name[:8], log, seg)
}
