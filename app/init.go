package app

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"

	"github.com/moneta-pay/moneta/config"
	"github.com/moneta-pay/moneta/internal/keyring"
	"github.com/moneta-pay/moneta/pay/receipt"
)

// InitConfig is what `moneta init` was asked for.
type InitConfig struct {
	// File takes the settings; the keys and the state folder are put beside it.
	File string
	// DSN of the Postgres primary; empty leaves it to MONETA_DSN or the reader.
	DSN    string
	Listen string
	// SandboxURL adds the 13 sandbox banks there as channels, with a secret that is made
	// here; empty declares none.
	SandboxURL string
	Lang       string
	Out        io.Writer
}

// settings is what `moneta init` writes: what a machine must be told, and nothing whose
// default is as good, since what a file does not mention means what it meant yesterday.
type settings struct {
	DSN             string         `json:"dsn"`
	Listen          string         `json:"listen"`
	LogFormat       string         `json:"log_format"`
	StateDir        string         `json:"state_dir"`
	SecretsKeyFile  string         `json:"secrets_key_file"`
	ReceiptsKeyFile string         `json:"receipts_key_file"`
	Channels        []rail         `json:"channels"`
	Routes          []config.Route `json:"routes"`
	Guard           config.Guard   `json:"guard"`
}

// rail is a channel in these settings.
type rail struct {
	Name    string   `json:"name"`
	Adapter string   `json:"adapter"`
	BaseURL string   `json:"base_url"`
	TestURL string   `json:"test_url"`
	Bank    string   `json:"bank"`
	Secrets []string `json:"secrets"`
}

// Init writes settings that `moneta serve` takes as they are, and says what comes next. It
// never writes over a file, and writes none that serve would refuse.
func Init(cfg InitConfig) error {
	file, err := filepath.Abs(cfg.File)
	if err != nil {
		return err
	}
	folder := filepath.Dir(file)
	s := settings{
		DSN: cfg.DSN, Listen: cfg.Listen, LogFormat: "json", StateDir: filepath.Join(folder, "state"), SecretsKeyFile: secretsKeyPath(folder),
		ReceiptsKeyFile: receiptsKeyPath(folder),
		Channels:        []rail{}, Routes: []config.Route{}, Guard: config.Guard{},
	}
	secret := ""
	if cfg.SandboxURL != "" {
		raw := make([]byte, 32)
		_, _ = rand.Read(raw) // never fails: it ends the program instead
		secret = hex.EncodeToString(raw)
		for _, c := range config.SandboxChannels(cfg.SandboxURL, secret, SandboxBanks()) {
			s.Channels = append(s.Channels, rail{c.Name, c.Adapter, c.BaseURL, c.TestURL, c.Bank, c.Secrets})
		}
	}
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := wouldServe(raw); err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	if err := os.MkdirAll(s.StateDir, 0o700); err != nil {
		return err
	}
	// The settings hold secrets; O_EXCL, since somebody's settings are not ours to lose.
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return &ExitError{Code: 2, Message: fmt.Sprintf("%s is there already: move it away, or name another file with --config", file)}
	}
	if err != nil {
		return err
	}
	_, err = f.Write(append(raw, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := keyring.Make(s.SecretsKeyFile); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := receipt.MakeKey(s.ReceiptsKeyFile); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	_, err = fmt.Fprint(cfg.Out, nextSteps(cfg, file, &s, secret))
	return err
}

// wouldServe says why serve would refuse the settings; that no database is named yet is
// for whoever reads them.
func wouldServe(raw []byte) error {
	c := config.Default()
	if err := json.Unmarshal(raw, &c); err != nil {
		return err
	}
	if c.DSN == "" {
		c.DSN = "postgres://to.be.named"
	}
	return c.Validate()
}

func nextSteps(cfg InitConfig, file string, s *settings, secret string) string {
	out := say(cfg.Lang, "init-wrote", file, s.SecretsKeyFile, s.ReceiptsKeyFile)
	dsn := "'" + s.DSN + "'"
	if s.DSN == "" {
		out += say(cfg.Lang, "init-dsn")
		dsn = `"$MONETA_DSN"`
	}
	out += say(cfg.Lang, "init-next")
	out += fmt.Sprintf("  moneta migrate --dsn %s\n", dsn)
	if secret != "" {
		at, _ := url.Parse(cfg.SandboxURL) // it was taken as the address of channels
		out += fmt.Sprintf("  moneta sandbox --secret %s --listen %s --callback-url http://%s &\n", secret, at.Host, s.Listen)
	}
	out += fmt.Sprintf("  moneta serve --config %s &\n", file)
	out += fmt.Sprintf("  moneta watch --config %s --dsn %s --serve-url http://%s --data %s &\n", file, dsn, s.Listen, filepath.Join(filepath.Dir(file), "watch"))
	out += fmt.Sprintf("  moneta console link --data %s\n", filepath.Join(filepath.Dir(file), "watch"))
	out += fmt.Sprintf("  moneta key create --dsn %s --name shop --scopes accounts:write,payments:write\n", dsn)
	out += say(cfg.Lang, "init-more")
	return out
}
