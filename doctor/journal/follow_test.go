package journal

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
)

// What follows from an incident is written down while it is open and after it; the newest
// word on each holds.
func TestFollowUpsAreFolded(t *testing.T) {
	t.Parallel()
	f := NewFolder(0)
	seq := uint64(0)
	put := func(u doctor.FollowUp, incident string) error {
		e := entry(t, incident, doctor.EntryFollowUp, u)
		seq++
		e.Seq, e.At = seq, noon
		if err := f.Refuses(e); err != nil {
			return err
		}
		f.Add(e)
		return nil
	}
	require.ErrorContains(t, put(doctor.FollowUp{ID: "a", Text: "x"}, "inc_1"), "no such incident")
	for _, e := range script(entry(t, "inc_1", doctor.EntryOpened, doctor.Opening{Alarm: overdue})) {
		f.Add(e)
	}
	require.NoError(t, put(doctor.FollowUp{ID: "f-post", Text: "complete it", Owner: "anna", Due: "2026-12-01"}, "inc_1"))
	before := f.Incidents()
	require.NoError(t, put(doctor.FollowUp{ID: "own", Text: "a second disk"}, "inc_1"))
	seq++
	closing := entry(t, "inc_1", doctor.EntryClosed, owned)
	closing.Seq, closing.At = seq, noon
	f.Add(closing)
	done := doctor.FollowUp{ID: "f-post", Text: "complete it", Owner: "ben", Done: true}
	require.NoError(t, put(done, "inc_1"))
	in, ok := f.Incident("inc_1")
	require.True(t, ok)
	require.NotNil(t, in.ClosedAt)
	require.Equal(t, [2]uint64{1, closing.Seq}, in.Entries)
	require.Equal(t, []uint64{closing.Seq + 1}, in.Later)
	require.Equal(t, []doctor.Followed{{FollowUp: done, Seq: seq}, {FollowUp: doctor.FollowUp{ID: "own", Text: "a second disk"}, Seq: seq - 2}}, in.FollowUps)
	require.Equal(t, "anna", before[0].FollowUps[0].Owner, "what was handed out stays as it was")
	require.Empty(t, f.Odd())
	// The journal gave up the incident before what follows from it: that opens nothing.
	gone, odd := Fold([]doctor.Entry{entry(t, "inc_0", doctor.EntryFollowUp, done)})
	require.Empty(t, gone)
	require.Len(t, odd, 1)

	for i := range doctor.FollowUpsMost - 2 {
		require.NoError(t, put(doctor.FollowUp{ID: "n" + strconv.Itoa(i), Text: "x"}, "inc_1"))
	}
	require.ErrorContains(t, put(doctor.FollowUp{ID: "one-more", Text: "x"}, "inc_1"), "as many as may be")
	require.NoError(t, put(doctor.FollowUp{ID: "own", Text: "a second disk", Done: true}, "inc_1"))
}

// A step that still waited when its incident was closed is nobody's to decide any more.
func TestAClosedIncidentWaitsForNobody(t *testing.T) {
	t.Parallel()
	in, odd := Fold(script(
		entry(t, "inc_1", doctor.EntryOpened, doctor.Opening{Alarm: overdue}),
		entry(t, "inc_1", doctor.EntryWaits, repair),
		entry(t, "inc_1", doctor.EntryClosed, owned),
	))
	require.Empty(t, odd)
	require.NotNil(t, in[0].ClosedAt)
	require.Empty(t, in[0].Waiting)
}

// What nobody has done keeps its incident beside the newest ones; what goes nevertheless is
// counted.
func TestOpenFollowUpsKeepTheirIncident(t *testing.T) {
	t.Parallel()
	f, seq := NewFolder(2), uint64(0)
	add := func(incident, what string, data any) {
		e := entry(t, incident, what, data)
		seq++
		e.Seq, e.At = seq, noon
		f.Add(e)
	}
	one := func(n int, todo bool) {
		id := "inc_" + strconv.Itoa(n)
		add(id, doctor.EntryOpened, doctor.Opening{Alarm: overdue})
		if todo {
			add(id, doctor.EntryFollowUp, doctor.FollowUp{ID: "a", Text: "x"})
		}
		add(id, doctor.EntryClosed, owned)
	}
	one(0, true)
	for n := range 5 {
		one(1+n, false)
	}
	ids := func() (out []string) {
		for _, in := range f.Incidents() {
			out = append(out, in.ID)
		}
		return out
	}
	require.Equal(t, []string{"inc_0", "inc_4", "inc_5"}, ids())
	add("inc_0", doctor.EntryFollowUp, doctor.FollowUp{ID: "a", Text: "x", Done: true})
	require.Equal(t, []string{"inc_4", "inc_5"}, ids(), "it is done")
	require.Zero(t, f.LeftOut())
	for n := range owingKept + 5 {
		one(10+n, true)
	}
	add("inc_4", doctor.EntryNote, doctor.Note{Text: "of one that is gone"})
	require.NotContains(t, ids(), "inc_4", "a word about it does not open it again")
	require.Len(t, ids(), owingKept+2)
	require.Equal(t, 3, f.LeftOut())
	require.Len(t, f.Odd(), 1)
}

func TestFollowUpsAreChecked(t *testing.T) {
	t.Parallel()
	good := doctor.FollowUp{ID: "f-undo-12", Text: "take it back", Owner: "安娜", Due: "2026-11-22"}
	require.NoError(t, good.Check())
	for _, bad := range []doctor.FollowUp{
		{ID: "", Text: "x"},
		{ID: "A", Text: "x"},
		{ID: "a/b", Text: "x"},
		{ID: strings.Repeat("a", 41), Text: "x"},
		{ID: "a", Text: " "},
		{ID: "a", Text: strings.Repeat("x", 2001)},
		{ID: "a", Text: "x", Owner: "a\nb"},
		{ID: "a", Text: "x", Owner: "\x1b[2J"},
		{ID: "a", Text: "x\ny"},
		{ID: "a", Text: "\x1b]0;t\a x"},
		{ID: "a", Text: "x\u009b2J"},
		{ID: "a", Text: "x", Owner: strings.Repeat("x", 201)},
		{ID: "a", Text: "x", Due: "tomorrow"},
		{ID: "a", Text: "x", Due: "2026-02-30"},
	} {
		require.Error(t, bad.Check(), "%+v", bad)
	}
	require.False(t, good.Overdue(noon), "its day is not over")
	require.True(t, good.Overdue(noon.AddDate(0, 0, 1)))
	good.Done = true
	require.False(t, good.Overdue(noon.AddDate(0, 0, 1)))
}
