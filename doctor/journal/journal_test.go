package journal

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/internal/clock"
)

// child makes this test binary a child that appends in its folder until it is killed.
const child = "MONETA_JOURNAL_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(child) != "" {
		appendForever()
	}
	goleak.VerifyTestMain(m)
}

func note(text string) doctor.Entry {
	data, _ := json.Marshal(doctor.Note{Text: text})
	return doctor.Entry{What: doctor.EntryNote, Who: "doctor", Data: data}
}

func mustOpen(t *testing.T, dir string, opt Options) *Journal {
	t.Helper()
	j, err := OpenWith(dir, opt)
	require.NoError(t, err)
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func fill(t *testing.T, j *Journal, n int) []doctor.Entry {
	t.Helper()
	var out []doctor.Entry
	for i := range n {
		e, err := j.Append(t.Context(), note(strings.Repeat("x", i%40)))
		require.NoError(t, err)
		out = append(out, e)
	}
	return out
}

func readAll(t *testing.T, dir string, after uint64) ([]doctor.Entry, Batch) {
	t.Helper()
	var out []doctor.Entry
	b, err := Read(dir, after, func(e doctor.Entry) bool { out = append(out, e); return true })
	require.NoError(t, err)
	return out, b
}

func TestAppendAndRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := mustOpen(t, dir, Options{SegmentBytes: 2000})
	want := fill(t, j, 60)
	got, b := readAll(t, dir, 0)
	require.Equal(t, want, got)
	require.Empty(t, b.Damage)
	names, err := segments(dir)
	require.NoError(t, err)
	require.Greater(t, len(names), 3)
	got, _ = readAll(t, dir, 41)
	require.Equal(t, want[41:], got)

	require.NoError(t, j.Close())
	_, err = j.Append(t.Context(), note("late"))
	require.ErrorIs(t, err, ErrClosed)
	j = mustOpen(t, dir, Options{SegmentBytes: 2000})
	require.Equal(t, Health{Last: 60, Kept: 60}, j.Health())
	require.Equal(t, uint64(61), fill(t, j, 1)[0].Seq)
	since, err := j.Since(57, 3)
	require.NoError(t, err)
	require.Equal(t, want[57:], since[:3])
}

func TestSinceReadsOldEntriesFromFiles(t *testing.T) {
	t.Parallel()
	j := mustOpen(t, t.TempDir(), Options{})
	want := fill(t, j, 50)
	j.mu.Lock()
	j.recent = j.recent[40:]
	j.mu.Unlock()
	got, err := j.Since(10, 5)
	require.NoError(t, err)
	require.Equal(t, want[10:15], got)
	got, err = j.Since(50, 5)
	require.NoError(t, err)
	require.Empty(t, got)
}

func TestBetweenTwoTimes(t *testing.T) {
	t.Parallel()
	c := clock.NewManual(time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC))
	j := mustOpen(t, t.TempDir(), Options{SegmentBytes: 2000, Clock: c})
	var all []doctor.Entry
	for range 60 {
		all = append(all, fill(t, j, 1)...)
		c.Advance(time.Second)
	}
	j.mu.Lock()
	j.recent = j.recent[40:] // the others are in files only
	j.mu.Unlock()
	of := func(from, to, limit int) []doctor.Entry {
		var a, b time.Time
		if from >= 0 {
			a = all[from].At
		}
		if to >= 0 {
			b = all[to].At
		}
		got, err := j.Between(a, b, limit)
		require.NoError(t, err)
		return got
	}
	n := len(all)
	require.Equal(t, all[3:8], of(3, 7, 100), "from files, both ends included")
	require.Equal(t, all[n-9:n-3], of(n-9, n-4, 100), "from memory")
	require.Equal(t, all[:4], of(-1, 3, 100), "an open beginning")
	require.Equal(t, all[n-2:], of(n-2, -1, 100), "an open end")
	require.Equal(t, all[20:30], of(5, 29, 10), "the newest of too many")
	require.Empty(t, of(9, 8, 10), "from after to")
	got, err := j.Between(all[n-1].At.Add(time.Second), time.Time{}, 10)
	require.NoError(t, err)
	require.Empty(t, got, "after everything")
}

