package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/moneta-pay/moneta/app"
	"github.com/moneta-pay/moneta/config"
)

type upCmd struct {
	Data     string   `help:"Folder for everything that must survive." default:".moneta/data" type:"path"`
	Listen   string   `help:"host:port of the HTTP API." default:"127.0.0.1:7070"`
	Sandbox  bool     `help:"Also play 13 outside banks."`
	Banks    string   `name:"sandbox-listen" help:"host:port of the sandbox." default:"127.0.0.1:7071"`
	Console  string   `name:"console-listen" help:"host:port of the console; 127.0.0.1:7072 when left out, and a free port when that is taken." placeholder:"127.0.0.1:7072"`
	PGListen string   `name:"pg-listen" help:"Let Postgres listen on host:port too (password in the data folder)."`
	Archive  string   `help:"Copy the private Postgres' log into this folder, commit by commit: backups then restore to any second." type:"path"`
	Most     int      `name:"archive-max-gb" help:"Largest size of the archive, in GB; the oldest log goes first." default:"16"`
	DSN      string   `help:"Use this Postgres 15+ instead of a private one." env:"MONETA_DSN"`
	Inside   []string `name:"webhook-inside" help:"Networks, such as 127.0.0.0/8, that webhooks may go to although they are not public."`
	Auto     string   `help:"What the doctor does without asking: observe, instant (undone at once) or undoable (one session ended, one process started again)." default:"instant" enum:"observe,instant,undoable"`
	Faults   string   `name:"allow-faults" help:"File with the faults that serve shall have; for drills, on the private Postgres with sandbox banks only." type:"path"`
	Quiet    bool     `help:"Do not print the settings."`
	Lang     string   `help:"en or zh." default:"en" enum:"en,zh" env:"MONETA_LANG"`
}

func (c *upCmd) Run(ctx context.Context) error {
	return app.Up(ctx, app.UpConfig{
		DataDir: c.Data, Listen: c.Listen, Sandbox: c.Sandbox, SandboxListen: c.Banks, ConsoleListen: c.Console, PGListen: c.PGListen, DSN: c.DSN,
		Archive: c.Archive, ArchiveMaxGB: c.Most, Quiet: c.Quiet, Lang: c.Lang, WebhookInside: c.Inside, Auto: c.Auto, FaultFile: c.Faults, Out: os.Stdout,
	})
}

type serveCmd struct {
	Config        string   `help:"JSON file with the settings; flags win." type:"existingfile"`
	DSN           string   `help:"Postgres primary." env:"MONETA_DSN"`
	Listen        string   `help:"host:port of the HTTP API."`
	NodeURL       string   `name:"node-url" help:"Where other nodes reach this one."`
	SandboxURL    string   `name:"sandbox-url" help:"Add the sandbox banks at this URL as channels."`
	SandboxSecret string   `name:"sandbox-secret" help:"Secret of the sandbox's callbacks." env:"MONETA_SANDBOX_SECRET"`
	OTLPEndpoint  string   `name:"otlp-endpoint" help:"Send spans here." env:"OTEL_EXPORTER_OTLP_ENDPOINT"`
	LogFormat     string   `name:"log-format" help:"json or text."`
	State         string   `help:"Folder on this machine, for levers that are pulled while API and database are gone." type:"path"`
	SecretsFile   string   `name:"secrets-key-file" help:"File with the keys that seal secrets in the database, the newest first." env:"MONETA_SECRETS_KEY_FILE"`
	SecretsKeys   string   `name:"secrets-keys" hidden:"" env:"MONETA_SECRETS_KEYS"`
	ReceiptsFile  string   `name:"receipts-key-file" help:"File with the key that signs receipts, then those that signed before." env:"MONETA_RECEIPTS_KEY_FILE"`
	Inside        []string `name:"webhook-inside" help:"Networks, such as 10.1.0.0/16, that webhooks may go to although they are not public."`
	AllowFaults   string   `name:"allow-faults" help:"For drills: have the faults that this file orders. Refused beside a rail that is not a sandbox on this machine, or a Postgres that up did not make." type:"path"`
}

