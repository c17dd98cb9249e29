// Package trail tells where the time of one payment went: its states, attempts,
// callbacks and webhooks as spans, what comes next and when, and who is at it. And it
// finds the payment that a name from outside belongs to: a trace, the channel's own
// id, an event. It reads committed rows, each answer from one snapshot and bounded.
//
// It refuses to guess: a span whose end nobody recorded is open, and a name that is
// not in the rows that were looked through is not found, with how many those were. No
// decision about money may use it.
package trail

import (
	"context"
	"encoding/hex"
	"errors"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/moneta-pay/moneta/event"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/pay"
)

// Bounds of what is looked through for one answer.
const (
	// LettersBack is how many of the newest callbacks of all channels are searched for
	// the payment's references.
	LettersBack = 20_000
	// NamesBack is how many payments of all tenants are searched at once for a name that
	// has no index: the hot path pays for none.
	NamesBack = 50_000

	movesMax  = 500
	othersMax = 50 // attempts, callbacks, messages, cases
)

// Reader reads trails through a pool that the caller owns. It is safe for concurrent
// use.
type Reader struct {
	pool  *pgxpool.Pool
	clock clock.Clock
	back  int // NamesBack; tests look less far
}

// NewReader reads through pool; a nil clock is the system's.
func NewReader(pool *pgxpool.Pool, c clock.Clock) *Reader {
	if c == nil {
		c = clock.System
	}
	return &Reader{pool: pool, clock: c, back: NamesBack}
}

// Trail is where the time of one payment went.
type Trail struct {
	Object    string     `json:"object" enum:"trail"`
	Payment   string     `json:"payment"`
	AsOf      time.Time  `json:"as_of" doc:"The instant that this describes; open spans last until then"`
	TraceID   string     `json:"trace_id"`
	StartedAt time.Time  `json:"started_at"`
	FinalAt   *time.Time `json:"final_at,omitempty"`
	Spans     []Span     `json:"spans" doc:"By their beginning: states follow each other without a gap; attempts, callbacks and webhooks lie within or behind them"`
	Callbacks []Letter   `json:"callbacks" doc:"What the channel sent that names the payment, as it came, oldest first"`
	// SearchedCallbacks is how far back it was looked for them.
	SearchedCallbacks int         `json:"searched_callbacks" doc:"So many of the newest callbacks of all channels were looked through"`
	Webhooks          []Message   `json:"webhooks" doc:"What your endpoints were told of it"`
	Next              *Next       `json:"next,omitempty" doc:"The next automatic step; left out when the payment is final"`
	Cases             []CaseBrief `json:"cases" doc:"Cases about it, the newest first"`
}

// Span is one stretch of time.
type Span struct {
	Row  string     `json:"row" enum:"state,attempt,callback,webhook"`
	Hop  string     `json:"hop" doc:"intake, holder, operator, dispatch, channel, settle, notify; more may come"`
	Name string     `json:"name" doc:"The state, the attempt's number, the callback's or the endpoint's id"`
	From time.Time  `json:"from"`
	To   *time.Time `json:"to,omitempty" doc:"Left out while it lasts"`
	// Ended says how it ended, or how it stands.
	Ended   string `json:"ended,omitempty" doc:"How it ended, in a word of its row"`
	Longest bool   `json:"longest,omitempty" doc:"The state that took, or takes, the most time"`
}

// Letter is one callback of a channel.
type Letter struct {
	ID         int64      `json:"id"`
	Channel    string     `json:"channel"`
	ReceivedAt time.Time  `json:"received_at" doc:"Stored raw and acknowledged"`
	AppliedAt  *time.Time `json:"applied_at,omitempty" doc:"Judged; left out while it waits"`
	Verdict    string     `json:"verdict,omitempty" doc:"applied, duplicate, stale, forged, …; left out while it waits"`
	Verified   *bool      `json:"verified,omitempty" doc:"Whether its signature was the channel's; left out while nobody has looked"`
	Bytes      int        `json:"bytes"`
}

// Message is one webhook about the payment to one endpoint.
type Message struct {
	ID         string     `json:"id" example:"whd_0000000000001"`
	Endpoint   string     `json:"endpoint" example:"wh_0000000000001"`
	URL        string     `json:"url"`
	Event      string     `json:"event" example:"evt_0000000000007"`
	State      string     `json:"state" enum:"pending,delivered,given_up"`
	Tries      int16      `json:"tries"`
	LastStatus *int16     `json:"last_status,omitempty"`
	LastError  string     `json:"last_error,omitempty"`
	QueuedAt   time.Time  `json:"queued_at"`
	LastAt     *time.Time `json:"last_at,omitempty"`
	NextAt     *time.Time `json:"next_at,omitempty"`
}

