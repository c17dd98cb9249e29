package statement_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/recon/statement"
)

// page keeps what a file says.
type page struct {
	lines []channel.Line
	all   []statement.Statement
}

func (p *page) Line(l channel.Line) error       { p.lines = append(p.lines, l); return nil }
func (p *page) End(s statement.Statement) error { p.all = append(p.all, s); return nil }
func read(file string, m statement.Mapping) (page, error) {
	var p page
	err := statement.Read(strings.NewReader(file), m, &p)
	return p, err
}

func sample(t testing.TB, name string) string {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + name)
	require.NoError(t, err)
	return string(raw)
}

func bankMapping(t testing.TB) statement.Mapping {
	t.Helper()
	m, err := statement.ParseMapping([]byte(sample(t, "bank.json")))
	require.NoError(t, err)
	return m
}

func balanced(t *testing.T, s statement.Statement, opening, closing int64) {
	t.Helper()
	require.Equal(t, money.Int(opening), *s.Opening)
	require.Equal(t, money.Int(closing), *s.Closing)
	off, ok, err := s.Off()
	require.NoError(t, err)
	require.True(t, ok)
	require.True(t, off.IsZero(), "off by %s", off)
}

// Batches are split, charges are told apart from amounts whichever way the bank
// writes them, returns are marked, and what is pending has not happened.
func TestCamtIsReadAsItsBankMeantIt(t *testing.T) {
	t.Parallel()
	p, err := read(sample(t, "day.xml"), statement.Mapping{})
	require.NoError(t, err)
	require.Len(t, p.all, 1)
	s := p.all[0]
	require.Equal(t, "AB-2026-225", s.ID)
	require.Equal(t, money.Asset("CZK"), s.Asset)
	require.Equal(t, 5, s.Lines)
	require.Equal(t, "2026-11-23", s.Date.Format(time.DateOnly))
	balanced(t, s, 100_000, 121_700)
	day := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	require.Equal(t, []channel.Line{
		{Seq: 1, ID: "1/1", Direction: channel.In, Reference: "M0000000000001A0", Amount: money.Int(10_000), Asset: "CZK", BookedAt: day},
		{Seq: 2, ID: "1/2", Direction: channel.In, Reference: "M0000000000002A0", Amount: money.Int(20_000), Asset: "CZK", BookedAt: day},
		{
			Seq: 3, ID: "2", Direction: channel.Out, Reference: "M0000000000003A1", Amount: money.Int(10_000), Fee: money.Int(300), Asset: "CZK",
			Remittance: "rent & heat", BookedAt: p.lines[2].BookedAt,
		},
		{Seq: 4, ID: "3", Direction: channel.In, Reference: "M0000000000003A1", Amount: money.Int(5_000), Asset: "CZK", BookedAt: day, Return: true, Reason: "AC04"},
		{
			Seq: 5, ID: "4", Direction: channel.Out, Reference: "RF18539007547034", Amount: money.Int(2_950), Fee: money.Int(50), Asset: "CZK",
			Remittance: "RF18539007547034", BookedAt: day,
		},
	}, p.lines)
	require.True(t, day.Add(9*time.Hour).Equal(p.lines[2].BookedAt))
	p, err = read(sample(t, "day.xml"), statement.Mapping{CamtLineID: statement.LineIDBank})
	require.NoError(t, err)
	require.Equal(t, "B2", p.lines[2].ID)
}

func TestCSVIsReadByItsMapping(t *testing.T) {
	t.Parallel()
	p, err := read(sample(t, "own.csv"), statement.Mapping{})
	require.NoError(t, err)
	require.Equal(t, "csv-CZK-2026-11-23", p.all[0].ID)
	balanced(t, p.all[0], 100_000, 124_700)
	require.Len(t, p.lines, 3)
	require.True(t, p.lines[2].Return)

	p, err = read("\xef\xbb\xbf"+sample(t, "bank.csv"), bankMapping(t))
	require.NoError(t, err)
	require.Equal(t, "7/2026", p.all[0].ID)
	balanced(t, p.all[0], 100_000, 219_650)
	require.Equal(t, channel.Out, p.lines[1].Direction)
	require.Equal(t, "rent; heat", p.lines[1].Remittance)
	require.Equal(t, "2026-11-22T23:00:00Z", p.lines[0].BookedAt.UTC().Format(time.RFC3339), "midnight in Prague")
}

