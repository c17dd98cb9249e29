package recon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
)

// transitionCompensation is our expense to a holder.
const transitionCompensation = "T21"

// Owed is what an open break owes to a holder by its own suggestion, and what bears it
// out. Nothing is paid by it: it is what people are asked about.
type Owed struct {
	Break   int64
	Tenant  int32
	Account string
	Payment string
	Asset   money.Asset
	// Amount is all that the payment has cost its holder; Fee of ours is in it.
	Amount, Fee money.Amount
	// Seen is the SHA-256 of the break and its evidence, in hexadecimal digits: another
	// one means that something was learnt since.
	Seen string
	// Channel and Reference are where, and of what, its channel can be asked.
	Channel   channel.Name
	Reference string

	sendBy time.Time
	// calledAt is when it was called executed, and calledBy who did: a reply, a query, a
	// callback, people.
	calledAt time.Time
	calledBy string
}

// Owes reports whether a break by itself says to whom how much is owed. Only then can a
// machine propose something; the other suggestions wait for what a person finds out.
func (b *Break) Owes() bool {
	return b.ClosedAt == nil && b.Payment != "" && b.Suggestion.Transition == transitionCompensation && len(b.Suggestion.Legs) == 1
}

// Owed reads what the break owes. fault.AlreadyFinal says that it is closed,
// fault.IllegalTransition that nothing follows from it by itself.
func (r *Recon) Owed(ctx context.Context, id int64) (Owed, error) {
	b, err := r.Break(ctx, id)
	if err != nil {
		return Owed{}, err
	}
	nothing := func(why string) error {
		return fault.New(fault.IllegalTransition, why).WithOp("recon.Owed").WithResource(fmt.Sprintf("break %d", id))
	}
	switch {
	case b.ClosedAt != nil:
		return Owed{}, alreadyClosed(&b)
	case !b.Owes() || b.Sides == nil || b.Sides.Ours == nil:
		return Owed{}, nothing("what it owes, and to whom, does not follow from it: " + b.Suggestion.En)
	}
	ours := b.Sides.Ours
	switch {
	case ours.State != pay.Succeeded.String() || ours.Kind != pay.Payout.String() || ours.Account == "":
		return Owed{}, nothing("nobody is without his money by it: the payment is a " + ours.Kind + " that is " + ours.State)
	case len(b.Sides.Lines) > 0:
		return Owed{}, nothing("the statement has a line about it by now")
	case ours.Asset != b.Asset || ours.Amount != b.Amount || b.Amount.Sign() <= 0:
		return Owed{}, nothing("its amount is not the payment's")
	}
	out := Owed{
		Break: b.ID, Account: ours.Account, Payment: b.Payment, Asset: b.Asset, Fee: ours.Fee, Seen: b.seen(),
		Channel: b.Channel, Reference: b.Reference,
	}
	if out.Amount, err = b.Amount.Add(ours.Fee); err != nil {
		return Owed{}, fault.From(err)
	}
	payment, err := pay.ParseID(b.Payment)
	if err == nil {
		err = r.cfg.Pool.QueryRow(ctx, `select p.tenant, coalesce((select max(send_by) from attempts where payment = p.id), p.created_at), t.at, coalesce(t.source, '')
  from payments p cross join lateral (select at, source from transitions where payment = p.id and to_state = $2 and from_state <> $2 order by seq limit 1) t where p.id = $1`,
			int64(payment), int16(pay.Succeeded)).Scan(&out.Tenant, &out.sendBy, &out.calledAt, &out.calledBy)
	}
	var against string
	if err == nil {
		against, err = r.against(ctx, payment, &b)
	}
	if err != nil {
		return Owed{}, readFault("recon.Owed", err)
	}
	if against != "" {
		return Owed{}, nothing(against)
	}
	return out, nil
}

// Whatever was booked about the payment by anything but its own life, what else is open
// about it, and each sign that money may have left by another attempt than the break's.
// $1 is the payment, $2 the break and $3 its reference.
const selectAgainst = `select what, id, name from (
  select 1 as rank, 'payment' as what, id, '' as name from payments where original = $1
   union all
  select 2, 'payment', l.id, '' from breaks o join payments l on l.kind = 13 and l.link = 'break ' || o.id where o.payment = $1
   union all
  select 3, 'break', id, class from breaks where payment = $1 and closed_at is null and id <> $2
   union all
  select 4, 'attempt', n, reference from attempts where payment = $1 and reference <> $3 and state = any($4)
   union all
  select 5, 'line', a.n, s.line_id from attempts a
   cross join lateral (select channel, line_id from statement_lines l where l.reference = a.reference offset 0) s where a.payment = $1 and s.channel = a.channel
   union all
  select 6, 'word', id, class from breaks where payment = $1 and id <> $2 and executed
) a order by rank, id limit 1`

