package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/doctor/drill"
	"github.com/moneta-pay/moneta/doctor/prove"
	"github.com/moneta-pay/moneta/internal/lifecycle"
	"github.com/moneta-pay/moneta/internal/pgserver"
)

// DrillConfig is what `moneta drill run` was asked for.
type DrillConfig struct {
	// Names of drills; empty with All.
	Names []string
	All   bool
	// Quick is a choice that fits into three minutes.
	Quick bool
	// Seeds of each, beginning with Seed.
	Seed  uint64
	Seeds int
	// Rate is orders a second.
	Rate float64
	// Resume goes on with the board that Report names.
	Resume bool
	Report string
	// Blind breaks and heals with no doctor: what it shows is the impact alone.
	Blind         bool
	JSON          bool
	Lang          string
	Out, Progress io.Writer
}

// Bounds of a series.
const (
	drillsWithin = 50 * time.Minute
	quickWithin  = 100 * time.Second // to begin the last one
	drillReport  = "drills.json"
	// Orders a second: fewer tell nothing in ten seconds, more are a load test.
	rateLeast, rateMost = 20, 200
)

// quickDrills are the ones of --quick: a full stall, and a control.
var quickDrills = []string{"long-hold", "control-spike"}

// DrillList shows the drills.
func DrillList(asJSON bool, lang string, out io.Writer) error {
	all := drill.All()
	if asJSON {
		type item struct {
			Name  string   `json:"name"`
			Class string   `json:"class"`
			About string   `json:"about"`
			Needs []string `json:"needs,omitempty"`
		}
		items := make([]item, len(all))
		for i, d := range all {
			items[i] = item{d.Name, d.Class, d.About.In(lang), d.Needs}
		}
		return writeJSON(out, map[string]any{"drills": items})
	}
	t := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	for _, d := range all {
		needs := ""
		if len(d.Needs) > 0 {
			needs = say(lang, "drill-needs", strings.Join(d.Needs, ", "))
		}
		fmt.Fprintf(t, "%s\t%s\t%s%s\n", d.Name, d.Class, d.About.In(lang), needs)
	}
	return t.Flush()
}

// DrillRun runs drills in worlds of their own and keeps the board after each. A
// harmful act, a false page or money that is off is an ExitError with ExitMoney.
func DrillRun(ctx context.Context, cfg DrillConfig) error {
	drills, err := cfg.choose()
	if err != nil {
		return err
	}
	if cfg.Rate < rateLeast || cfg.Rate > rateMost {
		return fmt.Errorf("--rate %g: write %d to %d orders a second", cfg.Rate, rateLeast, rateMost)
	}
	if cfg.Report == "" {
		cfg.Report = drillReport
	}
	rows, err := cfg.before()
	if err != nil {
		return err
	}
	evidence := strings.TrimSuffix(cfg.Report, filepath.Ext(cfg.Report)) + "-evidence"
	if err := os.MkdirAll(evidence, 0o755); err != nil {
		return err
	}
	seeds := make([]uint64, max(cfg.Seeds, 1))
	for i := range seeds {
		seeds[i] = cfg.Seed + uint64(i)
	}
	within := drillsWithin
	if cfg.Quick {
		within = quickWithin
	}
	board := drill.NewBoard(rows, "moneta "+Version, time.Now())
	err = drill.Run(ctx, drill.Config{
		Make: func(ctx context.Context, kind drill.Variant) (*drill.World, error) {
			return makeDrillWorld(ctx, kind, cfg.Blind)
		},
		Seeds: seeds, Rate: cfg.Rate, Within: within, Evidence: evidence, Guess: guesses,
		Skip: func(name string, seed uint64) bool { return done(rows, name, seed) },
		Say:  func(format string, args ...any) { fmt.Fprintf(cfg.Progress, format+"\n", args...) },
		Done: func(r drill.Row) error {
			rows = append(rows, r)
			board = drill.NewBoard(rows, "moneta "+Version, time.Now())
			if !cfg.JSON {
				showRow(cfg.Out, cfg.Lang, &r)
			}
			return board.Write(cfg.Report)
		},
	}, drills)
	if err != nil {
		return err
	}
	return cfg.conclude(&board)
}

func (c *DrillConfig) conclude(b *drill.Board) error {
	if c.JSON {
		if err := writeJSON(c.Out, b); err != nil {
			return err
		}
	} else {
		showBoard(c.Out, c.Lang, b)
		fmt.Fprint(c.Out, say(c.Lang, "drill-kept", c.Report))
	}
	if b.Harmful+b.FalsePages+b.Invariants > 0 {
		return &ExitError{ExitMoney, say(c.Lang, "drill-red", b.Harmful, b.FalsePages, b.Invariants)}
	}
	if b.Broken > 0 {
		return &ExitError{1, say(c.Lang, "drill-broken", b.Broken)}
	}
	return nil
}

