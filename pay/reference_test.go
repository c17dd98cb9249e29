package pay_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moneta-pay/moneta/pay"
)

func TestIDsAndReferencesComeBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(1, math.MaxInt64).Draw(t, "id")
		attempt := rapid.Int16Range(0, math.MaxInt16).Draw(t, "attempt")
		id, err := pay.ParseID(pay.ID(n).String())
		require.NoError(t, err)
		require.Equal(t, pay.ID(n), id)
		account, err := pay.ParseAccountID(pay.AccountID(n).String())
		require.NoError(t, err)
		require.Equal(t, pay.AccountID(n), account)
		ref := pay.Reference(pay.ID(n), attempt)
		require.LessOrEqual(t, len(ref), 32, "rails take no longer ones")
		require.Regexp(t, `^[0-9A-Z]+$`, ref)
		gotID, gotAttempt, err := pay.ParseReference(ref)
		require.NoError(t, err)
		require.Equal(t, pay.ID(n), gotID)
		require.Equal(t, attempt, gotAttempt)
	})
}

func TestReferencesSortAsTheirPayments(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.Int64Range(1, math.MaxInt64).Draw(t, "a")
		b := rapid.Int64Range(1, math.MaxInt64).Draw(t, "b")
		require.Equal(t, a < b, pay.ID(a).String() < pay.ID(b).String())
	})
}

func TestWhatIsNotAnID(t *testing.T) {
	t.Parallel()
	good := pay.ID(77).String()
	for _, s := range []string{
		"", "pay_", good + "0", good[:len(good)-1], "acct_" + good[4:], good[:16] + "I", good[:16] + "l",
		"pay_ZZZZZZZZZZZZZ", "pay_0000000000000", " " + good,
	} {
		_, err := pay.ParseID(s)
		require.ErrorIs(t, err, pay.ErrBadID, "%q", s)
	}
	ref := pay.Reference(77, 1)
	for _, s := range []string{
		"", "M", ref[:len(ref)-1], ref + "x", ref[:len(ref)-1] + "01", ref[:len(ref)-1] + "+1", ref[:len(ref)-1] + "-1",
		ref[:len(ref)-1] + "32768", "N" + ref[1:], ref[:14] + "B1", ref + "0000000000000000000",
	} {
		_, _, err := pay.ParseReference(s)
		require.ErrorIs(t, err, pay.ErrBadID, "%q", s)
	}
}

func FuzzParseID(f *testing.F) {
	for _, s := range []string{"", "pay_", "pay_000000000002D", "acct_000000000002D", "pay_ZZZZZZZZZZZZZ", "pay_\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := pay.ParseID(s); err == nil {
			require.Positive(t, int64(id))
			require.Equal(t, s, id.String(), "one id has one spelling")
		} else {
			require.Zero(t, id)
		}
		if id, err := pay.ParseAccountID(s); err == nil {
			require.Positive(t, int64(id))
			require.Equal(t, s, id.String())
		}
	})
}

func FuzzParseReference(f *testing.F) {
	for _, s := range []string{"", "M000000000002DA1", "M000000000002DA0", "M000000000002DA32767", "M000000000002DA00", "MA"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, attempt, err := pay.ParseReference(s)
		if err != nil {
			require.Zero(t, id)
			return
		}
		require.Positive(t, int64(id))
		require.GreaterOrEqual(t, attempt, int16(0))
		require.Equal(t, s, pay.Reference(id, attempt), "one reference has one spelling")
	})
}
