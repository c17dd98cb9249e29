package api_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/fault"
)

// ahead notes what it was asked to bring forward.
type ahead struct {
	mu    sync.Mutex
	asked []string
	err   error
}

func (b *ahead) Hasten(_ context.Context, o api.Hasten) (api.BacklogWork, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !o.Dry {
		b.asked = append(b.asked, strings.TrimSuffix(fmt.Sprint(o.Act, " ", o.Channel, o.Payments), "[]"))
	}
	return api.BacklogWork{Items: 3, Value: map[string]string{"CZK": "4500"}}, b.err
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
}