func (c *DrillConfig) choose() ([]*drill.Drill, error) {
	names := c.Names
	switch {
	case c.All && len(names) > 0:
		return nil, errors.New("name drills, or --all, not both")
	case c.All:
		return slices.DeleteFunc(drill.All(), func(d *drill.Drill) bool { return d.Alone }), nil
	case len(names) == 0 && c.Quick:
		names = quickDrills
	case len(names) == 0:
		return nil, errors.New("name a drill (`moneta drill list` shows them), or --all, or --quick")
	}
	var out []*drill.Drill
	for _, name := range names {
		d := drill.Find(name)
		if d == nil {
			return nil, fmt.Errorf("there is no drill %q; `moneta drill list` shows them", name)
		}
		out = append(out, d)
	}
	return out, nil
}

// before are the rows of the series that is resumed; what was broken is run again.
func (c *DrillConfig) before() (rows []drill.Row, err error) {
	if !c.Resume {
		return nil, nil
	}
	b, err := drill.ReadBoard(c.Report)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	for i := range b.Rows {
		if b.Rows[i].Status != drill.Broken {
			rows = append(rows, b.Rows[i])
		}
	}
	return rows, err
}

func done(rows []drill.Row, name string, seed uint64) bool {
	for i := range rows {
		if rows[i].Drill == name && rows[i].Seed == seed {
			return true
		}
	}
	return false
}

// DrillScore shows a board that was kept.
func DrillScore(report string, asJSON bool, lang string, out io.Writer) error {
	if report == "" {
		report = drillReport
	}
	b, err := drill.ReadBoard(report)
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(out, b)
	}
	for i := range b.Rows {
		showRow(out, lang, &b.Rows[i])
	}
	showBoard(out, lang, &b)
	return nil
}

func showRow(out io.Writer, lang string, r *drill.Row) {
	first := "-"
	if len(r.Ranked) > 0 {
		first = r.Ranked[0]
	}
	switch {
	case r.Status != drill.Scored:
		fmt.Fprint(out, say(lang, "drill-row-not", r.Drill, r.Seed, r.Status, r.Why))
	case r.Control:
		fmt.Fprint(out, say(lang, "drill-row-control", r.Drill, r.Seed, r.Points, r.FalsePages, len(r.Acts)))
	default:
		fmt.Fprint(out, say(lang, "drill-row", r.Drill, r.Seed, r.Points, 100*r.Impact.Share, drill.Seconds(r.DetectS), first, r.Wanted,
			drill.Seconds(r.ContainS), drill.Seconds(r.RepairS), drill.Seconds(r.ProofS)))
	}
	for _, bad := range append(append([]string{}, r.Harmful...), r.Invariants...) {
		fmt.Fprintf(out, "    !! %s\n", bad)
	}
}

func showBoard(out io.Writer, lang string, b *drill.Board) {
	fmt.Fprint(out, say(lang, "drill-board", b.Runs, b.Voided, b.Skipped, b.Broken, b.Points, 100*b.Top1, 100*b.Top3, 100*b.Scope,
		b.StallP95, b.ContainP95, b.ProofP95, b.Harmful, b.FalsePages, b.Invariants, b.ECE))
	for _, s := range b.Baselines {
		fmt.Fprint(out, say(lang, "drill-baseline", s.Name, 100*s.Top1, 100*s.Top3, 100*s.Node))
	}
}

// DrillLink is the machine behind the link of a wired world: it carries connections
// to the database's socket.
func DrillLink(ctx context.Context, listen, to string) error { return drill.Relay(ctx, listen, to) }

