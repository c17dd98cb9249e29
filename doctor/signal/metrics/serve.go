package metrics

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/fault"
)

// short is the window of what must be seen at once.
const short = 5 * time.Second

// noLimit is what the Go runtime tells as its memory limit when there is none.
const noLimit = 1 << 60

// runtime tells of the Go runtime: what it spends on garbage, and how long goroutines
// that could run waited.
func (v *view) runtime() {
	const hop = doctor.HopServe
	v.tell(hop, doctor.Goroutines, "", v.gauge("go_goroutines", nil), "go_goroutines", nil)
	old := v.back(short)
	// The runtime adds these up when a collection ends: none in the window is none at all.
	gc, total := v.since(old, "go_cpu_classes_gc_total_cpu_seconds_total", nil), v.since(old, "go_cpu_classes_total_cpu_seconds_total", nil)
	if old != nil && len(v.now.families["go_cpu_classes_total_cpu_seconds_total"]) > 0 {
		share := 0.0
		if total.value > 0 {
			share = gc.value / total.value
		}
		v.tell(hop, doctor.GC, "", share, "go_cpu_classes_gc_total_cpu_seconds_total", nil)
	}
	waits := v.since(old, "go_sched_latencies_seconds", nil)
	v.tell(hop, doctor.SchedWait, "", waits.quantile(0.99), "go_sched_latencies_seconds, p99", nil)
	if limit := v.gauge("go_gc_gomemlimit_bytes", nil); limit > 0 && limit < noLimit {
		used := v.gauge("go_memstats_sys_bytes", nil) - v.gauge("go_memstats_heap_released_bytes", nil)
		v.tell(hop, doctor.Memory, "", used/limit, "go_memstats_sys_bytes, go_gc_gomemlimit_bytes", nil)
	}
}

// pools tells of the connections to the database: the pool that is worst off.
func (v *view) pools() {
	const hop = doctor.HopServe
	old := v.back(short)
	var busy, held, wait float64
	var busiest, holder, slowest string
	names := v.values("moneta_pool_max_connections", "pool")
	if len(names) == 0 {
		return
	}
	for _, name := range names {
		in := match{"pool": name}
		if share := v.gauge("moneta_pool_acquired_connections", in) / v.gauge("moneta_pool_max_connections", in); share > busy {
			busy, busiest = share, name
		}
		if n := v.gauge("moneta_pool_held_connections", in); n > held {
			held, holder = n, name
		}
		longest := v.gauge("moneta_pool_oldest_wait_seconds", in)
		if asked := v.since(old, "moneta_pool_acquires_total", in); asked.value > 0 {
			waited := v.since(old, "moneta_pool_wait_seconds_total", in)
			longest = max(longest, waited.value/asked.value)
		}
		if longest > wait {
			wait, slowest = longest, name
		}
	}
	about := func(pool string) map[string]string {
		if pool == "" {
			return nil
		}
		return map[string]string{"pool": pool}
	}
	v.tell(hop, doctor.PoolBusy, "", busy, "moneta_pool_acquired_connections", about(busiest))
	v.tell(hop, doctor.PoolIdleHeld, "", held, "moneta_pool_held_connections", about(holder))
	v.tell(hop, doctor.PoolWait, "", wait, "moneta_pool_oldest_wait_seconds, moneta_pool_wait_seconds_total", about(slowest))
}

// hopOfLoop is where a loop works; others are the process's own.
var hopOfLoop = map[string]doctor.Hop{
	"decider":           {Name: doctor.HopDecider, Kind: doctor.Service},
	"timer":             {Name: doctor.HopTimer, Kind: doctor.Queue},
	"dispatch":          {Name: doctor.HopDispatch, Kind: doctor.Queue},
	"dispatch-attempts": {Name: doctor.HopDispatch, Kind: doctor.Queue},
	"settle":            {Name: doctor.HopSettle, Kind: doctor.Queue},
	"callbacks":         {Name: doctor.HopCallbacks, Kind: doctor.Relay},
	"callbacks-apply":   {Name: doctor.HopSettle, Kind: doctor.Queue},
}

