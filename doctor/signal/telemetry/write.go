package telemetry

import (
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/moneta-pay/moneta/doctor"
)

// Directory is what an importer writes.
type Directory struct {
	Incident Incident
	// Metric is the symptom's metric as the files name it, such as availability.
	Metric            string
	Hops              []doctor.Hop
	Calls             []doctor.Call
	Metrics, Baseline []Point
}

// Write makes a new directory at dir. It refuses one that is there and not empty: two
// incidents in one directory would be a third that never was.
func Write(dir string, d *Directory) error {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("%s is not empty: name a new folder", dir)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // telemetry is for others to read
		return err
	}
	files := []struct {
		name  string
		write func(io.Writer) error
	}{
		{IncidentFile, d.writeIncident},
		{GraphFile, func(w io.Writer) error {
			return writeTable(w, []string{"caller", "callee"}, len(d.Calls), func(i int) []string { return []string{d.Calls[i].From, d.Calls[i].To} })
		}},
		{HopsFile, func(w io.Writer) error {
			return writeTable(w, []string{"node", "kind"}, len(d.Hops), func(i int) []string { return []string{d.Hops[i].Name, string(d.Hops[i].Kind)} })
		}},
		{MetricsFile + ".gz", func(w io.Writer) error { return writePoints(w, d.Metrics) }},
		{BaselineFile + ".gz", func(w io.Writer) error { return writePoints(w, d.Baseline) }},
	}
	for _, f := range files {
		if err := writeFile(filepath.Join(dir, f.name), f.write); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if filepath.Ext(path) != ".gz" {
		return errors.Join(write(f), f.Close())
	}
	z := gzip.NewWriter(f)
	return errors.Join(write(z), z.Close(), f.Close())
}

func (d *Directory) writeIncident(w io.Writer) error {
	f := incidentFile{Incident: d.Incident}
	f.Version = FormatVersion
	f.Incident.Symptom = doctor.Symptom{}
	f.Symptom.Node, f.Symptom.Metric, f.Symptom.Statistic = d.Incident.Symptom.Hop, d.Metric, d.Incident.Symptom.Statistic
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(&f)
}

func writeTable(w io.Writer, header []string, n int, row func(i int) []string) error {
	c := csv.NewWriter(w)
	if err := c.Write(header); err != nil {
		return err
	}
	for i := range n {
		if err := c.Write(row(i)); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

func writePoints(w io.Writer, points []Point) error {
	return writeTable(w, []string{"time", "node", "metric", "statistic", "value"}, len(points), func(i int) []string {
		p := points[i]
		return []string{
			strconv.FormatFloat(float64(p.Time.UnixMicro())/1e6, 'f', -1, 64), p.Node, p.Metric, p.Statistic,
			strconv.FormatFloat(p.Value, 'g', -1, 64),
		}
	})
}
