package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/moneta-pay/moneta/examples/berka"
	"github.com/moneta-pay/moneta/replay"
)

// DemoConfig is what `moneta demo` was asked for.
type DemoConfig struct {
	Report  string
	DataDir string
	Keep    bool
	JSON    bool
	Lang    string
	// Drill is what happens at the end, empty for nothing: a fault, and the doctor.
	Drill    string
	Out      io.Writer
	Progress io.Writer
}

// The faults of the demonstration. The replies are lost some time before the
// callback tells, so that each loss is an unknown that must be resolved.
const (
	bankThatLosesReplies = "ab"
	bankThatRepeats      = "yz"
	losesReplies         = `{"lose_reply": 0.8, "callback_delay": {"probability": 1, "min_ms": 700, "max_ms": 1500}}`
	repeatsLate          = `{"callback_duplicate": 1, "callback_delay": {"probability": 1, "min_ms": 2000, "max_ms": 3000}}`
	killsWanted          = 2
)

// Demo replays a real bank's year while banks misbehave and serve is killed,
// heals, reconciles, and proves the books on one screen; then it breaks a second world
// and tells what the doctor does, as it happens. It returns an ExitError when a money
// figure is off.
func Demo(ctx context.Context, cfg DemoConfig) error {
	if err := demoYear(ctx, cfg); err != nil || cfg.Drill == "" || cfg.Keep || cfg.JSON {
		return err
	}
	return demoDrill(ctx, cfg)
}

func demoYear(ctx context.Context, cfg DemoConfig) error {
	line := newProgressLine(cfg.Progress)
	dir, err := demoFolder(cfg.DataDir)
	if err != nil {
		return err
	}
	listen, err := freePorts(ctx, 2)
	if err != nil {
		return err
	}
	started := time.Now()
	w, err := startWorld(ctx, UpConfig{
		DataDir: dir, Listen: listen[0], Sandbox: true, SandboxListen: listen[1], ConsoleListen: "127.0.0.1:0", Out: io.Discard, Quiet: true, LogFile: filepath.Join(dir, "up.log"),
	})
	if err != nil {
		return err
	}
	tidy := false
	defer func() {
		w.stop()
		if !tidy {
			fmt.Fprint(cfg.Progress, say(cfg.Lang, "kept", dir))
		} else if err := os.RemoveAll(dir); err != nil {
			fmt.Fprint(cfg.Progress, say(cfg.Lang, "kept", dir))
		}
	}()
	if err := w.ready(ctx); err != nil {
		return err
	}
	line.say(say(cfg.Lang, "up-after", time.Since(started).Seconds(), w.api(), w.outside()))
	d := &demo{cfg: cfg, world: w, line: line}
	report, err := d.run(ctx, dir)
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
	if err := d.prove(ctx, dir); err != nil {
		return err
	}
	if !cfg.JSON {
		d.conclude(ctx, dir, time.Since(started))
	}
	if kills := d.kills.Load(); kills < killsWanted {
		return &ExitError{1, say(cfg.Lang, "too-few-kills", kills, killsWanted)}
	}
	tidy = cfg.DataDir == "" && report.OK()
	return verdict(report, cfg.Lang)
}

type demo struct {
	cfg   DemoConfig
	world *world
	line  *progressLine
	kills atomic.Int64
	done  atomic.Int64
	total atomic.Int64
}

func (d *demo) run(ctx context.Context, dir string) (*replay.Report, error) {
	mapping, data, err := berka.Unpack(dir)
	if err != nil {
		return nil, err
	}
	m, err := replay.LoadMapping(mapping)
	if err != nil {
		return nil, err
	}
	if err := d.misbehave(ctx); err != nil {
		return nil, err
	}
	killing, stopKilling := context.WithCancel(ctx)
	killed := make(chan error, 1)
	go func() { killed <- d.killInFlight(killing) }()
	report, err := replay.Run(ctx, replay.Options{
		Mapping: m, Data: data, API: d.world.api(), APIKey: d.world.keys.Tenant, AdminKey: d.world.keys.Admin,
		SandboxURL: d.world.outside(), Kills: d.kills.Load,
		Progress: func(p replay.Progress) {
			if p.Stage == replay.StagePayments {
				d.done.Store(p.Done)
				d.total.Store(p.Total)
			}
			d.line.show(p.Line(d.cfg.Lang))
		},
		ProgressEvery: 200 * time.Millisecond,
		Heal:          d.heal,
		Settle:        func(ctx context.Context) error { return reconcile(ctx, d.world.api(), d.world.keys.Admin) },
	})
	stopKilling()
	if e := <-killed; err == nil && e != nil && !errors.Is(e, context.Canceled) {
		err = e
	}
	return report, err
}

