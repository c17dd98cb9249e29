package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/event"
	"github.com/moneta-pay/moneta/fault"
)

// told is one server-sent event.
type told struct {
	id, kind string
	envelope event.Envelope
}

// eventStream is a client that reads a stream as a browser would.
type eventStream struct {
	t     *testing.T
	resp  *http.Response
	lines *bufio.Scanner
}

func (w *world) stream(path, key, last string) *eventStream {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	w.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.server.URL+path, http.NoBody)
	require.NoError(w.t, err)
	req.Header.Set("Authorization", "Bearer "+key)
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := w.server.Client().Do(req)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = resp.Body.Close() })
	return &eventStream{t: w.t, resp: resp, lines: bufio.NewScanner(resp.Body)}
}

// next returns the next event, or false when the stream has ended.
func (s *eventStream) next() (told, bool) {
	s.t.Helper()
	var e told
	for s.lines.Scan() {
		name, value, _ := strings.Cut(s.lines.Text(), ": ")
		switch name {
		case "id":
			e.id = value
		case "event":
			e.kind = value
		case "data":
			require.NoError(s.t, json.Unmarshal([]byte(value), &e.envelope))
		case "":
			if e.id != "" {
				return e, true
			}
		}
	}
	require.NoError(s.t, s.lines.Err())
	return e, false
}

func (s *eventStream) rest() (types []string, last string) {
	s.t.Helper()
	for {
		e, ok := s.next()
		if !ok {
			return types, last
		}
		types, last = append(types, e.kind), e.id
	}
}

// TestAStreamFollowsAPayment reads what was, what happens, and the end; breaks off
// in the middle and goes on where it was.
func TestAStreamFollowsAPayment(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.payout(w.funded("a", "5000"), "k1")
	path := "/v1/payments/" + id.String() + "/events"
	s := w.stream(path, w.user, "")
	require.Equal(t, "text/event-stream", s.resp.Header.Get("Content-Type"))
	first, ok := s.next()
	require.True(t, ok)
	require.Equal(t, "payment.created", first.kind)
	require.Equal(t, first.id, first.envelope.ID)
	require.Equal(t, id.String(), first.envelope.Subject)
	second, ok := s.next()
	require.True(t, ok)
	require.Equal(t, "payment.reserved", second.kind)

	w.dispatched(id)
	third, ok := s.next()
	require.True(t, ok)
	require.Equal(t, "payment.dispatching", third.kind)
	require.Equal(t, "reserved", third.envelope.Data.FromState)
	w.confirmed(id)
	types, last := s.rest()
	require.Equal(t, []string{event.PaymentFinal}, types)

	again, _ := w.stream(path, w.user, second.id).rest()
	require.Equal(t, []string{"payment.dispatching", event.PaymentFinal}, again, "Last-Event-ID takes it up")
	over := w.stream(path, w.user, last)
	require.Equal(t, http.StatusNoContent, over.resp.StatusCode, "an EventSource does not come back")

	requireProblem(t, w.get("/v1/payments/pay_0000000000ZZZ/events"), fault.NotFound)
	requireProblem(t, w.do(http.MethodGet, path, w.user, "", "Last-Event-ID", "x"), fault.MalformedRequest)
	stranger, err := w.access.CreateTenant(t.Context(), "stranger")
	require.NoError(t, err)
	key, _, err := w.access.CreateKey(t.Context(), stranger, "", []access.Scope{access.PaymentsRead})
	require.NoError(t, err)
	requireProblem(t, w.do(http.MethodGet, path, key, ""), fault.NotFound)
	require.Empty(t, w.do(http.MethodGet, "/v1/events", key, "").json["data"], "other people's events")
}

func TestStreamsAreBoundedAndEndWithTheirKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *api.Config) { c.StreamsPerKey = 2 })
	path := "/v1/payments/" + w.payout(w.funded("a", "5000"), "k1").String() + "/events"
	key := w.key(access.PaymentsRead)
	open := []*eventStream{w.stream(path, key, ""), w.stream(path, key, "")}
	requireProblem(t, w.do(http.MethodGet, path, key, ""), fault.RateLimited)
	for _, s := range open {
		for range 2 {
			_, ok := s.next()
			require.True(t, ok)
		}
	}
	_, err := w.access.Revoke(t.Context(), w.tenant, strings.Split(key, "_")[2])
	require.NoError(t, err)
	since := time.Now()
	for _, s := range open {
		types, _ := s.rest()
		require.Empty(t, types)
	}
	require.Less(t, time.Since(since), 5*time.Second)
}

