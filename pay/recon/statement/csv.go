package statement

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/channel"
)

// Where a camt.053 entry's line id is.
const (
	// LineIDEntry is NtryRef, and AcctSvcrRef where that is empty.
	LineIDEntry = "entry"
	// LineIDBank is AcctSvcrRef.
	LineIDBank = "bank"
)

// Mapping says where in a channel's files what stands. The zero Mapping is
// Moneta's own CSV, which DefaultMapping spells out.
type Mapping struct {
	// Delimiter between fields; empty is a comma.
	Delimiter string `json:"delimiter,omitempty"`
	// Skip is how many lines stand before the header.
	Skip int `json:"skip,omitempty"`
	// Decimal is the decimal sign of amounts, "." or ","; empty is ".".
	Decimal string `json:"decimal,omitempty"`
	// Grouping is a character that separates thousands, such as a space; empty is none.
	Grouping string `json:"grouping,omitempty"`
	// Minor says that amounts count the asset's smallest unit.
	Minor bool `json:"minor,omitempty"`
	// TimeLayout is how booked_at is written, in Go's form (02.01.2006 15:04:05);
	// empty is RFC 3339, or 2006-01-02.
	TimeLayout string `json:"time_layout,omitempty"`
	// TimeZone of times that do not say theirs, such as Europe/Prague; empty is UTC.
	TimeZone string `json:"time_zone,omitempty"`
	// CamtLineID is LineIDEntry or LineIDBank; empty is the first. For camt.053 only.
	CamtLineID string `json:"camt_line_id,omitempty"`

	// Columns names the header of each column; empty ones are not there. LineID,
	// Amount (or In and Out) and BookedAt must be.
	Columns Columns `json:"columns"`
	// Records says which rows are what, by Columns.Record; without it each row is a
	// line, and where the file ends nobody can tell.
	Records Records `json:"records,omitzero"`
	// Constant values where no column has them.
	Asset string `json:"asset,omitempty"`
	// In and Out are what Columns.Direction says; empty are in and out. Without that
	// column the sign of the amount tells.
	In  string `json:"in,omitempty"`
	Out string `json:"out,omitempty"`

	location *time.Location
}

// Columns are the headers of the columns.
type Columns struct {
	Record       string `json:"record,omitempty"`
	Statement    string `json:"statement,omitempty"`
	LineID       string `json:"line_id"`
	Direction    string `json:"direction,omitempty"`
	Reference    string `json:"reference,omitempty"`
	Amount       string `json:"amount,omitempty"`
	In           string `json:"in,omitempty"`
	Out          string `json:"out,omitempty"`
	Fee          string `json:"fee,omitempty"`
	Asset        string `json:"asset,omitempty"`
	BookedAt     string `json:"booked_at"`
	Remittance   string `json:"remittance,omitempty"`
	ReturnReason string `json:"return_reason,omitempty"`
	// Balance is the balance of an opening or closing record; in a line, the balance
	// after it, which must follow from the one before.
	Balance string `json:"balance,omitempty"`
	// Count is how many lines a closing record says there were.
	Count string `json:"count,omitempty"`
	// Date is the day that a closing record closes.
	Date string `json:"date,omitempty"`
}

// Records are the values of the record column. A file that declares a closing record
// and does not have one was cut off.
type Records struct {
	Open  string `json:"open,omitempty"`
	Line  string `json:"line,omitempty"`
	Close string `json:"close,omitempty"`
}

// DefaultMapping is Moneta's own CSV: RFC 4180 with a header, amounts as decimals of
// the asset, an open record, lines, a close record.
func DefaultMapping() Mapping {
	return Mapping{
		Columns: Columns{
			Record: "record", LineID: "line_id", Direction: "direction", Reference: "reference", Amount: "amount", Fee: "fee",
			Asset: "asset", BookedAt: "booked_at", Remittance: "remittance", ReturnReason: "return_reason", Balance: "balance", Count: "lines",
			Date: "booking_date",
		},
		Records: Records{Open: "open", Line: "line", Close: "close"},
	}
}

// ParseMapping reads a mapping from JSON and checks it. Unknown members are refused.
func ParseMapping(raw []byte) (Mapping, error) {
	var m Mapping
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return m, fmt.Errorf("the mapping: %w", err)
	}
	return m, m.Check()
}

