// Package sandbox is the adapter for the sandbox banks: their HTTP wire format
// on one side, channel.Word on the other. It refuses to share code with the
// server that plays those banks: the format is written twice on purpose, so
// that a mistake in one copy shows as a failed conformance test.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/channel/once"
)

// maxAsking bounds the connections for queries and statements. They have a
// pool of their own: hanging sends must not keep us from asking.
const maxAsking = 32

// maxPage is the most statement lines asked for at once; more would not fit
// channel.MaxBody.
const maxPage = 200

// contract names this adapter and the version of the contract that it speaks; raise
// it when what the adapter sends or believes changes.
const contract = "sandbox/2"

// Config connects one channel to one sandbox bank.
type Config struct {
	// Name is the channel's name; empty means "bank-" and the bank's code.
	Name channel.Name
	// BaseURL is where the sandbox listens, for example "http://127.0.0.1:9090".
	BaseURL string
	// Bank is the bank's code in either case, for example "ab".
	Bank string
	// Secrets sign callbacks. One, or two while one replaces the other.
	Secrets []string
	// Capabilities are the bank's contract; the zero value means
	// DefaultCapabilities.
	Capabilities channel.Capabilities
	// Clock judges send_by and the age of callbacks; nil means the system's.
	Clock clock.Clock
	// Wrap may add to the transport, for example otelhttp's traceparent.
	Wrap func(http.RoundTripper) http.RoundTripper
}

// DefaultCapabilities is the contract of a sandbox bank whose behaviour keeps
// dedup on and query_lag_ms at or below 5,000.
func DefaultCapabilities() channel.Capabilities {
	return channel.Capabilities{
		Adapter:          contract,
		DedupByReference: true,
		QueryByReference: true,
		Cancel:           true,
		Refund:           true,
		StatementWithin:  time.Minute,
		ClientTimeout:    3 * time.Second,
		VisibilityDelay:  5 * time.Second,
		SendWindow:       5 * time.Second,
		QuerySchedule: []time.Duration{
			time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second,
			15 * time.Second, 30 * time.Second, time.Minute,
		},
		QueryBudget:        60,
		QueryWindow:        time.Hour,
		NotFoundMeansNever: true,
		MaxInFlight:        256,
		FinalBound:         10 * time.Minute,
	}
}

// Channel speaks to one sandbox bank.
type Channel struct {
	name    channel.Name
	bank    string
	caps    channel.Capabilities
	base    string // ".../banks/ab"
	secrets [][]byte
	clock   clock.Clock
	sends   *once.Client
	asks    *once.Client
}

var _ channel.Channel = (*Channel)(nil)

// New returns the channel, or an error that names the field at fault.
func New(cfg Config) (*Channel, error) {
	if cfg.Capabilities.ClientTimeout == 0 {
		cfg.Capabilities = DefaultCapabilities()
	}
	if err := validate(cfg); err != nil {
		return nil, fmt.Errorf("sandbox channel: %w", err)
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	bank := strings.ToLower(cfg.Bank)
	if cfg.Name == "" {
		cfg.Name = channel.Name("bank-" + bank)
	}
	c := &Channel{
		name: cfg.Name, bank: bank, caps: cfg.Capabilities, clock: cfg.Clock,
		base: strings.TrimRight(cfg.BaseURL, "/") + "/banks/" + bank,
	}
	for _, secret := range cfg.Secrets {
		c.secrets = append(c.secrets, []byte(secret))
	}
	pool := once.Config{
		Timeout: cfg.Capabilities.ClientTimeout, MaxBody: channel.MaxBody,
		Clock: cfg.Clock, Wrap: cfg.Wrap, MaxConns: cfg.Capabilities.MaxInFlight,
	}
	c.sends = once.New(pool)
	pool.MaxConns = maxAsking
	c.asks = once.New(pool)
	return c, nil
}

func validate(cfg Config) error {
	base, err := url.Parse(cfg.BaseURL)
	switch {
	case err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https":
		return errors.New("BaseURL must be an absolute http or https URL")
	case !simpleCode(cfg.Bank):
		return errors.New("Config.Bank must be 1 to 12 letters or digits")
	case len(cfg.Secrets) < 1 || len(cfg.Secrets) > 2 || slices.Contains(cfg.Secrets, ""):
		return errors.New("Config.Secrets must be one secret, or two during rotation")
	case cfg.Capabilities.ClientTimeout < 0 || cfg.Capabilities.MaxInFlight < 1:
		return errors.New("Capabilities need a ClientTimeout and a MaxInFlight above zero")
	}
	return nil
}

func simpleCode(code string) bool {
	for _, r := range code {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') {
			return false
		}
	}
	return len(code) >= 1 && len(code) <= 12
}

