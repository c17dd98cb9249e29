// Package contain is the doctor's hands for levers: to hold something back, through
// the API and within a second, and to let it go again. While the API does not answer,
// the levers that files may pull are pulled in the folder of the node on this machine,
// which the node reads whatever became of everything else.
//
// It refuses a lever without an end or for longer than two hours, and knows each of
// its pulls by the act that it was made for: an act that is repeated after a crash
// finds its own lever, and its undo finds whatever it left, on both ways.
package contain

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/lever"
	"github.com/moneta-pay/moneta/lever/board"
)

const (
	// Owner of the doctor's levers.
	Owner = "doctor"
	// ForUsually is how long a lever holds when the step does not say.
	ForUsually = 30 * time.Minute
	// ForMost is how long at most: an incident that lasts longer pulls again, and says
	// again why.
	ForMost = 2 * time.Hour

	// answerWithin leaves, of the second that containing may take, some for the file.
	answerWithin = 800 * time.Millisecond
	askAgain     = 3 * time.Second
	answerMax    = 1 << 20
	reasonMost   = 360 // bytes, before the incident and the act
)

// Config says where levers are.
type Config struct {
	// URL of a node; Key returns the API key to use, with the scope installation.
	URL string
	Key func() (string, error)
	// Folder is where the node on this machine reads levers; empty when it is on another.
	Folder string
	Clock  clock.Clock
	Client *http.Client
}

// Hands returns the hands for levers: lever, and undo-lever.
func Hands(cfg Config) []doctor.Hand {
	cfg.Clock = cmp.Or(cfg.Clock, clock.System)
	if cfg.Client == nil {
		cfg.Client = &http.Client{}
	}
	c := &levers{Config: cfg}
	return []doctor.Hand{puller{c}, undoer{c}}
}

type levers struct {
	Config

	mu     sync.Mutex
	silent time.Time // since when the API gave no answer; zero when the last one came
}

// passes reports whether to ask at all: who was silent a moment ago is not waited for
// at each step of one act. It is asked again every few seconds.
func (c *levers) passes() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.silent.IsZero() || c.Clock.Now().Sub(c.silent) > askAgain
}

func (c *levers) heard(answered bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.silent = time.Time{}
	if !answered {
		c.silent = c.Clock.Now()
	}
}

// held is a lever as the API tells of it, and as we need it.
type held struct {
	ID        string        `json:"id"`
	Lever     lever.Name    `json:"lever"`
	Aim       string        `json:"aim"`
	Value     string        `json:"value"`
	Owner     string        `json:"owner"`
	Reason    string        `json:"reason"`
	ExpiresAt time.Time     `json:"expires_at"`
	Radius    *lever.Radius `json:"radius"`
	// file says that it is known from the folder.
	file bool
}

// silentError says that the API gave no answer that means anything: what it was asked
// may or may not have been done.
type silentError struct{ err error }

func (e *silentError) Error() string { return "the API does not answer: " + e.err.Error() }
func (e *silentError) Unwrap() error { return e.err }

// ask asks the API.
func (c *levers) ask(ctx context.Context, method, path string, body, out any) error {
	if !c.passes() {
		return &silentError{errors.New("nor did it a moment ago")}
	}
	err := c.request(ctx, method, path, body, out)
	var silent *silentError
	c.heard(!errors.As(err, &silent))
	return err
}

func (c *levers) request(ctx context.Context, method, path string, body, out any) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	key, err := c.Key()
	if err != nil {
		return &silentError{err}
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(c.URL, "/")+path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.Client.Do(req)
	if err != nil {
		return &silentError{err}
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, answerMax))
	switch {
	case err != nil:
		return &silentError{err}
	case resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests:
		return &silentError{fmt.Errorf("%s", resp.Status)}
	case resp.StatusCode >= 300:
		var problem struct {
			Title  string `json:"title"`
			Detail string `json:"detail"`
		}
		_ = json.Unmarshal(answer, &problem) // what is no problem is told by its status
		return fmt.Errorf("the API refuses it: %s", cmp.Or(problem.Detail, problem.Title, resp.Status))
	}
	return json.Unmarshal(answer, out)
}

