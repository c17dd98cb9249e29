package desk

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
)

// Bounds of the evidence that is looked through.
const (
	postingsAround = 500    // postings of the account to either side of the payment's own
	lettersBack    = 20_000 // newest callbacks of all channels
	evidenceMax    = 10     // items of one sort
	// twinWithin is how far apart two equal payments are for one to look like a
	// repetition of the other; a standing order is none.
	twinWithin = 24 * time.Hour
)

// Journey answers support's first questions about a payment, each with evidence.
type Journey struct {
	Object  string    `json:"object" enum:"journey"`
	Payment string    `json:"payment"`
	AsOf    time.Time `json:"as_of" doc:"The instant that this describes"`
	Answers []Answer  `json:"answers" doc:"submitted, received, dispatched, answered, duplicated; in this order"`
}

// Directions of a statement's lines, as their rows have them.
const (
	channelOut int16 = 1
	channelIn  int16 = 2
)

// The answers to a question.
const (
	yes   = "yes"
	no    = "no"
	maybe = "unknown"
	moot  = "not_needed"
)

// Answer answers one question.
type Answer struct {
	Question string     `json:"question" enum:"submitted,received,dispatched,answered,duplicated"`
	Answer   string     `json:"answer" enum:"yes,no,unknown,not_needed" doc:"not_needed: the money never leaves this ledger"`
	Text     Text       `json:"text" doc:"The same in words"`
	Evidence []Evidence `json:"evidence" doc:"What the answer rests on; may be empty for a no"`
}

// Text is a sentence in both languages.
type Text struct {
	EN string `json:"en"`
	ZH string `json:"zh"`
}

// Evidence is one durable row.
type Evidence struct {
	At     *time.Time `json:"at,omitempty"`
	What   string     `json:"what" doc:"key, transition, attempt, callback, word, statement_line, payment, looked_at; more may come"`
	Detail string     `json:"detail"`
}

// traced is what the questions are asked of.
type traced struct {
	id         pay.ID
	kind       pay.Kind
	channel    string
	holder     pay.AccountID
	incoming   bool // the holder receives it
	createdAt  time.Time
	trace, key []byte
	keyAt      *time.Time
	attempts   []attempt
	first      []Evidence // the log's first row
	words      []Evidence // what the channel said, as it was applied
	letters    []Evidence // callbacks as they came
	lines      []Evidence // of its statement
	moved      int        // lines of different names that move it its own way
	credits    int        // how often it was credited here
	refunds    []Evidence // what was sent back of it, if that is more than came
	twins      []twin
	compared   int64
}

type attempt struct {
	n         int16
	state     pay.AttemptState
	channel   string
	reference string
	intended  time.Time
	sendBy    time.Time
	answered  *time.Time
}

// twin is another payment of the same holder with the same content.
type twin struct {
	id    pay.ID
	at    time.Time
	same  bool // the whole payload, not only amount and payee
	state pay.State
}

