package sandbox

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/money"
)

// maxEntries bounds one page of a day's file; a longer day has more pages.
const maxEntries = 10_000

// dayKey names one account's statement: a booking day, counted from 1970-01-01,
// and an asset.
type dayKey struct {
	day   int64
	asset money.Asset
}

// bookDay is what one account's statement of one day rests on: the lines that it
// admits to, and what really moved.
type bookDay struct {
	lines []int32 // indices into books.lines, oldest first
	net   money.Amount
}

// bookingDay is the day in whose statement the order stands, by the bank's clock,
// its time zone and its cut-off.
func (o *order) bookingDay() int64 {
	q := o.odd()
	minute := o.stamp(o.settledAt).Unix()/60 + q.Zone
	day := floorDiv(minute, minutesADay)
	if q.NextDay || q.CutOff > 0 && minute-day*minutesADay >= q.CutOff {
		day++
	}
	return day
}

func floorDiv(a, b int64) int64 {
	if a < 0 {
		return -((-a + b - 1) / b)
	}
	return a / b
}

func (b *books) day(o *order) *bookDay {
	key := dayKey{o.bookingDay(), o.Asset}
	d := b.days[key]
	if d == nil {
		d = &bookDay{}
		b.days[key] = d
	}
	return d
}

// move enters an executed order into its day's balance.
func (b *books) move(o *order) error {
	d := b.day(o)
	var err error
	if o.Direction == in {
		d.net, err = d.net.Add(o.Amount)
		return err
	}
	if d.net, err = d.net.Sub(o.Amount); err == nil {
		d.net, err = d.net.Sub(o.Fee)
	}
	return err
}

// state adds a line to the statement and to its day's.
func (b *books) state(l line) {
	d := b.day(l.order)
	d.lines = append(d.lines, int32(len(b.lines)))
	b.lines = append(b.lines, l)
}

// wireLine is one statement line on the wire.
type wireLine struct {
	Seq        int64        `json:"seq"`
	LineID     string       `json:"line_id"`
	Direction  string       `json:"direction"`
	Reference  string       `json:"reference"`
	Amount     money.Amount `json:"amount"`
	Fee        money.Amount `json:"fee"`
	Asset      money.Asset  `json:"asset"`
	Remittance string       `json:"remittance"`
	BookedAt   time.Time    `json:"booked_at"`
	// BookingDate is the day of its statement, when booked_at does not tell.
	BookingDate string `json:"booking_date,omitempty"`
	// Return marks money that comes back, Reason says why, as a code of ISO 20022.
	Return bool   `json:"return,omitempty"`
	Reason string `json:"reason,omitempty"`
	// BankID is the movement's, as callbacks name it; only where a reversal must be
	// recognised as the one that was told of.
	BankID string `json:"bank_id,omitempty"`

	bankID, account, name string
}

func (b *books) line(seq int64) wireLine {
	l := b.lines[seq-1]
	o := l.order
	w := wireLine{
		Seq: seq, LineID: fmt.Sprintf("%s-L%08d", b.prefix, l.effect), Direction: o.Direction, Reference: o.Reference,
		Amount: o.stated(), Fee: o.Fee, Asset: o.Asset, Remittance: o.Remittance, BookedAt: o.stamp(o.settledAt),
		bankID: b.bankID(o), account: o.Account, name: o.Name,
	}
	if l.effect == 0 {
		w.LineID = fmt.Sprintf("%s-P%08d", b.prefix, o.number)
	}
	if l.wrong {
		if more, err := w.Amount.Add(money.Int(1)); err == nil {
			w.Amount = more
		}
	}
	if o.odd().Netted && o.Direction == out {
		if whole, err := w.Amount.Add(w.Fee); err == nil {
			w.Amount, w.Fee = whole, money.Amount{}
		}
	}
	if o.ReturnOf != 0 {
		w.Return, w.Reason, w.BankID = true, b.orders[o.ReturnOf-1].odd().ReturnWhy, b.bankID(o)
	}
	if day := dateOf(o.bookingDay()); day != w.BookedAt.Format(time.DateOnly) {
		w.BookingDate = day
	}
	return w
}

func dateOf(day int64) string { return time.Unix(day*minutesADay*60, 0).UTC().Format(time.DateOnly) }

