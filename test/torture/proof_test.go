package torture

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// verdict counts what went wrong, by kind. Everything but Acknowledged, Payouts
// and Deposits must be zero.
type verdict struct {
	Acknowledged, Payouts, Deposits int

	Unanswered    int // no answer, or a refusal that nothing explains
	Lost          int // acknowledged, and not readable under its key with the same id
	DoubledInside int // one order, several payments that moved money
	LostOutside   int // succeeded here, not in the bank's books
	Doubled       int // more effects in the banks' books than one an order
	Stray         int // effects of orders that nobody acknowledged as theirs
	WrongAmount   int // effects with another amount than ordered
	NotSucceeded  int // acknowledged, and final in another way
	WrongBalances int // accounts whose balance is not the sum of what was acknowledged
	Held          int // accounts with money still held
	LedgerSum     int // assets whose books do not sum to zero
	Gaps          int // ids missing in the logs
	BrokenBooks   int // books whose newest balance is not the sum of their postings
	Clearing      int // clearing accounts that are not zero
	Breaks        int // open breaks
	Failed        int // payments that ended as failed, cancelled or expired
	Open          int // payments that are not final
	Quarantined   int // facts put aside
}

// faults lists what is not zero.
func (v *verdict) faults() map[string]int {
	all := map[string]int{
		"unanswered": v.Unanswered, "lost": v.Lost, "doubled inside": v.DoubledInside, "lost outside": v.LostOutside, "doubled": v.Doubled,
		"stray": v.Stray, "wrong amount": v.WrongAmount, "not succeeded": v.NotSucceeded, "wrong balances": v.WrongBalances, "held": v.Held,
		"ledger sum": v.LedgerSum, "gaps": v.Gaps, "broken books": v.BrokenBooks, "clearing": v.Clearing, "breaks": v.Breaks,
		"failed": v.Failed, "open": v.Open, "quarantined": v.Quarantined,
	}
	for name, n := range all {
		if n == 0 {
			delete(all, name)
		}
	}
	return all
}

// prove waits until nothing is open, reconciles, and counts. It fails the test
// on any fault.
func prove(t *testing.T, w *world, l *load, receipts []receipt) *verdict {
	t.Helper()
	healed := time.Now()
	w.settle(choose(90*time.Second, 5*time.Minute))
	figure(t, "nothing open and no breaks after", "%.1f s", time.Since(healed).Seconds())
	v := count(t, w, l, receipts)
	for i := range receipts {
		if receipts[i].err != nil {
			t.Logf("without a good end: %s: %v", receipts[i].key, receipts[i].err)
		}
	}
	require.Empty(t, v.faults(), "%+v", v)
	figure(t, "acknowledged (payouts, deposits)", "%d (%d, %d): 0 lost, 0 doubled", v.Acknowledged, v.Payouts, v.Deposits)
	return v
}

// proveStormy is prove for payments that the plane may have given up: it sends a
// payout three times at the most, each time after proof that the last one did not
// leave. Whoever was told that it failed must be right: what the banks executed all
// the same is a stray, and one in so many may be given up.
func proveStormy(t *testing.T, w *world, l *load, receipts []receipt, name string, oneIn int) {
	t.Helper()
	healed := time.Now()
	w.settle(choose(90*time.Second, 5*time.Minute))
	figure(t, name+": nothing open and no breaks after", "%.1f s", time.Since(healed).Seconds())
	rest, failed := w.apart(receipts)
	v := count(t, w, l, rest)
	v.Failed -= failed
	for i := range receipts {
		if receipts[i].err != nil {
			t.Logf("without a good end: %s: %v", receipts[i].key, receipts[i].err)
		}
	}
	require.Empty(t, v.faults(), "%+v", v)
	require.LessOrEqual(t, failed, len(receipts)/oneIn, "too many payments were given up")
	var again int
	w.query(&again, `select count(*) from attempts where n > 1`)
	figure(t, name+": acknowledged (payouts, deposits)", "%d (%d, %d): 0 lost, 0 doubled; %d attempts after proof that the one before was not executed, %d given up, rightly",
		v.Acknowledged, v.Payouts, v.Deposits, again, failed)
}

