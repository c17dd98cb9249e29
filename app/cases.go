package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/pay/desk"
)

const (
	caseTimeout   = 15 * time.Second
	caseAnswerMax = 4 << 20 // bytes of one answer
)

// CaseDesk is how a command reaches the cases: over the API, so that who did what
// is in the log, and so that it works from any machine.
type CaseDesk struct {
	// API is its base URL.
	API string
	// As is the key file of the operator who asks; it wins over Key.
	As string
	// Key is an admin key; empty takes the one in DataDir.
	Key     string
	DataDir string
	JSON    bool
	Lang    string
	Out     io.Writer
}

// call sends a request and returns the answer's body. A problem of the API becomes
// an error that says what it says.
func (d *CaseDesk) call(ctx context.Context, method, path string, body any) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, caseTimeout)
	defer cancel()
	var sent []byte
	if body != nil {
		var err error
		if sent, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(d.API, "/")+path, bytes.NewReader(sent))
	if err != nil {
		return nil, fmt.Errorf("--url: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	if err := d.identify(req, sent); err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w; is `moneta serve` up, and does --url name it?", err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, caseAnswerMax))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return nil, d.problem(resp.Status, raw)
	}
	return raw, nil
}

// identify says who asks: an operator, so that the log has a name, or a key.
func (d *CaseDesk) identify(req *http.Request, sent []byte) error {
	if d.As != "" {
		p := Person{KeyFile: d.As}
		return p.sign(req, sent)
	}
	key := d.Key
	if key == "" {
		keys, err := ReadKeys(keysPath(d.DataDir))
		if err != nil {
			return fmt.Errorf("%w; or say who you are with --as, or name a key with --key", err)
		}
		key = keys.Admin
	}
	req.Header.Set("Authorization", "Bearer "+key)
	return nil
}

func (d *CaseDesk) problem(status string, raw []byte) error {
	var p api.Problem
	if json.Unmarshal(raw, &p) != nil || p.Code == "" {
		return fmt.Errorf("%s answered %s: is this a Moneta?", d.API, status)
	}
	title := p.Title
	if d.Lang == "zh" {
		title = p.MessageZH
	}
	if p.Detail != "" {
		title += ": " + p.Detail
	}
	return fmt.Errorf("%s (%s); %s says what to do", title, p.Code, p.Type)
}

// CaseList prints cases, what is due first comes first.
func CaseList(ctx context.Context, d CaseDesk, q url.Values) error {
	for name := range q {
		if q.Get(name) == "" {
			q.Del(name)
		}
	}
	raw, err := d.call(ctx, http.MethodGet, "/v1/cases?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	if d.JSON {
		_, err = d.Out.Write(raw)
		return err
	}
	var list api.ListOf[api.Case]
	if err := json.Unmarshal(raw, &list); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if len(list.Data) == 0 {
		_, err := io.WriteString(d.Out, say(d.Lang, "case-none"))
		return err
	}
	t := tabwriter.NewWriter(d.Out, 0, 4, 2, ' ', 0)
	fmt.Fprint(t, say(d.Lang, "case-head"))
	for i := range list.Data {
		c := &list.Data[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", c.Number, c.Kind, c.Owner, d.due(c), orDash(c.Payment), plain(where(c.Finding)))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if list.HasMore {
		_, err = io.WriteString(d.Out, say(d.Lang, "case-more", list.Next))
	}
	return err
}

// due says until when, and whether it is late; of what needs nobody, its state.
func (d *CaseDesk) due(c *api.Case) string {
	switch {
	case c.State != desk.Open:
		return c.State
	case c.Overdue:
		return say(d.Lang, "case-late", stamp(c.Deadline))
	}
	return stamp(c.Deadline)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

func where(f *desk.Finding) string {
	if f == nil {
		return ""
	}
	parts := []string{}
	for _, s := range []string{f.State, f.Hop, f.Channel, f.Class, f.Reference} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, " ")
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// plain keeps what strangers wrote from steering the terminal.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' {
			return ' '
		}
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return -1
		}
		return r
	}, s)
}

// CaseShow prints one case with its log.
func CaseShow(ctx context.Context, d CaseDesk, number string) error {
	return d.one(ctx, http.MethodGet, "/v1/cases/"+url.PathEscape(number), nil)
}

// CaseNoteText is what CaseNote notes.
type CaseNoteText struct {
	Text        string
	ToHolder    bool
	URL, SHA256 string
}

// CaseNote adds a note, and prints the case.
func CaseNote(ctx context.Context, d CaseDesk, number string, n CaseNoteText) error {
	return d.one(ctx, http.MethodPost, "/v1/cases/"+url.PathEscape(number)+"/notes", api.NewNote(n))
}

