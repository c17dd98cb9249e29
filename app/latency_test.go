package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/signal/logs"
	"github.com/moneta-pay/moneta/doctor/signal/otlp"
	"github.com/moneta-pay/moneta/internal/clock"
)

// TestFromTheSlowestToItsLogLines goes the way from the distribution to one payment, its
// hops and what the log says of it, without a server or a database.
func TestFromTheSlowestToItsLogLines(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), serveLog)
	w := &watch{clock: clock.System, traces: otlp.New(otlp.Config{}), logs: logs.New(logs.Config{File: file, Hop: doctor.HopServe})}
	require.Contains(t, say("en", "latency-nothing"), w.latency("en").Says)

	receiver := httptest.NewServer(w.traces.Handler())
	t.Cleanup(receiver.Close)
	now := time.Now().Add(-time.Minute)
	var spans []string
	for n := range 120 {
		took := 20 * time.Millisecond
		if n == 77 {
			took = 900 * time.Millisecond
		}
		span := func(id, name string, from, took time.Duration) string {
			return fmt.Sprintf(`{"traceId":"%032x","spanId":%q,"name":%q,"startTimeUnixNano":"%d","endTimeUnixNano":"%d","attributes":[
				{"key":"payment","value":{"stringValue":"pay_00000000000%02d"}},{"key":"channel","value":{"stringValue":"bank-ab"}}]}`,
				n+1, id, name, now.Add(from).UnixNano(), now.Add(from+took).UnixNano(), n%100)
		}
		spans = append(spans, span("0000000000000001", "http.request", 0, 5*time.Millisecond), span("0000000000000002", "settle.callback", 5*time.Millisecond+took, time.Millisecond),
			span("0000000000000003", "dispatch.send", 5*time.Millisecond, time.Millisecond))
	}
	body := `{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"` + otlp.OwnService + `"}}]},"scopeSpans":[{"spans":[` + strings.Join(spans, ",") + `]}]}]}`
	resp, err := http.Post(receiver.URL+otlp.Path, "application/json", strings.NewReader(body))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)

	l := w.latency("en")
	require.Equal(t, 120, l.Tail.Traces)
	require.Equal(t, 2, l.Tail.Tail)
	require.Equal(t, "bank-ab", l.Tail.Hops[0].Hop, "the wait for its word: %s", l.Says)
	require.Contains(t, l.Says, "bank-ab")
	require.Equal(t, "pay_0000000000077", l.Tail.Slowest.Payment)
	var out bytes.Buffer
	require.NoError(t, l.print(&out, "", "zh"))
	require.Contains(t, out.String(), "pay_0000000000077")

	trace := l.Tail.Slowest.TraceID
	require.NoError(t, os.WriteFile(file, []byte("time="+now.Format(time.RFC3339Nano)+` level=WARN msg="the bank is slow" channel=bank-ab trace_id=`+trace+"\n"), 0o600))
	_, err = w.logs.Look(t.Context())
	require.NoError(t, err)
	rec := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/traces/"+trace, nil)
	r.SetPathValue("id", trace)
	w.cfg.JaegerURL = "http://jaeger:16686/"
	w.giveTrace(rec, r)
	var look TraceLook
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &look), rec.Body)
	require.Equal(t, "here", look.State)
	require.Equal(t, "bank-ab", look.Waterfall.Slow.Hop)
	require.Equal(t, "http://jaeger:16686/trace/"+trace, look.JaegerURL)
	require.Len(t, look.Logs, 1)
	require.Equal(t, "the bank is slow", look.Logs[0].Message)
	out.Reset()
	require.NoError(t, look.print(&out, "en"))
	require.Contains(t, out.String(), "← slow hop")
	require.Contains(t, out.String(), "the bank is slow channel=bank-ab")

	rec = httptest.NewRecorder()
	r = httptest.NewRequest(http.MethodGet, "/traces/x", nil)
	r.SetPathValue("id", strings.Repeat("ab", 16))
	w.giveTrace(rec, r)
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &look))
	require.Equal(t, "forgotten", look.State)
	require.Contains(t, look.Says, "1h0m0s", "with the bound that made it so")
}

func TestSecondsAreSaidWithTheirUnit(t *testing.T) {
	t.Parallel()
	for s, want := range map[float64]string{0.0000834: "83 µs", 0.0182: "18.2 ms", 0.5: "500 ms", 7.2449: "7.24 s", 12: "12 s", 67.2: "1m7s", 0: "0 µs"} {
		require.Equal(t, want, seconds(s))
	}
}
