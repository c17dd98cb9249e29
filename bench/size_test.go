package bench

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgtest"
)

func windows(p99 ...float64) (all []window) {
	for _, v := range p99 {
		all = append(all, window{P99: v})
	}
	return all
}

func TestRecoveryIsNotDeclaredOverATail(t *testing.T) {
	t.Parallel()
	at := func(v float64) *float64 { return &v }
	failing := windows(10, 10, 10, 10, 10, 10)
	failing[4].Failed = 1
	for name, c := range map[string]struct {
		windows []window
		want    *float64
	}{
		"nothing seen":         {nil, nil},
		"never disturbed":      {windows(10, 11, 9, 10, 10, 12), at(0)},
		"after six":            {windows(900, 800, 700, 600, 500, 400, 300, 90, 10, 10, 10, 10, 10, 10), at(6)},
		"a busy moment":        {windows(900, 10, 10, 10, 10, 10, 300, 10, 10, 10), at(0)},
		"stays slow":           {windows(900, 800, 700, 600, 500, 400, 300), nil},
		"slow again":           {windows(10, 10, 10, 10, 10, 900, 900, 900, 900, 900), nil},
		"refused at the end":   {failing, nil},
		"refused at the start": {append([]window{{P99: 10, Failed: 3}}, windows(10, 10, 10, 10, 10, 10)...), at(1)},
	} {
		require.Equal(t, c.want, recovery(c.windows, 50), name)
	}
}

func TestArrivalsThatFindNoConnectionAreTurnedAway(t *testing.T) {
	t.Parallel()
	v := newWallet(t, func(w http.ResponseWriter, r *http.Request) {
		<-time.After(20 * time.Millisecond) // a server with little to give
		created(w, r)
	})
	res := v.run(t, loadPlan{
		Connections: 2, Batch: 1, Rate: 1_000, For: 400 * time.Millisecond,
		Patience: 5 * time.Millisecond, Useful: time.Second, Surge: true, Windows: true,
	})
	require.EqualValues(t, 400, res.Acked+res.TurnedAway, "the schedule decides what is offered, not the server")
	require.Less(t, res.Acked, int64(60))
	require.Equal(t, res.Acked, res.Useful)
	require.Len(t, res.Windows, 1)
	require.Positive(t, res.Windows[0].P99)
}

func TestAnAnswerThatIsTooLateIsOfNoUse(t *testing.T) {
	t.Parallel()
	v := newWallet(t, func(w http.ResponseWriter, r *http.Request) {
		<-time.After(15 * time.Millisecond)
		created(w, r)
	})
	res := v.run(t, loadPlan{Connections: 1, Batch: 1, For: 60 * time.Millisecond, Useful: time.Millisecond})
	require.Positive(t, res.Acked)
	require.Zero(t, res.Useful)
}

