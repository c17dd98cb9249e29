package money

import "math/bits"

const (
	base10000     = 10_000
	pow16         = 10_000_000_000_000_000 // four base-10000 digits
	maxBase10000s = 10                     // 2^127 has 39 decimal digits
)

// AppendBase10000 appends the base-10000 digits of the magnitude of a to dst,
// most significant first and without leading zeros (nothing for zero), and says
// whether a is negative. Zero digits at the end are kept, so the last digit
// always has weight 0. It allocates only if dst must grow; ten digits suffice.
// It is the shape of a binary numeric in the Postgres protocol.
func (a Amount) AppendBase10000(dst []uint16) (digits []uint16, negative bool) {
	hi, lo, neg := a.Abs()
	var buf [maxBase10000s + 2]uint16 // whole chunks of four
	at := len(buf)
	for hi != 0 || lo != 0 {
		var chunk uint64
		hi, lo, chunk = divmod(hi, lo, pow16)
		for range 4 {
			at--
			buf[at] = uint16(chunk % base10000)
			chunk /= base10000
		}
	}
	for at < len(buf) && buf[at] == 0 {
		at++
	}
	return append(dst, buf[at:]...), neg
}

// divmod divides the unsigned 128-bit integer hi, lo by d.
func divmod(hi, lo, d uint64) (qhi, qlo, rem uint64) {
	qhi, rem = hi/d, hi%d
	qlo, rem = bits.Div64(rem, lo, d)
	return qhi, qlo, rem
}

// FromBase10000 is the inverse of AppendBase10000. Leading zero digits are
// allowed, a digit above 9999 is ErrSyntax, a magnitude outside 128 bits is
// ErrOverflow, and a negative zero is zero. It does not allocate.
func FromBase10000(digits []uint16, negative bool) (Amount, error) {
	var m magnitude
	for _, d := range digits {
		if d >= base10000 {
			return Amount{}, ErrSyntax
		}
		if err := m.mulAdd(base10000, uint64(d)); err != nil {
			return Amount{}, err
		}
	}
	return fromAbs(m.hi, m.lo, negative)
}
