package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/catalog"
	"github.com/moneta-pay/moneta/doctor/diagnose"
	"github.com/moneta-pay/moneta/doctor/signal/petshop"
	"github.com/moneta-pay/moneta/doctor/signal/telemetry"
)

// Exit codes of diagnose about our own plane, for scripts: 0 is that nothing is wrong.
const (
	// ExitWrong: something is wrong, and named; of a payment: it is late, or nobody is at it.
	ExitWrong = 5
	// ExitUnclear: something is wrong and nobody can say what, or it could not be looked at.
	ExitUnclear = 6
)

// DiagnoseConfig says what to diagnose: at most one of Payment, Telemetry and Replay;
// without any of them, our own plane now.
type DiagnoseConfig struct {
	// Database is the record of money, for one payment; its data folder has the note of
	// the running watch.
	Database
	// Payment is the id of one payment.
	Payment string
	// Telemetry is the directory of a foreign incident.
	Telemetry string
	// Replay is an evidence file that Save wrote.
	Replay string
	// Save is where the evidence goes, empty for nowhere.
	Save string
	JSON bool
	Lang string
	Out  io.Writer
}

// Diagnose says what is at fault, with the evidence for and against. About our own
// plane, what is wrong is an ExitError with ExitWrong or ExitUnclear, after it was told.
func Diagnose(ctx context.Context, c DiagnoseConfig) error {
	given := 0
	for _, s := range []string{c.Payment, c.Telemetry, c.Replay} {
		if s != "" {
			given++
		}
	}
	switch {
	case given > 1:
		return errors.New(say(c.Lang, "diag-which"))
	case c.Payment != "":
		return c.payment(ctx)
	case given == 0:
		return c.now(ctx)
	}
	e, err := c.evidence()
	if err != nil {
		return err
	}
	_, err = c.judge(e)
	return err
}

// now asks the running watch what it sees, and judges it here: the same evidence gives
// the same answer, so that what --save keeps can be replayed.
func (c *DiagnoseConfig) now(ctx context.Context) error {
	w, err := findWatch(c.DataDir)
	if err != nil {
		return c.noWatch(err)
	}
	n, err := w.now(ctx)
	if err != nil {
		return c.noWatch(err)
	}
	e, err := w.evidence(ctx)
	if err != nil {
		return c.noWatch(err)
	}
	if len(e.Alarms) == 0 {
		e.Alarms = n.Alarms
	}
	if !c.JSON {
		c.showNow(&n)
	}
	a, err := c.judge(e)
	if err != nil {
		return err
	}
	switch a.Verdict {
	case doctor.CauseFound:
		return &ExitError{Code: ExitWrong}
	case doctor.Unknown:
		return &ExitError{Code: ExitUnclear}
	case doctor.NoFault:
	}
	return nil
}

func (c *DiagnoseConfig) noWatch(err error) error {
	if errors.Is(err, errNoWatch) {
		return &ExitError{Code: ExitUnclear, Message: say(c.Lang, "diag-no-watch", err)}
	}
	return err
}

// showNow heads the answer with what holds at this moment.
func (c *DiagnoseConfig) showNow(n *watchNow) {
	if n.Incident != "" {
		fmt.Fprint(c.Out, say(c.Lang, "diag-incident", n.Incident, string(n.Stage)))
	}
	for _, a := range n.Alarms {
		level := "diag-alarm"
		if a.Page {
			level = "diag-page"
		}
		fmt.Fprint(c.Out, say(c.Lang, level, string(a.Rule), a.Hop, diagnose.AlarmSays(c.Lang, &a), a.Since.Format(time.RFC3339)))
	}
	if len(n.Alarms) == 0 {
		fmt.Fprint(c.Out, say(c.Lang, "diag-quiet"))
	}
}

// judge answers from an evidence, keeps it where asked to, and tells.
func (c *DiagnoseConfig) judge(e *doctor.Evidence) (*doctor.Answer, error) {
	if c.Save != "" {
		var b bytes.Buffer
		if err := e.Write(&b); err != nil {
			return nil, err
		}
		if err := writeFile(c.Save, b.Bytes(), 0o600); err != nil {
			return nil, err
		}
	}
	a, err := diagnose.Diagnose(e, catalogue()...)
	if err != nil {
		return nil, err
	}
	if c.JSON {
		return a, writeJSON(c.Out, a)
	}
	return a, printAnswer(c.Out, c.Lang, a)
}

// catalogue are the causes that answers know.
func catalogue() []doctor.Cause { return catalog.All() }

func (c *DiagnoseConfig) evidence() (*doctor.Evidence, error) {
	if c.Telemetry != "" {
		return telemetry.Read(c.Telemetry)
	}
	f, err := os.Open(c.Replay)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	e, err := doctor.ReadEvidence(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Replay, err)
	}
	return e, nil
}

// What a person reads of an answer; --json has all of it.
const (
	rankedShown = 5
	linesShown  = 6
)

