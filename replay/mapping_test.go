package replay

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/money"
)

func berkaJSON(t testing.TB) map[string]any {
	t.Helper()
	raw, err := os.ReadFile(berkaMapping)
	require.NoError(t, err)
	var m map[string]any
	require.NoError(t, json.Unmarshal(raw, &m))
	return m
}

// set changes one field, given as "a.b"; nil removes it.
func set(m map[string]any, path string, value any) {
	parent, field, nested := strings.Cut(path, ".")
	if nested {
		inner, ok := m[parent].(map[string]any)
		if !ok {
			inner = map[string]any{}
			m[parent] = inner
		}
		set(inner, field, value)
		return
	}
	if value == nil {
		delete(m, path)
		return
	}
	m[path] = value
}

func TestMappingFaultsNameTheFieldAndTheRemedy(t *testing.T) {
	t.Parallel()
	rule := func(r map[string]any) []any { return []any{r} }
	for _, c := range []struct {
		field string
		value any
		want  string
	}{
		{"surprise", 1, `unknown field "surprise"`},
		{"name", 5, "line "},
		{"csv.delimiter", ";;", `csv.delimiter: ";;" is not one character`},
		{"csv.delimiter", "\"", "csv.delimiter"},
		{"csv.decimal", "'", `csv.decimal: "'" is not known; write`},
		{"csv.thousands", ".", "csv.thousands"},
		{"asset.code", nil, "asset.code: is missing"},
		{"asset.code", "QQQ", "is not a known asset"},
		{"asset.scale", 3, "asset.scale: is 3, but CZK has 2 decimals"},
		{"asset.scale", -1, "asset.scale: -1 is not between"},
		{"date_layout", "YYMM", "date_layout: \"YYMM\" needs year, month and day"},
		{"date_layout", "YYMMDDh", `has "h", which is not known`},
		{"columns.row_id", nil, "columns.row_id: is missing"},
		{"columns.account", nil, "columns.account: is missing"},
		{"columns.date", nil, "columns.date: is missing"},
		{"columns.amount", nil, "columns.amount: is missing"},
		{"columns.counterparty", nil, "columns.counterparty: is missing"},
		{"sign.signed_amount", true, "sign: use exactly one form"},
		{"sign.column", nil, "sign: use exactly one form"},
		{"sign.debit", nil, "sign.credit, sign.debit: list the values"},
		{"sign.debit", []string{"PRIJEM"}, `sign.credit: "PRIJEM" is also in sign.debit`},
		{"sign", map[string]any{"credit_column": "in"}, "sign: credit_column and debit_column go together"},
		{"kinds", []any{}, "kinds: is empty"},
		{"kinds", rule(map[string]any{"kind": "house:"}), `kinds[0].kind: "house:" is not known; write deposit, payout or house:<name>`},
		{"kinds", rule(map[string]any{"kind": "deposit"}), `kinds[0].direction: a deposit brings money in`},
		{"kinds", rule(map[string]any{"kind": "payout", "direction": "credit"}), `kinds[0].direction: a payout takes money out`},
		{"kinds", rule(map[string]any{"kind": "house:x", "direction": "up"}), `kinds[0].direction: "up" is not known`},
		{"kinds", rule(map[string]any{"kind": "house:x", "when": []any{map[string]any{"equals": "1", "empty": true}}}), "kinds[0].when[0].column: is missing"},
		{"kinds", rule(map[string]any{"kind": "house:x", "when": []any{map[string]any{"column": "bank"}}}), "kinds[0].when[0]: use exactly one of equals, in, empty, not_empty"},
		{"channel", nil, "channel: is missing"},
		{"bank", nil, "bank: is missing"},
		{"channel", "bank-{", `channel: has "{" without a column`},
		{"channel", "bank-}", `channel: has "}" without "{"`},
		{"bank", "{bank|shout}", `bank: unknown filter "shout"; use lower or upper`},
		{"order_in_day", "random", `order_in_day: "random" is not known; write credits_first`},
		{"opening", "guess", `opening: "guess" is not known; write zero or recorded`},
		{"oracle.within", "-1", `oracle.within: "-1" is not a positive amount`},
		{"oracle.rounding", "0.001", `oracle.rounding: "0.001" is not a positive amount`},
	} {
		m := berkaJSON(t)
		set(m, c.field, c.value)
		raw, err := json.Marshal(m)
		require.NoError(t, err)
		_, err = ParseMapping(raw)
		require.ErrorContains(t, err, c.want, "%s = %v", c.field, c.value)
	}
}

func TestMappingListsAllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	_, err := ParseMapping([]byte(`{}`))
	for _, field := range []string{"asset.code", "date_layout", "columns.row_id", "columns.account", "columns.date", "sign", "kinds"} {
		require.ErrorContains(t, err, field)
	}
	_, err = ParseMapping([]byte(`{} {}`))
	require.ErrorContains(t, err, "after its closing brace")
	_, err = ParseMapping(make([]byte, mappingBytesMax+1))
	require.ErrorContains(t, err, "is this the data file")
	_, err = LoadMapping("missing.json")
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = LoadMapping(berkaData)
	require.ErrorContains(t, err, "not valid JSON")
}

// otherBank shows that another bank's export needs another mapping, not code.
const otherBank = `{
  "name": "other", "csv": {"delimiter": ";", "decimal": ",", "thousands": "."},
  "asset": {"code": "EUR", "scale": 2}, "date_layout": "DD.MM.YYYY",
  "columns": {"row_id": "Ref", "account": "IBAN", "date": "Datum"},
  "sign": {"credit_column": "Haben", "debit_column": "Soll"},
  "kinds": [{"kind": "house:all"}], "order_in_day": "file", "oracle": {}
}`

func TestAnotherBanksFileReadsThroughAMappingAlone(t *testing.T) {
	t.Parallel()
	m, err := ParseMapping([]byte(otherBank))
	require.NoError(t, err)
	file := "\xef\xbb\xbfDatum;Ref;IBAN;Soll;Haben\n31.12.2025;a;DE1;1.234,50;\n\"01.01.2026\";b;DE1;;1.300,00\n01.01.2026;c;DE1;1;1\n"
	p, err := LoadPlan(m, writeFile(t, file))
	require.NoError(t, err)
	require.EqualValues(t, 2, p.Rows)
	require.EqualValues(t, 1, p.BadRows)
	require.Contains(t, p.Bad[0].String(), ":4: exactly one of columns")
	a := p.Accounts[0]
	require.Equal(t, money.Int(-123_450), a.Floor)
	require.Equal(t, money.Int(6_550), a.Days[1].Expected) //nolint:testifylint // the field of that name is what we got
	require.Equal(t, ClosingNone, a.Days[0].Bank.Kind)
	require.Empty(t, p.Banks)

	signed := strings.Replace(otherBank, `{"credit_column": "Haben", "debit_column": "Soll"}`, `{"signed_amount": true}`, 1)
	signed = strings.Replace(signed, `"date": "Datum"`, `"date": "Datum", "amount": "Betrag"`, 1)
	m, err = ParseMapping([]byte(signed))
	require.NoError(t, err)
	p, err = LoadPlan(m, writeFile(t, "Datum;Ref;IBAN;Betrag\n31.12.2025;a;DE1;-2,5\n31.12.2025;b;DE1;+3,00\n31.12.2025;c;DE1;0\n"))
	require.NoError(t, err)
	require.Equal(t, money.Int(50), p.Accounts[0].Days[0].Expected) //nolint:testifylint // the field of that name is what we got
	require.Contains(t, p.Bad[0].Reason, "not above zero")
}

// A file that begins in the middle of an account's life says so in its records.
func TestOpeningBalancesComeFromTheRecord(t *testing.T) {
	t.Parallel()
	m := berkaJSON(t)
	set(m, "opening", "recorded")
	raw, err := json.Marshal(m)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "m.json")
	require.NoError(t, os.WriteFile(path, raw, 0o600))
	w := newWorld(t)
	head := strings.SplitAfter(village, "\n")[0]
	o := options(t, w, writeFile(t, head+
		"a,1,930101,VYDAJ,VYBER,20.00,985.00,,,\nb,1,930101,PRIJEM,VKLAD,5.00,1005.00,,,\n"+ // opens with 1,000.00
		"c,2,930101,PRIJEM,VKLAD,5.00,-95.00,,,\n"+ // opens with -100.00
		"d,3,930101,PRIJEM,VKLAD,5.00,5.00,,,\n")) // opens with nothing
	o.Mapping, err = LoadMapping(path)
	require.NoError(t, err)
	r := run(t, o)
	require.Empty(t, r.Problems())
	require.EqualValues(t, 2, r.Openings)
	require.EqualValues(t, 6, r.Payments)
	require.EqualValues(t, 3, r.AccountsExact)
	require.Less(t, w.position("opening:1"), w.position("b"))
}

