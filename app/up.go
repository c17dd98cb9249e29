package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/doctor/drill"
	"github.com/moneta-pay/moneta/internal/lifecycle"
	"github.com/moneta-pay/moneta/internal/pgserver"
	"github.com/moneta-pay/moneta/schema"
)

// UpConfig is what `moneta up` was asked for.
type UpConfig struct {
	DataDir       string
	Listen        string
	Sandbox       bool
	SandboxListen string
	// ConsoleListen is where the watch serves the console; empty as in WatchConfig.
	ConsoleListen string
	PGListen      string
	// Archive is the folder that takes the log of the private Postgres; empty
	// archives nothing. ArchiveMaxGB bounds it.
	Archive      string
	ArchiveMaxGB int
	// DSN of a Postgres to use instead of a private one.
	DSN   string
	Quiet bool
	// Auto is what the doctor does without asking; empty is the default of watch.
	Auto string
	// ActsPerHour of the doctor; 0 is the default of watch.
	ActsPerHour int
	// WebhookInside are networks that webhooks may go to although they are not public.
	WebhookInside []string
	// Lang is en or zh.
	Lang string
	// LogFile takes what the supervisor says; empty is standard error.
	LogFile string
	Out     io.Writer
	// FaultFile is what serve obeys, and Link what lies between it and the database; both
	// only in drills.
	FaultFile string
	Link      *drill.Link
	// Unwatched starts no watch.
	Unwatched bool
}

// readyWithin bounds the start; stopWithin what a clean stop may take.
const (
	readyWithin = 90 * time.Second
	// consoleWithin is for how long up waits for the watch once all else is up.
	consoleWithin = 20 * time.Second
	stopWithin    = 30 * time.Second
)

// world is what up starts: a Postgres, and serve and sandbox as children that
// are started again when they die.
type world struct {
	cfg     UpConfig
	dsn     string
	keys    Keys
	pg      *pgserver.Server
	serve   *lifecycle.Child
	sandbox *lifecycle.Child
	watch   *lifecycle.Child
	archive archiver
	first   bool // there was nothing in the data folder
	logger  *slog.Logger
	stops   []func(context.Context) error
}

func (w *world) api() string     { return "http://" + w.cfg.Listen }
func (w *world) outside() string { return "http://" + w.cfg.SandboxListen }

func pgFolder(dataDir string) string { return filepath.Join(dataDir, "pg") }

// Up starts everything, says where it is, and stops it when ctx ends.
func Up(ctx context.Context, cfg UpConfig) error {
	started := time.Now()
	w, err := startWorld(ctx, cfg)
	if err != nil {
		return err
	}
	defer w.stop()
	if err := w.ready(ctx); err != nil {
		return err
	}
	w.announce(ctx, time.Since(started))
	select {
	case <-ctx.Done():
		fmt.Fprint(cfg.Out, say(cfg.Lang, "stopping"))
		return nil
	case <-w.ended():
		return errors.New("a part of Moneta ended for good; see the lines above")
	}
}

