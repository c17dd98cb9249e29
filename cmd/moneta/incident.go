package main

import (
	"context"
	"os"
	"os/user"

	"github.com/moneta-pay/moneta/app"
)

type incidentCmd struct {
	List   incidentListCmd   `cmd:"" help:"List incidents, the newest last."`
	Show   incidentShowCmd   `cmd:"" help:"Show one: stages, cause with evidence, what waits for approval, timeline."`
	Note   incidentNoteCmd   `cmd:"" help:"Add a sentence to one."`
	Export incidentExportCmd `cmd:"" help:"Write a paper: the draft of a post-mortem, the brief for support, a checklist, hot-fix steps, a runbook."`
	Watch  incidentWatchCmd  `cmd:"" help:"Follow what is going on, live: where payments wait, why, what is done about it, what is next."`
	Check  incidentCheckCmd  `cmd:"" help:"Hold every figure of a draft against the journal; exits with 3 when one is not the journal's."`
}

type incidents struct {
	Data string `help:"Data folder of up, with the doctor's journal." default:".moneta/data" type:"path"`
	JSON bool   `help:"Print JSON."`
	Lang string `help:"en or zh." default:"en" enum:"en,zh" env:"MONETA_LANG"`
}

func (c *incidents) config() app.IncidentConfig {
	return app.IncidentConfig{DataDir: c.Data, JSON: c.JSON, Lang: c.Lang, Out: os.Stdout, Err: os.Stderr}
}

type incidentListCmd struct {
	incidents
	Open bool `help:"Only those that are not closed."`
}

func (c *incidentListCmd) Run() error { return app.IncidentList(c.config(), c.Open) }

type incidentShowCmd struct {
	incidents
	ID string `arg:"" help:"Of incident list; last is the newest."`
}

func (c *incidentShowCmd) Run() error { return app.IncidentShow(c.config(), c.ID) }

type incidentNoteCmd struct {
	incidents
	ID   string `arg:"" help:"Of incident list; last is the newest."`
	Text string `arg:"" help:"What to note."`
	By   string `help:"Who notes it; else the user of this machine."`
}

func (c *incidentNoteCmd) Run(ctx context.Context) error {
	who := c.By
	if who == "" {
		who = "operator"
		if u, err := user.Current(); err == nil {
			who = u.Username
		}
	}
	return app.IncidentNote(ctx, c.config(), c.ID, who, c.Text)
}

type incidentExportCmd struct {
	incidents
	ID     string `arg:"" help:"Of incident list; last is the newest."`
	As     string `help:"post-mortem, brief, checklist, hotfix or runbook." default:"post-mortem" enum:"post-mortem,brief,checklist,hotfix,runbook"`
	Format string `help:"md or html; html is one file that loads nothing." default:"md" enum:"md,html"`
	Out    string `help:"Write to this file instead of the screen." type:"path"`
}

func (c *incidentExportCmd) Run() error {
	return app.IncidentExport(c.config(), c.ID, c.As, c.Format, c.Out)
}

type incidentCheckCmd struct {
	incidents
	ID   string `arg:"" help:"Of incident list; last is the newest."`
	File string `arg:"" help:"The draft, Markdown or HTML." type:"existingfile"`
}

func (c *incidentCheckCmd) Run() error { return app.IncidentCheck(c.config(), c.ID, c.File) }

type incidentWatchCmd struct {
	incidents
	Plain bool `help:"Print a line for each thing that happens, for logs; with --json the journal's entries."`
}

func (c *incidentWatchCmd) Run(ctx context.Context) error {
	return app.IncidentWatch(ctx, c.config(), c.Plain)
}
