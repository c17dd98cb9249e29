package sim

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/commit"
)

// The rails, one for each way in which an unknown outcome is resolved.
const (
	never = channel.Name("never") // its not-found is proof; it does not de-duplicate
	dedup = channel.Name("dedup") // it de-duplicates; its not-found proves nothing
	both  = channel.Name("both")
)

var rails = []channel.Name{both, dedup, never}

const declinedElsewhere = "bank_closed" // the reason after which the next channel is tried

func capabilities(name channel.Name) channel.Capabilities {
	return channel.Capabilities{
		Adapter: "sim/1", DedupByReference: name != never, QueryByReference: true,
		ClientTimeout: 4 * time.Second, VisibilityDelay: 6 * time.Second, SendWindow: 5 * time.Second,
		QuerySchedule:      []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second, 15 * time.Second},
		NotFoundMeansNever: name != dedup, MaxInFlight: 4, FinalBound: 2 * time.Minute,
	}
}

// bank is one rail with books of its own: what it has really done, whatever became
// of the messages about it.
type bank struct {
	w         *world
	name      channel.Name
	caps      channel.Capabilities
	orders    map[string]*order
	downFrom  time.Time
	downUntil time.Time
}

// order is one reference in the bank's books.
type order struct {
	reference string
	payment   pay.ID
	attempt   int16
	amount    money.Amount
	verdict   channel.Verdict
	reason    string
	visible   time.Time
}

func (b *bank) down() bool {
	now := time.Now()
	return !now.Before(b.downFrom) && now.Before(b.downUntil)
}

// receive is an order's arrival at the bank.
func (b *bank) receive(o channel.Order) channel.Word {
	g := b.w.gate
	if known := b.orders[o.Reference]; known != nil {
		if !b.caps.DedupByReference {
			b.execute(known)
		}
		return known.word()
	}
	base, _, _ := strings.Cut(o.Reference, "-")
	id, attempt, err := pay.ParseReference(base)
	if p := b.w.store.payments[id]; err != nil || p == nil || p.Attempt.N < attempt {
		b.w.fail("%s got an order %s that nobody intended", b.name, o.Reference)
		return channel.Word{}
	}
	n := &order{reference: o.Reference, payment: id, attempt: attempt, amount: o.Amount, verdict: channel.Acked, visible: time.Now()}
	b.orders[o.Reference] = n
	if b.w.faulty() {
		n.visible = n.visible.Add(g.between(0, b.caps.VisibilityDelay))
	}
	if g.roll(40) {
		b.decideOn(n)
		return n.word()
	}
	if g.roll(30) {
		b.tell(n, n.word())
	}
	g.after(g.between(200*time.Millisecond, 40*time.Second), "bank decides "+o.Reference, func() { b.decideOn(n) })
	return n.word()
}

// decideOn gives an order its final verdict, and calls back.
func (b *bank) decideOn(o *order) {
	g := b.w.gate
	switch n := g.rnd.IntN(100); {
	case n < 8:
		o.verdict, o.reason = channel.Declined, "account_closed"
	case n < 14:
		o.verdict, o.reason = channel.Declined, declinedElsewhere
	default:
		o.verdict = channel.Confirmed
		b.execute(o)
	}
	b.tell(o, o.word())
}

// execute moves the money, in the bank's books.
func (b *bank) execute(o *order) {
	b.w.effects[o.payment]++
	if n := b.w.effects[o.payment]; n > 1 {
		b.w.fail("payment %d moved money %d times; last by %s at %s", o.payment, n, o.reference, b.name)
	}
	if p := b.w.store.payments[o.payment]; p.State.Final() && p.State != pay.Succeeded {
		b.w.fail("payment %d is %s, and %s executes it as %s", o.payment, p.State, b.name, o.reference)
	}
}

func (o *order) word() channel.Word {
	w := channel.Word{
		Verdict: o.verdict, Reference: o.reference, ChannelID: "theirs-" + o.reference, Reason: o.reason,
		Direction: channel.Out, HTTPStatus: http.StatusOK,
	}
	if o.verdict == channel.Confirmed {
		w.Amount, w.Asset = o.amount, "CZK"
	}
	return w
}

