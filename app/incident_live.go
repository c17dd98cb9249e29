package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/term"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/journal"
	"github.com/moneta-pay/moneta/doctor/tell"
)

// liveEvery is the time between two looks of the live screen.
const liveEvery = time.Second

// live follows the journal's files and asks the watch, again and again.
type live struct {
	c      *IncidentConfig
	reader *journal.Reader
	folder *journal.Folder
	// entries are those of the newest incident, and what belongs to none meanwhile.
	entries []doctor.Entry
	newest  string
	fresh   []doctor.Entry // that came with the last look
	damage  []journal.Damage
}

func newLive(c *IncidentConfig) *live {
	return &live{c: c, reader: journal.NewReader(journalDir(c.DataDir), 0), folder: journal.NewFolder(1)}
}

func (l *live) close() { _ = l.reader.Close() }

// look reads what the journal got, and asks the watch what is now.
func (l *live) look(ctx context.Context) (*tell.Moment, error) {
	if err := l.follow(); err != nil {
		return nil, err
	}
	m := &tell.Moment{Lang: l.c.Lang, At: time.Now()}
	if in, ok := l.folder.Incident(l.newest); ok {
		m.Source = l.c.sourceOf(in, l.entries)
	}
	w, err := findWatch(l.c.DataDir)
	var now watchNow
	if err == nil {
		now, err = w.now(ctx)
	}
	if err != nil {
		m.Blind = err.Error()
		if m.Source != nil {
			m.Alarms, m.Answer = m.Source.Incident.Alarms, m.Source.Incident.Answer
		}
		return m, nil
	}
	m.SeenAt, m.Alarms, m.Answer = now.At, now.Alarms, now.Answer
	if m.Answer == nil && m.Source != nil && m.Source.Incident.ClosedAt == nil {
		m.Answer = m.Source.Incident.Answer
	}
	if e, err := w.evidence(ctx); err == nil {
		m.Hops = tell.WaitsOf(e)
	}
	return m, nil
}

// follow reads on in the journal; none yet is an empty one.
func (l *live) follow() error {
	l.fresh, l.damage = nil, nil
	for {
		b, err := l.reader.Next(1000)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		l.damage = append(l.damage, b.Damage...)
		for i := range b.Entries {
			e := &b.Entries[i]
			l.folder.Add(*e)
			if e.Incident != "" && e.Incident != l.newest && e.What == doctor.EntryOpened {
				l.newest, l.entries = e.Incident, nil
			}
			if e.Incident == "" || e.Incident == l.newest {
				l.entries = append(l.entries, *e)
			}
		}
		l.fresh = append(l.fresh, b.Entries...)
		if len(b.Entries) == 0 {
			return nil
		}
	}
}

// IncidentWatch shows what is going on until ctx ends or somebody quits: a screen, or
// with plain a line for each thing that happens.
func IncidentWatch(ctx context.Context, c IncidentConfig, plain bool) error {
	l := newLive(&c)
	defer l.close()
	if plain || c.JSON {
		return l.lines(ctx)
	}
	if !term.IsTerminal(os.Stdin.Fd()) {
		return errors.New(say(c.Lang, "live-no-terminal"))
	}
	model := &screenModel{live: l, ctx: ctx, lang: c.Lang, width: 80, height: 24}
	_, err := tea.NewProgram(model, tea.WithContext(ctx), tea.WithOutput(c.Out)).Run()
	if err == nil {
		err = model.err
	}
	if errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil {
		return nil
	}
	return err
}

// lines prints each entry as it comes, and what the watch says when it says something
// else. With JSON each line is an entry.
func (l *live) lines(ctx context.Context) error {
	tick := time.NewTicker(liveEvery)
	defer tick.Stop()
	for before := ""; ; {
		m, err := l.look(ctx)
		if err != nil {
			return err
		}
		if before, err = l.print(m, before); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (l *live) print(m *tell.Moment, before string) (string, error) {
	for _, d := range l.damage {
		fmt.Fprint(l.c.Err, say(l.c.Lang, "inc-damage", d.String()))
	}
	for i := range l.fresh {
		e := &l.fresh[i]
		if l.c.JSON {
			if err := json.NewEncoder(l.c.Out).Encode(e); err != nil {
				return before, err
			}
			continue
		}
		s := l.c.sourceOf(doctor.Incident{}, nil)
		if _, err := fmt.Fprintf(l.c.Out, "%s %s %s\n", e.At.UTC().Format(time.RFC3339), orDash(e.Incident), tell.Line(s, e)); err != nil {
			return before, err
		}
	}
	now := m.Sentence()
	if now == before || l.c.JSON {
		return before, nil
	}
	_, err := fmt.Fprintf(l.c.Out, "%s - %s\n", m.At.UTC().Format(time.RFC3339), now)
	return now, err
}

// screenModel is the live screen for bubbletea.
type screenModel struct {
	live          *live
	ctx           context.Context // bubbletea calls without one
	moment        *tell.Moment
	err           error
	lang          string
	width, height int
}

// looked is what a look came to.
type looked struct {
	moment *tell.Moment
	err    error
}

func (s *screenModel) look() tea.Msg {
	m, err := s.live.look(s.ctx)
	return looked{m, err}
}

// Init looks at once.
func (s *screenModel) Init() tea.Cmd { return s.look }

// Update takes keys, the size of the terminal, and what was seen; one look is under way
// at a time.
func (s *screenModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		s.width, s.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		switch msg.String() {
		case "q", "ctrl+c", "esc":
			return s, tea.Quit
		case "l":
			s.lang = map[string]string{"en": "zh", "zh": "en"}[s.lang]
			s.speak()
		}
	case looked:
		s.moment, s.err = msg.moment, msg.err
		if s.err != nil {
			return s, tea.Quit
		}
		s.speak()
		return s, tea.Tick(liveEvery, func(time.Time) tea.Msg { return s.look() })
	}
	return s, nil
}

// speak puts what was seen into the language that was chosen.
func (s *screenModel) speak() {
	if s.moment == nil {
		return
	}
	s.moment.Lang = s.lang
	if s.moment.Source != nil {
		s.moment.Source.Lang = s.lang
	}
}

// sgr are the terminal's colours of the screen's styles.
var sgr = map[tell.Style]string{tell.Title: "1", tell.Bad: "31;1", tell.Good: "32", tell.Faint: "2"}

// View draws the newest moment.
func (s *screenModel) View() tea.View {
	v := tea.NewView("")
	v.AltScreen = true
	if s.moment == nil {
		return v
	}
	var b strings.Builder
	for i, r := range s.moment.Screen(s.width, s.height) {
		if i > 0 {
			b.WriteByte('\n')
		}
		if on := sgr[r.Style]; on != "" && os.Getenv("NO_COLOR") == "" {
			b.WriteString("\x1b[" + on + "m" + r.Text + "\x1b[0m")
		} else {
			b.WriteString(r.Text)
		}
	}
	v.SetContent(b.String())
	return v
}
