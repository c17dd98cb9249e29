package api

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestPaymentIsWrittenAsTheDocumentSays holds the writer by hand against the
// struct that the OpenAPI document is made from: a member that one of them does
// not know fails here.
func TestPaymentIsWrittenAsTheDocumentSays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := func(name string) string { return rapid.String().Draw(t, name) }
		instant := func(name string) time.Time {
			return time.UnixMicro(rapid.Int64Range(0, 4e15).Draw(t, name)).UTC()
		}
		maybe := func(name string) *time.Time {
			if at := instant(name); rapid.Bool().Draw(t, name+" set") {
				return &at
			}
			return nil
		}
		p := Payment{
			ID: text("id"), Object: "payment", Kind: text("kind"), State: text("state"), Status: text("status"), Amount: text("amount"),
			Asset: text("asset"), Fee: text("fee"), From: text("from"), To: text("to"), Channel: text("channel"), Reference: text("reference"),
			Remittance: text("remittance"), EffectiveAt: instant("effective"), CreatedAt: instant("created"), FinalAt: maybe("final"),
			Settlement: text("settlement"), Attempt: rapid.Int16().Draw(t, "attempt"), Hop: text("hop"), NextAt: maybe("next"),
			Deadline: maybe("deadline"), Reason: text("reason"), Original: text("original"),
			ExpiresAt: maybe("expires"), Captured: text("captured"), Remaining: text("remaining"), TraceID: text("trace"),
		}
		if rapid.Bool().Draw(t, "payee set") {
			p.Payee = &Payee{Account: text("account"), Name: text("name")}
		}
		if rapid.Bool().Draw(t, "metadata set") {
			p.Metadata = json.RawMessage(`{"a":"b"}`)
		}
		want, err := json.Marshal(&p)
		require.NoError(t, err)
		require.Equal(t, string(want), string(appendPayment(nil, &p)))
	})
}