func (c *serveCmd) Run(ctx context.Context) error {
	cfg := config.Default()
	if c.Config != "" {
		var err error
		if cfg, err = config.Load(c.Config); err != nil {
			return err
		}
	}
	override := func(to *string, flag string) {
		if flag != "" {
			*to = flag
		}
	}
	override(&cfg.DSN, c.DSN)
	override(&cfg.Listen, c.Listen)
	override(&cfg.NodeURL, c.NodeURL)
	override(&cfg.OTLPEndpoint, c.OTLPEndpoint)
	override(&cfg.LogFormat, c.LogFormat)
	override(&cfg.StateDir, c.State)
	override(&cfg.SecretsKeyFile, c.SecretsFile)
	override(&cfg.SecretsKeys, c.SecretsKeys)
	override(&cfg.ReceiptsKeyFile, c.ReceiptsFile)
	override(&cfg.AllowFaults, c.AllowFaults)
	for _, text := range c.Inside {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return fmt.Errorf("--webhook-inside: %w; write a network such as 10.1.0.0/16", err)
		}
		cfg.WebhookInside = append(cfg.WebhookInside, network)
	}
	if c.SandboxURL != "" {
		cfg.Channels = append(cfg.Channels, config.SandboxChannels(c.SandboxURL, c.SandboxSecret, app.SandboxBanks())...)
	}
	return app.Serve(ctx, cfg)
}

type sandboxCmd struct {
	Listen      string `help:"host:port to listen on." default:"127.0.0.1:7071"`
	CallbackURL string `name:"callback-url" help:"Where callbacks go." default:"http://127.0.0.1:7070"`
	Secret      string `help:"Signs callbacks." env:"MONETA_SANDBOX_SECRET" required:""`
	Dir         string `help:"Folder of the banks' books; empty keeps them in memory." type:"path"`
	Seed        uint64 `help:"How the dice fall." default:"1"`
	Scenario    string `help:"YAML or JSON file that switches the banks by time or by payments; see examples/scenarios." type:"path"`
}

func (c *sandboxCmd) Run(ctx context.Context) error {
	return app.Sandbox(ctx, app.SandboxConfig{Listen: c.Listen, CallbackURL: c.CallbackURL, Secret: c.Secret, Dir: c.Dir, Seed: c.Seed, Scenario: c.Scenario})
}

type demoCmd struct {
	Report string `help:"Write the report as JSON here." type:"path"`
	Data   string `help:"Folder to work in; a new one by default." type:"path"`
	Keep   bool   `help:"Leave everything running afterwards, to look around; then without the drill."`
	Drill  string `help:"What is broken at the end, for the doctor to find: one of moneta drill list, or none." default:"psp-timeout"`
	JSON   bool   `help:"Print the report as JSON instead of the screen, and make no drill."`
	Lang   string `help:"en or zh." default:"en" enum:"en,zh" env:"MONETA_LANG"`
}

func (c *demoCmd) Run(ctx context.Context) error {
	if c.Drill == "none" {
		c.Drill = ""
	}
	return app.Demo(ctx, app.DemoConfig{
		Report: c.Report, DataDir: c.Data, Keep: c.Keep, Drill: c.Drill, JSON: c.JSON, Lang: c.Lang, Out: os.Stdout, Progress: os.Stderr,
	})
}

type replayCmd struct {
	Mapping   string   `help:"What the columns mean (JSON)." required:"" type:"existingfile"`
	Data      []string `help:"CSV files, plain or gzip." required:"" type:"existingfile"`
	Speed     string   `help:"Rows a second, or max." default:"max"`
	Report    string   `help:"Write the report as JSON here." type:"path"`
	API       string   `help:"Base URL of the pay plane." default:"http://127.0.0.1:7070"`
	Keys      string   `help:"Key file that up wrote." default:".moneta/data/keys.json" type:"path"`
	Outside   string   `name:"sandbox-url" help:"Base URL of the outside world." default:"http://127.0.0.1:7071"`
	Workers   int      `help:"Accounts in parallel." default:"64"`
	JSON      bool     `help:"Print the report as JSON instead of the screen."`
	Lang      string   `help:"en or zh." default:"en" enum:"en,zh" env:"MONETA_LANG"`
	Within    int      `name:"final-within" help:"Seconds that one payment may take to become final." default:"120"`
	Strangers bool     `name:"allow-foreign" help:"Other traffic uses the same banks."`
}

func (c *replayCmd) Run(ctx context.Context) error {
	return app.Replay(ctx, app.ReplayConfig{
		Mapping: c.Mapping, Data: c.Data, Speed: c.Speed, Report: c.Report, API: c.API, Keys: c.Keys, SandboxURL: c.Outside,
		Workers: c.Workers, JSON: c.JSON, Lang: c.Lang, FinalWithin: time.Duration(c.Within) * time.Second, AllowForeign: c.Strangers,
		Out: os.Stdout, Progress: os.Stderr,
	})
}

