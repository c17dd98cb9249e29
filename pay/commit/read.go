package commit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/ledger"
	"github.com/moneta-pay/moneta/pay/status"
)

const (
	// timelineMax bounds the transitions of one payment that are shown.
	timelineMax = 500
	linkedMax   = 500 // payments of one original that are shown
)

// Reader tells people about payments: committed rows of the primary, each answer
// from one snapshot. No decision about money may use it; the decider has its own
// loader and decides on the state of its moment.
type Reader struct{ pool *pgxpool.Pool }

// NewReader reads through pool, which the caller keeps owning.
func NewReader(pool *pgxpool.Pool) *Reader { return &Reader{pool: pool} }

// Timeline is everything durable about one payment, in order of time.
type Timeline struct {
	Payment  pay.Payment
	Moves    []Move
	Attempts []AttemptRecord
	// Callbacks counts the moves that a callback of the channel caused.
	Callbacks int
	// Breaks counts the open breaks about one of its references.
	Breaks int64
	// Linked are the payments that name this one, oldest first; at most linkedMax.
	Linked []pay.Payment
}

// Move is one transition and the postings in the same transaction.
type Move struct {
	// ID is the transition's place in the event log.
	ID         int64
	Seq        int32
	T          pay.Transition
	From, To   pay.State
	Settlement pay.Settlement
	Attempt    int16
	// Source is where the word came from, such as "callback"; empty is ours.
	Source   string
	Reason   string
	At       time.Time
	Postings []Booking
}

// Booking is one transfer of a move, with the books' names.
type Booking struct {
	Transfer      int64
	Debit, Credit ledger.BookID
	// DebitName and CreditName name system accounts; empty for holders' accounts.
	DebitName, CreditName string
	Amount                money.Amount
	DebitBalance          money.Amount
	CreditBalance         money.Amount
}

// AttemptRecord is one try on a channel.
type AttemptRecord struct {
	pay.Attempt
	Channel    string
	IntendedAt time.Time
	// AnsweredAt is the zero time while nobody answered.
	AnsweredAt time.Time
}

// Totals is the whole ledger in a few numbers; it counts rows, so it is a report.
type Totals struct {
	Ledger []AssetSum
	// Open payments now.
	Open int64
	// Final counts the payments that reached each final state.
	Final map[pay.State]int64
	// Settled counts payments that a statement of the channel has matched.
	Settled int64
	// UnknownResolved counts payments that were unknown once and are final.
	UnknownResolved int64
	// Marks are the stations' durable counters by name.
	Marks map[string]int64
}

// AssetSum is the sum of all books of an asset: zero, or the ledger is broken.
type AssetSum struct {
	Asset money.Asset
	Sum   money.Amount
	// Accounts counts accounts of the asset, system accounts too.
	Accounts int64
}

// A payment's row never changes; its last transition says where it stands, its
// last attempt who has it, its open item what comes next. The instant of the
// state is that of the last move which changed the state: settlement comes after
// the final state and must not look like it. What a row cannot have is not looked
// for: most payments of a long list are sends (1), which end when they begin and
// never see a channel, and what is final (6 to 9) is not open. The offset keeps the
// planner from reading all that is open beside each page.
var (
	readPayment = selectPayment(linkedSQL+", "+backSQL, attemptSQL, `left join lateral (select n, state, reference, send_by, channel_id, reason, channel, max(n) over () tried
      from attempts where p.kind <> 1 and payment = p.id order by (state = 4) desc, n desc limit 1) a on true`)

	// readAlone is readPayment for what nothing is linked to and what was attempted once at
	// the most: nearly all of them. The last column says that it is another one, whose
	// values here need not be true. The plan of the whole takes longer to begin than to run.
	readAlone = selectPayment(`'0', 0::bigint, coalesce(g.noted, false), null::text[]`, `coalesce(g.resends, 0), coalesce(a.n, 0), 0::bigint`,
		`left join lateral (select n, state, reference, send_by, channel_id, reason, channel
      from attempts where p.kind <> 1 and payment = p.id order by n desc limit 1) a on true
  left join lateral (select count(*) filter (where transition = 9 and attempt = a.n) resends, bool_or(transition in (17, 18)) noted
      from transitions where p.kind <> 1 and payment = p.id) g on true`,
		`p.kind in (7, 12) or coalesce(a.n, 0) > 1 or exists (select from payments c where c.original = p.id)`)
)

