package commit

import (
	"context"
	"math"
	"time"

	"github.com/moneta-pay/moneta/pay"
)

const (
	// ListMax bounds one page of payments.
	ListMax = 100
	// listWindow bounds how many ids one page looks through, so that a filter that
	// nothing matches costs the same as one that matches; the next page goes on
	// below it. Ids are gap-free: the window is so many payments. With millions
	// stored, a page took 80 ms at 50,000.
	listWindow = 10_000
	// stateWindow is the same for lists by state, which ask the log about each.
	stateWindow = 2_000
)

// Filter narrows a list of payments; zero fields match everything.
type Filter struct {
	Kind    pay.Kind
	Channel string
	// Account is the payer or the receiver.
	Account pay.AccountID
	// States are those that the payment may be in now: only open ones, or only final
	// ones.
	States []pay.State
	// CreatedFrom is included, CreatedTo is not.
	CreatedFrom, CreatedTo time.Time
	// Before continues below this id; zero starts at the newest.
	Before pay.ID
	// Limit is at most ListMax, which zero means too.
	Limit int
}

// List is one page of payments, newest first.
type List struct {
	Payments []pay.Payment
	// Next is the Before of the next page, zero at the end. A page may be short,
	// even empty, and have a Next: only so many payments are looked through.
	Next pay.ID
}

// The candidates of a page: ids from $1 down to $2, at most $3 of them, newest
// first. Open payments have a table of their own; those that ended without money
// moving are few and have an index; the others are looked through by id.
const (
	candidatesAny  = `select id from payments where id <= $1 and id > $2 order by id desc limit $3`
	candidatesOpen = `select payment as id from open_payments where payment <= $1 and payment > $2 and tenant = $4 and state = any($8) order by payment desc limit $3`
	// The states are written out for the partial index transitions_unhappy.
	candidatesUnhappy = `select payment as id from transitions where payment <= $1 and payment > $2
		and to_state in (7, 8, 9) and from_state <> to_state order by payment desc limit $3`
)

// listSQL reads a page from the candidates. The last candidate comes in any case,
// and says where they end.
func listSQL(candidates string) string {
	return `with c as materialized (` + candidates + `), e as (select count(*) as n, coalesce(min(id), 0) as lowest from c), f as (
	select p.id from c join payments p on p.id = c.id where p.tenant = $4 and ($5 = 0 or p.kind = $5) and ($6 = '' or p.channel = $6)
		and ($7::bigint = 0 or p.from_account = $7 or p.to_account = $7)
		and (select to_state from transitions where payment = p.id order by seq desc limit 1) = any($8::smallint[])
		and p.created_at >= $9 and p.created_at < $10
	order by p.id desc limit $11)
	select e.n, e.lowest, coalesce(array_agg(f.id order by f.id desc) filter (where f.id is not null), '{}') from e left join f on true group by e.n, e.lowest`
}

var (
	listAny     = listSQL(candidatesAny)
	listOpen    = listSQL(candidatesOpen)
	listUnhappy = listSQL(candidatesUnhappy)
)

// candidates chooses where to look for the payments of a filter.
func (f *Filter) candidates() (sql string, states []int16) {
	open, unhappy := true, true
	for _, s := range f.States {
		states = append(states, int16(s))
		open = open && !s.Final()
		unhappy = unhappy && (s == pay.Failed || s == pay.Cancelled || s == pay.Expired)
	}
	switch {
	case open:
		return listOpen, states
	case unhappy:
		return listUnhappy, states
	}
	return listAny, states
}

// seekPayment finds the lowest id above all payments that were accepted before an
// instant, by halving: ids are in the order of acceptance.
const seekPayment = `with recursive s(lo, hi) as (
	select 0::bigint, coalesce((select id from payments order by id desc limit 1), 0) + 1
	union all
	select case when x.early then q.m else q.lo end, case when x.early then q.hi else q.m end
	  from (select lo, hi, lo + (hi - lo) / 2 as m from s where hi - lo > 1) q
	 cross join lateral (select created_at < $1 as early from payments where id >= q.m order by id limit 1) x
) select min(hi) from s`

