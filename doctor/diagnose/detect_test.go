package diagnose_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/diagnose"
)

var detectAt = time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)

// one is a reading that was usual for a quarter of an hour, and is now as given for ten
// seconds.
func one(hop string, s doctor.Signal, statistic string, usual, now float64) doctor.Reading {
	newest := detectAt.Add(-200 * time.Millisecond)
	return doctor.Reading{
		Hop: hop, Signal: s, Statistic: statistic, StepS: 1, Newest: &newest, Last: now,
		Before: doctor.Sample{From: detectAt.Add(-15 * time.Minute), Until: detectAt.Add(-10 * time.Second), N: 890, Value: usual},
		During: doctor.Sample{From: detectAt.Add(-10 * time.Second), Until: detectAt, N: 10, Value: now},
	}
}

func spread(r doctor.Reading, by float64) doctor.Reading {
	r.During.Spread = by
	return r
}

func detailed(r doctor.Reading, key, value string) doctor.Reading {
	r.Detail = map[string]string{key: value}
	return r
}

func lately(r doctor.Reading, value float64) doctor.Reading {
	r.Lately, r.Last = r.During, value
	r.Lately.Value = value
	return r
}

// ends says that it has another value by now.
func ends(r doctor.Reading, value float64) doctor.Reading {
	r.Last = value
	return r
}

// points says that it was read only so often, and never before.
func points(r doctor.Reading, n int) doctor.Reading {
	r.During.N, r.Before = n, doctor.Sample{}
	return r
}

func restless(r doctor.Reading, spread float64) doctor.Reading {
	r.Before.Spread = spread
	return r
}

func detect(readings ...doctor.Reading) []doctor.Alarm {
	hops, calls := doctor.Road("bank-ab")
	return diagnose.Detect(&doctor.Evidence{Version: 1, TakenAt: detectAt, Hops: hops, Calls: calls, Readings: readings})
}

func codes(alarms []doctor.Alarm) (out []string) {
	for _, a := range alarms {
		c := a.Code
		if a.Page {
			c += "!"
		}
		out = append(out, c)
	}
	return out
}

