package catalog

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/diagnose"
)

// healthy are the values of signals that are not zero where all is well.
var healthy = map[doctor.Signal]float64{
	doctor.Up: 1, doctor.ProbeUp: 1, doctor.Uptime: 90_000, doctor.DiskFree: .6, doctor.DiskFullIn: 1e8, doctor.CertLeft: 5e6,
	doctor.Rate: 20, doctor.Departures: 20, doctor.Arrivals: 20, doctor.Callbacks: 10, doctor.PGCommits: 50, doctor.PGActive: 1,
	doctor.Latency: .02, doctor.PGConnect: .005, doctor.PGStatement: 1, doctor.Goroutines: 200, doctor.PGFlush: .002, doctor.PGWalSize: 1e8,
	doctor.PGSeqRows: 100, doctor.PGConnections: .2, doctor.Amplified: 1, doctor.ProbeConnect: .01, doctor.ProbeFirst: .02, doctor.PGWalWaiters: .1,
	doctor.SchedWait: .0005, doctor.PoolBusy: .2, doctor.Waiting: 2, doctor.OldestAge: .5, doctor.Declines: .02, doctor.QueryBudget: .1,
	doctor.Status4xx: .001, doctor.PGHorizonS: .05, doctor.CallbackLag: .5, doctor.Memory: .3,
}

// scene is a road with a reading of each signal that any cause asks for, all of them
// as in health, before and during.
type scene struct {
	e  doctor.Evidence
	at map[string]int
	// met are the readings that were made to hold: before and during.
	met map[[3]string][2]float64
}

var began = time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)

func newScene() *scene {
	s := &scene{at: map[string]int{}, met: map[[3]string][2]float64{}}
	s.e = doctor.Evidence{Version: doctor.EvidenceVersion, TakenAt: began.Add(30 * time.Second), Since: began}
	s.e.Hops, s.e.Calls = doctor.Road("bank-ab", "bank-cd")
	for _, c := range All() {
		for i := range c.Signs {
			for _, h := range s.places(&c, &c.Signs[i], "") {
				s.put(h, c.Signs[i].Signal, c.Signs[i].Statistic, healthy[c.Signs[i].Signal], healthy[c.Signs[i].Signal], nil)
			}
		}
	}
	return s
}

// places are the hops where a sign looks; only narrows to one of them.
func (s *scene) places(c *doctor.Cause, sign *doctor.Sign, only string) []string {
	kind := c.Kind
	if sign.At != "" {
		only, kind = "", doctor.Kind(sign.At)
	}
	var out []string
	for _, h := range s.e.Hops {
		if h.Name == sign.At || h.Kind == kind && (only == "" || only == h.Name) {
			out = append(out, h.Name)
		}
	}
	return out
}

func (s *scene) put(hop string, signal doctor.Signal, statistic string, before, during float64, detail map[string]string) *doctor.Reading {
	key := hop + " " + string(signal) + " " + statistic
	if _, there := s.at[key]; !there {
		s.at[key] = len(s.e.Readings)
		s.e.Readings = append(s.e.Readings, doctor.Reading{})
	}
	newest := s.e.TakenAt
	r := &s.e.Readings[s.at[key]]
	*r = doctor.Reading{
		Hop: hop, Signal: signal, Statistic: statistic, Source: "test", StepS: 1, Newest: &newest, Last: during, Detail: detail,
		Before: doctor.Sample{From: began.Add(-5 * time.Minute), Until: began, N: 300, Value: before, Spread: before / 50},
		During: doctor.Sample{From: began, Until: newest, N: 30, Value: during, Spread: during / 50},
	}
	return r
}

