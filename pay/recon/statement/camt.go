package statement

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/channel"
)

// The elements that are read of camt.053 (bank to customer statement), by the
// message's own short names. Versions 02 to 08 differ in none of them but Sts, which
// was a text before it had a code.
type camtEntry struct {
	Ref       string     `xml:"NtryRef"`
	Amount    camtAmount `xml:"Amt"`
	Indicator string     `xml:"CdtDbtInd"`
	Status    struct {
		Text string `xml:",chardata"`
		Code string `xml:"Cd"`
	} `xml:"Sts"`
	Booking camtDate `xml:"BookgDt"`
	BankRef string   `xml:"AcctSvcrRef"`
	Code    struct {
		SubFamily string `xml:"Domn>Fmly>SubFmlyCd"`
	} `xml:"BkTxCd"`
	Charges camtCharges   `xml:"Chrgs"`
	Details []camtDetails `xml:"NtryDtls>TxDtls"`
}

type camtAmount struct {
	Currency string `xml:"Ccy,attr"`
	Value    string `xml:",chardata"`
}

type camtDate struct {
	Date string `xml:"Dt"`
	Time string `xml:"DtTm"`
}

type camtCharges struct {
	Records []struct {
		Amount    camtAmount `xml:"Amt"`
		Indicator string     `xml:"CdtDbtInd"`
		Included  string     `xml:"ChrgInclInd"`
	} `xml:"Rcrd"`
}

type camtDetails struct {
	BankRef    string       `xml:"Refs>AcctSvcrRef"`
	EndToEnd   string       `xml:"Refs>EndToEndId"`
	Amount     camtAmount   `xml:"Amt"`
	Charges    camtCharges  `xml:"Chrgs"`
	Remittance []string     `xml:"RmtInf>Ustrd"`
	Structured []string     `xml:"RmtInf>Strd>CdtrRefInf>Ref"`
	Booked     string       `xml:"RltdDts>TxDtTm"`
	Return     *camtReturns `xml:"RtrInf"`
}

type camtReturns struct {
	Code  string `xml:"Rsn>Cd"`
	Prtry string `xml:"Rsn>Prtry"`
}

type camtBalance struct {
	Code      string     `xml:"Tp>CdOrPrtry>Cd"`
	Amount    camtAmount `xml:"Amt"`
	Indicator string     `xml:"CdtDbtInd"`
	Date      camtDate   `xml:"Dt"`
}

type camtSummary struct {
	Entries *camtCount `xml:"TtlNtries"`
	Credits *camtCount `xml:"TtlCdtNtries"`
	Debits  *camtCount `xml:"TtlDbtNtries"`
}

type camtCount struct {
	Entries string `xml:"NbOfNtries"`
	Sum     string `xml:"Sum"`
}

// notProvided is what a bank writes where there is no reference.
const notProvided = "NOTPROVIDED"

// camt reads one document, an entry at a time.
type camt struct {
	in      *metered
	d       *xml.Decoder
	m       Mapping
	t       tally
	summary camtSummary
	// What the entries came to, for the summary: how many, and the sum of each side.
	credits, debits       int
	creditSum, debitSum   money.Amount
	path                  []string
	sawDocument, sawStmts bool
	interim               bool // a closing balance that may still change
}

func readCamt(in *metered, m Mapping, sink Sink) error {
	c := &camt{in: in, d: xml.NewDecoder(in), m: m, t: tally{sink: sink}}
	c.d.CharsetReader = func(charset string, _ io.Reader) (io.Reader, error) {
		return nil, fmt.Errorf("the encoding %q is not UTF-8", charset)
	}
	for {
		in.element()
		token, err := c.d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return readError(err, c.at())
		}
		if err := c.token(token); err != nil {
			return readError(err, c.at())
		}
	}
	switch {
	case len(c.path) > 0:
		return malformed("%s: it ends early: ask the channel for the whole file", c.at())
	case !c.sawStmts:
		return malformed("there is no statement in it: Document/BkToCstmrStmt/Stmt is missing")
	}
	return nil
}

func (c *camt) at() string {
	return "at byte " + strconv.FormatInt(c.d.InputOffset(), 10) + " of " + strings.Join(c.path, "/")
}

func (c *camt) token(token xml.Token) error {
	switch token := token.(type) {
	case xml.Directive:
		return malformed("it has a document type: those are refused")
	case xml.StartElement:
		return c.start(token)
	case xml.EndElement:
		c.path = c.path[:len(c.path)-1] // the decoder has checked the pairs
		if token.Name.Local == "Stmt" {
			return c.ended()
		}
	}
	return nil
}

