package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/pay/notify"
)

var webhookCells = []string{"id", "state", "url", "reason", "failing_since@"}

// WebhookList prints the tenant's endpoints.
func WebhookList(ctx context.Context, d CaseDesk) error {
	return d.ask(ctx, &question{path: "/v1/webhooks", head: "webhook-head", cells: webhookCells, none: "webhook-none"})
}

// WebhookDeliveries prints what an endpoint was told, the newest first.
func WebhookDeliveries(ctx context.Context, d CaseDesk, id string, q url.Values) error {
	return d.ask(ctx, &question{
		path: "/v1/webhooks/" + url.PathEscape(id) + "/deliveries", query: q, head: "delivery-head", none: "delivery-none",
		cells: []string{"id", "type", "state", "tries", "last_status", "last_error", "created_at@", "next_at@"},
	})
}

// WebhookRedeliver sends one message again.
func WebhookRedeliver(ctx context.Context, d CaseDesk, id, delivery string) error {
	return d.ask(ctx, &question{
		method: http.MethodPost, path: "/v1/webhooks/" + url.PathEscape(id) + "/deliveries/" + url.PathEscape(delivery) + "/redeliver",
		head: "delivery-head", cells: []string{"id", "type", "state", "tries", "last_status", "last_error", "created_at@", "next_at@"},
	})
}

// WebhookPing tests an endpoint.
func WebhookPing(ctx context.Context, d CaseDesk, id string) error {
	return d.ask(ctx, &question{
		method: http.MethodPost, path: "/v1/webhooks/" + url.PathEscape(id) + "/ping", head: "delivery-head",
		cells: []string{"id", "type", "state", "tries", "last_status", "last_error", "created_at@", "next_at@"},
	})
}

// WebhookAdd makes an endpoint and prints its secret, this once.
func WebhookAdd(ctx context.Context, d CaseDesk, at, description string) error {
	return d.webhook(ctx, http.MethodPost, "", api.NewWebhook{URL: at, Description: description})
}

// WebhookChange gives an endpoint another address or description; nil stays.
func WebhookChange(ctx context.Context, d CaseDesk, id string, at, description *string) error {
	body := map[string]string{}
	if at != nil {
		body["url"] = *at
	}
	if description != nil {
		body["description"] = *description
	}
	return d.webhook(ctx, http.MethodPost, "/"+url.PathEscape(id), body)
}

// WebhookRotate replaces the secret and prints the new one, this once.
func WebhookRotate(ctx context.Context, d CaseDesk, id string) error {
	return d.webhook(ctx, http.MethodPost, "/"+url.PathEscape(id)+"/rotate-secret", nil)
}

// WebhookDisable stops telling an endpoint for a while.
func WebhookDisable(ctx context.Context, d CaseDesk, id, reason string) error {
	return d.webhook(ctx, http.MethodPost, "/"+url.PathEscape(id)+"/disable", api.WebhookStop{Reason: reason})
}

// WebhookEnable lets it be told again.
func WebhookEnable(ctx context.Context, d CaseDesk, id string) error {
	return d.webhook(ctx, http.MethodPost, "/"+url.PathEscape(id)+"/enable", nil)
}

// WebhookRecover tells an endpoint again what it has not taken since a time.
func WebhookRecover(ctx context.Context, d CaseDesk, id string, since time.Time) error {
	return d.webhook(ctx, http.MethodPost, "/"+url.PathEscape(id)+"/recover", api.WebhookRecovery{Since: since.UTC()})
}

// WebhookDelete ends an endpoint.
func WebhookDelete(ctx context.Context, d CaseDesk, id string) error {
	return d.webhook(ctx, http.MethodDelete, "/"+url.PathEscape(id), nil)
}

// webhook does something to an endpoint, and prints it, with its secret if there is one.
func (d *CaseDesk) webhook(ctx context.Context, method, path string, body any) error {
	raw, err := d.call(ctx, method, "/v1/webhooks"+path, body)
	if err != nil {
		return err
	}
	if d.JSON {
		_, err = d.Out.Write(raw)
		return err
	}
	if err := d.table(raw, &question{head: "webhook-head", cells: webhookCells}); err != nil {
		return err
	}
	var w api.Webhook
	if err := json.Unmarshal(raw, &w); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	switch {
	case w.Secret != "":
		_, err = io.WriteString(d.Out, say(d.Lang, "webhook-secret", w.Secret))
	case w.CatchingUp && w.State == notify.Active.String():
		_, err = io.WriteString(d.Out, say(d.Lang, "webhook-behind"))
	}
	return err
}