// meet makes a sign hold.
func (s *scene) meet(c *doctor.Cause, sign *doctor.Sign, hop string) {
	for _, h := range s.places(c, sign, hop) {
		before, detail := healthy[sign.Signal], map[string]string{}
		for key, want := range sign.Where {
			if detail[key] = strings.TrimSuffix(want, "*"); strings.HasPrefix(want, "!") {
				detail[key] = "other"
			}
		}
		var value float64
		switch {
		case sign.Above != nil && sign.Below != nil:
			value = (*sign.Above + *sign.Below) / 2
		case sign.Above != nil:
			value = max(2**sign.Above, *sign.Above+.5)
			if info, _ := sign.Signal.Info(); (info.Unit == "share" || info.Unit == "yes") && (sign.Of == "" || sign.Of == "last" || sign.Of == "during") {
				value = min(1, max(value, (1+*sign.Above)/2))
			}
		case sign.Below != nil:
			value = *sign.Below / 4
		}
		if sign.Above != nil && sign.Of != "rise" && sign.Of != "times" {
			value = max(value, before)
		}
		switch sign.Of {
		case "rise":
			value += before
		case "times":
			before = max(before, .01)
			value *= before
		}
		was, again := s.met[[3]string{h, string(sign.Signal), sign.Statistic}]
		if again && len(sign.Where) > 0 {
			continue // a reading is of one session: the first sign says whose
		}
		if again && sign.Above != nil { // both must hold
			before, value = min(before, was[0]), max(value, was[1])
		}
		s.met[[3]string{h, string(sign.Signal), sign.Statistic}] = [2]float64{before, value}
		r := s.put(h, sign.Signal, sign.Statistic, before, value, detail)
		if sign.Gone {
			last := began.Add(-time.Second)
			r.Newest, r.During = &last, doctor.Sample{From: began, Until: s.e.TakenAt}
		}
	}
}

// hopOf is a hop of ours that a cause may be found at: where its strongest sign of its
// own is told.
func hopOf(c *doctor.Cause) string {
	switch c.ID {
	case "service-poison-fact", "service-money-off", "service-clock-skew":
		return doctor.HopDecider
	case "queue-timer-silent":
		return doctor.HopTimer
	}
	return map[doctor.Kind]string{
		doctor.Client: doctor.HopClient, doctor.Gateway: doctor.HopAPI, doctor.Service: doctor.HopServe, doctor.Queue: doctor.HopDispatch,
		doctor.Database: doctor.HopPostgres, doctor.Channel: "bank-ab", doctor.Relay: doctor.HopCallbacks, doctor.Projection: doctor.HopRecon,
		doctor.Webhook: doctor.HopWebhooks,
	}[c.Kind]
}

// Each cause, looking as its file says and with everything else in health, is the one
// that is found. It shows that the files do not contradict one another; whether the
// world looks so, only drills can show.
func TestEachCauseIsToldFromAllOthers(t *testing.T) {
	t.Parallel()
	all := All()
	for i := range all {
		c := &all[i]
		t.Run(c.ID, func(t *testing.T) {
			t.Parallel()
			s, hop := newScene(), hopOf(c)
			for j := range c.Signs {
				if sign := &c.Signs[j]; sign.Yes > 1 {
					s.meet(c, sign, hop)
				}
			}
			s.e.Symptom = doctor.Symptom{Hop: hop, Signal: c.Signs[0].Signal, Statistic: c.Signs[0].Statistic}
			s.e.Alarms = []doctor.Alarm{{Rule: doctor.Progress, Hop: hop, Signal: c.Signs[0].Signal, Since: began, Page: true}}
			a, err := diagnose.Diagnose(&s.e, all...)
			require.NoError(t, err)
			first := a.Ranked[0]
			require.Equal(t, hop+" "+c.Mechanism, first.Node+" "+first.Mechanism, "%s", answered(a))
			require.Greater(t, first.Posterior, .5, "%s", answered(a))
		})
	}
}

// In health none of them is found.
func TestHealthIsNoCause(t *testing.T) {
	t.Parallel()
	s := newScene()
	s.e.Symptom = doctor.Symptom{Hop: doctor.HopAPI, Signal: doctor.Latency}
	a, err := diagnose.Diagnose(&s.e, All()...)
	require.NoError(t, err)
	require.Equal(t, doctor.NoFault, a.Verdict, "%s", answered(a))
}

func answered(a *doctor.Answer) string {
	var b strings.Builder
	for _, h := range a.Ranked[:min(4, len(a.Ranked))] {
		fmt.Fprintf(&b, "\n%s %s %.3f", h.Node, h.Mechanism, h.Posterior)
	}
	for _, l := range append(a.Evidence.For, a.Evidence.Against...) {
		fmt.Fprintf(&b, "\n  %s %s %s ×%.2f %s", l.Node, l.Mechanism, l.Family, l.LikelihoodRatio, l.Says)
	}
	return b.String()
}
