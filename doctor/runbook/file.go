package runbook

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// A run is one file of lines, only ever appended to, each on the disk before what it
// announces is done. Beside it lie the lock of whoever carries it out, and what people
// said of its acts.
const (
	runEnd       = ".run.jsonl"
	lockEnd      = ".lock"
	approvalsEnd = ".approvals.jsonl"
	lineMax      = 1 << 20
	runMax       = 16 << 20
)

// record is one line of a run.
type record struct {
	Epoch int       `json:"epoch"`
	At    time.Time `json:"at"`
	// What is begin (with Request), epoch, told (with Detail), end (with Became), or what
	// became of a step.
	What    string      `json:"what"`
	Request *Request    `json:"request,omitempty"`
	Step    *StepResult `json:"step,omitempty"`
	Became  Became      `json:"became,omitempty"`
	// Detail is what signs told after the run had begun; it replaces that of the request.
	Detail map[string]string `json:"detail,omitempty"`
	Pid    int               `json:"pid,omitempty"`
}

const (
	whatBegin = "begin"
	whatEpoch = "epoch"
	whatStep  = "step"
	whatTold  = "told"
	whatEnd   = "end"
)

var unsafeName = regexp.MustCompile(`[^a-zA-Z0-9._-]+`)

// fileName is safe whatever the incident is called; the hash keeps two apart that look
// alike without what was unsafe in them.
func fileName(run string) string {
	sum := sha256.Sum256([]byte(run))
	readable := unsafeName.ReplaceAllString(strings.ReplaceAll(run, "/", "."), "_")
	return readable[:min(len(readable), 100)] + "-" + hex.EncodeToString(sum[:6])
}

// file is a run that this process carries out.
type file struct {
	path  string
	f     *os.File
	lock  *os.File
	size  int64 // that it has as far as we wrote it: more is another runner's
	epoch int
	now   func() time.Time
	// kept is called after each line, for tests that crash there.
	kept func()
}

// open takes the run: its lock, and the next epoch. It returns what was recorded.
func open(dir, run string, now func() time.Time, kept func()) (*file, *Result, error) {
	base := filepath.Join(dir, fileName(run))
	lock, err := take(base+lockEnd, base+runEnd, now)
	if err != nil {
		return nil, nil, err
	}
	w := &file{path: base + runEnd, lock: lock, now: now, kept: kept}
	old, err := w.resume()
	if err != nil {
		return nil, nil, errors.Join(err, w.close())
	}
	return w, old, nil
}

// take locks the run, or takes it from a runner that shows no sign of life.
func take(path, run string, now func() time.Time) (*os.File, error) {
	for range 5 {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			_ = f.Close()
			if beat, err := os.Stat(run); err != nil || now().Sub(beat.ModTime()) < frozenFrom {
				return nil, ErrBusy
			}
			// It stands still with the lock in its hand. It keeps that lock, of a file that is no
			// more; before it acts again it sees the newer epoch.
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			continue
		}
		if same(f, path) {
			return f, nil
		}
		_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
		_ = f.Close() // somebody removed it between the opening and the lock
	}
	return nil, ErrBusy
}

func same(f *os.File, path string) bool {
	ours, err := f.Stat()
	theirs, err2 := os.Stat(path)
	return err == nil && err2 == nil && os.SameFile(ours, theirs)
}

