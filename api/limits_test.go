package api_test

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/intake"
	"github.com/moneta-pay/moneta/pay/ledger"
)

func prefixOf(key string) string { return strings.Split(key, "_")[2] }

func (w *world) limit(key, body string) *answer {
	w.t.Helper()
	return w.do(http.MethodPost, "/v1/keys/"+prefixOf(key)+"/limits", w.admin, body)
}

func TestAKeysLimitsHold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	from, to := w.funded("a", "10000"), w.open("b", "user")
	free := w.get("/v1/accounts")
	require.Empty(t, free.Header.Get("RateLimit"), "nothing limits a key by default")
	set := w.limit(w.user, `{"writes":{"quota":5,"window_s":600},"reads":{"quota":2,"window_s":600}}`)
	require.Equal(t, http.StatusOK, set.StatusCode, string(set.body))
	require.InDelta(t, 5, set.json["limits"].(map[string]any)["writes"].(map[string]any)["quota"], 0)
	send := func(i int) *answer {
		return w.post("/v1/payments", w.user, `{"kind":"send","from":"`+from+`","to":"`+to+`","amount":"1","asset":"CZK"}`, "limited "+strconv.Itoa(i))
	}
	item := func(k string) string {
		return `{"idempotency_key":"` + k + `","kind":"send","from":"` + from + `","to":"` + to + `","amount":"1","asset":"CZK"}`
	}
	require.Equal(t, http.StatusCreated, send(1).StatusCode)
	batch := w.do(http.MethodPost, "/v1/payments/batch", w.user, `{"payments":[`+item("a")+`,`+item("b")+`,`+item("c")+`]}`)
	require.Equal(t, http.StatusOK, batch.StatusCode)
	require.Equal(t, `"writes";q=5;w=600`, batch.Header.Get("RateLimit-Policy"))
	require.Regexp(t, `^"writes";r=1;t=\d+$`, batch.Header.Get("RateLimit"), "each payment of a batch counts")
	batch = w.do(http.MethodPost, "/v1/payments/batch", w.user, `{"payments":[`+item("d")+`,`+item("e")+`]}`)
	requireProblem(t, batch, fault.RateLimited)
	refused := send(2)
	requireProblem(t, refused, fault.RateLimited)
	wait, err := strconv.Atoi(refused.Header.Get("Retry-After"))
	require.NoError(t, err)
	require.InDelta(t, 120, wait, 5)
	require.Equal(t, "not_moved", refused.str("money_state"))
	require.Regexp(t, `^"writes";r=0;t=\d+$`, refused.Header.Get("RateLimit"))
	require.Regexp(t, `^"reads";r=1;`, w.get("/v1/accounts").Header.Get("RateLimit"), "reads are counted apart")
	require.Equal(t, http.StatusOK, w.get("/v1/accounts").StatusCode)
	requireProblem(t, w.get("/v1/accounts"), fault.RateLimited)

	require.Equal(t, http.StatusOK, w.limit(w.user, `{}`).StatusCode)
	require.Equal(t, http.StatusCreated, send(2).StatusCode, "a request that was limited has not used its key")
	require.Equal(t, http.StatusOK, w.limit(w.admin, `{"reads":{"quota":1,"window_s":3600}}`).StatusCode)
	for range 3 {
		require.Equal(t, http.StatusOK, w.do(http.MethodGet, "/v1/keys", w.admin, "").StatusCode, "an admin cannot lock himself out")
	}
	for _, bad := range []string{
		`{"writes":{"quota":0,"window_s":1}}`, `{"writes":{"quota":1}}`, `{"writes":{"quota":1,"window_s":4000}}`, `{"writes":1}`,
		`{"writes":{"quota":"1","window_s":1}}`, `{"writes":{"quota":1.5,"window_s":1}}`, `{"writes":{"quota":1e3,"window_s":1}}`, `{"writes":null}`,
	} {
		requireProblem(t, w.limit(w.user, bad), fault.MalformedRequest)
	}
	requireProblem(t, w.limit(w.user, `{"write":{"quota":1,"window_s":1}}`), fault.UnknownField)
}