func startWorld(ctx context.Context, cfg UpConfig) (w *world, err error) {
	w = &world{cfg: cfg, logger: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	defer func() {
		if err != nil {
			w.stop()
		}
	}()
	if cfg.LogFile != "" {
		log, err := os.OpenFile(cfg.LogFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			return w, err
		}
		w.logger = slog.New(slog.NewTextHandler(log, nil))
		w.stops = append(w.stops, func(context.Context) error { return log.Close() })
	}
	if err := os.MkdirAll(cfg.DataDir, 0o755); err != nil {
		return w, fmt.Errorf("make the data folder: %w", err)
	}
	if err := refuseHalfRestored(cfg.DataDir); err != nil {
		return w, err
	}
	if err := w.startPostgres(ctx); err != nil {
		return w, err
	}
	if err := schema.Migrate(ctx, w.dsn); err != nil {
		return w, err
	}
	_, err = os.Stat(keysPath(cfg.DataDir))
	w.first = errors.Is(err, fs.ErrNotExist)
	if w.keys, err = ensureKeys(ctx, w.dsn, cfg.DataDir); err != nil {
		return w, err
	}
	self, err := os.Executable()
	if err != nil {
		return w, err
	}
	sealing, err := ensureSecretsKey(cfg.DataDir, w.logger)
	if err != nil {
		return w, err
	}
	env := append(os.Environ(), "MONETA_DSN="+w.dsn, "MONETA_SANDBOX_SECRET="+w.keys.SandboxSecret)
	env = append(env, sealing...)
	signing, err := ensureReceiptsKey(cfg.DataDir, w.logger)
	if err != nil {
		return w, err
	}
	env = append(env, signing...)
	if cfg.Sandbox {
		w.sandbox, err = w.child(ctx, "sandbox", self, env, "sandbox", "--listen", cfg.SandboxListen,
			"--callback-url", w.api(), "--dir", filepath.Join(cfg.DataDir, "sandbox"))
		if err != nil {
			return w, err
		}
	}
	args := []string{"serve", "--listen", cfg.Listen, "--state", stateDir(cfg.DataDir)}
	if cfg.Sandbox {
		args = append(args, "--sandbox-url", w.outside())
	}
	for _, network := range cfg.WebhookInside {
		args = append(args, "--webhook-inside", network)
	}
	if cfg.FaultFile != "" {
		args = append(args, "--allow-faults", cfg.FaultFile)
	}
	spansTo := "off"
	if !cfg.Unwatched {
		var endpoints string
		if spansTo, endpoints = otlpFor(ctx); endpoints != "" {
			args = append(args, "--otlp-endpoint", endpoints)
		}
	}
	watchEnv := slices.Clone(env) // the watch has a way of its own to the database
	if cfg.Link != nil {
		through, err := w.linked(ctx, self)
		if err != nil {
			return w, err
		}
		env = append(env, "MONETA_DSN="+through) // the last one counts
	}
	if w.serve, err = w.child(ctx, "serve", self, env, args...); err != nil {
		return w, err
	}
	// Who watches ends for no death of who is watched, nor the other way round.
	if cfg.Unwatched {
		return w, nil
	}
	watching := []string{"watch", "--data", cfg.DataDir, "--serve-url", w.api(), "--otlp-listen", spansTo}
	if cfg.Sandbox {
		watching = append(watching, "--sandbox-url", w.outside())
	}
	if cfg.ConsoleListen != "" {
		watching = append(watching, "--listen", cfg.ConsoleListen)
	}
	if cfg.Auto != "" {
		watching = append(watching, "--auto", cfg.Auto)
	}
	if cfg.ActsPerHour > 0 {
		watching = append(watching, "--acts-per-hour", strconv.Itoa(cfg.ActsPerHour))
	}
	w.watch, err = w.child(ctx, "watch", self, watchEnv, watching...)
	return w, err
}

func (w *world) startPostgres(ctx context.Context) error {
	if w.cfg.DSN != "" {
		w.dsn = w.cfg.DSN
		return nil
	}
	place, moved, err := pgserver.Place(ctx, pgFolder(w.cfg.DataDir))
	if err != nil {
		return err
	}
	if moved {
		fmt.Fprint(w.cfg.Out, say(w.cfg.Lang, "postgres-moved", w.cfg.DataDir, place))
	}
	w.pg, err = pgserver.Start(ctx, pgserver.Config{
		DataDir: place, Listen: w.cfg.PGListen, Databases: []string{DatabaseName}, Logger: w.logger,
	})
	if errors.Is(err, pgserver.ErrNoBinaries) {
		return &ExitError{2, err.Error()}
	}
	if err != nil {
		return err
	}
	w.dsn = w.pg.DSN(DatabaseName)
	// Postgres stops before its archive does: it waits until the archive has all.
	stop, err := startArchive(ctx, w, place)
	w.stops = append(w.stops, stop, w.pg.Stop)
	return err
}

// child starts one of our own commands and keeps it running. Its output goes to
// a file in the data folder, which says what died and why.
func (w *world) child(ctx context.Context, name, self string, env []string, args ...string) (*lifecycle.Child, error) {
	log, err := os.OpenFile(filepath.Join(w.cfg.DataDir, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	c := lifecycle.NewChild(lifecycle.ChildConfig{
		Name: name, Path: self, Args: args, Env: env, Stdout: log, Stderr: log, Logger: w.logger,
		// A second at most: one that was killed often is missed as much as one killed once.
		Backoff: lifecycle.Backoff{First: 50 * time.Millisecond, Max: time.Second, Healthy: 5 * time.Second},
	})
	w.stops = append(w.stops, func(context.Context) error { return log.Close() }, c.Stop)
	return c, c.Start(ctx)
}

// ready waits until the pay plane makes progress.
func (w *world) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	urls := []string{w.api() + "/readyz"}
	if w.cfg.Sandbox {
		urls = append(urls, w.outside()+"/healthz")
	}
	for _, url := range urls {
		if err := untilOK(ctx, url); err != nil {
			return fmt.Errorf("%w; the reason is in %s", err, filepath.Join(w.cfg.DataDir, "serve.log"))
		}
	}
	return nil
}

func untilOK(ctx context.Context, url string) error {
	last := "no answer yet"
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			last = resp.Status
		} else if ctx.Err() == nil {
			last = err.Error()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not become ready: %s", url, last)
		case <-time.After(25 * time.Millisecond):
		}
	}
}

