package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// The databases of the two baselines.
const (
	baselineDB = "baseline"
	sameRowsDB = "same_rows"
)

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

// The second baseline keeps in plain SQL what the wallet keeps of a send: the
// key with the fingerprint of its request, the payment, the transfer with both
// balances after it, and the transition that is the event.
const sameRowsSchema = `
create table accounts (id bigint primary key, balance numeric not null check (balance >= 0));
create table keys (key uuid primary key, fingerprint uuid not null, payment bigint not null, at timestamptz not null default now());
create table payments (
  id bigint generated always as identity primary key, tenant integer not null, kind smallint not null, asset text not null,
  amount numeric not null check (amount > 0), fee numeric not null, from_account bigint not null, to_account bigint not null,
  key uuid not null, trace_id uuid not null, effective_at timestamptz not null default now(), created_at timestamptz not null default now());
create table transfers (
  id bigint generated always as identity primary key, payment bigint not null, debit bigint not null, credit bigint not null,
  amount numeric not null check (amount > 0), debit_balance numeric not null, credit_balance numeric not null,
  effective_at timestamptz not null default now(), booked_at timestamptz not null default now());
create index on transfers (debit, id);
create index on transfers (credit, id);
create table transitions (
  id bigint generated always as identity primary key, payment bigint not null, seq integer not null, transition smallint not null,
  from_state smallint not null, to_state smallint not null, at timestamptz not null default now());
create unique index on transitions (payment, seq);`

const baselineFunds = 1_000_000

// errRefused rolls a transfer back that the accounts cannot pay.
var errRefused = errors.New("refused")

// baseline is plain SQL in a database of its own; sqlPlan moves its money.
type baseline struct {
	plan           sqlPlan
	acked, refused int64
}

// sqlPlan tells the load generator to move money in plain SQL, one transfer a
// transaction, on so many connections back to back.
type sqlPlan struct {
	DSN         string        `json:"dsn"`
	Accounts    int           `json:"accounts"`
	SameRows    bool          `json:"same_rows"` // keep what the wallet keeps of a send
	Connections int           `json:"connections"`
	For         time.Duration `json:"for_ns"`
}

type transfer struct {
	key      [16]byte
	from, to int
	amount   int
}

// newBaseline makes the tables of one of the two schemas, and the accounts.
func newBaseline(ctx context.Context, dsn string, accounts int, schema string) (*baseline, error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return nil, fmt.Errorf("baseline: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, schema); err != nil {
		return nil, fmt.Errorf("baseline: make tables: %w", err)
	}
	if _, err := conn.Exec(ctx, `insert into accounts select g, $2 from generate_series(1, $1::int) g`, accounts, baselineFunds); err != nil {
		return nil, fmt.Errorf("baseline: make accounts: %w", err)
	}
	if _, err := conn.Exec(ctx, `vacuum analyze accounts`); err != nil {
		return nil, fmt.Errorf("baseline: %w", err)
	}
	return &baseline{plan: sqlPlan{DSN: dsn, Accounts: accounts, SameRows: schema == sameRowsSchema}}, nil
}

// load has the generator transfer, and keeps what it was answered.
func (b *baseline) load(ctx context.Context, r *run, connections int, during time.Duration) (acked int64, took time.Duration, err error) {
	plan := b.plan
	plan.Connections, plan.For = connections, during
	res, err := r.generate(ctx, loadJob{SQL: &plan}, during)
	b.acked += res.Acked
	b.refused += res.Refused
	return res.Acked, res.Elapsed, err
}

// run opens the connections, and transfers until the time is over.
func (p *sqlPlan) run(ctx context.Context) (loadResult, error) {
	conns := make([]*pgx.Conn, 0, p.Connections)
	defer func() {
		for _, c := range conns {
			_ = c.Close(context.WithoutCancel(ctx))
		}
	}()
	for range p.Connections {
		c, err := pgx.Connect(ctx, p.DSN)
		if err != nil {
			return loadResult{}, fmt.Errorf("baseline: connect: %w", err)
		}
		conns = append(conns, c)
	}
	var wg sync.WaitGroup
	results, errs := make([]loadResult, len(conns)), make([]error, len(conns))
	began := time.Now()
	for i, c := range conns {
		wg.Go(func() {
			for time.Since(began) < p.For && errs[i] == nil {
				errs[i] = p.transfer(ctx, c, &results[i])
			}
		})
	}
	wg.Wait()
	return sumOf(results, began), errors.Join(errs...)
}