// resume reads what is there, cuts off a last line that a crash left half written, and
// begins the next epoch.
func (w *file) resume() (*Result, error) {
	old, whole, err := read(w.path)
	if err != nil {
		return nil, err
	}
	if w.f, err = os.OpenFile(w.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		return nil, err
	}
	if err := w.f.Truncate(whole); err != nil {
		return nil, err
	}
	w.size = whole
	if whole == 0 {
		if err := syncDir(filepath.Dir(w.path)); err != nil {
			return nil, err
		}
	}
	if old != nil {
		w.epoch = old.Epoch
		if old.Became != Pending {
			return old, nil // finished: nothing more is written but what is let go
		}
	}
	w.epoch++
	return old, w.append(record{What: whatEpoch, Pid: os.Getpid()})
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// append puts a line on the disk, unless somebody else has written meanwhile.
func (w *file) append(r record) error {
	if err := w.mine(); err != nil {
		return err
	}
	r.Epoch, r.At = w.epoch, w.now().UTC()
	line, err := json.Marshal(&r)
	if err != nil {
		return err
	}
	if len(line) > lineMax {
		return fmt.Errorf("a line of %d bytes; at most %d are kept", len(line), lineMax)
	}
	n, err := w.f.Write(append(line, '\n'))
	w.size += int64(n)
	if err := errors.Join(err, w.f.Sync()); err != nil {
		return fmt.Errorf("keep the run: %w", err)
	}
	if w.kept != nil {
		w.kept()
	}
	return nil
}

// mine reports ErrFenced when another runner has taken the run over.
func (w *file) mine() error {
	st, err := os.Stat(w.path)
	if err != nil {
		return err
	}
	if st.Size() != w.size || !same(w.lock, strings.TrimSuffix(w.path, runEnd)+lockEnd) {
		return ErrFenced
	}
	return nil
}

// beat is the sign of life that another runner looks for.
func (w *file) beat() {
	now := w.now()
	_ = os.Chtimes(w.path, now, now) // whoever cannot write here finds out at the next line
}

func (w *file) close() error {
	var errs []error
	if w.f != nil {
		errs = append(errs, w.f.Close())
	}
	// A process that is started at this moment may have a copy of the lock for an instant:
	// it is let go, not only closed.
	return errors.Join(append(errs, syscall.Flock(int(w.lock.Fd()), syscall.LOCK_UN), w.lock.Close())...)
}

// read folds a run's lines; nil when there are none. whole is how many bytes of it are
// whole lines. Lines of an epoch that was over when they were written do not count.
func read(path string) (out *Result, whole int64, err error) {
	raw, err := readBounded(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	s := bufio.NewScanner(bytes.NewReader(raw))
	s.Buffer(nil, lineMax+2)
	for s.Scan() {
		end := whole + int64(len(s.Bytes())) + 1
		if end > int64(len(raw)) {
			break // no line feed: a crash cut it off
		}
		var r record
		if err := json.Unmarshal(s.Bytes(), &r); err != nil {
			return nil, 0, fmt.Errorf("%s is damaged after %d bytes: %w; keep it, and finish the incident by hand", path, whole, err)
		}
		whole = end
		out = fold(out, &r)
	}
	if err := s.Err(); err != nil {
		return nil, 0, fmt.Errorf("%s: %w", path, err)
	}
	return out, whole, nil
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.LimitReader(f, runMax+1))
	if err == nil && len(raw) > runMax {
		err = fmt.Errorf("%s is longer than %d MB", path, runMax>>20)
	}
	return raw, err
}

func fold(out *Result, r *record) *Result {
	if out != nil && r.Epoch < out.Epoch {
		return out
	}
	switch {
	case r.What == whatBegin && r.Request != nil && (out == nil || out.Run == ""):
		epoch := r.Epoch
		out = &Result{Run: r.Request.name(), Request: *r.Request, Became: Pending, Epoch: epoch}
		for i := range r.Request.Steps {
			s := &r.Request.Steps[i]
			out.Steps = append(out.Steps, StepResult{Act: doctor.Act{Step: s.ID, Do: s.Do, Why: s.Why.EN}, Became: Pending})
		}
	case out == nil:
		out = &Result{Became: Pending, Epoch: r.Epoch}
	case r.What == whatStep && r.Step != nil:
		for i := range out.Steps {
			if out.Steps[i].Act.Step == r.Step.Act.Step {
				out.Steps[i] = *r.Step
			}
		}
	case r.What == whatTold && r.Detail != nil:
		out.Request.Detail = r.Detail
	case r.What == whatEnd:
		out.Became = r.Became
	}
	out.Epoch = r.Epoch
	return out
}
