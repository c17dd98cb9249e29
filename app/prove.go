package app

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/moneta-pay/moneta/doctor/prove"
	"github.com/moneta-pay/moneta/money"
)

// ExitUnproved is the exit code of a recount in which nothing is off, and not
// everything could be counted.
const ExitUnproved = 4

// ProveConfig is what `moneta prove` was asked for.
type ProveConfig struct {
	Database
	// Config is the file of serve with the channels; empty takes the sandbox banks at
	// SandboxURL, if up made the data folder.
	Config, SandboxURL string
	// Files are rails' statements, each channel=file.
	Files []string
	// From and To are days or instants of the incident's window; empty is open.
	From, To string
	// Within bounds the recount, Statement one statement; 0 takes the defaults.
	Within, Statement time.Duration
	// Key is the file of the signing key; empty is beside the data folder.
	Key string
	// Report is the file of the proof; Verify is a file to verify with Public instead.
	Report, Verify, Public string
	JSON                   bool
	Lang                   string
	Out, Progress          io.Writer
}

// Prove recounts, signs and tells; with Verify it only verifies. What is off is an
// ExitError with ExitMoney, what could not be counted one with ExitUnproved.
func Prove(ctx context.Context, c ProveConfig) error {
	if c.Verify != "" {
		return c.verify()
	}
	cfg, err := c.recount(ctx)
	if err != nil {
		return err
	}
	key, made, err := prove.Key(c.keyPath())
	if err != nil {
		return fmt.Errorf("the signing key: %w", err)
	}
	line := newProgressLine(c.Progress)
	started := time.Now()
	line.last = started // nothing is said of what takes less than two seconds
	cfg.Progress = func(stage string, done, total int64) {
		line.show(say(c.Lang, "prove-progress", stage, done, total, time.Since(started).Seconds()))
	}
	result, err := prove.Run(ctx, cfg)
	line.end()
	if err != nil {
		return err
	}
	proof, err := prove.Sign(result, key)
	if err != nil {
		return fmt.Errorf("sign the proof: %w", err)
	}
	if c.Report != "" {
		if err := writeFile(c.Report, proof, 0o644); err != nil {
			return fmt.Errorf("write the proof: %w", err)
		}
	}
	if c.JSON {
		if _, err := c.Out.Write(proof); err != nil {
			return err
		}
	} else if err := c.show(&result, key, made); err != nil {
		return err
	}
	switch result.Verdict {
	case prove.Faults:
		return &ExitError{ExitMoney, say(c.Lang, "prove-exit-faults", result.FaultCount)}
	case prove.Incomplete:
		return &ExitError{ExitUnproved, say(c.Lang, "prove-exit-unproved", len(result.NotProved))}
	case prove.Clean:
	}
	return nil
}

// keyPath is beside the data folder, so that a copy of the data does not carry the
// key, and a removed folder does not take it along.
func (c *ProveConfig) keyPath() string {
	if c.Key != "" {
		return c.Key
	}
	return filepath.Clean(c.DataDir) + "-prove.key"
}

func (c *ProveConfig) recount(ctx context.Context) (cfg prove.Config, err error) {
	cfg = prove.Config{Within: c.Within, Statement: c.Statement, Version: "moneta " + Version}
	if cfg.From, err = windowEnd("--from", c.From); err != nil {
		return cfg, err
	}
	if cfg.To, err = windowEnd("--to", c.To); err != nil {
		return cfg, err
	}
	if cfg.Rails, err = c.rails(); err != nil {
		return cfg, err
	}
	cfg.DSN, err = c.dsn(ctx)
	return cfg, err
}

func windowEnd(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return t, fmt.Errorf("%s is a day or an instant such as 2026-01-31T12:00:00Z, not %q", flag, text)
	}
	return t, nil
}

// rails are the books of the channels: their own where they offer them, else the file
// that somebody names.
func (c *ProveConfig) rails() ([]prove.Books, error) {
	var out []prove.Books
	named := map[string]bool{}
	for _, f := range c.Files {
		channel, path, ok := strings.Cut(f, "=")
		if !ok || channel == "" || path == "" {
			return nil, fmt.Errorf("--books %q: write channel=file", f)
		}
		named[channel] = true
		out = append(out, &prove.FileBooks{Name: channel, Path: path})
	}
	channels, err := ChannelsOf(c.Config, c.SandboxURL, c.DataDir)
	if err != nil && (c.Config != "" || !errors.Is(err, os.ErrNotExist)) {
		return nil, err
	}
	for _, ch := range channels {
		if ch.Adapter == "sandbox" && !named[ch.Name] {
			out = append(out, &prove.HTTPBooks{
				Name: ch.Name, URL: strings.TrimRight(ch.BaseURL, "/") + "/banks/" + ch.Bank + "/books", Guessed: c.Config == "",
			})
		}
	}
	return out, nil
}

// verify says whether a stored proof is what the key signed, and what it says.
func (c *ProveConfig) verify() error {
	public, err := c.public()
	if err != nil {
		return err
	}
	r, err := prove.VerifyFile(c.Verify, public)
	if err != nil {
		if errors.Is(err, prove.ErrForged) {
			return &ExitError{ExitMoney, say(c.Lang, "prove-forged", c.Verify, err)}
		}
		return err
	}
	if c.JSON {
		return writeJSON(c.Out, map[string]any{"genuine": true, "verdict": r.Verdict, "at": r.At, "sha256": r.SHA256, "fault_count": r.FaultCount})
	}
	_, err = fmt.Fprint(c.Out, say(c.Lang, "prove-genuine", c.Verify, r.At, c.verdict(&r)))
	return err
}

