package sandbox

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/moneta-pay/moneta/money"
)

// camtNamespace is the message and version that dayStatement.camt053 writes: bank
// to customer statement, as in the ISO 20022 catalogue of 2019.
const camtNamespace = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"

// Lengths of the schema's text types.
const (
	camtID      = 35 // Max35Text
	camtAccount = 34 // Max34Text
	camtDigits  = 18 // totalDigits of an amount
	camtScale   = 5  // fractionDigits of an amount
)

// The elements below are those of the message, by its own short names and in the
// order of its schema; left out is what a bank may leave out.
type camtDocument struct {
	XMLName   xml.Name `xml:"Document"`
	Namespace string   `xml:"xmlns,attr"`
	Header    struct {
		MsgID   string `xml:"MsgId"`
		Created string `xml:"CreDtTm"`
	} `xml:"BkToCstmrStmt>GrpHdr"`
	Statement camtStatement `xml:"BkToCstmrStmt>Stmt"`
}

type camtStatement struct {
	ID    string `xml:"Id"`
	Pages struct {
		Number int  `xml:"PgNb"`
		Last   bool `xml:"LastPgInd"`
	} `xml:"StmtPgntn"`
	Number  int64  `xml:"ElctrncSeqNb"`
	Created string `xml:"CreDtTm"`
	Period  struct {
		From  string `xml:"FrDtTm"`
		Until string `xml:"ToDtTm"`
	} `xml:"FrToDt"`
	Account struct {
		ID       string `xml:"Id>Othr>Id"`
		Currency string `xml:"Ccy"`
	} `xml:"Acct"`
	Balances []camtBalance `xml:"Bal"`
	Credits  camtCount     `xml:"TxsSummry>TtlCdtNtries"`
	Debits   camtCount     `xml:"TxsSummry>TtlDbtNtries"`
	Entries  []camtEntry   `xml:"Ntry"`
}

type camtAmount struct {
	Currency string `xml:"Ccy,attr"`
	Value    string `xml:",chardata"`
}

type camtBalance struct {
	Code      string     `xml:"Tp>CdOrPrtry>Cd"`
	Amount    camtAmount `xml:"Amt"`
	Indicator string     `xml:"CdtDbtInd"`
	Date      string     `xml:"Dt>Dt"`
}

type camtCount struct {
	Entries int    `xml:"NbOfNtries"`
	Sum     string `xml:"Sum"`
}

type camtEntry struct {
	Reference   string      `xml:"NtryRef"`
	Amount      camtAmount  `xml:"Amt"`
	Indicator   string      `xml:"CdtDbtInd"`
	Status      string      `xml:"Sts>Cd"`
	Booking     string      `xml:"BookgDt>Dt"`
	Value       string      `xml:"ValDt>Dt"`
	BankID      string      `xml:"AcctSvcrRef"`
	Code        camtCode    `xml:"BkTxCd>Domn"`
	Charge      *camtCharge `xml:"Chrgs"`
	Transaction camtTxn     `xml:"NtryDtls>TxDtls"`
}

type camtCode struct {
	Domain    string `xml:"Cd"`
	Family    string `xml:"Fmly>Cd"`
	SubFamily string `xml:"Fmly>SubFmlyCd"`
}

type camtCharge struct {
	Amount    camtAmount `xml:"Rcrd>Amt"`
	Indicator string     `xml:"Rcrd>CdtDbtInd"`
	Included  bool       `xml:"Rcrd>ChrgInclInd"`
}

type camtTxn struct {
	BankID     string       `xml:"Refs>AcctSvcrRef"`
	EndToEnd   string       `xml:"Refs>EndToEndId"`
	Amount     camtAmount   `xml:"Amt"`
	Indicator  string       `xml:"CdtDbtInd"`
	Parties    *camtParties `xml:"RltdPties"`
	Remittance *camtRemit   `xml:"RmtInf"`
	Dates      struct {
		Booked string `xml:"TxDtTm"`
	} `xml:"RltdDts"`
	Return *camtReturn `xml:"RtrInf"`
	More   string      `xml:"AddtlTxInf,omitempty"`
}

type camtRemit struct {
	Text string `xml:"Ustrd"`
}

type camtReturn struct {
	Reason string `xml:"Rsn>Cd"`
}

type camtParty struct {
	Name string `xml:"Pty>Nm"`
}

type camtPartyAccount struct {
	ID string `xml:"Id>Othr>Id"`
}

type camtParties struct {
	Debtor          *camtParty        `xml:"Dbtr"`
	DebtorAccount   *camtPartyAccount `xml:"DbtrAcct"`
	Creditor        *camtParty        `xml:"Cdtr"`
	CreditorAccount *camtPartyAccount `xml:"CdtrAcct"`
}

