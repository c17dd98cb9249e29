package prove

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor/prove"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
)

func TestTheUntouchedLedgerIsClean(t *testing.T) {
	t.Parallel()
	w := lived(t)
	r := w.prove(nil)
	require.Equal(t, prove.Clean, r.Verdict, "%s%v", found(r), r.NotProved)
	require.Zero(t, r.FaultCount)
	for _, c := range r.Checks {
		require.Positive(t, c.Asked, "nothing was asked of %s", c.Name)
	}
	var flying []string
	for _, f := range r.Flight {
		flying = append(flying, f.What)
		require.NotEmpty(t, f.Oldest, f.What)
	}
	require.Subset(t, flying, []string{"reserved", "unknown", "dispatching", "created"}, "what is open is told, and no fault")
	require.Len(t, r.Assets, 1)
	require.Equal(t, "0", r.Assets[0].Sum)
	require.Len(t, r.Rails, 2)
	for _, rail := range r.Rails {
		require.True(t, rail.Proved, rail.Why)
	}
	require.Positive(t, r.Rails[0].Matched)
	var ours int64
	require.NoError(t, w.db.QueryRow(t.Context(), `select count(*) from payments where kind = 10 and metadata like $1`, "%"+pay.Reference(w.named["late, written off"].ID, 1)+"%").Scan(&ours))
	require.Equal(t, int64(1), ours, "what came back of a written-off debt waits for a person")
	var waits int64
	require.NoError(t, w.db.QueryRow(t.Context(), `select count(*) from payments where kind = 10`).Scan(&waits))
	require.Equal(t, int64(2), waits, "what a late refund sent out of suspense waits there already when it comes back")
	require.Equal(t, int64(1), r.Rails[0].Pending, "executed, and its word not here yet")

	again := w.prove(nil)
	require.Equal(t, r.SHA256, again.SHA256, "the same rows have the same hash")
	w.exec(`update payments set remittance = 'x' where id = 1`)
	require.NotEqual(t, r.SHA256, w.prove(nil).SHA256, "another row has another hash")
}

// tables are what damages touch; each damage is undone by putting all rows back.
var tables = []string{
	"transfers", "transitions", "payments", "accounts", "attempts", "open_payments", "keys", "hop_counts", "expectations",
	"webhook_deliveries", "webhook_cursor", "shards", "recon_runs",
}

func (w *world) keep() {
	w.t.Helper()
	_, err := w.db.Exec(context.Background(), `create schema kept`)
	require.NoError(w.t, err)
	for _, table := range tables {
		_, err := w.db.Exec(context.Background(), `create table kept.`+table+` as select * from `+table)
		require.NoError(w.t, err)
	}
}

func (w *world) putBack() {
	w.t.Helper()
	for _, table := range tables {
		_, err := w.db.Exec(context.Background(), `truncate `+table+`; insert into `+table+` overriding system value select * from kept.`+table)
		require.NoError(w.t, err)
	}
}

