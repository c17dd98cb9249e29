package api

import (
	"bytes"
	"fmt"
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/moneta-pay/moneta/fault"
)

// decoder reads one JSON document of a shape that the caller knows. It refuses
// what encoding/json lets pass and what could change where money goes: members
// that are unknown, repeated, or differ in case; null for a value; text that is
// not UTF-8 or has a NUL, which Postgres cannot hold; anything after the document. Every error is a fault with the pointer
// of its member.
type decoder struct {
	b []byte
	i int
}

// membersMax bounds the members of one object.
const membersMax = 64

func malformed(detail string) *fault.Error { return fault.New(fault.MalformedRequest, detail) }

func unknownField(name []byte) error {
	return fault.New(fault.UnknownField, "this operation has no such member").WithParam("/" + clip(string(name)))
}

// under puts the pointer of the enclosing member before that of err.
func under(pointer string, err error) error {
	if err == nil {
		return nil
	}
	f := fault.From(err)
	return f.WithParam(pointer + f.Param)
}

// decodeObject reads the whole document as one object.
func decodeObject(b []byte, member func(d *decoder, name []byte) error) error {
	d := &decoder{b: b}
	if err := d.object(member); err != nil {
		return err
	}
	if d.space(); d.i != len(d.b) {
		return malformed("something follows the JSON document")
	}
	return nil
}

func (d *decoder) space() {
	for d.i < len(d.b) {
		switch d.b[d.i] {
		case ' ', '\t', '\r', '\n':
			d.i++
		default:
			return
		}
	}
}

// take skips space and the wanted byte, if it is there.
func (d *decoder) take(c byte) bool {
	d.space()
	if d.i < len(d.b) && d.b[d.i] == c {
		d.i++
		return true
	}
	return false
}

func (d *decoder) syntax() error {
	if d.i >= len(d.b) {
		return malformed("the JSON document ends early")
	}
	return malformed(fmt.Sprintf("not valid JSON at byte %d", d.i))
}

// object calls member for each member's name; member reads the value.
func (d *decoder) object(member func(d *decoder, name []byte) error) error {
	if !d.take('{') {
		return d.wrongType("an object")
	}
	if d.take('}') {
		return nil
	}
	var seen [membersMax][]byte
	for n := 0; ; n++ {
		d.space()
		name, err := d.quoted()
		if err != nil {
			return err
		}
		if n == membersMax {
			return malformed("the object has too many members")
		}
		for _, s := range seen[:n] {
			if string(s) == string(name) {
				return malformed("the member is repeated").WithParam("/" + clip(string(name)))
			}
		}
		seen[n] = name
		if !d.take(':') {
			return d.syntax()
		}
		if err := member(d, name); err != nil {
			return err
		}
		if d.take('}') {
			return nil
		}
		if !d.take(',') {
			return d.syntax()
		}
	}
}

// array calls element for each element.
func (d *decoder) array(element func(d *decoder, i int) error) error {
	if !d.take('[') {
		return d.wrongType("an array")
	}
	if d.take(']') {
		return nil
	}
	for i := 0; ; i++ {
		if err := element(d, i); err != nil {
			return err
		}
		if d.take(']') {
			return nil
		}
		if !d.take(',') {
			return d.syntax()
		}
	}
}

// text reads a string into *into; pointer names the member in errors.
func (d *decoder) text(pointer string, into *string) error {
	d.space()
	if d.i < len(d.b) && d.b[d.i] != '"' {
		return under(pointer, d.wrongType("a string"))
	}
	b, err := d.quoted()
	if err != nil {
		return under(pointer, err)
	}
	*into = string(b)
	return nil
}

// number reads a whole number above zero into *into.
func (d *decoder) number(pointer string, into *int32) error {
	d.space()
	start := d.i
	for d.i < len(d.b) && d.b[d.i] >= '0' && d.b[d.i] <= '9' {
		d.i++
	}
	n, err := strconv.ParseInt(string(d.b[start:d.i]), 10, 32)
	if err != nil || n == 0 || d.b[start] == '0' {
		d.i = start
		return under(pointer, malformed("a whole number from 1 is wanted"))
	}
	if d.i < len(d.b) && (d.b[d.i] == '.' || d.b[d.i]|0x20 == 'e') {
		return under(pointer, malformed("a whole number from 1 is wanted"))
	}
	*into = int32(n)
	return nil
}

