package api

import (
	"cmp"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/lever"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/intake"
)

// NewLever is the body of POST /v1/levers.
type NewLever struct {
	Lever     string     `json:"lever" enum:"banner,limit,bulkhead,breaker,pause-dispatch,pause-intake,read-only,safe-mode" doc:"Which one; docs/levers.md tells what each does"`
	Aim       string     `json:"aim" doc:"everything, or channel:, tenant:, key:, route:, account: or kind: and a name" example:"channel:bank-ab"`
	Value     string     `json:"value,omitempty" doc:"limit: quota and window, such as 600/1m. bulkhead: calls at once. banner: the text in English. safe-mode: empty, or intake=open" maxLength:"500"`
	ValueZH   string     `json:"value_zh,omitempty" doc:"banner: the text in Chinese" maxLength:"500"`
	Owner     string     `json:"owner" doc:"Who sees to it that it ends" minLength:"1" maxLength:"100"`
	Reason    string     `json:"reason" doc:"Why; callers who are refused read it" minLength:"1" maxLength:"500"`
	ForS      int32      `json:"for_s,omitempty" doc:"Seconds after which it ends by itself; this or expires_at" minimum:"5" maximum:"86400" example:"1800"`
	ExpiresAt *time.Time `json:"expires_at,omitempty" doc:"When it ends by itself, RFC 3339, at most 24 hours from now; this or for_s"`
	DryRun    bool       `json:"dry_run,omitempty" doc:"Only tell what it would hold back now"`
}

// Lever is a pulled lever as the API shows it.
type Lever struct {
	Object     string        `json:"object" enum:"lever"`
	ID         string        `json:"id,omitempty" doc:"Left out in a dry run"`
	Lever      string        `json:"lever"`
	Class      string        `json:"class" enum:"R0,R1,R2" doc:"R1 is undone at once; R2 takes somebody who may approve"`
	Aim        string        `json:"aim"`
	Value      string        `json:"value,omitempty"`
	ValueZH    string        `json:"value_zh,omitempty"`
	Owner      string        `json:"owner"`
	Reason     string        `json:"reason"`
	By         string        `json:"by" doc:"Who pulled it: a person, a key, or a user of a node's machine"`
	Via        string        `json:"via" enum:"api,file" doc:"file: pulled on a node's machine while API or database were gone"`
	PulledAt   time.Time     `json:"pulled_at"`
	ExpiresAt  time.Time     `json:"expires_at"`
	Holds      bool          `json:"holds" doc:"Whether it holds now"`
	UndoneAt   *time.Time    `json:"undone_at,omitempty"`
	UndoneBy   string        `json:"undone_by,omitempty"`
	UndoReason string        `json:"undo_reason,omitempty"`
	DryRun     bool          `json:"dry_run,omitempty" doc:"Nothing was pulled"`
	Radius     *lever.Radius `json:"radius,omitempty" doc:"What it concerned when it was pulled, or would now; null is not counted"`
}

// ShowLever describes a pull as it stands at now.
func ShowLever(p *lever.Pull, now time.Time) Lever {
	e, _ := lever.Lookup(p.Lever)
	return Lever{
		Object: "lever", ID: p.ID.String(), Lever: string(p.Lever), Class: e.Class.String(), Aim: p.Aim.String(), Value: p.Value, ValueZH: p.ValueZH,
		Owner: p.Owner, Reason: p.Reason, By: p.By, Via: string(p.Via), PulledAt: p.At, ExpiresAt: p.Expires, Holds: p.Holds(now),
		UndoneAt: moment(p.UndoneAt), UndoneBy: p.UndoneBy, UndoReason: p.UndoReason,
	}
}

// standingLevers is what holds; nil without levers.
func (c *call) standingLevers() *lever.Standing {
	if c.s.Levers == nil {
		return nil
	}
	return c.s.Levers.Standing()
}

