// Package petshop reads the files of the PetShop data set (incidents of a distributed
// application with known causes, arXiv 2311.04806): wide tables of metrics with three
// header rows, and the call graph as a matrix. It turns them into the telemetry
// directory that the doctor reads. It refuses to look at labels, and it knows no
// node by name: only the naming rules of the tracing service that wrote the files.
package petshop

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/signal/telemetry"
)

// Files are the inputs of one incident.
type Files struct {
	Metrics, Graph, Baseline string
	FaultTime                time.Time
	SymptomNode              string
	// SymptomMetric is latency, availability or requests.
	SymptomMetric string
}

// columnsMax and rowsMax bound a table.
const (
	columnsMax = 50_000
	rowsMax    = 200_000
)

// Import reads the files.
func Import(f Files) (*telemetry.Directory, error) {
	d := &telemetry.Directory{Metric: f.SymptomMetric}
	s, err := telemetry.ParseSymptom(f.SymptomNode, f.SymptomMetric, "")
	if err != nil {
		return nil, err
	}
	d.Incident = telemetry.Incident{
		FaultTime: telemetry.Time{Time: f.FaultTime}, Symptom: s,
		Title:      filepath.Base(f.Metrics),
		Provenance: "PetShop (amazon-science/petshop-root-cause-analysis), CC-BY-4.0, arXiv 2311.04806",
	}
	if err := open(f.Graph, func(name string, r io.Reader) error {
		d.Hops, d.Calls, err = ParseGraph(name, r)
		return err
	}); err != nil {
		return nil, err
	}
	for _, m := range []struct {
		path string
		into *[]telemetry.Point
	}{{f.Metrics, &d.Metrics}, {f.Baseline, &d.Baseline}} {
		if err := open(m.path, func(name string, r io.Reader) error {
			*m.into, err = ParseMetrics(name, r)
			return err
		}); err != nil {
			return nil, err
		}
	}
	d.Hops = withNodes(d.Hops, d.Metrics)
	d.Incident.StepS = step(d.Metrics)
	for _, h := range d.Hops {
		if h.Name == f.SymptomNode {
			return d, nil
		}
	}
	return nil, fmt.Errorf("--symptom-node %q is neither in the graph nor in the metrics", f.SymptomNode)
}

func open(path string, read func(name string, r io.Reader) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	r, err := telemetry.Unpack(filepath.Base(path), f)
	if err != nil {
		return err
	}
	return read(filepath.Base(path), r)
}

// KindOf reads the kind off a node's name, which ends in the type of the resource.
// What was seen from its callers' side only is a remote; what has no type is a
// service with instruments of its own.
func KindOf(name string) doctor.Kind {
	i := strings.LastIndex(name, "_")
	typ := name[i+1:]
	switch {
	case typ == "remote":
		return doctor.Remote
	case typ == "client":
		return doctor.Client
	case strings.HasPrefix(typ, "Database::") || strings.Contains(typ, "::DynamoDB") || strings.Contains(typ, "::RDS"):
		return doctor.Database
	case strings.Contains(typ, "::SQS") || strings.Contains(typ, "::SNS") || strings.Contains(typ, "::Kinesis"):
		return doctor.Queue
	case strings.Contains(typ, "::ElastiCache"):
		return doctor.Cache
	case strings.Contains(typ, "::ApiGateway") || strings.Contains(typ, "::ElasticLoadBalancing"):
		return doctor.Gateway
	case strings.Contains(typ, "::ECS") || strings.Contains(typ, "::Lambda") || strings.Contains(typ, "::StepFunctions") ||
		strings.Contains(typ, "::EC2") || strings.Contains(typ, "::EKS"):
		return doctor.Service
	case strings.HasPrefix(typ, "AWS::"):
		return doctor.Channel // the cloud's own services: somebody else runs them
	}
	return doctor.Service
}

func malformed(file string, line int, format string, args ...any) error {
	return &telemetry.Malformed{File: file, Line: line, Reason: fmt.Sprintf(format, args...)}
}

// rows reads a table in which all rows are as long as the first.
func rows(file string, r io.Reader, row func(line int, f []string) error) error {
	c := csv.NewReader(r)
	c.ReuseRecord = true
	for n := 1; ; n++ {
		f, err := c.Read()
		var p *csv.ParseError
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &p):
			return malformed(file, p.Line, "%v", p.Err)
		case err != nil:
			return err
		case n > rowsMax:
			return malformed(file, n, "it has more than %d rows", rowsMax)
		case len(f) < 2 || len(f) > columnsMax:
			return malformed(file, n, "it has %d columns; at least 2 and at most %d are read", len(f), columnsMax)
		}
		line, _ := c.FieldPos(0)
		if err := row(line, f); err != nil {
			return err
		}
	}
}