// Next is what happens by itself, and when.
type Next struct {
	At       time.Time  `json:"at" doc:"When the timer is due; in the past while it is being worked on, or stands still"`
	Hop      string     `json:"hop" doc:"Who does it"`
	What     string     `json:"what" enum:"clear,send,ask,expire,wait_for_holder,wait_for_operator,wait_for_payer" doc:"What is done then; more may come"`
	Deadline time.Time  `json:"deadline" doc:"When the payment should have left its state"`
	Late     bool       `json:"late"`
	Checks   int32      `json:"checks" doc:"How often the channel was asked in this state"`
	LastAt   *time.Time `json:"last_checked_at,omitempty"`
}

// CaseBrief is a case in short.
type CaseBrief struct {
	Number   string    `json:"number"`
	Kind     string    `json:"kind"`
	State    string    `json:"state" enum:"open,answered,closed"`
	Owner    string    `json:"owner"`
	OpenedAt time.Time `json:"opened_at"`
	Deadline time.Time `json:"deadline"`
}

// read is what one snapshot holds.
type read struct {
	id       pay.ID
	kind     pay.Kind
	channel  string
	created  time.Time
	trace    pgtype.UUID
	moves    []move
	attempts []attempt
	open     *open
}

type move struct {
	id       int64
	from, to pay.State
	at       time.Time
}

type attempt struct {
	n                  int16
	channel, reference string
	state              pay.AttemptState
	intended           time.Time
	answered           *time.Time
}

type open struct {
	hop            string
	next, deadline time.Time
	checks         int32
	checked        *time.Time
}

// Of tells one payment's trail; fault.NotFound if the tenant has no such payment.
func (r *Reader) Of(ctx context.Context, tenant pay.TenantID, id pay.ID) (Trail, error) {
	const op = "trail.Of"
	t := read{id: id}
	out := Trail{Object: "trail", Payment: id.String(), AsOf: r.clock.Now().UTC(), SearchedCallbacks: LettersBack}
	err := pgx.BeginTxFunc(ctx, r.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if err := t.payment(ctx, tx, tenant); err != nil {
			return err
		}
		var err error
		if out.Callbacks, err = t.letters(ctx, tx); err != nil {
			return err
		}
		if out.Webhooks, err = t.messages(ctx, tx, tenant); err != nil {
			return err
		}
		out.Cases, err = t.cases(ctx, tx)
		return err
	})
	if err != nil {
		return Trail{}, readFault(op, err)
	}
	out.TraceID, out.StartedAt = hex.EncodeToString(t.trace.Bytes[:]), t.created.UTC()
	for i := range t.moves { // settlement comes after the final state, and is none
		if m := &t.moves[i]; m.to.Final() && m.from != m.to {
			out.FinalAt = utc(&m.at)
		}
	}
	out.Next = t.next(out.AsOf)
	out.Spans = t.spans(&out)
	return out, nil
}

func (t *read) payment(ctx context.Context, tx pgx.Tx, tenant pay.TenantID) error {
	err := tx.QueryRow(ctx, `select kind, coalesce(channel, ''), created_at, trace_id from payments where id = $1 and tenant = $2`,
		int64(t.id), int32(tenant)).Scan(&t.kind, &t.channel, &t.created, &t.trace)
	if err != nil {
		return err
	}
	rows, err := tx.Query(ctx, `select id, from_state, to_state, at from transitions where payment = $1 order by seq limit $2`, int64(t.id), movesMax)
	if err != nil {
		return err
	}
	if t.moves, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (m move, err error) {
		return m, row.Scan(&m.id, &m.from, &m.to, &m.at)
	}); err != nil {
		return err
	}
	rows, err = tx.Query(ctx, `select n, channel, reference, state, intended_at, answered_at from attempts where payment = $1 order by n limit $2`, int64(t.id), othersMax)
	if err != nil {
		return err
	}
	if t.attempts, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (a attempt, err error) {
		return a, row.Scan(&a.n, &a.channel, &a.reference, &a.state, &a.intended, &a.answered)
	}); err != nil {
		return err
	}
	var o open
	err = tx.QueryRow(ctx, `select hop, next_at, deadline, checks, last_checked_at from open_payments where payment = $1`, int64(t.id)).
		Scan(&o.hop, &o.next, &o.deadline, &o.checks, &o.checked)
	switch {
	case err == nil:
		t.open = &o
	case !errors.Is(err, pgx.ErrNoRows):
		return err
	}
	return nil
}

// The letters that name one of the payment's references. A body is searched for the
// text: what nobody could read names it too.
const lettersSQL = `select id, channel, received_at, applied_at, coalesce(verdict, ''), octet_length(body)
  from (select * from inbox order by id desc limit $1) i
 where channel = any($2) and exists (select from unnest($3::bytea[]) r where position(r in body) > 0) order by id limit $4`

