package notify

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/event"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/outbox"
)

const patience = 30 * time.Second

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

func TestMain(m *testing.M) { pgtest.VerifyTestMain(m) }

// shop is a receiver with books of its own: what came, in order.
type shop struct {
	*httptest.Server
	mu     sync.Mutex
	got    []received
	answer func(http.ResponseWriter, *http.Request) // before the message is noted when it blocks
}

type received struct {
	id, timestamp, signature string
	body                     []byte
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		s.got = append(s.got, received{r.Header.Get("Webhook-Id"), r.Header.Get("Webhook-Timestamp"), r.Header.Get("Webhook-Signature"), body})
		answer := s.answer
		s.mu.Unlock()
		if answer != nil {
			answer(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *shop) set(answer func(http.ResponseWriter, *http.Request)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *shop) all() []received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]received(nil), s.got...)
}

func (s *shop) ids() map[string]int {
	out := map[string]int{}
	for _, r := range s.all() {
		out[r.id]++
	}
	return out
}

// place is a database with one tenant's payment.
type place struct {
	t         *testing.T
	pool      *pgxpool.Pool
	endpoints *Endpoints
	tel       *telemetry.Telemetry
}

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{t: t, pool: pgtest.Database(t)}
	var err error
	p.tel, err = telemetry.Setup(t.Context(), telemetry.Config{LogOutput: io.Discard})
	require.NoError(t, err)
	p.endpoints = NewEndpoints(p.pool, loopback, nil)
	p.endpoints.guard.lookup = known // no test asks a resolver outside
	for tenant := int32(1); tenant <= 2; tenant++ {
		_, err = p.pool.Exec(t.Context(), `insert into payments (id, tenant, kind, asset, amount, fee, key, trace_id, effective_at, created_at)
			values ($1::bigint, $1::integer, 1, 'CZK', 5, 0, gen_random_uuid(), gen_random_uuid(), now(), now())`, tenant)
		require.NoError(t, err)
	}
	return p
}

// finals writes events first..last of the tenant's payment, each a final one, as
// the decider would.
func (p *place) finals(tenant int32, first, last int64) {
	p.t.Helper()
	_, err := p.pool.Exec(context.WithoutCancel(p.t.Context()), `insert into transitions (id, payment, seq, transition, from_state, to_state, settlement, attempt, transfers, at)
		select i, $1, i, 22, 0, $4, 0, 0, 0, now() from generate_series($2::bigint, $3) i`, tenant, first, last, int16(pay.Succeeded))
	require.NoError(p.t, err)
}

func (p *place) sender(change func(*Config)) *Sender {
	cfg := Config{Pool: p.pool, Log: outbox.NewLog(p.pool, nil), Inside: loopback, Timeout: 5 * time.Second, Telemetry: p.tel}
	if change != nil {
		change(&cfg)
	}
	return NewSender(cfg)
}

// run starts a sender; stop ends it and waits.
func (p *place) run(s *Sender) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(p.t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); require.NoError(p.t, <-done) }) }
	p.t.Cleanup(stop)
	return stop
}

func (p *place) endpoint(s *shop) (Endpoint, string) {
	p.t.Helper()
	e, secret, err := p.endpoints.Create(p.t.Context(), 1, s.URL+"/hook", "")
	require.NoError(p.t, err)
	return e, secret
}

func (p *place) deliveries(e EndpointID) []Delivery {
	p.t.Helper()
	list, err := p.endpoints.Deliveries(p.t.Context(), 1, e, 0, 0)
	require.NoError(p.t, err)
	return list
}

func (p *place) soon() {
	p.t.Helper()
	_, err := p.pool.Exec(p.t.Context(), `update webhook_deliveries set next_at = now() where state = 1`)
	require.NoError(p.t, err)
}

func (p *place) eventually(what string, ok func() bool) {
	p.t.Helper()
	require.Eventually(p.t, ok, patience, 5*time.Millisecond, what)
}