// selectPayment reads payments p: linked, attempts and more are columns, attempt joins a.
func selectPayment(linked, attempts, attempt string, more ...string) string {
	return `select p.id, p.tenant, p.kind, p.asset, p.amount::text, p.fee::text, coalesce(p.from_account, 0), coalesce(p.to_account, 0),
       coalesce(a.channel, p.channel, ''), coalesce(p.payee_account, ''), coalesce(p.payee_name, ''), coalesce(p.remittance, ''), coalesce(p.metadata, ''),
       p.key, p.trace_id, p.effective_at, p.created_at, coalesce(p.original, 0), p.expires_at, coalesce(p.link, ''), ` + linked + `,
       t.to_state, t.settlement, t.seq, coalesce(t.reason, ''), coalesce(o.entered_at, case when t.from_state <> t.to_state then t.at else e.at end, p.created_at),
       coalesce(a.n, 0), coalesce(a.state, 0), coalesce(a.reference, ''), a.send_by, coalesce(a.channel_id, ''), coalesce(a.reason, ''),
       ` + attempts + `,
       ` + strings.Join(append([]string{"o.next_at, o.deadline, coalesce(o.checks, 0), o.last_checked_at"}, more...), ", ") + `
  from payments p
 cross join lateral (select from_state, to_state, settlement, seq, reason, at from transitions where payment = p.id order by seq desc limit 1) t
  left join lateral (select at from transitions where t.from_state = t.to_state and payment = p.id and from_state <> to_state order by seq desc limit 1) e on true
  ` + attempt + `
  left join lateral (select entered_at, next_at, deadline, checks, last_checked_at from open_payments where t.to_state not between 6 and 9 and payment = p.id offset 0) o on true`
}

// backSQL is pay.Back of the kinds that have one, in its order.
const backSQL = `(case when p.kind in (2, 3, 5, 6, 8) then (select array[
      coalesce(sum(b.amount) filter (where b.kind = 6 and (b.state = 6 or b.late)), 0)::text,
      coalesce(sum(b.amount) filter (where b.kind = 6 and b.state not between 6 and 9), 0)::text,
      coalesce(sum(b.amount) filter (where b.kind = 9), 0)::text,
      coalesce(sum(b.amount) filter (where b.kind = 12), 0)::text]
    from (select c.kind, c.amount, (select l.to_state from transitions l where l.payment = c.id order by l.seq desc limit 1) state,
                 c.kind = 6 and exists (select from payments y where y.original = c.id and y.kind = 7) late
            from payments c where c.original = p.id) b) end)`

// Payment returns one payment of the tenant, or fault.NotFound.
func (r *Reader) Payment(ctx context.Context, tenant pay.TenantID, id pay.ID) (pay.Payment, error) {
	found, err := r.alone(ctx, ` where p.id = $1 and p.tenant = $2`, int64(id), int32(tenant))
	if err != nil {
		return pay.Payment{}, readFault("commit.Reader.Payment", err)
	}
	if len(found) == 0 {
		return pay.Payment{}, fault.New(fault.NotFound, "").WithOp("commit.Reader.Payment").WithResource(id.String())
	}
	return found[0], nil
}