// truth reads true or false.
func (d *decoder) truth(pointer string, into *bool) error {
	d.space()
	for word, value := range map[string]bool{"true": true, "false": false} {
		if bytes.HasPrefix(d.b[d.i:], []byte(word)) {
			d.i += len(word)
			*into = value
			return nil
		}
	}
	return under(pointer, d.wrongType("true or false"))
}

// instant reads an RFC 3339 time.
func (d *decoder) instant(pointer string, into *time.Time) error {
	var s string
	if err := d.text(pointer, &s); err != nil {
		return err
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return malformed("a time looks like 2026-01-31T12:00:00Z").WithParam(pointer)
	}
	*into = t
	return nil
}

// texts reads an object of strings.
func (d *decoder) texts(pointer string, into *map[string]string) error {
	m := make(map[string]string)
	err := d.object(func(d *decoder, name []byte) error {
		var v string
		if err := d.text("/"+clip(string(name)), &v); err != nil {
			return err
		}
		m[string(name)] = v
		return nil
	})
	*into = m
	return under(pointer, err)
}

func (d *decoder) wrongType(wanted string) error {
	d.space()
	if d.i >= len(d.b) {
		return d.syntax()
	}
	switch c := d.b[d.i]; {
	case c == 'n':
		return malformed("null is not " + wanted + "; leave the member out instead")
	case c == '-' || (c >= '0' && c <= '9'):
		return malformed("a number is not " + wanted + `; amounts are strings of minor units, "1234"`)
	case c == '"' || c == '{' || c == '[' || c == 't' || c == 'f':
		return malformed(wanted + " belongs here")
	}
	return d.syntax()
}

// quoted reads a string and returns its characters: a part of the document when
// nothing is escaped in it.
func (d *decoder) quoted() ([]byte, error) {
	if d.i >= len(d.b) || d.b[d.i] != '"' {
		return nil, d.syntax()
	}
	d.i++
	start, ascii := d.i, true
	for d.i < len(d.b) {
		switch c := d.b[d.i]; {
		case c == '"':
			out := d.b[start:d.i]
			d.i++
			if !ascii && !utf8.Valid(out) {
				return nil, malformed("text is UTF-8")
			}
			return out, nil
		case c == '\\':
			return d.escaped(start)
		case c < ' ':
			return nil, d.syntax()
		case c >= utf8.RuneSelf:
			ascii = false
		}
		d.i++
	}
	return nil, d.syntax()
}

// escaped goes on with a string that has an escape at d.i.
func (d *decoder) escaped(start int) ([]byte, error) {
	out := append(make([]byte, 0, d.i-start+32), d.b[start:d.i]...)
	for d.i < len(d.b) {
		switch c := d.b[d.i]; {
		case c == '"':
			d.i++
			if !utf8.Valid(out) {
				return nil, malformed("text is UTF-8")
			}
			return out, nil
		case c == '\\':
			r, ok := d.escape()
			if !ok {
				return nil, d.syntax()
			}
			if r == 0 {
				return nil, malformed("text has no NUL")
			}
			out = utf8.AppendRune(out, r)
		case c < ' ':
			return nil, d.syntax()
		default:
			out = append(out, c)
			d.i++
		}
	}
	return nil, d.syntax()
}

var shortEscapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escape reads one escape sequence. Half of a surrogate pair is no character.
func (d *decoder) escape() (rune, bool) {
	if d.i+1 >= len(d.b) {
		return 0, false
	}
	if c := shortEscapes[d.b[d.i+1]]; c != 0 {
		d.i += 2
		return rune(c), true
	}
	r, ok := d.hex4()
	if !ok {
		return 0, false
	}
	if !utf16.IsSurrogate(r) {
		return r, true
	}
	low, ok := d.hex4()
	if !ok {
		return 0, false
	}
	r = utf16.DecodeRune(r, low)
	return r, r != utf8.RuneError
}

// hex4 reads \uXXXX.
func (d *decoder) hex4() (rune, bool) {
	if d.i+6 > len(d.b) || d.b[d.i] != '\\' || d.b[d.i+1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range d.b[d.i+2 : d.i+6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	d.i += 6
	return r, true
}
