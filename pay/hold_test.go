package pay_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
)

func taking(p pay.Payment, amount int64) pay.Fact {
	f := about(p, pay.Take)
	f.Amount = money.Int(amount)
	return f
}

func TestAHoldIsTakenInPartsAndTheRestGoesBack(t *testing.T) {
	t.Parallel()
	p := asIs(pay.Hold, pay.Reserved)
	entered, next := p.EnteredAt, p.NextAt
	c, err := pay.Next(p, taking(p, 400))
	require.NoError(t, err)
	require.Equal(t, pay.Reserved, c.To)
	require.Equal(t, "600", c.After.Remaining().String())
	require.Equal(t, entered, c.After.EnteredAt, "it stays where it is")
	require.Equal(t, next, c.After.NextAt, "and expires when it would have")
	require.Equal(t, p.Seq+1, c.After.Seq)
	p = c.After

	_, err = pay.Next(p, taking(p, 601))
	require.ErrorIs(t, err, pay.ErrExceeds)
	for _, none := range []int64{0, -1} {
		_, err = pay.Next(p, taking(p, none))
		require.ErrorIs(t, err, pay.ErrIllegal)
	}
	foreign := taking(p, 1)
	foreign.Asset = "EUR"
	_, err = pay.Next(p, foreign)
	require.ErrorIs(t, err, pay.ErrIllegal)

	released, err := pay.Next(p, about(p, pay.Cancel))
	require.NoError(t, err)
	require.Equal(t, pay.Succeeded, released.To, "a part was taken, so it has succeeded")
	require.Equal(t, []pay.Posting{{Debit: pay.FromHeld, Credit: pay.FromAvailable, Amount: money.Int(600)}}, released.Postings)
	require.True(t, released.After.Remaining().IsZero())

	all, err := pay.Next(p, taking(p, 600))
	require.NoError(t, err)
	require.Equal(t, pay.Succeeded, all.To)
	require.Empty(t, all.Postings)
	again, err := pay.Next(all.After, about(all.After, pay.Cancel))
	require.NoError(t, err)
	require.True(t, again.NoOp(), "there is nothing to let go of")
}

// The instant decides between a capture and the expiry, not who is quicker.
func TestAHoldExpiresAtItsInstant(t *testing.T) {
	t.Parallel()
	p := asIs(pay.Hold, pay.Reserved)
	for _, c := range []struct {
		at            time.Duration
		take, expires error
	}{
		{-time.Microsecond, nil, pay.ErrIllegal},
		{0, pay.ErrOver, nil},
		{time.Hour, pay.ErrOver, nil},
	} {
		take, expire := taking(p, 1), about(p, pay.Expire)
		take.At, expire.At = p.ExpiresAt.Add(c.at), p.ExpiresAt.Add(c.at)
		_, err := pay.Next(p, take)
		require.ErrorIs(t, err, c.take)
		_, err = pay.Next(p, expire)
		require.ErrorIs(t, err, c.expires)
	}
}

func TestWhatAHoldNeeds(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*pay.Payment){
		"a fee":        func(p *pay.Payment) { p.Fee = money.Int(1) },
		"no expiry":    func(p *pay.Payment) { p.ExpiresAt = time.Time{} },
		"a past one":   func(p *pay.Payment) { p.ExpiresAt = noon },
		"an original":  func(p *pay.Payment) { p.Original = 3 },
		"taken before": func(p *pay.Payment) { p.Taken = money.Int(1) },
	} {
		f := about(asIs(pay.Hold, pay.None), pay.Accept)
		spoil(f.New)
		_, err := pay.Next(pay.Payment{Kind: pay.Hold}, f)
		require.ErrorIs(t, err, pay.ErrIllegal, name)
	}
	f := about(asIs(pay.Capture, pay.None), pay.Accept)
	f.New.Original = 0
	_, err := pay.Next(pay.Payment{Kind: pay.Capture}, f)
	require.ErrorIs(t, err, pay.ErrIllegal, "a capture of nothing")
}
