package finance_test

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/finance"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// judge is the real hledger; without it the test is skipped, and says so.
func judge(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("hledger")
	if err != nil {
		t.Skip("NO OUTSIDE JUDGE: hledger is not installed, so nobody but us has counted the journal (apt-get install hledger)")
	}
	return path
}

// hledger runs it on a journal; LANG=C, as in a bare container.
func hledger(t *testing.T, journal string, args ...string) (string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ledger.journal")
	require.NoError(t, os.WriteFile(file, []byte(journal), 0o600))
	cmd := exec.CommandContext(t.Context(), judge(t), append([]string{"-f", file}, args...)...)
	cmd.Env = append(os.Environ(), "LANG=C", "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func accepts(t *testing.T, journal string) {
	t.Helper()
	out, err := hledger(t, journal, "check", "--strict")
	require.NoError(t, err, "hledger: %s", out)
}

func refuses(t *testing.T, journal, damage, because string) {
	t.Helper()
	out, err := hledger(t, journal, "check", "--strict")
	require.Error(t, err, "hledger accepted a journal with damage: %s", damage)
	require.Contains(t, strings.ToLower(out), because, damage)
}

func export(t *testing.T, w *world, s finance.Scope) (string, finance.Journal) {
	t.Helper()
	var b bytes.Buffer
	calls := 0
	j, err := finance.NewReader(w.db).WriteJournal(t.Context(), s, &b, func(done, total int64) {
		calls++
		require.LessOrEqual(t, done, total)
	})
	require.NoError(t, err)
	require.Positive(t, calls)
	require.Equal(t, int64(b.Len()), j.Bytes)
	return b.String(), j
}

var entry = regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\d \(\d+\) .*\n(    .*\n){2}\n`)

func payments() int {
	if os.Getenv("MONETA_TORTURE") != "" {
		return 5000
	}
	return 300
}

// TestHledgerJudgesTheLedger: what the decider wrote stands before a program that
// knows nothing of it, in every scope.
func TestHledgerJudgesTheLedger(t *testing.T) {
	t.Parallel()
	w := newWorld(t, payments())
	for _, s := range []pay.State{pay.Succeeded, pay.Failed, pay.Cancelled, pay.Reserved, pay.Dispatching} {
		require.Positive(t, w.met[s], "no payment is %s", s)
	}
	var rows int64
	require.NoError(t, w.db.QueryRow(t.Context(), `select count(*) from transfers`).Scan(&rows))
	text, j := export(t, w, finance.Scope{})
	require.Equal(t, rows, j.Transfers)
	require.Len(t, entry.FindAllString(text, -1), int(rows))
	for _, c := range []byte(text) {
		require.Less(t, c, byte(0x80), "hledger without a UTF-8 locale refuses such a byte")
	}
	for _, name := range []string{
		"assets:nostro:bank-ab:", "assets:clearing:bank-cd:out:", "assets:clearing:bank-ab:in:", "income:fees:", "expenses:channel-fees:",
		"equity:house:Vault-of-ETH:acct_", "assets:tenant-2:clearing:bank-", "liabilities:tenant-2:users:acct_",
	} {
		require.Contains(t, text, "\naccount "+name)
	}
	judge(t)
	w.spread()
	for _, by := range []ledger.By{ledger.Booking, ledger.Effective} {
		for _, s := range scopes(by) {
			text, j := export(t, w, s)
			t.Logf("%s, %s to %s, %q: %d transfers", by, s.From.Format(time.DateOnly), s.Until.Format(time.DateOnly), s.Asset, j.Transfers)
			accepts(t, text)
		}
	}
	compareWithTrialBalance(t, w, finance.Scope{})
	compareWithTrialBalance(t, w, finance.Scope{Until: dawn.AddDate(0, 0, 250)})
	compareWithTrialBalance(t, w, finance.Scope{By: ledger.Effective, Until: dawn.AddDate(0, 0, 200)})
}

// spread books the rows, which were all booked just now, over 400 days, in the
// order of their ids but for one whose clock had stepped back by two days.
func (w *world) spread() {
	w.exec(fmt.Sprintf(`update transfers set booked_at = timestamptz '%s' + (400 * id / (select max(id) from transfers) - case id when 200 then 2 else 0 end) * interval '1 day'`,
		dawn.Format(time.RFC3339)))
}

func scopes(by ledger.By) []finance.Scope {
	middle, later := dawn.AddDate(0, 0, 120), dawn.AddDate(0, 0, 250)
	return []finance.Scope{
		{By: by},
		{By: by, Asset: "ETH"},
		{By: by, From: middle},
		{By: by, Until: middle},
		{By: by, From: middle, Until: later, Asset: "JPY"},
		{By: by, From: middle, Until: later},
		{By: by, From: later.AddDate(100, 0, 0)},
		{By: by, Until: dawn},
	}
}

// compareWithTrialBalance: hledger adds up the journal to what the database adds
// up, account by account.
func compareWithTrialBalance(t *testing.T, w *world, s finance.Scope) {
	t.Helper()
	tb, err := finance.NewReader(w.db).TrialBalance(t.Context(), s)
	require.NoError(t, err)
	require.True(t, tb.Sound())
	require.Len(t, tb.Totals, len(assets))
	want := map[string]money.Amount{}
	for _, l := range tb.Lines {
		balance, err := l.Debit.Sub(l.Credit)
		require.NoError(t, err)
		require.False(t, l.Debit.Sign() > 0 && l.Credit.Sign() > 0, l)
		if !balance.IsZero() {
			want[l.Account+" "+string(l.Asset)] = balance
		}
	}
	text, _ := export(t, w, s)
	require.Equal(t, want, counted(t, text))
}

var oneUser = regexp.MustCompile(`users:acct_[0-9A-Z]+`)

// counted is hledger's own balance report, users together.
func counted(t *testing.T, journal string) map[string]money.Amount {
	t.Helper()
	out, err := hledger(t, journal, "balance", "--layout", "bare", "--output-format", "csv")
	require.NoError(t, err, out)
	records, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	require.NoError(t, err, out)
	got := map[string]money.Amount{}
	for _, r := range records[1:] {
		if r[0] == "total" {
			require.Equal(t, "0", r[2], "the journal's own total")
			continue
		}
		amount, err := money.Parse(r[2], money.Asset(r[1]))
		require.NoError(t, err, r)
		name := oneUser.ReplaceAllString(r[0], "users") + " " + r[1]
		got[name], err = got[name].Add(amount)
		require.NoError(t, err)
		if got[name].IsZero() {
			delete(got, name)
		}
	}
	return got
}

// TestHledgerRefusesDamage plants one damage at a time, in the text and in the
// rows; each must be refused.
func TestHledgerRefusesDamage(t *testing.T) {
	t.Parallel()
	judge(t)
	w := newWorld(t, 60)
	booking, _ := export(t, w, finance.Scope{})
	effective, _ := export(t, w, finance.Scope{By: ledger.Effective})
	accepts(t, booking)
	accepts(t, effective)
	for _, text := range []string{booking, effective} {
		entries := entry.FindAllString(text, -1)
		for _, victim := range []string{entries[0], entries[w.rnd.IntN(len(entries))], entries[len(entries)-1]} {
			without := strings.Replace(text, victim, "", 1)
			refuses(t, without, "left out: "+victim, "assert")
			refuses(t, strings.Replace(text, victim, oneMore(t, victim, 1), 1), "one unit on one side: "+victim, "")
			refuses(t, strings.Replace(text, victim, oneMore(t, victim, 2), 1), "one unit on both sides: "+victim, "assert")
			refuses(t, strings.Replace(text, victim, victim+victim, 1), "twice: "+victim, "assert")
		}
	}
	declared := regexp.MustCompile(`(?m)^account income:fees:.*\n`).FindString(booking)
	refuses(t, strings.Replace(booking, declared, "", 1), "not declared: "+declared, "")

	var last int64
	require.NoError(t, w.db.QueryRow(t.Context(), `select max(id) from transfers`).Scan(&last))
	for _, id := range []int64{1, 2 + w.rnd.Int64N(last-2), last} {
		for _, column := range []string{"amount", "debit_balance", "credit_balance"} {
			change := fmt.Sprintf("update transfers set %[1]s = %[1]s %%s 1 where id = %[2]d", column, id)
			w.exec(fmt.Sprintf(change, "+"))
			text, _ := export(t, w, finance.Scope{})
			refuses(t, text, fmt.Sprint("row ", id, " ", column), "assert")
			w.exec(fmt.Sprintf(change, "-"))
		}
	}
	tb, err := finance.NewReader(w.db).TrialBalance(t.Context(), finance.Scope{})
	require.NoError(t, err)
	require.True(t, tb.Sound(), "the damage was undone")
	w.exec(fmt.Sprintf("update transfers set debit_balance = debit_balance + 1 where id = %d", last))
	w.exec(fmt.Sprintf("update transfers set credit_balance = credit_balance + 1 where id = %d", last))
	tb, err = finance.NewReader(w.db).TrialBalance(t.Context(), finance.Scope{})
	require.NoError(t, err)
	require.False(t, tb.Sound(), "two books of the last transfer state more than they have")

	// A missing row may have been the last of both its books.
	for _, id := range []int64{last, 2 + w.rnd.Int64N(last-2), 1} {
		w.exec(fmt.Sprintf("delete from transfers where id = %d", id))
		_, err := finance.NewReader(w.db).WriteJournal(t.Context(), finance.Scope{}, io.Discard, nil)
		require.ErrorIs(t, err, finance.ErrBroken)
		_, err = finance.NewReader(w.db).TrialBalance(t.Context(), finance.Scope{By: ledger.Effective})
		require.ErrorIs(t, err, finance.ErrBroken)
	}
}

func (w *world) exec(sql string) {
	w.t.Helper()
	tag, err := w.db.Exec(w.t.Context(), sql)
	require.NoError(w.t, err)
	require.Positive(w.t, tag.RowsAffected())
}

var posting = regexp.MustCompile(`(?m)^(    \S+  )(-?[0-9.]+)( .*)$`)

// oneMore moves the first sides amounts of an entry by one unit away from zero.
func oneMore(t *testing.T, text string, sides int) string {
	t.Helper()
	n := 0
	return posting.ReplaceAllStringFunc(text, func(line string) string {
		n++
		if n > sides {
			return line
		}
		m := posting.FindStringSubmatch(line)
		asset := money.Asset(strings.Trim(strings.Fields(m[3])[0], `"`))
		a, err := money.Parse(m[2], asset)
		require.NoError(t, err)
		a, err = a.Add(money.Int(int64(a.Sign())))
		require.NoError(t, err)
		return m[1] + money.Format(a, asset) + m[3]
	})
}

