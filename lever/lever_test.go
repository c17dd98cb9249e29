package lever_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/lever"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func pull(name lever.Name, aim, value string) lever.Pull {
	a, err := lever.ParseAim(aim)
	if err != nil {
		panic(err)
	}
	p := lever.Pull{ID: lever.NewID(), Lever: name, Aim: a, Value: value, Owner: "ann", Reason: "bank-ab is slow", By: "operator ann", Via: lever.ViaAPI, At: noon, Expires: noon.Add(time.Hour)}
	if name == lever.Banner {
		p.ValueZH = "银行处理缓慢。"
	}
	return p
}

func TestTheCatalogueIsWhole(t *testing.T) {
	t.Parallel()
	require.Len(t, lever.Catalogue(), 8)
	values := map[lever.Name]string{lever.Limit: "600/1m", lever.Bulkhead: "3", lever.Banner: "The bank is slow."}
	for _, e := range lever.Catalogue() {
		require.NotEmpty(t, e.Does.En, e.Name)
		require.NotEmpty(t, e.Does.Zh, e.Name)
		require.NotEmpty(t, e.Aims, e.Name)
		require.LessOrEqual(t, e.Class, lever.R2)
		_, valued := values[e.Name]
		if valued {
			require.NotEmpty(t, e.Value.Zh, e.Name)
		}
		for _, by := range e.Aims {
			aim := map[lever.Dimension]string{lever.Everything: "everything", lever.Channel: "channel:bank-ab", lever.Tenant: "tenant:1", lever.Key: "key:abcdefgh", lever.Route: "route:create-payment", lever.Account: "account:acct_0000000000002", lever.Kind: "kind:payout"}[by]
			p := pull(e.Name, aim, values[e.Name])
			require.NoError(t, p.Check(), "%s %s", e.Name, aim)
		}
	}
	require.Equal(t, "R2", lever.R2.String())
}

func TestWhatMustNotBePulled(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		p     lever.Pull
		param string
	}{
		"callbacks are never refused":   {pull(lever.Limit, "route:receive-callback", "1/1h"), "aim"},
		"no such lever":                 {pull("purge", "everything", ""), "lever"},
		"wrong aim":                     {pull(lever.ReadOnly, "channel:bank-ab", ""), "aim"},
		"no such kind":                  {pull(lever.PauseIntake, "kind:chargeback", ""), "aim"},
		"tenant without number":         {pull(lever.PauseIntake, "tenant:acme", ""), "aim"},
		"tenant with a zero before it":  {pull(lever.PauseIntake, "tenant:01", ""), "aim"},
		"pause of an account":           {pull(lever.PauseIntake, "account:acct_0000000000002", ""), "aim"},
		"limit without window":          {pull(lever.Limit, "everything", "600"), "value"},
		"limit of nothing":              {pull(lever.Limit, "everything", "0/1m"), "value"},
		"bulkhead of nothing":           {pull(lever.Bulkhead, "channel:bank-ab", "0"), "value"},
		"value where none is":           {pull(lever.Breaker, "channel:bank-ab", "1"), "value"},
		"safe mode with a wrong value":  {pull(lever.SafeMode, "everything", "intake=shut"), "value"},
		"a banner that says pay again":  {pull(lever.Banner, "everything", "Please pay once more, then try again."), "value"},
		"a banner that wants keys":      {pull(lever.Banner, "everything", "Please export your keys."), "value"},
		"a banner that clears the app":  {pull(lever.Banner, "everything", "Clear the app data first."), "value"},
		"a banner without Chinese":      {func() lever.Pull { p := pull(lever.Banner, "everything", "x"); p.ValueZH = ""; return p }(), "value_zh"},
		"a Chinese banner to pay again": {func() lever.Pull { p := pull(lever.Banner, "everything", "x"); p.ValueZH = "请重新支付"; return p }(), "value_zh"},
		"no owner":                      {func() lever.Pull { p := pull(lever.ReadOnly, "everything", ""); p.Owner = " "; return p }(), "owner"},
		"no reason":                     {func() lever.Pull { p := pull(lever.ReadOnly, "everything", ""); p.Reason = ""; return p }(), "reason"},
		"no end": {func() lever.Pull {
			p := pull(lever.ReadOnly, "everything", "")
			p.Expires = noon.Add(25 * time.Hour)
			return p
		}(), "expires_at"},
	} {
		var r *lever.Refusal
		require.ErrorAs(t, c.p.Check(), &r, name)
		require.Equal(t, c.param, r.Param, name)
		require.True(t, lever.Stand([]lever.Pull{c.p}).Empty(), "what Check refuses holds nothing: %s", name)
	}
	for _, good := range []string{"Payments to Bank AB take longer. Please do not pay again.", "Nothing to do; never share your keys."} {
		p := pull(lever.Banner, "everything", good)
		require.NoError(t, p.Check(), good)
	}
	zh := pull(lever.Banner, "everything", "x")
	zh.ValueZH = "银行处理缓慢,请勿重复支付或重新支付。"
	require.NoError(t, zh.Check())
}