// dayStatement is one page of one account's statement of one day.
type dayStatement struct {
	Bank  string      `json:"bank"`
	Date  string      `json:"date"`
	Asset money.Asset `json:"asset"`
	// Page counts from 1 to Pages.
	Page  int `json:"page"`
	Pages int `json:"pages"`
	// Opening and Closing are the day's balances, the same on each page: what really
	// moved, whatever the lines say.
	Opening money.Amount `json:"opening"`
	Closing money.Amount `json:"closing"`
	// Complete is false while the day is not over.
	Complete bool       `json:"complete"`
	Lines    []wireLine `json:"lines"`

	number    int64 // the day's, which is also the statement's number
	createdAt time.Time
}

// collect reads one page, with the lock held.
func (b *books) collect(key dayKey, number int) (dayStatement, bool) {
	d := b.days[key]
	if d == nil {
		return dayStatement{}, false
	}
	s := dayStatement{
		Bank: b.code, Date: dateOf(key.day), Asset: key.asset, Page: number, number: key.day,
		Pages: max((len(d.lines)+maxEntries-1)/maxEntries, 1), Lines: []wireLine{},
	}
	for other, day := range b.days {
		if other.asset == key.asset && other.day < key.day {
			s.Opening, _ = s.Opening.Add(day.net) // every sum was checked when it was booked
		}
	}
	s.Closing, _ = s.Opening.Add(d.net)
	if number > s.Pages {
		return s, false
	}
	for _, i := range d.lines[min((number-1)*maxEntries, len(d.lines)):min(number*maxEntries, len(d.lines))] {
		s.Lines = append(s.Lines, b.line(int64(i)+1))
	}
	return s, true
}

// dayEnds is the instant from which a day's file is complete and delivered.
func (b *bank) dayEnds(day int64, how *Behaviour) time.Time {
	end := time.Unix((day+1)*minutesADay*60-how.TimeZone*60, 0).UTC()
	return end.Add(time.Duration(how.StatementDelay) * time.Millisecond)
}

// fileEntry is one file in the list.
type fileEntry struct {
	Date     string      `json:"date"`
	Asset    money.Asset `json:"asset"`
	Lines    int         `json:"lines"`
	Pages    int         `json:"pages"`
	Complete bool        `json:"complete"`
}

// listFiles is GET statements: which days have a file.
func listFiles(b *bank, w http.ResponseWriter, _ *http.Request) error {
	how, now := b.behaviourNow(), b.clockNow()
	if err := b.admit(how, ""); err != nil {
		return err
	}
	files := []fileEntry{}
	b.mu.Lock()
	for key, d := range b.books.days {
		files = append(files, fileEntry{
			Date: dateOf(key.day), Asset: key.asset, Lines: len(d.lines), Pages: max((len(d.lines)+maxEntries-1)/maxEntries, 1),
			Complete: !now.Before(b.dayEnds(key.day, how)),
		})
	}
	b.mu.Unlock()
	slices.SortFunc(files, func(a, c fileEntry) int {
		if a.Date != c.Date {
			return strings.Compare(a.Date, c.Date)
		}
		return strings.Compare(string(a.Asset), string(c.Asset))
	})
	writeJSON(w, http.StatusOK, map[string]any{"files": files})
	return b.journal.flush()
}

// dayFile is GET statements/{date}: one account's statement of one day as JSON,
// CSV or camt.053.
func dayFile(b *bank, w http.ResponseWriter, r *http.Request) error {
	how := b.behaviourNow()
	if err := b.admit(how, ""); err != nil {
		return err
	}
	key, number, err := b.wanted(r)
	if err != nil {
		return err
	}
	n := b.files.Add(1)
	if b.dice.falls(how.StatementStale, n, forStatementStale) {
		key.day--
	}
	ends := b.dayEnds(key.day, how)
	complete := !b.clockNow().Before(ends)
	if !complete && r.URL.Query().Get("intraday") != "true" {
		return &problem{
			status: http.StatusConflict, Code: "day_open", Param: "date",
			Detail: "the file is delivered at " + ends.Format(time.RFC3339) + "; intraday=true shows what is booked so far",
		}
	}
	b.mu.Lock()
	page, ok := b.books.collect(key, number)
	b.mu.Unlock()
	if err := b.journal.flush(); err != nil {
		return err
	}
	if !ok {
		return &problem{status: http.StatusNotFound, Code: "no_such_file", Param: "date", Detail: "nothing was booked on that day, or it has fewer pages; GET statements lists the files"}
	}
	page.Complete, page.createdAt = complete, b.clockNow().UTC()
	return b.deliverFile(w, r, &page, how, n)
}

