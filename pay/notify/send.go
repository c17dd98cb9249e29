package notify

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/moneta-pay/moneta/event"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/keyring"
	"github.com/moneta-pay/moneta/internal/telemetry"
)

const (
	// DefaultTimeout of one try; the standard suggests 15 to 30 s.
	DefaultTimeout = 20 * time.Second
	// DefaultDisableAfter is how long an endpoint may fail without one success: as
	// long as the schedule of one message, so that no message is cut short by it.
	DefaultDisableAfter = 76 * time.Hour

	// inFlightMax bounds the calls under way, perEndpoint those to one endpoint,
	// which falls to one while it fails: a dead endpoint holds one slot.
	inFlightMax = 256
	perEndpoint = 8
	// handMax and handPerEndpoint bound the messages in memory.
	handMax         = 4_096
	handPerEndpoint = 64
	lookEvery       = 200 * time.Millisecond
	pruneEvery      = time.Minute
	dbTimeout       = 10 * time.Second
	pauseMax        = 10 * time.Minute
	retryAfterMax   = 24 * time.Hour
	errorMax        = 200
	// jitter spreads tries by up to a fifth, later, never sooner.
	jitter = 5
)

// Log reads events by id. *outbox.Log is one.
type Log interface {
	ByID(ctx context.Context, ids []event.ID) ([]event.Event, error)
}

// Config says what a Sender works with.
type Config struct {
	Pool *pgxpool.Pool
	Log  Log
	// Inside are networks that may be called although they are not public.
	Inside []netip.Prefix
	// Ring has the keys that seal secrets; nil keeps them in clear.
	Ring *keyring.Ring
	// Timeout of one try; DefaultTimeout when zero.
	Timeout time.Duration
	// DisableAfter is DefaultDisableAfter when zero.
	DisableAfter time.Duration
	Clock        clock.Clock
	Telemetry    *telemetry.Telemetry
}

// Sender queues and sends. One node runs it at a time, the one that leads; two at
// once would send messages twice, which receivers must bear anyhow.
type Sender struct {
	pool         *pgxpool.Pool
	endpoints    *Endpoints
	log          Log
	http         *http.Client
	clock        clock.Clock
	logger       *slog.Logger
	disableAfter time.Duration
	tries        *prometheus.CounterVec
	lost         prometheus.Counter
	unreadable   prometheus.Gauge
	// What keepSealed has said; Run's alone.
	saidUnreadable int
	saidClear      bool
	disabled       prometheus.Counter
	delay          prometheus.Histogram
	wake           chan struct{}

	mu    sync.Mutex
	hand  map[DeliveryID]struct{}
	lanes map[EndpointID]*lane
	calls int
	work  sync.WaitGroup
}

// lane is one endpoint's queue and those who work on it.
type lane struct {
	queue   []message
	workers int
	failing bool
	// until is when a pause ends that the endpoint asked for.
	until time.Time
}

// message is a delivery that is due, with what it takes to send it.
type message struct {
	Delivery
	url     string
	secrets [][]byte
	body    []byte
}

