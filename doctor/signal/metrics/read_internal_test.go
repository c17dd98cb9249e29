package metrics

import (
	"bytes"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"
)

// Whatever an endpoint says, a look ends, and tells numbers.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"a 1\n", "# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_sum 4\nh_count 3\n",
		"# TYPE c counter\nc{channel=\"x\",outcome=\"ok\"} NaN\n", "moneta_pool_max_connections{pool=\"a\"} 0\n",
		"# TYPE moneta_http_requests_total counter\nmoneta_http_requests_total{code=\"503\"} 1e308\n", "\xff{\x00}",
	} {
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, body []byte, text bool) {
		format := expfmt.NewFormat(expfmt.TypeTextPlain)
		if !text {
			format = expfmt.NewFormat(expfmt.TypeProtoDelim)
		}
		c := New(Config{Channels: []string{"x"}})
		defer c.Close()
		at := time.Unix(1_000, 0)
		var w *view
		for range 3 {
			at = at.Add(2 * time.Second)
			s, err := read(bytes.NewReader(body), format, at)
			if err != nil {
				return
			}
			c.remember(s)
			w = &view{look: &look{at: at}, all: c.seen, now: s}
			w.runtime()
			w.pools()
			w.loops()
			w.edge()
			w.decider()
			w.stations()
			w.channels(c.cfg.Channels)
			w.callers()
		}
		for _, p := range w.Points {
			require.False(t, p.Value != p.Value || p.Value < 0, "%+v", p) //nolint:gocritic // the test for what is no number
		}
	})
}
