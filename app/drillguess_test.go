package app

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/drill"
)

func TestGuessesLookAtTheEvidenceAsTheySay(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_800_000_000, 0).UTC()
	hops, calls := doctor.Road("bank-ab")
	reading := func(hop string, signal doctor.Signal, before, spread, during float64) doctor.Reading {
		return doctor.Reading{
			Hop: hop, Signal: signal, Source: "test", StepS: 1, Newest: &at, Last: during,
			Before: doctor.Sample{N: 10, Value: before, Spread: spread}, During: doctor.Sample{N: 5, Value: during},
		}
	}
	e := &doctor.Evidence{
		Version: doctor.EvidenceVersion, TakenAt: at, Since: at.Add(-10 * time.Second), Hops: hops, Calls: calls,
		Symptom: doctor.Symptom{Hop: doctor.HopAPI, Signal: doctor.Latency, Statistic: "mean"},
		Readings: []doctor.Reading{
			reading(doctor.HopServe, doctor.Goroutines, 100, 1, 400),
			reading(doctor.HopPostgres, doctor.PGRootIdle, 0, 0.1, 12),
		},
	}
	require.NoError(t, e.Validate())
	all := guesses(e)
	require.Equal(t, drill.Pair{Node: doctor.HopServe}, all["largest z"][0])
	require.Contains(t, all["priors and one bound"], drill.Pair{Node: doctor.HopPostgres, Mechanism: "long-hold"})
	first := all["priors only"]
	require.NotEmpty(t, first)
	e.Readings = nil
	require.Equal(t, first, guesses(e)["priors only"], "it looks at nothing")
}
