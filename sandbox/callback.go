package sandbox

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/money"
)

// maxAnswer is how much of a receiver's answer is read, so that its connection
// can be used again.
const maxAnswer = 4 << 10

// callbackBody is a callback on the wire.
type callbackBody struct {
	EventID    string       `json:"event_id"`
	Type       string       `json:"type"`
	Bank       string       `json:"bank"`
	Reference  string       `json:"reference"`
	Direction  string       `json:"direction"`
	Amount     money.Amount `json:"amount"`
	Asset      money.Asset  `json:"asset"`
	BankID     string       `json:"bank_id"`
	Reason     string       `json:"reason"`
	Remittance string       `json:"remittance"`
	OccurredAt time.Time    `json:"occurred_at"`
}

// postman carries the callbacks of all banks over one pool of connections.
type postman struct {
	pool    *http.Transport
	secret  []byte
	timeout time.Duration

	mu  sync.Mutex
	url string // with "{code}"; empty holds every callback back
}

func (p *postman) target(code string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.ReplaceAll(p.url, "{code}", code)
}

// sign returns the Sandbox-Signature header for the body at a time.
func sign(secret []byte, at time.Time, body []byte) string {
	unix := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(unix + "."))
	mac.Write(body)
	return "t=" + unix + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

// post sends one signed body and reports whether it was taken with 2xx. It
// follows no redirect and does not repeat.
func (p *postman) post(ctx context.Context, url, eventID, signature string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header = http.Header{
		"Content-Type": {"application/json"}, "Sandbox-Event-Id": {eventID}, "Sandbox-Signature": {signature},
	}
	resp, err := p.pool.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)); err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("receiver answered %d", resp.StatusCode)
	}
	return nil
}

// deliverLoop hands due callbacks to a fixed number of workers until ctx ends,
// and returns when the last worker has stopped.
func (b *bank) deliverLoop(ctx context.Context, mail *postman, workers int) {
	work := make(chan task)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for t := range work {
				b.deliver(ctx, mail, t)
			}
		})
	}
	defer group.Wait()
	defer close(work)
	for ctx.Err() == nil {
		if mail.target(b.code) == "" {
			pause(ctx, time.Hour, b.outbox.wake)
			continue
		}
		if closed := b.behaviourNow().Maintenance.left(b.clock.Now()); closed > 0 {
			pause(ctx, closed, b.outbox.wake)
			continue
		}
		b.mu.Lock()
		t, wait, ok := b.outbox.next(b.clock.Now(), b.books.orders)
		b.mu.Unlock()
		if !ok {
			pause(ctx, wait, b.outbox.wake)
			continue
		}
		select {
		case work <- t:
		case <-ctx.Done():
			b.putBack(t)
		}
	}
}

// putBack returns a task that was taken and not tried.
func (b *bank) putBack(t task) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.outbox.offer(t)
}

// deliver makes one attempt, with the forged and the second copy that the
// order's plan asks for.
func (b *bank) deliver(ctx context.Context, mail *postman, t task) {
	if err := b.journal.flush(); err != nil {
		b.log.ErrorContext(ctx, "callback held back: the books may forget it", slog.Any("error", err))
		return
	}
	url, body := mail.target(b.code), b.callback(t)
	if t.order.Forge && t.attempts == 0 {
		b.forge(ctx, mail, url, body)
	}
	b.tally.callbacksSent.Add(1)
	err := b.postAs(ctx, mail, url, body, t.order.odd())
	if err == nil && t.event == ofOutcome {
		b.afterwards(ctx, mail, url, body, t.order.odd())
	}
	if err == nil && t.order.Duplicate {
		b.tally.callbacksRepeated.Add(1)
		if again := b.post(ctx, mail, url, body); again != nil {
			b.log.DebugContext(ctx, "second copy of a callback not taken", slog.String("event", body.EventID), slog.Any("error", again))
		}
	}
	b.attempted(ctx, t, body.EventID, err)
}

func (b *bank) post(ctx context.Context, mail *postman, url string, body callbackBody) error {
	return b.postAs(ctx, mail, url, body, &none)
}

// postAs signs by the bank's clock, and rewrites the body after that if the order
// asks for it: the same JSON in other bytes.
func (b *bank) postAs(ctx context.Context, mail *postman, url string, body callbackBody, odd *quirks) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	signature := sign(b.secret(mail), b.clockNow(), raw)
	if odd.Reencode {
		var spaced bytes.Buffer
		if err := json.Indent(&spaced, raw, "", " "); err != nil {
			return err
		}
		raw = spaced.Bytes()
	}
	return mail.post(ctx, url, body.EventID, signature, raw)
}

// secret is what callbacks are signed with now.
func (b *bank) secret(mail *postman) []byte {
	if other := b.behaviourNow().CallbackSecret; other != "" {
		return []byte(other)
	}
	return mail.secret
}

// clockNow is what the bank's clock shows, right or wrong.
func (b *bank) clockNow() time.Time {
	return b.clock.Now().Add(time.Duration(b.behaviourNow().ClockSkew) * time.Millisecond)
}

