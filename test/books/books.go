// Package books holds the money invariants as questions to the raw rows of a
// database, for tests that have just damaged what wrote them. It shares nothing with
// the code that wrote the rows but the numbers of states and kinds, and it refuses to
// repair, to wait, and to take anybody's word but the rows'.
package books

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// invariants are questions to the raw rows that must have no answer: each
// statement returns what is broken, as text. They share nothing with the code
// that wrote the rows but the numbers of states and roles.
var invariants = []struct{ name, sql string }{
	{"every asset sums to zero (P1)", `select a.asset || ' sums to ' || sum(p.amount) from facts.postings p
	  join accounts a on a.id = p.account & ~1::bigint group by a.asset having sum(p.amount) <> 0`},
	{"a posting stays within one asset and tenant", `select t.id::text from transfers t
	  join accounts d on d.id = t.debit & ~1::bigint join accounts c on c.id = t.credit & ~1::bigint
	 where d.asset <> c.asset or d.tenant <> c.tenant`},
	{"a book has an account", `select account::text from facts.postings p
	 where not exists (select from accounts a where a.id = p.account & ~1::bigint)`},
	{"every row's balance is the sum of the book's postings up to it", `
	  with side as (
	    select id, debit book, -amount moved, debit_balance balance from transfers
	    union all select id, credit, amount, credit_balance from transfers),
	  running as (select *, sum(moved) over (partition by book order by id) total from side)
	  select format('transfer %s book %s: %s, not %s', id, book, balance, total) from running where balance <> total`},
	{"a book's sequences have no gap and no repetition", `
	  with side as (
	    select debit book, 'debit' side, debit_seq seq, row_number() over (partition by debit order by id) n from transfers
	    union all select credit, 'credit', credit_seq, row_number() over (partition by credit order by id) from transfers)
	  select format('book %s %s %s is number %s', book, side, seq, n) from side where seq <> n`},
	{"a user's available book is never below the lowest floor it may have had", `
	  select format('book %s: %s', t.debit, t.debit_balance) from transfers t join accounts a on a.id = t.debit
	   where a.kind = 1 and t.debit_balance < least(a.floor, -2000)`},
	{"a held book is never below zero (P3)", `select format('book %s: %s', debit, debit_balance) from transfers
	   where debit & 1 = 1 and debit_balance < 0`},
	{"ids have no gap", `
	  select 'transfers' from transfers having coalesce(max(id), 0) <> count(*)
	  union all select 'transitions' from transitions having coalesce(max(id), 0) <> count(*)
	  union all select 'payments' from payments having coalesce(max(id), 0) <> count(*)
	  union all select 'accounts' from accounts having coalesce(max(id), 0) <> 2 * count(*)`},
	{"the shard's last ids are the last ids", `
	  select format('%s', s) from shards s where (last_account * 2, last_payment, last_transfer, last_transition) <> (
	    select coalesce((select max(id) from accounts), 0), coalesce((select max(id) from payments), 0),
	           coalesce((select max(id) from transfers), 0), coalesce((select max(id) from transitions), 0))`},
	{"ids are in order of time", `select format('transition %s', id) from (
	    select id, at, lag(at) over (order by id) before from transitions) x where at < before - interval '1 minute'`},
	{"a payment's transitions are numbered from 1 and join end to start (P7)", `
	  with t as (select *, row_number() over w n, lag(to_state) over w before from transitions window w as (partition by payment order by id))
	  select format('payment %s transition %s', payment, id) from t where seq <> n or from_state <> coalesce(before, 0)`},
	{"a final state never changes (P9)", `select format('payment %s', payment) from transitions where from_state between 6 and 9 and to_state <> from_state`},
	{"every payment has a first transition and its key", `
	  select p.id::text from payments p where not exists (select from transitions t where t.payment = p.id and t.seq = 1 and t.from_state = 0)
	  union all select p.id::text from payments p where not exists (select from keys k where k.key = p.key and k.kind = 1 and k.subject = p.id)
	  union all select k.subject::text from keys k where k.kind = 1 and not exists (select from payments p where p.id = k.subject and p.key = k.key)
	  union all select k.subject::text from keys k where k.kind = 2 and not exists (select from accounts a where a.id = k.subject)`},
	{"postings belong to the transition that names them", `
	  with t as (select t.id, t.payment, t.transition, t.first_transfer, t.transfers from transitions t where transfers > 0),
	  claimed as (select t.payment, t.transition, x.id, x.payment of, x.transition as by from t
	    left join transfers x on x.id between t.first_transfer and t.first_transfer + t.transfers - 1)
	  select format('transfer %s', id) from claimed where id is null or payment <> of or transition <> by
	  union all select format('transfer %s is nobody''s', id) from transfers where id not in (select id from claimed where id is not null)`},
	{"open payments are those whose last transition is not final", `
	  with last as (select distinct on (payment) payment, to_state, attempt from transitions order by payment, seq desc)
	  select format('payment %s', coalesce(l.payment, o.payment)) from (select * from last where to_state not between 6 and 9) l
	    full join open_payments o using (payment)
	   where l.payment is null or o.payment is null or l.to_state <> o.state or l.attempt <> o.attempt`},
	{"every open payment has a next step after its state began (P8)", `select payment::text from open_payments
	   where next_at <= entered_at or deadline <= entered_at`},
	{"hop counts are the open payments", `
	  with o as (select hop, channel, asset, count(*) open, sum(amount) as total from open_payments group by 1, 2, 3)
	  select format('%s %s %s: %s %s, not %s %s', hop, channel, asset, h.open, h.value, coalesce(o.open, 0), coalesce(o.total, 0))
	    from hop_counts h full join o using (hop, channel, asset)
	   where coalesce(h.open, 0) <> coalesce(o.open, 0) or coalesce(h.value, 0) <> coalesce(o.total, 0) or h.open <> h.entered - h."left"`},
	{"at most one live attempt a payment, and it is the last (P2), or people named it", `
	  select format('payment %s attempt %s', payment, n) from attempts a
	   where state in (1, 2, 3, 4) and exists (select from attempts b where b.payment = a.payment and (b.n > a.n or b.n < a.n and b.state in (1, 2, 3, 4)))
	     and not (state = 4 and not exists (select from attempts b where b.payment = a.payment and b.n <> a.n and b.state in (1, 2, 3, 4))
	       and exists (select from transitions t where t.payment = a.payment and t.transition = 7 and t.from_state = 11 and t.attempt = a.n))`},
	{"attempts are numbered from 1; no two confirmed (P6)", `
	  select format('payment %s', payment) from attempts group by payment
	  having max(n) <> count(*) or count(*) filter (where state = 4) > 1`},
	{"a payout succeeds exactly with a confirmed attempt", `
	  with last as (select distinct on (payment) payment, to_state from transitions order by payment, seq desc)
	  select format('payment %s', p.id) from payments p join last l on l.payment = p.id
	   where (p.kind in (2, 6) or p.kind = 5 and p.channel is not null) and (l.to_state = 6) <> exists (select from attempts a where a.payment = p.id and a.state = 4)`},
	{"nothing is held for what is final; all is held for what waits (P3)", `
	  with last as (select distinct on (payment) payment, to_state from transitions order by payment, seq desc),
	  held as (select case when o.kind = 5 then o.original else x.payment end payment, sum(x.amount) total from facts.postings x join payments o on o.id = x.payment
	    where x.account & 1 = 1 group by 1),
	  captured as (select c.original, sum(c.amount) filter (where l.to_state not in (1, 2, 7, 8, 9)) gone
	    from payments c join last l on l.payment = c.id where c.kind = 5 group by 1)
	  select format('payment %s in state %s holds %s', p.id, l.to_state, h.total) from payments p join last l on l.payment = p.id
	    left join held h on h.payment = p.id
	    left join captured c on c.original = p.id
	   where coalesce(h.total, 0) <> case when p.kind = 4 and l.to_state = 2 then p.amount - coalesce(c.gone, 0)
	                                      when p.kind not in (2, 6) or l.to_state in (1, 6, 7, 8, 9, 10) then 0
	                                      when l.to_state in (2, 11) then p.amount + p.fee else p.fee end`},
	{"a hold is what was captured, what went back, and what is open (M6)", `
	  with last as (select distinct on (payment) payment, to_state from transitions order by payment, seq desc),
	  sums as (select p.id, p.amount, l.to_state,
	      coalesce((select sum(c.amount) from payments c where c.original = p.id and c.kind = 5), 0) captured,
	      coalesce((select sum(x.amount) from transfers x join payments c on c.id = x.payment
	        where c.original = p.id and x.debit = p.from_account + 1 and x.credit = p.to_account and x.transition = 25), 0) moved,
	      coalesce((select sum(x.amount) from transfers x where x.payment = p.id and x.debit = p.from_account + 1 and x.credit = p.from_account), 0) released
	    from payments p join last l on l.payment = p.id where p.kind = 4 and p.channel is null)
	  select format('hold %s of %s in state %s: %s captured, %s moved, %s released', id, amount, to_state, captured, moved, released) from sums
	   where captured <> moved or captured > amount or (to_state <> 2 and captured + released <> amount) or (to_state = 2 and released <> 0)
	      or (to_state = 6) <> (to_state <> 2 and captured > 0)`},
	{"a capture stands with a move of its hold, at the same instant", `
	  with took as (select t.payment, t.at, count(*) n from transitions t join payments p on p.id = t.payment and p.kind = 4 where t.transition = 25 and coalesce(t.reason, '') not like 'given back%' group by 1, 2),
	  made as (select c.original payment, c.created_at at, count(*) n from payments c where c.kind = 5 group by 1, 2)
	  select format('hold %s at %s', payment, at) from took full join made using (payment, at) where took.n is distinct from made.n
	  union all select format('capture %s of another kind', c.id) from payments c left join payments p on p.id = c.original
	   where c.kind = 5 and (c.original is null or (p.kind, p.from_account, p.to_account, p.asset, p.tenant)
	     is distinct from (4::smallint, c.from_account, c.to_account, c.asset, c.tenant))`},
	{"linked payments, and only those, name an original of their tenant and asset", `
	  select c.id::text from payments c left join payments p on p.id = c.original
	   where (c.kind between 5 and 12 and c.kind <> 10) and c.original is null or c.kind in (1, 2, 3, 4) and c.original is not null
	      or c.original is not null and (p.asset, p.tenant) is distinct from (c.asset, c.tenant)
	      or c.original is not null and c.kind not in (10, 13) and not (case c.kind when 5 then p.kind = 4 when 6 then p.kind in (3, 8, 10)
	           when 7 then p.kind in (2, 5, 6) when 8 then p.kind = 3 when 9 then p.kind in (2, 5, 6) when 11 then p.kind = 10 when 12 then p.kind in (3, 8) end)`},
	{"what rests on the outside says on what", `select id::text from payments where (kind in (7, 8, 9, 10, 12, 13)) <> (link is not null)`},
	{"no more is refunded, returned or assigned than there was", `
	  with last as (select distinct on (payment) payment, to_state from transitions order by payment, seq desc)
	  select format('payment %s', p.id) from payments p join payments c on c.original = p.id join last l on l.payment = c.id
	   where c.kind in (6, 9, 11) and l.to_state not in (7, 8, 9) group by p.id, p.amount having sum(c.amount) > p.amount`},
	{"one late outcome a payment, of what was called failed (P9)", `
	  with last as (select distinct on (payment) payment, to_state from transitions order by payment, seq desc)
	  select format('payment %s', p.id) from payments c join payments p on p.id = c.original join last l on l.payment = p.id
	   where c.kind in (7, 8) group by p.id, p.amount, l.to_state
	  having count(*) > 1 or sum(c.amount) <> p.amount or l.to_state not in (7, 8, 9)`},
	{"what holders owe is what is open of their debts", `
	  with last as (select distinct on (payment) payment, to_state from transitions order by payment, seq desc),
	  owed as (select x.payment, sum(x.amount) total from facts.postings x join accounts a on a.id = x.account and a.name = 'recv:user' and a.kind = 3 group by 1)
	  select format('payment %s in state %s: %s', p.id, l.to_state, o.total) from owed o join payments p on p.id = o.payment join last l on l.payment = p.id
	   where p.kind not in (7, 12) or o.total > 0 or (l.to_state = 6) <> (o.total = 0)`},
	{"money without an owner is what is open of what came", `
	  with last as (select distinct on (payment) payment, to_state from transitions order by payment, seq desc),
	  open as (select p.asset, p.tenant, sum(p.amount - coalesce((select sum(c.amount) from payments c join last m on m.payment = c.id
	      where c.original = p.id and c.kind in (6, 11) and m.to_state not in (7, 8, 9)), 0)) total
	    from payments p join last l on l.payment = p.id where p.kind = 10 and l.to_state = 11 group by 1, 2),
	  books as (select a.asset, a.tenant, sum(x.amount) total from facts.postings x join accounts a on a.id = x.account and a.name = 'susp:in' and a.kind = 3 group by 1, 2)
	  select format('%s: %s, not %s', asset, b.total, o.total) from open o full join books b using (asset, tenant)
	   where coalesce(o.total, 0) <> coalesce(b.total, 0)`},
	{"a hold waits until it expires", `select o.payment::text from open_payments o join payments p on p.id = o.payment
	   where p.kind = 4 and o.next_at <> p.expires_at`},
	{"clearing carries what is on the way, and nothing once settled (P4)", `
	  with last as (select distinct on (payment) payment, to_state, settlement from transitions order by payment, seq desc),
	  clr as (select x.payment, sum(x.amount) total from facts.postings x join accounts a on a.id = x.account and a.name like 'clr:%' group by 1)
	  select format('payment %s leaves %s', p.id, c.total) from payments p join last l on l.payment = p.id left join clr c on c.payment = p.id
	   where coalesce(c.total, 0) <> case
	     when l.settlement = 2 or p.kind in (1, 4) then 0
	     when (p.kind in (2, 6) or p.kind = 5 and p.channel is not null) and l.to_state in (3, 4, 5, 6) or p.kind in (7, 12) then p.amount
	     when p.kind = 3 and l.to_state = 6 or p.kind in (8, 9) then -p.amount else 0 end`},
}

// Rows is what reads them: a pool, a connection, or a transaction in which a test has
// planted damage.
type Rows interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Broken returns what is broken, as text; nothing when every invariant holds. An
// error means that the rows could not be read.
func Broken(ctx context.Context, db Rows) (found []string, err error) {
	for _, i := range invariants {
		rows, err := db.Query(ctx, i.sql)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", i.name, err)
		}
		var what string
		for rows.Next() {
			if err := rows.Scan(&what); err != nil {
				rows.Close()
				return nil, fmt.Errorf("%s: %w", i.name, err)
			}
			found = append(found, fmt.Sprintf("%s: %s", i.name, what))
		}
		if err := rows.Err(); err != nil {
			return nil, fmt.Errorf("%s: %w", i.name, err)
		}
	}
	return found, nil
}
