package main

import (
	"os"

	"github.com/moneta-pay/moneta/app"
)

type initCmd struct {
	Config  string `help:"File that takes the settings of serve; it must not be there yet." default:"moneta.json" type:"path"`
	DSN     string `help:"Postgres 15+, the primary." env:"MONETA_DSN"`
	Listen  string `help:"host:port of the HTTP API." default:"127.0.0.1:7070"`
	Sandbox string `name:"sandbox-url" help:"Declare the 13 sandbox banks at this URL as channels, with a secret that is made now." placeholder:"http://127.0.0.1:7071"`
	Lang    string `help:"en or zh." default:"en" enum:"en,zh" env:"MONETA_LANG"`
}

func (c *initCmd) Run() error {
	return app.Init(app.InitConfig{File: c.Config, DSN: c.DSN, Listen: c.Listen, SandboxURL: c.Sandbox, Lang: c.Lang, Out: os.Stdout})
}
