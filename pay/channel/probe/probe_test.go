package probe_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/channel/probe"
	rail "github.com/moneta-pay/moneta/pay/channel/sandbox"
	"github.com/moneta-pay/moneta/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quick claims what the sandbox keeps, in times that suit a test.
func quick() channel.Capabilities {
	c := rail.DefaultCapabilities()
	c.ClientTimeout, c.VisibilityDelay, c.SendWindow = 700*time.Millisecond, 300*time.Millisecond, 300*time.Millisecond
	c.StatementWithin, c.FinalBound = time.Second, 3*time.Second
	return c
}

// bank is a live sandbox that behaves as told, at its test endpoint.
type bank struct {
	t   *testing.T
	url string
}

func open(t *testing.T, how string) bank {
	t.Helper()
	server, err := sandbox.New(sandbox.Config{Banks: []string{"AB"}, Secret: "s"})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { _ = server.Run(ctx) })
	web := httptest.NewServer(server.Handler())
	t.Cleanup(func() {
		cancel()
		run.Wait()
		require.NoError(t, server.Close())
		web.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	b := bank{t, web.URL}
	b.call(t.Context(), http.MethodPut, "/banks/ab/behaviour", how)
	return b
}

func (b bank) call(ctx context.Context, method, path, body string) []byte {
	req, err := http.NewRequestWithContext(ctx, method, b.url+path, strings.NewReader(body))
	require.NoError(b.t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(b.t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	require.NoError(b.t, err)
	require.Less(b.t, resp.StatusCode, 300, string(answer))
	return answer
}

func (b bank) target(caps channel.Capabilities) probe.Target {
	b.t.Helper()
	ch, err := rail.New(rail.Config{BaseURL: b.url + "/test", Bank: "ab", Secrets: []string{"s"}, Capabilities: caps})
	require.NoError(b.t, err)
	b.t.Cleanup(ch.Close)
	return probe.Target{
		Channel: ch, Asset: "CZK", Run: "t1", Watch: time.Second, Patience: 4 * time.Second,
		Truth: func(ctx context.Context) ([]probe.Effect, error) {
			var books struct {
				Effects []struct {
					Direction, Reference string
					Amount               money.Amount
				}
			}
			err := json.Unmarshal(b.call(ctx, http.MethodGet, "/test/banks/ab/books?limit=5000", ""), &books)
			var out []probe.Effect
			for _, e := range books.Effects {
				d := channel.Out
				if e.Direction == "in" {
					d = channel.In
				}
				out = append(out, probe.Effect{Direction: d, Reference: e.Reference, Amount: e.Amount})
			}
			return out, err
		},
		Credit: func(ctx context.Context, reference, account string, amount money.Amount) error {
			b.call(ctx, http.MethodPost, "/test/banks/ab/instructions",
				fmt.Sprintf(`{"reference":%q,"amount":%q,"asset":"CZK","from_account":%q}`, reference, amount, account))
			return nil
		},
	}
}

func TestAnHonestChannelProvesAllItClaims(t *testing.T) {
	t.Parallel()
	b := open(t, `{"latency":{"probability":1,"min_ms":5,"max_ms":20}}`)
	report, err := probe.Run(t.Context(), b.target(quick()))
	require.NoError(t, err)
	require.Len(t, report.Findings, 9)
	for _, f := range report.Findings {
		require.Equal(t, probe.Proven, f.Status, "%s: %s", f.Capability, f.Detail)
		require.NotEmpty(t, f.Detail)
	}
	require.Equal(t, "sandbox/2", report.Adapter)

	// The statement alone is enough where nobody can see the rail's own record.
	target := b.target(quick())
	target.Truth, target.Credit, target.Run = nil, nil, "t2"
	report, err = probe.Run(t.Context(), target)
	require.NoError(t, err)
	require.Empty(t, report.Failed())
	require.Equal(t, probe.Proven, report.Finding(probe.Dedup).Status)
	require.Equal(t, probe.NotShown, report.Finding(probe.Refund).Status, "what was not put to the test is not proven")
}

// A channel that lies about one capability is found out, by the name of that
// capability; what else it claims is judged for itself.
func TestEveryLieIsFoundOut(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		how   string
		finds probe.Capability
		also  []probe.Capability // which the same lie may break as well
	}{
		"executes a reference twice":    {`{"dedup":false}`, probe.Dedup, nil},
		"forgets references":            {`{"dedup_window_ms":300}`, probe.Dedup, nil},
		"tells of another payment":      {`{"query_other":1}`, probe.Query, []probe.Capability{probe.Final, probe.Visibility}},
		"hides what it executed":        {`{"query_lag_ms":6000}`, probe.Visibility, []probe.Capability{probe.Query, probe.NotFound}},
		"executes what it did not find": {`{"ghost":{"probability":1,"min_ms":1700,"max_ms":2000}}`, probe.NotFound, nil},
		"answers fewer queries":         {`{"query_budget":{"requests":20,"window_ms":60000}}`, probe.Budget, []probe.Capability{probe.Query, probe.Visibility}},
		"ignores cancellations":         {`{"cancel_ignored":1,"execute_delay":{"probability":1,"min_ms":400,"max_ms":400}}`, probe.Cancel, nil},
		"leaves lines out":              {`{"statement_omit":1}`, probe.Statement, nil},
		"states twice":                  {`{"statement_duplicate":1}`, probe.Statement, nil},
		"states other amounts":          {`{"statement_wrong_amount":1}`, probe.Statement, nil},
		"declines and executes":         {`{"reply_lies":1}`, probe.Final, []probe.Capability{probe.Refund}},
		"answers declined for executed": {`{"query_lies":1}`, probe.Final, nil},
		"takes money and no way back":   {`{"refund_refused":1,"mode":"sync"}`, probe.Refund, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := open(t, c.how)
			target := b.target(quick())
			report, err := probe.Run(t.Context(), target)
			// A machine that stands still for as long as an order may be sent shows nothing.
			for again := 2; err == nil && again < 8 && report.Finding(c.finds).Status == probe.NotShown; again++ {
				target.Run = fmt.Sprintf("t%d", again)
				report, err = probe.Run(t.Context(), target)
			}
			require.NoError(t, err)
			f := report.Finding(c.finds)
			require.Equal(t, probe.Failed, f.Status, "%s: %s; all: %+v", c.finds, f.Detail, report.Findings)
			require.NotEmpty(t, f.Detail)
			for _, failed := range report.Failed() {
				if failed != c.finds {
					require.Contains(t, c.also, failed, "%s: %s", failed, report.Finding(failed).Detail)
				}
			}
		})
	}
}

// A run that is broken off knows what it saw before, and takes what it cut short for
// nothing: a channel cannot answer a question that was taken back.
func TestARunThatIsBrokenOffTellsOnlyTheLiesThatItSaw(t *testing.T) {
	t.Parallel()
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		b := open(t, `{"latency":{"probability":1,"min_ms":400,"max_ms":400}}`)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		target := b.target(quick())
		target.Truth, target.Credit = nil, nil
		target.Channel = &breaks{target.Channel, cancel}
		report, err := probe.Run(ctx, target)
		require.ErrorIs(t, err, context.Canceled)
		require.Empty(t, report.Failed(), "%+v", report.Findings)
		require.Empty(t, report.Broken().Findings)
		for _, f := range report.Findings {
			require.Equal(t, probe.NotShown, f.Status, "%s: %s", f.Capability, f.Detail)
		}
	})
	t.Run("one", func(t *testing.T) {
		t.Parallel()
		b := open(t, `{"dedup":false}`)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		target := b.target(quick())
		target.Truth, target.Credit = nil, nil
		target.Progress = func(f probe.Finding) {
			if f.Capability == probe.Dedup {
				cancel()
			}
		}
		report, err := probe.Run(ctx, target)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, []probe.Capability{probe.Dedup}, report.Failed())
		kept := report.Broken()
		require.Len(t, kept.Findings, 1)
		require.Equal(t, report.Contract, kept.Contract)
	})
}