func (w *world) announce(ctx context.Context, took time.Duration) {
	out, lang := w.cfg.Out, w.cfg.Lang
	if !w.cfg.Quiet && w.pg != nil {
		fmt.Fprint(out, say(lang, "settings", w.pg.Version()))
		if err := pgserver.WriteSettings(out, w.pg.Settings()); err != nil {
			w.logger.WarnContext(ctx, "cannot print the settings", slog.Any("error", err))
		}
	}
	adopted := ""
	if w.pg != nil && w.pg.Adopted() {
		adopted = say(lang, "adopted")
	}
	fmt.Fprint(out, say(lang, "is-up", took.Seconds(), adopted), say(lang, "up-api", w.api(), w.api()))
	if w.cfg.Sandbox {
		fmt.Fprint(out, say(lang, "up-sandbox", w.outside()))
	}
	w.announceConsole(ctx)
	if w.cfg.Archive != "" {
		fmt.Fprint(out, w.archive.show(lang))
	}
	fmt.Fprint(out, say(lang, "up-files", keysPath(w.cfg.DataDir), filepath.Join(w.cfg.DataDir, "serve.log")), say(lang, "up-stop"))
}

// announceConsole says where the console is, and the first time how to get in. A watch
// that is late is no reason to wait for long: the line then says how to ask for it.
func (w *world) announceConsole(ctx context.Context) {
	if w.watch == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, consoleWithin)
	defer cancel()
	at, err := awaitWatch(ctx, w.cfg.DataDir, w.watch.Pid)
	if err != nil {
		fmt.Fprint(w.cfg.Out, say(w.cfg.Lang, "up-console-late"))
		return
	}
	fmt.Fprint(w.cfg.Out, say(w.cfg.Lang, "up-console", cmp.Or(at.Console, at.URL), consoleHint(w.cfg.Lang)))
	if !w.first {
		return
	}
	if link, err := at.link(ctx, linkAsked{}); err == nil {
		fmt.Fprint(w.cfg.Out, say(w.cfg.Lang, "up-link", link.URL))
	}
}

func (w *world) ended() <-chan struct{} {
	c := make(chan struct{})
	watch := []<-chan struct{}{w.serve.Done()}
	if w.sandbox != nil {
		watch = append(watch, w.sandbox.Done())
	}
	if w.pg != nil {
		watch = append(watch, w.pg.Done())
	}
	for _, d := range watch {
		go func() {
			<-d
			select {
			case c <- struct{}{}:
			case <-time.After(stopWithin):
			}
		}()
	}
	return c
}

// stop takes everything down, last started first.
func (w *world) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	for i := len(w.stops) - 1; i >= 0; i-- {
		if err := w.stops[i](ctx); err != nil && !strings.Contains(err.Error(), "already closed") {
			w.logger.Warn("stopping", slog.Any("error", err))
		}
	}
	w.stops = nil
}
