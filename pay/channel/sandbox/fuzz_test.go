package sandbox

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/channel/once"
)

var fuzzTime = time.Unix(726_192_003, 0)

func fuzzChannel(f *testing.F) *Channel {
	c, err := New(Config{
		BaseURL: "http://127.0.0.1:1", Bank: "ab", Secrets: []string{"s3cret"}, Clock: clock.NewManual(fuzzTime),
	})
	require.NoError(f, err)
	return c
}

// No header but one made with the secret verifies, and no header panics.
func FuzzSignatureHeader(f *testing.F) {
	c := fuzzChannel(f)
	mac := "5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff536d0ce8e108d8bd"
	for _, seed := range []string{
		"", "t=1", "v1=" + mac, "t=726192003,v1=" + mac, "t=726192003,v1=" + mac + ",v1=" + mac, "t=-1,v1=" + mac,
		"t=99999999999999999999,v1=" + mac, "t=726192003,t=1,v1=" + mac, "v0=x,t=726192003,v1=zz", ",,,=,=", "t=+726192003,v1=" + mac,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		word, err := c.Callback(http.Header{headerSignature: {header}, headerEventID: {"e"}}, []byte("body"))
		require.ErrorIs(t, err, channel.ErrSignature)
		require.Zero(t, word)
	})
}

// A body that is rightly signed and read is a word in the contract; anything
// else is malformed, and no body panics.
func FuzzCallbackBody(f *testing.F) {
	c := fuzzChannel(f)
	f.Add([]byte(`{"event_id":"e","type":"payment.executed","bank":"ab","reference":"r","direction":"out","amount":"5","asset":"CZK","bank_id":"AB-1","occurred_at":"1993-01-05T00:00:03Z"}`))
	f.Add([]byte(`{"event_id":"e","type":"credit.executed","bank":"ab","reference":"r","direction":"in","amount":"5","asset":"CZK","remittance":"\ud800","occurred_at":"1993-01-05T00:00:03Z"}`))
	f.Add([]byte(`{"event_id":"e","type":"payment.declined","amount":"-5"}`))
	f.Add([]byte(`[{"amount":5}]`))
	f.Add([]byte("<html>"))
	f.Fuzz(func(t *testing.T, body []byte) {
		word, err := c.readEvent("e", body)
		if err != nil {
			require.ErrorIs(t, err, channel.ErrMalformed)
			require.Zero(t, word)
			return
		}
		require.Equal(t, "e", word.EventID)
		require.NotEmpty(t, word.Reference)
		require.Positive(t, word.Amount.Sign())
		require.NotEmpty(t, word.Asset)
		require.NotZero(t, word.Direction)
		require.NotEqual(t, channel.Unknown, word.Verdict)
	})
}

// Whatever a bank answers, the word claims success only for our order.
func FuzzSendAnswer(f *testing.F) {
	order := channel.Order{Reference: "r", Amount: money.Int(5), Asset: "CZK", Payee: channel.Party{Account: "1"}}
	f.Add(202, []byte(`{"status":"accepted","reference":"r","amount":"5","asset":"CZK","bank_id":"AB-1"}`))
	f.Add(200, []byte(`{"status":"executed","reference":"r","amount":"6","asset":"CZK"}`))
	f.Add(404, []byte(`{"status":"not_found","reference":"r"}`))
	f.Add(200, []byte(`{"lines":[{"seq":1,"line_id":"l","direction":"out","amount":"1","fee":"0","asset":"CZK"}],"next":1}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		answer := once.Answer{Status: status, Body: body, Written: true}
		word := readSendAnswer(channel.Word{Reference: "r", Direction: channel.Out}, order, answer)
		if word.Verdict != channel.Unknown {
			require.Equal(t, order.Amount, word.Amount)
			require.Contains(t, []int{200, 202}, status)
			require.NotEqual(t, channel.NotFound, word.Verdict)
		} else {
			require.NotEmpty(t, word.Reason)
		}
		found := readQueryAnswer(channel.Word{Reference: "r"}, answer)
		if found.Verdict == channel.NotFound {
			require.Equal(t, 404, status)
		}
		page, err := readStatement(answer, 3)
		if err == nil {
			last := int64(3)
			for _, line := range page.Lines {
				require.Greater(t, line.Seq, last)
				last = line.Seq
			}
			require.Equal(t, last, page.Next)
		}
	})
}

// Whatever a bank answers to a cancellation: only its word about our reference counts.
func FuzzCancelAnswer(f *testing.F) {
	f.Add(200, []byte(`{"status":"cancelled","reference":"r"}`))
	f.Add(200, []byte(`{"status":"cancelled","reference":"s"}`))
	f.Add(409, []byte(`{"error":{"code":"too_late"}}`))
	f.Add(404, []byte(`{"status":"cancelled","reference":"r"}`))
	f.Add(200, []byte(`<html>`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		word := readCancelAnswer(channel.Word{Reference: "r"}, once.Answer{Status: status, Body: body, Written: true})
		switch word.Verdict {
		case channel.Declined:
			require.Equal(t, http.StatusOK, status)
		case channel.Confirmed:
			require.Equal(t, http.StatusConflict, status)
		default:
			require.Equal(t, channel.Unknown, word.Verdict)
			require.NotEmpty(t, word.Reason)
		}
	})
}
