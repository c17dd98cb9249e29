package money

import (
	"fmt"
	"math/bits"
	"strconv"
)

const (
	pow19 = 10_000_000_000_000_000_000 // the largest power of ten in a uint64

	// shownInput bounds how much of a refused text is quoted back in an error.
	shownInput = 48
)

// ParseMinor reads a whole number of smallest units: an optional "-" and digits.
// Each amount has exactly one spelling, so that equal amounts are equal bytes:
// leading zeros, "-0", "+", spaces, separators, decimals and exponents are
// ErrSyntax, a number outside 128 bits is ErrOverflow. It does not allocate
// unless it fails.
func ParseMinor(s string) (Amount, error) {
	a, err := parseMinor(s)
	if err != nil {
		return Amount{}, refused(s, err)
	}
	return a, nil
}

// MustParseMinor is ParseMinor for constants in code and tests; it panics where
// ParseMinor fails.
func MustParseMinor(s string) Amount {
	a, err := ParseMinor(s)
	if err != nil {
		panic(err)
	}
	return a
}

func parseMinor[T string | []byte](s T) (Amount, error) {
	digits, neg := cutSign(s)
	if !canonicalWhole(digits) {
		return Amount{}, ErrSyntax
	}
	var m magnitude
	for i := range len(digits) {
		if err := m.push(digits[i]); err != nil {
			return Amount{}, err
		}
	}
	if neg && m == (magnitude{}) {
		return Amount{}, ErrSyntax
	}
	return fromAbs(m.hi, m.lo, neg)
}

func cutSign[T string | []byte](s T) (rest T, neg bool) {
	if len(s) > 0 && s[0] == '-' {
		return s[1:], true
	}
	return s, false
}

// canonicalWhole reports whether s is not empty and has no needless leading
// zero. That its bytes are digits is for the reader of each digit to see.
func canonicalWhole[T string | []byte](s T) bool {
	return len(s) > 0 && (s[0] != '0' || len(s) == 1)
}

// magnitude is an unsigned 128-bit accumulator of decimal digits.
type magnitude struct{ hi, lo uint64 }

// push appends one ASCII digit.
func (m *magnitude) push(c byte) error {
	d := uint64(c - '0')
	if d > 9 {
		return ErrSyntax
	}
	if m.hi == 0 && m.lo < pow19/10 { // up to 18 digits so far: no carry possible
		m.lo = m.lo*10 + d
		return nil
	}
	return m.mulAdd(10, d)
}

// mulAdd sets m to m*mul+add.
func (m *magnitude) mulAdd(mul, add uint64) error {
	over, hi := bits.Mul64(m.hi, mul)
	carry, lo := bits.Mul64(m.lo, mul)
	lo, c1 := bits.Add64(lo, add, 0)
	hi, c2 := bits.Add64(hi, carry, c1)
	if over != 0 || c2 != 0 {
		return ErrOverflow
	}
	m.hi, m.lo = hi, lo
	return nil
}

// refused says which text was refused and why, quoting a bounded part of it.
func refused(s string, err error) error {
	if len(s) > shownInput {
		return fmt.Errorf("%w: %q… (%d bytes)", err, s[:shownInput], len(s))
	}
	return fmt.Errorf("%w: %q", err, s)
}

// String returns the whole number of smallest units, such as "-1234". It is the
// form that ParseMinor reads; for people use Format.
func (a Amount) String() string {
	var buf [40]byte
	return string(a.appendMinor(buf[:0]))
}

func (a Amount) appendMinor(dst []byte) []byte {
	hi, lo, neg := a.Abs()
	if neg {
		dst = append(dst, '-')
	}
	return appendMagnitude(dst, hi, lo)
}

func appendMagnitude(dst []byte, hi, lo uint64) []byte {
	if hi == 0 {
		return strconv.AppendUint(dst, lo, 10)
	}
	// A magnitude of at most 2^127 has 39 digits: the upper 20 fit one word.
	top, low := bits.Div64(hi, lo, pow19)
	if top == 0 {
		return strconv.AppendUint(dst, low, 10)
	}
	dst = strconv.AppendUint(dst, top, 10)
	var tail [19]byte
	for i := len(tail) - 1; i >= 0; i-- {
		tail[i] = byte('0' + low%10)
		low /= 10
	}
	return append(dst, tail[:]...)
}

// AppendText appends the form of String to dst. It never fails and allocates
// only if dst must grow. It implements encoding.TextAppender.
func (a Amount) AppendText(dst []byte) ([]byte, error) { return a.appendMinor(dst), nil }

// MarshalText returns the form of String.
func (a Amount) MarshalText() ([]byte, error) {
	return a.appendMinor(make([]byte, 0, 40)), nil
}

// UnmarshalText reads what ParseMinor reads.
func (a *Amount) UnmarshalText(text []byte) error {
	v, err := parseMinor(text)
	if err != nil {
		return refused(string(text), err)
	}
	*a = v
	return nil
}

// MarshalJSON returns the form of String as a JSON string: many JSON readers
// hold numbers as binary fractions and would change a large amount silently.
func (a Amount) MarshalJSON() ([]byte, error) {
	dst := append(make([]byte, 0, 42), '"')
	return append(a.appendMinor(dst), '"'), nil
}

// UnmarshalJSON reads a JSON string of the form that ParseMinor reads. A JSON
// number is refused because its exact value may already be lost where it was
// written, and null because absent money is not zero money.
func (a *Amount) UnmarshalJSON(data []byte) error {
	if len(data) < 2 || data[0] != '"' || data[len(data)-1] != '"' {
		return refused(string(data), fmt.Errorf(
			"%w: want a JSON string of minor units such as \"1234\", got a JSON %s", ErrSyntax, jsonKind(data)))
	}
	text := data[1 : len(data)-1]
	v, err := parseMinor(text)
	if err != nil {
		return refused(string(text), err)
	}
	*a = v
	return nil
}

func jsonKind(data []byte) string {
	if len(data) == 0 {
		return "nothing"
	}
	switch c := data[0]; {
	case c == '-' || (c >= '0' && c <= '9'):
		return "number"
	case c == 'n':
		return "null"
	case c == 't' || c == 'f':
		return "boolean"
	case c == '{':
		return "object"
	case c == '[':
		return "array"
	default:
		return "text that is not JSON"
	}
}
