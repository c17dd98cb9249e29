package prove

import (
	"strconv"
	"strings"
)

// Public ids and references, as docs/keys.md describes them: 13 digits of Crockford's
// base 32 carry an id. Written again here, so that a mistake in the pay plane's code
// is seen.
const base32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

const idDigits = 13

func digits32(id int64) string {
	b := make([]byte, idDigits)
	for i := idDigits - 1; i >= 0; i-- {
		b[i] = base32[id&31]
		id >>= 5
	}
	return string(b)
}

// paymentID is a payment's public id.
func paymentID(id int64) string { return "pay_" + digits32(id) }

// reference is what attempt n of a payment is called at its channel.
func reference(id, n int64) string { return "M" + digits32(id) + "A" + strconv.FormatInt(n, 10) }

// readReference finds the payment and the attempt that a channel quotes. Only the
// exact form counts.
func readReference(ref string) (id, n int64, ok bool) {
	if len(ref) < idDigits+3 || len(ref) > 32 || ref[0] != 'M' {
		return 0, 0, false
	}
	for _, c := range []byte(ref[1 : idDigits+1]) {
		d := strings.IndexByte(base32, c)
		if d < 0 || id >= 1<<58 {
			return 0, 0, false
		}
		id = id<<5 | int64(d)
	}
	attempt, err := strconv.ParseUint(ref[idDigits+2:], 10, 15)
	if n = int64(attempt); err != nil || id == 0 || reference(id, n) != ref {
		return 0, 0, false
	}
	return id, n, true
}

// An id is its shard, 16 bits, and a sequence.
func shardOf(id int64) int64 { return id >> 48 }

func seqOf(id int64) int64 { return id & (1<<48 - 1) }
