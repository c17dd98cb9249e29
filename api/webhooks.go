package api

import (
	"context"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/event"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/notify"
)

// NewWebhook is the body of POST /v1/webhooks.
type NewWebhook struct {
	URL         string `json:"url" doc:"Where to send; https, and a public address" maxLength:"2048" example:"https://shop.example/moneta"`
	Description string `json:"description,omitempty" doc:"Yours to use" maxLength:"200"`
}

// WebhookChange is the body of POST /v1/webhooks/{id}; what is left out stays as it is.
type WebhookChange struct {
	URL         string `json:"url,omitempty" doc:"Where to send from now on; what waits goes there too, under the same secret" maxLength:"2048"`
	Description string `json:"description,omitempty" doc:"Yours to use" maxLength:"200"`
}

// WebhookStop is the body of POST /v1/webhooks/{id}/disable.
type WebhookStop struct {
	Reason string `json:"reason" doc:"Shown with the endpoint" maxLength:"120" example:"their release of tonight"`
}

// WebhookRecovery is the body of POST /v1/webhooks/{id}/recover.
type WebhookRecovery struct {
	Since time.Time `json:"since" doc:"Within the last 30 days"`
}

// Webhook is an endpoint as the API shows it.
type Webhook struct {
	ID             string     `json:"id" example:"wh_0000000000001"`
	Object         string     `json:"object" enum:"webhook"`
	URL            string     `json:"url"`
	Description    string     `json:"description"`
	Types          []string   `json:"types" doc:"What it is told; more may come"`
	State          string     `json:"state" enum:"active,disabled,deleted"`
	Reason         string     `json:"reason,omitempty" doc:"Why it is disabled"`
	FailingSince   *time.Time `json:"failing_since,omitempty" doc:"The first failure since the last success"`
	CatchingUp     bool       `json:"catching_up,omitempty" doc:"What it missed is being queued"`
	Secret         string     `json:"secret,omitempty" doc:"Signs the messages; shown when it is made, and not again"`
	OldSecretUntil *time.Time `json:"old_secret_until,omitempty" doc:"Until then the secret before this one signs too"`
	CreatedAt      time.Time  `json:"created_at"`
}

// WebhookDelivery is one message to one endpoint, all its tries together.
type WebhookDelivery struct {
	ID         string     `json:"id" example:"whd_0000000000001"`
	Object     string     `json:"object" enum:"webhook_delivery"`
	Webhook    string     `json:"webhook"`
	MessageID  string     `json:"message_id" doc:"The webhook-id: the event's id, or of a ping; the same for every try" example:"evt_0000000000007"`
	Type       string     `json:"type" example:"payment.final"`
	State      string     `json:"state" enum:"pending,delivered,given_up"`
	Tries      int16      `json:"tries"`
	LastStatus *int16     `json:"last_status,omitempty" doc:"HTTP status of the last try; left out when no answer came"`
	LastError  string     `json:"last_error,omitempty"`
	LastAt     *time.Time `json:"last_at,omitempty"`
	NextAt     *time.Time `json:"next_at,omitempty" doc:"When the next try is due"`
	CreatedAt  time.Time  `json:"created_at"`
}

func showWebhook(e *notify.Endpoint) Webhook {
	return Webhook{
		ID: e.ID.String(), Object: "webhook", URL: e.URL, Description: e.Description, Types: []string{event.PaymentFinal},
		State: e.State.String(), Reason: e.Reason, FailingSince: moment(e.FailingSince), CatchingUp: e.CatchingUp,
		OldSecretUntil: moment(e.OldSecretUntil), CreatedAt: e.CreatedAt,
	}
}

func showDelivery(d *notify.Delivery) WebhookDelivery {
	out := WebhookDelivery{
		ID: d.ID.String(), Object: "webhook_delivery", Webhook: d.Endpoint.String(), MessageID: d.MessageID(), Type: event.PaymentFinal,
		State: d.State.String(), Tries: d.Tries, LastError: d.LastError, LastAt: moment(d.LastAt), CreatedAt: d.CreatedAt,
	}
	if d.Event == 0 {
		out.Type = event.WebhookPing
	}
	if d.LastStatus != 0 {
		out.LastStatus = &d.LastStatus
	}
	if d.State == notify.Pending {
		out.NextAt = moment(d.NextAt)
	}
	return out
}

