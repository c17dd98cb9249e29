package main

import (
	"context"
	"os"
	"time"

	"github.com/moneta-pay/moneta/app"
)

type leverCmd struct {
	List      leverListCmd      `cmd:"" help:"Show what is held back on purpose now."`
	Pull      leverPullCmd      `cmd:"" help:"Hold something back, on every node within a second."`
	Undo      leverUndoCmd      `cmd:"" help:"Let it go again."`
	History   leverHistoryCmd   `cmd:"" help:"Show whatever was pulled, the newest first."`
	Catalogue leverCatalogueCmd `cmd:"" help:"Show the levers: what each does, its class, and what it is aimed at."`
}

// atLevers are the flags of commands about levers.
type atLevers struct {
	asPerson
	Data  string `help:"Data folder of a running up: its installation key serves when nobody is named by --as." default:".moneta/data" type:"path"`
	Local bool   `help:"By a file on this node's machine, for when API or database are gone: read-only, safe-mode, pause-dispatch, breaker, banner."`
	State string `help:"State folder of serve on this machine, for --local; that of up in --data when left out." type:"path"`
}

func (c *atLevers) config() app.LeverConfig {
	return app.LeverConfig{Person: c.person(), DataDir: c.Data, Local: c.Local, State: c.State}
}

type leverListCmd struct{ atLevers }

func (c *leverListCmd) Run(ctx context.Context) error { return app.LeverList(ctx, c.config()) }

type leverHistoryCmd struct {
	atLevers
	Limit int `help:"How many, newest first; at most 100." default:"50"`
}

func (c *leverHistoryCmd) Run(ctx context.Context) error {
	return app.LeverHistory(ctx, c.config(), c.Limit)
}

type leverPullCmd struct {
	atLevers
	Lever   string        `arg:"" help:"Which one; moneta lever catalogue lists them."`
	Aim     string        `arg:"" optional:"" help:"everything, or channel:, tenant:, key:, route: or kind: and a name." default:"everything"`
	Value   string        `help:"limit: 600/1m. bulkhead: calls at once. banner: the text in English. safe-mode: intake=open."`
	ValueZH string        `name:"value-zh" help:"banner: the text in Chinese."`
	For     time.Duration `help:"It ends by itself after this long, at most 24h." required:""`
	Reason  string        `help:"Why; callers who are refused read it." required:""`
	Owner   string        `help:"Who sees to it that it ends; the operator of --as when left out."`
	DryRun  bool          `name:"dry-run" help:"Only tell what it would hold back now."`
}

func (c *leverPullCmd) Run(ctx context.Context) error {
	return app.LeverPull(ctx, c.config(), app.LeverOrder{
		Lever: c.Lever, Aim: c.Aim, Value: c.Value, ValueZH: c.ValueZH, For: c.For, Reason: c.Reason, Owner: c.Owner, DryRun: c.DryRun,
	})
}

type leverUndoCmd struct {
	atLevers
	ID     string `arg:"" help:"lev_…"`
	Reason string `help:"Why it ends." required:""`
}

func (c *leverUndoCmd) Run(ctx context.Context) error {
	return app.LeverUndo(ctx, c.config(), c.ID, c.Reason)
}

type leverCatalogueCmd struct {
	JSON bool   `help:"Print JSON."`
	Lang string `help:"en or zh." default:"en" enum:"en,zh" env:"MONETA_LANG"`
}

func (c *leverCatalogueCmd) Run() error { return app.LeverCatalogue(c.Lang, c.JSON, os.Stdout) }
