package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/drain"
	"github.com/moneta-pay/moneta/doctor/runbook"
	"github.com/moneta-pay/moneta/doctor/stuck"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/notify"
)

const (
	drainsFolder = "drains"
	drainsShown  = 20
)

// repairRoutes are the repair bench. Who is signed in looks; bringing something forward
// takes an operator, and for what the doctor's ladder puts above that another person, who
// agrees to it like to any act that waits.
func (w *watch) repairRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/look/repair", w.lookRepair)
	mux.HandleFunc("GET /api/look/repair/items", w.lookStuck)
	mux.HandleFunc("POST /api/look/repair/orders", w.lookOrder)
	mux.HandleFunc("POST /api/look/repair/run", w.startDrain)
	mux.HandleFunc("POST /api/look/repair/run/pause", func(rw http.ResponseWriter, r *http.Request) { w.pauseDrain(rw, r, true) })
	mux.HandleFunc("POST /api/look/repair/run/resume", func(rw http.ResponseWriter, r *http.Request) { w.pauseDrain(rw, r, false) })
	mux.HandleFunc("DELETE /api/look/repair/run", w.stopDrain)
	mux.HandleFunc("GET /api/look/repair/runs/{id}/proof", w.drainProof)
}

// newBench joins the bench with the hands, the facts and the proof.
func (w *watch) newBench() *drain.Bench {
	return drain.New(drain.Config{
		Hand: w.attendance.hand, Follow: w.fateOf, Prove: w.attendance.prove, Clock: w.clock,
		Keep: func(p *drain.Progress) error {
			raw, err := json.Marshal(p)
			if err != nil {
				return err
			}
			return writeFile(filepath.Join(w.attendance.folder, drainsFolder, p.Order.ID+".json"), raw, 0o600)
		},
		Tell: func(d doctor.Done) {
			what := doctor.EntryDone
			if d.Error != "" {
				what = doctor.EntryFailed
			}
			d.Act.With = map[string]string{"channel": d.Act.With["channel"], "payments": strconv.Itoa(strings.Count(d.Act.With["payments"], "pay_"))}
			w.attendance.tellOfAct(d.Act.Incident, what, d.Act.By, d)
		},
	})
}

// hand is one of the doctor's, behind the never-list.
func (a *attendance) hand(act string) (doctor.Hand, error) {
	i := slices.IndexFunc(a.hands, func(h doctor.Hand) bool { return h.Does() == act })
	if i < 0 || act != doctor.DoRedispatch && act != doctor.DoQueryUnknowns && act != doctor.DoReplayCallbacks {
		return nil, fmt.Errorf("nobody here does %q: start the watch with --serve-url and beside the keys of the wallet", act)
	}
	return doctor.Guarded(a.hands[i]), nil
}

// fateOf is what became of an order, by the facts.
func (w *watch) fateOf(ctx context.Context, o *drain.Order) (out drain.Fate, err error) {
	if o.Act == doctor.DoReplayCallbacks {
		out.Open, err = w.stuck.CallbacksLeft(ctx, o.Channel)
		out.Value, out.Ended = map[string]string{}, map[string]int{}
		return out, err
	}
	var ids []int64
	for _, text := range o.Chosen() {
		id, err := pay.ParseID(text)
		if err != nil {
			return out, err
		}
		ids = append(ids, int64(id))
	}
	f, err := w.stuck.Follow(ctx, o.Kind, ids)
	return drain.Fate{Open: f.Open, Value: f.Value, Moved: f.Moved, Ended: f.Ended}, err
}

// lookRepair is what waits, and what was brought forward.
func (w *watch) lookRepair(rw http.ResponseWriter, r *http.Request) {
	out := map[string]any{"at": w.clock.Now().UTC(), "past": w.pastDrains()}
	if p, ok := w.bench.Now(); ok {
		out["run"] = p
	}
	groups, cut, err := w.stuck.Groups(r.Context())
	if err != nil {
		out["silent"] = err.Error()
		groups = []stuck.Group{}
	}
	for i := range groups {
		if n, err := strconv.ParseInt(groups[i].Channel, 10, 64); err == nil && groups[i].Kind == stuck.Webhooks {
			groups[i].Channel = notify.EndpointID(n).String()
		}
	}
	out["groups"], out["cut"] = groups, cut
	answer(rw, out)
}

