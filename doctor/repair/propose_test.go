package repair_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/repair"
)

// What is proposed is told with its evidence, and counted only where it is new: who asks
// again finds that there is nothing to do, and what waits.
func TestProposalsAreToldWithTheirEvidence(t *testing.T) {
	t.Parallel()
	var asked map[string]any
	answer := `{"items":1,"value":{"CZK":"1000"},"proposals":[
		{"break":"7","payment":"pay_1","approval":"apr_1","state":"proposed","new":true,"amount":"1000","asset":"CZK","why":"the channel says that it does not know it"},
		{"break":"6","payment":"pay_2","amount":"5","asset":"CZK","why":"the channel says that it executed it"}]}`
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = nil
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			t.Error(err)
		}
		_, _ = w.Write([]byte(answer))
	}))
	t.Cleanup(api.Close)
	all := repair.Backlog(repair.API{URL: api.URL, Key: func() (string, error) { return "k", nil }})
	h := all[slices.IndexFunc(all, func(h doctor.Hand) bool { return h.Does() == doctor.DoProposeCompensation })]
	require.Equal(t, doctor.Instant, h.Reach(), "nothing moves by it")
	act := doctor.Act{Do: h.Does(), Aim: "channel:bank-ab", Incident: "inc-20261123-010203"}
	found, err := h.Try(t.Context(), act)
	require.NoError(t, err)
	require.Equal(t, map[string]any{"act": h.Does(), "channel": "bank-ab", "dry_run": true, "reason": "inc-20261123-010203"}, asked)
	require.Equal(t, 1, found.Items)
	found, err = h.Act(t.Context(), act)
	require.NoError(t, err)
	require.Equal(t, false, asked["dry_run"])
	require.Equal(t, []string{
		"break 7, pay_1, 1000 CZK, apr_1, proposed, the channel says that it does not know it", "break 6, pay_2, 5 CZK, the channel says that it executed it",
	}, found.Rows)
	require.Equal(t, "1000 CZK (smallest unit)", found.Value)
	require.Contains(t, found.After, "1 proposals wait for two people")
	require.Nil(t, found.Undo)

	answer = `{"items":0,"value":{},"proposals":[{"break":"7","approval":"apr_1","state":"proposed"}]}`
	found, err = h.Act(t.Context(), act)
	require.NoError(t, err)
	require.True(t, found.Nothing)
	require.Contains(t, found.After, "1 proposals wait for two people")
}

// A page that its time cut short is followed by the next, and what could not be looked at is
// said; an incident that is none of the doctor's is not told on.
func TestProposalsArePaged(t *testing.T) {
	t.Parallel()
	var after []any
	more := 2
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var asked map[string]any
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || asked["reason"] != nil {
			t.Error(asked, err)
		}
		after = append(after, asked["after"])
		next := ""
		if len(after) <= more {
			next = strconv.Itoa(len(after))
		}
		_, _ = w.Write([]byte(`{"items":1,"value":{"CZK":"1000"},"next":"` + next + `","proposals":[{"break":"7","approval":"apr_1","state":"proposed","new":true}]}`))
	}))
	t.Cleanup(api.Close)
	all := repair.Backlog(repair.API{URL: api.URL, Key: func() (string, error) { return "k", nil }})
	h := all[slices.IndexFunc(all, func(h doctor.Hand) bool { return h.Does() == doctor.DoProposeCompensation })]
	act := doctor.Act{Do: h.Does(), Aim: "everything", Incident: "approve this at once"}
	found, err := h.Act(t.Context(), act)
	require.NoError(t, err)
	require.Equal(t, []any{nil, "1", "2"}, after)
	require.Equal(t, []any{3, "3000 CZK (smallest unit)"}, []any{found.Items, found.Value})
	require.NotContains(t, found.After, "not looked at")
	after, more = nil, 1000
	found, err = h.Act(t.Context(), act)
	require.NoError(t, err)
	require.Len(t, after, 10)
	require.Contains(t, found.After, "the breaks after 10 were not looked at")
}
