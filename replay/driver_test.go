package replay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/moneta-pay/moneta/money"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"))
}

// village is a file of two accounts: the debit of day one needs that day's
// credits, and account 2 may go below zero.
const village = `trans_id,account_id,date,type,operation,amount,balance,k_symbol,bank,account
r1,1,930101,VYDAJ,PREVOD NA UCET,300.00,700.00,,AB,111
r2,1,930101,PRIJEM,PREVOD Z UCTU,1000.00,1000.00,,CD,222
r3,1,930102,PRIJEM,VKLAD,5.00,705.00,,,0
r4,2,930101,VYBER,VYBER,50.00,-50.00,,,
r5,2,930103,PRIJEM,,0.10,-49.90,UROK,,
r6,2,930104,PRIJEM,PREVOD Z UCTU,100.00,50.10,,AB,333
`

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "village.csv")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func options(t *testing.T, w *world, data string) Options {
	t.Helper()
	m, err := LoadMapping(berkaMapping)
	require.NoError(t, err)
	client := pooledClient(8)
	t.Cleanup(client.CloseIdleConnections)
	return Options{
		Mapping: m, Data: []string{data}, API: w.url, APIKey: "user", AdminKey: "admin", SandboxURL: w.url + "/",
		Workers: 8, RetryFor: 10 * time.Second, FinalWithin: 10 * time.Second, HTTPClient: client,
	}
}

func run(t *testing.T, o Options) *Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := Run(ctx, o)
	require.NoError(t, err)
	return r
}

func TestRunCleanVillage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.payouts = "slow"
	o := options(t, w, writeFile(t, village))
	o.Kills = func() int64 { return 4 }
	r := run(t, o)
	require.Empty(t, r.Problems())
	require.True(t, r.OK())
	require.EqualValues(t, 6, r.Payments)
	require.EqualValues(t, 6, r.Succeeded)
	require.EqualValues(t, 2, r.AccountsExact)
	require.EqualValues(t, 2, r.AccountsWithin)
	require.EqualValues(t, 3, r.Outside.Expected)
	require.EqualValues(t, 3, r.Outside.Effects)
	require.Equal(t, map[string]int64{"late": 2}, r.Breaks)
	require.EqualValues(t, 3, *r.UnknownResolved)
	require.EqualValues(t, 2, *r.DuplicateCallbacks)
	require.Equal(t, "1.5", r.UnexplainedMaxS.String())
	require.EqualValues(t, 4, r.Kills)
	require.Less(t, w.position("r2"), w.position("r1"), "credits first")
	require.Less(t, w.position("r1"), w.position("r3"))
}

// The next row waits for the money before it: without the wait, r1 would be
// refused for lack of funds.
func TestRunHoldsAnAccountBehindAnOpenDeposit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deposits = "never"
	o := options(t, w, writeFile(t, village))
	o.FinalWithin = 300 * time.Millisecond
	r := run(t, o)
	require.False(t, r.OK())
	require.EqualValues(t, 2, r.Open)
	require.EqualValues(t, 2, r.Unsent) // r1 and r3
	require.EqualValues(t, 2, r.Succeeded)
	require.EqualValues(t, 3, r.Lost)
	require.Equal(t, -1, w.position("r1"))
	require.Equal(t, r.Payments, r.Succeeded+r.Failed+r.Open+r.Unsent)
}

func TestRunRepeatsUntilAnswered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.dropAnswer = func(_ string, nth int) bool { return nth == 2 }
	w.refuse = func(row string, nth int) *answer {
		switch {
		case nth == 0:
			return &answer{status: 503, body: "<html>restarting</html>"}
		case nth == 1 && row == "r1":
			return &answer{status: 429, header: http.Header{"Retry-After": {"1"}}, body: `{"code":"overloaded","retry":"after"}`}
		case nth == 1:
			return &answer{status: 409, body: `{"code":"idempotency_in_flight","retry":"safe_same_key"}`}
		}
		return nil
	}
	r := run(t, options(t, w, writeFile(t, village)))
	require.Empty(t, r.Problems())
	require.EqualValues(t, 18, r.Retries)
	require.GreaterOrEqual(t, r.AcceptP99, Thousandths(1_000_000), "Retry-After: 1 is a second or more")
}

