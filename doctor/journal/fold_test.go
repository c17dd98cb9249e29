package journal

import (
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moneta-pay/moneta/doctor"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func entry(t require.TestingT, incident, what string, data any) doctor.Entry {
	b, err := json.Marshal(data)
	require.NoError(t, err)
	return doctor.Entry{Incident: incident, What: what, Who: "doctor", Data: b}
}

// script numbers and dates entries, ten seconds apart.
func script(entries ...doctor.Entry) []doctor.Entry {
	for i := range entries {
		entries[i].Seq, entries[i].At = uint64(i+1), noon.Add(time.Duration(i)*10*time.Second)
	}
	return entries
}

var (
	overdue = doctor.Alarm{Rule: doctor.Progress, Hop: "dispatch", Signal: doctor.OldestAge, Page: true, Since: noon.Add(-time.Minute)}
	busy    = doctor.Alarm{Rule: doctor.Utilisation, Hop: "serve", Signal: doctor.Busy}
	repair  = doctor.Done{Act: doctor.Act{ID: "a1", Do: "replay-callbacks"}, Change: doctor.Change{Reach: doctor.Compensable, Items: 3}}
	owned   = doctor.Closing{Breaks: []string{"b1"}, Owners: map[string]string{"b1": "finance"}}
)

func TestFoldOfAWholeIncident(t *testing.T) {
	t.Parallel()
	cause := doctor.Answer{Verdict: doctor.CauseFound, Ranked: []doctor.Hypothesis{{Node: "postgres", Mechanism: "long-hold"}}}
	all := script(
		entry(t, "", doctor.EntryStarted, doctor.Note{Text: "watch"}),
		entry(t, "inc_1", doctor.EntryOpened, doctor.Opening{Alarm: overdue}),
		entry(t, "inc_1", doctor.EntryAlarm, busy),
		entry(t, "inc_1", doctor.EntryAnswer, doctor.Answer{Verdict: doctor.Unknown}),
		entry(t, "inc_1", doctor.EntryAnswer, cause),
		entry(t, "inc_1", doctor.EntryStage, doctor.StageReached{Stage: doctor.Diagnosed}),
		entry(t, "inc_1", doctor.EntryMoney, doctor.MoneyAtRisk{Items: 40}),
		entry(t, "inc_1", doctor.EntryMoney, doctor.MoneyAtRisk{Items: 4}),
		entry(t, "inc_1", doctor.EntryWaits, repair),
		entry(t, "inc_1", doctor.EntryApproved, doctor.Approval{ActID: "a1", Agreed: true}),
		entry(t, "inc_1", doctor.EntryDone, repair),
		entry(t, "inc_1", doctor.EntryDone, repair), // told twice after a restart
		entry(t, "inc_1", doctor.EntryQuiet, overdue),
		entry(t, "inc_1", doctor.EntryProof, doctor.ProofKept{File: "p", Clean: true}),
		entry(t, "inc_1", doctor.EntryStage, doctor.StageReached{Stage: doctor.Proved}),
		entry(t, "inc_1", doctor.EntryClosed, doctor.Closing{Clean: true}),
	)
	in, odd := Fold(all[:10])
	require.Empty(t, odd)
	require.Len(t, in[0].Waiting, 1)
	require.Equal(t, []string{"doctor"}, in[0].Waiting[0].Act.Approved)

	in, odd = Fold(all)
	require.Empty(t, odd)
	require.Len(t, in, 1)
	got := in[0]
	require.Equal(t, noon.Add(-time.Minute), got.Since)
	require.Equal(t, all[1].At, got.OpenedAt)
	require.Equal(t, all[15].At, *got.ClosedAt)
	require.True(t, got.Paged)
	require.Equal(t, []doctor.Alarm{busy}, got.Alarms)
	require.Equal(t, "long-hold", got.FirstAnswer.Ranked[0].Mechanism)
	require.Equal(t, 40, got.MoneyMost.Items)
	require.Equal(t, 4, got.Money.Items)
	require.Len(t, got.Acts, 1)
	require.Empty(t, got.Waiting)
	require.Equal(t, map[doctor.Stage]time.Time{doctor.Detected: all[1].At, doctor.Diagnosed: all[5].At, doctor.Proved: all[14].At}, got.Stages)
	require.Equal(t, [2]uint64{2, 16}, got.Entries)
	require.Equal(t, []string{"dispatch"}, got.Hops, "it went quiet, and only what pages counts")
	require.Equal(t, []string{"postgres"}, got.Blamed)
}

