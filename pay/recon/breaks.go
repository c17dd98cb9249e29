package recon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
)

// BreaksMax bounds how many breaks one page has.
const BreaksMax = 1000

// States of a break.
const (
	// Open: somebody has to act.
	Open = "open"
	// Explained: a person said why it stands and that nothing is to be done.
	Explained = "explained"
	// Resolved: what was missing or wrong is right by now.
	Resolved = "resolved"
)

// itself is who resolves what heals without a person.
const itself = "recon"

// Break is a difference between a statement and the ledger.
type Break struct {
	ID    int64      `json:"id"`
	Class string     `json:"class"`
	Title BreakTitle `json:"title"`
	// State is open, explained or resolved.
	State   string       `json:"state" enum:"open,explained,resolved"`
	Channel channel.Name `json:"channel"`
	// Payment is empty when nobody knows whose money it is.
	Payment   string `json:"payment,omitempty"`
	Reference string `json:"reference,omitempty"`
	// Line is the channel's id of the line that it is about; empty when it is about
	// a payment.
	Line string `json:"line,omitempty"`
	// Direction is in or out, seen from us; empty when that is not known.
	Direction string       `json:"direction,omitempty"`
	Asset     money.Asset  `json:"asset,omitempty"`
	Amount    money.Amount `json:"amount"`
	// Severity: 1 money may be lost or paid twice, 2 it is misplaced, 3 a difference
	// of figures or time.
	Severity int16 `json:"severity"`
	// Owner is the role or person who has to act.
	Owner    string    `json:"owner"`
	Detail   string    `json:"detail,omitempty"`
	OpenedAt time.Time `json:"opened_at"`
	// AgeSeconds is how long it has been open, or was.
	AgeSeconds int64      `json:"age_s"`
	ClosedAt   *time.Time `json:"closed_at,omitempty"`
	ClosedBy   string     `json:"closed_by,omitempty"`
	// Reason is why it was closed, and Code the same in one word.
	Reason     string     `json:"reason,omitempty"`
	Code       string     `json:"code,omitempty"`
	Suggestion Suggestion `json:"suggestion"`
	// History is what happened to it, and Sides the evidence; only when one break is
	// asked for.
	History []BreakEvent `json:"history,omitempty"`
	Sides   *Sides       `json:"sides,omitempty"`
}

// BreakTitle is what a class is called.
type BreakTitle struct {
	En string `json:"en"`
	Zh string `json:"zh"`
}

// BreakEvent is one thing that happened to a break.
type BreakEvent struct {
	At   time.Time `json:"at"`
	What string    `json:"what" enum:"opened,assigned,explained,resolved"`
	Who  string    `json:"who"`
	Note string    `json:"note,omitempty"`
}

// BreakFilter says which breaks are wanted; zero fields take all, but for State.
type BreakFilter struct {
	// State is Open when empty; "all" takes every state.
	State   string
	Channel channel.Name
	Class   string
	// After is the id of the last break of the page before; 0 begins.
	After int64
	// Oldest first, and not the newest.
	Oldest bool
	// Limit is BreaksMax when zero or above it.
	Limit int
}

const breakColumns = `select b.id, b.class, b.state, b.channel, coalesce(b.payment, 0), b.reference, b.line, coalesce(l.direction, case p.kind when 3 then 2 when 2 then 1 end, 0),
       b.asset, b.amount::text, b.severity, b.owner, b.detail, b.opened_at, b.closed_at, coalesce(b.closed_by, ''), coalesce(b.close_reason, ''), coalesce(b.close_code, '')
  from breaks b
  left join payments p on p.id = b.payment
  left join lateral (select direction from statement_lines s where s.channel = b.channel and s.line_id = b.line and b.line <> '' limit 1) l on true
`

// By id, so that a page follows the one before whatever happens in between. Open
// ones have an index of their own: what was closed is not walked over.
const selectBreaks = breakColumns + ` where ($1::bigint = 0 or b.id %[2]s $1) and ($2 = '' or b.channel = $2) and ($3 = '' or b.class = $3) and ` +
	`%[1]s order by b.id %[3]s limit $4`