// webhook finds what every route here needs: the store, the tenant, the endpoint.
func (c *call) webhook() (pay.TenantID, notify.EndpointID, error) {
	if c.s.Webhooks == nil {
		return 0, 0, fault.New(fault.NotFound, "this node sends no webhooks")
	}
	id, err := notify.ParseEndpointID(c.r.PathValue("id"))
	if err != nil {
		return 0, 0, fault.New(fault.NotFound, "this is not the id of an endpoint")
	}
	return pay.TenantID(c.who.Tenant), id, nil
}

func (c *call) createWebhook() error {
	if c.s.Webhooks == nil {
		return fault.New(fault.NotFound, "this node sends no webhooks")
	}
	body, err := c.body(bodyMax)
	if err != nil {
		return err
	}
	var url, description string
	err = decodeObject(body, func(d *decoder, member []byte) error {
		switch string(member) {
		case "url":
			return d.text("/url", &url)
		case "description":
			return d.text("/description", &description)
		}
		return unknownField(member)
	})
	if err != nil {
		return err
	}
	e, secret, err := c.s.Webhooks.Create(c.ctx, pay.TenantID(c.who.Tenant), url, description)
	if err != nil {
		return err
	}
	out := showWebhook(&e)
	out.Secret = secret
	return c.reply(http.StatusCreated, &out)
}

func (c *call) listWebhooks() error {
	if c.s.Webhooks == nil {
		return fault.New(fault.NotFound, "this node sends no webhooks")
	}
	found, err := c.s.Webhooks.List(c.ctx, pay.TenantID(c.who.Tenant))
	if err != nil {
		return err
	}
	out := ListOf[Webhook]{Object: "list", Data: make([]Webhook, len(found))}
	for i := range found {
		out.Data[i] = showWebhook(&found[i])
	}
	return c.reply(http.StatusOK, &out)
}

func (c *call) getWebhook() error    { return c.changeWebhook((*notify.Endpoints).Endpoint) }
func (c *call) deleteWebhook() error { return c.changeWebhook((*notify.Endpoints).Delete) }
func (c *call) enableWebhook() error { return c.changeWebhook((*notify.Endpoints).Enable) }
func (c *call) rotateWebhook() error {
	tenant, id, err := c.webhook()
	if err != nil {
		return err
	}
	e, secret, err := c.s.Webhooks.Rotate(c.ctx, tenant, id)
	if err != nil {
		return err
	}
	out := showWebhook(&e)
	out.Secret = secret
	return c.reply(http.StatusOK, &out)
}

// webhookBody reads the texts of a body; what it did not name stays nil.
func (c *call) webhookBody(known ...string) (map[string]*string, error) {
	body, err := c.body(bodyMax)
	if err != nil {
		return nil, err
	}
	found := map[string]*string{}
	err = decodeObject(body, func(d *decoder, member []byte) error {
		if !slices.Contains(known, string(member)) {
			return unknownField(member)
		}
		into := new(string)
		found[string(member)] = into
		return d.text("/"+string(member), into)
	})
	return found, err
}

func (c *call) editWebhook() error {
	texts, err := c.webhookBody("url", "description")
	if err != nil {
		return err
	}
	return c.changeWebhook(func(s *notify.Endpoints, ctx context.Context, tenant pay.TenantID, id notify.EndpointID) (notify.Endpoint, error) {
		return s.Change(ctx, tenant, id, texts["url"], texts["description"])
	})
}

const stopReasonMax = 120 // bytes; the name before it is known

func (c *call) disableWebhook() error {
	texts, err := c.webhookBody("reason")
	if err != nil {
		return err
	}
	reason := texts["reason"]
	if reason == nil || strings.TrimSpace(*reason) == "" || len(*reason) > stopReasonMax {
		return malformed("give a reason of 1 to 120 bytes").WithParam("/reason")
	}
	return c.changeWebhook(func(s *notify.Endpoints, ctx context.Context, tenant pay.TenantID, id notify.EndpointID) (notify.Endpoint, error) {
		return s.Disable(ctx, tenant, id, c.who.Name()+": "+*reason)
	})
}

func (c *call) recoverWebhook() error {
	body, err := c.body(bodyMax)
	if err != nil {
		return err
	}
	var since time.Time
	err = decodeObject(body, func(d *decoder, member []byte) error {
		if string(member) != "since" {
			return unknownField(member)
		}
		return d.instant("/since", &since)
	})
	if err != nil {
		return err
	}
	return c.changeWebhook(func(s *notify.Endpoints, ctx context.Context, tenant pay.TenantID, id notify.EndpointID) (notify.Endpoint, error) {
		return s.Recover(ctx, tenant, id, since)
	})
}