func (t *read) letters(ctx context.Context, tx pgx.Tx) ([]Letter, error) {
	channels, refs := []string{t.channel}, [][]byte{}
	if t.kind == pay.Deposit {
		refs = append(refs, []byte(pay.Reference(t.id, 0)))
	}
	for _, a := range t.attempts {
		channels, refs = append(channels, a.channel), append(refs, []byte(a.reference))
	}
	if len(refs) == 0 {
		return []Letter{}, nil
	}
	rows, err := tx.Query(ctx, lettersSQL, LettersBack, channels, refs, othersMax)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (c Letter, err error) {
		if err = row.Scan(&c.ID, &c.Channel, &c.ReceivedAt, &c.AppliedAt, &c.Verdict, &c.Bytes); err != nil {
			return c, err
		}
		c.ReceivedAt, c.AppliedAt = c.ReceivedAt.UTC(), utc(c.AppliedAt)
		if c.Verdict != "" && c.Verdict != "no_channel" {
			genuine := !slices.Contains(unverified, c.Verdict)
			c.Verified = &genuine
		}
		return c, nil
	})
}

// unverified are the verdicts of callbacks whose signature does not hold.
var unverified = []string{"forged", "stale"}

const messagesSQL = `select d.id, d.endpoint, e.url, d.event, d.state, d.tries, d.last_status, coalesce(d.last_error, ''), d.created_at, d.last_at, d.next_at
  from webhook_endpoints e join webhook_deliveries d on d.endpoint = e.id and d.event = any($2) where e.tenant = $1 order by d.id limit $3`

func (t *read) messages(ctx context.Context, tx pgx.Tx, tenant pay.TenantID) ([]Message, error) {
	events := make([]int64, len(t.moves))
	for i, m := range t.moves {
		events[i] = m.id
	}
	rows, err := tx.Query(ctx, messagesSQL, int32(tenant), events, othersMax)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (w Message, err error) {
		var id, endpoint, about int64
		var state int16
		var next time.Time
		if err = row.Scan(&id, &endpoint, &w.URL, &about, &state, &w.Tries, &w.LastStatus, &w.LastError, &w.QueuedAt, &w.LastAt, &next); err != nil {
			return w, err
		}
		w.ID, w.Endpoint, w.Event = event.Name("whd_", id), event.Name("wh_", endpoint), event.ID(about).String()
		w.QueuedAt, w.LastAt = w.QueuedAt.UTC(), utc(w.LastAt)
		w.State = map[int16]string{1: "pending", 2: "delivered", 3: "given_up"}[state]
		if w.State == "pending" {
			w.NextAt = utc(&next)
		}
		return w, nil
	})
}

func (t *read) cases(ctx context.Context, tx pgx.Tx) ([]CaseBrief, error) {
	rows, err := tx.Query(ctx, `select number, kind, state, owner, opened_at, deadline from facts.cases where payment = $1 order by opened_at desc limit $2`, int64(t.id), othersMax)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (c CaseBrief, err error) {
		err = row.Scan(&c.Number, &c.Kind, &c.State, &c.Owner, &c.OpenedAt, &c.Deadline)
		c.OpenedAt, c.Deadline = c.OpenedAt.UTC(), c.Deadline.UTC()
		return c, err
	})
}

// next is what the timer does when it is due.
func (t *read) next(now time.Time) *Next {
	if t.open == nil || len(t.moves) == 0 {
		return nil
	}
	o := t.open
	n := &Next{At: o.next.UTC(), Hop: o.hop, Deadline: o.deadline.UTC(), Late: now.After(o.deadline), Checks: o.checks, LastAt: utc(o.checked)}
	switch state := t.moves[len(t.moves)-1].to; state {
	case pay.Created:
		n.What = "clear"
		if t.kind == pay.Deposit {
			n.What = "wait_for_payer"
		}
	case pay.Reserved:
		n.What = "send"
		if t.kind == pay.Hold {
			n.What = "expire"
		}
	case pay.RequiresAction:
		n.What = "wait_for_holder"
	case pay.InReview:
		n.What = "wait_for_operator"
	case pay.Dispatching, pay.Processing, pay.Unknown:
		n.What = "ask"
		if o.hop == "holder" { // he owes the rest
			n.What = "wait_for_holder"
		}
	case pay.None, pay.Succeeded, pay.Failed, pay.Cancelled, pay.Expired:
		return nil
	}
	return n
}

