package event_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moneta-pay/moneta/event"
)

func TestIDsComeBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := event.ID(rapid.Int64Min(1).Draw(t, "a")), event.ID(rapid.Int64Min(1).Draw(t, "b"))
		got, err := event.ParseID(a.String())
		require.NoError(t, err)
		require.Equal(t, a, got)
		require.Equal(t, a < b, a.String() < b.String(), "ids sort as the log")
	})
	for _, bad := range []string{"", "evt_", "evt_0000000000000", "evt_000000000000I", "evt_ZZZZZZZZZZZZZ", "pay_0000000000001", "evt_00000000000001"} {
		_, err := event.ParseID(bad)
		require.ErrorIs(t, err, event.ErrBadID, bad)
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("evt_0000000000001")
	f.Add("evt_7ZZZZZZZZZZZZ")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := event.ParseID(s); err == nil {
			require.Equal(t, s, id.String())
			require.Positive(t, int64(id))
		}
	})
}

// TestEnvelopeIsACloudEvent holds the envelope to what CloudEvents 1.0 requires
// (id, source, specversion, type; names of lower-case letters and digits) and what
// Standard Webhooks wants on the top level (type, timestamp, data).
func TestEnvelopeIsACloudEvent(t *testing.T) {
	t.Parallel()
	e := event.Event{
		ID: 7, Type: event.PaymentFinal, Tenant: 3, Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600)), TraceID: [16]byte{1},
		Payment: event.PaymentMove{Object: "payment", ID: "pay_0000000000001", State: "succeeded", Amount: "100", Asset: "CZK"},
	}
	b, err := e.JSON()
	require.NoError(t, err)
	again, err := e.JSON()
	require.NoError(t, err)
	require.Equal(t, b, again)
	var m map[string]any
	require.NoError(t, json.Unmarshal(b, &m))
	for _, name := range []string{"id", "source", "specversion", "type", "timestamp", "data", "subject", "sequence"} {
		require.NotEmpty(t, m[name], name)
	}
	for name := range m {
		require.Regexp(t, `^[a-z0-9]{1,20}$`, name)
	}
	require.Equal(t, "1.0", m["specversion"])
	require.Equal(t, "2026-01-02T02:04:05Z", m["time"])
	require.Equal(t, m["time"], m["timestamp"])
	require.Equal(t, "00-01000000000000000000000000000000-0100000000000000-00", m["traceparent"])
	require.NotContains(t, string(b), "tenant", "whose it is, the receiver knows")
}