// TestSignatureIsTheStandards holds the signature against the example that the
// standard's own libraries are tested with.
func TestSignatureIsTheStandards(t *testing.T) {
	t.Parallel()
	raw := mustSecret(t, "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
	require.Equal(t, "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", showSecret(raw))
	require.Equal(t, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
		sign([][]byte{raw}, "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", time.Unix(1649367553, 0), []byte(`{"email":"test@example.com","username":"test_user"}`)))
	require.GreaterOrEqual(t, len(newSecret()), 24)
}

func mustSecret(t *testing.T, text string) []byte {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "whsec_"))
	require.NoError(t, err)
	return raw
}

// verify does what a receiver does: any one of the signatures is enough.
func verify(t *testing.T, r *received, secret string) bool {
	t.Helper()
	seconds, err := strconv.ParseInt(r.timestamp, 10, 64)
	require.NoError(t, err)
	at := time.Unix(seconds, 0)
	require.WithinDuration(t, time.Now(), at, 5*time.Minute)
	want := sign([][]byte{mustSecret(t, secret)}, r.id, at, r.body)
	for part := range strings.SplitSeq(r.signature, " ") {
		if part == want {
			return true
		}
	}
	return false
}

func TestWhatBecomesFinalIsToldAndSigned(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.finals(1, 1, 3) // before anybody wanted to know
	s := newShop(t)
	e, secret := p.endpoint(s)
	p.run(p.sender(nil))
	p.finals(1, 4, 5)
	p.finals(2, 6, 6) // a stranger's
	p.eventually("both are told", func() bool { return len(s.all()) == 2 })
	ping, err := p.endpoints.Ping(t.Context(), 1, e.ID)
	require.NoError(t, err)
	p.eventually("the ping is told", func() bool { return len(s.all()) == 3 })
	for i, r := range s.all() {
		require.True(t, verify(t, &r, secret), "message %d", i)
		var m map[string]any
		require.NoError(t, json.Unmarshal(r.body, &m))
		require.Equal(t, r.id, m["id"])
		if i < 2 {
			require.Equal(t, "payment.final", m["type"])
			require.Equal(t, "succeeded", m["data"].(map[string]any)["status"])
		} else {
			require.Equal(t, ping.MessageID(), r.id)
			require.Equal(t, "webhook.ping", m["type"])
		}
		r.body = append(r.body, ' ')
		require.False(t, verify(t, &r, secret), "a body that was tampered with")
	}
	p.eventually("all are noted", func() bool {
		n := 0
		for _, d := range p.deliveries(e.ID) {
			if d.State == Delivered && d.LastStatus == 200 && d.Tries == 1 {
				n++
			}
		}
		return n == 3
	})

	_, fresh, err := p.endpoints.Rotate(t.Context(), 1, e.ID)
	require.NoError(t, err)
	p.finals(1, 7, 7)
	p.eventually("told after the rotation", func() bool { return len(s.all()) == 4 })
	last := s.all()[3]
	require.True(t, verify(t, &last, secret), "the old secret is live")
	require.True(t, verify(t, &last, fresh), "and so is the new one")
	_, err = p.pool.Exec(t.Context(), `update webhook_endpoints set old_until = now()`)
	require.NoError(t, err)
	p.finals(1, 8, 8)
	p.eventually("told later", func() bool { return len(s.all()) == 5 })
	last = s.all()[4]
	require.False(t, verify(t, &last, secret))
	require.True(t, verify(t, &last, fresh))
	_, _, err = p.endpoints.Rotate(t.Context(), 2, e.ID)
	require.ErrorIs(t, err, fault.NotFound, "somebody else's endpoint")
}