// Breaks returns a page of breaks, the newest first unless asked otherwise, and whether more follow: the
// next page begins after the last one's id.
func (r *Recon) Breaks(ctx context.Context, f BreakFilter) (page []Break, more bool, err error) {
	if f.Limit <= 0 || f.Limit > BreaksMax {
		f.Limit = BreaksMax
	}
	var which string
	switch f.State {
	case "", Open:
		which = "b.closed_at is null"
	case Explained, Resolved:
		which = "b.state = '" + f.State + "'"
	case "all":
		which = "true"
	default:
		return nil, false, fault.New(fault.MalformedRequest, "state is open, explained, resolved or all").WithParam("state")
	}
	beyond, order := "<", "desc"
	if f.Oldest {
		beyond, order = ">", "asc"
	}
	rows, err := r.cfg.Pool.Query(ctx, fmt.Sprintf(selectBreaks, which, beyond, order), f.After, string(f.Channel), f.Class, f.Limit+1)
	if err == nil {
		page, err = pgx.CollectRows(rows, r.readBreak)
	}
	if err != nil {
		return nil, false, readFault("recon.Breaks", err)
	}
	if len(page) > f.Limit {
		return page[:f.Limit], true, nil
	}
	return page, false, nil
}

// Break returns one break with its history; fault.NotFound when there is none.
func (r *Recon) Break(ctx context.Context, id int64) (Break, error) {
	const op = "recon.Break"
	rows, err := r.cfg.Pool.Query(ctx, breakColumns+" where b.id = $1", id)
	if err != nil {
		return Break{}, readFault(op, err)
	}
	b, err := pgx.CollectExactlyOneRow(rows, r.readBreak)
	if errors.Is(err, pgx.ErrNoRows) {
		return b, fault.New(fault.NotFound, "no such break").WithResource(strconv.FormatInt(id, 10))
	}
	if err != nil {
		return b, readFault(op, err)
	}
	rows, err = r.cfg.Pool.Query(ctx, `select at, what, who, note from break_events where break = $1 order by at, what <> 'opened', id`, id)
	if err == nil {
		b.History, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (e BreakEvent, err error) {
			err = row.Scan(&e.At, &e.What, &e.Who, &e.Note)
			e.At = e.At.UTC()
			return e, err
		})
	}
	if err == nil {
		b.Sides, err = r.sides(ctx, &b)
	}
	if err != nil {
		return b, readFault(op, err)
	}
	return b, nil
}

func (r *Recon) readBreak(row pgx.CollectableRow) (Break, error) {
	var b Break
	var payment pay.ID
	var direction channel.Direction
	var amount string
	if err := row.Scan(&b.ID, &b.Class, &b.State, &b.Channel, &payment, &b.Reference, &b.Line, &direction, &b.Asset, &amount, &b.Severity, &b.Owner,
		&b.Detail, &b.OpenedAt, &b.ClosedAt, &b.ClosedBy, &b.Reason, &b.Code); err != nil {
		return b, err
	}
	c := classOf(b.Class)
	if direction == 0 && b.Class == unmatchedInbound {
		direction = channel.In // a callback's word, before the line
	}
	b.Title, b.Direction = BreakTitle{c.Title.En, c.Title.Zh}, direction.String()
	if b.Owner == "" { // another station opened it, and recon has not run since
		b.Owner, b.Severity = c.Owner, c.Severity
	}
	if payment != 0 {
		b.Payment = payment.String()
	}
	b.OpenedAt = b.OpenedAt.UTC()
	until := r.cfg.Clock.Now()
	if b.ClosedAt != nil {
		utc := b.ClosedAt.UTC()
		b.ClosedAt, until = &utc, utc
	}
	b.AgeSeconds = int64(max(0, until.Sub(b.OpenedAt)) / time.Second)
	var err error
	b.Amount, err = money.ParseMinor(amount)
	b.Suggestion = b.suggest()
	return b, err
}

