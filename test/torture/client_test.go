package torture

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// order is the body of POST /v1/payments.
type order struct {
	Kind       string `json:"kind"`
	From       string `json:"from,omitempty"`
	To         string `json:"to,omitempty"`
	Channel    string `json:"channel,omitempty"`
	Payee      *payee `json:"payee,omitempty"`
	Amount     string `json:"amount"`
	Asset      string `json:"asset"`
	Remittance string `json:"remittance"`
	ExpiresAt  string `json:"expires_at,omitempty"`
}

type payee struct {
	Account string `json:"account"`
}

// payment is what the clients read of a payment.
type payment struct {
	ID        string `json:"id"`
	State     string `json:"state"`
	Status    string `json:"status"`
	Reference string `json:"reference"`
	From      string `json:"from"`
	To        string `json:"to"`
	Amount    string `json:"amount"`
}

const asset = "CZK"

// call makes one request and reads its whole answer.
func call(ctx context.Context, c *http.Client, method, url, apiKey, idempotencyKey, body string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if apiKey != "" {
		req.Header.Set("Authorization", "Bearer "+apiKey)
	}
	if idempotencyKey != "" {
		req.Header.Set("Idempotency-Key", idempotencyKey)
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	return resp.StatusCode, raw, err
}

// client is one payer's connection to the nodes: it repeats a request with the
// same key until somebody answers, and turns to the next node when one fails.
type client struct {
	http    *http.Client
	nodes   []string
	at      int
	key     string
	attempt time.Duration // bounds one try
	seen    func(node string, status int, err error)
}

func newHTTP(conns int) *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: conns, MaxConnsPerHost: 2 * conns, IdleConnTimeout: time.Minute}}
}

const (
	againFirst = 10 * time.Millisecond
	againMax   = 250 * time.Millisecond
)

// until repeats until an answer below 500 that is none of those that say "later"
// (423 read-only, 429), or until ctx ends.
func (c *client) until(ctx context.Context, method, path, idempotencyKey, body string) (status int, answer []byte, tries int, err error) {
	wait := againFirst
	for tries = 1; ; tries++ {
		node := c.nodes[c.at%len(c.nodes)]
		tryCtx, cancel := context.WithTimeout(ctx, c.attempt)
		status, answer, err = call(tryCtx, c.http, method, node+path, c.key, idempotencyKey, body)
		cancel()
		if c.seen != nil && ctx.Err() == nil {
			c.seen(node, status, err)
		}
		if err == nil && status < 500 && status != http.StatusTooManyRequests && status != http.StatusLocked {
			return status, answer, tries, nil
		}
		if ctx.Err() != nil {
			return status, answer, tries, fmt.Errorf("%s %s: no answer after %d tries, last %d %s: %w", method, path, tries, status, answer, errors.Join(ctx.Err(), err))
		}
		c.at++
		during(ctx, wait)
		wait = min(2*wait, againMax)
	}
}

// pay returns the payment that the ledger acknowledged.
func (c *client) pay(ctx context.Context, o order, key string) (payment, int, error) {
	body, err := json.Marshal(o)
	if err != nil {
		return payment{}, 0, err
	}
	status, answer, tries, err := c.until(ctx, http.MethodPost, "/v1/payments", key, string(body))
	if err != nil {
		return payment{}, tries, err
	}
	if status != http.StatusCreated && status != http.StatusOK {
		return payment{}, tries, &refused{status, string(answer)}
	}
	var p payment
	if err := json.Unmarshal(answer, &p); err != nil || p.ID == "" {
		return p, tries, fmt.Errorf("unreadable acknowledgement %q: %w", answer, err)
	}
	return p, tries, nil
}

// refused is a final no.
type refused struct {
	status int
	answer string
}

func (r *refused) Error() string { return strconv.Itoa(r.status) + " " + r.answer }

// get reads JSON, repeating until it is answered.
func (c *client) get(ctx context.Context, path string, to any) error {
	status, answer, _, err := c.until(ctx, http.MethodGet, path, "", "")
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return &refused{status, string(answer)}
	}
	return json.Unmarshal(answer, to)
}

// newAccount is the body of POST /v1/accounts.
type newAccount struct {
	Asset string `json:"asset"`
	Name  string `json:"name"`
	Kind  string `json:"kind"`
}

func (c *client) open(ctx context.Context, name, kind string) (string, error) {
	body, err := json.Marshal(newAccount{asset, name, kind})
	if err != nil {
		return "", err
	}
	status, answer, _, err := c.until(ctx, http.MethodPost, "/v1/accounts", "open-"+name, string(body))
	if err != nil {
		return "", err
	}
	var made struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(answer, &made); err != nil || made.ID == "" {
		return "", fmt.Errorf("open account %s: %d %s", name, status, answer)
	}
	return made.ID, nil
}