// Every rule fires on its breach, and on nothing that is still right: each case has its
// negative control.
func TestDetect(t *testing.T) {
	t.Parallel()
	stuck := func(age, residence, waiting, usual, went float64) []doctor.Reading {
		return []doctor.Reading{
			one("dispatch", doctor.Stuck, "bank-ab", 0, age), one("dispatch", doctor.Residence, "bank-ab", residence, residence),
			one("dispatch", doctor.Waiting, "bank-ab", waiting, waiting), one("dispatch", doctor.Departures, "bank-ab", usual, went),
		}
	}
	never := one("decider", doctor.Silence, "", 0, 12)
	never.Detail = map[string]string{"beats": "never"}
	stale := one("decider", doctor.Silence, "", 0, 100)
	old := detectAt.Add(-time.Minute)
	stale.Newest = &old
	for name, c := range map[string]struct {
		readings []doctor.Reading
		want     []string
	}{
		"old and could leave":                      {stuck(6, .1, 40, 10, 9), []string{"alarm-stuck!"}},
		"as old as one was lately":                 {stuck(6, 4, 40, 10, 9), nil},
		"one stuck payment and no traffic":         {stuck(6, 0, 1, 0, 0), []string{"alarm-stuck!"}},
		"nothing leaves for many gaps":             {[]doctor.Reading{one("bank-ab", doctor.Standstill, "", 0, 6), one("bank-ab", doctor.StandstillGaps, "", 0, 60)}, []string{"alarm-standstill!"}},
		"nothing leaves, and seldom did":           {[]doctor.Reading{one("bank-ab", doctor.Standstill, "", 0, 60), one("bank-ab", doctor.StandstillGaps, "", 0, 6)}, nil},
		"one wish becomes two payments":            {[]doctor.Reading{one("api", doctor.Doubled, "", .001, .12)}, []string{"alarm-doubled!"}},
		"a few wish the same twice":                {[]doctor.Reading{one("api", doctor.Doubled, "", .001, .05)}, nil},
		"twice as often as usual":                  {[]doctor.Reading{one("api", doctor.Doubled, "", .06, .12)}, nil},
		"twice, and nobody knows what is usual":    {[]doctor.Reading{points(one("api", doctor.Doubled, "", 0, .5), 9)}, nil},
		"twice, as it comes and goes there":        {[]doctor.Reading{restless(one("api", doctor.Doubled, "", .03, .43), .14)}, nil},
		"the edge answers nobody":                  {[]doctor.Reading{one("api", doctor.Standstill, "", 0, 6), one("api", doctor.StandstillGaps, "", 0, 600)}, []string{"alarm-standstill!"}},
		"the edge is slow with its only caller":    {[]doctor.Reading{one("api", doctor.Standstill, "", 0, 20), one("api", doctor.StandstillGaps, "", 0, 4)}, nil},
		"one owner's work is overtaken":            {[]doctor.Reading{one("bank-ab", doctor.LeftBehind, "", 0, 12), one("bank-ab", doctor.LeftBehindOdds, "", 0, 7)}, []string{"alarm-behind!"}},
		"one owner's work, perhaps by chance":      {[]doctor.Reading{one("bank-ab", doctor.LeftBehind, "", 0, 12), one("bank-ab", doctor.LeftBehindOdds, "", 0, 5)}, nil},
		"one owner's work, for a moment":           {[]doctor.Reading{one("bank-ab", doctor.LeftBehind, "", 0, 4), one("bank-ab", doctor.LeftBehindOdds, "", 0, 7)}, nil},
		"nothing leaves for a moment":              {[]doctor.Reading{one("bank-ab", doctor.Standstill, "", 0, 4), one("bank-ab", doctor.StandstillGaps, "", 0, 4000)}, nil},
		"a flood of unknowns":                      {[]doctor.Reading{one("settle", doctor.UnknownItems, "", 0, 30), one("settle", doctor.Arrivals, "", 0, 8), one("settle", doctor.Departures, "", 0, 1), one("settle", doctor.OldestAge, "", 0, 4)}, []string{"alarm-unknown!"}},
		"unknowns that become known":               {[]doctor.Reading{one("settle", doctor.UnknownItems, "", 0, 30), one("settle", doctor.Arrivals, "", 0, 8), one("settle", doctor.Departures, "", 0, 7), one("settle", doctor.OldestAge, "", 0, 4)}, nil},
		"a few unknowns":                           {[]doctor.Reading{one("settle", doctor.UnknownItems, "", 0, 3), one("settle", doctor.Arrivals, "", 0, .3), one("settle", doctor.OldestAge, "", 0, 4)}, nil},
		"slower by Little's law":                   {[]doctor.Reading{one("bank-ab", doctor.Waiting, "", 10, 200), one("bank-ab", doctor.Departures, "", 100, 90)}, []string{"alarm-slow!"}},
		"more work, and more leaves":               {[]doctor.Reading{one("bank-ab", doctor.Waiting, "", 10, 600), one("bank-ab", doctor.Departures, "", 100, 300)}, nil},
		"slower for a moment":                      {[]doctor.Reading{spread(one("bank-ab", doctor.Waiting, "", 10, 200), 190), one("bank-ab", doctor.Departures, "", 100, 90)}, nil},
		"slower, of a few":                         {[]doctor.Reading{one("bank-ab", doctor.Waiting, "", .1, 2), one("bank-ab", doctor.Departures, "", 1, .9)}, nil},
		"a heart that stopped":                     {[]doctor.Reading{one("decider", doctor.Silence, "", 0, 7)}, []string{"alarm-beat!"}},
		"a takeover":                               {[]doctor.Reading{one("decider", doctor.Silence, "", 0, 5)}, nil},
		"a leader that handed over":                {[]doctor.Reading{detailed(one("decider", doctor.Silence, "", 0, 12), "leader", "none")}, nil},
		"a leader that nobody followed":            {[]doctor.Reading{detailed(one("decider", doctor.Silence, "", 0, 21), "leader", "none")}, []string{"alarm-beat!"}},
		"slower, a moment after a takeover":        {[]doctor.Reading{detailed(one("bank-ab", doctor.Waiting, "", 10, 200), "settling", "yes"), one("bank-ab", doctor.Departures, "", 100, 90)}, nil},
		"slow long ago in a long trouble":          {[]doctor.Reading{lately(one("bank-ab", doctor.Waiting, "", 10, 200), 10), one("bank-ab", doctor.Departures, "", 100, 90)}, nil},
		"a heart that is to begin":                 {[]doctor.Reading{never}, nil},
		"a heart that nobody has read for long":    {[]doctor.Reading{stale}, nil},
		"the facts are not heard":                  {[]doctor.Reading{one("postgres", doctor.Silence, "collector money", 0, 7)}, []string{"alarm-unheard!"}},
		"another source is not heard":              {[]doctor.Reading{one("serve", doctor.Silence, "collector metrics", 0, 7)}, []string{"alarm-unheard"}},
		"no canary came back":                      {[]doctor.Reading{one("api", doctor.CanaryAge, "payout", 0, 31)}, []string{"alarm-canary!"}},
		"a canary is on its way":                   {[]doctor.Reading{one("api", doctor.CanaryAge, "payout", 0, 14)}, nil},
		"the port is closed":                       {[]doctor.Reading{one("serve", doctor.Up, "", 1, 0)}, []string{"alarm-down!"}},
		"the edge is not ready":                    {[]doctor.Reading{detailed(one("api", doctor.ProbeUp, "readyz", 1, 0), "code", "503")}, []string{"alarm-unready!"}},
		"the edge says nothing":                    {[]doctor.Reading{detailed(one("api", doctor.ProbeUp, "readyz", 1, 0), "why", "timeout")}, []string{"alarm-probe!"}},
		"a rail's port is closed":                  {[]doctor.Reading{one("bank-ab", doctor.ProbeUp, "", 1, 0)}, []string{"alarm-down"}},
		"it starts again and again":                {[]doctor.Reading{func() doctor.Reading { r := one("serve", doctor.Restarts, "", 1, 5); r.During.Value = 4; return r }()}, []string{"alarm-restarts!"}},
		"it was started again":                     {[]doctor.Reading{func() doctor.Reading { r := one("serve", doctor.Restarts, "", 1, 2); r.During.Value = 1; return r }()}, nil},
		"a callback that nobody judges":            {[]doctor.Reading{one("callbacks", doctor.Stuck, "", 0, 6)}, []string{"alarm-stuck!"}},
		"orphans":                                  {[]doctor.Reading{one("settle", doctor.Orphans, "", 0, 2)}, []string{"alarm-orphans!"}},
		"an orphan for a moment":                   {[]doctor.Reading{spread(one("settle", doctor.Orphans, "", 0, 2), 2)}, nil},
		"past their deadline":                      {[]doctor.Reading{one("bank-ab", doctor.Overdue, "", 0, 2)}, []string{"alarm-overdue"}},
		"came less left is not there":              {[]doctor.Reading{one("bank-ab", doctor.Imbalance, "", 0, 1)}, []string{"alarm-imbalance!"}},
		"a violated invariant":                     {[]doctor.Reading{one("decider", doctor.MoneyOff, "invariant", 1, 1)}, []string{"alarm-money!"}},
		"a new break":                              {[]doctor.Reading{one("recon", doctor.MoneyOff, "breaks", 1, 2)}, []string{"alarm-breaks!"}},
		"a break that somebody is at":              {[]doctor.Reading{one("recon", doctor.MoneyOff, "breaks", 2, 2)}, nil},
		"a quarantined fact":                       {[]doctor.Reading{one("decider", doctor.Quarantined, "", 0, 1)}, []string{"alarm-quarantine!"}},
		"a reader that stays behind":               {[]doctor.Reading{one("webhooks", doctor.Waiting, "", 0, 900), one("webhooks", doctor.LoopSilence, "webhooks", 0, 50)}, []string{"alarm-reader!"}},
		"a reader that is at the end":              {[]doctor.Reading{one("webhooks", doctor.Waiting, "", 0, 0), one("webhooks", doctor.LoopSilence, "webhooks", 0, 50)}, nil},
		"a hung loop":                              {[]doctor.Reading{one("dispatch", doctor.LoopSilence, "bank-ab", 0, 7)}, []string{"alarm-loop!"}},
		"a read-only database":                     {[]doctor.Reading{one("postgres", doctor.PGReadOnly, "", 0, 1)}, []string{"alarm-no-writes!"}},
		"idle, and others wait":                    {[]doctor.Reading{one("postgres", doctor.PGRootIdle, "", 0, 6), one("postgres", doctor.LockWaiters, "", 0, 2)}, []string{"alarm-blocked!"}},
		"idle, and nobody waits any more":          {[]doctor.Reading{one("postgres", doctor.PGRootIdle, "", 0, 6), one("postgres", doctor.LockWaiters, "", 0, 0)}, nil},
		"at work, and others wait":                 {[]doctor.Reading{one("postgres", doctor.PGRootActive, "", 0, 8), one("postgres", doctor.LockWaiters, "", 0, 2)}, nil},
		"at work for long, and others wait":        {[]doctor.Reading{one("postgres", doctor.PGRootActive, "", 0, 11), one("postgres", doctor.LockWaiters, "", 0, 2)}, []string{"alarm-blocked!"}},
		"failing at the edge":                      {[]doctor.Reading{one("api", doctor.ServerErrors, "", 0, .2), one("api", doctor.Rate, "", 10, 10)}, []string{"alarm-fails!"}},
		"failing at the edge, now and then":        {[]doctor.Reading{spread(one("api", doctor.ServerErrors, "", 0, .2), .2), one("api", doctor.Rate, "", 10, 10)}, nil},
		"failing at the edge, two requests":        {[]doctor.Reading{one("api", doctor.ServerErrors, "", 0, .5), one("api", doctor.Rate, "", .2, .2)}, nil},
		"slow at the edge":                         {[]doctor.Reading{one("api", doctor.Latency, "mean", .02, 2), one("api", doctor.Rate, "", 10, 10)}, []string{"alarm-slow!"}},
		"our own calls at the edge wait":           {[]doctor.Reading{one("api", doctor.ProbeFirst, "readyz", .01, 1.5)}, []string{"alarm-slow!"}},
		"our own calls waited a moment ago":        {[]doctor.Reading{ends(one("api", doctor.ProbeFirst, "readyz", .01, 1.5), .02)}, nil},
		"some of our own calls wait":               {[]doctor.Reading{spread(one("api", doctor.ProbeFirst, "readyz", .01, 1.3), .6)}, nil},
		"our own calls at a bank wait":             {[]doctor.Reading{one("bank-ab", doctor.ProbeFirst, "", .01, 1.5)}, nil},
		"one in twenty waits at the edge":          {[]doctor.Reading{one("api", doctor.Latency, "p95", .05, 2), one("api", doctor.Rate, "", 10, 10)}, []string{"alarm-slow!"}},
		"one in twenty waited a moment ago":        {[]doctor.Reading{ends(one("api", doctor.Latency, "p95", .05, 2), .1), one("api", doctor.Rate, "", 10, 10)}, nil},
		"one in twenty waits as it often does":     {[]doctor.Reading{one("api", doctor.Latency, "p95", .5, 2), one("api", doctor.Rate, "", 10, 10)}, nil},
		"its slowest are slower":                   {[]doctor.Reading{one("api", doctor.Latency, "p99", .02, 2), one("api", doctor.Rate, "", 10, 10)}, nil},
		"a full pool for which callers wait":       {[]doctor.Reading{one("serve", doctor.PoolBusy, "", .1, 1), one("serve", doctor.PoolWait, "", 0, 1)}, []string{"alarm-busy!"}},
		"a full pool, and the burst is worked off": {[]doctor.Reading{one("serve", doctor.PoolBusy, "", .1, 1), ends(one("serve", doctor.PoolWait, "", 0, 1), .1)}, nil},
		"a full pool a moment after the start":     {[]doctor.Reading{points(one("serve", doctor.PoolBusy, "", 0, 1), 4), points(one("serve", doctor.PoolWait, "", 0, 1), 4)}, nil},
		"a full pool for which nobody waits":       {[]doctor.Reading{one("serve", doctor.PoolBusy, "", .1, 1), one("serve", doctor.PoolWait, "", 0, 0)}, nil},
		"unusual, and nothing else":                {[]doctor.Reading{one("serve", doctor.GC, "", .01, .9), one("postgres", doctor.PGSeqRows, "", 1, 1e7), one("bank-ab", doctor.Declines, "", .01, .5)}, nil},
		"held back on purpose: nothing can be old": {append(stuck(0, .1, 400, 10, 0), one("dispatch", doctor.Paused, "bank-ab", 0, 1), one("dispatch", doctor.OldestAge, "bank-ab", 0, 900)), nil},
	} {
		require.Equal(t, c.want, codes(detect(c.readings...)), name)
	}
}

