package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// disk is the open segment and what is known of it. Crash points: a line is acknowledged
// after Sync returned, so whatever a crash leaves behind the last line feed was promised
// to nobody and is cut; a new segment's first line goes out together with its header, so
// a crash leaves it without one whole entry, and it is begun again.
type disk struct {
	f     file
	name  string
	bytes int64
	// bad is set when nothing may be written behind what stands in the segment.
	bad bool
}

func createSegment(path string) (file, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
}

func (d *disk) close() error {
	if d.f == nil {
		return nil
	}
	err := d.f.Close()
	d.f = nil
	return err
}

// recover reads what is there, cuts a torn last line and opens the last segment.
func (j *Journal) recover() error {
	if err := j.dropUnborn(); err != nil {
		return err
	}
	r := NewReader(j.dir, 0)
	said := map[string]bool{}
	for {
		b, err := r.Next(1024)
		if err != nil {
			_ = r.Close()
			return err
		}
		for _, e := range b.Entries {
			if e.What == doctor.EntryCollector && e.Who == me {
				said[string(e.Data)] = true
			}
			j.remember(e)
		}
		j.health.Damage = append(j.health.Damage, b.Damage...)
		if len(b.Entries) == 0 {
			break
		}
	}
	if err := r.Close(); err != nil {
		return err
	}
	j.health.Torn += r.tornSeen
	j.health.Last = r.after
	if r.hash != "" {
		j.hash = r.hash
	}
	if err := j.resume(r); err != nil {
		return err
	}
	j.health.Kept = j.health.Last
	j.sayFound(said)
	return nil
}

// dropUnborn removes a last segment in which not one line was finished.
func (j *Journal) dropUnborn() error {
	names, err := segments(j.dir)
	if err != nil || len(names) == 0 {
		return err
	}
	path := filepath.Join(j.dir, names[len(names)-1])
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("the journal's last segment: %w", err)
	}
	lines := 0
	for _, c := range b {
		if c == '\n' {
			lines++
		}
	}
	if lines > 1 { // the header and one entry
		return nil
	}
	if lines == 1 { // a header alone, or an entry whose header is damaged: look
		if l, _ := readLine(b[:len(b)-tail(b)-1]); l.header == nil {
			return nil
		}
	}
	j.health.Torn = int64(len(b))
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("the journal's last segment: %w", err)
	}
	return syncDir(j.dir)
}

// tail is the length of what stands behind the last line feed.
func tail(b []byte) int {
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] == '\n' {
			return len(b) - 1 - i
		}
	}
	return len(b)
}

// resume opens the segment that the reader ended in, without what is torn. Behind a
// damaged end a new segment begins, with a number that nobody can have had.
func (j *Journal) resume(r *Reader) error {
	if r.name == "" {
		return nil
	}
	j.health.Last += uint64(r.lost)
	path := filepath.Join(j.dir, r.name)
	f, err := os.OpenFile(path, os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("the journal's last segment: %w", err)
	}
	err = func() error {
		if r.tornSeen > 0 {
			if err := f.Truncate(r.offset); err != nil {
				return err
			}
			if err := f.Sync(); err != nil {
				return err
			}
		}
		_, err := f.Seek(r.offset, io.SeekStart)
		return err
	}()
	if err != nil {
		_ = f.Close()
		return fmt.Errorf("the journal's last segment: %w", err)
	}
	j.disk = disk{f: f, name: r.name, bytes: r.offset, bad: r.lost > 0}
	return nil
}

// me is who says what the journal has to say of itself.
const me = "journal"

// sayFound puts what was found into the journal, each damage once.
func (j *Journal) sayFound(said map[string]bool) {
	var notes []string
	if j.health.Torn > 0 {
		notes = append(notes, fmt.Sprintf("a last line without its end, %d bytes, is cut", j.health.Torn))
	}
	for _, d := range j.health.Damage {
		if d.Before == 0 && j.health.Last > d.After {
			d.Before = j.health.Last + 1 // as every later reader will call it
		}
		notes = append(notes, "damage in "+d.String())
	}
	for _, n := range notes {
		data, _ := json.Marshal(doctor.Note{Text: n})
		if said[string(data)] {
			continue
		}
		e := doctor.Entry{What: doctor.EntryCollector, Who: me, Data: data}
		_, _, _ = j.put("", func(*doctor.Incident) (doctor.Entry, error) { return e, nil }) // what the disk refuses stands in Health
	}
}

// write is the one goroutine that touches the disk; it ends with Close.
func (j *Journal) write() {
	defer close(j.done)
	retry := time.NewTicker(j.opt.Retry)
	defer retry.Stop()
	for open := true; open; {
		if j.refusing() {
			select {
			case <-retry.C:
			case _, open = <-j.wake:
				if open {
					j.answer(nil, errors.New(j.Health().Refusing)) // do not let a new one wait for the tick
					continue
				}
			}
		} else {
			_, open = <-j.wake
		}
		j.flush()
	}
}

func (j *Journal) refusing() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.health.Refusing != ""
}

