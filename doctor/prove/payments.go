package prove

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/money"
)

// payment is one payment with everything that the rows say of it.
type payment struct {
	id, tenant, kind, from, to, original int64
	asset, channel, link, metadata       string
	amount, fee                          money.Amount
	created                              time.Time

	steps    []step
	attempts []attempt
	children []child
	open     *openItem
	awaited  *money.Amount // its expectation's amount
	keyed    bool

	// What the steps add up to.
	state, settlement, attempt int64
	changed                    int64           // when the state was entered, µs
	settledAt, expectedBy      int64           // when it was settled, µs; the step that made it expected
	sums                       [4]money.Amount // by purse
	cost                       money.Amount
}

// purse is a kind of book that a payment must leave as it found it, once it is done.
type purse int

const (
	onHeld purse = iota
	clearingOut
	clearingIn
	receivable
)

// step is one transition, with its transfers.
type step struct {
	id, seq, transition, from, to, settlement, attempt, transfers, at int64
	made                                                              []transferRow
}

type transferRow struct {
	id, debit, credit int64
	amount            money.Amount
}

type attempt struct {
	n, state           int64
	channel, reference string
}

// child is a linked payment.
type child struct {
	id, kind, tenant, state, settlement int64
	asset, link                         string
	amount                              money.Amount
}

// gone reports whether the child has given back what it took.
func (c *child) gone() bool { return c.state == failed || c.state == cancelled || c.state == expired }

type openItem struct {
	tenant, kind, state, attempt, entered, next int64
	asset, channel, hop                         string
	amount                                      money.Amount
	deadline                                    time.Time
}

func micros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

const epoch = `(extract(epoch from %s) * 1000000)::bigint`

// The questions about a range of payments, ($1, $2].
var (
	selectPayments = `select id, tenant, kind, asset, amount, fee, from_account, to_account, channel, key, original, link, metadata, trace_id, payee_account,
  payee_name, remittance, effective_at, created_at, expires_at from payments where id > $1 order by id limit $2`
	selectSteps = `select payment, id, seq, transition, from_state, to_state, settlement, attempt, transfers, ` + fmt.Sprintf(epoch, "at") + `
  from transitions where payment > $1 and payment <= $2 order by payment, seq`
	selectMade = `select t.payment, t.seq, x.id, x.debit, x.credit, x.amount
  from transitions t join transfers x on x.id >= t.first_transfer and x.id < t.first_transfer + t.transfers
 where t.payment > $1 and t.payment <= $2 and t.transfers > 0 order by t.payment, t.seq, x.id`
	selectAttempts = `select payment, n, channel, reference, state, send_by, intended_at, answered_at, channel_id, reason
  from attempts where payment > $1 and payment <= $2 order by payment, n`
	selectOpen = `select payment, tenant, kind, asset, amount, channel, state, hop, ` + fmt.Sprintf(epoch, "entered_at") + `, ` + fmt.Sprintf(epoch, "next_at") + `, deadline, attempt
  from open_payments where payment > $1 and payment <= $2 order by payment`
	// A chargeback of a late deposit (8) is of the deposit too: the rail quotes that.
	selectChildren = `select c.original, c.id, c.kind, c.tenant, c.asset, c.amount, c.link, l.to_state, l.settlement from payments c
  left join lateral (select to_state, settlement from transitions where payment = c.id order by seq desc limit 1) l on true
 where c.original > $1 and c.original <= $2
 union all
select o.original, c.id, c.kind, c.tenant, c.asset, c.amount, c.link, l.to_state, l.settlement from payments o
  join payments c on c.original = o.id and c.kind = 12
  left join lateral (select to_state, settlement from transitions where payment = c.id order by seq desc limit 1) l on true
 where o.kind = 8 and o.original > $1 and o.original <= $2 order by 1, 2`
	selectExpected = `select payment, amount from expectations where payment > $1 and payment <= $2 order by payment`
	selectKeyed    = `select p.id from payments p join keys k on k.key = p.key and k.kind = 1 and k.subject = p.id where p.id > $1 and p.id <= $2 order by p.id`
)

// page is a range of payments, and where each is.
type page struct {
	all   []payment
	after int64
	upTo  int64
}

// at finds a payment; the pages' rows come in its order.
func (g *page) at(i *int, id int64) *payment {
	for *i < len(g.all) && g.all[*i].id < id {
		*i++
	}
	if *i < len(g.all) && g.all[*i].id == id {
		return &g.all[*i]
	}
	return nil
}