// Journey reads all of it from one snapshot; fault.NotFound if the tenant has no
// such payment.
func (d *Desk) Journey(ctx context.Context, tenant pay.TenantID, id pay.ID) (Journey, error) {
	const op = "desk.Journey"
	t := traced{id: id}
	now := d.now()
	err := pgx.BeginTxFunc(ctx, d.cfg.Pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if err := t.readPayment(ctx, tx, tenant); err != nil {
			return err
		}
		for _, read := range []func(context.Context, pgx.Tx) error{t.readLog, t.readAttempts, t.readLetters, t.readLines, t.readCredits, t.readRefunds, t.readTwins} {
			if err := read(ctx, tx); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return Journey{}, fault.New(fault.NotFound, "").WithOp(op).WithResource(id.String())
	}
	if err != nil {
		return Journey{}, storeFault(op, err)
	}
	return Journey{
		Object: "journey", Payment: id.String(), AsOf: now,
		Answers: []Answer{t.submitted(), t.received(), t.dispatched(), t.answered(), t.duplicated()},
	}, nil
}

func (t *traced) readPayment(ctx context.Context, tx pgx.Tx, tenant pay.TenantID) error {
	var p pay.Payment
	err := tx.QueryRow(ctx, `select p.kind, coalesce(p.channel, ''), coalesce(p.from_account, 0), coalesce(p.to_account, 0), p.created_at,
		uuid_send(p.trace_id), uuid_send(p.key), k.at
		from payments p left join keys k on k.key = p.key where p.id = $1 and p.tenant = $2`,
		int64(t.id), int32(tenant)).Scan(&p.Kind, &t.channel, &p.From, &p.To, &t.createdAt, &t.trace, &t.key, &t.keyAt)
	t.kind, t.holder = p.Kind, p.Holder()
	t.incoming = t.holder == p.To
	return err
}

// leaves reports whether it is sent through a channel.
func (t *traced) leaves() bool { return t.kind.Leaves() && t.channel != "" }

func (t *traced) readLog(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `select id, transition, to_state, coalesce(source, ''), at from transitions
		where payment = $1 and (seq = 1 or source is not null) order by seq limit $2`, int64(t.id), 5*evidenceMax)
	if err != nil {
		return err
	}
	var id int64
	var move pay.Transition
	var to pay.State
	var source string
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &move, &to, &source, &at}, func() error {
		e := Evidence{moment(at), "transition", fmt.Sprintf("row %d of the log: T%d, %s", id, move, to)}
		switch {
		case len(t.first) == 0:
			t.first = append(t.first, e)
		case source == "callback" || source == "query" || source == "reply" || source == "statement":
			t.words = append(t.words, Evidence{e.At, "word", source + ": " + to.String()})
		}
		return nil
	})
	return err
}

func (t *traced) readAttempts(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `select n, state, channel, reference, intended_at, send_by, answered_at from attempts where payment = $1 order by n desc limit $2`,
		int64(t.id), evidenceMax)
	if err != nil {
		return err
	}
	t.attempts, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (a attempt, err error) {
		err = row.Scan(&a.n, &a.state, &a.channel, &a.reference, &a.intended, &a.sendBy, &a.answered)
		return a, err
	})
	return err
}

// references are ours at the channel; a deposit has the one that its payer quotes.
func (t *traced) references() (refs []string) {
	if t.kind == pay.Deposit {
		refs = append(refs, pay.Reference(t.id, 0))
	}
	for _, a := range t.attempts {
		refs = append(refs, a.reference)
	}
	return refs
}

// channels are those that any attempt went to.
func (t *traced) channels() []string {
	names := []string{t.channel}
	for _, a := range t.attempts {
		if !slices.Contains(names, a.channel) {
			names = append(names, a.channel)
		}
	}
	return names
}

// readLetters looks for the references in the newest callbacks as they came: a
// letter that nobody could read is in no other place.
func (t *traced) readLetters(ctx context.Context, tx pgx.Tx) error {
	refs := t.references()
	if len(refs) == 0 {
		return nil
	}
	bodies := make([][]byte, len(refs))
	for i, r := range refs {
		bodies[i] = []byte(r)
	}
	rows, err := tx.Query(ctx, `select id, received_at, coalesce(verdict, 'not judged yet') from (select * from inbox order by id desc limit $1) i
		where channel = any($2) and exists (select from unnest($3::bytea[]) r where position(r in body) > 0) order by id limit $4`, lettersBack, t.channels(), bodies, evidenceMax)
	if err != nil {
		return err
	}
	var id int64
	var at time.Time
	var verdict string
	_, err = pgx.ForEachRow(rows, []any{&id, &at, &verdict}, func() error {
		t.letters = append(t.letters, Evidence{moment(at), "callback", fmt.Sprintf("letter %d: %s", id, verdict)})
		return nil
	})
	return err
}

func (t *traced) readLines(ctx context.Context, tx pgx.Tx) error {
	refs := t.references()
	if len(refs) == 0 {
		return nil
	}
	own := channelOut
	if t.incoming {
		own = channelIn
	}
	rows, err := tx.Query(ctx, `select line_id, outcome, booked_at, count(*) filter (where direction = $4 and outcome <> 'duplicate_line') over ()
		from statement_lines where channel = any($1) and reference = any($2) order by booked_at, seq limit $3`, t.channels(), refs, evidenceMax, own)
	if err != nil {
		return err
	}
	var line, outcome string
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&line, &outcome, &at, &t.moved}, func() error {
		t.lines = append(t.lines, Evidence{moment(at), "statement_line", line + ": " + outcome})
		return nil
	})
	return err
}