// TestEachDamageIsFoundAndNamed damages rows as only a superuser can, behind every
// grant, and wants the check that sees it with the payment and the place.
func TestEachDamageIsFoundAndNamed(t *testing.T) {
	t.Parallel()
	w := lived(t)
	w.keep()
	// id is a payment's, as SQL.
	id := func(name string) string {
		p, ok := w.named[name]
		require.True(t, ok, name)
		return fmt.Sprint(int64(p.ID))
	}
	lastOf := func(name string) string {
		return `(select max(id) from transitions where payment = ` + id(name) + `)`
	}
	for _, d := range []struct{ name, sql, payment, check, place string }{
		{"a posting edited", `update transfers set amount = amount + 1 where payment = ` + id("send 3") + ` and amount > 1`, "send 3", "balances", "transfer "},
		{"a posting edited, seen by the law", `update transfers set amount = amount + 1 where payment = ` + id("send 3") + ` and amount > 1`, "send 3", "postings", "transition "},
		{
			"a posting edited with every balance after it", `with e as (select id, debit, credit from transfers where payment = ` + id("send 3") + ` and amount > 1)
			update transfers t set amount = t.amount + (t.id = e.id)::int,
			  debit_balance = t.debit_balance - (t.debit = e.debit)::int + (t.debit = e.credit)::int,
			  credit_balance = t.credit_balance - (t.credit = e.debit)::int + (t.credit = e.credit)::int from e where t.id >= e.id`, "send 3", "postings", "transition ",
		},
		{"a fraction", `update transfers set amount = amount + 0.5 where id = 3`, "", "readable", "transfers 3"},
		{"a balance edited", `update transfers set credit_balance = credit_balance + 1 where payment = ` + id("send 4") + ` and amount > 1`, "send 4", "balances", "transfer "},
		{"the newest balance edited", `update transfers set credit_balance = credit_balance + 1 where id = (select max(id) from transfers)`, "", "sums", "asset CZK"},
		{"a book's number left out", `update transfers set debit_seq = debit_seq + 1000 where payment = ` + id("send 9") + ` and amount > 1`, "send 9", "book_sequence", "transfer "},
		{"an account in another asset", `update accounts set asset = 'EUR' where name = 'shop'`, "send 0", "sums", "transfer "},
		{"a transfer gone", `delete from transfers where payment = ` + id("send 5") + ` and amount = 1`, "", "ids", "transfer "},
		{"a transfer gone, seen by its step", `delete from transfers where payment = ` + id("send 5") + ` and amount = 1`, "send 5", "transfer_owner", "transition "},
		{"the newest transfer gone", `delete from transfers where id = (select max(id) from transfers)`, "", "ids", "shard 0"},
		{"a transfer of nobody", `update transitions set first_transfer = null, transfers = 0 where payment = ` + id("send 6"), "send 6", "transfer_owner", "transfer "},
		{"an event lost", `delete from transitions where payment = ` + id("paid 1") + ` and seq = 3`, "paid 1", "chain", "transition "},
		{"an event lost, seen by the ids", `delete from transitions where payment = ` + id("paid 1") + ` and seq = 3`, "", "ids", "transition "},
		{"the last event lost", `delete from transitions where id = ` + lastOf("cancelled"), "cancelled", "open_items", "pay_"},
		{"an event renumbered", `update transitions set seq = 99 where id = ` + lastOf("paid 2"), "paid 2", "chain", "transition "},
		{"an outbox row skipped", `delete from webhook_deliveries where event = ` + lastOf("send 7"), "send 7", "webhooks", "transition "},
		{"a cursor beyond the log", `update webhook_cursor set position = position + 5`, "", "webhooks", "cursor "},
		{"a stale count", `update hop_counts set open = open + 1, entered = entered + 1 where hop = 'settle'`, "", "hop_counts", "settle bank-ab CZK"},
		{"a stale open item", `update open_payments set state = 4, hop = 'channel' where payment = ` + id("unknown"), "unknown", "open_items", "pay_"},
		{"an open item lost", `delete from open_payments where payment = ` + id("reserved"), "reserved", "open_items", "pay_"},
		{"an expectation lost", `delete from expectations where payment = ` + id("nobody waits"), "nobody waits", "expectations", "pay_"},
		{
			"a hold left behind", `with d as (delete from transfers where payment = ` + id("cancelled") + ` and transition = 11)
			update transitions set first_transfer = null, transfers = 0 where id = ` + lastOf("cancelled"), "cancelled", "holds", "pay_",
		},
		{
			"a final state flipped", `insert into transitions select (select max(id) + 1 from transitions), payment, seq + 1, 8, to_state, 7, settlement, attempt, null, 0, 'x', 'x', at
			  from transitions where id = ` + lastOf("send 8"), "send 8", "terminal", "transition ",
		},
		{"an illegal move", `update transitions set to_state = 9 where id = ` + lastOf("send 8"), "send 8", "moves", "transition "},
		{"a settlement taken back", `update transitions set settlement = 0 where id = ` + lastOf("paid 0"), "paid 0", "one_settlement", "transition "},
		{"a key missing", `delete from keys where kind = 1 and subject = ` + id("paid 0"), "paid 0", "keys", "pay_"},
		{"a key that leads elsewhere", `update keys set subject = ` + id("paid 1") + ` where kind = 1 and subject = ` + id("paid 0"), "paid 1", "keys", "key "},
		{"a second live attempt", `update attempts set state = 3 where n = 1 and payment = ` + id("second try"), "second try", "attempts", "attempt 1"},
		{"an attempt that nobody named", `update attempts set state = case n when 1 then 4 else 6 end where payment = ` + id("second try"), "second try", "attempts", "attempt 1"},
		{"another attempt than was named", `update attempts set state = case n when 2 then 4 else 6 end where payment = ` + id("named by people"), "named by people", "attempts", "pay_"},
		{"an attempt gone", `delete from attempts where payment = ` + id("declined"), "declined", "attempts", "pay_"},
		{"a payment gone", `delete from payments where id = ` + id("send 2"), "send 2", "chain", "pay_"},
		{"a payment gone, seen by the ids", `delete from payments where id = ` + id("send 2"), "", "ids", "payment "},
		{"an account gone", `delete from accounts where name = 'alice'`, "", "ids", "accounts "},
		{"a hold captured twice", `update payments set amount = 95 where id = ` + id("capture of an open hold"), "hold, open", "linked", "pay_"},
		{"clearing moved aside", `update accounts set name = 'clr:other:out' where name = 'clr:bank-ab:out'`, "", "clearing", "clr:"},
		{"an amount edited here", `update payments set amount = amount + 1 where id = ` + id("paid 2"), "paid 2", "amount_differs", "bank-ab M"},
		{"a success invented", `update attempts set state = 4 where payment = ` + id("unknown"), "unknown", "lost", "bank-ab M"},
		{"an execution denied", `update attempts set state = 5 where payment = ` + id("paid 0"), "paid 0", "effect_without_payment", "bank-ab M"},
	} {
		t.Run(d.name, func(t *testing.T) {
			w.t = t
			w.exec(d.sql)
			defer w.putBack()
			r := w.prove(nil)
			require.Equal(t, prove.Faults, r.Verdict)
			want := ""
			if d.payment != "" {
				want = w.named[d.payment].ID.String()
			}
			require.True(t, slices.ContainsFunc(r.Findings, func(f prove.Finding) bool {
				return f.Check == d.check && (want == "" || f.Payment == want) && strings.HasPrefix(f.Place, d.place)
			}), "%s of %s (%s) is not among\n%s", d.check, d.payment, want, found(r))
		})
	}
	w.t = t
	r := w.prove(nil)
	require.Equal(t, prove.Clean, r.Verdict, "after undoing all:\n%s", found(r))
}