// NewSender returns a Sender that does nothing before Run.
func NewSender(cfg Config) *Sender {
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.DisableAfter <= 0 {
		cfg.DisableAfter = DefaultDisableAfter
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	g := guard{inside: cfg.Inside}
	return &Sender{
		pool: cfg.Pool, endpoints: NewEndpoints(cfg.Pool, cfg.Inside, cfg.Ring), log: cfg.Log, http: g.client(cfg.Timeout), clock: cfg.Clock,
		logger: cfg.Telemetry.Logger().With(slog.String("station", "notify")), disableAfter: cfg.DisableAfter, wake: make(chan struct{}, 1),
		tries:      cfg.Telemetry.CounterVec("moneta_webhook_tries_total", "Tries to deliver a webhook, by outcome.", "outcome"),
		lost:       cfg.Telemetry.Counter("moneta_webhook_given_up_total", "Webhooks given up after the last try; they can be sent again."),
		unreadable: cfg.Telemetry.Gauge("moneta_webhook_secrets_unreadable", "Endpoints whose secret no key of this node opens. Page on it."),
		disabled:   cfg.Telemetry.Counter("moneta_webhook_endpoints_disabled_total", "Endpoints disabled after failing too long, or by 410. Page on an increase."),
		delay:      cfg.Telemetry.Histogram("moneta_webhook_delay_seconds", "From the event being queued to its delivery."),
		hand:       make(map[DeliveryID]struct{}), lanes: make(map[EndpointID]*lane),
	}
}

// Run queues and sends until ctx ends, and waits for the calls under way to end.
func (s *Sender) Run(ctx context.Context) error {
	look, prune := time.NewTicker(lookEvery), time.NewTicker(pruneEvery)
	defer look.Stop()
	defer prune.Stop()
	defer s.http.CloseIdleConnections()
	defer s.work.Wait()
	if err := s.keepSealed(ctx); err != nil && ctx.Err() == nil {
		s.logger.WarnContext(ctx, "webhook secrets were not looked at; the next turn does", slog.Any("error", err))
	}
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-prune.C:
			err = errors.Join(s.prune(ctx), s.keepSealed(ctx))
		case <-s.wake:
			err = s.take(ctx)
		case <-look.C:
			if err = s.plan(ctx); err == nil {
				err = s.take(ctx)
			}
		}
		if err != nil && ctx.Err() == nil {
			s.logger.WarnContext(ctx, "webhooks wait", slog.Any("error", err))
		}
	}
}

const dueSQL = `select ` + deliveryColumns + `, e.url, e.secret, case when e.old_until > now() then e.old_secret end, e.failing_since is not null
  from webhook_endpoints e cross join lateral (select * from webhook_deliveries
    where endpoint = e.id and state = 1 and next_at <= now() and id <> all($1) order by next_at, id limit $2) d
 where e.state = 1 and e.id <> all($3) limit $4`

// take reads what is due and is not in hand, and sets workers to it.
func (s *Sender) take(ctx context.Context) error {
	ctx2, cancel := context.WithTimeout(ctx, dbTimeout)
	defer cancel()
	ids, full := s.inHand()
	room := handMax - len(ids)
	if room <= 0 {
		return nil
	}
	rows, err := s.pool.Query(ctx2, dueSQL, ids, handPerEndpoint, full, room)
	if err != nil {
		return err
	}
	failing := map[EndpointID]bool{}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (message, error) {
		var m message
		var last *time.Time
		var secret, old []byte
		var fails bool
		err := row.Scan(&m.ID, &m.Endpoint, &m.Event, &m.State, &m.Tries, &m.NextAt, &last, &m.LastStatus, &m.LastError, &m.CreatedAt,
			&m.url, &secret, &old, &fails)
		m.secrets = s.endpoints.vault.live(m.Endpoint, secret, old)
		failing[m.Endpoint] = fails
		return m, err
	})
	if err != nil || len(found) == 0 {
		return err
	}
	if err := s.write(ctx2, found); err != nil {
		return err
	}
	s.put(ctx, found, failing)
	return nil
}

// inHand returns what not to take: messages, and endpoints that pause or have
// enough.
func (s *Sender) inHand() (ids []DeliveryID, full []EndpointID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids, full = make([]DeliveryID, 0, len(s.hand)), []EndpointID{}
	for id := range s.hand {
		ids = append(ids, id)
	}
	now := s.clock.Now()
	for id, l := range s.lanes {
		switch {
		case len(l.queue) >= handPerEndpoint || now.Before(l.until):
			full = append(full, id)
		case len(l.queue) == 0 && l.workers == 0:
			delete(s.lanes, id)
		}
	}
	return ids, full
}