// TestCrashBetweenSendingAndNoting: the receiver has the message, and the process
// loses its database before it can say so. Its successor sends it again, under the
// same webhook-id.
func TestCrashBetweenSendingAndNoting(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	s := newShop(t)
	e, secret := p.endpoint(s)
	doomed, err := pgxpool.NewWithConfig(t.Context(), p.pool.Config().Copy())
	require.NoError(t, err)
	s.set(func(http.ResponseWriter, *http.Request) { doomed.Close() }) // before it answers
	first := p.sender(func(c *Config) { c.Pool, c.Log = doomed, outbox.NewLog(doomed, nil) })
	stop := p.run(first)
	p.finals(1, 1, 1)
	p.eventually("the receiver has it", func() bool { return len(s.all()) == 1 })
	stop()
	d := p.deliveries(e.ID)
	require.Len(t, d, 1)
	require.Equal(t, Pending, d[0].State, "nobody could note it")
	require.Zero(t, d[0].Tries)

	s.set(nil)
	p.run(p.sender(nil))
	p.eventually("it comes again", func() bool { return len(s.all()) >= 2 && p.deliveries(e.ID)[0].State == Delivered })
	got := s.all()
	require.Equal(t, got[0].id, got[1].id)
	require.Equal(t, got[0].body, got[1].body)
	require.True(t, verify(t, &got[1], secret))
}

// TestNothingIsLost: writers write while senders are ended and started again and
// endpoints come and go; each endpoint has every event since it came, at least once.
func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	early, late := newShop(t), newShop(t)
	p.endpoint(early)
	const events = 400
	written := make(chan struct{})
	half := make(chan struct{})
	go func() {
		defer close(written)
		for i := int64(1); i <= events; i += 4 {
			p.finals(1, i, i+3)
			if i == events/2+1 {
				close(half)
			}
		}
	}()
	go func() {
		<-half
		p.endpoint(late)
	}()
	for range 6 {
		stop := p.run(p.sender(nil))
		seen := len(early.all())
		p.eventually("something is told", func() bool { return len(early.all()) > seen || len(early.ids()) == events })
		stop()
	}
	<-written
	p.run(p.sender(nil))
	p.eventually("everything was told", func() bool {
		return len(early.ids()) == events && len(late.ids()) >= events/2-50 && p.pending() == 0
	})
	last := 0
	for i := 1; i <= events; i++ { // from its first event on, the late one has all
		id := event.ID(i).String()
		switch {
		case late.ids()[id] == 0:
			require.Zero(t, last, "event %d is missing", i)
		default:
			last = i
		}
	}
	require.Equal(t, events, last)
}

func (p *place) pending() (n int) {
	p.t.Helper()
	require.NoError(p.t, p.pool.QueryRow(p.t.Context(), `select count(*) from webhook_deliveries where state = 1`).Scan(&n))
	return n
}

func TestFailuresFollowTheSchedule(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	s := newShop(t)
	s.set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	e, _ := p.endpoint(s)
	p.run(p.sender(nil))
	p.finals(1, 1, 1)
	for try := 1; try <= TriesMax; try++ {
		p.eventually("a try is noted", func() bool { d := p.deliveries(e.ID); return len(d) == 1 && int(d[0].Tries) == try })
		d := p.deliveries(e.ID)[0]
		require.EqualValues(t, 500, d.LastStatus)
		require.Equal(t, "Internal Server Error", d.LastError)
		if try == TriesMax {
			require.Equal(t, GivenUp, d.State)
			break
		}
		wait := d.NextAt.Sub(d.LastAt)
		require.GreaterOrEqual(t, wait, schedule[try], "try %d", try)
		require.LessOrEqual(t, wait, schedule[try]*6/5+time.Millisecond, "try %d", try)
		require.Len(t, s.all(), try)
		p.soon()
	}
	var sum time.Duration
	for _, d := range schedule {
		sum += d
	}
	require.Equal(t, 75*time.Hour+35*time.Minute+5*time.Second, sum, "Standard Webhooks' suggestion")
	look, err := p.endpoints.Endpoint(t.Context(), 1, e.ID)
	require.NoError(t, err)
	require.False(t, look.FailingSince.IsZero())

	s.set(nil)
	d, err := p.endpoints.Redeliver(t.Context(), 1, e.ID, p.deliveries(e.ID)[0].ID)
	require.NoError(t, err)
	require.Equal(t, Pending, d.State)
	p.eventually("sent again", func() bool { return p.deliveries(e.ID)[0].State == Delivered })
	require.Len(t, s.ids(), 1, "always the same webhook-id")
	look, err = p.endpoints.Endpoint(t.Context(), 1, e.ID)
	require.NoError(t, err)
	require.True(t, look.FailingSince.IsZero())
	_, err = p.endpoints.Redeliver(t.Context(), 2, e.ID, d.ID)
	require.ErrorIs(t, err, fault.NotFound)
}