// writeAtOnce bounds what goes out before a Sync.
const writeAtOnce = 256

// flush writes what is held, in order, until nothing is or the disk refuses.
func (j *Journal) flush() {
	for {
		j.mu.Lock()
		batch := j.held[:min(len(j.held), writeAtOnce):min(len(j.held), writeAtOnce)]
		j.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		n, err := j.out(batch)
		j.answer(batch[:n], err)
		if err != nil {
			return
		}
	}
}

// answer tells those who wait what became of their entries, and keeps the books.
func (j *Journal) answer(kept []held, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range kept {
		tell(&kept[i], nil)
		j.health.Kept = kept[i].seq
	}
	j.held = j.held[len(kept):]
	if err != nil {
		if j.health.Refusing == "" {
			j.health.Since = j.opt.Clock.Now().UTC()
		}
		j.health.Refusing = err.Error()
		for i := range j.held {
			tell(&j.held[i], fmt.Errorf("%w: %w", ErrNotKept, err))
		}
		return
	}
	if len(kept) > 0 && j.health.Refusing != "" {
		j.recovered()
	}
}

func tell(h *held, err error) {
	if h.kept != nil {
		h.kept <- err
		h.kept = nil
	}
}

// recovered says in the journal that its disk refused for a while. The lock is held.
func (j *Journal) recovered() {
	text := fmt.Sprintf("the disk took nothing from %s on: %s; what came meanwhile was held in memory, and %d entries found no room there",
		j.health.Since.Format(time.RFC3339), j.health.Refusing, j.health.Lost)
	j.health.Refusing, j.health.Since, j.health.Lost = "", time.Time{}, 0
	data, _ := json.Marshal(doctor.Note{Text: text})
	_, _, _ = j.enter(doctor.Entry{What: doctor.EntryCollector, Who: me, Data: data}) // as good as the disk is
}

// out writes entries behind each other and returns how many are on the disk.
func (j *Journal) out(batch []held) (int, error) {
	if j.disk.f != nil && (j.disk.bad || j.disk.bytes >= j.opt.SegmentBytes) {
		if err := j.disk.close(); err != nil && !j.disk.bad {
			return 0, err
		}
	}
	var text []byte
	if j.disk.f == nil {
		head, err := j.begin(&batch[0])
		if err != nil {
			return 0, err
		}
		text = head
	}
	n := 0
	for ; n < len(batch) && (n == 0 || j.disk.bytes+int64(len(text)) < j.opt.SegmentBytes); n++ {
		text = append(text, batch[n].text...)
	}
	if _, err := j.disk.f.Write(text); err != nil {
		j.takeBack()
		return 0, fmt.Errorf("write: %w", err)
	}
	if err := j.disk.f.Sync(); err != nil {
		// After a failed flush nobody knows which pages are on the disk: this segment is
		// never written again, and what was in the flush goes into another.
		j.takeBack()
		j.disk.bad = true
		return 0, fmt.Errorf("flush: %w", err)
	}
	j.disk.bytes += int64(len(text))
	return n, nil
}

// takeBack leaves the segment as it was before a write that failed.
func (j *Journal) takeBack() {
	err := j.disk.f.Truncate(j.disk.bytes)
	if j.disk.bytes == 0 { // it is begun again under the same name
		_ = j.disk.close()
		return
	}
	if s, ok := j.disk.f.(io.Seeker); ok && err == nil {
		_, err = s.Seek(j.disk.bytes, io.SeekStart)
	}
	j.disk.bad = err != nil
}

// begin makes the segment whose first entry this is, and returns its header.
func (j *Journal) begin(first *held) ([]byte, error) {
	name := segmentName(first.seq)
	f, err := j.opt.create(filepath.Join(j.dir, name))
	if err != nil {
		return nil, fmt.Errorf("a new segment: %w", err)
	}
	if plain, ok := f.(*os.File); ok {
		reserve(plain, j.opt.SegmentBytes)
	}
	if err := syncDir(j.dir); err != nil {
		_ = f.Close()
		return nil, err
	}
	j.disk = disk{f: f, name: name}
	body, err := json.Marshal(header{Version: formatNow, First: first.seq})
	if err != nil {
		return nil, err
	}
	j.giveUp()
	text, _ := writeLine(first.prev, segmentKey, body)
	return text, nil
}

// giveUp removes the oldest segments over the bound.
func (j *Journal) giveUp() {
	names, err := segments(j.dir)
	if err != nil {
		return // the next rotation looks again
	}
	j.mu.Lock()
	open := j.fold.oldestOpen()
	j.mu.Unlock()
	for len(names) > j.opt.Segments {
		inUse := open > 0 && firstOf(names[1]) > open
		if inUse && len(names) <= 2*j.opt.Segments {
			return
		}
		if os.Remove(filepath.Join(j.dir, names[0])) != nil {
			return
		}
		names = names[1:]
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("the journal's folder: %w", err)
	}
	defer func() { _ = d.Close() }()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("the journal's folder: %w", err)
	}
	return nil
}