// write makes the messages' bodies from the log.
func (s *Sender) write(ctx context.Context, found []message) error {
	var ids []event.ID
	for i := range found {
		if found[i].Event != 0 {
			ids = append(ids, found[i].Event)
		}
	}
	events, err := s.log.ByID(ctx, ids)
	if err != nil {
		return err
	}
	bodies := make(map[event.ID][]byte, len(events))
	for i := range events {
		if bodies[events[i].ID], err = events[i].JSON(); err != nil {
			return err
		}
	}
	for i := range found {
		m := &found[i]
		if m.body = bodies[m.Event]; m.Event == 0 {
			if m.body, err = event.Ping(m.MessageID(), m.CreatedAt); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Sender) put(ctx context.Context, found []message, failing map[EndpointID]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range found {
		m := &found[i]
		l := s.lanes[m.Endpoint]
		if l == nil {
			l = &lane{}
			s.lanes[m.Endpoint] = l
		}
		l.queue, l.failing = append(l.queue, *m), failing[m.Endpoint]
		s.hand[m.ID] = struct{}{}
	}
	for id := range failing {
		s.staff(ctx, id, s.lanes[id])
	}
}

// staff gives a lane the workers that it may have; the lock is held.
func (s *Sender) staff(ctx context.Context, id EndpointID, l *lane) {
	most := perEndpoint
	if l.failing {
		most = 1
	}
	for l.workers < min(most, len(l.queue)) && s.calls < inFlightMax {
		l.workers++
		s.calls++
		s.work.Go(func() { s.attend(ctx, id, l) })
	}
}

// attend sends a lane's messages one after the other until there are none.
func (s *Sender) attend(ctx context.Context, id EndpointID, l *lane) {
	for {
		m, ok := s.next(ctx, l)
		if !ok {
			return
		}
		r := s.try(ctx, &m)
		if r.cut {
			s.done(ctx, id, l, &m, nil) // nobody knows whether it arrived: it is sent again
			continue
		}
		if err := s.note(ctx, &m, &r); err != nil {
			s.logger.WarnContext(ctx, "a webhook's outcome could not be noted; it is sent again", slog.String("delivery", m.ID.String()), slog.Any("error", err))
		}
		s.done(ctx, id, l, &m, &r)
	}
}

// next takes a message, or ends the worker.
func (s *Sender) next(ctx context.Context, l *lane) (message, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	leave := ctx.Err() != nil || s.clock.Now().Before(l.until)
	if leave { // what is left is read again from the table
		for i := range l.queue {
			delete(s.hand, l.queue[i].ID)
		}
		l.queue = nil
	}
	if len(l.queue) == 0 {
		l.workers--
		s.calls--
		select {
		case s.wake <- struct{}{}:
		default:
		}
		return message{}, false
	}
	m := l.queue[0]
	l.queue = l.queue[1:]
	return m, true
}

func (s *Sender) done(ctx context.Context, id EndpointID, l *lane, m *message, r *result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.hand, m.ID)
	if r == nil {
		return
	}
	l.failing = !r.ok()
	if r.pause > 0 {
		l.until = s.clock.Now().Add(r.pause)
	}
	if ctx.Err() == nil {
		s.staff(ctx, id, l)
	}
}

// result is what became of one try.
type result struct {
	status  int
	problem string
	// after is how long the endpoint asked to be left alone.
	after, pause time.Duration
	// cut is true when we broke off ourselves.
	cut bool
}

func (r *result) ok() bool { return r.status >= 200 && r.status < 300 }

func (r *result) outcome() string {
	switch {
	case r.ok():
		return "delivered"
	case r.status == 0:
		return "unreachable"
	case r.status >= 500:
		return "failed"
	}
	return "refused"
}

// try sends the message once.
func (s *Sender) try(ctx context.Context, m *message) result {
	if len(m.secrets) == 0 {
		return result{problem: "its secret cannot be read here; rotate it, or ask the operator"}
	}
	now := s.clock.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.url, bytes.NewReader(m.body))
	if err != nil {
		return result{problem: "the URL cannot be called"}
	}
	id := m.MessageID()
	h := req.Header
	h.Set("Content-Type", event.ContentType)
	h.Set("User-Agent", "Moneta-Webhooks/1")
	h.Set(headerID, id)
	h.Set(headerTimestamp, strconv.FormatInt(now.Unix(), 10))
	h.Set(headerSignature, sign(m.secrets, id, now, m.body))
	resp, err := s.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return result{cut: true}
		}
		return result{problem: reason(err)}
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.CopyN(io.Discard, resp.Body, answerBytes) // only so that the connection can be used again
	r := result{status: resp.StatusCode}
	switch {
	case r.ok():
	case r.status >= 300 && r.status < 400:
		r.problem = "redirects are not followed"
	default:
		r.problem = http.StatusText(r.status)
	}
	switch r.status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		r.after = retryAfter(resp.Header.Get("Retry-After"), now)
		r.pause = min(max(r.after, schedule[1]), pauseMax)
	}
	return r
}