// pastDrains are the newest runs that ended, from their files.
func (w *watch) pastDrains() []drain.Progress {
	out := []drain.Progress{}
	names, err := filepath.Glob(filepath.Join(w.attendance.folder, drainsFolder, "drain_*.json"))
	if err != nil {
		return out
	}
	now, going := w.bench.Now()
	for _, name := range names {
		var p drain.Progress
		raw, err := os.ReadFile(name)
		if err != nil || json.Unmarshal(raw, &p) != nil || going && p.Order.ID == now.Order.ID {
			continue
		}
		if p.State == drain.Running || p.State == drain.Paused { // the watch ended in the middle
			p.State, p.Says = drain.Stopped, "the watch was started again: what was offered goes on, the rest was not touched"
		}
		p.Order.Payments, p.Order.Left = nil, nil
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b drain.Progress) int { return b.Began.Compare(a.Began) })
	for i := drainsShown; i < len(out); i++ {
		_ = os.Remove(filepath.Join(w.attendance.folder, drainsFolder, out[i].Order.ID+".json")) // the journal has what was done
	}
	return out[:min(len(out), drainsShown)]
}

// lookStuck lists the payments of a group, the oldest first.
func (w *watch) lookStuck(rw http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	items, err := w.stuckItems(r.Context(), q.Get("kind"), q.Get("channel"), 200)
	if err != nil {
		refuse(rw, http.StatusServiceUnavailable, "database-unavailable", "the facts cannot be read: "+err.Error())
		return
	}
	answer(rw, map[string]any{"items": items})
}

func (w *watch) stuckItems(ctx context.Context, kind, channel string, n int) ([]stuck.Item, error) {
	items, err := w.stuck.Items(ctx, kind, channel, n)
	for i := range items {
		items[i].ID = pay.ID(items[i].Payment).String()
	}
	return items, err
}

// groupsOf are the groups that an act is about.
var groupsOf = map[string]string{doctor.DoRedispatch: stuck.Unsent, doctor.DoQueryUnknowns: stuck.Unanswered, doctor.DoReplayCallbacks: stuck.Callbacks}

// lookOrder is the dry run: exactly these payments, what would be done to how many, and
// why each other one is left out.
func (w *watch) lookOrder(rw http.ResponseWriter, r *http.Request) {
	v, ok := may(rw, r, access.Operate)
	if !ok {
		return
	}
	var in struct {
		Act      string   `json:"act"`
		Channel  string   `json:"channel"`
		Payments []string `json:"payments"`
		Incident string   `json:"incident"`
	}
	if !read(rw, r, &in, `an order is {"act":"redispatch","channel":"…","payments":["pay_…"]}`) {
		return
	}
	kind := groupsOf[in.Act]
	if kind == "" || len(in.Payments) > stuck.ItemsMost {
		refuse(rw, http.StatusBadRequest, "malformed-request", "act is redispatch, query-unknowns or replay-callbacks, of at most 1,000 payments")
		return
	}
	o := drain.Order{Act: in.Act, Kind: kind, Channel: in.Channel, Payments: in.Payments, By: v.Name, Incident: in.Incident}
	if in.Act != doctor.DoReplayCallbacks && len(o.Payments) == 0 {
		items, err := w.stuckItems(r.Context(), kind, in.Channel, stuck.ItemsMost)
		if err != nil {
			refuse(rw, http.StatusServiceUnavailable, "database-unavailable", "the facts cannot be read: "+err.Error())
			return
		}
		for i := range items {
			o.Payments = append(o.Payments, items[i].ID)
		}
		if len(items) == 0 {
			refuse(rw, http.StatusConflict, "conflict", "nothing of this group waits any more")
			return
		}
	}
	o, err := w.bench.Look(r.Context(), o)
	if err != nil {
		refuse(rw, http.StatusServiceUnavailable, "unavailable", err.Error())
		return
	}
	answer(rw, struct {
		drain.Order
		Needs int `json:"needs"`
	}{o, o.Reach.Approvals()})
}