// ParseGraph reads the matrix of calls: a row calls the columns with a 1.
func ParseGraph(file string, r io.Reader) ([]doctor.Hop, []doctor.Call, error) {
	var hops []doctor.Hop
	var calls []doctor.Call
	known := map[string]bool{}
	add := func(line int, name string) error {
		if name == "" {
			return malformed(file, line, "a node has no name")
		}
		if !known[name] {
			known[name] = true
			hops = append(hops, doctor.Hop{Name: name, Kind: KindOf(name)})
		}
		return nil
	}
	var columns []string
	seen := map[string]bool{}
	err := rows(file, r, func(line int, f []string) error {
		if columns == nil {
			for _, name := range f[1:] {
				if known[name] {
					return malformed(file, line, "column %.60q is there twice", name)
				}
				if err := add(line, strings.Clone(name)); err != nil {
					return err
				}
				columns = append(columns, strings.Clone(name))
			}
			return nil
		}
		from := strings.Clone(f[0])
		if seen[from] {
			return malformed(file, line, "row %.60q is there twice", from)
		}
		seen[from] = true
		if err := add(line, from); err != nil {
			return err
		}
		for i, cell := range f[1:] {
			v, err := strconv.ParseFloat(cell, 64)
			if err != nil || (v != 0 && v != 1) {
				return malformed(file, line, "a cell is 0 or 1, not %.40q", cell)
			}
			if v == 1 {
				calls = append(calls, doctor.Call{From: from, To: columns[i]})
			}
		}
		return nil
	})
	if err == nil && columns == nil {
		err = malformed(file, 0, "it is empty: a graph is a matrix with the nodes above and at the left")
	}
	return hops, calls, err
}

// statistics are the data set's names for ours.
var statistics = map[string]string{"Average": "mean", "Sum": "sum"}

type column struct{ node, metric, statistic string }

// ParseMetrics reads a wide table: rows of node, metric, statistic, one that says
// unix_timestamp, then a row for each point. An empty cell is no point.
func ParseMetrics(file string, r io.Reader) ([]telemetry.Point, error) {
	var columns []column
	var out []telemetry.Point
	n := 0
	heads := []string{"microservice", "metric", "statistic", "unix_timestamp"}
	err := rows(file, r, func(line int, f []string) error {
		if n < len(heads) {
			if f[0] != heads[n] {
				return malformed(file, line, "row %d begins with %.40q and should with %s: is this a file of metrics?", n+1, f[0], heads[n])
			}
			columns = head(columns, n, f[1:])
			n++
			return nil
		}
		at, err := telemetry.ParseTime(f[0])
		if err != nil {
			return malformed(file, line, "%v", err)
		}
		for i, cell := range f[1:] {
			if cell == "" {
				continue
			}
			v, err := strconv.ParseFloat(cell, 64)
			if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
				return malformed(file, line, "%s of %.60q is %.40q, which is no number", columns[i].metric, columns[i].node, cell)
			}
			out = append(out, telemetry.Point{Time: at, Node: columns[i].node, Metric: columns[i].metric, Statistic: columns[i].statistic, Value: v})
		}
		return nil
	})
	if err == nil && n < len(heads) {
		err = malformed(file, 0, "it ends within its %d header rows", len(heads))
	}
	return out, err
}

func head(columns []column, n int, cells []string) []column {
	if columns == nil {
		columns = make([]column, len(cells))
	}
	for i, cell := range cells {
		cell = strings.Clone(cell)
		switch n {
		case 0:
			columns[i].node = cell
		case 1:
			columns[i].metric = cell
		case 2:
			if ours, ok := statistics[cell]; ok {
				cell = ours
			}
			columns[i].statistic = cell
		}
	}
	return columns
}

// withNodes adds the nodes that have metrics and stand in no call.
func withNodes(hops []doctor.Hop, points []telemetry.Point) []doctor.Hop {
	known := map[string]bool{}
	for _, h := range hops {
		known[h.Name] = true
	}
	for _, p := range points {
		if !known[p.Node] {
			known[p.Node] = true
			hops = append(hops, doctor.Hop{Name: p.Node, Kind: KindOf(p.Node)})
		}
	}
	return hops
}

// step is the smallest distance of two points, in seconds.
func step(points []telemetry.Point) float64 {
	least := 0.0
	for i := 1; i < len(points); i++ {
		if gap := points[i].Time.Sub(points[i-1].Time).Seconds(); gap > 0 && (least == 0 || gap < least) {
			least = gap
		}
	}
	return least
}
