package status_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/status"
)

var update = flag.Bool("update", false, "rewrite testdata/texts.txt")

const (
	golden = "testdata/texts.txt"
	rail   = "bank-ab"
	bound  = 10 * time.Minute
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// life is a payment led by the table of legal moves, and what its postings did.
type life struct {
	p     pay.Payment
	books status.Books
	now   time.Time
	moves []status.Event
}

func newLife(kind pay.Kind) *life {
	p := pay.Payment{
		ID: 42, Kind: kind, Asset: "CZK", Amount: money.Int(50000), Fee: money.Int(200), From: 2, To: 4,
		Channel: rail, CreatedAt: noon, EffectiveAt: noon,
	}
	switch kind {
	case pay.Send:
		p.Channel = ""
	case pay.Payout:
		p.To = 0
	case pay.Deposit:
		p.From, p.Fee = 0, money.Amount{}
	case pay.Hold:
		p.Channel, p.Fee, p.ExpiresAt = "", money.Amount{}, noon.Add(time.Hour)
	}
	l := &life{p: pay.Payment{Kind: kind}, now: noon}
	if err := l.fact(pay.Fact{Kind: pay.Accept, New: &p}); err != nil {
		panic(err)
	}
	return l
}

// fact applies f a second later than the one before.
func (l *life) fact(f pay.Fact) error {
	l.now = l.now.Add(time.Second)
	f.At, f.Payment, f.Asset = l.now, l.p.ID, l.p.Asset
	if f.Amount.IsZero() {
		f.Amount = l.p.Amount
	}
	if f.Kind == pay.Intend {
		f.SendBy = l.now.Add(5 * time.Second)
	}
	if f.Kind == pay.Expire {
		l.now = l.p.ExpiresAt
		f.At = l.now
	}
	from := l.p.State
	c, err := pay.Next(l.p, f)
	if err != nil {
		return err
	}
	l.p = c.After
	if l.p.EnteredAt.IsZero() || l.p.State != from {
		l.p.EnteredAt = l.now
	}
	l.moves = append(l.moves, status.Event{At: l.now, From: from, To: l.p.State, Settlement: l.p.Settlement})
	for _, posting := range c.Postings {
		less, err := posting.Amount.Neg()
		if err != nil {
			return err
		}
		l.move(posting.Debit, less)
		l.move(posting.Credit, posting.Amount)
	}
	return nil
}

func (l *life) move(role pay.Role, by money.Amount) {
	var sum *money.Amount
	switch {
	case role == pay.FromAvailable, role == pay.ToAvailable && l.p.Kind == pay.Deposit:
		sum = &l.books.Available
	case role == pay.FromHeld:
		sum = &l.books.Held
	case role == pay.ToAvailable:
		sum = &l.books.Recipient
	default:
		return
	}
	total, err := sum.Add(by)
	if err != nil {
		panic(err)
	}
	*sum = total
}

func (l *life) status(lang string, o *status.Outlook, breaks int64) status.Status {
	return status.Of(&l.p, status.Facts{Now: l.now, Books: l.books, Breaks: breaks, Forecast: o.Forecast(&l.p, l.now)}, lang)
}

func outlook() *status.Outlook {
	return status.NewOutlook(map[string]time.Duration{rail: bound}, nil)
}

// scenes are every state that each kind can be in, and the cases that differ.
type scene struct {
	name   string
	kind   pay.Kind
	facts  []pay.Fact
	later  time.Duration
	taught bool // the outlook has seen enough payments
	breaks int64
}

func scenes() []scene {
	first := func(kinds ...pay.FactKind) (facts []pay.Fact) {
		for _, k := range kinds {
			facts = append(facts, pay.Fact{Kind: k, Attempt: 1})
			if k == pay.Clear || k == pay.Cancel || k == pay.Checked {
				facts[len(facts)-1].Attempt = 0
			}
		}
		return facts
	}
	part := func(more ...pay.FactKind) []pay.Fact { // of a hold
		facts := []pay.Fact{{Kind: pay.Take, Amount: money.Int(20000)}}
		for _, k := range more {
			facts = append(facts, pay.Fact{Kind: k, Amount: money.Int(20000)})
		}
		return facts
	}
	sent := []pay.FactKind{pay.Clear, pay.Intend}
	after := func(more ...pay.FactKind) []pay.Fact {
		return first(append(append([]pay.FactKind{}, sent...), more...)...)
	}
	return []scene{
		{name: "send succeeded", kind: pay.Send},
		{name: "payout created", kind: pay.Payout},
		{name: "payout reserved", kind: pay.Payout, facts: first(pay.Clear)},
		{name: "payout reserved, by history", kind: pay.Payout, facts: first(pay.Clear), taught: true},
		{name: "payout reserved for long", kind: pay.Payout, facts: first(pay.Clear), later: time.Hour},
		{name: "payout reserved again after proof of absence", kind: pay.Payout, facts: after(pay.Doubt, pay.ProveAbsent)},
		{name: "payout dispatching", kind: pay.Payout, facts: after()},
		{name: "payout processing", kind: pay.Payout, facts: after(pay.Ack)},
		{name: "payout processing, by history", kind: pay.Payout, facts: after(pay.Ack, pay.Checked), taught: true},
		{name: "payout processing past the bound", kind: pay.Payout, facts: after(pay.Ack, pay.Checked), later: time.Hour},
		{name: "payout unknown", kind: pay.Payout, facts: after(pay.Doubt)},
		{name: "payout unknown for long", kind: pay.Payout, facts: after(pay.Doubt, pay.Checked), later: 9*time.Minute + 55*time.Second},
		{name: "payout unknown past the bound", kind: pay.Payout, facts: after(pay.Doubt, pay.Checked), later: time.Hour},
		{name: "payout succeeded", kind: pay.Payout, facts: after(pay.Confirm)},
		{name: "payout succeeded and settled", kind: pay.Payout, facts: after(pay.Confirm, pay.Settle)},
		{name: "payout declined", kind: pay.Payout, facts: after(pay.Decline)},
		{name: "payout proven absent", kind: pay.Payout, facts: after(pay.Doubt, pay.GiveUp)},
		{name: "payout cancelled before its hold", kind: pay.Payout, facts: first(pay.Cancel)},
		{name: "payout cancelled", kind: pay.Payout, facts: first(pay.Clear, pay.Cancel)},
		{name: "payout unknown, with a break", kind: pay.Payout, facts: after(pay.Doubt), breaks: 1},
		{name: "payout declined, then a late outcome", kind: pay.Payout, facts: after(pay.Decline), breaks: 1},
		{name: "hold reserved", kind: pay.Hold},
		{name: "hold reserved, past its time", kind: pay.Hold, later: 2 * time.Hour},
		{name: "hold taken in part", kind: pay.Hold, facts: part()},
		{name: "hold taken whole", kind: pay.Hold, facts: []pay.Fact{{Kind: pay.Take}}},
		{name: "hold taken in part and released", kind: pay.Hold, facts: part(pay.Cancel)},
		{name: "hold taken in part and expired", kind: pay.Hold, facts: part(pay.Expire)},
		{name: "hold released", kind: pay.Hold, facts: []pay.Fact{{Kind: pay.Cancel}}},
		{name: "hold expired", kind: pay.Hold, facts: []pay.Fact{{Kind: pay.Expire}}},
		{name: "hold over, and what was taken given back", kind: pay.Hold, facts: part(pay.Cancel, pay.GiveBack)},
		{name: "hold with a break", kind: pay.Hold, breaks: 1},
		{name: "deposit created", kind: pay.Deposit},
		{name: "deposit processing", kind: pay.Deposit, facts: []pay.Fact{{Kind: pay.Ack}}},
		{name: "deposit succeeded", kind: pay.Deposit, facts: []pay.Fact{{Kind: pay.Confirm}}},
		{name: "deposit declined", kind: pay.Deposit, facts: []pay.Fact{{Kind: pay.Decline}}},
	}
}

func (s scene) play(t *testing.T) (*life, *status.Outlook) {
	t.Helper()
	l, o := newLife(s.kind), outlook()
	for _, f := range s.facts {
		require.NoError(t, l.fact(f), "%s: %s", s.name, f.Kind)
	}
	l.now = l.now.Add(s.later)
	if s.taught {
		past := make([]status.Duration, 200)
		for i := range past {
			past[i] = status.Duration{Kind: s.kind, Channel: rail, Took: time.Duration(i+1) * time.Second, At: noon.Add(-time.Duration(i) * time.Minute)}
		}
		o.Replace(past)
	}
	return l, o
}

// TestTexts holds every object in both languages against the reviewed file.
func TestTexts(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, s := range append(scenes(), expired()) {
		l, o := s.play(t)
		if s.name == "payout expired" {
			l.p.State = pay.Expired
		}
		for _, lang := range status.Languages {
			out, err := json.MarshalIndent(l.status(lang, o, s.breaks), "", "  ")
			require.NoError(t, err)
			fmt.Fprintf(&b, "== %s, %s\n%s\n\n", s.name, lang, out)
		}
	}
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(golden, []byte(b.String()), 0o600))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), b.String(), "read the difference; then go test ./pay/status -update")
}