// With idempotency switched off, on either side, the report must show it.
func TestRunShowsDoubledWithoutIdempotency(t *testing.T) {
	t.Parallel()
	for _, side := range []string{"server", "client"} {
		t.Run(side, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.dropAnswer = func(row string, nth int) bool { return row == "r1" && nth == 0 }
			o := options(t, w, writeFile(t, village))
			if side == "server" {
				w.noIdempotency = true
			} else {
				o.Key = func(row string, try int) string { return row + strings.Repeat("'", try) }
			}
			r := run(t, o)
			require.EqualValues(t, 1, r.Doubled)
			require.False(t, r.OutsideBooksOK)
			require.Zero(t, r.Lost)
			require.False(t, r.OK())
			require.Len(t, r.Outside.Mismatches, 1)
			require.Equal(t, "r1", r.Outside.Mismatches[0].RowID)
			require.Len(t, r.AccountBreaks, 1, "paid twice, so the balance is off too")
		})
	}
}

func TestRunShowsWhatIsWrongOutside(t *testing.T) {
	t.Parallel()
	t.Run("amount", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.bankAmount = money.Int(1)
		r := run(t, options(t, w, writeFile(t, village)))
		require.EqualValues(t, 3, r.Outside.Wrong)
		require.False(t, r.OutsideBooksOK)
	})
	t.Run("before the run", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.effect("zz", "out", "x", "somebody else", money.Int(5))
		r := run(t, options(t, w, writeFile(t, village)))
		require.True(t, r.OK(), r.Problems())
	})
	t.Run("at another bank", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		o := options(t, w, writeFile(t, village))
		var once sync.Once
		o.ProgressEvery = time.Millisecond
		o.Progress = func(p Progress) {
			if p.Stage == StagePayments {
				once.Do(func() {
					w.mu.Lock()
					defer w.mu.Unlock()
					w.effect("zz", "out", "x", "r3", money.Int(5))
					w.effect("zz", "out", "x", "nobody", money.Int(5))
				})
			}
		}
		r := run(t, o)
		require.EqualValues(t, 1, r.Outside.Stray)
		require.EqualValues(t, 1, r.Outside.Foreign)
		require.False(t, r.OutsideBooksOK)
	})
}

func TestRunRecordsFailedAndRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.payouts = "fail"
	w.refuse = func(row string, _ int) *answer {
		if row == "r3" {
			return &answer{status: 422, body: `{"code":"idempotency_key_reused","detail":"idempotency key has another payload","retry":"never"}`}
		}
		return nil
	}
	r := run(t, options(t, w, writeFile(t, village)))
	require.EqualValues(t, 2, r.Failed)
	require.EqualValues(t, 1, r.Lost, "the file says that r1 moved money")
	require.Contains(t, strings.Join(r.Problems(), "\n"), "start with an empty one")
}

func TestRunCutShortKeepsItsReport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.refuse = func(string, int) *answer { return &answer{status: 500} }
	o := options(t, w, writeFile(t, village))
	o.RetryFor = 200 * time.Millisecond
	r, err := Run(context.Background(), o)
	require.ErrorContains(t, err, "gave up after")
	require.False(t, r.OK())
	require.Contains(t, r.Problems()[0], "cut short")
}

// A replay that was cut short is completed by running it again.
func TestRunAgainCompletesTheRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var broken atomic.Bool
	broken.Store(true)
	w.refuse = func(row string, _ int) *answer {
		if row == "r3" && broken.Load() {
			return &answer{status: 500}
		}
		return nil
	}
	o := options(t, w, writeFile(t, village))
	o.RetryFor = 200 * time.Millisecond
	_, err := Run(context.Background(), o)
	require.Error(t, err)
	broken.Store(false)
	o.RetryFor = 10 * time.Second
	for range 2 {
		r := run(t, o)
		require.Empty(t, r.Problems())
		require.EqualValues(t, 6, r.Succeeded)
	}
}

func TestKeysFitAHeader(t *testing.T) {
	t.Parallel()
	require.Equal(t, "695247", keyOf("695247"))
	for _, odd := range []string{"", "zażółć", `"quoted"`, "a b", strings.Repeat("x", 256)} {
		require.Regexp(t, "^sha256-[0-9a-f]{64}$", keyOf(odd))
	}
}

func TestRunStopsWithItsContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deposits = "never"
	ctx, cancel := context.WithCancel(context.Background())
	o := options(t, w, writeFile(t, village))
	o.ProgressEvery = time.Millisecond
	o.Progress = func(p Progress) {
		if p.Stage == StagePayments && p.Done > 0 {
			cancel()
		}
	}
	_, err := Run(ctx, o)
	require.ErrorIs(t, err, context.Canceled)
}