// noteMax bounds what a person writes about a break, in bytes.
const noteMax = 500

// Codes of why a break was closed, so that a year of them can be counted.
var closeCodes = []string{
	"channel_corrected", // the channel has corrected what it said
	"posted",            // a posting of ours put it right
	"recovered",         // the money came back
	"written_off",       // we bear it
	"fee_accepted",      // the fee stands
	"timing",            // only the time differs
	"test",              // a test, of theirs or ours
	"not_ours",          // nothing of it concerns us
	otherCode,
}

const otherCode = "other"

// CloseCodes returns the codes.
func CloseCodes() []string { return slices.Clone(closeCodes) }

// Closing says how a break ends.
type Closing struct {
	// State is Explained or Resolved.
	State string
	// Code is one of CloseCodes; "other" when empty.
	Code string
	// Who closes it, and Why in their words.
	Who, Why string
}

// Check refuses a closing that no break could have.
func (c *Closing) Check() error {
	if c.State != Explained && c.State != Resolved {
		return fault.New(fault.MalformedRequest, "a break is closed as explained or resolved").WithParam("/state")
	}
	if c.Code == "" {
		c.Code = otherCode
	}
	if !slices.Contains(closeCodes, c.Code) {
		return fault.New(fault.MalformedRequest, "code is one of "+strings.Join(closeCodes, ", ")).WithParam("/code")
	}
	return nil
}

const closeBreak = `with closed as (
  update breaks set state = $2, closed_at = now(), closed_by = $3, close_reason = $4, close_code = $5 where id = $1 and closed_at is null returning id
)
insert into break_events (break, what, who, note) select id, $2, $3, $4 from closed returning break`

// Close ends an open break: Explained or Resolved, by whom and why. It moves no
// money. fault.AlreadyFinal when it was closed before.
func (r *Recon) Close(ctx context.Context, id int64, c Closing) (Break, error) {
	if err := c.Check(); err != nil {
		return Break{}, err
	}
	return r.change(ctx, id, c.Who, c.Why, closeBreak, id, c.State, c.Who, c.Why, c.Code)
}

// CloseWithin does what Close does within a transaction of the caller's.
// fault.NotFound when there is no such break, fault.AlreadyFinal when it was closed
// before.
func (r *Recon) CloseWithin(ctx context.Context, tx pgx.Tx, id int64, c Closing) error {
	if err := c.Check(); err != nil {
		return err
	}
	err := tx.QueryRow(ctx, closeBreak, id, c.State, c.Who, c.Why[:min(len(c.Why), noteMax)], c.Code).Scan(new(int64))
	if errors.Is(err, pgx.ErrNoRows) {
		return r.StillOpen(ctx, id)
	}
	if err != nil {
		return readFault("recon.CloseWithin", err)
	}
	return nil
}

// StillOpen is nil for an open break; fault.NotFound or fault.AlreadyFinal says why not.
func (r *Recon) StillOpen(ctx context.Context, id int64) error {
	b, err := r.Break(ctx, id)
	if err == nil && b.ClosedAt != nil {
		err = alreadyClosed(&b)
	}
	return err
}

func alreadyClosed(b *Break) error {
	return fault.New(fault.AlreadyFinal, "the break was "+b.State+" by "+b.ClosedBy+": "+b.Reason).WithResource(strconv.FormatInt(b.ID, 10))
}

const assignBreak = `with assigned as (
  update breaks set owner = $2 where id = $1 and closed_at is null returning id
)
insert into break_events (break, what, who, note) select id, 'assigned', $3, $4 from assigned returning break`

// Assign gives an open break to another owner.
func (r *Recon) Assign(ctx context.Context, id int64, owner, who, why string) (Break, error) {
	if strings.TrimSpace(owner) == "" || len(owner) > 100 {
		return Break{}, fault.New(fault.MalformedRequest, "name an owner, in 1 to 100 bytes").WithParam("/owner")
	}
	return r.change(ctx, id, who, why, assignBreak, id, owner, who, "to "+owner+": "+why)
}