// TestTheLogTellsEverything reads by cursor while writers write, several readers
// with pages of different sizes, and misses none, repeats none, keeps the order.
func TestTheLogTellsEverything(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	from, to := w.funded("a", "1000000"), w.open("b", "user")
	const writers, each = 4, 40
	var writing sync.WaitGroup
	stop := make(chan struct{})
	for i := range writers {
		writing.Go(func() {
			for j := range each {
				a := w.post("/v1/payments", w.user, `{"kind":"send","from":"`+from+`","to":"`+to+`","amount":"1","asset":"CZK"}`, fmt.Sprintf("w%d-%d", i, j))
				if a.StatusCode != http.StatusCreated {
					t.Errorf("writer: %s", a.body)
				}
			}
		})
	}
	go func() { writing.Wait(); close(stop) }()
	var readers sync.WaitGroup
	for _, size := range []int{1, 7, 100} {
		readers.Go(func() {
			seen, after, done := map[string]bool{}, "", false
			for {
				a := w.get(fmt.Sprintf("/v1/events?limit=%d&wait=1&after=%s", size, after))
				if a.StatusCode != http.StatusOK {
					t.Errorf("reader: %s", a.body)
					return
				}
				for _, x := range a.json["data"].([]any) {
					id := x.(map[string]any)["id"].(string)
					if seen[id] || id <= after {
						t.Errorf("%s after %s", id, after)
					}
					seen[id], after = true, id
				}
				if next := a.str("next"); next > after {
					after = next
				}
				if len(a.json["data"].([]any)) == 0 && done {
					break
				}
				select {
				case <-stop:
					done = true
				default:
				}
			}
			if len(seen) != writers*each+1 { // the funding too
				t.Errorf("%d of %d events", len(seen), writers*each+1)
			}
		})
	}
	readers.Wait()
}

func TestEventsByTypeAndLongPoll(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.payout(w.funded("a", "5000"), "k1")
	count := func(types string) int {
		t.Helper()
		a := w.get("/v1/events?type=" + types)
		require.Equal(t, http.StatusOK, a.StatusCode, string(a.body))
		return len(a.json["data"].([]any))
	}
	require.Equal(t, 1, count("payment.final"), "the funding")
	require.Equal(t, 2, count("payment.created,payment.reserved"))
	require.Zero(t, count("payment.settled,payment.updated"))
	requireProblem(t, w.get("/v1/events?type=payment.nonsense"), fault.MalformedRequest)
	requireProblem(t, w.get("/v1/events?after=5"), fault.MalformedRequest)
	requireProblem(t, w.get("/v1/events?wait=x"), fault.MalformedRequest)

	next := w.get("/v1/events").str("next")
	since := time.Now()
	require.Empty(t, w.get("/v1/events?wait=1&after=" + next).json["data"])
	require.GreaterOrEqual(t, time.Since(since), time.Second)
	got := make(chan *answer, 1)
	go func() { got <- w.get("/v1/events?wait=30&type=payment.final&after=" + next) }()
	w.dispatched(id) // wakes the poll, and is not what it waits for
	w.confirmed(id)
	a := <-got
	require.Len(t, a.json["data"], 1)
	require.Equal(t, "succeeded", a.json["data"].([]any)[0].(map[string]any)["data"].(map[string]any)["state"])
}

// TestStreamsOutliveTheServersLimits: the limits of the real server are for answers
// that come at once; a stream must neither be cut off by them nor hold up its end.
func TestStreamsOutliveTheServersLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.payout(w.funded("a", "5000"), "k1")
	w.server.Close()
	// Long enough for what comes at once, on a machine that is busy with other tests.
	const limit = 3 * time.Second
	w.serve(&http.Server{Handler: w.server.Config.Handler, ReadTimeout: limit, WriteTimeout: limit, ReadHeaderTimeout: limit, IdleTimeout: patience})
	s := w.stream("/v1/payments/"+id.String()+"/events", w.user, "")
	waited := w.get("/v1/payments/pay_0000000000ZZZ") // the server answers others meanwhile
	require.Equal(t, http.StatusNotFound, waited.StatusCode)
	got := make(chan *answer, 1)
	go func() { got <- w.do(http.MethodGet, "/v1/payments/"+id.String(), w.user, "", "Prefer", "wait=20") }()
	<-time.After(limit + limit/3) // both limits are past
	w.dispatched(id)
	w.confirmed(id)
	types, _ := s.rest()
	require.Equal(t, []string{"payment.created", "payment.reserved", "payment.dispatching", event.PaymentFinal}, types)
	require.Equal(t, "succeeded", (<-got).str("status"))
	require.NoError(t, s.lines.Err())
}
