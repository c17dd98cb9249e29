// Package journal keeps what the doctor saw and did, on plain files, so that it is
// there when the database is the patient: an append-only chain of entries, each on the
// disk before it is acknowledged. Incidents are a fold over it and nothing else. It
// refuses a second writer, an entry that closes an incident without a proof, and to
// pass over damage in silence; it knows nothing of causes and acts.
package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/internal/clock"
)

// ErrBusy says that another process writes this journal.
var ErrBusy = errors.New("another process writes this journal")

// ErrNotKept says that the disk did not take an entry in time. The entry has its number,
// is held in memory and is written as soon as the disk takes it; only if the process
// ends before is it lost.
var ErrNotKept = errors.New("the journal's disk did not take the entry yet; it is held in memory")

// ErrLost says that an entry was refused: the disk takes nothing and as much is held in
// memory as there is room for.
var ErrLost = errors.New("the journal is full and its disk takes nothing: the entry is lost")

// ErrRefused says that an entry may not stand in the journal; the message says why.
var ErrRefused = errors.New("not an entry that the journal takes")

// ErrClosed says that the journal was closed.
var ErrClosed = errors.New("the journal is closed")

// Options of OpenWith. The zero value is what Open takes.
type Options struct {
	// SegmentBytes is how long a file gets, 4 MiB by default; Segments how many are kept,
	// 64 by default. An older one goes unless an incident in it is still open; twice as
	// many is the end in any case.
	SegmentBytes int64
	Segments     int
	// Held bounds the entries in memory while the disk takes nothing, 4,096 by default.
	Held int
	// Retry is how often a disk that refused is tried again, a second by default.
	Retry time.Duration
	// Clock dates the entries that bring no time; the system's by default.
	Clock clock.Clock

	create func(path string) (file, error) // replaced by tests of a bad disk
}

// file is what is needed of an open segment.
type file interface {
	Write(b []byte) (int, error)
	Sync() error
	Truncate(size int64) error
	Close() error
}

