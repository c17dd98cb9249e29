// Package money holds amounts and assets: an Amount is a checked 128-bit count
// of an asset's smallest unit, an Asset is the code that says which unit.
//
// It refuses to round, to convert between assets, to hold a fraction of the
// smallest unit, to read a JSON number, and to wrap around: whatever does not
// fit is an error, never another amount. No floating point value exists here.
package money

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
)

var (
	// ErrOverflow says that a result lies outside -2^127 .. 2^127-1. The
	// operation had no effect; the caller must refuse the request, not clamp it.
	ErrOverflow = errors.New("money: amount does not fit in 128 bits")

	// ErrSyntax says that text is not an amount in its one canonical spelling.
	// The caller should show the input back and name the expected form.
	ErrSyntax = errors.New("money: not a decimal amount")

	// ErrScale says that text has more decimals than the asset has. The caller
	// must ask for an amount the asset can represent; nothing is rounded.
	ErrScale = errors.New("money: more decimals than the asset has")

	// ErrUnknownAsset says that no asset of this code is registered.
	ErrUnknownAsset = errors.New("money: unknown asset")
)

// Amount is a signed whole number of an asset's smallest unit (haléř, cent,
// satoshi, wei), from -2^127 to 2^127-1. It is a value: comparable with ==,
// usable as a map key, and its zero value is zero. It does not know its asset;
// whoever stores it stores the asset beside it.
type Amount struct {
	hi int64  // upper half of the two's complement integer
	lo uint64 // lower half
}

// Max and Min are the ends of the range.
var (
	Max = Amount{hi: 1<<63 - 1, lo: 1<<64 - 1}
	Min = Amount{hi: -1 << 63}
)

// Int returns v smallest units as an Amount.
func Int(v int64) Amount { return Amount{hi: v >> 63, lo: uint64(v)} }

// Uint returns v smallest units as an Amount.
func Uint(v uint64) Amount { return Amount{lo: v} }

// FromParts returns the Amount whose two's complement halves are hi and lo, the
// inverse of Parts. Every pair is a valid Amount.
func FromParts(hi int64, lo uint64) Amount { return Amount{hi: hi, lo: lo} }

// Parts returns the upper and lower half of the two's complement integer.
func (a Amount) Parts() (hi int64, lo uint64) { return a.hi, a.lo }

// Abs returns the magnitude as an unsigned 128-bit integer, and whether a is
// negative. Unlike Neg it cannot overflow: the magnitude of Min is 2^127.
func (a Amount) Abs() (hi, lo uint64, neg bool) {
	hi, lo = uint64(a.hi), a.lo
	if a.hi >= 0 {
		return hi, lo, false
	}
	lo, borrow := bits.Sub64(0, lo, 0)
	hi, _ = bits.Sub64(0, hi, borrow)
	return hi, lo, true
}

// fromAbs is the inverse of Abs. It fails with ErrOverflow when the magnitude
// exceeds 2^127-1, or 2^127 for a negative amount.
func fromAbs(hi, lo uint64, neg bool) (Amount, error) {
	if !neg {
		if hi > 1<<63-1 {
			return Amount{}, ErrOverflow
		}
		return Amount{hi: int64(hi), lo: lo}, nil
	}
	if hi > 1<<63 || (hi == 1<<63 && lo != 0) {
		return Amount{}, ErrOverflow
	}
	lo, borrow := bits.Sub64(0, lo, 0)
	hi, _ = bits.Sub64(0, hi, borrow)
	return Amount{hi: int64(hi), lo: lo}, nil
}

// Add returns a+b, or ErrOverflow.
func (a Amount) Add(b Amount) (Amount, error) {
	lo, carry := bits.Add64(a.lo, b.lo, 0)
	hi, _ := bits.Add64(uint64(a.hi), uint64(b.hi), carry)
	sum := Amount{hi: int64(hi), lo: lo}
	// Overflow only happens between operands of one sign, and flips it.
	if (a.hi^sum.hi)&(b.hi^sum.hi) < 0 {
		return Amount{}, ErrOverflow
	}
	return sum, nil
}

// Sub returns a-b, or ErrOverflow.
func (a Amount) Sub(b Amount) (Amount, error) {
	lo, borrow := bits.Sub64(a.lo, b.lo, 0)
	hi, _ := bits.Sub64(uint64(a.hi), uint64(b.hi), borrow)
	diff := Amount{hi: int64(hi), lo: lo}
	// Overflow only happens between operands of unlike sign, and flips a's.
	if (a.hi^b.hi)&(a.hi^diff.hi) < 0 {
		return Amount{}, ErrOverflow
	}
	return diff, nil
}

// Neg returns -a, or ErrOverflow for Min, which has no positive twin.
func (a Amount) Neg() (Amount, error) { return Amount{}.Sub(a) }

// MulInt returns a*n, or ErrOverflow.
func (a Amount) MulInt(n int64) (Amount, error) {
	hi, lo, neg := a.Abs()
	m := uint64(n)
	if n < 0 {
		m, neg = -m, !neg
	}
	over, hiLow := bits.Mul64(hi, m)
	carry, lo := bits.Mul64(lo, m)
	hi, c := bits.Add64(hiLow, carry, 0)
	if over != 0 || c != 0 {
		return Amount{}, ErrOverflow
	}
	return fromAbs(hi, lo, neg)
}

// Sum adds all amounts, or fails with ErrOverflow when a partial sum, taken in
// order, does not fit. The sum of nothing is zero.
func Sum(amounts ...Amount) (Amount, error) {
	var total Amount
	for i, a := range amounts {
		var err error
		if total, err = total.Add(a); err != nil {
			return Amount{}, fmt.Errorf("sum at index %d: %w", i, err)
		}
	}
	return total, nil
}

// Cmp returns -1 when a < b, 0 when a == b and +1 when a > b.
func (a Amount) Cmp(b Amount) int {
	if c := cmp.Compare(a.hi, b.hi); c != 0 {
		return c
	}
	return cmp.Compare(a.lo, b.lo)
}

// Less reports whether a < b.
func (a Amount) Less(b Amount) bool { return a.Cmp(b) < 0 }

// Sign returns -1, 0 or +1.
func (a Amount) Sign() int {
	switch {
	case a.hi < 0:
		return -1
	case a.hi == 0 && a.lo == 0:
		return 0
	default:
		return 1
	}
}

// IsZero reports whether a is zero; encoding/json's omitzero calls it.
func (a Amount) IsZero() bool { return a == Amount{} }

// Int64 returns a as an int64, and whether it fits; when not, the number is 0.
func (a Amount) Int64() (int64, bool) {
	v := int64(a.lo)
	if a.hi != v>>63 {
		return 0, false
	}
	return v, true
}