// farAway ends ranges that have no end.
var farAway = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// List pages through the tenant's payments, newest first.
func (r *Reader) List(ctx context.Context, tenant pay.TenantID, f Filter) (List, error) {
	const op = "commit.Reader.List"
	limit := clampList(f.Limit)
	newest, floor := beforeOrEnd(f.Before)-1, int64(0)
	if !f.CreatedTo.IsZero() {
		var end int64
		if err := r.pool.QueryRow(ctx, seekPayment, f.CreatedTo).Scan(&end); err != nil {
			return List{}, readFault(op, err)
		}
		newest = min(newest, end-1)
	} else {
		f.CreatedTo = farAway
	}
	if !f.CreatedFrom.IsZero() {
		if err := r.pool.QueryRow(ctx, seekPayment, f.CreatedFrom).Scan(&floor); err != nil {
			return List{}, readFault(op, err)
		}
		floor--
	}
	if len(f.States) == 0 {
		return r.listRange(ctx, tenant, &f, newest, floor, limit)
	}
	sql, states := f.candidates()
	var n int
	var lowest int64
	var ids []int64
	err := r.pool.QueryRow(ctx, sql, newest, floor, stateWindow, int32(tenant), int16(f.Kind), f.Channel, int64(f.Account), states,
		f.CreatedFrom, f.CreatedTo, limit+1).Scan(&n, &lowest, &ids)
	if err != nil {
		return List{}, readFault(op, err)
	}
	var l List
	switch {
	case len(ids) > limit:
		ids = ids[:limit]
		l.Next = pay.ID(ids[limit-1])
	case n == stateWindow && lowest > floor+1:
		l.Next = pay.ID(lowest)
	}
	if len(ids) > 0 {
		if l.Payments, err = r.payments(ctx, readPayment+` where p.id = any($1) order by p.id desc`, ids); err != nil {
			return List{}, readFault(op, err)
		}
	}
	return l, nil
}

// listSince is a page by id alone: it ends as soon as it is full.
var listSince = readPayment + ` where p.id <= $1 and p.id > $2 and p.tenant = $3
		and ($4 = 0 or p.kind = $4) and ($5 = '' or p.channel = $5) and ($6::bigint = 0 or p.from_account = $6 or p.to_account = $6)
		and p.created_at >= $7 and p.created_at < $8 order by p.id desc limit $9`

func (r *Reader) listRange(ctx context.Context, tenant pay.TenantID, f *Filter, most, least int64, limit int) (List, error) {
	const op = "commit.Reader.List"
	// A restore leaves ids out: the window begins at the next payment there is.
	var newest int64
	err := r.pool.QueryRow(ctx, `select coalesce((select id from payments where id <= $1 order by id desc limit 1), 0)`, most).Scan(&newest)
	if err != nil {
		return List{}, readFault(op, err)
	}
	floor := max(newest-listWindow, least)
	found, err := r.payments(ctx, listSince, newest, floor, int32(tenant), int16(f.Kind), f.Channel, int64(f.Account), f.CreatedFrom, f.CreatedTo, limit+1)
	if err != nil {
		return List{}, readFault(op, err)
	}
	l := cut(found, limit)
	if l.Next == 0 && floor > least {
		l.Next = pay.ID(floor + 1)
	}
	return l, nil
}

func cut(found []pay.Payment, limit int) List {
	if len(found) <= limit {
		return List{Payments: found}
	}
	return List{Payments: found[:limit], Next: found[limit-1].ID}
}

func beforeOrEnd(id pay.ID) int64 {
	if id <= 0 {
		return math.MaxInt64
	}
	return int64(id)
}

func clampList(limit int) int {
	if limit <= 0 || limit > ListMax {
		return ListMax
	}
	return limit
}
