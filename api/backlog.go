package api

import (
	"context"
	"net/http"
	"reflect"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
)

// Backlog brings forward what waits in the pay plane. It runs where the decider is.
type Backlog interface {
	// Hasten does what act names, for one channel or for all when it is empty; with dry
	// set it only counts.
	Hasten(ctx context.Context, act, channel string, dry bool) (BacklogWork, error)
}

// NewBacklogWork is the body of POST /v1/backlog.
type NewBacklogWork struct {
	Act     string `json:"act" enum:"query-unknowns,redispatch,replay-callbacks" doc:"query-unknowns: ask channels now for what is unknown or unconfirmed. redispatch: offer now what is reserved and was never attempted. replay-callbacks: look now at every callback that is stored and not applied"`
	Channel string `json:"channel,omitempty" doc:"Only this channel; all when left out" maxLength:"100"`
	DryRun  bool   `json:"dry_run,omitempty" doc:"Only count"`
}

// BacklogWork is what waits, or waited.
type BacklogWork struct {
	Object  string            `json:"object" enum:"backlog_work"`
	Act     string            `json:"act"`
	Channel string            `json:"channel,omitempty"`
	DryRun  bool              `json:"dry_run,omitempty"`
	Items   int               `json:"items" doc:"At most 1,000 payments at once, the oldest; ask again for more"`
	Value   map[string]string `json:"value" doc:"What they are worth by asset, in its smallest unit; callbacks have none"`
}

func (c *call) hasten() error {
	if c.s.Backlog == nil {
		return fault.New(fault.NotFound, "this node has no backlog")
	}
	body, err := c.body(bodyMax)
	if err != nil {
		return err
	}
	var b NewBacklogWork
	err = decodeObject(body, func(d *decoder, member []byte) error {
		switch string(member) {
		case "act":
			return d.text("/act", &b.Act)
		case "channel":
			return d.text("/channel", &b.Channel)
		case "dry_run":
			return d.truth("/dry_run", &b.DryRun)
		}
		return unknownField(member)
	})
	if err != nil {
		return err
	}
	switch b.Act {
	case "query-unknowns", "redispatch", "replay-callbacks":
	default:
		return malformed("act is query-unknowns, redispatch or replay-callbacks").WithParam("/act")
	}
	if b.Channel != "" && !c.s.Intake.HasChannel(b.Channel) {
		return fault.New(fault.ChannelUnknown, "").WithParam("/channel")
	}
	out, err := c.s.Backlog.Hasten(c.ctx, b.Act, b.Channel, b.DryRun)
	if err != nil {
		return err
	}
	out.Object, out.Act, out.Channel, out.DryRun = "backlog_work", b.Act, b.Channel, b.DryRun
	return c.reply(http.StatusOK, &out)
}

func backlogRoutes() []*route {
	return []*route{{
		method: http.MethodPost, path: "/v1/backlog", id: "hasten-backlog", tag: "operator", summary: "Look now at what waits",
		about: "Brings forward what the plane does by itself, and moves nothing that it would not: a payment goes out only if it was never attempted, " +
			"a callback is applied by what it says, and asking keeps to the channel's bounds. What is in hand already is not taken twice. Only the leading node does it.",
		scope: access.Installation, role: access.Operate, body: of[NewBacklogWork](), answers: map[int]reflect.Type{200: of[BacklogWork]()},
		faults: with(bodyFaults, fault.NotFound, fault.ChannelUnknown, fault.NotLeader), do: (*call).hasten,
	}}
}