// TestWhatCannotBeExportedIsRefused: no half journal, no guess.
func TestWhatCannotBeExportedIsRefused(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	write := func() error {
		_, err := finance.NewReader(db).WriteJournal(t.Context(), finance.Scope{}, io.Discard, nil)
		return err
	}
	require.NoError(t, write(), "an empty ledger")
	_, err := db.Exec(t.Context(), `insert into transfers values (1, 1, 2, 4, 1, 1, 1, -1, 1, 22, now(), now())`)
	require.NoError(t, err)
	require.ErrorIs(t, write(), finance.ErrBroken, "no account")
	_, err = finance.NewReader(db).TrialBalance(t.Context(), finance.Scope{})
	require.ErrorIs(t, err, finance.ErrBroken)
	_, err = db.Exec(t.Context(), `insert into accounts values (2, 1, 2, 'XQZ', 'a', null, false, now()), (4, 1, 2, 'XQZ', 'b', null, false, now())`)
	require.NoError(t, err)
	require.ErrorIs(t, write(), finance.ErrBroken, "no scale")
	_, err = db.Exec(t.Context(), `insert into shards (id) values (1)`)
	require.NoError(t, err)
	require.ErrorIs(t, write(), finance.ErrShards)
}

// TestAWriterThatFailsEndsTheExport, whatever it was writing.
func TestAWriterThatFailsEndsTheExport(t *testing.T) {
	t.Parallel()
	_, err := finance.NewReader(pgtest.Database(t)).WriteJournal(t.Context(), finance.Scope{}, full{}, nil)
	require.ErrorIs(t, err, io.ErrShortWrite)
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }
