package drill

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/doctor"
)

// everyone is a right scope where everything writes.
var everyone = []string{"everyone"}

// worseOfDatabase is what must not be done while a session is the culprit: ending the
// waiters or anybody else, restarting what is well.
func worseThanEnding(pid string) []Match {
	return []Match{
		{Do: "terminate-session", With: map[string]string{"pid": pid}, Not: true},
		{Do: "restart-process"},
		{Do: "takeover"},
		{Do: "redispatch"},
		{Do: "drop-slot"},
		{Do: "propose-compensation"},
	}
}

func endSession(pid string) []Match {
	return []Match{{Do: "terminate-session", With: map[string]string{"pid": pid}}, {Do: "cancel-statement", With: map[string]string{"pid": pid}}}
}

func databaseDrills() []*Drill {
	return []*Drill{
		{
			Name: "long-hold", Class: "DB", World: Plain, Stall: true, Least: 0.2,
			About:  doctor.Text{EN: "Somebody's program locks hot rows and goes idle in its transaction.", ZH: "某程序锁住热点行后在事务中空闲。"},
			Inject: injectLongHold,
			Truth: Truth{
				Pairs: []Pair{{"postgres", "long-hold"}}, Scope: everyone,
				Contain: endSession("{pid}"), Repair: endSession("{pid}"), Harmful: worseThanEnding("{pid}"),
			},
		},
		{
			Name: "ddl-queue", Class: "DB", World: Plain, Stall: true, Least: 0.2,
			About:  doctor.Text{EN: "A change of a table waits behind a long read, and everything waits behind it.", ZH: "表结构变更排在长读之后,其后全部等待。"},
			Inject: injectDDLQueue,
			Truth: Truth{
				Pairs: []Pair{{"postgres", "ddl-queue"}}, Scope: everyone,
				Contain: endSession("{ddl}"), Repair: endSession("{ddl}"),
				Harmful: []Match{{Do: "restart-process"}, {Do: "takeover"}, {Do: "redispatch"}, {Do: "drop-slot"}},
			},
		},
		{
			Name: "foreign-locks", Class: "DB", World: Plain, Stall: true, Least: 0.2,
			About:  doctor.Text{EN: "A job of somebody else updates hot rows in one long transaction.", ZH: "外部作业在一个长事务中更新热点行。"},
			Inject: injectForeignLocks,
			Truth: Truth{
				Pairs: []Pair{{"postgres", "foreign-locks"}}, Scope: everyone,
				Contain: endSession("{pid}"), Repair: endSession("{pid}"), Harmful: worseThanEnding("{pid}"),
			},
		},
		{
			Name: "foreign-deadlock", Class: "DB", World: Plain, Least: 0.03,
			About:  doctor.Text{EN: "A job locks hot rows in the reverse order, again and again.", ZH: "作业反复以相反顺序锁定热点行。"},
			Inject: injectDeadlocks,
			Truth: Truth{
				Pairs: []Pair{{"postgres", "deadlocks"}, {"postgres", "foreign-locks"}, {"postgres", "long-hold"}}, Scope: everyone,
				Contain: []Match{{Do: "terminate-session"}, {Do: "cancel-statement"}, {Do: "lever"}},
				Repair:  []Match{{Do: "terminate-session"}, {Do: "cancel-statement"}},
				Harmful: []Match{{Do: "restart-process"}, {Do: "takeover"}, {Do: "redispatch"}},
			},
		},
		{
			Name: "standby-gone", Class: "DB", World: Plain, Stall: true, Least: 0.2,
			About:  doctor.Text{EN: "The only synchronous standby is gone, and no commit is acknowledged.", ZH: "唯一的同步备库消失,提交无法确认。"},
			Before: startStandby, Inject: injectStandbyGone,
			Truth: Truth{
				Pairs: []Pair{{"postgres", "standby-gone"}}, Scope: everyone, Outside: true, Contain: []Match{{Do: "lever"}},
				Harmful: []Match{{Do: "terminate-session"}, {Do: "cancel-statement"}, {Do: "restart-process"}, {Do: "takeover"}, {Do: "redispatch"}, {Do: "drop-slot"}},
			},
		},
		{
			Name: "primary-loss", Class: "DB", World: Plain, Stall: true, Least: 0.2,
			About:  doctor.Text{EN: "The primary's machine stops: nothing answers, and nothing is refused.", ZH: "主库所在机器停止:既无应答也不拒绝。"},
			Inject: injectPrimaryLoss,
			Truth: Truth{
				Pairs: []Pair{{"postgres", "down"}}, Scope: everyone, Outside: true, Contain: []Match{{Do: "lever"}},
				Harmful: []Match{{Do: "terminate-session"}, {Do: "restart-process"}, {Do: "takeover"}, {Do: "redispatch"}, {Do: "drop-slot"}},
			},
		},
		{
			Name: "slow-disk", Class: "DB", World: Plain, Needs: []string{NeedStrace}, Stall: true, Least: 0.1,
			About: doctor.Text{EN: "Every flush of the database's disk takes long.", ZH: "数据库磁盘的每次刷盘都很慢。"},
			Inject: func(_ context.Context, s *Scene) (func(context.Context) error, error) {
				return s.slowCalls("fdatasync,fsync", time.Duration(s.chance(0.95)*float64(time.Second)))
			},
			Truth: Truth{
				Pairs: []Pair{{"postgres", "slow-disk"}}, Scope: everyone, Outside: true,
				Contain: []Match{{Do: "lever"}},
				Harmful: []Match{{Do: "terminate-session"}, {Do: "restart-process"}, {Do: "takeover"}, {Do: "redispatch"}, {Do: "drop-slot"}},
			},
		},
	}
}

