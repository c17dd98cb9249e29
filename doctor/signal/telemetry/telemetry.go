// Package telemetry reads a foreign incident from a directory (docs/telemetry.md):
// who calls whom, metrics, a normal time to compare with, and, where there are any,
// spans, logs and counts of who is affected; and it sums them up as evidence. It also
// writes such directories, for importers. It refuses files that it does not understand
// with the file, the line and what to do, and it never takes a gap in the data for a
// good value.
package telemetry

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// FormatVersion is the version of the directory's form.
const FormatVersion = 1

// The files of a directory. IncidentFile and GraphFile must be there, and one of
// metrics, spans and logs; all CSV files may be compressed with gzip and then end in
// .gz.
const (
	IncidentFile = "incident.json"
	GraphFile    = "graph.csv"
	HopsFile     = "hops.csv"
	MetricsFile  = "metrics.csv"
	BaselineFile = "baseline.csv"
	SpansFile    = "spans.csv"
	LogsFile     = "logs.csv"
	CohortsFile  = "cohorts.csv"
)

// Bounds of a directory.
const (
	rowsMax   = 5_000_000
	bytesMax  = 1 << 30 // of one file, unpacked
	seriesMax = 50_000
	jsonMax   = 1 << 20
)

// Malformed says what is wrong with a file, and where.
type Malformed struct {
	File   string
	Line   int // 0 for the file as a whole
	Reason string
}

// Error returns file, line and reason.
func (e *Malformed) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Reason
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Reason)
}

// Incident is incident.json.
type Incident struct {
	Version int    `json:"version"`
	Title   string `json:"title,omitempty"`
	// FaultTime is when the trouble began or was noticed: RFC 3339 or unix seconds.
	FaultTime Time           `json:"fault_time"`
	Symptom   doctor.Symptom `json:"symptom"`
	// StepS is the seconds that one point covers; 0 takes the smallest distance between
	// two points.
	StepS float64 `json:"step_s,omitempty"`
	// Provenance says where the data is from.
	Provenance string `json:"provenance,omitempty"`
}

// Time is a time that reads RFC 3339 and unix seconds, and writes RFC 3339.
type Time struct{ time.Time }

// UnmarshalJSON reads either form.
func (t *Time) UnmarshalJSON(raw []byte) error {
	text := strings.Trim(string(raw), `"`)
	parsed, err := ParseTime(text)
	t.Time = parsed
	return err
}

// MarshalJSON writes RFC 3339 in UTC.
func (t Time) MarshalJSON() ([]byte, error) {
	return json.Marshal(t.UTC().Format(time.RFC3339Nano))
}

// timeMax is the year 2286: more digits are milliseconds.
const timeMax = 1e10

// ParseTime reads RFC 3339 or unix seconds, with a fraction or without.
func ParseTime(s string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t.UTC(), nil
	}
	f, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil || !(f >= 0):
		return time.Time{}, fmt.Errorf("%.40q is not a time: write RFC 3339, such as 2026-01-31T12:00:00Z, or unix seconds", s)
	case f >= timeMax:
		return time.Time{}, fmt.Errorf("%.40q is too large for unix seconds: are these milliseconds?", s)
	}
	return time.Unix(0, int64(f*1e6)*1e3).UTC(), nil
}

// Point is one row of metrics.csv or baseline.csv.
type Point struct {
	Time      time.Time // the beginning of what it covers
	Node      string
	Metric    string
	Statistic string
	Value     float64
}

// metric says how a metric of the files becomes a signal.
type metric struct {
	signal doctor.Signal
	// statistics that it may have; the empty one where it has none.
	statistics []string
	convert    func(value float64) float64
}

func same(v float64) float64 { return v }

// countedMetric counts requests a step.
const countedMetric = "requests"

var plain = []string{"", "mean", "sum", "max", "last"}

// metrics are the names that the files may use: those of the signals, and the two
// forms in which most monitoring counts.
func metrics() map[string]metric {
	all := map[string]metric{
		countedMetric:  {doctor.Rate, []string{"", "sum"}, same}, // divided by the step once that is known
		"availability": {doctor.Errors, []string{"", "mean"}, func(v float64) float64 { return 1 - v/100 }},
	}
	for _, s := range doctor.Signals() {
		m := metric{s.Signal, plain, same}
		if s.Signal == doctor.Latency {
			m.statistics = []string{"mean", "p50", "p90", "p95", "p99"}
		}
		all[string(s.Signal)] = m
	}
	return all
}

// Metrics lists the names that metrics.csv may use, for the documentation.
func Metrics() []string {
	var out []string
	for name := range metrics() {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// ParseSymptom reads a symptom as the files name it: availability is a share of
// errors, requests a rate.
func ParseSymptom(node, name, statistic string) (doctor.Symptom, error) {
	m, ok := metrics()[name]
	if !ok {
		return doctor.Symptom{}, fmt.Errorf("the symptom's metric %.40q is not one of %s", name, strings.Join(Metrics(), ", "))
	}
	s := doctor.Symptom{Hop: node, Signal: m.signal}
	if m.signal == doctor.Latency {
		if s.Statistic = statistic; statistic == "" {
			s.Statistic = "mean"
		}
		if !slices.Contains(m.statistics, s.Statistic) {
			return doctor.Symptom{}, fmt.Errorf("the symptom's statistic %.40q is not one of %s", statistic, strings.Join(m.statistics, ", "))
		}
	}
	return s, nil
}
