package api

import (
	"context"
	"net/http"
	"reflect"
	"strconv"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
)

// Backlog brings forward what waits in the pay plane. It runs where the decider is.
type Backlog interface {
	// Hasten does what the order names, or with Dry set only counts.
	Hasten(ctx context.Context, o Hasten) (BacklogWork, error)
}

// Hasten orders what waits to be brought forward.
type Hasten struct {
	// Act is query-unknowns, redispatch or replay-callbacks.
	Act string
	// Channel is the only one; all when empty.
	Channel string
	// Payments are the only ones; all when empty.
	Payments []pay.ID
	Dry      bool
}

// Why a payment that was named is left out.
const (
	LeftFinal   = "final"   // it is at its end, or is none of ours
	LeftSent    = "sent"    // it was attempted: it is asked for, never offered again
	LeftNotSent = "unsent"  // nothing was sent that could be asked for
	LeftAsked   = "asked"   // its channel was asked as often as may be ahead of time
	LeftTimer   = "timer"   // it keeps its own time: an expiry, a debt
	LeftOther   = "channel" // it goes by another channel
)

// BacklogLeft is a payment that was named and is left out.
type BacklogLeft struct {
	Payment string `json:"payment"`
	Why     string `json:"why" enum:"final,sent,unsent,asked,timer,channel" doc:"final: it is at its end, or none of ours. sent: it was attempted, and is asked for and never offered again. unsent: nothing was sent that could be asked for. asked: its channel was asked as often as may be ahead of time. timer: it keeps its own time. channel: it goes by another one"`
}

// hastenMost bounds how many payments are named at once, as many as one call brings forward.
const hastenMost = 1000

// NewBacklogWork is the body of POST /v1/backlog.
type NewBacklogWork struct {
	Act     string `json:"act" enum:"query-unknowns,redispatch,replay-callbacks" doc:"query-unknowns: ask channels now for what is unknown or unconfirmed. redispatch: offer now what is reserved and was never attempted. replay-callbacks: look now at every callback that is stored and not applied"`
	Channel string `json:"channel,omitempty" doc:"Only this channel; all when left out" maxLength:"100"`
	// Payments narrows it to what somebody has looked at.
	Payments []string `json:"payments,omitempty" doc:"Only these; all when left out. Not with replay-callbacks" maxItems:"1000"`
	DryRun   bool     `json:"dry_run,omitempty" doc:"Only count"`
}

// BacklogWork is what waits, or waited.
type BacklogWork struct {
	Object  string            `json:"object" enum:"backlog_work"`
	Act     string            `json:"act"`
	Channel string            `json:"channel,omitempty"`
	DryRun  bool              `json:"dry_run,omitempty"`
	Items   int               `json:"items" doc:"At most 1,000 payments at once, the oldest; ask again for more"`
	Value   map[string]string `json:"value" doc:"What they are worth by asset, in its smallest unit; callbacks have none"`
	// Left is told when payments were named.
	Left []BacklogLeft `json:"left,omitempty" doc:"Of the payments that were named, those that are left out, and why"`
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
	order := Hasten{}
	err = decodeObject(body, func(d *decoder, member []byte) error {
		switch string(member) {
		case "act":
			return d.text("/act", &b.Act)
		case "channel":
			return d.text("/channel", &b.Channel)
		case "payments":
			return d.array(func(d *decoder, i int) error { return d.payment(i, &order.Payments) })
		case "dry_run":
			return d.truth("/dry_run", &b.DryRun)
		}
		return unknownField(member)
	})
	if err != nil {
		return err
	}
	if len(order.Payments) > 0 && b.Act == "replay-callbacks" {
		return malformed("a callback is judged by what it says: leave out payments").WithParam("/payments")
	}
	switch b.Act {
	case "query-unknowns", "redispatch", "replay-callbacks":
	default:
		return malformed("act is query-unknowns, redispatch or replay-callbacks").WithParam("/act")
	}
	if b.Channel != "" && !c.s.Intake.HasChannel(b.Channel) {
		return fault.New(fault.ChannelUnknown, "").WithParam("/channel")
	}
	order.Act, order.Channel, order.Dry = b.Act, b.Channel, b.DryRun
	out, err := c.s.Backlog.Hasten(c.ctx, order)
	if err != nil {
		return err
	}
	out.Object, out.Act, out.Channel, out.DryRun = "backlog_work", b.Act, b.Channel, b.DryRun
	return c.reply(http.StatusOK, &out)
}

// payment reads one id of a list of at most hastenMost.
func (d *decoder) payment(i int, into *[]pay.ID) error {
	pointer := "/payments/" + strconv.Itoa(i)
	if i >= hastenMost {
		return malformed("at most 1,000 payments at once").WithParam("/payments")
	}
	var text string
	if err := d.text(pointer, &text); err != nil {
		return err
	}
	id, err := pay.ParseID(text)
	if err != nil {
		return malformed("this is not the id of a payment").WithParam(pointer)
	}
	*into = append(*into, id)
	return nil
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
