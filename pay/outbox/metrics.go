package outbox

import "github.com/moneta-pay/moneta/internal/telemetry"

func observe(tel *telemetry.Telemetry, f *Feed) {
	tel.GaugeFunc("moneta_event_subscribers", "Streams and long polls that wait for events on this node.", func() float64 { //nolint:forbidigo // a gauge
		f.mu.Lock()
		defer f.mu.Unlock()
		return float64(len(f.subs)) //nolint:forbidigo // a gauge
	})
}