// goesOn lists what is not refused while a lever refuses writes: what contains, what
// records, and how the lever itself is undone. What moves money among it goes through
// the decider, before which the same lever stands; so do operations with an idempotency
// key, because a key that is known is answered.
var goesOn = []string{
	lever.Callbacks, "sign-in", "sign-out", "pull-lever", "undo-lever", "create-payments",
	"freeze-account", "disable-operator", "rotate-operator", "revoke-key", "limit-key",
	"propose", "approve", "reject", "withdraw", "execute",
	"appeal-payment", "link-payment", "note-case", "assign-case", "close-case", "close-break", "assign-break", "import-statement", "run-recon", "hasten-backlog",
}

// mayBeRefused reports whether a lever that refuses writes refuses the route, at its
// door or before the decider.
func (rt *route) mayBeRefused() bool {
	return rt.method != http.MethodGet && (rt.scope != "" || rt.role != "") && !slices.Contains(goesOn, rt.id)
}

// keyed reports whether the route's requests have a key, which may be known: then they
// are refused before the decider, and answered if it is.
func (rt *route) keyed() bool {
	return slices.ContainsFunc(rt.params, func(p *huma.Param) bool { return p.Name == "Idempotency-Key" })
}

// mayWrite refuses a change while a lever refuses writes.
func (c *call) mayWrite() error {
	s := c.standingLevers()
	if s.Empty() || c.r.Method == http.MethodGet {
		return nil
	}
	now := c.s.Clock.Now()
	p := s.Writes(now)
	if p == nil || !c.route.mayBeRefused() || c.route.keyed() {
		return nil
	}
	return fault.New(fault.ReadOnly, p.Refusal()).WithRetryAfter(p.Left(now))
}

// useLevers takes n requests off the limits that levers set on the caller and the
// route, and tells what is left. Operations for the operator are never limited: who
// pulled must be able to undo. Reads are limited by their route only, because they
// tell people where their money is.
func (c *call) useLevers(n int64) error {
	return c.useLimits(&lever.Subject{Tenant: c.who.Tenant, Key: c.who.KeyPrefix, Route: c.route.id}, n, func(by lever.Dimension) bool {
		return by == lever.Route || by != lever.Channel && c.route.class == access.Writes
	})
}

// useOf takes n payments off the limits that levers set on what they name: a channel,
// or the account of a holder.
func (c *call) useOf(of *lever.Subject, n int64) error {
	return c.useLimits(of, n, func(by lever.Dimension) bool { return by == lever.Channel || by == lever.Account })
}

// holder is the account whose holder wants the payment, as the ledger writes it: who
// pays, or of a deposit who receives. What is no account is refused elsewhere.
func holder(r *intake.Request) string {
	text := r.From
	if text == "" && r.Kind == pay.Deposit.String() {
		text = r.To
	}
	id, err := intake.ParseAccount(text)
	if err != nil {
		return ""
	}
	return pay.AccountID(id).String()
}

func (c *call) useLimits(of *lever.Subject, n int64, counts func(lever.Dimension) bool) (err error) {
	s := c.standingLevers()
	if s.Empty() || c.route.class == access.Unlimited {
		return nil
	}
	s.Limits(c.s.Clock.Now(), of, func(p *lever.Pull, r lever.Rate) bool {
		if !counts(p.Aim.By) {
			return true
		}
		var u access.Usage
		if u, err = c.s.limiter.TakeFrom(p.ID.String(), access.Limit{Quota: r.Quota, Window: r.Window}, n); err != nil {
			err = fault.From(err).WithDetail(p.Refusal())
		}
		c.left(p.Aim.String(), u)
		return err == nil
	})
	return err
}

