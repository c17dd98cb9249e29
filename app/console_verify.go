package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/config"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/channel/probe"
)

const (
	// verifyAtMost bounds a test of a channel, verifyMost the amount of one of its orders.
	verifyAtMost = 5 * time.Minute
	verifyMost   = 1_000_000
	// recordWithin bounds the keeping of what was shown.
	recordWithin = 10 * time.Second
)

// The states of a test of a channel.
const (
	verifyRuns      = "running"
	verifyCancels   = "cancelling"
	verifyCancelled = "cancelled"
	// verifyHolds: nothing that it claims was seen to be false.
	verifyHolds = "holds"
	// verifyLies: at least one claim is false.
	verifyLies = "lies"
	// verifyFailed: the test could not be made.
	verifyFailed = "failed"
)

// verifyRun is one test of a channel, as it goes.
type verifyRun struct {
	Channel  string             `json:"channel"`
	Endpoint string             `json:"endpoint"`
	Asset    string             `json:"asset"`
	Amount   int64              `json:"amount,string"`
	By       string             `json:"by"`
	Began    time.Time          `json:"began"`
	Deadline time.Time          `json:"deadline"`
	EndedAt  *time.Time         `json:"ended_at,omitempty"`
	State    string             `json:"state"`
	Why      string             `json:"why,omitempty"`
	Claims   []probe.Capability `json:"claims"`
	Findings []probe.Finding    `json:"findings"`
	Lies     []probe.Capability `json:"lies"`
	// Kept says that the findings are in the database, where the nodes read them.
	Kept bool `json:"kept"`
	// StoppedBy broke it off; "" with a test that came to its end, or ended with the watch.
	StoppedBy string `json:"stopped_by,omitempty"`
	// early is why it did not come to its end, "" when it did.
	early string
}

// verifyRoom tests one channel at a time, and remembers the last test of each.
type verifyRoom struct {
	clock clock.Clock
	// probe makes a test and keep its record; tests of the room have others.
	probe func(context.Context, *ChannelConfig, *config.Channel, func(probe.Finding)) (probe.Report, error)
	keep  func(context.Context, *ChannelConfig, probe.Report, string) error

	mu     sync.Mutex
	last   map[string]*verifyRun
	now    *verifyRun
	cancel context.CancelFunc
	works  sync.WaitGroup
}

func newVerifyRoom(clk clock.Clock) *verifyRoom {
	return &verifyRoom{
		clock: clk, last: map[string]*verifyRun{},
		probe: func(ctx context.Context, c *ChannelConfig, cfg *config.Channel, progress func(probe.Finding)) (probe.Report, error) {
			return c.probe(ctx, cfg, progress)
		},
		keep: func(ctx context.Context, c *ChannelConfig, r probe.Report, endpoint string) error {
			return c.record(ctx, r, endpoint)
		},
	}
}

// verifyRoutes put what a channel claims to the test. Who is signed in sees how it goes;
// it takes somebody who may approve, since what is shown decides whether an order whose
// outcome is unknown may go out again.
//
//	GET    /api/look/channels/{name}/verify   the test that goes on, or the last one
//	POST   /api/look/channels/{name}/verify   {"asset":"CZK","amount":"100"}
//	DELETE /api/look/channels/{name}/verify   break it off; what was seen to be false by then is kept, and only that
func (w *watch) verifyRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/look/channels/{name}/verify", func(rw http.ResponseWriter, r *http.Request) {
		run, busy := w.verify.of(r.PathValue("name"))
		answer(rw, map[string]any{"run": run, "busy": busy})
	})
	mux.HandleFunc("POST /api/look/channels/{name}/verify", w.startVerify)
	mux.HandleFunc("DELETE /api/look/channels/{name}/verify", func(rw http.ResponseWriter, r *http.Request) {
		v, ok := may(rw, r, access.Approver)
		if !ok {
			return
		}
		switch err := w.verify.breakOff(r.PathValue("name"), v.Name); {
		case errors.Is(err, errNotTested):
			refuse(rw, http.StatusNotFound, "not-found", err.Error())
			return
		case err != nil:
			refuse(rw, http.StatusConflict, "conflict", err.Error())
			return
		}
		run, busy := w.verify.of(r.PathValue("name"))
		answer(rw, map[string]any{"run": run, "busy": busy})
	})
}