// readCredits counts how often a deposit was credited, late ones included.
func (t *traced) readCredits(ctx context.Context, tx pgx.Tx) error {
	if t.kind != pay.Deposit {
		return nil
	}
	return tx.QueryRow(ctx, `select count(*) from transitions m join transfers x on x.id >= m.first_transfer and x.id < m.first_transfer + m.transfers
	  where m.payment in (select $1::bigint union select id from payments where original = $1 and kind = $3) and m.transition in (14, 18) and x.credit = $2`,
		int64(t.id), int64(t.holder), int16(pay.LateDeposit)).Scan(&t.credits)
}

// What was sent back of a deposit: refunds that succeeded, and those that were called
// failed and have executed. More than came in was sent back twice.
const selectRefunds = `with sent as (
  select c.id, c.amount, c.created_at from payments c
   cross join lateral (select to_state from transitions where payment = c.id order by seq desc limit 1) l
   where c.original = $1 and c.kind = $2 and (l.to_state = $3 or exists (select from payments x where x.original = c.id and x.kind = $4)))
select id, created_at from sent where (select sum(amount) from sent) > (select amount from payments where id = $1) order by id limit $5`

func (t *traced) readRefunds(ctx context.Context, tx pgx.Tx) error {
	if t.kind != pay.Deposit && t.kind != pay.LateDeposit {
		return nil
	}
	rows, err := tx.Query(ctx, selectRefunds, int64(t.id), int16(pay.Refund), int16(pay.Succeeded), int16(pay.LatePayout), evidenceMax)
	if err != nil {
		return err
	}
	var id pay.ID
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &at}, func() error {
		t.refunds = append(t.refunds, Evidence{moment(at), "payment", id.String() + ": a refund; all of them are more than came in"})
		return nil
	})
	return err
}

// The holder's payments around this one: by the postings on its available book,
// whose index holds them in order, and its open ones, which may have none yet.
const selectTwins = `with own as (select * from payments where id = $1),
anchor as (
  select case when $3 then x.credit_seq else x.debit_seq end as seq
    from transitions t join transfers x on x.id >= t.first_transfer and x.id < t.first_transfer + t.transfers
   where t.payment = $1 and case when $3 then x.credit else x.debit end = $2 order by t.seq, x.id limit 1
), near as (
  (select payment from transfers where not $3 and debit = $2 and debit_seq <= coalesce((select seq from anchor) + $4, 9223372036854775807) order by debit_seq desc limit 2 * $4)
  union
  (select payment from transfers where $3 and credit = $2 and credit_seq <= coalesce((select seq from anchor) + $4, 9223372036854775807) order by credit_seq desc limit 2 * $4)
  union
  (select payment from open_payments where account = $2 limit 2 * $4)
), twins as (
  select p.id, p.created_at, coalesce(k.fingerprint = ok.fingerprint, false) as same
    from near n join payments p on p.id = n.payment and p.id <> $1 join own o
      on p.tenant = o.tenant and p.kind = o.kind and p.asset = o.asset and p.amount = o.amount and p.from_account is not distinct from o.from_account
     and p.to_account is not distinct from o.to_account and p.payee_account is not distinct from o.payee_account
     and p.original is not distinct from o.original and p.created_at between o.created_at - $5::interval and o.created_at + $5::interval
    left join keys k on k.key = p.key left join keys ok on ok.key = o.key
   order by abs(extract(epoch from p.created_at - o.created_at)) limit $6
)
select (select count(*) from near where payment <> $1), w.id, w.created_at, w.same, t.to_state
  from (select) one left join twins w on true
  left join lateral (select to_state from transitions where payment = w.id order by seq desc limit 1) t on true`

func (t *traced) readTwins(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, selectTwins, int64(t.id), int64(t.holder), t.incoming, postingsAround, twinWithin, evidenceMax)
	if err != nil {
		return err
	}
	var id *int64
	var at *time.Time
	var same *bool
	var state *int16
	_, err = pgx.ForEachRow(rows, []any{&t.compared, &id, &at, &same, &state}, func() error {
		if id != nil && at != nil && same != nil && state != nil {
			t.twins = append(t.twins, twin{pay.ID(*id), *at, *same, pay.State(*state)})
		}
		return nil
	})
	return err
}

