package replay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/moneta-pay/moneta/money"
)

// mappingBytesMax bounds a mapping file; a real one has about 2 kB.
const mappingBytesMax = 1 << 20

// Mapping says, in data, what a bank's CSV file means. See examples/berka.
type Mapping struct {
	Name  string `json:"name"`            // shown in reports
	About string `json:"about,omitempty"` // for people

	CSV     CSVFormat    `json:"csv"`
	Asset   AssetMapping `json:"asset"`
	Columns Columns      `json:"columns"`

	// DateLayout is written with YYYY or YY, MM and DD, e.g. "YYMMDD". Years
	// of two digits from 69 on are 19xx.
	DateLayout string `json:"date_layout"`
	Sign       Sign   `json:"sign"`
	// Kinds are tried in order; the first that fits decides.
	Kinds []KindRule `json:"kinds"`

	// Channel and Bank are templates such as "bank-{bank|lower}": our name of
	// the channel, and the code under which the outside world knows the bank.
	Channel string `json:"channel,omitempty"`
	Bank    string `json:"bank,omitempty"`

	// OrderInDay is credits_first (default), debits_first or file.
	OrderInDay string `json:"order_in_day,omitempty"`
	// Opening is zero (default: every account's life begins in the file) or
	// recorded (an account begins with the balance that the bank recorded before
	// its first row, booked against the house account "opening").
	Opening string `json:"opening,omitempty"`
	Oracle  Oracle `json:"oracle"`

	dateLayout string // DateLayout in the form of package time
	rounding   money.Amount
	within     money.Amount
}

// CSVFormat says how the file is written. The first line holds the names.
type CSVFormat struct {
	Delimiter string `json:"delimiter,omitempty"` // one character; default ","
	Decimal   string `json:"decimal,omitempty"`   // "." (default) or ","
	Thousands string `json:"thousands,omitempty"` // one character to ignore in amounts, e.g. " "
}

// AssetMapping names the asset of all amounts in the file.
type AssetMapping struct {
	Code  string `json:"code"`  // e.g. "CZK"
	Scale int    `json:"scale"` // decimals of the smallest unit, 0..18
}

// Columns names the file's columns by the role that they play.
type Columns struct {
	RowID        string `json:"row_id"`  // unique in all files of one replay
	Account      string `json:"account"` // whose money moves
	Date         string `json:"date"`
	Amount       string `json:"amount,omitempty"` // unless sign uses two columns
	Counterparty string `json:"counterparty,omitempty"`
	Balance      string `json:"balance,omitempty"` // as recorded by the bank after the row
}

// Sign says how a row shows whether money comes or goes. Exactly one form:
// a column with values, a signed amount, or two amount columns.
type Sign struct {
	Column string   `json:"column,omitempty"`
	Credit []string `json:"credit,omitempty"`
	Debit  []string `json:"debit,omitempty"`

	SignedAmount bool `json:"signed_amount,omitempty"`

	CreditColumn string `json:"credit_column,omitempty"`
	DebitColumn  string `json:"debit_column,omitempty"`
}

// KindRule gives rows that meet all conditions a kind: "deposit" (a bank sends
// us money), "payout" (we send a bank money) or "house:<name>" (against a house
// account of ours).
type KindRule struct {
	Kind      string      `json:"kind"`
	Direction string      `json:"direction,omitempty"` // credit, debit or empty = both
	When      []Condition `json:"when,omitempty"`      // empty = always
}

// Condition is one test on one column; exactly one operator is set. Values are
// compared after surrounding blanks are removed.
type Condition struct {
	Column   string   `json:"column"`
	Equals   *string  `json:"equals,omitempty"`
	In       []string `json:"in,omitempty"`
	Empty    bool     `json:"empty,omitempty"`
	NotEmpty bool     `json:"not_empty,omitempty"`
}

// Oracle says how exact the bank's recorded balances are; decimals such as
// "0.15". Rounding joins the rows of a day to a chain, Within is the largest
// difference at which an account still counts as fitting.
type Oracle struct {
	Rounding string `json:"rounding,omitempty"` // default 0
	Within   string `json:"within,omitempty"`   // default 0
}

