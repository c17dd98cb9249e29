package diagnosis

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/catalog"
	"github.com/moneta-pay/moneta/doctor/diagnose"
)

// What an answer costs: all causes of the catalogue against all that the road with
// thirteen rails tells, in the middle of a trouble. The goal is 200 ms.
func BenchmarkDiagnose(b *testing.B) {
	e := trials()[0].of(b, 13)
	causes := catalog.All()
	raw, err := json.Marshal(e)
	require.NoError(b, err)
	longest := time.Duration(0)
	for b.Loop() {
		began := time.Now()
		e.Alarms = diagnose.Detect(e)
		_, err := diagnose.Diagnose(e, causes...)
		require.NoError(b, err)
		longest = max(longest, time.Since(began))
	}
	b.ReportMetric(float64(len(e.Readings)), "readings")
	b.ReportMetric(float64(len(causes)), "causes")
	b.ReportMetric(float64(len(raw))/1024, "KiB")
	b.ReportMetric(float64(longest.Microseconds())/1000, "ms-longest")
}

// of is the trial on a road with so many rails.
func (tr trial) of(tb testing.TB, rails int) *doctor.Evidence {
	tb.Helper()
	tr.rails = rails
	return tr.run(tb)
}
