package telemetry

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/moneta-pay/moneta/doctor"
)

// source is where a point came from; values are kept with the time in seconds.
type seriesKey struct {
	node, peer string
	signal     doctor.Signal
	statistic  string
}

type sample struct{ at, value float64 }

// directory is what the files hold.
type directory struct {
	incident Incident
	hops     []doctor.Hop
	calls    []doctor.Call
	known    map[string]bool
	// baseline and metrics are kept apart: the first is another day.
	baseline, metrics map[seriesKey][]sample
	queries           map[seriesKey]string
	names             map[seriesKey]string // by which metric a series came
	spans             []span
	logs              []logLine
	cohorts           []doctor.Cohort
	leftOut           map[string]int
}

func newDirectory(incident Incident) *directory {
	return &directory{
		incident: incident, known: map[string]bool{}, baseline: map[seriesKey][]sample{}, metrics: map[seriesKey][]sample{},
		queries: map[seriesKey]string{}, names: map[seriesKey]string{}, leftOut: map[string]int{},
	}
}

// Evidence sums up what an importer has, without the way over files.
func (in *Directory) Evidence() (*doctor.Evidence, error) {
	d := newDirectory(in.Incident)
	for _, h := range in.Hops {
		if err := d.hop(h.Name); err != nil {
			return nil, err
		}
		d.hops[len(d.hops)-1].Kind = h.Kind
	}
	d.calls = slices.Clone(in.Calls)
	all := metrics()
	for _, from := range []struct {
		file   string
		points []Point
		into   map[seriesKey][]sample
	}{{BaselineFile, in.Baseline, d.baseline}, {MetricsFile, in.Metrics, d.metrics}} {
		for _, p := range from.points {
			if err := d.point(all, from.file, from.into, float64(p.Time.UnixMicro())/1e6, p.Node, p.Metric, p.Statistic, p.Value); err != nil {
				return nil, &Malformed{File: from.file, Reason: err.Error()}
			}
		}
	}
	return d.evidence()
}

// Read reads a directory and sums it up. What is wrong with it is a *Malformed, or a
// *doctor.Invalid when the files are fine each and do not fit together.
func Read(dir string) (*doctor.Evidence, error) {
	d := newDirectory(Incident{})
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: --telemetry names a folder, see docs/telemetry.md", err)
	}
	defer func() { _ = root.Close() }()
	if err := d.readIncident(root); err != nil {
		return nil, err
	}
	steps := []struct {
		file     string
		required bool
		read     func(file string, r io.Reader) error
	}{
		{GraphFile, true, d.readGraph},
		{HopsFile, false, d.readHops},
		{BaselineFile, false, func(f string, r io.Reader) error { return d.readPoints(f, r, d.baseline) }},
		{MetricsFile, false, func(f string, r io.Reader) error { return d.readPoints(f, r, d.metrics) }},
		{SpansFile, false, d.readSpans},
		{LogsFile, false, d.readLogs},
		{CohortsFile, false, d.readCohorts},
	}
	for _, s := range steps {
		if err := withFile(root, s.file, s.required, s.read); err != nil {
			return nil, err
		}
	}
	return d.evidence()
}

// withFile opens a file, or its compressed form.
func withFile(root *os.Root, name string, required bool, read func(string, io.Reader) error) error {
	for _, n := range []string{name, name + ".gz"} {
		f, err := root.Open(n)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		r, err := Unpack(n, f)
		if err != nil {
			return err
		}
		return read(n, r)
	}
	if required {
		return &Malformed{File: name, Reason: "it is missing; docs/telemetry.md says what a directory holds"}
	}
	return nil
}

// Unpack reads a file, compressed with gzip or not, up to a bound.
func Unpack(name string, r io.Reader) (io.Reader, error) {
	in := bufio.NewReaderSize(r, 1<<16)
	magic, _ := in.Peek(2)
	if !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return &bounded{name: name, r: in, left: bytesMax}, nil
	}
	z, err := gzip.NewReader(in)
	if err != nil {
		return nil, &Malformed{File: name, Reason: "it is damaged: " + err.Error()}
	}
	return &bounded{name: name, r: z, left: bytesMax}, nil
}

type bounded struct {
	name string
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, &Malformed{File: b.name, Reason: fmt.Sprintf("it is larger than %d MB: cut it to the hours around the incident", int64(bytesMax)>>20)}
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &Malformed{File: b.name, Reason: "it is damaged: " + err.Error()}
	}
	return n, err
}

