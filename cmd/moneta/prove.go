package main

import (
	"context"
	"os"
	"time"

	"github.com/moneta-pay/moneta/app"
)

type proveCmd struct {
	database
	Config    string        `help:"Configuration of serve, for the channels; else the sandbox banks of a running up." type:"existingfile"`
	Outside   string        `name:"sandbox-url" help:"Base URL of the sandbox." default:"http://127.0.0.1:7071"`
	Books     []string      `help:"A rail's own statement as lines of JSON: channel=file; see docs/prove.md." sep:"none"`
	From      string        `help:"List only what happened from this day or instant on; totals stay whole."`
	To        string        `help:"List only what happened before this day or instant."`
	Report    string        `help:"Write the signed proof here." type:"path"`
	Signing   string        `name:"signing-key" help:"File of the signing key, made once; beside the data folder when left out." type:"path"`
	Within    time.Duration `help:"Give up after so long; one hour when left out."`
	Statement time.Duration `name:"statement-timeout" help:"Longest time of one statement; one minute when left out."`
	Verify    string        `help:"Verify this stored proof instead." type:"existingfile"`
	Key       string        `help:"Public key that you trust, for --verify: a file or base 64."`
	JSON      bool          `help:"Print the signed proof: its result on the first line, the signature on the second."`
	Lang      string        `help:"en or zh." default:"en" enum:"en,zh" env:"MONETA_LANG"`
}

func (c *proveCmd) Run(ctx context.Context) error {
	return app.Prove(ctx, app.ProveConfig{
		Database: app.Database{DSN: c.DSN, DataDir: c.Data}, Config: c.Config, SandboxURL: c.Outside, Files: c.Books, From: c.From, To: c.To,
		Within: c.Within, Statement: c.Statement, Key: c.Signing, Report: c.Report, Verify: c.Verify, Public: c.Key, JSON: c.JSON, Lang: c.Lang,
		Out: os.Stdout, Progress: os.Stderr,
	})
}