// expired is a state that no fact leads to yet; the words for it exist.
func expired() scene { return scene{name: "payout expired", kind: pay.Payout} }

// TestWordsKeepTheirPromises reads every scene in both languages for what must
// and must not be said.
func TestWordsKeepTheirPromises(t *testing.T) {
	t.Parallel()
	again := map[string]string{"en": "do not pay again", "zh": "请勿重复支付"}
	back := map[string]string{"en": "goes back", "zh": "退回您的余额"}
	proof := map[string]string{"en": "If it proves that the payment was not carried out", "zh": "若证实未执行"}
	safe := map[string]string{"en": "is safe", "zh": "安全"}
	for _, s := range scenes() {
		for _, lang := range status.Languages {
			l, o := s.play(t)
			got := l.status(lang, o, s.breaks)
			all := strings.Join([]string{got.Texts.Headline, got.Texts.Money, got.Texts.Next, got.Texts.Advice}, "\n")
			require.NotContains(t, all, "{", s.name)
			require.NotContains(t, all, "0001-01-01", s.name)
			require.NotContains(t, all, rail, "no codes of channels: %s", s.name)
			if got.Status == "processing" || !got.Safe {
				require.Contains(t, got.Texts.Advice, again[lang], s.name)
			}
			if strings.Contains(all, back[lang]) {
				require.Contains(t, all, proof[lang], "money back without its condition: %s", s.name)
			}
			if !got.Safe {
				require.NotContains(t, all, safe[lang], s.name)
			}
			if e := got.ETA; e != nil && e.FinalRecordAt != nil && e.FinalRecordAt.Before(got.AsOf) {
				require.Equal(t, status.Delayed, got.Phase, s.name)
			}
		}
	}
}