// Health is how the journal itself fares.
type Health struct {
	// Last is the newest entry, Kept the newest on the disk.
	Last uint64 `json:"last"`
	Kept uint64 `json:"kept"`
	// Refusing is what the disk says since Since, empty when it takes everything.
	Refusing string    `json:"refusing,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	// Held are the entries in memory only, Lost those that found no room there.
	Held int `json:"held"`
	Lost int `json:"lost"`
	// LeftOut are follow-ups that nobody had done, of incidents too old to be kept in memory.
	LeftOut int `json:"left_out,omitempty"`
	// Torn is the unfinished line that was cut at the start, in bytes; Damage is what was
	// found then.
	Torn   int64    `json:"torn,omitempty"`
	Damage []Damage `json:"damage,omitempty"`
}

// Journal is the one writer. All methods may be called by several goroutines.
type Journal struct {
	dir  string
	opt  Options
	lock *os.File

	mu     sync.Mutex
	fold   *Folder
	recent []doctor.Entry // the newest, for followers in this process
	held   []held
	health Health
	hash   string // of the newest entry, held ones included
	closed bool

	wake chan struct{}
	done chan struct{}
	disk disk // the writing goroutine's alone
}

// held is an entry that is not on the disk yet.
type held struct {
	seq  uint64
	prev string
	text []byte
	kept chan error // told once
}

const recentMost = 4096

// Open opens the journal in dir, which is made if need be, as its one writer.
func Open(dir string) (*Journal, error) { return OpenWith(dir, Options{}) }

// OpenWith is Open with other bounds. A torn last line is cut; it and any damage stand
// in Health and, once, in the journal.
func OpenWith(dir string, opt Options) (*Journal, error) {
	opt = opt.orDefaults()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("the journal's folder: %w", err)
	}
	l, err := takeLock(dir)
	if err != nil {
		return nil, err
	}
	j := &Journal{dir: dir, opt: opt, lock: l, fold: NewFolder(closedKept), hash: genesis, wake: make(chan struct{}, 1), done: make(chan struct{})}
	if err := j.recover(); err != nil {
		_ = l.Close()
		return nil, err
	}
	go j.write()
	return j, nil
}

func (o Options) orDefaults() Options {
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = 4 << 20
	}
	if o.Segments <= 0 {
		o.Segments = 64
	}
	if o.Held <= 0 {
		o.Held = 4096
	}
	if o.Retry <= 0 {
		o.Retry = time.Second
	}
	if o.Clock == nil {
		o.Clock = clock.System
	}
	if o.create == nil {
		o.create = createSegment
	}
	return o
}

// takeLock makes this process the one writer.
func takeLock(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the journal's lock: %w", err)
	}
	if err := lock(f); err != nil {
		who, _ := os.ReadFile(path)
		_ = f.Close()
		return nil, fmt.Errorf("%w: %s, process %s", ErrBusy, dir, strings.TrimSpace(string(who)))
	}
	// Only for the message above; the lock holds without it, also on a full disk.
	_ = f.Truncate(0)
	_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return f, nil
}

// Append puts an entry at the end and returns it with its number once it is on the disk.
// With ErrNotKept it has a number too, and is in memory. The entry is dated now when it
// brings no time. An entry that closes an incident against SOP-15 is refused.
func (j *Journal) Append(ctx context.Context, e doctor.Entry) (doctor.Entry, error) {
	return j.AppendOf(ctx, e.Incident, func(*doctor.Incident) (doctor.Entry, error) { return e, nil })
}

// AppendOf is Append of an entry that is made from its incident as it stands, nil when there
// is none: nothing comes between the two. The incident is to be read only. An error of the making is returned as it is.
func (j *Journal) AppendOf(ctx context.Context, incident string, entry func(*doctor.Incident) (doctor.Entry, error)) (doctor.Entry, error) {
	e, kept, err := j.put(incident, entry)
	if err != nil {
		return e, err
	}
	select {
	case err = <-kept:
	case <-ctx.Done():
		err = fmt.Errorf("%w: %w", ErrNotKept, ctx.Err())
	}
	return e, err
}

// put makes the entry, numbers it and hands it to the writing goroutine.
func (j *Journal) put(incident string, entry func(*doctor.Incident) (doctor.Entry, error)) (e doctor.Entry, kept <-chan error, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return e, nil, ErrClosed
	}
	if e, err = entry(j.fold.byID[incident]); err != nil {
		return e, nil, err
	}
	return j.enter(e)
}

// enter is put under the lock.
func (j *Journal) enter(e doctor.Entry) (doctor.Entry, <-chan error, error) {
	if len(j.held) >= j.opt.Held {
		j.health.Lost++
		return e, nil, ErrLost
	}
	e.Seq = j.health.Last + 1
	if e.At.IsZero() {
		e.At = j.opt.Clock.Now()
	}
	e.At = e.At.UTC().Round(0)
	if err := j.fold.Refuses(e); err != nil {
		return e, nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	body, err := json.Marshal(e)
	if err != nil {
		return e, nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if len(body) > lineMax {
		return e, nil, fmt.Errorf("%w: %d bytes, at most %d", ErrRefused, len(body), lineMax)
	}
	// What is folded is what a reader will read.
	var same doctor.Entry
	if err := json.Unmarshal(body, &same); err != nil {
		return e, nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	text, hash := writeLine(j.hash, entryKey, body)
	kept := make(chan error, 1)
	j.held = append(j.held, held{seq: e.Seq, prev: j.hash, text: text, kept: kept})
	j.hash, j.health.Last = hash, e.Seq
	j.remember(same)
	select {
	case j.wake <- struct{}{}:
	default:
	}
	return same, kept, nil
}

func (j *Journal) remember(e doctor.Entry) {
	j.fold.Add(e)
	j.recent = append(j.recent, e)
	if len(j.recent) > 2*recentMost {
		j.recent = append(j.recent[:0:0], j.recent[len(j.recent)-recentMost:]...)
	}
}

// Since returns up to limit entries after one, from memory where it has them; those that
// the disk did not take yet are among them.
func (j *Journal) Since(after uint64, limit int) ([]doctor.Entry, error) {
	j.mu.Lock()
	if n := len(j.recent); n > 0 && after+1 >= j.recent[0].Seq {
		i := min(int(after+1-j.recent[0].Seq), n)
		out := append([]doctor.Entry(nil), j.recent[i:min(n, i+limit)]...)
		j.mu.Unlock()
		return out, nil
	}
	j.mu.Unlock()
	r := NewReader(j.dir, after)
	defer func() { _ = r.Close() }()
	b, err := r.Next(limit)
	return b.Entries, err
}

// Between returns the newest entries, up to limit, from a time until another, both
// included; no time is an open side. Entries have the order of time, so that halving finds
// both ends.
func (j *Journal) Between(from, to time.Time, limit int) ([]doctor.Entry, error) {
	last := j.Health().Last
	var wrong error
	// before is how many entries come before the first for which past is true.
	before := func(past func(time.Time) bool) uint64 {
		return uint64(sort.Search(int(last), func(i int) bool {
			got, err := j.Since(uint64(i), 1)
			if err != nil {
				wrong = err
			}
			return len(got) == 0 || past(got[0].At)
		}))
	}
	begin, end := uint64(0), last
	if !from.IsZero() {
		begin = before(func(at time.Time) bool { return !at.Before(from) })
	}
	if !to.IsZero() {
		end = before(func(at time.Time) bool { return at.After(to) })
	}
	if wrong != nil || begin >= end {
		return nil, wrong
	}
	if end-begin > uint64(limit) {
		begin = end - uint64(limit)
	}
	out, err := j.Since(begin, int(end-begin))
	// Old files may be gone: what comes after one of them is not in the range.
	return slices.DeleteFunc(out, func(e doctor.Entry) bool { return e.Seq > end }), err
}

// Incidents are all that are open, and the last that were closed, oldest first.
func (j *Journal) Incidents() []doctor.Incident {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.fold.Incidents()
}

// Incident is one of them.
func (j *Journal) Incident(id string) (doctor.Incident, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.fold.Incident(id)
}

// Health says how the journal itself fares.
func (j *Journal) Health() Health {
	j.mu.Lock()
	defer j.mu.Unlock()
	h := j.health
	h.Held, h.LeftOut = len(j.held), j.fold.LeftOut()
	return h
}

// Close writes what is held, once more if the disk refused it, and lets the lock go.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil
	}
	j.closed = true
	j.mu.Unlock()
	close(j.wake)
	<-j.done
	err := j.disk.close()
	if h := j.Health(); h.Held > 0 {
		err = errors.Join(err, fmt.Errorf("the journal's disk did not take the last %d entries: %s", h.Held, h.Refusing))
	}
	// Said, not left to the end of the descriptor: a child that is just being started has
	// a copy of it until it runs its own program.
	return errors.Join(err, unlock(j.lock), j.lock.Close())
}
