// Package config is the one struct of settings, its defaults and its Validate.
// A field that a file does not mention means what it meant yesterday. It refuses
// unknown fields and half-made channels, and names the field in every error.
package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
)

// Config is what `moneta serve` works with.
type Config struct {
	// DSN of the Postgres primary.
	DSN string `json:"dsn"`
	// Listen is host:port of the HTTP API.
	Listen string `json:"listen"`
	// NodeURL is where other nodes reach this one; empty means http:// and Listen.
	NodeURL string `json:"node_url"`
	// Channels are the rails.
	Channels []Channel `json:"channels"`
	// Routes say where a payout goes on to when its channel is proven not to have
	// moved the money; none means nowhere else.
	Routes []Route `json:"routes"`
	// OTLPEndpoint takes spans; empty sends none.
	OTLPEndpoint string `json:"otlp_endpoint"`
	// TraceOneIn records the spans of one in so many payments; 0 is the default of
	// internal/telemetry, 1 is every payment. Trace ids exist in any case.
	TraceOneIn int `json:"trace_one_in"`
	// LogFormat is json or text.
	LogFormat string `json:"log_format"`
	// WebhookInside are networks that webhooks may go to although they are not
	// public, such as 10.1.0.0/16; only there may they go without TLS.
	WebhookInside []netip.Prefix `json:"webhook_inside"`
	// DocsURL is where the pages of errors are, for the type of problems; empty is
	// the address that the caller used. Set it behind a proxy that ends TLS.
	DocsURL string `json:"docs_url"`
	// PublicURL is where the console's public pages are, for links to a payment's page;
	// empty: whoever makes a link is told its path only.
	PublicURL string `json:"public_url"`
	// StateDir is a folder on this machine; below it, levers is where `moneta lever
	// --local` pulls levers while API and database are gone. Empty is none.
	StateDir string `json:"state_dir"`
	// Desk says who gets which cases.
	Desk Desk `json:"desk"`
	// Guard says by asset above which amounts a payout waits for somebody.
	Guard Guard `json:"guard"`
	// DepositHours is how long a deposit waits for its payer; 0 is a day.
	DepositHours int `json:"deposit_hours"`
	// SecretsKeyFile has the keys that seal secrets in the database, the newest first;
	// empty keeps them in clear.
	SecretsKeyFile string `json:"secrets_key_file"`
	// SecretsKeys are the keys themselves, from the environment; never in the file.
	SecretsKeys string `json:"-"`
	// ReceiptsKeyFile has the key that signs receipts, and behind it those that signed
	// before; every node has the same. Empty signs none.
	ReceiptsKeyFile string `json:"receipts_key_file"`
	// Callbacks says how many of them are kept, and for how long.
	Callbacks Callbacks `json:"callbacks"`
	// AllowFaults is the file that tells serve which faults to have, for drills; never in
	// the file of settings, and empty is none.
	AllowFaults string `json:"-"`
}

// Callbacks bounds what is kept of channels' callbacks. Zero fields are the defaults.
type Callbacks struct {
	// KeepDays is how long one that was judged is kept; 0 is 180.
	KeepDays int `json:"keep_days"`
	// KeepUnverifiedDays is the same for those that do not verify; 0 is 7.
	KeepUnverifiedDays int `json:"keep_unverified_days"`
	// UnverifiedPerHour and UnverifiedKBPerHour are how many callbacks that do not
	// verify, and how many KB of them, one node stores of one channel in an hour; 0 is
	// 1000 and 4096. Ten times as much is kept of a channel in all.
	UnverifiedPerHour   int `json:"unverified_per_hour"`
	UnverifiedKBPerHour int `json:"unverified_kb_per_hour"`
}

// Bounds of Callbacks.
const (
	keepDaysMax       = 3650
	unverifiedMax     = 1_000_000
	unverifiedKBLeast = 128 // KB: a callback of the largest size fits
	unverifiedKBMax   = 1 << 20
)

func (c *Callbacks) validate() []error {
	var wrong []error
	for _, f := range []struct {
		name               string
		value, least, most int
	}{
		{"keep_days", c.KeepDays, 1, keepDaysMax},
		{"keep_unverified_days", c.KeepUnverifiedDays, 1, keepDaysMax},
		{"unverified_per_hour", c.UnverifiedPerHour, 1, unverifiedMax},
		{"unverified_kb_per_hour", c.UnverifiedKBPerHour, unverifiedKBLeast, unverifiedKBMax},
	} {
		if f.value != 0 && (f.value < f.least || f.value > f.most) {
			wrong = append(wrong, fmt.Errorf("callbacks.%s: %d; write %d to %d, or leave it out for the default", f.name, f.value, f.least, f.most))
		}
	}
	return wrong
}

// Guard holds the limits of payouts by asset, such as CZK.
type Guard map[string]GuardLimit

