package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/catalog"
	"github.com/moneta-pay/moneta/doctor/diagnose"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/intake"
)

// triaged asks about one payment and returns what a machine and a person read, and the
// exit code.
func (b *bureau) triaged(id pay.ID, dataDir string) (Triage, string, int) {
	b.t.Helper()
	var asJSON, en, zh bytes.Buffer
	ask := func(c DiagnoseConfig) int {
		c.Database, c.Payment = Database{DSN: b.pool.Config().ConnString(), DataDir: dataDir}, id.String()
		err := Diagnose(b.t.Context(), c)
		var exit *ExitError
		if errors.As(err, &exit) {
			return exit.Code
		}
		require.NoError(b.t, err)
		return 0
	}
	code := ask(DiagnoseConfig{JSON: true, Out: &asJSON})
	require.Equal(b.t, code, ask(DiagnoseConfig{Lang: "en", Out: &en}))
	require.Equal(b.t, code, ask(DiagnoseConfig{Lang: "zh", Out: &zh}))
	var out Triage
	require.NoError(b.t, json.Unmarshal(asJSON.Bytes(), &out))
	require.Len(b.t, out.Questions, 12)
	for i, q := range out.Questions {
		require.Equal(b.t, i+1, q.N)
		require.NotEmpty(b.t, q.Answer)
		require.NotEmpty(b.t, q.Source)
	}
	require.NotContains(b.t, en.String()+zh.String(), "%!", "a sentence lost an argument")
	require.Contains(b.t, zh.String(), "客户端提交了吗")
	return out, en.String(), code
}

// codes are the answers for machines, from the first question on.
func codes(t Triage) (out []string) {
	for _, q := range t.Questions {
		out = append(out, q.Code)
	}
	return out
}

func TestTriageAnswersFromTheFactsAlone(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	from, to := b.open(), b.open()
	b.setFloor(from, "-100000")
	res, err := b.in.Accept(t.Context(), &intake.Request{
		Tenant: pay.TenantID(b.tenant), Key: rand16(), Kind: "send", Amount: "500", Asset: "CZK", From: from, To: to,
	})
	require.NoError(t, err)
	out, text, code := b.triaged(res.Payment.ID, t.TempDir())
	require.Equal(t, 0, code, text)
	require.Equal(t, "final", out.Verdict)
	require.False(t, out.Watch)
	require.Equal(t, []string{"submitted", "durable", "needs-none", "not-asked", "single", "moved"}, codes(out)[1:7])
	require.Equal(t, []string{"nothing-next", "unchanged", "at-once", "no-watch"}, codes(out)[8:])
	require.Contains(t, out.Questions[6].Answer, from+" -500")
	require.Equal(t, "both", codes(out)[7], "nobody is told late where no endpoint is")
	_, err = b.pool.Exec(t.Context(), `insert into webhook_endpoints (tenant, url, secret) values ($1, 'https://x.example', '')`, b.tenant)
	require.NoError(t, err)
	out, _, _ = b.triaged(res.Payment.ID, t.TempDir())
	require.Equal(t, "both", codes(out)[7], "who is to be told has not been told yet, and that is not late")
	_, err = b.pool.Exec(t.Context(), `alter table transitions disable trigger user; update transitions set at = at - interval '2 minutes'; alter table transitions enable trigger user`)
	require.NoError(t, err)
	out, _, _ = b.triaged(res.Payment.ID, t.TempDir())
	require.Equal(t, "display", codes(out)[7])
	_, err = b.pool.Exec(t.Context(), `delete from webhook_endpoints`)
	require.NoError(t, err)

	// A payout that nobody sends: this bureau has no dispatch.
	res, err = b.in.Accept(t.Context(), &intake.Request{
		Tenant: pay.TenantID(b.tenant), Key: rand16(), Kind: "payout", Amount: "700", Asset: "CZK", From: from, Channel: "bank-ab", PayeeAccount: "123456", PayeeName: "Jan",
	})
	require.NoError(t, err)
	out, text, code = b.triaged(res.Payment.ID, t.TempDir())
	require.Equal(t, 0, code, text)
	require.Equal(t, "on_time", out.Verdict)
	require.Equal(t, "not-sent", out.Questions[3].Code)
	require.Equal(t, "looked-at", out.Questions[8].Code)
	require.Equal(t, "waits", out.Questions[10].Code)
	require.Contains(t, out.Questions[6].Answer, ":held 700")

	// Past its deadline it needs somebody, and the exit code says so.
	_, err = b.pool.Exec(t.Context(), `update open_payments set deadline = now() - interval '1 minute', next_at = now() - interval '1 minute' where payment = $1`, int64(res.Payment.ID))
	require.NoError(t, err)
	out, text, code = b.triaged(res.Payment.ID, t.TempDir())
	require.Equal(t, ExitWrong, code, text)
	require.Equal(t, "late", out.Verdict)
	require.Equal(t, "orphan", out.Questions[8].Code)
	require.Contains(t, text, "a bug of ours")

	// What nobody knows is not taken for fine.
	out, _, code = b.triaged(pay.ID(424242), t.TempDir())
	require.Equal(t, ExitUnclear, code)
	require.Equal(t, "not_found", out.Verdict)
	require.Equal(t, "no-row", out.Questions[1].Code)
	require.Equal(t, "no-row", out.Questions[3].Code)
	require.ErrorContains(t, Diagnose(t.Context(), DiagnoseConfig{Payment: "pay_x"}), "13 letters")
}

