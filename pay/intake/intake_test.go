package intake_test

import (
	"context"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/intake"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// pen writes down what would reach the decider; only the translation is tested
// here. The api package tests the road through the real one.
type pen struct{ facts []commit.Fact }

func (p *pen) Submit(_ context.Context, f commit.Fact) (commit.Result, error) {
	p.facts = append(p.facts, f)
	return commit.Result{}, nil
}

func (p *pen) SubmitAll(_ context.Context, facts []commit.Fact) []commit.Outcome {
	p.facts = append(p.facts, facts...)
	return make([]commit.Outcome, len(facts))
}

type people map[ledger.AccountID]ledger.Kind

func (p people) Account(_ context.Context, _ int32, id ledger.AccountID) (ledger.Account, error) {
	if k, ok := p[id]; ok {
		return ledger.Account{ID: id, Kind: k}, nil
	}
	return ledger.Account{}, fault.New(fault.NotFound, "")
}

var noon = time.Date(2026, 1, 31, 12, 0, 0, 123456789, time.UTC)

func newIntake(t require.TestingT) (*intake.Intake, *pen) {
	p := new(pen)
	in, err := intake.New(intake.Config{
		Submitter: p, Accounts: people{2: ledger.User, 6: ledger.House}, Originals: none{}, Channels: []string{"bank-ab"}, Clock: clock.NewManual(noon),
	})
	require.NoError(t, err)
	return in, p
}

func send() intake.Request {
	return intake.Request{
		Tenant: 1, Key: "k", Kind: "send", From: pay.AccountID(2).String(), To: pay.AccountID(4).String(), Amount: "700", Asset: "CZK",
	}
}

func TestAcceptFormsTheFact(t *testing.T) {
	t.Parallel()
	in, p := newIntake(t)
	r := send()
	r.Remittance, r.Metadata, r.TraceID = "695247", map[string]string{"b": "2", "a": "1"}, pay.TraceID{1}
	_, err := in.Accept(t.Context(), &r)
	require.NoError(t, err)
	f := p.facts[0].Payment
	require.Equal(t, pay.Accept, f.Kind)
	require.Equal(t, `{"a":"1","b":"2"}`, f.New.Metadata) //nolint:testifylint // the text is kept, so the order of its keys counts
	require.Equal(t, noon.Truncate(time.Microsecond), f.New.EffectiveAt)
	require.Equal(t, pay.TraceID{1}, f.New.TraceID)
	require.Equal(t, intake.NewKey(1, 2, "k"), f.New.Key)
	c, err := pay.Next(pay.Payment{Kind: pay.Send}, *f)
	require.NoError(t, err, "the table takes what intake forms")
	require.Equal(t, pay.Succeeded, c.To)
}

// TestFingerprint: the same payload has one fingerprint, at any time and with any
// trace and key; any other payload has another.
func TestFingerprint(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[ -~]{0,12}`)
		order := func(name string) intake.Request {
			return intake.Request{
				Tenant: 1, Key: "k", Kind: "payout", From: pay.AccountID(2).String(), Amount: rapid.StringMatching(`[1-9][0-9]?`).Draw(t, name+"amount"),
				Asset: "CZK", Channel: "bank-ab", PayeeAccount: "1" + text.Draw(t, name+"account"), PayeeName: text.Draw(t, name+"name"),
				Remittance:  text.Draw(t, name+"remittance"),
				Metadata:    rapid.MapOfN(rapid.StringMatching(`[ab]{1,2}`), text, 0, 2).Draw(t, name+"metadata"),
				EffectiveAt: rapid.SampledFrom([]time.Time{{}, noon, noon.Add(-time.Hour)}).Draw(t, name+"at"),
			}
		}
		in, p := newIntake(t)
		a, b := order("a "), order("b ")
		again := a
		again.Key, again.TraceID, again.EffectiveAt = "other", pay.TraceID{9}, a.EffectiveAt.In(time.FixedZone("", 3600))
		if a.EffectiveAt.IsZero() {
			again.EffectiveAt = time.Time{}
		}
		for _, r := range []intake.Request{a, again, b} {
			_, err := in.Accept(context.Background(), &r)
			require.NoError(t, err)
		}
		f := func(i int) pay.Fingerprint { return p.facts[i].Payment.Fingerprint }
		require.Equal(t, f(0), f(1))
		same := a.Amount == b.Amount && a.PayeeAccount == b.PayeeAccount && a.PayeeName == b.PayeeName && a.Remittance == b.Remittance &&
			a.EffectiveAt.Equal(b.EffectiveAt) && p.facts[0].Payment.New.Metadata == p.facts[2].Payment.New.Metadata
		require.Equal(t, same, f(0) == f(2))
	})
}

func TestKeyScope(t *testing.T) {
	t.Parallel()
	k := intake.NewKey(1, 2, "k")
	require.Equal(t, k, intake.NewKey(1, 2, "k"))
	holder, tenant, raw := intake.NewKey(1, 4, "k"), intake.NewKey(2, 2, "k"), intake.NewKey(1, 2, "l")
	require.Equal(t, k[:8], holder[:8], "one range finds every holder's use")
	require.NotEqual(t, k[8:], holder[8:])
	for _, other := range []pay.Key{tenant, raw} {
		require.NotEqual(t, binary.BigEndian.Uint64(k[:8]), binary.BigEndian.Uint64(other[:8]))
		require.NotEqual(t, binary.BigEndian.Uint64(k[8:]), binary.BigEndian.Uint64(other[8:]))
	}
}

func TestNormaliseKey(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"k": "k", ` k	`: "k", `"k"`: "k", `"a\"b\\c"`: `a"b\c`, "a b": "a b", strings.Repeat("k", 255): strings.Repeat("k", 255),
		`a"b`: `a"b`,
	} {
		got, err := intake.NormaliseKey(raw)
		require.NoError(t, err, raw)
		require.Equal(t, want, got)
	}
	for raw, code := range map[string]fault.Code{
		"": fault.IdempotencyKeyMissing, " ": fault.IdempotencyKeyMissing, `""`: fault.IdempotencyKeyInvalid, `"a`: fault.IdempotencyKeyInvalid,
		`"`: fault.IdempotencyKeyInvalid, `"a"b"`: fault.IdempotencyKeyInvalid, `"a\b"`: fault.IdempotencyKeyInvalid, `"a\"`: fault.IdempotencyKeyInvalid,
		"č": fault.IdempotencyKeyInvalid, "a\x00": fault.IdempotencyKeyInvalid, strings.Repeat("k", 256): fault.IdempotencyKeyInvalid,
	} {
		_, err := intake.NormaliseKey(raw)
		require.ErrorIs(t, err, code, raw)
	}
}