// What operators were told of a lever that hides it is since the first word about it.
func TestSight(t *testing.T) {
	t.Parallel()
	say := func(about, text string) doctor.Entry {
		return entry(t, "inc_1", doctor.EntryTold, doctor.Told{To: "operators", Text: doctor.Text{EN: text}, About: about})
	}
	all := script(entry(t, "inc_1", doctor.EntryOpened, doctor.Opening{Alarm: overdue}),
		say(doctor.HeldBack, "a"), say("", "else"), say(doctor.HeldBack, "b"), say(doctor.LetGo, "c"))
	in, _ := Fold(all[:4])
	require.Equal(t, &doctor.Sight{About: doctor.HeldBack, Since: all[1].At, Text: doctor.Text{EN: "b"}}, in[0].Sight)
	in, _ = Fold(all)
	require.Equal(t, &doctor.Sight{About: doctor.LetGo, Since: all[4].At, Text: doctor.Text{EN: "c"}}, in[0].Sight)
}

// SOP-15: an incident ends on a clean proof of what is now, or on listed breaks that are
// somebody's; the writer refuses anything else, and so does the fold.
func TestClosing(t *testing.T) {
	t.Parallel()
	open := entry(t, "inc_1", doctor.EntryOpened, doctor.Opening{Alarm: overdue})
	clean := entry(t, "inc_1", doctor.EntryProof, doctor.ProofKept{Clean: true})
	dirty := entry(t, "inc_1", doctor.EntryProof, doctor.ProofKept{Found: []string{"b1"}})
	moved := entry(t, "inc_1", doctor.EntryDone, repair)
	told := entry(t, "inc_1", doctor.EntryDone, doctor.Done{Act: doctor.Act{ID: "a2", Do: "tell"}, Change: doctor.Change{Reach: doctor.Instant}})
	close := entry(t, "inc_1", doctor.EntryClosed, doctor.Closing{Clean: true})
	for _, c := range []struct {
		name    string
		entries []doctor.Entry
		closes  bool
	}{
		{"clean proof", []doctor.Entry{open, clean, close}, true},
		{"no proof", []doctor.Entry{open, close}, false},
		{"a proof with faults", []doctor.Entry{open, clean, dirty, close}, false},
		{"money moved after the proof", []doctor.Entry{open, clean, moved, close}, false},
		{"proved again", []doctor.Entry{open, clean, moved, clean, close}, true},
		{"somebody told after the proof", []doctor.Entry{open, clean, told, close}, true},
		{"listed and owned", []doctor.Entry{open, dirty, entry(t, "inc_1", doctor.EntryClosed, owned)}, true},
		{"listed and nobody's", []doctor.Entry{open, dirty, entry(t, "inc_1", doctor.EntryClosed, doctor.Closing{Breaks: []string{"b1"}})}, false},
		{"nothing listed", []doctor.Entry{open, dirty, entry(t, "inc_1", doctor.EntryClosed, doctor.Closing{})}, false},
		{"twice", []doctor.Entry{open, clean, close, close}, false},
	} {
		in, odd := Fold(script(append([]doctor.Entry{}, c.entries...)...))
		if c.name == "twice" {
			require.Len(t, odd, 1, c.name)
			continue
		}
		require.Equal(t, c.closes, in[0].ClosedAt != nil, c.name)
		require.Equal(t, c.closes, len(odd) == 0, c.name)

		j := mustOpen(t, t.TempDir(), Options{})
		for i, e := range c.entries {
			_, err := j.Append(t.Context(), e)
			if i == len(c.entries)-1 && !c.closes {
				require.ErrorIs(t, err, ErrRefused, c.name)
			} else {
				require.NoError(t, err, c.name)
			}
		}
		require.Equal(t, c.closes, j.Incidents()[0].ClosedAt != nil, c.name)
	}
}

func TestStageProvedNeedsAProof(t *testing.T) {
	t.Parallel()
	in, odd := Fold(script(
		entry(t, "inc_1", doctor.EntryOpened, doctor.Opening{Alarm: overdue}),
		entry(t, "inc_1", doctor.EntryStage, doctor.StageReached{Stage: doctor.Proved}),
	))
	require.Len(t, odd, 1)
	require.NotContains(t, in[0].Stages, doctor.Proved)
}

func TestOpeningThatIsGone(t *testing.T) {
	t.Parallel()
	in, odd := Fold(script(entry(t, "inc_1", doctor.EntryAlarm, overdue)))
	require.Len(t, in, 1)
	require.Len(t, odd, 1)
	require.Contains(t, odd[0].Why, "opening of inc_1 is missing")
}