// against says what stands against paying what the break owes; "" when nothing does.
func (r *Recon) against(ctx context.Context, payment pay.ID, b *Break) (string, error) {
	var live []int16
	for s := range pay.NeverSent + 1 {
		if s.Live() {
			live = append(live, int16(s))
		}
	}
	var what, name string
	var id int64
	err := r.cfg.Pool.QueryRow(ctx, selectAgainst, int64(payment), b.ID, b.Reference, live).Scan(&what, &id, &name)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	switch what {
	case "payment":
		return "the payment " + pay.ID(id).String() + " is booked about it already: a person looks whether anything is still owed", nil
	case "break":
		return fmt.Sprintf("break %d (%s) is open about the same payment: it is settled first", id, name), nil
	case "attempt":
		return fmt.Sprintf("attempt %d (%s) may have executed: a person asks for it", id, name), nil
	case "line":
		return fmt.Sprintf("the statement has the line %s about attempt %d of it", name, id), nil
	}
	return fmt.Sprintf("by break %d (%s) its channel has said that it executed one of its attempts", id, name), nil
}

// seen is the hash of what the break says and of what is known about it. Who looks after
// it, how old it is and what people noted are left out: they change nothing of it.
func (b *Break) seen() string {
	raw, err := json.Marshal(struct {
		ID                             int64
		Class, State, Payment          string
		Channel                        channel.Name
		Reference, Line, Direction     string
		Asset                          money.Asset
		Amount                         money.Amount
		Detail, Suggestion, Transition string
		OpenedAt                       time.Time
		Sides                          *Sides
	}{
		b.ID, b.Class, b.State, b.Payment, b.Channel, b.Reference, b.Line, b.Direction, b.Asset, b.Amount, b.Detail,
		b.Suggestion.Action, b.Suggestion.Transition, b.OpenedAt, b.Sides,
	})
	if err != nil {
		return "" // fits no hash
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// ErrSilent says that a channel did not answer when it was asked.
var ErrSilent = errors.New("the channel did not answer")

// Bears asks the channel, in its own words of now, whether the money that we called sent
// has left. The evidence is for people to read. fault.IllegalTransition says what stands
// against paying anything: the channel says that it did execute, or says nothing that
// proves that it did not. ErrSilent is in it when the channel gave no answer.
func (r *Recon) Bears(ctx context.Context, o *Owed) (evidence fault.Text, err error) {
	no := func(why string) (fault.Text, error) {
		return fault.Text{}, fault.New(fault.IllegalTransition, why).WithOp("recon.Bears").WithResource(fmt.Sprintf("break %d", o.Break))
	}
	for _, ch := range r.cfg.Channels {
		if ch.Name() != o.Channel {
			continue
		}
		caps := ch.Capabilities()
		if !caps.QueryByReference {
			return no("its channel cannot be asked by reference: a person asks it in writing")
		}
		ctx, cancel := context.WithTimeout(ctx, caps.ClientTimeout+time.Second)
		defer cancel()
		asked := r.cfg.Clock.Now()
		word := ch.Query(ctx, o.Reference)
		r.metrics.requests.WithLabelValues(string(ch.Name()), "query", word.Verdict.String()).Inc()
		at := asked.UTC().Format(time.RFC3339)
		called, feeEn, feeZh := o.calledAt.UTC().Format(time.RFC3339), "", ""
		if o.Fee.Sign() > 0 {
			fee := money.Format(o.Fee, o.Asset) + " " + string(o.Asset)
			feeEn, feeZh = " Our fee of "+fee+" is in the amount.", "金额含我方手续费 "+fee+"。"
		}
		said := func(en, zh string) (fault.Text, error) {
			return fault.Text{
				En: fmt.Sprintf("The statement of %s does not show %s, which was called executed at %s (%s); asked for it at %s, the channel says that it %s.%s",
					o.Channel, o.Reference, called, plain(o.calledBy), at, en, feeEn),
				Zh: fmt.Sprintf("%s 的对账单没有 %s,该笔曾于 %s 报称已执行(%s);于 %s 询问,渠道答复%s。%s", o.Channel, o.Reference, called, plain(o.calledBy), at, zh, feeZh),
			}, nil
		}
		switch reason := plain(word.Reason); {
		case word.Verdict == channel.Declined:
			return said("declined it ("+reason+")", "已拒绝("+reason+")")
		case word.Verdict == channel.NotFound && caps.NotFoundMeansNever && !asked.Before(caps.NotFoundCounts(o.sendBy)):
			return said("does not know it, which by its contract means that it never executed it and never will", "无此笔;按其约定即从未执行,今后也不会")
		case word.Verdict == channel.Confirmed:
			return no("asked at " + at + ", the channel says that it executed it: ask for the line that its statement lacks")
		case word.Verdict == channel.Unknown:
			return fault.Text{}, fault.New(fault.IllegalTransition, "asked at "+at+", the channel gave no answer: that proves nothing yet").
				WithOp("recon.Bears").WithResource(fmt.Sprintf("break %d", o.Break)).WithCause(ErrSilent)
		}
		return no("asked at " + at + ", the channel says " + word.Verdict.String() + ": that proves nothing yet")
	}
	return no("its channel is not connected: a person asks it in writing")
}

// plain keeps a channel's own word readable and short.
func plain(reason string) string {
	const most = 60
	out := make([]rune, 0, most)
	for _, c := range reason {
		if len(out) == most {
			break
		}
		if !unicode.IsPrint(c) {
			c = '?'
		}
		out = append(out, c)
	}
	return string(out)
}
