package prove

import (
	"bufio"
	"cmp"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/money"
)

// spoolRun is how many movements are sorted in memory at once: about 40 MB.
const spoolRun = 150_000

// entry is a movement with what it quotes; payment 0 quotes none of ours.
type entry struct {
	Payment, Attempt int64
	Channel          string
	Effect
}

// packed is an entry as a run has it.
type packed struct {
	Payment, Attempt, Hi, FeeHi, At          int64
	Lo, FeeLo                                uint64
	Channel, Reference, Direction, Asset, ID string
	Return                                   bool
}

func (e *entry) pack() (k packed) {
	k = packed{
		Payment: e.Payment, Attempt: e.Attempt, At: e.At.UnixNano(), Channel: e.Channel, Reference: e.Reference, Direction: e.Direction,
		Asset: e.Asset, ID: e.ID, Return: e.Return,
	}
	k.Hi, k.Lo = e.Amount.Parts()
	k.FeeHi, k.FeeLo = e.Fee.Parts()
	return k
}

func (k *packed) entry() *entry {
	return &entry{Payment: k.Payment, Attempt: k.Attempt, Channel: k.Channel, Effect: Effect{
		Reference: k.Reference, Direction: k.Direction, Return: k.Return, Amount: money.FromParts(k.Hi, k.Lo), Fee: money.FromParts(k.FeeHi, k.FeeLo),
		Asset: k.Asset, At: time.Unix(0, k.At).UTC(), ID: k.ID,
	}}
}

// spool sorts the rails' movements by payment, on disk when they are many: the rails
// tell them in the order of time, the payments are walked in the order of their ids.
type spool struct {
	dir string
	max int

	mu    sync.Mutex
	runs  []*spoolFile
	chunk []entry
}

type spoolFile struct {
	file *os.File
	in   *gob.Decoder
	head *entry
}

func newSpool(dir string, most int) *spool { return &spool{dir: dir, max: most} }

func before(a, b *entry) int {
	return cmp.Or(cmp.Compare(a.Payment, b.Payment), cmp.Compare(a.Attempt, b.Attempt), cmp.Compare(a.Channel, b.Channel), a.At.Compare(b.At))
}

// add takes a movement; it is safe for concurrent use.
func (s *spool) add(e entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.chunk = append(s.chunk, e)
	if len(s.chunk) < s.max {
		return nil
	}
	return s.flush()
}

func (s *spool) sort() {
	slices.SortStableFunc(s.chunk, func(a, b entry) int { return before(&a, &b) })
}

// flush writes the chunk as one sorted run.
func (s *spool) flush() (err error) {
	s.sort()
	f, err := os.CreateTemp(s.dir, "moneta-prove-*")
	if err != nil {
		return fmt.Errorf("room for sorting: %w", err)
	}
	s.runs = append(s.runs, &spoolFile{file: f})
	// Nobody else needs its name, and a crash leaves nothing behind.
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	out := gob.NewEncoder(w)
	for i := range s.chunk {
		if err := out.Encode(s.chunk[i].pack()); err != nil {
			return fmt.Errorf("room for sorting: %w", err)
		}
	}
	s.chunk = s.chunk[:0]
	return w.Flush()
}

// rewind ends adding; next may be called from now on.
func (s *spool) rewind() error {
	s.sort()
	for _, r := range s.runs {
		if _, err := r.file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		r.in = gob.NewDecoder(bufio.NewReaderSize(r.file, 256<<10))
		if err := r.pull(); err != nil {
			return err
		}
	}
	return nil
}

func (r *spoolFile) pull() error {
	var k packed
	err := r.in.Decode(&k)
	if errors.Is(err, io.EOF) {
		r.head = nil
		return nil
	}
	r.head = k.entry()
	return err
}

// next returns the first movement whose payment is at most upTo; nil when none is.
func (s *spool) next(upTo int64) (*entry, error) {
	var least *entry
	var from *spoolFile
	if len(s.chunk) > 0 {
		least = &s.chunk[0]
	}
	for _, r := range s.runs {
		if r.head != nil && (least == nil || before(r.head, least) < 0) {
			least, from = r.head, r
		}
	}
	if least == nil || least.Payment > upTo {
		return nil, nil
	}
	if from == nil {
		s.chunk = s.chunk[1:]
		return least, nil
	}
	return least, from.pull()
}

func (s *spool) close() {
	for _, r := range s.runs {
		_ = r.file.Close() // it has no name any more
	}
}

// age of t at the snapshot, in words for a finding.
func (p *prover) age(t time.Time) string { return p.at.Sub(t).Round(time.Second).String() }
