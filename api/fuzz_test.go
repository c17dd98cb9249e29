package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/desk"
)

// strangers is a call whose every byte is a stranger's.
func strangers(t *testing.T, body []byte, query string, header http.Header) *call {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/v1/payments", bytes.NewReader(body))
	r.URL.RawQuery = query
	for name, values := range header {
		r.Header[name] = values
	}
	return &call{w: httptest.NewRecorder(), r: r, ctx: t.Context(), buf: &bytes.Buffer{}, s: &server{}}
}

// said holds err against what a stranger may be told about bytes that cannot be read:
// his own mistake, and never that money moved.
func said(t *testing.T, err error) {
	t.Helper()
	require.Contains(t, []fault.Code{fault.MalformedRequest, fault.UnknownField, fault.BodyTooLarge}, fault.CodeOf(err), "%v", err)
	require.Equal(t, fault.NotMoved, fault.MoneyStateOf(err))
}

// FuzzBodies gives every shape of body that operations read the same bytes: nothing
// panics, and what any of them takes is one whole JSON document.
func FuzzBodies(f *testing.F) {
	for _, s := range []string{
		`{"payments":[{"idempotency_key":"a","kind":"send","from":"acct_1","to":"acct_2","amount":"1","asset":"CZK"}]}`,
		`{"payments":[]}`, `{"payments":[{},{}]}`, `{"reason":"x","note":"y"}`, `{"text":"lost","device":{"app":"1.2"},"language":"zh"}`,
		`{"n":5,"yes":true,"at":"2026-01-31T12:00:00Z","texts":{"a":"b"},"limit":{"quota":5,"window_s":60},"ids":["pay_0000000000001"]}`,
		`{"n":-2147483648}`, `{"n":1e3}`, `{"at":"2026-02-30T12:00:00Z"}`, `{"limit":{"quota":0}}`, `{"yes":falsehood}`, `{"texts":{"a":null}}`, `[]`, ``, `{`, `{}{}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := strangers(t, b, "", nil)
		readers := map[string]func() error{
			"batch":   func() error { _, err := c.decodeBatch(b); return err },
			"members": func() error { var x, y string; return c.members(map[string]*string{"reason": &x, "note": &y}) },
			"appeal":  func() error { return c.appealBody(&desk.AppealRequest{}) },
			"shapes": func() error {
				var n int32
				var yes bool
				var at time.Time
				var m map[string]string
				var l access.Limit
				var ids []pay.ID
				return decodeObject(b, func(d *decoder, name []byte) error {
					switch string(name) {
					case "n":
						return d.number("/n", &n)
					case "yes":
						return d.truth("/yes", &yes)
					case "at":
						return d.instant("/at", &at)
					case "texts":
						return d.texts("/texts", &m)
					case "limit":
						return d.limit("/limit", &l)
					case "ids":
						return d.array(func(d *decoder, i int) error { return d.payment(i, &ids) })
					}
					return unknownField(name)
				})
			},
		}
		for name, read := range readers {
			c.r = httptest.NewRequest(http.MethodPost, "/v1/payments", bytes.NewReader(b))
			if err := read(); err != nil {
				said(t, err)
				continue
			}
			require.True(t, len(b) == 0 || json.Valid(b), "%s took %q", name, b)
		}
	})
}

// FuzzQuery reads every cursor, filter and range of the lists out of one query.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{
		"after=pay_0000000000001&limit=5", "after=s1a-2b", "after=s-", "after=-", "after=zzzzzzzzzzzzz.1", "after=1.9223372036854775808", "limit=-1", "limit=99999999999999999999",
		"from=2026-01-01T00:00:00Z&to=2025-01-01T00:00:00Z", "from=0000-01-01T00:00:00Z", "by=effective&direction=in&kind=send", "state=open&overdue=true&payment=pay_x",
		"account=acct_H000000000000", "counterparty=acct_0000000000001&remittance=%00", "status=processing&state=unknown,created", "created_from=x", "a=%zz", "a;b", "as_of=now",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := url.ParseQuery(raw)
		if err != nil {
			return // the edge refuses it, see TestEveryRefusalOfTheEdge
		}
		c := strangers(t, nil, raw, nil)
		if got, err := statementQuery(q); err != nil {
			said(t, err)
		} else if !got.From.IsZero() && !got.To.IsZero() {
			require.True(t, got.From.Before(got.To))
		}
		if got, err := c.filter(q); err != nil {
			said(t, err)
		} else {
			require.GreaterOrEqual(t, got.Before, pay.ID(0))
			require.GreaterOrEqual(t, got.Limit, 0)
		}
		if got, err := caseFilter(q); err != nil {
			said(t, err)
		} else {
			require.GreaterOrEqual(t, got.After.ID, int64(0))
		}
	})
}

// FuzzHeaders reads what a stranger's headers say: how long he waits, where his stream
// was, who he is.
func FuzzHeaders(f *testing.F) {
	for _, s := range []string{
		"wait=5", "wait=99999999999", "respond-async, wait=\"60\";x", "wait=-1", "wait", "evt_0000000000001", "9223372036854775807", "9223372036854775808", "-1", "",
		"Bearer mk_live_aaaaaaaa_b", "bearer ", "Bearer\x00", "MonetaSigned key=\"\"",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h := http.Header{"Prefer": {s}, "Last-Event-Id": {s}, "Authorization": {s}}
		wait := patience(h)
		require.GreaterOrEqual(t, wait, time.Duration(0))
		require.LessOrEqual(t, wait, WaitMax)
		if id, err := lastEventID(h); err != nil {
			said(t, err)
		} else {
			require.GreaterOrEqual(t, int64(id), int64(0))
		}
		if key, ok := bearer(h); ok {
			require.Less(t, len(key), len(s))
		}
	})
}
