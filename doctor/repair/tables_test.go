package repair_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/repair"
	"github.com/moneta-pay/moneta/internal/pgtest"
)

func pick(t *testing.T, hands []doctor.Hand, does string) doctor.Hand {
	t.Helper()
	for _, h := range hands {
		if h.Does() == does {
			return h
		}
	}
	t.Fatal(does)
	return nil
}

func TestALostIndexIsBuiltAgain(t *testing.T) {
	t.Parallel()
	d := withTable(t, pgtest.DSN(t))
	d.eyes.exec(`create unique index hot_n on hot (id, n) where n >= 0`)
	var def string
	require.NoError(t, d.eyes.conn.QueryRow(t.Context(), `select pg_get_indexdef('hot_n'::regclass)`).Scan(&def))
	h := pick(t, repair.Tables(repair.Database{DSN: d.dsn}), doctor.DoCreateIndex)
	a := doctor.Act{ID: "i", Do: h.Does(), With: map[string]string{"definition": def}}
	valid := func() bool {
		var ok bool
		require.NoError(t, d.eyes.conn.QueryRow(t.Context(), `select coalesce((select indisvalid from pg_index where indexrelid = to_regclass('hot_n')), false)`).Scan(&ok))
		return ok
	}
	change, err := h.Act(t.Context(), a)
	require.NoError(t, err)
	require.True(t, change.Nothing, "it is there")

	d.eyes.exec(`drop index hot_n`)
	change, err = h.Try(t.Context(), a)
	require.NoError(t, err)
	require.Contains(t, change.After, "CREATE UNIQUE INDEX CONCURRENTLY hot_n")
	require.False(t, valid())
	_, err = h.Act(t.Context(), a)
	require.NoError(t, err)
	require.True(t, valid())

	// What a crash in the middle left behind.
	d.eyes.exec(`update pg_index set indisvalid = false where indexrelid = 'hot_n'::regclass`)
	change, err = h.Try(t.Context(), a)
	require.NoError(t, err)
	require.Contains(t, change.Before, "cannot be used")
	_, err = h.Act(t.Context(), a)
	require.NoError(t, err)
	require.True(t, valid())

	// A build that fails leaves nothing behind.
	d.eyes.exec(`drop index hot_n; create table twins as select 1 as id from generate_series(1, 2)`)
	twins := doctor.Act{ID: "j", With: map[string]string{"definition": `CREATE UNIQUE INDEX hot_twins ON public.twins USING btree (id)`}}
	_, err = h.Act(t.Context(), twins)
	require.ErrorContains(t, err, "could not create unique index")
	var left int
	require.NoError(t, d.eyes.conn.QueryRow(t.Context(), `select count(*) from pg_class where relname = 'hot_twins'`).Scan(&left))
	require.Zero(t, left)

	for _, bad := range []string{
		"", "drop table hot", "CREATE INDEX x ON hot USING btree (id); drop table hot", "CREATE INDEX x ON hot; drop table hot; USING btree (id)",
		`CREATE INDEX x ON nowhere USING btree (id)`,
	} {
		_, err := h.Act(t.Context(), doctor.Act{With: map[string]string{"definition": bad}})
		require.Error(t, err, bad)
	}
	d.eyes.exec(`select from hot`)
}

func TestATableIsAnalyzed(t *testing.T) {
	t.Parallel()
	d := withTable(t, pgtest.DSN(t))
	h := pick(t, repair.Tables(repair.Database{DSN: d.dsn}), doctor.DoAnalyze)
	_, err := h.Act(t.Context(), doctor.Act{With: map[string]string{"relation": "hot"}})
	require.NoError(t, err)
	d.until(`select last_analyze is not null from pg_stat_user_tables where relname = 'hot'`)
	_, err = h.Act(t.Context(), doctor.Act{With: map[string]string{"relation": "hot; drop table hot"}})
	require.Error(t, err)
	d.eyes.exec(`select from hot`)
}

func TestASlotThatIsReadIsKept(t *testing.T) {
	t.Parallel()
	server := pgtest.Cluster(t)
	dsn := server.DSN("moneta")
	eyes := open(t, dsn)
	eyes.exec(`select pg_create_physical_replication_slot('left_behind', true)`)
	h := pick(t, repair.Logs(repair.Database{DSN: dsn}), doctor.DoDropSlot)
	with := map[string]string{"slot": "left_behind"}
	_, err := h.Act(t.Context(), doctor.Act{Do: h.Does(), With: with})
	never(t, err, "N9")
	with["plan"] = "its reader is gone for good"
	change, err := h.Try(t.Context(), doctor.Act{Do: h.Does(), With: with})
	require.NoError(t, err)
	require.Equal(t, doctor.Final, change.Reach)
	require.Contains(t, change.Before, "restart_lsn", "what a later backfill needs is in the record")
	_, err = h.Act(t.Context(), doctor.Act{Do: h.Does(), With: with})
	require.NoError(t, err)
	change, err = h.Act(t.Context(), doctor.Act{Do: h.Does(), With: with})
	require.NoError(t, err)
	require.True(t, change.Nothing)
	_, err = pick(t, repair.Logs(repair.Database{DSN: dsn}), doctor.DoRetryArchive).Act(t.Context(), doctor.Act{})
	require.NoError(t, err)
}

// A leader whose heartbeat stands still loses its sessions; one that beats does not.
func TestOnlyAStuckLeaderIsSucceeded(t *testing.T) {
	t.Parallel()
	d := withTable(t, pgtest.Database(t).Config().ConnString())
	h := repair.Takeover(repair.Database{DSN: d.dsn})
	const id = "00112233445566778899aabbccddeeff"
	d.eyes.exec(`insert into shards (id, leader, epoch) values (1, '` + id + `', 3) on conflict (id) do update set leader = excluded.leader`)
	d.eyes.exec(`insert into heartbeats (shard, leader, epoch, beat) values (1, '` + id + `', 3, 7) on conflict (shard) do update set leader = excluded.leader, beat = excluded.beat`)
	leader := open(t, d.dsn, "application_name", repair.Leader+id)
	another := open(t, d.dsn, "application_name", repair.Leader+"ff"+id[2:])

	beats := open(t, d.dsn)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = beats.conn.Exec(t.Context(), `update heartbeats set beat = beat + 1; select pg_sleep(0.2)`)
			}
		}
	}()
	change, err := h.Act(t.Context(), doctor.Act{})
	require.NoError(t, err)
	require.True(t, change.Nothing)
	require.NoError(t, leader.conn.Ping(t.Context()))
	close(stop)
	<-stopped

	change, err = h.Act(t.Context(), doctor.Act{})
	require.NoError(t, err)
	require.False(t, change.Nothing)
	require.Contains(t, change.Before, "stood still")
	require.Error(t, leader.conn.Ping(t.Context()))
	require.NoError(t, another.conn.Ping(t.Context()))
}
