package drill

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/moneta-pay/moneta/doctor"
)

// smallMegabytes is the size of a small disk.
const smallMegabytes = 640

// worldDrills need a world of their own kind.
func worldDrills() []*Drill {
	return []*Drill{
		{
			Name: "index-gone", Class: "DB", World: Old, Least: 0.1, Before: manyReaders,
			About:  doctor.Text{EN: "The index behind the holders' history is gone.", ZH: "支撑账户流水的索引丢失。"},
			Inject: injectIndexGone,
			Truth: Truth{
				Pairs: []Pair{{"postgres", "index-gone"}}, Scope: []string{"cohort", "everyone"},
				Contain: []Match{{Do: "create-index"}, {Do: "lever"}}, Repair: []Match{{Do: "create-index"}},
				Harmful: []Match{{Do: "terminate-session"}, {Do: "restart-process"}, {Do: "takeover"}, {Do: "redispatch"}},
			},
		},
		{
			Name: "one-way-loss", Class: "NW", World: Wired, Needs: []string{NeedNet}, Stall: true, Least: 0.3,
			About: doctor.Text{EN: "Packets from serve to its database are lost; the other way they arrive.", ZH: "服务到数据库的数据包丢失,反向正常。"},
			Inject: func(ctx context.Context, s *Scene) (func(context.Context) error, error) {
				return func(ctx context.Context) error { return passAt(ctx, s.World.Device) }, dropAt(ctx, s.World.Device)
			},
			Truth: Truth{
				Pairs: []Pair{{"postgres", "wire"}}, Scope: everyone, Outside: true, Contain: []Match{{Do: "lever"}},
				Harmful: []Match{{Do: "terminate-session"}, {Do: "redispatch"}, {Do: "drop-slot"}, {Do: "create-index"}},
			},
		},
		{
			Name: "wal-flood", Class: "DB", World: Small, Needs: []string{NeedRoot, NeedMount}, Least: 0.2, Lasts: 35 * time.Second,
			About:  doctor.Text{EN: "A slot that nobody reads keeps the log, and a small disk fills up.", ZH: "无人读取的复制槽保留日志,小磁盘被写满。"},
			Inject: injectFlood,
			Truth: Truth{
				Pairs: []Pair{{"postgres", "wal-flood"}, {"postgres", "disk-full"}, {"postgres", "read-only"}}, Scope: []string{"everyone", "none", "too_few"},
				Contain: []Match{{Do: "lever"}, {Do: "drop-slot", With: map[string]string{"slot": "{slot}"}}},
				Repair:  []Match{{Do: "drop-slot", With: map[string]string{"slot": "{slot}"}}},
				Harmful: []Match{{Do: "restart-process"}, {Do: "takeover"}, {Do: "redispatch"}, {Do: "terminate-session"}}, Outside: true,
			},
		},
	}
}

func injectFlood(ctx context.Context, s *Scene) (func(context.Context) error, error) {
	conn, err := s.session(ctx, "psql")
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(ctx) }()
	slot := "old_standby_" + strconv.Itoa(s.Dice.IntN(1000))
	s.Values["slot"] = slot
	if _, err := conn.Exec(ctx, `select pg_create_physical_replication_slot($1, true)`, slot); err != nil {
		return nil, err
	}
	work, err := s.session(ctx, "etl")
	if err != nil {
		return nil, err
	}
	write := forever(func(ctx context.Context) error {
		for _, sql := range []string{
			`create table if not exists etl_stage (n bigint, text text)`,
			`insert into etl_stage select n, repeat(md5(n::text), 20) from generate_series(1, 12000) n`,
			`truncate etl_stage`,
		} {
			if _, err := work.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return pause(ctx, 100*time.Millisecond)
	})
	return both(write, drop(work), func(ctx context.Context) error { return makeRoom(ctx, s, slot) }), nil
}

// makeRoom takes the slot and the table away and has the log given back.
func makeRoom(ctx context.Context, s *Scene, slot string) error {
	conn, err := s.session(ctx, "psql")
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	for _, sql := range []string{
		`set default_transaction_read_only = off`,
		fmt.Sprintf(`select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = '%s'`, slot),
		`drop table if exists etl_stage`, `checkpoint`,
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// manyReaders look at their balances and histories, as on pay day: so many a second,
// whatever the answers take.
func manyReaders(_ context.Context, s *Scene) (func(context.Context) error, error) {
	const perSecond, most = 240, 600
	dice := rand.New(rand.NewPCG(s.Dice.Uint64(), 13)) //nolint:gosec // dice, not secrets
	var asking errgroup.Group
	asking.SetLimit(most)
	stop := forever(func(ctx context.Context) error {
		of := s.World.API + "/v1/accounts/" + s.Load.accounts[dice.IntN(holders)]
		asking.TryGo(func() error {
			_ = s.Load.client.call(ctx, http.MethodGet, of+"/balances", nil, nil, nil) // the orders tell whom it hurts
			_ = s.Load.client.call(ctx, http.MethodGet, of+"/statement?limit=50", nil, nil, nil)
			return nil
		})
		return pause(ctx, time.Second/perSecond)
	})
	return both(stop, func(context.Context) error { return asking.Wait() }), nil
}
