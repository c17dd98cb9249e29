// Package event is what the planes may say about themselves: the names of events
// and the one envelope that carries them everywhere, on a stream, in a list and in
// a webhook. The envelope is a CloudEvent 1.0 in structured mode, and at the same
// time a message of Standard Webhooks 1.0, which wants `type`, `timestamp` and
// `data` on the top level. It refuses to carry more than an event's own facts: who
// needs the resource as it is now asks for it.
package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// The attributes of every envelope.
const (
	// ContentType is the media type of one envelope.
	ContentType = "application/cloudevents+json"
	specVersion = "1.0"
	// source is the same on every node: events come from the ledger, not from a host.
	source     = "urn:moneta:ledger"
	dataSchema = "urn:moneta:event:payment:1"
)

// The types. A payment that enters an open state is told as "payment." and the
// state's name, such as payment.processing.
const (
	// PaymentFinal tells that a payment entered its final state; once per payment.
	PaymentFinal = "payment.final"
	// PaymentSettled tells that a statement of the channel matched the payment.
	PaymentSettled = "payment.settled"
	// PaymentUpdated tells of a move that changed neither state nor settlement with
	// a statement, such as a capture of a part of a hold.
	PaymentUpdated = "payment.updated"
	// WebhookPing is sent when somebody tests an endpoint; it is in no list.
	WebhookPing = "webhook.ping"

	paymentPrefix = "payment."
)

// Entered names the event of a payment that entered an open state.
func Entered(state string) string { return paymentPrefix + state }

// ID is an event's place in the log: the id of the transition that it is.
type ID int64

const (
	crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ" // no I, L, O, U
	idPrefix  = "evt_"
	idDigits  = 13 // 13 × 5 bits hold 63
)

// ErrBadID reports a text that is not an id of the wanted kind.
var ErrBadID = errors.New("not a valid id")

// String returns the public id, evt_ and 13 base32 digits, which sorts as the log.
func (id ID) String() string { return Name(idPrefix, int64(id)) }

// ParseID reads what String wrote, and nothing else.
func ParseID(s string) (ID, error) {
	n, err := ParseName(idPrefix, s)
	return ID(n), err
}

// Name writes a number above zero as a public id: the prefix and 13 base32 digits.
func Name(prefix string, n int64) string {
	var b [idDigits]byte
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = crockford[n&31]
		n >>= 5
	}
	return prefix + string(b[:])
}

// ParseName reads what Name wrote under the prefix, and nothing else.
func ParseName(prefix, s string) (int64, error) {
	digits, ok := strings.CutPrefix(s, prefix)
	if !ok || len(digits) != idDigits {
		return 0, ErrBadID
	}
	var n uint64
	for _, c := range []byte(digits) {
		d := strings.IndexByte(crockford, c)
		if d < 0 || n >= 1<<(63-5) {
			return 0, ErrBadID
		}
		n = n<<5 | uint64(d)
	}
	if n == 0 {
		return 0, ErrBadID
	}
	return int64(n), nil
}

// Event is one transition of a payment, as it may be told.
type Event struct {
	ID   ID
	Type string
	// Tenant whose payment it is; not told.
	Tenant int32
	Time   time.Time
	// TraceID of the request that made the payment; zero for none.
	TraceID [16]byte
	Payment PaymentMove
}

// PaymentMove is the data of an event: what the transition itself says. Amounts are in
// the asset's smallest unit.
type PaymentMove struct {
	Object     string `json:"object" enum:"payment"`
	ID         string `json:"id" doc:"The payment" example:"pay_0000000000001"`
	Version    int32  `json:"version" doc:"Counts the payment's moves: what has a lower version than what you know is old"`
	Kind       string `json:"kind"`
	State      string `json:"state" doc:"After the move; more may come"`
	FromState  string `json:"from_state" doc:"Before it; empty for the first"`
	Status     string `json:"status" enum:"processing,succeeded,failed"`
	Final      bool   `json:"final" doc:"The state never changes again"`
	Settlement string `json:"settlement"`
	Amount     string `json:"amount" doc:"Smallest units"`
	Asset      string `json:"asset"`
	From       string `json:"from,omitempty"`
	To         string `json:"to,omitempty"`
	Channel    string `json:"channel,omitempty"`
	Attempt    int16  `json:"attempt,omitempty"`
	Original   string `json:"original,omitempty" doc:"The payment that this one is linked to"`
	Source     string `json:"source,omitempty" doc:"Where the word came from, such as callback"`
	Reason     string `json:"reason,omitempty"`
	Transition string `json:"transition" doc:"Row of the state table" example:"T7"`
}

// Envelope is an event on the wire. Its members are CloudEvents' attributes and
// extensions; timestamp repeats time for readers of Standard Webhooks.
type Envelope struct {
	SpecVersion     string      `json:"specversion" enum:"1.0"`
	ID              string      `json:"id" doc:"Names the event for ever; a repeated delivery has the same" example:"evt_0000000000007"`
	Source          string      `json:"source"`
	Type            string      `json:"type" doc:"payment.final, payment.settled, payment.updated, or payment. and the open state entered; more may come" example:"payment.final"`
	Subject         string      `json:"subject" doc:"The payment" example:"pay_0000000000001"`
	Time            time.Time   `json:"time"`
	Timestamp       time.Time   `json:"timestamp" doc:"The same as time"`
	DataContentType string      `json:"datacontenttype" enum:"application/json"`
	DataSchema      string      `json:"dataschema"`
	Sequence        string      `json:"sequence" doc:"Place in the log; ascending, and without gaps over all tenants"`
	TraceParent     string      `json:"traceparent,omitempty" doc:"W3C trace context of the request that made the payment"`
	Data            PaymentMove `json:"data"`
}

// Envelope returns the event as it goes on the wire.
func (e *Event) Envelope() Envelope {
	at := e.Time.UTC()
	out := Envelope{
		SpecVersion: specVersion, ID: e.ID.String(), Source: source, Type: e.Type, Subject: e.Payment.ID, Time: at, Timestamp: at,
		DataContentType: "application/json", DataSchema: dataSchema, Sequence: fmt.Sprintf("%020d", int64(e.ID)), Data: e.Payment,
	}
	if e.TraceID != [16]byte{} {
		out.TraceParent = fmt.Sprintf("00-%x-%x-00", e.TraceID, e.TraceID[:8])
	}
	return out
}

// JSON returns the envelope's bytes: the same bytes every time, since an event
// never changes.
func (e *Event) JSON() ([]byte, error) {
	b, err := json.Marshal(e.Envelope())
	if err != nil {
		return nil, fmt.Errorf("event %s: %w", e.ID, err)
	}
	return b, nil
}

// Ping returns the envelope of a test message that is about nothing. id names the
// message as an event's id names an event.
func Ping(id string, at time.Time) ([]byte, error) {
	at = at.UTC()
	b, err := json.Marshal(struct {
		SpecVersion     string    `json:"specversion"`
		ID              string    `json:"id"`
		Source          string    `json:"source"`
		Type            string    `json:"type"`
		Time            time.Time `json:"time"`
		Timestamp       time.Time `json:"timestamp"`
		DataContentType string    `json:"datacontenttype"`
		Data            struct{}  `json:"data"`
	}{specVersion, id, source, WebhookPing, at, at, "application/json", struct{}{}})
	if err != nil {
		return nil, fmt.Errorf("ping %s: %w", id, err)
	}
	return b, nil
}
