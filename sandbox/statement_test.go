package sandbox_test

import (
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/sandbox"
)

var noon = time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)

// dated is a world whose clock the test moves.
func dated(t *testing.T, how string) (*world, *clock.Manual) {
	t.Helper()
	clk := clock.NewManual(noon)
	w := start(t, sandbox.Config{Clock: clk})
	if how != "" {
		w.behave(how)
	}
	return w, clk
}

// day is a statement as JSON.
type day struct {
	Opening, Closing money.Amount
	Complete         bool
	Pages            int
	Lines            []struct {
		LineID    string `json:"line_id"`
		Direction string
		Reference string
		Amount    money.Amount
		Fee       money.Amount
		Return    bool
		Reason    string
	}
}

func (w *world) day(date string) day {
	w.t.Helper()
	var d day
	w.get("/banks/ab/statements/"+date+"?asset=CZK", &d)
	return d
}

// sum is what the lines say that the day moved.
func (d day) sum(t *testing.T) money.Amount {
	t.Helper()
	total := d.Opening
	for _, l := range d.Lines {
		var err error
		if l.Direction == "in" {
			total, err = total.Add(l.Amount)
		} else {
			total, err = total.Sub(l.Amount)
			require.NoError(t, err)
			total, err = total.Sub(l.Fee)
		}
		require.NoError(t, err)
	}
	return total
}

func TestADaysStatementBalances(t *testing.T) {
	t.Parallel()
	w, clk := dated(t, `{"mode":"sync","fee":"25"}`)
	w.pay("a", "700")
	w.call(http.MethodPost, "/banks/ab/instructions", `{"reference":"dep","amount":"5000","asset":"CZK","from_account":"9"}`)
	status, answer := w.call(http.MethodGet, "/banks/ab/statements/2026-01-05", "")
	require.Equal(t, http.StatusConflict, status, "the day is not over")
	require.Contains(t, answer, "day_open")
	clk.Advance(24 * time.Hour)
	w.pay("b", "1")
	clk.Advance(24 * time.Hour)

	first, second := w.day("2026-01-05"), w.day("2026-01-06")
	require.True(t, first.Complete)
	require.Len(t, first.Lines, 2)
	require.Equal(t, money.Int(4275), first.Closing)
	require.Equal(t, first.Closing, first.sum(t))
	require.Equal(t, first.Closing, second.Opening)
	require.Equal(t, money.Int(4249), second.Closing)
	var list struct{ Files []struct{ Date string } }
	w.get("/banks/ab/statements", &list)
	require.Len(t, list.Files, 2)
}

// Every error that a statement can have shows as a difference between its lines
// and its balances, or in its lines, and the books know better.
func TestStatementErrorsOnDemand(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		how   string
		lines int
		off   int64 // lines less balance
	}{
		"honest":       {`{}`, 1, 0},
		"missing":      {`{"statement_omit":1}`, 0, 725},
		"twice":        {`{"statement_duplicate":1}`, 2, -725},
		"wrong amount": {`{"statement_wrong_amount":1}`, 1, -1},
		"wrong scale":  {`{"wrong_scale":1}`, 1, -69_300},
		"netted":       {`{"statement_fee_netted":true}`, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, clk := dated(t, `{"mode":"sync","fee":"25"}`)
			status, answer := w.call(http.MethodPatch, "/banks/ab/behaviour", c.how)
			require.Equal(t, http.StatusOK, status, answer)
			w.pay("a", "700")
			clk.Advance(24 * time.Hour)
			d := w.day("2026-01-05")
			require.Len(t, d.Lines, c.lines)
			require.Equal(t, money.Int(-725), d.Closing)
			off, err := d.sum(t).Sub(d.Closing)
			require.NoError(t, err)
			require.Equal(t, money.Int(c.off), off)
			require.Equal(t, 1, w.moved("a"))
			if name == "netted" {
				require.Equal(t, money.Int(725), d.Lines[0].Amount)
				require.True(t, d.Lines[0].Fee.IsZero())
			}
		})
	}
	t.Run("phantom", func(t *testing.T) {
		t.Parallel()
		w, clk := dated(t, `{"mode":"sync","statement_phantom":1,"decline":{"probability":1,"reason":"closed"}}`)
		w.pay("a", "700")
		clk.Advance(24 * time.Hour)
		d := w.day("2026-01-05")
		require.Len(t, d.Lines, 1)
		require.True(t, d.Closing.IsZero())
		require.Zero(t, w.moved("a"))
	})
}

func TestBookingDays(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ how, date string }{
		"same day":      {`{"mode":"sync"}`, "2026-01-05"},
		"next day":      {`{"mode":"sync","statement_next_day":1}`, "2026-01-06"},
		"after cut-off": {`{"mode":"sync","cut_off_minute":719}`, "2026-01-06"},
		"at cut-off":    {`{"mode":"sync","cut_off_minute":720}`, "2026-01-06"},
		"before":        {`{"mode":"sync","cut_off_minute":721}`, "2026-01-05"},
		"far east":      {`{"mode":"sync","time_zone_minutes":780}`, "2026-01-06"},
		"wrong clock":   {`{"mode":"sync","clock_skew_ms":-86400000}`, "2026-01-04"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, clk := dated(t, c.how)
			w.pay("a", "700")
			clk.Advance(72 * time.Hour)
			require.Len(t, w.day(c.date).Lines, 1)
			status, _ := w.call(http.MethodGet, "/banks/ab/statements/2026-01-03?asset=CZK", "")
			require.Equal(t, http.StatusNotFound, status)
		})
	}
}

