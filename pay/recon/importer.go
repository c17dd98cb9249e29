package recon

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/recon/statement"
)

// importWithin bounds one import; copyChunk is how many lines one message brings.
const (
	importWithin = 5 * time.Minute
	copyChunk    = 2000
)

// Imported is one statement that was taken from a file.
type Imported struct {
	ID          int64         `json:"id"`
	Channel     channel.Name  `json:"channel"`
	StatementID string        `json:"statement_id"`
	Page        int           `json:"page"`
	Asset       money.Asset   `json:"asset"`
	Day         string        `json:"day" doc:"The day that it closes"`
	Opening     *money.Amount `json:"opening,omitempty"`
	Closing     *money.Amount `json:"closing,omitempty"`
	// Net is what its lines come to: in less out less fees.
	Net   money.Amount `json:"net"`
	Lines int          `json:"lines"`
	// Applied is how many of them recon has judged.
	Applied    int       `json:"applied"`
	ImportedAt time.Time `json:"imported_at"`
	ImportedBy string    `json:"imported_by"`
	// Accepted is why it was taken although it does not balance.
	Accepted string `json:"accepted,omitempty"`
	// Replayed says that the same file had been taken before.
	Replayed bool `json:"replayed,omitempty"`
}

// Import is what is to be imported.
type Import struct {
	Channel channel.Name
	File    io.Reader
	// Mapping says where in a CSV what stands.
	Mapping statement.Mapping
	// By is who imports it.
	By string
	// Accept says why a statement that does not balance is taken all the same; empty
	// refuses it.
	Accept string
}