func printAnswer(w io.Writer, lang string, a *doctor.Answer) error {
	first := a.Ranked[0]
	key := "diag-cause"
	switch a.Verdict {
	case doctor.Unknown:
		key = "diag-unknown"
	case doctor.NoFault:
		key = "diag-no-fault"
	case doctor.CauseFound:
	}
	if first.Node == "" {
		fmt.Fprint(w, say(lang, key))
	} else {
		fmt.Fprint(w, say(lang, key, first.Node, howWord(lang, &first)))
	}
	fmt.Fprint(w, say(lang, "diag-confidence", 100*a.Confidence.Probability, a.Confidence.Cases))
	if a.Verdict != doctor.NoFault { // a difference between people is nobody's harm
		fmt.Fprint(w, say(lang, "diag-scope", scopeWord(lang, a.Scope.Class), 100*a.Scope.Low, 100*a.Scope.High, diagnose.Say(lang, a.Scope.Code, a.Scope.Args)))
	}
	for _, h := range a.Also {
		fmt.Fprint(w, say(lang, "diag-also", h.Node, howWord(lang, &h)))
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprint(t, say(lang, "diag-head"))
	for i, h := range a.Ranked[:min(len(a.Ranked), rankedShown)] {
		fmt.Fprintf(t, "%d\t%s\t%s\t%.1f %%\t%.1f %%\t%.0f %%\n", i+1, orDash(h.Node), howWord(lang, &h), 100*h.Posterior, 100*h.Prior, 100*h.Explains)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	printLines(w, lang, "diag-for", a.Evidence.For)
	printLines(w, lang, "diag-against", a.Evidence.Against)
	if len(a.NextChecks) > 0 {
		fmt.Fprint(w, say(lang, "diag-next"))
	}
	for i, c := range a.NextChecks {
		fmt.Fprintf(w, "  %d. %s: %s\n", i+1, c.Node, diagnose.CheckAsks(lang, &c))
		fmt.Fprint(w, say(lang, "diag-check", c.CostS, c.GainBits, c.Yes, c.No))
		if c.Run != "" {
			fmt.Fprintln(w, "     "+strings.ReplaceAll(strings.TrimSpace(c.Run), "\n", "\n     "))
		}
	}
	for _, n := range a.Notes {
		fmt.Fprint(w, say(lang, "diag-note", n))
	}
	return nil
}

func printLines(w io.Writer, lang, key string, lines []doctor.Line) {
	if len(lines) > 0 {
		fmt.Fprint(w, say(lang, key))
	}
	for _, l := range lines[:min(len(lines), linesShown)] {
		fmt.Fprintf(w, "  ×%-6s %s (%s): %s\n", ratio(l.LikelihoodRatio), l.Node, mechanismWord(lang, l.Mechanism), diagnose.LineSays(lang, &l))
		fmt.Fprintf(w, "          %s · %s … %s\n", oneLine(l.Query), l.Window.From.Format(time.RFC3339), l.Window.Until.Format(time.RFC3339))
		if l.Value.Unit != "" {
			fmt.Fprint(w, say(lang, "diag-figure", figure(l.Value), figure(l.Baseline), l.Value.N, l.Baseline.N))
		}
	}
}

// queryShown is how much of a query a person is shown; --json has all of it.
const queryShown = 100

func oneLine(query string) string {
	r := []rune(strings.Join(strings.Fields(query), " "))
	if len(r) > queryShown {
		return string(r[:queryShown]) + "…"
	}
	return string(r)
}

func ratio(r float64) string {
	if r >= 10 {
		return fmt.Sprintf("%.0f", r)
	}
	return fmt.Sprintf("%.2g", r)
}

func figure(f doctor.Figure) string {
	if f.Unit == "share" {
		return fmt.Sprintf("%.2f %%", 100*f.Value)
	}
	if math.Abs(f.Value) >= 1000 {
		return fmt.Sprintf("%.0f %s", f.Value, f.Unit)
	}
	return strings.TrimSpace(fmt.Sprintf("%.3g %s", f.Value, f.Unit))
}

// mechanismWord is the mechanism for people. The catalogue's are shown by their name;
// where that is not at hand, by their id.
func mechanismWord(lang, mechanism string) string {
	if _, ok := words["mech-"+mechanism]; !ok {
		return mechanism
	}
	return say(lang, "mech-"+mechanism)
}

// howWord is the mechanism of a hypothesis for people.
func howWord(lang string, h *doctor.Hypothesis) string {
	if h.Name != nil {
		return h.Name.In(lang)
	}
	return mechanismWord(lang, h.Mechanism)
}

func scopeWord(lang, class string) string { return say(lang, "scope-"+class) }

// ImportConfig says which files of a foreign data set to import.
type ImportConfig struct {
	Metrics, Graph, Baseline   string
	SymptomNode, SymptomMetric string
	// FaultTime is RFC 3339 or unix seconds.
	FaultTime string
	// Dir is the new telemetry directory.
	Dir  string
	Lang string
	Out  io.Writer
}

// ImportPetshop writes a telemetry directory from the files of the PetShop data set.
func ImportPetshop(c ImportConfig) error {
	at, err := telemetry.ParseTime(c.FaultTime)
	if err != nil {
		return fmt.Errorf("--fault-time: %w", err)
	}
	d, err := petshop.Import(petshop.Files{
		Metrics: c.Metrics, Graph: c.Graph, Baseline: c.Baseline,
		FaultTime: at, SymptomNode: c.SymptomNode, SymptomMetric: c.SymptomMetric,
	})
	if err != nil {
		return err
	}
	if err := telemetry.Write(c.Dir, d); err != nil {
		return err
	}
	_, err = fmt.Fprint(c.Out, say(c.Lang, "diag-imported", c.Dir, len(d.Hops), len(d.Calls), len(d.Metrics), len(d.Baseline), c.Dir))
	return err
}
