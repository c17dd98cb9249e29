package money

import (
	"encoding"
	"encoding/json"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var (
	_ encoding.TextAppender    = Amount{}
	_ encoding.TextMarshaler   = Amount{}
	_ encoding.TextUnmarshaler = (*Amount)(nil)
	_ json.Marshaler           = Amount{}
	_ json.Unmarshaler         = (*Amount)(nil)
)

var (
	bigMin = new(big.Int).Neg(new(big.Int).Lsh(big.NewInt(1), 127))
	bigMax = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 127), big.NewInt(1))
)

// toBig is the oracle's view of an amount, computed from its parts alone.
func toBig(a Amount) *big.Int {
	hi, lo := a.Parts()
	v := new(big.Int).Lsh(big.NewInt(hi), 64)
	return v.Add(v, new(big.Int).SetUint64(lo))
}

func fits(v *big.Int) bool { return v.Cmp(bigMin) >= 0 && v.Cmp(bigMax) <= 0 }

// anyAmount draws from the whole range, with weight on its ends, on the borders
// between one and two words, and on powers of ten.
func anyAmount() *rapid.Generator[Amount] {
	return rapid.Custom(func(t *rapid.T) Amount {
		near := rapid.SampledFrom([]Amount{
			{},
			Max, Min,
			{hi: 0, lo: 1 << 63},
			{hi: 0, lo: 1<<64 - 1},
			{hi: -1, lo: 1 << 63},
			{hi: -1},
			MustParseMinor("10000000000000000000"), MustParseMinor("-10000000000000000"),
			MustParseMinor("100000000000000000000000000000000000000"),
		})
		switch rapid.IntRange(0, 3).Draw(t, "shape") {
		case 0:
			return Int(rapid.Int64().Draw(t, "small"))
		case 1:
			base := near.Draw(t, "near")
			a, err := base.Add(Int(rapid.Int64Range(-3, 3).Draw(t, "offset")))
			if err != nil {
				return base
			}
			return a
		default:
			return FromParts(rapid.Int64().Draw(t, "hi"), rapid.Uint64().Draw(t, "lo"))
		}
	})
}

// checkAgainst demands that got is want, or ErrOverflow exactly when want is out
// of range.
func checkAgainst(t require.TestingT, want *big.Int, got Amount, err error) {
	if !fits(want) {
		require.ErrorIs(t, err, ErrOverflow)
		require.Equal(t, Amount{}, got)
		return
	}
	require.NoError(t, err)
	require.Equal(t, want.String(), toBig(got).String())
}

func TestArithmeticAgreesWithBig(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyAmount().Draw(t, "a"), anyAmount().Draw(t, "b")
		x, y := toBig(a), toBig(b)

		sum, err := a.Add(b)
		checkAgainst(t, new(big.Int).Add(x, y), sum, err)
		diff, err := a.Sub(b)
		checkAgainst(t, new(big.Int).Sub(x, y), diff, err)
		neg, err := a.Neg()
		checkAgainst(t, new(big.Int).Neg(x), neg, err)
		n := rapid.Int64().Draw(t, "n")
		prod, err := a.MulInt(n)
		checkAgainst(t, new(big.Int).Mul(x, big.NewInt(n)), prod, err)

		require.Equal(t, x.Cmp(y), a.Cmp(b))
		require.Equal(t, x.Cmp(y) < 0, a.Less(b))
		require.Equal(t, x.Sign(), a.Sign())
		require.Equal(t, x.Sign() == 0, a.IsZero())
		require.Equal(t, x.Cmp(y) == 0, a == b)

		v, ok := a.Int64()
		require.Equal(t, x.IsInt64(), ok)
		if ok {
			require.Equal(t, x.Int64(), v)
			require.Equal(t, a, Int(v))
		} else {
			require.Zero(t, v)
		}
	})
}

func TestPartsAndAbsLoseNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := anyAmount().Draw(t, "a")
		require.Equal(t, a, FromParts(a.Parts()))

		hi, lo, neg := a.Abs()
		magnitude := new(big.Int).Lsh(new(big.Int).SetUint64(hi), 64)
		magnitude.Add(magnitude, new(big.Int).SetUint64(lo))
		require.Equal(t, new(big.Int).Abs(toBig(a)).String(), magnitude.String())
		require.Equal(t, a.Sign() < 0, neg)

		back, err := fromAbs(hi, lo, neg)
		require.NoError(t, err)
		require.Equal(t, a, back)
	})
}

func TestFromAbsRefusesWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		hi, lo, neg := rapid.Uint64().Draw(t, "hi"), rapid.Uint64().Draw(t, "lo"), rapid.Bool().Draw(t, "neg")
		want := new(big.Int).Lsh(new(big.Int).SetUint64(hi), 64)
		want.Add(want, new(big.Int).SetUint64(lo))
		if neg {
			want.Neg(want)
		}
		got, err := fromAbs(hi, lo, neg)
		checkAgainst(t, want, got, err)
	})
}

