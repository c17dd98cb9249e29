package telemetry

import (
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/moneta-pay/moneta/doctor"
)

// span is one row of spans.csv.
type span struct {
	at, duration float64
	trace, id    string
	parent       string
	node         string
	client       bool
	failed       bool
}

func (d *directory) readSpans(file string, r io.Reader) error {
	header := []string{"time", "trace", "span", "parent", "node", "kind", "duration_s", "failed"}
	return table(file, r, header, func(_ int, f []string) error {
		at, err := seconds(f[0])
		if err != nil {
			return err
		}
		duration, err := strconv.ParseFloat(f[6], 64)
		if err != nil || !(duration >= 0) || duration > 1e9 {
			return fmt.Errorf("%.40q is not a duration in seconds", f[6])
		}
		if f[5] != "server" && f[5] != "client" {
			return fmt.Errorf("kind is server or client, not %.40q", f[5])
		}
		if f[7] != "0" && f[7] != "1" {
			return fmt.Errorf("failed is 0 or 1, not %.40q", f[7])
		}
		if err := d.hop(f[4]); err != nil {
			return err
		}
		d.spans = append(d.spans, span{
			at: at, duration: duration, trace: strings.Clone(f[1]), id: strings.Clone(f[2]), parent: strings.Clone(f[3]),
			node: strings.Clone(f[4]), client: f[5] == "client", failed: f[7] == "1",
		})
		return nil
	})
}

// bin is what the spans or lines of one step come to.
type bin struct{ sum, n, failed float64 }

// fromSpans makes series of spans: latency, rate and failures of each node that has
// no metric of its own, and the wire of each call whose two ends were traced.
func (d *directory) fromSpans(step float64) error {
	if len(d.spans) == 0 {
		return nil
	}
	served, gaps := map[string]map[float64]bin{}, map[doctor.Call]map[float64]bin{}
	clients := map[[2]string]*span{}
	for i := range d.spans {
		if s := &d.spans[i]; s.client {
			clients[[2]string{s.trace, s.id}] = s
		}
	}
	for i := range d.spans {
		s := &d.spans[i]
		if s.client {
			continue
		}
		failed := 0.0
		if s.failed {
			failed = 1
		}
		count(served, s.node, s.at, step, s.duration, failed)
		if c := clients[[2]string{s.trace, s.parent}]; c != nil && c.node != s.node {
			count(gaps, doctor.Call{From: c.node, To: s.node}, s.at, step, c.duration-s.duration, 0)
		}
	}
	return d.addBins(step, served, gaps)
}

func count[K comparable](into map[K]map[float64]bin, k K, at, step, value, failed float64) {
	if into[k] == nil {
		into[k] = map[float64]bin{}
	}
	t := math.Floor(at/step) * step
	b := into[k][t]
	into[k][t] = bin{b.sum + value, b.n + 1, b.failed + failed}
}

func (d *directory) addBins(step float64, served map[string]map[float64]bin, gaps map[doctor.Call]map[float64]bin) error {
	for node, bins := range served {
		for _, signal := range []doctor.Signal{doctor.Latency, doctor.Rate, doctor.Errors} {
			k := seriesKey{node: node, signal: signal}
			if signal == doctor.Latency {
				k.statistic = "mean"
			}
			if len(d.metrics[k]) > 0 {
				continue // the metric counted everything, spans may be a sample
			}
			for at, b := range bins {
				v := map[doctor.Signal]float64{doctor.Latency: b.sum / b.n, doctor.Rate: b.n / step, doctor.Errors: b.failed / b.n}[signal]
				if err := d.add(d.metrics, SpansFile, k, string(signal)+" of server spans", sample{at, v}); err != nil {
					return err
				}
			}
		}
	}
	for c, bins := range gaps {
		if !slices.Contains(d.calls, c) {
			d.calls = append(d.calls, c)
		}
		for at, b := range bins {
			k := seriesKey{node: c.From, peer: c.To, signal: doctor.Wire}
			if err := d.add(d.metrics, SpansFile, k, "client spans less their server spans", sample{at, b.sum / b.n}); err != nil {
				return err
			}
		}
	}
	return nil
}

// logLine is one row of logs.csv of level error or worse.
type logLine struct {
	at   float64
	node string
	form string
}

var severe = []string{"error", "err", "fatal", "critical", "crit", "panic", "alert", "emerg", "emergency", "severe"}

func (d *directory) readLogs(file string, r io.Reader) error {
	return table(file, r, []string{"time", "node", "level", "message"}, func(_ int, f []string) error {
		at, err := seconds(f[0])
		if err != nil {
			return err
		}
		if err := d.hop(f[1]); err != nil {
			return err
		}
		line := logLine{at: at, node: strings.Clone(f[1])}
		if slices.Contains(severe, strings.ToLower(f[2])) {
			line.form = form(f[3])
		}
		d.logs = append(d.logs, line)
		return nil
	})
}

var (
	quoted  = regexp.MustCompile(`"[^"]*"|'[^']*'`)
	numeric = regexp.MustCompile(`\b(0x)?[0-9a-fA-F-]*[0-9][0-9a-fA-F.:-]*\b`)
)

const formMax = 200

// form is a message without what changes from line to line: numbers, ids, quotations.
func form(message string) string {
	if len(message) > 4*formMax {
		message = message[:4*formMax]
	}
	message = numeric.ReplaceAllString(quoted.ReplaceAllString(message, "?"), "#")
	return "!" + message[:min(len(message), formMax)] // never empty
}

// fromLogs makes series of error lines, and of those whose form was not seen before
// the fault. A node that logs at all has a zero where it logged no error.
func (d *directory) fromLogs(step, fault float64) error {
	if len(d.logs) == 0 {
		return nil
	}
	known := map[[2]string]bool{}
	first, last := math.Inf(1), math.Inf(-1)
	for _, l := range d.logs {
		first, last = min(first, l.at), max(last, l.at)
		if l.form != "" && l.at < fault {
			known[[2]string{l.node, l.form}] = true
		}
	}
	if (last-first)/step > 1e5 {
		return &Malformed{File: LogsFile, Reason: fmt.Sprintf("it spans %.0f days: cut it to the hours around the incident", (last-first)/86_400)}
	}
	errorsAt, newAt := map[string]map[float64]bin{}, map[string]map[float64]bin{}
	for _, l := range d.logs {
		if errorsAt[l.node] == nil {
			for t := math.Floor(first/step) * step; t <= last; t += step {
				count(errorsAt, l.node, t, step, 0, 0)
				count(newAt, l.node, t, step, 0, 0)
			}
		}
		if l.form == "" {
			continue
		}
		count(errorsAt, l.node, l.at, step, 1, 0)
		if !known[[2]string{l.node, l.form}] {
			count(newAt, l.node, l.at, step, 1, 0)
		}
	}
	for signal, nodes := range map[doctor.Signal]map[string]map[float64]bin{doctor.LogErrors: errorsAt, doctor.LogNew: newAt} {
		for node, bins := range nodes {
			for at, b := range bins {
				query := "lines of level error or worse"
				if signal == doctor.LogNew {
					query += " whose form is new"
				}
				if err := d.add(d.metrics, LogsFile, seriesKey{node: node, signal: signal}, query, sample{at, b.sum / step}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
