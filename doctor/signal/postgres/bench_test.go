package postgres_test

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor/signal/postgres"
	"github.com/moneta-pay/moneta/internal/pgtest"
)

// What a look costs: its time, less the pauses between the samples of Activity (120 ms).
func BenchmarkLook(b *testing.B) {
	s, err := postgres.New(postgres.Config{DSN: pgtest.DSN(b)})
	require.NoError(b, err)
	defer func() { _ = s.Close(b.Context()) }()
	for i, c := range s.Collectors() {
		b.Run(strconv.Itoa(i)+" "+c.Name(), func(b *testing.B) {
			points := 0
			for b.Loop() {
				l, err := c.Look(b.Context())
				require.NoError(b, err)
				points = len(l.Points)
			}
			b.ReportMetric(float64(points), "points")
		})
	}
}
