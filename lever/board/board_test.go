package board_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/lever"
	"github.com/moneta-pay/moneta/lever/board"
)

func TestMain(m *testing.M) { pgtest.VerifyTestMain(m) }

const patience = 30 * time.Second

// node is a board that runs, as on one node.
type node struct {
	*board.Board
	stop func()
}

func run(t *testing.T, pool *pgxpool.Pool, folder string, c clock.Clock) *node {
	t.Helper()
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{LogOutput: io.Discard})
	require.NoError(t, err)
	b := board.New(board.Config{Pool: pool, Folder: folder, Clock: c, Telemetry: tel})
	_ = b.Load(t.Context())
	ctx, cancel := context.WithCancel(context.Background())
	var w sync.WaitGroup
	w.Go(func() { _ = b.Run(ctx) })
	n := &node{b, sync.OnceFunc(func() { cancel(); w.Wait() })}
	t.Cleanup(n.stop)
	return n
}

func pull(name lever.Name, aim string) lever.Pull {
	a, err := lever.ParseAim(aim)
	if err != nil {
		panic(err)
	}
	return lever.Pull{Lever: name, Aim: a, Owner: "ann", Reason: "bank-ab is slow", By: "operator ann", Expires: time.Now().Add(time.Hour)}
}

func (n *node) readOnly() bool { return n.Standing().Writes(n.Now()) != nil }

func eventually(t *testing.T, holds func() bool, what string) {
	t.Helper()
	require.Eventually(t, holds, patience, 5*time.Millisecond, what)
}

// A pull on one node holds on the other within a second, and so does its undo; a
// node that begins later knows it before it does anything.
func TestAPullHoldsOnEveryNodeWithinASecond(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t)
	a, b := run(t, pool, "", nil), run(t, pool, "", nil)
	worst := time.Duration(0)
	for range 5 {
		began := time.Now()
		p, err := a.Pull(t.Context(), pull(lever.ReadOnly, "everything"))
		require.NoError(t, err)
		require.True(t, a.readOnly(), "at once where it was pulled")
		eventually(t, b.readOnly, "on the other node")
		worst = max(worst, time.Since(began))
		c := run(t, pool, "", nil)
		require.True(t, c.readOnly(), "a node that begins knows it")
		c.stop()
		began = time.Now()
		_, err = b.Undo(t.Context(), p.ID, "operator bob", "the bank is well")
		require.NoError(t, err)
		require.False(t, b.readOnly())
		eventually(t, func() bool { return !a.readOnly() }, "undone on the other node")
		worst = max(worst, time.Since(began))
	}
	t.Logf("the slowest of 10 changes took %s", worst.Round(time.Millisecond))
	require.Less(t, worst, time.Second+loudMachine)
	all, err := a.History(t.Context(), lever.ID{}, 100)
	require.NoError(t, err)
	require.Len(t, all, 5)
	require.Equal(t, "operator bob", all[0].UndoneBy)
	rest, err := a.History(t.Context(), all[1].ID, 100)
	require.NoError(t, err)
	require.Len(t, rest, 3)
	require.Equal(t, 10, count(t, pool, `select count(*) from operator_actions where began is null and action in ('pull-lever', 'undo-lever')`), "who did what is recorded")
}

// loudMachine is what a test on a busy machine may take beside; without load the
// slowest change takes some 250 ms.
const loudMachine = 2 * time.Second

func count(t *testing.T, pool *pgxpool.Pool, sql string, args ...any) (n int) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), sql, args...).Scan(&n))
	return n
}

// The end of a lever asks nobody: it comes while the database is gone.
func TestAnEndNeedsNoDatabase(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t)
	c := clock.NewManual(time.Now())
	own, err := pgxpool.NewWithConfig(t.Context(), pool.Config())
	require.NoError(t, err)
	n := run(t, own, "", c)
	p := pull(lever.ReadOnly, "everything")
	p.Expires = c.Now().Add(time.Minute)
	_, err = n.Pull(t.Context(), p)
	require.NoError(t, err)
	own.Close() // the database is gone
	c.Advance(59 * time.Second)
	require.True(t, n.readOnly(), "what was known holds on")
	eventually(t, func() bool { return n.Warnings()["levers_stale"] != "" }, "and the node says so")
	require.Contains(t, n.Warnings()["levers"], "read-only")
	c.Advance(time.Second)
	require.False(t, n.readOnly())
}