// Import reads a channel's statement file and keeps it whole or not at all; its lines
// wait for the next run, on whichever node leads. The same file again returns what was
// made of it. Crash points: before COMMIT nothing was taken; after it, the same file is
// answered as replayed. Errors: fault.StatementRefused for a file that is cut off,
// garbled, open or out of balance, fault.StatementChanged for another file under a
// statement's name, fault.BodyTooLarge.
func (r *Recon) Import(ctx context.Context, in Import) ([]Imported, error) {
	const op = "recon.Import"
	ctx, cancel := context.WithTimeout(ctx, importWithin)
	defer cancel()
	if in.Channel == "" || in.By == "" {
		return nil, fault.New(fault.ChannelUnknown, "name the channel").WithOp(op)
	}
	tx, err := r.cfg.Pool.Begin(ctx)
	if err != nil {
		return nil, readFault(op, err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	// Two imports of one channel wait for each other: their balances follow on one another.
	if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtextextended('recon:' || $1, 0))`, string(in.Channel)); err != nil {
		return nil, readFault(op, err)
	}
	hash := sha256.New()
	s := &staging{ctx: ctx, tx: tx, in: &in}
	if err := statement.Read(io.TeeReader(in.File, hash), in.Mapping, s); err != nil {
		return nil, refusedFile(op, err)
	}
	out, err := s.file(hash.Sum(nil))
	if err != nil {
		return nil, refusedFile(op, err)
	}
	if out[0].Replayed {
		return out, nil // nothing is kept of the second reading
	}
	if err := tx.Commit(ctx); err != nil {
		return nil, fault.New(fault.CommitUnknown, "the file may have been taken; import it again, it is answered as before").WithOp(op).WithCause(err)
	}
	for _, one := range out {
		r.log.LogAttrs(ctx, slog.LevelInfo, "statement imported", slog.String("channel", string(one.Channel)),
			slog.String("statement", one.StatementID), slog.Int("lines", one.Lines), slog.String("by", one.ImportedBy))
	}
	return out, nil
}

// refusedFile turns what is wrong with a file into the caller's words.
func refusedFile(op string, err error) error {
	var known *fault.Error
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, statement.ErrTooLarge):
		return fault.New(fault.BodyTooLarge, err.Error()).WithOp(op)
	case errors.Is(err, statement.ErrMalformed), errors.Is(err, statement.ErrOpenDay):
		return fault.New(fault.StatementRefused, err.Error()+"; nothing of it was taken").WithOp(op)
	default:
		return readFault(op, err)
	}
}

// staging takes a file's lines into the transaction.
type staging struct {
	ctx  context.Context
	tx   pgx.Tx
	in   *Import
	id   int64
	rows [][]any
	all  []statement.Statement
	ids  []int64
}

// Line keeps a line for the statement that is being read.
func (s *staging) Line(l channel.Line) error {
	if s.id == 0 {
		if err := s.number(); err != nil {
			return err
		}
	}
	s.rows = append(s.rows, []any{
		s.id, int32(l.Seq), l.ID, int16(l.Direction), l.Reference, l.Amount.String(), l.Fee.String(), string(l.Asset), l.Remittance, l.BookedAt,
		l.Return, l.Reason,
	})
	if len(s.rows) < copyChunk {
		return nil
	}
	return s.flush()
}

func (s *staging) number() error {
	err := s.tx.QueryRow(s.ctx, `select nextval(pg_get_serial_sequence('statements', 'id'))`).Scan(&s.id)
	if err != nil {
		return fmt.Errorf("number the statement: %w", err)
	}
	return nil
}

const insertImports = `insert into statement_imports
  select s, n, line_id, direction, reference, amount::numeric, fee::numeric, asset, remittance, booked_at, returned, reason
    from unnest($1::bigint[], $2::integer[], $3::text[], $4::smallint[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::timestamptz[],
         $11::boolean[], $12::text[]) as l(s, n, line_id, direction, reference, amount, fee, asset, remittance, booked_at, returned, reason)`

func (s *staging) flush() error {
	if len(s.rows) == 0 {
		return nil
	}
	columns := make([]any, len(s.rows[0]))
	for c := range columns {
		column := make([]any, len(s.rows))
		for i, row := range s.rows {
			column[i] = row[c]
		}
		columns[c] = column
	}
	s.rows = s.rows[:0]
	if _, err := s.tx.Exec(s.ctx, insertImports, columns...); err != nil {
		return fmt.Errorf("keep the lines: %w", err)
	}
	return nil
}

// End takes the statement that the lines belong to.
func (s *staging) End(st statement.Statement) error {
	if s.id == 0 {
		if err := s.number(); err != nil {
			return err
		}
	}
	if err := s.flush(); err != nil {
		return err
	}
	s.all, s.ids, s.id = append(s.all, st), append(s.ids, s.id), 0
	return nil
}

const selectSame = `select content = $4 from statements where channel = $1 and statement_id = $2 and page = $3`

// file writes the statements of a file that was read to its end.
func (s *staging) file(content []byte) ([]Imported, error) {
	replayed := 0
	for i := range s.all {
		st := &s.all[i]
		var same bool
		err := s.tx.QueryRow(s.ctx, selectSame, string(s.in.Channel), st.ID, st.Page, content).Scan(&same)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			continue
		case err != nil:
			return nil, fmt.Errorf("look for the statement: %w", err)
		case !same:
			return nil, fault.New(fault.StatementChanged, fmt.Sprintf("statement %s of %s was taken before, with other content; nothing of this file was taken", st.ID, s.in.Channel)).
				WithOp("recon.Import").WithResource(st.ID)
		}
		replayed++
	}
	if replayed > 0 && replayed < len(s.all) {
		return nil, fault.New(fault.StatementRefused, "it repeats a statement within itself").WithOp("recon.Import")
	}
	out := make([]Imported, 0, len(s.all))
	for i := range s.all {
		if replayed == 0 {
			if err := s.keep(i, content); err != nil {
				return nil, err
			}
		}
		one, err := s.read(&s.all[i])
		if err != nil {
			return nil, err
		}
		one.Replayed = replayed > 0
		out = append(out, one)
	}
	return out, nil
}

func (s *staging) read(st *statement.Statement) (Imported, error) {
	rows, err := s.tx.Query(s.ctx, selectImported+` where channel = $1 and statement_id = $2 and page = $3`, string(s.in.Channel), st.ID, st.Page)
	if err != nil {
		return Imported{}, err
	}
	return pgx.CollectExactlyOneRow(rows, readImported)
}

const insertStatement = `insert into statements (id, channel, statement_id, page, last, account, asset, content, opening, closing, net, lines, day, first_booked,
    latest_booked, imported_by, accepted, applied_at)
  values ($1, $2, $3, $4, $5, $6, $7, $8, $9::numeric, $10::numeric, $11::numeric, $12, $13, $14, $15, $16, nullif($17, ''), case when $12 = 0 then now() end)`

func (s *staging) keep(i int, content []byte) error {
	st := &s.all[i]
	off, judged, err := st.Off()
	if err != nil {
		return fault.New(fault.StatementRefused, "its balances: "+err.Error()).WithOp("recon.Import")
	}
	unbalanced := judged && !off.IsZero()
	if unbalanced && strings.TrimSpace(s.in.Accept) == "" {
		return fault.New(fault.StatementRefused, fmt.Sprintf("statement %s does not balance: it opens with %s, its %d lines come to %s, and it closes with %s: %s is off. "+
			"Ask the channel for the whole file, or take it all the same and say why; nothing of it was taken", st.ID, st.Opening, st.Lines, st.Net, st.Closing, off)).
			WithOp("recon.Import").WithResource(st.ID)
	}
	accepted := ""
	if unbalanced {
		accepted = s.in.Accept
	}
	day := st.Date
	if day.IsZero() {
		day = st.Latest
	}
	if day.IsZero() {
		return fault.New(fault.StatementRefused, "statement "+st.ID+" has neither a closing date nor a line: nobody could tell which day it closes").WithOp("recon.Import")
	}
	_, err = s.tx.Exec(s.ctx, insertStatement, s.ids[i], string(s.in.Channel), st.ID, st.Page, st.Last, st.Account, string(st.Asset), content,
		text(st.Opening), text(st.Closing), st.Net.String(), st.Lines, day, orNull(st.First), orNull(st.Latest), s.in.By, accepted)
	if err != nil {
		return fmt.Errorf("keep the statement: %w", err)
	}
	if unbalanced {
		if err := s.open(statementUnbalanced, st.ID, st.Asset, off, "it opens with "+st.Opening.String()+", its lines come to "+st.Net.String()+
			", it closes with "+st.Closing.String()+"; taken because: "+s.in.Accept); err != nil {
			return err
		}
	}
	return s.follows(s.ids[i], st)
}

const selectNeighbour = `select statement_id, closing::text, opening::text, day from statements
  where channel = $1 and asset = $2 and id <> $3 and page = 1 and last and opening is not null and closing is not null and `

// follows holds the opening balance against the closing one of the statement before,
// and its closing balance against the opening one of the statement after: what lies
// between two statements that do not meet, nobody has told us.
func (s *staging) follows(id int64, st *statement.Statement) error {
	if st.Opening == nil || st.Closing == nil || !st.Whole() {
		return nil
	}
	for _, side := range []struct {
		where string
		later bool
	}{
		{`(day, id) < (select day, id from statements where id = $3) order by day desc, id desc limit 1`, false},
		{`(day, id) > (select day, id from statements where id = $3) order by day, id limit 1`, true},
	} {
		var name, closing, opening string
		var day time.Time
		err := s.tx.QueryRow(s.ctx, selectNeighbour+side.where, string(s.in.Channel), string(st.Asset), id).Scan(&name, &closing, &opening, &day)
		if errors.Is(err, pgx.ErrNoRows) {
			continue
		}
		if err != nil {
			return fmt.Errorf("look for the statement beside it: %w", err)
		}
		before, after := closing, st.Opening.String()
		late, early := st.ID, name
		if side.later {
			before, after = st.Closing.String(), opening
			late, early = name, st.ID
		}
		if err := s.meet(early, late, st.Asset, before, after); err != nil {
			return err
		}
	}
	return nil
}

// meet opens a break on the later statement if it does not begin where the earlier
// one ended, and closes it if it does.
func (s *staging) meet(early, late string, asset money.Asset, before, after string) error {
	if before == after {
		_, err := s.tx.Exec(s.ctx, closeGap, string(s.in.Channel), late, "statement "+early+" closes with what it opens with", balanceGap)
		return err
	}
	from, err := money.ParseMinor(before)
	if err != nil {
		return err
	}
	to, err := money.ParseMinor(after)
	if err != nil {
		return err
	}
	gap, err := to.Sub(from)
	if err != nil {
		return err
	}
	return s.open(balanceGap, late, asset, gap, "statement "+early+" closes with "+before+", and "+late+" opens with "+after+": a statement between them is missing")
}

const closeGap = `with closed as (
  update breaks set state = 'resolved', closed_at = now(), closed_by = 'recon', close_reason = $3
   where closed_at is null and channel = $1 and line = $2 and class = $4 returning id
)
insert into break_events (break, what, who, note) select id, 'resolved', 'recon', $3 from closed`

// open opens a break about a statement: its id stands where a line's would.
func (s *staging) open(class, statementID string, asset money.Asset, amount money.Amount, detail string) error {
	_, err := s.tx.Exec(s.ctx, `insert into breaks (class, channel, line, asset, amount, detail) values ($1, $2, $3, $4, $5::numeric, $6) on conflict do nothing`,
		class, string(s.in.Channel), statementID, string(asset), amount.String(), detail[:min(len(detail), detailMax)])
	if err != nil {
		return fmt.Errorf("open the break of a statement: %w", err)
	}
	return nil
}

func text(a *money.Amount) *string {
	if a == nil {
		return nil
	}
	s := a.String()
	return &s
}

func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

const selectImported = `select id, channel, statement_id, page, asset, day, opening::text, closing::text, net::text, lines, applied, imported_at, imported_by,
    coalesce(accepted, '') from statements`

// Statements returns the newest statements that came as files, at most limit, of one
// channel or of all.
func (r *Recon) Statements(ctx context.Context, name channel.Name, limit int) ([]Imported, error) {
	rows, err := r.cfg.Pool.Query(ctx, selectImported+` where $1 = '' or channel = $1 order by id desc limit $2`, string(name), limit)
	if err != nil {
		return nil, readFault("recon.Statements", err)
	}
	out, err := pgx.CollectRows(rows, readImported)
	if err != nil {
		return nil, readFault("recon.Statements", err)
	}
	return out, nil
}

func readImported(row pgx.CollectableRow) (Imported, error) {
	var i Imported
	var day time.Time
	var opening, closing *string
	var net string
	err := row.Scan(&i.ID, &i.Channel, &i.StatementID, &i.Page, &i.Asset, &day, &opening, &closing, &net, &i.Lines, &i.Applied, &i.ImportedAt, &i.ImportedBy, &i.Accepted)
	if err != nil {
		return i, err
	}
	i.Day, i.ImportedAt = day.Format(time.DateOnly), i.ImportedAt.UTC()
	for _, x := range []struct {
		text *string
		to   **money.Amount
	}{{opening, &i.Opening}, {closing, &i.Closing}} {
		if x.text == nil {
			continue
		}
		a, err := money.ParseMinor(*x.text)
		if err != nil {
			return i, err
		}
		*x.to = &a
	}
	i.Net, err = money.ParseMinor(net)
	return i, err
}

const (
	selectPending = `select id, applied from statements where channel = $1 and applied_at is null order by id limit 1`

	selectWaiting = `select n, line_id, direction, reference, amount::text, fee::text, asset, remittance, booked_at, returned, reason
  from statement_imports where statement = $1 and n > $2 order by n limit $3`

	markApplied = `update statements set applied = $2, applied_at = case when $2 = lines then now() end where id = $1`
)

// file judges the next page of a statement that came as a file. The crash points are
// those of page: facts first, then the lines with the mark of how far we are.
func (r *Recon) file(ctx context.Context, name channel.Name) (n int, more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, pageWithin)
	defer cancel()
	var id int64
	var applied int
	err = r.cfg.Pool.QueryRow(ctx, selectPending, string(name)).Scan(&id, &applied)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("look for imported statements: %w", err)
	}
	rows, err := r.cfg.Pool.Query(ctx, selectWaiting, id, applied, r.cfg.PageMax)
	if err != nil {
		return 0, false, fmt.Errorf("read statement %d: %w", id, err)
	}
	lines, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (l channel.Line, err error) {
		var amount, fee string
		if err = row.Scan(&l.Seq, &l.ID, &l.Direction, &l.Reference, &amount, &fee, &l.Asset, &l.Remittance, &l.BookedAt, &l.Return, &l.Reason); err != nil {
			return l, err
		}
		if l.Amount, err = money.ParseMinor(amount); err == nil {
			l.Fee, err = money.ParseMinor(fee)
		}
		return l, err
	})
	if err != nil {
		return 0, false, fmt.Errorf("read statement %d: %w", id, err)
	}
	if len(lines) == 0 {
		return 0, false, fmt.Errorf("statement %d has no line after %d, although it counts more", id, applied)
	}
	return len(lines), true, r.take(ctx, name, lines, id)
}
