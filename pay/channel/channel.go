// Package channel is the seam to every rail: a bank, a payment provider, a
// chain. An adapter under it turns one rail's wire format into a Word, and no
// more. It refuses to know payments, ledgers or states, to retry on its own,
// and to call anything failed that was not clearly refused: what the channel
// did not say is Unknown.
package channel

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/moneta-pay/moneta/money"
)

// Name names a channel, for example "bank-ab": lower case, the same in routes,
// metrics, rows and configuration.
type Name string

// Party is the other side of an order, as the rail knows it.
type Party struct {
	// Account is the account at the rail: an IBAN, a card token, an address.
	Account string
	// Name is the holder's name; empty when the rail does not need it.
	Name string
}

// Order is one instruction to move money out through a channel.
type Order struct {
	// Reference is ours, unique at the channel for all time, and the only
	// handle by which an unknown outcome can be asked for later.
	Reference string
	// Amount is in the asset's smallest unit, above zero.
	Amount money.Amount
	Asset  money.Asset
	Payee  Party
	// Remittance travels to the payee; at most 140 characters.
	Remittance string
	// SendBy is the instant after which no first byte may be written. An
	// adapter checks it again right before the first byte, so that a process
	// frozen in between sends nothing. Zero means no limit.
	SendBy time.Time
}

// Verdict is what a channel said about one reference. The zero value is
// Unknown: whatever is not said is not known.
type Verdict uint8

const (
	// Unknown says that the money may or may not have moved. Timeouts, 5xx,
	// HTML, broken JSON and an echo that contradicts the order all end here.
	Unknown Verdict = iota
	// Acked says that the channel has the order and has not finished it.
	Acked
	// Confirmed is the channel saying that the money moved. Final.
	Confirmed
	// Declined is the channel saying, for our reference and in a form that its
	// contract defines, that the money did not and will not move. Final.
	Declined
	// NotFound says that the channel does not know the reference now. Proof of
	// never only where Capabilities.NotFoundMeansNever, and only from
	// Capabilities.NotFoundCounts on.
	NotFound
	// NeverSent says that this process knows that no byte of the order left it.
	// Only Send answers so, and nobody may conclude it afterwards.
	NeverSent
	// Returned is the channel saying that money which it had moved for our
	// reference came back. Only a callback says so; it takes nothing back of what
	// the channel confirmed.
	Returned
	// ChargedBack is the channel saying that money which had come in for our
	// reference was taken back by its payer. Only a callback says so.
	ChargedBack
)

// String returns the verdict as written in logs and rows.
func (v Verdict) String() string {
	switch v {
	case Acked:
		return "acked"
	case Confirmed:
		return "confirmed"
	case Declined:
		return "declined"
	case NotFound:
		return "not_found"
	case NeverSent:
		return "never_sent"
	case Returned:
		return "returned"
	case ChargedBack:
		return "charged_back"
	case Unknown:
	}
	return "unknown" // and whatever nobody defined
}

// Final reports whether the channel promises never to say otherwise.
func (v Verdict) Final() bool { return v == Confirmed || v == Declined }

// Err tells why a word is no answer, for traces and logs; nil for every word that
// the channel really said.
func (w Word) Err() error {
	if w.Verdict == Unknown || w.Verdict == NeverSent {
		return errors.New(w.Verdict.String() + ": " + w.Reason)
	}
	return nil
}

// Trouble tells in one word why a word is no answer, as the alert rules count it:
// http_5xx, timeout, conn_error, unknown, or the reason itself.
func (w Word) Trouble() string {
	switch {
	case w.HTTPStatus >= 500:
		return "http_5xx"
	case w.Reason == ReasonTimeout:
		return "timeout"
	case w.Reason == ReasonConnection, w.Reason == ReasonNotConnected:
		return "conn_error"
	case w.Reason == "":
		return "unknown"
	default:
		return w.Reason
	}
}

// Direction says whose money moved, seen from us. The zero value means that
// the channel did not say.
type Direction uint8

const (
	// Out is money that left us.
	Out Direction = iota + 1
	// In is money that came to us.
	In
)

// String returns "out", "in", or "" when the channel did not say.
func (d Direction) String() string {
	switch d {
	case Out:
		return "out"
	case In:
		return "in"
	default:
		return ""
	}
}