func TestCSVStatement(t *testing.T) {
	t.Parallel()
	w, clk := dated(t, `{"mode":"sync","fee":"25"}`)
	for i := range 20 {
		w.pay(fmt.Sprintf("a,%d\"", i), "12345")
	}
	clk.Advance(24 * time.Hour)
	_, whole := w.call(http.MethodGet, "/banks/ab/statements/2026-01-05?format=csv", "")
	records, err := csv.NewReader(strings.NewReader(whole)).ReadAll()
	require.NoError(t, err)
	require.Len(t, records, 23)
	require.Equal(t, "record", records[0][0])
	require.Equal(t, []string{"open", "0.00"}, []string{records[1][0], records[1][12]})
	require.Equal(t, []string{"line", "a,0\"", "123.45", "0.25"}, []string{records[2][0], records[2][5], records[2][6], records[2][7]})
	require.Equal(t, []string{"close", "-2474.00", "20"}, []string{records[22][0], records[22][12], records[22][13]})

	w.behave(`{"statement_truncate":1}`)
	for range 20 {
		_, cut := w.call(http.MethodGet, "/banks/ab/statements/2026-01-05?format=csv", "")
		require.Less(t, len(cut), len(whole))
		require.True(t, strings.HasPrefix(whole, cut))
		require.NotContains(t, cut, "\r\nclose,,2026-01-05,,,,,,CZK,,,,-2474.00,20\r\n")
	}
	w.behave(`{"statement_stale":1}`)
	status, _ := w.call(http.MethodGet, "/banks/ab/statements/2026-01-06?format=csv", "")
	require.Equal(t, http.StatusOK, status, "yesterday's file under today's name")
}

// camtOrder is the order of the schema's elements, as far as a bank writes them:
// a sequence in ISO 20022 has its elements in this order or is not valid.
var camtOrder = map[string][]string{
	"Document":      {"BkToCstmrStmt"},
	"BkToCstmrStmt": {"GrpHdr", "Stmt"},
	"GrpHdr":        {"MsgId", "CreDtTm"},
	"Stmt": {
		"Id", "StmtPgntn", "ElctrncSeqNb", "CreDtTm", "FrToDt", "Acct", "Bal", "TxsSummry", "Ntry",
	},
	"StmtPgntn": {"PgNb", "LastPgInd"}, "FrToDt": {"FrDtTm", "ToDtTm"}, "Acct": {"Id", "Ccy"},
	"Bal": {"Tp", "Amt", "CdtDbtInd", "Dt"}, "TxsSummry": {"TtlCdtNtries", "TtlDbtNtries"},
	"TtlCdtNtries": {"NbOfNtries", "Sum"}, "TtlDbtNtries": {"NbOfNtries", "Sum"},
	"Ntry": {
		"NtryRef", "Amt", "CdtDbtInd", "Sts", "BookgDt", "ValDt", "AcctSvcrRef", "BkTxCd", "Chrgs", "NtryDtls",
	},
	"Domn": {"Cd", "Fmly"}, "Fmly": {"Cd", "SubFmlyCd"}, "Rcrd": {"Amt", "CdtDbtInd", "ChrgInclInd"},
	"TxDtls": {
		"Refs", "Amt", "CdtDbtInd", "RltdPties", "RmtInf", "RltdDts", "RtrInf", "AddtlTxInf",
	},
	"Refs": {"AcctSvcrRef", "EndToEndId"}, "RltdPties": {"Dbtr", "DbtrAcct", "Cdtr", "CdtrAcct"},
}

// element is a tree of names, so that a test can look at order and depth.
type element struct {
	XMLName  xml.Name
	Text     string    `xml:",chardata"`
	Ccy      string    `xml:"Ccy,attr"`
	Children []element `xml:",any"`
}

func (e element) ordered(t *testing.T) {
	t.Helper()
	want, last := camtOrder[e.XMLName.Local], -1
	for _, c := range e.Children {
		if want != nil {
			at := -1
			for i, name := range want {
				if name == c.XMLName.Local {
					at = i
				}
			}
			require.GreaterOrEqual(t, at, 0, "%s does not belong into %s", c.XMLName.Local, e.XMLName.Local)
			require.GreaterOrEqual(t, at, last, "%s is out of order in %s", c.XMLName.Local, e.XMLName.Local)
			last = at
		}
		require.Equal(t, "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08", c.XMLName.Space)
		require.NotEmpty(t, strings.TrimSpace(c.Text)+strings.Repeat("x", len(c.Children)), "%s is empty", c.XMLName.Local)
		c.ordered(t)
	}
}