// spans puts everything on one line of time.
func (t *read) spans(out *Trail) []Span {
	spans := t.states(out.AsOf)
	for _, a := range t.attempts {
		spans = append(spans, Span{
			Row: "attempt", Hop: "channel", Name: strconv.Itoa(int(a.n)) + " " + a.channel, From: a.intended.UTC(), To: utc(a.answered), Ended: a.state.String(),
		})
	}
	for i := range out.Callbacks {
		c := &out.Callbacks[i]
		spans = append(spans, Span{Row: "callback", Hop: "settle", Name: strconv.FormatInt(c.ID, 10), From: c.ReceivedAt, To: c.AppliedAt, Ended: c.Verdict})
	}
	for i := range out.Webhooks {
		w := &out.Webhooks[i]
		s := Span{Row: "webhook", Hop: "notify", Name: w.Endpoint, From: w.QueuedAt, Ended: w.State}
		if w.State != "pending" {
			s.To = w.LastAt
		}
		spans = append(spans, s)
	}
	slices.SortStableFunc(spans, func(a, b Span) int { return a.From.Compare(b.From) })
	return spans
}

// states are the payment's states, each until the next one; the final one is no span.
func (t *read) states(now time.Time) []Span {
	spans := []Span{}
	longest, most := -1, time.Duration(0)
	for i := 0; i < len(t.moves); i++ {
		m := &t.moves[i]
		if i > 0 && m.from == m.to || m.to.Final() {
			continue
		}
		s := Span{Row: "state", Hop: (&pay.Payment{Kind: t.kind, State: m.to}).Hop(), Name: m.to.String(), From: m.at.UTC()}
		end := now
		for _, after := range t.moves[i+1:] {
			if after.from != after.to {
				end = after.at
				s.To, s.Ended = utc(&after.at), after.to.String()
				break
			}
		}
		if took := end.Sub(m.at); took > most || longest < 0 {
			longest, most = len(spans), took
		}
		spans = append(spans, s)
	}
	if longest >= 0 {
		spans[longest].Longest = true
	}
	return spans
}

// Window is a part of the record: the payments from Low up to, and without, Below, of all
// tenants, the oldest of which was made at From. Whole says that there are no older ones.
type Window struct {
	Low, Below pay.ID
	From       time.Time
	Whole      bool
}

// Back is the window of the NamesBack payments before one; 0 is the newest.
func (r *Reader) Back(ctx context.Context, below pay.ID) (Window, error) {
	w := Window{Below: below}
	if below == 0 {
		w.Below = math.MaxInt64
	}
	var n int
	var low *int64
	var from *time.Time
	err := r.pool.QueryRow(ctx, `select count(*), min(id), min(created_at) from (select id, created_at from payments where id < $1 order by id desc limit $2) p`,
		int64(w.Below), r.back).Scan(&n, &low, &from)
	if err != nil {
		return w, readFault("trail.Back", err)
	}
	w.Whole = n < r.back
	if low != nil {
		w.Low, w.From = pay.ID(*low), from.UTC()
	}
	return w, nil
}

// ByTrace finds the newest payments of the tenant in a window with this trace.
func (r *Reader) ByTrace(ctx context.Context, tenant pay.TenantID, w *Window, trace [16]byte) ([]pay.ID, error) {
	return r.find(ctx, "trail.ByTrace", `select id from payments where tenant = $1 and id >= $2 and id < $3 and trace_id = $4 order by id desc limit $5`,
		int32(tenant), int64(w.Low), int64(w.Below), pgtype.UUID{Bytes: trace, Valid: true}, othersMax)
}

// ByChannelID finds the payments of the tenant in a window to an attempt of which the
// channel gave this name.
func (r *Reader) ByChannelID(ctx context.Context, tenant pay.TenantID, w *Window, name string) ([]pay.ID, error) {
	return r.find(ctx, "trail.ByChannelID", `select distinct p.id from attempts a join payments p on p.id = a.payment and p.tenant = $1
		where a.payment >= $2 and a.payment < $3 and a.channel_id = $4 order by p.id desc limit $5`, int32(tenant), int64(w.Low), int64(w.Below), name, othersMax)
}

// ByEvent finds the payment whose move the event is.
func (r *Reader) ByEvent(ctx context.Context, tenant pay.TenantID, id int64) ([]pay.ID, error) {
	return r.find(ctx, "trail.ByEvent", `select p.id from transitions t join payments p on p.id = t.payment and p.tenant = $1 where t.id = $2`, int32(tenant), id)
}

func (r *Reader) find(ctx context.Context, op, sql string, args ...any) ([]pay.ID, error) {
	rows, err := r.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, readFault(op, err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, readFault(op, err)
	}
	out := make([]pay.ID, len(ids))
	for i, id := range ids {
		out[i] = pay.ID(id)
	}
	return out, nil
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}

func readFault(op string, err error) error {
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fault.New(fault.NotFound, "").WithOp(op)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return fault.New(fault.Timeout, "").WithOp(op).WithMoneyState(fault.NotMoved).WithCause(err)
	}
	return fault.New(fault.DatabaseUnavailable, "").WithOp(op).WithMoneyState(fault.NotMoved).WithCause(err)
}