// A process that stood still does not act on what held before it did.
func TestAThawedNodeLooksAgain(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t)
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{LogOutput: io.Discard})
	require.NoError(t, err)
	c := clock.NewManual(time.Now())
	frozen := board.New(board.Config{Pool: pool, Clock: c, Telemetry: tel})
	require.False(t, frozen.Current(), "who has never looked knows nothing")
	require.NoError(t, frozen.Load(t.Context()))
	require.True(t, frozen.Current())
	other := run(t, pool, "", nil)
	_, err = other.Pull(t.Context(), pull(lever.PauseDispatch, "everything"))
	require.NoError(t, err)
	c.Advance(3 * time.Second) // it stood still
	require.False(t, frozen.Current())
	require.Nil(t, frozen.Standing().Dispatch(c.Now(), "bank-ab"), "it still believes what it knew")
	require.NoError(t, frozen.Load(t.Context()))
	require.True(t, frozen.Current())
	require.NotNil(t, frozen.Standing().Dispatch(c.Now(), "bank-ab"))
}

// A file on the node's machine pulls while the database is gone, and is in the table
// with who pulled it when the database is back; then every node holds it, and an undo
// anywhere ends it.
func TestAFilePullsWithoutTheDatabase(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t)
	folder := filepath.Join(t.TempDir(), "levers")
	gone, err := pgxpool.New(t.Context(), "host=127.0.0.1 port=1 user=x dbname=x connect_timeout=1")
	require.NoError(t, err)
	t.Cleanup(gone.Close)
	cut := run(t, gone, folder, nil)
	p := pull(lever.SafeMode, "everything")
	p.By = "local root"
	p, err = board.PullLocally(folder, p, time.Now())
	require.NoError(t, err)
	eventually(t, func() bool { return cut.Standing().Dispatch(cut.Now(), "bank-ab") != nil }, "without a database")
	cut.stop()

	other := run(t, pool, "", nil)
	back := run(t, pool, folder, nil)
	require.NotNil(t, back.Standing().Dispatch(back.Now(), "bank-ab"), "a process that begins anew knows it")
	eventually(t, func() bool { return other.Standing().Dispatch(other.Now(), "bank-ab") != nil }, "on the other node too")
	kept, err := other.One(t.Context(), p.ID)
	require.NoError(t, err)
	require.Equal(t, "local root", kept.By)
	require.Equal(t, lever.ViaFile, kept.Via)
	require.Equal(t, 1, count(t, pool, `select count(*) from operator_actions where operator = 'local root' and action = 'pull-lever' and began is null`))
	_, err = other.Undo(t.Context(), p.ID, "operator ann", "over")
	require.NoError(t, err)
	eventually(t, func() bool { return back.Standing().Empty() }, "an undo ends the file's lever too")

	eventually(t, func() bool {
		pulls, _, err := board.ReadLocally(folder)
		return err == nil && len(pulls) == 1 && !pulls[0].Holds(time.Now())
	}, "and the folder says so: a process that begins while the database is gone does not hold it again")
	back.stop()
	again := run(t, gone, folder, nil)
	require.True(t, again.Standing().Empty())
}

// An undo by a file ends a lever of the table on its node at once, and everywhere
// when it is in the table.
func TestAFileUndoes(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t)
	folder := filepath.Join(t.TempDir(), "levers")
	a, b := run(t, pool, folder, nil), run(t, pool, "", nil)
	p, err := a.Pull(t.Context(), pull(lever.PauseDispatch, "channel:bank-ab"))
	require.NoError(t, err)
	intake, err := a.Pull(t.Context(), pull(lever.PauseIntake, "everything"))
	require.NoError(t, err)
	eventually(t, func() bool { return len(b.Standing().At(b.Now())) == 2 }, "both hold everywhere")
	for _, id := range []lever.ID{p.ID, intake.ID} {
		require.NoError(t, board.UndoLocally(folder, lever.Undo{ID: id, By: "local root", Reason: "over"}, time.Now()))
	}
	eventually(t, func() bool { return b.Standing().Dispatch(b.Now(), "bank-ab") == nil }, "undone everywhere")
	require.NotNil(t, b.Standing().Intake(b.Now(), &lever.Subject{Kind: "send"}), "files undo only what files may pull")
}

