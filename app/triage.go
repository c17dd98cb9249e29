package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/diagnose"
	"github.com/moneta-pay/moneta/pay"
)

// triageWithin bounds the reading of one payment's facts.
const triageWithin = 5 * time.Second

// Triage is one payment, by the twelve questions that support and an engineer ask.
type Triage struct {
	Payment string `json:"payment"`
	// Verdict is final, on_time, late (past its deadline, or nobody is at it), not_found
	// or unknown (its facts could not be read).
	Verdict string `json:"verdict"`
	State   string `json:"state,omitempty"`
	// AsOf is the database's clock when the facts were read.
	AsOf *time.Time `json:"as_of,omitempty"`
	// Watch says whether a running watch was asked.
	Watch     bool       `json:"watch"`
	Questions []Question `json:"questions"`
	// Answer is the watch's of now.
	Answer *doctor.Answer `json:"answer,omitempty"`
	// Trace is where its time went, from the spans that the watch keeps, or why it has none.
	Trace *TraceLook `json:"trace,omitempty"`
	Notes []string   `json:"notes,omitempty"`
}

// Question is one of the twelve.
type Question struct {
	N        int    `json:"n"`
	Question string `json:"question"`
	Answer   string `json:"answer"`
	// Code is the answer for machines.
	Code string `json:"code"`
	// Then is what to do about it; often nothing.
	Then string `json:"then,omitempty"`
	// Source is where the answer is from.
	Source string `json:"source"`
}

// payment answers the twelve questions of one payment: from the facts alone, and from
// the watch where one runs. It exits with ExitWrong when the payment needs somebody.
func (c *DiagnoseConfig) payment(ctx context.Context) error {
	id, err := pay.ParseID(c.Payment)
	if err != nil {
		return fmt.Errorf("%q: %w; a payment is named pay_ and 13 letters and digits", c.Payment, err)
	}
	t := triage{lang: c.Lang, out: Triage{Payment: id.String(), Verdict: "unknown"}}
	if w, err := findWatch(c.DataDir); err == nil {
		if n, err := w.now(ctx); err == nil {
			t.out.Watch, t.out.Answer = true, n.Answer
			if look, _, err := findTrace(ctx, c.DataDir, id.String(), c.Lang); err == nil {
				t.out.Trace = look
			}
		} else {
			t.out.Notes = append(t.out.Notes, err.Error())
		}
	}
	if err := t.read(ctx, c.Database, id); err != nil {
		t.out.Notes = append(t.out.Notes, say(c.Lang, "triage-no-facts", err))
	}
	t.answer()
	if c.JSON {
		err = writeJSON(c.Out, &t.out)
	} else {
		err = t.print(c.Out)
	}
	if err != nil {
		return err
	}
	switch t.out.Verdict {
	case "late":
		return &ExitError{Code: ExitWrong}
	case "unknown", "not_found":
		return &ExitError{Code: ExitUnclear}
	}
	return nil
}

// triage gathers the facts of one payment and answers from them.
type triage struct {
	lang string
	out  Triage

	known     bool // the facts could be read
	at        time.Time
	moves     []triageMove
	attempts  []triageAttempt
	open      *triageOpen
	cases     []string
	breaks    []string
	books     []triageBook
	waiting   int // callbacks of its channel that wait
	lastHeard *time.Time
	levers    []string
	behind    []string
	cohorts   []doctor.Cohort
}

type triageMove struct {
	Transition, From, To, Source, Reason string
	At                                   time.Time
}

type triageAttempt struct {
	N                          int16
	Channel, State, ID, Reason string
	Intended                   time.Time
	Answered                   *time.Time
}

type triageOpen struct {
	Hop, Channel, State   string
	Entered, Next, Due    time.Time
	Checks                int
	HasCase, Orphan, Late bool
}

type triageBook struct {
	Name   string
	Amount string
}

