package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/moneta-pay/moneta/app"
)

type webhookCmd struct {
	List       webhookListCmd       `cmd:"" help:"List endpoints."`
	Deliveries webhookDeliveriesCmd `cmd:"" help:"Show what an endpoint was told, and what came of it."`
	Add        webhookAddCmd        `cmd:"" help:"Add an endpoint; its secret is shown once."`
	Change     webhookChangeCmd     `cmd:"" help:"Give an endpoint another address or description."`
	Disable    webhookDisableCmd    `cmd:"" help:"Stop telling an endpoint for a while; it misses nothing."`
	Enable     webhookEnableCmd     `cmd:"" help:"Tell it again, with what it missed."`
	Recover    webhookRecoverCmd    `cmd:"" help:"Tell it again what it has not taken since a time."`
	Ping       webhookPingCmd       `cmd:"" help:"Send a test message now."`
	Redeliver  webhookRedeliverCmd  `cmd:"" help:"Send one message again."`
	Rotate     webhookRotateCmd     `cmd:"" help:"Replace the secret; the new one is shown once, the old one signs too for 24 hours."`
	Delete     webhookDeleteCmd     `cmd:"" help:"End an endpoint."`
}

type webhookOne struct {
	caseDesk
	ID string `arg:"" name:"id" help:"Such as wh_0000000000001."`
}

type webhookListCmd struct{ caseDesk }

func (c *webhookListCmd) Run(ctx context.Context) error { return app.WebhookList(ctx, c.desk()) }

type webhookDeliveriesCmd struct {
	webhookOne
	Limit int    `help:"At most so many." default:"50"`
	After string `help:"Go on where the last page ended."`
}

func (c *webhookDeliveriesCmd) Run(ctx context.Context) error {
	return app.WebhookDeliveries(ctx, c.desk(), c.ID, url.Values{"limit": {strconv.Itoa(c.Limit)}, "after": {c.After}})
}

type webhookAddCmd struct {
	caseDesk
	Address     string `arg:"" help:"Where to send: https, and a public address."`
	Description string `help:"Yours to use."`
}

func (c *webhookAddCmd) Run(ctx context.Context) error {
	return app.WebhookAdd(ctx, c.desk(), c.Address, c.Description)
}

type webhookChangeCmd struct {
	webhookOne
	To          *string `help:"The new address; what waits goes there too."`
	Description *string `help:"The new description."`
}

func (c *webhookChangeCmd) Run(ctx context.Context) error {
	return app.WebhookChange(ctx, c.desk(), c.ID, c.To, c.Description)
}

type webhookDisableCmd struct {
	webhookOne
	Reason string `help:"Why; shown with the endpoint." required:""`
}

func (c *webhookDisableCmd) Run(ctx context.Context) error {
	return app.WebhookDisable(ctx, c.desk(), c.ID, c.Reason)
}

type webhookEnableCmd struct{ webhookOne }

func (c *webhookEnableCmd) Run(ctx context.Context) error {
	return app.WebhookEnable(ctx, c.desk(), c.ID)
}

type webhookRecoverCmd struct {
	webhookOne
	Since string `help:"How long ago, such as 6h, or when, such as 2026-11-22T08:00:00Z; at most 30 days." required:""`
}

func (c *webhookRecoverCmd) Run(ctx context.Context) error {
	at, err := time.Parse(time.RFC3339, c.Since)
	if err != nil {
		ago, wrong := time.ParseDuration(c.Since)
		if wrong != nil || ago <= 0 {
			return fmt.Errorf("--since %q is neither a duration such as 6h nor a time such as 2026-11-22T08:00:00Z", c.Since)
		}
		at = time.Now().Add(-ago)
	}
	return app.WebhookRecover(ctx, c.desk(), c.ID, at)
}

type webhookPingCmd struct{ webhookOne }

func (c *webhookPingCmd) Run(ctx context.Context) error { return app.WebhookPing(ctx, c.desk(), c.ID) }

type webhookRedeliverCmd struct {
	webhookOne
	Delivery string `arg:"" help:"Such as whd_0000000000001."`
}

func (c *webhookRedeliverCmd) Run(ctx context.Context) error {
	return app.WebhookRedeliver(ctx, c.desk(), c.ID, c.Delivery)
}

type webhookRotateCmd struct{ webhookOne }

func (c *webhookRotateCmd) Run(ctx context.Context) error {
	return app.WebhookRotate(ctx, c.desk(), c.ID)
}

type webhookDeleteCmd struct{ webhookOne }

func (c *webhookDeleteCmd) Run(ctx context.Context) error {
	return app.WebhookDelete(ctx, c.desk(), c.ID)
}