// A view that no longer tells what the rows tell.
func TestAStaleViewIsFound(t *testing.T) {
	t.Parallel()
	w := lived(t)
	_, err := w.db.Exec(t.Context(), `create table old as select * from facts.open_items;
		create or replace view facts.open_items as select * from old where kind <> 'hold'`)
	require.NoError(t, err)
	r := w.prove(nil)
	require.Equal(t, prove.Faults, r.Verdict)
	require.Contains(t, found(r), "facts_views  facts.open_items holder")
}

// TestTheOutsideConvicts plants faults outside: the ledger itself is whole.
func TestTheOutsideConvicts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		live  func(w *world) pay.Payment
		check string
		says  string
	}{
		"a doubled effect": {func(w *world) pay.Payment {
			w.call(http.MethodPatch, "/banks/ab/behaviour", `{"dedup":false}`)
			p := w.paid("twice", 91)
			w.order(p, "91")
			require.Eventually(w.t, func() bool {
				return strings.Count(w.call(http.MethodGet, "/banks/ab/books", ""), p.Attempt.Reference) == 2
			},
				patience, 5*time.Millisecond)
			return p
		}, "doubled", "executed 2 times"},
		"a success without an effect": {func(w *world) pay.Payment {
			return w.word(w.word(w.payout("invented", 92), pay.Intend), pay.Confirm)
		}, "lost", "bank-ab never moved it"},
		"one minor unit": {func(w *world) pay.Payment {
			p := w.word(w.payout("one more", 93), pay.Intend)
			w.order(p, "94")
			return w.word(p, pay.Confirm)
		}, "amount_differs", "94 CZK moved outside, 93 CZK here"},
		"money left for what failed": {func(w *world) pay.Payment {
			p := w.word(w.payout("ghost", 95), pay.Intend)
			w.order(p, "95")
			return w.word(p, pay.Decline)
		}, "effect_without_payment", "the attempt is declined here"},
		"another bank executed it": {func(w *world) pay.Payment {
			p := w.word(w.payout("astray", 96), pay.Intend)
			w.call(http.MethodPost, "/banks/cd/payments", fmt.Sprintf(`{"reference":%q,"amount":"96","asset":"CZK","account":"77"}`, p.Attempt.Reference))
			w.booked("cd", p.Attempt.Reference)
			w.word(p, pay.Decline)
			return p
		}, "effect_without_payment", "the attempt went to bank-ab"},
		"nobody ordered it": {func(w *world) pay.Payment {
			w.call(http.MethodPost, "/banks/ab/payments", `{"reference":"WHO-1","amount":"97","asset":"CZK","account":"77"}`)
			w.booked("ab", "WHO-1")
			return pay.Payment{}
		}, "effect_without_payment", "nobody ordered it"},
		"money came and is not booked": {func(w *world) pay.Payment {
			w.call(http.MethodPatch, "/banks/ab/behaviour", `{"statement_omit":1}`)
			w.payIn("from-a-stranger", 98)
			return pay.Payment{}
		}, "effect_without_payment", "98 CZK came 1 times more than it is booked"},
		"a deposit that the statement hides": {func(w *world) pay.Payment {
			w.call(http.MethodPatch, "/banks/ab/behaviour", `{"statement_omit":1}`)
			p := w.accept("hidden", pay.Payment{Kind: pay.Deposit, Amount: money.Int(99), To: w.alice, Channel: "bank-ab"})
			w.payIn(pay.Reference(p.ID, 0), 99)
			return p
		}, "effect_without_payment", "the deposit still waits for it"},
		"credited and never came": {func(w *world) pay.Payment {
			return w.word(w.accept("gift", pay.Payment{Kind: pay.Deposit, Amount: money.Int(99), To: w.alice, Channel: "bank-ab"}), pay.Confirm)
		}, "lost", "bank-ab never moved it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.accept("funds", pay.Payment{Kind: pay.Send, Amount: money.Int(100_000), From: w.house, To: w.alice})
			w.paid("honest", 500)
			p := c.live(w)
			w.exec(`insert into recon_runs values ('bank-ab', now() + interval '1 minute', 0), ('bank-cd', now() + interval '1 minute', 0)`)
			r := w.prove(nil)
			require.Equal(t, prove.Faults, r.Verdict)
			want := ""
			if p.ID != 0 {
				want = p.ID.String()
			}
			require.True(t, slices.ContainsFunc(r.Findings, func(f prove.Finding) bool {
				return f.Check == c.check && f.Payment == want && strings.Contains(f.Detail, c.says)
			}), "%s\n%s", c.says, found(r))
			require.Equal(t, int64(1), r.FaultCount, found(r))
		})
	}
}