func TestFileThatDoesNotFitSaysWhichColumn(t *testing.T) {
	t.Parallel()
	m, err := LoadMapping(berkaMapping)
	require.NoError(t, err)
	_, err = LoadPlan(m, writeFile(t, "id,account_id,date,type,operation,amount,balance,k_symbol,bank,account\n"))
	require.ErrorContains(t, err, `mapping field columns.row_id names column "trans_id", but the first line has: id, account_id`)
	_, err = LoadPlan(m, writeFile(t, strings.Replace(village, "k_symbol", "type", 1)))
	require.ErrorContains(t, err, `column "type" twice`)
	_, err = LoadPlan(m, writeFile(t, ""))
	require.ErrorContains(t, err, "first line")
	_, err = LoadPlan(m, writeFile(t, "\x1f\x8bnot gzip"))
	require.ErrorContains(t, err, "looks like gzip")
	_, err = LoadPlan(m, writeFile(t, village+`"`+strings.Repeat("never closed\n", recordBytesMax/8)))
	require.ErrorIs(t, err, errRecordTooLong)
}

func TestRowsThatDoNotFitSayWhy(t *testing.T) {
	t.Parallel()
	m, err := LoadMapping(berkaMapping)
	require.NoError(t, err)
	head := strings.SplitAfter(village, "\n")[0]
	for row, want := range map[string]string{
		",1,930101,PRIJEM,VKLAD,1.00,1,,,":                             `column "trans_id" is empty`,
		"a,,930101,PRIJEM,VKLAD,1.00,1,,,":                             `column "account_id" is empty`,
		"a,1,930230,PRIJEM,VKLAD,1.00,1,,,":                            `date "930230" is not YYMMDD`,
		"a,1,930101,PRIJEM,VKLAD,-1.00,1,,,":                           "not above zero",
		"a,1,930101,PRIJEM,VKLAD,1e3,1,,,":                             `column "amount": "1e3" is not a decimal amount`,
		"a,1,930101,PRIJEM,VKLAD,1.005,1,,,":                           "more than 2 decimals",
		"a,1,930101,PRIJEM,VKLAD,1.00,x,,,":                            `column "balance"`,
		"a,1,930101,PRIJEM,NOVY,1.00,1,,,":                             "no rule of mapping field kinds fits this credit",
		"a,1,930101,VYDAJ,PREVOD NA UCET,1.00,1,,AB,":                  "payout needs the account",
		"a,1,930101,VYDAJ,PREVOD NA UCET,1.00,1,,../x,7":               "characters other than letters",
		"a,1,930101,PRIJEM,VKLAD," + strings.Repeat("9", 40) + ",1,,,": "more than 38 digits",
		strings.Repeat("a", 141) + ",1,930101,PRIJEM,VKLAD,1.00,1,,,":  "longer than 140 bytes",
		"a,1,930101,PRIJEM,VK\"LAD,1.00,1,,,":                          `bare "`,
	} {
		p, err := LoadPlan(m, writeFile(t, head+row+"\n"+strings.SplitAfter(village, "\n")[1]))
		require.NoError(t, err)
		require.EqualValues(t, 1, p.BadRows, row)
		require.EqualValues(t, 1, p.Rows, "the good row after it is kept")
		require.Equal(t, 2, p.Bad[0].Line)
		require.Contains(t, p.Bad[0].Reason, want)
	}
}

func FuzzMapping(f *testing.F) {
	raw, err := os.ReadFile(berkaMapping)
	require.NoError(f, err)
	f.Add(raw)
	f.Add([]byte(otherBank))
	f.Add([]byte(`{"kinds":[{"kind":"house:a","when":[{}]}],"channel":"{a|lower}{"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := ParseMapping(raw)
		if (m == nil) == (err == nil) {
			t.Fatalf("mapping %v with error %v", m, err)
		}
		if err != nil {
			return
		}
		// What validates must be usable on any file.
		_ = readRows(strings.NewReader(village), "f", m, func(*Row) error { return nil }, func(BadRow) error { return nil })
	})
}

func FuzzRows(f *testing.F) {
	f.Add([]byte(village))
	f.Add([]byte("trans_id;a\n"))
	f.Add([]byte("\x1f\x8b\x08\x00"))
	m, err := LoadMapping(berkaMapping)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, raw []byte) {
		b := newPlanBuilder(m)
		if err := readRows(strings.NewReader(string(raw)), "f", m, b.row, b.bad); err != nil {
			return
		}
		p, err := b.build()
		require.NoError(t, err)
		require.Equal(t, p.Records, p.Rows+p.BadRows)
		require.Equal(t, p.Rows, p.Deposits+p.Payouts+p.Sent)
		steps := 0
		for _, a := range p.Accounts {
			for i, s := range a.Steps {
				steps++
				require.Positive(t, s.Amount.Sign())
				require.LessOrEqual(t, a.Floor.Cmp(s.Balance), 0)
				require.LessOrEqual(t, a.Floor.Sign(), 0)
				require.True(t, i == 0 || s.EffectiveAt.After(a.Steps[i-1].EffectiveAt))
			}
		}
		require.EqualValues(t, p.Rows, steps)
	})
}