// TestOneThatHangsHoldsUpNobody: a bulkhead for each endpoint.
func TestOneThatHangsHoldsUpNobody(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	hangs, well := newShop(t), newShop(t)
	release := make(chan struct{})
	hangs.set(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	t.Cleanup(func() { close(release) })
	stuck, _ := p.endpoint(hangs)
	p.endpoint(well)
	p.run(p.sender(nil))
	p.finals(1, 1, 200)
	p.eventually("the other one is told everything", func() bool { return len(well.ids()) == 200 })
	require.LessOrEqual(t, len(hangs.all()), perEndpoint)
	p.eventually("the try is bounded", func() bool {
		var n int
		require.NoError(t, p.pool.QueryRow(t.Context(), `select count(*) from webhook_deliveries where endpoint = $1 and last_error = 'no answer in time'`, stuck.ID).Scan(&n))
		return n > 0
	})
}

func TestAnEndpointThatIsGoneIsDisabledAndCatchesUp(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	s := newShop(t)
	e, _ := p.endpoint(s)
	p.run(p.sender(func(c *Config) { c.DisableAfter = time.Hour }))
	state := func() EndpointState {
		look, err := p.endpoints.Endpoint(t.Context(), 1, e.ID)
		require.NoError(t, err)
		return look.State
	}
	s.set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) })
	p.finals(1, 1, 1)
	p.eventually("410 disables", func() bool { return state() == Disabled })
	_, err := p.endpoints.Ping(t.Context(), 1, e.ID)
	require.ErrorIs(t, err, fault.IllegalTransition)
	s.set(nil)
	p.finals(1, 2, 21)
	p.finals(1, 5_982, 6_001) // more than one window of the log
	_, err = p.endpoints.Enable(t.Context(), 1, e.ID)
	require.NoError(t, err)
	p.eventually("what it missed comes", func() bool { return len(s.ids()) == 41 })
	look, err := p.endpoints.Endpoint(t.Context(), 1, e.ID)
	require.NoError(t, err)
	require.False(t, look.CatchingUp)

	s.set(func(w http.ResponseWriter, _ *http.Request) {
		http.Redirect(w, &http.Request{}, "http://127.0.0.1:1/", http.StatusFound)
	})
	p.finals(1, 6_002, 6_002)
	p.eventually("a redirect is a failure", func() bool { return p.deliveries(e.ID)[0].LastError == "redirects are not followed" })
	_, err = p.pool.Exec(t.Context(), `update webhook_endpoints set failing_since = now() - interval '2 hours'`)
	require.NoError(t, err)
	p.soon()
	p.eventually("failing too long disables", func() bool { return state() == Disabled })
	look, err = p.endpoints.Endpoint(t.Context(), 1, e.ID)
	require.NoError(t, err)
	require.Contains(t, look.Reason, "without one success")

	_, err = p.endpoints.Delete(t.Context(), 1, e.ID)
	require.NoError(t, err)
	_, err = p.endpoints.Endpoint(t.Context(), 1, e.ID)
	require.ErrorIs(t, err, fault.NotFound)
	sender := p.sender(nil)
	p.eventually("what it left behind is deleted", func() bool {
		require.NoError(t, sender.prune(t.Context()))
		var n int
		require.NoError(t, p.pool.QueryRow(t.Context(), `select count(*) from webhook_deliveries`).Scan(&n))
		return n == 0
	})
}

