package ledger

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
)

// Bounds of what people look at.
const (
	// CurveMax bounds the points of a balance curve.
	CurveMax = 240
	// accountsWindow bounds how many accounts a page with filters looks through.
	accountsWindow = 20_000
	// transfersWindow bounds how many transfers a page looks through for those of one
	// tenant.
	transfersWindow = 5_000
)

// AccountsQuery narrows a list of accounts; zero fields match everything, but for Kind.
type AccountsQuery struct {
	// Kind is User, House or System; zero takes users and houses.
	Kind Kind
	// Asset, or all when empty.
	Asset money.Asset
	// Name is a part of the name, in any case; empty takes all.
	Name string
	// After is the last account of the page before.
	After AccountID
	// Limit is at most PageMax.
	Limit int
}

const accountsSQL = `with w as (select * from accounts where id > $1 and tenant = $2 and ($3 = 0 and kind <> 3 or kind = $3) order by id limit $6)
 select ` + accountColumns + `, (select max(id) from w), (select count(*) from w)
   from (select * from w where ($4 = '' or asset = $4) and ($5 = '' or strpos(lower(name), lower($5)) > 0) order by id limit $7) a`

// FindAccounts lists accounts by id. Only so many are looked through for one page, so
// that it may be short: next is where to go on, 0 at the end.
func (r *Reader) FindAccounts(ctx context.Context, tenant int32, q AccountsQuery) (list []Account, next AccountID, err error) {
	const op = "ledger.Reader.FindAccounts"
	limit, window := clampPage(q.Limit), accountsWindow
	if q.Asset == "" && q.Name == "" {
		window = limit + 1
	}
	rows, err := r.pool.Query(ctx, accountsSQL, int64(q.After), tenant, int16(q.Kind), string(q.Asset), q.Name, window, limit+1)
	if err != nil {
		return nil, 0, readFault(op, err)
	}
	var last AccountID
	var looked int
	list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (Account, error) {
		return scanAccount(row, &last, &looked)
	})
	if err != nil {
		return nil, 0, readFault(op, err)
	}
	if len(list) > limit {
		return list[:limit], list[limit-1].ID, nil
	}
	if len(list) == 0 { // nothing told how far the window went
		if err := r.pool.QueryRow(ctx, `select coalesce(max(id), 0), count(*) from (select id from accounts where id > $1 and tenant = $2 and ($3 = 0 and kind <> 3 or kind = $3) order by id limit $4) w`,
			int64(q.After), tenant, int16(q.Kind), window).Scan(&last, &looked); err != nil {
			return nil, 0, readFault(op, err)
		}
	}
	if looked == window {
		return list, last, nil
	}
	return list, 0, nil
}

// Side is one end of a transfer.
type Side struct {
	Book BookID
	Kind Kind
	// Name of the account.
	Name string
	// Balance of the book after the transfer.
	Balance money.Amount
}

// Movement is one transfer with both its ends: Amount leaves Debit and reaches Credit.
type Movement struct {
	ID            int64
	Payment       int64
	PaymentKind   int16
	Asset         money.Asset
	Amount        money.Amount
	Debit, Credit Side
	Transition    uint8
	EffectiveAt   time.Time
	BookedAt      time.Time
}

const movementColumns = `t.id, t.payment, coalesce(p.kind, 0), d.asset, t.amount::text, t.debit, d.kind, d.name, t.debit_balance::text, t.credit, c.kind, c.name, t.credit_balance::text,
       t.transition, t.effective_at, t.booked_at`

const movementJoins = ` join accounts d on d.id = t.debit & -2 and d.tenant = $1 join accounts c on c.id = t.credit & -2 left join payments p on p.id = t.payment `