// walkPayments goes through all payments by id, with what the rails' books have of
// each.
func (p *prover) walkPayments(ctx context.Context, books *spool) error {
	ids := p.newIDs("payment", 1, true)
	g := &page{all: make([]payment, 0, paymentPage)}
	var done int64
	for {
		if err := p.loadPage(ctx, g, ids); err != nil {
			return fmt.Errorf("read the payments after %d: %w", g.after, err)
		}
		for i := range g.all {
			p.judge(&g.all[i])
		}
		if err := p.compare(g, books); err != nil {
			return err
		}
		done += int64(len(g.all))
		p.cfg.Progress("payments", done, seqOf(p.last.payment))
		if g.upTo == math.MaxInt64 {
			return nil
		}
		g.after = g.upTo
	}
}

func (p *prover) loadPage(ctx context.Context, g *page, ids *ids) error {
	g.all = g.all[:0]
	err := p.rows(ctx, selectPayments, p.digest("payments"), func(r *row) {
		x := payment{
			id: r.int(0), tenant: r.int(1), kind: r.int(2), asset: r.text(3), amount: r.amount(4), fee: r.amount(5), from: r.int(6), to: r.int(7),
			channel: r.text(8), original: r.int(10), link: r.text(11), created: r.time(18),
		}
		if x.kind == inbound {
			x.metadata = r.text(12)
		}
		ids.next(x.id, paymentID(x.id))
		g.all = append(g.all, x)
	}, g.after, paymentPage)
	if err != nil {
		return err
	}
	g.upTo = math.MaxInt64 // rows about payments beyond the last one are nobody's
	if len(g.all) == paymentPage {
		g.upTo = g.all[paymentPage-1].id
	}
	for _, part := range []struct {
		table, sql string
		take       func(*payment, *row)
		orphan     string
	}{
		{"", selectSteps, (*payment).takeStep, checkChain},
		{"", selectMade, (*payment).takeTransfer, ""},
		{"attempts", selectAttempts, (*payment).takeAttempt, checkAttempts},
		{"open_payments", selectOpen, (*payment).takeOpen, checkOpen},
		{"", selectChildren, (*payment).takeChild, checkLinked},
		{"expectations", selectExpected, (*payment).takeExpected, checkExpect},
		{"", selectKeyed, func(x *payment, _ *row) { x.keyed = true }, ""},
	} {
		var d *digest
		if part.table != "" {
			d = p.digest(part.table)
		}
		i := 0
		err := p.rows(ctx, part.sql, d, func(r *row) {
			if x := g.at(&i, r.int(0)); x != nil {
				part.take(x, r)
			} else if part.orphan != "" {
				p.find(part.orphan, r.int(0), time.Time{}, paymentID(r.int(0)), "rows speak of a payment that is not there")
			}
		}, g.after, g.upTo)
		if err != nil {
			return err
		}
	}
	return nil
}

func (x *payment) takeStep(r *row) {
	x.steps = append(x.steps, step{
		id: r.int(1), seq: r.int(2), transition: r.int(3), from: r.int(4), to: r.int(5), settlement: r.int(6), attempt: r.int(7), transfers: r.int(8), at: r.int(9),
	})
}

func (x *payment) takeTransfer(r *row) {
	for i := len(x.steps) - 1; i >= 0; i-- {
		if s := &x.steps[i]; s.seq == r.int(1) {
			s.made = append(s.made, transferRow{r.int(2), r.int(3), r.int(4), r.amount(5)})
			return
		}
	}
}

func (x *payment) takeAttempt(r *row) {
	x.attempts = append(x.attempts, attempt{n: r.int(1), channel: r.text(2), reference: r.text(3), state: r.int(4)})
}

func (x *payment) takeOpen(r *row) {
	x.open = &openItem{
		tenant: r.int(1), kind: r.int(2), asset: r.text(3), amount: r.amount(4), channel: r.text(5), state: r.int(6), hop: r.text(7),
		entered: r.int(8), next: r.int(9), deadline: r.time(10), attempt: r.int(11),
	}
}

func (x *payment) takeChild(r *row) {
	x.children = append(x.children, child{
		id: r.int(1), kind: r.int(2), tenant: r.int(3), asset: r.text(4), amount: r.amount(5), link: r.text(6), state: r.int(7), settlement: r.int(8),
	})
}

