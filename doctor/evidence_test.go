package doctor_test

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
)

var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

func sample(minutes, n int, value, spread float64) doctor.Sample {
	from := noon.Add(time.Duration(minutes) * time.Minute)
	return doctor.Sample{From: from, Until: from.Add(10 * time.Minute), N: n, Value: value, Spread: spread}
}

func small() *doctor.Evidence {
	newest := noon.Add(10 * time.Minute)
	read := func(hop string, s doctor.Signal, statistic string, before, during float64) doctor.Reading {
		return doctor.Reading{
			Hop: hop, Signal: s, Statistic: statistic, Source: "q", StepS: 60, Newest: &newest,
			Before: sample(-60, 60, before, before/20), During: sample(0, 10, during, 0),
		}
	}
	return &doctor.Evidence{
		Version: doctor.EvidenceVersion, TakenAt: noon.Add(10 * time.Minute), Since: noon,
		Symptom: doctor.Symptom{Hop: "shop", Signal: doctor.Latency, Statistic: "mean"},
		Hops:    []doctor.Hop{{Name: "shop", Kind: doctor.Service}, {Name: "bank", Kind: doctor.Channel}},
		Calls:   []doctor.Call{{From: "shop", To: "bank"}},
		Readings: []doctor.Reading{
			read("shop", doctor.Latency, "mean", .1, .6), read("shop", doctor.Rate, "", 10, 10),
			read("bank", doctor.Latency, "mean", .05, .55), read("bank", doctor.Rate, "", 10, 10),
		},
	}
}

func TestEvidenceReadsBackAsWritten(t *testing.T) {
	t.Parallel()
	var first, second bytes.Buffer
	require.NoError(t, small().Write(&first))
	e, err := doctor.ReadEvidence(bytes.NewReader(first.Bytes()))
	require.NoError(t, err)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(e.Readings), func(i, j int) { e.Readings[i], e.Readings[j] = e.Readings[j], e.Readings[i] })
	require.NoError(t, e.Write(&second))
	require.Equal(t, first.String(), second.String(), "the order of collection shows")
}

func TestEvidenceSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for want, spoil := range map[string]func(e *doctor.Evidence){
		"its version is 7":                        func(e *doctor.Evidence) { e.Version = 7 },
		"taken_at is missing":                     func(e *doctor.Evidence) { e.TakenAt = time.Time{} },
		"it has no hops":                          func(e *doctor.Evidence) { e.Hops = nil },
		`hop "bank" is listed twice`:              func(e *doctor.Evidence) { e.Hops[0].Name = "bank" },
		`is of kind "thing"`:                      func(e *doctor.Evidence) { e.Hops[0].Kind = "thing" },
		`the symptom is at "nowhere"`:             func(e *doctor.Evidence) { e.Symptom.Hop = "nowhere" },
		`the symptom's signal "mood" is not`:      func(e *doctor.Evidence) { e.Symptom.Signal = "mood" },
		"names a hop that is not listed":          func(e *doctor.Evidence) { e.Calls[0].To = "nowhere" },
		`"shop" to "bank" is listed twice`:        func(e *doctor.Evidence) { e.Calls = append(e.Calls, e.Calls[0]) },
		"latency mean of \"shop\" is there twice": func(e *doctor.Evidence) { e.Readings[1] = e.Readings[0] },
		"holds a number that is none":             func(e *doctor.Evidence) { e.Readings[0].During.Value = 1e300 },
		"negative count, spread or step":          func(e *doctor.Evidence) { e.Readings[0].Before.N = -1 },
		`rate of "shop" is negative`:              func(e *doctor.Evidence) { e.Readings[1].During.Value = -1 },
		"5 affected of 2":                         func(e *doctor.Evidence) { e.Cohorts = []doctor.Cohort{{Dimension: "region", Affected: 5, Total: 2}} },
	} {
		e := small()
		spoil(e)
		require.ErrorContains(t, e.Validate(), want)
	}
}

func TestEvidenceIsReadWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	require.NoError(t, small().Write(&b))
	for want, raw := range map[string]string{
		"something follows":     b.String() + "{}",
		"unknown field":         `{"version":1,"mood":"bad"}`,
		"it is not the JSON":    b.String()[:b.Len()/2],
		"its version is 0":      `{}`,
		"cannot be used: it is": ``,
	} {
		_, err := doctor.ReadEvidence(bytes.NewReader([]byte(raw)))
		require.ErrorContains(t, err, want)
		var invalid *doctor.Invalid
		require.ErrorAs(t, err, &invalid)
	}
}

func TestPresence(t *testing.T) {
	t.Parallel()
	r := small().Readings[0]
	at := noon.Add(10 * time.Minute)
	require.Equal(t, doctor.Present, r.Presence(at))
	require.Equal(t, doctor.Stopped, r.Presence(at.Add(4*time.Minute)), "more than three steps old")
	r.During.N = 0
	require.Equal(t, doctor.Missing, r.Presence(at))
	r.Before.N = 0
	require.Equal(t, doctor.Absent, r.Presence(at))
	r.During.N = 1
	require.Equal(t, doctor.New, r.Presence(at))
}

func FuzzReadEvidence(f *testing.F) {
	var b bytes.Buffer
	require.NoError(f, small().Write(&b))
	f.Add(b.Bytes())
	f.Add([]byte(`{"version":1,"taken_at":"2026-01-31T12:00:00Z","hops":[{"name":"a","kind":"queue"}],"symptom":{"hop":"a","signal":"oldest_age"}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := doctor.ReadEvidence(bytes.NewReader(raw))
		if err != nil {
			return
		}
		var first, second bytes.Buffer
		require.NoError(t, e.Write(&first))
		again, err := doctor.ReadEvidence(bytes.NewReader(first.Bytes()))
		require.NoError(t, err)
		require.NoError(t, again.Write(&second))
		require.Equal(t, first.String(), second.String())
	})
}
