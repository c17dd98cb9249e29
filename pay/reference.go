package pay

import (
	"errors"
	"strconv"
	"strings"
)

// crockford is Douglas Crockford's base 32: no I, L, O, U.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

const idDigits = 13 // 13 × 5 bits hold 63

// ErrBadID reports a text that is not an id of the wanted kind.
var ErrBadID = errors.New("not a valid id")

// String returns the public id, pay_ and 13 base32 digits.
func (id ID) String() string { return "pay_" + encode(int64(id)) }

// String returns the public id, acct_ and 13 base32 digits.
func (id AccountID) String() string { return "acct_" + encode(int64(id)) }

// ParseID reads what ID.String wrote.
func ParseID(s string) (ID, error) {
	n, err := decode(s, "pay_")
	return ID(n), err
}

// ParseAccountID reads what AccountID.String wrote.
func ParseAccountID(s string) (AccountID, error) {
	n, err := decode(s, "acct_")
	return AccountID(n), err
}

// Reference is our deterministic name for an attempt at the channel, at most 32
// characters: M, base32 of the payment id, A and the attempt's number. A deposit
// quotes attempt 0.
func Reference(id ID, attempt int16) string {
	return "M" + encode(int64(id)) + "A" + strconv.Itoa(int(attempt))
}

// ParseReference finds the payment and attempt that a channel quotes.
func ParseReference(ref string) (ID, int16, error) {
	if len(ref) < idDigits+3 || len(ref) > 32 || ref[0] != 'M' || ref[idDigits+1] != 'A' {
		return 0, 0, ErrBadID
	}
	n, err := decode(ref[:idDigits+1], "M")
	if err != nil {
		return 0, 0, err
	}
	attempt, err := strconv.ParseUint(ref[idDigits+2:], 10, 15)
	if err != nil || Reference(ID(n), int16(attempt)) != ref {
		return 0, 0, ErrBadID
	}
	return ID(n), int16(attempt), nil
}

func encode(n int64) string {
	var b [idDigits]byte
	for i := idDigits - 1; i >= 0; i-- {
		b[i] = crockford[n&31]
		n >>= 5
	}
	return string(b[:])
}

func decode(s, prefix string) (int64, error) {
	digits, ok := strings.CutPrefix(s, prefix)
	if !ok || len(digits) != idDigits {
		return 0, ErrBadID
	}
	var n uint64
	for _, c := range []byte(digits) {
		d := strings.IndexByte(crockford, c)
		if d < 0 || n >= 1<<(63-5) {
			return 0, ErrBadID // 13 digits could hold two bits more than an id
		}
		n = n<<5 | uint64(d)
	}
	if n == 0 {
		return 0, ErrBadID
	}
	return int64(n), nil
}
