package dispatch

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/pay/channel"
)

type metrics struct {
	requests, statuses, attempts, firsts, resends, refused *prometheus.CounterVec
	duration                                               *prometheus.HistogramVec
	inflight, limit, breaker, queued                       *prometheus.GaugeVec
	contradictions                                         prometheus.Counter
	parts                                                  telemetry.CallParts
}

func newMetrics(t *telemetry.Telemetry) metrics {
	return metrics{
		parts:          t.CallParts(),
		requests:       t.CounterVec("moneta_channel_requests_total", "Calls to channels by operation and outcome.", "channel", "op", "outcome"),
		duration:       t.HistogramVec("moneta_channel_duration_seconds", "How long calls to channels took.", "channel", "op"),
		statuses:       t.CounterVec("moneta_channel_http_status_total", "HTTP statuses of channels' answers.", "channel", "code"),
		attempts:       t.CounterVec("moneta_channel_attempts_total", "Attempts sent, first ones and further ones.", "channel"),
		firsts:         t.CounterVec("moneta_channel_first_attempts_total", "First attempts sent.", "channel"),
		resends:        t.CounterVec("moneta_channel_resends_total", "Attempts sent once more under the same reference.", "channel"),
		refused:        t.CounterVec("moneta_dispatch_refused_total", "Payments that could not be attempted now, by reason.", "channel", "reason"),
		inflight:       t.GaugeVec("moneta_channel_inflight", "Attempts on the wire.", "channel"),
		limit:          t.GaugeVec("moneta_channel_bulkhead_limit", "The most attempts allowed on the wire at once.", "channel"),
		breaker:        t.GaugeVec("moneta_channel_breaker_state", "0 closed, 1 half-open, 2 open.", "channel"),
		queued:         t.GaugeVec("moneta_dispatch_queued", "Payments waiting for an attempt.", "channel"),
		contradictions: t.Counter("moneta_late_outcome_total", "Words of channels that contradict a final state."),
	}
}

func (m *metrics) attempt(channel string, n int16, resend bool) {
	m.attempts.WithLabelValues(channel).Inc()
	switch {
	case resend:
		m.resends.WithLabelValues(channel).Inc()
	case n == 1:
		m.firsts.WithLabelValues(channel).Inc()
	}
}

func (m *metrics) word(name string, w channel.Word) {
	m.requests.WithLabelValues(name, "pay", outcomeOf(w)).Inc()
	m.duration.WithLabelValues(name, "pay").Observe(w.Latency.Seconds())
	m.parts.Observe(name, w.Parts.DNS, w.Parts.Connect, w.Parts.TLS, w.Parts.FirstByte)
	if w.HTTPStatus != 0 {
		m.statuses.WithLabelValues(name, strconv.Itoa(w.HTTPStatus)).Inc()
	}
}

// outcomeOf is the word as the alert rules count it.
func outcomeOf(w channel.Word) string {
	switch w.Verdict {
	case channel.Declined:
		return "declined"
	case channel.Acked, channel.Confirmed:
		return "ok"
	case channel.Unknown, channel.NotFound, channel.NeverSent, channel.Returned, channel.ChargedBack:
	}
	return w.Trouble()
}
