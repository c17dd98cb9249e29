package repair_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/repair"
)

// Who has looked at some payments brings forward those and no others, and hears why
// one is left out.
func TestBacklogOfChosenPayments(t *testing.T) {
	t.Parallel()
	var asked map[string]any
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = nil
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			t.Error(err)
		}
		_, _ = w.Write([]byte(`{"items":1,"value":{"CZK":"500"},"left":[{"payment":"pay_2","why":"final"}]}`))
	}))
	t.Cleanup(api.Close)
	for _, h := range repair.Backlog(repair.API{URL: api.URL, Key: func() (string, error) { return "k", nil }}) {
		found, err := h.Try(t.Context(), doctor.Act{Do: h.Does(), With: map[string]string{"channel": "bank-ab", "payments": "pay_1,pay_2"}})
		require.NoError(t, err)
		require.Equal(t, map[string]any{"act": h.Does(), "channel": "bank-ab", "dry_run": true, "payments": []any{"pay_1", "pay_2"}}, asked)
		require.Equal(t, 1, found.Items)
		require.Equal(t, []string{"pay_2 final"}, found.Rows)
		_, err = h.Act(t.Context(), doctor.Act{Do: h.Does()})
		require.NoError(t, err)
		require.NotContains(t, asked, "payments", "nobody chose any: all of them")
	}
}