// tell calls back: maybe never, maybe often, maybe late.
func (b *bank) tell(o *order, word channel.Word) {
	g := b.w.gate
	copies, slowest := 1, time.Second
	if b.w.faulty() {
		slowest = 45 * time.Second
		switch {
		case g.roll(b.w.plan.loss):
			copies = 0
		case g.roll(b.w.plan.duplication):
			copies += 1 + g.rnd.IntN(2)
		}
	}
	for range copies {
		g.after(g.between(5*time.Millisecond, slowest), "callback "+o.reference+" "+word.Verdict.String(), func() { b.w.callback(b, o, word) })
	}
}

// callback applies a word that was stored on arrival, as the inbox does: again and
// again until the decider has judged it.
func (w *world) callback(b *bank, o *order, word channel.Word) {
	again := func() {
		w.gate.after(w.gate.between(300*time.Millisecond, 2*time.Second), "callback again "+o.reference, func() { w.callback(b, o, word) })
	}
	if w.leader == nil {
		again()
		return
	}
	f := &pay.Fact{
		Payment: o.payment, Attempt: o.attempt, Channel: string(b.name), ChannelID: word.ChannelID, Reason: word.Reason,
		Source: "callback", NextAt: w.leader.Now().Add(b.caps.QueryAfter(0)),
	}
	switch word.Verdict {
	case channel.Acked:
		f.Kind = pay.Ack
	case channel.Confirmed:
		f.Kind, f.Amount, f.Asset = pay.Confirm, word.Amount, word.Asset
	default:
		f.Kind = pay.Decline
		at := pay.Payment{Kind: pay.Payout, Asset: "CZK", Channel: string(b.name), Attempt: pay.Attempt{N: o.attempt}}
		if routes.Redirects(&at, word.Reason) {
			f.Kind = pay.Redirect
		}
	}
	out := w.commit(w.leader, []commit.Fact{{Payment: f}})
	switch code := fault.CodeOf(out[0].Err); code {
	case fault.CommitUnknown, fault.Overloaded, fault.DatabaseUnavailable, fault.NotLeader:
		again()
	case fault.AlreadyFinal, fault.AmountInvalid:
		w.fail("%s says %s of %s, and payment %d is %s", b.name, word.Verdict, o.reference, o.payment, w.store.payments[o.payment].State)
	case fault.IllegalTransition:
		if f.Kind == pay.Confirm {
			w.fail("%s executed %s, and payment %d is %s", b.name, o.reference, o.payment, w.store.payments[o.payment].State)
		}
	}
}

// line is a process's way to a bank: an adapter under the real seam.
type line struct {
	p    *process
	bank *bank
}

func (l *line) Name() channel.Name                 { return l.bank.name }
func (l *line) Capabilities() channel.Capabilities { return l.bank.caps }

// wire is how long a message is under way: never longer than the client would wait.
func (l *line) wire() time.Duration {
	g := l.p.w.gate
	if l.p.w.faulty() && g.roll(15) {
		return g.between(time.Millisecond, l.bank.caps.ClientTimeout)
	}
	return g.between(time.Millisecond, 80*time.Millisecond)
}

func (l *line) lost() bool { return l.p.w.faulty() && l.p.w.gate.roll(l.p.w.plan.loss) }

// Send writes the order at most once, and not after its time.
func (l *line) Send(ctx context.Context, o channel.Order) channel.Word {
	word := l.send(ctx, o)
	if l.p.w.plan.defect == renamesOrders && word.Reason == channel.ReasonTimeout && ctx.Err() == nil {
		o.Reference, o.SendBy = o.Reference+"-2", o.SendBy.Add(time.Minute)
		word = l.send(ctx, o)
	}
	return word
}

