package metrics

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/moneta-pay/moneta/doctor"
)

// outcomes of a call that are no fault of the channel's: it answered, or nothing was sent.
var answered = []string{"ok", "declined"}

var notSent = []string{"send_by_passed", "bad_order", "held_back", "cancelled"}

// notBelieved are answers that could not be read, or said another thing than was asked.
var notBelieved = []string{"unreadable_body", "body_too_large", "echo_contradiction"}

// disbelieved are verdicts on callbacks that nobody acts on.
var disbelieved = []string{"forged", "stale", "malformed", "unknown_reference", "unstorable", "no_channel"}

// channels tells of each channel, from our side of it.
func (v *view) channels(named []string) {
	names := slices.Clone(named)
	for _, n := range v.values("moneta_channel_bulkhead_limit", "channel") {
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	for _, name := range names {
		v.hop(name, doctor.Channel)
		v.calls(name, "")
		v.calls(name, "pay")
		v.calls(name, "query")
		v.statuses(name)
		v.lane(name)
		v.words(name)
		v.truths(name)
		v.parts(name)
	}
}

// byOutcome counts calls by what became of them.
func (v *view) byOutcome(old *scrape, in match) (count map[string]float64, all float64) {
	const requests = "moneta_channel_requests_total"
	count = map[string]float64{}
	for i := range v.now.families[requests] {
		s := &v.now.families[requests][i]
		if !s.is(in) {
			continue
		}
		outcome := s.label("outcome")
		if slices.Contains(notSent, outcome) {
			continue // no byte of it reached the channel
		}
		n := s.value
		if before := old.find(requests, s.key); before != nil {
			n -= before.value
		}
		count[outcome] += n
		all += n
	}
	return count, all
}

// calls tells how an operation's calls ended; "" is all operations.
func (v *view) calls(name, op string) {
	const requests = "moneta_channel_requests_total"
	in := match{"channel": name}
	if op != "" {
		in["op"] = op
	}
	lately := v.lately(requests, in)
	if lately.took == 0 {
		return
	}
	rate := v.rate(requests, in)
	if math.IsNaN(rate) {
		rate = 0
	}
	v.tell(name, doctor.Rate, op, rate, requests, nil)
	count, all := v.byOutcome(v.ago(lately.took), in)
	if all == 0 {
		return
	}
	share := func(outcomes ...string) float64 {
		sum := 0.0
		for _, o := range outcomes {
			sum += count[o]
		}
		return sum / all
	}
	good := share(answered...)
	v.tell(name, doctor.Errors, op, max(1-good, 0), requests, nil)
	v.tell(name, doctor.Timeouts, op, share("timeout"), requests, nil)
	v.tell(name, doctor.Unreachable, op, share("conn_error"), requests, nil)
	v.tell(name, doctor.BadBodies, op, share(notBelieved...), requests, nil)
	if op == "pay" {
		v.tell(name, doctor.Declines, "", share("declined"), requests, nil)
		v.tell(name, doctor.Unknowns, "", max(1-good, 0), requests, nil)
		v.latency(name, v.lately("moneta_channel_duration_seconds", in), "moneta_channel_duration_seconds")
	}
}

// statuses tells what the channel's answers were, as shares of its answers. A 404 to a
// query is an answer like any other.
func (v *view) statuses(name string) {
	const statuses = "moneta_channel_http_status_total"
	in := match{"channel": name}
	lately := v.lately(statuses, in)
	calls := v.since(v.ago(lately.took), "moneta_channel_requests_total", in)
	all := max(lately.value, calls.value) // calls without an answer count too
	if lately.took == 0 || all == 0 {
		return
	}
	var gateway, server, rate, client float64
	for _, code := range v.values(statuses, "code") {
		n := v.since(v.ago(lately.took), statuses, match{"channel": name, "code": code}).value
		switch {
		case code == "502" || code == "504":
			gateway += n
		case strings.HasPrefix(code, "5"):
			server += n
		case code == "429":
			rate += n
		case strings.HasPrefix(code, "4") && code != "404":
			client += n
		}
	}
	v.tell(name, doctor.GatewayFails, "", gateway/all, statuses, nil)
	v.tell(name, doctor.Status5xx, "", server/all, statuses, nil)
	v.tell(name, doctor.Status429, "", rate/all, statuses, nil)
	v.tell(name, doctor.Status4xx, "", client/all, statuses, nil)
}

// lane tells of our own side: what is on the wire, the breaker, and how much is sent again.
func (v *view) lane(name string) {
	in := match{"channel": name}
	v.tell(name, doctor.Busy, "", v.gauge("moneta_channel_inflight", in)/v.gauge("moneta_channel_bulkhead_limit", in), "moneta_channel_inflight", nil)
	if state := v.gauge("moneta_channel_breaker_state", in); !math.IsNaN(state) {
		open := 0.0
		if state >= 2 {
			open = 1
		}
		v.tell(name, doctor.BreakerOpen, "", open, "moneta_channel_breaker_state", nil)
	}
	attempts := v.lately("moneta_channel_attempts_total", in)
	if firsts := v.since(v.ago(attempts.took), "moneta_channel_first_attempts_total", in); attempts.took > 0 && firsts.value > 0 {
		v.tell(name, doctor.Amplified, "", attempts.value/firsts.value, "moneta_channel_attempts_total", nil)
	}
}

// words tells of what the channel says by itself, and of what nobody would know without
// asking.
func (v *view) words(name string) {
	const callbacks, settled = "moneta_callbacks_total", "moneta_channel_settled_total"
	in := match{"channel": name}
	old := v.back(short)
	if old == nil {
		return
	}
	all := v.since(old, callbacks, in)
	bad := v.since(old, "moneta_callbacks_over_quota_total", in).value
	for _, verdict := range disbelieved {
		bad += v.since(old, callbacks, match{"channel": name, "verdict": verdict}).value
	}
	v.tell(name, doctor.Callbacks, "", all.value/all.took, callbacks, nil)
	v.tell(name, doctor.BadCallbacks, "", bad/all.took, callbacks, nil)
	delay := v.lately("moneta_callback_delay_seconds", in)
	v.tell(name, doctor.CallbackLag, "", delay.quantile(0.95), "moneta_callback_delay_seconds, p95", nil)
	if ended := v.lately(settled, in); ended.value > 0 {
		asked := v.since(v.ago(ended.took), settled, match{"channel": name, "by": "query"})
		v.tell(name, doctor.NoCallbacks, "", asked.value/ended.value, settled, nil)
	}
}

// truths tells of the outcomes that were unknown: how many turned out to have succeeded,
// and how much of its budget the reference that was asked for most has spent.
func (v *view) truths(name string) {
	const truths, spent = "moneta_channel_truths_total", "moneta_channel_queries_spent_total"
	if known := v.lately(truths, match{"channel": name}); known.value > 0 {
		good := v.since(v.ago(known.took), truths, match{"channel": name, "outcome": "succeeded"})
		v.tell(name, doctor.LateTruth, "", good.value/known.value, truths, nil)
	}
	asked := v.lately(spent, match{"channel": name})
	if asked.value <= 0 {
		return
	}
	most := 0
	for _, tenths := range v.values(spent, "tenths") {
		n, err := strconv.Atoi(tenths)
		if err == nil && n > most && v.since(v.ago(asked.took), spent, match{"channel": name, "tenths": tenths}).value > 0 {
			most = n
		}
	}
	v.tell(name, doctor.QueryBudget, "", float64(min(most, 10))/10, spent, nil)
}

// parts tells where real calls spend their time on the way, beside what the probe meets.
func (v *view) parts(name string) {
	const parts = "moneta_channel_part_seconds"
	for part, signal := range map[string]doctor.Signal{
		"dns": doctor.ProbeDNS, "connect": doctor.ProbeConnect, "tls": doctor.ProbeTLS, "first_byte": doctor.ProbeFirst,
	} {
		if c := v.lately(parts, match{"channel": name, "part": part}); c.count > 0 {
			v.tell(name, signal, "calls", c.mean(), parts, nil)
		}
	}
}
