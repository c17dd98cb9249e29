package app

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/moneta-pay/moneta/config"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/channel/probe"
	sandboxchannel "github.com/moneta-pay/moneta/pay/channel/sandbox"
	"github.com/moneta-pay/moneta/pay/dispatch"
)

// claimFailed is the exit code of a channel that lies.
const claimFailed = 3

// ChannelConfig is what `moneta channel …` was asked for.
type ChannelConfig struct {
	Database Database
	// Channels as serve would have them.
	Channels []config.Channel
	// Name of one channel; with List, empty is all.
	Name string
	// Asset and Amount of the orders of a test, in the smallest unit.
	Asset  string
	Amount int64
	// Validity is how long what is shown may be relied on; 0 is the default.
	Validity      time.Duration
	JSON          bool
	Lang          string
	Out, Progress io.Writer
	WithoutRecord bool
}

// connect builds the adapter of one channel, at its own endpoint or another.
func connect(c config.Channel, base string) (channel.Channel, error) {
	ch, err := sandboxchannel.New(sandboxchannel.Config{
		Name: channel.Name(c.Name), BaseURL: base, Bank: c.Bank, Secrets: c.Secrets, Wrap: telemetry.Transport,
	})
	if err != nil {
		return nil, fmt.Errorf("channel %s: %w", c.Name, err)
	}
	return ch, nil
}

func (c *ChannelConfig) find() (config.Channel, error) {
	var names []string
	for _, ch := range c.Channels {
		if ch.Name == c.Name {
			return ch, nil
		}
		names = append(names, ch.Name)
	}
	return config.Channel{}, fmt.Errorf("no channel %q is configured; there is %s", c.Name, strings.Join(names, ", "))
}

// claims is one channel's contract and the newest word on each claim.
type claims struct {
	Channel   channel.Name     `json:"channel"`
	Adapter   string           `json:"adapter"`
	BaseURL   string           `json:"base_url"`
	TestURL   string           `json:"test_url,omitempty"`
	Contract  string           `json:"contract"`
	Claims    map[string]any   `json:"claims"`
	Proofs    []dispatch.Proof `json:"proofs"`
	MayResend bool             `json:"may_resend"`
	caps      channel.Capabilities
}