// A file that was cut off at any byte is refused, or says exactly what the whole one
// does.
func TestNoCutGoesUnnoticed(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"day.xml", "own.csv"} {
		whole := sample(t, name)
		want, err := read(whole, statement.Mapping{})
		require.NoError(t, err)
		for n := range len(whole) {
			got, err := read(whole[:n], statement.Mapping{})
			if err == nil {
				require.Equal(t, want, got, "%s cut at %d of %d", name, n, len(whole))
				continue
			}
			require.ErrorIs(t, err, statement.ErrMalformed, "%s cut at %d", name, n)
		}
	}
}

// One changed byte in an amount shows in a balance, a sum or a count.
func TestEveryChangedDigitShows(t *testing.T) {
	t.Parallel()
	whole := sample(t, "day.xml")
	for _, tag := range []string{"<Amt Ccy=\"CZK\">", "<NbOfNtries>", "<Sum>"} {
		for at := 0; ; {
			i := strings.Index(whole[at:], tag)
			if i < 0 {
				break
			}
			at += i + len(tag)
			if strings.Contains(whole[at:], "PDNG") && strings.HasPrefix(whole[at:], "999") {
				continue // it has not happened
			}
			changed := []byte(whole)
			changed[at] = '9' - (changed[at]-'0')%9
			p, err := read(string(changed), statement.Mapping{})
			if err != nil {
				continue
			}
			off, ok, err := p.all[0].Off()
			require.NoError(t, err)
			charge := strings.HasPrefix(whole[at:], "3.00") || strings.HasPrefix(whole[at:], "29.50")
			require.True(t, ok && !off.IsZero() || charge, "%q at %d changed unnoticed", tag, at)
		}
	}
}

func TestWhatCannotBeIsRefusedAndSaysWhy(t *testing.T) {
	t.Parallel()
	whole, own := sample(t, "day.xml"), sample(t, "own.csv")
	for _, x := range []struct{ file, says string }{
		{"", "empty"},
		{" \n\t", "empty"},
		{"<html><body>login</body></html>", "not one camt.053 document"},
		{`<!DOCTYPE x [<!ENTITY a "b">]>` + whole, "document type"},
		{strings.Replace(whole, "UTF-8", "ISO-8859-2", 1), "not UTF-8"},
		{strings.Replace(whole, "<Id>AB-2026-225</Id>", "", 1), "needs an id"},
		{strings.Replace(whole, `<Amt Ccy="CZK">300.00`, `<Amt Ccy="CZK">301.00`, 1), "come to"},
		{strings.Replace(whole, `<Amt Ccy="CZK">300.00`, `<Amt Ccy="EUR">300.00`, 1), "the account in CZK"},
		{strings.Replace(whole, "CRDT", "KREDIT", 1), "neither CRDT nor DBIT"},
		{strings.Replace(whole, "103.00", "103.001", 1), "decimals"},
		{strings.Replace(whole, "<NbOfNtries>4", "<NbOfNtries>5", 1), "not whole"},
		{strings.Replace(whole, "2026-11-23</Dt></BookgDt>", "23.11.2026</Dt></BookgDt>", 1), "not a date"},
		{strings.ReplaceAll(whole, "CZK", "QQQ"), "asset"},
		{whole + "<Document/>", "not one camt.053"},
		{strings.Replace(own, "open,,", "nope,,", 1), "does not know"},
		{strings.Replace(own, "close,,2026-11-23,,,,,,CZK,,,1247.00,3", "close,,2026-11-23,,,,,,CZK,,,1247.00,4", 1), "not whole"},
		{own + "line,L4,2026-11-23,2026-11-23T11:00:00Z,in,,1.00,0.00,CZK,,,,\n", "behind the closing record"},
		{strings.Replace(own, "line_id", "id", 1), "no column"},
		{strings.Replace(own, "300.00", "0.00", 1), "not above zero"},
		{strings.Replace(own, "300.00", "300,00", 1), "fields"},
		{strings.Replace(own, "L1", "", 1), "its id"},
		{strings.Replace(own, ",in,", ",sideways,", 1), "neither"},
		{"a,b\n1,2\n", "no column"},
	} {
		_, err := read(x.file, statement.Mapping{})
		require.ErrorIs(t, err, statement.ErrMalformed, x.says)
		require.ErrorContains(t, err, x.says)
	}
	_, err := read(strings.Replace(whole, "CLBD", "ITBD", 1), statement.Mapping{})
	require.ErrorIs(t, err, statement.ErrOpenDay)
	gap := strings.Replace(sample(t, "bank.csv"), "2 196,50", "2 196,00", 1)
	_, err = read(gap, bankMapping(t))
	require.ErrorContains(t, err, "missing or out of order")
}

