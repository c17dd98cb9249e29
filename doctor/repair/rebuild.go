package repair

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// rebuilder derives anew what is derived from the log: rows that are missing come again,
// rows that the log does not bear out go. It moves no money, and what is right stays, so
// that there is nothing to take back. It goes piece by piece; broken off, the next one
// begins again, and changes nothing that is right.
type rebuilder struct{ API }

// Projections are those that can be derived anew.
var Projections = []string{"recon_expected", "webhooks"}

const (
	rebuildWithin = 10 * time.Minute
	rebuildBack   = 24 * time.Hour
)

func (*rebuilder) Does() string          { return doctor.DoRebuildProjection }
func (*rebuilder) Reach() doctor.Reach   { return doctor.Compensable }
func (*rebuilder) Within() time.Duration { return rebuildWithin }

// Try counts what is missing or wrong.
func (h *rebuilder) Try(ctx context.Context, a doctor.Act) (doctor.Change, error) {
	return h.derive(ctx, &a, true)
}

// Act rebuilds.
func (h *rebuilder) Act(ctx context.Context, a doctor.Act) (doctor.Change, error) {
	return h.derive(ctx, &a, false)
}

func (h *rebuilder) derive(ctx context.Context, a *doctor.Act, dry bool) (out doctor.Change, err error) {
	out.Reach = doctor.Compensable
	name := cmp.Or(a.With["projection"], a.Aim)
	order := map[string]any{"act": h.Does(), "projection": name, "dry_run": dry}
	since := a.At.Add(-rebuildBack)
	if said := a.With["since"]; said != "" {
		if since, err = time.Parse(time.RFC3339, said); err != nil {
			return out, fmt.Errorf("since %q is no time such as 2026-11-22T10:00:00Z", said)
		}
	}
	if !since.IsZero() && since.Year() > 1 {
		order["since"] = since.UTC().Format(time.RFC3339)
	}
	dropped := 0
	for {
		var got struct {
			Items   int    `json:"items"`
			Dropped int    `json:"dropped"`
			Next    string `json:"next"`
		}
		if err := h.post(ctx, "/v1/backlog", order, &got); err != nil {
			return out, err
		}
		out.Items, dropped = out.Items+got.Items, dropped+got.Dropped
		if got.Next == "" {
			break
		}
		if got.Next == order["after"] {
			return out, errors.New("the rebuilding does not get on: it is at " + got.Next + " still")
		}
		order["after"] = got.Next
	}
	out.Nothing = out.Items == 0
	out.Before = fmt.Sprintf("%s: %d rows are missing or wrong since %s", name, out.Items, since.UTC().Format(time.RFC3339))
	out.After = fmt.Sprintf("derived again from the log; %d that it does not bear out go", dropped)
	return out, nil
}