// ByID returns those of the payments that exist, whoever's they are: for this
// process, never for a caller.
func (r *Reader) ByID(ctx context.Context, ids []pay.ID) ([]pay.Payment, error) {
	wanted := make([]int64, len(ids))
	for i, id := range ids {
		wanted[i] = int64(id)
	}
	found, err := r.alone(ctx, ` where p.id = any($1)`, wanted)
	if err != nil {
		return nil, readFault("commit.Reader.ByID", err)
	}
	return found, nil
}

// ByKey lists the payments that any holder of the tenant made with one raw
// idempotency key. Only the half of key that names tenant and raw key is used.
func (r *Reader) ByKey(ctx context.Context, tenant pay.TenantID, key pay.Key, before pay.ID, limit int) (List, error) {
	low, high := pgtype.UUID{Bytes: key, Valid: true}, pgtype.UUID{Bytes: key, Valid: true}
	binary.BigEndian.PutUint64(low.Bytes[8:], 0)
	binary.BigEndian.PutUint64(high.Bytes[8:], math.MaxUint64)
	limit = clampList(limit)
	found, err := r.payments(ctx, readPayment+` where p.tenant = $1 and p.id < $2
		and p.id in (select subject from keys where key between $3 and $4 and kind = 1)
		order by p.id desc limit $5`, int32(tenant), beforeOrEnd(before), low, high, limit+1)
	if err != nil {
		return List{}, readFault("commit.Reader.ByKey", err)
	}
	return cut(found, limit), nil
}

func (r *Reader) payments(ctx context.Context, sql string, args ...any) ([]pay.Payment, error) {
	rows, err := r.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, readPaymentRow)
}

// alone reads payments as if nothing were linked to any, and all of them anew when that
// is not so.
func (r *Reader) alone(ctx context.Context, where string, args ...any) ([]pay.Payment, error) {
	rows, err := r.pool.Query(ctx, readAlone+where, args...)
	if err != nil {
		return nil, err
	}
	linked := false
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (pay.Payment, error) {
		var more bool
		p, err := scanPaymentRow(row, &more)
		linked = linked || more
		return p, err
	})
	if err != nil || !linked {
		return found, err
	}
	return r.payments(ctx, readPayment+where, args...)
}

func readPaymentRow(row pgx.CollectableRow) (pay.Payment, error) { return scanPaymentRow(row) }

func scanPaymentRow(row pgx.CollectableRow, more ...any) (pay.Payment, error) {
	var p pay.Payment
	var amount, fee, taken string
	var back []string
	var key, trace pgtype.UUID
	var expiresAt, sendBy, nextAt, deadline, checkedAt *time.Time
	err := row.Scan(append([]any{
		&p.ID, &p.Tenant, &p.Kind, &p.Asset, &amount, &fee, &p.From, &p.To,
		&p.Channel, &p.PayeeAccount, &p.PayeeName, &p.Remittance, &p.Metadata,
		&key, &trace, &p.EffectiveAt, &p.CreatedAt, &p.Original, &expiresAt, &p.Link, &taken, &p.Late, &p.Noted, &back,
		&p.State, &p.Settlement, &p.Seq, &p.Reason, &p.EnteredAt,
		&p.Attempt.N, &p.Attempt.State, &p.Attempt.Reference, &sendBy, &p.Attempt.ChannelID, &p.Attempt.Reason,
		&p.Attempt.Resends, &p.Tried, &p.AbsentBefore,
		&nextAt, &deadline, &p.Checks, &checkedAt,
	}, more...)...)
	if err != nil {
		return p, err
	}
	p.Key, p.TraceID = key.Bytes, trace.Bytes
	p.EffectiveAt, p.CreatedAt, p.EnteredAt = p.EffectiveAt.UTC(), p.CreatedAt.UTC(), p.EnteredAt.UTC()
	p.Attempt.SendBy, p.NextAt, p.Deadline, p.LastCheckedAt = utc(sendBy), utc(nextAt), utc(deadline), utc(checkedAt)
	p.ExpiresAt = utc(expiresAt)
	if p.Amount, err = money.ParseMinor(amount); err != nil {
		return p, err
	}
	if p.Taken, err = money.ParseMinor(taken); err != nil {
		return p, err
	}
	if len(back) == 4 {
		for i, sum := range []*money.Amount{&p.Back.Refunded, &p.Back.Refunding, &p.Back.Returned, &p.Back.ChargedBack} {
			if *sum, err = money.ParseMinor(back[i]); err != nil {
				return p, err
			}
		}
	}
	p.Fee, err = money.ParseMinor(fee)
	return p, err
}

