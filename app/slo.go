package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/signal/metrics"
	"github.com/moneta-pay/moneta/doctor/slo"
)

// sloFile has the minutes of the objectives, in the doctor's folder.
const sloFile = "slo.jsonl"

// SLOLook is how the objectives stand.
type SLOLook struct {
	At         time.Time   `json:"at"`
	Says       string      `json:"says"`
	Objectives []slo.State `json:"objectives"`
}

// followSLO counts for the objectives, and writes a line a minute, in a goroutine of its own.
func (w *watch) followSLO(ctx context.Context) error {
	var err error
	if w.budgets, err = slo.Open(filepath.Join(doctorFolder(w.cfg.DataDir), sloFile)); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	w.stops = append(w.stops, func(context.Context) error { cancel(); <-done; return nil })
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		m := sloMinute{at: w.clock.Now().Truncate(time.Minute), asked: w.asked()}
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if now := w.clock.Now(); now.Sub(m.at) >= time.Minute || now.Before(m.at) {
				if counts := m.counts(w.asked()); len(counts) > 0 {
					if err := w.budgets.Add(m.at, counts); err != nil {
						w.log.WarnContext(ctx, "a minute of the objectives was not written", slog.Any("error", err))
					}
				}
				m = sloMinute{at: now.Truncate(time.Minute), asked: w.asked()}
			}
			m.look(w)
		}
	}()
	return nil
}

// sloMinute is the minute under way.
type sloMinute struct {
	at      time.Time
	asked   metrics.Asked // at its beginning
	seen    bool          // the facts were read in it
	overdue bool
}

// look sees whether any payment is past its bound. Facts that nobody could read are no
// answer, neither good nor bad.
func (m *sloMinute) look(w *watch) {
	for _, l := range w.memory.Lines("", doctor.Overdue, w.clock.Now().Add(-5*time.Second)) {
		for _, v := range l.Values {
			m.seen, m.overdue = true, m.overdue || v > 0
		}
	}
}

func (m *sloMinute) counts(now metrics.Asked) map[string]slo.Count {
	out := map[string]slo.Count{}
	if all := now.All - m.asked.All; all > 0 {
		out[slo.Accept] = slo.Count{Good: max(all-(now.Faults-m.asked.Faults), 0), All: all}
	}
	if all := now.Answered - m.asked.Answered; all > 0 {
		out[slo.Quick] = slo.Count{Good: min(now.Quick-m.asked.Quick, all), All: all}
	}
	if m.seen {
		c := slo.Count{All: 1}
		if !m.overdue {
			c.Good = 1
		}
		out[slo.OnTime] = c
	}
	return out
}

func (w *watch) asked() metrics.Asked {
	if w.heats == nil {
		return metrics.Asked{}
	}
	return w.heats.Asked()
}

func (w *watch) slo(lang string) SLOLook {
	now := w.clock.Now()
	out := SLOLook{At: now.UTC(), Objectives: w.budgets.Look(now)}
	var burning, none []string
	for i := range out.Objectives {
		switch s := &out.Objectives[i]; {
		case s.Alert != "":
			burning = append(burning, s.ID)
		case s.Left == nil:
			none = append(none, s.ID)
		}
	}
	switch {
	case len(burning) > 0:
		out.Says = say(lang, "slo-burning", strings.Join(burning, ", "))
	case len(none) == len(out.Objectives):
		out.Says = say(lang, "slo-none")
	default:
		out.Says = say(lang, "slo-well")
	}
	return out
}

// sloRoutes are for the console; every viewer may ask.
//
//	GET /api/look/slo   the objectives, their budgets and how fast they burn
func (w *watch) sloRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/look/slo", func(rw http.ResponseWriter, r *http.Request) { answer(rw, w.slo(langOf(r))) })
}

// SLOConfig is what `moneta slo` was asked for.
type SLOConfig struct {
	DataDir string
	JSON    bool
	Lang    string
	Out     io.Writer
}

// SLO shows what was promised, what of the budgets is left, and how fast they burn.
func SLO(ctx context.Context, c SLOConfig) error {
	raw, err := askWatch(ctx, c.DataDir, "/slo?lang="+c.Lang, c.Lang)
	if err != nil {
		return err
	}
	if c.JSON {
		_, err := c.Out.Write(raw)
		return err
	}
	var l SLOLook
	if err := json.Unmarshal(raw, &l); err != nil {
		return fmt.Errorf("the watch answered something else: %w", err)
	}
	return l.print(c.Out, c.Lang)
}

func (l *SLOLook) print(out io.Writer, lang string) error {
	fmt.Fprintln(out, l.Says)
	for i := range l.Objectives {
		s := &l.Objectives[i]
		says := s.Says.EN
		if lang == "zh" {
			says = s.Says.ZH
		}
		fmt.Fprintf(out, "\n%s: %s\n", s.ID, says)
		if s.Left == nil {
			fmt.Fprintln(out, say(lang, "slo-unseen"))
			continue
		}
		fmt.Fprintln(out, say(lang, "slo-left", 100*(*s.Left), momentOf(s.Since)))
		t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(t, say(lang, "slo-head"))
		for _, w := range s.Windows {
			burn := "–"
			if w.Burn != nil {
				burn = fmt.Sprintf("%.2f", *w.Burn)
			}
			fmt.Fprintf(t, "%s\t%s\t%.0f\t%.0f\t%.0f %%\t\n", w.Name, burn, w.All-w.Good, w.All, 100*w.SeenS/w.WholeS)
		}
		if err := t.Flush(); err != nil {
			return err
		}
		if s.Alert != "" {
			fmt.Fprintln(out, say(lang, "slo-"+s.Alert))
		}
	}
	return nil
}
