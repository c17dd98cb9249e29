package settle_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
)

// Nil means durable, whatever is in it; everything else asks for it again.
func TestReceiveStoresBeforeItJudges(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	r.door()
	r.lead()
	header := http.Header{"Sandbox-Signature": {"t=1,v1=00"}, "Authorization": {"Bearer not-ours-to-keep"}}
	require.NoError(t, r.inbox.Receive(t.Context(), "bank-ab", header, []byte("<html>")))
	require.Equal(t, int64(1), r.number(`select count(*) from inbox where body = '<html>'::bytea and headers not like '%not-ours%'`))
	r.eventually("judged after", func() bool { return r.number(`select count(*) from inbox where verdict = 'forged'`) == 1 })

	require.ErrorIs(t, r.inbox.Receive(t.Context(), "bank-zz", header, nil), fault.NotFound)
	require.ErrorIs(t, r.inbox.Receive(t.Context(), "bank-ab", header, make([]byte, channel.MaxBody+1)), fault.BodyTooLarge)
	fat := http.Header{"X": {strings.Repeat("x", 17<<10)}}
	require.ErrorIs(t, r.inbox.Receive(t.Context(), "bank-ab", fat, nil), fault.BodyTooLarge)
}

// With nobody storing, callbacks are refused once the queue is full, and each
// waits no longer than its caller.
func TestReceiveIsBounded(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	header, body := r.captureRaw(pay.Reference(1, 0), 900)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 201 { // what does not verify has a short queue of its own
		require.Error(t, r.inbox.Receive(gone, "bank-ab", http.Header{}, []byte("x")))
	}
	require.ErrorIs(t, r.inbox.Receive(gone, "bank-ab", http.Header{}, []byte("x")), fault.Overloaded)
	require.ErrorIs(t, r.inbox.Receive(gone, "bank-ab", header, body), fault.Timeout, "and does not stand before a channel's word")
	for range 4000 {
		require.Error(t, r.inbox.Receive(gone, "bank-ab", header, body))
	}
	require.ErrorIs(t, r.inbox.Receive(gone, "bank-ab", header, body), fault.Overloaded)
}

// The same event many times, in one batch and across batches, is one event.
func TestDuplicatesAreCountedOnce(t *testing.T) {
	t.Parallel()
	r := build(t, quick())
	r.lead()
	p := r.submit(r.deposit(1, 900))[0]
	header, body := r.captureRaw(pay.Reference(p.ID, 0), 900)
	r.door()
	for range 5 {
		require.NoError(t, r.inbox.Receive(t.Context(), "bank-ab", header, body))
	}
	r.eventually("all are applied", func() bool { return r.number(`select count(*) from inbox where applied_at is not null`) >= 5 })
	rows := r.number(`select count(*) from inbox`)
	require.Equal(t, int64(1), r.number(`select count(*) from inbox where verdict = 'applied'`))
	require.Equal(t, rows-1, r.number(`select value from marks where name = 'duplicate_callbacks'`))
	require.Equal(t, int64(1), r.number(`select count(*) from transfers`))
}