// prove recounts everything a second time, from the raw rows and the banks' own books.
func (d *demo) prove(ctx context.Context, dir string) error {
	started := time.Now()
	err := Prove(ctx, ProveConfig{
		Database: Database{DSN: d.world.dsn, DataDir: dir}, SandboxURL: d.world.outside(), Key: filepath.Join(dir, "prove.key"),
		Report: filepath.Join(dir, "proof.jsonl"), JSON: true, Lang: d.cfg.Lang, Out: io.Discard, Progress: d.cfg.Progress,
	})
	if err == nil && !d.cfg.JSON {
		fmt.Fprint(d.cfg.Out, say(d.cfg.Lang, "demo-proved", time.Since(started).Seconds()))
	}
	return err
}

// misbehave switches the two faults on over the sandbox's own API.
func (d *demo) misbehave(ctx context.Context) error {
	if err := d.behaviour(ctx, bankThatLosesReplies, losesReplies); err != nil {
		return err
	}
	if err := d.behaviour(ctx, bankThatRepeats, repeatsLate); err != nil {
		return err
	}
	d.line.say(say(d.cfg.Lang, "misbehave", bankThatLosesReplies, bankThatRepeats))
	return nil
}

// heal makes the banks honest again and lets them send what they still owe.
func (d *demo) heal(ctx context.Context) error {
	for _, bank := range []string{bankThatLosesReplies, bankThatRepeats} {
		if err := d.behaviour(ctx, bank, `{}`); err != nil {
			return err
		}
		if err := d.call(ctx, http.MethodPost, "/banks/"+bank+"/callbacks/flush", ""); err != nil {
			return err
		}
	}
	d.line.say(say(d.cfg.Lang, "healed"))
	return nil
}

func (d *demo) behaviour(ctx context.Context, bank, body string) error {
	return d.call(ctx, http.MethodPut, "/banks/"+bank+"/behaviour", body)
}

func (d *demo) call(ctx context.Context, method, path, body string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, d.world.outside()+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
		return fmt.Errorf("sandbox %s %s: %s: %s", method, path, resp.Status, text)
	}
	return nil
}

// killInFlight kills serve with SIGKILL at about a third and two thirds of the
// rows, each time in a moment when attempts are on the wire.
func (d *demo) killInFlight(ctx context.Context) error {
	pool, err := pgxpool.New(ctx, d.world.dsn)
	if err != nil {
		return err
	}
	defer pool.Close()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for d.kills.Load() < killsWanted {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		share := d.total.Load() * (d.kills.Load() + 1) / (killsWanted + 1)
		if d.total.Load() == 0 || d.done.Load() < share {
			continue
		}
		var flying int
		err := pool.QueryRow(ctx, `select count(*) from attempts a join open_payments o using (payment)
  where a.n = o.attempt and a.answered_at is null`).Scan(&flying)
		if err != nil || flying == 0 {
			continue
		}
		pid := d.world.serve.Pid()
		if pid == 0 {
			continue
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			continue
		}
		d.kills.Add(1)
		d.line.say(say(d.cfg.Lang, "killed", pid, flying))
	}
	return nil
}

// conclude says where to look while everything runs, or tidies up.
func (d *demo) conclude(ctx context.Context, dir string, took time.Duration) {
	out, lang := d.cfg.Out, d.cfg.Lang
	if d.cfg.Keep {
		fmt.Fprintln(out, say(lang, "look"))
		fmt.Fprint(out, say(lang, "look-api", d.world.api(), d.world.api()), say(lang, "look-banks", d.world.outside()),
			say(lang, "look-metrics", d.world.api()), say(lang, "look-logs", filepath.Join(dir, "serve.log")))
	} else {
		fmt.Fprintln(out, "\n"+say(lang, "keep-hint"))
	}
	fmt.Fprint(out, say(lang, "took", took.Seconds()))
	if d.cfg.Keep {
		fmt.Fprintln(out, say(lang, "keep"))
		<-ctx.Done()
	}
}

// demoFolder is a fresh folder on a real disk: /tmp is memory on some systems.
func demoFolder(wished string) (string, error) {
	if wished != "" {
		return wished, os.MkdirAll(wished, 0o755)
	}
	base := os.TempDir()
	if st, err := os.Stat("/var/tmp"); err == nil && st.IsDir() {
		base = "/var/tmp"
	}
	dir, err := os.MkdirTemp(base, "moneta-demo-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}

// freePorts returns n addresses on loopback that nobody listened on just now.
func freePorts(ctx context.Context, n int) ([]string, error) {
	var lc net.ListenConfig
	var out []string
	for range n {
		l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }()
		out = append(out, l.Addr().String())
	}
	return out, nil
}
