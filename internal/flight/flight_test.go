package flight_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/flight"
)

// A recording is one that the Go tools read; a second one waits for its turn, one whose
// caller leaves ends, and the next one works.
func TestRecordings(t *testing.T) { //nolint:paralleltest // the process has one recorder
	var r flight.Recorder
	raw, err := r.Record(t.Context(), 50*time.Millisecond)
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(raw, []byte("go 1.")), "%.20q", raw)
	require.Greater(t, len(raw), 1000)

	ctx, leave := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		err := flight.ErrBusy
		for errors.Is(err, flight.ErrBusy) { // those below come in between until it is its turn
			_, err = r.Record(ctx, flight.Most)
		}
		ended <- err
	}()
	require.Eventually(t, func() bool {
		_, err := r.Record(t.Context(), time.Millisecond)
		return err != nil
	}, 30*time.Second, time.Millisecond)
	_, err = r.Record(t.Context(), time.Millisecond)
	require.ErrorIs(t, err, flight.ErrBusy)
	leave()
	require.ErrorIs(t, <-ended, context.Canceled)
	_, err = r.Record(t.Context(), time.Millisecond)
	require.NoError(t, err)

	var stacks bytes.Buffer
	require.NoError(t, r.Stacks(&stacks))
	require.Contains(t, stacks.String(), "flight_test.TestRecordings")

	for _, wrong := range []time.Duration{0, -time.Second, flight.Most + 1} {
		_, err := r.Record(t.Context(), wrong)
		require.ErrorContains(t, err, "at most 30s")
	}
}
