package torture

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pair is a world with a second node of the test's own, on the same database.
type pair struct {
	*world
	listen string // of the second node
	url    string
	second *process
	n      int
	// through is how the second node reaches the banks; empty means straight.
	through string
}

func newPair(t *testing.T) *pair {
	t.Helper()
	w := newWorld(t)
	p := &pair{world: w, listen: freePorts(t, 1)[0]}
	p.url = "http://" + p.listen
	p.startSecond()
	return p
}

func (p *pair) startSecond() {
	p.t.Helper()
	p.n++
	banks := p.banks
	if p.through != "" {
		banks = p.through
	}
	p.second = p.node(fmt.Sprintf("second-%d", p.n), p.listen, banks)
}

// secondLeads makes the second node the leader, so that what happens to it is
// the test's alone: up starts its own node again.
func (p *pair) secondLeads() {
	p.t.Helper()
	if !p.second.running() {
		p.startSecond()
	}
	if p.leader() != p.url {
		pid := p.servePid()
		require.NotZero(p.t, pid)
		require.NoError(p.t, syscall.Kill(pid, syscall.SIGTERM))
		eventually(p.t, 30*time.Second, "the second node leads", func() (bool, string) { return p.leader() == p.url, p.leader() })
	}
	p.awaitReady(p.api)
	p.awaitReady(p.url)
}

// takeover is the time from now until the other node acknowledges a write.
func (p *pair) takeover(act func()) time.Duration {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	probe := &client{http: newHTTP(1), nodes: []string{p.api}, key: p.keys.Tenant, attempt: 30 * time.Second}
	began := time.Now()
	act()
	_, err := probe.open(ctx, fmt.Sprintf("probe-%d", began.UnixNano()), "user")
	require.NoError(p.t, err)
	return time.Since(began)
}

// Two nodes under load: the leader is killed, frozen and thawed, drained.
func TestTwoNodes(t *testing.T) {
	together(t)
	p := newPair(t)
	l := newLoad(t, p.world, "pair", 24, choose(12, 24), 40*time.Millisecond)
	l.nodes, l.attempt = []string{p.api, p.url}, 4*time.Second
	l.choose = func(client, n int) order {
		if client%2 == 0 { // half only send: a slow bank cannot keep them from measuring
			n *= 10
		}
		return l.mixture(client, n)
	}
	l.run()
	l.awaitAcks(t, 100, time.Minute)
	for round := range choose(1, 5) {
		p.kill(l, round)
		p.freeze(l, round)
		p.drain(l, round, `{"magic_amounts": false}`)
		if full || round > 0 {
			p.drain(l, round, `{"magic_amounts": false, "reply_delay": {"probability": 1, "min_ms": 1500, "max_ms": 2500}}`)
		}
	}
	prove(t, p.world, l, l.stop())
}

func (p *pair) kill(l *load, round int) {
	p.t.Helper()
	p.secondLeads()
	l.awaitAcks(p.t, 50, time.Minute)
	began := time.Now()
	took := p.takeover(func() { killPid(p.t, p.second.pid) })
	p.second.waitGone(p.t, 5*time.Second)
	l.awaitAcks(p.t, 50, time.Minute)
	figure(p.t, "leader killed: takeover", "%s (round %d); clients' longest silence %s", took.Round(time.Millisecond), round,
		silence(l.snapshot(), began, time.Now()).Round(time.Millisecond))
	require.LessOrEqual(p.t, took, 5*time.Second, "takeover after kill -9")
}

// freeze stops the leader for longer than it takes to replace it. Thawed, it
// must notice, commit nothing, and exit by itself.
func (p *pair) freeze(l *load, round int) {
	p.t.Helper()
	p.secondLeads()
	l.awaitAcks(p.t, 50, time.Minute)
	epoch, old := p.epoch(), p.leaderID()
	began := time.Now()
	took := p.takeover(func() { p.second.signal(p.t, syscall.SIGSTOP) })
	require.LessOrEqual(p.t, took, 5*time.Second, "takeover from a frozen leader")
	require.Greater(p.t, p.epoch(), epoch, "the epoch was raised")
	during(context.Background(), time.Until(began.Add(choose(5*time.Second, 7*time.Second))))
	p.second.signal(p.t, syscall.SIGCONT)
	thawed := time.Now()
	gone := p.second.waitGone(p.t, 20*time.Second)
	require.Error(p.t, p.second.err, "it exits as one that lost its leadership")
	require.Contains(p.t, tail(p.second.log), "leadership of the shard is lost")
	require.NotEqual(p.t, old, p.leaderID(), "the thawed leader took the shard back")
	l.awaitAcks(p.t, 50, time.Minute)
	figure(p.t, "leader frozen: takeover", "%s (round %d); thawed, it exits after %s; clients' longest silence after the thaw %s",
		took.Round(time.Millisecond), round, gone.Round(time.Millisecond), silence(l.snapshot(), thawed, time.Now()).Round(time.Millisecond))
}

func (w *world) leaderID() (id string) {
	w.t.Helper()
	w.query(&id, `select coalesce(leader::text, '') from shards where id = 0`)
	return id
}

// drain ends the leader with SIGTERM: what it has in hand it answers, the other
// node leads, and nobody is told 5xx.
func (p *pair) drain(l *load, round int, banks string) {
	p.t.Helper()
	p.secondLeads()
	for _, bank := range bankCodes {
		p.behave(bank, banks)
	}
	l.awaitAcks(p.t, 100, time.Minute)
	before, _ := l.serverErrors()
	began := time.Now()
	took := p.takeover(func() { p.second.signal(p.t, syscall.SIGTERM) })
	left := p.second.waitGone(p.t, 30*time.Second)
	l.awaitAcks(p.t, 100, time.Minute)
	after, answers := l.serverErrors()
	gap := silence(l.snapshot(), began, time.Now())
	kind := "quick banks"
	if strings.Contains(banks, "reply_delay") {
		kind = "slow banks"
	}
	figure(p.t, "leader drained, "+kind, "gap %s (round %d); other node acknowledges after %s; process ends after %s; 5xx %d",
		gap.Round(time.Millisecond), round, took.Round(time.Millisecond), left.Round(time.Millisecond), after-before)
	require.NoError(p.t, p.second.err, "a drained node exits cleanly")
	require.Zero(p.t, after-before, "server errors while draining: %s", answers)
	require.LessOrEqual(p.t, gap, 2*time.Second, "the goal is 300 ms")
	for _, bank := range bankCodes {
		p.behave(bank, `{"magic_amounts": false}`)
	}
}
