package money

import (
	"math/big"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestParseAndFormatExamples(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text  string
		asset Asset
		minor string
		shown string // what Format writes; empty when it is text
	}{
		{"12.34", "CZK", "1234", ""},
		{"12", "CZK", "1200", "12.00"},
		{"12.3", "CZK", "1230", "12.30"},
		{"0", "CZK", "0", "0.00"},
		{"0.05", "CZK", "5", ""},
		{"-0.05", "CZK", "-5", ""},
		{"-700.00", "CZK", "-70000", ""},
		{"1234", "JPY", "1234", ""},
		{"-1", "JPY", "-1", ""},
		{"1.234", "KWD", "1234", ""},
		{"0.0001", "CLF", "1", ""},
		{"0.00000001", "BTC", "1", ""},
		{"20999999.97690000", "BTC", "2099999997690000", ""},
		{"1", "ETH", "1000000000000000000", "1.000000000000000000"},
		{"0.000000000000000001", "ETH", "1", ""},
		{"120000000", "ETH", "120000000000000000000000000", "120000000.000000000000000000"},
		{"1.5", "USDC", "1500000", "1.500000"},
		{"1.5", "USDT.BSC", "1500000000000000000", "1.500000000000000000"},
		{"1701411834604692317316873037158841057.27", "CZK", "170141183460469231731687303715884105727", ""},
		{"-1701411834604692317316873037158841057.28", "CZK", "-170141183460469231731687303715884105728", ""},
	} {
		a, err := Parse(c.text, c.asset)
		require.NoError(t, err, c.text)
		require.Equal(t, c.minor, a.String(), c.text)
		shown := c.shown
		if shown == "" {
			shown = c.text
		}
		require.Equal(t, shown, Format(a, c.asset))
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"", "-", ".", "-.", ".5", "5.", "-.5", "+1", "+1.00", " 1", "1 ", "1 .0", "01", "00.5", "-01.0", "-0", "-0.0",
		"-0.00", "1.2.3", "1..2", "1,5", "1'000", "1e2", "1E2", "0x1", "1.x", "1.2x", "1.-2", "1.234x", "NaN", "١.٢", "１",
	} {
		a, err := Parse(s, "CZK")
		require.ErrorIs(t, err, ErrSyntax, "%q", s)
		require.Equal(t, Amount{}, a)
	}
	for asset, s := range map[Asset]string{
		"CZK": "1.234", "JPY": "1.0", "KWD": "1.2340", "BTC": "0.123456789", "ETH": "0.0000000000000000010", "USDC": "1.0000000",
	} {
		_, err := Parse(s, asset)
		require.ErrorIs(t, err, ErrScale, "%s %s", s, asset)
		require.ErrorContains(t, err, string(asset))
	}
	for _, s := range []string{
		"1701411834604692317316873037158841057.28", "-1701411834604692317316873037158841057.29",
		"3402823669209384634633746074317682114.56", strings.Repeat("7", 5_000),
	} {
		_, err := Parse(s, "CZK")
		require.ErrorIs(t, err, ErrOverflow, s[:10])
		require.Less(t, len(err.Error()), 250)
	}
	for _, asset := range []Asset{"", "czk", "XXX", "CZK ", "NOPE"} {
		_, err := Parse("1", asset)
		require.ErrorIs(t, err, ErrUnknownAsset)
	}
}

func TestFormatOfUnknownAssetCannotBeMistaken(t *testing.T) {
	t.Parallel()
	require.Equal(t, "1234 (minor units of ZZZ)", Format(Int(1234), "ZZZ"))
	dst, err := AppendFormat([]byte("x"), Int(1), "ZZZ")
	require.ErrorIs(t, err, ErrUnknownAsset)
	require.Equal(t, "x", string(dst))
}

func TestMajorTextRoundTripsForEveryAsset(t *testing.T) {
	t.Parallel()
	assets := rapid.SampledFrom(Assets())
	rapid.Check(t, func(t *rapid.T) {
		a, info := anyAmount().Draw(t, "a"), assets.Draw(t, "asset")
		text := Format(a, info.Code)
		require.Equal(t, bigFormat(a, info.Scale), text)
		back, err := Parse(text, info.Code)
		require.NoError(t, err)
		require.Equal(t, a, back)
	})
}

// bigFormat is an independent way to the same text: it divides by the scale.
func bigFormat(a Amount, scale uint8) string {
	v := toBig(a)
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)
	whole, rest := new(big.Int).QuoRem(new(big.Int).Abs(v), unit, new(big.Int))
	text := whole.String()
	if scale > 0 {
		digits := rest.String()
		text += "." + strings.Repeat("0", int(scale)-len(digits)) + digits
	}
	if v.Sign() < 0 {
		return "-" + text
	}
	return text
}

var canonicalMajor = regexp.MustCompile(`^(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?$`)

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"0", "12.34", "-12.34", "12", "12.3", "0.05", "-0.05", "-0", "-0.00", "1.234", "1.0000000000000000000", ".5", "5.",
		"01", "+1", "1e2", " 1", "1,5", "1..2", "1701411834604692317316873037158841057.27", "1701411834604692317316873037158841057.28",
		"170141183460469231731.687303715884105727", "", "-", ".", "1.٢",
	} {
		for pick := range uint8(5) {
			f.Add(s, pick)
		}
	}
	assets := []Asset{"CZK", "JPY", "KWD", "BTC", "ETH"}
	f.Fuzz(func(t *testing.T, s string, pick uint8) {
		asset := assets[int(pick)%len(assets)]
		info, ok := LookupAsset(asset)
		require.True(t, ok)
		a, err := Parse(s, asset)
		want, legal := bigParse(s, int(info.Scale))
		require.Equal(t, legal, err == nil, "%q %s: %v", s, asset, err)
		if err != nil {
			require.Equal(t, Amount{}, a)
			return
		}
		require.Equal(t, want.String(), toBig(a).String())
		again, err := Parse(Format(a, asset), asset)
		require.NoError(t, err)
		require.Equal(t, a, again)
		require.True(t, strings.HasPrefix(Format(a, asset), s), "Format only adds decimals")
	})
}

// bigParse is the oracle: the documented grammar as one expression, and big.Int.
func bigParse(s string, scale int) (*big.Int, bool) {
	m := canonicalMajor.FindStringSubmatch(s)
	if m == nil || len(m[3]) > scale {
		return nil, false
	}
	v, ok := new(big.Int).SetString(m[1]+m[2]+m[3]+strings.Repeat("0", scale-len(m[3])), 10)
	if !ok || !fits(v) || (m[1] == "-" && v.Sign() == 0) {
		return nil, false
	}
	return v, true
}
