package pgtest

import (
	"encoding/binary"
	"fmt"
	"io"
)

// messageMax is more than any message that our code and a server exchange.
const messageMax = 64 << 20

// ReadMessage reads one message of Postgres's protocol, for proxies that damage it:
// its type byte, its length and its body. The first message of a session has no
// type. A length that no message has is an error.
func ReadMessage(r io.Reader, typed bool) ([]byte, error) {
	head := 4
	if typed {
		head = 5
	}
	m := make([]byte, head)
	if _, err := io.ReadFull(r, m); err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint32(m[head-4:])) - 4
	if size < 0 || size > messageMax {
		return nil, fmt.Errorf("a message of %d bytes", size)
	}
	m = append(m, make([]byte, size)...)
	_, err := io.ReadFull(r, m[head:])
	return m, err
}

// ErrorMessage is an ErrorResponse as a server sends it: severity as ERROR or FATAL,
// the SQLSTATE, and the text.
func ErrorMessage(severity, code, text string) []byte {
	body := fmt.Appendf(nil, "S%s\x00V%s\x00C%s\x00M%s\x00\x00", severity, severity, code, text)
	m := binary.BigEndian.AppendUint32([]byte{'E'}, uint32(len(body)+4))
	return append(m, body...)
}
