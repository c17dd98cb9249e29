package receipt

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
)

// movesMax bounds the moves of a payment and of what is linked to it that are read for
// its receipts. Beyond it there is an error, and never a receipt that passes over one.
const movesMax = 20_000

var errRecord = errors.New("the record cannot be told in receipts")

// history is a payment's row, and the moves that can change what is on record of it, in
// the order in which they were committed.
type history struct {
	payment pay.Payment
	moves   []move
}

// move is one transition, of the payment or of one that is linked to it.
type move struct {
	id       int64
	payment  pay.ID
	kind     pay.Kind
	amount   money.Amount
	original pay.ID
	seq      int32
	t        pay.Transition
	from, to pay.State
	at       time.Time
}

const paymentSQL = `select id, tenant, kind, asset, amount::text, fee::text, coalesce(from_account, 0), coalesce(to_account, 0), coalesce(payee_account, ''),
       coalesce(original, 0), created_at from payments where id = $1 and tenant = $2`

// The payment, what names it as its original, and the late success of a refund of it:
// that is two steps away, and makes the refund count. What changes no state is left out.
const movesSQL = `with lives as (
  select id, kind, amount, original from payments where id = $1
  union all
  select id, kind, amount, original from payments where original = $1
  union all
  select y.id, y.kind, y.amount, y.original from payments c join payments y on y.original = c.id where c.original = $1 and c.kind = $2 and y.kind = $3
)
select t.id, t.payment, l.kind, l.amount::text, coalesce(l.original, 0), t.seq, t.transition, t.from_state, t.to_state, t.at
  from lives l join transitions t on t.payment = l.id
 where t.from_state <> t.to_state order by t.id limit $4`

func (i *Issuer) history(ctx context.Context, tenant pay.TenantID, id pay.ID) (h history, err error) {
	err = pgx.BeginTxFunc(ctx, i.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		p := &h.payment
		var amount, fee string
		if err := tx.QueryRow(ctx, paymentSQL, int64(id), int32(tenant)).Scan(&p.ID, &p.Tenant, &p.Kind, &p.Asset, &amount, &fee, &p.From, &p.To, &p.PayeeAccount,
			&p.Original, &p.CreatedAt); err != nil {
			return err
		}
		var err, err2 error
		p.Amount, err = money.ParseMinor(amount)
		p.Fee, err2 = money.ParseMinor(fee)
		if err = errors.Join(err, err2); err != nil {
			return fmt.Errorf("%w: %w", errRecord, err)
		}
		rows, err := tx.Query(ctx, movesSQL, int64(id), int16(pay.Refund), int16(pay.LatePayout), movesMax+1)
		if err != nil {
			return err
		}
		h.moves, err = pgx.CollectRows(rows, readMove)
		return err
	})
	if err == nil && len(h.moves) > movesMax {
		err = fmt.Errorf("%w: %s has more than %d moves", errRecord, id, movesMax)
	}
	return h, err
}

func readMove(row pgx.CollectableRow) (m move, err error) {
	var amount string
	if err = row.Scan(&m.id, &m.payment, &m.kind, &amount, &m.original, &m.seq, &m.t, &m.from, &m.to, &m.at); err != nil {
		return m, err
	}
	if m.amount, err = money.ParseMinor(amount); err != nil {
		err = fmt.Errorf("%w: %w", errRecord, err)
	}
	return m, err
}

// documents tells the history again, move by move: one document for each that changed
// the state, or what linked payments made of it.
func (h *history) documents() ([]Document, error) {
	var out []Document
	p := h.payment
	linked := links{of: p.ID, kind: p.Kind}
	for n := range h.moves {
		m := &h.moves[n]
		if m.payment == p.ID {
			p.State = m.to
		} else {
			linked.note(m)
			now, err := linked.sums()
			if err != nil {
				return nil, fmt.Errorf("%w: %w", errRecord, err)
			}
			if now == (sums{p.Back, p.Taken, p.Late}) {
				continue
			}
			p.Back, p.Taken, p.Late = now.back, now.captured, now.late
		}
		d, err := documentOf(&p, m)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errRecord, err)
		}
		out = append(out, d)
	}
	return out, nil
}

// links is what is linked to a payment, as it stands after the moves that were noted.
type links struct {
	of    pay.ID
	kind  pay.Kind
	lives []life
}

type life struct {
	id     pay.ID
	kind   pay.Kind
	amount money.Amount
	state  pay.State
	late   bool // a refund that failed, and has executed all the same
}

func (l *links) note(m *move) {
	if m.original != l.of { // the late success of a refund
		for n := range l.lives {
			if l.lives[n].id == m.original {
				l.lives[n].late = true
			}
		}
		return
	}
	for n := range l.lives {
		if l.lives[n].id == m.payment {
			l.lives[n].state = m.to
			return
		}
	}
	l.lives = append(l.lives, life{id: m.payment, kind: m.kind, amount: m.amount, state: m.to})
}

// sums is what linked payments come to.
type sums struct {
	back     pay.Back
	captured money.Amount // of a hold
	late     pay.ID
}

// sums is pay.Payment's Back and Late, and of a hold its Taken, as commit.Reader reads
// them: a refund is back once it has succeeded, or executed late; a return and a
// chargeback from their first move on; a capture takes until it ends without having
// moved.
func (l *links) sums() (s sums, err error) {
	for n := range l.lives {
		c := &l.lives[n]
		var sum *money.Amount
		switch {
		case c.kind == pay.Refund && (c.state == pay.Succeeded || c.late):
			sum = &s.back.Refunded
		case c.kind == pay.Refund && !c.state.Final():
			sum = &s.back.Refunding
		case c.kind == pay.Return:
			sum = &s.back.Returned
		case c.kind == pay.Chargeback:
			sum = &s.back.ChargedBack
		case c.kind == pay.Capture && l.kind == pay.Hold && (c.state == pay.Succeeded || !c.state.Final()):
			sum = &s.captured
		case (c.kind == pay.LatePayout || c.kind == pay.LateDeposit) && l.mayBeLate():
			s.late = c.id
		}
		if sum == nil || sum != &s.captured && !l.comesBack() {
			continue
		}
		if *sum, err = sum.Add(c.amount); err != nil {
			return s, err
		}
	}
	return s, nil
}

// comesBack reports whether linked payments can bring money of the kind back; mayBeLate
// whether it can succeed after it failed.
func (l *links) comesBack() bool { return l.mayBeLate() || l.kind == pay.LateDeposit }

func (l *links) mayBeLate() bool {
	switch l.kind {
	case pay.Payout, pay.Deposit, pay.Capture, pay.Refund:
		return true
	case pay.Send, pay.Hold, pay.LatePayout, pay.LateDeposit, pay.Return, pay.Inbound, pay.Assignment, pay.Chargeback, pay.Compensation:
	}
	return false
}
