package drill

import (
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Board is what a series of runs came to.
type Board struct {
	Format string    `json:"format"`
	MadeBy string    `json:"made_by"`
	At     time.Time `json:"at"`
	// Runs are those that were scored, controls included; the shares are over those with
	// a fault.
	Runs    int `json:"runs"`
	Voided  int `json:"voided"`
	Skipped int `json:"skipped"`
	Broken  int `json:"broken"`

	Points      float64 `json:"points"`
	Top1        float64 `json:"top1"`
	Top3        float64 `json:"top3"`
	Node        float64 `json:"node"`
	Scope       float64 `json:"scope"`
	Detected    float64 `json:"detected"`
	DetectP50   float64 `json:"detect_p50_s"`
	DetectP95   float64 `json:"detect_p95_s"`
	StallP95    float64 `json:"detect_stall_p95_s"`
	ContainP95  float64 `json:"contain_p95_s"`
	ProofP95    float64 `json:"proof_p95_s"`
	Harmful     int     `json:"harmful"`
	FalsePages  int     `json:"false_pages"`
	Invariants  int     `json:"invariants_broken"`
	ECE         float64 `json:"ece"`
	Brier       float64 `json:"brier"`
	Contained   float64 `json:"contained"`
	Repaired    float64 `json:"repaired"`
	ProvedClean float64 `json:"proved"`

	Baselines []BaselineScore `json:"baselines,omitempty"`
	Rows      []Row           `json:"rows"`
}

// BaselineScore is how a simple method does on the same evidence.
type BaselineScore struct {
	Name string  `json:"name"`
	Runs int     `json:"runs"`
	Top1 float64 `json:"top1"`
	Top3 float64 `json:"top3"`
	Node float64 `json:"node"`
}

// BoardFormat names the form of a board.
const BoardFormat = "moneta.drills/1"

// NewBoard adds the rows up.
func NewBoard(rows []Row, madeBy string, at time.Time) Board {
	b := Board{Format: BoardFormat, MadeBy: madeBy, At: at, Rows: rows}
	var faults []Row
	var points float64
	for i := range rows {
		r := &rows[i]
		switch r.Status {
		case Void:
			b.Voided++
		case Skipped:
			b.Skipped++
		case Broken:
			b.Broken++
		case Blind: // nobody was there to be scored
		case Scored:
			b.Runs++
			points += float64(r.Points)
			b.Harmful += len(r.Harmful)
			b.FalsePages += r.FalsePages
			if !r.Control {
				faults = append(faults, *r)
			}
		}
		b.Invariants += len(r.Invariants)
	}
	if b.Runs > 0 {
		b.Points = round(points / float64(b.Runs))
	}
	b.addFaults(faults)
	return b
}

func (b *Board) addFaults(rows []Row) {
	part := func(is func(*Row) bool) float64 {
		n := 0
		for i := range rows {
			if is(&rows[i]) {
				n++
			}
		}
		return round(float64(n) / float64(max(len(rows), 1)))
	}
	b.Top1, b.Top3 = part(func(r *Row) bool { return r.Top1 }), part(func(r *Row) bool { return r.Top3 })
	b.Node, b.Scope = part(func(r *Row) bool { return r.Node }), part(func(r *Row) bool { return r.Scope })
	b.Detected = part(func(r *Row) bool { return r.DetectS != nil })
	b.Contained = part(func(r *Row) bool { return r.Parts["contain"] > 0 })
	b.Repaired = part(func(r *Row) bool { return r.Parts["repair"] > 0 })
	b.ProvedClean = part(func(r *Row) bool { return r.Parts["proof"] > 0 })
	stalls := slices.DeleteFunc(slices.Clone(rows), func(r Row) bool { d := Find(r.Drill); return d == nil || !d.Stall })
	b.DetectP50 = late(rows, 50, func(r *Row) *float64 { return r.DetectS })
	b.DetectP95 = late(rows, 95, func(r *Row) *float64 { return r.DetectS })
	b.StallP95 = late(stalls, 95, func(r *Row) *float64 { return r.DetectS })
	b.ContainP95 = late(rows, 95, func(r *Row) *float64 { return r.ContainS })
	b.ProofP95 = late(rows, 95, func(r *Row) *float64 { return r.ProofS })
	b.ECE, b.Brier = calibration(rows)
	b.Baselines = baselineScores(rows)
}

// never is how late what did not come counts: it must not make a quantile better.
const never = 999

func late(rows []Row, percent int, of func(*Row) *float64) float64 {
	var all []float64
	for i := range rows {
		if s := of(&rows[i]); s != nil {
			all = append(all, *s)
		} else {
			all = append(all, never)
		}
	}
	return round(quantile(all, percent))
}

func round(f float64) float64 { return math.Round(f*1000) / 1000 }

// bins of the calibration.
const bins = 10

// calibration is the expected calibration error over ten bins, and the Brier score, of
// what the doctor gave its first answer.
func calibration(rows []Row) (ece, brier float64) {
	var sum, hits, n [bins]float64
	total := 0.0
	for i := range rows {
		r := &rows[i]
		if len(r.Ranked) == 0 {
			continue
		}
		right := 0.0
		if r.Top1 {
			right = 1
		}
		bin := min(int(r.Confidence*bins), bins-1)
		sum[bin] += r.Confidence
		hits[bin] += right
		n[bin]++
		total++
		brier += (r.Confidence - right) * (r.Confidence - right)
	}
	if total == 0 {
		return 0, 0
	}
	for i := range n {
		if n[i] > 0 {
			ece += n[i] / total * math.Abs(hits[i]/n[i]-sum[i]/n[i])
		}
	}
	return round(ece), round(brier / total)
}

func baselineScores(rows []Row) []BaselineScore {
	var out []BaselineScore
	for i := range rows {
		for _, g := range rows[i].Baselines {
			at := slices.IndexFunc(out, func(s BaselineScore) bool { return s.Name == g.Name })
			if at < 0 {
				out, at = append(out, BaselineScore{Name: g.Name}), len(out)
			}
			s := &out[at]
			s.Runs++
			for _, f := range []struct {
				is bool
				to *float64
			}{{g.Top1, &s.Top1}, {g.Top3, &s.Top3}, {g.Node, &s.Node}} {
				if f.is {
					*f.to++
				}
			}
		}
	}
	for i := range out {
		s := &out[i]
		s.Top1, s.Top3, s.Node = round(s.Top1/float64(s.Runs)), round(s.Top3/float64(s.Runs)), round(s.Node/float64(s.Runs))
	}
	return out
}

// Write stores the board as JSON at path, and beside it as Markdown and HTML.
func (b *Board) Write(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return err
	}
	base := strings.TrimSuffix(path, filepath.Ext(path))
	var md, page strings.Builder
	b.Markdown(&md)
	if err := boardPage.Execute(&page, b); err != nil {
		return err
	}
	for name, text := range map[string]string{path: string(raw) + "\n", base + ".md": md.String(), base + ".html": page.String()} {
		next := name + ".new"
		if err := os.WriteFile(next, []byte(text), 0o644); err != nil { //nolint:gosec // everybody may read it
			return err
		}
		if err := os.Rename(next, name); err != nil {
			return err
		}
	}
	return nil
}