func (x *payment) takeExpected(r *row) {
	a := r.amount(1)
	x.awaited = &a
}

// judge asks everything that must hold of one payment.
func (p *prover) judge(x *payment) {
	p.judgeSteps(x)
	p.judgeAttempts(x)
	p.judgeMoney(x)
	p.judgeLinks(x)
	p.judgeOpen(x)
	p.asked(checkKeys, 1)
	if !x.keyed {
		p.find(checkKeys, x.id, x.created, paymentID(x.id), "its idempotency key leads elsewhere or nowhere: a repeated request would pay again")
	}
	if x.settlement == 1 && x.channel != "" && x.expectedBy <= p.expected {
		p.asked(checkExpect, 1)
		if x.awaited == nil {
			p.find(checkExpect, x.id, micros(x.changed), paymentID(x.id), "it succeeded and is not settled, and nothing waits for its line: a statement without it would not be noticed")
		} else if *x.awaited != x.amount {
			p.find(checkExpect, x.id, micros(x.changed), paymentID(x.id), fmt.Sprintf("%s is expected on the statement, %s succeeded", *x.awaited, x.amount))
		}
	}
}

// judgeSteps follows a payment's transitions: they join, each is a legal move with
// exactly its postings, and what is final stays so.
func (p *prover) judgeSteps(x *payment) {
	p.asked(checkChain, 1)
	if len(x.steps) == 0 {
		p.find(checkChain, x.id, x.created, paymentID(x.id), "it has no step: its first event is lost")
		return
	}
	var at, seq int64
	ends := false
	for i := range x.steps {
		s := &x.steps[i]
		when, place := micros(s.at), fmt.Sprintf("transition %d", s.id)
		if s.seq != seq+1 {
			p.find(checkChain, x.id, when, place, fmt.Sprintf("it is step %d, and the step before is %d: an event is lost", s.seq, seq))
		} else if s.from != at {
			p.find(checkChain, x.id, when, place, fmt.Sprintf("step %d begins at %s, and the step before ended at %s", s.seq, nameOf(stateNames, s.from), nameOf(stateNames, at)))
		}
		p.asked(checkTerminal, 1)
		if (ends || final(s.from)) && (s.to != s.from || s.from != at) {
			p.find(checkTerminal, x.id, when, place, fmt.Sprintf("it was %s, and became %s", nameOf(stateNames, at), nameOf(stateNames, s.to)))
		}
		ends = ends || final(s.to)
		p.judgeSettlement(x, s)
		p.judgeMove(x, s)
		if s.from != s.to {
			x.changed = s.at
		}
		at, seq = s.to, s.seq
		x.state, x.attempt = s.to, s.attempt
	}
}

func (p *prover) judgeSettlement(x *payment, s *step) {
	if s.settlement == x.settlement {
		return
	}
	p.asked(checkSettled, 1)
	switch {
	case s.settlement < x.settlement:
		p.find(checkSettled, x.id, micros(s.at), fmt.Sprintf("transition %d", s.id), "it takes a settlement back")
	case s.settlement == 2 && !settling[s.transition]:
		p.find(checkSettled, x.id, micros(s.at), fmt.Sprintf("transition %d", s.id), fmt.Sprintf("T%d settles it, and no statement line can have", s.transition))
	case s.settlement == 2:
		x.settledAt = s.at
	case s.settlement == 1:
		x.expectedBy = s.id
	}
	x.settlement = s.settlement
}

