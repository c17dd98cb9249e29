package repair_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

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
		if h.Does() == doctor.DoRebuildProjection || h.Does() == doctor.DoProposeCompensation {
			continue // they are about no payments
		}
		found, err := h.Try(t.Context(), doctor.Act{Do: h.Does(), With: map[string]string{"channel": "bank-ab", "payments": "pay_1,pay_2"}})
		require.NoError(t, err)
		if h.Does() == doctor.DoParkCallback {
			require.NotEmpty(t, asked["reason"])
			delete(asked, "reason")
		}
		require.Equal(t, map[string]any{"act": h.Does(), "channel": "bank-ab", "dry_run": true, "payments": []any{"pay_1", "pay_2"}}, asked)
		require.Equal(t, 1, found.Items)
		require.Equal(t, []string{"pay_2 final"}, found.Rows)
		_, err = h.Act(t.Context(), doctor.Act{Do: h.Does()})
		require.NoError(t, err)
		require.NotContains(t, asked, "payments", "nobody chose any: all of them")
	}
}

// What is set aside is told with its number, and why it was kept in so many bytes.
func TestParkingTellsWhatWasSetAside(t *testing.T) {
	t.Parallel()
	var asked map[string]any
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = nil
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			t.Error(err)
		}
		_, _ = w.Write([]byte(`{"items":1,"value":{},"callbacks":[{"id":"12","channel":"bank-ab","received_at":"2026-11-22T10:00:00Z","reason":"it hangs"}]}`))
	}))
	t.Cleanup(api.Close)
	for _, h := range repair.Backlog(repair.API{URL: api.URL, Key: func() (string, error) { return "k", nil }}) {
		if h.Does() != doctor.DoParkCallback {
			continue
		}
		require.Equal(t, doctor.Undoable, h.Reach())
		act := doctor.Act{Do: h.Does(), Aim: "bank-ab", Why: strings.Repeat("带原", 150), With: map[string]string{"callbacks": "12,13"}}
		found, err := h.Try(t.Context(), act)
		require.NoError(t, err)
		require.Equal(t, true, asked["dry_run"])
		require.Equal(t, []any{"12", "13"}, asked["callbacks"])
		require.Contains(t, found.After, "tried alone")
		found, err = h.Act(t.Context(), act)
		require.NoError(t, err)
		require.Equal(t, false, asked["dry_run"])
		require.Equal(t, strings.Repeat("带原", 100), asked["reason"], "as much as the API takes")
		require.Equal(t, []string{"12 bank-ab 2026-11-22T10:00:00Z it hangs"}, found.Rows)
		require.Nil(t, found.Undo, "to take it back would hold up the others again")
		require.NoError(t, doctor.Never(act, found.Marks...))
	}
}

// A rebuilding goes on until there is no more, counts all of it, and says so when it
// does not get on.
func TestRebuildingGoesOnToItsEnd(t *testing.T) {
	t.Parallel()
	var asked []map[string]any
	stands := false
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body map[string]any
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		asked = append(asked, body)
		switch {
		case stands || body["after"] == nil:
			_, _ = w.Write([]byte(`{"items":3,"dropped":1,"next":"20000"}`))
		default:
			_, _ = w.Write([]byte(`{"items":4}`))
		}
	}))
	t.Cleanup(api.Close)
	all := repair.Backlog(repair.API{URL: api.URL, Key: func() (string, error) { return "k", nil }})
	h := all[slices.IndexFunc(all, func(h doctor.Hand) bool { return h.Does() == doctor.DoRebuildProjection })]
	require.Equal(t, doctor.Compensable, h.Reach())
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	act := doctor.Act{Do: h.Does(), At: at, With: map[string]string{"projection": "recon_expected"}}
	found, err := h.Try(t.Context(), act)
	require.NoError(t, err)
	require.Equal(t, 7, found.Items)
	require.Len(t, asked, 2)
	require.Equal(t, map[string]any{"act": "rebuild-projection", "projection": "recon_expected", "dry_run": true, "since": "2026-11-21T10:00:00Z", "after": "20000"}, asked[1])
	found, err = h.Act(t.Context(), act)
	require.NoError(t, err)
	require.Equal(t, []any{7, false}, []any{found.Items, asked[3]["dry_run"]})
	require.Contains(t, found.After, "1 that it does not bear out")
	stands = true
	_, err = h.Act(t.Context(), act)
	require.ErrorContains(t, err, "does not get on")
	act.With["since"] = "yesterday"
	_, err = h.Try(t.Context(), act)
	require.ErrorContains(t, err, "no time")
}
