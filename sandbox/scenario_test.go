package sandbox_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/sandbox"
)

func TestScenarioByPaymentsAndTime(t *testing.T) {
	t.Parallel()
	clk := clock.NewManual(noon)
	w := start(t, sandbox.Config{Clock: clk, Banks: []string{"AB", "CD"}})
	w.pay("before", "5") // what came before the start does not count
	status, answer := w.call(http.MethodPost, "/scenario", `
name: three steps
steps:
  - {after_payments: 2, bank: AB, behaviour: {decline: {probability: 1, reason: closed}, mode: sync}}
  - {at: 10s, bank: "*", behaviour: {fee: "7"}, note: everybody}
  - {at: 20s, bank: ab, honest: true}
`)
	require.Equal(t, http.StatusOK, status, answer)
	_, first := w.pay("one", "5")
	require.Contains(t, first, "accepted")
	_, second := w.pay("two", "5")
	require.Contains(t, second, "declined", "the step is done before the payment that reached it is answered")

	done := func() int {
		var state struct{ Done int }
		w.get("/scenario", &state)
		return state.Done
	}
	require.Equal(t, 1, done())
	clk.Advance(11 * time.Second)
	status, _ = w.call(http.MethodGet, "/scenario", "")
	require.Equal(t, http.StatusOK, status)
	require.NoError(t, w.server.Tick(context.Background()))
	require.Equal(t, 2, done())
	for _, bank := range []string{"ab", "cd"} {
		var how sandbox.Behaviour
		w.get("/banks/"+bank+"/behaviour", &how)
		require.Equal(t, "7", how.Fee.String())
	}
	clk.Advance(10 * time.Second)
	require.NoError(t, w.server.Tick(context.Background()))
	var how sandbox.Behaviour
	w.get("/banks/ab/behaviour", &how)
	require.Equal(t, sandbox.DefaultBehaviour(), how)
	status, _ = w.call(http.MethodDelete, "/scenario", "")
	require.Equal(t, http.StatusOK, status)
	require.Zero(t, done())
}

func TestScenarioMistakesAreNamed(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.Config{})
	for raw, says := range map[string]string{
		`{`:                                  "neither YAML nor JSON",
		`name: x`:                            "1 to 1000 steps",
		`{"steps":[]}`:                       "needs a name",
		`{"name":"x","stepz":[]}`:            `unknown field \"stepz\"`,
		`name: x` + step(`bank: ab`):         "step 1: write at",
		`name: x` + step(`at: 1s, bank: ab`): "step 1: it changes nothing",
		`name: x` + step(`at: 1, bank: ab`):  "does not fit",
		`name: x` + step(`at: -1s, bank: ab, honest: true`):                                   "not a duration",
		`name: x` + step(`at: 1s, after_payments: 2, bank: ab, honest: true`):                 "not both",
		`name: x` + step(`at: 1s, bank: zz, honest: true`):                                    "does not play bank",
		`name: x` + step(`at: 1s, bank: ab, behaviour: {lose_reply: 2}`):                      "lose_reply: must be from 0 to 1",
		`name: x` + step(`at: 1s, bank: ab, behaviour: {lost: 1}`):                            "unknown field",
		`name: x` + step(`at: 1s, bank: ab, behaviour: {maintenance: {from: "22:00"}}`):       "maintenance: from and until",
		`name: x` + step(`at: 1s, bank: ab, behaviour: {rate_limit: {requests: 5}}`):          "rate_limit: needs",
		`name: x` + step(`at: 1s, bank: ab, behaviour: {clock_skew_ms: 999999999999}`):        "clock_skew_ms",
		`name: x` + step(`at: 1s, bank: ab, honest: true`) + "\n  - {bank: ab, honest: true}": "step 2",
	} {
		status, answer := w.call(http.MethodPost, "/scenario", raw)
		require.Equal(t, http.StatusBadRequest, status, raw)
		require.Contains(t, answer, says, raw)
	}
}

func step(fields string) string { return fmt.Sprintf("\nsteps:\n  - {%s}", fields) }

// Every example in the tree can be played by a sandbox with the usual banks.
func TestExamplesPlay(t *testing.T) {
	t.Parallel()
	found, err := filepath.Glob("../examples/scenarios/*")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(found), 4)
	w := start(t, sandbox.Config{Banks: sandbox.DefaultBanks()})
	for _, file := range found {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		scenario, err := sandbox.ReadScenario(raw)
		require.NoError(t, err, file)
		require.NoError(t, w.server.StartScenario(scenario), file)
	}
}

func FuzzReadScenario(f *testing.F) {
	for _, seed := range []string{"", "name: x", "name: x" + step("at: 1s, bank: ab, honest: true"), `{"name":"x","steps":[{"at":"1s","bank":"*","behaviour":{"fee":"1"}}]}`, "a: &a [*a]", "? {a: 1}\n: 2"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := sandbox.ReadScenario(raw)
		if err == nil && (s.Name == "" || len(s.Steps) == 0) {
			t.Fatalf("%q was accepted without a name or steps", raw)
		}
	})
}
