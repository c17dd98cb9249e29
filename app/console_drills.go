package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/catalog"
	"github.com/moneta-pay/moneta/doctor/drill"
	"github.com/moneta-pay/moneta/internal/lifecycle"
)

const (
	drillsFolder = "drills"
	// drillAtMost bounds a run of drills, drillGrace what it may take to take its world away.
	drillAtMost = 15 * time.Minute
	drillGrace  = 30 * time.Second
	// drillLines are kept of what a run says, boardsKept boards, evidenceKept of them with
	// their evidence, drillsAtOnce may be asked for.
	drillLines   = 300
	lineMost     = 2000
	boardsKept   = 200
	evidenceKept = 10
	drillsAtOnce = 5
	drillRowsMax = 400
)

// drillRun is a run of drills, as it goes.
type drillRun struct {
	ID       string      `json:"id"`
	Names    []string    `json:"names"`
	Seed     uint64      `json:"seed"`
	By       string      `json:"by"`
	Began    time.Time   `json:"began"`
	Deadline time.Time   `json:"deadline"`
	EndedAt  *time.Time  `json:"ended_at,omitempty"`
	State    string      `json:"state"` // running, cancelling, done, red, failed, cancelled
	Lines    []drillLine `json:"lines"`
	Rows     []drill.Row `json:"rows"`
}

type drillLine struct {
	At   time.Time `json:"at"`
	Text string    `json:"text"`
}

// drillRoom runs drills one at a time, each in a process of its own that makes a world
// of its own: nothing of this wallet is touched but its processors. It keeps the boards.
type drillRoom struct {
	folder string
	log    *slog.Logger
	// command is how a run is started; tests have another.
	command func(run *drillRun, report string) (path string, args []string, err error)

	mu    sync.Mutex
	now   *drillRun
	child *lifecycle.Child
	works sync.WaitGroup
}

func newDrillRoom(folder string, log *slog.Logger) *drillRoom {
	return &drillRoom{folder: folder, log: log, command: drillCommand}
}

// drillCommand is this program's own.
func drillCommand(run *drillRun, report string) (string, []string, error) {
	self, err := os.Executable()
	args := append([]string{"drill", "run"}, run.Names...)
	return self, append(args, "--seed", strconv.FormatUint(run.Seed, 10), "--report", report), err
}

// drillRoutes are the gallery, the scores over time, and a run. Who is signed in looks;
// running takes an operator, and a wallet of the sandbox or --allow-drills.
func (w *watch) drillRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/look/drills", w.lookDrills)
	mux.HandleFunc("GET /api/look/drills/run", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, map[string]any{"run": w.drills.current()}) })
	mux.HandleFunc("POST /api/look/drills/run", w.startDrill)
	mux.HandleFunc("DELETE /api/look/drills/run", w.cancelDrill)
}

// drillCard is a drill of the gallery.
type drillCard struct {
	Name    string      `json:"name"`
	Class   string      `json:"class"`
	About   doctor.Text `json:"about"`
	World   string      `json:"world"`
	Missing string      `json:"missing,omitempty"`
	Needs   []string    `json:"needs"`
	Stall   bool        `json:"stall"`
	Control bool        `json:"control"`
	Alone   bool        `json:"alone"`
	Causes  []string    `json:"causes"`
}

func (w *watch) lookDrills(rw http.ResponseWriter, _ *http.Request) {
	causes := map[string][]string{}
	for _, d := range catalog.Drills() {
		causes[d.Name] = append(causes[d.Name], d.Causes...)
	}
	cards := []drillCard{}
	for _, d := range drill.All() {
		c := drillCard{
			Name: d.Name, Class: d.Class, About: d.About, World: string(d.World), Missing: d.Missing(), Needs: append([]string{}, d.Needs...),
			Stall: d.Stall, Control: d.Control(), Alone: d.Alone, Causes: append([]string{}, causes[d.Name]...),
		}
		cards = append(cards, c)
	}
	rows := w.drills.rows()
	allowed, why := w.mayDrill()
	answer(rw, map[string]any{"drills": cards, "rows": rows, "run": w.drills.current(), "allowed": allowed, "why": why, "quick": quickDrills})
}

