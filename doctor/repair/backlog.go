package repair

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// API is where the pay plane is asked to look at what waits.
type API struct {
	// URL of a node; Key returns an API key with the scope installation.
	URL    string
	Key    func() (string, error)
	Client *http.Client
}

// Backlog returns the hands for what waits in the pay plane: query-unknowns,
// redispatch, replay-callbacks, park-callback, rebuild-projection and propose-compensation.
// They bring forward what it does by itself, and move nothing that it would not: a payment goes out only if it never did,
// and a callback is applied by what it says. One that cannot be applied alone while
// others can is set aside with its reason; its bytes stay, and people replay it or give
// it up. That is not taken back when a later step fails: it would hold up the others
// again.
func Backlog(api API) []doctor.Hand {
	if api.Client == nil {
		api.Client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	}
	return []doctor.Hand{
		&hastener{api, doctor.DoQueryUnknowns, doctor.Undoable}, &hastener{api, doctor.DoRedispatch, doctor.Undoable},
		&hastener{api, doctor.DoReplayCallbacks, doctor.Compensable}, &hastener{api, doctor.DoParkCallback, doctor.Undoable},
		&rebuilder{api}, &proposer{api},
	}
}

const (
	apiWithin    = 20 * time.Second // callbacks are tried one by one for up to ten
	apiAnswerMax = 1 << 20
)

type hastener struct {
	API
	does  string
	reach doctor.Reach
}

func (h *hastener) Does() string        { return h.does }
func (h *hastener) Reach() doctor.Reach { return h.reach }

// waiting is the API's answer: what waits, and was brought forward.
type waiting struct {
	Items int               `json:"items"`
	Value map[string]string `json:"value"`
	Left  []struct {
		Payment string `json:"payment"`
		Why     string `json:"why"`
	} `json:"left"`
	Callbacks []struct {
		ID      string    `json:"id"`
		Channel string    `json:"channel"`
		At      time.Time `json:"received_at"`
		Reason  string    `json:"reason"`
	} `json:"callbacks"`
}

// Try counts what waits.
func (h *hastener) Try(ctx context.Context, a doctor.Act) (doctor.Change, error) {
	return h.ask(ctx, a, true)
}

// Act brings it forward. Twice is once: what is in hand already is not taken again.
func (h *hastener) Act(ctx context.Context, a doctor.Act) (doctor.Change, error) {
	return h.ask(ctx, a, false)
}

func (h *hastener) ask(ctx context.Context, a doctor.Act, dry bool) (out doctor.Change, err error) {
	out.Reach = h.reach
	channel := cmp.Or(a.With["channel"], a.Aim)
	if channel == "everything" {
		channel = ""
	}
	var got waiting
	order := map[string]any{"act": h.does, "channel": strings.TrimPrefix(channel, "channel:"), "dry_run": dry}
	if only := a.With["payments"]; only != "" { // exactly those that somebody has looked at
		order["payments"] = strings.Split(only, ",")
	}
	if h.does == doctor.DoParkCallback {
		h.park(order, &a)
	}
	err = h.post(ctx, "/v1/backlog", order, &got)
	if err != nil {
		return out, err
	}
	out.Items, out.Worth, out.Nothing = got.Items, got.Value, got.Items == 0
	var worth []string
	for asset, value := range got.Value {
		worth = append(worth, value+" "+asset+" (smallest unit)")
	}
	slices.Sort(worth)
	out.Value = strings.Join(worth, ", ")
	for _, x := range got.Left {
		out.Rows = append(out.Rows, x.Payment+" "+x.Why)
	}
	for _, x := range got.Callbacks[:min(len(got.Callbacks), doctor.RowsShown)] {
		out.Rows = append(out.Rows, strings.TrimSpace(x.ID+" "+x.Channel+" "+x.At.UTC().Format(time.RFC3339)+" "+x.Reason))
	}
	out.Before, out.After = fmt.Sprintf("%d wait", got.Items), "brought forward: "+h.does
	switch {
	case h.does == doctor.DoParkCallback && dry:
		out.After = "each is tried alone; those that cannot be applied are set aside with their reason"
	case h.does == doctor.DoParkCallback:
		out.Before, out.After = "", fmt.Sprintf("%d set aside, the rest applied or left to wait", got.Items)
	}
	return out, nil
}

const whyMost = 200 // characters that the API takes

// park says why, and which when somebody has named them.
func (*hastener) park(order map[string]any, a *doctor.Act) {
	why := []rune(a.Why)
	order["reason"] = cmp.Or(string(why[:min(len(why), whyMost)]), "it cannot be applied, and others wait behind it")
	if only := a.With["callbacks"]; only != "" {
		order["callbacks"] = strings.Split(only, ",")
	}
}

func (h *API) post(ctx context.Context, path string, body, out any) error {
	ctx, cancel := context.WithTimeout(ctx, apiWithin)
	defer cancel()
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	key, err := h.Key()
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(h.URL, "/")+path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := h.Client.Do(req)
	if err != nil {
		return fmt.Errorf("the API does not answer: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, apiAnswerMax))
	if err != nil {
		return fmt.Errorf("the API's answer broke off: %w", err)
	}
	if resp.StatusCode >= 300 {
		var problem struct{ Title, Detail string }
		_ = json.Unmarshal(answer, &problem) // what is no problem is told by its status
		return fmt.Errorf("the API refuses it: %s: %s", resp.Status, cmp.Or(problem.Detail, problem.Title))
	}
	return json.Unmarshal(answer, out)
}
