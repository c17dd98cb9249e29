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
	require.Equal(t, []doctor.FollowUp{done, {ID: "own", Text: "a second disk"}}, in.FollowUps)
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
