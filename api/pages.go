package api

import (
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/desk"
	"github.com/moneta-pay/moneta/pay/intake"
	"github.com/moneta-pay/moneta/pay/status"
	"github.com/moneta-pay/moneta/pay/trail"
)

// The page of one payment: for its holder behind a link, the same for whoever helps
// the holder, and where its time went.

// PagePath is where a console shows the page behind a link's token.
const PagePath = "/public/pay/"

// What a link may do in a minute, on each node. A page that follows a payment asks
// every five seconds; several windows may be open.
var (
	linkReads   = access.Limit{Quota: 120, Window: time.Minute}
	linkAppeals = access.Limit{Quota: 6, Window: time.Minute}
)

// casesTold is how many of a payment's cases the holder is told of.
const casesTold = 3

// NewLink is the body of POST /v1/payments/{id}/link.
type NewLink struct {
	Days int32 `json:"days,omitempty" doc:"How many days it works after the payment is final" minimum:"1" maximum:"400" default:"30" example:"30"`
}

// Link is a link to one payment's page.
type Link struct {
	Object  string `json:"object" enum:"link"`
	Payment string `json:"payment"`
	Token   string `json:"token" doc:"Whoever has it sees the page; nothing of it is stored"`
	Path    string `json:"path" doc:"Of the page on the console" example:"/public/pay/AY…"`
	URL     string `json:"url,omitempty" doc:"Where the page is; left out when public_url is not set"`
	Days    int32  `json:"days" doc:"How many days it works after the payment is final; longer while it is open"`
	// EndsAt is known when the payment is final.
	EndsAt *time.Time `json:"ends_at,omitempty" doc:"When it ends; left out while the payment is open"`
}

// linkPayment makes a link for the payment's holder.
func (c *call) linkPayment() error {
	p, err := c.payment()
	if err != nil {
		return err
	}
	k := access.Link{Tenant: c.who.Tenant, Payment: int64(p.ID), Days: access.LinkDaysDefault, MadeAt: c.s.Clock.Now()}
	body, err := c.body(bodyMax)
	if err != nil {
		return err
	}
	if len(body) > 0 {
		days := int32(access.LinkDaysDefault)
		if err := decodeObject(body, func(d *decoder, name []byte) error {
			if string(name) != "days" {
				return unknownField(name)
			}
			return d.number("/days", &days)
		}); err != nil {
			return err
		}
		if days < 1 || days > access.LinkDaysMax {
			return malformed("1 to " + strconv.Itoa(access.LinkDaysMax) + " days").WithParam("/days")
		}
		k.Days = uint16(days)
	}
	token, err := c.s.Links.Make(k)
	if err != nil {
		return err
	}
	out := Link{Object: "link", Payment: p.ID.String(), Token: token, Path: PagePath + token, Days: int32(k.Days), EndsAt: moment(k.Ends(finalAt(&p)))}
	if c.s.PublicURL != "" {
		out.URL = c.s.PublicURL + out.Path
	}
	return c.reply(http.StatusCreated, &out)
}

// finalAt is when p became final; the zero time while it is open.
func finalAt(p *pay.Payment) time.Time {
	if p.State.Final() {
		return p.EnteredAt
	}
	return time.Time{}
}

// viewPayment is the holder's page as whoever may read the payment sees it.
func (c *call) viewPayment() error {
	id, err := c.paymentID()
	if err != nil {
		return err
	}
	return c.view(pay.TenantID(c.who.Tenant), id, "", time.Time{})
}

// openLink is the holder's page behind a link. It asks nobody who he is.
func (c *call) openLink() error {
	k, err := c.link(linkReads, "reads")
	if err != nil {
		return err
	}
	return c.view(pay.TenantID(k.Tenant), pay.ID(k.Payment), c.r.PathValue("token"), k.MadeAt)
}

// link reads the path's token and takes the request off what the link may do.
func (c *call) link(limit access.Limit, class string) (access.Link, error) {
	k, err := c.s.Links.Open(c.r.PathValue("token"))
	if err != nil {
		return k, err
	}
	_, err = c.s.limiter.TakeFrom("link/"+class+"/"+strconv.FormatInt(k.Payment, 36), limit, 1)
	return k, err
}