func TestFolderForgetsOldClosedIncidents(t *testing.T) {
	t.Parallel()
	f := NewFolder(2)
	seq := uint64(0)
	add := func(e doctor.Entry) {
		seq++
		e.Seq, e.At = seq, noon
		f.Add(e)
	}
	for i := range 5 {
		id := "inc_" + strconv.Itoa(i)
		add(entry(t, id, doctor.EntryOpened, doctor.Opening{Alarm: overdue}))
		if i != 1 {
			add(entry(t, id, doctor.EntryClosed, owned))
		}
	}
	var ids []string
	for _, in := range f.Incidents() {
		ids = append(ids, in.ID)
	}
	require.Equal(t, []string{"inc_1", "inc_3", "inc_4"}, ids)
}

// Whatever is written in whatever order: a prefix told the same then as its fold does
// now; stages only come; closed stays closed, and only with a proof or owned breaks.
func TestFoldProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.SampledFrom([]string{"", "inc_1", "inc_2"})
		draw := rapid.Custom(func(t *rapid.T) doctor.Entry {
			i := id.Draw(t, "incident")
			act := doctor.Done{
				Act:    doctor.Act{ID: rapid.SampledFrom([]string{"a1", "a2", "a3"}).Draw(t, "act")},
				Change: doctor.Change{Reach: doctor.Reach(rapid.IntRange(0, 4).Draw(t, "reach"))},
			}
			alarm := rapid.SampledFrom([]doctor.Alarm{overdue, busy}).Draw(t, "alarm")
			return rapid.SampledFrom([]doctor.Entry{
				entry(t, i, doctor.EntryOpened, doctor.Opening{Alarm: alarm}),
				entry(t, i, doctor.EntryAlarm, alarm), entry(t, i, doctor.EntryQuiet, alarm),
				entry(t, i, doctor.EntryStage, doctor.StageReached{Stage: rapid.SampledFrom(doctor.Stages()).Draw(t, "stage")}),
				entry(t, i, doctor.EntryDone, act), entry(t, i, doctor.EntryFailed, act), entry(t, i, doctor.EntryWaits, act),
				entry(t, i, doctor.EntryApproved, doctor.Approval{ActID: act.Act.ID, Agreed: rapid.Bool().Draw(t, "agreed")}),
				entry(t, i, doctor.EntryMoney, doctor.MoneyAtRisk{Items: rapid.IntRange(0, 9).Draw(t, "items")}),
				entry(t, i, doctor.EntryProof, doctor.ProofKept{Clean: rapid.Bool().Draw(t, "clean")}),
				entry(t, i, doctor.EntryClosed, doctor.Closing{Clean: true}), entry(t, i, doctor.EntryClosed, owned), entry(t, i, doctor.EntryClosed, doctor.Closing{}),
				entry(t, i, doctor.EntryNote, doctor.Note{Text: "n"}), entry(t, i, doctor.EntryFollowUp, doctor.FollowUp{ID: "a", Text: "n"}),
				{Incident: i, What: "unheard of", Who: "doctor"},
			}).Draw(t, "entry")
		})
		all := script(rapid.SliceOfN(draw, 0, 40).Draw(t, "entries")...)
		running := NewFolder(0)
		var before []doctor.Incident
		for n := range all {
			_, known := running.Incident(all[n].Incident)
			refused := running.Refuses(all[n])
			running.Add(all[n])
			now, odd := Fold(all[:n+1])
			require.Equal(t, now, running.Incidents())
			require.Equal(t, odd, running.Odd())
			if all[n].What == doctor.EntryClosed && known {
				in, _ := running.Incident(all[n].Incident)
				require.Equal(t, refused == nil, in.ClosedAt != nil && in.ClosedAt.Equal(all[n].At), "what may be written is what the fold takes")
			}
			for i, was := range before {
				is := now[i]
				require.Equal(t, was.ID, is.ID)
				require.LessOrEqual(t, is.Since, was.Since)
				for s, at := range was.Stages {
					require.Equal(t, at, is.Stages[s], "stages only come")
				}
				if was.ClosedAt != nil {
					was.Later, was.FollowUps = is.Later, is.FollowUps // what is said and done after it
					require.Equal(t, was, is, "closed is final")
				}
				if is.Money != nil {
					require.LessOrEqual(t, is.Money.Items, is.MoneyMost.Items)
				}
			}
			for _, in := range now {
				if in.Closing != nil {
					require.True(t, (in.Closing.Clean && in.Proof.Clean) || in.Closing.Listed() == nil)
				}
				if _, ok := in.Stages[doctor.Proved]; ok {
					require.NotNil(t, in.Proof)
				}
			}
			before = now
		}
	})
}