// What a file cannot do, and what damaged files do not do.
func TestFilesThatAreNoLevers(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "levers")
	var refusal *lever.Refusal
	_, err := board.PullLocally(folder, pull(lever.Bulkhead, "channel:bank-ab"), time.Now())
	require.ErrorAs(t, err, &refusal)
	unowned := pull(lever.ReadOnly, "everything")
	unowned.Owner = ""
	_, err = board.PullLocally(folder, unowned, time.Now())
	require.ErrorAs(t, err, &refusal)
	p, err := board.PullLocally(folder, pull(lever.ReadOnly, "everything"), time.Now())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "x.pull.json"), []byte(`{"lever":"read-only"}`), 0o600))
	n := run(t, pgtest.Database(t), folder, nil)
	require.True(t, n.readOnly(), "the others hold")
	require.Contains(t, n.Warnings()["levers_stale"], "x.pull.json")
	held, broken, err := board.ReadLocally(folder)
	require.NoError(t, err)
	require.Len(t, held, 1)
	require.Len(t, broken, 1)

	require.NoError(t, os.Chmod(folder, 0o777))
	eventually(t, func() bool { return n.Warnings()["levers_stale"] != "" && n.readOnly() }, "who else can write there is not believed, and nothing is let go")
	require.NoError(t, os.Chmod(folder, 0o700))
	require.NoError(t, board.UndoLocally(folder, lever.Undo{ID: p.ID, By: "local root", Reason: "over"}, time.Now()))
	eventually(t, func() bool { return !n.readOnly() }, "undone")
}

func TestWhatTheBoardRefuses(t *testing.T) {
	t.Parallel()
	n := run(t, pgtest.Database(t), "", nil)
	_, err := n.Pull(t.Context(), pull(lever.PauseIntake, "tenant:77"))
	require.ErrorIs(t, err, fault.MalformedRequest, "a tenant that is not there")
	_, err = n.Pull(t.Context(), pull(lever.ReadOnly, "channel:bank-ab"))
	require.ErrorIs(t, err, fault.MalformedRequest)
	_, err = n.Undo(t.Context(), lever.NewID(), "operator ann", "over")
	require.ErrorIs(t, err, fault.NotFound)
	for range lever.HoldingMax {
		_, err = n.Pull(t.Context(), pull(lever.PauseDispatch, "channel:bank-ab"))
		require.NoError(t, err)
	}
	_, err = n.Pull(t.Context(), pull(lever.PauseDispatch, "channel:bank-ab"))
	require.ErrorIs(t, err, fault.MalformedRequest, "so many are too many to ask")
}

func TestTheTableOnlyGrows(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t)
	n := run(t, pool, "", nil)
	p, err := n.Pull(t.Context(), pull(lever.ReadOnly, "everything"))
	require.NoError(t, err)
	for _, sql := range []string{`delete from lever_changes`, `update lever_changes set expires_at = now()`} {
		conn, err := pool.Acquire(t.Context())
		require.NoError(t, err)
		_, err = conn.Exec(t.Context(), `set role moneta_pay`)
		require.NoError(t, err)
		_, err = conn.Exec(t.Context(), sql)
		require.ErrorContains(t, err, "permission denied")
		_, err = conn.Exec(t.Context(), `reset role`)
		require.NoError(t, err)
		conn.Release()
	}
	first, err := n.Undo(t.Context(), p.ID, "operator ann", "over")
	require.NoError(t, err)
	again, err := n.Undo(t.Context(), p.ID, "operator bob", "over again")
	require.NoError(t, err)
	require.Equal(t, first, again, "the first undo stands")
	require.Equal(t, 1, count(t, pool, `select count(*) from facts.levers where undone_by = 'operator ann'`))
}
