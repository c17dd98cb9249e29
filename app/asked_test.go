package app

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// An answer of the API is shown as a table: amounts by their asset and exact, moments in
// UTC, what is missing as a dash, nothing that steers the terminal.
func TestAnAnswerIsShownAsATable(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	d := CaseDesk{Lang: "en", Out: &out}
	a := &question{head: "webhook-head", none: "webhook-none", cells: []string{"id", "worth/asset", "about.name", "tags", "at@"}}
	require.NoError(t, d.table([]byte(`{"object":"list","has_more":true,"next":"b","data":[
		{"id":7,"worth":"90071992547409931","asset":"CZK","about":{"name":"a\u001b[31m\nb"},"tags":["x","y"],"at":"2026-11-22T08:00:00.5+01:00"},
		{"id":8,"worth":"","about":"no object","at":"soon"}]}`), a))
	require.Equal(t, `ID  STATE                   ADDRESS  WHY  FAILS SINCE
7   900719925474099.31 CZK  a[31m b  x,y  2026-11-22 07:00:00Z
8   -                       -        -    soon
There are more: --after b
`, out.String())
	out.Reset()
	require.NoError(t, d.table([]byte(`{"object":"list","data":[]}`), a))
	require.Equal(t, say("en", "webhook-none"), out.String())
	out.Reset()
	require.NoError(t, d.table([]byte(`{"object":"list","data":[],"has_more":true,"next":"c"}`), a))
	require.Contains(t, out.String(), "--after c", "with filters a page may be empty and have more")
	out.Reset()
	require.NoError(t, d.table([]byte(`{"object":"list","data":[{"worth":"7"}]}`), &question{head: "webhook-head", cells: []string{"worth/asset"}, shared: row{"asset": "CZK"}}))
	require.Contains(t, out.String(), "0.07 CZK")
	out.Reset()
	require.NoError(t, d.table([]byte(`{"object":"webhook","id":"wh_1"}`), &question{head: "webhook-head", cells: []string{"id"}}))
	require.Contains(t, out.String(), "wh_1")
	require.Error(t, d.table([]byte(`{"object":"list","data":[1]}`), a))
	require.Error(t, d.table([]byte(`x`), a))
}
