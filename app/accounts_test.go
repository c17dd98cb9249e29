package app

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/invariant"
)

// What the console's screens of the books read, the commands read too: over the API, in
// both languages, exact.
func TestBookCommands(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	ctx := t.Context()
	keys := access.NewStore(b.pool)
	edge, err := api.New(api.Config{
		Intake: b.in, Ledger: b.accounts, Payments: commit.NewReader(b.pool), Access: keys, Recon: b.breaks, Logger: slog.New(slog.DiscardHandler),
		Invariants: invariant.NewReader(b.pool),
	})
	require.NoError(t, err)
	server := httptest.NewServer(edge)
	t.Cleanup(server.Close)
	key, _, err := keys.CreateKey(ctx, b.tenant, "t", []access.Scope{access.Admin, access.Installation, access.PaymentsWrite, access.AccountsWrite, access.AccountsRead})
	require.NoError(t, err)

	var out strings.Builder
	d := CaseDesk{API: server.URL, Key: key, Lang: "en", Out: &out}
	printed := func(err error) string {
		t.Helper()
		require.NoError(t, err)
		defer out.Reset()
		return out.String()
	}
	from, to := b.open(), b.open()
	b.setFloor(from, "-5000")
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/v1/payments",
		strings.NewReader(`{"kind":"send","from":"`+from+`","to":"`+to+`","amount":"1234","asset":"CZK","remittance":"rent"}`))
	require.NoError(t, err)
	req.Header = http.Header{"Authorization": {"Bearer " + key}, "Idempotency-Key": {"one"}}
	resp, err := server.Client().Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusCreated, resp.StatusCode)
	past := "2020-01-31"
	atPast, err := Instant("--as-of", past)
	require.NoError(t, err)

	require.Equal(t, "No such account.\n", printed(AccountList(ctx, d, url.Values{"name": {"nobody"}, "asset": {""}})))
	list := printed(AccountList(ctx, d, url.Values{"balances": {"now"}, "limit": {"1"}}))
	require.Regexp(t, from+` +user +-12.34 CZK +0.00 CZK +active`, list)
	require.Contains(t, list, "There are more: --after")
	require.Regexp(t, from+` +user +0.00 CZK +0.00 CZK`, printed(AccountList(ctx, d, url.Values{"balances": {atPast}})), "before it was opened it had nothing")

	require.Regexp(t, `(?s)`+to+`  user  active.*available +12.34 CZK.*as of +\S+ \S+Z \(booking\)`, printed(AccountShow(ctx, d, to, url.Values{"as_of": {""}, "by": {"booking"}})))
	require.Regexp(t, `available +0.00 CZK`, printed(AccountShow(ctx, d, to, url.Values{"as_of": {atPast}})))
	postings := printed(AccountPostings(ctx, d, to, url.Values{"direction": {"in"}}))
	require.Regexp(t, `12.34 CZK +12.34 CZK +`+from+` +pay_\S+ +send`, postings)
	require.Equal(t, "No posting.\n", printed(AccountPostings(ctx, d, to, url.Values{"direction": {"out"}})))
	now := time.Now().UTC()
	curve := printed(AccountCurve(ctx, d, to, url.Values{"from": {now.Add(-time.Hour).Format(time.RFC3339)}, "to": {now.Add(time.Hour).Format(time.RFC3339)}, "points": {"2"}}))
	require.Regexp(t, `(?s)0.00 CZK +0.00 CZK\n.*12.34 CZK +0.00 CZK\n`, curve)

	journal := printed(TransferList(ctx, d, nil))
	require.Regexp(t, `12.34 CZK +`+from+` +- +`+to+` +- +pay_`, journal)
	place := regexp.MustCompile(`Z +(\d+) +12.34`).FindStringSubmatch(journal)
	require.NotNil(t, place, journal)
	id, err := strconv.ParseInt(place[1], 10, 64)
	require.NoError(t, err)
	require.Regexp(t, `(?s)#`+place[1]+`  12.34 CZK.*from  `+from+` , available: -12.34 CZK after it\n  to    `+to+` , available: 12.34 CZK`, printed(TransferShow(ctx, d, id)))
	require.Equal(t, "No posting.\n", printed(TransferList(ctx, d, url.Values{"as_of": {atPast}})))

	unknown := func(why string) string {
		t.Helper()
		defer out.Reset()
		var exit *ExitError
		require.ErrorAs(t, InvariantList(ctx, d), &exit)
		require.Equal(t, ExitUnproved, exit.Code, "what nobody has asked is not known to hold")
		require.Contains(t, exit.Message, why)
		return out.String()
	}
	require.Regexp(t, `(?s)No turn of the checks has ended yet.*P1 +0 +0 .*CZK: all books sum to 0.00 CZK over 2 accounts`, unknown("no turn"))
	turned := func(ago time.Duration) {
		t.Helper()
		_, err := b.pool.Exec(ctx, `insert into marks (name, value) values ('invariant_turned_ms', (extract(epoch from clock_timestamp()) * 1000)::bigint - $1) on conflict (name) do update set value = excluded.value`, ago.Milliseconds())
		require.NoError(t, err)
	}
	turned(48 * time.Hour)
	require.Contains(t, unknown("172"), "s ago")
	turned(0)
	require.Contains(t, printed(InvariantList(ctx, d)), "All asked at")
	d.Lang = "zh"
	require.Contains(t, printed(AccountShow(ctx, d, to, nil)), "可用      12.34 CZK")
	require.Contains(t, printed(TransferShow(ctx, d, id)), "此后余额 12.34 CZK")
	require.Contains(t, printed(InvariantList(ctx, d)), "全部检查于")
	turned(48 * time.Hour)
	require.Contains(t, unknown("距今"), "全部检查于")
	d.JSON = true
	require.Contains(t, printed(AccountShow(ctx, d, to, nil)), `"available": "1234"`)
	require.Contains(t, printed(AccountPostings(ctx, d, to, nil)), `"amount":"1234"`)
	require.Contains(t, printed(TransferShow(ctx, d, id)), `"object":"transfer"`)
	require.ErrorContains(t, AccountShow(ctx, d, "acct_0000000000000", nil), "not-found")
}

