package once

import (
	"crypto/tls"
	"net/http/httptrace"
	"sync"
	"time"
)

// Parts are the times of one exchange on its way. Zero is a part that did not happen: a
// connection that was kept is neither looked up nor opened, and an exchange that failed
// before has no first byte.
type Parts struct {
	// DNS is the look-up of the name, Connect the opening of the connection, TLS its
	// handshake; FirstByte counts from the last byte of the request to the first of the
	// answer.
	DNS, Connect, TLS, FirstByte time.Duration
}

// stopwatch takes the parts. The transport may go on dialling when the exchange is over
// already, so it is locked.
type stopwatch struct {
	mu                            sync.Mutex
	parts                         Parts
	looked, dialled, shook, wrote time.Time
}

// trace reports to the watch, and of the connection to board.
func (s *stopwatch) trace(board func(httptrace.GotConnInfo)) *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn:              board,
		DNSStart:             func(httptrace.DNSStartInfo) { s.start(&s.looked) },
		DNSDone:              func(httptrace.DNSDoneInfo) { s.stop(&s.looked, &s.parts.DNS) },
		ConnectStart:         func(string, string) { s.start(&s.dialled) },
		ConnectDone:          func(string, string, error) { s.stop(&s.dialled, &s.parts.Connect) },
		TLSHandshakeStart:    func() { s.start(&s.shook) },
		TLSHandshakeDone:     func(tls.ConnectionState, error) { s.stop(&s.shook, &s.parts.TLS) },
		WroteRequest:         func(httptrace.WroteRequestInfo) { s.start(&s.wrote) },
		GotFirstResponseByte: func() { s.stop(&s.wrote, &s.parts.FirstByte) },
	}
}

func (s *stopwatch) start(at *time.Time) {
	s.mu.Lock()
	*at = time.Now()
	s.mu.Unlock()
}

func (s *stopwatch) stop(at *time.Time, part *time.Duration) {
	s.mu.Lock()
	if !at.IsZero() {
		*part = time.Since(*at)
	}
	s.mu.Unlock()
}

func (s *stopwatch) read() Parts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.parts
}