// hot are rows that every payment writes.
const hot = `select 1 from hop_counts for update`

func injectLongHold(ctx context.Context, s *Scene) (func(context.Context) error, error) {
	conn, err := s.hold(ctx, "pid", "reporting", hot)
	if err != nil {
		return nil, err
	}
	return drop(conn), nil
}

func injectForeignLocks(ctx context.Context, s *Scene) (func(context.Context) error, error) {
	conn, err := s.hold(ctx, "pid", "month-end", hot)
	if err != nil {
		return nil, err
	}
	busy := forever(func(ctx context.Context) error {
		// One long statement, as of a job that works over many rows.
		_, err := conn.Exec(ctx, `select count(*), pg_sleep(25) from hop_counts h, generate_series(1, 10) n`)
		if err != nil {
			<-ctx.Done()
		}
		return err
	})
	return both(func(ctx context.Context) error {
		_ = conn.PgConn().CancelRequest(ctx) // it may be gone
		return busy(ctx)
	}, drop(conn)), nil
}

func injectDDLQueue(ctx context.Context, s *Scene) (func(context.Context) error, error) {
	reader, err := s.hold(ctx, "pid", "analyst", "select count(*) from open_payments", "select count(*) from payments")
	if err != nil {
		return nil, err
	}
	ddl, err := s.session(ctx, "migration")
	if err != nil {
		return nil, err
	}
	s.Values["ddl"] = strconv.FormatUint(uint64(ddl.PgConn().PID()), 10)
	done := make(chan struct{})
	go func() { //nolint:gosec // it ends with the heal, not with ctx
		defer close(done)
		// The column is never made: the statement waits until it is cancelled.
		_, _ = ddl.Exec(context.Background(), `alter table open_payments add column batch_note text`)
		_, _ = ddl.Exec(context.Background(), `alter table open_payments drop column if exists batch_note`)
	}()
	return func(ctx context.Context) error {
		_ = ddl.PgConn().CancelRequest(ctx) // it may be gone
		_ = drop(reader)(ctx)
		select {
		case <-done:
		case <-ctx.Done():
		}
		return drop(ddl)(ctx)
	}, nil
}

// injectDeadlocks locks two hot rows in the order in which our own batches do not.
func injectDeadlocks(ctx context.Context, s *Scene) (func(context.Context) error, error) {
	var conns []*pgx.Conn
	var heals []func(context.Context) error
	for n := range 2 {
		conn, err := s.session(ctx, "balance-job")
		if err != nil {
			return nil, err
		}
		conns = append(conns, conn)
		s.Values[fmt.Sprintf("pid%d", n)] = strconv.FormatUint(uint64(conn.PgConn().PID()), 10)
	}
	for n, conn := range conns {
		heals = append(heals, forever(func(ctx context.Context) error { return lockBackwards(ctx, conn, n) }), drop(conn))
	}
	return both(heals...), nil
}

func lockBackwards(ctx context.Context, conn *pgx.Conn, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	order := "hop desc, channel desc, asset"
	if n == 0 {
		order = "hop, channel, asset"
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	rows, err := tx.Query(ctx, `select hop, channel, asset from hop_counts order by `+order)
	if err != nil {
		return err
	}
	keys, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Hop, Channel, Asset string }])
	if err != nil {
		return err
	}
	for _, k := range keys {
		if _, err := tx.Exec(ctx, `select 1, pg_sleep(0.1) from hop_counts where (hop, channel, asset) = ($1, $2, $3) for update`, k.Hop, k.Channel, k.Asset); err != nil {
			return err
		}
	}
	return tx.Commit(ctx)
}

// injectIndexGone drops the index of the history and remembers how to make it again.
func injectIndexGone(ctx context.Context, s *Scene) (func(context.Context) error, error) {
	conn, err := s.session(ctx, "psql")
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(ctx) }()
	// The unique indexes of the books are the guard against two deciders: they come back
	// under their own names, or nothing is right.
	const name = "transfers_debit"
	var definition string
	if err := conn.QueryRow(ctx, `select indexdef from pg_indexes where indexname = $1`, name).Scan(&definition); err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, `drop index `+name); err != nil {
		return nil, err
	}
	s.Values["index"] = name
	return func(ctx context.Context) error {
		conn, err := s.session(ctx, "psql")
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(ctx) }()
		var there bool
		if err := conn.QueryRow(ctx, `select exists (select 1 from pg_indexes where indexname = $1)`, name).Scan(&there); err != nil || there {
			return err
		}
		_, err = conn.Exec(ctx, definition)
		return err
	}, nil
}