func (d *directory) readIncident(root *os.Root) error {
	return withFile(root, IncidentFile, true, func(file string, r io.Reader) error {
		raw, err := io.ReadAll(io.LimitReader(r, jsonMax+1))
		if err != nil {
			return err
		}
		in, err := ParseIncident(file, raw)
		if err == nil {
			d.incident = *in
		}
		return err
	})
}

// incidentFile is incident.json as it is written: the metric has its own name there.
type incidentFile struct {
	Incident
	Symptom struct {
		Node      string `json:"node"`
		Metric    string `json:"metric"`
		Statistic string `json:"statistic,omitempty"`
	} `json:"symptom"`
}

// ParseIncident reads an incident.json.
func ParseIncident(file string, raw []byte) (*Incident, error) {
	if len(raw) > jsonMax {
		return nil, &Malformed{File: file, Reason: "it is larger than 1 MB"}
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	var f incidentFile
	if err := dec.Decode(&f); err != nil {
		return nil, &Malformed{File: file, Reason: strings.TrimPrefix(err.Error(), "json: ")}
	}
	in := f.Incident
	switch {
	case in.Version != FormatVersion:
		return nil, &Malformed{File: file, Reason: fmt.Sprintf("version is %d, and this build reads %d", in.Version, FormatVersion)}
	case in.FaultTime.IsZero():
		return nil, &Malformed{File: file, Reason: "fault_time is missing"}
	case in.StepS != 0 && !(in.StepS >= stepLeast && in.StepS <= stepMost):
		return nil, &Malformed{File: file, Reason: "step_s is the seconds that a point covers: a hundredth of a second to a day"}
	case f.Symptom.Node == "":
		return nil, &Malformed{File: file, Reason: "symptom.node is missing: where was the trouble seen?"}
	}
	s, err := ParseSymptom(f.Symptom.Node, f.Symptom.Metric, f.Symptom.Statistic)
	if err != nil {
		return nil, &Malformed{File: file, Reason: err.Error()}
	}
	in.Symptom = s
	return &in, nil
}

// table calls row for each line after the header, which must be exactly as named.
func table(file string, r io.Reader, header []string, row func(line int, f []string) error) error {
	c := csv.NewReader(r)
	c.ReuseRecord, c.FieldsPerRecord = true, len(header)
	for n := 0; ; n++ {
		f, err := c.Read()
		switch {
		case errors.Is(err, io.EOF) && n > 0:
			return nil
		case errors.Is(err, io.EOF):
			return &Malformed{File: file, Reason: "it is empty: its first line is " + strings.Join(header, ",")}
		case err != nil:
			return csvError(file, err)
		case n > rowsMax:
			return &Malformed{File: file, Line: n, Reason: fmt.Sprintf("it has more than %d rows: cut it to the hours around the incident", rowsMax)}
		}
		line, _ := c.FieldPos(0)
		if n == 0 {
			f[0] = strings.TrimPrefix(f[0], "\ufeff") // spreadsheets begin a file so
			if !slices.Equal(f, header) {
				return &Malformed{File: file, Line: line, Reason: "its first line must be " + strings.Join(header, ",")}
			}
			continue
		}
		if err := row(line, f); err != nil {
			return &Malformed{File: file, Line: line, Reason: err.Error()}
		}
	}
}

func csvError(file string, err error) error {
	var m *Malformed
	var p *csv.ParseError
	switch {
	case errors.As(err, &m):
		return m
	case errors.As(err, &p):
		return &Malformed{File: file, Line: p.Line, Reason: p.Err.Error()}
	}
	return err
}

func (d *directory) readGraph(file string, r io.Reader) error {
	seen := map[doctor.Call]bool{}
	return table(file, r, []string{"caller", "callee"}, func(_ int, f []string) error {
		c := doctor.Call{From: strings.Clone(f[0]), To: strings.Clone(f[1])}
		if err := errors.Join(d.hop(c.From), d.hop(c.To)); err != nil {
			return err
		}
		if seen[c] {
			return nil // monitoring lists a call once a path
		}
		if len(d.calls) == doctor.CallsMax {
			return fmt.Errorf("it has more than %d calls", doctor.CallsMax)
		}
		seen[c] = true
		d.calls = append(d.calls, c)
		return nil
	})
}

// hop makes the node known, as a service until hops.csv says otherwise.
func (d *directory) hop(name string) error {
	switch {
	case d.known[name]:
		return nil
	case name == "" || !utf8.ValidString(name):
		return fmt.Errorf("a node's name is empty or not UTF-8")
	case len(d.hops) == doctor.HopsMax:
		return fmt.Errorf("it names more than %d nodes", doctor.HopsMax)
	}
	name = strings.Clone(name)
	d.known[name] = true
	d.hops = append(d.hops, doctor.Hop{Name: name, Kind: doctor.Service})
	return nil
}

func (d *directory) readHops(file string, r io.Reader) error {
	return table(file, r, []string{"node", "kind"}, func(_ int, f []string) error {
		if err := d.hop(f[0]); err != nil {
			return err
		}
		kind := doctor.Kind(strings.Clone(f[1]))
		if !slices.Contains(doctor.Kinds(), kind) {
			return fmt.Errorf("%.40q is not a kind; the kinds are %v", f[1], doctor.Kinds())
		}
		i := slices.IndexFunc(d.hops, func(h doctor.Hop) bool { return h.Name == f[0] })
		d.hops[i].Kind = kind
		return nil
	})
}

func (d *directory) readPoints(file string, r io.Reader, into map[seriesKey][]sample) error {
	all := metrics()
	return table(file, r, []string{"time", "node", "metric", "statistic", "value"}, func(_ int, f []string) error {
		at, err := seconds(f[0])
		if err != nil {
			return err
		}
		if f[4] == "" {
			return nil // no value is no point
		}
		value, err := strconv.ParseFloat(f[4], 64)
		if err != nil || math.IsNaN(value) || math.IsInf(value, 0) || math.Abs(value) > 1e14 {
			return fmt.Errorf("%.40q is not a value: write a number, or nothing where there was none", f[4])
		}
		return d.point(all, file, into, at, f[1], f[2], f[3], value)
	})
}

// point takes one value of a metric.
func (d *directory) point(all map[string]metric, file string, into map[seriesKey][]sample, at float64, node, name, statistic string, value float64) error {
	m, ok := all[name]
	if !ok || !slices.Contains(m.statistics, statistic) {
		d.leftOut[strings.TrimSpace(name+" "+statistic)]++
		return nil
	}
	if value < 0 && m.signal != doctor.Wire {
		return fmt.Errorf("%s of %.60q is %g: it cannot be negative", name, node, value)
	}
	if name == "availability" && value > 100 {
		return fmt.Errorf("availability of %.60q is %g: it is a percentage, at most 100", node, value)
	}
	k := seriesKey{node: node, signal: m.signal}
	if m.signal == doctor.Latency {
		k.statistic = statistic
	}
	if known, ok := d.names[k]; ok && known != name {
		return fmt.Errorf("%.60q has both %s and %s: leave one out", node, known, name)
	}
	return d.add(into, file, k, name+" "+statistic, sample{at, m.convert(value)})
}

func (d *directory) add(into map[seriesKey][]sample, file string, k seriesKey, query string, s sample) error {
	series, ok := into[k]
	if !ok {
		if err := d.hop(k.node); err != nil {
			return err
		}
		if len(into) == seriesMax {
			return fmt.Errorf("it has more than %d series", seriesMax)
		}
		k = seriesKey{strings.Clone(k.node), strings.Clone(k.peer), k.signal, strings.Clone(k.statistic)}
		d.names[k], _, _ = strings.Cut(strings.Clone(query), " ")
		d.queries[k] = strings.TrimSpace(filepath.Base(file) + ": " + strings.TrimSpace(query) + " of " + k.node)
		if k.peer != "" {
			d.queries[k] += " to " + k.peer
		}
	}
	into[k] = append(series, s)
	return nil
}

// seconds reads a time as unix seconds; most files write those.
func seconds(s string) (float64, error) {
	if f, err := strconv.ParseFloat(s, 64); err == nil && f >= 0 && f < timeMax {
		return f, nil
	}
	t, err := ParseTime(s)
	if err != nil {
		return 0, err
	}
	return float64(t.UnixMicro()) / 1e6, nil
}

func (d *directory) readCohorts(file string, r io.Reader) error {
	return table(file, r, []string{"dimension", "value", "affected", "total"}, func(_ int, f []string) error {
		affected, err := strconv.Atoi(f[2])
		total, err2 := strconv.Atoi(f[3])
		if err != nil || err2 != nil || affected < 0 || total < affected || f[0] == "" {
			return fmt.Errorf("a row is a dimension, a value, and how many of how many are affected")
		}
		if len(d.cohorts) == doctor.CohortsMax {
			return fmt.Errorf("it has more than %d cohorts", doctor.CohortsMax)
		}
		d.cohorts = append(d.cohorts, doctor.Cohort{Dimension: strings.Clone(f[0]), Value: strings.Clone(f[1]), Affected: affected, Total: total})
		return nil
	})
}
