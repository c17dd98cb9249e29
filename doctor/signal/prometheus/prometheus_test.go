package prometheus_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/signal/prometheus"
	"github.com/moneta-pay/moneta/internal/clock"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// outside is a Prometheus that gives the answers that it is told, by query.
func outside(t *testing.T, answers map[string]string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/api/v1/query" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		a, ok := answers[r.FormValue("query")]
		if !ok {
			w.WriteHeader(http.StatusBadRequest)
			a = `{"status":"error","errorType":"bad_data","error":"parse error"}`
		}
		_, _ = w.Write([]byte(a))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func vector(series ...string) string {
	return `{"status":"success","data":{"resultType":"vector","result":[` + strings.Join(series, ",") + `]}}`
}

func one(label string, at time.Time, value string) string {
	return fmt.Sprintf(`{"metric":{"svc":%q},"value":[%d.25,%q]}`, label, at.Unix(), value)
}

func collector(t *testing.T, url string, queries ...prometheus.Query) *prometheus.Collector {
	t.Helper()
	c, err := prometheus.New(prometheus.Config{
		URL: url, Clock: clock.NewManual(noon), File: &prometheus.File{Signals: queries, Calls: []doctor.Call{{From: "shop", To: "stock"}}},
	})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func TestWhatAPrometheusKnowsBecomesSignals(t *testing.T) {
	t.Parallel()
	url := outside(t, map[string]string{
		"lat":  vector(one("shop", noon, "0.25")),
		"each": vector(one("shop", noon, "0.5"), one("stock", noon, "0.01"), one("", noon, "1")),
		"up":   fmt.Sprintf(`{"status":"success","data":{"resultType":"scalar","result":[%d,"1"]}}`, noon.Unix()),
	})
	l, err := collector(t, url,
		prometheus.Query{Hop: "shop", Kind: doctor.Service, Signal: doctor.Latency, Statistic: "mean", PromQL: "lat"},
		prometheus.Query{HopLabel: "svc", Kind: doctor.Service, Signal: doctor.Errors, PromQL: "each"},
		prometheus.Query{Hop: "shop", Kind: doctor.Service, Signal: doctor.Up, PromQL: "up"},
	).Look(t.Context())
	require.NoError(t, err)
	require.Len(t, l.Points, 4, "a series without the label is nobody's")
	require.Equal(t, doctor.Point{Hop: "shop", Signal: doctor.Latency, Statistic: "mean", Value: .25, At: noon.Add(250 * time.Millisecond), Source: "lat"}, l.Points[0])
	require.Equal(t, "stock", l.Points[2].Hop)
	require.Equal(t, []doctor.Hop{{Name: "shop", Kind: doctor.Service}, {Name: "stock", Kind: doctor.Service}}, l.Hops)
	require.Len(t, l.Calls, 1)
}

func TestWhatIsMissingIsNeverZero(t *testing.T) {
	t.Parallel()
	url := outside(t, map[string]string{
		"none": vector(), "nan": vector(one("a", noon, "NaN")), "old": vector(one("a", noon.Add(-2*time.Minute), "0")),
		"many":  vector(one("a", noon, "1"), one("b", noon, "1")),
		"range": `{"status":"success","data":{"resultType":"matrix","result":[]}}`,
		"html":  "<html>", "good": vector(one("a", noon, "3")),
	})
	look := func(promql string) (doctor.Look, error) {
		return collector(t, url, prometheus.Query{Hop: "shop", Kind: doctor.Service, Signal: doctor.Rate, PromQL: promql},
			prometheus.Query{Hop: "shop", Kind: doctor.Service, Signal: doctor.Rate, PromQL: "good"}).Look(t.Context())
	}
	for _, quiet := range []string{"none", "nan", "old"} {
		l, err := look(quiet)
		require.NoError(t, err, quiet)
		require.Len(t, l.Points, 1, quiet)
	}
	for bad, says := range map[string]string{"many": "hop_label", "range": "vector or a scalar", "html": "something else", "parse(": "parse error"} {
		l, err := look(bad)
		require.ErrorContains(t, err, says, bad)
		require.Len(t, l.Points, 1, "the other signal is there all the same: %s", bad)
		require.NotEmpty(t, l.Notes)
	}
	_, err := collector(t, "http://127.0.0.1:1", prometheus.Query{Hop: "a", Kind: doctor.Service, Signal: doctor.Rate, PromQL: "x"}).Look(t.Context())
	require.Error(t, err, "nobody there is evidence of its own")
}

func TestTheFileSaysWhatIsWrongWithIt(t *testing.T) {
	t.Parallel()
	good := `{"signals":[{"hop":"shop","kind":"service","signal":"latency","statistic":"mean","promql":"x"}],"calls":[{"from":"a","to":"shop"}]}`
	f, err := prometheus.ReadFile(strings.NewReader(good))
	require.NoError(t, err)
	require.Len(t, f.Signals, 1)
	for was, is := range map[string][2]string{
		`"hop":"shop",`:      {``, "either hop or hop_label"},
		`"kind":"service"`:   {`"kind":"thing"`, "kind"},
		`"signal":"latency"`: {`"signal":"wet"`, "no signal"},
		`"promql":"x"`:       {`"promql":" "`, "promql is missing"},
		`"statistic"`:        {`"quantile"`, "quantile"},
		`"signals"`:          {`"sigs"`, "sigs"},
	} {
		_, err := prometheus.ReadFile(strings.NewReader(strings.Replace(good, was, is[0], 1)))
		require.ErrorContains(t, err, is[1], was)
	}
	_, err = prometheus.ReadFile(strings.NewReader(`{"signals":[]}`))
	require.ErrorContains(t, err, "1 to 200")
	_, err = prometheus.New(prometheus.Config{URL: "prometheus:9090"})
	require.ErrorContains(t, err, "http://127.0.0.1:9090")
}