// view answers with the page. Behind a link, its end is looked at here, because it
// hangs on the payment.
func (c *call) view(tenant pay.TenantID, id pay.ID, token string, madeAt time.Time) error {
	lang, err := c.lang()
	if err != nil {
		return err
	}
	now, err := c.standingOf(tenant, id)
	if err != nil {
		return err
	}
	var ends *time.Time
	if token != "" {
		if ends, err = c.ends(&now.payment); err != nil {
			return err
		}
		if now.facts.AppealURL != "" {
			now.facts.AppealURL = "/v1/links/" + token + "/appeal"
		}
		if now.facts.ReceiptURL != "" {
			now.facts.ReceiptURL = "/v1/links/" + token + "/receipt"
		}
	}
	if err := c.told(tenant, id, &now); err != nil {
		return err
	}
	out := status.ViewOf(&now.payment, now.facts, now.events, lang)
	out.ExpiresAt = ends
	c.w.Header().Set("Content-Language", lang)
	c.w.Header().Set("Vary", "Accept-Language")
	c.w.Header().Set("X-Robots-Tag", "noindex, nofollow")
	return c.reply(http.StatusOK, &out)
}

// ends is when the path's link ends; a link that has ended is none.
func (c *call) ends(p *pay.Payment) (*time.Time, error) {
	k, err := c.s.Links.Open(c.r.PathValue("token"))
	if err != nil {
		return nil, err
	}
	ends := k.Ends(finalAt(p))
	if !ends.IsZero() && c.s.Clock.Now().After(ends) {
		return nil, fault.New(fault.NotFound, "this link is not valid, or not any more")
	}
	return moment(ends), nil
}

// told adds what the desk opened and wrote to the holder.
func (c *call) told(tenant pay.TenantID, id pay.ID, now *standing) error {
	if c.s.Desk == nil {
		return nil
	}
	reach := desk.Reach{Tenant: tenant}
	page, err := c.s.Desk.List(c.ctx, desk.Filter{Reach: reach, Payment: id, Limit: casesTold})
	if err != nil {
		return err
	}
	for i := range page.Cases {
		k, err := c.s.Desk.Get(c.ctx, reach, page.Cases[i].Number)
		if err != nil {
			return err
		}
		now.events = append(now.events, status.Event{At: k.OpenedAt, Case: k.Number.String()})
		for _, n := range k.Notes {
			if n.ToHolder && n.Text != "" {
				now.events = append(now.events, status.Event{At: n.At, Said: n.Text})
			}
		}
	}
	slices.SortStableFunc(now.events, func(a, b status.Event) int { return a.At.Compare(b.At) })
	return nil
}

// appealLink opens a case for the holder of a link.
func (c *call) appealLink() error {
	d, err := c.desk()
	if err != nil {
		return err
	}
	raw, err := c.idempotencyKey()
	if err != nil {
		return err
	}
	k, err := c.link(linkAppeals, "appeals")
	if err != nil {
		return err
	}
	r := desk.AppealRequest{Tenant: pay.TenantID(k.Tenant), By: "the holder, by a link"}
	if r.Key, err = intake.NormaliseKey(raw); err != nil {
		return err
	}
	if err := c.appealBody(&r); err != nil {
		return err
	}
	now, err := c.standingOf(r.Tenant, pay.ID(k.Payment))
	if err != nil {
		return err
	}
	if _, err := c.ends(&now.payment); err != nil {
		return err
	}
	out, code, err := c.appealed(d, &r, &now)
	if err != nil {
		return err
	}
	return c.reply(code, &out)
}

// trail tells where the payment's time went.
func (c *call) trail() error {
	id, err := c.paymentID()
	if err != nil {
		return err
	}
	if c.s.Trails == nil {
		return fault.New(fault.NotFound, "this node keeps no trails")
	}
	out, err := c.s.Trails.Of(c.ctx, pay.TenantID(c.who.Tenant), id)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, &out)
}