// Check reports what is wrong with the mapping.
func (m *Mapping) Check() error {
	if m.TimeZone != "" {
		zone, err := time.LoadLocation(m.TimeZone)
		if err != nil {
			return fmt.Errorf("the mapping's time_zone: %w", err)
		}
		m.location = zone
	}
	if m.CamtLineID != "" && m.CamtLineID != LineIDEntry && m.CamtLineID != LineIDBank {
		return fmt.Errorf("the mapping's camt_line_id is entry or bank, not %q", m.CamtLineID)
	}
	if m.Columns == (Columns{}) {
		return nil
	}
	c := m.Columns
	switch {
	case c.LineID == "" || c.BookedAt == "":
		return errors.New("the mapping needs columns.line_id and columns.booked_at")
	case (c.Amount == "") == (c.In == "" || c.Out == ""):
		return errors.New("the mapping needs columns.amount, or columns.in and columns.out")
	case c.Asset == "" && m.Asset == "":
		return errors.New("the mapping needs columns.asset, or asset for all lines")
	case m.Records != (Records{}) && (c.Record == "" || m.Records.Line == ""):
		return errors.New("the mapping's records need columns.record, and which of them are lines")
	case m.Decimal != "" && m.Decimal != "." && m.Decimal != ",":
		return fmt.Errorf("the mapping's decimal is . or , not %q", m.Decimal)
	case len(m.Delimiter) > 1 || m.Delimiter == `"` || m.Delimiter == "\n" || m.Delimiter == "\r":
		return fmt.Errorf("the mapping's delimiter is one character, not %q", m.Delimiter)
	case m.Grouping != "" && m.Grouping == m.decimal():
		return errors.New("the mapping's grouping is its decimal sign")
	case m.Skip < 0 || m.Skip > 100:
		return errors.New("the mapping skips 0 to 100 lines")
	}
	return nil
}

func (m *Mapping) zone() *time.Location {
	if m.location == nil {
		return time.UTC
	}
	return m.location
}

func (m *Mapping) decimal() string {
	if m.Decimal == "" {
		return "."
	}
	return m.Decimal
}

// table reads one CSV file.
type table struct {
	m      Mapping
	t      tally
	at     map[string]int // column by header
	row    []string
	number int
	closed bool
	// balance after the line before, where lines state theirs.
	balance *money.Amount
}

func readCSV(in *metered, m Mapping, sink Sink) error {
	if m.Columns == (Columns{}) {
		own := DefaultMapping()
		own.location = m.location
		m = own
	}
	r := csv.NewReader(in)
	r.ReuseRecord = true
	r.FieldsPerRecord = -1
	if m.Delimiter != "" {
		r.Comma = rune(m.Delimiter[0])
	}
	f := &table{m: m, t: tally{sink: sink, s: Statement{Page: 1, Last: true}}}
	for {
		in.element()
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return readError(err, "behind row "+strconv.Itoa(f.number))
		}
		f.number, _ = r.FieldPos(0)
		if err := f.take(row); err != nil {
			return readError(err, "row "+strconv.Itoa(f.number))
		}
	}
	return f.end()
}

func (f *table) take(row []string) error {
	f.row = row
	switch {
	case f.m.Skip > 0:
		f.m.Skip--
		return nil
	case f.at == nil:
		return f.header()
	case len(row) != len(f.at):
		return malformed("row %d has %d fields, the header has %d: it was cut off or garbled", f.number, len(row), len(f.at))
	case f.closed:
		return malformed("row %d stands behind the closing record", f.number)
	}
	if id := f.value(f.m.Columns.Statement); id != "" {
		if f.t.s.ID != "" && f.t.s.ID != id {
			return malformed("row %d is of statement %.40q, the ones before of %.40q: one file is one statement", f.number, id, f.t.s.ID)
		}
		f.t.s.ID = id
	}
	if f.m.Records == (Records{}) {
		return f.line()
	}
	switch kind := f.value(f.m.Columns.Record); kind {
	case f.m.Records.Line:
		return f.line()
	case f.m.Records.Open:
		return f.open()
	case f.m.Records.Close:
		return f.close()
	default:
		return malformed("row %d is a %.40q, which the mapping does not know", f.number, kind)
	}
}

