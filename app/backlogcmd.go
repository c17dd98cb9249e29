package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/doctor"
)

// Backlog shows what waits (plan), brings it forward until nothing does or the time is
// up (drain), or fails while something waits (verify).
func Backlog(ctx context.Context, c RunbookConfig, verb, channel string, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	all, err := hands(HandsConfig{URL: c.Watch.ServeURL, Key: c.installationKey, Tell: func(context.Context, doctor.Act) error { return nil }})
	if err != nil {
		return err
	}
	for {
		left, err := backlogOnce(ctx, c.Person.Out, all, verb, channel)
		if err == nil && verb != "drain" {
			var parked int
			parked, err = c.backlogParked(ctx, channel)
			left += parked
		}
		switch {
		case err != nil:
			return err
		case left == 0 || verb == "plan":
			return nil
		case verb == "verify":
			return &ExitError{1, fmt.Sprintf("%d wait", left)}
		}
		select {
		case <-time.After(2 * time.Second):
		case <-ctx.Done():
			return &ExitError{1, fmt.Sprintf("%d still wait; what a channel does not answer stays unknown, and is asked for again", left)}
		}
	}
}

func backlogOnce(ctx context.Context, out io.Writer, all []doctor.Hand, verb, channel string) (left int, err error) {
	for _, do := range []string{doctor.DoRedispatch, doctor.DoQueryUnknowns, doctor.DoReplayCallbacks} {
		h := all[slices.IndexFunc(all, func(h doctor.Hand) bool { return h.Does() == do })]
		act := doctor.Guarded(h).Try
		if verb == "drain" {
			act = doctor.Guarded(h).Act
		}
		found, err := act(ctx, doctor.Act{Do: do, With: map[string]string{"channel": channel}, By: localUser()})
		if err != nil {
			return left, fmt.Errorf("%s: %w", do, err)
		}
		left += found.Items
		if _, err := fmt.Fprintf(out, "%-18s %6d  %s\n", do, found.Items, found.Value); err != nil {
			return left, err
		}
	}
	return left, nil
}

// backlogParked shows the callbacks that are aside: only people end that.
func (c *RunbookConfig) backlogParked(ctx context.Context, channel string) (int, error) {
	var got api.ListOf[api.BacklogCallback]
	if err := c.asker().do(ctx, http.MethodGet, "/v1/backlog/callbacks?channel="+url.QueryEscape(channel), nil, &got); err != nil {
		return 0, fmt.Errorf("callbacks that are aside: %w", err)
	}
	if _, err := fmt.Fprintf(c.Person.Out, "%-18s %6d\n", "parked", len(got.Data)); err != nil {
		return 0, err
	}
	return len(got.Data), showCallbacks(c.Person.Out, got.Data)
}

func showCallbacks(out io.Writer, list []api.BacklogCallback) error {
	for i := range list {
		b := &list[i]
		said := b.Reason
		if b.By != "" {
			said = b.By + ": " + said
		}
		if _, err := fmt.Fprintf(out, "  %-8s %-12s received %s  %s\n", b.ID, b.Channel, b.ReceivedAt.UTC().Format(time.RFC3339), said); err != nil {
			return err
		}
	}
	return nil
}

// asker asks the API as the person, else with up's key.
func (c *RunbookConfig) asker() *LeverConfig {
	return &LeverConfig{Person: c.Person, DataDir: c.DataDir}
}

// CallbackOrder is what somebody wants with callbacks that cannot be applied.
type CallbackOrder struct {
	// Act is park-callback, replay-parked or give-up-parked.
	Act, Channel string
	Callbacks    []int64
	Reason       string
	DryRun       bool
}

// BacklogCallbacks sets callbacks aside, or ends that they are.
func BacklogCallbacks(ctx context.Context, c RunbookConfig, o CallbackOrder) error {
	if o.Reason == "" && !o.DryRun {
		return errors.New("say why: --reason")
	}
	body := api.NewBacklogWork{Act: o.Act, Channel: o.Channel, Reason: o.Reason, DryRun: o.DryRun}
	for _, id := range o.Callbacks {
		body.Callbacks = append(body.Callbacks, strconv.FormatInt(id, 10))
	}
	var got api.BacklogWork
	if err := c.asker().do(ctx, http.MethodPost, "/v1/backlog", &body, &got); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(c.Person.Out, "%-18s %6d\n", o.Act, got.Items); err != nil {
		return err
	}
	return showCallbacks(c.Person.Out, got.Callbacks)
}