// loops tells for how long each loop has had work and made no progress, at its own hop
// and at the process.
func (v *view) loops() {
	const name = "moneta_loop_silence_seconds"
	for _, loop := range v.values(name, "loop") {
		silence := v.gauge(name, match{"loop": loop})
		detail := map[string]string{"loop": loop}
		v.tell(doctor.HopServe, doctor.LoopSilence, loop, silence, name, detail)
		if hop, ok := hopOfLoop[loop]; ok {
			v.hop(hop.Name, hop.Kind)
			v.tell(hop.Name, doctor.LoopSilence, loop, silence, name, detail)
		}
	}
}

// mayWait are routes whose callers may ask to be answered late: what they take says
// nothing about us. The acceptance of a payment is measured by itself.
func mayWait(route string) bool {
	return route == "POST /v1/payments" || route == "GET /v1/payments/{id}" || strings.HasSuffix(route, "/events")
}

// edge tells of the API: how many requests, how fast, and what became of them.
func (v *view) edge() {
	const requests, hop = "moneta_http_requests_total", doctor.HopAPI
	if len(v.now.families[requests]) == 0 {
		return
	}
	v.hop(hop, doctor.Gateway)
	v.latency(hop, v.latelyOf(func(old *scrape) change {
		c := v.since(old, "moneta_accept_duration_seconds", nil)
		for _, route := range v.values("moneta_http_request_duration_seconds", "route") {
			if !mayWait(route) {
				c.merge(v.since(old, "moneta_http_request_duration_seconds", match{"route": route}))
			}
		}
		return c
	}), "moneta_accept_duration_seconds, moneta_http_request_duration_seconds")
	all := v.lately(requests, nil)
	if all.took == 0 {
		return
	}
	v.tell(hop, doctor.Rate, "", v.rate(requests, nil), requests, nil)
	if all.value > 0 {
		v.answers(all.took, all.value)
	}
	const requested, replayed = "moneta_payments_requested_total", "moneta_payments_replayed_total"
	v.tell(hop, doctor.Rate, "payments", v.rate(requested, nil)-v.rate(replayed, nil), requested+" less "+replayed, nil)
	again := "moneta_payments_again_total"
	v.tell(hop, doctor.Duplicates, "", v.rate(again, nil), again, nil)
	v.doubled()
	v.owed()
	if asked := v.lately("moneta_payments_requested_total", nil); asked.value > 0 {
		old := v.ago(asked.took)
		replayed := v.since(old, "moneta_payments_replayed_total", nil)
		v.tell(hop, doctor.Repeats, "", replayed.value/asked.value, "moneta_payments_replayed_total", nil)
	}
}

// owed tells for how long requests have been under way and none was answered, and in
// usual gaps between answers: a stall at which nothing grows old in the database.
func (v *view) owed() {
	const name, hop = "moneta_http_unanswered_seconds", doctor.HopAPI
	still := v.gauge(name, nil)
	if math.IsNaN(still) {
		return
	}
	v.tell(hop, doctor.Standstill, "", still, name, nil)
	if usual := v.since(v.back(callersWindow), "moneta_http_requests_total", nil); usual.took > 0 {
		v.tell(hop, doctor.StandstillGaps, "", still*usual.value/usual.took, name, nil)
	}
}

// ordersLeast of a few orders no share is told.
const ordersLeast = 20

// doubled tells the share of the orders of late that repeat another under a new key.
func (v *view) doubled() {
	const orders, again = "moneta_payments_requested_total", "moneta_payments_again_total"
	old := v.back(callersWindow / 6)
	asked := v.since(old, orders, nil)
	if old == nil || asked.value < ordersLeast {
		return
	}
	twice := v.since(old, again, nil).value
	if soon := v.since(old, "moneta_payments_soon_again_total", nil).value; soon > twice {
		twice = soon
	}
	if !math.IsNaN(twice) {
		v.tell(doctor.HopAPI, doctor.Doubled, "", min(twice/asked.value, 1), again, nil)
	}
}

