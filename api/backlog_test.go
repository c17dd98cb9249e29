package api_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay/notify"
)

// ahead notes what it was asked to bring forward.
type ahead struct {
	mu     sync.Mutex
	asked  []string
	orders []api.Hasten
	err    error
}

func (b *ahead) Hasten(_ context.Context, o api.Hasten) (api.BacklogWork, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.orders = append(b.orders, o)
	if !o.Dry {
		b.asked = append(b.asked, strings.TrimSuffix(fmt.Sprint(o.Act, " ", o.Channel, o.Payments), "[]"))
	}
	return api.BacklogWork{Items: 3, Value: map[string]string{"CZK": "4500"}}, b.err
}

func (b *ahead) Parked(_ context.Context, channel string) ([]api.BacklogCallback, error) {
	return []api.BacklogCallback{{ID: "12", Channel: channel, By: "doctor", Reason: "it hangs"}}, nil
}

// What sets callbacks aside says who and why; to give one up takes its number, and a
// second person where there are two.
func TestCallbacksAreSetAside(t *testing.T) {
	t.Parallel()
	b := &ahead{}
	w := newWorld(t, func(c *api.Config) { c.Backlog = b })
	key := w.key(access.Installation)
	park := w.post("/v1/backlog", key, `{"act":"park-callback","channel":"bank-ab","reason":"it hangs"}`, "")
	require.Equal(t, 200, park.StatusCode, string(park.body))
	require.Equal(t, 200, w.post("/v1/backlog", key, `{"act":"replay-parked","callbacks":["12"],"reason":"it can be read"}`, "").StatusCode)
	require.Equal(t, 200, w.post("/v1/backlog", key, `{"act":"give-up-parked","callbacks":["12","13"],"dry_run":true}`, "").StatusCode)
	require.Equal(t, 200, w.post("/v1/backlog", key, `{"act":"give-up-parked","callbacks":["12"],"reason":"a test"}`, "").StatusCode)
	require.Equal(t, []string{"park-callback bank-ab", "replay-parked ", "give-up-parked "}, b.asked)
	require.Len(t, b.orders, 4)
	require.Equal(t, api.Hasten{Act: "replay-parked", Callbacks: []int64{12}, By: b.orders[1].By, Reason: "it can be read"}, b.orders[1])
	require.NotEmpty(t, b.orders[1].By)
	for _, bad := range []string{
		`{"act":"park-callback"}`, `{"act":"give-up-parked","reason":"all of them"}`, `{"act":"give-up-parked","callbacks":["x"],"reason":"r"}`,
		`{"act":"park-callback","payments":["pay_0000000000001"],"reason":"r"}`, `{"act":"redispatch","callbacks":["12"]}`,
		`{"act":"replay-parked","callbacks":[` + strings.Repeat(`"1",`, 200) + `"1"],"reason":"r"}`,
	} {
		requireProblem(t, w.post("/v1/backlog", key, bad, ""), fault.MalformedRequest)
	}
	list := w.do("GET", "/v1/backlog/callbacks?channel=bank-ab", key, "")
	require.Equal(t, 200, list.StatusCode)
	require.Contains(t, string(list.body), `"reason":"it hangs"`)
	requireProblem(t, w.do("GET", "/v1/backlog/callbacks", w.key(access.Admin), ""), fault.Forbidden)
}

// What is derived is derived anew, by default of the last day; an endpoint is named.
func TestProjectionsAreRebuilt(t *testing.T) {
	t.Parallel()
	b := &ahead{}
	w := newWorld(t, func(c *api.Config) { c.Backlog = b })
	key := w.key(access.Installation)
	for _, body := range []string{
		`{"act":"rebuild-projection","projection":"recon_expected","after":"77"}`,
		`{"act":"rebuild-projection","projection":"webhooks","since":"2026-01-02T03:04:05Z","dry_run":true}`,
		`{"act":"redeliver-webhooks","endpoint":"` + notify.EndpointID(5).String() + `"}`,
	} {
		a := w.post("/v1/backlog", key, body, "")
		require.Equal(t, 200, a.StatusCode, string(a.body))
	}
	require.Len(t, b.orders, 3)
	require.Equal(t, int64(77), b.orders[0].After)
	require.WithinDuration(t, time.Now().Add(-24*time.Hour), b.orders[0].Since, time.Hour)
	require.Equal(t, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), b.orders[1].Since.UTC())
	require.Equal(t, notify.EndpointID(5), b.orders[2].Endpoint)
	for _, bad := range []string{
		`{"act":"rebuild-projection"}`, `{"act":"rebuild-projection","projection":"balances"}`, `{"act":"rebuild-projection","projection":"webhooks","since":"2999-01-02T03:04:05Z"}`,
		`{"act":"rebuild-projection","projection":"webhooks","after":"0"}`, `{"act":"redeliver-webhooks"}`, `{"act":"redeliver-webhooks","endpoint":"wh"}`,
		`{"act":"rebuild-projection","projection":"webhooks","callbacks":["1"]}`,
	} {
		requireProblem(t, w.post("/v1/backlog", key, bad, ""), fault.MalformedRequest)
	}
	require.Len(t, b.orders, 3)
}

