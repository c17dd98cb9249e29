package settle

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/commit"
)

type metrics struct {
	callbacks, refused          *prometheus.CounterVec
	overQuota                   *prometheus.CounterVec
	requests, statuses, queries *prometheus.CounterVec
	duration, delay             *prometheus.HistogramVec
	leftover, swept             prometheus.Counter
	contradictions, unasked     prometheus.Counter
	deleted                     prometheus.Counter
	parts                       telemetry.CallParts
	settled, truths, spent      *prometheus.CounterVec
}

func newMetrics(t *telemetry.Telemetry) metrics {
	return metrics{
		parts:          t.CallParts(),
		settled:        t.CounterVec("moneta_channel_settled_total", "Final words on payments that were not final, by what brought them: callback or query.", "channel", "by"),
		truths:         t.CounterVec("moneta_channel_truths_total", "Attempts whose outcome had been unknown, by what became known: succeeded, failed or absent.", "channel", "outcome"),
		spent:          t.CounterVec("moneta_channel_queries_spent_total", "Queries by how much of its reference's budget was spent with them, in tenths, rounded up.", "channel", "tenths"),
		callbacks:      t.CounterVec("moneta_callbacks_total", "Callbacks by what became of them.", "channel", "verdict"),
		refused:        t.CounterVec("moneta_callbacks_refused_total", "Callbacks refused because too many waited to be stored.", "channel"),
		overQuota:      t.CounterVec("moneta_callbacks_over_quota_total", "Callbacks refused because they do not verify and too many such were kept already.", "channel"),
		deleted:        t.Counter("moneta_callbacks_deleted_total", "Callbacks deleted after their time, or as too many that do not verify."),
		delay:          t.HistogramVec("moneta_callback_delay_seconds", "From the event at the channel to its callback here.", "channel"),
		leftover:       t.Counter("moneta_callbacks_leftover_total", "Callbacks that were stored and left to the sweep."),
		swept:          t.Counter("moneta_callbacks_sweeps_total", "Batches of left-over callbacks that the sweep applied."),
		requests:       t.CounterVec("moneta_channel_requests_total", "Calls to channels by operation and outcome.", "channel", "op", "outcome"),
		statuses:       t.CounterVec("moneta_channel_http_status_total", "HTTP statuses of channels' answers.", "channel", "code"),
		duration:       t.HistogramVec("moneta_channel_duration_seconds", "How long calls to channels took.", "channel", "op"),
		queries:        t.CounterVec("moneta_channel_status_queries_total", "Queries by our reference.", "channel"),
		contradictions: t.Counter("moneta_late_outcome_total", "Words of channels that contradict a final state."),
		unasked:        t.Counter("moneta_queries_dropped_total", "Due queries that found the queue full; the timer offers them again."),
	}
}

func (m *metrics) word(name string, w channel.Word) {
	m.queries.WithLabelValues(name).Inc()
	m.requests.WithLabelValues(name, "query", outcomeOf(w)).Inc()
	m.duration.WithLabelValues(name, "query").Observe(w.Latency.Seconds())
	m.parts.Observe(name, w.Parts.DNS, w.Parts.Connect, w.Parts.TLS, w.Parts.FirstByte)
	if w.HTTPStatus != 0 {
		m.statuses.WithLabelValues(name, strconv.Itoa(w.HTTPStatus)).Inc()
	}
}

// outcomeOf is the word as the alert rules count it.
func outcomeOf(w channel.Word) string {
	if w.Verdict != channel.Unknown {
		return "ok"
	}
	return w.Trouble()
}

// settle counts a final word that was news. A channel whose callbacks are lost is
// settled by queries.
func (m *metrics) settle(f *pay.Fact, answer *commit.Outcome) {
	if answer.NoOp || f.Kind != pay.Confirm && f.Kind != pay.Decline {
		return
	}
	m.settled.WithLabelValues(answer.Payment.Channel, f.Source).Inc()
}

// truth counts what became known of an attempt whose outcome had been unknown.
func (m *metrics) truth(p *pay.Payment, attempt int16) {
	outcome := "failed"
	switch {
	case p.State == pay.Succeeded:
		outcome = "succeeded"
	case attempt != p.Attempt.N, p.Attempt.State == pay.Absent, p.Attempt.State == pay.NeverSent:
		outcome = "absent"
	}
	m.truths.WithLabelValues(p.Channel, outcome).Inc()
}

// budget counts a query by how near it brings its reference to the end of its budget;
// where the rail sets no limit nothing is.
func (m *metrics) budget(name string, caps channel.Capabilities, p *pay.Payment, now time.Time) {
	if caps.QueryBudget > 0 {
		m.spent.WithLabelValues(name, strconv.Itoa(tenths(caps, int(p.Checks)+1, now.Sub(p.EnteredAt)))).Inc()
	}
}

// tenths of the budget that n queries of one reference have spent, rounded up, when the
// first of them was at most so long ago. After a whole window only the second half of the
// plan is left in any: see queryWait.
func tenths(caps channel.Capabilities, n int, since time.Duration) int {
	if caps.QueryWindow > 0 && since > caps.QueryWindow {
		n = min(n, (caps.QueryBudget+1)/2)
	}
	return min((10*n+caps.QueryBudget-1)/caps.QueryBudget, 10)
}