const statementPath = "Document/BkToCstmrStmt/Stmt"

// start looks into the statement's parts; elements are read whole, one by one.
func (c *camt) start(e xml.StartElement) error {
	if len(c.path) == 0 {
		if e.Name.Local != "Document" || c.sawDocument || !strings.Contains(e.Name.Space, "camt.053.") {
			return malformed("it is not one camt.053 document but begins with %.80q of %.80q", e.Name.Local, e.Name.Space)
		}
		c.sawDocument = true
	}
	if len(c.path) > 16 {
		return malformed("its elements are nested too deep")
	}
	c.path = append(c.path, e.Name.Local)
	inside := strings.Join(c.path[:len(c.path)-1], "/")
	if inside != statementPath {
		return nil
	}
	err := c.part(e)
	if errors.Is(err, errSkipped) {
		return nil
	}
	c.path = c.path[:len(c.path)-1] // it was read with its end
	return err
}

// errSkipped says that an element was not read: its tokens follow.
var errSkipped = errors.New("not read")

func (c *camt) part(e xml.StartElement) error {
	s := &c.t.s
	switch e.Name.Local {
	case "Id":
		return c.d.DecodeElement(&s.ID, &e)
	case "StmtPgntn":
		var pages struct {
			Number string `xml:"PgNb"`
			Last   string `xml:"LastPgInd"`
		}
		if err := c.d.DecodeElement(&pages, &e); err != nil {
			return err
		}
		var err error
		if s.Page, err = strconv.Atoi(strings.TrimSpace(pages.Number)); err != nil || s.Page < 1 {
			return malformed("its page number %.20q is none", pages.Number)
		}
		s.Last = isTrue(pages.Last)
	case "Acct":
		return c.account(e)
	case "Bal":
		return c.balance(e)
	case "TxsSummry":
		return c.d.DecodeElement(&c.summary, &e)
	case "Ntry":
		var entry camtEntry
		if err := c.d.DecodeElement(&entry, &e); err != nil {
			return err
		}
		return c.entry(&entry)
	default:
		return errSkipped
	}
	return nil
}

func isTrue(s string) bool { s = strings.TrimSpace(s); return s == "true" || s == "1" }

func (c *camt) account(e xml.StartElement) error {
	var a struct {
		IBAN     string `xml:"Id>IBAN"`
		Other    string `xml:"Id>Othr>Id"`
		Currency string `xml:"Ccy"`
	}
	if err := c.d.DecodeElement(&a, &e); err != nil {
		return err
	}
	c.t.s.Account, c.t.s.Asset = clip(a.IBAN+a.Other), money.Asset(strings.TrimSpace(a.Currency))
	return nil
}

// balance reads the opening and the closing booked balance. An opening balance that
// continues the last statement is written PRCD by some.
func (c *camt) balance(e xml.StartElement) error {
	var b camtBalance
	if err := c.d.DecodeElement(&b, &e); err != nil {
		return err
	}
	s := &c.t.s
	code := strings.TrimSpace(b.Code)
	if code != "OPBD" && code != "PRCD" && code != "CLBD" && code != "ITBD" {
		return nil
	}
	asset := money.Asset(b.Amount.Currency)
	if s.Asset == "" {
		s.Asset = asset
	}
	if asset != s.Asset {
		return malformed("the balance %s is in %.20q, the account in %s", code, asset, s.Asset)
	}
	amount, err := money.Parse(strings.TrimSpace(b.Amount.Value), asset)
	if err != nil {
		return malformed("the balance %s: %v", code, err)
	}
	if amount, err = signed(amount, b.Indicator); err != nil {
		return err
	}
	switch code {
	case "CLBD":
		s.Closing = &amount
		s.Date, err = b.Date.at(time.UTC)
		return err
	case "ITBD":
		c.interim = true
	default:
		if s.Opening == nil || code == "OPBD" {
			s.Opening = &amount
		}
	}
	return nil
}

func signed(a money.Amount, indicator string) (money.Amount, error) {
	switch strings.TrimSpace(indicator) {
	case "CRDT":
		return a, nil
	case "DBIT":
		return a.Neg()
	}
	return a, malformed("%.20q is neither CRDT nor DBIT", indicator)
}

