package tell

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
)

func TestRoomOfAnIncident(t *testing.T) {
	t.Parallel()
	all := whole()
	for _, lang := range []string{"en", "zh"} {
		for n := 2; n <= len(all); n += 2 { // whatever stage it is at
			r, err := RoomOf(told(t, lang, 10*time.Second, all[:n]...))
			require.NoError(t, err)
			require.NotEmpty(t, r.Sentence)
			require.Len(t, r.Stages, 5)
			require.Len(t, r.Guide, 8)
			require.Len(t, r.Order, 3)
			raw, err := json.Marshal(r)
			require.NoError(t, err)
			require.NotContains(t, string(raw), ":null", "a list is never null")
		}
	}
	r, err := RoomOf(told(t, "en", 10*time.Second, all...))
	require.NoError(t, err)
	require.Contains(t, r.Sentence, "with the breaks listed below")
	require.Contains(t, r.Sentence, "At fault is postgres: a session holds locks while idle (93 %)")
	require.Equal(t, []Break{{"timing: 3 payments", "finance"}}, r.Breaks)
	require.Equal(t, "observe", r.Stages[0].Loop)
	require.InDelta(t, 12, *r.Stages[0].AfterS, 0.01)
	require.Nil(t, r.Stages[4].At, "it was never proved clean")
	require.Len(t, r.MoneyOver, 3)
	require.Equal(t, line.Says, r.Answer.For[0].Text)
	require.Equal(t, not.Says, r.Answer.Against[0].Text)
	require.NotNil(t, r.Answer.TriageS)
	require.Equal(t, []string{"End those who wait."}, r.Cause.Never)
	require.Contains(t, r.Todo.Short[0].Text, "Take back lever banner everything")
	require.False(t, r.Order[2].Done, "it is not proved")
	require.True(t, r.Guide[4].Known)
	require.Contains(t, r.Guide[4].Answer, "session 4711")
	require.Len(t, r.Held, 1)
	zh, err := RoomOf(told(t, "zh", 10*time.Second, all...))
	require.NoError(t, err)
	require.Equal(t, line.SaysZH, zh.Answer.For[0].Text)
	require.Contains(t, zh.Sentence, "会话空闲却持有锁")
}

// While a person's lever hides whether a bank is well, the sentence on top says so, and no
// longer once it was let go.
func TestRoomSaysWhatALeverHides(t *testing.T) {
	t.Parallel()
	all := []any{
		doctor.EntryOpened,
		doctor.Opening{Alarm: overdue},
		doctor.EntryTold,
		doctor.Told{To: "operators", Text: doctor.Text{EN: "bank-2 is held back by ann", ZH: "bank-2 被 ann 暂停"}, About: doctor.HeldBack},
		doctor.EntryTold,
		doctor.Told{To: "operators", Text: doctor.Text{EN: "something else", ZH: "其他"}},
	}
	for lang, want := range map[string]string{"en": "bank-2 is held back by ann", "zh": "bank-2 被 ann 暂停"} {
		r, err := RoomOf(told(t, lang, time.Second, all...))
		require.NoError(t, err)
		require.Contains(t, r.Sentence, want)
		r, err = RoomOf(told(t, lang, time.Second, append(slices.Clone(all), doctor.EntryTold, doctor.Told{To: "operators", Text: doctor.Text{EN: "let go", ZH: "已解除"}, About: doctor.LetGo})...))
		require.NoError(t, err)
		require.NotContains(t, r.Sentence, want)
	}
}

// What the leading fault explains follows from it; what is a fault of its own does not.
func TestRoomTellsWhatFollowsFromTheCause(t *testing.T) {
	t.Parallel()
	answer := found
	answer.Also = []doctor.Hypothesis{{Node: "bank-2", Mechanism: "down", Posterior: .9}}
	behind := overdue
	behind.Hop = "settle"
	r, err := RoomOf(told(t, "en", time.Second, doctor.EntryOpened, doctor.Opening{Alarm: behind}, doctor.EntryAlarm, blind, doctor.EntryAnswer, answer,
		doctor.EntryWaits, ended, doctor.EntryDone, lever))
	require.NoError(t, err)
	require.Len(t, r.Alarms, 2)
	require.True(t, r.Alarms[0].Page, "what pages comes first")
	require.Equal(t, "postgres", r.Alarms[0].ExplainedBy)
	require.Empty(t, r.Alarms[1].ExplainedBy, "bank-2 has a fault of its own")
	require.Contains(t, r.Sentence, "it is contained")
	require.Contains(t, r.Sentence, "It waits for you: terminate-session postgres.")
	_, err = RoomOf(&Source{Lang: "en"})
	require.ErrorIs(t, err, errEmpty)
}

func TestThinKeepsTheEnds(t *testing.T) {
	t.Parallel()
	var all []int
	for i := range 1001 {
		all = append(all, i)
	}
	got := thin(all, 11)
	require.Len(t, got, 11)
	require.Equal(t, []int{0, 1000}, []int{got[0], got[10]})
	require.Equal(t, all[:5], thin(all[:5], 11))
}

// A lever that was let go by its act is not to be taken back any more, however the two
// acts write their aim.
func TestWhatWasLetGoIsNotHeld(t *testing.T) {
	t.Parallel()
	undo := doctor.Done{Act: doctor.Act{ID: "a1/undo", Cause: jam.ID, Step: "say-so", Do: doctor.DoUndoLever, Aim: "everything", With: map[string]string{"act": "a1", "lever": "banner"}, By: "doctor"}}
	held := []any{doctor.EntryOpened, doctor.Opening{Alarm: overdue}, doctor.EntryAnswer, found, doctor.EntryDone, lever}
	r, err := RoomOf(told(t, "en", time.Second, held...))
	require.NoError(t, err)
	require.Len(t, r.Held, 1)
	r, err = RoomOf(told(t, "en", time.Second, append(held, doctor.EntryDone, undo)...))
	require.NoError(t, err)
	require.Empty(t, r.Held)
	for _, todo := range r.Todo.Short {
		require.NotContains(t, todo.Text, "Take back")
	}
}
