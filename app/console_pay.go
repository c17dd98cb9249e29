package app

import (
	"bytes"
	"container/list"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/internal/clock"
)

const (
	// payWithin bounds one question to serve; payAnswerMax its answer, payBodyMax what is
	// asked, in bytes.
	payWithin    = 15 * time.Second
	payDial      = 2 * time.Second
	payAnswerMax = 8 << 20
	payBodyMax   = 1 << 20
	// What is kept of answers for when serve is gone.
	keptAnswersMost = 500
	keptBytesMost   = 32 << 20
	keptOneMost     = 512 << 10
	keptFor         = time.Hour
	// ageHeader says that an answer is an old one, and how old in seconds.
	ageHeader = "Moneta-Age"
)

// payRoutes is /api/pay/v1/…: the API, asked as who is signed in. The browser never has
// the key. While serve is gone, what this visitor saw of it last is shown with its age.
func (w *watch) payRoutes(mux *http.ServeMux) {
	w.pay = newPayProxy(strings.TrimRight(w.cfg.ServeURL, "/"), w.clock)
	mux.Handle("/api/pay/v1/", http.StripPrefix("/api/pay", w.pay))
}

type payProxy struct {
	url    string
	client *http.Client
	clock  clock.Clock
	kept   *keptAnswers
}

func newPayProxy(url string, c clock.Clock) *payProxy {
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: payDial}).DialContext,
		MaxIdleConnsPerHost: 32, IdleConnTimeout: 30 * time.Second, DisableCompression: true,
	}
	return &payProxy{
		url: url, clock: c, kept: newKeptAnswers(c),
		client: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
}

// passed are the headers that go through, each way.
var (
	passedIn  = []string{"Accept", "Accept-Language", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "Prefer", "Traceparent"}
	passedOut = []string{
		"Content-Type", "Content-Disposition", "Content-Language", "ETag", "Idempotency-Replayed", "Link", "Location",
		"Ratelimit", "Ratelimit-Policy", "Request-Id", "Retry-After", "Traceparent",
	}
)

func (p *payProxy) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	v, _ := visitorOf(r.Context())
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case p.url == "":
		refuse(rw, http.StatusServiceUnavailable, codeUnreachable, "this watch was started without a node of the wallet; name one with --serve-url")
		return
	case v.Bearer == "" && v.visit.Offline:
		if !reads || !p.old(rw, r, &v) {
			refuse(rw, http.StatusServiceUnavailable, codeUnreachable, "the database does not answer, and you signed in without it: the doctor takes your word, and what concerns the pay plane waits until the database is back")
		}
		return
	case v.Bearer == "":
		refuse(rw, http.StatusForbidden, "forbidden", "the API does not know who you are: sign in as an operator")
		return
	case !reads && v.Name == access.Local:
		refuse(rw, http.StatusForbidden, "forbidden", "who came by a one-time link reads; sign in as an operator to change anything")
		return
	}
	stretch(rw, r)
	a, err := p.ask(r, &v)
	gone := err != nil || a.status == http.StatusBadGateway || a.status == http.StatusServiceUnavailable || a.status == http.StatusGatewayTimeout
	if gone && reads && p.old(rw, r, &v) {
		return
	}
	switch {
	case errors.Is(err, errTooLarge):
		refuse(rw, http.StatusRequestEntityTooLarge, "body-too-large", err.Error())
	case err != nil && reads:
		refuse(rw, http.StatusServiceUnavailable, codeUnreachable, "the pay plane does not answer, and this was not looked at before; the doctor goes on, and its pages show what it knows")
	case err != nil: // it may have arrived
		refuse(rw, http.StatusGatewayTimeout, "timeout", "the pay plane did not answer in time, and may have done it: ask again with the same Idempotency-Key")
	default:
		if r.Method == http.MethodGet && a.status == http.StatusOK {
			p.kept.put(keptName(&v, r), a)
		}
		a.write(rw)
	}
}

// old answers with what this visitor saw last, if there is such a thing.
func (p *payProxy) old(rw http.ResponseWriter, r *http.Request, v *visitor) bool {
	a, age, ok := p.kept.get(keptName(v, r))
	if !ok {
		return false
	}
	rw.Header().Set(ageHeader, strconv.Itoa(int(age/time.Second)))
	a.write(rw)
	return true
}