// at reads a date or a time; a date alone is midnight in the zone.
func (d camtDate) at(zone *time.Location) (time.Time, error) {
	if text := strings.TrimSpace(d.Time); text != "" {
		return instant(text, zone)
	}
	text := strings.TrimSpace(d.Date)
	t, err := time.ParseInLocation(time.DateOnly, text, zone)
	if err != nil {
		return t, malformed("%.40q is not a date", text)
	}
	return t, nil
}

// instant reads ISODateTime, whose zone may be missing.
func instant(text string, zone *time.Location) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	t, err := time.ParseInLocation("2006-01-02T15:04:05.999999999", text, zone)
	if err != nil {
		return t, malformed("%.40q is not a time", text)
	}
	return t, nil
}

// entry turns one booked entry into its lines: one, or one for each transaction of
// a batch that the bank booked in one sum.
func (c *camt) entry(e *camtEntry) error {
	status := strings.TrimSpace(e.Status.Code)
	if status == "" {
		status = strings.TrimSpace(e.Status.Text)
	}
	if status != "BOOK" { // pending or for information: it has moved nothing
		return nil
	}
	s := &c.t.s
	asset := money.Asset(e.Amount.Currency)
	if s.Asset == "" {
		s.Asset = asset
	}
	if asset != s.Asset {
		return malformed("entry %.40q is in %.20q, the account in %s", e.Ref, asset, s.Asset)
	}
	whole, err := money.Parse(strings.TrimSpace(e.Amount.Value), asset)
	if err != nil {
		return malformed("entry %.40q: %v", e.Ref, err)
	}
	l := channel.Line{ID: strings.TrimSpace(e.Ref), Asset: asset, Amount: whole}
	if c.m.CamtLineID == LineIDBank || l.ID == "" {
		l.ID = strings.TrimSpace(e.BankRef)
	}
	if l.BookedAt, err = e.Booking.at(c.m.zone()); err != nil {
		return err
	}
	switch strings.TrimSpace(e.Indicator) {
	case "CRDT":
		l.Direction = channel.In
		c.credits++
		c.creditSum, err = c.creditSum.Add(whole)
	case "DBIT":
		l.Direction = channel.Out
		c.debits++
		c.debitSum, err = c.debitSum.Add(whole)
	default:
		return malformed("entry %.40q is neither CRDT nor DBIT", e.Ref)
	}
	if err != nil {
		return malformed("entry %.40q: %v", e.Ref, err)
	}
	l.Return = strings.TrimSpace(e.Code.SubFamily) == "RRTN"
	if len(e.Details) > 1 {
		return c.batch(e, l)
	}
	if len(e.Details) == 1 {
		if err := detail(&l, &e.Details[0], c.m); err != nil {
			return malformed("entry %.40q: %v", e.Ref, err)
		}
	}
	if err := fee(&l, whole, e); err != nil {
		return malformed("entry %.40q: %v", e.Ref, err)
	}
	return c.t.line(l)
}

// detail takes what the transaction's details say beyond the entry: whose reference,
// what for, how much before charges.
func detail(l *channel.Line, d *camtDetails, m Mapping) error {
	l.Reference = clip(strings.TrimSpace(d.EndToEnd))
	if l.Reference == notProvided {
		l.Reference = ""
	}
	texts := append(append([]string{}, d.Structured...), d.Remittance...)
	l.Remittance = clip(strings.Join(texts, " "))
	if l.Reference == "" && len(d.Structured) > 0 {
		l.Reference = clip(strings.TrimSpace(d.Structured[0]))
	}
	if d.Return != nil {
		l.Return, l.Reason = true, clip(strings.TrimSpace(d.Return.Code+d.Return.Prtry))
	}
	if text := strings.TrimSpace(d.Booked); text != "" {
		at, err := instant(text, m.zone())
		if err != nil {
			return err
		}
		l.BookedAt = at
	}
	if d.Amount.Value == "" || d.Amount.Currency != string(l.Asset) { // in another currency it is what was ordered, not what moved
		return nil
	}
	amount, err := money.Parse(strings.TrimSpace(d.Amount.Value), l.Asset)
	if err != nil {
		return err
	}
	l.Amount = amount
	return nil
}

