package app

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/river"
	"github.com/moneta-pay/moneta/doctor/signal"
	"github.com/moneta-pay/moneta/internal/clock"
)

func TestAMixAddsUp(t *testing.T) {
	t.Parallel()
	require.Equal(t, map[string]float64{"good": 1}, mix(0, nil))
	require.Equal(t, map[string]float64{"good": .5, "timeout": .5}, mix(.5, map[string]float64{"timeout": .5, "5xx": 0}))
	require.Equal(t, map[string]float64{"good": .5, "timeout": .25, "other": .25}, mix(.5, map[string]float64{"timeout": .25}))
	require.Equal(t, map[string]float64{"good": 0, "gateway": .5, "unreadable": .5}, mix(1, map[string]float64{"gateway": 1, "unreadable": 1}), "a page of a gateway is one answer")
	rapid.Check(t, func(r *rapid.T) {
		share := rapid.Float64Range(0, 1)
		sum := 0.0
		for _, v := range mix(share.Draw(r, "bad"), map[string]float64{"a": share.Draw(r, "a"), "b": share.Draw(r, "b")}) {
			require.GreaterOrEqual(t, v, 0.0)
			sum += v
		}
		require.InDelta(t, 1, sum, 1e-9)
	})
}

func TestChannelsAreLookedAt(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	now := clock.NewManual(noon)
	hops, calls := doctor.Road("bank-st")
	w := &watch{clock: now, river: river.NewKeeper(), memory: signal.NewMemory(hops, calls), attendance: &attendance{}}
	mux := http.NewServeMux()
	w.channelRoutes(mux)
	get := func(path string, into any) int {
		rw := httptest.NewRecorder()
		mux.ServeHTTP(rw, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody))
		if into != nil {
			require.NoError(t, json.Unmarshal(rw.Body.Bytes(), into), rw.Body.String())
		}
		return rw.Code
	}
	var all struct{ Channels []ChannelLook }
	get("/api/look/channels", &all)
	require.Empty(t, all.Channels, "nothing is known yet")
	require.NotNil(t, all.Channels)

	for range 60 {
		point := func(s doctor.Signal, statistic string, v float64) doctor.Point {
			return doctor.Point{Hop: "bank-st", Signal: s, Statistic: statistic, Value: v, At: now.Now()}
		}
		w.memory.Take("metrics", time.Second, &doctor.Look{Points: []doctor.Point{
			point(doctor.Latency, "p50", .1), point(doctor.Latency, "p99", 2), point(doctor.Errors, "", .25), point(doctor.Errors, "pay", .9), point(doctor.Timeouts, "", .25),
			point(doctor.BreakerOpen, "", 1), point(doctor.Rate, "", 3), point(doctor.Rate, "pay", 2),
		}})
		now.Advance(time.Second)
	}
	paused := doctor.Point{Hop: doctor.HopDispatch, Signal: doctor.Paused, Statistic: "bank-st", Value: 1, At: now.Now(), Detail: map[string]string{"by": "pause-dispatch", "aim": "channel:bank-st", "owner": "ann"}}
	w.memory.Take("money", time.Second, &doctor.Look{Points: []doctor.Point{paused}})
	lane := func(hop, channel string, n int64) doctor.Lane {
		return doctor.Lane{Hop: hop, Channel: channel, Waiting: n, Value: map[string]string{"CZK": "100"}, Oldest: noon}
	}
	require.NoError(t, w.river.Put(river.Build(river.In{
		Now: now.Now(), Evidence: w.memory.Evidence(now.Now(), noon, anySymptom),
		Standing: &doctor.Standing{At: now.Now(), Lanes: []doctor.Lane{lane("bank-st", "", 3), lane(doctor.HopDispatch, "bank-st", 2), lane(doctor.HopSettle, "bank-st", 1)}},
	})))
	w.contracts.Store(&map[string]*claims{"bank-st": {Adapter: "sandbox/2"}, "bank-zz": {Adapter: "sandbox/2"}})
	get("/api/look/channels", &all)
	require.Len(t, all.Channels, 2)
	c := all.Channels[0]
	require.Equal(t, "bank-st", c.Name)
	require.True(t, c.BreakerOpen)
	require.Equal(t, map[string]float64{"p50": .1, "p99": 2}, c.Latency)
	require.Equal(t, map[string]float64{"good": .75, "timeout": .25}, c.Mix)
	require.InDelta(t, 3, *c.RateS, 0)
	require.Equal(t, []int64{3, 2, 1}, []int64{c.Open.Items, c.Queued.Items, c.Unknown.Items})
	require.Equal(t, "ann", c.Paused[0].Owner)
	require.Equal(t, river.Unknown, all.Channels[1].State, "what nobody heard of is not fine")
	require.Nil(t, all.Channels[1].Mix)

	var one ChannelLook
	get("/api/look/channels/bank-st", &one)
	require.Len(t, one.Course.At, 181)
	last := len(one.Course.At) - 1
	require.InDelta(t, .1, *one.Course.Latency["p50"][last], 0)
	require.InDelta(t, .25, *one.Course.Mix["timeout"][last], 0)
	require.InDelta(t, 3, *one.Course.RateS[last], 0)
	require.Nil(t, one.Course.Latency["p50"][0], "nothing was told then")
	require.Equal(t, http.StatusNotFound, get("/api/look/channels/bank-none", nil))

	now.Advance(time.Minute)
	var later struct{ Channels []ChannelLook }
	get("/api/look/channels", &later)
	require.Empty(t, later.Channels[0].Latency, "what is old is not how it is now")
	require.Nil(t, later.Channels[0].Mix)
}
