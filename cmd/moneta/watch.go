package main

import (
	"context"

	"github.com/moneta-pay/moneta/app"
)

type watchCmd struct {
	Data   string `help:"Folder for watch.json and the doctor's journal; the wallet is the running up in it when no --dsn is given." default:".moneta/data" type:"path"`
	DSN    string `help:"Postgres of the wallet: its facts are read, nothing else." env:"MONETA_DSN"`
	URL    string `name:"serve-url" help:"A node of the wallet." default:"http://127.0.0.1:7070" env:"MONETA_URL"`
	Listen string `help:"Port of this machine for those who ask the watch; 0 is any free one." default:"127.0.0.1:0"`
	State  string `help:"State folder of serve on this machine, for levers while API and database are gone; that of up in --data when left out." type:"path"`
	Lang   string `help:"en or zh." default:"en" enum:"en,zh" env:"MONETA_LANG"`
}

func (c *watchCmd) Run(ctx context.Context) error {
	return app.Watch(ctx, app.WatchConfig{DataDir: c.Data, DSN: c.DSN, ServeURL: c.URL, Listen: c.Listen, State: c.State, Lang: c.Lang})
}
