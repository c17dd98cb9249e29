package api

import (
	"context"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/notify"
)

// Backlog brings forward what waits in the pay plane. It runs where the decider is.
type Backlog interface {
	// Hasten does what the order names, or with Dry set only counts.
	Hasten(ctx context.Context, o Hasten) (BacklogWork, error)
	// Parked lists the callbacks that were set aside, the oldest first.
	Parked(ctx context.Context, channel string) ([]BacklogCallback, error)
}

// Acts of POST /v1/backlog. The first three bring forward what the plane does by itself.
// The next three set a callback aside, let it wait again, or end it. The last two derive
// anew what is derived from the log, and tell an endpoint once more.
const (
	ActAsk    = "query-unknowns"
	ActOffer  = "redispatch"
	ActReplay = "replay-callbacks"
	ActPark   = "park-callback"
	ActUnpark = "replay-parked"
	ActGiveUp = "give-up-parked"
	// ActRebuild is of a Projection, ActTell of an Endpoint.
	ActRebuild = "rebuild-projection"
	ActTell    = "redeliver-webhooks"
	// ActPropose is about breaks, and moves nothing: people decide.
	ActPropose = "propose-compensation"
)

// The projections that can be derived anew: what reconciliation expects on statements,
// and what endpoints of webhooks are to be told.
const (
	ProjectionExpected = "recon_expected"
	ProjectionWebhooks = "webhooks"
)

var backlogActs = []string{ActAsk, ActOffer, ActReplay, ActPark, ActUnpark, ActGiveUp, ActRebuild, ActTell, ActPropose}

