package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moneta-pay/moneta/internal/lifecycle"
)

// loadJob tells the load generator, a process of its own, what to do: exactly one
// of the fields is set.
type loadJob struct {
	HTTP   *loadPlan   `json:"http,omitempty"`
	Orders *ordersPlan `json:"orders,omitempty"`
	SQL    *sqlPlan    `json:"sql,omitempty"`
	Reads  *readsPlan  `json:"reads,omitempty"`
}

// loadPlan is payments over the HTTP API.
type loadPlan struct {
	Address string `json:"address"` // host:port
	Key     string `json:"key"`
	// Prefix makes the idempotency keys of this run unlike those of any other.
	Prefix      string `json:"prefix"`
	Connections int    `json:"connections"`
	// Batch is how many payments a request carries; 1 posts them singly.
	Batch int `json:"batch"`
	// Rate above 0 starts so many requests a second on a fixed schedule, and
	// measures each answer from the moment at which its request was due: a server
	// that falls behind cannot hide it by slowing the generator down. At 0 each
	// connection sends again as soon as it is answered.
	Rate float64 `json:"rate"`
	// Wait, in seconds, asks the server to answer when the payment is final. A
	// connection that sends batches waits for the end of the last of each before
	// it sends the next.
	Wait     int           `json:"wait"`
	For      time.Duration `json:"for_ns"`
	Channels []string      `json:"channels"` // payouts through one of them at random; empty: sends
	Asset    string        `json:"asset"`
	Accounts []string      `json:"accounts"`
	// Patience above 0 turns an arrival of the schedule away that finds no connection
	// free within it: the load is then offered whatever the server does.
	Patience time.Duration `json:"patience_ns"`
	// Useful is how late an answer may be and still count as such; 0 is no bound.
	Useful time.Duration `json:"useful_ns"`
	// Surge says that refusals are expected, and no reason to pause after one.
	Surge bool `json:"surge"`
	// Windows asks for the latency of every second.
	Windows bool `json:"windows"`
}

// loadResult is what the generator was answered.
type loadResult struct {
	Acked int64 `json:"acked"`
	// Done of these had the end that the plan waits for: the rest were accepted
	// and had not succeeded in time. Without a wait it equals Acked.
	Done int64 `json:"done"`
	// Refused were answered with an error that tells that nothing moved,
	// Unanswered may have been carried out.
	Refused    int64         `json:"refused"`
	Unanswered int64         `json:"unanswered"`
	Error      string        `json:"error"` // the first of either
	Began      time.Time     `json:"began"`
	Elapsed    time.Duration `json:"elapsed_ns"`
	Latency    Latency       `json:"latency"` // of answers to requests that succeeded
	// TurnedAway arrivals were not sent; Useful of Done were answered in time.
	TurnedAway int64    `json:"turned_away"`
	Useful     int64    `json:"useful"`
	Windows    []window `json:"windows,omitempty"`
}

// Load is the load generator's main: args names the file with its plan, and out
// receives its result, both JSON.
func Load(ctx context.Context, args []string, out io.Writer) error {
	var job loadJob
	if err := readPlan("bench-load", args, &job); err != nil {
		return err
	}
	res, err := job.run(ctx)
	if err != nil {
		return fmt.Errorf("bench-load: %w", err)
	}
	return json.NewEncoder(out).Encode(res)
}

func (j *loadJob) run(ctx context.Context) (loadResult, error) {
	switch {
	case j.HTTP != nil:
		return j.HTTP.run(ctx)
	case j.Orders != nil:
		return j.Orders.run(ctx)
	case j.SQL != nil && j.SQL.Accounts > 1 && j.SQL.Connections > 0:
		return j.SQL.run(ctx)
	case j.Reads != nil:
		return j.Reads.run(ctx)
	}
	return loadResult{}, errors.New("the plan names no work")
}

// sender is one connection's work.
type sender struct {
	plan *loadPlan
	wire *wire
	name string
	n    int64
	body []byte
	// began is when the load did.
	began time.Time

	res   loadResult
	times []time.Duration
	seen  []sight
}

