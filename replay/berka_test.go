package replay

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/money"
)

const (
	berkaMapping = "../examples/berka/mapping.json"
	berkaData    = "../examples/berka/trans_1993.csv.gz"
)

func loadBerka(t *testing.T, data string) *Plan {
	t.Helper()
	m, err := LoadMapping(berkaMapping)
	require.NoError(t, err)
	p, err := LoadPlan(m, data)
	require.NoError(t, err)
	return p
}

// judgePlan judges the arithmetic of the plan itself.
func judgePlan(p *Plan) (exact, within int, largest money.Amount, breaks []string) {
	for _, a := range p.Accounts {
		ours := make([]*money.Amount, len(a.Days))
		for i, d := range a.Days {
			ours[i] = &d.Expected
		}
		v := judgeAccount(a, ours, p.Mapping.within)
		if v.exact {
			exact++
		}
		if v.within {
			within++
		}
		if v.worst.Cmp(largest) > 0 {
			largest = v.worst
		}
		if v.brk != nil {
			breaks = append(breaks, a.ID)
		}
	}
	return exact, within, largest, breaks
}

func TestBerkaPlanHoldsWhatIsKnownOf1993(t *testing.T) {
	t.Parallel()
	p := loadBerka(t, berkaData)
	require.EqualValues(t, 28_205, p.Records)
	require.Empty(t, p.Bad)
	require.EqualValues(t, 2_462, p.Deposits)
	require.EqualValues(t, 3_231, p.Payouts)
	require.EqualValues(t, 22_512, p.Sent)
	require.Len(t, p.Banks, 13)
	require.Equal(t, Bank{"ab", "bank-ab"}, p.Banks[0])
	require.Equal(t, []string{"cash", "fees", "interest", "penalty"}, p.Houses)
	require.Len(t, p.Accounts, 1_139)

	below, lowest, floor := 0, money.Amount{}, money.Amount{}
	for _, a := range p.Accounts {
		if a.Floor.Sign() < 0 {
			below++
		}
		if a.Floor.Cmp(floor) < 0 {
			floor = a.Floor
		}
		for _, s := range a.Steps {
			require.GreaterOrEqual(t, s.Balance.Cmp(a.Floor), 0)
			if s.Balance.Cmp(lowest) < 0 {
				lowest = s.Balance
			}
		}
	}
	require.Equal(t, 6, below)
	require.Equal(t, money.Int(-534_360), lowest)
	require.Equal(t, money.Int(-534_370), floor, "the bank's own record of that day, rounded to a tenth")
}

func TestBerkaFitsTheBanksOwnBalances(t *testing.T) {
	t.Parallel()
	p := loadBerka(t, berkaData)
	exact, within, largest, breaks := judgePlan(p)
	require.Empty(t, breaks)
	require.Equal(t, 1_139, within)
	require.Equal(t, 492, exact)
	require.Equal(t, money.Int(60), largest)
	for _, a := range p.Accounts {
		for _, d := range a.Days {
			require.Equal(t, ClosingTail, d.Bank.Kind)
		}
	}
}

// The obvious choice, the last row of the day, is the wrong one: were the
// oracle to take it, half of the accounts would break.
func TestBerkaLastRowOfDayIsNotTheClosing(t *testing.T) {
	t.Parallel()
	p := loadBerka(t, berkaData)
	fits := 0
	for _, a := range p.Accounts {
		last := map[string]*Row{}
		for _, s := range a.Steps {
			day := s.Day.String()
			if last[day] == nil || last[day].Line < s.Line {
				last[day] = s.Row
			}
		}
		ok := true
		for _, d := range a.Days {
			ok = ok && near(last[d.Date.String()].Balance, d.Expected, p.Mapping.within)
		}
		if ok {
			fits++
		}
	}
	require.Equal(t, 606, fits) // 53 % of 1,139
}

// Control: a check that cannot fail proves nothing.
func TestBerkaShiftedBalancesBreakExactlyTheirAccounts(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		shifted, accounts := shiftBalances(t, seed, 50)
		p := loadBerka(t, shifted)
		_, within, _, breaks := judgePlan(p)
		slices.Sort(breaks)
		require.Equal(t, accounts, breaks, "seed %d", seed)
		require.Equal(t, 1_139-50, within)
	}
}

// shiftBalances writes a copy of the file with n recorded balances, of n
// accounts, raised by 2.00, and returns its path and the accounts, sorted.
func shiftBalances(t *testing.T, seed uint64, n int) (string, []string) {
	t.Helper()
	records := berkaRecords(t)
	hit := map[string]bool{}
	for _, i := range rand.New(rand.NewPCG(seed, 1)).Perm(len(records) - 1) {
		r := records[i+1]
		if hit[r[1]] || len(hit) == n {
			continue
		}
		hit[r[1]] = true
		balance, err := parseDecimal(r[6], 2, ".", "")
		require.NoError(t, err)
		raised, err := balance.Add(money.Int(200))
		require.NoError(t, err)
		r[6] = money.Format(raised, "CZK")
	}
	accounts := make([]string, 0, n)
	for a := range hit {
		accounts = append(accounts, a)
	}
	slices.Sort(accounts)
	return writeRecords(t, records), accounts
}

func berkaRecords(t *testing.T) [][]string {
	t.Helper()
	f, err := os.Open(berkaData)
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	records, err := csv.NewReader(z).ReadAll()
	require.NoError(t, err)
	return records
}

func writeRecords(t *testing.T, records [][]string) string {
	t.Helper()
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	require.NoError(t, w.WriteAll(records))
	path := filepath.Join(t.TempDir(), "data.csv")
	require.NoError(t, os.WriteFile(path, out.Bytes(), 0o600))
	return path
}

func TestPlainAndGzipReadAlike(t *testing.T) {
	t.Parallel()
	plain := loadBerka(t, writeRecords(t, berkaRecords(t)))
	packed := loadBerka(t, berkaData)
	sum := func(p *Plan) string {
		var out bytes.Buffer
		for _, a := range p.Accounts {
			_, _ = fmt.Fprintln(io.Writer(&out), a.ID, a.Floor, len(a.Steps), a.Days[len(a.Days)-1].Expected)
		}
		return out.String()
	}
	require.Equal(t, sum(packed), sum(plain))
}
