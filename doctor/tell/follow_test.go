package tell

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
)

// Who took a follow-up, and by when, stands in the draft and in the room; what nobody asks
// for any more stays there too.
func TestFollowUpsHaveOwners(t *testing.T) {
	t.Parallel()
	for lang, want := range map[string][]string{
		"en": {"[x] Complete this draft", "owner: [ben]", "owner: [anna]", "due [2026-11-20]", ", overdue", "Written down besides", "[a second disk]", "owner: (name)", "to be done, [a second disk]", "done, [complete it]"},
		"zh": {"[x] 补全本稿", "负责人:[ben]", "截止 [2026-11-20]", "已逾期", "另行记录", "待办,[a second disk]"},
	} {
		s := told(t, lang, time.Second, append(
			whole(),
			doctor.EntryFollowUp, doctor.FollowUp{ID: "f-post", Text: "complete it", Owner: "anna"},
			doctor.EntryFollowUp, doctor.FollowUp{ID: "f-post", Text: "complete it", Owner: "ben", Done: true},
			doctor.EntryFollowUp, doctor.FollowUp{ID: "t-disk", Text: "a second disk", Owner: "anna", Due: "2026-11-20"},
		)...)
		d, err := PostMortem(s)
		require.NoError(t, err)
		for _, w := range want {
			require.Contains(t, string(d.Markdown()), w)
		}
		wrong, _ := s.Check(d.Markdown())
		require.Empty(t, wrong)
		require.Contains(t, string(d.HTML()), "a second disk")
		r, err := RoomOf(s)
		require.NoError(t, err)
		last := r.Todo.Short[len(r.Todo.Short)-1]
		require.Equal(t, []any{"f-post", "ben", true, false, "doctor"}, []any{last.ID, last.Owner, last.Done, last.Overdue, last.By})
		require.NotEqual(t, "complete it", last.Text, "what is asked for is said in the reader's language")
		require.Len(t, r.Todo.Added, 1)
		require.True(t, r.Todo.Added[0].Overdue)
		require.Equal(t, "a second disk", r.Todo.Added[0].Text)
	}
}
