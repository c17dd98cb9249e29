package once

import (
	"io"
	"net"
	"net/http/httptrace"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/clock"
)

func pipe(t *testing.T) (near *gate, far net.Conn) {
	t.Helper()
	a, b := net.Pipe()
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return &gate{Conn: a}, b
}

func board(g *gate) *flight {
	fl := &flight{clock: clock.System, abandon: func() {}}
	fl.board(httptrace.GotConnInfo{Conn: g})
	return fl
}

// The caller was told that nothing was written; the transport's write comes
// after that, and must not pass.
func TestSealedFlightWritesNothing(t *testing.T) {
	near, far := pipe(t)
	fl := board(near)
	require.False(t, fl.seal())
	n, err := near.Write([]byte("order"))
	require.ErrorIs(t, err, errOver)
	require.Zero(t, n)
	require.NoError(t, far.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	_, err = far.Read(make([]byte, 1))
	require.Error(t, err)

	next := board(near) // the connection serves its next request
	go func() { _, _ = near.Write([]byte("x")) }()
	require.NoError(t, far.SetReadDeadline(time.Now().Add(5*time.Second)))
	_, err = io.ReadFull(far, make([]byte, 1))
	require.NoError(t, err)
	require.True(t, next.seal())
}

// The caller gives up while a write is in progress: nobody can say how much of
// it will arrive, so it counts as written.
func TestWriteInProgressCountsAsWritten(t *testing.T) {
	near, far := pipe(t)
	fl := board(near)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = near.Write([]byte("order")) // blocks: nobody reads the pipe
	}()
	require.Eventually(t, func() bool {
		fl.mu.Lock()
		defer fl.mu.Unlock()
		return fl.writing
	}, 5*time.Second, time.Millisecond)
	require.True(t, fl.seal())
	require.NoError(t, far.Close())
	<-done
}

// A write that the network refused whole leaves the order unwritten, so that
// another connection may carry it.
func TestRefusedWriteCountsAsUnwritten(t *testing.T) {
	near, far := pipe(t)
	fl := board(near)
	require.NoError(t, far.Close())
	_, err := near.Write([]byte("order"))
	require.Error(t, err)
	require.False(t, fl.seal())
}

// A connection whose gate cannot be found proves nothing.
func TestUnknownConnectionCountsAsWritten(t *testing.T) {
	a, b := net.Pipe()
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	fl := &flight{clock: clock.System, abandon: func() {}}
	fl.board(httptrace.GotConnInfo{Conn: a})
	require.True(t, fl.seal())
}
