package settle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay/channel"
)

// A callback that cannot be applied is set aside, so that those behind it are applied.
// It says nothing of the money: what it would have told is asked for, and it is applied
// when somebody replays it, once, whatever it had come to before. Its bytes stay.
//
// Crash points. Before the one statement that sets it aside: it waits as before, and is
// tried again. After it: it is aside, and says by whom and why. One that was being
// applied while it was set aside may have had its effect; a replay is then the same
// Fact again, which moves nothing.

// Bounds of trying callbacks one by one.
const (
	asideAfter  = 10 * time.Second // younger ones are on their way
	asideMost   = 200              // are tried at once
	asideApart  = 16               // payments at a time
	asideAlone  = 2 * time.Second  // for one: a Fact alone takes milliseconds
	asideWithin = 8 * time.Second  // for all
	asideShown  = 500              // that are listed
	aside       = "aside"
	givenUp     = "given_up"
	reasonMax   = 300 // bytes
	bodyShown   = 500 // characters
	machine     = "settle"
)

// errNotOne reports that nothing can be applied, so that no callback is to blame.
var errNotOne = errors.New("none of them can be applied, nor was any other lately: it is no single callback that holds up the others")

// errNoTime reports that one was not tried for as long as it may take.
var errNoTime = errors.New("the time of all is up")

// AsideOrder says which callbacks, who wants it and why.
type AsideOrder struct {
	// Channel is the only one; all when empty.
	Channel channel.Name
	// Callbacks are exactly these rows of the inbox. When there are none, those are
	// meant that wait and that cannot be applied alone while others can.
	Callbacks  []int64
	By, Reason string
}

// Letter is a callback that waits, or is aside.
type Letter struct {
	ID         int64
	Channel    string
	ReceivedAt time.Time
	// AsideAt, By and Reason tell of one that is aside.
	AsideAt    time.Time
	By, Reason string
	// Body is the beginning of what it says, made readable.
	Body string
}

const selectStuckLetters = `select id, channel, headers, body, coalesce(trace_id::text, ''), received_at from inbox
  where applied_at is null and ($1 = '' or channel = $1)
    and (id = any($2::bigint[]) or cardinality($2::bigint[]) = 0 and verdict is null and received_at <= $3) order by id limit $4`

// MayGoAside are the callbacks that SetAside would take, or try: those that were named
// and wait, or else those that have waited too long. It changes nothing.
func (b *Inbox) MayGoAside(ctx context.Context, o *AsideOrder) ([]Letter, error) {
	letters, err := b.stuck(ctx, o)
	out := make([]Letter, len(letters))
	for i := range letters {
		out[i] = Letter{ID: letters[i].id, Channel: string(letters[i].channel), ReceivedAt: letters[i].receivedAt, Body: readable(letters[i].body)}
	}
	return out, err
}

func (b *Inbox) stuck(ctx context.Context, o *AsideOrder) ([]letter, error) {
	named := o.Callbacks
	if named == nil {
		named = []int64{}
	}
	rows, err := b.cfg.Pool.Query(ctx, selectStuckLetters, string(o.Channel), named, b.cfg.Clock.Now().Add(-asideAfter), asideMost)
	if err != nil {
		return nil, fmt.Errorf("read the inbox: %w", err)
	}
	letters, err := pgx.CollectRows(rows, readLetter)
	if err != nil {
		return nil, fmt.Errorf("read the inbox: %w", err)
	}
	return letters, nil
}

// readable is the beginning of a body for people, as text.
func readable(body []byte) string {
	out := []rune(string(body[:min(len(body), 4*bodyShown)]))
	for i, r := range out {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f {
			out[i] = '\uFFFD'
		}
	}
	return string(out[:min(len(out), bodyShown)])
}

// SetAside sets callbacks aside: those that were named, or those that cannot be applied
// alone while others can. What is applied by being tried is applied. Errors are
// *fault.Error: fault.IllegalTransition when no single one is to blame.
func (b *Inbox) SetAside(ctx context.Context, o *AsideOrder) ([]Letter, error) {
	letters, err := b.stuck(ctx, o)
	if err != nil || len(letters) == 0 {
		return nil, err
	}
	why := make(map[int64]string, len(letters))
	if len(o.Callbacks) > 0 {
		for i := range letters {
			why[letters[i].id] = o.Reason
		}
	} else if why, err = b.toBlame(ctx, letters, o.Reason); err != nil {
		return nil, err
	}
	return b.putAside(ctx, letters, why, o.By)
}