const (
	triageMoves = `select transition::text, coalesce(from_state, ''), to_state, coalesce(source, ''), coalesce(reason, ''), at
		from facts.transitions where payment = $1 order by seq limit 1000`
	triageAttempts = `select n, channel, state, coalesce(channel_id, ''), coalesce(reason, ''), intended_at, answered_at
		from facts.attempts where payment = $1 order by n limit 100`
	triageOpened = `select o.hop, coalesce(o.channel, ''), o.state, o.entered_at, o.next_at, o.deadline, o.checks, t.has_case, t.orphan, o.deadline < now()
		from facts.open_items o join facts.timers t on t.payment = o.payment where o.payment = $1`
	triageCases  = `select number || ' (' || kind || ', ' || coalesce(owner, '–') || ')' from facts.cases where payment = $1 and state <> 'closed' limit 20`
	triageBreaks = `select class || ' ' || coalesce(reference, '') from facts.breaks where payment = $1 and closed_at is null limit 20`
	triageBooks  = `select account, sum(amount)::text from facts.postings where payment = $1 group by 1 having sum(amount) <> 0 order by 1`
	triageNames  = `select id, name from public.accounts where id = any($1) and kind <> 1`
	triageHeard  = `select (select coalesce(sum(waiting), 0)::int from facts.callback_backlog where channel = $1),
		(select max(minute) from facts.callback_minutes where channel = $1)`
	triageLevers = `select lever || ' ' || aim || ' (' || owner || ')' from facts.levers
		where pulled_at between $1::timestamptz - interval '15 minutes' and $1::timestamptz + interval '1 minute' or expires_at > now() and undone_at is null order by pulled_at desc limit 10`
	// A reader is late for this payment when it has not come to a move of a minute ago;
	// nobody is told late where nobody is to be told.
	triageBehind = `select name || ' ' || behind from facts.projections p
		where behind > 0 and (name <> 'webhooks' or exists (select from facts.webhooks))
		and exists (select from facts.transitions t where t.payment = $1 and t.id > p.position and t.at < now() - interval '1 minute')`
	triageCohorts = `select 'channel', coalesce(channel, ''), count(*) filter (where stalled), count(*) from facts.timers where hop not in ('holder', 'operator') group by 2`
)

// read takes one snapshot of everything that the facts tell of the payment.
func (t *triage) read(ctx context.Context, d Database, id pay.ID) error {
	ctx, cancel := context.WithTimeout(ctx, triageWithin)
	defer cancel()
	dsn, err := d.dsn(ctx)
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if err := tx.QueryRow(ctx, `select at from facts.contract`).Scan(&t.at); err != nil {
		return err
	}
	if t.moves, err = rowsOf(ctx, tx, triageMoves, func(m *triageMove) []any {
		return []any{&m.Transition, &m.From, &m.To, &m.Source, &m.Reason, &m.At}
	}, int64(id)); err != nil {
		return err
	}
	if t.attempts, err = rowsOf(ctx, tx, triageAttempts, func(a *triageAttempt) []any {
		return []any{&a.N, &a.Channel, &a.State, &a.ID, &a.Reason, &a.Intended, &a.Answered}
	}, int64(id)); err != nil {
		return err
	}
	var o triageOpen
	err = tx.QueryRow(ctx, triageOpened, int64(id)).Scan(&o.Hop, &o.Channel, &o.State, &o.Entered, &o.Next, &o.Due, &o.Checks, &o.HasCase, &o.Orphan, &o.Late)
	switch {
	case err == nil:
		t.open = &o
	case !errors.Is(err, pgx.ErrNoRows):
		return err
	}
	texts := func(s *string) []any { return []any{s} }
	if t.cases, err = rowsOf(ctx, tx, triageCases, texts, int64(id)); err != nil {
		return err
	}
	if t.breaks, err = rowsOf(ctx, tx, triageBreaks, texts, int64(id)); err != nil {
		return err
	}
	if t.behind, err = rowsOf(ctx, tx, triageBehind, texts, int64(id)); err != nil {
		return err
	}
	if channel := t.channel(); channel != "" {
		if err := tx.QueryRow(ctx, triageHeard, channel).Scan(&t.waiting, &t.lastHeard); err != nil {
			return err
		}
	}
	entered := t.at
	if t.open != nil {
		entered = t.open.Entered
	} else if len(t.moves) > 0 {
		entered = t.moves[len(t.moves)-1].At
	}
	if t.levers, err = rowsOf(ctx, tx, triageLevers, texts, entered); err != nil {
		return err
	}
	if !t.out.Watch {
		if t.cohorts, err = rowsOf(ctx, tx, triageCohorts, func(c *doctor.Cohort) []any {
			return []any{&c.Dimension, &c.Value, &c.Affected, &c.Total}
		}); err != nil {
			return err
		}
	}
	if err := t.readBooks(ctx, tx, id); err != nil {
		return err
	}
	t.known, t.out.AsOf = true, &t.at
	return nil
}

