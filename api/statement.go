package api

import (
	"context"
	"encoding/csv"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/intake"
	"github.com/moneta-pay/moneta/pay/ledger"
)

const (
	// csvRowsMax bounds one CSV; who wants more goes on after its last row.
	csvRowsMax = 100_000
	// csvTimeout bounds the time that one CSV takes.
	csvTimeout = 5 * time.Minute
	// prefixMax bounds a remittance's beginning, in bytes.
	prefixMax = 140

	// trailerNext and trailerRows follow a CSV: where it goes on, if it does, and how
	// many rows were sent. A CSV without them was cut off.
	trailerNext = "Statement-Next"
	trailerRows = "Statement-Rows"
)

// Entry is one posting on a statement.
type Entry struct {
	Transfer     int64     `json:"transfer" doc:"Its place in the ledger"`
	Payment      string    `json:"payment"`
	Kind         string    `json:"kind,omitempty" doc:"The payment's kind"`
	Book         string    `json:"book" enum:"available,held"`
	Counterparty string    `json:"counterparty" doc:"The account at the other end"`
	Amount       string    `json:"amount" doc:"Smallest units, below zero when it left"`
	Balance      string    `json:"balance" doc:"Of the book, after it"`
	Remittance   string    `json:"remittance,omitempty"`
	Transition   string    `json:"transition" doc:"Row of the state table that caused it" example:"T22"`
	EffectiveAt  time.Time `json:"effective_at"`
	BookedAt     time.Time `json:"booked_at"`
}

func showEntry(e *ledger.Entry) Entry {
	out := Entry{
		Transfer: e.Transfer, Payment: pay.ID(e.Payment).String(), Book: bookName(e.Book),
		Counterparty: pay.AccountID(e.Other.Account()).String(), Amount: e.Amount.String(), Balance: e.Balance.String(),
		Remittance: e.Remittance, Transition: transitionName(e.Transition), EffectiveAt: e.EffectiveAt, BookedAt: e.BookedAt,
	}
	if e.PaymentKind != 0 {
		out.Kind = pay.Kind(e.PaymentKind).String()
	}
	return out
}

func bookName(b ledger.BookID) string {
	if b.IsHeld() {
		return "held"
	}
	return "available"
}

func (c *call) statement() error {
	id, err := c.accountID()
	if err != nil {
		return err
	}
	q := c.r.URL.Query()
	wantsCSV, err := c.wantsCSV(q)
	if err != nil {
		return err
	}
	book := id.Available()
	switch q.Get("book") {
	case "", bookName(id.Available()):
	case bookName(id.Held()):
		book = id.Held()
	default:
		return malformed("book is available or held").WithParam("book")
	}
	query, err := statementQuery(q)
	if err != nil {
		return err
	}
	if wantsCSV {
		return c.statementCSV(book, query)
	}
	if query.Limit, err = limit(q, ledger.PageMax); err != nil {
		return err
	}
	page, err := c.s.Ledger.Statement(c.ctx, c.who.Tenant, book, query)
	if err != nil {
		return err
	}
	out := ListOf[Entry]{Object: "list", Data: make([]Entry, len(page.Entries)), HasMore: page.Next != "", Next: page.Next}
	for i := range page.Entries {
		out.Data[i] = showEntry(&page.Entries[i])
	}
	if out.HasMore {
		c.linkNext(out.Next)
	}
	return c.reply(http.StatusOK, &out)
}

// wantsCSV reads the parameter format, or else Accept.
func (c *call) wantsCSV(q url.Values) (bool, error) {
	switch q.Get("format") {
	case "csv":
		return true, nil
	case "json":
		return false, nil
	case "":
		return strings.HasPrefix(c.r.Header.Get("Accept"), "text/csv"), nil
	}
	return false, malformed("format is json or csv").WithParam("format")
}

func statementQuery(q url.Values) (out ledger.StatementQuery, err error) {
	out.Cursor = q.Get("after")
	var ok bool
	if out.By, ok = ledger.ParseBy(q.Get("by")); !ok {
		return out, malformed("by is booking or effective").WithParam("by")
	}
	if out.From, out.To, err = timeRange(q, "from", "to"); err != nil {
		return out, err
	}
	switch q.Get("direction") {
	case "":
	case "in":
		out.Direction = 1
	case "out":
		out.Direction = -1
	default:
		return out, malformed("direction is in or out").WithParam("direction")
	}
	kind, err := kindOf(q)
	if err != nil {
		return out, err
	}
	out.PaymentKind = int16(kind)
	if s := q.Get("counterparty"); s != "" {
		if out.Counterparty, err = intake.ParseAccount(s); err != nil {
			return out, malformed("this is not the id of an account").WithParam("counterparty")
		}
	}
	if out.Remittance = q.Get("remittance"); len(out.Remittance) > prefixMax || !utf8.ValidString(out.Remittance) || strings.ContainsRune(out.Remittance, 0) {
		return out, malformed("give at most 140 bytes of the beginning of the text").WithParam("remittance")
	}
	return out, nil
}

