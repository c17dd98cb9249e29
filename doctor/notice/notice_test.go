package notice_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/notice"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func at(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }

func incident(since int, hop string, kind doctor.Kind) doctor.Incident {
	return doctor.Incident{
		ID: "inc-1", Since: at(since), OpenedAt: at(since).Add(10 * time.Second), Stages: map[doctor.Stage]time.Time{doctor.Detected: at(since).Add(10 * time.Second)},
		Alarms: []doctor.Alarm{{Hop: hop, Page: true}},
		Answer: &doctor.Answer{Verdict: doctor.CauseFound, Ranked: []doctor.Hypothesis{{Node: hop, Kind: kind}}},
	}
}

func states(p *notice.Page) map[notice.Part]notice.State {
	out := map[notice.Part]notice.State{}
	for _, x := range p.Parts {
		out[x.Part] = x.State
	}
	return out
}

func TestAGoodDay(t *testing.T) {
	t.Parallel()
	p := notice.Build(noon, nil, false)
	require.Equal(t, notice.Well, p.State)
	require.Equal(t, "Everything works", p.Says.EN)
	require.Nil(t, p.Now)
	require.Len(t, p.Days, 90)
	require.Equal(t, "2026-11-22", p.Days[89].Date)
	require.Equal(t, "2026-08-25", p.Days[0].Date)
	require.Equal(t, notice.Unseen, notice.Build(noon, nil, true).State, "who hears nothing must not say that all is well")
}

func TestWhatIsConcerned(t *testing.T) {
	t.Parallel()
	for hop, want := range map[string]map[notice.Part]notice.State{
		"bank-st":           {notice.Payouts: notice.Delayed, notice.Deposits: notice.Delayed, notice.Sends: notice.Well, notice.App: notice.Well, notice.Partners: notice.Well},
		doctor.HopPostgres:  {notice.Payouts: notice.Interrupted, notice.Deposits: notice.Delayed, notice.Sends: notice.Interrupted, notice.App: notice.Interrupted, notice.Partners: notice.Well},
		doctor.HopWebhooks:  {notice.Payouts: notice.Well, notice.Deposits: notice.Well, notice.Sends: notice.Well, notice.App: notice.Well, notice.Partners: notice.Delayed},
		doctor.HopDispatch:  {notice.Payouts: notice.Delayed, notice.Deposits: notice.Well, notice.Sends: notice.Well, notice.App: notice.Well, notice.Partners: notice.Well},
		doctor.HopCallbacks: {notice.Payouts: notice.Delayed, notice.Deposits: notice.Delayed, notice.Sends: notice.Well, notice.App: notice.Well, notice.Partners: notice.Well},
	} {
		kind := doctor.Queue
		if hop == "bank-st" {
			kind = doctor.Channel
		}
		p := notice.Build(noon, []doctor.Incident{incident(-4, hop, kind)}, false)
		require.Equal(t, want, states(p), hop)
		require.Contains(t, p.Advice.EN, "do not pay a second time")
		require.Equal(t, at(-4), p.Now.Since)
	}
	guess := incident(-4, "bank-st", doctor.Channel)
	guess.Answer.Ranked[0].Node, guess.Answer.Ranked[0].Kind = doctor.HopPostgres, doctor.Database
	require.Equal(t, notice.Well, states(notice.Build(noon, []doctor.Incident{guess}, false))[notice.App], "a first guess is not for the public")
	guess.Stages[doctor.Diagnosed] = at(-3)
	require.Equal(t, notice.Interrupted, states(notice.Build(noon, []doctor.Incident{guess}, false))[notice.App])
	in := incident(-4, "bank-st", doctor.Channel)
	in.Stages[doctor.Repaired] = at(-1)
	require.Equal(t, notice.Checking, states(notice.Build(noon, []doctor.Incident{in}, false))[notice.Payouts])
	in.Answer.Scope = doctor.Scope{Class: "cohort", Share: .26, Events: 400}
	require.Contains(t, notice.Build(noon, []doctor.Incident{in}, false).Now.Who.EN, "one in four")
	in.Answer.Scope.Events = 3
	require.Empty(t, notice.Build(noon, []doctor.Incident{in}, false).Now.Who.EN, "three payments say nothing of all")
}

// TestTheSilenceIsKept: however long it lasts and whenever one looks, the newest word is
// not older than the budget, and the next is not promised later than it.
func TestTheSilenceIsKept(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		in := incident(0, "bank-st", doctor.Channel)
		last := 1
		for _, s := range doctor.Stages()[1:] {
			if rapid.Bool().Draw(r, string(s)) {
				last += rapid.IntRange(0, 200).Draw(r, "minutes")
				in.Stages[s] = at(last)
			}
		}
		now := at(rapid.IntRange(1, 3000).Draw(r, "now")).Add(time.Duration(rapid.IntRange(0, 59).Draw(r, "s")) * time.Second)
		p := notice.Build(now, []doctor.Incident{in}, false)
		require.NotEmpty(t, p.Now.Updates)
		require.LessOrEqual(t, len(p.Now.Updates), 12)
		newest := p.Now.Updates[0].At
		require.False(t, newest.After(now), "a word from the future")
		require.LessOrEqual(t, now.Sub(newest), notice.Silence)
		require.Equal(t, newest.Add(notice.Silence), p.Now.NextAt)
		for i := 1; i < len(p.Now.Updates); i++ {
			require.False(t, p.Now.Updates[i].At.After(p.Now.Updates[i-1].At))
		}
	})
}

