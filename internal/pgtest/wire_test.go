package pgtest

import (
	"bytes"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"
)

// What we write, the driver reads; what the driver writes, we read.
func TestMessages(t *testing.T) {
	t.Parallel()
	front := pgproto3.NewFrontend(bytes.NewReader(ErrorMessage("FATAL", "57P01", "going down")), io.Discard)
	said, err := front.Receive()
	require.NoError(t, err)
	require.Equal(t, &pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "57P01", Message: "going down"}, said)

	start, err := (&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersionNumber, Parameters: map[string]string{"user": "ann"}}).Encode(nil)
	require.NoError(t, err)
	query, err := (&pgproto3.Query{String: "select 1"}).Encode(nil)
	require.NoError(t, err)
	wire := bytes.NewReader(append(append([]byte{}, start...), query...))
	for i, want := range [][]byte{start, query} {
		got, err := ReadMessage(wire, i > 0)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err = ReadMessage(wire, true)
	require.ErrorIs(t, err, io.EOF)
	for _, length := range []string{"\x00\x00\x00\x03", "\x7f\xff\xff\xff", "\xff\xff\xff\xff"} {
		_, err = ReadMessage(bytes.NewReader([]byte("Q"+length)), true)
		require.ErrorContains(t, err, "a message of")
	}
}