// timeRange reads two instants, either of which may be left out.
func timeRange(q url.Values, from, to string) (a, b time.Time, err error) {
	for name, into := range map[string]*time.Time{from: &a, to: &b} {
		if s := q.Get(name); s != "" {
			if *into, err = time.Parse(time.RFC3339, s); err != nil || into.Year() < 1 || into.Year() > 9998 {
				return a, b, malformed("a time looks like 2026-01-31T12:00:00Z").WithParam(name)
			}
		}
	}
	if !a.IsZero() && !b.IsZero() && !a.Before(b) {
		return a, b, malformed("the range is empty: " + from + " is included, " + to + " is not").WithParam(to)
	}
	return a, b, nil
}

func kindOf(q url.Values) (kind pay.Kind, err error) {
	if s := q.Get("kind"); s != "" {
		var ok bool
		if kind, ok = pay.ParseKind(s); !ok {
			return 0, malformed("there is no such kind of payment").WithParam("kind")
		}
	}
	return kind, nil
}

var csvHeader = []string{
	"transfer", "booked_at", "effective_at", "payment", "kind", "direction", "amount", "balance", "asset", "book", "counterparty", "remittance", "transition",
}

// statementCSV streams the statement, page after page. What cannot be read to its
// end is cut off, which a client sees by the missing trailers and the broken
// transfer.
func (c *call) statementCSV(book ledger.BookID, q ledger.StatementQuery) error {
	most := csvRowsMax
	if s := c.r.URL.Query().Get("limit"); s != "" {
		var err error
		if most, err = limit(c.r.URL.Query(), csvRowsMax); err != nil {
			return err
		}
	}
	a, err := c.s.Ledger.Account(c.ctx, c.who.Tenant, book.Account())
	if err != nil {
		return err
	}
	leave, err := c.s.streams.enter(c.who.Name())
	if err != nil {
		return err
	}
	defer leave()
	q.Limit = min(most, ledger.StatementPageMax)
	page, err := c.s.Ledger.Statement(c.ctx, c.who.Tenant, book, q)
	if err != nil {
		return err
	}
	c.mayTake(csvTimeout)
	ctx, cancel := context.WithTimeout(c.r.Context(), csvTimeout)
	defer cancel()
	h := c.w.Header()
	h["Content-Type"] = []string{"text/csv; charset=utf-8; header=present"}
	h["Content-Disposition"] = []string{`attachment; filename="` + pay.AccountID(a.ID).String() + `.csv"`}
	h["Trailer"] = []string{trailerNext + ", " + trailerRows}
	c.status = http.StatusOK
	c.w.WriteHeader(http.StatusOK)
	w := csv.NewWriter(c.w)
	_ = w.Write(csvHeader)
	for rows := 0; ; {
		for i := range page.Entries {
			if err := w.Write(csvRow(&page.Entries[i], string(a.Asset))); err != nil {
				return nil // the client has left
			}
		}
		rows += len(page.Entries)
		if page.Next == "" || rows >= most {
			w.Flush()
			h[trailerNext], h[trailerRows] = []string{page.Next}, []string{strconv.Itoa(rows)}
			return nil
		}
		q.Cursor, q.Limit = page.Next, min(most-rows, ledger.StatementPageMax)
		if page, err = c.s.Ledger.Statement(ctx, c.who.Tenant, book, q); err != nil {
			w.Flush()
			c.log(c.problem(err), err)
			panic(http.ErrAbortHandler) // half a statement must not look like a whole one
		}
	}
}

func csvRow(e *ledger.Entry, asset string) []string {
	shown := showEntry(e)
	direction := "in"
	if e.Amount.Sign() < 0 {
		direction = "out"
	}
	return []string{
		strconv.FormatInt(e.Transfer, 10), e.BookedAt.Format(time.RFC3339Nano), e.EffectiveAt.Format(time.RFC3339Nano), shown.Payment, shown.Kind, direction,
		shown.Amount, shown.Balance, asset, shown.Book, shown.Counterparty, harmless(e.Remittance), shown.Transition,
	}
}

// harmless keeps a spreadsheet from taking somebody's text for a formula: after an
// apostrophe everything is text (OWASP, CSV injection). Our own numbers are not
// touched.
func harmless(text string) string {
	trimmed := strings.TrimLeft(text, " \u00a0\u3000")
	r, _ := utf8.DecodeRuneInString(trimmed)
	switch r {
	case '=', '+', '-', '@', '\t', '\r', '\n', '|', '＝', '＋', '－', '＠':
		return "'" + text
	}
	return text
}

// stateFilter reads the states of a list: one state, or all with a status.
func stateFilter(q url.Values) (states []pay.State, err error) {
	state, status := q.Get("state"), q.Get("status")
	switch {
	case state != "" && status != "":
		return nil, malformed("give state or status, not both").WithParam("status")
	case state != "":
		s, ok := pay.ParseState(state)
		if !ok {
			return nil, malformed("there is no such state").WithParam("state")
		}
		return []pay.State{s}, nil
	case status == "":
		return nil, nil
	}
	for _, s := range pay.States() {
		if s.Status() == status {
			states = append(states, s)
		}
	}
	if len(states) == 0 {
		return nil, fault.New(fault.MalformedRequest, "status is processing, succeeded or failed").WithParam("status")
	}
	return states, nil
}