// Hasten orders what waits to be brought forward.
type Hasten struct {
	// Act is one of the constants.
	Act string
	// Channel is the only one; all when empty.
	Channel string
	// Payments are the only ones; all when empty.
	Payments []pay.ID
	// Callbacks are the only ones, By wants it, and Reason is why; of the last three acts.
	Callbacks  []int64
	By, Reason string
	// Projection is rebuilt from what happened Since, or from After, an id of the log, on.
	Projection string
	Since      time.Time
	After      int64
	// Endpoint is told once more what it was not told Since.
	Endpoint notify.EndpointID
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

// Bounds of what is named at once: as many as one call brings forward.
const (
	hastenMost    = 1000
	callbacksMost = 200
)

// NewBacklogWork is the body of POST /v1/backlog.
type NewBacklogWork struct {
	Act     string `json:"act" enum:"query-unknowns,redispatch,replay-callbacks,park-callback,replay-parked,give-up-parked,rebuild-projection,redeliver-webhooks,propose-compensation" doc:"query-unknowns: ask channels now for what is unknown or unconfirmed. redispatch: offer now what is reserved and was never attempted. replay-callbacks: look now at every callback that is stored and not applied. park-callback: set aside, with who and why, each callback that cannot be applied alone while others can, or those that are named; its bytes stay. replay-parked: apply now what was set aside. give-up-parked: end what was set aside; with two people who may approve, by an approval of the kind give_up_callback only. rebuild-projection: derive anew from the log what has no row; it goes as far as five seconds bring it, and tells where to go on. redeliver-webhooks: tell an endpoint once more what it did not take: what was given up, what waits, what has no row; one that was disabled is enabled. propose-compensation: ask the channels about the open breaks that say to whom how much is owed, and propose to two people what their answers bear out; nothing moves by it"`
	Channel string `json:"channel,omitempty" doc:"Only this channel; all when left out" maxLength:"100"`
	// Payments narrows it to what somebody has looked at.
	Payments []string `json:"payments,omitempty" doc:"Only these; all when left out. With query-unknowns and redispatch" maxItems:"1000"`
	// Callbacks narrows it to rows of the inbox.
	Callbacks []string `json:"callbacks,omitempty" doc:"Only these, by their numbers. With park-callback, replay-parked and give-up-parked, which takes no fewer than one" maxItems:"200"`
	Reason    string   `json:"reason,omitempty" doc:"Why; kept with each. With park-callback, replay-parked and give-up-parked; with propose-compensation the id of an incident, or nothing" maxLength:"200"`
	// Projection, Since, After and Endpoint are of the last two acts.
	Projection string     `json:"projection,omitempty" enum:"recon_expected,webhooks" doc:"With rebuild-projection: what is expected on statements, or what endpoints are to be told"`
	Since      *time.Time `json:"since,omitempty" doc:"From when on, RFC 3339; 24 hours ago when left out. With rebuild-projection and redeliver-webhooks, which goes back 29 days at most"`
	After      string     `json:"after,omitempty" doc:"Where to go on: the next of the answer before"`
	Endpoint   string     `json:"endpoint,omitempty" doc:"With redeliver-webhooks: which one" example:"wh_0000000000001"`
	DryRun     bool       `json:"dry_run,omitempty" doc:"Only count"`
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
	// Next is where rebuild-projection goes on, if it is not at the end.
	Next string `json:"next,omitempty" doc:"There is more: send it as after"`
	// Dropped and Enabled are of the last two acts.
	Dropped int  `json:"dropped,omitempty" doc:"Rows that the log does not bear out and that go; they are in items"`
	Cut     bool `json:"cut,omitempty" doc:"In a dry run: only the newest 200,000 events were looked at"`
	Enabled bool `json:"enabled,omitempty" doc:"The endpoint had been disabled"`
	// Proposals are of propose-compensation.
	Proposals []BacklogProposal `json:"proposals,omitempty" doc:"What is owed by open breaks: what was proposed now, what stands already, and what is not proposed and why"`
	// Callbacks are told where the act is about some of them.
	Callbacks []BacklogCallback `json:"callbacks,omitempty" doc:"Those that were set aside; in a dry run, those that would be tried alone, or would be let go or ended"`
}

// BacklogProposal is what an open break owes to a holder.
type BacklogProposal struct {
	Break    string `json:"break"`
	Payment  string `json:"payment,omitempty"`
	Approval string `json:"approval,omitempty" doc:"The proposal; two people who may approve decide"`
	State    string `json:"state,omitempty" enum:"proposed,approved,used,rejected,expired,withdrawn" doc:"Of the proposal"`
	New      bool   `json:"new,omitempty" doc:"It was proposed now, or would be if its channel bears it out"`
	Amount   string `json:"amount,omitempty"`
	Asset    string `json:"asset,omitempty"`
	Why      string `json:"why,omitempty" doc:"What bears it out, or why nothing is proposed"`
}

// BacklogCallback is a callback that waits, or was set aside.
type BacklogCallback struct {
	ID         string     `json:"id"`
	Channel    string     `json:"channel"`
	ReceivedAt time.Time  `json:"received_at"`
	ParkedAt   *time.Time `json:"parked_at,omitempty" doc:"When it was set aside"`
	By         string     `json:"by,omitempty"`
	Reason     string     `json:"reason,omitempty"`
	Body       string     `json:"body" doc:"The beginning of what it says, made readable"`
}

func (c *call) hasten() error {
	if c.s.Backlog == nil {
		return fault.New(fault.NotFound, "this node has no backlog")
	}
	body, err := c.body(bodyMax)
	if err != nil {
		return err
	}
	order := Hasten{By: c.who.Name()}
	err = decodeObject(body, func(d *decoder, member []byte) error {
		switch string(member) {
		case "act":
			return d.text("/act", &order.Act)
		case "channel":
			return d.text("/channel", &order.Channel)
		case "payments":
			return d.array(func(d *decoder, i int) error { return d.payment(i, &order.Payments) })
		case "callbacks":
			return d.array(func(d *decoder, i int) error { return d.callback(i, &order.Callbacks) })
		case "reason":
			return d.text("/reason", &order.Reason)
		case "projection":
			return d.text("/projection", &order.Projection)
		case "since":
			return d.instant("/since", &order.Since)
		case "after":
			return d.place("/after", &order.After)
		case "endpoint":
			return d.endpoint("/endpoint", &order.Endpoint)
		case "dry_run":
			return d.truth("/dry_run", &order.Dry)
		}
		return unknownField(member)
	})
	if err != nil {
		return err
	}
	if err := c.hastens(&order); err != nil {
		return err
	}
	out, err := c.s.Backlog.Hasten(c.ctx, order)
	if err != nil {
		return err
	}
	out.Object, out.Act, out.Channel, out.DryRun = "backlog_work", order.Act, order.Channel, order.Dry
	return c.reply(http.StatusOK, &out)
}

// incidentID is how the doctor names an incident.
var incidentID = regexp.MustCompile(`^inc-[0-9]{8}-[0-9]{6}$`)

// hastens refuses an order that says what its act has no use for, or too little.
func (c *call) hastens(o *Hasten) error {
	switch {
	case !slices.Contains(backlogActs, o.Act):
		return malformed("act is one of " + strings.Join(backlogActs, ", ")).WithParam("/act")
	case len(o.Payments) > 0 && o.Act != ActAsk && o.Act != ActOffer:
		return malformed("a callback is judged by what it says: leave out payments").WithParam("/payments")
	case o.Channel != "" && !c.s.Intake.HasChannel(o.Channel):
		return fault.New(fault.ChannelUnknown, "").WithParam("/channel")
	case o.Act == ActRebuild || o.Act == ActTell:
		return c.derives(o)
	case o.Act == ActPropose && o.Reason != "" && !incidentID.MatchString(o.Reason):
		return malformed("the reason is the id of an incident, such as inc-20261123-010203, or is left out: it stands in the machine's name").WithParam("/reason")
	case o.Act == ActAsk || o.Act == ActOffer || o.Act == ActReplay || o.Act == ActPropose:
		if len(o.Callbacks) > 0 {
			return malformed("callbacks are named to set them aside, to replay or to give up what is aside").WithParam("/callbacks")
		}
		return nil
	case o.Act == ActGiveUp && len(o.Callbacks) == 0:
		return malformed("name the callbacks that are given up").WithParam("/callbacks")
	}
	if !o.Dry {
		if err := reasoned(o.Reason, "/reason"); err != nil {
			return err
		}
		if o.Act == ActGiveUp {
			return c.alone(c.who.Tenant, "give_up_callback")
		}
	}
	return nil
}

// derives judges the orders of the last two acts.
func (c *call) derives(o *Hasten) error {
	now := c.s.Clock.Now()
	if o.Since.IsZero() {
		o.Since = now.Add(-24 * time.Hour)
	}
	switch {
	case len(o.Callbacks) > 0:
		return malformed("leave out callbacks").WithParam("/callbacks")
	case o.Since.After(now):
		return malformed("since is in the future").WithParam("/since")
	case o.Act == ActRebuild && o.Projection != ProjectionExpected && o.Projection != ProjectionWebhooks:
		return malformed("projection is recon_expected or webhooks").WithParam("/projection")
	case o.Act == ActTell && o.Endpoint == 0:
		return malformed("name the endpoint").WithParam("/endpoint")
	}
	return nil
}

// place reads an id of the log.
func (d *decoder) place(pointer string, into *int64) error {
	var text string
	if err := d.text(pointer, &text); err != nil {
		return err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 {
		return malformed("after is the next of the answer before").WithParam(pointer)
	}
	*into = n
	return nil
}

func (d *decoder) endpoint(pointer string, into *notify.EndpointID) error {
	var text string
	if err := d.text(pointer, &text); err != nil {
		return err
	}
	id, err := notify.ParseEndpointID(text)
	if err != nil {
		return malformed("this is not the id of an endpoint").WithParam(pointer)
	}
	*into = id
	return nil
}

// callback reads one number of a list.
func (d *decoder) callback(i int, into *[]int64) error {
	pointer := "/callbacks/" + strconv.Itoa(i)
	if i >= callbacksMost {
		return malformed("at most 200 callbacks at once").WithParam("/callbacks")
	}
	var text string
	if err := d.text(pointer, &text); err != nil {
		return err
	}
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id <= 0 {
		return malformed("a callback's id is a number, as text").WithParam(pointer)
	}
	*into = append(*into, id)
	return nil
}

func (c *call) parkedCallbacks() error {
	if c.s.Backlog == nil {
		return fault.New(fault.NotFound, "this node has no backlog")
	}
	list, err := c.s.Backlog.Parked(c.ctx, c.r.URL.Query().Get("channel"))
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, &ListOf[BacklogCallback]{Object: "list", Data: list})
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
			"a callback is applied by what it says, and asking keeps to the channel's bounds. What is in hand already is not taken twice. A callback that is set aside " +
			"keeps its bytes, waits for a person, and can be replayed. Only the leading node does it.",
		scope: access.Installation, role: access.Operate, body: of[NewBacklogWork](), answers: map[int]reflect.Type{200: of[BacklogWork]()},
		faults: with(bodyFaults, fault.NotFound, fault.ChannelUnknown, fault.NotLeader, fault.IllegalTransition, fault.ApprovalRequired), do: (*call).hasten,
	}, {
		method: http.MethodGet, path: "/v1/backlog/callbacks", id: "list-parked-callbacks", tag: "operator", summary: "List callbacks that were set aside",
		about: "The oldest first, at most 500, with who set each aside and why. They wait for a person: POST /v1/backlog replays them or gives them up.",
		scope: access.Installation, params: []*huma.Param{query("channel", "Only this channel; all when left out", text())},
		answers: map[int]reflect.Type{200: of[ListOf[BacklogCallback]]()}, faults: []fault.Code{fault.NotFound, fault.UnknownField}, do: (*call).parkedCallbacks,
	}}
}