func (e element) all(name string) (found []element) {
	for _, c := range e.Children {
		if c.XMLName.Local == name {
			found = append(found, c)
		}
		found = append(found, c.all(name)...)
	}
	return found
}

func TestCamt053(t *testing.T) {
	t.Parallel()
	w, clk := dated(t, `{"mode":"sync","fee":"25"}`)
	w.pay("a", "700")
	w.pay(strings.Repeat("r", 60), "1")
	w.call(http.MethodPost, "/banks/ab/payments",
		fmt.Sprintf(`{"reference":"long","amount":"5","asset":"CZK","account":%q,"name":"Řehoř <&> 王","remittance":"a\u0001b"}`, strings.Repeat("9", 100)))
	w.call(http.MethodPost, "/banks/ab/instructions", `{"reference":"dep","amount":"5000","asset":"CZK","from_account":"9"}`)
	clk.Advance(24 * time.Hour)
	status, raw := w.call(http.MethodGet, "/banks/ab/statements/2026-01-05?format=camt.053", "")
	require.Equal(t, http.StatusOK, status, raw)
	var doc element
	require.NoError(t, xml.Unmarshal([]byte(raw), &doc))
	doc.ordered(t)
	require.Len(t, doc.all("Ntry"), 4)
	require.Equal(t, "7.25", doc.all("Ntry")[0].all("Amt")[0].Text)
	require.Equal(t, "7.00", doc.all("TxDtls")[0].all("Amt")[0].Text)
	require.Equal(t, "a", doc.all("TxDtls")[0].all("EndToEndId")[0].Text)
	require.Equal(t, "NOTPROVIDED", doc.all("TxDtls")[1].all("EndToEndId")[0].Text)
	require.Contains(t, doc.all("TxDtls")[1].all("AddtlTxInf")[0].Text, strings.Repeat("r", 60))
	require.Equal(t, "CZK", doc.all("Amt")[0].Ccy)
	sums := doc.all("Sum")
	require.Equal(t, []string{"50.00", "7.81"}, []string{sums[0].Text, sums[1].Text})
	balances := doc.all("Bal")
	require.Equal(t, "42.19", balances[1].all("Amt")[0].Text)

	w.behave(`{"statement_truncate":1}`)
	_, cut := w.call(http.MethodGet, "/banks/ab/statements/2026-01-05?format=camt.053", "")
	require.Error(t, xml.Unmarshal([]byte(cut), &doc))
}

func TestCamt053SaysWhatItCannotSay(t *testing.T) {
	t.Parallel()
	w, clk := dated(t, `{"mode":"sync"}`)
	w.pay("a", "1234567890123456789012")
	w.call(http.MethodPost, "/banks/ab/payments", `{"reference":"c","amount":"5","asset":"ETH","account":"1"}`)
	clk.Advance(24 * time.Hour)
	for _, c := range []struct{ query, says string }{
		{"format=camt.053&asset=CZK", "18 digits"},
		{"format=camt.053&asset=ETH", "not a currency"},
		{"format=camt.053", "name one of CZK, ETH"},
		{"format=mt940&asset=CZK", "json, csv or camt.053"},
		{"format=csv&asset=CZK&page=2", "no_such_file"},
		{"format=csv&asset=CZK&page=0", "from 1"},
	} {
		status, answer := w.call(http.MethodGet, "/banks/ab/statements/2026-01-05?"+c.query, "")
		require.GreaterOrEqual(t, status, 400)
		require.Contains(t, answer, c.says)
	}
	status, _ := w.call(http.MethodGet, "/banks/ab/statements/yesterday", "")
	require.Equal(t, http.StatusBadRequest, status)
}

func TestMoneyComesBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	clk := clock.NewManual(noon)
	to := listen(t)
	w := start(t, sandbox.Config{Clock: clk, Dir: dir, CallbackURL: to.url})
	w.behave(`{"return":{"probability":1,"min_ms":1000,"max_ms":1000,"reason":"AC04"}}`)
	w.pay("a", "700")
	require.Equal(t, "payment.executed", to.next(t).Type)
	clk.Advance(2 * time.Second)
	w.behave(`{}`) // also wakes the bank to look at the clock
	back := to.next(t)
	require.Equal(t, []string{"payment.returned", "a", "in", "700", "AC04"}, []string{back.Type, back.Reference, back.Direction, back.Amount, back.Reason})
	require.Equal(t, 2, w.moved("a"), "out and back")
	_, seen := w.call(http.MethodGet, "/banks/ab/payments/a", "")
	require.Contains(t, seen, `"direction":"out"`)
	w.stop()

	again := start(t, sandbox.Config{Clock: clk, Dir: dir})
	require.Equal(t, 2, again.moved("a"), "the journal knows that it came back, once")
	clk.Advance(48 * time.Hour)
	again.behave(`{}`)
	d := again.day("2026-01-05")
	require.Len(t, d.Lines, 2)
	require.True(t, d.Lines[1].Return)
	require.Equal(t, "AC04", d.Lines[1].Reason)
	require.True(t, d.Closing.IsZero())
	raw, err := json.Marshal(d)
	require.NoError(t, err)
	require.NotEmpty(t, raw)
}