func (w *watch) startVerify(rw http.ResponseWriter, r *http.Request) {
	v, ok := may(rw, r, access.Approver)
	if !ok {
		return
	}
	in := struct {
		Asset  string `json:"asset"`
		Amount int64  `json:"amount,string"`
	}{"CZK", 100}
	if !read(rw, r, &in, `a test is {"asset":"CZK","amount":"100"}, in the smallest unit`) {
		return
	}
	if _, known := money.LookupAsset(money.Asset(in.Asset)); !known || in.Amount < 1 || in.Amount > verifyMost {
		refuse(rw, http.StatusBadRequest, "malformed-request", "a test takes an asset that is known, and an amount from 1 to 1000000 in its smallest unit")
		return
	}
	if w.cfg.Config == "" && w.cfg.SandboxURL == "" {
		refuse(rw, http.StatusConflict, "conflict", "the watch does not know the settings of serve; moneta watch --config names them")
		return
	}
	channels, err := ChannelsOf(w.cfg.Config, w.cfg.SandboxURL, w.cfg.DataDir)
	if err != nil {
		refuse(rw, http.StatusServiceUnavailable, "unavailable", err.Error())
		return
	}
	i := slices.IndexFunc(channels, func(c config.Channel) bool { return c.Name == r.PathValue("name") })
	if i < 0 {
		refuse(rw, http.StatusNotFound, "not-found", "there is no such channel; GET /api/look/channels lists them")
		return
	}
	if channels[i].TestURL == "" {
		refuse(rw, http.StatusConflict, "conflict", say("en", "channel-no-test", channels[i].Name))
		return
	}
	asked := &ChannelConfig{
		Database: Database{DSN: w.cfg.DSN, DataDir: w.cfg.DataDir}, Channels: channels, Name: channels[i].Name, Asset: in.Asset, Amount: in.Amount, Lang: "en",
	}
	run, err := w.verify.start(asked, &channels[i], v.Name, w.verifying, w.verified)
	switch {
	case errors.Is(err, errUntold):
		refuse(rw, http.StatusServiceUnavailable, "unavailable", err.Error())
		return
	case err != nil:
		refuse(rw, http.StatusConflict, "conflict", err.Error())
		return
	}
	rw.WriteHeader(http.StatusAccepted)
	answer(rw, map[string]any{"run": run, "busy": ""})
}

// verifying tells that a test begins. A visitor who goes away does not take it back.
func (w *watch) verifying(run *verifyRun) error {
	ctx, cancel := context.WithTimeout(context.Background(), recordWithin)
	defer cancel()
	_, err := w.attendance.note(ctx, "", run.By, "tests what "+run.Channel+" claims, at "+run.Endpoint)
	return err
}

// verified tells of the end of a test, and has the screens know it at once.
func (w *watch) verified(run *verifyRun) {
	ctx, cancel := context.WithTimeout(context.Background(), recordWithin)
	defer cancel()
	if run.Kept {
		if all := w.askClaims(ctx); all != nil {
			w.contracts.Store(&all)
		}
	}
	who, text := run.told()
	if _, err := w.attendance.note(ctx, "", who, text); err != nil {
		w.log.WarnContext(ctx, "a test of a channel is not told in the journal", slog.Any("error", err))
	}
}

// told is who ended a test, and what became of it.
func (r *verifyRun) told() (who, text string) {
	who = cmp.Or(r.StoppedBy, r.By)
	switch r.State {
	case verifyLies:
		text = r.Channel + " does not keep its contract: " + joined(r.Lies)
		if r.early != "" {
			text += "; the test " + r.early + " before it had shown the rest"
		}
	case verifyHolds:
		text = "nothing that " + r.Channel + " claims was seen to be false"
	case verifyCancelled:
		return who, "the test of " + r.Channel + " " + r.early + ", nothing is kept"
	default:
		return who, "the test of " + r.Channel + " showed nothing: " + r.Why
	}
	if r.Why != "" {
		text += "; it could not be kept: " + r.Why
	}
	return who, text
}

func joined(all []probe.Capability) string {
	out := make([]string, len(all))
	for i, c := range all {
		out[i] = string(c)
	}
	return strings.Join(out, ", ")
}

var (
	errNotTested = errors.New("this channel is not being tested")
	errUntold    = errors.New("the journal does not take that a test begins, so none was made")
)