func (f *table) header() error {
	f.at = make(map[string]int, len(f.row))
	for i, name := range f.row {
		name = strings.TrimSpace(name)
		if _, twice := f.at[name]; twice {
			return malformed("the header has %.40q twice", name)
		}
		f.at[strings.Clone(name)] = i
	}
	c := f.m.Columns
	for _, name := range []string{
		c.Record, c.Statement, c.LineID, c.Direction, c.Reference, c.Amount, c.In, c.Out, c.Fee, c.Asset, c.BookedAt, c.Remittance, c.ReturnReason,
		c.Balance, c.Count, c.Date,
	} {
		if _, ok := f.at[name]; name != "" && !ok {
			return malformed("the header has no column %q, which the mapping names", name)
		}
	}
	return nil
}

// value is a column's text; empty when the mapping does not name it.
func (f *table) value(column string) string {
	i, ok := f.at[column]
	if column == "" || !ok {
		return ""
	}
	return strings.TrimSpace(f.row[i])
}

func (f *table) asset() money.Asset {
	if a := f.value(f.m.Columns.Asset); a != "" {
		return money.Asset(strings.Clone(a))
	}
	return money.Asset(f.m.Asset)
}

// amount reads a column as the mapping writes amounts; empty is zero.
func (f *table) amount(column string, asset money.Asset) (money.Amount, error) {
	text := f.value(column)
	if text == "" {
		return money.Amount{}, nil
	}
	if f.m.Grouping != "" {
		text = strings.ReplaceAll(text, f.m.Grouping, "")
	}
	text = strings.TrimPrefix(text, "+")
	if f.m.decimal() == "," {
		if strings.Contains(text, ".") {
			return money.Amount{}, malformed("row %d: %.40q in %s has a point, and the decimal sign is a comma", f.number, text, column)
		}
		text = strings.Replace(text, ",", ".", 1)
	}
	var a money.Amount
	var err error
	if f.m.Minor {
		a, err = money.ParseMinor(text)
	} else {
		a, err = money.Parse(text, asset)
	}
	if err != nil {
		return a, malformed("row %d, %s: %v", f.number, column, err)
	}
	return a, nil
}

func (f *table) line() error {
	c, asset := f.m.Columns, f.asset()
	if f.t.s.Asset == "" {
		f.t.s.Asset = asset
	}
	if asset != f.t.s.Asset {
		return malformed("row %d is in %.20q, the ones before in %s: one file is one account", f.number, asset, f.t.s.Asset)
	}
	l := channel.Line{
		ID: strings.Clone(f.value(c.LineID)), Reference: strings.Clone(clip(f.value(c.Reference))), Asset: asset,
		Remittance: strings.Clone(clip(f.value(c.Remittance))), Reason: strings.Clone(clip(f.value(c.ReturnReason))),
	}
	l.Return = l.Reason != ""
	var err error
	if l.Amount, l.Direction, err = f.moved(asset); err != nil {
		return err
	}
	if l.Fee, err = f.amount(c.Fee, asset); err != nil {
		return err
	}
	if l.BookedAt, err = f.when(c.BookedAt); err != nil {
		return err
	}
	if err := f.t.line(l); err != nil {
		return err
	}
	return f.running(&l)
}

// moved reads how much moved which way: by a column that says so, by two columns of
// which one is empty, or by the sign.
func (f *table) moved(asset money.Asset) (money.Amount, channel.Direction, error) {
	c := f.m.Columns
	if c.Amount == "" {
		in, err := f.amount(c.In, asset)
		if err != nil {
			return in, 0, err
		}
		out, err := f.amount(c.Out, asset)
		if err != nil {
			return out, 0, err
		}
		if in.IsZero() == out.IsZero() {
			return in, 0, malformed("row %d has both or neither of %s and %s", f.number, c.In, c.Out)
		}
		if out.IsZero() {
			return in, channel.In, nil
		}
		if out.Sign() < 0 { // some write what left with a minus in its own column
			out, err = out.Neg()
		}
		return out, channel.Out, err
	}
	amount, err := f.amount(c.Amount, asset)
	if err != nil {
		return amount, 0, err
	}
	if c.Direction == "" {
		if amount.Sign() < 0 {
			amount, err = amount.Neg()
			return amount, channel.Out, err
		}
		return amount, channel.In, nil
	}
	in, out := f.m.In, f.m.Out
	if in == "" {
		in, out = "in", "out"
	}
	switch said := f.value(c.Direction); said {
	case in:
		return amount, channel.In, nil
	case out:
		return amount, channel.Out, nil
	default:
		return amount, 0, malformed("row %d: %.40q is neither %q nor %q", f.number, said, in, out)
	}
}