const (
	oneMovement = `select ` + movementColumns + ` from transfers t` + movementJoins + `where t.id = $2`

	manyMovements = `with t as materialized (select * from transfers where id < $2 order by id desc limit $3)
 select ` + movementColumns + ` from t` + movementJoins + `where ($4 = '' or d.asset = $4) order by t.id desc limit $5`

	// The ids rise with the time of booking: the first id that was booked at $1 or later.
	seekMovement = `with recursive s(lo, hi) as (
	select 0::bigint, coalesce((select max(id) from transfers), 0) + 1
	union all
	select case when x.early then q.m else q.lo end, case when x.early then q.hi else q.m end
	  from (select lo, hi, lo + (hi - lo) / 2 as m from s where hi - lo > 1) q
	 cross join lateral (select booked_at < $1 as early from transfers where id >= q.m order by id limit 1) x
) select min(hi) from s`
)

// Movement returns one transfer of the tenant, or fault.NotFound.
func (r *Reader) Movement(ctx context.Context, tenant int32, id int64) (Movement, error) {
	rows, err := r.pool.Query(ctx, oneMovement, tenant, id)
	if err != nil {
		return Movement{}, readFault("ledger.Reader.Movement", err)
	}
	m, err := pgx.CollectExactlyOneRow(rows, scanMovement)
	if err != nil {
		return Movement{}, readFault("ledger.Reader.Movement", err)
	}
	return m, nil
}

// MovementsQuery narrows a list of transfers; zero fields match everything.
type MovementsQuery struct {
	// Until is the first instant of booking that does not count any more.
	Until time.Time
	// Asset, or all when empty.
	Asset money.Asset
	// Cursor is the next of the page before.
	Cursor string
	// Limit is at most PageMax.
	Limit int
}

// Movements lists the tenant's transfers, the newest first, with both their ends. Only
// so many are looked through for one page, so that it may be short, even empty, and
// have a next.
func (r *Reader) Movements(ctx context.Context, tenant int32, q MovementsQuery) (list []Movement, next string, err error) {
	const op = "ledger.Reader.Movements"
	before := int64(seqEnd)
	switch {
	case q.Cursor != "":
		if before, err = strconv.ParseInt(q.Cursor, 10, 64); err != nil || before <= 0 {
			return nil, "", fault.New(fault.MalformedRequest, "the cursor is not one that this list gave out").WithParam("after")
		}
	case !q.Until.IsZero():
		if err = r.pool.QueryRow(ctx, seekMovement, q.Until).Scan(&before); err != nil {
			return nil, "", readFault(op, err)
		}
	}
	limit := clampPage(q.Limit)
	rows, err := r.pool.Query(ctx, manyMovements, tenant, before, transfersWindow, string(q.Asset), limit+1)
	if err != nil {
		return nil, "", readFault(op, err)
	}
	if list, err = pgx.CollectRows(rows, scanMovement); err != nil {
		return nil, "", readFault(op, err)
	}
	if len(list) > limit {
		return list[:limit], strconv.FormatInt(list[limit-1].ID, 10), nil
	}
	var looked int
	var lowest int64
	if err = r.pool.QueryRow(ctx, `select count(*), coalesce(min(id), 0) from (select id from transfers where id < $1 order by id desc limit $2) w`, before, transfersWindow).
		Scan(&looked, &lowest); err != nil {
		return nil, "", readFault(op, err)
	}
	if looked == transfersWindow && lowest > 1 {
		next = strconv.FormatInt(lowest, 10)
	}
	return list, next, nil
}

func scanMovement(row pgx.CollectableRow) (m Movement, err error) {
	var amount, debit, credit string
	var transition int16
	if err = row.Scan(&m.ID, &m.Payment, &m.PaymentKind, &m.Asset, &amount, &m.Debit.Book, &m.Debit.Kind, &m.Debit.Name, &debit,
		&m.Credit.Book, &m.Credit.Kind, &m.Credit.Name, &credit, &transition, &m.EffectiveAt, &m.BookedAt); err != nil {
		return m, err
	}
	m.Transition, m.EffectiveAt, m.BookedAt = uint8(transition), m.EffectiveAt.UTC(), m.BookedAt.UTC()
	return m, parseAmounts(amountText{amount, &m.Amount}, amountText{debit, &m.Debit.Balance}, amountText{credit, &m.Credit.Balance})
}