func (p *loadPlan) run(ctx context.Context) (loadResult, error) {
	if len(p.Accounts) < 2 || p.Connections < 1 || p.Batch < 1 {
		return loadResult{}, errors.New("the plan needs connections, a batch size and two accounts")
	}
	senders := make([]*sender, p.Connections)
	for i := range senders {
		senders[i] = &sender{plan: p, wire: newWire(p.Address, p.Key), name: p.Prefix + "-" + strconv.Itoa(i) + "-"}
		if err := senders[i].wire.dial(ctx); err != nil {
			return loadResult{}, err
		}
		defer senders[i].wire.close()
	}
	var wg sync.WaitGroup
	var slot atomic.Int64
	began := time.Now()
	for _, s := range senders {
		s.began = began
		wg.Go(func() {
			if p.Rate > 0 {
				s.onSchedule(ctx, began, &slot)
			} else {
				s.backToBack(ctx, began)
			}
		})
	}
	wg.Wait()
	return gather(senders, began), ctx.Err()
}

func gather(senders []*sender, began time.Time) loadResult {
	results := make([]loadResult, len(senders))
	var times []time.Duration
	for i, s := range senders {
		results[i] = s.res
		times = append(times, s.times...)
	}
	sum := sumOf(results, began)
	sum.Latency = latencyOf(times)
	if len(senders) > 0 && senders[0].plan.Windows {
		sum.Windows = windowsOf(senders)
	}
	return sum
}

// sumOf adds up what the connections of one load were answered.
func sumOf(results []loadResult, began time.Time) loadResult {
	sum := loadResult{Began: began, Elapsed: time.Since(began)}
	for _, r := range results {
		sum.Acked += r.Acked
		sum.Done += r.Done
		sum.Refused += r.Refused
		sum.Unanswered += r.Unanswered
		sum.TurnedAway += r.TurnedAway
		sum.Useful += r.Useful
		if sum.Error == "" {
			sum.Error = r.Error
		}
	}
	return sum
}

func latencyOf(times []time.Duration) Latency {
	if len(times) == 0 {
		return Latency{}
	}
	slices.Sort(times)
	at := func(permille int) float64 {
		return rounded(float64(times[(len(times)-1)*permille/1000]) / float64(time.Millisecond))
	}
	return Latency{P50: at(500), P90: at(900), P99: at(990), Max: at(1000)}
}

func (s *sender) backToBack(ctx context.Context, began time.Time) {
	for ctx.Err() == nil {
		from := time.Now()
		if from.Sub(began) >= s.plan.For {
			return
		}
		s.send(ctx, from)
	}
}

func (s *sender) onSchedule(ctx context.Context, began time.Time, slot *atomic.Int64) {
	for {
		due := time.Duration(float64(slot.Add(1)-1) / s.plan.Rate * float64(time.Second))
		if due >= s.plan.For {
			return
		}
		early := due - time.Since(began)
		if s.plan.Patience > 0 && early < -s.plan.Patience {
			s.res.TurnedAway++
			continue
		}
		if early > 0 {
			t := time.NewTimer(early)
			select {
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
				return
			}
		}
		s.send(ctx, began.Add(due))
	}
}

// pauseAfterError keeps a server that is gone from being asked in a tight loop.
const pauseAfterError = 50 * time.Millisecond

// send makes one request and counts its answer from the moment from.
func (s *sender) send(ctx context.Context, from time.Time) {
	count := int64(s.plan.Batch)
	path, more := "/v1/payments", ""
	s.body = s.body[:0]
	if s.plan.Batch == 1 {
		more = "Idempotency-Key: " + s.key() + "\r\n"
		if s.plan.Wait > 0 {
			more += "Prefer: wait=" + strconv.Itoa(s.plan.Wait) + "\r\n"
		}
		s.payment(false)
	} else {
		path = "/v1/payments/batch"
		s.body = append(s.body, `{"payments":[`...)
		for i := range s.plan.Batch {
			if i > 0 {
				s.body = append(s.body, ',')
			}
			s.payment(true)
		}
		s.body = append(s.body, "]}"...)
	}
	status, answer, err := s.wire.request(ctx, "POST", path, more, s.body)
	if err != nil || status >= 500 {
		s.failed(ctx, from, status, answer, err)
		return
	}
	acked, done := s.acknowledged(status, answer)
	if s.plan.Batch > 1 && s.plan.Wait > 0 && acked == count {
		status, answer, done = s.follow(ctx, answer, count)
	}
	took := time.Since(from)
	s.res.Acked += acked
	s.res.Done += done
	s.res.Refused += count - acked
	if s.plan.Useful == 0 || took <= s.plan.Useful {
		s.res.Useful += done
	}
	s.see(from, took, done < count)
	if done < count {
		s.fail(status, answer, nil)
		return
	}
	s.times = append(s.times, took)
}

