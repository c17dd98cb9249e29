package commit

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/fault"
)

// successorWithin is how long a node that handed the shard over looks for who
// took it, so that the requests it still holds can go there.
const successorWithin = 2 * time.Second

// terms follows who leads. What waits for an answer of one leader stops waiting
// when another leads: the old one may be frozen, and its connections with it.
type terms struct {
	mu     sync.Mutex
	leader [16]byte
	now    context.Context
	end    context.CancelFunc
}

// saw notes a leader; another one than before ends the former's term.
func (t *terms) saw(leader [16]byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now != nil && t.leader == leader {
		return
	}
	if t.end != nil {
		t.end()
	}
	t.leader = leader
	t.now, t.end = context.WithCancel(context.Background()) //nolint:forbidigo // a term outlives every request
}

// within returns ctx, ended also when leader's term ends.
func (t *terms) within(ctx context.Context, leader [16]byte) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	t.mu.Lock()
	term, current := t.now, t.leader
	t.mu.Unlock()
	if term == nil || current != leader {
		cancel()
		return ctx, cancel
	}
	release := context.AfterFunc(term, cancel)
	return ctx, func() { release(); cancel() }
}

// sees notes who leads.
func (n *Node) sees(seen *leaderSeen) {
	n.leader.Store(seen)
	if seen.known {
		n.terms.saw(seen.id)
	}
}

// part ends this node's part in the shard: who waits for a payment is answered
// as it stands, and unless another node is known to lead, nobody waits for one.
func (n *Node) part(ctx context.Context, conn *pgx.Conn, err error) {
	n.endWaits()
	if err == nil && n.seesSuccessor(context.WithoutCancel(ctx), conn) {
		return
	}
	n.endSubmits()
}

// seesSuccessor waits, boundedly, until another node leads. It does not wait
// when no other node stands by.
func (n *Node) seesSuccessor(ctx context.Context, conn *pgx.Conn) bool {
	ctx, cancel := context.WithTimeout(ctx, successorWithin)
	defer cancel()
	if conn.IsClosed() {
		return false
	}
	var others int
	if err := conn.QueryRow(ctx, `select count(*) from pg_stat_activity
  where application_name = $1 and datname = current_database() and pid <> pg_backend_pid()`, watchName).Scan(&others); err != nil || others == 0 {
		return false
	}
	w := n.newWatch()
	for ctx.Err() == nil {
		seen, _, err := w.read(ctx, conn)
		if err != nil {
			break
		}
		if seen.known && seen.url != "" && seen.url != n.cfg.URL {
			n.sees(&seen)
			return true
		}
		pause(ctx, watchEvery/5)
	}
	n.cfg.Logger.WarnContext(ctx, "no other node took the shard; what is still asked here is refused", slog.Duration("within", successorWithin))
	return false
}

// refuseQueued answers what nobody looked at, once nobody can put more.
func (n *Node) refuseQueued() {
	for {
		select {
		case t := <-n.queue.tickets:
			t.answer(Outcome{Err: errNobodyLeads()})
		default:
			return
		}
	}
}

func errNobodyLeads() *fault.Error {
	return fault.New(fault.NotLeader, "no node leads the ledger at the moment; send the same request again").WithMoneyState(fault.NotMoved)
}
