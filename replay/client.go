package replay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/moneta-pay/moneta/internal/lifecycle"
)

// Bounds of one call.
const (
	attemptTimeout   = 15 * time.Second // beyond the time that the caller asked the server to wait
	outsideTimeout   = 5 * time.Second  // a bank that hangs is asked again; it takes a reference once
	answerBytesMax   = 4 << 20
	backoffFirst     = 50 * time.Millisecond
	backoffMax       = 2 * time.Second
	retryAfterMax    = 10 * time.Second // a server asking for more is asked sooner
	detailBytesShown = 300
)

// client speaks JSON with one server. It repeats a call, always with the same
// body and, unless a test says otherwise, the same idempotency key, because
// the server may be killed between doing the work and answering.
type client struct {
	http     *http.Client
	base     string
	key      string        // bearer; empty for the outside world
	timeout  time.Duration // of one attempt, beyond its wait
	retryFor time.Duration // of a call with all its attempts
	retries  *atomic.Int64
}

func pooledClient(workers int) *http.Client {
	return &http.Client{Transport: &http.Transport{
		MaxIdleConns:        4 * workers,
		MaxIdleConnsPerHost: 2 * workers,
		IdleConnTimeout:     30 * time.Second,
	}}
}

// request is one call, before its repetitions.
type request struct {
	method, path string
	wait         time.Duration        // sent as Prefer: wait, if above zero
	idempotency  func(try int) string // nil = no key
	body, answer any                  // nil = none
}

// Refusal is an answer that repeating cannot change.
type Refusal struct {
	Status int    // HTTP status
	Code   string // problem code, may be empty
	Detail string // for people
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("refused with %d %s: %s", r.Status, r.Code, r.Detail)
}

// problem is the part of an error document that the client acts on. Banks wrap
// theirs in "error".
type problem struct {
	Code   string   `json:"code"`
	Title  string   `json:"title"`
	Detail string   `json:"detail"`
	Retry  string   `json:"retry"` // safe_same_key, after, never
	Error  *problem `json:"error"`
}

func readProblem(raw []byte) problem {
	var p problem
	if json.Unmarshal(raw, &p) == nil && p.Error != nil {
		p = *p.Error
	}
	if p.Detail == "" {
		p.Detail = p.Title
	}
	if p.Detail == "" {
		p.Detail = string(raw[:min(len(raw), detailBytesShown)])
	}
	return p
}

// do performs the call until it is answered, refused, or out of time. The
// error is a *Refusal when the server said no, and names the last failure when
// time ran out.
func (c *client) do(ctx context.Context, r request) error {
	var body []byte
	if r.body != nil {
		var err error
		if body, err = json.Marshal(r.body); err != nil {
			return fmt.Errorf("encode %s %s: %w", r.method, r.path, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, c.retryFor)
	defer cancel()
	for try := 0; ; try++ {
		after, err := c.attempt(ctx, r, body, try)
		if err == nil {
			return nil
		}
		var no *Refusal
		if errors.As(err, &no) {
			return fmt.Errorf("%s %s: %w", r.method, r.path, err)
		}
		if waitErr := lifecycle.Pause(ctx, max(after, backoff(try))); waitErr != nil {
			return fmt.Errorf("%s %s: gave up after %d attempts: %w", r.method, c.base+r.path, try+1, err)
		}
		c.retries.Add(1)
	}
}

// attempt makes one try. A nil error means answered; a *Refusal is final; any
// other error may be tried again after the given pause.
func (c *client) attempt(ctx context.Context, r request, body []byte, try int) (after time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout+r.wait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.method, c.base+r.path, bytes.NewReader(body))
	if err != nil {
		return 0, &Refusal{Detail: err.Error()}
	}
	// Go's transport repeats a request that carries an idempotency key by
	// itself. One layer repeats, this one: it counts, and it paces.
	req.GetBody = nil
	c.setHeaders(req, r, try)
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, answerBytesMax+1))
	if err != nil {
		return 0, fmt.Errorf("read answer: %w", err)
	}
	if len(raw) > answerBytesMax {
		return 0, &Refusal{Status: resp.StatusCode, Detail: fmt.Sprintf("answer is longer than %d bytes", answerBytesMax)}
	}
	if resp.StatusCode/100 != 2 {
		return judgeRefusal(resp, raw)
	}
	if r.answer == nil {
		return 0, nil
	}
	if err := json.Unmarshal(raw, r.answer); err != nil {
		return 0, fmt.Errorf("answer %d is not the expected JSON: %w", resp.StatusCode, err)
	}
	return 0, nil
}

func (c *client) setHeaders(req *http.Request, r request, try int) {
	req.Header.Set("Accept", "application/json")
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	if r.idempotency != nil {
		req.Header.Set("Idempotency-Key", r.idempotency(try))
	}
	if r.wait > 0 {
		req.Header.Set("Prefer", "wait="+strconv.FormatInt(int64(r.wait/time.Second), 10))
	}
}

// judgeRefusal tells a refusal from a failure worth repeating.
func judgeRefusal(resp *http.Response, raw []byte) (time.Duration, error) {
	p := readProblem(raw)
	no := &Refusal{Status: resp.StatusCode, Code: p.Code, Detail: p.Detail}
	again := resp.StatusCode >= 500
	switch resp.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		again = true
	case http.StatusConflict: // in flight under the same key, or a real conflict
		again = p.Retry != ""
	}
	if !again || p.Retry == "never" {
		return 0, no
	}
	return retryAfter(resp.Header.Get("Retry-After")), errors.New(no.Error())
}

// retryAfter reads the header's form in seconds; the form with a date would
// need the server's clock to agree with ours, so it counts as absent.
func retryAfter(header string) time.Duration {
	seconds, err := strconv.ParseInt(header, 10, 32)
	if err != nil || seconds < 0 {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, retryAfterMax)
}

// backoff doubles per try and is spread over its upper half, so that callers
// cut off together do not come back together.
func backoff(try int) time.Duration {
	d := backoffMax
	if try < 10 {
		d = min(backoffFirst<<try, backoffMax)
	}
	return d/2 + rand.N(d/2)
}