func (r *Recon) change(ctx context.Context, id int64, who, why, sql string, args ...any) (Break, error) {
	if strings.TrimSpace(why) == "" || len(why) > noteMax || !valid(why) {
		return Break{}, fault.New(fault.MalformedRequest, "say why, in 1 to 500 bytes").WithParam("/reason")
	}
	err := r.cfg.Pool.QueryRow(ctx, sql, args...).Scan(new(int64))
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return Break{}, readFault("recon.Break", err)
	}
	b, readErr := r.Break(ctx, id)
	if readErr != nil {
		return b, readErr
	}
	if err != nil {
		return b, alreadyClosed(&b)
	}
	r.log.LogAttrs(ctx, slog.LevelInfo, "break changed", slog.Int64("break", id), slog.String("class", b.Class), slog.String("state", b.State),
		slog.String("owner", b.Owner), slog.String("by", who), slog.String("reason", why))
	return b, nil
}

// Whoever opened it, recon gives every new break its owner, its severity and the
// first line of its history.
const triage = `with c as (select * from unnest($1::text[], $2::text[], $3::smallint[]) as c(class, owner, severity)), new as (
  update breaks b set owner = coalesce(c.owner, $4), severity = coalesce(c.severity, 1)
    from breaks n left join c on c.class = n.class where n.id = b.id and n.owner = ''
  returning b.id, b.opened_at, b.detail, b.closed_at, b.state, b.closed_by, b.close_reason
), opened as (
  insert into break_events (break, at, what, who, note) select id, opened_at, 'opened', $5, detail from new order by id
)
insert into break_events (break, at, what, who, note)
select id, closed_at, state, coalesce(closed_by, $5), coalesce(close_reason, '') from new n where closed_at is not null
   and not exists (select from break_events e where e.break = n.id and e.what = n.state) order by id`

func (r *Recon) triage(ctx context.Context) error {
	names, owners, severities := make([]string, len(classes)), make([]string, len(classes)), make([]int16, len(classes))
	for i, c := range classes {
		names[i], owners[i], severities[i] = c.Name, c.Owner, c.Severity
	}
	if _, err := r.cfg.Pool.Exec(ctx, triage, names, owners, severities, operations, itself); err != nil {
		return fmt.Errorf("give new breaks their owners: %w", err)
	}
	return nil
}

func digits(n int) string { return strconv.Itoa(n) }

func valid(s string) bool { return strings.ToValidUTF8(s, "") == s && !strings.ContainsRune(s, 0) }

// BreakColumns names the columns of Row.
func BreakColumns() []string {
	return []string{
		"id", "class", "title", "state", "severity", "owner", "channel", "payment", "reference", "line", "direction", "asset", "amount",
		"opened_at", "age_s", "closed_at", "closed_by", "reason", "code", "suggested_action", "suggested_transition", "confidence", "suggestion", "detail",
	}
}

// Row is the break as a row of a table, amounts in the asset's smallest unit.
func (b *Break) Row() []string {
	closed := ""
	if b.ClosedAt != nil {
		closed = b.ClosedAt.Format(time.RFC3339)
	}
	return []string{
		strconv.FormatInt(b.ID, 10), b.Class, b.Title.En, b.State, digits(int(b.Severity)), inert(b.Owner), string(b.Channel), b.Payment,
		inert(b.Reference), inert(b.Line), b.Direction, string(b.Asset), b.Amount.String(), b.OpenedAt.Format(time.RFC3339),
		strconv.FormatInt(b.AgeSeconds, 10), closed, inert(b.ClosedBy), inert(b.Reason), b.Code, b.Suggestion.Action, b.Suggestion.Transition,
		b.Suggestion.Confidence, b.Suggestion.En, inert(b.Detail),
	}
}

// inert keeps a spreadsheet from taking what a stranger wrote for a formula.
func inert(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}
