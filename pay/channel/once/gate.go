package once

import (
	"context"
	"errors"
	"net"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moneta-pay/moneta/internal/clock"
)

// errOver stops a write that the transport would begin after Do returned.
var errOver = errors.New("the request is over")

// gate is a connection that asks the request on it before every write. The
// check sits here and not in the request's body, because the transport flushes
// the head to the network before it first reads a body of unknown type.
type gate struct {
	net.Conn
	flight atomic.Pointer[flight]
}

// Write hands p to the network if the request on this connection still may.
// Bytes outside any request, such as a TLS handshake, pass.
func (g *gate) Write(p []byte) (int, error) {
	fl := g.flight.Load()
	if fl == nil {
		return g.Conn.Write(p)
	}
	if err := fl.begin(); err != nil {
		return 0, err
	}
	n, err := g.Conn.Write(p)
	fl.end(n)
	return n, err
}

// flight is one request on its way. Its lock decides between a write that
// begins and a caller that gives up: exactly one of them wins.
type flight struct {
	sendBy  time.Time
	clock   clock.Clock
	abandon context.CancelFunc // keeps the transport from trying further connections

	mu      sync.Mutex
	sent    int  // bytes that the network took
	writing bool // a write is in progress
	sealed  bool
	late    bool
}

// board attaches the flight to the connection that the transport chose for it.
func (f *flight) board(info httptrace.GotConnInfo) {
	conn := info.Conn
	for {
		switch c := conn.(type) {
		case *gate:
			c.flight.Store(f)
			return
		case interface{ NetConn() net.Conn }: // TLS
			conn = c.NetConn()
		default:
			f.assumeSent()
			return
		}
	}
}

// assumeSent covers a connection without a gate: nothing can be known, so the
// dangerous case is taken as true.
func (f *flight) assumeSent() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent++
}

func (f *flight) begin() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sealed {
		return errOver
	}
	if f.sent == 0 && f.past() {
		f.late = true
		f.abandon()
		return ErrLate
	}
	f.writing = true
	return nil
}

func (f *flight) past() bool {
	return !f.sendBy.IsZero() && clock.Passed(f.clock.Now(), f.sendBy)
}

func (f *flight) end(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writing = false
	f.sent += n
}

// seal forbids every further write and reports whether a byte was or may have
// been written.
func (f *flight) seal() (written bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sealed = true
	return f.sent > 0 || f.writing
}