func TestOneWriter(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := mustOpen(t, dir, Options{})
	_, err := Open(dir)
	require.ErrorIs(t, err, ErrBusy)
	require.ErrorContains(t, err, strconv.Itoa(os.Getpid()))
	require.NoError(t, j.Close())
	mustOpen(t, dir, Options{})
}

func TestManyAppendAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := mustOpen(t, dir, Options{SegmentBytes: 4000})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 25 {
				_, err := j.Append(t.Context(), note("at once"))
				require.NoError(t, err)
			}
		})
	}
	wg.Wait()
	got, b := readAll(t, dir, 0)
	require.Len(t, got, 200)
	require.Empty(t, b.Damage)
}

func TestReaderFollows(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := mustOpen(t, dir, Options{SegmentBytes: 1500})
	r := NewReader(dir, 0)
	defer func() { _ = r.Close() }()
	b, err := r.Next(10)
	require.NoError(t, err)
	require.Empty(t, b.Entries)
	var got []doctor.Entry
	var want []doctor.Entry
	for i := range 40 {
		want = append(want, fill(t, j, i%3)...)
		b, err := r.Next(100)
		require.NoError(t, err)
		require.Empty(t, b.Damage)
		got = append(got, b.Entries...)
		require.Equal(t, want, got)
	}
}

// copyOf writes the first n bytes of the only segment into a new folder.
func copyOf(t *testing.T, b []byte) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, segmentName(1)), b, 0o600))
	return dir
}

func oneSegment(t *testing.T, entries int) ([]byte, []doctor.Entry) {
	t.Helper()
	dir := t.TempDir()
	j := mustOpen(t, dir, Options{})
	want := fill(t, j, entries)
	require.NoError(t, j.Close())
	b, err := os.ReadFile(filepath.Join(dir, segmentName(1)))
	require.NoError(t, err)
	return b, want
}

// A journal that ends anywhere, as after a kill, opens with every whole entry, says what
// was cut, and goes on without a gap.
func TestCutAtEveryByte(t *testing.T) {
	t.Parallel()
	whole, want := oneSegment(t, 5)
	for n := range len(whole) + 1 {
		cut := whole[:n]
		dir := copyOf(t, cut)
		lines := max(0, bytes.Count(cut, []byte{'\n'})-1)
		torn := n - bytes.LastIndexByte(cut, '\n') - 1
		if lines == 0 {
			torn = n
		}
		got, b := readAll(t, dir, 0) // a reader beside a writer: an unfinished line is no damage
		require.Equal(t, want[:lines], append([]doctor.Entry{}, got...), "cut at %d", n)
		require.Empty(t, b.Damage)

		j, err := Open(dir)
		require.NoError(t, err, "cut at %d", n)
		e, err := j.Append(t.Context(), note("after"))
		require.NoError(t, err)
		require.Equal(t, int64(torn), j.Health().Torn, "cut at %d", n)
		require.NoError(t, j.Close())
		got, b = readAll(t, dir, 0)
		require.Empty(t, b.Damage)
		require.Zero(t, b.Torn)
		for i, g := range got {
			require.Equal(t, uint64(i+1), g.Seq)
		}
		require.Equal(t, want[:lines], append([]doctor.Entry{}, got[:lines]...))
		require.Equal(t, e, got[len(got)-1])
		if torn > 0 {
			require.Contains(t, string(got[lines].Data), "is cut")
		} else {
			require.Len(t, got, lines+1)
		}
	}
}