// breaks has the run broken off while it waits for the word on a cancellation.
type breaks struct {
	channel.Channel
	cancel context.CancelFunc
}

func (b *breaks) Cancel(ctx context.Context, reference string) channel.Word {
	b.cancel()
	return b.Channel.(channel.Canceller).Cancel(ctx, reference)
}

func TestWhatIsNotClaimedIsNotTested(t *testing.T) {
	t.Parallel()
	caps := quick()
	caps.DedupByReference, caps.Cancel, caps.Refund, caps.NotFoundMeansNever, caps.StatementWithin = false, false, false, false, 0
	b := open(t, `{"dedup":false}`)
	report, err := probe.Run(t.Context(), b.target(caps))
	require.NoError(t, err)
	require.Empty(t, report.Failed(), "a channel that does not claim it does not lie")
	require.Equal(t, probe.NotClaimed, report.Finding(probe.Dedup).Status)
	require.NotEqual(t, probe.Contract(quick()), probe.Contract(caps), "a proof holds for one contract")
}

func TestARunThatCannotBeMadeIsAnError(t *testing.T) {
	t.Parallel()
	b := open(t, `{}`)
	target := b.target(quick())
	target.Run = ""
	_, err := probe.Run(t.Context(), target)
	require.ErrorContains(t, err, "Run needs")
	b.call(t.Context(), http.MethodPut, "/banks/ab/behaviour", `{"maintenance":{"from":"2020-01-01T00:00:00Z","until":"2999-01-01T00:00:00Z"}}`)
	target = b.target(quick())
	_, err = probe.Run(t.Context(), target)
	require.ErrorContains(t, err, "statement")
}