// Point is what an account's books had at an instant, by booking.
type Point struct {
	At              time.Time
	Available, Held money.Amount
}

// balanceAt is the balance of a book at the instant g.at: its sequences are gap-free and
// in the order of booking, so that the newest posting until then is found by halving.
func balanceAt(book string) string {
	newest := func(side string) string {
		return fmt.Sprintf(`(select id, %[2]s_balance as balance from transfers where %[2]s = %[1]s and %[2]s_seq < (
	with recursive s(lo, hi) as (
	select 0::bigint, coalesce((select %[2]s_seq from transfers where %[2]s = %[1]s order by %[2]s_seq desc limit 1), 0) + 1
	union all
	select case when x.early then q.m else q.lo end, case when x.early then q.hi else q.m end
	  from (select lo, hi, lo + (hi - lo) / 2 as m from s where hi - lo > 1) q
	 cross join lateral (select booked_at <= g.at as early from transfers where %[2]s = %[1]s and %[2]s_seq >= q.m order by %[2]s_seq limit 1) x
	) select min(hi) from s) order by %[2]s_seq desc limit 1)`, book, side)
	}
	return `coalesce((select balance from (` + newest("debit") + ` union all ` + newest("credit") + `) n order by id desc limit 1), 0)::text`
}

var (
	curveSQL = `select g.at, ` + balanceAt("$1::bigint") + `, ` + balanceAt("($1::bigint + 1)") + `
  from unnest($2::timestamptz[]) with ordinality as g(at, n) order by g.n`

	standSQL = `select g.id, ` + balanceAt("g.id") + `, ` + balanceAt("(g.id + 1)") + `
  from (select id, $2::timestamptz as at from unnest($1::bigint[]) as id) g`
)

// Curve tells both balances at points instants from from to to, both included.
func (r *Reader) Curve(ctx context.Context, tenant int32, id AccountID, from, to time.Time, points int) ([]Point, error) {
	const op = "ledger.Reader.Curve"
	if _, err := r.Account(ctx, tenant, id); err != nil {
		return nil, err
	}
	points = min(max(points, 2), CurveMax)
	at := make([]time.Time, points)
	for i := range at {
		at[i] = from.Add(to.Sub(from) / time.Duration(points-1) * time.Duration(i)) //nolint:durationcheck // i steps of one length
	}
	at[points-1] = to
	rows, err := r.pool.Query(ctx, curveSQL, int64(id), at)
	if err != nil {
		return nil, readFault(op, err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p Point, err error) {
		var available, held string
		if err = row.Scan(&p.At, &available, &held); err != nil {
			return p, err
		}
		p.At = p.At.UTC()
		return p, parseAmounts(amountText{available, &p.Available}, amountText{held, &p.Held})
	})
	if err != nil {
		return nil, readFault(op, err)
	}
	return out, nil
}

// Stand is what accounts have at an instant, by booking; zero is now. It does not ask
// whose they are: the caller has them from a list of the tenant's.
func (r *Reader) Stand(ctx context.Context, ids []AccountID, at time.Time) (map[AccountID]Point, error) {
	const op = "ledger.Reader.Stand"
	if at.IsZero() {
		at = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	numbers := make([]int64, len(ids))
	for i, id := range ids {
		numbers[i] = int64(id)
	}
	rows, err := r.pool.Query(ctx, standSQL, numbers, at)
	if err != nil {
		return nil, readFault(op, err)
	}
	out := make(map[AccountID]Point, len(ids))
	var id AccountID
	var available, held string
	_, err = pgx.ForEachRow(rows, []any{&id, &available, &held}, func() error {
		p := Point{At: at}
		err := parseAmounts(amountText{available, &p.Available}, amountText{held, &p.Held})
		out[id] = p
		return err
	})
	if err != nil {
		return nil, readFault(op, err)
	}
	return out, nil
}
