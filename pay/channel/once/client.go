// Package once is the HTTP client for orders that move money: it writes a
// request at most once and knows afterwards whether any byte of it was
// written. It refuses to follow redirects, to repeat a request that touched
// the wire, to read bodies without bound, and to wait without a deadline.
package once

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"time"

	"github.com/moneta-pay/moneta/internal/clock"
)

// Bounds of one exchange that no caller needs to choose.
const (
	dialTimeout    = 2 * time.Second
	keepIdle       = 50 * time.Second // shorter than servers commonly keep a connection
	maxHeaderBytes = 16 << 10
)

var (
	// ErrLate says that the time limit for the first byte had passed, so none was
	// written.
	ErrLate = errors.New("too late to write the first byte")
	// ErrTooLarge says that the answer is longer than the client's bound.
	ErrTooLarge = errors.New("answer exceeds its size bound")
)

// Config says how a Client behaves. Clients are per rail, so that one slow
// rail cannot use up another's connections.
type Config struct {
	// MaxConns bounds the connections, in use and idle together.
	MaxConns int
	// Timeout bounds a whole exchange: waiting for a connection, dialling,
	// writing, reading.
	Timeout time.Duration
	// MaxBody bounds an answer's body in bytes.
	MaxBody int64
	// Clock judges Request.SendBy; nil means the system's.
	Clock clock.Clock
	// Wrap may add to the transport, for example tracing headers. What it
	// returns must hand every request to the given transport at most once.
	Wrap func(http.RoundTripper) http.RoundTripper
	// TLS configures https; nil means Go's defaults.
	TLS *tls.Config
}

// Client is safe for concurrent use. Its connections are kept warm.
type Client struct {
	transport http.RoundTripper
	pool      *http.Transport
	timeout   time.Duration
	maxBody   int64
	clock     clock.Clock
}

// New returns a client. It opens no connection yet.
func New(cfg Config) *Client {
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}
	var http1 http.Protocols
	http1.SetHTTP1(true) // one request at a time on a connection, or the gate could not tell them apart
	pool := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &gate{Conn: conn}, nil
		},
		Protocols:              &http1,
		TLSClientConfig:        cfg.TLS,
		TLSHandshakeTimeout:    dialTimeout,
		MaxConnsPerHost:        cfg.MaxConns,
		MaxIdleConnsPerHost:    cfg.MaxConns,
		IdleConnTimeout:        keepIdle,
		MaxResponseHeaderBytes: maxHeaderBytes,
		DisableCompression:     true,
	}
	c := &Client{transport: pool, pool: pool, timeout: cfg.Timeout, maxBody: cfg.MaxBody, clock: cfg.Clock}
	if cfg.Wrap != nil {
		c.transport = cfg.Wrap(pool)
	}
	return c
}

// Close drops the idle connections.
func (c *Client) Close() { c.pool.CloseIdleConnections() }

// Request is one exchange to make.
type Request struct {
	Method, URL string
	Header      http.Header
	// Body may be nil.
	Body []byte
	// SendBy is the instant after which the first byte may not be written; it
	// is checked between the connection's being ready and the write. Zero
	// means no limit.
	SendBy time.Time
}

// Answer is what became of a Request.
type Answer struct {
	// Status is the HTTP status, 0 when none came.
	Status int
	Body   []byte
	// Written is false only when it is certain that no byte of the request was
	// handed to the network, and that none will be.
	Written bool
	// RetryAfter is what the answer's header of that name asks for, in seconds or as
	// a date; 0 when there is none.
	RetryAfter time.Duration
	// Latency is the time the exchange took.
	Latency time.Duration
	// Parts are what of it was spent on the way.
	Parts Parts
	// Err is nil when status and body arrived whole.
	Err error
}

// Do makes the exchange. When it returns, the request is over: a write that
// has not begun by then never will.
func (c *Client) Do(ctx context.Context, req Request) Answer {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	fl := &flight{sendBy: req.SendBy, clock: c.clock, abandon: cancel}
	var way stopwatch
	answer := c.exchange(httptrace.WithClientTrace(ctx, way.trace(fl.board)), req)
	answer.Written = fl.seal()
	answer.Latency = time.Since(start)
	answer.Parts = way.read()
	if answer.Err != nil && fl.late {
		answer.Err = ErrLate
	}
	return answer
}

func (c *Client) exchange(ctx context.Context, req Request) Answer {
	var body io.Reader
	if req.Body != nil {
		// A bytes.Reader makes the transport send head and body in one write,
		// and lets it change connections while nothing has been written.
		body = bytes.NewReader(req.Body)
	}
	hreq, err := http.NewRequestWithContext(ctx, req.Method, req.URL, body)
	if err != nil {
		return Answer{Err: err}
	}
	if req.Header != nil {
		hreq.Header = req.Header.Clone()
	}
	// Not http.Client: it would follow redirects.
	resp, err := c.transport.RoundTrip(hreq)
	if err != nil {
		return Answer{Err: err}
	}
	defer resp.Body.Close()
	answer := Answer{Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header.Get("Retry-After"), c.clock.Now())}
	data, err := io.ReadAll(io.LimitReader(resp.Body, c.maxBody+1))
	switch {
	case err != nil:
		answer.Err = err
	case int64(len(data)) > c.maxBody:
		answer.Err = ErrTooLarge
	default:
		answer.Body = data
	}
	return answer
}

// retryAfter reads the header (RFC 9110 §10.2.3); nonsense asks for nothing.
func retryAfter(header string, now time.Time) time.Duration {
	if header == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}