// ReadBoard reads what Write stored.
func ReadBoard(path string) (Board, error) {
	var b Board
	raw, err := os.ReadFile(path)
	if err != nil {
		return b, err
	}
	if err := json.Unmarshal(raw, &b); err != nil || b.Format != BoardFormat {
		return b, fmt.Errorf("%s is not a board of drills", path)
	}
	return b, nil
}

// Markdown writes the board for people.
func (b *Board) Markdown(w io.Writer) {
	fmt.Fprintf(w, "# Drills, %s\n\n%s. %d runs scored, %d void, %d skipped, %d broken.\n\n", b.At.UTC().Format(time.RFC3339), b.MadeBy, b.Runs, b.Voided, b.Skipped, b.Broken)
	if b.Harmful+b.Invariants+b.FalsePages > 0 {
		fmt.Fprintf(w, "**RED: %d harmful acts, %d broken invariants of money, %d false pages.**\n\n", b.Harmful, b.Invariants, b.FalsePages)
	}
	fmt.Fprintf(w, "| figure | value | goal |\n|---|---|---|\n")
	for _, f := range []struct {
		name, goal string
		value      float64
	}{
		{"points", "", b.Points},
		{"top-1 cause", ">= 0.90", b.Top1},
		{"top-3", ">= 0.98", b.Top3},
		{"right hop", "", b.Node},
		{"scope", ">= 0.95", b.Scope},
		{"detect p95, full stall (s)", "<= 10", b.StallP95},
		{"detect p95 (s)", "<= 60", b.DetectP95},
		{"contain p95 (s)", "<= 30", b.ContainP95},
		{"proof p95 (s)", "<= 30", b.ProofP95},
		{"contained", "", b.Contained},
		{"repaired", "", b.Repaired},
		{"proved", "", b.ProvedClean},
		{"harmful acts", "0", float64(b.Harmful)},
		{"false pages", "0", float64(b.FalsePages)},
		{"invariants broken", "0", float64(b.Invariants)},
		{"ECE", "<= 0.10", b.ECE},
		{"Brier", "", b.Brier},
	} {
		fmt.Fprintf(w, "| %s | %g | %s |\n", f.name, f.value, f.goal)
	}
	for _, s := range b.Baselines {
		fmt.Fprintf(w, "| baseline: %s (%d runs) | top-1 %g, top-3 %g, hop %g | below ours |\n", s.Name, s.Runs, s.Top1, s.Top3, s.Node)
	}
	fmt.Fprint(w, "\nA time of 999 s means never.\n\n| drill | seed | points | first answer | wanted | scope | detect | contain | proof | hurt | acts |\n|---|---|---|---|---|---|---|---|---|---|---|\n")
	for i := range b.Rows {
		r := &b.Rows[i]
		points, first := fmt.Sprint(r.Points), ""
		if r.Status != Scored {
			points = string(r.Status) + ": " + r.Why
		}
		if len(r.Ranked) > 0 {
			first = r.Ranked[0]
		}
		if len(r.Invariants) > 0 {
			points += " **money**"
		}
		if len(r.Harmful) > 0 {
			points += " **harmful: " + strings.Join(r.Harmful, ", ") + "**"
		}
		fmt.Fprintf(w, "| %s | %d | %s | %s | %s | %s | %s | %s | %s | %.0f %% | %s |\n", r.Drill, r.Seed, points, first, r.Wanted, r.ScopeSaid,
			Seconds(r.DetectS), Seconds(r.ContainS), Seconds(r.ProofS), 100*r.Impact.Share, strings.Join(r.Acts, "; "))
	}
}