// settle waits until no payment is open and reconciles until no break is.
func (w *world) settle(within time.Duration) {
	w.t.Helper()
	w.heal()
	eventually(w.t, within, "no payment is open", func() (bool, string) {
		var open int
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := w.db.QueryRow(ctx, `select count(*) from open_payments`).Scan(&open); err != nil {
			return false, err.Error()
		}
		return open == 0, fmt.Sprintf("%d open", open)
	})
	eventually(w.t, time.Minute, "no break is open", func() (bool, string) {
		if err := w.reconcile(); err != nil {
			return false, err.Error()
		}
		var breaks, unmatched int
		w.query(&breaks, `select count(*) from breaks where closed_at is null`)
		w.query(&unmatched, `select count(*) from accounts a join lateral (`+newest+`) b on true where a.kind = 3 and a.name like 'clr:%' and b.balance <> 0`)
		return breaks == 0 && unmatched == 0, fmt.Sprintf("%d breaks, %d clearing accounts not zero", breaks, unmatched)
	})
}

// newest is the balance of each book of account a: that of its newest posting.
const newest = `select n.book, coalesce((select balance from (
    (select id, debit_balance balance from transfers where debit = n.book order by debit_seq desc limit 1)
    union all (select id, credit_balance from transfers where credit = n.book order by credit_seq desc limit 1)) x
  order by id desc limit 1), 0) balance from (values (a.id), (a.id + 1)) n(book)`

// reconcile runs on the node that leads.
func (w *world) reconcile() error {
	leader := w.leader()
	if leader == "" {
		return fmt.Errorf("nobody leads")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	status, answer, err := call(ctx, http.DefaultClient, http.MethodPost, leader+"/v1/recon/run", w.keys.Admin, "", "")
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("recon: %d %s", status, answer)
	}
	return nil
}

// count compares the clients' receipts, the ledger and the banks' books.
func count(t *testing.T, w *world, l *load, receipts []receipt) *verdict {
	t.Helper()
	v := &verdict{}
	for i := range receipts {
		if receipts[i].err != nil {
			v.Unanswered++
		}
	}
	w.countReadable(v, receipts)
	w.countInside(v)
	w.countOutside(v, receipts)
	w.countBalances(v, l, receipts)
	w.countLedger(v)
	return v
}

// countReadable asks for every acknowledged payment by its key.
func (w *world) countReadable(v *verdict, receipts []receipt) {
	w.t.Helper()
	const asking = 16
	pool := newHTTP(asking)
	outcome := make([]string, len(receipts))
	var g errgroup.Group
	g.SetLimit(asking)
	for i := range receipts {
		if receipts[i].id == "" {
			continue
		}
		v.Acknowledged++
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
			defer cancel()
			c := &client{http: pool, nodes: []string{w.api}, key: w.keys.Tenant, attempt: attemptWithin}
			var list struct{ Data []payment }
			err := c.get(ctx, "/v1/payments?idempotency_key="+receipts[i].key, &list)
			if err == nil && len(list.Data) == 1 && list.Data[0].ID == receipts[i].id && list.Data[0].Amount == receipts[i].Amount {
				outcome[i] = list.Data[0].Status
			}
			return err
		})
	}
	require.NoError(w.t, g.Wait())
	for i := range receipts {
		switch {
		case receipts[i].id == "":
		case outcome[i] == "":
			v.Lost++
		case outcome[i] != "succeeded":
			v.NotSucceeded++
		}
	}
}

// countInside finds orders that became several payments; captures have the text of
// their hold.
func (w *world) countInside(v *verdict) {
	w.t.Helper()
	w.query(&v.DoubledInside, `select coalesce(sum(n - 1), 0) from (select count(*) n from payments where kind <> 5 group by remittance having count(*) > 1) d`)
	w.query(&v.Failed, `select count(*) from transitions where from_state <> to_state and to_state in (7, 8, 9)`)
	w.query(&v.Open, `select count(*) from open_payments`)
	w.query(&v.Quarantined, `select count(*) from quarantine`)
	w.query(&v.Breaks, `select count(*) from breaks where closed_at is null`)
}

// effect is one line of a bank's own books.
type effect struct {
	Seq        int64     `json:"seq"`
	Direction  string    `json:"direction"`
	Reference  string    `json:"reference"`
	Remittance string    `json:"remittance"`
	Amount     string    `json:"amount"`
	ExecutedAt time.Time `json:"executed_at"`
}