// holding returns what holds now: of the API as far as it answers, and of the folder.
// It fails only when it knows of neither.
func (c *levers) holding(ctx context.Context) (all []held, err error) {
	var list struct {
		Data []held `json:"data"`
	}
	apiErr := c.ask(ctx, http.MethodGet, "/v1/levers", nil, &list)
	if apiErr == nil {
		all = list.Data
	}
	if c.Folder == "" {
		return all, apiErr
	}
	pulls, _, err := board.ReadLocally(c.Folder)
	if err != nil {
		return all, errors.Join(err, apiErr)
	}
	now := c.Clock.Now()
	for i := range pulls {
		p := &pulls[i]
		if p.Holds(now) && !known(all, p.ID.String()) {
			all = append(all, held{ID: p.ID.String(), Lever: p.Lever, Aim: p.Aim.String(), Value: p.Value, Owner: p.Owner, Reason: p.Reason, ExpiresAt: p.Expires, file: true})
		}
	}
	var silent *silentError
	if apiErr != nil && !errors.As(apiErr, &silent) {
		return all, apiErr
	}
	return all, nil
}

func known(all []held, id string) bool {
	for i := range all {
		if all[i].ID == id {
			return true
		}
	}
	return false
}

// mark is what an act's lever has in its reason, for the act to find it again.
func mark(actID string) string {
	sum := sha256.Sum256([]byte(actID))
	return "act " + hex.EncodeToString(sum[:5])
}

// incidentOf is the incident as the reason of a lever names it.
func incidentOf(a doctor.Act) string { return fmt.Sprintf("%.100s", cmp.Or(a.Incident, "no incident")) }

func (h *held) of(mark string) bool {
	return h.Owner == Owner && strings.HasSuffix(h.Reason, mark+")")
}

// puller is the hand that pulls.
type puller struct{ *levers }

func (puller) Does() string        { return doctor.DoLever }
func (puller) Reach() doctor.Reach { return doctor.Undoable }

// reachOf is the lever's rung on the ladder.
func reachOf(n lever.Name) doctor.Reach {
	if e, ok := lever.Lookup(n); ok && e.Class <= lever.R1 {
		return doctor.Instant
	}
	return doctor.Undoable
}

// pull is what the act asks for, checked by the same rules as everybody's.
func (c *levers) pull(a doctor.Act) (lever.Pull, time.Duration, error) {
	text := cmp.Or(a.With["aim"], a.Aim, string(lever.Everything))
	aim, err := lever.ParseAim(text)
	if err != nil {
		return lever.Pull{}, 0, fmt.Errorf("aim %q: %w", text, err)
	}
	hold := ForUsually
	if s := a.With["for"]; s != "" {
		if hold, err = time.ParseDuration(s); err != nil {
			return lever.Pull{}, 0, fmt.Errorf("for %q is no time such as 30m", s)
		}
	}
	if hold > ForMost {
		return lever.Pull{}, 0, fmt.Errorf("the doctor pulls a lever for at most %s", ForMost)
	}
	reason := cmp.Or(a.With["reason"], a.Why, a.Cause)
	if len(reason) > reasonMost {
		reason = strings.ToValidUTF8(reason[:reasonMost], "")
	}
	now := c.Clock.Now().UTC()
	p := lever.Pull{
		Lever: lever.Name(a.With["lever"]), Aim: aim, Value: a.With["value"], ValueZH: a.With["value_zh"], Owner: Owner, By: Owner, At: now, Expires: now.Add(hold),
		Reason: fmt.Sprintf("%s (%s, %s)", reason, incidentOf(a), mark(a.ID)),
	}
	return p, hold, p.Check()
}