// judgeMove compares a step with the table of legal moves.
func (p *prover) judgeMove(x *payment, s *step) {
	when, place := micros(s.at), fmt.Sprintf("transition %d", s.id)
	p.asked(checkMoves, 1)
	p.asked(checkPostings, 1)
	made := make([]paid, 0, len(s.made))
	for _, t := range s.made {
		m := paid{id: t.id, amount: t.amount, from: p.role(x, s, t.debit), to: p.role(x, s, t.credit)}
		x.count(m.from, neg(t.amount))
		x.count(m.to, t.amount)
		made = append(made, m)
	}
	said := fmt.Sprintf("T%d of a %s from %s to %s", s.transition, nameOf(kindNames, x.kind), nameOf(stateNames, s.from), nameOf(stateNames, s.to))
	ways := moves[move{x.kind, s.transition, s.from, s.to}]
	if x.notes(s) {
		ways = append(ways[:len(ways):len(ways)], nil)
	}
	if len(ways) == 0 {
		p.find(checkMoves, x.id, when, place, said+" is no legal move")
		return
	}
	for _, legs := range ways {
		if cost, ok := fit(legs, x.amount, x.fee, made); ok {
			if s.settlement == 2 && s.at == x.settledAt {
				x.cost = cost
			}
			return
		}
	}
	var has []string
	for _, m := range made {
		has = append(has, fmt.Sprintf("transfer %d %s to %s %s", m.id, m.from, m.to, m.amount))
	}
	if len(has) == 0 {
		has = []string{"nothing"}
	}
	p.find(checkPostings, x.id, when, place, fmt.Sprintf("%s of %s with a fee of %s moved %s", said, x.amount, x.fee, strings.Join(has, ", ")))
}

func (x *payment) count(role string, amount money.Amount) {
	k := onHeld
	switch role {
	case "held":
	case "clr:out":
		k = clearingOut
	case "clr:in":
		k = clearingIn
	case "recv:user":
		k = receivable
	default:
		return
	}
	if sum, err := x.sums[k].Add(amount); err == nil {
		x.sums[k] = sum
	}
}

// channelAt is the channel that the payment was on at attempt n.
func (x *payment) channelAt(n int64) string {
	if n > 0 && n <= int64(len(x.attempts)) {
		return x.attempts[n-1].channel
	}
	return x.channel
}

// role is what a book is in the payment's life.
func (p *prover) role(x *payment, s *step, book int64) string {
	switch book {
	case 0:
	case x.from:
		return "from"
	case x.from + 1:
		if x.from != 0 {
			return "held"
		}
	case x.to:
		return "to"
	}
	i, ok := p.accounts.find(book)
	name := p.accounts.names[book]
	if !ok || name == "" || int64(p.accounts.tenant[i]) != x.tenant || p.accounts.assets[p.accounts.asset[i]] != x.asset {
		return fmt.Sprintf("book %d", book)
	}
	switch channel := x.channelAt(s.attempt); name {
	case "clr:" + channel + ":out":
		return "clr:out"
	case "clr:" + channel + ":in":
		return "clr:in"
	case "nostro:" + channel:
		return "nostro"
	}
	return name
}

// leaves reports whether the payment is sent through a channel, attempt by attempt.
func (x *payment) leaves() bool {
	return x.kind == payout || x.kind == refund || x.kind == capture && x.channel != ""
}

// attested is the attempt that two people have named as the one that executed, of a
// payment that waited in review; zero without.
func (x *payment) attested() int64 {
	for _, s := range x.steps {
		if s.transition == 7 && s.from == inReview && s.to == succeeded {
			return s.attempt
		}
	}
	return 0
}

// named reports whether a is that attempt: of all live ones only it may have others
// behind it.
func (x *payment) named(a attempt) bool { return a.state == confirmed && a.n == x.attested() }

func (p *prover) judgeAttempts(x *payment) {
	var alive, sure, intents int64
	for _, s := range x.steps {
		if s.transition == 4 {
			intents++
		}
	}
	for i, a := range x.attempts {
		p.asked(checkAttempts, 1)
		place := fmt.Sprintf("attempt %d", a.n)
		if a.n != int64(i)+1 || a.reference != reference(x.id, a.n) {
			p.find(checkAttempts, x.id, micros(x.changed), place, fmt.Sprintf("it is the %d. one and its reference is %q", i+1, a.reference))
		}
		if live(a.state) {
			alive++
			if i != len(x.attempts)-1 && !x.named(a) {
				p.find(checkAttempts, x.id, micros(x.changed), place, "it is "+nameOf(attemptNames, a.state)+", and another one was made after it")
			}
		}
		if a.state == confirmed {
			sure++
		}
	}
	if intents != int64(len(x.attempts)) {
		p.find(checkAttempts, x.id, micros(x.changed), paymentID(x.id), fmt.Sprintf("%d attempts are there, its steps made %d", len(x.attempts), intents))
	}
	if alive > 1 || sure > 1 {
		p.find(checkAttempts, x.id, micros(x.changed), paymentID(x.id), fmt.Sprintf("%d live attempts, %d confirmed: it may be paid twice", alive, sure))
	}
	if !x.leaves() {
		return
	}
	want := map[int64]int64{dispatching: intended, processing: acked, unknown: attemptUnknown, succeeded: confirmed}[x.state]
	n := int64(len(x.attempts))
	if named := x.attested(); named > 0 && named < n {
		n = named
	}
	if want != 0 && (n == 0 || x.attempts[n-1].state != want) {
		p.find(checkAttempts, x.id, micros(x.changed), paymentID(x.id),
			fmt.Sprintf("it is %s, and attempt %d is not %s", nameOf(stateNames, x.state), n, nameOf(attemptNames, want)))
	} else if want == 0 && alive > 0 {
		p.find(checkAttempts, x.id, micros(x.changed), paymentID(x.id), fmt.Sprintf("it is %s, and has a live attempt", nameOf(stateNames, x.state)))
	}
}