// A rail that does not answer, or was never named, is not proved, and no payment of it
// is called lost.
func TestASilentRailIsNotProved(t *testing.T) {
	t.Parallel()
	w := lived(t)
	dead := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusServiceUnavailable) }))
	defer dead.Close()
	half := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("after") != "0" {
			rw.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, _ = rw.Write([]byte(`{"effects":[{"seq":1,"reference":"x","direction":"in","amount":"1","asset":"CZK","executed_at":"2026-01-01T00:00:00Z"}],"next":1,"has_more":true}`))
	}))
	defer half.Close()
	stuck := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer stuck.Close()
	r := w.prove(func(c *prove.Config) {
		c.Within = 8 * time.Second
		c.Rails = []prove.Books{&prove.HTTPBooks{Name: "bank-ab", URL: stuck.URL}, w.rails()[1]}
	})
	require.Equal(t, prove.Incomplete, r.Verdict, found(r))
	require.Contains(t, r.NotProved[0], "not read to their end in time")
	for name, rails := range map[string][]prove.Books{
		"dead":  {&prove.HTTPBooks{Name: "bank-ab", URL: dead.URL}, w.rails()[1]},
		"half":  {&prove.HTTPBooks{Name: "bank-ab", URL: half.URL}, w.rails()[1]},
		"none":  {w.rails()[1]},
		"a cut": {&prove.FileBooks{Name: "bank-ab", Path: w.file(`{"reference":"x","direction":"in","amount":"1","asset":"CZK","executed_at":"2026-01-01T00:00:00Z"}`)}, w.rails()[1]},
	} {
		r := w.prove(func(c *prove.Config) { c.Rails = rails })
		require.NotEqual(t, prove.Clean, r.Verdict, name)
		require.Len(t, r.NotProved, 1, name)
		require.Contains(t, r.NotProved[0], "bank-ab", name)
		require.Positive(t, r.Rails[0].Unproved, name)
		require.NotContains(t, found(r), "lost ", name)
		if name == "dead" || name == "none" {
			require.Equal(t, prove.Incomplete, r.Verdict, "%s %s", name, found(r))
		}
	}
}