// TestEveryReachablePayment walks random lives through the table of legal moves.
func TestEveryReachablePayment(t *testing.T) {
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
		breaks := rapid.Int64Range(0, 1).Draw(t, "breaks")
		s := l.status("en", outlook(), breaks)

		live := l.p.Attempt.State.Live()
		require.True(t, status.Explained(&l.p, l.books), "the table's postings explain %s", l.p.State)
		require.Equal(t, breaks == 0, s.Safe)
		require.True(t, !live || s.DoNotRetry, "an attempt is live")
		require.True(t, s.Status != "processing" || s.DoNotRetry)
		require.True(t, !s.CanCancel || ((l.p.State == pay.Created || l.p.State == pay.Reserved) && l.p.Kind == pay.Payout && !live))
		require.True(t, s.Status != "failed" || (l.p.State.Final() && l.p.State != pay.Succeeded && !live))
		require.Equal(t, l.p.Open(), s.ETA != nil)
		require.Equal(t, l.p.Open(), s.NextUpdateAt != nil)
		require.True(t, s.NextUpdateAt == nil || !s.NextUpdateAt.Before(s.AsOf), "no promise in the past")
		require.True(t, breaks == 0 || s.MoneyAt == status.UnderReview)

		// One unit off in any book, and nobody is told that it is safe.
		off, err := l.books.Held.Add(money.Int(1))
		require.NoError(t, err)
		l.books.Held = off
		s = l.status("en", outlook(), 0)
		require.False(t, s.Safe)
		require.Equal(t, status.UnderReview, s.MoneyAt)
		require.True(t, s.DoNotRetry)
	})
}

// A row that claims to have failed while its attempt may still execute does not
// get that word.
func TestFailedNeedsItsProof(t *testing.T) {
	t.Parallel()
	for _, live := range []pay.AttemptState{pay.Intended, pay.Acked, pay.AttemptUnknown, pay.Confirmed} {
		l := newLife(pay.Payout)
		l.books = status.Books{}
		l.p.State, l.p.Attempt = pay.Failed, pay.Attempt{N: 1, State: live}
		s := l.status("en", outlook(), 0)
		require.Equal(t, "processing", s.Status)
		require.False(t, s.Safe)
		require.True(t, s.DoNotRetry)
	}
}

// TestACaseIsTold with its deadline, and that it is late when it is.
func TestACaseIsTold(t *testing.T) {
	t.Parallel()
	l, o := scene{kind: pay.Payout, facts: []pay.Fact{{Kind: pay.Clear}, {Kind: pay.Intend, Attempt: 1}, {Kind: pay.Doubt, Attempt: 1}}}.play(t)
	f := status.Facts{
		Now: l.now, Books: l.books, Forecast: o.Forecast(&l.p, l.now),
		Case: &status.OpenCase{Number: "C-2026-000123", Deadline: l.now.Add(time.Hour)}, AppealURL: "/v1/payments/pay_1/appeal",
	}
	s := status.Of(&l.p, f, "en")
	require.Equal(t, f.Case, s.Case)
	require.Equal(t, f.AppealURL, s.AppealURL)
	require.Contains(t, s.Texts.Next, "case C-2026-000123, due by 2026-11-22 13:00:04 UTC")
	f.Now = f.Now.Add(time.Hour + time.Second)
	require.Contains(t, status.Of(&l.p, f, "zh").Texts.Next, "工单 C-2026-000123 应在 2026-11-22 13:00:04 UTC 前处理,现已逾期")
	f.Case = nil
	require.NotContains(t, status.Of(&l.p, f, "en").Texts.Next, "person")
}
