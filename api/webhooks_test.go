package api_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay/notify"
	"github.com/moneta-pay/moneta/pay/outbox"
)

// TestAWebhookFromEndToEnd registers an endpoint over the API, pays, and checks
// what arrives as a receiver would; then tests, looks, repeats, and leaves.
func TestAWebhookFromEndToEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	type message struct {
		header http.Header
		body   string
	}
	got := make(chan message, 16)
	shop := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got <- message{r.Header, string(b)}
	}))
	t.Cleanup(shop.Close)
	receive := func() message {
		t.Helper()
		select {
		case m := <-got:
			return m
		case <-time.After(patience):
			require.Fail(t, "nothing arrived")
			return message{}
		}
	}
	sender := notify.NewSender(notify.Config{Pool: w.pool, Log: outbox.NewLog(w.pool, nil), Inside: loopback, Telemetry: w.telemetry})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- sender.Run(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-done) })

	made := w.do(http.MethodPost, "/v1/webhooks", w.user, `{"url":"`+shop.URL+`/hook","description":"till"}`)
	require.Equal(t, http.StatusCreated, made.StatusCode, string(made.body))
	secret, id := made.str("secret"), made.str("id")
	require.True(t, strings.HasPrefix(secret, "whsec_"))
	w.funded("a", "500")
	m := receive()
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	require.NoError(t, err)
	mac := hmac.New(sha256.New, raw)
	mac.Write([]byte(m.header.Get("Webhook-Id") + "." + m.header.Get("Webhook-Timestamp") + "." + m.body))
	require.Equal(t, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)), m.header.Get("Webhook-Signature"))
	require.Equal(t, "application/cloudevents+json", m.header.Get("Content-Type"))
	require.Contains(t, m.body, `"type":"payment.final"`)
	event := w.get("/v1/events").json["data"].([]any)[0].(map[string]any)
	require.Equal(t, event["id"], m.header.Get("Webhook-Id"), "the webhook is the event of the list")

	require.Equal(t, http.StatusCreated, w.do(http.MethodPost, "/v1/webhooks/"+id+"/ping", w.user, "").StatusCode)
	require.Contains(t, receive().body, "webhook.ping")
	list := w.get("/v1/webhooks/" + id + "/deliveries?limit=1")
	require.True(t, list.json["has_more"].(bool))
	list = w.get("/v1/webhooks/" + id + "/deliveries?after=" + list.str("next"))
	require.Len(t, list.json["data"], 1)
	delivery := list.json["data"].([]any)[0].(map[string]any)
	path := "/v1/webhooks/" + id + "/deliveries/" + delivery["id"].(string)
	require.Eventually(t, func() bool { return w.get(path).str("state") == "delivered" }, patience, 5*time.Millisecond)
	require.InDelta(t, 200, w.get(path).json["last_status"], 0)
	require.Equal(t, http.StatusOK, w.do(http.MethodPost, path+"/redeliver", w.user, "").StatusCode)
	require.Equal(t, m.header.Get("Webhook-Id"), receive().header.Get("Webhook-Id"))

	rotated := w.do(http.MethodPost, "/v1/webhooks/"+id+"/rotate-secret", w.user, "")
	require.NotEqual(t, secret, rotated.str("secret"))
	require.NotEmpty(t, rotated.str("old_secret_until"))
	require.NotContains(t, string(w.get("/v1/webhooks").body), "whsec_", "a secret is shown once")
	require.Equal(t, "active", w.do(http.MethodPost, "/v1/webhooks/"+id+"/enable", w.user, "").str("state"))
	require.Equal(t, "deleted", w.do(http.MethodDelete, "/v1/webhooks/"+id, w.user, "").str("state"))
	requireProblem(t, w.get("/v1/webhooks/"+id), fault.NotFound)

	requireProblem(t, w.do(http.MethodPost, "/v1/webhooks", w.user, `{"url":"https://10.0.0.1/"}`), fault.MalformedRequest)
	requireProblem(t, w.do(http.MethodPost, "/v1/webhooks", w.user, `{"uri":"https://a.example/"}`), fault.UnknownField)
	requireProblem(t, w.do(http.MethodPost, "/v1/webhooks", w.key(access.WebhooksRead), `{"url":"https://a.example/"}`), fault.Forbidden)
	for _, bad := range []string{"/v1/webhooks/x", "/v1/webhooks/" + id + "/deliveries/x", "/v1/webhooks/wh_0000000000ZZZ/deliveries"} {
		requireProblem(t, w.get(bad), fault.NotFound)
	}
}

// What operators do about an endpoint, and what takes an admin; each is in the log.
func TestPeopleKeepEndpoints(t *testing.T) {
	t.Parallel()
	c := newCrew(t, map[string]access.Role{"ola": access.Operate, "adam": access.Chief})
	const at = "https://127.0.0.1/x"
	requireProblem(t, c.as("ola", http.MethodPost, "/v1/webhooks", `{"url":"`+at+`"}`), fault.Forbidden)
	made := c.as("adam", http.MethodPost, "/v1/webhooks", `{"url":"`+at+`"}`)
	require.Equal(t, http.StatusCreated, made.StatusCode, string(made.body))
	require.Contains(t, made.str("secret"), "whsec_")
	hook := "/v1/webhooks/" + made.str("id")
	since := `{"since":"` + time.Now().UTC().Add(-time.Hour).Format(time.RFC3339) + `"}`

	requireProblem(t, c.as("ola", http.MethodPost, hook, `{"url":"https://127.0.0.1/z"}`), fault.Forbidden)
	requireProblem(t, c.as("ola", http.MethodPost, hook+"/rotate-secret", ""), fault.Forbidden)
	requireProblem(t, c.as("ola", http.MethodDelete, hook, ""), fault.Forbidden)
	changed := c.as("adam", http.MethodPost, hook, `{"description":"till"}`)
	require.Equal(t, "till", changed.str("description"), string(changed.body))
	require.Equal(t, at, changed.str("url"))
	require.Empty(t, changed.str("secret"))
	require.Contains(t, c.as("adam", http.MethodPost, hook+"/rotate-secret", "").str("secret"), "whsec_")

	require.Equal(t, "true", fmt.Sprint(c.as("ola", http.MethodPost, hook+"/recover", since).json["catching_up"]))
	requireProblem(t, c.as("ola", http.MethodPost, hook+"/recover", `{"since":"2020-01-01T00:00:00Z"}`), fault.MalformedRequest)
	requireProblem(t, c.as("ola", http.MethodPost, hook+"/disable", `{"reason":" "}`), fault.MalformedRequest)
	stopped := c.as("ola", http.MethodPost, hook+"/disable", `{"reason":"their release"}`)
	require.Equal(t, []string{"disabled", "operator ola: their release"}, []string{stopped.str("state"), stopped.str("reason")})
	requireProblem(t, c.as("ola", http.MethodPost, hook+"/recover", since), fault.IllegalTransition)
	require.Equal(t, "active", c.as("ola", http.MethodPost, hook+"/enable", "").str("state"))
	require.Equal(t, "deleted", c.as("adam", http.MethodDelete, hook, "").str("state"))

	deeds := string(c.as("adam", http.MethodGet, "/v1/operators/deeds?limit=100", "").body)
	for _, deed := range []string{"create-webhook", "change-webhook", "rotate-webhook-secret", "recover-webhook", "disable-webhook", "delete-webhook"} {
		require.Contains(t, deeds, deed)
	}
	require.NotContains(t, deeds, "whsec_")
}