// refusals are what 429 and 503 are sent for, by the codes of the problems.
var refusals = []struct {
	signal doctor.Signal
	codes  []fault.Code
}{
	{doctor.RefusedToldTo, []fault.Code{fault.IntakePaused, fault.ReadOnly, fault.RateLimited}},
	{doctor.RefusedNoRoom, []fault.Code{fault.Overloaded}},
	{doctor.RefusedNoDatabase, []fault.Code{fault.DatabaseUnavailable}},
}

// answers tells what became of all requests of the last took seconds.
func (v *view) answers(took, all float64) {
	const requests, problems, hop = "moneta_http_requests_total", "moneta_http_problems_total", doctor.HopAPI
	old := v.ago(took)
	var refused, failed, wrong float64
	for _, code := range v.values(requests, "code") {
		n := v.since(old, requests, match{"code": code}).value
		switch {
		case code == "429" || code == "503":
			refused += n
		case code >= "500":
			failed += n
		case code >= "400":
			wrong += n
		}
	}
	aborted := v.since(old, "moneta_http_aborted_total", nil).value
	v.tell(hop, doctor.Errors, "", (failed+v.code(old, "503"))/all, requests, nil)
	v.tell(hop, doctor.Refused, "", refused/all, requests, nil)
	for _, w := range refusals {
		var n float64
		for _, code := range w.codes {
			if sent := v.since(old, problems, match{"code": string(code)}).value; sent > 0 { // NaN: none was ever sent
				n += sent
			}
		}
		v.tell(hop, w.signal, "", n/all, problems, nil)
	}
	v.tell(hop, doctor.ServerErrors, "", failed/all, requests, nil)
	v.tell(hop, doctor.ClientErrors, "", wrong/all, requests, nil)
	v.tell(hop, doctor.Aborted, "", min(aborted/all, 1), "moneta_http_aborted_total", nil)
}

func (v *view) code(old *scrape, code string) float64 {
	return v.since(old, "moneta_http_requests_total", match{"code": code}).value
}

// ago returns the scrape of so many seconds ago, which lately has used.
func (v *view) ago(seconds float64) *scrape {
	for _, s := range v.all {
		if v.now.at.Sub(s.at).Seconds() <= seconds+0.001 {
			return s
		}
	}
	return nil
}

// rate is how much a counter rose, a second, of late.
func (v *view) rate(name string, where match) float64 {
	c := v.since(v.back(short), name, where)
	if c.took == 0 {
		return math.NaN()
	}
	if c.count != 0 && len(c.buckets) > 0 {
		return c.count / c.took
	}
	return c.value / c.took
}

// latency tells mean and quantiles of what ended lately; of nothing, nothing.
func (v *view) latency(hop string, c change, source string) {
	if c.count <= 0 {
		return
	}
	v.tell(hop, doctor.Latency, "mean", c.mean(), source, nil)
	for _, q := range []struct {
		name string
		q    float64
	}{{"p50", 0.5}, {"p95", 0.95}, {"p99", 0.99}} {
		v.tell(hop, doctor.Latency, q.name, c.quantile(q.q), source, nil)
	}
}