// toBlame tries each letter alone, those of one payment in the order in which they came,
// and returns those that cannot be applied, with why.
func (b *Inbox) toBlame(ctx context.Context, letters []letter, reason string) (map[int64]string, error) {
	began := b.cfg.Clock.Now()
	ctx, cancel := context.WithTimeout(ctx, asideWithin)
	defer cancel()
	groups := map[int64][]letter{}
	for i := range letters {
		it := item{letter: letters[i]}
		b.read(ctx, &it)
		of := int64(it.id)
		if of == 0 {
			of = -it.letter.id
		}
		groups[of] = append(groups[of], it.letter)
	}
	var mu sync.Mutex
	bad, good := map[int64]string{}, 0
	var g errgroup.Group
	g.SetLimit(asideApart)
	for _, group := range groups {
		g.Go(func() error {
			for _, l := range group {
				blame, judged, err := b.alone(ctx, l)
				mu.Lock()
				switch {
				case errors.Is(err, errNoTime): // it is not tried, and stays
				case err != nil:
					mu.Unlock()
					return err
				case judged:
					good++
				case blame != "":
					bad[l.id] = clipReason(reason + ": " + blame)
				}
				mu.Unlock()
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if len(bad) == 0 || good > 0 || b.judged.Load() >= began.Add(-asideAfter).UnixNano() {
		return bad, nil
	}
	return nil, fault.New(fault.IllegalTransition, errNotOne.Error()).WithOp("settle.SetAside").WithCause(errNotOne)
}

// alone applies one letter, and says what is wrong with it, if it is to blame; an error
// is nobody's. Judged says that the decider has answered: what is not worth asking it
// shows nothing of whether it answers.
func (b *Inbox) alone(ctx context.Context, l letter) (blame string, judged bool, err error) {
	if ctx.Err() != nil {
		return "", false, errNoTime
	}
	own, cancel := context.WithTimeout(ctx, asideAlone)
	defer cancel()
	items, err := b.applyItems(own, []letter{l})
	switch {
	case refusedData(err):
		return "the database refuses it: " + err.Error(), false, nil
	case ctx.Err() != nil: // this one had less than its own time
		return "", false, errNoTime
	case own.Err() != nil:
		return fmt.Sprintf("applying it alone does not end within %s", asideAlone), false, nil
	case err != nil:
		return "", false, err
	}
	switch left := items[0].left; {
	case left == nil:
		return "", items[0].fact != nil, nil
	case fault.CodeOf(left) == fault.Internal:
		return "applying it alone fails: " + left.Error(), false, nil
	default: // no leader, read-only, the database: none of it is its fault
		return "", false, left
	}
}

const putAsideSQL = `with done as (
  update inbox set applied_at = $3, verdict = 'aside' where id = any($1::bigint[]) and applied_at is null returning id, channel, received_at
)
insert into callbacks_aside (inbox, channel, received_at, aside_at, "by", reason)
select d.id, d.channel, d.received_at, $3, $4, w.reason from done d join unnest($1::bigint[], $2::text[]) as w(id, reason) on w.id = d.id order by d.id
returning inbox`

// putAside is one statement.
func (b *Inbox) putAside(ctx context.Context, letters []letter, why map[int64]string, by string) (out []Letter, err error) {
	if len(why) == 0 {
		return nil, nil
	}
	var ids []int64
	var reasons []string
	known := make(map[int64]*letter, len(letters))
	for i := range letters {
		l := &letters[i]
		if reason := why[l.id]; reason != "" {
			ids, reasons, known[l.id] = append(ids, l.id), append(reasons, reason), l
		}
	}
	now := b.cfg.Clock.Now()
	rows, err := b.cfg.Pool.Query(ctx, putAsideSQL, ids, reasons, now, by)
	if err != nil {
		return nil, fmt.Errorf("set callbacks aside: %w", err)
	}
	done, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("set callbacks aside: %w", err)
	}
	for _, id := range done {
		l := known[id]
		b.metrics.callbacks.WithLabelValues(string(l.channel), aside).Inc()
		b.log.LogAttrs(ctx, slog.LevelError, "a callback is set aside; a person must look", slog.String("channel", string(l.channel)),
			slog.Int64("inbox", id), slog.String("by", by), slog.String("reason", why[id]))
		out = append(out, Letter{ID: id, Channel: string(l.channel), ReceivedAt: l.receivedAt, AsideAt: now, By: by, Reason: why[id], Body: readable(l.body)})
	}
	return out, nil
}

func clipReason(s string) string {
	if len(s) <= reasonMax {
		return s
	}
	cut := reasonMax
	for cut > 0 && s[cut]&0xc0 == 0x80 { // not inside a character
		cut--
	}
	return s[:cut]
}

const selectAside = `select a.inbox, a.channel, a.received_at, a.aside_at, a."by", a.reason, i.body
  from callbacks_aside a join inbox i on i.id = a.inbox
 where a.ended_at is null and ($1 = '' or a.channel = $1) and (cardinality($2::bigint[]) = 0 or a.inbox = any($2::bigint[])) order by a.id limit $3`

// Aside lists the callbacks that are aside, the oldest first, at most 500.
func (b *Inbox) Aside(ctx context.Context, o *AsideOrder) ([]Letter, error) {
	named := o.Callbacks
	if named == nil {
		named = []int64{}
	}
	rows, err := b.cfg.Pool.Query(ctx, selectAside, string(o.Channel), named, asideShown)
	if err != nil {
		return nil, fmt.Errorf("read what is aside: %w", err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (l Letter, err error) {
		var body []byte
		err = row.Scan(&l.ID, &l.Channel, &l.ReceivedAt, &l.AsideAt, &l.By, &l.Reason, &body)
		l.Body = readable(body)
		return l, err
	})
	if err != nil {
		return nil, fmt.Errorf("read what is aside: %w", err)
	}
	return out, nil
}

// In one statement each: the row says again that it waits, or that nobody will apply it.
const (
	replayAsideSQL = `with ended as (
  update callbacks_aside set ended_at = $4, ended_as = 'replayed', ended_by = $2, end_reason = $3
   where ended_at is null and inbox = any($1::bigint[]) returning inbox
)
update inbox set applied_at = null, verdict = null where id in (select inbox from ended) and verdict = 'aside'`
	giveUpAsideSQL = `with ended as (
  update callbacks_aside set ended_at = $4, ended_as = 'given_up', ended_by = $2, end_reason = $3
   where ended_at is null and inbox = any($1::bigint[]) returning inbox
)
update inbox set verdict = 'given_up' where id in (select inbox from ended) and verdict = 'aside'`
)

// Replay lets callbacks that are aside wait again, and has them applied where the sweep
// runs. Twice is once.
func (b *Inbox) Replay(ctx context.Context, o *AsideOrder) (int, error) {
	n, err := b.endAside(ctx, b.cfg.Pool, replayAsideSQL, o)
	if n > 0 {
		b.SweepNow()
	}
	return n, err
}

// GiveUp ends callbacks that are aside: nobody applies them any more. Their bytes stay
// as long as those of any other. It is done within tx, that of whoever agreed.
func (b *Inbox) GiveUp(ctx context.Context, tx pgx.Tx, o *AsideOrder) (int, error) {
	return b.endAside(ctx, tx, giveUpAsideSQL, o)
}

// IsAside refuses callbacks of which one is not aside.
func (b *Inbox) IsAside(ctx context.Context, o *AsideOrder) error {
	found, err := b.Aside(ctx, o)
	if err == nil && (len(o.Callbacks) == 0 || len(found) != len(o.Callbacks)) {
		err = fault.New(fault.IllegalTransition, fmt.Sprintf("%d of %d are aside", len(found), len(o.Callbacks)))
	}
	return err
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func (b *Inbox) endAside(ctx context.Context, db querier, sql string, o *AsideOrder) (int, error) {
	rows, err := db.Query(ctx, sql, o.Callbacks, o.By, clipReason(o.Reason), b.cfg.Clock.Now())
	if err != nil {
		return 0, fmt.Errorf("end what is aside: %w", err)
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return 0, fmt.Errorf("end what is aside: %w", err)
	}
	return int(rows.CommandTag().RowsAffected()), nil
}
