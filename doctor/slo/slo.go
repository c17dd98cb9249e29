// Package slo keeps what was promised and how much of what may go wrong has: objectives,
// their error budgets, and how fast these burn. The figures are a line a minute in a plain
// file, so that they outlive the database and the watch.
//
// It refuses to judge by a budget: whoever is paged is paged by invariants, and a budget
// says whether what happens all the time is what was promised. A window of which only a
// part was seen says so, and one without requests has no rate.
package slo

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// Count is what came, and what of it went well.
type Count struct {
	Good float64 `json:"good"`
	All  float64 `json:"all"`
}

// Objective is one promise.
type Objective struct {
	ID string `json:"id"`
	// Target is the share that is to go well.
	Target float64 `json:"target"`
	// Says is the promise in a sentence.
	Says doctor.Text `json:"says"`
	// Bad is the PromQL of the share that does not, over %s; empty where only the watch
	// can tell.
	Bad string `json:"-"`
}

// The objectives. What each takes for good is measured where its counts are made.
const (
	Accept  = "accept"  // requests for payments that are not answered with a fault of ours
	Quick   = "quick"   // answered durably within QuickWithinS
	OnTime  = "on-time" // minutes in which no payment is past its bound
	quickLE = "0.5"
	// QuickWithinS is the bound of Quick in seconds; it is a bound of serve's histogram.
	QuickWithinS = 0.5
)

// Objectives are all of them.
func Objectives() []Objective {
	const asked = `moneta_http_requests_total{route="POST /v1/payments"`
	return []Objective{
		{
			ID: Accept, Target: .999,
			Says: doctor.Text{EN: "99.9 % of the requests for a payment are not answered with a fault of ours", ZH: "99.9 % 的付款请求不会因我方故障而失败"},
			Bad:  `sum(rate(` + asked + `,code=~"5.."}[%[1]s])) / sum(rate(` + asked + `}[%[1]s]))`,
		},
		{
			ID: Quick, Target: .99,
			Says: doctor.Text{EN: "99 % are durable and answered within 500 ms", ZH: "99 % 在 500 毫秒内持久受理并应答"},
			Bad:  `1 - sum(rate(moneta_accept_duration_seconds_bucket{le="` + quickLE + `"}[%[1]s])) / sum(rate(moneta_accept_duration_seconds_count[%[1]s]))`,
		},
		{
			ID: OnTime, Target: .999,
			Says: doctor.Text{EN: "In 99.9 % of all minutes no payment is past what its rail allows", ZH: "99.9 % 的分钟内没有付款超过其通道允许的时限"},
		},
	}
}

// Period is that of a budget.
const Period = 30 * 24 * time.Hour

// alert is a pair of windows after chapter 5, table 5-8 of the SRE workbook
// (https://sre.google/workbook/alerting-on-slos/#6-multiwindow-multi-burn-rate-alerts): the
// long one says that it matters, the short one that it still goes on.
type alert struct {
	long, short string
	burn        float64
	level       string
}

var alerts = []alert{{"1h", "5m", 14.4, "page"}, {"6h", "30m", 6, "page"}, {"3d", "6h", 1, "ticket"}}

var windows = []struct {
	name string
	long time.Duration
}{{"5m", 5 * time.Minute}, {"30m", 30 * time.Minute}, {"1h", time.Hour}, {"6h", 6 * time.Hour}, {"3d", 3 * 24 * time.Hour}, {"30d", Period}}

// Window is how an objective did over some time.
type Window struct {
	Name string `json:"name"`
	Count
	// Burn is how many times as fast as allowed the budget went; left out when nothing came.
	Burn *float64 `json:"burn,omitempty"`
	// SeenS is how much of it was seen, of WholeS.
	SeenS  float64 `json:"seen_s"`
	WholeS float64 `json:"whole_s"`
}

// State is how an objective stands.
type State struct {
	Objective
	Windows []Window `json:"windows"`
	// Left is the share of the budget of 30 days that is left, below 0 when it was
	// overspent; of a shorter history it is of what came in that. Left out when nothing did.
	Left *float64 `json:"left,omitempty"`
	// Alert is page, ticket or empty, as the rules of docs/slo would say.
	Alert string `json:"alert,omitempty"`
	// Since is when the history begins; left out without one.
	Since *time.Time `json:"since,omitempty"`
}

type minute struct {
	At     int64            `json:"at"` // unix seconds, of its beginning
	Counts map[string]Count `json:"counts"`
}

// Book keeps the minutes. It is safe for concurrent use.
type Book struct {
	file string

	mu      sync.Mutex
	minutes []minute // oldest first
	written int      // lines in the file
}

const (
	minutesMax = int(Period/time.Minute) + 1
	lineMax    = 64 << 10
)