// mayDrill says whether drills are run here. A live wallet's machine has better things
// to do.
func (w *watch) mayDrill() (bool, string) {
	if w.cfg.AllowDrills || w.onlySandbox() {
		return true, ""
	}
	return false, "this wallet moves real money: start the watch with --allow-drills if drills may take processors of this machine, or run `moneta drill run` elsewhere"
}

func (w *watch) startDrill(rw http.ResponseWriter, r *http.Request) {
	v, ok := may(rw, r, access.Operate)
	if !ok {
		return
	}
	if allowed, why := w.mayDrill(); !allowed {
		refuse(rw, http.StatusForbidden, "forbidden", why)
		return
	}
	var in struct {
		Names []string `json:"names"`
		Seed  uint64   `json:"seed"`
	}
	if !read(rw, r, &in, `a run is {"names":["long-hold"],"seed":1}`) {
		return
	}
	if len(in.Names) == 0 || len(in.Names) > drillsAtOnce {
		refuse(rw, http.StatusBadRequest, "malformed-request", fmt.Sprintf("name one to %d drills", drillsAtOnce))
		return
	}
	for _, name := range in.Names {
		d := drill.Find(name)
		if d == nil {
			refuse(rw, http.StatusBadRequest, "malformed-request", fmt.Sprintf("there is no drill %q", name))
			return
		}
		if need := d.Missing(); need != "" {
			refuse(rw, http.StatusConflict, "conflict", fmt.Sprintf("%s needs %s, which this machine does not have", name, need))
			return
		}
	}
	run, err := w.drills.start(in.Names, in.Seed, v.Name)
	if errors.Is(err, errDrilling) {
		refuse(rw, http.StatusConflict, "conflict", err.Error())
		return
	}
	if err != nil {
		refuse(rw, http.StatusServiceUnavailable, "unavailable", err.Error())
		return
	}
	if _, err := w.attendance.note(r.Context(), "", v.Name, "runs a drill in a world of its own: "+strings.Join(in.Names, ", ")); err != nil {
		w.log.WarnContext(r.Context(), "a drill is not told in the journal", slog.Any("error", err))
	}
	rw.WriteHeader(http.StatusAccepted)
	answer(rw, map[string]any{"run": run})
}

func (w *watch) cancelDrill(rw http.ResponseWriter, r *http.Request) {
	if _, ok := may(rw, r, access.Operate); !ok {
		return
	}
	if !w.drills.cancel() {
		refuse(rw, http.StatusNotFound, "not-found", "no drill is running")
		return
	}
	answer(rw, map[string]any{"run": w.drills.current()})
}

var errDrilling = errors.New("a drill is running: wait for it, or cancel it")

// start begins a run. The process is bounded in time, told by the kernel to end with
// this one, and never started again.
func (d *drillRoom) start(names []string, seed uint64, by string) (*drillRun, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.now != nil && d.now.EndedAt == nil {
		return nil, errDrilling
	}
	if err := os.MkdirAll(d.folder, 0o700); err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	run := &drillRun{
		ID: now.Format("20060102-150405") + "-" + names[0], Names: names, Seed: max(seed, 1), By: by, Began: now, Deadline: now.Add(drillAtMost),
		State: "running", Lines: []drillLine{}, Rows: []drill.Row{},
	}
	report := filepath.Join(d.folder, run.ID+".json")
	path, args, err := d.command(run, report)
	if err != nil {
		return nil, err
	}
	out, in := io.Pipe()
	ended := make(chan error, 1)
	child := lifecycle.NewChild(lifecycle.ChildConfig{
		Name: "drill", Path: path, Args: args, Dir: d.folder, Stdout: in, Stderr: in, Grace: drillGrace, Logger: d.log,
		Backoff: lifecycle.Backoff{First: time.Hour, Max: time.Hour}, // it is stopped before it is started again
		OnEvent: func(e lifecycle.ChildEvent) {
			if e.Kind == lifecycle.ChildExited || e.Kind == lifecycle.ChildStopped {
				select {
				case ended <- e.Err:
				default:
				}
			}
		},
	})
	starting, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := child.Start(starting); err != nil {
		return nil, err
	}
	d.now, d.child = run, child
	d.works.Go(func() { d.hear(run, out) })
	d.works.Go(func() { d.see(run, child, in, report, ended) })
	return d.copied(), nil
}

