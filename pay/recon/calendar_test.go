package recon_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moneta-pay/moneta/pay/recon"
)

func prague(t testing.TB) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Prague")
	require.NoError(t, err)
	return zone
}

func bank(t testing.TB) recon.Calendar {
	t.Helper()
	return recon.Calendar{
		Zone: prague(t), CutOff: 17 * time.Hour, Weekend: []time.Weekday{time.Saturday, time.Sunday},
		Holidays: map[recon.Date]bool{{Year: 2026, Month: time.December, Day: 24}: true, {Year: 2026, Month: time.December, Day: 25}: true},
		Daily:    true, ArriveDays: 1, ArriveAt: 8 * time.Hour, Grace: time.Hour,
	}
}

// The cut-off, weekends, holidays, the wall clock through a change of daylight
// saving time: what a person with the bank's calendar would say.
func TestABanksCalendar(t *testing.T) {
	t.Parallel()
	c := bank(t)
	local := func(s string) time.Time {
		at, err := time.ParseInLocation("2006-01-02 15:04", s, prague(t))
		require.NoError(t, err)
		return at
	}
	for _, x := range []struct{ at, day, due string }{
		{"2026-11-23 16:59", "2026-11-23", "2026-11-24 09:00"}, // Monday, in time
		{"2026-11-23 17:00", "2026-11-24", "2026-11-25 09:00"}, // a minute later: tomorrow's
		{"2026-11-20 18:00", "2026-11-23", "2026-11-24 09:00"}, // Friday evening is Monday
		{"2026-11-21 12:00", "2026-11-23", "2026-11-24 09:00"}, // Saturday
		{"2026-12-23 18:00", "2026-12-28", "2026-12-29 09:00"}, // over Christmas and a weekend
		{"2026-03-27 16:00", "2026-03-27", "2026-03-30 09:00"}, // the clock is put forward on the 29th
	} {
		require.Equal(t, x.day, c.Day(local(x.at)).String(), x.at)
		require.True(t, local(x.due).Equal(c.Due(local(x.at))), "%s is due at %s", x.at, c.Due(local(x.at)))
	}
	require.NoError(t, c.Validate())
	open := recon.Calendar{}
	at := local("2026-11-21 12:00")
	require.Equal(t, at.Add(recon.DefaultMissingAfter), open.Due(at), "a rail that never closes")
	open.Weekend = []time.Weekday{time.Saturday, time.Sunday}
	require.Equal(t, time.Date(2026, 11, 23, 0, 10, 0, 0, time.UTC), open.Due(at), "booked when it opens")
}

func TestACalendarThatNeverOpensIsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []recon.Calendar{
		{Weekend: []time.Weekday{0, 1, 2, 3, 4, 5, 6}},
		{CutOff: 25 * time.Hour},
		{CutOff: time.Second},
		{ArriveAt: -1},
		{ArriveDays: 1000},
		{Grace: -1},
	} {
		require.Error(t, c.Validate())
	}
}

// Every instant belongs to exactly one business day, and is due after it ended.
func TestBusinessDaysTileTime(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		c := bank(t)
		c.CutOff = time.Duration(rapid.IntRange(0, 24*60).Draw(r, "cut-off")) * time.Minute
		at := time.Unix(rapid.Int64Range(1_700_000_000, 1_900_000_000).Draw(r, "at"), 0)
		day := c.Day(at)
		from, until := c.Span(day)
		require.True(r, c.Open(day))
		require.False(r, at.Before(from), "%s is before %s began at %s", at, day, from)
		require.True(r, at.Before(until), "%s is after %s ended at %s", at, day, until)
		require.True(r, c.Due(at).After(until))
		require.Equal(r, day, c.Day(from))
		require.NotEqual(r, day, c.Day(until))
	})
}
