package main

import (
	"context"
	"os"

	"github.com/moneta-pay/moneta/app"
)

type reconCmd struct {
	Breaks      reconBreaksCmd     `cmd:"" help:"List breaks: differences between the channels' statements and the ledger."`
	Show        reconShowCmd       `cmd:"" help:"Show one break: both sides, what would heal it, its history."`
	Ages        reconAgesCmd       `cmd:"" help:"Count open breaks by class and age."`
	Picture     reconPictureCmd    `cmd:"" help:"Show ledger, channel and statement side by side, by day."`
	Export      reconExportCmd     `cmd:"" help:"Write all breaks as CSV or JSON."`
	Import      reconImportCmd     `cmd:"" help:"Import a statement file (camt.053 or CSV), whole or not at all."`
	Statements  reconStatementsCmd `cmd:"" help:"List imported statements."`
	Clearing    reconClearingCmd   `cmd:"" help:"Show what is in clearing, by age; exits with 3 when some of it belongs to no payment."`
	RollForward reconRollCmd       `cmd:"" name:"roll-forward" help:"Show a channel's account day by day; exits with 3 when a difference belongs to no break."`
}

type reconScope struct {
	database
	Channel string `help:"Only this channel, such as bank-ab."`
	Config  string `help:"Configuration of serve, for the channels' calendars and mappings." type:"existingfile"`
	JSON    bool   `help:"Print JSON, amounts in the asset's smallest unit."`
}

func (c *reconScope) config() app.ReconConfig {
	cfg := app.ReconConfig{Database: app.Database{DSN: c.DSN, DataDir: c.Data}, Config: c.Config, JSON: c.JSON, Out: os.Stdout}
	cfg.Filter.Channel = app.ChannelName(c.Channel)
	return cfg
}

type breakScope struct {
	reconScope
	State string `help:"open, explained, resolved or all." default:"open" enum:"open,explained,resolved,all"`
	Class string `help:"Only this class, such as amount_mismatch."`
}

func (c *breakScope) config() app.ReconConfig {
	cfg := c.reconScope.config()
	cfg.Filter.State, cfg.Filter.Class = c.State, c.Class
	return cfg
}

type reconBreaksCmd struct {
	breakScope
	Limit int   `help:"At most so many." default:"50"`
	After int64 `help:"Go on behind this id."`
}

func (c *reconBreaksCmd) Run(ctx context.Context) error {
	cfg := c.config()
	cfg.Filter.Limit, cfg.Filter.After = c.Limit, c.After
	return app.ReconBreaks(ctx, cfg)
}

type reconExportCmd struct{ breakScope }

func (c *reconExportCmd) Run(ctx context.Context) error { return app.ReconExport(ctx, c.config()) }

type reconImportCmd struct {
	reconScope
	File    string `arg:"" help:"The file." type:"existingfile"`
	Mapping string `help:"JSON file that says where in the CSV what stands." type:"existingfile"`
	Accept  string `name:"accept-unbalanced" help:"Take a statement that does not add up, and say why; it is then a break."`
}

func (c *reconImportCmd) Run(ctx context.Context) error {
	cfg := c.config()
	cfg.File, cfg.Mapping, cfg.Accept = c.File, c.Mapping, c.Accept
	return app.ReconImport(ctx, cfg)
}

type reconStatementsCmd struct {
	reconScope
	Limit int `help:"At most so many." default:"30"`
}

func (c *reconStatementsCmd) Run(ctx context.Context) error {
	cfg := c.config()
	cfg.Filter.Limit = c.Limit
	return app.ReconStatements(ctx, cfg)
}

type reconClearingCmd struct{ reconScope }

func (c *reconClearingCmd) Run(ctx context.Context) error { return app.ReconClearing(ctx, c.config()) }

type reconRollCmd struct {
	reconScope
	Asset string `help:"Which of its accounts, such as CZK." required:""`
	From  string `help:"First business day." required:""`
	To    string `help:"Last business day, included; the first by default."`
}

func (c *reconRollCmd) Run(ctx context.Context) error {
	cfg := c.config()
	cfg.Asset, cfg.From, cfg.To = c.Asset, c.From, c.To
	return app.ReconRollForward(ctx, cfg)
}

// spokenScope is of commands that speak both languages.
type spokenScope struct {
	reconScope
	Lang string `help:"en or zh." default:"en" enum:"en,zh" env:"MONETA_LANG"`
}

func (c *spokenScope) config() app.ReconConfig {
	cfg := c.reconScope.config()
	cfg.Lang = c.Lang
	return cfg
}

type reconShowCmd struct {
	spokenScope
	ID int64 `arg:"" help:"The break's number, as moneta recon breaks lists it."`
}

func (*reconShowCmd) Help() string { return "For example: moneta recon show 17" }

func (c *reconShowCmd) Run(ctx context.Context) error { return app.ReconShow(ctx, c.config(), c.ID) }

type reconAgesCmd struct{ spokenScope }

func (*reconAgesCmd) Help() string { return "For example: moneta recon ages --json" }

func (c *reconAgesCmd) Run(ctx context.Context) error { return app.ReconAges(ctx, c.config()) }

type reconPictureCmd struct {
	spokenScope
	From string `help:"First business day; --to by default."`
	To   string `help:"Last business day, included, at most 30 after the first; today by default."`
}

func (*reconPictureCmd) Help() string {
	return "For example: moneta recon picture --channel bank-ab --from 2026-01-01 --to 2026-01-31"
}

func (c *reconPictureCmd) Run(ctx context.Context) error {
	cfg := c.config()
	cfg.From, cfg.To = c.From, c.To
	return app.ReconPicture(ctx, cfg)
}