// books reads everything that the banks executed.
func (w *world) books() []effect {
	w.t.Helper()
	var all []effect
	for _, bank := range bankCodes {
		for after := int64(0); ; {
			status, answer := w.bankCall(http.MethodGet, fmt.Sprintf("/banks/%s/books?after=%d&limit=500", bank, after), "")
			require.Equal(w.t, http.StatusOK, status, answer)
			var page struct {
				Effects []effect `json:"effects"`
				Next    int64    `json:"next"`
				HasMore bool     `json:"has_more"`
			}
			require.NoError(w.t, json.Unmarshal([]byte(answer), &page))
			all = append(all, page.Effects...)
			if after = page.Next; !page.HasMore {
				break
			}
		}
	}
	return all
}

// countOutside holds the receipts against the banks' books: each acknowledged
// payout and deposit once, with its amount, and nothing else.
func (w *world) countOutside(v *verdict, receipts []receipt) {
	w.t.Helper()
	type side struct{ direction, remittance string }
	wanted := make(map[side]string)
	for i := range receipts {
		r := &receipts[i]
		switch {
		case r.id == "":
		case r.Kind == "payout":
			v.Payouts++
			wanted[side{"out", r.Remittance}] = r.Amount
		case r.Kind == "deposit":
			v.Deposits++
			wanted[side{"in", r.Remittance}] = r.Amount
		}
	}
	seen := make(map[side]int)
	for _, e := range w.books() {
		s := side{e.Direction, e.Remittance}
		amount, ordered := wanted[s]
		if seen[s]++; seen[s] > 1 {
			v.Doubled++
		}
		if !ordered {
			v.Stray++
		} else if amount != e.Amount {
			v.WrongAmount++
		}
	}
	for s := range wanted {
		if seen[s] == 0 {
			v.LostOutside++
		}
	}
}

// countBalances adds up what was acknowledged and compares.
func (w *world) countBalances(v *verdict, l *load, receipts []receipt) {
	w.t.Helper()
	wanted := make(map[string]int64)
	for i := range receipts {
		r := &receipts[i]
		if r.id == "" {
			continue
		}
		amount, err := strconv.ParseInt(r.Amount, 10, 64)
		require.NoError(w.t, err)
		wanted[r.From] -= amount
		wanted[r.To] += amount
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := &client{http: newHTTP(2), nodes: []string{w.api}, key: w.keys.Tenant, attempt: attemptWithin}
	for _, id := range l.accounts {
		var b struct {
			Available, Held string
		}
		require.NoError(w.t, c.get(ctx, "/v1/accounts/"+id+"/balances", &b))
		if b.Available != strconv.FormatInt(wanted[id], 10) {
			v.WrongBalances++
		}
		if b.Held != "0" {
			v.Held++
		}
	}
}

// leftOut are ids that every failover leaves to what may be lost, 2^32 of each kind but
// transfers, which nobody outside is told.
var leftOut = map[string]string{
	"transfers": "0", "transitions": "(select (count(*) - 1) << 32 from timelines)", "payments": "(select (count(*) - 1) << 32 from timelines)",
}

// countLedger recounts the raw rows.
func (w *world) countLedger(v *verdict) {
	w.t.Helper()
	w.query(&v.LedgerSum, `select count(*) from (select a.asset from accounts a cross join lateral (`+newest+`) b group by a.asset having sum(b.balance) <> 0) s`)
	w.query(&v.Clearing, `select count(*) from accounts a cross join lateral (`+newest+`) b where a.kind = 3 and a.name like 'clr:%' and b.balance <> 0`)
	w.query(&v.BrokenBooks, `with p as (select debit book, -amount amount, id, debit_balance balance from transfers
      union all select credit, amount, id, credit_balance from transfers)
    select count(*) from (select sum(amount) total, (array_agg(balance order by id desc))[1] last from p group by book) s where total <> last`)
	for table, column := range map[string]string{"transfers": "last_transfer", "transitions": "last_transition", "payments": "last_payment"} {
		var gaps int
		w.query(&gaps, `select s.`+column+` - (select count(*) from `+table+` where id between 1 and s.`+column+`)
      + (select count(*) from `+table+` where id > s.`+column+` or id < 1) - `+leftOut[table]+` from shards s where id = 0`)
		v.Gaps += gaps
	}
	// A payment's own transitions and a book's own postings have no gaps either.
	var inside int
	w.query(&inside, `select (select count(*) from (select 1 from transitions group by payment having max(seq) - min(seq) + 1 <> count(*)) a)
    + (select count(*) from (select 1 from transfers group by debit having max(debit_seq) <> count(*)) b)
    + (select count(*) from (select 1 from transfers group by credit having max(credit_seq) <> count(*)) c)`)
	v.Gaps += inside
}
