package postgres

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

const (
	// knotsFor is for how long a deadlock counts.
	knotsFor = time.Minute
	// countedIn is how long after its ring a deadlock may be counted: the server counts it
	// when its victim's transaction is over, and within 10 s at the latest.
	countedIn = 15 * time.Second
	// turnsLeast is in how many deadlocks a session was before it is named: one may be an
	// accident.
	turnsLeast = 2
	// ours begins the names of the wallet's own sessions.
	ours = "moneta "
)

// knots are the deadlocks of the last minute, and who was in them. Who only holds others
// up is in none of them, however long.
type knots struct {
	counted []counted
	turns   map[named]*turns
}

type counted struct {
	at time.Time
	n  int64
}

// named is a session for good: its number is used again.
type named struct {
	pid   int32
	start time.Time
}

// turns are those of one session.
type turns struct {
	who    *session
	ring   time.Time // when it was last seen in one that is not counted yet; zero is never
	broken []time.Time
}

// see takes in one look: the rings that are there, and how many deadlocks were broken
// since the look before.
func (k *knots) see(p *picture, broken int64) {
	if k.turns == nil {
		k.turns = map[named]*turns{}
	}
	if broken > 0 {
		k.counted = append(k.counted, counted{p.now, broken})
		for _, t := range k.turns {
			if !t.ring.IsZero() && p.now.Sub(t.ring) <= countedIn {
				t.broken = append(t.broken, p.now)
			}
			t.ring = time.Time{}
		}
	}
	for _, pid := range rings(p.waits) {
		s := p.byPID[pid]
		if s == nil || s.Kind != "client backend" {
			continue // it went meanwhile
		}
		at := named{pid, s.Start}
		if k.turns[at] == nil {
			k.turns[at] = &turns{}
		}
		k.turns[at].who, k.turns[at].ring = s, p.now
	}
	k.counted = slices.DeleteFunc(k.counted, func(c counted) bool { return p.now.Sub(c.at) > knotsFor })
	for at, t := range k.turns {
		t.broken = slices.DeleteFunc(t.broken, func(b time.Time) bool { return p.now.Sub(b) > knotsFor })
		if len(t.broken) == 0 && p.now.Sub(t.ring) > countedIn {
			delete(k.turns, at)
		}
	}
}

// worst is the session that was in most of them and is not the wallet's; nil when none
// was in several.
func (k *knots) worst() *turns {
	var most *turns
	for _, t := range k.turns {
		if len(t.broken) < turnsLeast || strings.HasPrefix(t.who.Application, ours) {
			continue
		}
		if most == nil || cmp.Or(cmp.Compare(len(t.broken), len(most.broken)), cmp.Compare(most.who.PID, t.who.PID)) > 0 {
			most = t
		}
	}
	return most
}

// tellKnots tells how many deadlocks were broken in the last minute, and who was in them
// again and again.
func (a *activity) tellKnots(l *sight, p *picture) {
	a.knots.see(p, a.broken)
	n := int64(0)
	for _, c := range a.knots.counted {
		n += c.n
	}
	var d map[string]string
	if t := a.knots.worst(); n > 0 && t != nil {
		d = t.who.detail()
		d["turns"] = strconv.Itoa(len(t.broken))
	}
	l.tell(doctor.PGKnots, float64(n), "pg_blocking_pids(), pg_stat_database", d)
}

// rings are the sessions that wait for themselves through others, by number: the server
// breaks that after deadlock_timeout.
func rings(waits []wait) []int32 {
	behind := map[int32][]int32{}
	for _, w := range waits {
		behind[w.Blocker] = append(behind[w.Blocker], w.Waiter)
	}
	var out []int32
	for _, w := range waits {
		if w.Waiter != w.Blocker && slices.Contains(allBehind(w.Waiter, behind), w.Blocker) && !slices.Contains(out, w.Waiter) {
			out = append(out, w.Waiter)
		}
	}
	slices.Sort(out)
	return out
}
