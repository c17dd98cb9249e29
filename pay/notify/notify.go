// Package notify tells tenants' endpoints what became final, as signed webhooks
// after Standard Webhooks 1.0. It reads the log of transitions by one durable
// cursor, and an event becomes a row for each endpoint in the transaction that
// moves the cursor: nothing is lost, and after a crash between sending and noting
// it a message comes again, under the same webhook-id. It refuses to promise an
// order, to call addresses inside the network unless it was told to, to follow
// redirects, and to let one endpoint that hangs hold up another.
package notify

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/event"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
)

// EndpointID names an endpoint.
type EndpointID int64

// DeliveryID names one message to one endpoint, all its tries together.
type DeliveryID int64

const (
	endpointPrefix = "wh_"
	deliveryPrefix = "whd_"
	pingPrefix     = "ping_"
)

// String returns the public id.
func (id EndpointID) String() string { return event.Name(endpointPrefix, int64(id)) }

// String returns the public id.
func (id DeliveryID) String() string { return event.Name(deliveryPrefix, int64(id)) }

// ParseEndpointID reads what EndpointID.String wrote.
func ParseEndpointID(s string) (EndpointID, error) {
	n, err := event.ParseName(endpointPrefix, s)
	return EndpointID(n), err
}

// ParseDeliveryID reads what DeliveryID.String wrote.
func ParseDeliveryID(s string) (DeliveryID, error) {
	n, err := event.ParseName(deliveryPrefix, s)
	return DeliveryID(n), err
}

// EndpointState is whether an endpoint is told anything.
type EndpointState int16

// The states of an endpoint. While one is disabled nothing is queued for it; what
// it missed is queued from the log when it is enabled again.
const (
	Active EndpointState = iota + 1
	Disabled
	deleted
)

// String returns the state's name in the API.
func (s EndpointState) String() string {
	switch s {
	case Active:
		return "active"
	case Disabled:
		return "disabled"
	case deleted:
		return "deleted"
	}
	return ""
}

// DeliveryState is what became of a message.
type DeliveryState int16

// The states of a delivery.
const (
	Pending DeliveryState = iota + 1
	Delivered
	GivenUp
)

// String returns the state's name in the API.
func (s DeliveryState) String() string {
	switch s {
	case Pending:
		return "pending"
	case Delivered:
		return "delivered"
	case GivenUp:
		return "given_up"
	}
	return ""
}

// Endpoint is where a tenant wants to be told. Its secret is not part of it.
type Endpoint struct {
	ID          EndpointID
	Tenant      pay.TenantID
	URL         string
	Description string
	State       EndpointState
	// Reason says why it is disabled.
	Reason string
	// FailingSince is the first failure since the last success; zero for none.
	FailingSince time.Time
	// OldSecretUntil is how long the secret before the present one signs too.
	OldSecretUntil time.Time
	// CatchingUp is true while what it missed is being queued.
	CatchingUp bool
	CreatedAt  time.Time
}

// Delivery is one message to one endpoint.
type Delivery struct {
	ID       DeliveryID
	Endpoint EndpointID
	// Event is zero for a ping.
	Event event.ID
	State DeliveryState
	Tries int16
	// NextAt is when the next try is due, while pending.
	NextAt time.Time
	// LastAt, LastStatus and LastError tell of the last try; a status of zero means
	// that no answer came.
	LastAt     time.Time
	LastStatus int16
	LastError  string
	CreatedAt  time.Time
}

// MessageID is the webhook-id: the same for every try and every repetition.
func (d *Delivery) MessageID() string {
	if d.Event == 0 {
		return event.Name(pingPrefix, int64(d.ID))
	}
	return d.Event.String()
}

// schedule is the one that Standard Webhooks suggests: ten tries over 75.6 hours,
// the first at once. Entry n is the wait before try n + 1.
var schedule = []time.Duration{
	0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
	10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

// TriesMax is how often a message is tried before it is given up.
var TriesMax = len(schedule)

func dbFault(op string, err error) error {
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fault.New(fault.NotFound, "").WithOp(op)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return fault.New(fault.Timeout, "").WithOp(op).WithMoneyState(fault.NotMoved).WithCause(err)
	}
	return fault.New(fault.DatabaseUnavailable, "").WithOp(op).WithMoneyState(fault.NotMoved).WithCause(err)
}

// clip shortens what is kept of a text from outside.
func clip(s string, most int) string {
	if len(s) > most {
		s = s[:most]
	}
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "?")
}