// wanted reads which file is asked for. Without an asset it is the only one that
// the bank keeps for us.
func (b *bank) wanted(r *http.Request) (dayKey, int, error) {
	date, err := time.Parse(time.DateOnly, r.PathValue("date"))
	if err != nil {
		return dayKey{}, 0, outOfRange("date", "must be a day as 2026-01-31")
	}
	number := 1
	if raw := r.URL.Query().Get("page"); raw != "" {
		if number, err = strconv.Atoi(raw); err != nil || number < 1 || number > 1_000_000 {
			return dayKey{}, 0, outOfRange("page", "must be a whole number from 1")
		}
	}
	asset := money.Asset(r.URL.Query().Get("asset"))
	if asset == "" {
		b.mu.Lock()
		var all []string
		for a := range b.books.balances {
			all = append(all, string(a))
		}
		b.mu.Unlock()
		slices.Sort(all)
		if len(all) > 1 {
			return dayKey{}, 0, outOfRange("asset", "name one of "+strings.Join(all, ", ")+": a file is about one account")
		}
		if len(all) == 1 {
			asset = money.Asset(all[0])
		}
	}
	return dayKey{date.Unix() / 60 / minutesADay, asset}, number, nil
}

// deliverFile writes the page in the format asked for, perhaps not to its end.
func (b *bank) deliverFile(w http.ResponseWriter, r *http.Request, page *dayStatement, how *Behaviour, n uint64) error {
	var body []byte
	var kind string
	var err error
	switch format := r.URL.Query().Get("format"); format {
	case "", "json":
		writeJSON(w, http.StatusOK, page)
		return nil
	case "csv":
		kind = "text/csv; charset=utf-8"
		body, err = page.csv()
	case "camt.053":
		kind = "application/xml; charset=utf-8"
		body, err = page.camt053()
	default:
		return outOfRange("format", "must be json, csv or camt.053")
	}
	if err != nil {
		return err
	}
	if b.dice.falls(how.StatementTruncate, n, forStatementTruncate) {
		body = body[:len(body)/2+int(mix(n)%uint64(len(body)/2))]
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body) //nolint:gosec // a file with its own content type, and no page of ours
	return nil
}

// csvHeader is the first record of a CSV statement. The first column says what a
// record is: "open" carries the opening balance, each "line" one movement, and
// "close" the closing balance and how many lines there were, so that a file that
// was cut off cannot be taken for a whole one.
var csvHeader = []string{
	"record", "line_id", "booking_date", "booked_at", "direction", "reference", "amount", "fee", "asset",
	"counterparty", "remittance", "return_reason", "balance", "lines",
}

// csv writes the page as RFC 4180, amounts as decimals of the asset's unit.
func (s *dayStatement) csv() ([]byte, error) {
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	w.UseCRLF = true
	asset := string(s.Asset)
	if err := w.Write(csvHeader); err != nil {
		return nil, err
	}
	edge := func(record string, balance money.Amount, lines string) error {
		return w.Write([]string{record, "", s.Date, "", "", "", "", "", asset, "", "", "", money.Format(balance, s.Asset), lines})
	}
	if err := edge("open", s.Opening, ""); err != nil {
		return nil, err
	}
	for i := range s.Lines {
		l := &s.Lines[i]
		err := w.Write([]string{
			"line", l.LineID, s.Date, l.BookedAt.Format(time.RFC3339Nano), l.Direction, l.Reference,
			money.Format(l.Amount, l.Asset), money.Format(l.Fee, l.Asset), asset, l.account, l.Remittance, l.Reason, "", "",
		})
		if err != nil {
			return nil, err
		}
	}
	if err := edge("close", s.Closing, strconv.Itoa(len(s.Lines))); err != nil {
		return nil, err
	}
	w.Flush()
	return out.Bytes(), w.Error()
}

// statement is what the bank admits to, as it goes on.
func statement(b *bank, w http.ResponseWriter, r *http.Request) error {
	if err := b.admit(b.behaviourNow(), ""); err != nil {
		return err
	}
	after, limit, err := window(r)
	if err != nil {
		return err
	}
	rows, next, more, err := page(b, func() int { return len(b.books.lines) }, b.books.line, after, limit, maxPageBytes)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]any{"lines": rows, "next": next, "has_more": more})
	return nil
}