// readBooks sums the payment's postings by book. Names of our own books are not in the
// contract; a wallet that is not ours shows their numbers.
func (t *triage) readBooks(ctx context.Context, tx pgx.Tx, id pay.ID) error {
	type book struct {
		id     int64
		amount string
	}
	all, err := rowsOf(ctx, tx, triageBooks, func(b *book) []any { return []any{&b.id, &b.amount} }, int64(id))
	if err != nil {
		return err
	}
	names := map[int64]string{}
	var mine bool
	if err := tx.QueryRow(ctx, `select to_regclass('public.accounts') is not null and has_table_privilege('public.accounts', 'select')`).Scan(&mine); err != nil {
		return err
	}
	if mine {
		var ids []int64
		for _, b := range all {
			ids = append(ids, b.id&^1)
		}
		type named struct {
			id   int64
			name *string
		}
		rows, err := rowsOf(ctx, tx, triageNames, func(n *named) []any { return []any{&n.id, &n.name} }, ids)
		if err != nil {
			return err
		}
		for _, n := range rows {
			if n.name != nil {
				names[n.id] = *n.name
			}
		}
	}
	for _, b := range all {
		name, ok := names[b.id&^1]
		if !ok {
			name = pay.AccountID(b.id &^ 1).String()
			if b.id&1 == 1 {
				name += ":held"
			}
		}
		t.books = append(t.books, triageBook{name, b.amount})
	}
	return nil
}

func rowsOf[T any](ctx context.Context, tx pgx.Tx, sql string, fields func(*T) []any, args ...any) ([]T, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (T, error) {
		var v T
		return v, row.Scan(fields(&v)...)
	})
}

// channel that the payment went or is to go by.
func (t *triage) channel() string {
	if t.open != nil && t.open.Channel != "" {
		return t.open.Channel
	}
	if n := len(t.attempts); n > 0 {
		return t.attempts[n-1].Channel
	}
	return ""
}

// answer answers the twelve.
func (t *triage) answer() {
	switch {
	case !t.known:
	case len(t.moves) == 0:
		t.out.Verdict = "not_found"
	case t.open == nil:
		t.out.Verdict, t.out.State = "final", t.moves[len(t.moves)-1].To
	default:
		t.out.Verdict, t.out.State = "on_time", t.open.State
		if t.open.Late || t.open.Orphan {
			t.out.Verdict = "late"
		}
	}
	for i, of := range []func(*Question){
		t.who, t.submitted, t.accepted, t.sent, t.answered, t.doubled, t.money, t.shown, t.next, t.changed, t.where, t.instead,
	} {
		q := Question{N: i + 1, Question: say(t.lang, "triage-q"+strconv.Itoa(i+1)), Source: "facts"}
		switch {
		case i > 0 && i < 11 && !t.known:
			t.tell(&q, "unread")
		case i > 2 && i < 11 && len(t.moves) == 0:
			t.tell(&q, "no-row")
		default:
			of(&q)
		}
		t.out.Questions = append(t.out.Questions, q)
	}
}

// tell gives a question its answer.
func (t *triage) tell(q *Question, code string, args ...any) {
	q.Code, q.Answer = code, say(t.lang, "triage-"+code, args...)
}

