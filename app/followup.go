package app

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/journal"
	"github.com/moneta-pay/moneta/doctor/tell"
)

// FollowUpChange is what a person says of a follow-up; what is nil stays as it was.
type FollowUpChange struct {
	// Who says it; of a visitor of the console it is the one who is signed in.
	Who string `json:"who,omitempty"`
	// ID of one that is there; empty adds one, which takes Text.
	ID    string  `json:"id,omitempty"`
	Text  *string `json:"text,omitempty"`
	Owner *string `json:"owner,omitempty"`
	Due   *string `json:"due,omitempty"`
	Done  *bool   `json:"done,omitempty"`
}

var errNoFollowUp = errors.New("no follow-up of this incident has this id")

// before is what a follow-up was when s was read: one that was written down, one that the
// entries ask for, or a new one.
func (c *FollowUpChange) before(s *tell.Source) (doctor.FollowUp, error) {
	var u doctor.FollowUp
	if c.ID == "" {
		u.ID = "t-" + strings.ToLower(rand.Text()[:8])
	} else {
		room, err := tell.RoomOf(s)
		if err != nil {
			return u, err
		}
		all := slices.Concat(room.Todo.Short, room.Todo.Mid, room.Todo.Long, room.Todo.Added)
		i := slices.IndexFunc(all, func(f tell.FollowUp) bool { return f.ID == c.ID })
		if i < 0 {
			return u, errNoFollowUp
		}
		u = all[i].FollowUp
	}
	return u, nil
}

// after is u with what changes; what somebody else wrote down meanwhile stays.
func (c *FollowUpChange) after(u doctor.FollowUp, in *doctor.Incident) (doctor.FollowUp, error) {
	if in != nil {
		if i := slices.IndexFunc(in.FollowUps, func(o doctor.Followed) bool { return o.ID == u.ID }); i >= 0 {
			now := in.FollowUps[i].FollowUp
			now.Owner = cmp.Or(now.Owner, u.Owner)
			u = now
		}
	}
	for _, f := range []struct{ from, to *string }{{c.Text, &u.Text}, {c.Owner, &u.Owner}, {c.Due, &u.Due}} {
		if f.from != nil {
			*f.to = strings.TrimSpace(*f.from)
		}
	}
	if c.Done != nil {
		u.Done = *c.Done
	}
	return u, u.Check()
}

// entry makes the line of the journal that says so from the incident as it stands then:
// what two people change at once is both kept.
func (c *FollowUpChange) entry(s *tell.Source, at time.Time) (func(*doctor.Incident) (doctor.Entry, error), error) {
	before, err := c.before(s)
	if err != nil {
		return nil, err
	}
	if _, err := c.after(before, &s.Incident); err != nil {
		return nil, err
	}
	return func(in *doctor.Incident) (doctor.Entry, error) {
		u, err := c.after(before, in)
		if err != nil {
			return doctor.Entry{}, err
		}
		raw, err := json.Marshal(u)
		return doctor.Entry{Incident: s.Incident.ID, At: at, What: doctor.EntryFollowUp, Who: c.Who, Data: raw}, err
	}, nil
}

// takeFollowUp is POST of a follow-up: of a command on this machine, which says who, or of
// a visitor, who must be an operator.
func (w *watch) takeFollowUp(rw http.ResponseWriter, r *http.Request) {
	var c FollowUpChange
	if !read(rw, r, &c, `a follow-up is {"text":"…","owner":"…","due":"2026-12-01"}, or {"id":"…","done":true}`) {
		return
	}
	if v, visits := visitorOf(r.Context()); visits {
		if _, ok := may(rw, r, access.Operate); !ok {
			return
		}
		c.Who = v.Name
	}
	s := w.sourceOf(rw, r)
	if s == nil {
		return
	}
	line, err := c.entry(s, w.attendance.clock.Now().UTC())
	var e doctor.Entry
	if err == nil {
		e, err = w.attendance.journal.AppendOf(r.Context(), s.Incident.ID, line)
	}
	switch {
	case err == nil:
		answer(rw, e)
	case errors.Is(err, errNoFollowUp):
		refuse(rw, http.StatusNotFound, "not-found", err.Error())
	case errors.Is(err, journal.ErrRefused):
		refuse(rw, http.StatusConflict, "conflict", err.Error())
	case errors.Is(err, journal.ErrNotKept), errors.Is(err, journal.ErrLost), errors.Is(err, journal.ErrClosed):
		refuse(rw, http.StatusServiceUnavailable, "unavailable", "the journal does not take it: "+err.Error())
	default:
		refuse(rw, http.StatusBadRequest, "malformed-request", err.Error())
	}
}