func TestAnEndpointMayAskForAPause(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	s := newShop(t)
	s.set(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	e, _ := p.endpoint(s)
	p.run(p.sender(nil))
	p.finals(1, 1, 100)
	p.eventually("a try is noted", func() bool {
		for _, d := range p.deliveries(e.ID) {
			if d.Tries > 0 {
				require.GreaterOrEqual(t, d.NextAt.Sub(d.LastAt), time.Hour)
				return true
			}
		}
		return false
	})
	require.LessOrEqual(t, len(s.all()), perEndpoint, "the others wait")
}

func TestTheNetworkInsideIsNotCalled(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	s := newShop(t)
	strict := NewEndpoints(p.pool, nil, nil)
	for _, bad := range []string{
		"", "http://shop.example/x", "ftp://shop.example/", "https://", "https://user:pw@shop.example/", "https://shop.example/#x", "://", "shop.example",
		"https://127.0.0.1/", "https://[::1]/", "https://10.1.2.3/", "https://192.168.0.1:8443/", "https://169.254.169.254/latest", "https://0.0.0.0/",
		"https://[::ffff:127.0.0.1]/", "https://[fe80::1]/", "https://[fd00::1]/", "https://100.64.0.1/", "https://[64:ff9b::7f00:1]/",
		"https://[2002:7f00:1::]/", "https://224.0.0.1/", "https://255.255.255.255/", "https://x.example/" + strings.Repeat("a", urlMax),
	} {
		_, _, err := strict.Create(t.Context(), 1, bad, "")
		require.ErrorIs(t, err, fault.MalformedRequest, bad)
	}
	// A name that leads outside when it is registered, and inside when it is dialled.
	named := strings.Replace(s.URL, "127.0.0.1", "localhost.example", 1)
	strict.guard.lookup = func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("8.8.8.8")}, nil
	}
	secure, _, err := strict.Create(t.Context(), 1, strings.Replace(named, "http:", "https:", 1), "")
	require.NoError(t, err)
	_, err = p.pool.Exec(t.Context(), `update webhook_endpoints set url = replace(url, 'localhost.example', 'localhost') where id = $1`, secure.ID)
	require.NoError(t, err)
	named = strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
	stop := p.run(p.sender(func(c *Config) { c.Inside = nil }))
	p.finals(1, 1, 1)
	p.eventually("refused at the dial", func() bool {
		d := p.deliveries(secure.ID)
		return len(d) == 1 && strings.Contains(d[0].LastError, "not a public one")
	})
	require.Empty(t, s.all())
	stop()
	// The control: allowed, the same name is called.
	allowed, _, err := p.endpoints.Create(t.Context(), 1, named, "")
	require.NoError(t, err)
	p.run(p.sender(nil))
	_, err = p.endpoints.Ping(t.Context(), 1, allowed.ID)
	require.NoError(t, err)
	p.eventually("called", func() bool { return len(s.all()) == 1 })
}

func TestEndpointsAreFew(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	for range EndpointsMax {
		_, _, err := p.endpoints.Create(t.Context(), 1, "https://shop.example/", "")
		require.NoError(t, err)
	}
	_, _, err := p.endpoints.Create(t.Context(), 1, "https://shop.example/", "")
	require.ErrorIs(t, err, fault.MalformedRequest)
	list, err := p.endpoints.List(t.Context(), 1)
	require.NoError(t, err)
	require.Len(t, list, EndpointsMax)
	_, _, err = p.endpoints.Create(t.Context(), 2, "https://shop.example/", strings.Repeat("x", 201))
	require.ErrorIs(t, err, fault.MalformedRequest)
}

func FuzzRetryAfter(f *testing.F) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, s := range []string{"", "5", "-1", "99999999999", "Thu, 01 Jan 2026 00:00:30 GMT", "Thu, 01 Jan 1970 00:00:30 GMT"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d := retryAfter(s, now)
		require.GreaterOrEqual(t, d, time.Duration(0))
		require.LessOrEqual(t, d, retryAfterMax)
	})
}