// GuardLimit is above which amount, in the smallest unit, a payout waits; empty
// asks nobody.
type GuardLimit struct {
	// ConfirmAbove asks the holder.
	ConfirmAbove string `json:"confirm_above"`
	// ReviewAbove asks a person of ours; it goes before the other.
	ReviewAbove string `json:"review_above"`
}

// Desk configures who gets the cases for people.
type Desk struct {
	// EscalateTo owns what is past its deadline; empty is the desk's default.
	EscalateTo string `json:"escalate_to"`
	// UrgentFrom is, by asset, from which amount on, in the smallest unit, an appeal goes
	// ahead of others; without an asset only late payments' appeals do.
	UrgentFrom map[string]string `json:"urgent_from"`
	// Kinds override owner and time of a kind of case.
	Kinds map[string]DeskKind `json:"kinds"`
}

// DeskKind is who has a kind of case first; what is left out stays the default.
type DeskKind struct {
	Owner string `json:"owner"`
	// WithinMinutes is how long the owner has.
	WithinMinutes int `json:"within_minutes"`
}

// Channel configures one rail.
type Channel struct {
	// Name is the channel's name in the API, for example bank-ab.
	Name string `json:"name"`
	// Adapter fills the seam; "sandbox" is the only one so far.
	Adapter string `json:"adapter"`
	// BaseURL of the rail's API.
	BaseURL string `json:"base_url"`
	// TestURL is the rail's endpoint for tests, where `moneta channel test` makes
	// orders; empty when it has none.
	TestURL string `json:"test_url"`
	// Bank is the code of a sandbox bank.
	Bank string `json:"bank"`
	// Secrets verify callbacks: one, or two while one replaces the other.
	Secrets []string `json:"secrets"`
	// Statement is what was agreed about its statement.
	Statement Statement `json:"statement"`
}

// Statement says when a channel's statement comes and what it may charge. Zero
// fields: a rail that never closes, by UTC, whose lines follow within ten minutes and
// may cost anything.
type Statement struct {
	// TimeZone of the times and days below, such as Europe/Prague; empty is UTC.
	TimeZone string `json:"time_zone"`
	// CutOff is the local time, such as 17:00, at which its business day ends;
	// empty and 24:00 are midnight.
	CutOff string `json:"cut_off"`
	// Weekend are the days on which it does not book, such as saturday.
	Weekend []string `json:"weekend"`
	// Holidays are further days, such as 2026-12-24.
	Holidays []string `json:"holidays"`
	// Daily says that one statement a business day comes, on a later day.
	Daily bool `json:"daily"`
	// ArriveDays is how many business days later, ArriveAt the local time.
	ArriveDays int    `json:"arrive_days"`
	ArriveAt   string `json:"arrive_at"`
	// Grace is how long after that a line may still stay away, such as 1h30m.
	Grace string `json:"grace"`
	// Fees are what it keeps of each line, by asset, in the smallest unit.
	Fees map[string]string `json:"fees"`
	// Files says that its statements come as files, which somebody imports.
	Files bool `json:"files"`
	// CSV is the mapping of its CSV files; nothing is Moneta's own form.
	CSV json.RawMessage `json:"csv"`
}

// Route is an ordered list of channels for payouts of one kind.
type Route struct {
	// Asset that it is for; empty for every asset.
	Asset string `json:"asset"`
	// Payee is a pattern for the payee's account, such as "DE*"; empty for every payee.
	Payee string `json:"payee"`
	// Channels by name, in order, two or more.
	Channels []string `json:"channels"`
	// RetryOn are reasons of a decline after which the next channel is tried.
	RetryOn []string `json:"retry_on"`
}

func (r Route) validate(known map[string]bool) error {
	var wrong []error
	if len(r.Channels) < 2 {
		wrong = append(wrong, errors.New("channels: name two or more, in the order in which they are tried"))
	}
	seen := make(map[string]bool)
	for _, name := range r.Channels {
		if !known[name] || seen[name] {
			wrong = append(wrong, fmt.Errorf("channels: %q is no channel of this configuration, or comes twice", name))
		}
		seen[name] = true
	}
	if _, err := path.Match(r.Payee, ""); err != nil {
		wrong = append(wrong, fmt.Errorf("payee: %q is not a pattern; write a beginning and a star, such as DE*", r.Payee))
	}
	return errors.Join(wrong...)
}

// Defaults of the settings that have one.
const (
	DefaultListen        = "127.0.0.1:7070"
	DefaultSandboxListen = "127.0.0.1:7071"
)

// Default returns the settings of an empty file.
func Default() Config { return Config{Listen: DefaultListen, LogFormat: "text"} }

// Load reads a JSON file over the defaults.
func Load(path string) (Config, error) {
	c := Default()
	f, err := os.Open(path)
	if err != nil {
		return c, fmt.Errorf("read the configuration: %w", err)
	}
	defer func() { _ = f.Close() }()
	d := json.NewDecoder(f)
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, fmt.Errorf("configuration %s: %w; compare it with docs/configuration.md", path, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) { // half of it would be left out without a word
		return c, fmt.Errorf("configuration %s: something follows the first JSON object; compare it with docs/configuration.md", path)
	}
	return c, nil
}

