// Package pgbatch writes many rows to Postgres in one round trip: columns are
// encoded straight into the binary array format, statements are prepared once a
// connection and sent as one pipeline, which is one transaction. It refuses to
// guess types: every column is declared with its Postgres type.
//
// It exists because the money path encodes some hundred thousand values a
// second; a general encoder costs about ten times as much there.
package pgbatch

import (
	"encoding/binary"
	"time"

	"github.com/moneta-pay/moneta/money"
)

// The Postgres type ids of array elements, from pg_type.dat.
const (
	oidBool        = 16
	oidInt8        = 20
	oidInt2        = 21
	oidInt4        = 23
	oidText        = 25
	oidTimestamptz = 1184
	oidNumeric     = 1700
	oidUUID        = 2950
)

const headerBytes = 20

// Column is one array parameter under construction. The zero Column is not
// usable; make one with the function of its type.
type Column struct {
	oid   uint32
	n     uint32
	nulls bool
	buf   []byte
}

func newColumn(oid uint32) *Column {
	return &Column{oid: oid, buf: make([]byte, headerBytes, 1024)}
}

// Bool makes a boolean[] column.
func Bool() *Column { return newColumn(oidBool) }

// Int2 makes a smallint[] column.
func Int2() *Column { return newColumn(oidInt2) }

// Int4 makes an integer[] column.
func Int4() *Column { return newColumn(oidInt4) }

// Int8 makes a bigint[] column.
func Int8() *Column { return newColumn(oidInt8) }

// Text makes a text[] column.
func Text() *Column { return newColumn(oidText) }

// UUID makes a uuid[] column.
func UUID() *Column { return newColumn(oidUUID) }

// Numeric makes a numeric[] column.
func Numeric() *Column { return newColumn(oidNumeric) }

// Timestamptz makes a timestamptz[] column.
func Timestamptz() *Column { return newColumn(oidTimestamptz) }

// Len returns how many values the column holds.
func (c *Column) Len() int { return int(c.n) }

// Reset empties the column and keeps its memory.
func (c *Column) Reset() { c.n, c.nulls, c.buf = 0, false, c.buf[:headerBytes] }

// Bytes returns the parameter in binary format; valid until the next append.
func (c *Column) Bytes() []byte {
	binary.BigEndian.PutUint32(c.buf[0:], 1)
	binary.BigEndian.PutUint32(c.buf[4:], 0)
	if c.nulls {
		binary.BigEndian.PutUint32(c.buf[4:], 1)
	}
	binary.BigEndian.PutUint32(c.buf[8:], c.oid)
	binary.BigEndian.PutUint32(c.buf[12:], c.n)
	binary.BigEndian.PutUint32(c.buf[16:], 1)
	return c.buf
}

// Null appends NULL.
func (c *Column) Null() {
	c.n++
	c.nulls = true
	c.buf = binary.BigEndian.AppendUint32(c.buf, 0xFFFFFFFF)
}

func (c *Column) head(size int) {
	c.n++
	c.buf = binary.BigEndian.AppendUint32(c.buf, uint32(size))
}

// AddBool appends v to a boolean[] column.
func (c *Column) AddBool(v bool) {
	c.head(1)
	b := byte(0)
	if v {
		b = 1
	}
	c.buf = append(c.buf, b)
}

// AddInt appends v to an integer column of any width; the caller has checked
// that it fits.
func (c *Column) AddInt(v int64) {
	switch c.oid {
	case oidInt2:
		c.head(2)
		c.buf = binary.BigEndian.AppendUint16(c.buf, uint16(v))
	case oidInt4:
		c.head(4)
		c.buf = binary.BigEndian.AppendUint32(c.buf, uint32(v))
	default:
		c.head(8)
		c.buf = binary.BigEndian.AppendUint64(c.buf, uint64(v))
	}
}

// AddIntOrNull appends v, or NULL for zero.
func (c *Column) AddIntOrNull(v int64) {
	if v == 0 {
		c.Null()
		return
	}
	c.AddInt(v)
}

// AddText appends s.
func (c *Column) AddText(s string) {
	c.head(len(s))
	c.buf = append(c.buf, s...)
}

// AddTextOrNull appends s, or NULL for the empty string.
func (c *Column) AddTextOrNull(s string) {
	if s == "" {
		c.Null()
		return
	}
	c.AddText(s)
}

// AddUUID appends 16 bytes.
func (c *Column) AddUUID(v [16]byte) {
	c.head(16)
	c.buf = append(c.buf, v[:]...)
}

// postgresEpoch is 2000-01-01 UTC in microseconds of Unix time.
const postgresEpoch = 946684800000000

// AddTime appends t with microsecond precision, or NULL for the zero time.
func (c *Column) AddTime(t time.Time) {
	if t.IsZero() {
		c.Null()
		return
	}
	c.head(8)
	c.buf = binary.BigEndian.AppendUint64(c.buf, uint64(t.UnixMicro()-postgresEpoch))
}

const numericNegative = 0x4000

// AddAmount appends a as numeric: 16-bit digits of base 10,000, most significant
// first (PostgreSQL, src/backend/utils/adt/numeric.c, numeric_send).
func (c *Column) AddAmount(a money.Amount) {
	var store [10]uint16
	digits, negative := a.AppendBase10000(store[:0])
	weight := len(digits) - 1
	for len(digits) > 0 && digits[len(digits)-1] == 0 {
		digits = digits[:len(digits)-1]
	}
	if len(digits) == 0 {
		weight = 0
	}
	c.head(8 + 2*len(digits))
	c.buf = binary.BigEndian.AppendUint16(c.buf, uint16(len(digits)))
	c.buf = binary.BigEndian.AppendUint16(c.buf, uint16(weight))
	sign := uint16(0)
	if negative {
		sign = numericNegative
	}
	c.buf = binary.BigEndian.AppendUint16(c.buf, sign)
	c.buf = binary.BigEndian.AppendUint16(c.buf, 0)
	for _, d := range digits {
		c.buf = binary.BigEndian.AppendUint16(c.buf, d)
	}
}

// AddAmountOrNull appends a, or NULL where set is false.
func (c *Column) AddAmountOrNull(a money.Amount, set bool) {
	if !set {
		c.Null()
		return
	}
	c.AddAmount(a)
}