func pageRoutes() []*route {
	id := pathID("id", "pay_…")
	token := pathID("token", "The link's token")
	language := []*huma.Param{
		query("lang", "Language of the texts; wins over Accept-Language.", words("en", "zh")),
		param("header", "Accept-Language", "en or zh; en when neither is asked for.", false, text()),
	}
	return []*route{
		{
			method: http.MethodGet, path: "/v1/payments/{id}/view", id: "view-payment", tag: "payments", summary: "See the holder's page of a payment",
			about: "All that the page behind a link shows: the status with its road in steps, what has happened in words, what to check oneself, and what " +
				"people ask. Show it in your own app, or look at what the holder sees.",
			scope: access.PaymentsRead, params: append([]*huma.Param{id}, language...), answers: map[int]reflect.Type{200: of[status.View]()},
			faults: []fault.Code{fault.NotFound, fault.UnknownField}, do: (*call).viewPayment,
		},
		{
			method: http.MethodPost, path: "/v1/payments/{id}/link", id: "link-payment", tag: "payments", summary: "Make a link for the holder",
			about: "To the page of this one payment, without signing in. It works while the payment is open and so many days after its end. Its token is " +
				"sealed under the newest key of secrets_key_file and ends with that key; nothing is stored. The body may be left out.",
			scope: access.PaymentsWrite, role: access.Operate, params: []*huma.Param{id}, body: of[NewLink](),
			answers: map[int]reflect.Type{201: of[Link]()},
			faults:  []fault.Code{fault.NotFound, fault.UnknownField, fault.BodyTooLarge, fault.UnsupportedMediaType}, do: (*call).linkPayment,
		},
		{
			method: http.MethodGet, path: "/v1/links/{token}", id: "open-link", tag: "links", summary: "See the page behind a link",
			about:  "For whoever has the link: no key is needed, and nothing is told but what the holder of this payment may know. Every wrong token gets the same 404.",
			params: append([]*huma.Param{token}, language...), answers: map[int]reflect.Type{200: of[status.View]()},
			faults: []fault.Code{fault.NotFound, fault.UnknownField}, do: (*call).openLink,
		},
		{
			method: http.MethodPost, path: "/v1/links/{token}/appeal", id: "appeal-link", tag: "links", summary: "Ask for a person, by a link",
			about:  "As an appeal with a key: the case's number, who has it and until when, at once. The body may be left out.",
			params: []*huma.Param{token, keyHeader()}, body: of[NewAppeal](), answers: map[int]reflect.Type{201: of[Appealed](), 200: of[Appealed]()},
			faults: []fault.Code{
				fault.NotFound, fault.UnknownField, fault.BodyTooLarge, fault.UnsupportedMediaType, fault.IdempotencyKeyMissing,
				fault.IdempotencyKeyInvalid, fault.IdempotencyKeyReused, fault.IdempotencyInFlight,
			}, do: (*call).appealLink,
		},
		{
			method: http.MethodGet, path: "/v1/payments/{id}/trail", id: "get-trail", tag: "payments", summary: "See where a payment's time went",
			about: "Its states, attempts, callbacks and webhooks as spans of time, what comes next by itself and when, and the cases about it, from one snapshot.",
			scope: access.PaymentsRead, params: []*huma.Param{id}, answers: map[int]reflect.Type{200: of[trail.Trail]()},
			faults: []fault.Code{fault.NotFound}, do: (*call).trail,
		},
		{
			method: http.MethodGet, path: "/v1/find", id: "find", tag: "operator", summary: "Find what a name belongs to",
			about: "Paste any id: of a payment, an account, a case, an event; a short reference, one at the channel, the channel's own id; an idempotency key; " +
				"a trace or request id. A trace and a channel's own id have no index: they are looked for among the newest " + strconv.Itoa(trail.NamesBack) +
				" payments, and with after, for two seconds a request, further back, up to looked_back_to.",
			scope: access.PaymentsRead, params: []*huma.Param{{
				Name: "q", In: "query", Description: "The name, as it was copied", Required: true, Schema: text(),
			}, query("after", "The next of the look before: look further back.", text())},
			answers: map[int]reflect.Type{200: of[FoundList]()}, faults: []fault.Code{fault.UnknownField}, do: (*call).find,
		},
	}
}