// reason tells why no answer came, without the URL, which the tenant knows and a
// log need not.
func reason(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		if u.Timeout() {
			return "no answer in time"
		}
		err = u.Err
	}
	if errors.Is(err, errInside) {
		return errInside.Error()
	}
	return clip(err.Error(), errorMax)
}

func retryAfter(text string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, retryAfterMax)
	}
	if at, err := http.ParseTime(text); err == nil && at.After(now) {
		return min(at.Sub(now), retryAfterMax)
	}
	return 0
}

// note writes down what became of a try. Until that is committed the message is
// due: a crash before it sends it again.
func (s *Sender) note(ctx context.Context, m *message, r *result) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dbTimeout)
	defer cancel()
	s.tries.WithLabelValues(r.outcome()).Inc()
	tries := m.Tries + 1
	if r.ok() {
		s.delay.Observe(s.clock.Now().Sub(m.CreatedAt).Seconds())
		_, err := s.pool.Exec(ctx, `with d as (update webhook_deliveries set state = $2, tries = $3, last_at = now(), last_status = $4, last_error = null where id = $1)
			update webhook_endpoints set failing_since = null where id = $5 and failing_since is not null`, m.ID, Delivered, tries, r.status, m.Endpoint)
		return err
	}
	state, wait := Pending, time.Duration(0)
	if int(tries) < len(schedule) {
		wait = max(schedule[tries], r.after)
		wait += rand.N(wait/jitter + 1) //nolint:gosec // spreads load, keeps no secret
	} else {
		state = GivenUp
		s.lost.Inc()
	}
	var status *int
	if r.status != 0 {
		status = &r.status
	}
	var tooLong bool
	err := s.pool.QueryRow(ctx, `with d as (update webhook_deliveries set state = $2, tries = $3, last_at = now(), last_status = $4, last_error = $5, next_at = now() + $6 where id = $1)
		update webhook_endpoints set failing_since = coalesce(failing_since, now()) where id = $7 returning failing_since < now() - $8::interval`,
		m.ID, state, tries, status, r.problem, wait, m.Endpoint, s.disableAfter).Scan(&tooLong)
	if err != nil {
		return err
	}
	switch {
	case r.status == http.StatusGone:
		return s.end(ctx, m, "the endpoint answered 410 Gone")
	case tooLong:
		return s.end(ctx, m, "it has failed for "+s.disableAfter.String()+" without one success; last: "+strconv.Itoa(r.status)+" "+r.problem)
	}
	return nil
}

// end disables an endpoint and calls for a person.
func (s *Sender) end(ctx context.Context, m *message, why string) error {
	done, err := s.endpoints.disable(ctx, m.Endpoint, why)
	if done {
		s.disabled.Inc()
		s.logger.ErrorContext(ctx, "a webhook endpoint is disabled; its tenant must be told, and enables it when it is well",
			slog.String("endpoint", m.Endpoint.String()), slog.String("reason", why), slog.Bool("page", true))
	}
	return err
}