// One changed byte anywhere is found: no entry that is delivered was changed, and what
// is missing is said, before and after the journal is opened for writing again.
func TestFlipEveryByte(t *testing.T) {
	t.Parallel()
	whole, want := oneSegment(t, 4)
	for n := range whole {
		bad := bytes.Clone(whole)
		bad[n] ^= 0x04
		dir := copyOf(t, bad)
		honest := func(got []doctor.Entry, b Batch) {
			for _, g := range got {
				if g.Who == "doctor" && g.Seq <= 4 {
					require.Equal(t, want[g.Seq-1], g, "byte %d", n)
				}
			}
			require.True(t, len(b.Damage) > 0 || b.Torn > 0, "byte %d: %d entries and no word", n, len(got))
		}
		honest(readAll(t, dir, 0))
		j, err := Open(dir)
		require.NoError(t, err)
		h := j.Health()
		require.True(t, len(h.Damage) > 0 || h.Torn > 0, "byte %d", n)
		e, err := j.Append(t.Context(), note("after"))
		require.NoError(t, err)
		require.NoError(t, j.Close())
		got, b := readAll(t, dir, 0)
		require.Equal(t, e, got[len(got)-1])
		said := false
		for _, g := range got {
			said = said || g.Who == me
		}
		require.True(t, said, "byte %d", n)
		if h.Torn == 0 {
			honest(got, b)
		}
		// Opened once more it says nothing new.
		j, err = Open(dir)
		require.NoError(t, err)
		require.NoError(t, j.Close())
		again, _ := readAll(t, dir, 0)
		require.Len(t, again, len(got), "byte %d", n)
	}
}

func TestMissingSegmentAndLines(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := mustOpen(t, dir, Options{SegmentBytes: 1000})
	fill(t, j, 40)
	require.NoError(t, j.Close())
	names, err := segments(dir)
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(dir, names[2])))
	// A line taken out of a segment.
	path := filepath.Join(dir, names[4])
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	lines := bytes.SplitAfter(b, []byte{'\n'})
	require.NoError(t, os.WriteFile(path, bytes.Join(append(lines[:2:2], lines[3:]...), nil), 0o600))
	got, batch := readAll(t, dir, 0)
	require.Len(t, batch.Damage, 2)
	require.Equal(t, firstOf(names[2])-1, batch.Damage[0].After)
	require.Equal(t, firstOf(names[3]), batch.Damage[0].Before)
	require.Equal(t, uint64(40), got[len(got)-1].Seq)

	// The oldest may be given up; that is no damage, and said.
	require.NoError(t, os.Remove(filepath.Join(dir, names[0])))
	require.NoError(t, os.Remove(filepath.Join(dir, names[1])))
	_, batch = readAll(t, dir, 0)
	require.Equal(t, firstOf(names[3])-1, batch.Gone)
}

func TestBoundKeepsOpenIncidents(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := mustOpen(t, dir, Options{SegmentBytes: 1000, Segments: 3})
	fill(t, j, 60)
	_, b := readAll(t, dir, 0)
	require.NotZero(t, b.Gone)
	names, err := segments(dir)
	require.NoError(t, err)
	require.LessOrEqual(t, len(names), 4)
	opened, err := j.Append(t.Context(), entry(t, "inc_1", doctor.EntryOpened, doctor.Opening{}))
	require.NoError(t, err)
	fill(t, j, 12) // beyond three segments: kept
	_, b = readAll(t, dir, 0)
	require.Less(t, b.Gone, opened.Seq)
	fill(t, j, 60) // beyond six: no incident may fill the disk
	_, b = readAll(t, dir, 0)
	require.Greater(t, b.Gone, opened.Seq)
	names, err = segments(dir)
	require.NoError(t, err)
	require.LessOrEqual(t, len(names), 7)
}

// badFile is a file whose disk can be made to refuse.
type badFile struct {
	*os.File
	d *badDisk
}

type badDisk struct {
	mu          sync.Mutex
	write, sync error
	most        int // bytes of a write that still get through
}

func (d *badDisk) set(write, sync error, most int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.write, d.sync, d.most = write, sync, most
}

func (d *badDisk) create(path string) (file, error) {
	f, err := os.Create(path)
	return &badFile{f, d}, err
}

func (f *badFile) Write(b []byte) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.write == nil {
		return f.File.Write(b)
	}
	n, _ := f.File.Write(b[:min(len(b), f.d.most)])
	return n, f.d.write
}