// watchOver plays a running watch with this evidence.
func watchOver(t *testing.T, e *doctor.Evidence) (dataDir string) {
	t.Helper()
	a, err := diagnose.Diagnose(e, catalog.All()...)
	require.NoError(t, err)
	mux := http.NewServeMux()
	reply := func(v func(w http.ResponseWriter) error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer secret" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			_ = v(w)
		}
	}
	mux.HandleFunc("GET /now", reply(func(w http.ResponseWriter) error {
		return json.NewEncoder(w).Encode(watchNow{At: e.TakenAt, Alarms: e.Alarms, Answer: a, Incident: "inc-1", Stage: doctor.Detected})
	}))
	mux.HandleFunc("GET /evidence", reply(func(w http.ResponseWriter) error { return e.Write(w) }))
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	dataDir = t.TempDir()
	note, err := json.Marshal(watching{URL: s.URL, Token: "secret"})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dataDir, watchFile), note, 0o600))
	return dataDir
}

// jam is a database with a session that holds a lock in a transaction and does nothing.
func jam() *doctor.Evidence {
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	hops, calls := doctor.Road("bank-ab")
	e := &doctor.Evidence{
		Version: doctor.EvidenceVersion, TakenAt: at, Since: at.Add(-30 * time.Second), Hops: hops, Calls: calls,
		Symptom: doctor.Symptom{Hop: doctor.HopDecider, Signal: doctor.Standstill},
		Alarms: []doctor.Alarm{{
			Rule: doctor.Progress, Hop: doctor.HopDecider, Signal: doctor.Standstill, Page: true, Since: at.Add(-25 * time.Second), Says: "nothing left for 25 s",
		}},
	}
	read := func(hop string, s doctor.Signal, before, now float64, detail map[string]string) {
		e.Readings = append(e.Readings, doctor.Reading{
			Hop: hop, Signal: s, Source: "select", StepS: 1, Newest: &at, Last: now, Detail: detail,
			Before: doctor.Sample{From: at.Add(-time.Minute), Until: e.Since, N: 30, Value: before},
			During: doctor.Sample{From: e.Since, Until: at, N: 30, Value: now},
		})
	}
	read(doctor.HopPostgres, doctor.PGRootIdle, 0, 34, map[string]string{"pid": "4711", "since": "2026-01-31T11:00:00Z", "application": "psql", "waiters": "9", "state": "idle in transaction"})
	read(doctor.HopPostgres, doctor.LockWaiters, 0, 9, nil)
	read(doctor.HopDecider, doctor.Standstill, 0, 25, nil)
	return e
}

func TestDiagnoseNowAsksTheWatch(t *testing.T) {
	t.Parallel()
	dir := watchOver(t, jam())
	saved := filepath.Join(t.TempDir(), "evidence.json")
	var text, zh, asJSON, again bytes.Buffer
	var exit *ExitError
	here := Database{DataDir: dir}
	require.ErrorAs(t, Diagnose(t.Context(), DiagnoseConfig{Database: here, Out: &text, Save: saved}), &exit)
	require.Equal(t, ExitWrong, exit.Code)
	require.True(t, strings.HasPrefix(text.String(), "Incident inc-1, detected.\nPaged: X2 at decider: nothing left for 25 s"), text.String())
	require.Contains(t, text.String(), "session 4711 (psql) has been idle in its transaction for 34 s")
	require.ErrorAs(t, Diagnose(t.Context(), DiagnoseConfig{Database: here, Out: &zh, Lang: "zh"}), &exit)
	require.Contains(t, zh.String(), "会话 4711(psql)")
	require.ErrorAs(t, Diagnose(t.Context(), DiagnoseConfig{Database: here, Out: &asJSON, JSON: true}), &exit)
	require.NoError(t, Diagnose(t.Context(), DiagnoseConfig{Replay: saved, Out: &again, JSON: true}))
	require.Equal(t, asJSON.String(), again.String(), "the stored evidence gives another answer")

	// A note that outlived its watch is no watch.
	require.NoError(t, os.WriteFile(filepath.Join(dir, watchFile), []byte(`{"url":"http://127.0.0.1:1","token":"secret"}`), 0o600))
	err := Diagnose(t.Context(), DiagnoseConfig{Database: here, Out: &text})
	require.ErrorAs(t, err, &exit)
	require.Equal(t, ExitUnclear, exit.Code)
	require.ErrorContains(t, err, "moneta up")
}

func TestTriageCarriesTheWatchsAnswer(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	from, to := b.open(), b.open()
	b.setFloor(from, "-100000")
	res, err := b.in.Accept(t.Context(), &intake.Request{
		Tenant: pay.TenantID(b.tenant), Key: rand16(), Kind: "send", Amount: "500", Asset: "CZK", From: from, To: to,
	})
	require.NoError(t, err)
	out, text, code := b.triaged(res.Payment.ID, watchOver(t, jam()))
	require.Equal(t, 0, code)
	require.True(t, out.Watch)
	require.NotNil(t, out.Answer)
	require.Equal(t, "check", out.Questions[11].Code)
	require.Contains(t, text, "On the road now: postgres")
}

// Where nothing is wrong, a difference between people is nobody's harm.
func TestNobodyIsAffectedByNoFault(t *testing.T) {
	t.Parallel()
	scope := doctor.Scope{Class: "cohort", Low: 0.26, High: 0.3, Code: "cohort", Args: []string{"app", "x"}}
	for verdict, want := range map[doctor.Verdict]string{doctor.NoFault: "nobody", doctor.CauseFound: "scope"} {
		tr := triage{lang: "en", out: Triage{Answer: &doctor.Answer{Verdict: verdict, Scope: scope}}}
		var q Question
		tr.who(&q)
		require.Equal(t, want, q.Code)
	}
}