func TestThePast(t *testing.T) {
	t.Parallel()
	closed := func(in doctor.Incident, after int, clean bool) doctor.Incident {
		end := in.Since.Add(time.Duration(after) * time.Minute)
		in.ClosedAt, in.Closing = &end, &doctor.Closing{Clean: clean}
		return in
	}
	old := incident(-100*24*60, "bank-st", doctor.Channel)
	p := notice.Build(noon, []doctor.Incident{
		closed(old, 10, true), closed(incident(-3*24*60, "bank-st", doctor.Channel), 30, true),
		closed(incident(-13*60, doctor.HopPostgres, doctor.Database), 120, false), // over midnight
	}, false)
	require.Len(t, p.Past, 2, "what is older than ninety days is over for good")
	require.Equal(t, at(-13*60), p.Past[0].Since)
	require.Contains(t, p.Past[0].Says.EN, "one by one")
	require.NotContains(t, p.Past[0].Says.EN, "fits", "only a clean proof says that it fits")
	require.Contains(t, p.Past[1].Says.EN, "counted anew and fits")
	require.Equal(t, []int{30, 0, 60, 60}, []int{p.Days[86].Minutes, p.Days[87].Minutes, p.Days[88].Minutes, p.Days[89].Minutes})
	require.Equal(t, notice.Interrupted, p.Days[88].State)
	require.Equal(t, notice.Delayed, p.Days[86].State)
	require.Equal(t, notice.Well, p.State)
}

const poison = "SECRET<script>x</script>"

// taint puts the poison into every text of a value, and a number nobody may see into
// every figure, whatever fields there are or will be.
func taint(v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		taint(v.Elem(), path)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			taint(v.Field(i), path+"."+v.Type().Field(i).Name)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(`"` + poison + `"`))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		taint(v.Index(0), path)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		taint(k, path)
		taint(e, path)
		v.SetMapIndex(k, e)
	case reflect.String:
		v.SetString(poison)
	case reflect.Int, reflect.Int64:
		v.SetInt(8877665)
	case reflect.Uint64:
		v.SetUint(8877665)
	case reflect.Float64:
		v.SetFloat(8877665)
	case reflect.Bool:
		v.SetBool(true)
	default:
	}
}

// TestNothingOfAnIncidentGetsOut: whatever an incident says, of the page only its own words
// and times are made.
func TestNothingOfAnIncidentGetsOut(t *testing.T) {
	t.Parallel()
	var open, closed doctor.Incident
	for _, in := range []*doctor.Incident{&open, &closed} {
		taint(reflect.ValueOf(in).Elem(), "")
		in.Since, in.OpenedAt = at(-30), at(-29)
		in.Answer.Verdict = doctor.CauseFound
		in.Stages = map[doctor.Stage]time.Time{poison: at(-20), doctor.Diagnosed: at(-10)}
	}
	open.ClosedAt = nil
	end := at(-5)
	closed.ClosedAt = &end
	require.Equal(t, poison, open.Alarms[0].Hop, "the poison must be there to be kept out")
	require.Equal(t, poison, open.Answer.Ranked[0].Node)
	p := notice.Build(noon, []doctor.Incident{closed, open}, false)
	require.NotNil(t, p.Now)
	require.Len(t, p.Past, 1)
	raw, err := json.Marshal(p)
	require.NoError(t, err)
	for _, lang := range []string{"en", "zh"} {
		html, err := p.HTML(lang)
		require.NoError(t, err)
		for form, text := range map[string]string{"html " + lang: string(html), "json": string(raw)} {
			require.NotContains(t, text, "SECRET", form)
			require.NotContains(t, text, "8877665", form)
			require.NotContains(t, text, "inc-", form)
			require.NotContains(t, strings.ToLower(text), "<script", form)
		}
	}
	// And of the real ones: no hop, no bank, no cause.
	p = notice.Build(noon, []doctor.Incident{incident(-4, "bank-st", doctor.Channel), incident(-2, doctor.HopPostgres, doctor.Database)}, false)
	html, err := p.HTML("en")
	require.NoError(t, err)
	require.NotRegexp(t, `(?i)postgres|bank-st|decider|dispatch|shard|inc-\d|X[1-6]\b`, string(html))
}

func TestThePageIsWhole(t *testing.T) {
	t.Parallel()
	pages := []*notice.Page{notice.Build(noon, nil, false), notice.Build(noon, nil, true)}
	for hop, kind := range map[string]doctor.Kind{"bank-st": doctor.Channel, doctor.HopPostgres: doctor.Database} {
		in := incident(-200, hop, kind)
		pages = append(pages, notice.Build(noon, []doctor.Incident{in}, false))
		in.Stages = map[doctor.Stage]time.Time{}
		for i, s := range doctor.Stages() {
			in.Stages[s] = at(-150 + i)
		}
		pages = append(pages, notice.Build(noon, []doctor.Incident{in}, false))
	}
	for i, p := range pages {
		for _, lang := range []string{"en", "zh"} {
			html, err := p.HTML(lang)
			require.NoError(t, err)
			text := string(html)
			require.NotRegexp(t, `>\s*</(h1|h2|dt|dd|p)>`, text, fmt.Sprint(i, lang))
			require.NotContains(t, text, "ZgotmplZ")
			require.NotContains(t, text, "<li></li>")
			require.Contains(t, text, p.Says.In(lang))
			require.Equal(t, lang == "zh", strings.Contains(text, `lang="zh-Hans">`+"\n<head>"), lang)
		}
	}
}
