package recon

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
)

// sidesMax bounds the lines and the attempts that are shown of a break.
const sidesMax = 20

// Sides is the evidence of a break: what we have and what the statement has about the
// same reference, side by side.
type Sides struct {
	// Ours is the payment; nil when nobody knows whose money it is.
	Ours *OurSide `json:"ours,omitempty"`
	// Lines are those of the statement that quote the reference or have the line's id,
	// the first told first.
	Lines []LineSide `json:"lines"`
}

// OurSide is what the ledger and the attempts say.
type OurSide struct {
	Payment    string       `json:"payment"`
	Kind       string       `json:"kind"`
	State      string       `json:"state"`
	Amount     money.Amount `json:"amount"`
	Fee        money.Amount `json:"fee"`
	Asset      money.Asset  `json:"asset"`
	Account    string       `json:"account,omitempty"`
	Settlement string       `json:"settlement"`
	CreatedAt  time.Time    `json:"created_at"`
	// DueAt is when the statement should show it; nil when nothing is awaited.
	DueAt    *time.Time    `json:"due_at,omitempty"`
	Attempts []AttemptSide `json:"attempts"`
}

// AttemptSide is one order to a channel and its answer.
type AttemptSide struct {
	N          int16        `json:"n"`
	Channel    channel.Name `json:"channel"`
	Reference  string       `json:"reference"`
	State      string       `json:"state"`
	ChannelID  string       `json:"channel_id,omitempty"`
	Reason     string       `json:"reason,omitempty"`
	IntendedAt time.Time    `json:"intended_at"`
	AnsweredAt *time.Time   `json:"answered_at,omitempty"`
}

// LineSide is one line of a statement and what became of it.
type LineSide struct {
	Line       string       `json:"line"`
	Reference  string       `json:"reference"`
	Direction  string       `json:"direction" enum:"in,out"`
	Amount     money.Amount `json:"amount"`
	Fee        money.Amount `json:"fee"`
	Asset      money.Asset  `json:"asset"`
	Remittance string       `json:"remittance,omitempty"`
	BookedAt   time.Time    `json:"booked_at"`
	Outcome    string       `json:"outcome"`
	// Statement is the file that it came in; empty when it was read from the channel.
	Statement string `json:"statement,omitempty"`
}

const (
	selectOurSide = `select p.kind, t.to_state, p.amount::text, p.fee::text, p.asset, coalesce(p.from_account, p.to_account, 0),
       (select max(settlement) from transitions where payment = p.id), p.created_at, e.due_at
  from payments p cross join lateral (select to_state from transitions where payment = p.id order by seq desc limit 1) t
  left join expectations e on e.payment = p.id where p.id = $1`

	selectAttemptSides = `select n, channel, reference, state, coalesce(channel_id, ''), coalesce(reason, ''), intended_at, answered_at
  from attempts where payment = $1 order by n limit $2`

	selectLineSides = `select l.line_id, l.reference, l.direction, l.amount::text, l.fee::text, l.asset, l.remittance, l.booked_at, l.outcome, coalesce(f.statement_id, '')
  from (select * from statement_lines where reference = $2 and channel = $1 and $2 <> ''
        union select * from statement_lines where line_id = $3 and channel = $1 and $3 <> '') l
  left join statements f on f.id = l.statement order by l.id limit $4`
)

// sides reads the evidence of a break.
func (r *Recon) sides(ctx context.Context, b *Break) (*Sides, error) {
	out := &Sides{Lines: []LineSide{}}
	rows, err := r.cfg.Pool.Query(ctx, selectLineSides, string(b.Channel), b.Reference, b.Line, sidesMax)
	if err != nil {
		return nil, err
	}
	lines, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (l LineSide, err error) {
		var direction channel.Direction
		var amount, fee string
		if err = row.Scan(&l.Line, &l.Reference, &direction, &amount, &fee, &l.Asset, &l.Remittance, &l.BookedAt, &l.Outcome, &l.Statement); err != nil {
			return l, err
		}
		l.Direction, l.BookedAt = direction.String(), l.BookedAt.UTC()
		if l.Amount, err = money.ParseMinor(amount); err == nil {
			l.Fee, err = money.ParseMinor(fee)
		}
		return l, err
	})
	if err != nil {
		return nil, err
	}
	out.Lines = append(out.Lines, lines...)
	if b.Payment == "" {
		return out, nil
	}
	out.Ours, err = r.ourSide(ctx, b.Payment)
	return out, err
}

func (r *Recon) ourSide(ctx context.Context, payment string) (*OurSide, error) {
	id, err := pay.ParseID(payment)
	if err != nil {
		return nil, err
	}
	o := OurSide{Payment: payment, Attempts: []AttemptSide{}}
	var kind pay.Kind
	var state pay.State
	var settlement pay.Settlement
	var account pay.AccountID
	var amount, fee string
	err = r.cfg.Pool.QueryRow(ctx, selectOurSide, int64(id)).Scan(&kind, &state, &amount, &fee, &o.Asset, &account, &settlement, &o.CreatedAt, &o.DueAt)
	if err != nil {
		return nil, err
	}
	o.Kind, o.State, o.Settlement, o.CreatedAt = kind.String(), state.String(), settlement.String(), o.CreatedAt.UTC()
	if account != 0 {
		o.Account = account.String()
	}
	if o.DueAt != nil {
		utc := o.DueAt.UTC()
		o.DueAt = &utc
	}
	if o.Amount, err = money.ParseMinor(amount); err == nil {
		o.Fee, err = money.ParseMinor(fee)
	}
	if err != nil {
		return nil, err
	}
	rows, err := r.cfg.Pool.Query(ctx, selectAttemptSides, int64(id), sidesMax)
	if err != nil {
		return nil, err
	}
	attempts, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (a AttemptSide, err error) {
		var state pay.AttemptState
		err = row.Scan(&a.N, &a.Channel, &a.Reference, &state, &a.ChannelID, &a.Reason, &a.IntendedAt, &a.AnsweredAt)
		a.State, a.IntendedAt = state.String(), a.IntendedAt.UTC()
		if a.AnsweredAt != nil {
			utc := a.AnsweredAt.UTC()
			a.AnsweredAt = &utc
		}
		return a, err
	})
	o.Attempts = append(o.Attempts, attempts...)
	return &o, err
}
