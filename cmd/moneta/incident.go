package main

import (
	"context"
	"errors"
	"os"
	"os/user"

	"github.com/moneta-pay/moneta/app"
)

type incidentCmd struct {
	List   incidentListCmd   `cmd:"" help:"List incidents, the newest last."`
	Show   incidentShowCmd   `cmd:"" help:"Show one: stages, cause with evidence, what waits for approval, timeline."`
	Note   incidentNoteCmd   `cmd:"" help:"Add a sentence to one."`
	Todo   incidentTodoCmd   `cmd:"" help:"What follows from one: whose it is, by when, whether it is done; without an id all that is still to be done."`
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
	return app.IncidentNote(ctx, c.config(), c.ID, whoever(c.By), c.Text)
}

// whoever is who says something: by name, else the user of this machine.
func whoever(by string) string {
	if by != "" {
		return by
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "operator"
}

type incidentTodoCmd struct {
	incidents
	ID    string  `arg:"" optional:"" help:"Of incident list; last is the newest."`
	Todo  string  `arg:"" optional:"" name:"follow-up" help:"Id of a follow-up of that incident, to change it."`
	Add   *string `help:"Add one: what is to be done."`
	Owner *string `help:"Whose it is; an empty text takes the owner away."`
	Due   *string `help:"The day by which it is due, such as 2026-12-01, in UTC; an empty text takes it away."`
	Done  *bool   `help:"It is done; --no-done takes that back." negatable:""`
	By    string  `help:"Who says so; else the user of this machine."`
}

func (c *incidentTodoCmd) Run(ctx context.Context) error {
	changes := c.Add != nil || c.Owner != nil || c.Due != nil || c.Done != nil
	switch {
	case !changes && c.Todo == "":
		return app.IncidentFollowUps(c.config(), c.ID)
	case c.ID == "" || c.Todo == "" && c.Add == nil || c.Todo != "" && (c.Add != nil || !changes):
		return errors.New("name the incident, and either --add a text or a follow-up with --owner, --due or --done")
	}
	return app.IncidentFollow(ctx, c.config(), c.ID, &app.FollowUpChange{Who: whoever(c.By), ID: c.Todo, Text: c.Add, Owner: c.Owner, Due: c.Due, Done: c.Done})
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