// camt053 writes the page as an ISO 20022 camt.053.001.08 document. An asset or an
// amount that the schema has no room for is an error that names it.
func (s *dayStatement) camt053() ([]byte, error) {
	info, known := money.LookupAsset(s.Asset)
	if !known || info.Kind != money.KindCurrency || len(s.Asset) != 3 || info.Scale > camtScale {
		return nil, s.inexpressible(string(s.Asset) + " is not a currency of ISO 4217")
	}
	id := fmt.Sprintf("%s-%s-%s-%d", strings.ToUpper(s.Bank), strings.ReplaceAll(s.Date, "-", ""), s.Asset, s.Page)
	d := camtDocument{Namespace: camtNamespace}
	d.Header.MsgID, d.Header.Created = id, s.createdAt.Format(time.RFC3339)
	st := &d.Statement
	st.ID, st.Number, st.Created = id, s.number, d.Header.Created
	st.Pages.Number, st.Pages.Last = s.Page, s.Page == s.Pages
	st.Period.From, st.Period.Until = s.Date+"T00:00:00Z", s.Date+"T23:59:59Z"
	st.Account.ID, st.Account.Currency = strings.ToUpper(s.Bank)+"-"+string(s.Asset), string(s.Asset)
	closing := "CLBD"
	if !s.Complete {
		closing = "ITBD"
	}
	st.Balances = []camtBalance{s.balance("OPBD", s.Opening), s.balance(closing, s.Closing)}
	if err := s.entries(st); err != nil {
		return nil, err
	}
	for _, b := range st.Balances {
		if err := s.fits(b.Amount.Value); err != nil {
			return nil, err
		}
	}
	body, err := xml.MarshalIndent(d, "", " ")
	if err != nil {
		return nil, fmt.Errorf("write camt.053: %w", err)
	}
	return append([]byte(xml.Header), append(body, '\n')...), nil
}

// entries writes the lines and their summary.
func (s *dayStatement) entries(st *camtStatement) error {
	var credits, debits money.Amount
	for i := range s.Lines {
		e, whole, err := s.entry(&s.Lines[i])
		if err != nil {
			return err
		}
		sum, n := &debits, &st.Debits
		if e.Indicator == "CRDT" {
			sum, n = &credits, &st.Credits
		}
		if *sum, err = sum.Add(whole); err != nil {
			return s.inexpressible("a sum is too large")
		}
		n.Entries++
		st.Entries = append(st.Entries, e)
	}
	st.Credits.Sum, st.Debits.Sum = money.Format(credits, s.Asset), money.Format(debits, s.Asset)
	return nil
}

func (s *dayStatement) balance(code string, a money.Amount) camtBalance {
	indicator := "CRDT"
	if a.Sign() < 0 {
		indicator = "DBIT"
		if n, err := a.Neg(); err == nil {
			a = n
		}
	}
	return camtBalance{Code: code, Amount: s.amount(a), Indicator: indicator, Date: s.Date}
}

func (s *dayStatement) amount(a money.Amount) camtAmount {
	return camtAmount{string(s.Asset), money.Format(a, s.Asset)}
}

// entry writes one line. What hit the account is the amount and the fee together;
// the transaction's own amount stands in its details, the fee in the charges.
func (s *dayStatement) entry(l *wireLine) (camtEntry, money.Amount, error) {
	whole, err := l.Amount.Add(l.Fee)
	if err != nil {
		return camtEntry{}, whole, s.inexpressible("the amount of " + l.LineID + " is too large")
	}
	e := camtEntry{
		Reference: l.LineID, Amount: s.amount(whole), Indicator: "DBIT", Status: "BOOK", Booking: s.Date, Value: l.BookedAt.Format(time.DateOnly),
		BankID: l.bankID, Code: camtCode{"PMNT", "ICDT", "DMCT"},
		Transaction: camtTxn{BankID: l.bankID, Amount: s.amount(l.Amount)},
	}
	if l.Direction == in {
		e.Indicator, e.Code.Family = "CRDT", "RCDT"
	}
	if !l.Fee.IsZero() {
		e.Charge = &camtCharge{Amount: s.amount(l.Fee), Indicator: "DBIT", Included: true}
	}
	t := &e.Transaction
	t.Indicator = e.Indicator
	t.Dates.Booked = l.BookedAt.Format(time.RFC3339Nano)
	if l.Return {
		e.Code.SubFamily = "RRTN"
		t.Return = &camtReturn{l.Reason}
	}
	if l.Remittance != "" {
		t.Remittance = &camtRemit{l.Remittance}
	}
	t.name(l)
	return e, whole, s.fits(e.Amount.Value)
}

// name writes our reference and the other party; what is longer than the schema's
// fields goes into the free text, whole.
func (t *camtTxn) name(l *wireLine) {
	var more []string
	t.EndToEnd = l.Reference
	if len(l.Reference) > camtID {
		t.EndToEnd = "NOTPROVIDED"
		more = append(more, "reference "+l.Reference)
	}
	p := camtParties{}
	party, account := &p.Creditor, &p.CreditorAccount
	if l.Direction == in && !l.Return {
		party, account = &p.Debtor, &p.DebtorAccount
	}
	if l.name != "" {
		*party = &camtParty{l.name}
	}
	switch n := utf8.RuneCountInString(l.account); {
	case n > camtAccount:
		more = append(more, "account "+l.account)
	case n > 0:
		*account = &camtPartyAccount{l.account}
	}
	if p != (camtParties{}) {
		t.Parties = &p
	}
	t.More = strings.Join(more, "; ")
}

// fits checks an amount against the schema's 18 digits.
func (s *dayStatement) fits(amount string) error {
	if len(strings.ReplaceAll(amount, ".", "")) > camtDigits {
		return s.inexpressible(amount + " has more than 18 digits")
	}
	return nil
}

func (s *dayStatement) inexpressible(why string) error {
	return &problem{
		status: http.StatusUnprocessableEntity, Code: "not_expressible", Param: "format",
		Detail: "camt.053 cannot say it: " + why + "; ask for csv or json",
	}
}
