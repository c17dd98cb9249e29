package torture

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgfence"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/test/binary"
)

// failoverSeed names another order of stalls.
const failoverSeed = "MONETA_FAILOVER_SEED"

// cluster is a primary with a standby, in two places that change roles, and two nodes
// whose address names both.
type cluster struct {
	*world
	base    string // folder of the two places
	primary *pgtest.Replica
	standby *pgtest.Replica
	nodes   []*process
	fence   *pgfence.Fence // of the test's own look
}

// address names both places, the one that was first primary first.
func (c *cluster) address() string {
	return fmt.Sprintf("host=%s,%s port=5432,5432 user=moneta dbname=moneta sslmode=disable target_session_attrs=read-write",
		filepath.Join(c.base, "a"), filepath.Join(c.base, "b"))
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{world: &world{t: t, dir: folder(t), listen: freePorts(t, 3)}}
	var err error
	c.base, err = os.MkdirTemp("/var/tmp", "moneta-failover-") //nolint:usetesting // a socket's path must be short, and its user must get in
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(c.base) })
	require.NoError(t, os.Chmod(c.base, 0o755))
	first := pgtest.Cluster(t)
	c.primary = c.standbyOf(first, "a")
	c.primary.Promote()
	require.NoError(t, first.Stop(t.Context()))
	c.follow("b")

	c.api, c.banks = "http://"+c.listen[0], "http://"+c.listen[2]
	c.keys.Secret = fmt.Sprintf("%016x", rand.Uint64())
	env := c.environment()
	made := c.command("key", "create", "--json", "--name", "failover", "--scopes", "payments:write,payments:read,accounts:write,accounts:read,admin,installation")
	c.keys.Tenant, c.keys.Admin = made.Key, made.Key
	start(t, c.dir, "sandbox", env, "sandbox", "--listen", c.listen[2], "--callback-url", c.api, "--dir", filepath.Join(c.dir, "banks"))
	for n := range 2 {
		c.nodes = append(c.nodes, c.startNode(n))
	}
	for n := range 2 {
		c.awaitReady("http://" + c.listen[n])
	}
	c.fence, err = pgfence.New("", pgfence.History{}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	cfg, err := pgxpool.ParseConfig(c.address())
	require.NoError(t, err)
	c.fence.Guard(&cfg.ConnConfig.Config)
	c.db, err = pgxpool.NewWithConfig(context.Background(), cfg)
	require.NoError(t, err)
	t.Cleanup(c.db.Close)
	for _, bank := range bankCodes {
		c.behave(bank, `{"magic_amounts": false}`)
	}
	return c
}

func (c *cluster) environment() []string {
	return []string{"MONETA_DSN=" + c.address(), "MONETA_SANDBOX_SECRET=" + c.keys.Secret}
}

func (c *cluster) startNode(n int) *process {
	c.t.Helper()
	name := fmt.Sprintf("node-%d", n)
	return start(c.t, c.dir, name, c.environment(), "serve", "--listen", c.listen[n], "--node-url", "http://"+c.listen[n],
		"--sandbox-url", c.banks, "--state", filepath.Join(c.dir, name))
}

// acks waits for so many more acknowledgements, and starts a node again that has ended,
// as whoever runs it would: a leader that meets another history does.
func (c *cluster) acks(l *load, n int64, within time.Duration) {
	c.t.Helper()
	target := l.acks.Load() + n
	eventually(c.t, within, "clients are answered", func() (bool, string) {
		c.supervise()
		return l.acks.Load() >= target, fmt.Sprintf("%d more", target-l.acks.Load())
	})
}

func (c *cluster) supervise() {
	for n, node := range c.nodes {
		if !node.running() {
			c.nodes[n] = c.startNode(n)
		}
	}
}

// command runs one command of the binary and reads the key that it made.
func (c *cluster) command(args ...string) (made struct{ Key string }) {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), binary.Moneta(), args...)
	cmd.Env = append(os.Environ(), c.environment()...)
	out, err := cmd.Output()
	require.NoError(c.t, err)
	require.NoError(c.t, json.Unmarshal(out, &made))
	return made
}

func (c *cluster) standbyOf(of pgtest.Source, at string) *pgtest.Replica {
	c.t.Helper()
	dir := filepath.Join(c.base, at)
	require.NoError(c.t, os.RemoveAll(dir))
	require.NoError(c.t, os.Mkdir(dir, 0o755))
	return pgtest.StandbyIn(c.t, of, dir)
}

// follow lays a new standby out at a place, which commits wait for from then on.
func (c *cluster) follow(at string) {
	c.t.Helper()
	c.standby = c.standbyOf(c.primary, at)
	c.primary.WaitedFor(true)
}

