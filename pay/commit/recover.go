package commit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/pgbatch"
)

// recoverFor is how long the decider tries to come back before it gives the
// shard up; recoverPause separates the tries.
const (
	recoverFor   = 20 * time.Second
	recoverPause = 100 * time.Millisecond
)

// divisionByZero is what the fence raises when the shard is no longer ours.
const divisionByZero = "22012"

// negativeRoot is what the statement that writes accounts raises when a foreign
// session holds one of the rows.
const negativeRoot = "2201F"

// recover brings memory back to what is committed after failed, then decides
// b.tickets anew, those of the failed batch first. Facts whose transaction did
// commit are answered from it: their keys and states are found in the database.
func (d *decider) recover(ctx context.Context, failed error, b *batch) error {
	tickets := append([]*ticket(nil), b.tickets...)
	d.logger.WarnContext(ctx, "batch failed; deciding anew on what is committed", slog.Int("facts", len(tickets)), slog.Any("error", failed))
	d.metrics.recovered()
	deadline := time.Now().Add(recoverFor) //nolint:forbidigo // a bound, not a decision
	for left, doubt := len(tickets), false; ; {
		// In doubt until the epoch was raised, however many tries that takes.
		doubt = doubt || errors.Is(failed, pgbatch.ErrUnknown)
		err := d.comeBack(ctx, failed, doubt)
		switch {
		case err != nil:
		case refusesWrites(failed) && !doubt:
			err = d.refuse(ctx, withoutAnswered(tickets), failed)
		default:
			doubt = false
			err = d.redo(ctx, withoutAnswered(tickets), failed)
		}
		switch {
		case err == nil:
			return nil
		case errors.Is(err, ErrLost) || ctx.Err() != nil || time.Now().After(deadline): //nolint:forbidigo // as above
			d.giveUp(tickets)
			return fmt.Errorf("%w: %w", ErrLost, err)
		}
		if n := len(withoutAnswered(tickets)); n < left { // slow is not stuck
			left, deadline = n, time.Now().Add(recoverFor) //nolint:forbidigo // as above
		}
		failed = err
		d.alive()
		pause(ctx, recoverPause)
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// comeBack makes sure that the failed transaction has ended, one way or the
// other, and reads what stands.
func (d *decider) comeBack(ctx context.Context, failed error, doubt bool) error {
	var pgErr *pgconn.PgError
	if errors.As(failed, &pgErr) && pgErr.Code == divisionByZero {
		return ErrLost
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if d.wire == nil || d.wire.IsClosed() || d.load.conn.IsClosed() || doubt {
		if err := d.connect(ctx); err != nil {
			return err
		}
		if err := d.raiseEpoch(ctx); err != nil {
			return err
		}
	}
	return d.reload(ctx)
}

// raiseEpoch queues behind the transaction of unknown outcome on the shard row:
// when it returns, that transaction has committed or never will.
func (d *decider) raiseEpoch(ctx context.Context) error {
	var epoch int64
	err := d.wire.QueryRow(ctx, `update shards set epoch = epoch + 1 where id = $1 and epoch = $2 and leader = $3 returning epoch`,
		d.shard, d.epoch, pgtype.UUID{Bytes: d.leader, Valid: true}).Scan(&epoch)
	if errors.Is(err, pgx.ErrNoRows) {
		return d.readEpoch(ctx)
	}
	if err != nil {
		return fmt.Errorf("raise the epoch: %w", err)
	}
	d.epoch = epoch
	return nil
}

// readEpoch tells an epoch that we raised ourselves, with the answer lost, from
// one that another leader took.
func (d *decider) readEpoch(ctx context.Context) error {
	err := d.wire.QueryRow(ctx, `select epoch from shards where id = $1 and leader = $2 for update`,
		d.shard, pgtype.UUID{Bytes: d.leader, Valid: true}).Scan(&d.epoch)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrLost
	}
	if err != nil {
		return fmt.Errorf("read the epoch: %w", err)
	}
	return nil
}

func withoutAnswered(tickets []*ticket) []*ticket {
	out := make([]*ticket, 0, len(tickets))
	for _, t := range tickets {
		if !t.answered {
			out = append(out, t)
		}
	}
	return out
}

// redo decides tickets in one batch, or in halves when the database refuses the
// whole for a reason that lies in a Fact.
func (d *decider) redo(ctx context.Context, tickets []*ticket, failed error) error {
	tickets, err := d.putPoisonAside(ctx, tickets)
	if err != nil || len(tickets) == 0 {
		return err
	}
	if !blamesFact(failed) {
		err := d.once(ctx, tickets)
		if err == nil || !blamesFact(err) {
			return err
		}
		if err := d.reload(ctx); err != nil {
			return err
		}
	}
	if len(tickets) == 1 {
		err := d.once(ctx, tickets)
		if err == nil || !blamesFact(err) {
			return err
		}
		if reload := d.reload(ctx); reload != nil {
			return reload
		}
		if rowLocked(err) {
			tickets[0].answer(Outcome{Err: fault.New(fault.Overloaded, "another session holds the account; send the same request again shortly")})
			return nil
		}
		return d.quarantine(ctx, tickets[0], err)
	}
	half := len(tickets) / 2
	for _, part := range [][]*ticket{tickets[:half], tickets[half:]} {
		err := d.once(ctx, withoutAnswered(part))
		if err == nil {
			continue
		}
		if !blamesFact(err) {
			return err
		}
		if err := d.reload(ctx); err != nil {
			return err
		}
		if err := d.redo(ctx, withoutAnswered(part), err); err != nil {
			return err
		}
	}
	return nil
}

// once decides and writes tickets as one batch and answers them.
func (d *decider) once(ctx context.Context, tickets []*ticket) error {
	if len(tickets) == 0 {
		return nil
	}
	d.alive()
	b := newBatch()
	b.reset(d.now())
	if err := d.extend(ctx, b, append([]*ticket(nil), tickets...)); err != nil {
		return err
	}
	if b.writes {
		b.seal()
		b.writeFence(d.shard, d.epoch, d.leader, d.mem.last)
		if err := d.write(ctx, b); err != nil {
			return err
		}
	}
	b.tellAll()
	d.answer(b)
	return nil
}

// blamesFact reports whether a database error comes from the data of some Fact:
// class 22 data exception (the fence's own code apart), 23 integrity, 54 program
// limit. Everything else passes or is the server's: the statements are the same
// for every Fact, so that class 42, syntax or access, is never one Fact's fault.
func blamesFact(err error) bool {
	if errors.Is(err, pgbatch.ErrUnknown) {
		return false
	}
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || len(pgErr.Code) != 5 {
		return false
	}
	switch pgErr.Code[:2] {
	case "22", "23", "54":
		return pgErr.Code != divisionByZero
	}
	return false
}

// rowLocked reports that a floor or a freeze met a row that somebody else holds.
func rowLocked(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == negativeRoot
}

// giveUp answers what nobody can answer any more on this node.
func (d *decider) giveUp(tickets []*ticket) {
	for _, t := range withoutAnswered(tickets) {
		t.answer(Outcome{Err: errCommitUnknown()})
	}
}

func errCommitUnknown() error {
	return fault.New(fault.CommitUnknown, "the outcome is not known yet; send the same request with the same key")
}
