package main

import (
	"context"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/moneta-pay/moneta/app"
)

type caseCmd struct {
	List    caseListCmd    `cmd:"" help:"List cases: what is due first comes first."`
	Show    caseShowCmd    `cmd:"" help:"Show one case: what was known, and the log."`
	Note    caseNoteCmd    `cmd:"" help:"Note on a case, for colleagues or for the holder."`
	Assign  caseAssignCmd  `cmd:"" help:"Give a case to a team or an operator."`
	Close   caseCloseCmd   `cmd:"" help:"Close a case, for ever."`
	Journey caseJourneyCmd `cmd:"" help:"Answer support's first questions about a payment, with evidence."`
}

type caseDesk struct {
	As   string `help:"Key file of the operator who asks; the log then has the name." env:"MONETA_OPERATOR" type:"path"`
	URL  string `name:"url" help:"A node of Moneta." default:"http://127.0.0.1:7070" env:"MONETA_URL"`
	Key  string `help:"Admin key instead of an operator; else the one in --data." env:"MONETA_KEY"`
	Data string `help:"Data folder of up." default:".moneta/data" type:"path"`
	JSON bool   `help:"Print the API's answer."`
	Lang string `help:"en or zh." default:"en" enum:"en,zh" env:"MONETA_LANG"`
}

func (c *caseDesk) desk() app.CaseDesk {
	return app.CaseDesk{API: c.URL, As: c.As, Key: c.Key, DataDir: c.Data, JSON: c.JSON, Lang: c.Lang, Out: os.Stdout}
}

type caseListCmd struct {
	caseDesk
	State   string `help:"open, answered, closed or all." default:"open" enum:"open,answered,closed,all"`
	Kind    string `help:"Only this kind."`
	Owner   string `help:"Only what this team or operator has."`
	Payment string `help:"Only cases about this payment."`
	Overdue bool   `help:"Only open cases past their deadline."`
	Limit   int    `help:"Most cases shown." default:"50"`
	After   string `help:"Go on where the last page ended."`
}

func (c *caseListCmd) Run(ctx context.Context) error {
	q := url.Values{
		"state": {c.State}, "kind": {c.Kind}, "owner": {c.Owner}, "payment": {c.Payment}, "after": {c.After}, "limit": {strconv.Itoa(c.Limit)},
	}
	if c.Overdue {
		q.Set("overdue", "true")
	}
	return app.CaseList(ctx, c.desk(), q)
}

type caseShowCmd struct {
	caseDesk
	Number string `arg:"" help:"Such as C-2026-000123."`
}

func (c *caseShowCmd) Run(ctx context.Context) error { return app.CaseShow(ctx, c.desk(), c.Number) }

type caseNoteCmd struct {
	caseDesk
	Number   string `arg:"" help:"Such as C-2026-000123."`
	Text     string `arg:"" help:"What to note."`
	ToHolder bool   `name:"to-holder" help:"The holder reads it; it answers the case."`
	Evidence string `help:"URL where evidence is kept."`
	SHA256   string `name:"sha256" help:"Its hash."`
}

func (c *caseNoteCmd) Run(ctx context.Context) error {
	return app.CaseNote(ctx, c.desk(), c.Number, app.CaseNoteText{Text: c.Text, ToHolder: c.ToHolder, URL: c.Evidence, SHA256: c.SHA256})
}

type caseAssignCmd struct {
	caseDesk
	Number string        `arg:"" help:"Such as C-2026-000123."`
	Owner  string        `arg:"" help:"A team or an operator."`
	Within time.Duration `help:"A new deadline, from now, such as 90m; the old one when left out."`
	Reason string        `help:"Why."`
}

func (c *caseAssignCmd) Run(ctx context.Context) error {
	return app.CaseAssign(ctx, c.desk(), c.Number, c.Owner, c.Within, c.Reason)
}

type caseCloseCmd struct {
	caseDesk
	Number     string `arg:"" help:"Such as C-2026-000123."`
	Resolution string `arg:"" help:"What was found and done; internal."`
	Answer     string `help:"What the holder reads."`
}

func (c *caseCloseCmd) Run(ctx context.Context) error {
	return app.CaseClose(ctx, c.desk(), c.Number, c.Resolution, c.Answer)
}

type caseJourneyCmd struct {
	caseDesk
	Payment string `arg:"" help:"Its id, or its reference as people type it."`
}

func (c *caseJourneyCmd) Run(ctx context.Context) error {
	return app.CaseJourney(ctx, c.desk(), c.Payment)
}