func (f *badFile) Sync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.sync != nil {
		return f.d.sync
	}
	return f.File.Sync()
}

// A disk that is full, or that fails to flush, does not stop the doctor: entries are
// numbered and held, nothing is acknowledged as kept, and all of it is written when the
// disk takes again, as the journal says then.
func TestDiskRefuses(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]func(*badDisk){
		"full at once":   func(d *badDisk) { d.set(syscall.ENOSPC, nil, 0) },
		"full in a line": func(d *badDisk) { d.set(syscall.ENOSPC, nil, 70) },
		"flush fails":    func(d *badDisk) { d.set(nil, syscall.EIO, 0) },
	} {
		for _, before := range []int{0, 7} {
			t.Run(fmt.Sprintf("%s after %d", name, before), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				d := &badDisk{}
				j := mustOpen(t, dir, Options{SegmentBytes: 1000, Held: 5, Retry: 5 * time.Millisecond, create: d.create})
				r := NewReader(dir, 0)
				defer func() { _ = r.Close() }()
				fill(t, j, before)
				b, err := r.Next(100)
				require.NoError(t, err)
				seen := b.Entries
				refuse(d)
				for i := range 5 {
					e, err := j.Append(t.Context(), note("held"))
					require.ErrorIs(t, err, ErrNotKept)
					require.Equal(t, uint64(before+i+1), e.Seq)
					b, err := r.Next(100) // whoever sees what was not kept yet sees it once
					require.NoError(t, err)
					require.Empty(t, b.Damage)
					seen = append(seen, b.Entries...)
				}
				_, err = j.Append(t.Context(), note("lost"))
				require.ErrorIs(t, err, ErrLost)
				h := j.Health()
				require.NotEmpty(t, h.Refusing)
				require.Equal(t, 5, h.Held)
				require.Equal(t, uint64(before), h.Kept)
				since, err := j.Since(uint64(before), 10)
				require.NoError(t, err)
				require.Len(t, since, 5, "the doctor knows what its disk does not")

				d.set(nil, nil, 0)
				require.Eventually(t, func() bool { return j.Health().Refusing == "" && j.Health().Held == 0 }, 5*time.Second, time.Millisecond)
				fill(t, j, 3)
				got, batch := readAll(t, dir, 0)
				require.Empty(t, batch.Damage)
				require.Len(t, got, before+5+1+3)
				require.Contains(t, string(got[before+5].Data), "1 entries found no room")
				b, err = r.Next(100)
				require.NoError(t, err)
				require.Empty(t, b.Damage)
				require.Equal(t, got, append(seen, b.Entries...))
			})
		}
	}
}

// A disk that hangs holds up whoever asked no longer than he waits.
func TestDiskHangs(t *testing.T) {
	t.Parallel()
	d := &badDisk{}
	j := mustOpen(t, t.TempDir(), Options{create: d.create})
	fill(t, j, 1)
	d.mu.Lock()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	e, err := j.Append(ctx, note("hangs"))
	require.ErrorIs(t, err, ErrNotKept)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, uint64(2), e.Seq)
	d.mu.Unlock()
	require.Equal(t, uint64(3), fill(t, j, 1)[0].Seq)
	require.Equal(t, uint64(3), j.Health().Kept)
}

// A real disk without room, where this user may mount one.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount a small tmpfs")
	}
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("cannot mount a tmpfs: %s", out)
	}
	t.Cleanup(func() { _ = exec.CommandContext(context.Background(), "umount", "-l", dir).Run() })
	j := mustOpen(t, filepath.Join(dir, "journal"), Options{SegmentBytes: 32 << 10, Retry: 5 * time.Millisecond})
	fill(t, j, 3)
	hog, err := os.Create(filepath.Join(dir, "hog"))
	require.NoError(t, err)
	_, err = hog.Write(make([]byte, 1<<20))
	require.ErrorIs(t, err, syscall.ENOSPC)
	fill(t, j, 20) // the segment's room was reserved
	for err = nil; err == nil; {
		_, err = j.Append(t.Context(), note(strings.Repeat("y", 1000)))
	}
	require.ErrorIs(t, err, ErrNotKept)
	require.Contains(t, j.Health().Refusing, "no space")
	require.NoError(t, hog.Truncate(0))
	require.NoError(t, hog.Close())
	require.Eventually(t, func() bool { return j.Health().Held == 0 }, 5*time.Second, time.Millisecond)
	last := j.Health().Last
	got, b := readAll(t, filepath.Join(dir, "journal"), 0)
	require.Empty(t, b.Damage)
	require.Len(t, got, int(last))
}

