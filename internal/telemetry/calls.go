package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// CallParts counts where calls to the outside spend their time on the way.
type CallParts struct{ seconds *prometheus.HistogramVec }

// CallParts returns the histogram of parts by channel, one for the process.
func (t *Telemetry) CallParts() CallParts {
	return CallParts{t.HistogramVec("moneta_channel_part_seconds",
		"Parts of calls to channels: dns, connect and tls of new connections, first_byte of each call.", "channel", "part")}
}

// Observe counts the parts that happened.
func (c CallParts) Observe(channel string, dns, connect, tls, firstByte time.Duration) {
	for _, p := range [...]struct {
		name string
		took time.Duration
	}{{"dns", dns}, {"connect", connect}, {"tls", tls}, {"first_byte", firstByte}} {
		if p.took > 0 {
			c.seconds.WithLabelValues(channel, p.name).Observe(p.took.Seconds())
		}
	}
}