func TestWhatWaitsIsBroughtForward(t *testing.T) {
	t.Parallel()
	b := &ahead{}
	w := newWorld(t, func(c *api.Config) { c.Backlog = b })
	installation := w.key(access.Installation)
	dry := w.post("/v1/backlog", installation, `{"act":"query-unknowns","dry_run":true}`, "")
	require.Equal(t, 200, dry.StatusCode)
	require.Empty(t, b.asked)
	a := w.post("/v1/backlog", installation, `{"act":"query-unknowns","channel":"bank-ab"}`, "")
	require.Equal(t, 200, a.StatusCode)
	require.InDelta(t, 3, a.json["items"], 0)
	require.Equal(t, map[string]any{"CZK": "4500"}, a.json["value"])
	require.Equal(t, []string{"query-unknowns bank-ab"}, b.asked)
	requireProblem(t, w.post("/v1/backlog", installation, `{"act":"purge"}`, ""), fault.MalformedRequest)
	requireProblem(t, w.post("/v1/backlog", installation, `{"act":"propose-compensation","payments":["pay_0000000000001"]}`, ""), fault.MalformedRequest)
	requireProblem(t, w.post("/v1/backlog", installation, `{"act":"propose-compensation","callbacks":["1"]}`, ""), fault.MalformedRequest)
	for _, reason := range []string{"Urgent: approve at once", "incident inc-7", "inc-20261123-010203 (checked by Ann)", `inc-20261123-010203\n`} {
		requireProblem(t, w.post("/v1/backlog", installation, `{"act":"propose-compensation","reason":"`+reason+`"}`, ""), fault.MalformedRequest)
	}
	requireProblem(t, w.post("/v1/backlog", w.key(access.Admin), `{"act":"propose-compensation"}`, ""), fault.Forbidden)
	requireProblem(t, w.post("/v1/backlog", installation, `{"act":"redispatch","channel":"none"}`, ""), fault.ChannelUnknown)
	requireProblem(t, w.post("/v1/backlog", installation, `{"act":"redispatch","force":true}`, ""), fault.UnknownField)
	requireProblem(t, w.post("/v1/backlog", w.key(access.Admin), `{"act":"redispatch"}`, ""), fault.Forbidden)
	some := w.post("/v1/backlog", installation, `{"act":"query-unknowns","payments":["pay_0000000000001","pay_0000000000002"]}`, "")
	require.Equal(t, 200, some.StatusCode)
	require.Equal(t, "query-unknowns [pay_0000000000001 pay_0000000000002]", b.asked[1])
	requireProblem(t, w.post("/v1/backlog", installation, `{"act":"query-unknowns","payments":["M1"]}`, ""), fault.MalformedRequest)
	requireProblem(t, w.post("/v1/backlog", installation, `{"act":"replay-callbacks","payments":["pay_0000000000001"]}`, ""), fault.MalformedRequest)
	requireProblem(t, w.post("/v1/backlog", installation, `{"act":"redispatch","payments":["`+strings.Repeat(`pay_0000000000001","`, 1000)+`pay_0000000000001"]}`, ""), fault.MalformedRequest)
	b.err = fault.New(fault.NotLeader, "")
	requireProblem(t, w.post("/v1/backlog", installation, `{"act":"redispatch"}`, ""), fault.NotLeader)
	require.Len(t, b.asked, 3)
	b.err = nil
	require.Equal(t, 200, w.post("/v1/backlog", installation, `{"act":"propose-compensation","channel":"bank-ab","reason":"inc-20261123-010203"}`, "").StatusCode)
	require.Equal(t, "propose-compensation bank-ab", b.asked[3])
}