func TestWhatHolds(t *testing.T) {
	t.Parallel()
	payout := &lever.Subject{Tenant: 1, Key: "abcdefgh", Route: "create-payment", Kind: "payout", Channel: "bank-ab"}
	send := &lever.Subject{Tenant: 2, Kind: "send"}
	var none *lever.Standing
	require.True(t, none.Empty())
	require.Nil(t, none.Writes(noon))
	require.Nil(t, none.Intake(noon, payout))
	require.Zero(t, none.AtOnce(noon, "bank-ab"))

	s := lever.Stand([]lever.Pull{
		pull(lever.PauseIntake, "kind:payout", ""), pull(lever.PauseDispatch, "channel:bank-ab", ""),
		pull(lever.Bulkhead, "channel:bank-ab", "5"), pull(lever.Bulkhead, "channel:bank-ab", "2"), pull(lever.Breaker, "channel:bank-cd", ""),
		pull(lever.Limit, "tenant:1", "5/1m"), pull(lever.Limit, "key:abcdefgh", "7/1m"), pull(lever.Limit, "tenant:2", "9/1m"),
		pull(lever.Banner, "channel:bank-ab", "Slow."),
	})
	require.NotNil(t, s.Intake(noon, payout))
	require.Nil(t, s.Intake(noon, send))
	require.Nil(t, s.Intake(noon, &lever.Subject{Kind: "compensation"}))
	require.NotNil(t, s.Dispatch(noon, "bank-ab"))
	require.Nil(t, s.Dispatch(noon, "bank-cd"))
	require.Equal(t, 2, s.AtOnce(noon, "bank-ab"), "the strictest wins")
	require.Zero(t, s.AtOnce(noon, "bank-cd"))
	require.NotNil(t, s.Broken(noon, "bank-cd"))
	require.Nil(t, s.Broken(noon, "bank-ab"))
	require.NotNil(t, s.Banner(noon, payout))
	require.Nil(t, s.Banner(noon, send))
	var rates []int32
	s.Limits(noon, payout, func(_ *lever.Pull, r lever.Rate) bool { rates = append(rates, r.Quota); return true })
	require.ElementsMatch(t, []int32{5, 7}, rates)

	later := noon.Add(time.Hour)
	require.Nil(t, s.Intake(later, payout), "an expiry asks nobody")
	require.Empty(t, s.At(later))
	require.Zero(t, s.AtOnce(later, "bank-ab"))
}

func TestSafeModeAndReadOnly(t *testing.T) {
	t.Parallel()
	send := &lever.Subject{Kind: "send"}
	safe := lever.Stand([]lever.Pull{pull(lever.SafeMode, "everything", "")})
	require.NotNil(t, safe.Intake(noon, send))
	require.NotNil(t, safe.Dispatch(noon, "any"))
	require.Nil(t, safe.Writes(noon), "safe mode lets people repair")
	open := lever.Stand([]lever.Pull{pull(lever.SafeMode, "everything", "intake=open")})
	require.Nil(t, open.Intake(noon, send))
	require.NotNil(t, open.Dispatch(noon, "any"))
	ro := lever.Stand([]lever.Pull{pull(lever.ReadOnly, "everything", "")})
	require.NotNil(t, ro.Writes(noon))
	require.NotNil(t, ro.Dispatch(noon, "any"), "a new attempt is a posting")
}

func TestWhoIsRefusedHearsTheLastEnd(t *testing.T) {
	t.Parallel()
	short, long := pull(lever.ReadOnly, "everything", ""), pull(lever.ReadOnly, "everything", "")
	long.Expires = noon.Add(2 * time.Hour)
	require.Equal(t, long.ID, lever.Stand([]lever.Pull{long, short}).Writes(noon).ID)
	long.UndoneAt = noon
	require.Equal(t, short.ID, lever.Stand([]lever.Pull{long, short}).Writes(noon).ID)
	require.Equal(t, time.Hour, short.Left(noon))
}

func TestAPullSurvivesItsText(t *testing.T) {
	t.Parallel()
	p := pull(lever.Limit, "key:abcdefgh", "5/1m")
	raw, err := json.Marshal(&p)
	require.NoError(t, err)
	var back lever.Pull
	require.NoError(t, json.Unmarshal(raw, &back))
	require.Equal(t, p, back)
	_, err = lever.ParseID("lev_x")
	require.Error(t, err)
	_, err = lever.ParseAim("everything:x")
	require.Error(t, err)
}

func FuzzParseAim(f *testing.F) {
	for _, s := range []string{"everything", "channel:bank-ab", "tenant:1", "key:", ":", "kind:payout:x", "route:\u202e", "account:acct_0000000000002"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if a, err := lever.ParseAim(s); err == nil {
			require.Equal(t, s, a.String())
		}
	})
}

func FuzzParseRate(f *testing.F) {
	for _, s := range []string{"600/1m", "0/1s", "1/1500ms", "/", "9999999999/1h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if r, err := lever.ParseRate(s); err == nil {
			require.Positive(t, r.Quota)
			require.GreaterOrEqual(t, r.Window, time.Second)
			require.LessOrEqual(t, r.Window, time.Hour)
		}
	})
}

// What a request pays while nobody has pulled anything, and while ten levers hold.
func BenchmarkAsk(b *testing.B) {
	of := &lever.Subject{Tenant: 1, Kind: "payout", Channel: "bank-ab"}
	var ten []lever.Pull
	for range 10 {
		ten = append(ten, pull(lever.PauseDispatch, "channel:bank-cd", ""))
	}
	for name, s := range map[string]*lever.Standing{"nothing": lever.Stand(nil), "ten": lever.Stand(ten)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if s.Writes(noon) != nil || s.Intake(noon, of) != nil {
					b.Fatal("nothing is refused")
				}
			}
		})
	}
}
