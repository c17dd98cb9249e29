package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

const baselineDB = "baseline"

// The baseline is what a person would write first: accounts with a balance that
// the database keeps from falling below zero, transfers with a unique key and
// with what a statement of one account needs to be found by.
const baselineSchema = `
create table accounts (id bigint primary key, balance bigint not null check (balance >= 0));
create table transfers (
  id bigint generated always as identity primary key, key uuid not null unique,
  debit bigint not null, credit bigint not null, amount bigint not null check (amount > 0),
  at timestamptz not null default now());
create index on transfers (debit, id);
create index on transfers (credit, id);`

const baselineFunds = 1_000_000

// baseline moves money in plain SQL, one transfer a transaction.
type baseline struct {
	dsn      string
	accounts int
	acked    atomic.Int64
	refused  atomic.Int64
}

func newBaseline(ctx context.Context, dsn string, accounts int) (*baseline, error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return nil, fmt.Errorf("baseline: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, baselineSchema); err != nil {
		return nil, fmt.Errorf("baseline: make tables: %w", err)
	}
	if _, err := conn.Exec(ctx, `insert into accounts select g, $2 from generate_series(1, $1::int) g`, accounts, baselineFunds); err != nil {
		return nil, fmt.Errorf("baseline: make accounts: %w", err)
	}
	if _, err := conn.Exec(ctx, `vacuum analyze accounts`); err != nil {
		return nil, fmt.Errorf("baseline: %w", err)
	}
	return &baseline{dsn: dsn, accounts: accounts}, nil
}

// load runs connections that transfer back to back, and returns how many
// transfers were committed within which time.
func (b *baseline) load(ctx context.Context, connections int, during time.Duration) (acked int64, took time.Duration, err error) {
	conns := make([]*pgx.Conn, 0, connections)
	defer func() {
		for _, c := range conns {
			_ = c.Close(context.WithoutCancel(ctx))
		}
	}()
	for range connections {
		c, err := pgx.Connect(ctx, b.dsn)
		if err != nil {
			return 0, 0, fmt.Errorf("baseline: connect: %w", err)
		}
		conns = append(conns, c)
	}
	var wg sync.WaitGroup
	errs := make([]error, connections)
	before, began := b.acked.Load(), time.Now()
	for i, c := range conns {
		wg.Go(func() {
			for time.Since(began) < during && errs[i] == nil {
				errs[i] = b.transfer(ctx, c)
			}
		})
	}
	wg.Wait()
	return b.acked.Load() - before, time.Since(began), errors.Join(errs...)
}

// transfer is one transaction. The two rows are taken in the order of their ids,
// or two opposite transfers would deadlock.
func (b *baseline) transfer(ctx context.Context, c *pgx.Conn) error {
	from := mathrand.IntN(b.accounts) + 1
	to := (from+mathrand.IntN(b.accounts-1))%b.accounts + 1
	amount := 1 + mathrand.IntN(100)
	var key [16]byte
	_, _ = rand.Read(key[:]) // never fails: it ends the program instead
	tx, err := c.Begin(ctx)
	if err != nil {
		return fmt.Errorf("baseline: begin: %w", err)
	}
	defer func() { _ = tx.Rollback(ctx) }() // after a commit it does nothing
	if _, err := tx.Exec(ctx, `insert into transfers (key, debit, credit, amount) values ($1, $2, $3, $4)`, key, from, to, amount); err != nil {
		return fmt.Errorf("baseline: insert: %w", err)
	}
	debit := func() (bool, error) {
		tag, err := tx.Exec(ctx, `update accounts set balance = balance - $2 where id = $1 and balance >= $2`, from, amount)
		return tag.RowsAffected() == 1, err
	}
	credit := func() (bool, error) {
		tag, err := tx.Exec(ctx, `update accounts set balance = balance + $2 where id = $1`, to, amount)
		return tag.RowsAffected() == 1, err
	}
	first, second := debit, credit
	if to < from {
		first, second = credit, debit
	}
	for _, step := range []func() (bool, error){first, second} {
		done, err := step()
		if err != nil {
			return fmt.Errorf("baseline: update: %w", err)
		}
		if !done {
			b.refused.Add(1)
			return nil
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("baseline: commit: %w", err)
	}
	b.acked.Add(1)
	return nil
}

// verify recounts the baseline: it is held to what it is compared with.
func (b *baseline) verify(ctx context.Context) ([]string, error) {
	conn, err := pgx.Connect(ctx, b.dsn)
	if err != nil {
		return nil, fmt.Errorf("baseline: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var sum, rows int64
	if err := conn.QueryRow(ctx, `select sum(balance)::bigint, (select count(*) from transfers) from accounts`).Scan(&sum, &rows); err != nil {
		return nil, fmt.Errorf("baseline: recount: %w", err)
	}
	var wrong []string
	if want := int64(b.accounts) * baselineFunds; sum != want {
		wrong = append(wrong, fmt.Sprintf("baseline: the balances sum to %d, not %d", sum, want))
	}
	if acked := b.acked.Load(); rows != acked {
		wrong = append(wrong, fmt.Sprintf("baseline: %d transfers in the table, %d acknowledged", rows, acked))
	}
	if n := b.refused.Load(); n > 0 {
		wrong = append(wrong, fmt.Sprintf("baseline: %d transfers refused for want of funds: not the same work", n))
	}
	return wrong, nil
}