func TestEndsOfTheRange(t *testing.T) {
	t.Parallel()
	require.Equal(t, bigMax.String(), Max.String())
	require.Equal(t, bigMin.String(), Min.String())

	_, err := Max.Add(Int(1))
	require.ErrorIs(t, err, ErrOverflow)
	_, err = Min.Sub(Int(1))
	require.ErrorIs(t, err, ErrOverflow)
	_, err = Min.Neg()
	require.ErrorIs(t, err, ErrOverflow)
	_, err = Min.MulInt(-1)
	require.ErrorIs(t, err, ErrOverflow)

	// The upper words multiply to exactly 2^64-1, and only the carry overflows.
	_, err = FromParts(3, 1<<63).MulInt(6148914691236517205)
	require.ErrorIs(t, err, ErrOverflow)

	neg, err := Max.Neg()
	require.NoError(t, err)
	lowest, err := neg.Sub(Int(1))
	require.NoError(t, err)
	require.Equal(t, Min, lowest)
	require.Equal(t, "18446744073709551615", Uint(1<<64-1).String())
}

func TestSum(t *testing.T) {
	t.Parallel()
	total, err := Sum()
	require.NoError(t, err)
	require.True(t, total.IsZero())

	total, err = Sum(Int(5), Int(-7), Max, Int(1))
	require.NoError(t, err)
	want, err := Max.Sub(Int(1))
	require.NoError(t, err)
	require.Equal(t, want, total)

	_, err = Sum(Max, Int(1), Int(-1))
	require.ErrorIs(t, err, ErrOverflow, "a partial sum must not wrap even if the end fits")
	require.ErrorContains(t, err, "index 1")
}

func TestBase10000AgreesWithBig(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := anyAmount().Draw(t, "a")
		digits, neg := a.AppendBase10000([]uint16{42})
		require.Equal(t, uint16(42), digits[0], "what dst held must stay")
		digits = digits[1:]

		value := new(big.Int)
		for _, d := range digits {
			require.Less(t, d, uint16(10_000))
			value.Add(value.Mul(value, big.NewInt(10_000)), big.NewInt(int64(d)))
		}
		require.Equal(t, new(big.Int).Abs(toBig(a)).String(), value.String())
		require.Equal(t, a.Sign() < 0, neg)
		require.Equal(t, a.IsZero(), len(digits) == 0)
		if len(digits) > 0 {
			require.NotZero(t, digits[0], "no leading zero digit")
			require.LessOrEqual(t, len(digits), maxBase10000s)
		}

		back, err := FromBase10000(digits, neg)
		require.NoError(t, err)
		require.Equal(t, a, back)
		back, err = FromBase10000(append([]uint16{0, 0}, digits...), neg)
		require.NoError(t, err)
		require.Equal(t, a, back, "leading zero digits change nothing")
	})
}

func TestFromBase10000AgreesWithBig(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		digits := rapid.SliceOfN(rapid.Uint16Range(0, 9_999), 0, 12).Draw(t, "digits")
		neg := rapid.Bool().Draw(t, "neg")
		want := new(big.Int)
		for _, d := range digits {
			want.Add(want.Mul(want, big.NewInt(10_000)), big.NewInt(int64(d)))
		}
		if neg {
			want.Neg(want)
		}
		got, err := FromBase10000(digits, neg)
		checkAgainst(t, want, got, err)
	})
}

func TestFromBase10000Refuses(t *testing.T) {
	t.Parallel()
	_, err := FromBase10000([]uint16{1, 10_000}, false)
	require.ErrorIs(t, err, ErrSyntax)
	zero, err := FromBase10000(nil, true)
	require.NoError(t, err)
	require.Equal(t, Amount{}, zero)

	ends, neg := Min.AppendBase10000(nil)
	require.True(t, neg)
	_, err = FromBase10000(ends, false)
	require.ErrorIs(t, err, ErrOverflow, "2^127 fits only below zero")
}

func TestHotOperationsDoNotAllocate(t *testing.T) {
	a, b := MustParseMinor("-170141183460469231731687303715884105727"), Int(12345)
	text := []byte("340282366920938463463374607431768")
	buf := make([]byte, 0, 64)
	digits := make([]uint16, 0, 16)
	for name, f := range map[string]func(){
		"Add":             func() { sink, sinkErr = a.Add(b) },
		"Sub":             func() { sink, sinkErr = a.Sub(Int(-5)) },
		"Neg":             func() { sink, sinkErr = a.Neg() },
		"MulInt":          func() { sink, sinkErr = b.MulInt(-77) },
		"Cmp":             func() { sinkInt = a.Cmp(b) },
		"ParseMinor":      func() { sink, sinkErr = ParseMinor("-170141183460469231731687303715884105728") },
		"Parse":           func() { sink, sinkErr = Parse("-12345678901234567890.12", "CZK") },
		"UnmarshalText":   func() { sinkErr = sink.UnmarshalText(text) },
		"AppendText":      func() { buf, sinkErr = a.AppendText(buf[:0]) },
		"AppendFormat":    func() { buf, sinkErr = AppendFormat(buf[:0], a, "ETH") },
		"AppendBase10000": func() { digits, sinkBool = a.AppendBase10000(digits[:0]) },
		"FromBase10000":   func() { sink, sinkErr = FromBase10000(digits, true) },
		"LookupAsset":     func() { _, sinkBool = LookupAsset("CZK") },
	} {
		require.Zero(t, testing.AllocsPerRun(100, f), name)
		require.NoError(t, sinkErr, name)
	}
}

var (
	sink     Amount
	sinkErr  error
	sinkInt  int
	sinkBool bool
)
