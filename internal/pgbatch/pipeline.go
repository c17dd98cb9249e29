package pgbatch

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

// Statement is a set-based statement whose parameters are all Columns.
type Statement struct {
	// Name is unique; the statement is prepared under it.
	Name string
	SQL  string
}

// Call is one execution of a Statement within a Run.
type Call struct {
	Statement *Statement
	Columns   []*Column
}

// ErrUnknown reports a batch whose outcome nobody knows: the connection broke
// before the answer to COMMIT arrived. Ask the database before acting again.
var ErrUnknown = errors.New("outcome of the transaction is unknown")

// Conn is a connection that runs batches. It is for one goroutine.
type Conn struct {
	pg       *pgconn.PgConn
	prepared map[string]bool
}

// NewConn wraps pg, which the caller keeps owning.
func NewConn(pg *pgconn.PgConn) *Conn {
	return &Conn{pg: pg, prepared: make(map[string]bool)}
}

// PgConn returns the connection below.
func (c *Conn) PgConn() *pgconn.PgConn { return c.pg }

// Run executes calls in order as one transaction in one round trip. Calls
// without rows are left out. The error is a *pgconn.PgError when the server
// refused (nothing is committed), or wraps ErrUnknown.
func (c *Conn) Run(ctx context.Context, calls []Call) error {
	if err := c.prepare(ctx, calls); err != nil {
		return err
	}
	p := c.pg.StartPipeline(ctx)
	for _, call := range calls {
		if call.empty() {
			continue
		}
		values := make([][]byte, len(call.Columns))
		for i, col := range call.Columns {
			values[i] = col.Bytes()
		}
		p.SendQueryPrepared(call.Statement.Name, values, binaryFormat, nil)
	}
	return finish(p)
}

var binaryFormat = []int16{1}

func (call *Call) empty() bool {
	return len(call.Columns) > 0 && call.Columns[0].Len() == 0
}

// finish sends the batch with its Sync, which commits, and reads every answer:
// only the answer to the Sync proves the commit.
func finish(p *pgconn.Pipeline) error {
	if err := p.Sync(); err != nil {
		_ = p.Close()
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	synced, refused := false, error(nil)
	for {
		result, err := p.GetResults()
		if err != nil {
			var pgErr *pgconn.PgError
			if !errors.As(err, &pgErr) {
				_ = p.Close()
				return fmt.Errorf("%w: %w", ErrUnknown, err)
			}
			if refused == nil {
				refused = err
			}
			continue
		}
		if result == nil {
			break
		}
		switch r := result.(type) {
		case *pgconn.ResultReader:
			if _, err := r.Close(); err != nil {
				var pgErr *pgconn.PgError
				if !errors.As(err, &pgErr) {
					_ = p.Close()
					return fmt.Errorf("%w: %w", ErrUnknown, err)
				}
				if refused == nil {
					refused = err
				}
			}
		case *pgconn.PipelineSync:
			synced = true
		}
	}
	if err := p.Close(); err != nil && refused == nil {
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return verdict(synced, refused)
}

func verdict(synced bool, refused error) error {
	if refused == nil && !synced {
		return fmt.Errorf("%w: no answer to the commit", ErrUnknown)
	}
	if refused != nil && fatal(refused) {
		// The session died; a FATAL can arrive after the commit took place.
		return fmt.Errorf("%w: %w", ErrUnknown, refused)
	}
	return refused
}

func fatal(err error) bool {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return false
	}
	return pgErr.SeverityUnlocalized == "FATAL" || pgErr.SeverityUnlocalized == "PANIC"
}

func (c *Conn) prepare(ctx context.Context, calls []Call) error {
	for _, call := range calls {
		s := call.Statement
		if c.prepared[s.Name] {
			continue
		}
		oids := make([]uint32, len(call.Columns))
		for i, col := range call.Columns {
			oids[i] = arrayOf[col.oid]
		}
		if _, err := c.pg.Prepare(ctx, s.Name, s.SQL, oids); err != nil {
			return fmt.Errorf("prepare %s: %w", s.Name, err)
		}
		c.prepared[s.Name] = true
	}
	return nil
}

// arrayOf names the array type of each element type, from pg_type.dat.
var arrayOf = map[uint32]uint32{
	oidBool: 1000, oidInt2: 1005, oidInt4: 1007, oidInt8: 1016, oidText: 1009,
	oidTimestamptz: 1185, oidNumeric: 1231, oidUUID: 2951,
}
