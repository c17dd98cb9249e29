package main

import (
	"context"
	"os"

	"github.com/moneta-pay/moneta/app"
)

type diagnoseCmd struct {
	database
	Payment   string `arg:"" optional:"" help:"One payment, pay_…: the twelve questions of triage, answered. Without: our own plane now."`
	Telemetry string `help:"Folder of an incident, as docs/telemetry.md describes." type:"path"`
	Replay    string `help:"Evidence file that --save wrote: the same answer again, anywhere." type:"path"`
	Save      string `help:"Write the evidence here, to replay or to send on." type:"path"`
	JSON      bool   `help:"Print JSON."`
	Lang      string `help:"en or zh." default:"en" enum:"en,zh" env:"MONETA_LANG"`
}

func (c *diagnoseCmd) Run(ctx context.Context) error {
	return app.Diagnose(ctx, app.DiagnoseConfig{
		Database: app.Database{DSN: c.DSN, DataDir: c.Data}, Payment: c.Payment, Telemetry: c.Telemetry, Replay: c.Replay, Save: c.Save, JSON: c.JSON, Lang: c.Lang, Out: os.Stdout,
	})
}

type traceCmd struct {
	ID   string `arg:"" help:"A payment, pay_…, or a trace by its 32 digits."`
	Data string `help:"Folder of the running watch." default:".moneta/data" type:"path"`
	JSON bool   `help:"Print JSON."`
	Lang string `help:"en or zh." default:"en" enum:"en,zh" env:"MONETA_LANG"`
}

func (c *traceCmd) Run(ctx context.Context) error {
	return app.Trace(ctx, app.TraceConfig{DataDir: c.Data, ID: c.ID, JSON: c.JSON, Lang: c.Lang, Out: os.Stdout})
}

type latencyCmd struct {
	Hop  string `help:"Draw the distribution of this hop: api, decider, or a channel." placeholder:"HOP"`
	Data string `help:"Folder of the running watch." default:".moneta/data" type:"path"`
	JSON bool   `help:"Print JSON."`
	Lang string `help:"en or zh." default:"en" enum:"en,zh" env:"MONETA_LANG"`
}

func (c *latencyCmd) Run(ctx context.Context) error {
	return app.Latency(ctx, app.LatencyConfig{DataDir: c.Data, Hop: c.Hop, JSON: c.JSON, Lang: c.Lang, Out: os.Stdout})
}

type sloCmd struct {
	Data string `help:"Folder of the running watch." default:".moneta/data" type:"path"`
	JSON bool   `help:"Print JSON."`
	Lang string `help:"en or zh." default:"en" enum:"en,zh" env:"MONETA_LANG"`
}

func (c *sloCmd) Run(ctx context.Context) error {
	return app.SLO(ctx, app.SLOConfig{DataDir: c.Data, JSON: c.JSON, Lang: c.Lang, Out: os.Stdout})
}

type telemetryCmd struct {
	Import telemetryImportCmd `cmd:"" help:"Write a telemetry folder from somebody else's files."`
}

type telemetryImportCmd struct {
	Petshop petshopCmd `cmd:"" help:"From the wide tables and the graph of the PetShop data set."`
}

type petshopCmd struct {
	Metrics   string `help:"CSV of the incident, plain or gzip." required:"" type:"existingfile"`
	Graph     string `help:"CSV of the call graph: a row calls the columns with a 1." required:"" type:"existingfile"`
	Baseline  string `help:"CSV of a normal time." required:"" type:"existingfile"`
	FaultTime string `name:"fault-time" help:"When it began: RFC 3339 or unix seconds." required:""`
	Node      string `name:"symptom-node" help:"Where it was seen." required:""`
	Metric    string `name:"symptom-metric" help:"By what: latency, availability or requests." required:""`
	Out       string `help:"New folder." required:"" type:"path"`
	Lang      string `help:"en or zh." default:"en" enum:"en,zh" env:"MONETA_LANG"`
}

func (c *petshopCmd) Run() error {
	return app.ImportPetshop(app.ImportConfig{
		Metrics: c.Metrics, Graph: c.Graph, Baseline: c.Baseline, SymptomNode: c.Node, SymptomMetric: c.Metric,
		FaultTime: c.FaultTime, Dir: c.Out, Lang: c.Lang, Out: os.Stdout,
	})
}
