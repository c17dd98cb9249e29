package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// A server whose log cannot grow panics, and its recovery needs room that is not
// there. So it stops taking writes while there still is some, and a file keeps
// room back for the case that the disk fills faster than anybody looks: reading
// goes on, and writing comes back by itself when room is made.
const (
	diskEvery = 500 * time.Millisecond
	// At 30,000 payments a second the log grows by 31 MB a second and the tables
	// by 20 (docs/performance.md): half a gibibyte is ten seconds of that.
	lowestMin = 64 * mib
	lowestMax = 512 * mib
)

// diskLevels are the bytes free at which writing stops, and comes back. Between
// the two lies the room that a checkpoint gives back and the next seconds take.
type diskLevels struct{ low, high, reserve int64 }

func levelsOf(total int64) diskLevels {
	low := clamp(total/64, lowestMin, lowestMax)
	return diskLevels{low: low, high: 2 * low, reserve: low}
}

// disk measures the file system that holds the data.
func (s *Server) disk() (free, total int64, err error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(s.dir.data, &st); err != nil {
		return 0, 0, fmt.Errorf("pgserver: measure the disk: %w", err)
	}
	return int64(st.Bavail) * int64(st.Bsize), int64(st.Blocks) * int64(st.Bsize), nil //nolint:unconvert // the types differ by platform
}

func (s *Server) reserveFile() string { return filepath.Join(s.dir.root, "reserve") }

// fullConf is read by the server while it exists; its being there is the state.
func (s *Server) fullConf() string { return filepath.Join(s.dir.root, "disk_full.conf") }

// ReadOnly reports whether writing is stopped because the disk is nearly full.
func (s *Server) ReadOnly() bool {
	_, err := os.Stat(s.fullConf())
	return err == nil
}

// guardDisk looks until the supervision ends.
func (s *Server) guardDisk() {
	if s.cfg.Footprint == Small && !s.cfg.GuardDisk {
		return
	}
	tick := time.NewTicker(diskEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.done:
			return
		case <-tick.C:
			if err := s.lookAtDisk(true); err != nil {
				s.log.Error("the disk cannot be guarded", slog.Any("error", err))
			}
		}
	}
}

// lookAtDisk stops or allows writing by what is free, and keeps the reserve.
// Without a running server, what the reserve holds is given to its recovery.
func (s *Server) lookAtDisk(running bool) error {
	s.diskMu.Lock()
	defer s.diskMu.Unlock()
	free, total, err := s.disk()
	if err != nil {
		return err
	}
	levels, stopped := levelsOf(total), s.ReadOnly()
	_, missing := os.Stat(s.reserveFile())
	switch {
	case !running && free < levels.low && missing == nil:
		return s.giveReserve(free)
	case !stopped && free < levels.low:
		return s.stopWriting(free, levels)
	case missing != nil && free >= levels.high+levels.reserve:
		return s.makeReserve(levels.reserve)
	case stopped && missing == nil && free >= levels.high:
		return s.allowWriting(free)
	}
	return nil
}

// giveReserve makes room for a server that died of a full disk: it comes back
// reading only.
func (s *Server) giveReserve(free int64) error {
	if err := os.Remove(s.reserveFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("pgserver: give the reserve: %w", err)
	}
	s.report(EventReserveGiven, 0, megabytes(free)+" were free; the reserve makes room for recovery")
	return s.writeFullConf()
}

func (s *Server) writeFullConf() error {
	return writeOwned(s.fullConf(), "# The disk is nearly full. Moneta removes this file when there is room again.\n"+
		"default_transaction_read_only = on\n", s.who)
}

func (s *Server) stopWriting(free int64, levels diskLevels) error {
	err := s.writeFullConf()
	if err != nil { // no room for a few bytes: take them from the reserve
		if err := s.giveReserve(free); err != nil {
			return err
		}
	}
	s.reload()
	s.report(EventReadOnly, s.Pid(), fmt.Sprintf("%s are free, less than %s: make room on %s, and writing comes back at %s",
		megabytes(free), megabytes(levels.low), s.dir.root, megabytes(levels.high)))
	s.checkpoint() // the log that it makes superfluous may be room enough
	return nil
}

func (s *Server) allowWriting(free int64) error {
	if err := os.Remove(s.fullConf()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("pgserver: allow writing: %w", err)
	}
	s.reload()
	s.report(EventWritable, s.Pid(), megabytes(free)+" are free again")
	return nil
}

// makeReserve allocates the room; a file system that cannot has none.
func (s *Server) makeReserve(size int64) error {
	f, err := os.OpenFile(s.reserveFile(), os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("pgserver: make the reserve: %w", err)
	}
	if err := errors.Join(allocate(f, size), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("pgserver: make the reserve: %w", err), os.Remove(s.reserveFile()))
	}
	return nil
}

// reload lets the server read its configuration again.
func (s *Server) reload() {
	if p := s.current(); p != nil && p.alive() {
		if err := p.process.Signal(syscall.SIGHUP); err != nil {
			s.log.Warn("postgres was not told to read its configuration", slog.Any("error", err))
		}
	}
}

func (s *Server) checkpoint() {
	if s.Pid() == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), immediateWait)
	defer cancel()
	conn, err := s.connect(ctx, "postgres")
	if err == nil {
		_, err = conn.Exec(ctx, "checkpoint")
		_ = conn.Close(ctx)
	}
	if err != nil {
		s.log.Warn("no checkpoint on a full disk", slog.Any("error", err))
	}
}