// start begins a test in a goroutine of its own, when tell could write down that it
// begins; ended hears of its end.
func (v *verifyRoom) start(c *ChannelConfig, cfg *config.Channel, by string, tell func(*verifyRun) error, ended func(*verifyRun)) (*verifyRun, error) {
	v.mu.Lock()
	if v.now != nil {
		defer v.mu.Unlock()
		return nil, errors.New(v.now.Channel + " is being tested: wait for it, or break it off")
	}
	now := v.clock.Now().UTC()
	run := &verifyRun{
		Channel: cfg.Name, Endpoint: cfg.TestURL, Asset: c.Asset, Amount: c.Amount, By: by, Began: now, Deadline: now.Add(verifyAtMost), State: verifyRuns,
		Claims: probe.Capabilities(), Findings: []probe.Finding{}, Lies: []probe.Capability{},
	}
	ctx, cancel := context.WithTimeout(context.Background(), verifyAtMost)
	before := v.last[cfg.Name]
	v.now, v.cancel, v.last[cfg.Name] = run, cancel, run
	began := run.copied()
	v.mu.Unlock()
	if err := tell(began); err != nil {
		cancel()
		v.mu.Lock()
		defer v.mu.Unlock()
		v.now, v.cancel, v.last[cfg.Name] = nil, nil, before
		return nil, fmt.Errorf("%w: %w", errUntold, err)
	}
	v.works.Go(func() {
		defer cancel()
		report, err := v.probe(ctx, c, cfg, func(f probe.Finding) {
			v.mu.Lock()
			defer v.mu.Unlock()
			run.Findings = append(run.Findings, f)
		})
		v.over()
		kept := report
		if err != nil {
			kept = report.Broken()
		}
		var unkept error
		if len(kept.Findings) > 0 {
			keeping, done := context.WithTimeout(context.Background(), recordWithin)
			unkept = v.keep(keeping, c, kept, cfg.TestURL)
			done()
		}
		ended(v.end(run, &report, err, unkept))
	})
	return began, nil
}

// over says that the orders of the test that goes on are made: nothing is left to break off.
func (v *verifyRoom) over() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.cancel = nil
}

// end writes down what became of a test: whether it could be made, and kept. A claim that
// was seen to be false is kept also of a test that did not come to its end.
func (v *verifyRoom) end(run *verifyRun, report *probe.Report, err, unkept error) *verifyRun {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.clock.Now().UTC()
	run.EndedAt, run.Lies = &now, append(run.Lies, report.Failed()...)
	stopped := run.State == verifyCancels
	switch {
	case err == nil:
		run.StoppedBy = ""
	case stopped && run.StoppedBy == "":
		run.early = "ended with the watch"
	case stopped:
		run.early = "was broken off"
	case errors.Is(err, context.DeadlineExceeded):
		run.early = "ran out of time"
	default:
		run.early = "could not go on (" + err.Error() + ")"
	}
	switch {
	case err == nil || len(run.Lies) > 0:
		run.Kept, run.State, run.Findings = unkept == nil, verifyHolds, report.Findings
		if len(run.Lies) > 0 {
			run.State = verifyLies
		}
		if unkept != nil {
			run.Why = unkept.Error()
		}
	case stopped:
		run.State = verifyCancelled
	case errors.Is(err, context.DeadlineExceeded) && !now.Before(run.Deadline):
		run.State, run.Why = verifyFailed, "its time was up"
	default:
		run.State, run.Why = verifyFailed, err.Error()
	}
	v.now, v.cancel = nil, nil
	return run.copied()
}

// of is the newest test of a channel, nil when there was none, and which channel is being
// tested now.
func (v *verifyRoom) of(name string) (run *verifyRun, busy string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.now != nil {
		busy = v.now.Channel
	}
	if v.last[name] == nil {
		return nil, busy
	}
	return v.last[name].copied(), busy
}

// breakOff ends the test of a channel, while it makes orders.
func (v *verifyRoom) breakOff(name, by string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.now == nil || v.now.Channel != name:
		return errNotTested
	case v.cancel == nil:
		return errors.New("the test is over, and is being kept: there is nothing to break off")
	case v.now.State == verifyRuns:
		v.now.State, v.now.StoppedBy = verifyCancels, by
	}
	v.cancel()
	return nil
}

// stop ends whatever goes on, with the watch.
func (v *verifyRoom) stop(context.Context) error {
	v.mu.Lock()
	if v.cancel != nil {
		v.now.State = verifyCancels
		v.cancel()
	}
	v.mu.Unlock()
	v.works.Wait()
	return nil
}

func (r *verifyRun) copied() *verifyRun {
	out := *r
	out.Findings, out.Lies = slices.Clone(r.Findings), slices.Clone(r.Lies)
	return &out
}