// fee is what the entry has beyond the transaction: the bank took it from the same
// sum. Where the transaction has no amount of its own, the charges that are included
// say it.
func fee(l *channel.Line, whole money.Amount, e *camtEntry) error {
	if l.Amount == whole {
		included, err := includedCharges(l.Asset, e)
		if err != nil || included.IsZero() {
			return err
		}
		if l.Direction == channel.In {
			l.Amount, err = whole.Add(included)
		} else {
			l.Amount, err = whole.Sub(included)
		}
		l.Fee = included
		return err
	}
	larger, smaller := whole, l.Amount
	if l.Direction == channel.In {
		larger, smaller = l.Amount, whole
	}
	var err error
	if l.Fee, err = larger.Sub(smaller); err != nil {
		return err
	}
	if l.Fee.Sign() < 0 {
		return fmt.Errorf("the entry's %s and its transaction's %s leave a fee below zero", whole, l.Amount)
	}
	return nil
}

func includedCharges(asset money.Asset, e *camtEntry) (sum money.Amount, err error) {
	records := e.Charges.Records
	if len(e.Details) == 1 {
		records = append(records, e.Details[0].Charges.Records...)
	}
	for _, r := range records {
		if !isTrue(r.Included) || r.Amount.Currency != string(asset) {
			continue
		}
		amount, err := money.Parse(strings.TrimSpace(r.Amount.Value), asset)
		if err != nil {
			return sum, err
		}
		if strings.TrimSpace(r.Indicator) == "CRDT" {
			amount, err = amount.Neg()
		}
		if err == nil {
			sum, err = sum.Add(amount)
		}
		if err != nil {
			return sum, err
		}
	}
	if sum.Sign() < 0 {
		return sum, errors.New("its charges are below zero")
	}
	return sum, nil
}

// batch splits an entry that sums up several transactions; they must come to it.
func (c *camt) batch(e *camtEntry, whole channel.Line) error {
	var sum money.Amount
	for i := range e.Details {
		l, d := whole, &e.Details[i]
		l.Amount = money.Amount{}
		err := detail(&l, d, c.m)
		if err == nil {
			sum, err = sum.Add(l.Amount)
		}
		if err != nil {
			return malformed("entry %.40q, transaction %d: %v", e.Ref, i+1, err)
		}
		l.ID = whole.ID + "/" + strconv.Itoa(i+1)
		if c.m.CamtLineID == LineIDBank && d.BankRef != "" {
			l.ID = strings.TrimSpace(d.BankRef)
		}
		if err := c.t.line(l); err != nil {
			return err
		}
	}
	if sum != whole.Amount {
		return malformed("entry %.40q is %s, and its %d transactions come to %s", e.Ref, whole.Amount, len(e.Details), sum)
	}
	return nil
}

// ended holds the statement's summary against its entries.
func (c *camt) ended() error {
	c.sawStmts = true
	s := &c.t.s
	if s.Page == 0 {
		s.Page, s.Last = 1, true
	}
	if c.interim && s.Closing == nil && s.Last {
		return fmt.Errorf("%w: its closing balance is interim (ITBD); import it when the day is closed", ErrOpenDay)
	}
	c.interim = false
	both, err := c.creditSum.Add(c.debitSum)
	if err != nil {
		return malformed("the sum of the entries: %v", err)
	}
	for _, side := range []struct {
		name string
		said *camtCount
		n    int
		sum  money.Amount
	}{
		{"entries", c.summary.Entries, c.credits + c.debits, both},
		{"credits", c.summary.Credits, c.credits, c.creditSum},
		{"debits", c.summary.Debits, c.debits, c.debitSum},
	} {
		if err := side.said.holds(side.name, side.n, side.sum, s.Asset); err != nil {
			return err
		}
	}
	c.summary, c.credits, c.debits, c.creditSum, c.debitSum = camtSummary{}, 0, 0, money.Amount{}, money.Amount{}
	return c.t.end()
}

func (c *camtCount) holds(name string, n int, sum money.Amount, asset money.Asset) error {
	if c == nil {
		return nil
	}
	if text := strings.TrimSpace(c.Entries); text != "" && text != strconv.Itoa(n) {
		return malformed("it counts %.20q %s, and has %d: it is not whole", text, name, n)
	}
	text := strings.TrimSpace(c.Sum)
	if text == "" {
		return nil
	}
	said, err := money.Parse(text, asset)
	if err != nil {
		return malformed("the sum of its %s: %v", name, err)
	}
	if said != sum {
		return malformed("its %s are said to come to %s, and come to %s", name, said, sum)
	}
	return nil
}

// clip bounds what strangers wrote before it reaches rows.
func clip(text string) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
	if utf8.RuneCountInString(text) <= textMax {
		return text
	}
	return string([]rune(text)[:textMax])
}