func (l *line) send(ctx context.Context, o channel.Order) channel.Word {
	timed, cancel := context.WithTimeout(ctx, l.bank.caps.ClientTimeout)
	defer cancel()
	said := channel.Word{Verdict: channel.Unknown, Reason: channel.ReasonTimeout}
	g := l.p.w.gate
	key := fmt.Sprintf("%d send %s to %s", l.p.n, o.Reference, l.bank.name)
	answered := g.pass(timed, l.p.ctx, key, func(finish func()) {
		stall := g.between(0, 20*time.Millisecond)
		if l.p.w.faulty() && g.roll(6) {
			stall = g.between(0, 8*time.Second) // the process stands still with the order in hand
		}
		g.after(stall, key, func() {
			switch frozen := l.p.frozen; {
			case timed.Err() != nil && !frozen:
			case l.p.Now().After(o.SendBy):
				said = channel.Word{Verdict: channel.NeverSent, Reason: channel.ReasonSendBy}
				finish()
			case l.bank.down():
				said = channel.Word{Verdict: channel.NeverSent, Reason: channel.ReasonNotConnected}
				finish()
			default:
				l.write(key, o, func(w channel.Word) { said = w; finish() })
			}
		})
	})
	if !answered {
		return channel.Word{Verdict: channel.Unknown, Reason: channel.ReasonTimeout}
	}
	return said
}

// write puts an order on the wire.
func (l *line) write(key string, o channel.Order, answer func(channel.Word)) {
	g, w := l.p.w.gate, l.p.w
	if l.lost() {
		return
	}
	way := l.wire()
	if w.plan.defect == executesLate && l.bank.caps.NotFoundMeansNever && w.faulty() && g.roll(20) {
		way = l.bank.caps.NotFoundAfter() + g.between(10*time.Second, time.Minute)
	}
	replyLost, garbled := l.lost(), w.faulty() && g.roll(4)
	g.after(way, key+" arrives", func() {
		word := l.bank.receive(o)
		if garbled {
			word = channel.Word{Verdict: channel.Unknown, Reason: channel.ReasonBody, HTTPStatus: http.StatusBadGateway}
		}
		if !replyLost {
			g.after(l.wire(), key+" answered", func() { answer(word) })
		}
	})
	if l.bank.caps.DedupByReference && w.faulty() && g.roll(w.plan.duplication) {
		g.after(g.between(time.Millisecond, l.bank.caps.ClientTimeout), key+" arrives again", func() { l.bank.receive(o) })
	}
}

// Query asks the bank's books, as far as they show it already.
func (l *line) Query(ctx context.Context, reference string) channel.Word {
	timed, cancel := context.WithTimeout(ctx, l.bank.caps.ClientTimeout)
	defer cancel()
	var said channel.Word
	g := l.p.w.gate
	key := fmt.Sprintf("%d query %s at %s", l.p.n, reference, l.bank.name)
	answered := g.pass(timed, l.p.ctx, key, func(finish func()) {
		if l.lost() || l.bank.down() {
			return
		}
		g.after(l.wire(), key, func() {
			said = channel.Word{Verdict: channel.NotFound, HTTPStatus: http.StatusNotFound}
			if o := l.bank.orders[reference]; o != nil && !time.Now().Before(o.visible) {
				said = o.word()
			}
			if l.p.w.faulty() && g.roll(5) {
				said = channel.Word{Verdict: channel.Unknown, Reason: channel.ReasonHTTP, HTTPStatus: http.StatusServiceUnavailable}
			}
			if !l.lost() {
				g.after(l.wire(), key+" answered", finish)
			}
		})
	})
	if !answered {
		return channel.Word{Verdict: channel.Unknown, Reason: channel.ReasonTimeout}
	}
	return said
}

// What the stations under simulation never ask of a channel.
var errUnused = errors.New("not simulated")

func (*line) Callback(http.Header, []byte) (channel.Word, error) { return channel.Word{}, errUnused }

func (*line) CallbackAt(time.Time, http.Header, []byte) (channel.Word, error) {
	return channel.Word{}, errUnused
}

func (*line) Statement(context.Context, int64, int) (channel.Statement, error) {
	return channel.Statement{}, errUnused
}
