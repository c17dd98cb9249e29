package main

import (
	"context"
	"net/url"
	"os"
	"strconv"

	"github.com/moneta-pay/moneta/app"
)

type receiptCmd struct {
	Show     receiptShowCmd     `cmd:"" help:"Show a payment's newest receipt, and save it."`
	List     receiptListCmd     `cmd:"" help:"List a payment's receipts: one for each change on record."`
	Verify   receiptVerifyCmd   `cmd:"" help:"Verify a receipt offline, and say what it proves and what not; exits with 3 when it is not genuine, 4 when it is genuine and proves no outcome."`
	Keys     receiptKeysCmd     `cmd:"" help:"Print the keys that receipts are verified with, to be saved."`
	UsedKeys receiptUsedKeysCmd `cmd:"" name:"used-keys" help:"Print every key that ever signed, as PEM, from the database: for a key file that was lost."`
}

type receiptShowCmd struct {
	caseDesk
	Payment string `arg:"" help:"Such as pay_0000000000001."`
	Event   string `help:"The receipt that rests on this event, instead of the newest."`
	Save    string `help:"Write the receipt alone to this new file." type:"path"`
}

func (c *receiptShowCmd) Run(ctx context.Context) error {
	return app.ReceiptShow(ctx, c.desk(), c.Payment, c.Event, c.Save)
}

type receiptListCmd struct {
	caseDesk
	Payment string `arg:"" help:"Such as pay_0000000000001."`
	Limit   int    `help:"At most so many." default:"100"`
	After   string `help:"Go on where the last page ended."`
}

func (c *receiptListCmd) Run(ctx context.Context) error {
	return app.ReceiptList(ctx, c.desk(), c.Payment, url.Values{"limit": {strconv.Itoa(c.Limit)}, "after": {c.After}})
}

type receiptVerifyCmd struct {
	File  string `arg:"" help:"The receipt; - reads the standard input."`
	Keys  string `help:"The key set that you trust: a saved file, or its address." required:""`
	Payee string `help:"The account that the payee should have."`
	JSON  bool   `help:"Print the verdict and the document."`
	Lang  string `help:"en or zh." default:"en" enum:"en,zh" env:"MONETA_LANG"`
}

func (c *receiptVerifyCmd) Run(ctx context.Context) error {
	return app.ReceiptVerify(ctx, app.ReceiptVerifyConfig{
		File: c.File, Keys: c.Keys, Payee: c.Payee, JSON: c.JSON, Lang: c.Lang, In: os.Stdin, Out: os.Stdout,
	})
}

type receiptKeysCmd struct {
	URL string `name:"url" help:"A node of Moneta." default:"http://127.0.0.1:7070" env:"MONETA_URL"`
}

func (c *receiptKeysCmd) Run(ctx context.Context) error {
	return app.ReceiptKeys(ctx, c.URL, os.Stdout)
}

type receiptUsedKeysCmd struct{ database }

func (c *receiptUsedKeysCmd) Run(ctx context.Context) error {
	return app.ReceiptUsedKeys(ctx, app.Database{DSN: c.DSN, DataDir: c.Data}, os.Stdout)
}