// The alarm tells when it began, and the lane that is worst.
func TestAlarmTellsSinceWhenAndWhere(t *testing.T) {
	t.Parallel()
	got := detect(
		one("dispatch", doctor.Stuck, "bank-ab", 0, 20), one("dispatch", doctor.Residence, "bank-ab", 1, 1),
		one("dispatch", doctor.Stuck, "bank-cd", 0, 80), one("dispatch", doctor.Residence, "bank-cd", 1, 1),
	)
	require.Len(t, got, 1)
	require.Equal(t, "bank-cd", got[0].Statistic)
	require.Equal(t, "dispatch bank-cd: the oldest work has been there for 80 s and could have left; of late none stayed longer than 1 s", got[0].Says)
	require.Equal(t, detectAt.Add(-200*time.Millisecond-79*time.Second), got[0].Since)
	require.Equal(t, doctor.Progress, got[0].Rule)
}

// Equal evidence gives equal alarms, in whatever order it comes.
func TestDetectDoesNotSeeTheOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var all []doctor.Reading
		for _, hop := range []string{"dispatch", "bank-ab", "settle"} {
			for _, s := range []doctor.Signal{doctor.Stuck, doctor.Residence, doctor.Waiting, doctor.Departures, doctor.Standstill, doctor.StandstillGaps, doctor.Overdue} {
				all = append(all, one(hop, s, "", rapid.Float64Range(0, 50).Draw(t, "usual"), rapid.Float64Range(0, 50).Draw(t, "now")))
			}
		}
		want := detect(all...)
		require.Equal(t, want, detect(rapid.Permutation(slices.Clone(all)).Draw(t, "order")...))
	})
}