func (t *triage) then(q *Question, code string, args ...any) {
	q.Then = say(t.lang, "then-"+code, args...)
}

// who is the scope: the watch's, or what the facts show of it at this moment.
func (t *triage) who(q *Question) {
	var s doctor.Scope
	switch {
	case t.out.Answer != nil && t.out.Answer.Verdict == doctor.NoFault:
		q.Source = "watch"
		t.tell(q, "nobody")
		return
	case t.out.Answer != nil:
		q.Source, s = "watch", t.out.Answer.Scope
	case t.known && len(t.cohorts) > 0:
		q.Source, s = "facts.timers", t.scope()
	default:
		t.tell(q, "unread")
		return
	}
	t.tell(q, "scope", scopeWord(t.lang, s.Class), 100*s.Low, 100*s.High, diagnose.Say(t.lang, s.Code, s.Args))
	if s.Class == "cohort" || s.Class == "everyone" {
		t.then(q, "scope")
	}
}

func (t *triage) scope() doctor.Scope {
	hops, calls := doctor.Road()
	a, err := diagnose.Diagnose(&doctor.Evidence{
		Version: doctor.EvidenceVersion, TakenAt: t.at, Since: t.at, Hops: hops, Calls: calls, Cohorts: t.cohorts,
		Symptom: doctor.Symptom{Hop: doctor.HopDispatch, Signal: doctor.Overdue},
	})
	if err != nil {
		return doctor.Scope{Class: "unknown"}
	}
	return a.Scope
}

func (t *triage) submitted(q *Question) {
	q.Source = "facts.transitions"
	if len(t.moves) == 0 {
		t.tell(q, "no-row")
		t.then(q, "no-row")
		return
	}
	t.tell(q, "submitted", momentAt(t.moves[0].At))
}

func (t *triage) accepted(q *Question) {
	q.Source = "facts.transitions"
	if len(t.moves) == 0 {
		t.tell(q, "not-durable")
		t.then(q, "same-key")
		return
	}
	t.tell(q, "durable", t.moves[0].Transition, momentAt(t.moves[0].At))
}

func (t *triage) sent(q *Question) {
	q.Source = "facts.attempts"
	n := len(t.attempts)
	switch {
	case n == 0 && t.open == nil:
		t.tell(q, "needs-none")
	case n == 0:
		t.tell(q, "not-sent", t.open.Hop)
		if t.out.Verdict == "late" {
			t.then(q, "not-sent")
		}
	default:
		a := &t.attempts[n-1]
		t.tell(q, "sent", a.N, a.Channel, momentAt(a.Intended))
	}
}

func (t *triage) answered(q *Question) {
	q.Source = "facts.attempts, facts.callback_minutes"
	if len(t.attempts) == 0 {
		t.tell(q, "not-asked")
		return
	}
	a := &t.attempts[len(t.attempts)-1]
	if a.Answered == nil {
		t.tell(q, "no-answer", a.Channel, t.waiting, momentOf(t.lastHeard))
		t.then(q, "no-answer")
		return
	}
	t.tell(q, "answered", a.Channel, a.State, momentAt(*a.Answered))
}

// doubled: more than one attempt that may have moved money, or a break that says so.
func (t *triage) doubled(q *Question) {
	q.Source = "facts.attempts, facts.breaks"
	live := 0
	for _, a := range t.attempts {
		if slices.Contains([]string{"intended", "acked", "unknown", "confirmed"}, a.State) {
			live++
		}
	}
	switch {
	case len(t.breaks) > 0:
		t.tell(q, "breaks", strings.Join(t.breaks, ", "))
		t.then(q, "double")
	case live > 1:
		t.tell(q, "two-live", live)
		t.then(q, "double")
	default:
		t.tell(q, "single", len(t.attempts))
	}
}

func (t *triage) money(q *Question) {
	q.Source = "facts.postings"
	if len(t.books) == 0 {
		t.tell(q, "unmoved")
		return
	}
	var parts []string
	for _, b := range t.books {
		parts = append(parts, b.Name+" "+b.Amount)
	}
	t.tell(q, "moved", strings.Join(parts, ", "))
}

