package repair

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/money"
)

// proposer has the pay plane propose what open breaks owe to holders. Nothing moves by it:
// a proposal waits for two people, can be refused by each of them, and ends within hours
// by itself. That is why it is as good as undone at once, and why a later step that fails
// takes it not back: people are about to look at it. What the pay plane keeps of it keeps
// it single: asked again after a crash, it answers with the proposal that stands.
type proposer struct{ API }

func (*proposer) Does() string        { return doctor.DoProposeCompensation }
func (*proposer) Reach() doctor.Reach { return doctor.Instant }

// Try counts the breaks that say what they owe and of which nothing is proposed. No
// channel is asked for it.
func (h *proposer) Try(ctx context.Context, a doctor.Act) (doctor.Change, error) {
	return h.ask(ctx, &a, true)
}

// Act asks their channels, and proposes what they bear out.
func (h *proposer) Act(ctx context.Context, a doctor.Act) (doctor.Change, error) {
	return h.ask(ctx, &a, false)
}

// An incident as the pay plane lets itself be told of one, and nothing else: the reason
// stands in the machine's name.
var incidentID = regexp.MustCompile(`^inc-[0-9]{8}-[0-9]{6}$`)

// pagesMost bounds one act; each page looks at breaks that no one before did.
const pagesMost = 10

// owedBreaks is the pay plane's answer.
type owedBreaks struct {
	Items     int               `json:"items"`
	Value     map[string]string `json:"value"`
	Next      string            `json:"next"`
	Proposals []struct {
		Break    string `json:"break"`
		Payment  string `json:"payment"`
		Approval string `json:"approval"`
		State    string `json:"state"`
		New      bool   `json:"new"`
		Amount   string `json:"amount"`
		Asset    string `json:"asset"`
		Why      string `json:"why"`
	} `json:"proposals"`
}

// pages asks until the pay plane has looked at every break, or pagesMost times. What was
// proposed before an error stands, and is found again by whoever asks once more.
func (h *proposer) pages(ctx context.Context, a *doctor.Act, channel string, dry bool) (all owedBreaks, err error) {
	order := map[string]any{"act": h.Does(), "channel": channel, "dry_run": dry}
	if incidentID.MatchString(a.Incident) {
		order["reason"] = a.Incident
	}
	all.Value = map[string]string{}
	for range pagesMost {
		var got owedBreaks
		if err := h.post(ctx, "/v1/backlog", order, &got); err != nil {
			return all, err
		}
		all.Items += got.Items
		for asset, value := range got.Value {
			if all.Value[asset], err = added(all.Value[asset], value); err != nil {
				return all, err
			}
		}
		all.Proposals = append(all.Proposals, got.Proposals...)
		if all.Next = got.Next; got.Next == "" {
			break
		}
		order["after"] = got.Next
	}
	return all, nil
}

// added adds two amounts in smallest units, of which the first may be missing.
func added(a, b string) (string, error) {
	x, err := money.ParseMinor(cmp.Or(a, "0"))
	if err != nil {
		return "", err
	}
	y, err := money.ParseMinor(b)
	if err == nil {
		x, err = x.Add(y)
	}
	return x.String(), err
}

func (h *proposer) ask(ctx context.Context, a *doctor.Act, dry bool) (out doctor.Change, err error) {
	out.Reach = h.Reach()
	channel := strings.TrimPrefix(cmp.Or(a.With["channel"], a.Aim), "channel:")
	if channel == "everything" {
		channel = ""
	}
	got, err := h.pages(ctx, a, channel, dry)
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
	waiting := 0
	for _, p := range got.Proposals {
		row := "break " + p.Break
		for _, more := range []string{p.Payment, strings.TrimSpace(p.Amount + " " + p.Asset), p.Approval, p.State, strings.ReplaceAll(p.Why, "\n", " ")} {
			if more != "" {
				row += ", " + more
			}
		}
		if p.Approval != "" && p.State == "proposed" {
			waiting++
		}
		if len(out.Rows) < doctor.RowsShown {
			out.Rows = append(out.Rows, row)
		}
	}
	out.Before = fmt.Sprintf("%d open breaks say to whom how much is owed", len(got.Proposals))
	out.After = fmt.Sprintf("%d proposals wait for two people: moneta approve list --state proposed", waiting)
	if dry {
		out.After = fmt.Sprintf("%d would be proposed if their channels bear them out; %d proposals wait for two people", got.Items, waiting)
	}
	if got.Next != "" {
		out.After += fmt.Sprintf("; the breaks after %s were not looked at", got.Next)
	}
	return out, nil
}