func (c *call) listLevers() error {
	if c.s.Levers == nil {
		return fault.New(fault.NotFound, "this node has no levers")
	}
	q := c.r.URL.Query()
	now := c.s.Clock.Now()
	out := ListOf[Lever]{Object: "list", Data: []Lever{}}
	switch q.Get("state") {
	case "", "holding":
		if q.Has("after") || q.Has("limit") {
			return malformed("what holds is told whole; pages are of state=all").WithParam("state")
		}
		for _, p := range c.s.Levers.Standing().At(now) {
			out.Data = append(out.Data, ShowLever(&p, now))
		}
		return c.reply(http.StatusOK, &out)
	case "all":
	default:
		return malformed("state is holding or all").WithParam("state")
	}
	n, err := limit(q, 100)
	if err != nil {
		return err
	}
	var before lever.ID
	if after := q.Get("after"); after != "" {
		if before, err = lever.ParseID(after); err != nil {
			return malformed("the cursor is not one that this list gave out").WithParam("after")
		}
	}
	found, err := c.s.Levers.History(c.ctx, before, n+1)
	if err != nil {
		return err
	}
	for i := range found[:min(n, len(found))] {
		out.Data = append(out.Data, ShowLever(&found[i], now))
	}
	if out.HasMore = len(found) > n; out.HasMore {
		out.Next = out.Data[n-1].ID
		c.linkNext(out.Next)
	}
	return c.reply(http.StatusOK, &out)
}

func (c *call) pullLever() error {
	if c.s.Levers == nil {
		return fault.New(fault.NotFound, "this node has no levers")
	}
	p, dry, err := c.newPull()
	if err != nil {
		return err
	}
	if err := c.mayPull(&p); err != nil {
		return err
	}
	radius, err := c.s.Levers.Radius(c.ctx, &p)
	if err != nil && dry {
		return err
	}
	now := c.s.Clock.Now()
	if dry {
		p.At, p.Via, p.ID = now.UTC(), lever.ViaAPI, lever.ID{}
		out := ShowLever(&p, now)
		out.ID, out.DryRun, out.Holds, out.Radius = "", true, false, &radius
		return c.reply(http.StatusOK, &out)
	}
	// A count that failed must not keep anybody from containing.
	counted := err == nil
	if p, err = c.s.Levers.Pull(c.ctx, p); err != nil {
		return err
	}
	out := ShowLever(&p, c.s.Clock.Now())
	if counted {
		out.Radius = &radius
	}
	return c.reply(http.StatusCreated, &out)
}

// newPull reads the body and checks it whole, dry run or not.
func (c *call) newPull() (p lever.Pull, dry bool, err error) {
	body, err := c.body(bodyMax)
	if err != nil {
		return p, false, err
	}
	var name, aim string
	var seconds int32
	err = decodeObject(body, func(d *decoder, member []byte) error {
		switch string(member) {
		case "lever":
			return d.text("/lever", &name)
		case "aim":
			return d.text("/aim", &aim)
		case "value":
			return d.text("/value", &p.Value)
		case "value_zh":
			return d.text("/value_zh", &p.ValueZH)
		case "owner":
			return d.text("/owner", &p.Owner)
		case "reason":
			return d.text("/reason", &p.Reason)
		case "for_s":
			return d.number("/for_s", &seconds)
		case "expires_at":
			return d.instant("/expires_at", &p.Expires)
		case "dry_run":
			return d.truth("/dry_run", &dry)
		}
		return unknownField(member)
	})
	if err != nil {
		return p, false, err
	}
	p.Lever, p.By, p.At = lever.Name(name), c.who.Name(), c.s.Clock.Now().UTC()
	switch {
	case seconds != 0 && !p.Expires.IsZero():
		return p, dry, malformed("for_s or expires_at, not both").WithParam("/for_s")
	case seconds != 0:
		p.Expires = p.At.Add(time.Duration(seconds) * time.Second)
	}
	if p.Aim, err = lever.ParseAim(aim); err == nil {
		err = p.Check()
	}
	var refused *lever.Refusal
	if errors.As(err, &refused) {
		return p, dry, malformed(refused.Detail).WithParam("/" + refused.Param)
	}
	return p, dry, c.target(&p)
}

