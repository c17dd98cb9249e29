package commit

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
)

// FuzzForwarded: whatever comes over the hop between nodes, a node that does not lead
// decides nothing of it and does not fall; and whatever a leader answers is read as
// outcomes of what was asked, or as no answer.
func FuzzForwarded(f *testing.F) {
	whole, err := json.Marshal([]Fact{keyed, unkeyed})
	require.NoError(f, err)
	answer, err := json.Marshal([]wireOutcome{{Result: Result{Payment: pay.Payment{ID: 1, Amount: money.Int(5)}}}})
	require.NoError(f, err)
	for _, b := range [][]byte{
		whole, answer, nil, []byte("null"), []byte("[]"), []byte("[{}]"), []byte(`[{"Payment":{"Kind":255,"New":{"Amount":"-1"}}}]`), []byte(`{"Payment":`),
		[]byte(`[{"Account":{"Kind":99,"ID":-1}}]`), bytes.Repeat([]byte("["), 4096),
	} {
		f.Add(b, "10")
	}
	f.Add([]byte("[{}]"), "-9223372036854775808")
	const credential = "Bearer of the shard"
	n := New(Config{Logger: slog.New(slog.DiscardHandler)})
	held := credential
	n.forward.credential.Store(&held)
	h := n.Handler()
	f.Fuzz(func(t *testing.T, body []byte, within string) {
		r := httptest.NewRequest(http.MethodPost, "/internal/facts", bytes.NewReader(body))
		r.Header.Set("Authorization", credential)
		r.Header.Set(withinHeader, within)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Contains(t, []int{http.StatusBadRequest, http.StatusMisdirectedRequest}, w.Code, "%s", w.Body)
		var wired []wireOutcome
		if json.Unmarshal(body, &wired) == nil {
			for i := range wired {
				if wired[i].Fault != nil {
					require.NotPanics(t, func() { _ = wired[i].Fault.Error() })
				}
			}
		}
	})
}
