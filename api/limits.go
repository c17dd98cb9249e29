package api

import (
	"net/http"
	"strconv"
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

// use takes n requests off what the key may do, and tells what is left.
func (c *call) use(n int64) error {
	if n <= 0 {
		return nil
	}
	u, limited, err := c.s.limiter.Take(&c.who, c.route.class, n)
	if !limited {
		return err
	}
	name := `"` + u.Class.String() + `"`
	h := c.w.Header()
	h["Ratelimit-Policy"] = []string{name + ";q=" + strconv.Itoa(int(u.Quota)) + ";w=" + strconv.Itoa(int(u.Window/time.Second))}
	h["Ratelimit"] = []string{name + ";r=" + strconv.FormatInt(u.Remaining, 10) + ";t=" + strconv.Itoa(int((u.Reset+time.Second-1)/time.Second))}
	return err
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
