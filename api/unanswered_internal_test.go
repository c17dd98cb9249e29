package api

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Since when nobody was answered, however many come and go away meanwhile.
func TestUnanswered(t *testing.T) {
	t.Parallel()
	at := func(s int) time.Time { return time.Unix(int64(1000+s), 0) }
	u := new(unanswered)
	require.Zero(t, u.lasts(at(9), 0), "nobody asks")
	u.begins(at(0))
	u.begins(at(1))
	require.Equal(t, 5*time.Second, u.lasts(at(5), 2))
	u.answers(at(5), true)
	require.Equal(t, time.Second, u.lasts(at(6), 1), "the other one waits since then")
	u.answers(at(6), false)
	require.Zero(t, u.lasts(at(60), 0))
	require.Zero(t, u.lasts(at(60), 1), "it has just begun")
	u.begins(at(60))
	require.Zero(t, u.lasts(at(70), 0), "who asked went away")
	u.begins(at(70))
	require.Equal(t, 12*time.Second, u.lasts(at(72), 1), "and was never answered")
}
