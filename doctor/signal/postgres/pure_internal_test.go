package postgres

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestRoots(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		waits []wait
		want  []blocked
	}{
		"nobody waits":                    {nil, nil},
		"a chain":                         {[]wait{{2, 1}, {3, 2}, {4, 3}}, []blocked{{1, []int32{2, 3, 4}}}},
		"two for one, told twice":         {[]wait{{2, 1}, {3, 1}, {3, 1}}, []blocked{{1, []int32{2, 3}}}},
		"one for two":                     {[]wait{{3, 1}, {3, 2}}, []blocked{{1, []int32{3}}, {2, []int32{3}}}},
		"a ring, which the server breaks": {[]wait{{1, 2}, {2, 1}}, nil},
		"behind a ring":                   {[]wait{{1, 2}, {2, 1}, {3, 1}}, nil},
		"a prepared transaction":          {[]wait{{5, 0}}, []blocked{{0, []int32{5}}}},
	} {
		require.Equal(t, c.want, roots(c.waits), name)
	}
}

// A root never waits, and who is behind it does.
func TestRootsNeverWait(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		waits := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) wait {
			return wait{rapid.Int32Range(1, 12).Draw(t, "waiter"), rapid.Int32Range(0, 12).Draw(t, "blocker")}
		}), 0, 40).Draw(t, "waits")
		waiting := map[int32]bool{}
		for _, w := range waits {
			if w.Waiter != w.Blocker {
				waiting[w.Waiter] = true
			}
		}
		for _, b := range roots(waits) {
			require.False(t, waiting[b.Root])
			require.NotEmpty(t, b.Waiters)
			for _, w := range b.Waiters {
				require.True(t, waiting[w])
			}
		}
	})
}

func TestStandbyNames(t *testing.T) {
	t.Parallel()
	there := []replica{{Name: "near", State: "streaming"}, {Name: "late", State: "catchup"}}
	for setting, want := range map[string]struct {
		gone  []string
		lacks int
	}{
		"":                         {nil, 0},
		"near":                     {nil, 0},
		"far":                      {[]string{"far"}, 1},
		"near, far":                {[]string{"far"}, 0},
		"FIRST 2 (near, far)":      {[]string{"far"}, 1},
		"ANY 1 (near, far, third)": {[]string{"far", "third"}, 0},
		`2 ("Near", late)`:         {[]string{"late"}, 1},
		"*":                        {nil, 0},
		"ANY 2 (*)":                {[]string{"*"}, 1},
	} {
		gone, lacks := missing(setting, there)
		require.Equal(t, want.gone, gone, setting)
		require.Equal(t, want.lacks, lacks, setting)
	}
}