// failed counts a request that has no answer, or one that leaves open what became
// of it; one that says that nothing moved was refused.
func (s *sender) failed(ctx context.Context, from time.Time, status int, answer []byte, err error) {
	if err == nil && bytes.Contains(answer, []byte(`"money_state":"not_moved"`)) {
		s.res.Refused += int64(s.plan.Batch)
	} else {
		s.res.Unanswered += int64(s.plan.Batch)
	}
	s.fail(status, answer, err)
	s.see(from, 0, true)
	if s.plan.Surge && err == nil {
		return
	}
	_ = lifecycle.Pause(ctx, pauseAfterError) // its end is seen by the caller
}

// see keeps what became of a request, by the second in which it was due.
func (s *sender) see(from time.Time, took time.Duration, failed bool) {
	if s.plan.Windows {
		s.seen = append(s.seen, sight{second: int(from.Sub(s.began) / time.Second), took: took, failed: failed})
	}
}

// acknowledged counts the payments that the answer says are accepted and those
// that, where the plan waits for the end, succeeded.
func (s *sender) acknowledged(status int, answer []byte) (acked, done int64) {
	switch {
	case s.plan.Batch > 1 && status == 200:
		acked = int64(bytes.Count(answer, []byte(`"status":201`)))
	case s.plan.Batch == 1 && status == 201:
		if acked = 1; s.plan.Wait > 0 && !bytes.Contains(answer, []byte(`"status":"succeeded"`)) {
			return acked, 0
		}
	}
	return acked, acked
}

// follow waits for the end of the last payment of an accepted batch. done tells
// that it succeeded; what became of the others is counted from their rows.
func (s *sender) follow(ctx context.Context, accepted []byte, count int64) (status int, answer []byte, done int64) {
	const mark = `"id":"pay_`
	_, id, found := bytes.Cut(accepted[max(bytes.LastIndex(accepted, []byte(mark)), 0):], []byte(`"id":"`))
	id, _, closed := bytes.Cut(id, []byte(`"`))
	if !found || !closed {
		return 0, []byte("the answer names no payment"), 0
	}
	status, answer, err := s.wire.request(ctx, "GET", "/v1/payments/"+string(id), "Prefer: wait="+strconv.Itoa(s.plan.Wait)+"\r\n", nil)
	if err != nil {
		return 0, []byte(err.Error()), 0
	}
	if status != 200 || !bytes.Contains(answer, []byte(`"status":"succeeded"`)) {
		return status, answer, 0
	}
	return status, answer, count
}

func (s *sender) fail(status int, answer []byte, err error) {
	if s.res.Error != "" {
		return
	}
	if err != nil {
		s.res.Error = err.Error()
		return
	}
	s.res.Error = fmt.Sprintf("%d %s", status, answer[:min(len(answer), 600)])
}

func (s *sender) key() string {
	s.n++
	return s.name + strconv.FormatInt(s.n, 10)
}

// payment appends one payment to the body, with its key when it is of a batch.
func (s *sender) payment(ofBatch bool) {
	p := s.plan
	from := rand.IntN(len(p.Accounts))
	b := append(s.body, '{')
	if ofBatch {
		b = append(append(append(b, `"idempotency_key":"`...), s.key()...), `",`...)
	}
	if len(p.Channels) > 0 {
		b = append(append(b, `"kind":"payout","channel":"`...), p.Channels[rand.IntN(len(p.Channels))]...)
		b = append(b, `","payee":{"account":"123456"},"from":"`...)
		b = append(b, p.Accounts[from]...)
	} else {
		to := (from + 1 + rand.IntN(len(p.Accounts)-1)) % len(p.Accounts)
		b = append(append(b, `"kind":"send","from":"`...), p.Accounts[from]...)
		b = append(append(b, `","to":"`...), p.Accounts[to]...)
	}
	b = append(b, `","amount":"`...)
	b = strconv.AppendInt(b, 1+rand.Int64N(100), 10)
	s.body = append(append(append(b, `","asset":"`...), p.Asset...), `"}`...)
}
