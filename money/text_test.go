package money

import (
	"encoding/json"
	"math/big"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestMinorTextRoundTrips(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := anyAmount().Draw(t, "a")
		want := toBig(a).String()
		require.Equal(t, want, a.String())

		back, err := ParseMinor(want)
		require.NoError(t, err)
		require.Equal(t, a, back)

		text, err := a.MarshalText()
		require.NoError(t, err)
		require.Equal(t, want, string(text))
		var fromText Amount
		require.NoError(t, fromText.UnmarshalText(text))
		require.Equal(t, a, fromText)

		doc, err := json.Marshal(map[string]Amount{"amount": a})
		require.NoError(t, err)
		require.Equal(t, `{"amount":"`+want+`"}`, string(doc))
		var fromJSON map[string]Amount
		require.NoError(t, json.Unmarshal(doc, &fromJSON))
		require.Equal(t, a, fromJSON["amount"])

		appended, err := a.AppendText([]byte("x="))
		require.NoError(t, err)
		require.Equal(t, "x="+want, string(appended))
	})
}

func TestParseMinorAgreesWithBigBeyondTheRange(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`-?[1-9][0-9]{30,45}`).Draw(t, "s")
		want, ok := new(big.Int).SetString(s, 10)
		require.True(t, ok)
		got, err := ParseMinor(s)
		checkAgainst(t, want, got, err)
	})
}

func TestParseMinorRefuses(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"", "-", "+1", " 1", "1 ", "01", "-01", "00", "-0", "--1", "1-", "1.0", "1.", ".1", "1e3", "1E3", "0x10",
		"1_000", "1,000", "١", "１２", "1\x00", "NaN", "Inf", "null", "/", ":", "1/", "1:",
	} {
		a, err := ParseMinor(s)
		require.ErrorIs(t, err, ErrSyntax, "%q", s)
		require.Equal(t, Amount{}, a, "%q", s)

		kept := Int(7)
		require.ErrorIs(t, kept.UnmarshalText([]byte(s)), ErrSyntax, "%q", s)
		require.Equal(t, Int(7), kept, "a refused text must not change the amount")
	}
	for _, s := range []string{
		"170141183460469231731687303715884105728", "-170141183460469231731687303715884105729",
		"340282366920938463463374607431768211456", strings.Repeat("9", 10_000),
	} {
		_, err := ParseMinor(s)
		require.ErrorIs(t, err, ErrOverflow)
		require.Less(t, len(err.Error()), 200, "an error quotes a bounded part of its input")
	}
}

func TestJSONTakesStringsOnly(t *testing.T) {
	t.Parallel()
	for doc, hint := range map[string]string{
		`1234`: "JSON number", `-1`: "JSON number", `12.5`: "JSON number", `1e2`: "JSON number",
		`null`: "JSON null", `true`: "JSON boolean", `{}`: "JSON object", `["1"]`: "JSON array",
		`""`: `""`, `"1.5"`: `"1.5"`, `" 1"`: `" 1"`, `"01"`: `"01"`, `"\u0031"`: "decimal amount",
	} {
		kept := Int(7)
		err := json.Unmarshal([]byte(doc), &kept)
		require.ErrorIs(t, err, ErrSyntax, doc)
		require.ErrorContains(t, err, hint, doc)
		require.Equal(t, Int(7), kept, doc)
	}
	for _, doc := range []string{"", `"`, "\x00"} { // callers other than encoding/json
		var a Amount
		require.ErrorIs(t, a.UnmarshalJSON([]byte(doc)), ErrSyntax)
	}
	_, err := ParseMinor("12x")
	require.EqualError(t, err, `money: not a decimal amount: "12x"`)
}

func TestMustPanics(t *testing.T) {
	t.Parallel()
	require.Panics(t, func() { MustParseMinor("1.5") })
	require.Panics(t, func() { MustParse("1.234", "CZK") })
	require.Equal(t, Int(-150), MustParse("-1.5", "CZK"))
	require.Equal(t, Int(-15), MustParseMinor("-15"))
}

var canonicalMinor = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)

func FuzzParseMinor(f *testing.F) {
	for _, s := range []string{
		"0", "1", "-1", "70000", "-534360", "18446744073709551615", "18446744073709551616", "9223372036854775808",
		"1000000000000000000", "170141183460469231731687303715884105727", "-170141183460469231731687303715884105728",
		"170141183460469231731687303715884105728", "", "-", "-0", "01", "+1", " 1", "1.0", "1e5", "٣",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseMinor(s)
		want, ok := new(big.Int).SetString(s, 10)
		legal := ok && canonicalMinor.MatchString(s) && fits(want)
		require.Equal(t, legal, err == nil, "%q: %v", s, err)
		if err == nil {
			require.Equal(t, want.String(), toBig(a).String())
			require.Equal(t, s, a.String(), "one amount, one spelling")
		}
		var b Amount
		require.Equal(t, err == nil, b.UnmarshalText([]byte(s)) == nil)
		require.Equal(t, a, b)
	})
}

func FuzzUnmarshalJSON(f *testing.F) {
	for _, s := range []string{`"0"`, `"-12"`, `12`, `null`, `"12`, `""`, `"`, `{"a":"1"}`, `"1\u0030"`, `1e400`, ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		var a Amount
		if err := a.UnmarshalJSON(doc); err != nil {
			require.Equal(t, Amount{}, a)
			return
		}
		again, err := json.Marshal(a)
		require.NoError(t, err)
		require.Equal(t, string(doc), string(again))
	})
}
