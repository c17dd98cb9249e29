package main

import (
	"context"
	"os"

	"github.com/moneta-pay/moneta/app"
)

type periodCmd struct {
	database
	Tenant string `help:"Name of the tenant." default:"default"`
	Verify bool   `help:"Recount each trial balance; exits with 3 when one is not what it was when it was sealed."`
	JSON   bool   `help:"Print JSON."`
}

func (c *periodCmd) Run(ctx context.Context) error {
	return app.Periods(ctx, app.Database{DSN: c.DSN, DataDir: c.Data}, c.Tenant, c.Verify, c.JSON, os.Stdout)
}
