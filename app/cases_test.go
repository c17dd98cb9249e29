package app

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/desk"
	"github.com/moneta-pay/moneta/pay/intake"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// TestCaseCommands drives every subcommand against a real edge.
func TestCaseCommands(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t)
	ctx, cancel := context.WithCancel(context.Background())
	node := commit.New(commit.Config{DSN: pool.Config().ConnString(), Logger: slog.New(slog.DiscardHandler)})
	done := make(chan error, 1)
	go func() { done <- node.Run(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-done) })
	require.Eventually(t, node.Leading, 30*time.Second, 2*time.Millisecond)
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{LogOutput: io.Discard})
	require.NoError(t, err)
	keys, accounts := access.NewStore(pool), ledger.NewReader(pool)
	in, err := intake.New(intake.Config{Submitter: node, Accounts: accounts, Originals: commit.NewReader(pool), Channels: []string{"bank-ab"}})
	require.NoError(t, err)
	edge, err := api.New(api.Config{
		Intake: in, Ledger: accounts, Payments: commit.NewReader(pool), Access: keys, Waiter: node,
		Desk: desk.New(desk.Config{Pool: pool, Telemetry: tel}), Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	server := httptest.NewServer(edge)
	t.Cleanup(server.Close)
	tenant, err := keys.CreateTenant(t.Context(), "test")
	require.NoError(t, err)
	admin, _, err := keys.CreateKey(t.Context(), tenant, "t", []access.Scope{access.Admin})
	require.NoError(t, err)

	var out strings.Builder
	d := CaseDesk{API: server.URL + "/", Key: admin, Lang: "en", Out: &out}
	printed := func(err error) string {
		t.Helper()
		require.NoError(t, err)
		defer out.Reset()
		return out.String()
	}
	post := func(path, key, body string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+path, strings.NewReader(body))
		require.NoError(t, err)
		req.Header = http.Header{"Authorization": {"Bearer " + admin}, "Idempotency-Key": {key}}
		resp, err := server.Client().Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusCreated, resp.StatusCode, string(raw))
		return regexp.MustCompile(`"(?:id|number)":"([^"]+)"`).FindStringSubmatch(string(raw))[1]
	}
	require.Equal(t, "No such case.\n", printed(CaseList(t.Context(), d, url.Values{"kind": {""}})))
	from, to := post("/v1/accounts", "a", `{"asset":"CZK","name":"a","kind":"house"}`), post("/v1/accounts", "b", `{"asset":"CZK","name":"b","kind":"user"}`)
	payment := post("/v1/payments", "p", `{"kind":"send","from":"`+from+`","to":"`+to+`","amount":"5","asset":"CZK"}`)
	number := post("/v1/payments/"+payment+"/appeal", "x", `{"text":"where is it?\u001b[2J","client":{"b":"2","a":"1"}}`)

	require.Regexp(t, number+` +appeal +support +\S+ \S+Z +`+payment+` +succeeded`, printed(CaseList(t.Context(), d, url.Values{"limit": {"1"}})))
	shown := printed(CaseShow(t.Context(), d, number))
	require.Regexp(t, `(?s)owner +support.*told +Succeeded 0.05 CZK is in the recipient's account.*device +a=1\n.*device +b=2\n`, shown)
	require.NotContains(t, shown, "\x1b", "what strangers wrote does not steer the terminal")
	require.Regexp(t, `owner +Ana\n +due +20`, printed(CaseAssign(t.Context(), d, strings.ToLower(number), "Ana", time.Hour, "why not")))
	d.Lang = "zh"
	require.Contains(t, printed(CaseNote(t.Context(), d, number, CaseNoteText{Text: "done", ToHolder: true, URL: "file:1"})), "(致持有人)done [file:1]")
	require.Contains(t, printed(CaseJourney(t.Context(), d, payment)), "无渠道参与")
	d.Lang = "en"
	require.Contains(t, printed(CaseClose(t.Context(), d, number, "fine", "")), "resolution  fine")
	err = CaseClose(t.Context(), d, number, "fine", "")
	require.ErrorContains(t, err, "case-closed")
	require.ErrorContains(t, err, "/errors/case-closed")
	d.JSON = true
	require.Contains(t, printed(CaseList(t.Context(), d, url.Values{"state": {"all"}})), `"object":"list"`)
	d.JSON = false
	require.ErrorContains(t, CaseJourney(t.Context(), d, "AAAA-AAAA"), "slip")

	d.Key, d.DataDir = "", t.TempDir()
	require.ErrorContains(t, CaseList(t.Context(), d, nil), "--key")
	d.Key, d.API = admin, "http://127.0.0.1:1"
	require.ErrorContains(t, CaseList(t.Context(), d, nil), "is `moneta serve` up")
}

// TestAnOperatorsNameIsInTheLog of a case, not that of a key.
func TestAnOperatorsNameIsInTheLog(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{LogOutput: io.Discard})
	require.NoError(t, err)
	d := desk.New(desk.Config{Pool: b.pool, Telemetry: tel})
	edge, err := api.New(api.Config{
		Intake: b.in, Ledger: b.accounts, Payments: commit.NewReader(b.pool), Access: access.NewStore(b.pool), Desk: d,
	})
	require.NoError(t, err)
	server := httptest.NewServer(edge)
	t.Cleanup(server.Close)
	a, err := d.Appeal(t.Context(), &desk.AppealRequest{Tenant: pay.TenantID(b.tenant), Payment: pay.Payment{ID: 1}, Key: "k", By: "test"})
	require.NoError(t, err)
	var out strings.Builder
	abe := CaseDesk{API: server.URL, As: b.keep("abe"), Lang: "en", Out: &out}
	require.NoError(t, CaseList(t.Context(), abe, url.Values{"kind": {"appeal"}}))
	require.Contains(t, out.String(), a.Number.String())
	require.NoError(t, CaseNote(t.Context(), abe, a.Number.String(), CaseNoteText{Text: "I look"}))
	require.Contains(t, out.String(), "noted  operator abe  I look")
	abe.As = "nowhere"
	require.ErrorContains(t, CaseList(t.Context(), abe, nil), "moneta operator enrol")
}