// openFollowUp is one that people wrote down and nobody has done.
type openFollowUp struct {
	Incident string `json:"incident"`
	doctor.FollowUp
	Overdue bool `json:"overdue"`
}

// openFollowUps are those of all incidents, the first due first, those without a day last.
func openFollowUps(all []doctor.Incident, now time.Time) []openFollowUp {
	out := []openFollowUp{}
	for i := range all {
		for _, u := range all[i].FollowUps {
			if !u.Done {
				out = append(out, openFollowUp{all[i].ID, u.FollowUp, u.Overdue(now)})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b openFollowUp) int {
		if (a.Due == "") != (b.Due == "") {
			return -cmp.Compare(a.Due, b.Due)
		}
		return cmp.Compare(a.Due, b.Due)
	})
	return out
}

// IncidentFollowUps prints what follows from one incident, whose it is and by when; with an
// empty id what is still to be done of all, and only that.
func IncidentFollowUps(c IncidentConfig, id string) error {
	t := tabwriter.NewWriter(c.Out, 0, 4, 2, ' ', 0)
	line := func(id string, u *doctor.FollowUp, overdue bool) {
		mark := " "
		if u.Done {
			mark = "x"
		}
		due := orDash(u.Due)
		if overdue {
			due += " " + say(c.Lang, "todo-overdue")
		}
		fmt.Fprintf(t, "[%s]\t%s\t%s\t%s\t%s\n", mark, id, orDash(plain(u.Owner)), plain(due), plain(u.Text))
	}
	if id == "" {
		all, _, err := c.readIncidents("")
		if err != nil {
			return err
		}
		open := openFollowUps(all, time.Now())
		if c.JSON {
			return writeJSON(c.Out, map[string]any{"follow_ups": open})
		}
		if len(open) == 0 {
			_, err := fmt.Fprint(c.Out, say(c.Lang, "todo-none"))
			return err
		}
		fmt.Fprint(t, say(c.Lang, "todo-head"))
		for i := range open {
			line(open[i].Incident+" "+open[i].ID, &open[i].FollowUp, open[i].Overdue)
		}
		return t.Flush()
	}
	s, err := c.source(id)
	if err != nil {
		return err
	}
	room, err := tell.RoomOf(s)
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(c.Out, room.Todo)
	}
	fmt.Fprint(t, say(c.Lang, "todo-head"))
	for _, u := range slices.Concat(room.Todo.Short, room.Todo.Mid, room.Todo.Long, room.Todo.Added) {
		line(u.ID, &u.FollowUp, u.Overdue)
	}
	return t.Flush()
}

// IncidentFollow writes down who does what by when. While a watch runs, it is the one that
// writes.
func IncidentFollow(ctx context.Context, c IncidentConfig, id string, change *FollowUpChange) error {
	s, err := c.source(id)
	if err != nil {
		return err
	}
	line, err := change.entry(s, time.Time{})
	if err != nil {
		return err
	}
	j, err := journal.Open(journalDir(c.DataDir))
	var e doctor.Entry
	if errors.Is(err, journal.ErrBusy) {
		e, err = c.throughWatch(ctx, "/incidents/"+s.Incident.ID+"/follow-ups?lang="+c.Lang, change)
	} else if err == nil {
		e, err = j.AppendOf(ctx, s.Incident.ID, line)
		err = errors.Join(err, j.Close())
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(c.Out, e)
	}
	var u doctor.FollowUp
	if err := json.Unmarshal(e.Data, &u); err != nil {
		return err
	}
	_, err = fmt.Fprint(c.Out, say(c.Lang, "todo-kept", u.ID, e.Seq))
	return err
}

// throughWatch has the running watch write a line into its journal.
func (c *IncidentConfig) throughWatch(ctx context.Context, path string, v any) (e doctor.Entry, err error) {
	w, err := findWatch(c.DataDir)
	if err != nil {
		return e, err
	}
	body, err := json.Marshal(v)
	if err != nil {
		return e, err
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(w.URL, "/")+path, bytes.NewReader(body))
	if err != nil {
		return e, err
	}
	req.Header.Set("Authorization", "Bearer "+w.Token)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return e, fmt.Errorf("%w: it does not answer: %w", errNoWatch, err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return e, err
	}
	if res.StatusCode != http.StatusOK {
		return e, fmt.Errorf("the watch answered %s: %s", res.Status, strings.TrimSpace(string(raw)))
	}
	return e, json.Unmarshal(raw, &e)
}