// Open reads the file, if it is there. Lines that cannot be read are left out: a budget is
// no book of money.
func Open(file string) (*Book, error) {
	b := &Book{file: file}
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the minutes of the objectives: %w", err)
	}
	lines := bufio.NewScanner(bytes.NewReader(raw))
	lines.Buffer(make([]byte, 0, 4096), lineMax)
	for lines.Scan() {
		var m minute
		b.written++
		if err := json.Unmarshal(lines.Bytes(), &m); err == nil && m.At > 0 && m.Counts != nil {
			b.minutes = append(b.minutes, m)
		}
	}
	slices.SortStableFunc(b.minutes, func(x, y minute) int { return int(x.At - y.At) })
	return b, nil
}

// Add writes a minute down. One that cannot be written is remembered all the same.
func (b *Book) Add(at time.Time, counts map[string]Count) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := minute{At: at.Truncate(time.Minute).Unix(), Counts: counts}
	b.minutes = append(b.minutes, m)
	old := at.Add(-Period).Unix()
	b.minutes = slices.DeleteFunc(b.minutes, func(m minute) bool { return m.At < old })
	if n := len(b.minutes) - minutesMax; n > 0 {
		b.minutes = slices.Delete(b.minutes, 0, n)
	}
	if b.written > 2*minutesMax {
		return b.anew()
	}
	line, err := json.Marshal(m)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(b.file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write a minute of the objectives: %w", err)
	}
	_, err = f.Write(append(line, '\n'))
	b.written++
	return errors.Join(err, f.Close())
}

// anew writes the file without what is too old.
func (b *Book) anew() error {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	for i := range b.minutes {
		if err := e.Encode(&b.minutes[i]); err != nil {
			return err
		}
	}
	if err := os.WriteFile(b.file+".new", out.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write the minutes of the objectives anew: %w", err)
	}
	b.written = len(b.minutes)
	return os.Rename(b.file+".new", b.file)
}

// Look is how every objective stands.
func (b *Book) Look(now time.Time) []State {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []State
	for _, o := range Objectives() {
		out = append(out, b.look(o, now))
	}
	return out
}

func (b *Book) look(o Objective, now time.Time) State {
	s := State{Objective: o}
	burns := map[string]float64{}
	for _, w := range windows {
		one := Window{Name: w.name, WholeS: w.long.Seconds()}
		from := now.Add(-w.long).Unix()
		for i := len(b.minutes) - 1; i >= 0 && b.minutes[i].At >= from; i-- {
			if c, ok := b.minutes[i].Counts[o.ID]; ok {
				one.Good, one.All = one.Good+c.Good, one.All+c.All
				one.SeenS = min(one.SeenS+60, one.WholeS)
				at := time.Unix(b.minutes[i].At, 0).UTC()
				s.Since = &at
			}
		}
		if one.All > 0 {
			burn := (one.All - one.Good) / one.All / (1 - o.Target)
			one.Burn = &burn
			burns[w.name] = burn
			if w.long == Period {
				left := 1 - burn
				s.Left = &left
			}
		}
		s.Windows = append(s.Windows, one)
	}
	for _, a := range alerts {
		if burns[a.long] > a.burn && burns[a.short] > a.burn {
			s.Alert = a.level
			break
		}
	}
	return s
}

// Rules are the alerts for a Prometheus, of the objectives that it can tell.
func Rules() []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, "# Generated from doctor/slo by `go test ./doctor/slo -update`. Do not edit.")
	fmt.Fprintln(&b, "# Multi-window, multi-burn-rate, after https://sre.google/workbook/alerting-on-slos/ (table 5-8).")
	fmt.Fprintln(&b, "groups:")
	for _, o := range Objectives() {
		if o.Bad == "" {
			continue
		}
		fmt.Fprintf(&b, "  - name: moneta-slo-%s\n    rules:\n", o.ID)
		for _, a := range alerts {
			bad := func(w string) string { return fmt.Sprintf("(%s)", fmt.Sprintf(o.Bad, w)) }
			over := fmt.Sprintf("%g", roundedTo(a.burn*(1-o.Target)))
			fmt.Fprintf(&b, "      - alert: MonetaBudget%s%s\n", map[string]string{Accept: "Accept", Quick: "Quick"}[o.ID], map[string]string{"1h": "Fast", "6h": "Steady", "3d": "Slow"}[a.long])
			fmt.Fprintf(&b, "        expr: |-\n          %s > %s\n          and\n          %s > %s\n", bad(a.long), over, bad(a.short), over)
			fmt.Fprintf(&b, "        labels:\n          severity: %s\n          slo: %s\n", a.level, o.ID)
			fmt.Fprintf(&b, "        annotations:\n          summary: %q\n          summary_zh: %q\n          runbook: docs/slo.md\n",
				fmt.Sprintf("the budget burns %g times as fast as allowed: %s", a.burn, o.Says.EN), fmt.Sprintf("错误预算消耗速度为允许的 %g 倍:%s", a.burn, o.Says.ZH))
		}
	}
	return b.Bytes()
}

// roundedTo takes what binary fractions add away.
func roundedTo(v float64) float64 { return float64(int64(v*1e6+.5)) / 1e6 }
