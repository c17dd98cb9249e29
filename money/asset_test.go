package money

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestKnownAssets(t *testing.T) {
	t.Parallel()
	for code, want := range map[Asset]AssetInfo{
		"CZK":  {"CZK", 203, 2, KindCurrency, "Czech Koruna"},
		"JPY":  {"JPY", 392, 0, KindCurrency, "Yen"},
		"KWD":  {"KWD", 414, 3, KindCurrency, "Kuwaiti Dinar"},
		"CNY":  {"CNY", 156, 2, KindCurrency, "Yuan Renminbi"},
		"XCG":  {"XCG", 532, 2, KindCurrency, "Caribbean Guilder"},
		"BTC":  {"BTC", 0, 8, KindCrypto, "Bitcoin"},
		"ETH":  {"ETH", 0, 18, KindCrypto, "Ether"},
		"USDC": {"USDC", 0, 6, KindCrypto, "USD Coin"},
		"USDT": {"USDT", 0, 6, KindCrypto, "Tether USD"},
	} {
		got, ok := LookupAsset(code)
		require.True(t, ok, code)
		require.Equal(t, want, got)
		same, ok := LookupAsset(string(code))
		require.True(t, ok)
		require.Equal(t, got, same)
	}
	for _, code := range []string{"", "czk", "XXX", "XAU", "HRK", "BGN", "usdc"} {
		_, ok := LookupAsset(code)
		require.False(t, ok, code)
	}
}

// The exponents other than 2 are listed once more, by exponent as the standard's
// readers know them, so that a slip in the table shows.
func TestISO4217Table(t *testing.T) {
	t.Parallel()
	exceptions := map[uint8]string{
		0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
		3: "BHD IQD JOD KWD LYD OMR TND",
		4: "CLF UYW",
	}
	byScale := map[uint8][]string{}
	numerics := map[uint16]Asset{}
	for _, info := range iso4217 {
		require.Len(t, string(info.Code), 3)
		require.NotEmpty(t, info.Name)
		require.True(t, info.Numeric > 0 && info.Numeric < 1000, info.Code)
		require.Empty(t, numerics[info.Numeric], "numeric %d twice", info.Numeric)
		numerics[info.Numeric] = info.Code
		require.Equal(t, KindCurrency, info.Kind)
		byScale[info.Scale] = append(byScale[info.Scale], string(info.Code))
	}
	for scale, codes := range exceptions {
		require.Equal(t, strings.Fields(codes), byScale[scale], "exponent %d", scale)
	}
	require.Len(t, iso4217, 165)
	require.Len(t, byScale[2], 165-17-7-2)
}

func TestAssetsAreSortedAndWhole(t *testing.T) {
	t.Parallel()
	all := Assets()
	require.GreaterOrEqual(t, len(all), len(iso4217)+len(cryptoAssets))
	require.True(t, slices.IsSortedFunc(all, func(a, b AssetInfo) int { return strings.Compare(string(a.Code), string(b.Code)) }))
	for _, info := range all {
		got, ok := LookupAsset(info.Code)
		require.True(t, ok)
		require.Equal(t, info, got)
	}
}

func TestRegisterAsset(t *testing.T) {
	t.Parallel()
	points := AssetInfo{Code: "TEST-POINTS", Scale: 1, Kind: KindOther, Name: "Points"}
	_, ok := LookupAsset(points.Code)
	require.False(t, ok)

	var wg sync.WaitGroup
	for range 8 { // readers go on while the registry grows
		wg.Go(func() {
			for range 100 {
				if _, ok := LookupAsset("CZK"); !ok {
					panic("CZK vanished")
				}
			}
		})
	}
	RegisterAsset(points)
	RegisterAsset(points)
	wg.Wait()
	require.Equal(t, "12.5", Format(Int(125), "TEST-POINTS"))

	for name, bad := range map[string]AssetInfo{
		"other scale":    {Code: "TEST-POINTS", Scale: 2, Kind: KindOther, Name: "Points"},
		"taken currency": {Code: "CZK", Scale: 0, Kind: KindOther, Name: "Points"},
		"empty":          {Scale: 2, Kind: KindOther},
		"one letter":     {Code: "X", Kind: KindOther},
		"lower case":     {Code: "abc", Kind: KindOther},
		"digit first":    {Code: "1INCH", Kind: KindOther},
		"point last":     {Code: "USDC.", Kind: KindOther},
		"too long":       {Code: Asset(strings.Repeat("A", MaxAssetCode+1)), Kind: KindOther},
		"slash":          {Code: "A/B", Kind: KindOther},
		"scale":          {Code: "TEST-DEEP", Scale: MaxScale + 1, Kind: KindOther},
		"no kind":        {Code: "TEST-KIND"},
		"odd kind":       {Code: "TEST-KIND", Kind: 9},
	} {
		require.Panics(t, func() { RegisterAsset(bad) }, name)
	}
	info, ok := LookupAsset("TEST-POINTS")
	require.True(t, ok)
	require.Equal(t, points, info, "a refused registration changes nothing")
}

func TestKindText(t *testing.T) {
	t.Parallel()
	for kind, want := range map[Kind]string{KindCurrency: "currency", KindCrypto: "crypto", KindOther: "other", 9: "kind(9)"} {
		text, err := kind.MarshalText()
		require.NoError(t, err)
		require.Equal(t, want, string(text))
	}
}
