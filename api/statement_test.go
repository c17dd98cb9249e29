package api_test

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
)

func (w *world) send(from, to, amount, remittance, key string) string {
	w.t.Helper()
	a := w.post("/v1/payments", w.user, fmt.Sprintf(`{"kind":"send","from":%q,"to":%q,"amount":%q,"asset":"CZK","remittance":%q}`, from, to, amount, remittance), key)
	require.Equal(w.t, http.StatusCreated, a.StatusCode, string(a.body))
	return a.str("id")
}

// rows reads a CSV to its end, with its trailers.
func (w *world) rows(path string, headers ...string) (rows [][]string, a *answer) {
	w.t.Helper()
	a = w.do(http.MethodGet, path, w.user, "", headers...)
	require.Equal(w.t, http.StatusOK, a.StatusCode, string(a.body))
	require.Equal(w.t, "text/csv; charset=utf-8; header=present", a.Header.Get("Content-Type"))
	rows, err := csv.NewReader(strings.NewReader(string(a.body))).ReadAll()
	require.NoError(w.t, err)
	require.Equal(w.t, strconv.Itoa(len(rows)-1), a.Trailer.Get("Statement-Rows"))
	return rows[1:], a
}

func TestStatementsAreFilteredAndExported(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	a, b, c := w.funded("a", "100000"), w.open("b", "user"), w.open("c", "user")
	before := time.Now()
	evil := `=HYPERLINK("http://x.example","a")`
	for i, text := range []string{"rent 1", "rent 2", evil, "plain, \"quoted\"", " +1"} {
		w.send(a, b, "10", text, "s"+strconv.Itoa(i))
	}
	w.send(a, c, "7", "rent 3", "to c")
	w.send(b, a, "3", "back", "back")
	path := "/v1/accounts/" + a + "/statement?"
	get := func(query ...string) []any {
		t.Helper()
		v := url.Values{}
		for i := 0; i < len(query); i += 2 {
			v.Set(query[i], query[i+1])
		}
		r := w.get(path + v.Encode())
		require.Equal(t, http.StatusOK, r.StatusCode, string(r.body))
		return r.json["data"].([]any)
	}
	require.Len(t, get(), 8)
	require.Len(t, get("direction", "in"), 2)
	require.Len(t, get("direction", "out"), 6)
	require.Len(t, get("remittance", "rent "), 3)
	require.Len(t, get("remittance", "rent", "counterparty", c), 1)
	require.Empty(t, get("kind", "payout"))
	require.Len(t, get("kind", "send", "from", before.Format(time.RFC3339Nano)), 7)
	require.Len(t, get("to", before.Format(time.RFC3339Nano)), 1, "the funding")
	require.Empty(t, get("by", "effective", "from", time.Now().Add(time.Hour).Format(time.RFC3339Nano)))
	require.Equal(t, "rent 3", get("counterparty", c)[0].(map[string]any)["remittance"])
	for _, bad := range []string{
		"direction=up", "kind=x", "counterparty=x", "from=yesterday", "by=x", "format=xml", "remittance=%00", "remittance=%ff",
		"from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "remittance=" + strings.Repeat("a", 141), "limit=0&format=csv",
	} {
		requireProblem(t, w.get(path+bad), fault.MalformedRequest)
	}

	rows, _ := w.rows(path + "format=csv")
	require.Len(t, rows, 8)
	byHeader, _ := w.rows(path, "Accept", "text/csv")
	require.Equal(t, rows, byHeader)
	require.Equal(t, w.get(path).json["data"].([]any)[0].(map[string]any)["amount"], rows[0][6])
	texts := map[string]bool{}
	for _, r := range rows {
		texts[r[11]] = true
		require.Len(t, r, 13)
		require.Equal(t, "CZK", r[8])
		require.Equal(t, r[5] == "out", strings.HasPrefix(r[6], "-"), "a number is a number")
	}
	require.True(t, texts["'"+evil], "a formula is text")
	require.True(t, texts["' +1"])
	require.True(t, texts[`plain, "quoted"`])
	some, first := w.rows(path + "format=csv&limit=3")
	require.Equal(t, rows[:3], some)
	more, last := w.rows(path + "format=csv&limit=100&after=" + first.Trailer.Get("Statement-Next"))
	require.Equal(t, rows[3:], more)
	require.Empty(t, last.Trailer.Get("Statement-Next"))
	requireProblem(t, w.do(http.MethodGet, "/v1/accounts/acct_00000000000ZY/statement?format=csv", w.user, ""), fault.NotFound)
}

// TestALongCSVIsWhole: more than one page of the reader.
func TestALongCSVIsWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	a := w.funded("a", "100000")
	b := w.open("b", "user")
	const n = 2_300
	for i := 0; i < n; i += 1000 {
		var items []string
		for j := i; j < min(i+1000, n); j++ {
			items = append(items, fmt.Sprintf(`{"idempotency_key":"k%d","kind":"send","from":%q,"to":%q,"amount":"1","asset":"CZK"}`, j, a, b))
		}
		r := w.do(http.MethodPost, "/v1/payments/batch", w.user, `{"payments":[`+strings.Join(items, ",")+`]}`)
		require.Equal(t, http.StatusOK, r.StatusCode)
	}
	rows, _ := w.rows("/v1/accounts/" + b + "/statement?format=csv")
	require.Len(t, rows, n)
	require.Equal(t, strconv.Itoa(n), rows[0][7], "the balance after the newest")
	require.Equal(t, "1", rows[n-1][7])
}

func TestPaymentsByStateAndTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	from := w.funded("a", "10000")
	open, gone := w.payout(from, "open"), w.payout(from, "gone")
	w.dispatched(open)
	require.Equal(t, http.StatusOK, w.do(http.MethodPost, "/v1/payments/"+gone.String()+"/cancel", w.user, "").StatusCode)
	ids := func(query string) []string {
		t.Helper()
		r := w.get("/v1/payments?" + query)
		require.Equal(t, http.StatusOK, r.StatusCode, string(r.body))
		out := []string{}
		for _, p := range r.json["data"].([]any) {
			out = append(out, p.(map[string]any)["id"].(string))
		}
		return out
	}
	require.Equal(t, []string{open.String()}, ids("state=dispatching"))
	require.Equal(t, []string{open.String()}, ids("status=processing"))
	require.Equal(t, []string{gone.String()}, ids("state=cancelled"))
	require.Equal(t, []string{gone.String()}, ids("status=failed&kind=payout&channel=bank-ab"))
	require.Len(t, ids("status=succeeded"), 1, "the funding")
	require.Empty(t, ids("status=failed&kind=send"))
	require.Empty(t, ids("created_to=2020-01-01T00:00:00Z"))
	require.Len(t, ids("created_from=2020-01-01T00:00:00Z"), 3)
	for _, bad := range []string{"state=x", "status=x", "state=failed&status=failed", "created_from=x", "kind=x"} {
		requireProblem(t, w.get("/v1/payments?"+bad), fault.MalformedRequest)
	}
}