func TestMappingsAreChecked(t *testing.T) {
	t.Parallel()
	for _, x := range []struct{ json, says string }{
		{`{"colums":{}}`, "unknown field"},
		{`{"columns":{"line_id":"a"}}`, "booked_at"},
		{`{"columns":{"line_id":"a","booked_at":"b"},"asset":"CZK"}`, "columns.amount"},
		{`{"columns":{"line_id":"a","booked_at":"b","amount":"c"}}`, "columns.asset"},
		{`{"columns":{"line_id":"a","booked_at":"b","amount":"c"},"asset":"CZK","decimal":";"}`, "decimal"},
		{`{"columns":{"line_id":"a","booked_at":"b","amount":"c"},"asset":"CZK","records":{"close":"x"}}`, "records"},
		{`{"columns":{"line_id":"a","booked_at":"b","amount":"c"},"asset":"CZK","delimiter":"||"}`, "delimiter"},
		{`{"time_zone":"Nowhere"}`, "time_zone"},
		{`{"camt_line_id":"mine"}`, "camt_line_id"},
	} {
		_, err := statement.ParseMapping([]byte(x.json))
		require.ErrorContains(t, err, x.says)
	}
}

// Bounds hold before memory is spent, and an error of the reader is its own.
func TestAFileIsBounded(t *testing.T) {
	t.Parallel()
	head := sample(t, "day.xml")
	head = head[:strings.Index(head, "<Ntry>")]
	endless := io.MultiReader(strings.NewReader(head+"<Ntry><NtryRef>"), rush{})
	require.ErrorIs(t, statement.Read(endless, statement.Mapping{}, &page{}), statement.ErrTooLarge)
	rows := io.MultiReader(strings.NewReader("line_id,"), rush{})
	require.ErrorIs(t, statement.Read(rows, statement.Mapping{}, &page{}), statement.ErrTooLarge)
	broken := errors.New("the line is down")
	err := statement.Read(iotest.ErrReader(broken), statement.Mapping{}, &page{})
	require.ErrorIs(t, err, broken)
}

// rush never ends.
type rush struct{}

func (rush) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// FuzzRead: whatever a stranger sends, nothing panics, and what is accepted adds up.
func FuzzRead(f *testing.F) {
	for _, name := range []string{"day.xml", "own.csv", "bank.csv"} {
		f.Add([]byte(sample(f, name)), name == "bank.csv")
	}
	mapping := bankMapping(f)
	f.Fuzz(func(t *testing.T, file []byte, mapped bool) {
		m := statement.Mapping{}
		if mapped {
			m = mapping
		}
		var p page
		if err := statement.Read(bytes.NewReader(file), m, &p); err != nil {
			return
		}
		var net money.Amount
		lines := 0
		for _, s := range p.all {
			sum, err := net.Add(s.Net)
			require.NoError(t, err)
			net, lines = sum, lines+s.Lines
			_, _, _ = s.Off()
		}
		require.Len(t, p.lines, lines)
		for _, l := range p.lines {
			require.Positive(t, l.Amount.Sign())
			require.NotEmpty(t, l.ID)
			effect, err := l.Amount.Add(money.Amount{})
			require.NoError(t, err)
			if l.Direction == channel.Out {
				effect, err = effect.Neg()
				require.NoError(t, err)
			}
			effect, err = effect.Sub(l.Fee)
			require.NoError(t, err)
			net, err = net.Sub(effect)
			require.NoError(t, err)
		}
		require.True(t, net.IsZero())
	})
}

// FuzzMapping: a mapping is refused, or it reads any file to its end or to a refusal.
func FuzzMapping(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"time_zone":"Europe/Prague","camt_line_id":"entry"}`, `{"time_zone":"../../etc/passwd"}`,
		`{"columns":{"line_id":"a","booked_at":"b","amount":"c","asset":"d"},"delimiter":"\u0000"}`, `{"columns":{"line_id":"a","booked_at":"b","in":"c","out":"d"},"asset":"CZK","decimal":",","grouping":".","skip":100}`,
		`{"columns":{"line_id":"a"}}`, `{"skip":-1}`, `[]`, ``, `{"x":1}`, `{"columns":{"line_id":"a","booked_at":"a","amount":"a","asset":"a"},"delimiter":"\r"}`,
	} {
		f.Add([]byte(s))
	}
	own := []byte(sample(f, "own.csv"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := statement.ParseMapping(raw)
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		for _, file := range [][]byte{own, []byte("a,b,c,d\n1,2026-01-01,5,CZK\n")} {
			var p page
			_ = statement.Read(bytes.NewReader(file), m, &p) // it ends, and does not fall
		}
	})
}