// LoadMapping reads and validates a mapping file. The error lists every fault
// found, each naming its field and what to write there.
func LoadMapping(path string) (*Mapping, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("replay: open mapping: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, mappingBytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("replay: read mapping %s: %w", path, err)
	}
	m, err := ParseMapping(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// ParseMapping is LoadMapping for bytes already in memory.
func ParseMapping(raw []byte) (*Mapping, error) {
	if len(raw) > mappingBytesMax {
		return nil, fmt.Errorf("replay: mapping is larger than %d bytes; is this the data file?", mappingBytesMax)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	var m Mapping
	if err := dec.Decode(&m); err != nil {
		return nil, fmt.Errorf("replay: mapping is not valid JSON of the known fields (see examples/berka/mapping.json): %w", jsonPlace(raw, err))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("replay: mapping has text after its closing brace; remove it")
	}
	if err := m.validate(); err != nil {
		return nil, fmt.Errorf("replay: mapping: %w", err)
	}
	return &m, nil
}

// jsonPlace adds the line to errors that carry a byte offset.
func jsonPlace(raw []byte, err error) error {
	var offset int64 = -1
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &typ):
		offset = typ.Offset
	}
	if offset < 0 || offset > int64(len(raw)) {
		return err
	}
	return fmt.Errorf("line %d: %w", 1+bytes.Count(raw[:offset], []byte("\n")), err)
}

// validate checks every field, fills defaults and compiles layouts.
func (m *Mapping) validate() error {
	var faults []error
	bad := func(field, remedy string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: "+remedy, append([]any{field}, args...)...))
	}
	setDefault(&m.Name, "unnamed")
	setDefault(&m.OrderInDay, orderCreditsFirst)
	setDefault(&m.Opening, openingZero)
	m.validateFormat(bad)
	m.validateColumns(bad)
	m.validateSign(bad)
	m.validateKinds(bad)
	m.validateOracle(bad)
	return errors.Join(faults...)
}

type faultFunc func(field, remedy string, args ...any)

// The orders of rows within one account's day.
const (
	orderCreditsFirst = "credits_first"
	orderDebitsFirst  = "debits_first"
	orderFile         = "file"
)

// Where an account's first balance comes from.
const (
	openingZero     = "zero"
	openingRecorded = "recorded"
)

func (m *Mapping) validateFormat(bad faultFunc) {
	setDefault(&m.CSV.Delimiter, ",")
	setDefault(&m.CSV.Decimal, ".")
	if r, n := utf8.DecodeRuneInString(m.CSV.Delimiter); n != len(m.CSV.Delimiter) ||
		r == '"' || r == '\r' || r == '\n' || r == utf8.RuneError {
		bad("csv.delimiter", `%q is not one character; write ",", ";" or "\t"`, m.CSV.Delimiter)
	}
	if m.CSV.Decimal != "." && m.CSV.Decimal != "," {
		bad("csv.decimal", `%q is not known; write "." or ","`, m.CSV.Decimal)
	}
	if t := m.CSV.Thousands; t != "" && (utf8.RuneCountInString(t) != 1 || t == m.CSV.Decimal || strings.ContainsAny(t, "0123456789+-")) {
		bad("csv.thousands", "%q must be one character other than the decimal sign, or left out", t)
	}
	if m.Asset.Scale < 0 || m.Asset.Scale > scaleMax {
		bad("asset.scale", "%d is not between 0 and %d; write the number of decimals, e.g. 2", m.Asset.Scale, scaleMax)
	}
	if m.Asset.Code == "" {
		bad("asset.code", `is missing; write the currency, e.g. "CZK"`)
	} else if info, known := money.LookupAsset(m.Asset.Code); !known {
		bad("asset.code", "%q is not a known asset", m.Asset.Code)
	} else if int(info.Scale) != m.Asset.Scale {
		bad("asset.scale", "is %d, but %s has %d decimals", m.Asset.Scale, m.Asset.Code, info.Scale)
	}
	layout, err := dateLayout(m.DateLayout)
	if err != nil {
		bad("date_layout", "%v", err)
	}
	m.dateLayout = layout
	if !slices.Contains([]string{orderCreditsFirst, orderDebitsFirst, orderFile}, m.OrderInDay) {
		bad("order_in_day", "%q is not known; write %s, %s or %s", m.OrderInDay, orderCreditsFirst, orderDebitsFirst, orderFile)
	}
	if m.Opening != openingZero && m.Opening != openingRecorded {
		bad("opening", "%q is not known; write %s or %s", m.Opening, openingZero, openingRecorded)
	}
	if m.Opening == openingRecorded && m.Columns.Balance == "" {
		bad("opening", "recorded needs columns.balance")
	}
}

func (m *Mapping) validateColumns(bad faultFunc) {
	for _, c := range []struct{ field, name string }{
		{"columns.row_id", m.Columns.RowID},
		{"columns.account", m.Columns.Account},
		{"columns.date", m.Columns.Date},
	} {
		if c.name == "" {
			bad(c.field, "is missing; write the column's name as it stands in the file's first line")
		}
	}
}

func (m *Mapping) validateSign(bad faultFunc) {
	s := m.Sign
	two := s.CreditColumn != "" || s.DebitColumn != ""
	forms := 0
	for _, set := range []bool{s.Column != "", s.SignedAmount, two} {
		if set {
			forms++
		}
	}
	if forms != 1 {
		bad("sign", "use exactly one form: column with credit and debit values, or signed_amount, or credit_column with debit_column")
		return
	}
	if two && (s.CreditColumn == "" || s.DebitColumn == "" || m.Columns.Amount != "") {
		bad("sign", "credit_column and debit_column go together and replace columns.amount")
	}
	if !two && m.Columns.Amount == "" {
		bad("columns.amount", "is missing; write the name of the amount column")
	}
	if s.Column != "" && (len(s.Credit) == 0 || len(s.Debit) == 0) {
		bad("sign.credit, sign.debit", "list the values of column %q that mean money in and money out", s.Column)
	}
	for _, v := range s.Credit {
		if slices.Contains(s.Debit, v) {
			bad("sign.credit", "%q is also in sign.debit; keep it in one of them", v)
		}
	}
}

func (m *Mapping) validateKinds(bad faultFunc) {
	if len(m.Kinds) == 0 {
		bad("kinds", `is empty; add rules such as {"kind": "house:cash"}`)
	}
	touches := false
	for i, k := range m.Kinds {
		field := fmt.Sprintf("kinds[%d]", i)
		switch {
		case k.Kind == kindDeposit && k.Direction == dirCredit, k.Kind == kindPayout && k.Direction == dirDebit:
			touches = true
		case k.Kind == kindDeposit:
			bad(field+".direction", `a deposit brings money in; write "direction": "credit"`)
		case k.Kind == kindPayout:
			bad(field+".direction", `a payout takes money out; write "direction": "debit"`)
		case !strings.HasPrefix(k.Kind, kindHousePrefix) || len(k.Kind) == len(kindHousePrefix):
			bad(field+".kind", "%q is not known; write deposit, payout or house:<name>", k.Kind)
		}
		if k.Direction != "" && k.Direction != dirCredit && k.Direction != dirDebit {
			bad(field+".direction", "%q is not known; write credit or debit, or leave it out", k.Direction)
		}
		for j, c := range k.When {
			c.validate(fmt.Sprintf("%s.when[%d]", field, j), bad)
		}
	}
	for _, t := range []struct{ field, text string }{{"channel", m.Channel}, {"bank", m.Bank}} {
		if touches && t.text == "" {
			bad(t.field, `is missing; deposits and payouts need it, e.g. "bank-{bank|lower}"`)
		}
		if _, err := templateColumns(t.text); err != nil {
			bad(t.field, "%v", err)
		}
	}
	if touches && m.Columns.Counterparty == "" {
		bad("columns.counterparty", "is missing; payouts need the account that receives the money")
	}
}

func (c Condition) validate(field string, bad faultFunc) {
	if c.Column == "" {
		bad(field+".column", "is missing; write a column's name")
	}
	set := 0
	for _, on := range []bool{c.Equals != nil, len(c.In) > 0, c.Empty, c.NotEmpty} {
		if on {
			set++
		}
	}
	if set != 1 {
		bad(field, "use exactly one of equals, in, empty, not_empty")
	}
}

func (m *Mapping) validateOracle(bad faultFunc) {
	for _, o := range []struct {
		field string
		text  *string
		into  *money.Amount
	}{{"oracle.rounding", &m.Oracle.Rounding, &m.rounding}, {"oracle.within", &m.Oracle.Within, &m.within}} {
		setDefault(o.text, "0")
		scale := min(max(m.Asset.Scale, 0), scaleMax) // out of range is a fault of its own
		a, err := parseDecimal(*o.text, scale, ".", "")
		if err != nil || a.Sign() < 0 {
			bad(o.field, `%q is not a positive amount; write e.g. "0.15"`, *o.text)
		}
		*o.into = a
	}
}

// columns lists every column that the mapping reads, with the field that does.
func (m *Mapping) columns() map[string]string {
	used := map[string]string{}
	add := func(field, column string) {
		if column != "" && used[column] == "" {
			used[column] = field
		}
	}
	add("columns.row_id", m.Columns.RowID)
	add("columns.account", m.Columns.Account)
	add("columns.date", m.Columns.Date)
	add("columns.amount", m.Columns.Amount)
	add("columns.counterparty", m.Columns.Counterparty)
	add("columns.balance", m.Columns.Balance)
	add("sign.column", m.Sign.Column)
	add("sign.credit_column", m.Sign.CreditColumn)
	add("sign.debit_column", m.Sign.DebitColumn)
	for i, k := range m.Kinds {
		for j, c := range k.When {
			add(fmt.Sprintf("kinds[%d].when[%d].column", i, j), c.Column)
		}
	}
	for field, text := range map[string]string{"channel": m.Channel, "bank": m.Bank} {
		names, _ := templateColumns(text) // validated when the mapping was loaded
		for _, c := range names {
			add(field, c)
		}
	}
	return used
}
