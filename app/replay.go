package app

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/moneta-pay/moneta/internal/lifecycle"
	"github.com/moneta-pay/moneta/replay"
)

// ReplayConfig is what `moneta replay` was asked for.
type ReplayConfig struct {
	Mapping      string
	Data         []string
	Speed        string
	Report       string
	API          string
	Keys         string
	SandboxURL   string
	Workers      int
	JSON         bool
	Lang         string
	FinalWithin  time.Duration
	AllowForeign bool
	Out          io.Writer
	Progress     io.Writer
}

// Replay drives bank files through the API of a running pay plane.
func Replay(ctx context.Context, cfg ReplayConfig) error {
	keys, err := ReadKeys(cfg.Keys)
	if err != nil {
		return err
	}
	mapping, err := replay.LoadMapping(cfg.Mapping)
	if err != nil {
		return err
	}
	var speed int64
	if cfg.Speed != "max" {
		if speed, err = strconv.ParseInt(cfg.Speed, 10, 64); err != nil || speed < 1 {
			return fmt.Errorf("--speed %q: write rows a second as a whole number above zero, or max", cfg.Speed)
		}
	}
	line := newProgressLine(cfg.Progress)
	report, err := replay.Run(ctx, replay.Options{
		Mapping: mapping, Data: cfg.Data, API: cfg.API, APIKey: keys.Tenant, AdminKey: keys.Admin, SandboxURL: cfg.SandboxURL,
		Speed: speed, Workers: cfg.Workers, FinalWithin: cfg.FinalWithin, AllowForeign: cfg.AllowForeign,
		Progress: func(p replay.Progress) { line.show(p.Line(cfg.Lang)) },
		Settle:   func(ctx context.Context) error { return reconcile(ctx, cfg.API, keys.Admin) },
	})
	line.end()
	if report == nil {
		return err
	}
	if e := hand(report, cfg.Report, cfg.JSON, cfg.Lang, cfg.Out); e != nil {
		return e
	}
	if err != nil {
		return err
	}
	return verdict(report, cfg.Lang)
}

// hand writes the report where it was asked for.
func hand(r *replay.Report, path string, asJSON bool, lang string, out io.Writer) error {
	raw, err := r.JSON()
	if err != nil {
		return err
	}
	if path != "" {
		if err := writeFile(path, raw, 0o644); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	}
	if asJSON {
		_, err = out.Write(append(raw, '\n'))
		return err
	}
	return r.WriteScreen(out, lang)
}

func verdict(r *replay.Report, lang string) error {
	if r.OK() {
		return nil
	}
	return &ExitError{ExitMoney, say(lang, "money-off", r.Problems())}
}

// reconcile asks the pay plane to read every channel's statement now. A run that
// was cut short by the API's own deadline has kept what it read, so it is asked
// again until it reaches the end.
func reconcile(ctx context.Context, api, adminKey string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		status, answer, err := reconcileOnce(ctx, api, adminKey)
		switch {
		case err != nil:
			return fmt.Errorf("reconcile: %w", err)
		case status == http.StatusOK:
			return nil
		case status != http.StatusServiceUnavailable && status != http.StatusGatewayTimeout:
			return fmt.Errorf("reconcile: HTTP %d: %s", status, answer)
		}
		if err := lifecycle.Pause(ctx, time.Second); err != nil {
			return fmt.Errorf("reconcile: %w; the last answer was HTTP %d: %s", err, status, answer)
		}
	}
}

func reconcileOnce(ctx context.Context, api, adminKey string) (status int, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, api+"/v1/recon/run", nil)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+adminKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	return resp.StatusCode, answer, err
}

// progressLine rewrites one line on a terminal, and prints now and then elsewhere.
type progressLine struct {
	w        io.Writer
	terminal bool
	last     time.Time
	text     string
}

func newProgressLine(w io.Writer) *progressLine {
	p := &progressLine{w: w}
	if f, ok := w.(*os.File); ok {
		if st, err := f.Stat(); err == nil {
			p.terminal = st.Mode()&os.ModeCharDevice != 0
		}
	}
	return p
}

func (p *progressLine) show(text string) {
	if p.w == nil || text == p.text {
		return
	}
	if p.terminal {
		p.text = text
		fmt.Fprintf(p.w, "\r\033[K%s", text)
		return
	}
	if now := time.Now(); now.Sub(p.last) >= 2*time.Second {
		p.last, p.text = now, text
		fmt.Fprintln(p.w, text)
	}
}

// say prints a line that stays.
func (p *progressLine) say(text string) {
	if p.w == nil {
		return
	}
	if p.terminal {
		fmt.Fprint(p.w, "\r\033[K")
	}
	fmt.Fprintln(p.w, text)
}

func (p *progressLine) end() {
	if p.w != nil && p.terminal {
		fmt.Fprint(p.w, "\r\033[K")
	}
}