// A break is shown with both sides and what would heal it, and one that must not be is an
// exit code.
func TestReconShowsABreak(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	ctx := t.Context()
	var id int64
	require.NoError(t, b.pool.QueryRow(ctx, `insert into breaks (class, channel, reference, asset, amount, detail) values ('amount_mismatch', 'bank-ab', 'r1', 'CZK', 712, 'seen twice') returning id`).Scan(&id))
	var out strings.Builder
	c := ReconConfig{Database: Database{DSN: b.pool.Config().ConnString()}, Lang: "en", Out: &out}
	require.NoError(t, ReconShow(ctx, c, id))
	require.Regexp(t, `(?s)amount_mismatch  open.*amount +7.12 CZK.*detail +seen twice.*our side\n    nothing.*the statement\n    nothing.*what would heal it: .*history`, out.String())
	out.Reset()
	c.Lang = "zh"
	require.NoError(t, ReconAges(ctx, c))
	require.Regexp(t, `amount_mismatch +\d +bank-ab .* 1h +1 +7.12 CZK`, out.String())
	out.Reset()
	require.NoError(t, ReconPicture(ctx, c))
	require.Contains(t, out.String(), "账本")
	require.ErrorContains(t, ReconShow(ctx, c, 1<<40), "no such break")
	c.From = "yesterday"
	require.Error(t, ReconPicture(ctx, c))
}

func TestAMomentIsADayOrAnInstant(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": "", "2026-01-31": "2026-01-31T23:59:59.999999Z", "2026-01-31T12:00:00Z": "2026-01-31T12:00:00Z", "2026-01-31T12:00:00.5+01:00": "2026-01-31T11:00:00.5Z",
	} {
		got, err := Instant("--as-of", in)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for in, want := range map[string]string{"": "", "2026-01-31": "2026-02-01T00:00:00Z", "2026-01-31T12:00:00Z": "2026-01-31T12:00:00Z"} {
		got, err := Until("--to", in)
		require.NoError(t, err)
		require.Equal(t, want, got, "the end is not included: the last microsecond of the day is")
	}
	_, err := Until("--to", "31.1.2026")
	require.ErrorContains(t, err, "--to is a day or an instant")
	_, err = Instant("--as-of", "31.1.2026")
	require.ErrorContains(t, err, "--as-of is a day or an instant")
}
