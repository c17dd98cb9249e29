package replay

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/moneta-pay/moneta/money"
)

// recordBytesMax bounds one record, so that an unclosed quote cannot pull the
// whole file into one field.
const recordBytesMax = 1 << 20

// fieldBytesMax bounds ids and names that travel over the API.
const fieldBytesMax = 140

// The kinds that a rule can give a row.
const (
	kindDeposit     = "deposit"
	kindPayout      = "payout"
	kindHouse       = "house"
	kindHousePrefix = "house:"
	dirCredit       = "credit"
	dirDebit        = "debit"
)

// Row is one transaction of the file, as the mapping reads it.
type Row struct {
	File string
	Line int // from 1, counting the header

	ID      string // unique in the replay
	Account string
	Day     time.Time // midnight UTC

	Amount money.Amount // always positive; the direction is Credit
	Credit bool         // true: the account's balance rises

	Kind  string // "deposit", "payout" or "house"
	House string // name of the house account when Kind is "house"

	Channel, Bank string // when Kind is deposit or payout
	Counterparty  string // account at the bank, may be empty for a deposit

	HasBalance bool
	Balance    money.Amount // as recorded by the bank after this row
}

// Signed returns the amount as the account's balance feels it.
func (r *Row) Signed() money.Amount {
	if r.Credit {
		return r.Amount
	}
	n, _ := r.Amount.Neg() // of at most digitsMax digits: always fits
	return n
}

// BadRow is a record that the mapping could not explain.
type BadRow struct {
	File   string `json:"file"`
	Line   int    `json:"line"` // from 1, counting the header
	Reason string `json:"reason"`
}

func (b BadRow) String() string { return fmt.Sprintf("%s:%d: %s", b.File, b.Line, b.Reason) }

// readFile streams a file's records, plain or gzip by its first bytes, to row
// and bad. It fails when the file as a whole cannot be read.
func readFile(path string, m *Mapping, row func(*Row) error, bad func(BadRow) error) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("replay: open data: %w", err)
	}
	defer f.Close()
	if err := readRows(f, path, m, row, bad); err != nil {
		return fmt.Errorf("replay: %s: %w", path, err)
	}
	return nil
}

func readRows(src io.Reader, name string, m *Mapping, row func(*Row) error, bad func(BadRow) error) error {
	plain, err := plainText(src)
	if err != nil {
		return err
	}
	guard := &recordGuard{src: plain}
	records := csv.NewReader(guard)
	records.Comma, _ = utf8.DecodeRuneInString(m.CSV.Delimiter)
	records.FieldsPerRecord = -1
	records.ReuseRecord = true
	header, err := records.Read()
	if err != nil {
		return fmt.Errorf("read the first line, which holds the column names: %w", err)
	}
	p, err := newRowParser(name, slices.Clone(header), m)
	if err != nil {
		return err
	}
	for {
		guard.sinceRecord = 0
		record, err := records.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		var broken *csv.ParseError
		if errors.As(err, &broken) && !errors.Is(err, errRecordTooLong) {
			if err := bad(BadRow{name, broken.StartLine, broken.Err.Error()}); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("after %s: %w", p.place(), err)
		}
		line, _ := records.FieldPos(0)
		r, err := p.parse(record, line)
		if err != nil {
			err = bad(BadRow{name, line, err.Error()})
		} else {
			err = row(r)
		}
		if err != nil {
			return err
		}
	}
}

// plainText undoes gzip and drops a byte order mark.
func plainText(src io.Reader) (io.Reader, error) {
	b := bufio.NewReader(src)
	if magic, _ := b.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, fmt.Errorf("looks like gzip, but: %w", err)
		}
		b = bufio.NewReader(z)
	}
	if bom, _ := b.Peek(3); bytes.Equal(bom, []byte{0xef, 0xbb, 0xbf}) {
		_, _ = b.Discard(3)
	}
	return b, nil
}

var errRecordTooLong = fmt.Errorf("one record is longer than %d bytes; is a quote never closed?", recordBytesMax)

// recordGuard fails the read when one record grows beyond the bound. Reading
// ahead makes it a little strict about where the count starts; the bound is
// far from any real record.
type recordGuard struct {
	src         io.Reader
	sinceRecord int
}

func (g *recordGuard) Read(p []byte) (int, error) {
	if g.sinceRecord > recordBytesMax {
		return 0, errRecordTooLong
	}
	n, err := g.src.Read(p)
	g.sinceRecord += n
	return n, err
}

// rowParser turns records of one file into rows.
type rowParser struct {
	m      *Mapping
	file   string
	width  int
	column map[string]int
	record []string
	line   int
}