type keyCmd struct {
	Create   keyCreateCmd   `cmd:"" help:"Create a key; it is shown once."`
	List     keyListCmd     `cmd:"" help:"List the keys of a tenant."`
	Requests keyRequestsCmd `cmd:"" help:"What the API answered to each key in the last days, grouped by error."`
	Limit    keyLimitCmd    `cmd:"" help:"Limit a key, or take its limits away; effective within a second."`
	Revoke   keyRevokeCmd   `cmd:"" help:"Revoke a key; it stops working within a second."`
}

type database struct {
	DSN  string `help:"Postgres primary; else the private one in --data." env:"MONETA_DSN"`
	Data string `help:"Data folder of a running up." default:".moneta/data" type:"path"`
}

type keyCreateCmd struct {
	database
	Tenant string   `help:"Name of the tenant; made when new." default:"default"`
	Name   string   `help:"What the key is for." required:""`
	Scopes []string `help:"payments:write, payments:read, accounts:write, accounts:read, webhooks:write, webhooks:read, admin, installation." required:""`
	JSON   bool     `help:"Print JSON."`
}

func (c *keyCreateCmd) Run(ctx context.Context) error {
	return app.KeyCreate(ctx, app.Database{DSN: c.DSN, DataDir: c.Data}, c.Tenant, c.Name, c.Scopes, c.JSON, os.Stdout)
}

type keyListCmd struct {
	database
	Tenant string `help:"Name of the tenant." default:"default"`
	JSON   bool   `help:"Print JSON."`
}

func (c *keyListCmd) Run(ctx context.Context) error {
	return app.KeyList(ctx, app.Database{DSN: c.DSN, DataDir: c.Data}, c.Tenant, c.JSON, os.Stdout)
}

type keyRequestsCmd struct {
	caseDesk
	Days   int    `help:"Days of UTC back from today, at most 14." default:"7"`
	Prefix string `arg:"" optional:"" help:"Only this key: the eight characters after mk_live_."`
	All    bool   `help:"Also what was not refused."`
}

func (c *keyRequestsCmd) Run(ctx context.Context) error {
	return app.KeyRequests(ctx, c.desk(), c.Days, c.Prefix, c.All)
}

type keyLimitCmd struct {
	database
	Tenant string `help:"Name of the tenant." default:"default"`
	Prefix string `arg:"" help:"The eight characters after mk_live_."`
	Writes string `help:"Quota and window, such as 600/1m; off for none." default:"off"`
	Reads  string `help:"Quota and window, such as 600/1m; off for none." default:"off"`
}

func (c *keyLimitCmd) Run(ctx context.Context) error {
	return app.KeyLimit(ctx, app.Database{DSN: c.DSN, DataDir: c.Data}, c.Tenant, c.Prefix, c.Writes, c.Reads, os.Stdout)
}

type keyRevokeCmd struct {
	database
	Tenant string `help:"Name of the tenant." default:"default"`
	Prefix string `arg:"" help:"The eight characters after mk_live_."`
}

func (c *keyRevokeCmd) Run(ctx context.Context) error {
	return app.KeyRevoke(ctx, app.Database{DSN: c.DSN, DataDir: c.Data}, c.Tenant, c.Prefix, os.Stdout)
}

// asPerson are the flags of commands that a person gives.
type asPerson struct {
	As   string `help:"Key file of the operator who asks." env:"MONETA_OPERATOR" type:"path"`
	URL  string `name:"url" help:"A node of Moneta." default:"http://127.0.0.1:7070" env:"MONETA_URL"`
	Code string `help:"What the authenticator shows, for operators with codes."`
	JSON bool   `help:"Print JSON."`
	Lang string `help:"en or zh." default:"en" enum:"en,zh" env:"MONETA_LANG"`
}

