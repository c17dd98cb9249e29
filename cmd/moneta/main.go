// Command moneta is the one binary: its subcommands turn flags into calls of
// package app, and nothing else happens here.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/moneta-pay/moneta/app"
	"github.com/moneta-pay/moneta/internal/lifecycle"
)

// orphanedMax bounds how long a child goes on stopping after up has died: nothing
// of it may hold a port or a shard for ever.
const orphanedMax = 30 * time.Second

// version is set by the linker.
var version = "dev"

type cli struct {
	Up          upCmd          `cmd:"" help:"Start everything on this machine: a private Postgres, the pay plane and, with --sandbox, outside banks."`
	Init        initCmd        `cmd:"" help:"Write settings for serve that work as they are, with its keys, and say what comes next."`
	Serve       serveCmd       `cmd:"" help:"Run the pay plane on a Postgres of yours."`
	Sandbox     sandboxCmd     `cmd:"" help:"Play the outside world: banks over real HTTP, with books of their own."`
	Demo        demoCmd        `cmd:"" help:"Replay a real bank's year while banks misbehave and the server is killed; then prove the books."`
	Replay      replayCmd      `cmd:"" help:"Drive any bank's CSV through the HTTP API and compare with the balances it recorded."`
	Bench       benchCmd       `cmd:"" help:"Measure honestly: durable, balance-checked, beside plain SQL in the same run."`
	Key         keyCmd         `cmd:"" help:"Create, list and revoke API keys."`
	Webhook     webhookCmd     `cmd:"" help:"Who is told what becomes final: list, add, change, disable, enable, recover, rotate, ping."`
	Receipt     receiptCmd     `cmd:"" help:"What the record says of a payment, signed: show, list, verify offline; the keys."`
	Case        caseCmd        `cmd:"" help:"What people must look at: list, show, note, assign, close; and the journey of a payment."`
	Account     accountCmd     `cmd:"" help:"What accounts have, or had: list, show, postings, curve."`
	Transfer    transferCmd    `cmd:"" help:"The journal: list its transfers, or show one with both its ends."`
	Invariants  invariantsCmd  `cmd:"" help:"Show what must hold of money, and how fresh that is; exits with 3 when something does not hold, with 4 when that is not known."`
	Lever       leverCmd       `cmd:"" help:"Hold something back on purpose, and let it go again: list, pull, undo, history."`
	Operator    operatorCmd    `cmd:"" help:"People by name: enrol, add, list, disable, rotate."`
	Approve     approveCmd     `cmd:"" help:"What two people agree on: propose, look, approve, carry out."`
	Backup      backupCmd      `cmd:"" help:"Copy and verify the private Postgres of a running up."`
	Restore     restoreCmd     `cmd:"" help:"Put a backup into a new data folder, to a second; payouts then wait for the gap finder."`
	Export      exportCmd      `cmd:"" help:"Write the books for accountants: hledger journal, trial balance."`
	Channel     channelCmd     `cmd:"" help:"The rails: what they claim, what is proven, and the test that proves it."`
	Recon       reconCmd       `cmd:"" help:"Reconcile: breaks, statement files, clearing, roll-forward."`
	Prove       proveCmd       `cmd:"" help:"Recount everything from the raw rows and the rails' own books, and sign the result; exits with 3 on any fault, 4 when something could not be proved."`
	Periods     periodCmd      `cmd:"" help:"List closed periods, or recount them; POST /v1/periods closes one."`
	Runbook     runbookCmd     `cmd:"" help:"What the doctor does about a cause: list, show, run, status, approve."`
	Backlog     backlogCmd     `cmd:"" help:"What waits in the pay plane: plan, drain, verify."`
	Watch       watchCmd       `cmd:"" help:"Watch a wallet from a process of its own: it goes on when the server or the database is dead."`
	Console     consoleCmd     `cmd:"" help:"The console in the browser: a one-time link to get in."`
	Diagnose    diagnoseCmd    `cmd:"" help:"Find what is at fault, with the evidence for and against: here and now, with one payment, or from an incident's telemetry; exits with 5 when something is wrong, 6 when it cannot be told."`
	Trace       traceCmd       `cmd:"" help:"Where the time of one payment went, hop by hop, from its trace; exits with 6 when there is none, and says why."`
	Latency     latencyCmd     `cmd:"" help:"How long each hop took, as distributions, and whose the time of the slowest payments was."`
	Flight      flightCmd      `cmd:"" help:"Record what a node does for some seconds, for go tool trace, and where its goroutines stand."`
	SLO         sloCmd         `cmd:"" name:"slo" help:"What was promised, what of the error budgets is left, and how fast they burn."`
	Incident    incidentCmd    `cmd:"" help:"What went wrong, from the first sign to the proof: list, show, note, export a post-mortem, brief, checklist, hot fix or runbook, check a draft."`
	Cause       causeCmd       `cmd:"" help:"What is known about each way of failing: list them, or show one whole."`
	Telemetry   telemetryCmd   `cmd:"" help:"Bring somebody else's telemetry into the form that diagnose reads."`
	Drill       drillCmd       `cmd:"" help:"Break a world of its own for real, and score what the doctor makes of it."`
	Migrate     migrateCmd     `cmd:"" help:"Bring a database to this binary's schema."`
	Version     versionCmd     `cmd:"" help:"Print the version."`
	BenchLoad   benchLoadCmd   `cmd:"" hidden:"" help:"Load generator of bench."`
	BenchLedger benchLedgerCmd `cmd:"" hidden:"" help:"Committer under bench's load."`
	DrillLink   drillLinkCmd   `cmd:"" hidden:"" help:"Far end of the link of a wired drill."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		select {
		case <-lifecycle.ParentDone():
			time.AfterFunc(orphanedMax, func() { os.Exit(1) })
			stop()
		case <-ctx.Done():
		}
	}()
	app.Version = version
	var c cli
	parser := kong.Must(&c, kong.Name("moneta"), kong.UsageOnError(),
		kong.Description("Moneta moves a wallet's money and warns before anybody has to ask where it is."),
		kong.BindTo(ctx, (*context.Context)(nil)))
	cmd, err := parser.Parse(os.Args[1:])
	parser.FatalIfErrorf(err)
	if err := cmd.Run(); err != nil {
		var exit *app.ExitError
		if errors.As(err, &exit) {
			if exit.Message != "" {
				fmt.Fprintln(os.Stderr, "moneta: "+exit.Message)
			}
			os.Exit(exit.Code)
		}
		fmt.Fprintln(os.Stderr, "moneta: "+err.Error())
		os.Exit(1)
	}
}