func FuzzNormaliseKey(f *testing.F) {
	for _, s := range []string{"k", `"k"`, `"\"`, `"\\"`, "", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := intake.NormaliseKey(raw)
		if err != nil {
			return
		}
		require.NotEmpty(t, got)
		require.LessOrEqual(t, len(got), 255)
		quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(got) + `"`
		back, err := intake.NormaliseKey(quoted)
		require.NoError(t, err)
		require.Equal(t, got, back, "bare and quoted are one key")
	})
}

func TestHouseAccounts(t *testing.T) {
	t.Parallel()
	in, p := newIntake(t)
	r := send()
	r.From = pay.AccountID(6).String()
	_, err := in.Accept(t.Context(), &r)
	require.ErrorIs(t, err, fault.HouseAccountForbidden)
	r.House = true
	_, err = in.Accept(t.Context(), &r)
	require.NoError(t, err)
	r.House, r.From = false, pay.AccountID(8).String()
	_, err = in.Accept(t.Context(), &r)
	require.NoError(t, err, "an account that is not there is the decider's to refuse")
	require.Len(t, p.facts, 2)
	_, err = in.OpenAccount(t.Context(), &intake.OpenRequest{Tenant: 1, Key: "k", Asset: "CZK", Kind: "house"})
	require.ErrorIs(t, err, fault.HouseAccountForbidden)
	_, err = in.OpenAccount(t.Context(), &intake.OpenRequest{Tenant: 1, Key: "k", Asset: "CZK", Kind: "house", House: true, Floor: "-1"})
	require.ErrorIs(t, err, fault.FloorInvalid)
}

