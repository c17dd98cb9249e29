package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moneta-pay/moneta/doctor"
)

// Damage is a place where the journal is not what was written. What stands behind it
// is read on; what stood there is gone and is never passed over in silence.
type Damage struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Offset int64  `json:"offset"`
	// After and Before are the entries on both sides that can be read; Before is 0 at
	// the journal's end.
	After  uint64 `json:"after"`
	Before uint64 `json:"before,omitempty"`
	Reason string `json:"reason"`
}

// String is one line for people.
func (d Damage) String() string {
	upto := "the end"
	if d.Before > 0 {
		upto = "entry " + strconv.FormatUint(d.Before, 10)
	}
	return fmt.Sprintf("%s line %d (byte %d), between entry %d and %s: %s", d.File, d.Line, d.Offset, d.After, upto, d.Reason)
}

// Batch is what a Reader found at once.
type Batch struct {
	Entries []doctor.Entry
	Damage  []Damage
	// Gone is how many entries between what was asked for and the first one here were
	// given up to the journal's bound.
	Gone uint64
	// Torn is how many bytes of an unfinished line stand at the end: somebody writes it
	// just now, or died while he did.
	Torn int64
}

const (
	segmentSuffix = ".jsonl"
	readAtOnce    = 256 << 10
)

// Reader reads a journal while it grows. It takes no lock and changes nothing, so that
// it works beside the watch, without it, and on a copy. It is not for several
// goroutines.
type Reader struct {
	dir string
	// after is the last entry that was delivered or skipped; hash is its hash, empty when
	// what comes next cannot be held against it.
	after uint64
	hash  string
	// skip are entries up to which nothing is delivered.
	skip uint64

	file   *os.File
	name   string
	offset int64
	lineNo int
	lost   int // lines that could not be read since the last entry
	// rescan is set while what was delivered already is read again.
	rescan   bool
	pending  *Damage
	room     []byte
	buf      []byte // what of room is not judged yet
	tornSeen int64
}

// NewReader reads what comes after an entry; 0 is everything.
func NewReader(dir string, after uint64) *Reader { return &Reader{dir: dir, skip: after} }

// Close lets the file go.
func (r *Reader) Close() error {
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	return err
}

// Next returns up to limit entries that came since; none when nothing did. Damage comes
// with the entry behind it, or when the journal's end is reached.
func (r *Reader) Next(limit int) (Batch, error) {
	var b Batch
	for len(b.Entries) < limit {
		more, err := r.step(&b, limit)
		if err != nil || !more {
			b.Torn = r.tornSeen
			return b, err
		}
	}
	return b, nil
}

// step reads one piece of the current segment, or goes on to the next; false at the end.
func (r *Reader) step(b *Batch, limit int) (bool, error) {
	if r.file == nil {
		return r.openNext(b)
	}
	if err := r.shrunk(); err != nil {
		return false, err
	}
	n, err := r.fill()
	if err != nil {
		return false, err
	}
	if n > 0 && r.lines(b, limit) {
		return true, nil
	}
	// The end of this segment, perhaps with an unfinished line.
	next, err := r.following()
	if err != nil {
		return false, err
	}
	if next == "" {
		r.tornSeen = int64(len(r.buf))
		if r.pending != nil {
			b.Damage = append(b.Damage, *r.pending)
			r.pending = nil
		}
		return false, nil
	}
	// Whoever began the next one had finished this one: look once more, then leave it.
	if n, err = r.fill(); err != nil {
		return false, err
	}
	if n > 0 && r.lines(b, limit) {
		return true, nil
	}
	if len(r.buf) > 0 {
		r.broken("its last line is cut short")
	}
	return true, r.Close()
}

// fill reads what is behind the offset, at least one line if a whole one is there, and
// returns how much stands in the buffer.
func (r *Reader) fill() (int, error) {
	for size := readAtOnce; ; size *= 2 {
		if len(r.room) < size {
			r.room = make([]byte, size)
		}
		n, err := r.file.ReadAt(r.room[:size], r.offset)
		r.buf = r.room[:n]
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, fmt.Errorf("read the journal: %w", err)
		}
		if n < size || size > 2*lineMax || bytes.IndexByte(r.buf, '\n') >= 0 {
			return n, nil
		}
	}
}

// lines takes whole lines out of the buffer; false when there is none.
func (r *Reader) lines(b *Batch, limit int) bool {
	found := false
	for len(b.Entries) < limit {
		i := bytes.IndexByte(r.buf, '\n')
		if i < 0 {
			if len(r.buf) > 2*lineMax { // no line is that long: pass it, and say so
				r.broken("a line without an end")
				r.offset += int64(len(r.buf))
				r.buf = r.buf[:0]
				return true
			}
			return found
		}
		found = true
		r.lineNo++
		r.take(b, r.buf[:i])
		r.offset += int64(i) + 1
		r.buf = r.buf[i+1:]
	}
	return found
}

