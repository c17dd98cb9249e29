// Package postgres watches one Postgres from inside and from its door, and tells what
// it saw as signals: who blocks whom and since when, what waits for the disk, what fills
// it, and what is not as it was at the first look. It only reads; it refuses to cancel,
// to terminate and to change a setting, it never shows a literal of anybody's statement,
// and it gives up after a deadline rather than wait with the patient.
//
// Locks, transactions and snapshots are those of the one database that the address names;
// the log, the disk and the connections are the whole server's, whoever uses them.
//
// One connection is opened at the start and kept, so that a server whose connections are
// used up is still seen. Three collectors share the work: Activity on that connection
// each second, Storage on the same each five, and Door, which opens a fresh connection
// each two seconds and says why when it cannot.
//
// What it costs (BenchmarkLook, Postgres 15 with our schema, two loud cores, time on the
// wall): Activity 20 ms for 9 short statements, beside the 120 ms in which it rests between
// its samples; Storage 16 ms, most of it the definitions of a hundred indexes; Door 7 ms,
// most of it the server's new process. Together that is 2.7 % of one processor at most,
// and a few hundred rows a second.
//
// Each statement of ours is a transaction of its own and counts among the commits: about
// ten a second, which is what an idle database shows.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/internal/clock"
)

// How often each collector looks.
const (
	ActivityEvery = time.Second
	DoorEvery     = 2 * time.Second
	StorageEvery  = 5 * time.Second
)

const (
	// statementMax is the server's own bound of one statement: it ends the statement and
	// keeps the connection, which may be the last that can be had.
	statementMax = "700ms"
	// lookMax bounds a look from our side, for a server that does not even do that.
	lookMax = 4 * time.Second
	// connectMax bounds a fresh connection with its first answer.
	connectMax = 3 * time.Second
	// Application is how our sessions call themselves.
	Application = "moneta watch"
)

// Config says what to watch.
type Config struct {
	// DSN of the database; its role should be a member of pg_monitor, or it sees its own
	// sessions only.
	DSN string
	// Hop is the name of the database on the road; empty is doctor.HopPostgres.
	Hop string
	// Clock tells the time; nil means the system's.
	Clock clock.Clock
}

// Source is one Postgres that is watched. Close it at the end.
type Source struct {
	cfg  Config
	conf *pgx.ConnConfig
	turn chan struct{} // one holds the kept connection at a time
	kept *pgx.Conn     // nil while there is none

	activity activity
	storage  storage

	mu      sync.Mutex
	noSpace string // what the server said when its disk was full; until it was told
	scarce  string // what the disk has left, while that is as good as nothing
}

// New returns a source that connects at its first look. An error says what is wrong
// with the address.
func New(cfg Config) (*Source, error) {
	conf, err := pgx.ParseConfig(cfg.DSN)
	if err != nil {
		return nil, fmt.Errorf("the database's address: %w", err)
	}
	if cfg.Hop == "" {
		cfg.Hop = doctor.HopPostgres
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	conf.ConnectTimeout = connectMax
	rp := conf.RuntimeParams
	rp["application_name"], rp["statement_timeout"], rp["lock_timeout"] = Application, statementMax, "500ms"
	rp["search_path"] = "pg_catalog"
	// Each statement stands alone: nothing of ours is prepared, held or left behind.
	conf.DefaultQueryExecMode = pgx.QueryExecModeExec
	s := &Source{cfg: cfg, conf: conf, turn: make(chan struct{}, 1)}
	s.activity.source, s.storage.source = s, s
	return s, nil
}

// Collectors are all three.
func (s *Source) Collectors() []doctor.Collector {
	return []doctor.Collector{&s.activity, &door{source: s}, &s.storage}
}

// Close ends the kept connection.
func (s *Source) Close(ctx context.Context) error {
	if err := s.take(ctx); err != nil {
		return err
	}
	defer s.give()
	if s.kept == nil {
		return nil
	}
	conn := s.kept
	s.kept = nil
	return conn.Close(ctx)
}

func (s *Source) take(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Source) give() { <-s.turn }

// with runs the parts of a look on the kept connection, opening it when it is gone. None
// is begun after ctx, but one that runs then is not cut off: a statement that is cut off
// from our side takes its connection with it, and there may be no other to be had. The
// server ends it, and lookMax bounds what even the server does not.
func (s *Source) with(ctx context.Context, parts ...func(ctx context.Context, conn *pgx.Conn) error) error {
	if err := s.take(ctx); err != nil {
		return fmt.Errorf("the connection is busy: %w", err)
	}
	defer s.give()
	outer := ctx
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookMax)
	defer cancel()
	if s.kept == nil || s.kept.IsClosed() {
		conn, err := pgx.ConnectConfig(ctx, s.conf.Copy())
		if err != nil {
			s.kept = nil
			return fmt.Errorf("connect: %s: %w", why(err), err)
		}
		s.kept = conn
	}
	var all []error
	for _, part := range parts {
		if outer.Err() != nil {
			all = append(all, fmt.Errorf("not all was looked at: %w", outer.Err()))
			break
		}
		if s.kept.IsClosed() {
			all = append(all, errors.New("the connection is gone"))
			break
		}
		all = append(all, part(ctx, s.kept))
	}
	err := errors.Join(all...)
	s.remember(err)
	return err
}

// remember notes that the server itself said that its disk is full.
func (s *Source) remember(err error) {
	if codeOf(err) != diskFull {
		return
	}
	s.mu.Lock()
	s.noSpace = err.Error()
	s.mu.Unlock()
}

// fullDisk says why the server's disk is full, or "".
func (s *Source) fullDisk() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	said := s.noSpace
	s.noSpace = ""
	if said == "" {
		said = s.scarce
	}
	return said
}

func (s *Source) setScarce(why string) {
	s.mu.Lock()
	s.scarce = why
	s.mu.Unlock()
}

// sight is a look in the making.
type sight struct {
	doctor.Look
	hop string
	at  time.Time
}

func (s *Source) sight() *sight {
	return &sight{
		Look: doctor.Look{Hops: []doctor.Hop{{Name: s.cfg.Hop, Kind: doctor.Database}}},
		hop:  s.cfg.Hop, at: s.cfg.Clock.Now(),
	}
}

// tell adds a point. What is no number, or below zero by the rounding of two clocks, is
// none: a counter that was reset says nothing about this second.
func (l *sight) tell(signal doctor.Signal, value float64, source string, detail map[string]string) {
	l.tellOf(signal, "", value, source, detail)
}

func (l *sight) tellOf(signal doctor.Signal, statistic string, value float64, source string, detail map[string]string) {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return
	}
	l.Points = append(l.Points, doctor.Point{
		Hop: l.hop, Signal: signal, Statistic: statistic, Value: max(value, 0), At: l.at, Source: source, Detail: detail,
	})
}

// note keeps what went wrong with one part of a look; the other parts are told.
func (l *sight) note(part string, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s: %w", part, err)
	if code := codeOf(err); code == "42501" { // insufficient_privilege
		l.Notes = append(l.Notes, part+": the role may not see it; grant pg_monitor to it")
	}
	return err
}

func yes(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