func TestWhatWasShedDidNotMove(t *testing.T) {
	t.Parallel()
	v := newWallet(t, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"code":"overloaded","money_state":"not_moved"}`, http.StatusServiceUnavailable)
	})
	res := v.run(t, loadPlan{Connections: 1, Batch: 1, Rate: 200, For: 50 * time.Millisecond, Surge: true, Windows: true})
	require.EqualValues(t, 10, res.Refused)
	require.Zero(t, res.Unanswered)
	require.EqualValues(t, 10, res.Windows[0].Failed)
}

func TestPagesAreTurnedToTheEnd(t *testing.T) {
	t.Parallel()
	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.String())
		if r.URL.Query().Get("after") == "b" {
			_, _ = w.Write([]byte(`{"data":[{"next":"x"}],"has_more":false}`))
			return
		}
		next := map[string]string{"": "a", "a": "b"}[r.URL.Query().Get("after")]
		_, _ = w.Write([]byte(`{"data":[],"has_more":true,"next":"` + next + `"}`))
	}))
	t.Cleanup(s.Close)
	for path, want := range map[string][]string{
		"/p?limit=2": {"/p?limit=2", "/p?limit=2&after=a", "/p?limit=2&after=b"},
		"/p":         {"/p", "/p?after=a", "/p?after=b"},
	} {
		asked = nil
		v := &reader{plan: &readsPlan{Paths: []string{path}, Follow: 9}, wire: newWire(strings.TrimPrefix(s.URL, "http://"), "")}
		v.turn(t.Context())
		v.wire.close()
		require.Equal(t, want, asked)
		require.EqualValues(t, 3, v.res.Acked)
		require.Len(t, v.times, 3)
	}
}

func TestASoakSeesWhatGrows(t *testing.T) {
	t.Parallel()
	flat, leak := &Soak{}, &Soak{}
	var flats, leaks []sample
	for i := range 100 {
		at := time.Duration(i) * 18 * time.Second // half an hour
		flats = append(flats, sample{at: at, rss: 300 + float64(i%3), heap: 100, goroutines: 200, files: 80})
		leaks = append(leaks, sample{at: at, rss: 300 + 2*float64(i), heap: 100, goroutines: 200 + float64(i), files: 80 + float64(i)})
	}
	flat.note(flats)
	leak.note(leaks)
	require.InDelta(t, 1, flat.growth(), 0.01)
	require.InDelta(t, 0, flat.RSSSlope, 2)
	require.Empty(t, flat.leaks())
	require.InDelta(t, 400, leak.RSSSlope, 1)
	require.Greater(t, leak.growth(), 1.25)
	require.Len(t, leak.leaks(), 2)

	r := &Report{Profile: "soak", Soak: leak}
	r.finish(time.Hour)
	require.Len(t, r.Problems(), 3, "memory, goroutines, files")
	r = &Report{Profile: "soak", Soak: flat}
	r.finish(time.Hour)
	require.Empty(t, r.Problems())
}

func TestMetricsAreFoundByTheirWholeName(t *testing.T) {
	t.Parallel()
	text := []byte("# HELP go_goroutines x\ngo_goroutines_created 7\ngo_goroutines 378\ngo_memstats_heap_alloc_bytes 1.5e+06\n")
	require.InDelta(t, 378, metricIn(text, "go_goroutines"), 0)
	require.InDelta(t, 1.5e6, metricIn(text, "go_memstats_heap_alloc_bytes"), 0)
	require.Zero(t, metricIn(text, "go_threads"))
}

func TestSizeIsJudgedOnItsOwnFigures(t *testing.T) {
	t.Parallel()
	r := &Report{Profile: "size", Machine: Machine{Cores: 2}}
	r.finish(time.Minute)
	require.Len(t, r.Missed, 4, "what was not measured is not passed")

	five := 5.0
	r = &Report{Profile: "size", Machine: Machine{Cores: 2}, Growth: &Growth{}, Surge: &Surge{PeakPerS: 100, GoodputPerS: 95, RecoveryS: &five}}
	for n, v := range []float64{100, 80, 100} { // the machine was slow for both in the second round
		r.add(PhaseEmpty, Round{PerS: v})
		r.add(PhaseFull, Round{PerS: v * (0.92 + float64(n)/100)})
	}
	r.Reads = []ReadFigure{{Latency: Latency{P99: 12}}, {Latency: Latency{P99: 51}}, {Latency: Latency{P99: 3}}}
	r.finish(time.Minute)
	require.InDelta(t, 0.93, *r.GrowthRatio, 1e-9)
	require.Equal(t, []string{"reads_p99_ms is 51; it must be at most 50"}, r.Missed)
	r.Phases = append(r.Phases, Phase{"x", []Round{{Others: 1}, {Others: 1}, {Others: 1}, {Others: 1}, {Others: 1}, {Others: 1}, {Others: 1}}})
	r.ReadsP99 = nil
	r.finish(time.Minute)
	require.Empty(t, r.Missed, "how fast a list is says nothing on a noisy machine")
}

func TestRelationsAreListedBySize(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	execute(t, dsn, oneSend...)
	all, err := relations(t.Context(), dsn, 2)
	require.NoError(t, err)
	names := map[string]string{}
	for i, v := range all {
		names[v.Name] = v.Table
		require.InDelta(t, float64(v.Bytes)/2, v.Each, 0.001)
		require.True(t, i == 0 || v.Bytes <= all[i-1].Bytes)
	}
	require.Equal(t, "keys", names["keys_pkey"])
	require.Equal(t, "transfers", names["transfers"])
}

func TestPGBenchIsBelievedOnlyWhenItIsUnderstood(t *testing.T) {
	t.Parallel()
	done, took, err := parsePGBench([]byte("number of clients: 8\nnumber of transactions actually processed: 5000\n" +
		"initial connection time = 9 ms\ntps = 2500.000000 (without initial connection time)\n"))
	require.NoError(t, err)
	require.EqualValues(t, 5000, done)
	require.Equal(t, 2*time.Second, took)
	for _, text := range []string{"", "tps = 5 (without initial connection time)\n", "number of transactions actually processed: 5\ntps = 0 (without initial connection time)\n"} {
		_, _, err = parsePGBench([]byte(text))
		require.ErrorContains(t, err, "not understood")
	}
}

func TestWhatStationsReadIsNotTheRequests(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	before := counters{at: begin, scans: 3, rows: 1_000_000}
	idle := counters{scans: 0.01, rows: 9_000}
	after := func(scans, rows float64) counters {
		return counters{at: begin.Add(2 * time.Second), scans: 3 + scans, rows: 1_000_000 + rows}
	}
	for _, c := range []struct {
		scans, rows float64
		requests    int64
		wantScans   int64
		wantRows    float64
	}{
		{0, 18_000, 50, 0, 0},          // nothing but the stations
		{0, 17_000, 50, 0, 0},          // which are not steady
		{0, 18_000 + 2_500, 50, 0, 50}, // a page each
		{50, 18_000 + 50*5e6, 50, 50, 5e6},
	} {
		scans, rows := after(c.scans, c.rows).since(before, idle, c.requests)
		require.Equal(t, c.wantScans, scans)
		require.InDelta(t, c.wantRows, rows, 0.001)
	}
}