func (c *asPerson) person() *app.Person {
	return &app.Person{URL: c.URL, KeyFile: c.As, Code: c.Code, JSON: c.JSON, Lang: c.Lang, In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
}

type operatorCmd struct {
	Enrol   operatorEnrolCmd   `cmd:"" help:"Make your key on your own machine, and print the public half for whoever adds you."`
	Add     operatorAddCmd     `cmd:"" help:"Add a person: the first two who may approve at the database, from then on by an approval (--as)."`
	Invite  operatorInviteCmd  `cmd:"" help:"Add a person who has no credential yet, and print the link by which they make one."`
	List    operatorListCmd    `cmd:"" help:"List the people of a tenant."`
	Disable operatorDisableCmd `cmd:"" help:"End a person's access, on every node within a second."`
	Rotate  operatorRotateCmd  `cmd:"" help:"Take a new key; the old one stops."`
	Login   operatorLoginCmd   `cmd:"" help:"Open a session with a code: it ends after 15 idle minutes, and after 12 hours."`
	Log     operatorLogCmd     `cmd:"" help:"Show what people did."`
}

type operatorEnrolCmd struct {
	Name string `help:"Your name: a-z, 0-9, point, hyphen." required:""`
	Key  string `help:"New file for the secret half." required:"" type:"path"`
	TOTP bool   `name:"totp" help:"A pass with codes of an authenticator, instead of a signing key."`
	JSON bool   `help:"Print JSON."`
	Lang string `help:"en or zh." default:"en" enum:"en,zh" env:"MONETA_LANG"`
}

func (c *operatorEnrolCmd) Run() error {
	return app.OperatorEnrol(&app.Person{KeyFile: c.Key, JSON: c.JSON, Lang: c.Lang, Out: os.Stdout, Err: os.Stderr}, c.Name, c.TOTP)
}

type operatorAddCmd struct {
	database
	asPerson
	Tenant     string `help:"Name of the tenant." default:"default"`
	Name       string `help:"The person's name." required:""`
	Role       string `help:"viewer, operator, approver or admin." required:"" enum:"viewer,operator,approver,admin"`
	Credential string `help:"What their enrol printed." required:""`
	Reason     string `help:"Why, for who approves it." default:"a new operator"`
}

func (c *operatorAddCmd) Run(ctx context.Context) error {
	return app.OperatorAdd(ctx, app.Database{DSN: c.DSN, DataDir: c.Data}, c.person(), c.Tenant, c.Name, c.Role, c.Credential, c.Reason)
}

type operatorInviteCmd struct {
	database
	asPerson
	Tenant string `help:"Name of the tenant." default:"default"`
	Name   string `help:"The person's name." required:""`
	Role   string `help:"viewer, operator, approver or admin." required:"" enum:"viewer,operator,approver,admin"`
	Reason string `help:"Why, for who approves it." default:"a new operator"`
}

func (c *operatorInviteCmd) Run(ctx context.Context) error {
	return app.OperatorInvite(ctx, app.Database{DSN: c.DSN, DataDir: c.Data}, c.person(), c.Tenant, c.Name, c.Role, c.Reason)
}

type operatorListCmd struct {
	database
	Tenant string `help:"Name of the tenant." default:"default"`
	JSON   bool   `help:"Print JSON."`
}

func (c *operatorListCmd) Run(ctx context.Context) error {
	return app.OperatorList(ctx, app.Database{DSN: c.DSN, DataDir: c.Data}, &app.Person{JSON: c.JSON, Out: os.Stdout}, c.Tenant)
}

type operatorLogCmd struct {
	operatorListCmd
	Limit int `help:"How many, newest first; at most 1000." default:"50"`
}

func (c *operatorLogCmd) Run(ctx context.Context) error {
	return app.OperatorLog(ctx, app.Database{DSN: c.DSN, DataDir: c.Data}, &app.Person{JSON: c.JSON, Out: os.Stdout}, c.Tenant, c.Limit)
}

type operatorDisableCmd struct {
	database
	asPerson
	Tenant string `help:"Name of the tenant." default:"default"`
	Name   string `arg:"" help:"Whose access ends."`
}

func (c *operatorDisableCmd) Run(ctx context.Context) error {
	return app.OperatorDisable(ctx, app.Database{DSN: c.DSN, DataDir: c.Data}, c.person(), c.Tenant, c.Name)
}

type operatorRotateCmd struct{ asPerson }

func (c *operatorRotateCmd) Run(ctx context.Context) error {
	return app.OperatorRotate(ctx, c.person())
}

type operatorLoginCmd struct{ asPerson }

func (c *operatorLoginCmd) Run(ctx context.Context) error { return app.OperatorLogin(ctx, c.person()) }

type approveCmd struct {
	Propose  approveProposeCmd  `cmd:"" help:"Propose an action; another person decides."`
	List     approveListCmd     `cmd:"" help:"List approvals, newest first."`
	Show     approveShowCmd     `cmd:"" help:"Show the exact action and what became of it."`
	Yes      approveYesCmd      `cmd:"" help:"Approve what somebody else proposed, after seeing exactly what."`
	No       approveNoCmd       `cmd:"" help:"Reject what somebody else proposed."`
	Withdraw approveWithdrawCmd `cmd:"" help:"Take back what you proposed."`
	Run      approveRunCmd      `cmd:"" help:"Carry out what was approved, once."`
}

type approveProposeCmd struct {
	asPerson
	Kind    string            `arg:"" help:"What shall be done, for example set_floor."`
	Set     map[string]string `help:"Parameters: --set account=acct_… --set floor=-500." mapsep:"none"`
	Reason  string            `help:"Why." required:""`
	Expires time.Time         `help:"Until when it stands (RFC 3339); in 30 minutes when left out." format:"2006-01-02T15:04:05Z07:00"`
	DryRun  bool              `help:"Show what it would do and post as things are now, and propose nothing."`
	Key     string            `help:"Names the intention: the same key is the same proposal, however often it is sent. A new one when left out."`
}

func (c *approveProposeCmd) Run(ctx context.Context) error {
	if c.DryRun {
		return app.ProposePreview(ctx, c.person(), c.Kind, c.Set, c.Reason)
	}
	p := c.person()
	p.Key = c.Key
	return app.Propose(ctx, p, c.Kind, c.Set, c.Reason, c.Expires)
}

type approveListCmd struct {
	asPerson
	State string `help:"proposed, approved, used, rejected, expired or withdrawn; all when left out."`
}

func (c *approveListCmd) Run(ctx context.Context) error {
	return app.ApproveList(ctx, c.person(), c.State)
}

type approveShowCmd struct {
	asPerson
	ID string `arg:"" help:"apr_…"`
}

func (c *approveShowCmd) Run(ctx context.Context) error {
	return app.ApproveShow(ctx, c.person(), c.ID)
}

type decision struct {
	asPerson
	ID   string `arg:"" help:"apr_…"`
	Note string `help:"Kept with the decision."`
	Sure bool   `help:"Do not ask."`
}

func (c *decision) do(ctx context.Context, verb app.Verb) error {
	return app.ApproveDo(ctx, c.person(), c.ID, verb, c.Note, c.Sure)
}

type approveYesCmd struct{ decision }

func (c *approveYesCmd) Run(ctx context.Context) error { return c.do(ctx, app.Approve) }

type approveNoCmd struct{ decision }

func (c *approveNoCmd) Run(ctx context.Context) error { return c.do(ctx, app.Reject) }

type approveWithdrawCmd struct {
	asPerson
	ID   string `arg:"" help:"apr_…"`
	Sure bool   `help:"Do not ask."`
}

func (c *approveWithdrawCmd) Run(ctx context.Context) error {
	return app.ApproveDo(ctx, c.person(), c.ID, app.Withdraw, "", c.Sure)
}

type approveRunCmd struct {
	asPerson
	ID   string `arg:"" help:"apr_…"`
	Sure bool   `help:"Do not ask."`
}

func (c *approveRunCmd) Run(ctx context.Context) error {
	return app.ApproveDo(ctx, c.person(), c.ID, app.Execute, "", c.Sure)
}

type backupCmd struct {
	Data string `help:"Data folder of a running up." default:".moneta/data" type:"path"`
	To   string `help:"New folder for the backup." required:"" type:"path"`
	JSON bool   `help:"Print the manifest as JSON."`
	Lang string `help:"en or zh." default:"en" enum:"en,zh" env:"MONETA_LANG"`
}

func (c *backupCmd) Run(ctx context.Context) error {
	return app.Backup(ctx, app.BackupConfig{DataDir: c.Data, To: c.To, JSON: c.JSON, Lang: c.Lang, Out: os.Stdout})
}

type restoreCmd struct {
	From    string    `help:"Folder of the backup." required:"" type:"existingdir"`
	Data    string    `help:"New data folder." required:"" type:"path"`
	To      time.Time `name:"to-time" help:"Second to restore to (RFC 3339); the end when left out." format:"2006-01-02T15:04:05.999999999Z07:00"`
	Archive string    `help:"Folder of the archived log; the one that the backup names when left out." type:"path"`
	JSON    bool      `help:"Print what was restored as JSON."`
	Lang    string    `help:"en or zh." default:"en" enum:"en,zh" env:"MONETA_LANG"`
}

func (c *restoreCmd) Run(ctx context.Context) error {
	return app.Restore(ctx, app.RestoreConfig{
		From: c.From, DataDir: c.Data, To: c.To, Archive: c.Archive, JSON: c.JSON, Lang: c.Lang, Out: os.Stdout,
	})
}

type migrateCmd struct {
	DSN string `help:"Postgres primary." env:"MONETA_DSN" required:""`
}

func (c *migrateCmd) Run(ctx context.Context) error { return app.Migrate(ctx, c.DSN, os.Stdout) }

type versionCmd struct {
	JSON bool `help:"Print JSON."`
}

func (c *versionCmd) Run() error { return app.PrintVersion(os.Stdout, c.JSON) }

type benchCmd struct {
	Profile string        `help:"quick; full; compare, with plain SQL alone; size, with millions of payments stored and a surge; soak, for memory; smoke, to see that it runs." default:"quick" enum:"quick,full,compare,size,soak,smoke"`
	PGBench string        `name:"pgbench" help:"Also run plain SQL with this pgbench; scripts/compare.sh finds it." type:"existingfile"`
	Stored  int64         `help:"Payments to store before the size phases, instead of 5,000,000."`
	Soak    time.Duration `help:"Keep serve under a steady load for so long, such as 30m; with any profile."`
	Report  string        `help:"Write the report as JSON here." type:"path"`
	Data    string        `help:"Folder to work in, on a real disk." type:"path"`
	JSON    bool          `help:"Print the report as JSON instead of the screen."`
	Lang    string        `help:"en or zh." default:"en" enum:"en,zh" env:"MONETA_LANG"`
}

func (c *benchCmd) Run(ctx context.Context) error {
	return app.Bench(ctx, app.BenchConfig{Profile: c.Profile, PGBench: c.PGBench, Stored: c.Stored, Soak: c.Soak, Report: c.Report, DataDir: c.Data, JSON: c.JSON, Lang: c.Lang, Out: os.Stdout, Progress: os.Stderr})
}

type benchLoadCmd struct {
	Args []string `arg:"" optional:"" passthrough:""`
}

func (c *benchLoadCmd) Run(ctx context.Context) error {
	return app.BenchLoad(ctx, c.Args, os.Stdout)
}

type benchLedgerCmd struct {
	Args []string `arg:"" optional:"" passthrough:""`
}

func (c *benchLedgerCmd) Run(ctx context.Context) error { return app.BenchLedger(ctx, c.Args) }

type exportCmd struct {
	Journal      exportJournalCmd `cmd:"" help:"Write the ledger as an hledger journal with balance assertions; hledger check --strict judges it."`
	TrialBalance exportTrialCmd   `cmd:"" name:"trial-balance" help:"Print every account's balance by asset; exits with 3 when an asset is off."`
}

type exportScope struct {
	database
	Asset string `help:"Only this asset, such as CZK."`
	By    string `help:"booking or effective: which of a transfer's times counts." default:"booking" enum:"booking,effective"`
}

func (c *exportScope) config() app.ExportConfig {
	return app.ExportConfig{
		Database: app.Database{DSN: c.DSN, DataDir: c.Data}, Asset: c.Asset, By: c.By, Out: os.Stdout, Progress: os.Stderr,
	}
}

type exportJournalCmd struct {
	exportScope
	From string `help:"First day, UTC; what was before becomes opening balances."`
	To   string `help:"Last day, UTC, included."`
	Out  string `help:"Write this file, whole or not at all, instead of the standard output." type:"path"`
}

func (c *exportJournalCmd) Run(ctx context.Context) error {
	cfg := c.config()
	cfg.From, cfg.To, cfg.Path = c.From, c.To, c.Out
	return app.ExportJournal(ctx, cfg)
}

type exportTrialCmd struct {
	exportScope
	AsOf string `name:"as-of" help:"A day, included, or an instant (RFC 3339); now by default."`
	JSON bool   `help:"Print JSON, amounts in the asset's smallest unit."`
}

func (c *exportTrialCmd) Run(ctx context.Context) error {
	cfg := c.config()
	cfg.AsOf, cfg.JSON = c.AsOf, c.JSON
	return app.ExportTrialBalance(ctx, cfg)
}
