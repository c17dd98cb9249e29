package channeltest

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/channel"
)

// next waits for the server's next callback.
func (r Rig) next(t *testing.T) Delivery {
	t.Helper()
	select {
	case delivery := <-r.Callbacks:
		return delivery
	case <-time.After(patience):
		require.FailNow(t, "no callback came")
		return Delivery{}
	}
}

func testCallbacks(t *testing.T, h Harness) {
	t.Parallel()
	rig := h.New(t)
	rig.send(t, rig.order("call-1", 4200))
	genuine := rig.next(t)
	word, err := rig.Channel.Callback(genuine.Header, genuine.Body)
	require.NoError(t, err)
	require.Equal(t, channel.Confirmed, word.Verdict)
	require.Equal(t, "call-1", word.Reference)
	require.Equal(t, channel.Out, word.Direction)
	require.Equal(t, money.Int(4200), word.Amount)
	require.Equal(t, rig.Asset, word.Asset)
	require.NotEmpty(t, word.EventID)
	require.False(t, word.OccurredAt.IsZero())

	t.Run("Altered", func(t *testing.T) { testAltered(t, rig, genuine) })
	t.Run("Time", func(t *testing.T) { testSignatureTime(t, h, rig, genuine, word) })
	t.Run("Rotation", func(t *testing.T) { testRotation(t, h, rig, genuine, word) })
	t.Run("SignedNonsense", func(t *testing.T) {
		for _, body := range []string{"", "{}", "[]", "null", "<html>", `{"type":"payment.executed"}`} {
			broken := Delivery{genuine.Header, []byte(body)}
			header := h.Sign(h.Secret, rig.Clock.Now(), broken)
			_, err := rig.Channel.Callback(header, broken.Body)
			require.ErrorIs(t, err, channel.ErrMalformed, "%q", body)
		}
	})
	t.Run("Decline", func(t *testing.T) {
		rig := h.New(t)
		rig.Script(t, Decline)
		rig.send(t, rig.order("call-2", 10))
		refused := rig.next(t)
		word, err := rig.Channel.Callback(refused.Header, refused.Body)
		require.NoError(t, err)
		require.Equal(t, channel.Declined, word.Verdict)
		require.NotEmpty(t, word.Reason)
	})
	t.Run("Credit", func(t *testing.T) {
		rig := h.New(t)
		rig.Credit(t, "dep-7", money.Int(31))
		credit := rig.next(t)
		word, err := rig.Channel.Callback(credit.Header, credit.Body)
		require.NoError(t, err)
		require.Equal(t, channel.Confirmed, word.Verdict)
		require.Equal(t, channel.In, word.Direction)
		require.Equal(t, "dep-7", word.Reference)
		require.Equal(t, money.Int(31), word.Amount)
	})
}

// testAltered flips every byte of the body in turn, and loses or spoils every
// header.
func testAltered(t *testing.T, rig Rig, genuine Delivery) {
	for i := range genuine.Body {
		body := bytes.Clone(genuine.Body)
		body[i] ^= 1
		_, err := rig.Channel.Callback(genuine.Header, body)
		require.ErrorIs(t, err, channel.ErrSignature, "byte %d", i)
	}
	_, err := rig.Channel.Callback(genuine.Header, append(bytes.Clone(genuine.Body), ' '))
	require.ErrorIs(t, err, channel.ErrSignature, "verified over the raw bytes, not over what they mean")
	for name := range genuine.Header {
		header := genuine.Header.Clone()
		header.Del(name)
		if _, err := rig.Channel.Callback(header, genuine.Body); err != nil {
			continue // this header matters, and its absence was noticed
		}
		require.NotContains(t, name, "Signature")
	}
	_, err = rig.Channel.Callback(nil, genuine.Body)
	require.ErrorIs(t, err, channel.ErrSignature)
}

// testSignatureTime walks around both edges of the tolerance.
func testSignatureTime(t *testing.T, h Harness, rig Rig, genuine Delivery, want channel.Word) {
	now := rig.Clock.Now()
	for _, c := range []struct {
		age   time.Duration
		stale bool
	}{
		{0, false},
		{channel.SignatureTolerance, false},
		{channel.SignatureTolerance + time.Second, true},
		{24 * time.Hour, true},
		{-channel.SignatureTolerance, false},
		{-channel.SignatureTolerance - time.Second, true},
	} {
		header := h.Sign(h.Secret, now.Add(-c.age), genuine)
		word, err := rig.Channel.Callback(header, genuine.Body)
		if c.stale {
			require.ErrorIs(t, err, channel.ErrStale, "age %s", c.age)
			continue
		}
		require.NoError(t, err, "age %s", c.age)
		require.Equal(t, want, word)
	}
	// Stored raw at its arrival, verified a day later, after an outage.
	later := rig.Clock.Now().Add(24 * time.Hour)
	header := h.Sign(h.Secret, later, genuine)
	word, err := rig.Channel.CallbackAt(later.Add(time.Second), header, genuine.Body)
	require.NoError(t, err)
	require.Equal(t, want, word)
	_, err = rig.Channel.CallbackAt(later.Add(time.Hour), header, genuine.Body)
	require.ErrorIs(t, err, channel.ErrStale)
}

// testRotation: two secrets verify, a third does not.
func testRotation(t *testing.T, h Harness, rig Rig, genuine Delivery, want channel.Word) {
	for _, secrets := range [][]string{{h.Secret}, {"the-next-secret", h.Secret}, {h.Secret, "the-last-secret"}} {
		word, err := h.WithSecrets(t, rig.Clock, secrets...).Callback(genuine.Header, genuine.Body)
		require.NoError(t, err)
		require.Equal(t, want, word)
	}
	_, err := h.WithSecrets(t, rig.Clock, "the-next-secret", "the-last-secret").Callback(genuine.Header, genuine.Body)
	require.ErrorIs(t, err, channel.ErrSignature)
	forged := h.Sign("guess", rig.Clock.Now(), genuine)
	_, err = rig.Channel.Callback(forged, genuine.Body)
	require.ErrorIs(t, err, channel.ErrSignature)
}
