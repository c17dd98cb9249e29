package main

import (
	"context"
	"os"

	"github.com/moneta-pay/moneta/app"
)

type drillCmd struct {
	List  drillListCmd  `cmd:"" help:"Show the drills."`
	Run   drillRunCmd   `cmd:"" help:"Break a world of its own for real, see what the doctor does, and score it."`
	Score drillScoreCmd `cmd:"" help:"Show a scoreboard that was kept."`
}

type drillListCmd struct {
	JSON bool   `help:"Print JSON."`
	Lang string `help:"en or zh." default:"en" enum:"en,zh" env:"MONETA_LANG"`
}

func (c *drillListCmd) Run() error { return app.DrillList(c.JSON, c.Lang, os.Stdout) }

type drillRunCmd struct {
	Names  []string `arg:"" optional:"" name:"name" help:"Drills; see list."`
	All    bool     `help:"All of them, each with --seeds seeds; at most 50 minutes."`
	Quick  bool     `help:"A choice that fits into three minutes."`
	Seed   uint64   `help:"The first seed: when, how hard, where." default:"1"`
	Seeds  int      `help:"How many seeds of each." default:"1"`
	Rate   float64  `help:"Orders a second, 20 to 200." default:"60"`
	Resume bool     `help:"Go on with the series whose report is there."`
	Report string   `help:"Write the scoreboard as JSON here, and beside it as .md and .html, after every run." type:"path" default:"drills.json"`
	Blind  bool     `help:"Without the doctor: show only whom it hurts, and that it heals."`
	JSON   bool     `help:"Print the board as JSON."`
	Lang   string   `help:"en or zh." default:"en" enum:"en,zh" env:"MONETA_LANG"`
}

func (c *drillRunCmd) Run(ctx context.Context) error {
	return app.DrillRun(ctx, app.DrillConfig{
		Names: c.Names, All: c.All, Quick: c.Quick, Seed: c.Seed, Seeds: c.Seeds, Rate: c.Rate, Resume: c.Resume, Report: c.Report,
		Blind: c.Blind, JSON: c.JSON, Lang: c.Lang, Out: os.Stdout, Progress: os.Stderr,
	})
}

type drillScoreCmd struct {
	Report string `arg:"" optional:"" help:"The report of a series." type:"path" default:"drills.json"`
	JSON   bool   `help:"Print JSON."`
	Lang   string `help:"en or zh." default:"en" enum:"en,zh" env:"MONETA_LANG"`
}

func (c *drillScoreCmd) Run() error { return app.DrillScore(c.Report, c.JSON, c.Lang, os.Stdout) }

type drillLinkCmd struct {
	Listen string `required:""`
	To     string `required:""`
}

func (c *drillLinkCmd) Run(ctx context.Context) error { return app.DrillLink(ctx, c.Listen, c.To) }