func (f *table) when(column string) (time.Time, error) {
	text := f.value(column)
	if f.m.TimeLayout != "" {
		t, err := time.ParseInLocation(f.m.TimeLayout, text, f.m.zone())
		if err != nil {
			return t, malformed("row %d: %.40q in %s is not written as %s", f.number, text, column, f.m.TimeLayout)
		}
		return t, nil
	}
	if t, err := time.ParseInLocation(time.DateOnly, text, f.m.zone()); err == nil {
		return t, nil
	}
	t, err := instant(text, f.m.zone())
	if err != nil {
		return t, malformed("row %d: %.40q in %s is not a time", f.number, text, column)
	}
	return t, nil
}

// running checks the balance that a line states against the one before; the first
// tells the opening balance where no record does.
func (f *table) running(l *channel.Line) error {
	if f.value(f.m.Columns.Balance) == "" {
		return nil
	}
	after, err := f.amount(f.m.Columns.Balance, l.Asset)
	if err != nil {
		return err
	}
	moved := l.Amount
	if l.Direction == channel.Out {
		if moved, err = moved.Neg(); err != nil {
			return err
		}
	}
	if moved, err = moved.Sub(l.Fee); err != nil {
		return err
	}
	before, err := after.Sub(moved)
	if err != nil {
		return err
	}
	if f.balance == nil && f.t.s.Opening == nil {
		f.t.s.Opening = &before
	}
	if f.balance != nil && *f.balance != before {
		return malformed("row %d: the balance before it was %s, and by its own it was %s: a line is missing or out of order", f.number, f.balance, before)
	}
	f.balance, f.t.s.Closing = &after, &after
	return nil
}

func (f *table) open() error {
	if f.t.s.Lines > 0 || f.t.s.Opening != nil {
		return malformed("row %d opens the statement again", f.number)
	}
	f.t.s.Asset = f.asset()
	a, err := f.amount(f.m.Columns.Balance, f.t.s.Asset)
	f.t.s.Opening = &a
	return err
}

func (f *table) close() error {
	if f.t.s.Asset == "" {
		f.t.s.Asset = f.asset()
	}
	if count := f.value(f.m.Columns.Count); count != "" && count != strconv.Itoa(f.t.s.Lines) {
		return malformed("the closing record counts %.20q lines, and there are %d: it is not whole", count, f.t.s.Lines)
	}
	a, err := f.amount(f.m.Columns.Balance, f.t.s.Asset)
	if err != nil {
		return err
	}
	if f.m.Columns.Date != "" {
		if f.t.s.Date, err = f.when(f.m.Columns.Date); err != nil {
			return err
		}
		f.t.s.Date = time.Date(f.t.s.Date.Year(), f.t.s.Date.Month(), f.t.s.Date.Day(), 0, 0, 0, 0, time.UTC)
	}
	f.t.s.Closing, f.closed = &a, true
	return nil
}

func (f *table) end() error {
	switch {
	case f.at == nil:
		return malformed("it has no header")
	case f.m.Records.Close != "" && !f.closed:
		return malformed("its closing record is missing: it was cut off; ask the channel for the whole file")
	case f.t.s.Asset == "":
		return malformed("it has no line")
	}
	if f.t.s.ID == "" { // Moneta's own CSV names its day and account
		f.t.s.ID = f.named()
	}
	return f.t.end()
}

// named is the id of a statement whose file does not give it one: its account and
// its day.
func (f *table) named() string {
	day := f.t.s.Date
	if day.IsZero() {
		day = f.t.s.Latest
	}
	return "csv-" + string(f.t.s.Asset) + "-" + day.UTC().Format(time.DateOnly)
}