// drillFolder is on a real disk, in a place where the database's own user gets to.
func drillFolder() (string, error) {
	base := os.TempDir()
	if st, err := os.Stat("/var/tmp"); err == nil && st.IsDir() {
		base = "/var/tmp"
	}
	dir, err := os.MkdirTemp(base, "moneta-drill-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755) // the database's user must get through
}

// drillPort is where the far end of a link listens; nobody else is there.
const drillPort = "5432"

// makeDrillWorld makes an installation like up's, with faults allowed.
func makeDrillWorld(ctx context.Context, kind drill.Variant, blind bool) (out *drill.World, err error) {
	base, err := drillFolder()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(base, "data") // keys of proofs lie beside it
	var undo []func()
	closeAll := func() {
		for i := len(undo) - 1; i >= 0; i-- {
			undo[i]()
		}
	}
	defer func() {
		if err != nil {
			closeAll()
		}
	}()
	undo = append(undo, func() { _ = os.RemoveAll(base) }) // what cannot be removed is in a temporary folder
	listen, err := freePorts(ctx, 2)
	if err != nil {
		return nil, err
	}
	cfg := UpConfig{
		DataDir: dir, Listen: listen[0], Sandbox: true, SandboxListen: listen[1], ConsoleListen: "127.0.0.1:0", Out: io.Discard, Quiet: true, LogFile: filepath.Join(dir, "up.log"),
		FaultFile: filepath.Join(dir, "orders", "faults.json"), Unwatched: blind, Auto: "undoable", ActsPerHour: drillActs,
	}
	if err := errors.Join(os.Mkdir(dir, 0o755), os.Mkdir(filepath.Join(dir, "orders"), 0o700)); err != nil { // the database's user must get through
		return nil, err
	}
	w := &drill.World{Kind: kind, API: "http://" + listen[0], Banks: "http://" + listen[1], Folder: dir, Cluster: pgFolder(dir), Faults: cfg.FaultFile}
	switch kind {
	case drill.Plain, drill.Old:
	case drill.Small:
		if err := os.Mkdir(w.Cluster, 0o755); err != nil {
			return nil, err
		}
		if err := drill.MountSmall(w.Cluster); err != nil {
			return nil, fmt.Errorf("mount a small disk: %w", err)
		}
		undo = append(undo, func() { _ = drill.Unmount(w.Cluster) })
	case drill.Wired:
		link, err := drill.NewLink(ctx)
		if err != nil {
			return nil, err
		}
		undo = append(undo, link.Close)
		w.Device, w.Faults, cfg.FaultFile, cfg.Link = link.Device, "", "", link
	}
	up, err := startWorld(ctx, cfg)
	if err != nil {
		return nil, err
	}
	undo = append(undo, up.stop)
	if err := up.ready(ctx); err != nil {
		return nil, err
	}
	w.Tenant, w.Admin, w.DSN = up.keys.Tenant, up.keys.Admin, up.dsn
	w.Serve, w.Postgres = up.serve.Pid, up.pg.Pid
	if w.Other, err = otherTenant(ctx, up.dsn); err != nil {
		return nil, err
	}
	w.Recount = func(ctx context.Context) (drill.Recount, error) { return drillRecount(ctx, dir, w.Banks, up.dsn) }
	w.Close = closeAll
	if !blind {
		w.Watch = &drill.Watcher{File: filepath.Join(dir, watchFile)}
		w.RestartWatch = restartChild(up.watch)
		err = w.Watch.Await(ctx)
	}
	return w, err
}

// drillActs an hour: a series breaks something every minute, and a doctor that may act
// thirty times an hour would wait for people from the tenth drill on.
const drillActs = 1000

// restartChild ends the process kindly; whoever supervises it starts it again.
func restartChild(c *lifecycle.Child) func(context.Context) error {
	return func(context.Context) error {
		if pid := c.Pid(); pid != 0 {
			return syscall.Kill(pid, syscall.SIGTERM)
		}
		return nil
	}
}

// linked has the far end of a link carry to the cluster's socket, and returns the
// address that serve uses.
func (w *world) linked(ctx context.Context, self string) (string, error) {
	conn, err := pgx.ParseConfig(w.dsn)
	if err != nil {
		return "", err
	}
	socket := filepath.Join(conn.Host, fmt.Sprintf(".s.PGSQL.%d", conn.Port))
	l := w.cfg.Link
	_, err = w.child(ctx, "link", "ip", os.Environ(), "netns", "exec", l.Space, self, "drill-link", "--listen", net.JoinHostPort(l.Address, drillPort), "--to", socket)
	if err != nil {
		return "", err
	}
	dsn := fmt.Sprintf("host=%s port=%s user=%s dbname=%s sslmode=disable", l.Address, drillPort, pgserver.SuperUser, DatabaseName)
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		c, err := pgx.Connect(ctx, dsn)
		if err == nil {
			return dsn, c.Close(ctx)
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("the link does not carry: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// otherTenant makes a second tenant and returns a key of it.
func otherTenant(ctx context.Context, dsn string) (string, error) {
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		return "", err
	}
	defer pool.Close()
	store := access.NewStore(pool)
	tenant, err := store.CreateTenant(ctx, "partner")
	if err != nil {
		return "", err
	}
	key, _, err := store.CreateKey(ctx, tenant, "a slow program", []access.Scope{access.PaymentsRead, access.AccountsRead})
	return key, err
}

// drillRecount is prove's own word, with the rails' books.
func drillRecount(ctx context.Context, dir, banks, dsn string) (out drill.Recount, err error) {
	c := ProveConfig{Database: Database{DSN: dsn, DataDir: dir}, SandboxURL: banks}
	cfg, err := c.recount(ctx)
	if err != nil {
		return out, err
	}
	r, err := prove.Run(ctx, cfg)
	if err != nil {
		return out, err
	}
	out = drill.Recount{Verdict: string(r.Verdict), Unproved: r.NotProved, TookS: float64(r.TookMS) / 1000}
	for i := range r.Findings {
		f := &r.Findings[i]
		if len(out.Faults) < offMax {
			out.Faults = append(out.Faults, strings.Join(strings.Fields(f.Check+" "+f.Payment+" "+f.Place+": "+f.Detail), " "))
		}
	}
	if more := r.FaultCount - int64(len(out.Faults)); more > 0 {
		out.Faults = append(out.Faults, fmt.Sprintf("and %d more", more))
	}
	return out, nil
}