// Seconds writes a time, or a dash.
func Seconds(s *float64) string {
	if s == nil {
		return "–"
	}
	return fmt.Sprintf("%.1f s", *s)
}

var boardPage = template.Must(template.New("board").Funcs(template.FuncMap{
	"s": Seconds, "percent": func(f float64) string { return fmt.Sprintf("%.0f %%", 100*f) },
	"first": func(r Row) string {
		if len(r.Ranked) == 0 {
			return ""
		}
		return r.Ranked[0]
	},
	"join": func(all []string) string { return strings.Join(all, "; ") },
}).Parse(`<!doctype html><html lang="en"><meta charset="utf-8"><title>Moneta drills</title>
<style>body{font:14px/1.4 system-ui,sans-serif;margin:2em auto;max-width:1200px;padding:0 1em}table{border-collapse:collapse;width:100%}
td,th{padding:.3em .6em;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}.red{background:#fdd}.void{color:#777}
.figures{display:flex;flex-wrap:wrap;gap:1em;margin:1em 0}.figures div{border:1px solid #ddd;border-radius:6px;padding:.6em 1em}.figures b{display:block;font-size:1.5em}</style>
<h1>Drills</h1><p>{{.At.UTC.Format "2006-01-02 15:04:05"}} UTC, {{.MadeBy}}: {{.Runs}} runs scored, {{.Voided}} void, {{.Skipped}} skipped, {{.Broken}} broken.</p>
<div class="figures"><div><b>{{.Points}}</b>points</div><div><b>{{percent .Top1}}</b>top-1</div><div><b>{{percent .Top3}}</b>top-3</div><div><b>{{percent .Scope}}</b>scope</div>
<div><b>{{.StallP95}} s</b>detect p95, stall</div><div><b>{{.ContainP95}} s</b>contain p95</div><div><b>{{.ProofP95}} s</b>proof p95</div>
<div{{if .Harmful}} class="red"{{end}}><b>{{.Harmful}}</b>harmful</div><div{{if .FalsePages}} class="red"{{end}}><b>{{.FalsePages}}</b>false pages</div>
<div{{if .Invariants}} class="red"{{end}}><b>{{.Invariants}}</b>invariants broken</div><div><b>{{.ECE}}</b>ECE</div></div>
{{if .Baselines}}<p>Baselines on the same evidence:{{range .Baselines}} <b>{{.Name}}</b> top-1 {{percent .Top1}}, top-3 {{percent .Top3}};{{end}}</p>{{end}}
<table><tr><th>drill<th>seed<th>points<th>first answer<th>wanted<th>scope<th>detect<th>contain<th>repair<th>proof<th>hurt<th>acts</tr>
{{range .Rows}}<tr class="{{if or .Harmful .Invariants .FalsePages}}red{{else if ne .Status "scored"}}void{{end}}"><td>{{.Drill}}<td>{{.Seed}}<td>{{if eq .Status "scored"}}{{.Points}}{{else}}{{.Status}}: {{.Why}}{{end}}
<td>{{first .}}<td>{{.Wanted}}<td>{{.ScopeSaid}}<td>{{s .DetectS}}<td>{{s .ContainS}}<td>{{s .RepairS}}<td>{{s .ProofS}}<td>{{percent .Impact.Share}}<td>{{join .Acts}}{{if .Invariants}} <b>{{join .Invariants}}</b>{{end}}</tr>
{{end}}</table></html>
`))