// Try counts what it would hold back.
func (h puller) Try(ctx context.Context, a doctor.Act) (doctor.Change, error) {
	p, hold, err := h.pull(a)
	out := doctor.Change{Reach: reachOf(p.Lever)}
	if err != nil {
		return out, err
	}
	if found := h.found(ctx, &p, a); found != nil {
		return *found, nil
	}
	out.Undo = undoOf(a, &p)
	var got held
	err = h.ask(ctx, http.MethodPost, "/v1/levers", order(&p, hold, true), &got)
	var silent *silentError
	switch {
	case errors.As(err, &silent):
		if e, _ := lever.Lookup(p.Lever); !e.Local || h.Folder == "" {
			return out, fmt.Errorf("%w; and %s is not pulled by a file here", err, p.Lever)
		}
		out.Before = "the API does not answer"
		out.After = fmt.Sprintf("%s %s by a file, until %s", p.Lever, p.Aim, p.Expires.Format(time.RFC3339))
		return out, nil
	case err != nil:
		return out, err
	}
	out.Items, out.Before = radius(got.Radius)
	out.After = fmt.Sprintf("%s %s %s, until %s", p.Lever, p.Aim, p.Value, p.Expires.Format(time.RFC3339))
	return out, nil
}

// found is the lever that holds already: this act's, with its undo, or somebody's that
// does the same for as long.
func (h puller) found(ctx context.Context, p *lever.Pull, a doctor.Act) *doctor.Change {
	all, err := h.holding(ctx)
	if err != nil {
		return nil // whether the pull can be made is for the pull to find out
	}
	for i := range all {
		x := &all[i]
		ours := x.of(mark(a.ID))
		theirs := x.Lever == p.Lever && x.Aim == p.Aim.String() && x.Value == p.Value && !x.ExpiresAt.Before(p.Expires)
		if !ours && !theirs {
			continue
		}
		out := doctor.Change{Reach: reachOf(p.Lever), Nothing: true, After: fmt.Sprintf("%s %s holds already (%s of %s)", x.Lever, x.Aim, x.ID, x.Owner)}
		if ours {
			out.Undo = undoOf(a, p)
		}
		return &out
	}
	return nil
}

func radius(r *lever.Radius) (items int, text string) {
	if r == nil {
		return 0, "not counted"
	}
	if r.Open != nil {
		items = int(*r.Open)
		text = fmt.Sprintf("%d open payments", *r.Open)
	}
	if r.PerMinute != nil {
		text = strings.TrimPrefix(text+fmt.Sprintf(", %v payments a minute", *r.PerMinute), ", ")
	}
	return items, text
}

// undoOf is the act that lets go of whatever the act pulled.
func undoOf(a doctor.Act, p *lever.Pull) *doctor.Act {
	return &doctor.Act{Do: doctor.DoUndoLever, Aim: p.Aim.String(), With: map[string]string{"act": a.ID, "lever": string(p.Lever)}, Why: "undo: " + a.Why}
}

type newLever struct {
	Lever   string `json:"lever"`
	Aim     string `json:"aim"`
	Value   string `json:"value,omitempty"`
	ValueZH string `json:"value_zh,omitempty"`
	Owner   string `json:"owner"`
	Reason  string `json:"reason"`
	ForS    int    `json:"for_s"`
	DryRun  bool   `json:"dry_run,omitempty"`
}

func order(p *lever.Pull, hold time.Duration, dry bool) *newLever {
	return &newLever{string(p.Lever), p.Aim.String(), p.Value, p.ValueZH, p.Owner, p.Reason, int(hold / time.Second), dry}
}

// Act pulls. When the API was asked and did not answer, it may have pulled all the
// same: the undo lets go of both.
func (h puller) Act(ctx context.Context, a doctor.Act) (doctor.Change, error) {
	p, hold, err := h.pull(a)
	out := doctor.Change{Reach: reachOf(p.Lever), Undo: undoOf(a, &p)}
	if err != nil {
		return out, err
	}
	var got held
	err = h.ask(ctx, http.MethodPost, "/v1/levers", order(&p, hold, false), &got)
	if err == nil {
		out.Items, out.Before = radius(got.Radius)
		out.After = fmt.Sprintf("%s %s %s holds until %s (%s)", p.Lever, p.Aim, p.Value, got.ExpiresAt.Format(time.RFC3339), got.ID)
		return out, nil
	}
	var silent *silentError
	if !errors.As(err, &silent) || h.Folder == "" {
		return out, err
	}
	local, fileErr := board.PullLocally(h.Folder, p, h.Clock.Now())
	if fileErr != nil {
		return out, errors.Join(err, fileErr)
	}
	out.Before = err.Error()
	out.After = fmt.Sprintf("%s %s holds by a file until %s (%s)", p.Lever, p.Aim, p.Expires.Format(time.RFC3339), local.ID)
	return out, nil
}

