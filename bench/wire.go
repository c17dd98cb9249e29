package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// Bounds of one exchange.
const (
	dialMax     = 5 * time.Second
	answerMax   = 45 * time.Second // beyond the longest Prefer: wait that is sent
	answerBytes = 8 << 20
)

// wire is one kept-alive HTTP/1.1 connection. The usual client costs as much
// processor time as the server that is to be measured on the same two cores, so
// this one does no more than the exchange needs.
type wire struct {
	address string
	head    []byte // header lines that never change, each ended
	conn    net.Conn
	in      *bufio.Reader
	out     []byte
	body    []byte
}

func newWire(address, key string) *wire {
	head := "Host: " + address + "\r\nContent-Type: application/json\r\n"
	if key != "" {
		head += "Authorization: Bearer " + key + "\r\n"
	}
	return &wire{address: address, head: []byte(head)}
}

func (w *wire) dial(ctx context.Context) error {
	d := net.Dialer{Timeout: dialMax}
	conn, err := d.DialContext(ctx, "tcp", w.address)
	if err != nil {
		return err
	}
	w.conn, w.in = conn, bufio.NewReaderSize(conn, 16<<10)
	return nil
}

func (w *wire) close() {
	if w.conn != nil {
		_ = w.conn.Close()
		w.conn = nil
	}
}

// request writes one request and reads its answer. more are further header
// lines, each ended. The body returned is valid until the next request. After an
// error the connection is closed and the next request opens another one.
func (w *wire) request(ctx context.Context, method, path, more string, body []byte) (status int, answer []byte, err error) {
	if w.conn == nil {
		if err := w.dial(ctx); err != nil {
			return 0, nil, err
		}
	}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	b := append(w.out[:0], method...)
	b = append(append(append(b, ' '), path...), " HTTP/1.1\r\n"...)
	b = append(append(b, w.head...), more...)
	b = append(b, "Content-Length: "...)
	b = append(strconv.AppendInt(b, int64(len(body)), 10), "\r\n\r\n"...)
	w.out = append(b, body...)
	if err := w.conn.SetDeadline(time.Now().Add(answerMax)); err != nil {
		return 0, nil, err
	}
	if _, err := w.conn.Write(w.out); err != nil {
		return 0, nil, err
	}
	return w.answer()
}

func (w *wire) line() ([]byte, error) {
	l, err := w.in.ReadSlice('\n')
	return bytes.TrimRight(l, "\r\n"), err
}

func (w *wire) answer() (int, []byte, error) {
	first, err := w.line()
	if err != nil {
		return 0, nil, fmt.Errorf("read the answer: %w", err)
	}
	if len(first) < 12 || !bytes.HasPrefix(first, []byte("HTTP/1.1 ")) {
		return 0, nil, fmt.Errorf("the answer begins with %q", first)
	}
	status, err := strconv.Atoi(string(first[9:12]))
	if err != nil {
		return 0, nil, fmt.Errorf("the answer begins with %q", first)
	}
	length, last, err := w.headers()
	if err != nil {
		return 0, nil, err
	}
	w.body = w.body[:0]
	switch {
	case status == 204:
	case length >= 0:
		err = w.take(length)
	default:
		err = w.chunks()
	}
	if err != nil {
		return 0, nil, fmt.Errorf("read the answer's body: %w", err)
	}
	if last {
		w.close()
	}
	return status, w.body, nil
}

// headers returns the body's length, -1 when it comes in chunks, and whether the
// server closes the connection.
func (w *wire) headers() (length int, last bool, err error) {
	length = -1
	chunked := false
	for {
		l, err := w.line()
		if err != nil {
			return 0, false, fmt.Errorf("read the answer's headers: %w", err)
		}
		if len(l) == 0 {
			break
		}
		name, value, _ := bytes.Cut(l, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil || length < 0 || length > answerBytes {
				return 0, false, fmt.Errorf("the answer's length is %q", value)
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = bytes.EqualFold(value, []byte("chunked"))
		case bytes.EqualFold(name, []byte("Connection")):
			last = bytes.EqualFold(value, []byte("close"))
		}
	}
	if length < 0 && !chunked {
		return 0, false, errors.New("the answer tells no length")
	}
	return length, last, nil
}

func (w *wire) take(n int) error {
	from := len(w.body)
	if from+n > answerBytes {
		return errors.New("it is too long")
	}
	w.body = append(w.body, make([]byte, n)...)
	_, err := io.ReadFull(w.in, w.body[from:])
	return err
}

func (w *wire) chunks() error {
	for {
		l, err := w.line()
		if err != nil {
			return err
		}
		size, _, _ := bytes.Cut(l, []byte(";"))
		n, err := strconv.ParseUint(string(bytes.TrimSpace(size)), 16, 31)
		if err != nil {
			return fmt.Errorf("a chunk's length is %q", l)
		}
		if err := w.take(int(n)); err != nil {
			return err
		}
		if l, err = w.line(); err != nil || len(l) != 0 {
			return errors.Join(errors.New("a chunk does not end"), err)
		}
		if n == 0 {
			return nil
		}
	}
}
