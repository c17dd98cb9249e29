package invariant

import (
	"fmt"
	"strings"

	"github.com/moneta-pay/moneta/pay"
)

// check is a question to the raw rows that must have no answer. It is asked about
// the rows with ids in ($1, $2] of its log, and returns who breaks it, the payment
// if there is one, and what was seen. The statements share nothing with the code
// that wrote the rows but the numbers of states and kinds, which the functions
// facts.state_name and facts.kind_name spell out, and, of P7, the table of legal moves,
// which is the specification. (moneta prove has written it once more.)
type check struct {
	// name is that of the life cycle's §6.4 (P) or of the money invariants (M).
	name string
	sql  string
}

// transferChecks are asked about a page of transfers.
var transferChecks = []check{
	{"P1", `select 'transfer ' || t.id, t.payment,
	       format('%s from book %s (%s) to book %s (%s)', t.amount, t.debit, coalesce(d.asset, 'no account'), t.credit, coalesce(c.asset, 'no account')),
	       coalesce(d.asset, c.asset, ''), t.amount::text
	  from transfers t left join accounts d on d.id = t.debit & -2 left join accounts c on c.id = t.credit & -2
	 where t.id > $1 and t.id <= $2 and (d.id is null or c.id is null or (d.asset, d.tenant) is distinct from (c.asset, c.tenant))`},

	// Each row's balance is the one before it of its book, moved by the amount. The row
	// before a book's first on the page is its predecessor on the same side, or the newest
	// one before it on the other, whose place is found by halving: numbers rise with ids.
	// All searches halve together, so that the work is that of the page, times the
	// logarithm of the longest history.
	{"M2", `with recursive side as (
	    select id, payment, debit book, 'd' side, debit_seq seq, -amount moved, debit_balance balance from transfers where id > $1 and id <= $2
	    union all select id, payment, credit, 'c', credit_seq, amount, credit_balance from transfers where id > $1 and id <= $2),
	  chain as materialized (select *, lag(balance) over w before, row_number() over w n from side window w as (partition by book order by id)),
	  place(id, payment, book, side, seq, moved, balance, lo, hi) as (
	    select c.id, c.payment, c.book, c.side, c.seq, c.moved, c.balance, case when m.id < c.id then m.seq else 0 end, case when m.id < c.id then m.seq + 1 else coalesce(m.seq, 1) end
	      from chain c left join lateral (
	        (select id, debit_seq seq from transfers where c.side = 'c' and debit = c.book order by debit_seq desc limit 1)
	        union all (select id, credit_seq from transfers where c.side = 'd' and credit = c.book order by credit_seq desc limit 1)) m on true
	     where c.n = 1
	    union all
	    select p.id, p.payment, p.book, p.side, p.seq, p.moved, p.balance, case when m.id < p.id then p.mid else p.lo end, case when m.id < p.id then p.hi else p.mid end
	      from (select *, lo + (hi - lo) / 2 mid from place where hi - lo > 1) p cross join lateral (
	        (select id from transfers where p.side = 'c' and debit = p.book and debit_seq >= p.mid order by debit_seq limit 1)
	        union all (select id from transfers where p.side = 'd' and credit = p.book and credit_seq >= p.mid order by credit_seq limit 1)) m),
	  joined as (
	    select id, payment, book, balance, moved, before base from chain where n > 1
	    union all select p.id, p.payment, p.book, p.balance, p.moved, coalesce(case when coalesce(o.id, 0) > coalesce(s.id, 0) then o.balance else s.balance end, 0)
	      from place p left join lateral (
	        (select id, debit_balance balance from transfers where p.side = 'd' and debit = p.book and debit_seq = p.seq - 1 limit 1)
	        union all (select id, credit_balance from transfers where p.side = 'c' and credit = p.book and credit_seq = p.seq - 1 limit 1)) s on true
	      left join lateral (
	        (select id, debit_balance balance from transfers where p.side = 'c' and debit = p.book and debit_seq <= p.lo order by debit_seq desc limit 1)
	        union all (select id, credit_balance from transfers where p.side = 'd' and credit = p.book and credit_seq <= p.lo order by credit_seq desc limit 1)) o on true
	     where p.hi - p.lo <= 1)
	  select format('book %s at transfer %s', book, id), payment, format('the balance is %s, and was %s before %s moved', balance, base, moved),
	       coalesce((select asset from accounts a where a.id = book & -2), ''), abs(balance - base - moved)::text
	    from joined where balance <> base + moved`},

	// A book's numbers rise by one.
	{"M8", `select format('book %s at transfer %s', x.book, x.id), x.payment, format('number %s has none before it', x.seq) from (
	    select id, payment, debit book, debit_seq seq, exists (select from transfers b where b.debit = t.debit and b.debit_seq = t.debit_seq - 1 and b.id < t.id) follows
	      from transfers t where id > $1 and id <= $2
	    union all
	    select id, payment, credit, credit_seq, exists (select from transfers b where b.credit = t.credit and b.credit_seq = t.credit_seq - 1 and b.id < t.id)
	      from transfers t where id > $1 and id <= $2) x
	  where x.seq <> 1 and not x.follows`},

	// The floor is that of the booking: what the newest change before it says. An
	// account whose first change came later began with a floor that no row tells.
	{"P5", `select format('book %s at transfer %s', t.debit, t.id), t.payment, format('%s is below %s', t.debit_balance, f.floor), a.asset, (f.floor - t.debit_balance)::text
	  from transfers t join accounts a on a.id = t.debit & -2 and a.kind = 1
	 cross join lateral (select count(*) changes, count(*) filter (where at < t.booked_at) earlier, bool_or(at = t.booked_at) same
	      from account_changes where account = a.id) h
	 cross join lateral (select case when t.debit & 1 = 1 then 0 when h.changes = 0 then a.floor
	      else (select c.floor from account_changes c where c.account = a.id and c.at < t.booked_at order by c.id desc limit 1) end floor) f
	 where t.id > $1 and t.id <= $2 and t.debit_balance < f.floor and not coalesce(h.same, false) and (h.changes = 0 or h.earlier > 0 or t.debit & 1 = 1)`},

	{"P10", `select 'transfer ' || x.id, x.payment, 'no transition of its payment names it' from transfers x
	 where x.id > $1 and x.id <= $2 and not exists (select from transitions t where t.payment = x.payment
	   and x.id >= t.first_transfer and x.id < t.first_transfer + t.transfers and t.transition = x.transition)`},
}