// transfer is one transaction.
func (p *sqlPlan) transfer(ctx context.Context, c *pgx.Conn, res *loadResult) error {
	t := transfer{from: mathrand.IntN(p.Accounts) + 1, amount: 1 + mathrand.IntN(100)}
	t.to = (t.from+mathrand.IntN(p.Accounts-1))%p.Accounts + 1
	_, _ = rand.Read(t.key[:]) // never fails: it ends the program instead
	book := bookPlainly
	if p.SameRows {
		book = bookSameRows
	}
	err := pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error { return book(ctx, tx, t) })
	switch {
	case errors.Is(err, errRefused):
		res.Refused++
		return nil
	case err != nil:
		return fmt.Errorf("baseline: %w", err)
	}
	res.Acked++
	res.Done++
	return nil
}

func bookPlainly(ctx context.Context, tx pgx.Tx, t transfer) error {
	const sql = `insert into transfers (key, debit, credit, amount) values ($1, $2, $3, $4)`
	if _, err := tx.Exec(ctx, sql, t.key, t.from, t.to, t.amount); err != nil {
		return err
	}
	return t.inOrder(
		func() error {
			return moved(tx.Exec(ctx, `update accounts set balance = balance - $2 where id = $1 and balance >= $2`, t.from, t.amount))
		},
		func() error {
			return moved(tx.Exec(ctx, `update accounts set balance = balance + $2 where id = $1`, t.to, t.amount))
		})
}

// inOrder takes the two accounts' rows in the order of their ids, or two opposite
// transfers would deadlock.
func (t *transfer) inOrder(debit, credit func() error) error {
	first, second := debit, credit
	if t.to < t.from {
		first, second = credit, debit
	}
	if err := first(); err != nil {
		return err
	}
	return second()
}

func moved(tag pgconn.CommandTag, err error) error {
	if err == nil && tag.RowsAffected() != 1 {
		return errRefused
	}
	return err
}

func bookSameRows(ctx context.Context, tx pgx.Tx, t transfer) error {
	var payment int64
	err := tx.QueryRow(ctx, `insert into payments (tenant, kind, asset, amount, fee, from_account, to_account, key, trace_id)
		values (1, 1, 'CZK', $1, 0, $2, $3, $4, $4) returning id`, t.amount, t.from, t.to, t.key).Scan(&payment)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `insert into keys (key, fingerprint, payment) values ($1, $1, $2)`, t.key, payment); err != nil {
		return err
	}
	var left, right string
	err = t.inOrder(
		func() error {
			return found(tx.QueryRow(ctx, `update accounts set balance = balance - $2 where id = $1 and balance >= $2 returning balance::text`,
				t.from, t.amount).Scan(&left))
		},
		func() error {
			return found(tx.QueryRow(ctx, `update accounts set balance = balance + $2 where id = $1 returning balance::text`,
				t.to, t.amount).Scan(&right))
		})
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `insert into transfers (payment, debit, credit, amount, debit_balance, credit_balance)
		values ($1, $2, $3, $4, $5::text::numeric, $6::text::numeric)`, payment, t.from, t.to, t.amount, left, right); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `insert into transitions (payment, seq, transition, from_state, to_state) values ($1, 1, 22, 0, 6)`, payment)
	return err
}

func found(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return errRefused
	}
	return err
}

// verify recounts the baseline: it is held to what it is compared with.
func (b *baseline) verify(ctx context.Context) ([]string, error) {
	conn, err := pgx.Connect(ctx, b.plan.DSN)
	if err != nil {
		return nil, fmt.Errorf("baseline: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var sum, rows int64
	if err := conn.QueryRow(ctx, `select sum(balance)::bigint, (select count(*) from transfers) from accounts`).Scan(&sum, &rows); err != nil {
		return nil, fmt.Errorf("baseline: recount: %w", err)
	}
	var wrong []string
	if want := int64(b.plan.Accounts) * baselineFunds; sum != want {
		wrong = append(wrong, fmt.Sprintf("baseline: the balances sum to %d, not %d", sum, want))
	}
	if rows != b.acked {
		wrong = append(wrong, fmt.Sprintf("baseline: %d transfers in the table, %d acknowledged", rows, b.acked))
	}
	if b.refused > 0 {
		wrong = append(wrong, fmt.Sprintf("baseline: %d transfers refused for want of funds: not the same work", b.refused))
	}
	return wrong, nil
}
