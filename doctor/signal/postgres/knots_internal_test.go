package postgres

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		waits []wait
		want  []int32
	}{
		"nobody waits":                       {nil, nil},
		"a chain":                            {[]wait{{2, 1}, {3, 2}}, nil},
		"two":                                {[]wait{{2, 1}, {1, 2}}, []int32{1, 2}},
		"three, told twice":                  {[]wait{{1, 2}, {1, 2}, {2, 3}, {3, 1}}, []int32{1, 2, 3}},
		"behind a ring, and before it":       {[]wait{{1, 2}, {2, 1}, {3, 1}, {1, 4}}, []int32{1, 2}},
		"a root that holds up one of a ring": {[]wait{{1, 2}, {2, 1}, {2, 9}}, []int32{1, 2}},
	} {
		require.Equal(t, c.want, rings(c.waits), name)
	}
}

// Whom a deadlock is told of was in two of them or more: not who only holds somebody up
// meanwhile, not one of the wallet's, not who was in one.
func TestWhoIsInDeadlocksAgainAndAgain(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)
	now, k := start, knots{}
	look := func(broken int64, waits ...wait) *turns {
		now = now.Add(time.Second)
		p := picture{now: now, waits: waits, byPID: map[int32]*session{}}
		for pid, app := range map[int32]string{1: "moneta leader 1", 2: "balance-job", 3: "other-job", 9: "backup"} {
			p.byPID[pid] = &session{PID: pid, Start: start, Application: app, Kind: "client backend"}
		}
		k.see(&p, broken)
		return k.worst()
	}
	held := wait{3, 9} // by the backup, all the time
	require.Nil(t, look(0, wait{1, 2}, wait{2, 1}, held))
	require.Nil(t, look(1, held), "one may be an accident")
	require.Nil(t, look(1, held), "nobody was seen in this one")
	require.Nil(t, look(0, wait{3, 2}, wait{2, 3}, held))
	require.Nil(t, look(0, held), "a ring that the server has not broken is none")
	at := look(1, held)
	require.NotNil(t, at)
	require.Equal(t, int32(2), at.who.PID)
	require.Len(t, at.broken, 2)
	now = now.Add(knotsFor)
	require.Nil(t, look(0, held), "it is over")
	require.Empty(t, k.turns)
	require.Empty(t, k.counted)
	for range 5 {
		require.Nil(t, look(1, held), "who only holds others up while others knot is not named")
	}
	look(0, wait{1, 2}, wait{2, 1})
	now = now.Add(countedIn)
	look(1)
	require.Empty(t, k.turns, "a ring of long ago is not this deadlock")
}