var errTooLarge = errors.New("that is more than is taken here")

// payAnswer is one answer of serve, whole.
type payAnswer struct {
	status int
	header http.Header
	body   []byte
}

func (a *payAnswer) write(rw http.ResponseWriter) {
	h := rw.Header()
	for _, name := range passedOut {
		if v := a.header.Values(name); len(v) > 0 {
			h[http.CanonicalHeaderKey(name)] = v
		}
	}
	h.Set("Cache-Control", "no-store")
	rw.WriteHeader(a.status)
	_, _ = rw.Write(a.body) //nolint:gosec // G705: the API's own JSON and CSV, under its type and nosniff; whoever asked may have gone
}

func (p *payProxy) ask(r *http.Request, v *visitor) (*payAnswer, error) {
	within, most := payBounds(r)
	ctx, cancel := context.WithTimeout(r.Context(), within)
	defer cancel()
	body, err := bodyOf(r, most)
	if err != nil {
		return nil, err
	}
	target := p.url + r.URL.EscapedPath()
	if r.URL.RawQuery != "" {
		target += "?" + r.URL.RawQuery
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, target, bytes.NewReader(body)) //nolint:gosec // G704: the host is ours; below it anything may be asked for
	if err != nil {
		return nil, err
	}
	for _, name := range passedIn {
		if x := r.Header.Get(name); x != "" {
			req.Header.Set(name, x)
		}
	}
	req.Header.Set("Authorization", "Bearer "+v.Bearer)
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		req.Header.Set(api.HeaderUnattended, "1") // the page may ask by itself; the door knows whether somebody is there
	}
	resp, err := p.client.Do(req) //nolint:gosec // G704: as above
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	a := &payAnswer{status: resp.StatusCode, header: resp.Header}
	if a.body, err = io.ReadAll(io.LimitReader(resp.Body, payAnswerMax+1)); err != nil {
		return nil, err
	}
	if len(a.body) > payAnswerMax {
		return nil, fmt.Errorf("%w: the answer has more than %d bytes; ask for a shorter list", errTooLarge, payAnswerMax)
	}
	return a, nil
}

// digestOf is SHA-256 of a text.
type digestOf [sha256.Size]byte

// keptName is of one visitor alone: nobody is shown what another could see.
func keptName(v *visitor, r *http.Request) digestOf {
	return sha256.Sum256([]byte(v.Name + "\x00" + strconv.Itoa(int(v.Tenant)) + "\x00" + string(v.Role) + "\x00" + r.Header.Get("Accept-Language") + "\x00" + r.URL.RequestURI()))
}

// keptAnswers are the last good ones, bounded in number, bytes and age; what was not
// asked for longest goes first.
type keptAnswers struct {
	clock clock.Clock

	mu    sync.Mutex
	all   map[digestOf]*list.Element
	order list.List // the newest first
	bytes int
}

type keptAnswer struct {
	name   digestOf
	answer *payAnswer
	at     time.Time
}

func newKeptAnswers(c clock.Clock) *keptAnswers {
	return &keptAnswers{clock: c, all: map[digestOf]*list.Element{}}
}

func (k *keptAnswers) put(name digestOf, a *payAnswer) {
	if len(a.body) > keptOneMost {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.all[name]; e != nil {
		k.drop(e)
	}
	k.all[name] = k.order.PushFront(&keptAnswer{name, a, k.clock.Now()})
	k.bytes += len(a.body)
	for k.order.Len() > keptAnswersMost || k.bytes > keptBytesMost {
		k.drop(k.order.Back())
	}
}

func (k *keptAnswers) get(name digestOf) (*payAnswer, time.Duration, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.all[name]
	if e == nil {
		return nil, 0, false
	}
	x := e.Value.(*keptAnswer)
	age := k.clock.Now().Sub(x.at)
	if age > keptFor {
		k.drop(e)
		return nil, 0, false
	}
	k.order.MoveToFront(e)
	return x.answer, age, true
}

func (k *keptAnswers) drop(e *list.Element) {
	x := k.order.Remove(e).(*keptAnswer)
	delete(k.all, x.name)
	k.bytes -= len(x.answer.body)
}