// CaseAssign gives a case to somebody, and prints it; within is a new deadline,
// from now.
func CaseAssign(ctx context.Context, d CaseDesk, number, owner string, within time.Duration, reason string) error {
	a := api.Assignment{Owner: owner, Reason: reason}
	if within != 0 {
		at := clock.System.Now().Add(within).UTC()
		a.Deadline = &at
	}
	return d.one(ctx, http.MethodPost, "/v1/cases/"+url.PathEscape(number)+"/assign", a)
}

// CaseClose closes a case, and prints it.
func CaseClose(ctx context.Context, d CaseDesk, number, resolution, answer string) error {
	return d.one(ctx, http.MethodPost, "/v1/cases/"+url.PathEscape(number)+"/close", api.Closing{Resolution: resolution, Answer: answer})
}

func (d *CaseDesk) one(ctx context.Context, method, path string, body any) error {
	raw, err := d.call(ctx, method, path, body)
	if err != nil {
		return err
	}
	if d.JSON {
		_, err = d.Out.Write(raw)
		return err
	}
	var c api.Case
	if err := json.Unmarshal(raw, &c); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return d.print(&c)
}

func (d *CaseDesk) print(c *api.Case) error {
	var b strings.Builder
	line := func(label, text string) {
		if text != "" {
			fmt.Fprintf(&b, "  %s  %s\n", say(d.Lang, label), plain(text))
		}
	}
	fmt.Fprintf(&b, "%s  %s  %s\n  %s\n", c.Number, c.Kind, c.State, d.spoken(c.About.EN, c.About.ZH))
	line("case-owner", c.Owner)
	line("case-due", d.due(c))
	line("case-payment", c.Payment)
	if f := c.Finding; f != nil {
		line("case-found", where(f))
		if f.Since != nil {
			line("case-since", stamp(*f.Since))
		}
		if f.CheckedAt != nil {
			line("case-checked", stamp(*f.CheckedAt))
		}
		line("case-cause", f.Cause)
		line("case-origin", f.Origin)
		line("case-previous", f.Previous)
		for _, told := range f.Told {
			if told.Texts.Lang == d.Lang {
				line("case-told", told.Texts.Headline+" "+told.Texts.Money+" "+told.Texts.Next)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(f.Client)) {
			line("case-client", name+"="+f.Client[name])
		}
	}
	line("case-resolution", c.Resolution)
	for _, n := range c.Notes {
		text := n.Text
		if n.URL != "" || n.SHA256 != "" {
			text += " [" + strings.TrimSpace(n.URL+" "+n.SHA256) + "]"
		}
		if n.ToHolder {
			text = say(d.Lang, "case-to-holder") + text
		}
		fmt.Fprintf(&b, "    %s  %s  %s  %s\n", stamp(n.At), n.Action, plain(n.By), plain(text))
	}
	if c.Warning != nil {
		fmt.Fprintf(&b, "! %s\n", d.spoken(c.Warning.EN, c.Warning.ZH))
	}
	_, err := io.WriteString(d.Out, b.String())
	return err
}

func (d *CaseDesk) spoken(en, zh string) string {
	if d.Lang == "zh" {
		return zh
	}
	return en
}

// CaseJourney answers support's first questions about a payment, which may be named
// by its id or by its reference.
func CaseJourney(ctx context.Context, d CaseDesk, payment string) error {
	if !strings.HasPrefix(payment, "pay_") {
		raw, err := d.call(ctx, http.MethodGet, "/v1/payments?reference="+url.QueryEscape(payment), nil)
		if err != nil {
			return err
		}
		var found api.ListOf[api.Payment]
		if err := json.Unmarshal(raw, &found); err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		if len(found.Data) == 0 {
			return fmt.Errorf("no payment has the reference %s", payment)
		}
		payment = found.Data[0].ID
	}
	raw, err := d.call(ctx, http.MethodGet, "/v1/payments/"+url.PathEscape(payment)+"/journey", nil)
	if err != nil {
		return err
	}
	if d.JSON {
		_, err = d.Out.Write(raw)
		return err
	}
	var j desk.Journey
	if err := json.Unmarshal(raw, &j); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s\n", j.Payment, stamp(j.AsOf))
	for _, a := range j.Answers {
		fmt.Fprintf(&b, "  %-12s %-10s %s\n", a.Question, a.Answer, d.spoken(a.Text.EN, a.Text.ZH))
		for _, e := range a.Evidence {
			at := strings.Repeat(" ", 20)
			if e.At != nil {
				at = stamp(*e.At)
			}
			fmt.Fprintf(&b, "      %s  %s: %s\n", at, e.What, plain(e.Detail))
		}
	}
	_, err = io.WriteString(d.Out, b.String())
	return err
}
