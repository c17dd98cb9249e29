package sandbox_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/pay/channel"
	adapter "github.com/moneta-pay/moneta/pay/channel/sandbox"
)

// TestNoNULComesThrough: JSON can carry a NUL and no database text can. One that
// came through would fail the row, its batch, and every later try of both: the
// statement's cursor and the inbox would stand still.
func TestNoNULComesThrough(t *testing.T) {
	t.Parallel()
	const reference = "M0000000000001A1"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/statement") {
			_, _ = io.WriteString(w, `{"lines":[{"seq":1,"line_id":"l1","direction":"in","reference":"a\u0000b","amount":"5","fee":"0","asset":"CZK",
				"remittance":"c\u0000d","booked_at":"1993-01-05T00:00:00Z"}],"next":1,"has_more":false}`)
			return
		}
		_, _ = io.WriteString(w, `{"status":"executed","direction":"out","reference":"`+reference+`","amount":"5","asset":"CZK",
			"bank_id":"x\u0000y","reason":"\u0000","remittance":"\u0000"}`)
	}))
	t.Cleanup(server.Close)
	now := time.Date(1993, 1, 5, 0, 0, 0, 0, time.UTC)
	ch, err := adapter.New(adapter.Config{BaseURL: server.URL, Bank: "ab", Secrets: []string{"secret"}, Clock: clock.NewManual(now)})
	require.NoError(t, err)
	t.Cleanup(ch.Close)

	page, err := ch.Statement(t.Context(), 0, 10)
	require.NoError(t, err)
	require.Equal(t, "a\uFFFDb", page.Lines[0].Reference)
	require.Equal(t, "c\uFFFDd", page.Lines[0].Remittance)

	word := ch.Query(t.Context(), reference)
	require.Equal(t, channel.Confirmed, word.Verdict)
	require.NotContains(t, word.ChannelID+word.Reason+word.Remittance, "\x00")

	body := []byte(`{"event_id":"e1","type":"credit.executed","bank":"ab","reference":"r\u0000r","direction":"in","amount":"5","asset":"CZK",
		"bank_id":"\u0000","reason":"\u0000","remittance":"\u0000","occurred_at":"1993-01-05T00:00:00Z"}`)
	mac := hmac.New(sha256.New, []byte("secret"))
	_, _ = fmt.Fprintf(mac, "%d.%s", now.Unix(), body)
	word, err = ch.CallbackAt(now, http.Header{
		"Sandbox-Event-Id":  {"e1"},
		"Sandbox-Signature": {fmt.Sprintf("t=%d,v1=%s", now.Unix(), hex.EncodeToString(mac.Sum(nil)))},
	}, body)
	require.NoError(t, err)
	require.NotContains(t, word.Reference+word.ChannelID+word.Reason+word.Remittance, "\x00")
}
