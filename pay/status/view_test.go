package status_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/status"
)

const pages = "testdata/pages.txt"

func (l *life) view(lang string, o *status.Outlook, breaks int64) status.View {
	return status.ViewOf(&l.p, status.Facts{Now: l.now, Books: l.books, Breaks: breaks, Forecast: o.Forecast(&l.p, l.now)}, l.moves, lang)
}

// TestPages holds the page of every scene in both languages against the reviewed file.
func TestPages(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, s := range scenes() {
		l, o := s.play(t)
		for _, lang := range status.Languages {
			v := l.view(lang, o, s.breaks)
			v.Status = status.Status{} // stands in texts.txt
			raw, err := json.MarshalIndent(v, "", "  ")
			require.NoError(t, err)
			fmt.Fprintf(&b, "== %s, %s\n%s\n\n", s.name, lang, raw)
		}
	}
	if *update {
		require.NoError(t, os.WriteFile(pages, []byte(b.String()), 0o600))
	}
	want, err := os.ReadFile(pages)
	require.NoError(t, err)
	require.Equal(t, string(want), b.String(), "read the difference; then go test ./pay/status -update")
}

// requireHonest holds a page to what it must and must not say.
func requireHonest(t require.TestingT, v *status.View, lang string) {
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	all := string(raw)
	require.NotContains(t, strings.Trim(all, "{}"), "{re", "every value is filled in")
	require.NotContains(t, all, "{at}")
	require.NotContains(t, all, "0001-01-01")
	require.NotContains(t, all, rail, "no codes of channels")
	require.Len(t, v.Questions, 6)
	require.Len(t, v.Guide.Checks, 5)
	now := 0
	for i, s := range v.Steps {
		require.NotEmpty(t, s.Label)
		if s.State == status.StepNow {
			now++
		}
		if s.State == status.StepAhead && i > 0 {
			require.NotEqual(t, status.StepStopped, v.Steps[i-1].State, "nothing is ahead of an end")
		}
	}
	last := v.Steps[len(v.Steps)-1]
	switch {
	case !v.Status.Safe:
		require.Equal(t, "review", last.Code)
		require.Len(t, v.Steps, 2, "nothing is claimed of where it is")
		require.Contains(t, v.Questions[0].Answer, map[string]string{"en": "do not call it safe", "zh": "不会说它是安全"}[lang])
	case v.FinalAt == nil:
		require.Equal(t, 1, now, "an open payment is at one step: %v", v.Steps)
	default:
		require.Zero(t, now, "%v", v.Steps)
		require.Contains(t, []string{status.StepDone, status.StepStopped}, last.State)
		require.Equal(t, v.Status.Status == "succeeded", last.State == status.StepDone)
	}
	again := map[string][2]string{"en": {"No.", "Yes."}, "zh": {"请勿重复支付", "可以。"}}[lang]
	answer := v.Questions[1].Answer
	require.Equal(t, v.Status.DoNotRetry, strings.HasPrefix(answer, again[0]))
	require.Equal(t, !v.Status.DoNotRetry, strings.HasPrefix(answer, again[1]))
}

// TestPagesKeepTheirPromises on every reachable payment.
func TestPagesKeepTheirPromises(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := newLife(rapid.SampledFrom([]pay.Kind{pay.Send, pay.Payout, pay.Deposit}).Draw(t, "kind"))
		for range rapid.IntRange(0, 12).Draw(t, "steps") {
			f := pay.Fact{Kind: rapid.SampledFrom([]pay.FactKind{
				pay.Clear, pay.Intend, pay.Ack, pay.Doubt, pay.Confirm, pay.Decline, pay.ProveAbsent, pay.GiveUp, pay.Cancel, pay.Settle, pay.Checked,
			}).Draw(t, "fact")}
			f.Attempt = l.p.Attempt.N
			if f.Kind == pay.Intend {
				f.Attempt++
			}
			_ = l.fact(f) // an illegal move changes nothing
		}
		l.now = l.now.Add(time.Duration(rapid.Int64Range(0, int64(3*time.Hour)).Draw(t, "later")))
		lang := rapid.SampledFrom(status.Languages).Draw(t, "lang")
		v := l.view(lang, outlook(), rapid.Int64Range(0, 1).Draw(t, "breaks"))
		requireHonest(t, &v, lang)
	})
}

// TestEveryKindAndStateHasWords: a page is never a panic.
func TestEveryKindAndStateHasWords(t *testing.T) {
	t.Parallel()
	l := newLife(pay.Payout)
	for kind := pay.Send; kind <= pay.Compensation; kind++ {
		for state := pay.Created; state <= pay.Expired; state++ {
			p := l.p
			p.Kind, p.State = kind, state
			if kind == pay.Deposit && (state == pay.RequiresAction || state == pay.Reserved || state == pay.Dispatching) {
				continue // the table has no such deposit
			}
			events := []status.Event{{At: noon, To: pay.Created}, {At: noon, From: pay.Created, To: state}, {At: noon, Said: "hello"}, {At: noon, Case: "C-2026-000001"}}
			for linked := pay.Capture; linked <= pay.Compensation; linked++ {
				if linked != pay.Inbound {
					events = append(events, status.Event{At: noon, Linked: linked})
				}
			}
			for _, lang := range status.Languages {
				v := status.ViewOf(&p, status.Facts{Now: noon}, events, lang)
				require.NotEmpty(t, v.Steps)
			}
		}
	}
}

// TestWhatIsSentAgainIsNotSentYet: a proof of absence takes the step back.
func TestWhatIsSentAgainIsNotSentYet(t *testing.T) {
	t.Parallel()
	for _, s := range scenes() {
		if s.name != "payout reserved again after proof of absence" {
			continue
		}
		l, o := s.play(t)
		v := l.view("en", o, 0)
		require.Equal(t, "sent", v.Steps[1].Code)
		require.Equal(t, status.StepNow, v.Steps[1].State)
		require.Nil(t, v.Steps[1].At)
		require.Contains(t, v.Story[len(v.Story)-1].Text, "sent again")
		return
	}
	t.Fatal("no such scene")
}