// A rail's statement as a file is its books.
func TestAFileOfTheRailIsItsBooks(t *testing.T) {
	t.Parallel()
	w := lived(t)
	var books struct {
		Effects []json.RawMessage `json:"effects"`
	}
	require.NoError(t, json.Unmarshal([]byte(w.call(http.MethodGet, "/banks/ab/books?limit=5000", "")), &books))
	var lines []string
	for _, e := range books.Effects {
		lines = append(lines, string(e))
	}
	lines = append(lines, fmt.Sprintf(`{"end":%d}`, len(books.Effects)))
	rails := []prove.Books{&prove.FileBooks{Name: "bank-ab", Path: w.file(lines...)}, w.rails()[1]}
	r := w.prove(func(c *prove.Config) { c.Rails = rails })
	require.Equal(t, prove.Clean, r.Verdict, "%s%v", found(r), r.NotProved)
	short := append(slices.Clone(lines[1:len(lines)-1]), fmt.Sprintf(`{"end":%d}`, len(books.Effects)-1))
	rails[0] = &prove.FileBooks{Name: "bank-ab", Path: w.file(short...)}
	r = w.prove(func(c *prove.Config) { c.Rails = rails })
	require.Equal(t, prove.Faults, r.Verdict)
	require.Contains(t, found(r), "lost "+w.named["paid 0"].ID.String())
}

func (w *world) file(lines ...string) string {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), "books.jsonl")
	require.NoError(w.t, os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600))
	return path
}

// The window lists less; totals and the verdict stay whole.
func TestTheWindowRestrictsTheListOnly(t *testing.T) {
	t.Parallel()
	w := lived(t)
	w.exec(`update attempts set state = 5 where payment = $1`, int64(w.named["paid 0"].ID))
	whole := w.prove(nil)
	require.NotEmpty(t, whole.Findings)
	r := w.prove(func(c *prove.Config) { c.From = time.Now().Add(time.Hour) })
	require.Equal(t, whole.FaultCount, r.FaultCount)
	require.Equal(t, prove.Faults, r.Verdict)
	require.Empty(t, found(r))
	r = w.prove(func(c *prove.Config) { c.From, c.To = time.Now().Add(-time.Hour), time.Now().Add(time.Hour) })
	require.Len(t, r.Findings, len(whole.Findings))
}

// A recount changes nothing and holds nobody up: its session never has a transaction
// number, and no lock but a reader's.
func TestARecountWritesNothing(t *testing.T) {
	t.Parallel()
	w := lived(t)
	looked := 0
	w.prove(func(c *prove.Config) {
		c.Progress = func(string, int64, int64) {
			var sessions, wrote, locks int64
			require.NoError(t, w.db.QueryRow(t.Context(), `select count(distinct a.pid), count(a.backend_xid), count(*) filter (where l.mode not in ('AccessShareLock', 'ExclusiveLock'))
				from pg_stat_activity a join pg_locks l using (pid) where a.application_name = 'moneta-prove' and a.datname = current_database()`).Scan(&sessions, &wrote, &locks))
			require.Equal(t, int64(1), sessions)
			require.Zero(t, wrote)
			require.Zero(t, locks)
			looked++
		}
	})
	require.Greater(t, looked, 2)
}

// What cannot be asked proves nothing, and says what to do.
func TestWhatCannotBeAskedProvesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.db.Exec(t.Context(), `drop table breaks cascade`)
	require.NoError(t, err)
	_, err = prove.Run(t.Context(), prove.Config{DSN: w.dsn, TempDir: t.TempDir()})
	require.ErrorContains(t, err, "nothing was proved")
	require.ErrorContains(t, err, "moneta migrate")
	_, err = prove.Run(t.Context(), prove.Config{DSN: w.dsn, Within: time.Nanosecond})
	require.ErrorContains(t, err, "--within")
}