type (
	webhookCall  func(*notify.Endpoints, context.Context, pay.TenantID, notify.EndpointID) (notify.Endpoint, error)
	deliveryCall func(*notify.Endpoints, context.Context, pay.TenantID, notify.EndpointID, notify.DeliveryID) (notify.Delivery, error)
)

func (c *call) changeWebhook(change webhookCall) error {
	tenant, id, err := c.webhook()
	if err != nil {
		return err
	}
	e, err := change(c.s.Webhooks, c.ctx, tenant, id)
	if err != nil {
		return err
	}
	out := showWebhook(&e)
	return c.reply(http.StatusOK, &out)
}

func (c *call) pingWebhook() error {
	tenant, id, err := c.webhook()
	if err != nil {
		return err
	}
	d, err := c.s.Webhooks.Ping(c.ctx, tenant, id)
	if err != nil {
		return err
	}
	out := showDelivery(&d)
	return c.reply(http.StatusCreated, &out)
}

func (c *call) listDeliveries() error {
	tenant, id, err := c.webhook()
	if err != nil {
		return err
	}
	q := c.r.URL.Query()
	n, err := limit(q, notify.PageMax)
	if err != nil {
		return err
	}
	var before notify.DeliveryID
	if s := q.Get("after"); s != "" {
		if before, err = notify.ParseDeliveryID(s); err != nil {
			return malformed("the cursor is not one that this list gave out").WithParam("after")
		}
	}
	found, err := c.s.Webhooks.Deliveries(c.ctx, tenant, id, before, n+1)
	if err != nil {
		return err
	}
	out := ListOf[WebhookDelivery]{Object: "list", HasMore: len(found) > n}
	found = found[:min(n, len(found))]
	out.Data = make([]WebhookDelivery, len(found))
	for i := range found {
		out.Data[i] = showDelivery(&found[i])
	}
	if out.HasMore {
		out.Next = out.Data[n-1].ID
		c.linkNext(out.Next)
	}
	return c.reply(http.StatusOK, &out)
}

func (c *call) getDelivery() error { return c.delivery((*notify.Endpoints).Delivery) }
func (c *call) redeliver() error   { return c.delivery((*notify.Endpoints).Redeliver) }

func (c *call) delivery(do deliveryCall) error {
	tenant, id, err := c.webhook()
	if err != nil {
		return err
	}
	delivery, err := notify.ParseDeliveryID(c.r.PathValue("delivery"))
	if err != nil {
		return fault.New(fault.NotFound, "this is not the id of a delivery")
	}
	d, err := do(c.s.Webhooks, c.ctx, tenant, id, delivery)
	if err != nil {
		return err
	}
	out := showDelivery(&d)
	return c.reply(http.StatusOK, &out)
}

func webhookRoutes() []*route {
	id, delivery := pathID("id", "wh_…"), pathID("delivery", "whd_…")
	one := func(method, path, name, summary, about string, scope access.Scope, do func(*call) error) *route {
		return &route{
			method: method, path: path, id: name, tag: "webhooks", summary: summary, about: about, scope: scope, params: []*huma.Param{id},
			answers: map[int]reflect.Type{200: of[Webhook]()}, faults: []fault.Code{fault.NotFound}, do: do,
		}
	}
	ping := one(http.MethodPost, "/v1/webhooks/{id}/ping", "ping-webhook", "Test an endpoint",
		"Sends webhook.ping at once; look at the delivery to see what came of it.", access.WebhooksWrite, (*call).pingWebhook)
	ping.answers, ping.faults = map[int]reflect.Type{201: of[WebhookDelivery]()}, []fault.Code{fault.NotFound, fault.IllegalTransition}
	list := one(http.MethodGet, "/v1/webhooks/{id}/deliveries", "list-deliveries", "What an endpoint was told",
		"Newest first, with the status of the last try; kept for 30 days.", access.WebhooksRead, (*call).listDeliveries)
	list.params, list.answers = append(paging("100"), id), map[int]reflect.Type{200: of[ListOf[WebhookDelivery]]()}
	list.faults = append(list.faults, fault.UnknownField)
	look := one(http.MethodGet, "/v1/webhooks/{id}/deliveries/{delivery}", "get-delivery", "Look at a delivery", "", access.WebhooksRead, (*call).getDelivery)
	look.params, look.answers = []*huma.Param{id, delivery}, map[int]reflect.Type{200: of[WebhookDelivery]()}
	again := one(http.MethodPost, "/v1/webhooks/{id}/deliveries/{delivery}/redeliver", "redeliver", "Send a message again",
		"Whatever became of it; under the same webhook-id, with a whole schedule of tries.", access.WebhooksWrite, (*call).redeliver)
	again.params, again.answers, again.faults = look.params, look.answers, ping.faults
	enable := one(http.MethodPost, "/v1/webhooks/{id}/enable", "enable-webhook", "Be told again",
		"After it was disabled: what waits is due at once, and what it missed is queued from the log.", access.WebhooksWrite, (*call).enableWebhook)
	disable := one(http.MethodPost, "/v1/webhooks/{id}/disable", "disable-webhook", "Stop telling for a while",
		"What becomes final meanwhile is queued from the log when the endpoint is enabled.", access.WebhooksWrite, (*call).disableWebhook)
	disable.body = of[WebhookStop]()
	retell := one(http.MethodPost, "/v1/webhooks/{id}/recover", "recover-webhook", "Tell again since a time",
		"Everything that became final since then and that the endpoint has not taken: what was given up, and what was never queued for it, such as from "+
			"before it was made. What it took is not repeated. catching_up is true until all is queued.", access.WebhooksWrite, (*call).recoverWebhook)
	retell.body, retell.faults = of[WebhookRecovery](), append(retell.faults, fault.IllegalTransition)
	edit := one(http.MethodPost, "/v1/webhooks/{id}", "change-webhook", "Change an endpoint", "", access.WebhooksWrite, (*call).editWebhook)
	edit.body = of[WebhookChange]()
	remove := one(http.MethodDelete, "/v1/webhooks/{id}", "delete-webhook", "Stop being told", "", access.WebhooksWrite, (*call).deleteWebhook)
	rotate := one(http.MethodPost, "/v1/webhooks/{id}/rotate-secret", "rotate-webhook-secret", "Replace the secret",
		"The new one is shown once. For 24 hours messages carry both signatures, so that nothing is refused while you change over.",
		access.WebhooksWrite, (*call).rotateWebhook)
	for _, rt := range []*route{disable, retell, edit} {
		rt.faults = append(rt.faults, fault.UnknownField, fault.BodyTooLarge, fault.UnsupportedMediaType)
	}
	// Telling an endpoint once more what it was to be told anyway gives nothing away, and
	// silence is undone: operators do so. Where messages go, and what they are signed
	// with, is for an admin, who may make a key that decides it anyway.
	for _, rt := range []*route{ping, again, enable, disable, retell} {
		rt.role = access.Operate
	}
	for _, rt := range []*route{edit, remove, rotate} {
		rt.role = access.Chief
	}
	return []*route{
		{
			method: http.MethodPost, path: "/v1/webhooks", id: "create-webhook", tag: "webhooks", summary: "Be told what becomes final",
			about: "Each payment.final after this is sent to the URL, signed after Standard Webhooks with the secret in this answer, at least once, " +
				"and in no promised order: webhook-id names the event, and a repetition has the same. An answer of 2xx takes it; anything else is " +
				"tried again, ten times over 76 hours. 410 disables the endpoint, as does failing for 76 hours without one success.",
			scope: access.WebhooksWrite, role: access.Chief, body: of[NewWebhook](), answers: map[int]reflect.Type{201: of[Webhook]()},
			faults: []fault.Code{fault.UnknownField, fault.BodyTooLarge, fault.UnsupportedMediaType, fault.NotFound}, do: (*call).createWebhook,
		},
		{
			method: http.MethodGet, path: "/v1/webhooks", id: "list-webhooks", tag: "webhooks", summary: "List endpoints", scope: access.WebhooksRead,
			answers: map[int]reflect.Type{200: of[ListOf[Webhook]]()}, faults: []fault.Code{fault.NotFound}, do: (*call).listWebhooks,
		},
		one(http.MethodGet, "/v1/webhooks/{id}", "get-webhook", "Look at an endpoint", "", access.WebhooksRead, (*call).getWebhook),
		edit, remove, rotate, disable, enable, retell, ping, list, look, again,
	}
}
