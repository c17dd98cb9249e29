// Package pgfence keeps a process on the newest history of its database that it has
// seen. A standby that is promoted and a restored backup each begin a new timeline; a
// primary that comes back after its standby took its place still takes writes, and
// whoever connects to it by a list of hosts would store money in a past that is over.
// Each new connection is asked which history it leads to, before it is used.
//
// It refuses to decide which of two servers is the right one: the newer timeline of one
// system is, and another system is refused. It fences this process only; the old primary
// itself is cut off by whoever runs the machines (docs/runbooks.md).
package pgfence

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// History names one history of a database; the zero value is none.
type History struct {
	// System is Postgres' system identifier, the same for a primary and its standbys.
	System int64 `json:"system"`
	// Timeline counts promotions and restores.
	Timeline int32 `json:"timeline"`
}

func (h History) String() string { return fmt.Sprintf("system %d timeline %d", h.System, h.Timeline) }

// TimelineSQL is the timeline that is written now, on a server that is not in recovery.
// The control file would tell it only from the first checkpoint after a promotion on.
const TimelineSQL = `('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int`

const systemSQL = `(select system_identifier from pg_control_system())`

// Read asks a primary which history it writes.
func Read(ctx context.Context, conn *pgx.Conn) (h History, err error) {
	if err := conn.QueryRow(ctx, `select `+systemSQL+`, `+TimelineSQL).Scan(&h.System, &h.Timeline); err != nil {
		return h, fmt.Errorf("read the database's history: %w", err)
	}
	return h, nil
}

// Errors of a connection that is not used. The next host of the list is tried.
var (
	// ErrOld is a server whose place another one has taken.
	ErrOld = errors.New("an old primary: its place has been taken, and what it stores is lost; cut it off")
	// ErrOther is a server of another cluster.
	ErrOther = errors.New("another cluster than before")
)

// Fence knows the newest history. A nil Fence lets everything through.
type Fence struct {
	file string
	log  *slog.Logger

	mu    sync.Mutex
	known History
	newer []func()
}

// New makes a fence that remembers in file what it sees, so that a process that is
// started anew does not begin with the past. Without a name it has seen known, and
// remembers nothing. Errors: a file that is there and cannot be read.
func New(file string, known History, log *slog.Logger) (*Fence, error) {
	f := &Fence{file: file, log: log}
	if file == "" {
		f.known = known
		return f, nil
	}
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read which history the database had: %w", err)
	}
	if err := json.Unmarshal(raw, &f.known); err != nil || f.known.System == 0 || f.known.Timeline < 1 {
		return nil, fmt.Errorf("%s does not say which history the database had; look which server is the primary, then remove the file: %w", file, errors.Join(err, ErrOther))
	}
	return f, nil
}

// Known is the newest history that was seen, zero before the first connection.
func (f *Fence) Known() History {
	if f == nil {
		return History{}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known
}

// OnNewer has act called, once for each newer history, after the process has begun with
// another: connections that lead to the old one are to be let go.
func (f *Fence) OnNewer(act func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.newer = append(f.newer, act)
}

// lookWithin bounds the question to one host: one that does not answer is no primary.
const lookWithin = 2 * time.Second

// Look asks every host of the configuration before the first is used, so that who has
// seen nothing begins with the newest that answers, whatever the order of the list.
// Errors: ErrOther when they are primaries of different clusters.
func (f *Fence) Look(ctx context.Context, cfg *pgconn.Config) error {
	if len(cfg.Fallbacks) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	hosts := append([]*pgconn.FallbackConfig{{Host: cfg.Host, Port: cfg.Port, TLSConfig: cfg.TLSConfig}}, cfg.Fallbacks...)
	found := make([]History, len(hosts))
	var wait sync.WaitGroup
	for i, host := range hosts {
		one := cfg.Copy()
		one.Host, one.Port, one.TLSConfig, one.Fallbacks, one.ValidateConnect = host.Host, host.Port, host.TLSConfig, nil, nil
		wait.Go(func() {
			conn, err := pgconn.ConnectConfig(ctx, one)
			if err != nil {
				return
			}
			defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
			if h, recovering, err := ask(ctx, conn); err == nil && !recovering {
				found[i] = h
			}
		})
	}
	wait.Wait()
	slices.SortFunc(found, func(a, b History) int { return cmp.Compare(b.Timeline, a.Timeline) })
	for _, h := range found {
		if h == (History{}) {
			continue
		}
		if err := f.judge(h); err != nil && !errors.Is(err, ErrOld) {
			return err
		}
	}
	return nil
}

// Guard has every new connection of the configuration asked. A standby is left to
// target_session_attrs: it takes no writes.
func (f *Fence) Guard(cfg *pgconn.Config) {
	if f == nil {
		return
	}
	before := cfg.ValidateConnect
	cfg.ValidateConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		if before != nil {
			if err := before(ctx, conn); err != nil {
				return err
			}
		}
		h, recovering, err := ask(ctx, conn)
		if err != nil || recovering {
			return err
		}
		return f.judge(h)
	}
}