// touched are the payments of a page of transitions, as they stand now.
const touched = `with touched as (select distinct payment id from transitions where id > $1 and id <= $2),
  p as (select p.*, l.to_state, l.settlement from touched join payments p using (id) cross join lateral (
    select to_state, settlement from transitions where payment = p.id order by seq desc limit 1) l) `

// transitionChecks are asked about a page of transitions, and the payments on it.
var transitionChecks = []check{
	{"P2", touched + `select 'payment ' || p.id, p.id, format('%s live attempts', count(*) filter (where a.state between 1 and 4))
	  from p join attempts a on a.payment = p.id group by p.id
	 having count(*) filter (where a.state = 4) <= 1 and (count(*) filter (where a.state between 1 and 4) > 1
	     or max(a.n) filter (where a.state between 1 and 4) < max(a.n) and not exists (
	       select from transitions t where t.payment = p.id and t.transition = 7 and t.from_state = 11 and t.attempt = max(a.n) filter (where a.state = 4)))`},

	{"P6", touched + `select 'payment ' || p.id, p.id, format('%s confirmed attempts', count(*))
	  from p join attempts a on a.payment = p.id and a.state = 4 group by p.id having count(*) > 1`},

	// A hold's captures take from what it holds, so they are counted with it; while
	// one is open, so is what the hold has left.
	{"P3", touched + `, roots as (select distinct case when p.kind = 5 then coalesce(p.original, p.id) else p.id end id from p),
	  members as (select id root, id from roots union select r.id, c.id from roots r join payments c on c.original = r.id and c.kind = 5),
	  final as (select m.root from members m cross join lateral (
	      select to_state from transitions where payment = m.id order by seq desc limit 1) l group by m.root having bool_and(l.to_state between 6 and 9)),
	  held as (select m.root, sum(case when x.credit & 1 = 1 then x.amount else 0 end - case when x.debit & 1 = 1 then x.amount else 0 end) total
	    from final join members m using (root) join transitions t on t.payment = m.id and t.transfers > 0
	    join transfers x on x.id >= t.first_transfer and x.id < t.first_transfer + t.transfers group by m.root)
	  select 'payment ' || root, root, format('final, and %s is held for it', total) from held where total <> 0`},

	{"P4", touched + `select 'payment ' || p.id, p.id, format('settled, and %s is left in clearing', s.total)
	  from p cross join lateral (select sum(case when c.id is not null then x.amount else 0 end - case when d.id is not null then x.amount else 0 end) total
	      from transitions t join transfers x on x.id >= t.first_transfer and x.id < t.first_transfer + t.transfers
	      left join accounts d on d.id = x.debit and d.kind = 3 and d.name like 'clr:%'
	      left join accounts c on c.id = x.credit and c.kind = 3 and c.name like 'clr:%'
	     where t.payment = p.id and t.transfers > 0) s
	 where p.settlement = 2 and s.total <> 0`},

	{"P7", `select 'transition ' || t.id, t.payment, format('step %s from state %s, but the step before it %s', t.seq, t.from_state,
	       coalesce('led to ' || b.to_state, 'is missing'))
	  from transitions t left join transitions b on b.payment = t.payment and b.seq = t.seq - 1 and b.id < t.id
	 where t.id > $1 and t.id <= $2 and (t.seq < 1 or coalesce(b.to_state, case t.seq when 1 then 0 end) is distinct from t.from_state)
	union all select 'transition ' || t.id, t.payment, format('T%s of a %s from %s to %s is no move of the table', t.transition, facts.kind_name(p.kind),
	       facts.state_name(t.from_state), facts.state_name(t.to_state))
	  from transitions t join payments p on p.id = t.payment
	 where t.id > $1 and t.id <= $2 and ((p.kind::int * 100 + t.transition) * 100 + t.from_state) * 100 + t.to_state <> all ('{` + legal() + `}')
	   and not (t.from_state between 6 and 9 and t.to_state <> t.from_state)`}, // that is P9

	{"P9", `select 'transition ' || id, payment, format('from final state %s to %s', from_state, to_state)
	  from transitions where id > $1 and id <= $2 and from_state between 6 and 9 and to_state <> from_state`},

	{"P10", `select 'transition ' || t.id, t.payment, format('it names %s transfers, and has %s', t.transfers, x.n)
	  from transitions t cross join lateral (select count(*) n from transfers x where x.id >= t.first_transfer and x.id < t.first_transfer + t.transfers
	     and x.payment = t.payment and x.transition = t.transition) x
	 where t.id > $1 and t.id <= $2 and x.n <> t.transfers
	union all (` + touched + `select 'payment ' || p.id, p.id, format('its last transition led to state %s, and it is open in %s', p.to_state, coalesce(o.state::text, 'none'))
	  from p left join open_payments o on o.payment = p.id
	 where o.state is distinct from case when p.to_state between 6 and 9 then null else p.to_state end)`},

	{"P11", touched + `select 'payment ' || p.id, p.id, 'its idempotency key leads elsewhere or nowhere' from p
	 where not exists (select from keys k where k.key = p.key and k.kind = 1 and k.subject = p.id)`},
}

// legal lists the codes of the table's moves, as SQL writes an array's elements.
func legal() string {
	var codes []string
	for _, m := range pay.Moves() {
		codes = append(codes, fmt.Sprint(m.Code()))
	}
	return strings.Join(codes, ",")
}