// failover takes the primary's power away, with the standby behind by as much as it had
// not been given for so long, and promotes the standby. It returns the old primary.
func (c *cluster) failover(stall time.Duration) (old *pgtest.Replica) {
	c.t.Helper()
	resume := c.standby.Stall()
	during(c.t.Context(), stall)
	c.primary.Kill()
	resume()
	c.standby.Promote()
	old, c.primary, c.standby = c.primary, c.standby, nil
	return old
}

// stored is what a server has, read past every fence.
func (c *cluster) stored(r *pgtest.Replica) (n int64) {
	c.t.Helper()
	pool, err := pgxpool.New(c.t.Context(), r.DSN("moneta"))
	require.NoError(c.t, err)
	defer pool.Close()
	require.NoError(c.t, pool.QueryRow(c.t.Context(), `select (select count(*) from transitions) + (select count(*) from inbox) + (select sum(beat) from heartbeats)`).Scan(&n))
	return n
}

// haunt has the old primary come back as it was, before the new one in everybody's list
// of hosts or behind it, while nodes are killed and started anew. Nothing may be written
// there.
func (c *cluster) haunt(old *pgtest.Replica, l *load, n int) {
	c.t.Helper()
	old.Start()
	before := c.stored(old)
	victim := n % len(c.nodes)
	killPid(c.t, c.nodes[victim].pid)
	c.nodes[victim].waitGone(c.t, 10*time.Second)
	c.nodes[victim] = c.startNode(victim)
	c.awaitReady("http://" + c.listen[victim])
	c.acks(l, 50, time.Minute)
	require.Equal(c.t, before, c.stored(old), "something was written to the primary whose place was taken")
	old.Quit()
}

// TestFailover: the primary dies under load while its synchronous standby lags, the
// standby is promoted, and the dead one comes back as if nothing had been. Nothing that
// anybody was told is lost, and nothing is written to the old primary.
func TestFailover(t *testing.T) {
	together(t)
	c := newCluster(t)
	l := newLoad(t, c.world, "failover", 24, 8, 100*time.Millisecond)
	l.nodes, l.attempt = []string{c.api, "http://" + c.listen[1]}, 4*time.Second
	l.run()
	dice := rand.New(rand.NewPCG(seedOf(t, failoverSeed), 0))
	rounds := choose(1, percent(300))
	var gaps []time.Duration
	for n := range rounds {
		c.acks(l, 50, time.Minute)
		began := time.Now()
		old := c.failover(time.Duration(dice.IntN(2000)) * time.Millisecond)
		c.acks(l, 20, 2*time.Minute)
		gaps = append(gaps, silence(l.snapshot(), began, time.Now()))
		if n%10 == 0 || !full {
			c.haunt(old, l, n)
		}
		c.follow(filepath.Base(old.SocketDir()))
	}
	c.acks(l, 20, time.Minute)
	receipts := l.stop()
	figure(t, "failovers", "%d; clients' longest silence, the standby's lag included: %s, one in twenty %s, median %s", rounds,
		percentile(gaps, 100).Round(time.Millisecond), percentile(gaps, 95).Round(time.Millisecond), percentile(gaps, 50).Round(time.Millisecond))
	var histories int
	c.query(&histories, `select count(*) from timelines`)
	require.Equal(t, rounds+1, histories, "each failover was recognised once")
	proveStormy(t, c.world, l, receipts, "failovers", 500)
	if full {
		require.LessOrEqual(t, percentile(gaps, 95), 12*time.Second, "with up to 2 s of lag before the primary dies")
	}
}

// TestFailoverWithoutWaiting is the control: commits that wait for no standby are lost
// with the primary, although clients were told. A test that cannot see that is blind.
func TestFailoverWithoutWaiting(t *testing.T) {
	together(t)
	c := newCluster(t)
	c.primary.WaitedFor(false)
	l := newLoad(t, c.world, "asynchronous", 24, 8, 100*time.Millisecond)
	l.nodes, l.attempt = []string{c.api, "http://" + c.listen[1]}, 4*time.Second
	l.run()
	c.acks(l, 50, time.Minute)
	c.failover(2 * time.Second)
	c.acks(l, 20, 2*time.Minute)
	v := &verdict{}
	c.countReadable(v, l.stop())
	require.Positive(t, v.Lost, "what the standby was never given must be missing: the test is blind")
	figure(t, "acknowledged without waiting for a standby", "%d of %d lost with the primary", v.Lost, v.Acknowledged)
}
