package tell

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moneta-pay/moneta/doctor"
)

func moment(t *testing.T, lang string, entries int) *Moment {
	t.Helper()
	s := told(t, lang, 10*time.Second, whole()[:entries]...)
	m := &Moment{Lang: lang, At: s.Now, Source: s, Alarms: s.Incident.Alarms, Answer: s.Incident.Answer}
	hops, _ := doctor.Road("bank-1", "bank-2", "bank-3")
	for _, h := range hops {
		m.Hops = append(m.Hops, Waits{Hop: h.Name, Kind: h.Kind, Known: true, Heard: h.Name != doctor.HopRecon})
	}
	m.Hops[4].Items, m.Hops[4].OldestS = 212, 131
	m.Hops[7].Items, m.Hops[7].OldestS = 3, 1.5
	return m
}

func texts24(rows []Row) string {
	var b strings.Builder
	for _, r := range rows {
		b.WriteString(r.Text + "\n")
	}
	return b.String()
}

// The screen of an open incident in 80×24 shows where it hurts, why, what was done, and
// what is asked of people.
func TestScreenOfAnIncident(t *testing.T) {
	t.Parallel()
	m := moment(t, "en", 28) // until what waits for approval
	got := texts24(m.Screen(80, 24))
	for _, want := range []string{
		"inc_01ab  contained", "Not well at dispatch: the oldest work is 31 s old.", "At fault is postgres: a\nsession holds locks while idle (93 %).", "!dispatch", "!bank-2", "+channels(2)", "·recon",
		"212  2 min", "93 %", "told holders:", "done: lever banner everything", "waits for your approval: terminate-session postgres (a2)", "q quits",
	} {
		require.Contains(t, got, want, got)
	}
	require.Contains(t, texts24(moment(t, "zh", 28).Screen(80, 24)), "等待批准:terminate-session postgres(a2)")
	m.Alarms = m.Alarms[1:] // the silent bank is a ticket
	require.Contains(t, texts24(m.Screen(80, 24)), "Nobody is woken. A ticket for bank-2: bank-2 is silent for 9 s.")
	m.Alarms, m.Answer = nil, nil
	require.Contains(t, texts24(m.Screen(80, 24)), "Everything moves again; it is being proved")
	m.Source = nil
	require.Contains(t, texts24(m.Screen(80, 24)), "Everything moves. No invariant is broken.")
	m.Blind = "no watch runs"
	require.Contains(t, texts24(m.Screen(80, 24)), "Nothing is known of now: no watch runs.")
}

// Whatever is told, in either language: exactly as many lines as the terminal has, none
// wider, nothing that moves the cursor.
func TestScreenFits(t *testing.T) {
	t.Parallel()
	base := map[string]*Moment{"en": moment(t, "en", 40), "zh": moment(t, "zh", 40)}
	rapid.Check(t, func(r *rapid.T) {
		lang := rapid.SampledFrom([]string{"en", "zh"}).Draw(r, "lang")
		m := *base[lang]
		text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"\x1b[2J宽宽宽", strings.Repeat("银行", 60), strings.Repeat("long", 50)})).Draw(r, "text")
		m.Alarms = []doctor.Alarm{{Hop: text, Says: text, Page: rapid.Bool().Draw(r, "page")}}
		m.Answer = &doctor.Answer{Verdict: doctor.CauseFound, Ranked: []doctor.Hypothesis{{Node: text, Mechanism: text, Posterior: 2}}, NextChecks: []doctor.Check{{Ask: text}}}
		m.Hops = append([]Waits{{Hop: text, Items: 1e9, OldestS: 1e7, Value: text, Known: true}}, m.Hops...)
		width, height := rapid.IntRange(1, 140).Draw(r, "width"), rapid.IntRange(1, 50).Draw(r, "height")
		rows := m.Screen(width, height)
		require.Len(r, rows, max(height, 6))
		for _, row := range rows {
			require.LessOrEqual(r, Cells(row.Text), max(width, 20), row.Text)
			require.NotContains(r, row.Text, "\x1b")
			require.NotContains(r, row.Text, "\n")
		}
	})
}

func TestCells(t *testing.T) {
	t.Parallel()
	require.Equal(t, 9, Cells("a银行\uff0cb█"))
	require.Equal(t, []string{"ab cd", "ef"}, wrap("ab cd ef", 6))
	require.Equal(t, []string{"银行", "银"}, wrap("银行银", 5))
	require.Equal(t, "银…", fit("银行银", 4))
}

func TestWaitsOfAnEvidence(t *testing.T) {
	t.Parallel()
	at := began
	e := &doctor.Evidence{TakenAt: at, Hops: []doctor.Hop{{Name: "settle", Kind: doctor.Queue}, {Name: "dispatch", Kind: doctor.Queue}}, Readings: []doctor.Reading{
		{Hop: "dispatch", Signal: doctor.Waiting, Last: 12, During: doctor.Sample{N: 1}, Newest: &at},
		{Hop: "dispatch", Signal: doctor.OldestAge, Last: 31, During: doctor.Sample{N: 1}, Newest: &at},
		{Hop: "settle", Signal: doctor.Waiting, Last: 7, Before: doctor.Sample{N: 4}},
	}}
	require.Equal(t, []Waits{{Hop: "dispatch", Kind: doctor.Queue, Items: 12, OldestS: 31, Known: true, Heard: true}, {Hop: "settle", Kind: doctor.Queue, Items: 7}}, WaitsOf(e))
}