// ChannelList shows what the channels claim and what of it is proven.
func ChannelList(ctx context.Context, c ChannelConfig) error {
	all, err := c.claims(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(c.Out, map[string]any{"channels": all})
	}
	t := tabwriter.NewWriter(c.Out, 0, 4, 2, ' ', 0)
	fmt.Fprint(t, say(c.Lang, "channel-head"))
	for i := range all {
		k := &all[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", k.Channel, k.Adapter, k.word(c.Lang, probe.Dedup), yes(c.Lang, k.MayResend), k.tested(c.Lang))
	}
	return t.Flush()
}

// ChannelShow shows one channel's contract, claim by claim.
func ChannelShow(ctx context.Context, c ChannelConfig) error {
	one, err := c.find()
	if err != nil {
		return err
	}
	c.Channels = []config.Channel{one}
	all, err := c.claims(ctx)
	if err != nil {
		return err
	}
	k := &all[0]
	if c.JSON {
		return writeJSON(c.Out, k)
	}
	fmt.Fprint(c.Out, say(c.Lang, "channel-one", k.Channel, k.Adapter, k.BaseURL, orDash(k.TestURL)))
	t := tabwriter.NewWriter(c.Out, 0, 4, 2, ' ', 0)
	caps := k.caps
	rows := []struct {
		name  string
		claim any
	}{
		{"dedup_by_reference", yes(c.Lang, caps.DedupByReference)},
		{"query_by_reference", yes(c.Lang, caps.QueryByReference)},
		{"query_budget", budgetOf(caps)},
		{"not_found_means_never", yes(c.Lang, caps.NotFoundMeansNever)},
		{"visibility_delay", caps.VisibilityDelay},
		{"cancel", yes(c.Lang, caps.Cancel)},
		{"refund", yes(c.Lang, caps.Refund)},
		{"statement_within", caps.StatementWithin},
		{"client_timeout", caps.ClientTimeout},
		{"send_window", caps.SendWindow},
		{"max_in_flight", caps.MaxInFlight},
		{"final_bound", caps.FinalBound},
	}
	for _, r := range rows {
		fmt.Fprintf(t, "  %s\t%v\n", r.name, r.claim)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(k.Proofs) == 0 {
		_, err := fmt.Fprint(c.Out, say(c.Lang, "channel-untested", k.Channel))
		return err
	}
	fmt.Fprint(t, say(c.Lang, "channel-proofs"))
	for _, p := range k.Proofs {
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\n", p.Capability, say(c.Lang, "proof-"+string(p.Status)),
			p.ProvenAt.UTC().Format(time.DateOnly), p.ExpiresAt.UTC().Format(time.DateOnly), p.Detail)
	}
	fmt.Fprint(t, say(c.Lang, "channel-resend", yes(c.Lang, k.MayResend)))
	return t.Flush()
}

func budgetOf(c channel.Capabilities) string {
	if c.QueryBudget == 0 {
		return "-"
	}
	return fmt.Sprintf("%d / %s", c.QueryBudget, c.QueryWindow)
}

func yes(lang string, is bool) string {
	if is {
		return say(lang, "yes")
	}
	return say(lang, "no")
}

// word is the newest word on a claim, or that there is none.
func (k *claims) word(lang string, c probe.Capability) string {
	for i := range k.Proofs {
		if k.Proofs[i].Capability == c {
			return say(lang, "proof-"+string(k.Proofs[i].Status))
		}
	}
	return say(lang, "proof-claimed")
}

func (k *claims) tested(lang string) string {
	if len(k.Proofs) == 0 {
		return say(lang, "never")
	}
	return k.Proofs[0].ProvenAt.UTC().Format("2006-01-02 15:04Z")
}

// claims joins the configured channels with what is proven of them.
func (c *ChannelConfig) claims(ctx context.Context) ([]claims, error) {
	pool, err := c.Database.pool(ctx)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	proofs, err := dispatch.ReadProofs(ctx, pool)
	if err != nil {
		return nil, err
	}
	all := make([]claims, 0, len(c.Channels))
	now := clock.System.Now()
	for _, cfg := range c.Channels {
		ch, err := connect(cfg, cfg.BaseURL)
		if err != nil {
			return nil, err
		}
		caps := ch.Capabilities()
		k := claims{
			Channel: ch.Name(), Adapter: caps.Adapter, BaseURL: cfg.BaseURL, TestURL: cfg.TestURL,
			Contract: probe.Contract(caps), Claims: asMap(caps), Proofs: []dispatch.Proof{}, caps: caps,
		}
		for _, p := range proofs {
			if p.Channel != k.Channel {
				continue
			}
			k.Proofs = append(k.Proofs, p)
			k.MayResend = k.MayResend || p.Capability == probe.Dedup && caps.DedupByReference && p.Holds(caps, now)
		}
		all = append(all, k)
	}
	return all, nil
}

// asMap is a struct as its JSON, field by field.
func asMap(v any) map[string]any {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	out := map[string]any{}
	if json.Unmarshal(raw, &out) != nil {
		return nil
	}
	return out
}

// ChannelTest puts a channel's claims to the test at its test endpoint and keeps what
// was shown. A claim that does not hold is an ExitError with code 3.
func ChannelTest(ctx context.Context, c ChannelConfig) error {
	cfg, err := c.find()
	if err != nil {
		return err
	}
	if !c.JSON && cfg.TestURL != "" {
		fmt.Fprint(c.Progress, say(c.Lang, "channel-testing", cfg.Name, cfg.TestURL))
	}
	report, err := c.probe(ctx, &cfg, func(f probe.Finding) {
		if !c.JSON {
			fmt.Fprint(c.Progress, c.line(f))
		}
	})
	if err != nil {
		// A lie that was seen counts, whoever has enough of looking.
		if report = report.Broken(); len(report.Findings) == 0 {
			return err
		}
		var done context.CancelFunc
		ctx, done = context.WithTimeout(context.WithoutCancel(ctx), recordWithin)
		defer done()
	}
	if err := c.record(ctx, report, cfg.TestURL); err != nil {
		return err
	}
	return c.judge(report)
}

// probe makes the orders of a test, at the channel's test endpoint and nowhere else.
func (c *ChannelConfig) probe(ctx context.Context, cfg *config.Channel, progress func(probe.Finding)) (probe.Report, error) {
	if cfg.TestURL == "" {
		return probe.Report{}, &ExitError{2, say(c.Lang, "channel-no-test", cfg.Name)}
	}
	if live := config.LiveAt(c.Channels, cfg.TestURL); live != "" {
		return probe.Report{}, &ExitError{2, say(c.Lang, "channel-test-live", cfg.Name, cfg.TestURL, live)}
	}
	ch, err := connect(*cfg, cfg.TestURL)
	if err != nil {
		return probe.Report{}, err
	}
	if closer, ok := ch.(interface{ Close() }); ok {
		defer closer.Close()
	}
	report, err := probe.Run(ctx, probe.Target{
		Channel: ch, Asset: money.Asset(c.Asset), Amount: c.Amount, Run: rand.Text()[:10], Progress: progress,
	})
	if err != nil && len(report.Failed()) == 0 {
		err = fmt.Errorf("%w; nothing was shown", err)
	}
	return report, err
}

func (c *ChannelConfig) line(f probe.Finding) string {
	return fmt.Sprintf("  %-11s %-12s %6.1f s  %s\n", f.Capability, say(c.Lang, "proof-"+string(f.Status)), f.Took.Seconds(), f.Detail)
}

func (c *ChannelConfig) record(ctx context.Context, report probe.Report, endpoint string) error {
	if c.WithoutRecord {
		return nil
	}
	pool, err := c.Database.pool(ctx)
	if err != nil {
		return fmt.Errorf("%w; --no-record only shows", err)
	}
	defer pool.Close()
	validity := c.Validity
	if validity <= 0 {
		validity = dispatch.ProofValidity
	}
	return dispatch.Record(ctx, pool, report, endpoint, validity)
}

// judge prints the end of the story and turns a lie into the exit code.
func (c *ChannelConfig) judge(report probe.Report) error {
	failed := report.Failed()
	if c.JSON {
		if err := writeJSON(c.Out, report); err != nil {
			return err
		}
	}
	if len(failed) > 0 {
		names := make([]string, len(failed))
		for i, f := range failed {
			names[i] = string(f)
		}
		return &ExitError{claimFailed, say(c.Lang, "channel-lies", report.Channel, strings.Join(names, ", "))}
	}
	if c.JSON {
		return nil
	}
	key := "channel-holds"
	if report.Finding(probe.Dedup).Status != probe.Proven {
		key = "channel-no-resend"
	}
	_, err := fmt.Fprint(c.Out, say(c.Lang, key, report.Channel))
	return err
}

// ChannelsOf are the channels that serve would have: those of a configuration file,
// or the sandbox banks that a running up plays.
func ChannelsOf(file, sandboxURL, dataDir string) ([]config.Channel, error) {
	if file != "" {
		cfg, err := config.Load(file)
		return cfg.Channels, err
	}
	keys, err := ReadKeys(keysPath(dataDir))
	if err != nil {
		return nil, errors.Join(err, errors.New("or name the settings of serve with --config"))
	}
	return config.SandboxChannels(sandboxURL, keys.SandboxSecret, SandboxBanks()), nil
}
