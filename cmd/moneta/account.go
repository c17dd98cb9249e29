package main

import (
	"context"
	"net/url"
	"strconv"
	"time"

	"github.com/moneta-pay/moneta/app"
)

type accountCmd struct {
	List     accountListCmd     `cmd:"" help:"List accounts with what each has, or had."`
	Show     accountShowCmd     `cmd:"" help:"Show an account and its balances, now or as of a moment."`
	Postings accountPostingsCmd `cmd:"" help:"List an account's postings, the newest first, each with the balance after it."`
	Curve    accountCurveCmd    `cmd:"" help:"Show how an account's balances moved."`
}

type accountListCmd struct {
	caseDesk
	Kind  string `help:"user, house or system; users and houses when left out." enum:",user,house,system" default:""`
	Asset string `help:"Only this asset, such as CZK."`
	Name  string `help:"Only accounts whose name has this in it."`
	AsOf  string `name:"as-of" help:"With what each had: a day, its end, or an instant such as 2026-01-31T12:00:00Z; now by default."`
	Limit int    `help:"Most accounts shown, at most 99." default:"50"`
	After string `help:"Go on where the last page ended."`
}

func (*accountListCmd) Help() string {
	return "For example: moneta account list --kind system --as-of 2026-01-31"
}

func (c *accountListCmd) Run(ctx context.Context) error {
	at, err := app.Instant("--as-of", c.AsOf)
	if err != nil {
		return err
	}
	if at == "" {
		at = "now"
	}
	return app.AccountList(ctx, c.desk(), url.Values{
		"kind": {c.Kind}, "asset": {c.Asset}, "name": {c.Name}, "balances": {at}, "limit": {strconv.Itoa(c.Limit)}, "after": {c.After},
	})
}

type accountShowCmd struct {
	caseDesk
	ID   string `arg:"" help:"Such as acct_0000000000002."`
	AsOf string `name:"as-of" help:"A day, its end, or an instant such as 2026-01-31T12:00:00Z; now by default."`
	By   string `help:"booking or effective: which of a transfer's times counts." default:"booking" enum:"booking,effective"`
}

func (*accountShowCmd) Help() string {
	return "For example: moneta account show acct_0000000000002 --as-of 2026-01-31T12:00:00Z"
}

func (c *accountShowCmd) Run(ctx context.Context) error {
	at, err := app.Instant("--as-of", c.AsOf)
	if err != nil {
		return err
	}
	return app.AccountShow(ctx, c.desk(), c.ID, url.Values{"as_of": {at}, "by": {c.By}})
}

type accountPostingsCmd struct {
	caseDesk
	ID           string `arg:"" help:"Such as acct_0000000000002."`
	Book         string `help:"available or held." default:"available" enum:"available,held"`
	From         string `help:"Only from this instant on, such as 2026-01-31T12:00:00Z."`
	To           string `help:"Only before this instant, or up to the end of a day such as 2026-01-31."`
	By           string `help:"booking or effective: which time --from and --to count by." default:"booking" enum:"booking,effective"`
	Direction    string `help:"Only what came in, or what went out." enum:",in,out" default:""`
	Kind         string `help:"Only payments of this kind, such as payout."`
	Counterparty string `help:"Only postings with this account at the other end."`
	Limit        int    `help:"Most postings shown, at most 100." default:"50"`
	After        string `help:"Go on where the last page ended."`
}

func (*accountPostingsCmd) Help() string {
	return "For example: moneta account postings acct_0000000000002 --to 2026-01-31 --direction out"
}

func (c *accountPostingsCmd) Run(ctx context.Context) error {
	to, err := app.Until("--to", c.To)
	if err != nil {
		return err
	}
	return app.AccountPostings(ctx, c.desk(), c.ID, url.Values{
		"book": {c.Book}, "from": {c.From}, "to": {to}, "by": {c.By}, "direction": {c.Direction}, "kind": {c.Kind}, "counterparty": {c.Counterparty},
		"limit": {strconv.Itoa(c.Limit)}, "after": {c.After},
	})
}

type accountCurveCmd struct {
	caseDesk
	ID     string        `arg:"" help:"Such as acct_0000000000002."`
	Last   time.Duration `help:"How far back, up to --to." default:"24h"`
	To     string        `help:"A day, its end, or an instant; now by default."`
	Points int           `help:"How many, 2 to 240." default:"25"`
}

func (*accountCurveCmd) Help() string {
	return "For example: moneta account curve acct_0000000000002 --last 168h --points 8"
}

func (c *accountCurveCmd) Run(ctx context.Context) error {
	to, err := app.Instant("--to", c.To)
	if err != nil {
		return err
	}
	end := time.Now()
	if to != "" {
		if end, err = time.Parse(time.RFC3339Nano, to); err != nil {
			return err
		}
	}
	return app.AccountCurve(ctx, c.desk(), c.ID, url.Values{
		"from": {end.Add(-c.Last).UTC().Format(time.RFC3339Nano)}, "to": {end.UTC().Format(time.RFC3339Nano)}, "points": {strconv.Itoa(c.Points)},
	})
}

type transferCmd struct {
	List transferListCmd `cmd:"" help:"List the journal's transfers, the newest first, with both ends."`
	Show transferShowCmd `cmd:"" help:"Show one transfer: what left, what arrived, and both balances after it."`
}

type transferListCmd struct {
	caseDesk
	AsOf  string `name:"as-of" help:"Begin with the newest by then: a day, its end, or an instant; now by default."`
	Asset string `help:"Only this asset, such as CZK."`
	Limit int    `help:"Most transfers shown, at most 99." default:"50"`
	After string `help:"Go on where the last page ended."`
}

func (*transferListCmd) Help() string {
	return "For example: moneta transfer list --as-of 2026-01-31 --asset CZK"
}

func (c *transferListCmd) Run(ctx context.Context) error {
	at, err := app.Instant("--as-of", c.AsOf)
	if err != nil {
		return err
	}
	return app.TransferList(ctx, c.desk(), url.Values{"as_of": {at}, "asset": {c.Asset}, "limit": {strconv.Itoa(c.Limit)}, "after": {c.After}})
}

type transferShowCmd struct {
	caseDesk
	ID int64 `arg:"" help:"Its place in the ledger, such as 4711."`
}

func (*transferShowCmd) Help() string { return "For example: moneta transfer show 4711" }

func (c *transferShowCmd) Run(ctx context.Context) error {
	return app.TransferShow(ctx, c.desk(), c.ID)
}

type invariantsCmd struct{ caseDesk }

func (*invariantsCmd) Help() string {
	return "For example: moneta invariants --json | jq '.checks[] | select(.open > 0)'"
}

func (c *invariantsCmd) Run(ctx context.Context) error { return app.InvariantList(ctx, c.desk()) }