// undoer is the hand that lets go.
type undoer struct{ *levers }

func (undoer) Does() string        { return doctor.DoUndoLever }
func (undoer) Reach() doctor.Reach { return doctor.Instant }

// targets are the doctor's levers that the act names: by id, or by the act that pulled
// them. Another one's is let go by its owner.
func (h undoer) targets(ctx context.Context, a doctor.Act) ([]held, error) {
	all, err := h.holding(ctx)
	if err != nil {
		return nil, err
	}
	var out []held
	for i := range all {
		x := &all[i]
		switch {
		case a.With["act"] != "" && x.of(mark(a.With["act"])):
		case a.With["act"] == "" && a.With["id"] == "" && x.Owner == Owner && string(x.Lever) == a.With["lever"] &&
			x.Aim == cmp.Or(a.With["aim"], a.Aim) && strings.Contains(x.Reason, "("+incidentOf(a)+", act "):
		case a.With["id"] != "" && x.ID == a.With["id"]:
			if x.Owner != Owner {
				return nil, fmt.Errorf("%s is %s's: who pulled it lets it go", x.ID, x.Owner)
			}
		default:
			continue
		}
		out = append(out, *x)
	}
	return out, nil
}

// Try lists what it would let go.
func (h undoer) Try(ctx context.Context, a doctor.Act) (doctor.Change, error) {
	out := doctor.Change{Reach: doctor.Instant}
	if a.With["act"] == "" && a.With["id"] == "" && a.With["lever"] == "" {
		return out, errors.New("name the lever by its id, by the act that pulled it, or by lever and aim")
	}
	found, err := h.targets(ctx, a)
	out.Items, out.Nothing = len(found), err == nil && len(found) == 0
	for _, x := range found {
		out.Rows = append(out.Rows, fmt.Sprintf("%s %s %s until %s", x.ID, x.Lever, x.Aim, x.ExpiresAt.Format(time.RFC3339)))
	}
	out.Before = strings.Join(out.Rows, "; ")
	return out, err
}

// Act lets go of all of them, by the API or else by a file.
func (h undoer) Act(ctx context.Context, a doctor.Act) (doctor.Change, error) {
	out, err := h.Try(ctx, a)
	if err != nil || out.Nothing {
		return out, err
	}
	found, err := h.targets(ctx, a)
	if err != nil {
		return out, err
	}
	reason := fmt.Sprintf("%.300s (%s)", cmp.Or(a.With["reason"], a.Why, "it is over"), incidentOf(a))
	var errs []error
	for i := range found {
		errs = append(errs, h.letGo(ctx, &found[i], strings.ToValidUTF8(reason, "")))
	}
	out.After = "let go"
	return out, errors.Join(errs...)
}

func (h undoer) letGo(ctx context.Context, x *held, reason string) error {
	id, err := lever.ParseID(x.ID)
	if err != nil {
		return err
	}
	if !x.file {
		err = h.ask(ctx, http.MethodDelete, "/v1/levers/"+url.PathEscape(x.ID)+"?reason="+url.QueryEscape(reason), nil, new(held))
		if err == nil {
			return nil
		}
	}
	if e, _ := lever.Lookup(x.Lever); !e.Local || h.Folder == "" {
		return fmt.Errorf("%s ends by itself at %s: %w", x.ID, x.ExpiresAt.Format(time.RFC3339), err)
	}
	return errors.Join(board.UndoLocally(h.Folder, lever.Undo{ID: id, By: Owner, Reason: reason}, h.Clock.Now()))
}
