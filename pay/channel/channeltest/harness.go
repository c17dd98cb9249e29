// Package channeltest is the suite that every adapter passes before money may
// go through it, against a live server that speaks its rail's format. It
// refuses to judge by what the adapter says alone: the server's own record of
// what moved is asked every time.
package channeltest

import (
	"net/http"
	"testing"
	"time"

	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/channel"
)

// Fault is a way in which a rail treats the calls that follow.
type Fault int

const (
	// Honest executes at once and tells by callback.
	Honest Fault = iota
	// LoseRequest drops the connection and executes nothing.
	LoseRequest
	// LoseReply executes and drops the connection.
	LoseReply
	// HoldReply executes and answers only after the client's timeout.
	HoldReply
	// ErrorBefore answers 5xx and executes nothing.
	ErrorBefore
	// ErrorAfter answers 5xx and has executed.
	ErrorAfter
	// HTMLBefore answers 5xx with an HTML page and executes nothing.
	HTMLBefore
	// HTMLAfter answers 200 with an HTML page and has executed.
	HTMLAfter
	// Decline refuses by the contract.
	Decline
	// QueryFails answers queries with 5xx.
	QueryFails
	// Invisible hides what it executed from queries.
	Invisible
)

// Effect is one movement in the rail's own record.
type Effect struct {
	Direction channel.Direction
	Reference string
	Amount    money.Amount
}

// Delivery is a callback as it came over the wire.
type Delivery struct {
	Header http.Header
	Body   []byte
}

// Rig is one adapter and the live server it speaks to, fresh for one test.
type Rig struct {
	// Channel is under test. Its clock is Clock.
	Channel channel.Channel
	Clock   *clock.Manual
	// Asset is one that the rail moves.
	Asset money.Asset
	// Script switches the server; the last call holds.
	Script func(t *testing.T, fault Fault)
	// Effects is the server's own record, oldest first.
	Effects func(t *testing.T) []Effect
	// Credit makes a customer of the rail pay us, quoting the reference.
	Credit func(t *testing.T, reference string, amount money.Amount)
	// Callbacks receives what the server sends to a real listener.
	Callbacks <-chan Delivery
}

// Harness builds rigs for one adapter.
type Harness struct {
	// New starts a server and an adapter that knows Secrets[0], and stops both
	// when the test ends.
	New func(t *testing.T) Rig
	// At builds an adapter that speaks to the address, whoever listens there,
	// with a client timeout of at most a second.
	At func(t *testing.T, baseURL string, clk clock.Clock) channel.Channel
	// WithSecrets builds an adapter that verifies callbacks with these secrets.
	WithSecrets func(t *testing.T, clk clock.Clock, secrets ...string) channel.Channel
	// Secret is what the server signs with.
	Secret string
	// Sign returns the header of a delivery whose body is signed anew.
	Sign func(secret string, at time.Time, delivery Delivery) http.Header
}

// Run puts the adapter through the whole suite.
func Run(t *testing.T, h Harness) {
	t.Helper()
	t.Run("Contract", func(t *testing.T) { testContract(t, h) })
	t.Run("Send", func(t *testing.T) { testSend(t, h) })
	t.Run("Faults", func(t *testing.T) { testFaults(t, h) })
	t.Run("Query", func(t *testing.T) { testQuery(t, h) })
	t.Run("Resend", func(t *testing.T) { testResend(t, h) })
	t.Run("FirstByte", func(t *testing.T) { testFirstByte(t, h) })
	t.Run("HostileAnswers", func(t *testing.T) { testHostileAnswers(t, h) })
	t.Run("Callbacks", func(t *testing.T) { testCallbacks(t, h) })
	t.Run("Statement", func(t *testing.T) { testStatement(t, h) })
}