// TestRevocationReachesEveryNodeWithinASecond asks another node all the time, and
// measures when it last let the key through.
func TestRevocationReachesEveryNodeWithinASecond(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	other := w.node2()
	key := w.key(access.PaymentsRead)
	ask := func() int {
		a := other.do(http.MethodGet, "/v1/payments", key, "")
		return a.StatusCode
	}
	require.Equal(t, http.StatusOK, ask())
	require.Equal(t, http.StatusOK, w.do(http.MethodDelete, "/v1/keys/"+prefixOf(key), w.admin, "").StatusCode)
	revoked := time.Now()
	require.Equal(t, http.StatusUnauthorized, w.do(http.MethodGet, "/v1/payments", key, "").StatusCode, "at once where it was revoked")
	var last time.Time
	for {
		asked := time.Now()
		if ask() == http.StatusUnauthorized {
			break
		}
		last = asked
		require.Less(t, time.Since(revoked), patience)
	}
	require.LessOrEqual(t, last.Sub(revoked), time.Second)
	t.Logf("the other node let it through for %v", max(last.Sub(revoked), 0))
}

// node2 is another edge before the same database, with a memory of its own.
func (w *world) node2() *world {
	w.t.Helper()
	accounts := ledger.NewReader(w.pool)
	in, err := intake.New(intake.Config{Submitter: w.node, Accounts: accounts, Originals: w.payments})
	require.NoError(w.t, err)
	h, err := api.New(api.Config{Intake: in, Ledger: accounts, Payments: w.payments, Access: access.NewStore(w.pool)})
	require.NoError(w.t, err)
	other := *w
	other.serve(&http.Server{Handler: h, ReadHeaderTimeout: time.Second})
	return &other
}

// stuck is a decider that does not answer.
type stuck struct{ inside chan struct{} }

func (s *stuck) Submit(ctx context.Context, _ commit.Fact) (commit.Result, error) {
	s.inside <- struct{}{}
	<-ctx.Done()
	return commit.Result{}, fault.New(fault.Timeout, "").WithCause(ctx.Err())
}

func (s *stuck) SubmitAll(ctx context.Context, facts []commit.Fact) []commit.Outcome {
	out := make([]commit.Outcome, len(facts))
	for i := range facts {
		_, out[i].Err = s.Submit(ctx, facts[i])
	}
	return out
}

// TestADuplicatePastItsDeadline: P11. The first request's outcome is unknown; who
// repeats it while it is under way is told that, and to come again.
func TestADuplicatePastItsDeadline(t *testing.T) {
	t.Parallel()
	decider := &stuck{inside: make(chan struct{}, 8)}
	w := newWorld(t, nil)
	from, to := w.funded("a", "10000"), w.open("b", "user")
	in, err := intake.New(intake.Config{Submitter: decider, Accounts: ledger.NewReader(w.pool), Originals: w.payments})
	require.NoError(t, err)
	h, err := api.New(api.Config{Intake: in, Ledger: ledger.NewReader(w.pool), Payments: w.payments, Access: w.access, Timeout: time.Second})
	require.NoError(t, err)
	w.serve(&http.Server{Handler: h, ReadHeaderTimeout: time.Second})
	send := func(key string) *answer {
		return w.post("/v1/payments", w.user, `{"kind":"send","from":"`+from+`","to":"`+to+`","amount":"1","asset":"CZK"}`, key)
	}
	first := make(chan *answer, 1)
	go func() { first <- send("k") }()
	<-decider.inside
	duplicate := send("k")
	requireProblem(t, duplicate, fault.IdempotencyInFlight)
	require.NotEmpty(t, duplicate.Header.Get("Retry-After"))
	require.Equal(t, "unknown_will_resolve", duplicate.str("money_state"))
	require.Equal(t, "safe_same_key", duplicate.str("retry"))
	requireProblem(t, <-first, fault.Timeout)
	requireProblem(t, send("k"), fault.IdempotencyInFlight)
	requireProblem(t, send("another"), fault.Timeout)
	batch := w.do(http.MethodPost, "/v1/payments/batch", w.user,
		`{"payments":[{"idempotency_key":"k","kind":"send","from":"`+from+`","to":"`+to+`","amount":"1","asset":"CZK"}]}`)
	require.InDelta(t, http.StatusConflict, batch.json["data"].([]any)[0].(map[string]any)["status"], 0)
}