func (t *triage) shown(q *Question) {
	q.Source = "facts.projections"
	switch {
	case len(t.behind) > 0 && t.open == nil:
		t.tell(q, "display", strings.Join(t.behind, ", "))
		t.then(q, "display")
	case t.open == nil:
		t.tell(q, "both")
	default:
		t.tell(q, "state", t.open.State)
	}
}

func (t *triage) next(q *Question) {
	q.Source = "facts.timers, facts.cases"
	o := t.open
	switch {
	case o == nil:
		t.tell(q, "nothing-next")
	case o.Orphan:
		t.tell(q, "orphan")
		t.then(q, "orphan")
	case o.HasCase:
		t.tell(q, "case", strings.Join(t.cases, ", "), momentAt(o.Due))
	default:
		t.tell(q, "looked-at", momentAt(o.Next), o.Checks, momentAt(o.Due))
		if o.Late {
			t.then(q, "late")
		}
	}
}

func (t *triage) changed(q *Question) {
	q.Source = "facts.levers"
	if len(t.levers) == 0 {
		t.tell(q, "unchanged")
		return
	}
	t.tell(q, "changed", strings.Join(t.levers, ", "))
	t.then(q, "changed")
}

// where the time went: where it is now and since when, or its longest step.
func (t *triage) where(q *Question) {
	q.Source = "facts.open_items, facts.transitions"
	if o := t.open; o != nil {
		t.tell(q, "waits", o.Hop, orDash(o.Channel), o.State, t.at.Sub(o.Entered).Round(time.Second).String())
		return
	}
	longest, from, to := time.Duration(0), "", ""
	for i := 1; i < len(t.moves); i++ {
		if d := t.moves[i].At.Sub(t.moves[i-1].At); d > longest {
			longest, from, to = d, t.moves[i-1].To, t.moves[i].To
		}
	}
	if from == "" {
		t.tell(q, "at-once")
		return
	}
	t.tell(q, "longest", from, to, longest.Round(time.Millisecond).String())
}

// instead is the test that would prove the second-best cause.
func (t *triage) instead(q *Question) {
	q.Source = "watch"
	a := t.out.Answer
	switch {
	case a == nil:
		t.tell(q, "no-watch")
	case a.Verdict == doctor.NoFault:
		t.tell(q, "no-cause")
	case len(a.NextChecks) == 0:
		t.tell(q, "no-check")
	default:
		c := &a.NextChecks[0]
		t.tell(q, "check", c.Node, diagnose.CheckAsks(t.lang, c), c.Yes, c.No)
	}
}

func momentAt(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func momentOf(t *time.Time) string {
	if t == nil {
		return "–"
	}
	return momentAt(*t)
}

func (t *triage) print(w io.Writer) error {
	fmt.Fprint(w, say(t.lang, "triage-head", t.out.Payment, say(t.lang, "triage-is-"+t.out.Verdict), orDash(t.out.State), momentOf(t.out.AsOf)))
	for _, q := range t.out.Questions {
		fmt.Fprintf(w, "%2d. %s\n    %s\n", q.N, q.Question, q.Answer)
		if q.Then != "" {
			fmt.Fprintf(w, "    → %s\n", q.Then)
		}
	}
	if t.out.Trace != nil {
		fmt.Fprintln(w)
		if err := t.out.Trace.print(w, t.lang); err != nil {
			return err
		}
	}
	if a := t.out.Answer; a != nil && a.Verdict == doctor.CauseFound {
		fmt.Fprint(w, say(t.lang, "triage-now", a.Ranked[0].Node, howWord(t.lang, &a.Ranked[0]), 100*a.Ranked[0].Posterior))
	}
	for _, n := range t.out.Notes {
		if _, err := fmt.Fprint(w, say(t.lang, "diag-note", n)); err != nil {
			return err
		}
	}
	return nil
}
