package status

import (
	"errors"
	"strings"

	"github.com/moneta-pay/moneta/pay"
)

// ErrBadReference reports a text that is no short reference, or one with a slip:
// the check digit finds every single wrong digit and every swapped pair.
var ErrBadReference = errors.New("not a valid reference")

// digits are Crockford's base 32: no I, L, O, U.
const digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// A reference has 7 digits and a check digit, and 15 and one where the id is
// larger than 35 bits. Ids follow each other; the factors are odd, hence have an
// inverse, and make neighbours look unlike, so that nobody mistakes one for the
// other. It hides nothing: whoever asks needs a key all the same.
const (
	shortDigits, longDigits = 7, 15
	shortMask               = uint64(1)<<(5*shortDigits) - 1
	longMask                = uint64(1)<<63 - 1
	factor                  = uint64(0x5851F42D4C957F2D)
)

// inverse of factor modulo 2^64, and so modulo every smaller power of two: five
// steps of Newton's double the 3 bits that an odd number is its own inverse in.
var inverse = func() uint64 {
	x := factor
	for range 5 {
		x *= 2 - factor*x
	}
	return x
}()

// Reference is the payment's name for people: short, the same everywhere, groups
// of four such as ACJN-ZJTW.
func Reference(id pay.ID) string {
	n, width, mask := uint64(id), shortDigits, shortMask
	if n > shortMask {
		width, mask = longDigits, longMask
	}
	n = n * factor & mask
	out := make([]byte, width+1)
	for i := width - 1; i >= 0; i-- {
		out[i] = digits[n&31]
		n >>= 5
	}
	out[width] = digits[twice(residue(out[:width]))]
	var b strings.Builder
	for i := 0; i < len(out); i += 4 {
		if i > 0 {
			b.WriteByte('-')
		}
		b.Write(out[i : i+4])
	}
	return b.String()
}

// ParseReference reads what Reference wrote, as people type it: any case, with or
// without hyphens and spaces, O for 0, I or L for 1.
func ParseReference(s string) (pay.ID, error) {
	if len(s) > 64 {
		return 0, ErrBadReference
	}
	plain := []byte(strings.NewReplacer("-", "", " ", "", "O", "0", "I", "1", "L", "1").Replace(strings.ToUpper(s)))
	width, mask := len(plain)-1, shortMask
	switch width {
	case shortDigits:
	case longDigits:
		mask = longMask
	default:
		return 0, ErrBadReference
	}
	var n uint64
	for _, c := range plain[:width] {
		d := strings.IndexByte(digits, c)
		if d < 0 || n > longMask>>5 {
			return 0, ErrBadReference
		}
		n = n<<5 | uint64(d)
	}
	id := pay.ID(n * inverse & mask)
	if n > mask || id <= 0 || strings.ReplaceAll(Reference(id), "-", "") != string(plain) {
		return 0, ErrBadReference
	}
	return id, nil
}

// residue weighs digits in the field of 32 elements: each place has another power
// of x, so that neither one wrong digit nor two swapped ones leave it the same.
func residue(text []byte) byte {
	var r byte
	for _, c := range text {
		r = twice(r) ^ byte(strings.IndexByte(digits, c))
	}
	return r
}

// twice multiplies by x modulo x^5 + x^2 + 1.
func twice(a byte) byte {
	a <<= 1
	if a&32 != 0 {
		a ^= 0b100101
	}
	return a
}