func newRowParser(file string, header []string, m *Mapping) (*rowParser, error) {
	p := &rowParser{m: m, file: file, width: len(header), column: map[string]int{}, line: 1}
	for i, name := range header {
		name = strings.TrimSpace(name)
		if _, twice := p.column[name]; twice && m.columns()[name] != "" {
			return nil, fmt.Errorf("the first line has column %q twice; rename one", name)
		}
		p.column[name] = i
	}
	var faults []error
	for column, field := range m.columns() {
		if _, ok := p.column[column]; !ok {
			faults = append(faults, fmt.Errorf("mapping field %s names column %q, but the first line has: %s",
				field, column, strings.Join(header, ", ")))
		}
	}
	slices.SortFunc(faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return p, errors.Join(faults...)
}

func (p *rowParser) place() string { return fmt.Sprintf("line %d", p.line) }

func (p *rowParser) get(column string) string {
	i, ok := p.column[column]
	if !ok || i >= len(p.record) {
		return ""
	}
	return strings.TrimSpace(p.record[i])
}

// parse never keeps the record, which the caller reuses.
func (p *rowParser) parse(record []string, line int) (*Row, error) {
	p.record, p.line = record, line
	if len(record) != p.width {
		return nil, fmt.Errorf("has %d fields, the first line has %d", len(record), p.width)
	}
	c := p.m.Columns
	r := &Row{
		File: p.file, Line: line, ID: strings.Clone(p.get(c.RowID)), Account: strings.Clone(p.get(c.Account)),
		Counterparty: strings.Clone(p.get(c.Counterparty)),
	}
	for column, v := range map[string]string{c.RowID: r.ID, c.Account: r.Account} {
		if v == "" {
			return nil, fmt.Errorf("column %q is empty", column)
		}
	}
	for _, v := range []string{r.ID, r.Account, r.Counterparty} {
		if len(v) > fieldBytesMax || !printable(v) {
			return nil, fmt.Errorf("%.40q is longer than %d bytes or not plain text", v, fieldBytesMax)
		}
	}
	day, err := time.ParseInLocation(p.m.dateLayout, p.get(c.Date), time.UTC)
	if err != nil || day.Year() < 1 {
		return nil, fmt.Errorf("date %q is not %s", p.get(c.Date), p.m.DateLayout)
	}
	r.Day = day
	if err := p.parseMoney(r); err != nil {
		return nil, err
	}
	return r, p.parseKind(r)
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

func (p *rowParser) parseMoney(r *Row) error {
	s := p.m.Sign
	column := p.m.Columns.Amount
	if s.CreditColumn != "" {
		credit, debit := p.get(s.CreditColumn), p.get(s.DebitColumn)
		if (credit == "") == (debit == "") {
			return fmt.Errorf("exactly one of columns %q and %q must hold an amount", s.CreditColumn, s.DebitColumn)
		}
		r.Credit, column = credit != "", s.CreditColumn
		if debit != "" {
			column = s.DebitColumn
		}
	}
	amount, err := p.decimal(column)
	if err != nil {
		return err
	}
	switch {
	case s.SignedAmount:
		r.Credit = amount.Sign() > 0
		if !r.Credit {
			if amount, err = amount.Neg(); err != nil {
				return fmt.Errorf("column %q: %w", column, err)
			}
		}
	case s.Column != "":
		v := p.get(s.Column)
		r.Credit = slices.Contains(s.Credit, v)
		if !r.Credit && !slices.Contains(s.Debit, v) {
			return fmt.Errorf("column %q is %.40q, which neither sign.credit nor sign.debit lists", s.Column, v)
		}
	}
	if amount.Sign() <= 0 {
		return fmt.Errorf("amount %q is not above zero", p.get(column))
	}
	r.Amount = amount
	if c := p.m.Columns.Balance; c != "" && p.get(c) != "" {
		r.HasBalance = true
		r.Balance, err = p.decimal(c)
	}
	return err
}

func (p *rowParser) decimal(column string) (money.Amount, error) {
	a, err := parseDecimal(p.get(column), p.m.Asset.Scale, p.m.CSV.Decimal, p.m.CSV.Thousands)
	if err != nil {
		return a, fmt.Errorf("column %q: %w", column, err)
	}
	return a, nil
}

func (p *rowParser) parseKind(r *Row) error {
	direction := dirDebit
	if r.Credit {
		direction = dirCredit
	}
	for _, rule := range p.m.Kinds {
		if (rule.Direction != "" && rule.Direction != direction) || !p.fits(rule.When) {
			continue
		}
		if house, ok := strings.CutPrefix(rule.Kind, kindHousePrefix); ok {
			r.Kind, r.House = kindHouse, house
			return nil
		}
		r.Kind = rule.Kind
		return p.parseBank(r)
	}
	return fmt.Errorf("no rule of mapping field kinds fits this %s; add one", direction)
}

func (p *rowParser) parseBank(r *Row) (err error) {
	if r.Channel, err = expand(p.m.Channel, p.get); err != nil {
		return fmt.Errorf("mapping field channel: %w", err)
	}
	if r.Bank, err = expand(p.m.Bank, p.get); err != nil {
		return fmt.Errorf("mapping field bank: %w", err)
	}
	if !plainName(r.Channel) || !plainName(r.Bank) {
		return fmt.Errorf("channel %.40q or bank %.40q has characters other than letters, digits, - and _", r.Channel, r.Bank)
	}
	if r.Kind == kindPayout && r.Counterparty == "" {
		return fmt.Errorf("column %q is empty, but a payout needs the account that receives the money", p.m.Columns.Counterparty)
	}
	return nil
}

// plainName keeps channel and bank names safe as parts of a URL's path.
func plainName(s string) bool {
	return s != "" && len(s) <= fieldBytesMax && !strings.ContainsFunc(s, func(r rune) bool {
		plain := (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
		return !plain
	})
}

func (p *rowParser) fits(conditions []Condition) bool {
	for _, c := range conditions {
		v := p.get(c.Column)
		ok := false
		switch {
		case c.Equals != nil:
			ok = v == strings.TrimSpace(*c.Equals)
		case len(c.In) > 0:
			ok = slices.Contains(c.In, v)
		case c.Empty:
			ok = v == ""
		case c.NotEmpty:
			ok = v != ""
		}
		if !ok {
			return false
		}
	}
	return true
}
