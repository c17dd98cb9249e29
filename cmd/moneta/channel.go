package main

import (
	"context"
	"os"
	"time"

	"github.com/moneta-pay/moneta/app"
)

type channelCmd struct {
	List channelListCmd `cmd:"" help:"What the channels claim, and what of it is proven."`
	Show channelShowCmd `cmd:"" help:"One channel's contract, claim by claim."`
	Test channelTestCmd `cmd:"" help:"Put a channel's claims to the test at its test endpoint; exits with 3 when one does not hold."`
}

type channelScope struct {
	database
	Config  string `help:"JSON file with the settings of serve; else the sandbox banks of a running up." type:"existingfile"`
	Outside string `name:"sandbox-url" help:"Base URL of the sandbox." default:"http://127.0.0.1:7071"`
	JSON    bool   `help:"Print JSON."`
	Lang    string `help:"en or zh." default:"en" enum:"en,zh" env:"MONETA_LANG"`
}

func (c *channelScope) config() (app.ChannelConfig, error) {
	channels, err := app.ChannelsOf(c.Config, c.Outside, c.Data)
	return app.ChannelConfig{
		Database: app.Database{DSN: c.DSN, DataDir: c.Data}, Channels: channels, JSON: c.JSON, Lang: c.Lang, Out: os.Stdout, Progress: os.Stderr,
	}, err
}

type channelListCmd struct{ channelScope }

func (c *channelListCmd) Run(ctx context.Context) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	return app.ChannelList(ctx, cfg)
}

type channelShowCmd struct {
	channelScope
	Channel string `help:"Name of the channel." required:""`
}

func (c *channelShowCmd) Run(ctx context.Context) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	cfg.Name = c.Channel
	return app.ChannelShow(ctx, cfg)
}

type channelTestCmd struct {
	channelScope
	Channel  string `help:"Name of the channel." required:""`
	Asset    string `help:"Asset of the test's orders." default:"CZK"`
	Amount   int64  `help:"Amount of the test's orders, in the smallest unit." default:"100"`
	Validity int    `name:"valid-days" help:"For how many days what is shown may be relied on." default:"35"`
	NoRecord bool   `name:"no-record" help:"Only show; keep no proof."`
}

func (c *channelTestCmd) Run(ctx context.Context) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	cfg.Name, cfg.Asset, cfg.Amount, cfg.WithoutRecord = c.Channel, c.Asset, c.Amount, c.NoRecord
	cfg.Validity = time.Duration(c.Validity) * 24 * time.Hour
	return app.ChannelTest(ctx, cfg)
}
