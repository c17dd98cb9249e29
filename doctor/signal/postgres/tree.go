package postgres

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// wait says that one session waits for another: Blocker 0 is a prepared transaction.
type wait struct{ Waiter, Blocker int32 }

// blocked is one root of a blocking tree: it waits for nobody, and others for it.
type blocked struct {
	Root    int32
	Waiters []int32 // all that wait for it, directly or not; sorted
}

// roots finds them. A ring of sessions has none, and the server breaks it by itself.
func roots(waits []wait) []blocked {
	behind := map[int32][]int32{}
	waiting := map[int32]bool{}
	for _, w := range waits {
		if w.Waiter == w.Blocker || slices.Contains(behind[w.Blocker], w.Waiter) {
			continue
		}
		behind[w.Blocker] = append(behind[w.Blocker], w.Waiter)
		waiting[w.Waiter] = true
	}
	var out []blocked
	for _, root := range slices.Sorted(maps.Keys(behind)) {
		if !waiting[root] {
			out = append(out, blocked{root, allBehind(root, behind)})
		}
	}
	return out
}

// allBehind are those that wait for pid, directly or not.
func allBehind(pid int32, behind map[int32][]int32) []int32 {
	seen := map[int32]bool{pid: true}
	todo := []int32{pid}
	var out []int32
	for len(todo) > 0 {
		next := todo[0]
		todo = todo[1:]
		for _, w := range behind[next] {
			if !seen[w] {
				seen[w] = true
				out = append(out, w)
				todo = append(todo, w)
			}
		}
	}
	slices.Sort(out)
	return out
}

// queueBehind counts who waits for pid, which itself waits.
func queueBehind(pid int32, waits []wait) int {
	behind := map[int32][]int32{}
	for _, w := range waits {
		behind[w.Blocker] = append(behind[w.Blocker], w.Waiter)
	}
	return len(allBehind(pid, behind))
}

// session is one session of the server, by the server's clock.
type session struct {
	PID                                int32
	Start                              time.Time // of the session: with the pid it names it for good
	Application, User, State, Kind     string
	WaitType, WaitEvent                string
	StateChange, XactStart, QueryStart *time.Time
	Snapshot                           int64 // transactions behind its snapshot
	Query                              string
}

func (s *session) idle() bool {
	return s.State == "idle in transaction" || s.State == "idle in transaction (aborted)"
}

// since is how long ago at was, 0 when it never was.
func since(now time.Time, at *time.Time) float64 {
	if at == nil {
		return 0
	}
	return max(now.Sub(*at).Seconds(), 0)
}

// detail names the session as those need it who end it: the pid alone may be another's
// by then.
func (s *session) detail() map[string]string {
	return map[string]string{
		"pid": strconv.Itoa(int(s.PID)), "since": s.Start.UTC().Format(time.RFC3339Nano),
		"application": short(s.Application), "user": s.User, "state": s.State, "query": Mask(s.Query),
	}
}

// short keeps an application's name short and on one line; it is the client's word.
func short(name string) string {
	name = clean(name)
	return strings.ToValidUTF8(name[:min(len(name), 64)], "")
}

// worst is the session with the greatest value; nil when there is none above zero.
func worst(all []*session, value func(*session) float64) *session {
	var best *session
	for _, s := range all {
		if v := value(s); v > 0 && (best == nil || v > value(best) || v == value(best) && cmp.Less(s.PID, best.PID)) {
			best = s
		}
	}
	return best
}