// taken is what children that have not failed took.
func (p *prover) taken(x *payment, kinds ...int64) (sum money.Amount) {
	for _, c := range x.children {
		for _, k := range kinds {
			if c.kind == k && !c.gone() {
				sum = p.add(sum, c.amount)
			}
		}
	}
	return sum
}

// reserves is what must be held for the payment in its state.
func (p *prover) reserves(x *payment) money.Amount {
	waits := x.state == reserved || x.state == inReview
	sent := x.state == dispatching || x.state == processing || x.state == unknown
	switch {
	case x.kind == hold && x.state == reserved:
		return x.amount
	case x.kind == hold: // what its captures took is theirs
		return p.taken(x, capture)
	case x.kind == capture && (sent || x.state == succeeded):
		return neg(x.amount) // it is counted with its hold
	case x.kind != payout && x.kind != refund:
	case waits:
		return p.add(x.amount, x.fee)
	case sent:
		return x.fee
	}
	return money.Amount{}
}

// judgeMoney compares what a payment has left on the books of others with what its
// state says.
func (p *prover) judgeMoney(x *payment) {
	when := micros(x.changed)
	held := p.reserves(x)
	p.held[x.asset] = p.add(p.held[x.asset], held)
	p.asked(checkHolds, 1)
	if has := x.sums[onHeld]; has != held {
		p.find(checkHolds, x.id, when, paymentID(x.id), fmt.Sprintf("it is %s, and %s is held for it, not %s", nameOf(stateNames, x.state), has, held))
	}
	var out, in, debt money.Amount
	unsettled := x.settlement != 2
	switch {
	case x.leaves() && unsettled && x.state >= dispatching && x.state <= succeeded:
		out = x.amount
	case x.kind == latePayout && unsettled:
		out = x.amount
	case x.kind == chargeback && unsettled:
		in = x.amount
	case (x.kind == deposit || x.kind == lateDeposit || x.kind == returned) && unsettled && x.state == succeeded:
		in = neg(x.amount)
	}
	p.asked(checkClearing, 1)
	if x.sums[clearingOut] != out || x.sums[clearingIn] != in {
		p.find(checkClearing, x.id, when, paymentID(x.id), fmt.Sprintf("it is %s, and leaves %s in clearing out and %s in clearing in, not %s and %s",
			nameOf(stateNames, x.state), x.sums[clearingOut], x.sums[clearingIn], out, in))
	}
	if x.kind == latePayout || x.kind == chargeback {
		debt = x.sums[receivable]
		if debt.Sign() > 0 || final(x.state) != debt.IsZero() {
			p.find(checkClearing, x.id, when, paymentID(x.id), fmt.Sprintf("it is %s, and its holder owes %s", nameOf(stateNames, x.state), neg(debt)))
		}
	}
	p.owe(x, "clr:"+x.channelAt(x.attempt)+":out", out)
	p.owe(x, "clr:"+x.channelAt(x.attempt)+":in", in)
	p.owe(x, "recv:user", debt)
	if x.kind == inbound && !final(x.state) {
		p.owe(x, "susp:in", p.add(x.amount, neg(p.taken(x, assignment, refund))))
	}
	if unsettled && (!out.IsZero() || !in.IsZero()) && final(x.state) {
		p.fly(flightKey{"clearing", "recon", x.channelAt(x.attempt), x.asset}, x.amount, when, time.Time{}, paymentID(x.id))
	}
}

