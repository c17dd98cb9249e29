package money

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Asset is the code of what an amount counts: an ISO 4217 currency ("CZK"), a
// crypto asset ("ETH"), one of these on a named chain ("USDC.BASE"), or what the
// operator registered at start. Codes are upper case; nothing folds case.
type Asset string

// Kind says what sort of thing an asset is.
type Kind uint8

const (
	// KindCurrency is a currency of ISO 4217.
	KindCurrency Kind = iota + 1
	// KindCrypto is an asset held on a public chain.
	KindCrypto
	// KindOther is what an operator issues: points, vouchers, test money.
	KindOther
)

// String returns "currency", "crypto" or "other".
func (k Kind) String() string {
	switch k {
	case KindCurrency:
		return "currency"
	case KindCrypto:
		return "crypto"
	case KindOther:
		return "other"
	default:
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
}

// MarshalText returns the form of String.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

const (
	// MaxScale is the largest number of decimals an asset may have: one whole
	// unit must remain far below the range of Amount.
	MaxScale = 30
	// MaxAssetCode is the longest asset code, in bytes.
	MaxAssetCode = 24
)

// AssetInfo is what is known of an asset.
type AssetInfo struct {
	Code    Asset  // upper case, at most MaxAssetCode bytes
	Numeric uint16 // ISO 4217 numeric code, printed with three digits; 0 when none
	Scale   uint8  // decimals: 10^Scale smallest units make one major unit
	Kind    Kind
	Name    string // English name
}

// registry is replaced as a whole, so that readers on the hot path take no lock.
var (
	registry   atomic.Pointer[map[Asset]AssetInfo]
	registerMu sync.Mutex
)

func init() {
	table := make(map[Asset]AssetInfo, len(iso4217)+len(cryptoAssets))
	for _, list := range [][]AssetInfo{iso4217, cryptoAssets} {
		for _, info := range list {
			if err := addAsset(table, info); err != nil {
				panic(err)
			}
		}
	}
	registry.Store(&table)
}

// LookupAsset returns what is known of the asset with this code, and whether it
// is known at all. Codes match exactly: "czk" is not known. It does not allocate.
func LookupAsset[S ~string](code S) (AssetInfo, bool) {
	info, ok := (*registry.Load())[Asset(code)]
	return info, ok
}

// Assets returns all known assets ordered by code.
func Assets() []AssetInfo {
	list := slices.Collect(maps.Values(*registry.Load()))
	slices.SortFunc(list, func(a, b AssetInfo) int { return strings.Compare(string(a.Code), string(b.Code)) })
	return list
}

// RegisterAsset adds an asset of the operator's own. Call it at start-up only,
// before the first payment: it panics when the definition is not valid, or when
// the code is taken with another definition, because an asset whose scale can
// change makes every stored amount mean something else. Registering the same
// definition again does nothing.
func RegisterAsset(info AssetInfo) {
	registerMu.Lock()
	defer registerMu.Unlock()
	table := maps.Clone(*registry.Load())
	if err := addAsset(table, info); err != nil {
		panic(err)
	}
	registry.Store(&table)
}

func addAsset(table map[Asset]AssetInfo, info AssetInfo) error {
	if !validCode(info.Code) {
		return fmt.Errorf("money: asset code %q: want 2 to %d of A-Z, 0-9, \".\" and \"-\", a letter first, a letter or digit last",
			info.Code, MaxAssetCode)
	}
	if info.Scale > MaxScale {
		return fmt.Errorf("money: asset %s: scale %d is above %d", info.Code, info.Scale, MaxScale)
	}
	if info.Kind < KindCurrency || info.Kind > KindOther {
		return fmt.Errorf("money: asset %s: no such kind: %s", info.Code, info.Kind)
	}
	if known, ok := table[info.Code]; ok && known != info {
		return fmt.Errorf("money: asset %s is already registered as %+v, not %+v", info.Code, known, info)
	}
	table[info.Code] = info
	return nil
}

func validCode(code Asset) bool {
	if len(code) < 2 || len(code) > MaxAssetCode {
		return false
	}
	for i := range len(code) {
		c := code[i]
		letter := c >= 'A' && c <= 'Z'
		digit := c >= '0' && c <= '9'
		joint := (c == '.' || c == '-') && i < len(code)-1
		if !letter && (i == 0 || (!digit && !joint)) {
			return false
		}
	}
	return true
}
