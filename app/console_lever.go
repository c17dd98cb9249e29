package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/lever"
	"github.com/moneta-pay/moneta/lever/board"
)

// leverWithin bounds one question to the API about levers.
const leverWithin = 3 * time.Second

// leverRoutes are the containment switches. Who is signed in sees what holds; pulling and
// letting go takes an operator, and of the class R2 somebody who may approve. While the
// API is gone, those that files may pull are pulled in the folder of the node on this
// machine.
func (w *watch) leverRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/look/levers", w.lookLevers)
	mux.HandleFunc("POST /api/look/levers", w.pullLever)
	mux.HandleFunc("DELETE /api/look/levers/{id}", w.undoLever)
}

// leverKind is an entry of the catalogue for a screen.
type leverKind struct {
	Lever string      `json:"lever"`
	Class string      `json:"class"`
	Aims  []string    `json:"aims"`
	Does  doctor.Text `json:"does"`
	Value doctor.Text `json:"value"`
	Local bool        `json:"local"`
}

// errSilent says that the API gave no answer that means anything.
var errSilent = errors.New("the API does not answer")

// lookLevers tells what there is and what holds, from the API or, while it is gone, from
// the folder.
func (w *watch) lookLevers(rw http.ResponseWriter, r *http.Request) {
	kinds := []leverKind{}
	for _, e := range lever.Catalogue() {
		k := leverKind{Lever: string(e.Name), Class: e.Class.String(), Aims: []string{}, Does: doctor.Text{EN: e.Does.En, ZH: e.Does.Zh}, Value: doctor.Text{EN: e.Value.En, ZH: e.Value.Zh}, Local: e.Local}
		for _, a := range e.Aims {
			k.Aims = append(k.Aims, string(a))
		}
		kinds = append(kinds, k)
	}
	out := map[string]any{"kinds": kinds, "channels": w.channelNames(), "at": w.clock.Now().UTC()}
	v, _ := visitorOf(r.Context())
	var list api.ListOf[api.Lever]
	err := w.askLevers(r.Context(), v, http.MethodGet, "", nil, &list)
	if err != nil {
		out["silent"] = err.Error()
		list.Data = w.localLevers()
	}
	if list.Data == nil {
		list.Data = []api.Lever{}
	}
	out["held"] = list.Data
	answer(rw, out)
}

// channelNames are those that the watch sees.
func (w *watch) channelNames() []string {
	out := []string{}
	if e := w.attendance.evidence(); e != nil {
		for _, h := range e.Hops {
			if h.Kind == doctor.Channel {
				out = append(out, h.Name)
			}
		}
	}
	slices.Sort(out)
	return out
}

// localLevers hold by a file of the node on this machine.
func (w *watch) localLevers() (out []api.Lever) {
	pulls, _, err := board.ReadLocally(leverFolder(w.cfg.State))
	if err != nil {
		return nil
	}
	now := w.clock.Now()
	for i := range pulls {
		if l := api.ShowLever(&pulls[i], now); l.Holds {
			out = append(out, l)
		}
	}
	return out
}

// problemError is what the API refused, as it said it.
type problemError struct {
	status int
	code   string
	detail string
}

func (e *problemError) Error() string { return e.detail }

// askLevers asks the API as the visitor.
func (w *watch) askLevers(ctx context.Context, v visitor, method, path string, body, out any) error {
	if w.cfg.ServeURL == "" || v.Bearer == "" {
		return fmt.Errorf("%w: this watch knows no node that you may ask", errSilent)
	}
	ctx, cancel := context.WithTimeout(ctx, leverWithin)
	defer cancel()
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(w.cfg.ServeURL, "/")+"/v1/levers"+path, bytes.NewReader(raw)) //nolint:gosec // the node is the operator's own choice, the path an id that was parsed
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+v.Bearer)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req) //nolint:gosec // as above
	if err != nil {
		return fmt.Errorf("%w: %w", errSilent, err)
	}
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	switch {
	case err != nil || res.StatusCode >= http.StatusInternalServerError:
		return fmt.Errorf("%w: %s", errSilent, res.Status)
	case res.StatusCode >= http.StatusMultipleChoices:
		var p struct{ Code, Title, Detail string }
		_ = json.Unmarshal(got, &p) // what is no problem is told by its status
		return &problemError{res.StatusCode, p.Code, strings.TrimPrefix(p.Title+": "+p.Detail, ": ")}
	}
	return json.Unmarshal(got, out)
}