// hear keeps what the run says.
func (d *drillRoom) hear(run *drillRun, out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		text := strings.ToValidUTF8(strings.TrimSpace(lines.Text()), "?")
		if text == "" {
			continue
		}
		d.mu.Lock()
		run.Lines = append(run.Lines, drillLine{time.Now().UTC(), text[:min(len(text), lineMost)]})
		if len(run.Lines) > drillLines {
			run.Lines = slices.Delete(run.Lines, 0, len(run.Lines)-drillLines)
		}
		d.mu.Unlock()
	}
	_, _ = io.Copy(io.Discard, out) // a line that is too long must not stop the run
}

// see waits for the end of a run, or ends it when its time is up.
func (d *drillRoom) see(run *drillRun, child *lifecycle.Child, in *io.PipeWriter, report string, ended <-chan error) {
	limit := time.NewTimer(time.Until(run.Deadline))
	defer limit.Stop()
	var err error
	select {
	case err = <-ended:
	case <-limit.C:
		d.mu.Lock()
		run.State = "cancelling"
		d.mu.Unlock()
		err = errors.New("its time is up")
	}
	closing, cancel := context.WithTimeout(context.Background(), drillGrace+10*time.Second)
	defer cancel()
	if stopErr := child.Stop(closing); stopErr != nil {
		d.log.Warn("a drill does not end", slog.Any("error", stopErr))
	}
	_ = in.Close() // a pipe of our own
	board, boardErr := drill.ReadBoard(report)
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now().UTC()
	run.EndedAt = &now
	if boardErr == nil {
		run.Rows = board.Rows
	}
	var exit *exec.ExitError
	switch {
	case run.State == "cancelling":
		run.State = "cancelled"
	case err == nil:
		run.State = "done"
	case errors.As(err, &exit) && exit.ExitCode() == ExitMoney:
		run.State = "red"
	default:
		run.State = "failed"
		run.Lines = append(run.Lines, drillLine{now, err.Error()})
	}
	d.tidy()
}

// cancel ends the run that goes on; its world is taken away by itself.
func (d *drillRoom) cancel() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.now == nil || d.now.EndedAt != nil {
		return false
	}
	if d.now.State == "running" {
		d.now.State = "cancelling"
		child := d.child
		d.works.Go(func() {
			closing, cancel := context.WithTimeout(context.Background(), drillGrace+10*time.Second)
			defer cancel()
			_ = child.Stop(closing) // see tells when it does not end
		})
	}
	return true
}

// stop ends whatever runs, with the watch.
func (d *drillRoom) stop(context.Context) error {
	d.cancel()
	d.works.Wait()
	return nil
}

// current is the run that goes on, or the last one; nil when there was none.
func (d *drillRoom) current() *drillRun {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.copied()
}

func (d *drillRoom) copied() *drillRun {
	if d.now == nil {
		return nil
	}
	run := *d.now
	run.Lines, run.Rows = append([]drillLine{}, run.Lines...), append([]drill.Row{}, run.Rows...)
	return &run
}

// boards are the files, the oldest first.
func (d *drillRoom) boards() []string {
	names, err := filepath.Glob(filepath.Join(d.folder, "*.json"))
	if err != nil {
		return nil
	}
	slices.Sort(names) // they begin with their time
	return names
}

// rows are the scores over time, the oldest first, of all the boards that are kept.
func (d *drillRoom) rows() []drill.Row {
	rows := []drill.Row{}
	for _, name := range d.boards() {
		if b, err := drill.ReadBoard(name); err == nil {
			rows = append(rows, b.Rows...)
		}
	}
	slices.SortStableFunc(rows, func(a, b drill.Row) int { return a.At.Compare(b.At) })
	return rows[max(0, len(rows)-drillRowsMax):]
}

// tidy keeps the newest boards, and of the newest few their evidence.
func (d *drillRoom) tidy() {
	names := d.boards()
	for i, name := range names {
		base := strings.TrimSuffix(name, ".json")
		if i < len(names)-evidenceKept {
			_ = os.RemoveAll(base + "-evidence") // what is left is removed with the next one
		}
		if i < len(names)-boardsKept {
			for _, end := range []string{".json", ".md", ".html"} {
				_ = os.Remove(base + end)
			}
		}
	}
}