// Timeline tells one payment of the tenant from its first row to its last. All
// of it is from one snapshot.
func (r *Reader) Timeline(ctx context.Context, tenant pay.TenantID, id pay.ID) (Timeline, error) {
	const op = "commit.Reader.Timeline"
	var out Timeline
	tx, err := r.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return out, readFault(op, err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	rows, err := tx.Query(ctx, readPayment+` where p.id = $1 and p.tenant = $2`, int64(id), int32(tenant))
	if err != nil {
		return out, readFault(op, err)
	}
	if out.Payment, err = pgx.CollectExactlyOneRow(rows, readPaymentRow); err != nil {
		return out, readFault(op, err)
	}
	if out.Moves, err = readMoves(ctx, tx, id); err != nil {
		return out, readFault(op, err)
	}
	if out.Attempts, err = readAttempts(ctx, tx, id); err != nil {
		return out, readFault(op, err)
	}
	if out.Breaks, err = readBreaks(ctx, tx, &out); err != nil {
		return out, readFault(op, err)
	}
	if rows, err = tx.Query(ctx, readPayment+` where p.original = $1 and p.tenant = $2 order by p.id limit $3`, int64(id), int32(tenant), linkedMax); err != nil {
		return out, readFault(op, err)
	}
	if out.Linked, err = pgx.CollectRows(rows, readPaymentRow); err != nil {
		return out, readFault(op, err)
	}
	for i := range out.Moves {
		if out.Moves[i].Source == "callback" {
			out.Callbacks++
		}
	}
	return out, nil
}

// Breaks are found by class, channel and reference, as their index wants it. The
// classes are few and read from the index too, one probe each.
const breaksSQL = `with recursive classes as (
  (select class from breaks order by class limit 1)
  union all
  select (select b.class from breaks b where b.class > c.class order by b.class limit 1) from classes c where c.class is not null
) select count(*) from classes c join breaks b on b.class = c.class and b.channel = any($1) and b.reference = any($2)
   where b.closed_at is null`

// readBreaks counts the open breaks about any of the payment's references at any of the
// channels that had it: an attempt before may have gone elsewhere.
func readBreaks(ctx context.Context, tx pgx.Tx, t *Timeline) (n int64, err error) {
	p := &t.Payment
	if p.Channel == "" {
		return 0, nil
	}
	channels := []string{p.Channel}
	for i := range t.Attempts {
		if name := t.Attempts[i].Channel; !slices.Contains(channels, name) {
			channels = append(channels, name)
		}
	}
	refs := make([]string, 0, p.Tried+1)
	for attempt := range p.Tried + 1 {
		refs = append(refs, pay.Reference(p.ID, attempt))
	}
	err = tx.QueryRow(ctx, breaksSQL, channels, refs).Scan(&n)
	return n, err
}

// durationsWindow bounds how far back in the log Durations looks.
const durationsWindow = 100_000

// Durations returns how long the last payouts and deposits, and whatever else went
// through a channel, took, newest first.
func (r *Reader) Durations(ctx context.Context) ([]status.Duration, error) {
	const op = "commit.Reader.Durations"
	rows, err := r.pool.Query(ctx, `select p.kind, p.channel, p.created_at, t.at
		  from transitions t join payments p on p.id = t.payment
		 where t.id > (select coalesce(max(id), 0) - $1 from transitions)
		   and t.from_state <> t.to_state and t.to_state in ($2, $3) and p.channel is not null
		 order by t.id desc`, durationsWindow, int16(pay.Succeeded), int16(pay.Failed))
	if err != nil {
		return nil, readFault(op, err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (d status.Duration, err error) {
		var accepted time.Time
		err = row.Scan(&d.Kind, &d.Channel, &accepted, &d.At)
		d.Took = d.At.Sub(accepted)
		return d, err
	})
	if err != nil {
		return nil, readFault(op, err)
	}
	return out, nil
}

const movesSQL = `select t.id, t.seq, t.transition, t.from_state, t.to_state, t.settlement, t.attempt, coalesce(t.source, ''), coalesce(t.reason, ''), t.at,
       coalesce(x.id, 0), coalesce(x.debit, 0), coalesce(x.credit, 0), coalesce(x.amount, 0)::text,
       coalesce(x.debit_balance, 0)::text, coalesce(x.credit_balance, 0)::text, coalesce(d.name, ''), coalesce(c.name, '')
  from (select * from transitions where payment = $1 order by seq limit $2) t
  left join transfers x on x.id >= t.first_transfer and x.id < t.first_transfer + t.transfers
  left join accounts d on d.id = (x.debit & -2) and d.kind = $3
  left join accounts c on c.id = (x.credit & -2) and c.kind = $3
 order by t.seq, x.id`

func readMoves(ctx context.Context, tx pgx.Tx, id pay.ID) ([]Move, error) {
	rows, err := tx.Query(ctx, movesSQL, int64(id), timelineMax, int16(ledger.System))
	if err != nil {
		return nil, err
	}
	var moves []Move
	var m Move
	var b Booking
	var amount, debit, credit string
	_, err = pgx.ForEachRow(rows, []any{
		&m.ID, &m.Seq, &m.T, &m.From, &m.To, &m.Settlement, &m.Attempt, &m.Source, &m.Reason, &m.At,
		&b.Transfer, &b.Debit, &b.Credit, &amount, &debit, &credit, &b.DebitName, &b.CreditName,
	}, func() error {
		if len(moves) == 0 || moves[len(moves)-1].ID != m.ID {
			m.At = m.At.UTC()
			moves = append(moves, m)
		}
		if b.Transfer == 0 {
			return nil
		}
		var err, err2, err3 error
		b.Amount, err = money.ParseMinor(amount)
		b.DebitBalance, err2 = money.ParseMinor(debit)
		b.CreditBalance, err3 = money.ParseMinor(credit)
		last := &moves[len(moves)-1]
		last.Postings = append(last.Postings, b)
		return errors.Join(err, err2, err3)
	})
	return moves, err
}

func readAttempts(ctx context.Context, tx pgx.Tx, id pay.ID) ([]AttemptRecord, error) {
	rows, err := tx.Query(ctx, `select n, state, reference, send_by, coalesce(channel_id, ''), coalesce(reason, ''), channel, intended_at, answered_at
		from attempts where payment = $1 order by n limit $2`, int64(id), timelineMax)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (AttemptRecord, error) {
		var a AttemptRecord
		var answered *time.Time
		err := row.Scan(&a.N, &a.State, &a.Reference, &a.SendBy, &a.ChannelID, &a.Reason, &a.Channel, &a.IntendedAt, &answered)
		a.SendBy, a.IntendedAt, a.AnsweredAt = a.SendBy.UTC(), a.IntendedAt.UTC(), utc(answered)
		return a, err
	})
}

// The sum of every book of every account, each by its newest row: four index
// probes an account, whatever the number of postings.
const sumsSQL = `select a.asset, count(distinct a.id), coalesce(sum(
         case when coalesce(d.id, 0) > coalesce(c.id, 0) then d.debit_balance else coalesce(c.credit_balance, 0) end), 0)::text
  from accounts a
 cross join lateral (values (0), (1)) b(n)
  left join lateral (select id, debit_balance from transfers where debit = a.id + b.n order by debit_seq desc limit 1) d on true
  left join lateral (select id, credit_balance from transfers where credit = a.id + b.n order by credit_seq desc limit 1) c on true
 group by a.asset order by a.asset`

const countsSQL = `select
  (select count(*) from open_payments),
  (select count(*) from transitions where from_state = to_state and settlement = $1),
  (select count(*) from (select distinct payment from transitions where to_state = $2) u
    where exists (select from transitions f where f.payment = u.payment and f.to_state between $3 and $4))`

// Totals counts the whole installation, every tenant, from one snapshot.
func (r *Reader) Totals(ctx context.Context) (Totals, error) {
	const op = "commit.Reader.Totals"
	out := Totals{Final: map[pay.State]int64{}, Marks: map[string]int64{}}
	tx, err := r.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return out, readFault(op, err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	for _, read := range []func(context.Context, pgx.Tx, *Totals) error{readSums, readCounts, readFinal, readMarks} {
		if err := read(ctx, tx, &out); err != nil {
			return out, readFault(op, err)
		}
	}
	return out, nil
}

// Sums adds up all books by asset, every tenant's; each sum is zero.
func (r *Reader) Sums(ctx context.Context) ([]AssetSum, error) {
	const op = "commit.Reader.Sums"
	tx, err := r.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, readFault(op, err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	var out Totals
	if err := readSums(ctx, tx, &out); err != nil {
		return nil, readFault(op, err)
	}
	return out.Ledger, nil
}

func readSums(ctx context.Context, tx pgx.Tx, out *Totals) error {
	rows, err := tx.Query(ctx, sumsSQL)
	if err != nil {
		return err
	}
	out.Ledger, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (AssetSum, error) {
		var s AssetSum
		var sum string
		if err := row.Scan(&s.Asset, &s.Accounts, &sum); err != nil {
			return s, err
		}
		var err error
		s.Sum, err = money.ParseMinor(sum)
		return s, err
	})
	return err
}

func readCounts(ctx context.Context, tx pgx.Tx, out *Totals) error {
	return tx.QueryRow(ctx, countsSQL, int16(pay.SettlementMatched), int16(pay.Unknown), int16(pay.Succeeded), int16(pay.Expired)).
		Scan(&out.Open, &out.Settled, &out.UnknownResolved)
}

func readFinal(ctx context.Context, tx pgx.Tx, out *Totals) error {
	rows, err := tx.Query(ctx, `select to_state, count(*) from transitions
		where to_state between $1 and $2 and from_state <> to_state group by to_state`, int16(pay.Succeeded), int16(pay.Expired))
	if err != nil {
		return err
	}
	var state pay.State
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&state, &n}, func() error {
		out.Final[state] = n
		return nil
	})
	return err
}

func readMarks(ctx context.Context, tx pgx.Tx, out *Totals) error {
	rows, err := tx.Query(ctx, `select name, value from marks order by name limit 1000`)
	if err != nil {
		return err
	}
	var name string
	var value int64
	_, err = pgx.ForEachRow(rows, []any{&name, &value}, func() error {
		out.Marks[name] = value
		return nil
	})
	return err
}

// cut turns limit+1 rows into a page of limit.

func utc(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

// readFault gives a failed read its code; a read moves nothing.
func readFault(op string, err error) error {
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fault.New(fault.NotFound, "").WithOp(op)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return fault.New(fault.Timeout, "").WithOp(op).WithMoneyState(fault.NotMoved).WithCause(err)
	case errors.Is(err, money.ErrSyntax), errors.Is(err, money.ErrOverflow):
		return fault.New(fault.Internal, "").WithOp(op).WithMoneyState(fault.NotMoved).WithCause(fmt.Errorf("stored amount: %w", err))
	}
	return fault.New(fault.DatabaseUnavailable, "").WithOp(op).WithCause(err)
}