func (w *watch) pullLever(rw http.ResponseWriter, r *http.Request) {
	v, ok := may(rw, r, access.Operate)
	if !ok {
		return
	}
	var in api.NewLever
	if !read(rw, r, &in, `a lever is {"lever":"…","aim":"…","reason":"…","for_s":1800}`) {
		return
	}
	e, known := lever.Lookup(lever.Name(in.Lever))
	if known && e.Class > lever.R1 && v.Name != access.Local && !v.Role.Covers(access.Approver) {
		refuse(rw, http.StatusForbidden, "forbidden", in.Lever+" is of the class "+e.Class.String()+": it takes somebody who may approve")
		return
	}
	if in.Owner == "" {
		in.Owner = v.Name
	}
	var got api.Lever
	err := w.askLevers(r.Context(), v, http.MethodPost, "", &in, &got)
	if errors.Is(err, errSilent) && e.Local && w.cfg.State != "" {
		got, err = w.pullByFile(v, &in)
	}
	if err == nil && !got.DryRun {
		text := fmt.Sprintf("pulled %s %s until %s: %s", got.Lever, got.Aim, got.ExpiresAt.UTC().Format(time.RFC3339), in.Reason)
		if langOf(r) == "zh" {
			text = fmt.Sprintf("已执行 %s %s,到期 %s:%s", got.Lever, got.Aim, got.ExpiresAt.UTC().Format(time.RFC3339), in.Reason)
		}
		w.noteInRooms(r.Context(), v.Name, text)
	}
	w.toldOfLever(rw, &got, err)
}

// noteInRooms tells every open incident what a person did: what was held back is part of
// its story. A journal that cannot take it keeps nobody from containing.
func (w *watch) noteInRooms(ctx context.Context, who, text string) {
	for _, in := range w.attendance.journal.Incidents() {
		if in.ClosedAt != nil {
			continue
		}
		if _, err := w.attendance.note(ctx, in.ID, who, text); err != nil {
			w.log.LogAttrs(ctx, slog.LevelError, "what a person held back is not in the journal", slog.String("incident", in.ID), slog.Any("error", err))
		}
	}
}

// pullByFile pulls in the folder of the node on this machine; a dry run says that nobody
// can count what it would hold back.
func (w *watch) pullByFile(v visitor, in *api.NewLever) (out api.Lever, err error) {
	aim, err := lever.ParseAim(in.Aim)
	if err != nil {
		return out, err
	}
	now := w.clock.Now().UTC()
	p := lever.Pull{
		Lever: lever.Name(in.Lever), Aim: aim, Value: in.Value, ValueZH: in.ValueZH, Owner: in.Owner, Reason: in.Reason,
		By: "console " + v.Name, At: now, Expires: now.Add(time.Duration(in.ForS) * time.Second),
	}
	if in.DryRun {
		if err := p.Check(); err != nil {
			return out, err
		}
		out = api.ShowLever(&p, now)
		out.ID, out.DryRun, out.Via = "", true, string(lever.ViaFile)
		return out, nil
	}
	if p, err = board.PullLocally(leverFolder(w.cfg.State), p, now); err != nil {
		return out, err
	}
	return api.ShowLever(&p, now), nil
}

func (w *watch) undoLever(rw http.ResponseWriter, r *http.Request) {
	v, ok := may(rw, r, access.Operate)
	if !ok {
		return
	}
	id, err := lever.ParseID(r.PathValue("id"))
	if err != nil {
		refuse(rw, http.StatusNotFound, "not-found", "this is not the id of a lever")
		return
	}
	reason := r.URL.Query().Get("reason")
	var got api.Lever
	err = w.askLevers(r.Context(), v, http.MethodDelete, "/"+url.PathEscape(id.String())+"?reason="+url.QueryEscape(reason), nil, &got)
	if errors.Is(err, errSilent) {
		for _, l := range w.localLevers() {
			if l.ID == id.String() {
				got = l
				err = board.UndoLocally(leverFolder(w.cfg.State), lever.Undo{ID: id, By: "console " + v.Name, Reason: reason}, w.clock.Now())
			}
		}
	}
	if err == nil {
		text := fmt.Sprintf("let go of %s %s: %s", got.Lever, got.Aim, reason)
		if langOf(r) == "zh" {
			text = fmt.Sprintf("已解除 %s %s:%s", got.Lever, got.Aim, reason)
		}
		w.noteInRooms(r.Context(), v.Name, text)
	}
	w.toldOfLever(rw, &got, err)
}

func (w *watch) toldOfLever(rw http.ResponseWriter, l *api.Lever, err error) {
	var p *problemError
	var bad *lever.Refusal
	switch {
	case err == nil:
		answer(rw, l)
	case errors.As(err, &p):
		refuse(rw, p.status, p.code, p.detail)
	case errors.As(err, &bad):
		refuse(rw, http.StatusBadRequest, "malformed-request", err.Error())
	case errors.Is(err, errSilent):
		refuse(rw, http.StatusServiceUnavailable, "unavailable", err.Error()+"; what is marked as local is pulled by a file on the node's own machine")
	default:
		refuse(rw, http.StatusInternalServerError, "internal", err.Error())
	}
}