func (t *traced) answer(question, answer string, evidence ...Evidence) Answer {
	w := journeyWords[question+" "+answer]
	if evidence == nil {
		evidence = []Evidence{}
	}
	return Answer{Question: question, Answer: answer, Text: Text{w[0], w[1]}, Evidence: evidence}
}

// submitted: the key is the trace that the client's wish left here.
func (t *traced) submitted() Answer {
	var evidence []Evidence
	if t.keyAt != nil {
		evidence = append(evidence, Evidence{moment(*t.keyAt), "key", "scoped idempotency key " + hex.EncodeToString(t.key) + ", trace " + hex.EncodeToString(t.trace)})
	}
	return t.answer("submitted", yes, evidence...)
}

func (t *traced) received() Answer { return t.answer("received", yes, t.first...) }

// dispatched: did an order get to the channel? An attempt that nobody heard of
// again may have.
func (t *traced) dispatched() Answer {
	if !t.leaves() {
		return t.answer("dispatched", moot)
	}
	answer := no
	var evidence []Evidence
	for _, a := range t.attempts {
		switch a.state {
		case pay.Acked, pay.Confirmed, pay.Declined:
			answer = yes
		case pay.Intended, pay.AttemptUnknown:
			if answer == no {
				answer = maybe
			}
		case pay.NoAttempt, pay.Absent, pay.NeverSent:
		}
		evidence = append(evidence, Evidence{
			moment(a.intended), "attempt",
			fmt.Sprintf("%d on %s as %s: %s; to be sent by %s", a.n, a.channel, a.reference, a.state, a.sendBy.UTC().Format(time.RFC3339)),
		})
	}
	return t.answer("dispatched", answer, evidence...)
}

// answered: did the channel say anything, by whatever way?
func (t *traced) answered() Answer {
	if t.channel == "" {
		return t.answer("answered", moot)
	}
	evidence := append([]Evidence{}, t.words...)
	heard := len(t.words) > 0
	for _, a := range t.attempts {
		if a.answered != nil && a.state != pay.AttemptUnknown && a.state != pay.Intended && a.state != pay.NeverSent {
			if heard {
				continue // the log has said it
			}
			evidence = append(evidence, Evidence{moment(*a.answered), "word", fmt.Sprintf("attempt %d: %s", a.n, a.state)})
		}
	}
	heard = len(evidence) > 0
	evidence = append(append(evidence, t.letters...), t.lines...)
	switch {
	case heard || len(t.lines) > 0:
		return t.answer("answered", yes, evidence...)
	case len(t.letters) > 0: // it wrote, and nothing came of it: somebody should read the letter
		return t.answer("answered", maybe, evidence...)
	}
	return t.answer("answered", no, evidence...)
}

// duplicated: by us, if the channel booked more than once, or we credited or refunded
// more than came; perhaps by the client, if the holder has an equal payment close by
// under another key.
func (t *traced) duplicated() Answer {
	looked := Evidence{What: "looked_at", Detail: fmt.Sprintf("%d other payments of the holder", t.compared)}
	confirmed := 0
	for _, a := range t.attempts {
		if a.state == pay.Confirmed {
			confirmed++
		}
	}
	if confirmed > 1 || t.moved > 1 || t.credits > 1 || len(t.refunds) > 0 {
		return t.answer("duplicated", yes, append(append(append([]Evidence{}, t.lines...), t.refunds...), looked)...)
	}
	if len(t.twins) == 0 {
		return t.answer("duplicated", no, looked)
	}
	evidence := make([]Evidence, 0, len(t.twins)+1)
	for _, w := range t.twins {
		what := "same amount and payee"
		if w.same {
			what = "same content"
		}
		evidence = append(evidence, Evidence{moment(w.at), "payment", w.id.String() + ", " + w.state.String() + ": " + what + ", another key"})
	}
	return t.answer("duplicated", maybe, append(evidence, looked)...)
}