// target refuses an aim at what this installation does not have: a slip of the hand
// must not look like a lever that holds.
func (c *call) target(p *lever.Pull) error {
	switch p.Aim.By { //nolint:exhaustive // the others are checked where they are kept
	case lever.Channel:
		if !c.s.Intake.HasChannel(p.Aim.Of) {
			return fault.New(fault.ChannelUnknown, "").WithParam("/aim")
		}
	case lever.Account:
		id, err := intake.ParseAccount(p.Aim.Of)
		if err != nil {
			return malformed("this is not the id of an account").WithParam("/aim")
		}
		p.Aim.Of = pay.AccountID(id).String()
		if known, err := c.s.Ledger.Known(c.ctx, id); err != nil || !known {
			return cmp.Or(err, error(fault.New(fault.AccountNotFound, "").WithParam("/aim")))
		}
	case lever.Route:
		i := slices.IndexFunc(c.s.routes, func(rt *route) bool { return rt.id == p.Aim.Of })
		if i < 0 {
			return malformed("no operation has this id; /openapi.json lists them").WithParam("/aim")
		}
		if c.s.routes[i].class == access.Unlimited {
			return malformed("operations for the operator, and callbacks, are never limited").WithParam("/aim")
		}
	}
	return nil
}

// mayPull refuses what takes more than the caller's role.
func (c *call) mayPull(p *lever.Pull) error {
	if e, _ := lever.Lookup(p.Lever); e.Class > lever.R1 && c.who.Operator != "" && !c.who.Role.Covers(access.Approver) {
		return fault.New(fault.Forbidden, string(p.Lever)+" is of the class "+e.Class.String()+": it takes somebody who may approve")
	}
	return nil
}

func (c *call) undoLever() error {
	if c.s.Levers == nil {
		return fault.New(fault.NotFound, "this node has no levers")
	}
	id, err := lever.ParseID(c.r.PathValue("id"))
	if err != nil {
		return fault.New(fault.NotFound, "this is not the id of a lever")
	}
	reason := c.r.URL.Query().Get("reason")
	if reason == "" || len(reason) > reasonMax {
		return malformed("say why it ends, in 1 to 500 bytes").WithParam("reason")
	}
	p, err := c.s.Levers.One(c.ctx, id)
	if err != nil {
		return err
	}
	if err := c.mayPull(&p); err != nil {
		return err
	}
	if p, err = c.s.Levers.Undo(c.ctx, id, c.who.Name(), reason); err != nil {
		return err
	}
	out := ShowLever(&p, c.s.Clock.Now())
	return c.reply(http.StatusOK, &out)
}

func leverRoutes() []*route {
	return []*route{
		{
			method: http.MethodGet, path: "/v1/levers", id: "list-levers", tag: "operator", summary: "What is held back on purpose?",
			about: "What holds on this node now, the oldest first; it is answered without the database. With state=all whatever was ever pulled, the newest first.",
			scope: access.Installation, params: append(paging("100"), query("state", "holding (default) or all.", words("holding", "all"))),
			answers: map[int]reflect.Type{200: of[ListOf[Lever]]()}, faults: []fault.Code{fault.NotFound, fault.UnknownField}, do: (*call).listLevers,
		},
		{
			method: http.MethodPost, path: "/v1/levers", id: "pull-lever", tag: "operator", summary: "Hold something back",
			about: "Effective on every node within a second, until it is undone or expires. An operator pulls the classes R0 and R1; R2 takes " +
				"somebody who may approve. With dry_run nothing is pulled and the answer (200) tells what it would concern now. See docs/levers.md.",
			scope: access.Installation, role: access.Operate, body: of[NewLever](), answers: map[int]reflect.Type{201: of[Lever](), 200: of[Lever]()},
			faults: with(bodyFaults, fault.NotFound, fault.ChannelUnknown), do: (*call).pullLever,
		},
		{
			method: http.MethodDelete, path: "/v1/levers/{id}", id: "undo-lever", tag: "operator", summary: "Let it go again",
			about: "For good, on every node within a second. One that was undone before, or has expired, stays as it is. A channel that is let go " +
				"begins with a few probes.",
			scope: access.Installation, role: access.Operate, params: []*huma.Param{
				pathID("id", "lev_…"), param("query", "reason", "Why it ends; kept.", true, text()),
			}, answers: map[int]reflect.Type{200: of[Lever]()}, faults: []fault.Code{fault.NotFound, fault.UnknownField}, do: (*call).undoLever,
		},
	}
}