// ask is Read below the level of sessions. The functions of a primary fail on a standby,
// so that the case decides.
func ask(ctx context.Context, conn *pgconn.PgConn) (h History, recovering bool, err error) {
	results, err := conn.Exec(ctx, `select pg_is_in_recovery(), `+systemSQL+`, case when pg_is_in_recovery() then 0 else `+TimelineSQL+` end`).ReadAll()
	if err != nil {
		return h, false, fmt.Errorf("read the database's history: %w", err)
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) != 3 {
		return h, false, errors.New("read the database's history: no answer")
	}
	row := results[0].Rows[0]
	system, err := strconv.ParseInt(string(row[1]), 10, 64)
	timeline, err2 := strconv.ParseInt(string(row[2]), 10, 32)
	if err := errors.Join(err, err2); err != nil {
		return h, false, fmt.Errorf("read the database's history: %w", err)
	}
	return History{system, int32(timeline)}, string(row[0]) == "t", nil
}

// judge lets the newest history through, and remembers it before anything is written
// there.
func (f *Fence) judge(h History) error {
	left, err := f.admit(h)
	for _, act := range left {
		act()
	}
	return err
}

// admit returns what is to be done when h is newer than what was known.
func (f *Fence) admit(h History) (left []func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.known
	switch {
	case h == was:
		return nil, nil
	case was != (History{}) && h.System != was.System:
		return nil, fmt.Errorf("%w: %s, and it was %s%s", ErrOther, h, was, f.remedy())
	case h.Timeline < was.Timeline:
		return nil, fmt.Errorf("%w: %s, and %s was seen%s", ErrOld, h, was, f.remedy())
	}
	if err := f.remember(h); err != nil {
		f.log.Error("a process that starts anew may begin with an old primary", slog.Any("error", err))
	}
	f.known = h
	if was == (History{}) {
		return nil, nil
	}
	f.log.Error("the database has another history: connections to the old one are let go", slog.String("was", was.String()), slog.String("is", h.String()))
	return f.newer, nil
}

func (f *Fence) remedy() string {
	if f.file == "" {
		return ""
	}
	return "; if this server is meant all the same, remove " + f.file + " on every node"
}

// remember replaces the file; a crash leaves the old one or the new one.
func (f *Fence) remember(h History) error {
	if f.file == "" {
		return nil
	}
	raw, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(f.file), 0o700); err != nil {
		return err
	}
	next, err := os.CreateTemp(filepath.Dir(f.file), ".history-*")
	if err != nil {
		return err
	}
	_, err = next.Write(append(raw, '\n'))
	err = errors.Join(err, next.Sync(), next.Close())
	if err == nil {
		err = os.Rename(next.Name(), f.file)
	}
	if err != nil {
		_ = os.Remove(next.Name())
	}
	return err
}