func (p *prover) owe(x *payment, name string, amount money.Amount) {
	if amount.IsZero() {
		return
	}
	k := bookKey{x.tenant, x.asset, name}
	p.owed[k] = p.add(p.owed[k], amount)
}

// parents are the kinds that a linked kind may name as its original.
var parents = map[int64][]int64{
	capture: {hold}, refund: {deposit, lateDeposit, inbound}, latePayout: {payout, refund, capture}, lateDeposit: {deposit},
	returned: {payout, refund, capture}, assignment: {inbound}, chargeback: {deposit, lateDeposit}, inbound: {inbound, returned},
}

// judgeLinks asks of the linked payments that name x: they are of its tenant and
// asset, and take no more than there was.
func (p *prover) judgeLinks(x *payment) {
	if len(x.children) == 0 {
		return
	}
	p.asked(checkLinked, int64(len(x.children)))
	late := 0
	for _, c := range x.children {
		legal := c.kind == compensation
		for _, k := range parents[c.kind] {
			legal = legal || k == x.kind
		}
		if !legal || c.tenant != x.tenant || c.kind != compensation && c.asset != x.asset {
			p.find(checkLinked, c.id, micros(x.changed), paymentID(c.id), fmt.Sprintf("a %s of tenant %d in %s is linked to %s, a %s of tenant %d in %s",
				nameOf(kindNames, c.kind), c.tenant, c.asset, paymentID(x.id), nameOf(kindNames, x.kind), x.tenant, x.asset))
		}
		if c.kind == latePayout || c.kind == lateDeposit {
			late++
			if c.amount != x.amount || x.state != failed && x.state != cancelled && x.state != expired {
				p.find(checkLinked, c.id, micros(x.changed), paymentID(c.id), fmt.Sprintf("a late outcome of %s for %s of %s, which is %s",
					c.amount, paymentID(x.id), x.amount, nameOf(stateNames, x.state)))
			}
		}
	}
	if late > 1 {
		p.find(checkLinked, x.id, micros(x.changed), paymentID(x.id), fmt.Sprintf("it has %d late outcomes", late))
	}
	for _, kinds := range [][]int64{{capture}, {refund, assignment}, {returned}} {
		if sum := p.taken(x, kinds...); sum.Cmp(x.amount) > 0 {
			p.find(checkLinked, x.id, micros(x.changed), paymentID(x.id), fmt.Sprintf("%s was taken of %s", sum, x.amount))
		}
	}
}

// judgeOpen compares the row that drives an open payment with its log.
func (p *prover) judgeOpen(x *payment) {
	p.asked(checkOpen, 1)
	when := micros(x.changed)
	o := x.open
	switch {
	case o == nil && !final(x.state) && len(x.steps) > 0:
		p.find(checkOpen, x.id, when, paymentID(x.id), fmt.Sprintf("it is %s, and no open item drives it on: it would stand for ever", nameOf(stateNames, x.state)))
		return
	case o == nil:
		return
	case final(x.state):
		p.find(checkOpen, x.id, when, paymentID(x.id), fmt.Sprintf("it is %s, and still an open item at %s", nameOf(stateNames, x.state), o.hop))
		return
	}
	channel := x.channelAt(x.attempt)
	if o.state != x.state || o.attempt != x.attempt || o.kind != x.kind || o.tenant != x.tenant || o.asset != x.asset || o.amount != x.amount ||
		o.channel != channel || o.hop != hopOf(x.kind, x.state) {
		p.find(checkOpen, x.id, when, paymentID(x.id), fmt.Sprintf("the open item is %s at %s, attempt %d on %q, %s %s; the log says %s, attempt %d on %q, %s %s",
			nameOf(stateNames, o.state), o.hop, o.attempt, o.channel, o.amount, o.asset, nameOf(stateNames, x.state), x.attempt, channel, x.amount, x.asset))
	}
	if o.entered != x.changed {
		p.find(checkOpen, x.id, when, paymentID(x.id), fmt.Sprintf("the open item entered its state at %s, the log says %s", stamp(micros(o.entered)), stamp(when)))
	}
	if o.next <= o.entered {
		p.find(checkOpen, x.id, when, paymentID(x.id), "its next step lies before it began")
	}
	p.fly(flightKey{nameOf(stateNames, x.state), o.hop, o.channel, x.asset}, x.amount, micros(o.entered), o.deadline, paymentID(x.id))
}