func (c *ProveConfig) public() (ed25519.PublicKey, error) {
	if c.Public == "" {
		return nil, errors.New("--verify needs --key: the public key that you trust, as a file or in base 64; the one that a proof carries proves nothing")
	}
	return prove.ReadPublic(c.Public)
}

func (c *ProveConfig) verdict(r *prove.Result) string {
	switch r.Verdict {
	case prove.Clean:
		return say(c.Lang, "prove-clean")
	case prove.Incomplete:
		return say(c.Lang, "prove-incomplete", len(r.NotProved))
	case prove.Faults:
	}
	return say(c.Lang, "prove-faults", r.FaultCount)
}

// show prints the screen.
func (c *ProveConfig) show(r *prove.Result, key ed25519.PrivateKey, made bool) error {
	t := tabwriter.NewWriter(c.Out, 0, 4, 2, ' ', 0)
	rows := map[string]int64{}
	for _, x := range r.Counted {
		rows[x.Table] = x.Rows
	}
	where := say(c.Lang, "prove-primary")
	if r.Database.Standby {
		where = say(c.Lang, "prove-standby")
	}
	fmt.Fprint(t, say(c.Lang, "prove-head", r.At, where, rows["payments"], rows["transitions"], rows["transfers"], rows["accounts"], float64(r.TookMS)/1000))
	c.showChecks(t, r)
	c.showRails(t, r)
	c.showFlight(t, r)
	c.showFindings(t, r)
	for i, why := range r.NotProved {
		if i == 0 {
			fmt.Fprint(t, say(c.Lang, "prove-unproved"))
		}
		fmt.Fprintf(t, "  %s\n", why)
	}
	public := base64.StdEncoding.EncodeToString(key[ed25519.PrivateKeySize-ed25519.PublicKeySize:])
	fmt.Fprintf(t, "\n%s\n", c.verdict(r))
	fmt.Fprint(t, say(c.Lang, "prove-signed", r.SHA256, public))
	if made {
		fmt.Fprint(t, say(c.Lang, "prove-made", c.keyPath()))
	}
	if c.Report != "" {
		fmt.Fprint(t, say(c.Lang, "prove-kept", c.Report, c.Report, public))
	}
	return t.Flush()
}

func (c *ProveConfig) showChecks(w io.Writer, r *prove.Result) {
	for _, k := range r.Checks {
		word := say(c.Lang, "prove-ok")
		switch {
		case k.Faults > 0:
			word = say(c.Lang, "prove-off", k.Faults)
		case k.Asked == 0:
			word = say(c.Lang, "prove-none")
		}
		text := prove.Texts[k.Name].En
		if c.Lang == "zh" {
			text = prove.Texts[k.Name].Zh
		}
		fmt.Fprintf(w, "  %s\t%d\t%s\n", text, k.Asked, word)
	}
}

func (c *ProveConfig) showRails(w io.Writer, r *prove.Result) {
	if len(r.Rails) == 0 {
		return
	}
	fmt.Fprint(w, say(c.Lang, "prove-rails"))
	for i := range r.Rails {
		x := &r.Rails[i]
		if !x.Proved {
			fmt.Fprint(w, say(c.Lang, "prove-rail-off", x.Channel, x.Unproved, x.Why))
			continue
		}
		fmt.Fprint(w, say(c.Lang, "prove-rail", x.Channel, x.Effects, x.Matched, x.Pending+x.Later, x.Source))
	}
}

func (c *ProveConfig) showFlight(w io.Writer, r *prove.Result) {
	if len(r.Flight) == 0 {
		return
	}
	fmt.Fprint(w, say(c.Lang, "prove-flight"))
	for i := range r.Flight {
		f := &r.Flight[i]
		value := ""
		if f.Asset != "" {
			if amount, err := money.ParseMinor(f.Value); err == nil {
				value = money.Format(amount, money.Asset(f.Asset)) + " " + f.Asset
			}
		}
		late := ""
		if f.LateSeconds > 0 {
			late = say(c.Lang, "prove-late", age(f.LateSeconds))
		}
		fmt.Fprintf(w, "  %d\t%s\t%s %s\t%s\t%s\n", f.Count, f.What, f.Hop, f.Channel, value, say(c.Lang, "prove-oldest", age(f.OldestSeconds), f.Oldest)+late)
	}
}

func (c *ProveConfig) showFindings(w io.Writer, r *prove.Result) {
	if r.FaultCount == 0 {
		return
	}
	fmt.Fprint(w, say(c.Lang, "prove-found", r.FaultCount, len(r.Findings)))
	for i := range r.Findings {
		f := &r.Findings[i]
		known := ""
		if f.Break != "" {
			known = say(c.Lang, "prove-break", f.Break)
		}
		fmt.Fprintf(w, "  %s %s %s: %s%s\n", f.Check, f.Payment, f.Place, f.Detail, known)
	}
}
