package main

import (
	"context"
	"time"

	"github.com/moneta-pay/moneta/app"
)

type runbookCmd struct {
	List    runbookListCmd    `cmd:"" help:"Show the causes and how many steps each has."`
	Show    runbookShowCmd    `cmd:"" help:"Show a cause's steps, and what never to do."`
	Run     runbookRunCmd     `cmd:"" help:"Carry out a cause's steps, or try them; goes on with a run that was broken off."`
	Status  runbookStatusCmd  `cmd:"" help:"Show what was carried out, and what waits for whom."`
	Approve runbookApproveCmd `cmd:"" help:"Say yes or no to an act that waits."`
}

// atDoctor are the flags of commands that act as the doctor does.
type atDoctor struct {
	asPerson
	Data  string `help:"Data folder of a running up." default:".moneta/data" type:"path"`
	DSN   string `help:"Postgres primary; that of up in --data when left out." env:"MONETA_DSN"`
	State string `help:"State folder of serve on this machine; that of up in --data when left out." type:"path"`
	Auto  string `help:"What is done without asking: observe, instant or undoable." default:"instant" enum:"observe,instant,undoable"`
}

func (c *atDoctor) config() app.RunbookConfig {
	return app.RunbookConfig{Person: c.person(), DataDir: c.Data, Watch: app.WatchConfig{DataDir: c.Data, DSN: c.DSN, ServeURL: c.URL, State: c.State, Auto: c.Auto}}
}

type runbookListCmd struct{ atDoctor }

func (c *runbookListCmd) Run() error { return app.RunbookList(c.config()) }

type runbookShowCmd struct {
	atDoctor
	Cause string `arg:"" help:"Such as database-long-hold."`
}

func (c *runbookShowCmd) Run() error { return app.RunbookShow(c.config(), c.Cause) }

type runbookRunCmd struct {
	atDoctor
	Cause    string            `arg:"" help:"Such as database-long-hold."`
	Incident string            `help:"Which incident it is for." required:""`
	Phase    string            `help:"contain or repair." default:"repair" enum:"contain,repair"`
	Hop      string            `help:"Where the cause is, such as postgres or a channel." required:""`
	Set      map[string]string `help:"Fill in blanks: --set pid=42 --set since=2026-11-22T10:00:00Z." mapsep:"none"`
	DryRun   bool              `name:"dry-run" help:"Say what each step would change, and change nothing."`
}

func (c *runbookRunCmd) Run(ctx context.Context) error {
	return app.RunbookRun(ctx, c.config(), app.RunbookOrder{Cause: c.Cause, Incident: c.Incident, Phase: c.Phase, Hop: c.Hop, Detail: c.Set, DryRun: c.DryRun})
}

type runbookStatusCmd struct{ atDoctor }

func (c *runbookStatusCmd) Run() error { return app.RunbookStatus(c.config()) }

type runbookApproveCmd struct {
	atDoctor
	Act    string `arg:"" help:"The act's id, as status shows it."`
	Hash   string `help:"The act's hash, as status shows it: what you agree to." required:""`
	Reason string `help:"Why; kept." required:""`
	No     bool   `help:"Refuse it."`
}

func (c *runbookApproveCmd) Run(ctx context.Context) error {
	return app.RunbookApprove(ctx, c.config(), c.Act, c.Hash, c.Reason, !c.No)
}

type backlogCmd struct {
	Plan   backlogPlanCmd   `cmd:"" help:"Show what waits: payments that were never attempted, unknowns, callbacks that are not applied."`
	Drain  backlogDrainCmd  `cmd:"" help:"Bring it forward until nothing waits, or the time is up."`
	Park   backlogParkCmd   `cmd:"" help:"Set callbacks aside that cannot be applied, so that those behind them are; with no number, those that fail alone while others do not."`
	Replay backlogReplayCmd `cmd:"" help:"Apply now what was set aside."`
	GiveUp backlogGiveUpCmd `cmd:"" help:"End what was set aside: nobody applies it any more; its bytes stay." name:"give-up"`
	Verify backlogVerifyCmd `cmd:"" help:"Exit with 1 while something waits."`
}

type atBacklog struct {
	atDoctor
	Channel string        `help:"Only this channel."`
	Within  time.Duration `help:"Give up after so long." default:"1m"`
}

type backlogPlanCmd struct{ atBacklog }

func (c *backlogPlanCmd) Run(ctx context.Context) error {
	return app.Backlog(ctx, c.config(), "plan", c.Channel, c.Within)
}

type backlogDrainCmd struct{ atBacklog }

func (c *backlogDrainCmd) Run(ctx context.Context) error {
	return app.Backlog(ctx, c.config(), "drain", c.Channel, c.Within)
}

// atParked are callbacks, by the numbers that plan shows.
type atParked struct {
	atBacklog
	Callback []int64 `arg:"" optional:"" help:"Numbers of callbacks, as plan shows them."`
	Reason   string  `help:"Why; kept with each."`
	DryRun   bool    `help:"Only show what would be done." name:"dry-run"`
}

func (c *atParked) run(ctx context.Context, act string) error {
	return app.BacklogCallbacks(ctx, c.config(), app.CallbackOrder{Act: act, Channel: c.Channel, Callbacks: c.Callback, Reason: c.Reason, DryRun: c.DryRun})
}

type backlogParkCmd struct{ atParked }

func (c *backlogParkCmd) Run(ctx context.Context) error { return c.run(ctx, "park-callback") }

type backlogReplayCmd struct{ atParked }

func (c *backlogReplayCmd) Run(ctx context.Context) error { return c.run(ctx, "replay-parked") }

type backlogGiveUpCmd struct{ atParked }

func (c *backlogGiveUpCmd) Run(ctx context.Context) error { return c.run(ctx, "give-up-parked") }

type backlogVerifyCmd struct{ atBacklog }

func (c *backlogVerifyCmd) Run(ctx context.Context) error {
	return app.Backlog(ctx, c.config(), "verify", c.Channel, c.Within)
}