func TestRunPacesRows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := options(t, w, writeFile(t, village))
	o.Speed = 20
	r := run(t, o)
	require.GreaterOrEqual(t, r.Stages[2].Wall, Thousandths(250), "6 rows at 20 a second start over 250 ms")
	require.LessOrEqual(t, r.PerSecond, Thousandths(24_000))
}

func TestRunBadRowsAreShownAndTheRestRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bad := village + "r6,2,930105,PRIJEM,VKLAD,1.00,51.10,,,\nr7,2,930105,CREDIT,VKLAD,1.00,51.10,,,\nr8,2\nr9,2,931301,PRIJEM,VKLAD,1.00,1,,,\n"
	r := run(t, options(t, w, writeFile(t, bad)))
	require.EqualValues(t, 4, r.BadRows)
	require.EqualValues(t, 6, r.Succeeded)
	require.False(t, r.OK())
	require.Equal(t, []int{8, 9, 10, 11}, []int{r.Bad[0].Line, r.Bad[1].Line, r.Bad[2].Line, r.Bad[3].Line})
	require.Contains(t, r.Bad[0].Reason, "already used")
	require.Contains(t, r.Bad[1].Reason, "sign.credit")
	require.Contains(t, r.Bad[2].Reason, "2 fields")
	require.Contains(t, r.Bad[3].Reason, "YYMMDD")
}

func TestReportReadsWellInBothLanguages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.payouts = "fail"
	r := run(t, options(t, w, writeFile(t, village)))
	for lang, want := range map[string][]string{
		"en":    {"6 payments on 2 accounts", "within 1.00 CZK", "NOT EVERYTHING FITS", "1 payments failed"},
		"zh-CN": {"6 笔支付", "差额不超过 1.00 CZK", "存在不符", "1 笔支付失败"},
	} {
		var out bytes.Buffer
		require.NoError(t, r.WriteScreen(&out, lang))
		for _, s := range want {
			require.Contains(t, out.String(), s)
		}
		require.NotContains(t, out.String(), "%!")
	}
	require.ErrorIs(t, r.WriteScreen(brokenWriter{}, "en"), errBroken)
}

var errBroken = errors.New("broken pipe")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestProgressLine(t *testing.T) {
	t.Parallel()
	p := Progress{Stage: StagePayments, Done: 14_100, Total: 28_205, PerSecond: 1_410, ETA: 10 * time.Second, Retries: 3, Failed: 1}
	require.Equal(t, "sending payments  [###########.............]  14,100/28,205  1,410/s  10s left  3 repeated  1 failed", p.Line("en"))
	require.Equal(t, "读取文件", Progress{Stage: StagePlan}.Line("zh"))
}

func TestReportNamesItsFigures(t *testing.T) {
	t.Parallel()
	r := run(t, options(t, newWorld(t), writeFile(t, village)))
	raw, err := r.JSON()
	require.NoError(t, err)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(raw, &fields))
	for _, name := range []string{
		"payments", "succeeded", "failed", "open", "doubled", "lost", "ledger_sum_zero",
		"outside_books_match", "accounts", "accounts_exact", "accounts_within_1_unit", "breaks", "unknown_resolved",
		"duplicate_callbacks", "kills", "unexplained_max_s", "per_second", "accept_p50_ms", "accept_p99_ms",
		"time_to_final_p99_ms", "wall_s",
	} {
		require.Contains(t, fields, name)
		require.NotNil(t, fields[name], name)
	}
	var back Report
	require.NoError(t, json.Unmarshal(raw, &back))
	require.Equal(t, r.Wall, back.Wall)
}

func TestOptionsSayWhatIsMissing(t *testing.T) {
	t.Parallel()
	m, err := LoadMapping(berkaMapping)
	require.NoError(t, err)
	good := Options{Mapping: m, Data: []string{berkaData}, API: "http://127.0.0.1:1", APIKey: "k"}
	for want, change := range map[string]func(*Options){
		"no mapping":      func(o *Options) { o.Mapping = nil },
		"no data file":    func(o *Options) { o.Data = nil },
		"is not an http":  func(o *Options) { o.API = "localhost:80" },
		"no API key":      func(o *Options) { o.APIKey = "" },
		"not be negative": func(o *Options) { o.Speed = -1 },
		"no sandbox URL":  func(*Options) {},
		"open data":       func(o *Options) { o.Data = []string{"missing.csv"} },
	} {
		o := good
		change(&o)
		_, err := Run(context.Background(), o)
		require.ErrorContains(t, err, want)
	}
}