func TestSeveralProblemsAtOnce(t *testing.T) {
	t.Parallel()
	in, p := newIntake(t)
	_, err := in.Accept(t.Context(), &intake.Request{Tenant: 1, Key: "k", Kind: "payout", Asset: "czk", Amount: "0"})
	var several intake.Problems
	require.ErrorAs(t, err, &several)
	require.Len(t, several, 5)
	require.ErrorIs(t, err, fault.AssetUnknown)
	require.ErrorIs(t, err, fault.ChannelUnknown)
	require.Equal(t, fault.AssetUnknown, fault.CodeOf(err), "the first one is its code")
	require.Empty(t, p.facts)
}

func BenchmarkAccept(b *testing.B) {
	p := new(pen)
	in, err := intake.New(intake.Config{Submitter: p, Accounts: people{2: ledger.User}, Originals: none{}})
	require.NoError(b, err)
	r := send()
	b.ReportAllocs()
	for b.Loop() {
		p.facts = p.facts[:0]
		if _, err := in.Accept(b.Context(), &r); err != nil {
			b.Fatal(err)
		}
	}
}

func TestAHoldExpiresInSevenDaysOrWhenItsCallerSays(t *testing.T) {
	t.Parallel()
	in, p := newIntake(t)
	r := send()
	r.Kind = "hold"
	say := noon.Add(time.Hour)
	for _, at := range []time.Time{{}, say, say.Add(time.Microsecond)} {
		r.ExpiresAt = at
		_, err := in.Accept(t.Context(), &r)
		require.NoError(t, err)
	}
	facts := p.facts
	require.Equal(t, noon.Truncate(time.Microsecond).Add(intake.HoldDefault), facts[0].Payment.New.ExpiresAt)
	require.Equal(t, say.Truncate(time.Microsecond), facts[1].Payment.New.ExpiresAt)
	require.NotEqual(t, facts[0].Payment.Fingerprint, facts[1].Payment.Fingerprint)
	require.NotEqual(t, facts[1].Payment.Fingerprint, facts[2].Payment.Fingerprint)
	r.ExpiresAt = noon.Add(intake.HoldMax + time.Second)
	_, tooFar := in.Accept(t.Context(), &r)
	require.ErrorIs(t, tooFar, fault.MalformedRequest)

	hold := *facts[1].Payment.New
	hold.ID = 9
	for _, amount := range []string{"5", "6"} {
		_, err := in.Capture(t.Context(), &intake.CaptureRequest{Hold: hold, Key: "c", Amount: amount})
		require.NoError(t, err)
	}
	c, d := p.facts[3].Payment, p.facts[4].Payment
	require.Equal(t, pay.Capture, c.New.Kind)
	require.Equal(t, []any{hold.ID, hold.From, hold.To, hold.Asset}, []any{c.New.Original, c.New.From, c.New.To, c.New.Asset})
	require.Equal(t, intake.NewKey(1, hold.From, "c"), c.New.Key)
	require.NotEqual(t, c.Fingerprint, d.Fingerprint)
	hold.From = 6
	_, err := in.Capture(t.Context(), &intake.CaptureRequest{Hold: hold, Key: "c", Amount: "5"})
	require.ErrorIs(t, err, fault.HouseAccountForbidden)
}

// none knows no payment that could be given back.
type none struct{}

func (none) Timeline(context.Context, pay.TenantID, pay.ID) (commit.Timeline, error) {
	return commit.Timeline{}, fault.New(fault.NotFound, "")
}

func (none) Payment(context.Context, pay.TenantID, pay.ID) (pay.Payment, error) {
	return pay.Payment{}, fault.New(fault.NotFound, "")
}