// SandboxChannels are the rails to the banks that a sandbox at base plays.
func SandboxChannels(base, secret string, banks []string) []Channel {
	out := make([]Channel, len(banks))
	for i, b := range banks {
		code := strings.ToLower(b)
		out[i] = Channel{Name: "bank-" + code, Adapter: "sandbox", BaseURL: base, TestURL: strings.TrimRight(base, "/") + "/test", Bank: code, Secrets: []string{secret}}
	}
	return out
}

// Validate reports every wrong setting at once.
func (c *Config) Validate() error {
	var wrong []error
	if c.DSN == "" {
		wrong = append(wrong, errors.New("dsn: name the Postgres primary, or use `moneta up`, which brings one along"))
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		wrong = append(wrong, fmt.Errorf("listen: %w; write host:port", err))
	}
	if c.LogFormat != "json" && c.LogFormat != "text" {
		wrong = append(wrong, fmt.Errorf("log_format: %q; write json or text", c.LogFormat))
	}
	if c.DepositHours < 0 || c.DepositHours > 31*24 {
		wrong = append(wrong, errors.New("deposit_hours: write 1 to 744, or leave it out for a day"))
	}
	wrong = append(wrong, c.Callbacks.validate()...)
	if c.SecretsKeyFile != "" && c.SecretsKeys != "" {
		wrong = append(wrong, errors.New("secrets_key_file: MONETA_SECRETS_KEYS is set too; give one of them"))
	}
	if c.TraceOneIn < 0 {
		wrong = append(wrong, errors.New("trace_one_in: write 1 for every payment, or how many for one of them"))
	}
	for name, kind := range c.Desk.Kinds {
		if kind.WithinMinutes < 0 {
			wrong = append(wrong, fmt.Errorf("desk.kinds.%s.within_minutes: %d; write how many minutes the owner has", name, kind.WithinMinutes))
		}
	}
	for name, address := range map[string]string{"docs_url": c.DocsURL, "public_url": c.PublicURL} {
		if address == "" {
			continue
		}
		if u, err := url.Parse(address); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.HasSuffix(address, "/") {
			wrong = append(wrong, fmt.Errorf("%s: %q; write a URL such as https://pay.example, without a slash at its end", name, address))
		}
	}
	if c.NodeURL == "" {
		c.NodeURL = "http://" + c.Listen
	}
	seen := make(map[string]bool)
	for i, ch := range c.Channels {
		at := fmt.Sprintf("channels[%d]", i)
		if ch.Name == "" || seen[ch.Name] {
			wrong = append(wrong, fmt.Errorf("%s.name: %q is empty or used twice", at, ch.Name))
		}
		seen[ch.Name] = true
		if ch.Adapter != "sandbox" {
			wrong = append(wrong, fmt.Errorf("%s.adapter: %q is unknown; there is sandbox", at, ch.Adapter))
		}
		if u, err := url.Parse(ch.BaseURL); err != nil || u.Host == "" {
			wrong = append(wrong, fmt.Errorf("%s.base_url: %q is not a URL", at, ch.BaseURL))
		}
		if u, err := url.Parse(ch.TestURL); ch.TestURL != "" && (err != nil || u.Host == "") {
			wrong = append(wrong, fmt.Errorf("%s.test_url: %q is not a URL", at, ch.TestURL))
		}
		if live := LiveAt(c.Channels, ch.TestURL); live != "" {
			wrong = append(wrong, fmt.Errorf("%s.test_url: %q is the base_url of %s: the test makes orders", at, ch.TestURL, live))
		}
		if len(ch.Secrets) == 0 || len(ch.Secrets) > 2 {
			wrong = append(wrong, fmt.Errorf("%s.secrets: one, or two while one replaces the other", at))
		}
	}
	for i, r := range c.Routes {
		if err := r.validate(seen); err != nil {
			wrong = append(wrong, fmt.Errorf("routes[%d]: %w", i, err))
		}
	}
	return errors.Join(wrong...)
}

// LiveAt names the channel whose base_url a test endpoint is, however it is written; ""
// when it is nobody's.
func LiveAt(channels []Channel, testURL string) string {
	if testURL == "" {
		return ""
	}
	for _, ch := range channels {
		if endpoint(ch.BaseURL) == endpoint(testURL) {
			return ch.Name
		}
	}
	return ""
}

// endpoint is where a URL leads: without what one can write in more than one way.
func endpoint(address string) string {
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil {
		return address
	}
	scheme, port := strings.ToLower(u.Scheme), u.Port()
	if n, err := strconv.Atoi(port); err == nil {
		port = strconv.Itoa(n)
	}
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.Unmap().String()
	}
	return scheme + "://" + net.JoinHostPort(host, port) + path.Clean("/"+u.Path)
}