// take judges one line.
func (r *Reader) take(b *Batch, text []byte) {
	l, err := readLine(text)
	switch {
	case err != nil:
		r.broken(err.Error())
		r.lost++
		return
	case l.header != nil:
		r.begin(b, l)
		return
	case l.entry.Seq <= r.after && r.after > 0:
		if again := l.entry.Seq == r.after && l.hash == r.hash; !again && (!r.rescan || l.entry.Seq == r.after) {
			r.broken(fmt.Sprintf("entry %d stands here again", l.entry.Seq))
		}
		return
	}
	e := l.entry
	follows := r.hash == "" || l.prev == r.hash
	if (r.after > 0 && e.Seq != r.after+1) || !follows {
		r.broken("what follows does not belong to what stands before")
	}
	if r.pending != nil {
		r.pending.Before = e.Seq
		b.Damage = append(b.Damage, *r.pending)
		r.pending = nil
	}
	r.after, r.hash, r.lost, r.rescan = e.Seq, l.hash, 0, false
	if e.Seq > r.skip {
		b.Entries = append(b.Entries, *e)
	}
}

// begin is the first line of a segment.
func (r *Reader) begin(b *Batch, l line) {
	first := l.header.First
	switch {
	case first != firstOf(r.name):
		r.broken("a segment has another's name")
		return
	case r.after > 0 && first <= r.after: // the writer took back what was seen, and writes it again
		r.rescan = true
		return
	}
	if r.after == 0 { // the oldest that is here
		if first > r.skip+1 {
			b.Gone = first - r.skip - 1
		}
		r.hash = l.prev
		if first > 1 {
			r.after = first - 1
		}
		return
	}
	if first != r.after+1 || (r.hash != "" && l.prev != r.hash) {
		if r.hash != "" && l.prev == r.hash && first > r.after { // the writer says what was lost
			r.broken(fmt.Sprintf("entries %d to %d cannot be read", r.after+1, first-1))
			r.after = first - 1
			return
		}
		r.broken("a segment is missing, or is not the one that was written")
		r.hash = ""
	}
}

// broken remembers where the reading went wrong first since the last good entry.
func (r *Reader) broken(reason string) {
	if r.pending == nil {
		r.pending = &Damage{File: r.name, Line: max(r.lineNo, 1), Offset: r.offset, After: r.after, Reason: reason}
	}
}

// shrunk notices that the writer took back what it could not make durable.
func (r *Reader) shrunk() error {
	info, err := r.file.Stat()
	if err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	if info.Size() < r.offset {
		r.offset, r.lineNo, r.buf, r.rescan = 0, 0, r.buf[:0], true
	}
	return nil
}

// openNext opens the segment that holds the next entry; false when there is none.
func (r *Reader) openNext(b *Batch) (bool, error) {
	names, err := segments(r.dir)
	if err != nil || len(names) == 0 {
		return false, err
	}
	var name string
	if r.name == "" {
		name = names[0]
		for _, n := range names { // the last that begins at or before what is asked for
			if firstOf(n) <= r.skip+1 {
				name = n
			}
		}
	} else if name = nextOf(names, r.name); name == "" {
		if r.pending != nil {
			b.Damage = append(b.Damage, *r.pending)
			r.pending = nil
		}
		return false, nil
	}
	f, err := os.Open(filepath.Join(r.dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return true, nil // given up between the two: look again
	}
	if err != nil {
		return false, fmt.Errorf("read the journal: %w", err)
	}
	r.file, r.name, r.offset, r.lineNo, r.buf, r.tornSeen = f, name, 0, 0, nil, 0
	return true, nil
}

func (r *Reader) following() (string, error) {
	names, err := segments(r.dir)
	return nextOf(names, r.name), err
}

func nextOf(names []string, name string) string {
	for _, n := range names {
		if n > name {
			return n
		}
	}
	return ""
}

// segments are the names of the segment files, oldest first.
func segments(dir string) ([]string, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	var out []string
	for _, f := range files {
		if name := f.Name(); strings.HasSuffix(name, segmentSuffix) && firstOf(name) > 0 {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out, nil
}

func segmentName(first uint64) string { return fmt.Sprintf("%020d%s", first, segmentSuffix) }

// firstOf is the entry that a segment begins with, by its name; 0 for no segment.
func firstOf(name string) uint64 {
	n, err := strconv.ParseUint(strings.TrimSuffix(name, segmentSuffix), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Read reads a journal from after to its end, in batches of the same Reader. It stops
// when each returns false.
func Read(dir string, after uint64, each func(doctor.Entry) bool) (Batch, error) {
	r := NewReader(dir, after)
	defer func() { _ = r.Close() }()
	var all Batch
	for {
		b, err := r.Next(1024)
		all.Damage = append(all.Damage, b.Damage...)
		all.Gone += b.Gone
		all.Torn = b.Torn
		if err != nil {
			return all, err
		}
		for _, e := range b.Entries {
			if !each(e) {
				return all, nil
			}
		}
		if len(b.Entries) == 0 {
			return all, nil
		}
	}
}