// Reasons that adapters give in Word.Reason beside the rail's own. They are
// stable: metrics and diagnosis count them.
const (
	ReasonTimeout      = "timeout"            // no answer within ClientTimeout
	ReasonCancelled    = "cancelled"          // our caller gave up
	ReasonConnection   = "connection_lost"    // reset or closed with bytes on the wire
	ReasonNotConnected = "not_connected"      // no connection, so no byte
	ReasonSendBy       = "send_by_passed"     // too late to write the first byte
	ReasonBadOrder     = "bad_order"          // refused before the wire: fields out of range
	ReasonHTTP         = "unexpected_status"  // HTTP status outside the contract
	ReasonBody         = "unreadable_body"    // HTML, broken JSON, words outside the contract
	ReasonTooLarge     = "body_too_large"     // more than MaxBody
	ReasonEcho         = "echo_contradiction" // reference, amount or asset is not ours
	ReasonCancelledOut = "cancelled_by_us"    // the rail cancelled the order for us
)

// MaxBody bounds every body read from a rail, in bytes.
const MaxBody = 64 << 10

// SignatureTolerance is the greatest difference allowed between a callback's
// signed time and the time it was received, either way.
const SignatureTolerance = 300 * time.Second

// Word is what a channel said, once: in answer to Send or Query, or in a
// callback. Fields that the channel did not say are zero.
type Word struct {
	Verdict Verdict
	// Reference is ours. In a callback about money that nobody announced it is
	// whatever the payer quoted.
	Reference string
	// ChannelID is the channel's own id of the movement.
	ChannelID string
	// EventID identifies a callback; the same id twice is the same event.
	EventID string
	// Reason is one of the Reason constants, or the rail's own code for a
	// decline; at most 140 characters.
	Reason     string
	Remittance string
	Direction  Direction
	// Amount is in the asset's smallest unit. The caller compares it with what
	// it ordered before it believes a Confirmed from Query or Callback.
	Amount money.Amount
	Asset  money.Asset
	// OccurredAt is the channel's clock, not ours.
	OccurredAt time.Time
	// HTTPStatus is 0 when no answer came.
	HTTPStatus int
	// RetryAfter is how long the channel asked us to leave it alone; 0 when it did
	// not, or could not.
	RetryAfter time.Duration
	// Latency is the time from the call to the word, on our monotonic clock.
	Latency time.Duration
	// Parts are what of it was spent on the way; zero where the adapter does not tell.
	Parts Parts
}

// Parts are the times of one call on its way. A connection that was kept is neither
// looked up nor opened.
type Parts struct{ DNS, Connect, TLS, FirstByte time.Duration }

// Line is one movement in a channel's statement.
type Line struct {
	// Seq orders the lines of one channel and is the cursor.
	Seq int64
	// ID is the channel's id of the line. Two lines with one ID are one line
	// stated twice.
	ID        string
	Direction Direction
	// Reference is ours for what we sent; for money in, what the payer quoted.
	Reference string
	// Amount moved and Fee charged on top, both in the smallest unit.
	Amount, Fee money.Amount
	Asset       money.Asset
	Remittance  string
	// BookedAt is the channel's booking time.
	BookedAt time.Time
	// ChannelID is the channel's own id of the movement, as callbacks name it; empty
	// where the statement does not tell it.
	ChannelID string
	// Return marks money in that had gone out under Reference and came back; Reason
	// is then the rail's code for why.
	Return bool
	Reason string
}

// Statement is one page of a channel's statement, oldest line first.
type Statement struct {
	Lines []Line
	// Next is the cursor to pass as after for the following page; equal to the
	// given cursor when there was nothing new.
	Next int64
	// HasMore says that a following page has lines already.
	HasMore bool
}