// startDrain begins what was looked at. What is not undone by itself goes through the
// runbook, where another person agrees to it.
func (w *watch) startDrain(rw http.ResponseWriter, r *http.Request) {
	v, ok := may(rw, r, access.Operate)
	if !ok {
		return
	}
	var in struct {
		ID   string `json:"id"`
		Hash string `json:"hash"`
	}
	if !read(rw, r, &in, `a run is {"id":"drain_…","hash":"…"} of an order that you looked at`) {
		return
	}
	o, ok := w.bench.Order(in.ID, in.Hash)
	if ok && o.Reach.Approvals() > 0 {
		w.askOthers(rw, r, v, &o)
		return
	}
	p, err := w.bench.Start(w.attendance.going, in.ID, in.Hash, v.Name)
	toldOfDrain(rw, &p, err)
}

// askOthers has the runbook carry it out once somebody else has agreed.
func (w *watch) askOthers(rw http.ResponseWriter, r *http.Request, v visitor, o *drain.Order) {
	q := runbook.Request{
		Incident: o.ID, Phase: runbook.Repair, Hop: o.Channel, Who: v.Name,
		Steps: []doctor.Step{{ID: "bring-forward", Do: o.Act, Aim: o.Channel, With: map[string]string{"channel": o.Channel}, Why: doctor.Text{EN: "chosen at the repair bench by " + v.Name, ZH: v.Name + " 在修复台上选择"}}},
	}
	if o.Channel == "" {
		q.Steps[0].With = nil
	}
	result, err := w.attendance.runner.Run(r.Context(), q)
	if err != nil {
		refuse(rw, http.StatusServiceUnavailable, "unavailable", err.Error())
		return
	}
	rw.WriteHeader(http.StatusAccepted)
	answer(rw, map[string]any{"waits": result})
}

func toldOfDrain(rw http.ResponseWriter, p *drain.Progress, err error) {
	switch {
	case errors.Is(err, drain.ErrNone):
		refuse(rw, http.StatusNotFound, "not-found", err.Error())
	case errors.Is(err, drain.ErrBusy), errors.Is(err, drain.ErrStale):
		refuse(rw, http.StatusConflict, "conflict", err.Error())
	case err != nil:
		refuse(rw, http.StatusServiceUnavailable, "unavailable", err.Error())
	default:
		answer(rw, p)
	}
}

func (w *watch) pauseDrain(rw http.ResponseWriter, r *http.Request, on bool) {
	if _, ok := may(rw, r, access.Operate); !ok {
		return
	}
	p, err := w.bench.Pause(on)
	toldOfDrain(rw, &p, err)
}

func (w *watch) stopDrain(rw http.ResponseWriter, r *http.Request) {
	if _, ok := may(rw, r, access.Operate); !ok {
		return
	}
	w.bench.Halt()
	p, ok := w.bench.Now()
	if !ok {
		toldOfDrain(rw, &p, drain.ErrNone)
		return
	}
	answer(rw, p)
}

// drainProof hands out the signed recount at the end of a run.
func (w *watch) drainProof(rw http.ResponseWriter, r *http.Request) {
	id := filepath.Base(r.PathValue("id"))
	raw, err := os.ReadFile(filepath.Join(w.attendance.folder, drainsFolder, id+".json"))
	var p drain.Progress
	if err != nil || json.Unmarshal(raw, &p) != nil || p.Proof == nil {
		refuse(rw, http.StatusNotFound, "not-found", "there is no proof of this run")
		return
	}
	w.sendProof(rw, p.Proof.File)
}
