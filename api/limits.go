package api

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/moneta-pay/moneta/access"
)

// KeyLimits is the body of POST /v1/keys/{prefix}/limits, and part of a key.
type KeyLimits struct {
	Writes *KeyLimit `json:"writes,omitempty" doc:"What moves or changes something; each payment of a batch counts"`
	Reads  *KeyLimit `json:"reads,omitempty" doc:"The rest; opening a stream counts as one"`
}

// KeyLimit is a quota in a window.
type KeyLimit struct {
	Quota   int32 `json:"quota" doc:"Requests" minimum:"1" maximum:"10000000" example:"600"`
	WindowS int32 `json:"window_s" doc:"Seconds over which the quota comes back, evenly" minimum:"1" maximum:"3600" example:"60"`
}

func showLimit(l access.Limit) *KeyLimit {
	if l == (access.Limit{}) {
		return nil
	}
	return &KeyLimit{Quota: l.Quota, WindowS: int32(l.Window / time.Second)}
}

// classOf says what a route counts as. Those for the operator count as nothing: who
// is limited must be able to change it.
func classOf(rt *route) access.Class {
	switch {
	case rt.scope == "" || rt.scope == access.Admin || rt.scope == access.Installation:
		return access.Unlimited
	case rt.method == http.MethodGet:
		return access.Reads
	}
	return access.Writes
}

// use takes n requests off what the key may do and off the levers that limit it, and
// tells what is left.
func (c *call) use(n int64) error {
	if n <= 0 {
		return nil
	}
	u, limited, err := c.s.limiter.Take(&c.who, c.route.class, n)
	if limited {
		c.left(u.Class.String(), u)
	}
	if err != nil {
		return err
	}
	return c.useLevers(n)
}

// policy is a limit that the request was counted under.
type policy struct {
	name string
	access.Usage
}

// left tells a limit and what is left of it in the answer's headers, each limit once.
func (c *call) left(name string, u access.Usage) {
	i := slices.IndexFunc(c.policies, func(p policy) bool { return p.name == name })
	if i < 0 {
		i, c.policies = len(c.policies), append(c.policies, policy{name, u})
	}
	c.policies[i].Usage = u
	var limits, rest []byte
	for i := range c.policies {
		if i > 0 {
			limits, rest = append(limits, ", "...), append(rest, ", "...)
		}
		p := &c.policies[i]
		limits = fmt.Appendf(limits, `"%s";q=%d;w=%d`, p.name, p.Quota, p.Window/time.Second)
		rest = fmt.Appendf(rest, `"%s";r=%d;t=%d`, p.name, p.Remaining, (p.Reset+time.Second-1)/time.Second)
	}
	h := c.w.Header()
	h["Ratelimit-Policy"], h["Ratelimit"] = []string{string(limits)}, []string{string(rest)}
}

func (c *call) limitKey() error {
	body, err := c.body(bodyMax)
	if err != nil {
		return err
	}
	var l access.Limits
	err = decodeObject(body, func(d *decoder, member []byte) error {
		switch string(member) {
		case "writes":
			return d.limit("/writes", &l.Writes)
		case "reads":
			return d.limit("/reads", &l.Reads)
		}
		return unknownField(member)
	})
	if err != nil {
		return err
	}
	k, err := c.s.Access.SetLimits(c.ctx, c.who.Tenant, c.r.PathValue("prefix"), l)
	if err != nil {
		return err
	}
	out := showKey(&k)
	return c.reply(http.StatusOK, &out)
}

func (d *decoder) limit(pointer string, into *access.Limit) error {
	var quota, seconds int32
	err := d.object(func(d *decoder, member []byte) error {
		switch string(member) {
		case "quota":
			return d.number("/quota", &quota)
		case "window_s":
			return d.number("/window_s", &seconds)
		}
		return unknownField(member)
	})
	if err != nil {
		return under(pointer, err)
	}
	if quota == 0 || seconds == 0 {
		return malformed("a limit has quota and window_s").WithParam(pointer)
	}
	*into = access.Limit{Quota: quota, Window: time.Duration(seconds) * time.Second}
	return nil
}