// Capabilities is a rail's contract in figures. Deciders read it; an adapter
// must not claim what its conformance run did not show.
type Capabilities struct {
	// Adapter names the adapter and the version of its contract, such as
	// "sandbox/2": what was proven of one version proves nothing of the next.
	Adapter string
	// DedupByReference: the same reference twice moves money at most once.
	// Only then may an unknown attempt be sent again.
	DedupByReference bool
	// QueryByReference: Query works.
	QueryByReference bool
	// Cancel: the rail can cancel by reference, and forbid a reference that it has
	// not seen; the adapter is a Canceller.
	Cancel bool
	// Refund: money that came in can be sent back to the account it came from, by an
	// ordinary order.
	Refund bool
	// StatementWithin: each movement stands in the statement, once and unchanged,
	// so long after its execution; 0 is no promise.
	StatementWithin time.Duration
	// ClientTimeout bounds Send, Query and Statement, each in total.
	ClientTimeout time.Duration
	// VisibilityDelay is the longest time that an executed order may stay
	// invisible to Query.
	VisibilityDelay time.Duration
	// SendWindow is how far ahead SendBy may lie when an attempt is committed;
	// at most 5 s.
	SendWindow time.Duration
	// QuerySchedule holds the waits before the first, second, … query of one
	// reference; the last repeats.
	QuerySchedule []time.Duration
	// QueryBudget is the most queries for one reference in each QueryWindow;
	// 0 means that the rail sets no limit.
	QueryBudget int
	QueryWindow time.Duration
	// NotFoundMeansNever: by contract, a not-found from NotFoundCounts on
	// proves that the order never executed and never will.
	NotFoundMeansNever bool
	// MaxInFlight bounds concurrent sends; the caller's bulkhead.
	MaxInFlight int
	// FinalBound is the time from Send within which the rail promises a final
	// word; past it a payment needs a case.
	FinalBound time.Duration
}

// NotFoundCounts returns the instant from which a NotFound may count at all
// for an attempt that had until sendBy to write its first byte: everything
// that could still be on the wire or invisible is over by then.
func (c Capabilities) NotFoundCounts(sendBy time.Time) time.Time {
	return sendBy.Add(c.ClientTimeout + c.VisibilityDelay)
}

// SendWindowMax bounds SendWindow.
const SendWindowMax = 5 * time.Second

// NotFoundAfter returns how long ago an attempt must have been committed for a
// NotFound to count, whatever its send_by says: its sender stops SendWindow after
// it formed the intent, by its own monotonic clock.
func (c Capabilities) NotFoundAfter() time.Duration {
	window := SendWindowMax
	if c.SendWindow > 0 {
		window = min(c.SendWindow, window)
	}
	return window + c.ClientTimeout + c.VisibilityDelay
}

// QueryAfter returns the wait before query n of one reference, counted from 0.
// Without a schedule it is VisibilityDelay, and never below a second.
func (c Capabilities) QueryAfter(n int) time.Duration {
	if len(c.QuerySchedule) == 0 {
		return max(c.VisibilityDelay, time.Second)
	}
	return c.QuerySchedule[min(max(n, 0), len(c.QuerySchedule)-1)]
}

// Canceller is a channel that can cancel by reference.
type Canceller interface {
	// Cancel answers Declined when the order of our reference has not moved money
	// and never will, be it unknown to the rail so far; Confirmed when it is too
	// late; Unknown when the rail could not say.
	Cancel(ctx context.Context, reference string) Word
}

// Channel is one rail. Implementations are safe for concurrent use, follow no
// redirect, never write an order twice, bound every body and every wait, and
// start no goroutine that outlives the call.
type Channel interface {
	// Name returns the channel's name.
	Name() Name
	// Capabilities returns the rail's contract; constant while the process runs.
	Capabilities() Capabilities
	// Send writes the order at most once and returns what the channel said.
	// It never fails: whatever went wrong is a Verdict with its Reason.
	Send(ctx context.Context, order Order) Word
	// Query asks what became of our reference: Acked, Confirmed, Declined,
	// NotFound, or Unknown when the channel could not say.
	Query(ctx context.Context, reference string) Word
	// Callback verifies a callback that has just arrived and returns its word.
	// Errors wrap ErrSignature, ErrStale or ErrMalformed.
	Callback(header http.Header, body []byte) (Word, error)
	// CallbackAt is Callback for one that was stored raw at receivedAt and is
	// verified only now: the age of the signature is judged at its arrival.
	CallbackAt(receivedAt time.Time, header http.Header, body []byte) (Word, error)
	// Statement returns up to limit lines after the cursor; 0 is the start.
	Statement(ctx context.Context, after int64, limit int) (Statement, error)
}

var (
	// ErrSignature says that the callback is not signed with a secret valid now.
	// Forged, altered, or a rotation that was missed; never act on its body.
	ErrSignature = errors.New("callback signature does not verify")
	// ErrStale says: rightly signed, but more than SignatureTolerance away from
	// its arrival: a replay or a clock that is wrong.
	ErrStale = errors.New("callback signature is outside its time tolerance")
	// ErrMalformed says: rightly signed, but not a word in the rail's contract.
	ErrMalformed = errors.New("callback body is not in the contract")
)
