// Package statement reads channels' statement files: camt.053 and CSV. It turns a
// file into lines, and holds what the file says about itself against them: its
// balances, its counts, its end. It refuses a file that is cut off, that it cannot
// read to the last byte, or that is larger than it should be; it knows neither
// payments nor databases, and believes nothing that it cannot check.
package statement

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/channel"
)

// Bounds of a file.
const (
	// BytesMax bounds a file.
	BytesMax = 64 << 20
	// LinesMax bounds the lines of a file.
	LinesMax = 500_000
	// elementMax bounds one entry of camt.053 and one record of CSV, in bytes.
	elementMax = 256 << 10
	// textMax bounds each text of a line, in characters, as the seam to channels does.
	textMax = 140
	// idMax bounds the ids of statements and lines, in bytes.
	idMax = 140
)

// ErrMalformed says that the file is not in its format: cut off, garbled, or with
// values that cannot be.
var ErrMalformed = errors.New("the file cannot be read")

// ErrTooLarge says that a file, a record or the number of lines is beyond its bound.
var ErrTooLarge = errors.New("the file is too large")

// ErrOpenDay says that the file states a day that is not over: it would be told
// again, with more.
var ErrOpenDay = errors.New("the statement is not final")

// Statement is what a file says about one account over one period, beside its lines.
type Statement struct {
	// ID is the channel's id of the statement, unique at the channel.
	ID      string
	Account string
	Asset   money.Asset
	// Opening and Closing are nil when the file does not state them.
	Opening, Closing *money.Amount
	// Date of the closing balance, at midnight UTC; zero when the file has none.
	Date time.Time
	// Page counts from 1, and Last is whether no page follows. The balances of a
	// statement of several pages are those of all its pages together.
	Page int
	Last bool
	// Lines counts the lines, Net is what they come to: in less out less fees.
	Lines int
	Net   money.Amount
	// First and Latest are the booking times of its lines; zero without lines.
	First, Latest time.Time
}

// Whole reports whether the statement is not one page of several.
func (s *Statement) Whole() bool { return s.Page <= 1 && s.Last }

// Off is what the closing balance has beyond the opening one and the lines. ok is
// false when the file does not state both balances, or is a page of several.
func (s *Statement) Off() (difference money.Amount, ok bool, err error) {
	if s.Opening == nil || s.Closing == nil || !s.Whole() {
		return difference, false, nil
	}
	if difference, err = s.Closing.Sub(*s.Opening); err == nil {
		difference, err = difference.Sub(s.Net)
	}
	return difference, err == nil, err
}

// Sink takes what a file says, in its order. An error ends the reading and is
// returned as it is.
type Sink interface {
	// Line takes the next line; its Seq is its number in its statement, from 1.
	Line(channel.Line) error
	// End takes the statement that the lines since the last End belong to.
	End(Statement) error
}

// Read reads a file: camt.053 if it begins like XML, else CSV by the mapping.
func Read(file io.Reader, m Mapping, sink Sink) error {
	in := bufio.NewReaderSize(io.LimitReader(file, BytesMax+1), 64<<10)
	if mark, _ := in.Peek(3); string(mark) == "\xef\xbb\xbf" {
		_, _ = in.Discard(3)
	}
	for {
		b, err := in.Peek(1)
		if errors.Is(err, io.EOF) {
			return malformed("it is empty")
		}
		if err != nil {
			return fmt.Errorf("read the file: %w", err)
		}
		if b[0] != ' ' && b[0] != '\n' && b[0] != '\r' && b[0] != '\t' {
			break
		}
		_, _ = in.Discard(1)
	}
	count := &metered{in: in, most: BytesMax}
	if b, _ := in.Peek(1); b[0] == '<' {
		return readCamt(count, m, sink)
	}
	return readCSV(count, m, sink)
}

// metered bounds what is read in all, and since the last element began.
type metered struct {
	in                  io.Reader
	read, since         int64
	most                int64
	tooLarge, longInOne bool
}

func (r *metered) Read(p []byte) (int, error) {
	n, err := r.in.Read(p)
	r.read += int64(n)
	r.since += int64(n)
	switch {
	case r.read > r.most:
		r.tooLarge = true
		return n, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, r.most)
	case r.since > elementMax+128<<10: // parsers read ahead
		r.longInOne = true
		return n, fmt.Errorf("%w: one record has more than %d bytes", ErrTooLarge, elementMax)
	}
	return n, err
}

func (r *metered) element() { r.since = 0 }

// tally adds lines up to a statement.
type tally struct {
	sink  Sink
	s     Statement
	total int
}

func (t *tally) line(l channel.Line) error {
	if t.total++; t.total > LinesMax {
		return fmt.Errorf("%w: more than %d lines", ErrTooLarge, LinesMax)
	}
	t.s.Lines++
	l.Seq = int64(t.s.Lines)
	if err := check(&l); err != nil {
		return malformed("line %d: %v", t.s.Lines, err)
	}
	effect := l.Amount
	var err error
	if l.Direction == channel.Out {
		effect, err = l.Amount.Neg()
	}
	if err == nil {
		effect, err = effect.Sub(l.Fee)
	}
	if err == nil {
		t.s.Net, err = t.s.Net.Add(effect)
	}
	if err != nil {
		return malformed("line %d: %v", t.s.Lines, err)
	}
	if t.s.First.IsZero() || l.BookedAt.Before(t.s.First) {
		t.s.First = l.BookedAt
	}
	if l.BookedAt.After(t.s.Latest) {
		t.s.Latest = l.BookedAt
	}
	return t.sink.Line(l)
}

func (t *tally) end() error {
	s := t.s
	t.s = Statement{}
	switch {
	case s.ID == "" || len(s.ID) > idMax || !printable(s.ID):
		return malformed("a statement needs an id of 1 to %d printable bytes", idMax)
	case !known(s.Asset):
		return malformed("statement %s is in %q, which is no asset", s.ID, s.Asset)
	}
	return t.sink.End(s)
}

// check holds a line against what any line must be.
func check(l *channel.Line) error {
	switch {
	case l.ID == "" || len(l.ID) > idMax || !printable(l.ID):
		return fmt.Errorf("its id %.40q is not 1 to %d printable bytes", l.ID, idMax)
	case l.Direction != channel.In && l.Direction != channel.Out:
		return errors.New("it is neither in nor out")
	case l.Amount.Sign() <= 0:
		return errors.New("its amount is not above zero")
	case l.Fee.Sign() < 0:
		return errors.New("its fee is below zero")
	case !known(l.Asset):
		return fmt.Errorf("%.20q is no asset", l.Asset)
	case l.BookedAt.IsZero():
		return errors.New("it has no booking time")
	case l.BookedAt.Year() < 1970 || l.BookedAt.Year() > 9999:
		return fmt.Errorf("it is booked in the year %d", l.BookedAt.Year())
	}
	return nil
}

func known(a money.Asset) bool {
	_, ok := money.LookupAsset(a)
	return ok
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] == 0x7f {
			return false
		}
	}
	return true
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// readError tells a file that is too large from one that is broken.
func readError(err error, where string) error {
	if errors.Is(err, ErrTooLarge) || errors.Is(err, ErrMalformed) || errors.Is(err, ErrOpenDay) {
		return err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return malformed("%s: it ends early: ask the channel for the whole file", where)
	}
	return fmt.Errorf("%w: %s: %w", ErrMalformed, where, err)
}