// afterwards sends what a bank that is out of its mind sends on top: the same
// event with an old signature, and an event of its own that says the opposite.
func (b *bank) afterwards(ctx context.Context, mail *postman, url string, body callbackBody, odd *quirks) {
	if odd.Replay {
		if raw, err := json.Marshal(body); err == nil {
			old := sign(b.secret(mail), b.clockNow().Add(-time.Hour), raw)
			b.extra(ctx, body, mail.post(ctx, url, body.EventID, old, raw))
		}
	}
	if odd.Contradict && body.Direction == out {
		b.tally.lies.Add(1)
		body.EventID += "_x"
		body.Type, body.Reason = contradictedType(body.Type), reasonContradicted
		b.extra(ctx, body, b.post(ctx, mail, url, body))
	}
}

func (b *bank) extra(ctx context.Context, body callbackBody, err error) {
	if err != nil {
		b.log.DebugContext(ctx, "extra callback not taken", slog.String("event", body.EventID), slog.Any("error", err))
	}
}

func contradictedType(kind string) string {
	if kind == "payment.declined" {
		return "payment.executed"
	}
	return "payment.declined"
}

// forge posts what an attacker would: the true event's id, more money, and a
// signature made without the secret. Whoever remembers ids before verifying
// loses the true event.
func (b *bank) forge(ctx context.Context, mail *postman, url string, body callbackBody) {
	if more, err := body.Amount.MulInt(10); err == nil {
		body.Amount = more
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return
	}
	b.tally.callbacksForged.Add(1)
	guess := sign([]byte("not the secret"), b.clock.Now(), raw)
	if err := mail.post(ctx, url, body.EventID, guess, raw); err != nil {
		b.log.DebugContext(ctx, "forged callback refused", slog.String("event", body.EventID), slog.Any("error", err))
	}
}

// attempted records what became of one attempt and plans the next.
func (b *bank) attempted(ctx context.Context, t task, eventID string, failure error) {
	b.mu.Lock()
	b.follow(t)
	t.first = false
	switch {
	case failure == nil:
		b.end(t, delivered)
	case ctx.Err() != nil: // we stop; the attempt does not count
		b.outbox.offer(t)
	default:
		b.tally.callbacksFailed.Add(1)
		retry := b.behaviourNow().CallbackRetry
		t.attempts++
		if t.attempts >= retry.Attempts {
			b.end(t, givenUp)
			break
		}
		t.due = b.clock.Now().Add(retry.wait(t.attempts))
		b.outbox.offer(t)
	}
	b.mu.Unlock()
	if failure != nil {
		b.log.DebugContext(ctx, "callback not taken",
			slog.String("event", eventID), slog.Int("attempts", t.attempts), slog.Any("error", failure))
	}
}

// end closes an event, with the lock held. The record is not waited for: if a
// crash forgets it, the callback comes twice.
func (b *bank) end(t task, state eventState) {
	b.outbox.set(t.order, t.event, state)
	b.journal.append(record{Kind: "c", Number: t.order.number, Event: t.event, State: state})
	if state == givenUp {
		b.log.Warn("callback given up; flush sends it again",
			slog.Uint64("order", t.order.number), slog.Int("attempts", t.attempts))
	}
}

// callback writes the body for one event of an order.
func (b *bank) callback(t task) callbackBody {
	b.mu.Lock()
	defer b.mu.Unlock()
	o := t.order
	body := callbackBody{
		EventID: fmt.Sprintf("evt_%s_%d_%d", b.code, o.number, t.event), Bank: b.code,
		Type: "payment.accepted", Reference: o.Reference, Direction: o.Direction, Amount: o.stated(), Asset: o.Asset,
		BankID: b.books.bankID(o), Remittance: o.Remittance, OccurredAt: o.stamp(o.acceptedAt),
	}
	if o.odd().NoBankID {
		body.BankID = ""
	}
	if t.event == ofAcceptance {
		return body
	}
	body.OccurredAt = o.stamp(o.settledAt)
	switch {
	case o.ReturnOf != 0 && o.Direction == out:
		body.Type = "credit.charged_back"
	case o.ReturnOf != 0:
		body.Type, body.Reason = "payment.returned", b.books.orders[o.ReturnOf-1].odd().ReturnWhy
	case o.Direction == in:
		body.Type = "credit.executed"
	case o.status == declined:
		body.Type, body.Reason = "payment.declined", o.Reason
	default:
		body.Type = "payment.executed"
	}
	if o.odd().CallbackLie && o.Direction == out {
		b.tally.lies.Add(1)
		body.Type, body.Reason = contradictedType(body.Type), reasonContradicted
	}
	return body
}

// flushCallbacks makes every undelivered callback due now, with fresh
// attempts: those that wait, those given up and those lost by behaviour. It
// returns how many.
func (b *bank) flushCallbacks() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.outbox.queue = b.outbox.queue[:0]
	now, count := b.clock.Now(), 0
	for _, o := range b.books.orders {
		for kind, state := range o.events {
			switch state {
			case queued, parked, lost, givenUp:
				b.outbox.offer(task{due: now, order: o, event: eventKind(kind)})
				count++
			case notDue, inFlight, delivered, eventStates: // nothing to tell yet, or any more, or being told
			}
		}
	}
	b.outbox.nudge()
	return count
}
