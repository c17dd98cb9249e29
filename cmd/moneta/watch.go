package main

import (
	"context"
	"errors"
	"os"

	"github.com/moneta-pay/moneta/app"
)

type watchCmd struct {
	Data           string            `help:"Folder for watch.json and the doctor's journal; the wallet is the running up in it when no --dsn is given." default:".moneta/data" type:"path"`
	DSN            string            `help:"Postgres of the wallet: its facts are read, nothing else." env:"MONETA_DSN"`
	URL            string            `name:"serve-url" help:"A node of the wallet." default:"http://127.0.0.1:7070" env:"MONETA_URL"`
	ConsoleURL     string            `name:"console-url" help:"Address at which people reach the console, such as https://moneta.example behind a proxy of yours; localhost when left out." env:"MONETA_CONSOLE_URL"`
	Listen         string            `help:"host:port of this machine for the console and for commands; 127.0.0.1:7072 when left out, and a free port when that is taken." placeholder:"127.0.0.1:7072"`
	State          string            `help:"State folder of serve on this machine, for levers while API and database are gone; that of up in --data when left out." type:"path"`
	Config         string            `help:"The file of serve with the channels, for proofs against their own books." type:"path"`
	Sandbox        string            `name:"sandbox-url" help:"Where the sandbox banks are, when there is no --config." env:"MONETA_SANDBOX_URL"`
	Canary         string            `name:"canary-key" help:"API key of a tenant for canary payments between two house accounts of its own; that of up in --data when left out." env:"MONETA_CANARY_KEY"`
	CanaryChannels map[string]string `name:"canary-channel" help:"Send canary payouts of the smallest unit through this channel too, to this account there: bank-ab=123456." placeholder:"CHANNEL=ACCOUNT"`
	NoCanary       bool              `name:"no-canary" help:"Make no canary payments."`
	OTLPListen     string            `name:"otlp-listen" help:"host:port of this machine that takes spans (OTLP over HTTP); 127.0.0.1:4318 when left out, and a free port when that is taken; off for none." placeholder:"127.0.0.1:4318"`
	Prometheus     string            `help:"A Prometheus that is there already: it is asked for the signals of --prometheus-signals." env:"MONETA_PROMETHEUS" placeholder:"http://127.0.0.1:9090"`
	PromSignals    string            `name:"prometheus-signals" help:"JSON file with a query a signal; docs/telemetry.md has the form." env:"MONETA_PROMETHEUS_SIGNALS" type:"path"`
	Jaeger         string            `name:"jaeger-url" help:"A Jaeger that has the traces too: each is linked to it." env:"MONETA_JAEGER_URL" placeholder:"http://127.0.0.1:16686"`
	AllowDrills    bool              `name:"allow-drills" help:"Let the console run drills beside a wallet that is not the sandbox's. A drill has a world of its own, and takes processors of this machine."`

	Auto        string `help:"What the doctor does without asking: observe, instant (undone at once) or undoable (one session ended, one process started again)." default:"instant" enum:"observe,instant,undoable"`
	ActsPerHour int    `name:"acts-per-hour" help:"How often the doctor acts in an hour without a person; from then on each act waits for one." default:"30" placeholder:"30"`
	Lang        string `help:"en or zh." default:"en" enum:"en,zh" env:"MONETA_LANG"`
	TUI         bool   `name:"tui" help:"Do not watch: show on this terminal what the watch of --data sees and does, as moneta incident watch."`
}

func (c *watchCmd) Run(ctx context.Context) error {
	if c.ActsPerHour < 1 {
		return errors.New("--acts-per-hour: at least 1; who wants a doctor that only looks says --auto observe")
	}
	if c.TUI {
		return app.IncidentWatch(ctx, app.IncidentConfig{DataDir: c.Data, Lang: c.Lang, Out: os.Stdout, Err: os.Stderr}, false)
	}
	return app.Watch(ctx, app.WatchConfig{
		DataDir: c.Data, DSN: c.DSN, ServeURL: c.URL, Listen: c.Listen, State: c.State,
		Config: c.Config, SandboxURL: c.Sandbox, Auto: c.Auto, ActsPerHour: c.ActsPerHour, Lang: c.Lang,
		CanaryKey: c.Canary, CanaryChannels: c.CanaryChannels, NoCanary: c.NoCanary, AllowDrills: c.AllowDrills, Out: os.Stdout, ConsoleURL: c.ConsoleURL,
		OTLPListen: c.OTLPListen, JaegerURL: c.Jaeger, Prometheus: c.Prometheus, PrometheusSignals: c.PromSignals,
	})
}

type consoleCmd struct {
	Link consoleLinkCmd `cmd:"" help:"Print a link that lets one person into the console, once, within 15 minutes."`
}

type consoleLinkCmd struct {
	Data string `help:"Folder of the running watch." default:".moneta/data" type:"path"`
	As   string `help:"Key file of the operator who wants in; needed as soon as two people may approve." env:"MONETA_OPERATOR" type:"path"`
	Lang string `help:"en or zh." default:"en" enum:"en,zh" env:"MONETA_LANG"`
	JSON bool   `help:"As JSON."`
}

func (c *consoleLinkCmd) Run(ctx context.Context) error {
	return app.ConsoleLink(ctx, app.ConsoleLinkConfig{DataDir: c.Data, KeyFile: c.As, Lang: c.Lang, JSON: c.JSON, Out: os.Stdout, Err: os.Stderr})
}
