package main

import (
	"context"
	"os"
	"time"

	"github.com/moneta-pay/moneta/app"
)

type flightCmd struct {
	Node string        `help:"The node to record." default:"http://127.0.0.1:7070" env:"MONETA_URL"`
	For  time.Duration `help:"For how long, 1s to 30s." default:"5s"`
	Path string        `name:"out" help:"New file for the recording." required:"" type:"path"`
	Data string        `help:"Folder with the keys of the installation." default:".moneta/data" type:"path"`
}

func (c *flightCmd) Run(ctx context.Context) error {
	return app.Flight(ctx, app.FlightConfig{URL: c.Node, DataDir: c.Data, For: c.For, Path: c.Path, Out: os.Stdout})
}
