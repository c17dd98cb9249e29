package app

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/doctor/drill"
)

const (
	// demoDrillRate is orders a second, demoDrillSeed the chance of it.
	demoDrillRate = 60
	demoDrillSeed = 1
	// demoDrillWithin bounds the drill: begun after that it would not end in time.
	demoDrillWithin = 100 * time.Second
)

// demoDrill breaks a world of its own and tells what the doctor sees and does in it,
// line by line from its journal, and at the end what it was.
func demoDrill(ctx context.Context, cfg DemoConfig) error {
	chosen, err := (&DrillConfig{Names: []string{cfg.Drill}}).choose()
	if err != nil {
		return err
	}
	d := chosen[0]
	fmt.Fprint(cfg.Out, say(cfg.Lang, "demo-drill", d.Name, d.About.In(cfg.Lang)))
	kept, err := os.MkdirTemp("", "moneta-demo-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(kept) }() // evidence of the drill, which nobody asked for
	var row *drill.Row
	var teller teller
	err = drill.Run(ctx, drill.Config{
		Make: func(ctx context.Context, kind drill.Variant) (*drill.World, error) {
			w, err := makeDrillWorld(ctx, kind, false)
			if err == nil {
				teller.follow(ctx, IncidentConfig{DataDir: w.Folder, Lang: cfg.Lang, Out: cfg.Out, Err: cfg.Progress})
			}
			return w, err
		},
		Seeds: []uint64{demoDrillSeed}, Rate: demoDrillRate, Within: demoDrillWithin, Evidence: kept, Guess: guesses,
		Skip: func(string, uint64) bool { return false },
		Say:  func(format string, args ...any) { teller.print(cfg.Out, "  · "+format+"\n", args...) },
		Done: func(r drill.Row) error { row = &r; return nil },
	}, []*drill.Drill{d})
	teller.stop()
	if err != nil || row == nil {
		return err
	}
	showRow(cfg.Out, cfg.Lang, row)
	b := drill.NewBoard([]drill.Row{*row}, "moneta "+Version, time.Now())
	if b.Harmful+b.FalsePages+b.Invariants > 0 {
		return &ExitError{ExitMoney, say(cfg.Lang, "drill-red", b.Harmful, b.FalsePages, b.Invariants)}
	}
	return nil
}

// teller prints what the journal gets, beside what the drill says of itself.
type teller struct {
	mu   sync.Mutex
	done []chan struct{}
	end  []context.CancelFunc
}

// print prints one piece whole.
func (t *teller) print(w io.Writer, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(w, format, args...)
}

// whole makes the lines of the journal stand apart from other lines.
type whole struct {
	t *teller
	w io.Writer
}

func (o whole) Write(b []byte) (int, error) {
	o.t.mu.Lock()
	defer o.t.mu.Unlock()
	return o.w.Write(b)
}

func (t *teller) follow(ctx context.Context, c IncidentConfig) {
	ctx, cancel := context.WithCancel(ctx)
	c.Out, c.Err = whole{t, c.Out}, whole{t, c.Err}
	done := make(chan struct{})
	t.done, t.end = append(t.done, done), append(t.end, cancel)
	go func() {
		defer close(done)
		_ = IncidentWatch(ctx, c, true) // what cannot be followed is still told at the end
	}()
}

func (t *teller) stop() {
	for i := range t.end {
		t.end[i]()
		<-t.done[i]
	}
}