func appendForever() {
	j, err := OpenWith(".", Options{SegmentBytes: 6000})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for i := 0; ; i++ {
		e, err := j.Append(context.Background(), note(strings.Repeat("z", i%900)))
		if err != nil {
			os.Exit(1)
		}
		fmt.Println(e.Seq)
	}
}

// Whatever moment a writer is killed at: what it acknowledged is there, numbers have no
// gap, and nothing is called damage.
func TestKilledWriter(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	acknowledged := uint64(0)
	for range 12 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env, cmd.Dir = append(os.Environ(), child+"=1"), dir
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for n := rand.IntN(60) + 1; n > 0 && lines.Scan(); n-- {
			acknowledged, err = strconv.ParseUint(lines.Text(), 10, 64)
			require.NoError(t, err, lines.Text())
		}
		require.NoError(t, cmd.Process.Kill())
		for lines.Scan() {
			if n, err := strconv.ParseUint(lines.Text(), 10, 64); err == nil {
				acknowledged = n
			}
		}
		_ = cmd.Wait() // killed
		got, b := readAll(t, dir, 0)
		require.Empty(t, b.Damage)
		require.GreaterOrEqual(t, uint64(len(got)), acknowledged)
		for i, e := range got {
			require.Equal(t, uint64(i+1), e.Seq)
		}
	}
	require.NotZero(t, acknowledged)
}

func TestRefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	j := mustOpen(t, t.TempDir(), Options{})
	for name, e := range map[string]doctor.Entry{
		"no what":       {Who: "doctor"},
		"no who":        {What: doctor.EntryNote},
		"no data":       {What: doctor.EntryAlarm, Who: "doctor", Incident: "inc_1"},
		"no incident":   {What: doctor.EntryOpened, Who: "doctor", Data: json.RawMessage(`{}`)},
		"not JSON":      {What: doctor.EntryNote, Who: "doctor", Data: json.RawMessage(`{`)},
		"too large":     note(strings.Repeat("x", lineMax)),
		"closing none":  {What: doctor.EntryClosed, Who: "doctor", Incident: "inc_1", Data: json.RawMessage(`{"clean":true}`)},
		"unknown stage": {What: doctor.EntryStage, Who: "doctor", Incident: "inc_1", Data: json.RawMessage(`{"stage":"happy"}`)},
	} {
		_, err := j.Append(t.Context(), e)
		require.ErrorIs(t, err, ErrRefused, name)
	}
	require.Zero(t, j.Health().Last)
}

// A file of anything is read to its end without a panic, and never without a word.
func FuzzReader(f *testing.F) {
	dir := f.TempDir()
	j, err := Open(dir)
	require.NoError(f, err)
	for range 3 {
		_, err = j.Append(context.Background(), note("seed"))
		require.NoError(f, err)
	}
	require.NoError(f, j.Close())
	whole, err := os.ReadFile(filepath.Join(dir, segmentName(1)))
	require.NoError(f, err)
	f.Add(whole)
	f.Add(whole[:len(whole)-9])
	f.Add([]byte("\n\n\n"))
	f.Add(bytes.Replace(whole, []byte(`"first":1`), []byte(`"first":9`), 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := copyOf(t, b)
		got, batch := readAll(t, dir, 0)
		lines := bytes.Count(b, []byte{'\n'})
		if len(got) < lines-1 {
			require.NotEmpty(t, batch.Damage)
		}
		last := uint64(0)
		for _, e := range got {
			require.Greater(t, e.Seq, last)
			last = e.Seq
		}
	})
}
