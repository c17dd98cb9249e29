package main

import (
	"os"

	"github.com/moneta-pay/moneta/app"
)

type causeCmd struct {
	List causeListCmd `cmd:"" help:"All of them, or those of one kind of hop."`
	Show causeShowCmd `cmd:"" help:"One of them: its signs, checks, levers, repair, what never to do and what to tell."`
}

type causeListCmd struct {
	Kind string `help:"database, service, queue, channel, gateway, client, relay, webhook or projection."`
	JSON bool   `help:"Print JSON."`
	Lang string `help:"en or zh." default:"en" enum:"en,zh" env:"MONETA_LANG"`
}

func (c *causeListCmd) Run() error {
	return app.Causes(app.CauseConfig{Kind: c.Kind, JSON: c.JSON, Lang: c.Lang, Out: os.Stdout})
}

type causeShowCmd struct {
	ID   string `arg:"" help:"Such as database-long-hold."`
	JSON bool   `help:"Print JSON."`
	Lang string `help:"en or zh." default:"en" enum:"en,zh" env:"MONETA_LANG"`
}

func (c *causeShowCmd) Run() error {
	return app.Causes(app.CauseConfig{ID: c.ID, JSON: c.JSON, Lang: c.Lang, Out: os.Stdout})
}
