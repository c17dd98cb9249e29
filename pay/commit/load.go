package commit

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// loader reads committed rows for the decider, on the primary, on a connection
// of its own. What an uncommitted batch touches is in memory and never asked for.
type loader struct {
	conn *pgx.Conn
	// alive is told of each payment read: a hundred thousand take seconds.
	alive func()
}

const selectKeys = `select key, fingerprint, kind, coalesce(subject, 0), coalesce(refusal, ''), coalesce(detail, ''),
       coalesce(param, ''), coalesce(resource, '')
  from keys where key = any($1)`

func (l *loader) keys(ctx context.Context, keys []pgtype.UUID, m *memory) error {
	rows, err := l.conn.Query(ctx, selectKeys, keys)
	if err != nil {
		return fmt.Errorf("load keys: %w", err)
	}
	var key, fingerprint pgtype.UUID
	var e keyEntry
	var no refusal
	_, err = pgx.ForEachRow(rows, []any{&key, &fingerprint, &e.kind, &e.subject, &no.code, &no.detail, &no.param, &no.resource}, func() error {
		e.fingerprint, e.refusal = fingerprint.Bytes, nil
		if e.kind == keyRefusal {
			stored := no
			e.refusal = &stored
		}
		m.keys.put(key.Bytes, e)
		return nil
	})
	if err != nil {
		return fmt.Errorf("load keys: %w", err)
	}
	return nil
}

// A book's newest row is its balance: two index probes a book, no account row
// that changes.
const selectAccounts = `select a.id, a.tenant, a.kind, a.asset, a.name, coalesce(a.floor, 0)::text, a.floor is null, a.frozen, a.frozen_all, a.freeze_reason, a.created_at,
       b.n, coalesce(d.debit_seq, 0), coalesce(c.credit_seq, 0),
       (case when coalesce(d.id, 0) > coalesce(c.id, 0) then d.debit_balance else coalesce(c.credit_balance, 0) end)::text
  from accounts a
 cross join lateral (values (0), (1)) b(n)
  left join lateral (select id, debit_seq, debit_balance from transfers
                      where debit = a.id + b.n order by debit_seq desc limit 1) d on true
  left join lateral (select id, credit_seq, credit_balance from transfers
                      where credit = a.id + b.n order by credit_seq desc limit 1) c on true
 where `

func (l *loader) accounts(ctx context.Context, wanted []int64, m *memory) error {
	return l.books(ctx, selectAccounts+"a.id = any($1)", func(b *ledger.Books) {
		m.accounts.put(b.ID, b)
	}, wanted)
}

func (l *loader) systemAccounts(ctx context.Context, m *memory) error {
	// 3 is ledger.System, written out for the partial index accounts_system.
	return l.books(ctx, selectAccounts+"a.kind = 3", func(b *ledger.Books) {
		role, channel := systemRole(b.Name)
		m.keepSystem(systemKey{b.Tenant, b.Asset, role, channel}, b)
	})
}