// Name returns the channel's name.
func (c *Channel) Name() channel.Name { return c.name }

// Capabilities returns the bank's contract.
func (c *Channel) Capabilities() channel.Capabilities {
	caps := c.caps
	caps.QuerySchedule = slices.Clone(caps.QuerySchedule)
	return caps
}

// Close drops idle connections. Calls in progress finish.
func (c *Channel) Close() {
	c.sends.Close()
	c.asks.Close()
}

var jsonHeader = http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}}

// Send orders a payment at the bank.
func (c *Channel) Send(ctx context.Context, order channel.Order) channel.Word {
	word := channel.Word{Verdict: channel.NeverSent, Reference: order.Reference, Direction: channel.Out}
	body, ok := encodeOrder(order)
	if !ok {
		word.Reason = channel.ReasonBadOrder
		return word
	}
	if !order.SendBy.IsZero() && clock.Passed(c.clock.Now(), order.SendBy) {
		word.Reason = channel.ReasonSendBy
		return word
	}
	answer := c.sends.Do(ctx, once.Request{
		Method: http.MethodPost, URL: c.base + "/payments", Header: jsonHeader, Body: body, SendBy: order.SendBy,
	})
	word.HTTPStatus, word.Latency, word.RetryAfter, word.Parts = answer.Status, answer.Latency, answer.RetryAfter, channel.Parts(answer.Parts)
	if answer.Err != nil {
		word.Reason = transportReason(answer)
		if answer.Written {
			word.Verdict = channel.Unknown
		}
		return word
	}
	return readSendAnswer(word, order, answer)
}

var _ channel.Canceller = (*Channel)(nil)

// Cancel asks the bank never to execute our reference.
func (c *Channel) Cancel(ctx context.Context, reference string) channel.Word {
	word := channel.Word{Reference: reference, Direction: channel.Out}
	if !goodReference(reference) {
		word.Reason = channel.ReasonBadOrder
		return word
	}
	answer := c.asks.Do(ctx, once.Request{
		Method: http.MethodPost, URL: c.base + "/payments/" + url.PathEscape(reference) + "/cancel", Header: jsonHeader,
	})
	word.HTTPStatus, word.Latency, word.RetryAfter, word.Parts = answer.Status, answer.Latency, answer.RetryAfter, channel.Parts(answer.Parts)
	if answer.Err != nil {
		word.Reason = transportReason(answer)
		return word
	}
	return readCancelAnswer(word, answer)
}

// Query asks the bank what became of our reference, out or in.
func (c *Channel) Query(ctx context.Context, reference string) channel.Word {
	word := channel.Word{Reference: reference}
	if !goodReference(reference) {
		word.Reason = channel.ReasonBadOrder
		return word
	}
	answer := c.asks.Do(ctx, once.Request{
		Method: http.MethodGet, URL: c.base + "/payments/" + url.PathEscape(reference), Header: jsonHeader,
	})
	word.HTTPStatus, word.Latency, word.RetryAfter, word.Parts = answer.Status, answer.Latency, answer.RetryAfter, channel.Parts(answer.Parts)
	if answer.Err != nil {
		word.Reason = transportReason(answer)
		return word
	}
	return readQueryAnswer(word, answer)
}

// Statement fetches a page of at most 200 lines; limit 0 means that many.
func (c *Channel) Statement(ctx context.Context, after int64, limit int) (channel.Statement, error) {
	if limit <= 0 || limit > maxPage {
		limit = maxPage
	}
	answer := c.asks.Do(ctx, once.Request{
		Method: http.MethodGet, Header: jsonHeader,
		URL: fmt.Sprintf("%s/statement?after=%d&limit=%d", c.base, max(after, 0), limit),
	})
	if answer.Err != nil {
		return channel.Statement{}, fmt.Errorf("statement of %s after %d: %w", c.name, after, answer.Err)
	}
	page, err := readStatement(answer, max(after, 0))
	if err != nil {
		return channel.Statement{}, fmt.Errorf("statement of %s after %d: %w", c.name, after, err)
	}
	return page, nil
}

// transportReason names why no whole answer came.
func transportReason(answer once.Answer) string {
	switch {
	case errors.Is(answer.Err, once.ErrLate):
		return channel.ReasonSendBy
	case errors.Is(answer.Err, once.ErrTooLarge):
		return channel.ReasonTooLarge
	case errors.Is(answer.Err, context.DeadlineExceeded):
		return channel.ReasonTimeout
	case errors.Is(answer.Err, context.Canceled):
		return channel.ReasonCancelled
	case !answer.Written:
		return channel.ReasonNotConnected
	default:
		return channel.ReasonConnection
	}
}