// decider tells of the one writer: its batches, and Facts that could not be committed.
func (v *view) decider() {
	const hop, batches = doctor.HopDecider, "moneta_commit_batches_total"
	if len(v.now.families["moneta_commit_facts_total"]) == 0 {
		return
	}
	v.hop(hop, doctor.Service)
	v.latency(hop, v.lately("moneta_commit_duration_seconds", nil), "moneta_commit_duration_seconds")
	v.tell(hop, doctor.Rate, "", v.rate("moneta_commit_facts_total", nil), "moneta_commit_facts_total", nil)
	if all := v.lately(batches, nil); all.value > 0 {
		failed := v.since(v.ago(all.took), batches, match{"outcome": "failed"})
		v.tell(hop, doctor.Errors, "", failed.value/all.value, batches, nil)
	}
	skew, drift := v.gauge("moneta_clock_skew_seconds", nil), v.gauge("moneta_clock_drift_seconds", nil)
	v.tell(hop, doctor.ClockSkew, "", max(math.Abs(skew), math.Abs(drift)), "moneta_clock_skew_seconds, moneta_clock_drift_seconds", nil)
}

// stations tells of those that keep work, as far as they tell themselves; the money facts
// know more.
func (v *view) stations() {
	if late := v.gauge("moneta_timer_overdue_seconds", nil); !math.IsNaN(late) {
		v.hop(doctor.HopTimer, doctor.Queue)
		v.tell(doctor.HopTimer, doctor.TimerLate, "wheel", late, "moneta_timer_overdue_seconds", nil)
	}
	if queued := v.gauge("moneta_dispatch_queued", nil); !math.IsNaN(queued) {
		v.hop(doctor.HopDispatch, doctor.Queue)
		v.tell(doctor.HopDispatch, doctor.Waiting, "lanes", queued, "moneta_dispatch_queued", nil)
		v.tell(doctor.HopDispatch, doctor.Rate, "", v.rate("moneta_channel_attempts_total", nil), "moneta_channel_attempts_total", nil)
	}
	if len(v.now.families["moneta_callbacks_total"]) > 0 {
		v.hop(doctor.HopCallbacks, doctor.Relay)
		v.tell(doctor.HopCallbacks, doctor.Rate, "", v.rate("moneta_callbacks_total", nil), "moneta_callbacks_total", nil)
	}
	const turned = "moneta_invariant_last_turn_timestamp_seconds"
	if at := v.gauge(turned, nil); at > 0 { // 0 on a node that does not lead
		v.tell(doctor.HopDecider, doctor.Checked, "", max(float64(v.now.at.UnixNano())/1e9-at, 0), turned, nil)
	}
	const tries, hop = "moneta_webhook_tries_total", doctor.HopWebhooks
	if all := v.lately(tries, nil); all.value > 0 {
		v.hop(hop, doctor.Webhook)
		good := v.since(v.ago(all.took), tries, match{"outcome": "delivered"})
		v.tell(hop, doctor.Rate, "", v.rate(tries, nil), tries, nil)
		v.tell(hop, doctor.Errors, "", 1-good.value/all.value, tries, nil)
		v.latency(hop, v.lately("moneta_webhook_delay_seconds", nil), "moneta_webhook_delay_seconds")
	}
}

// callersWindow is over how long callers are counted.
const callersWindow = 60 * time.Second

// callers tells who is affected, by program and by network.
func (v *view) callers() {
	const name = "moneta_callers_requests_total"
	old := v.back(callersWindow)
	if old == nil {
		return
	}
	for _, dimension := range v.values(name, "dimension") {
		by := map[string]*doctor.Cohort{}
		var order []string
		for i := range v.now.families[name] {
			s := &v.now.families[name][i]
			if s.label("dimension") != dimension {
				continue
			}
			n := s.value
			if before := old.find(name, s.key); before != nil {
				n -= before.value
			}
			value := s.label("value")
			if by[value] == nil {
				by[value] = &doctor.Cohort{Dimension: dimension, Value: value}
				order = append(order, value)
			}
			by[value].Total += int(n)
			if s.label("outcome") != "ok" {
				by[value].Affected += int(n)
			}
		}
		slices.Sort(order)
		for _, value := range order {
			if by[value].Total > 0 {
				v.Cohorts = append(v.Cohorts, *by[value])
			}
		}
	}
}