func (l *loader) books(ctx context.Context, sql string, keep func(*ledger.Books), args ...any) error {
	rows, err := l.conn.Query(ctx, sql, args...)
	if err != nil {
		return fmt.Errorf("load accounts: %w", err)
	}
	found := make(map[ledger.AccountID]*ledger.Books)
	var a ledger.Account
	var n int
	var bk ledger.Book
	var floor, balance string
	_, err = pgx.ForEachRow(rows, []any{
		&a.ID, &a.Tenant, &a.Kind, &a.Asset, &a.Name, &floor, &a.Unlimited, &a.Frozen, &a.FrozenAll, &a.FreezeReason, &a.CreatedAt,
		&n, &bk.DebitSeq, &bk.CreditSeq, &balance,
	}, func() error {
		b := found[a.ID]
		if b == nil {
			b = &ledger.Books{Account: a}
			found[a.ID] = b
		}
		var err error
		if b.Floor, err = money.ParseMinor(floor); err != nil {
			return err
		}
		if bk.Balance, err = money.ParseMinor(balance); err != nil {
			return err
		}
		if n == 0 {
			b.Available = bk
		} else {
			b.Held = bk
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("load accounts: %w", err)
	}
	for _, b := range found {
		keep(b)
	}
	return nil
}

// linkedSQL is what linked objects did to a payment: how much of it they took, the
// late outcome, and whether a contradiction stands in the log. Kinds, states and
// transitions are the numbers of package pay. What failed (7), was cancelled (8)
// or expired (9) takes nothing, but for a refund (6) that has executed late (7). Of a debt (7, 12) it is what its holder has paid.
const linkedSQL = `(case when p.kind in (2, 3, 4, 5, 6, 8, 10) then coalesce((select sum(c.amount) from payments c
      where c.original = p.id and (c.kind in (9, 12) or c.kind in (5, 6, 11)
        and ((select l.to_state from transitions l where l.payment = c.id order by l.seq desc limit 1) not in (7, 8, 9)
          or c.kind = 6 and p.kind in (3, 8) and exists (select from payments y where y.original = c.id and y.kind = 7)))), 0)
    when p.kind in (7, 12) then coalesce((select sum(x.amount) from transitions m
      join transfers x on x.id between m.first_transfer and m.first_transfer + m.transfers - 1
     where m.payment = p.id and x.debit = p.from_account), 0) else 0 end)::text,
  (case when p.kind in (2, 3, 5, 6) then coalesce((select c.id from payments c where c.original = p.id and c.kind in (7, 8)), 0) else 0 end),
  p.kind <> 1 and exists (select from transitions n where n.payment = p.id and n.transition in (17, 18))`

// attemptSQL is what the log tells of attempts beside the last one's row: how often it
// was sent again (T9), and which others were taken for absent (6) or never sent (7).
const attemptSQL = `(case when a.n > 0 then (select count(*) from transitions r where r.payment = p.id and r.transition = 9 and r.attempt = a.n) else 0 end),
  coalesce(a.tried, 0), (case when a.tried > 1 then (select coalesce(bit_or(1::bigint << (b.n - 1)), 0) from attempts b
      where b.payment = p.id and b.n <> a.n and b.n <= 63 and b.state in (6, 7)) else 0 end)`

// A payment is its immutable row, its last transition, its attempt (the last one, or an
// earlier one (4 is confirmed) that was found to have executed) and, while it is open, its open item. Its state was entered by the last transition
// that moved the state: settling does not.
const selectPayments = `select p.id, p.tenant, p.kind, p.asset, p.amount::text, p.fee::text, coalesce(p.from_account, 0), coalesce(p.to_account, 0),
       coalesce(a.channel, p.channel, ''), coalesce(p.payee_account, ''), coalesce(p.payee_name, ''), coalesce(p.remittance, ''), coalesce(p.metadata, ''),
       p.key, p.trace_id, p.effective_at, p.created_at, coalesce(p.original, 0), coalesce(p.expires_at, 'epoch'), coalesce(p.link, ''), ` + linkedSQL + `,
       t.to_state, t.settlement, t.seq, coalesce(t.reason, ''),
       coalesce(a.n, 0), coalesce(a.state, 0), coalesce(a.reference, ''), coalesce(a.send_by, 'epoch'), coalesce(a.channel_id, ''), coalesce(a.reason, ''),
       ` + attemptSQL + `,
       coalesce(o.next_at, 'epoch'), coalesce(o.deadline, 'epoch'), coalesce(o.entered_at, e.at), coalesce(o.checks, 0), coalesce(o.last_checked_at, 'epoch')
  from payments p
  join lateral (select * from transitions where payment = p.id order by seq desc limit 1) t on true
  join lateral (select at from transitions where payment = p.id and from_state <> to_state order by seq desc limit 1) e on true
  left join lateral (select *, max(n) over () tried from attempts where payment = p.id order by (state = 4) desc, n desc limit 1) a on true
  left join open_payments o on o.payment = p.id
 where `

func (l *loader) payments(ctx context.Context, wanted []int64, m *memory) error {
	return l.scanPayments(ctx, m, selectPayments+"p.id = any($1)", wanted)
}

func (l *loader) openPayments(ctx context.Context, m *memory) error {
	return l.scanPayments(ctx, m, selectPayments+"p.id in (select payment from open_payments)")
}

func (l *loader) scanPayments(ctx context.Context, m *memory, sql string, args ...any) error {
	rows, err := l.conn.Query(ctx, sql, args...)
	if err != nil {
		return fmt.Errorf("load payments: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		p, err := scanPayment(rows)
		if err != nil {
			return fmt.Errorf("load payments: %w", err)
		}
		m.keep(p)
		l.alive()
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("load payments: %w", err)
	}
	return nil
}

func scanPayment(rows pgx.Rows) (*pay.Payment, error) {
	var p pay.Payment
	var amount, fee, taken string
	var key, trace pgtype.UUID
	err := rows.Scan(&p.ID, &p.Tenant, &p.Kind, &p.Asset, &amount, &fee, &p.From, &p.To,
		&p.Channel, &p.PayeeAccount, &p.PayeeName, &p.Remittance, &p.Metadata,
		&key, &trace, &p.EffectiveAt, &p.CreatedAt, &p.Original, &p.ExpiresAt, &p.Link, &taken, &p.Late, &p.Noted,
		&p.State, &p.Settlement, &p.Seq, &p.Reason,
		&p.Attempt.N, &p.Attempt.State, &p.Attempt.Reference, &p.Attempt.SendBy, &p.Attempt.ChannelID, &p.Attempt.Reason,
		&p.Attempt.Resends, &p.Tried, &p.AbsentBefore,
		&p.NextAt, &p.Deadline, &p.EnteredAt, &p.Checks, &p.LastCheckedAt)
	if err != nil {
		return nil, err
	}
	if p.Amount, err = money.ParseMinor(amount); err != nil {
		return nil, err
	}
	if p.Fee, err = money.ParseMinor(fee); err != nil {
		return nil, err
	}
	if p.Taken, err = money.ParseMinor(taken); err != nil {
		return nil, err
	}
	p.Key, p.TraceID = key.Bytes, trace.Bytes
	for _, t := range []*time.Time{&p.NextAt, &p.Deadline, &p.LastCheckedAt, &p.Attempt.SendBy, &p.ExpiresAt} {
		if t.Unix() == 0 {
			*t = time.Time{}
		}
	}
	return &p, nil
}
