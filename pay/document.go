package pay

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/money"
)

// Document returns docs/states.md: states, moves, postings and replays, drawn
// from the table that Next obeys, in Markdown.
func Document() string {
	var b strings.Builder
	b.WriteString(documentHead)
	documentStates(&b)
	for k := Send; k < kindEnd; k++ {
		fmt.Fprintf(&b, "\n## %s\n\n", titled(k.String()))
		documentDiagram(&b, k)
		documentMoves(&b, k)
		documentAnswers(&b, k)
	}
	return b.String()
}

const documentHead = `# Payment states

<!-- Drawn by pay.Document from the tables in pay/table.go and pay/linked.go. Do not edit: run
     go test ./pay -run States -update -->

A payment moves only along these tables. A posting is written ` + "`x → y`" + `: it lowers
x and raises y, so all postings always sum to zero. P is the amount, F our fee,
c what the channel keeps, stated what the word says, covered what the holder's
balance covers at that moment, and the rest what was not taken. A posting of zero
is left out.

An attempt is one dispatch to one channel. Settlement, whether the money has
moved between the banks, is an axis of its own: it never changes the state.

A hold stays reserved until its expires_at, whatever the table of states says:
that instant is its next step, and it should be left a minute later. A capture is
a payment of its own that names its hold; both move in one transaction, so that
what was held is always what was captured, what went back, and what is still open.

Refunds, returns, chargebacks, late outcomes and compensations are linked in the
same way: a payment of its own names its original, what it does to the original is
written in the same transaction, and the original never flips. A move that "makes"
a linked payment accepts it with that move. A late payout and a chargeback that the
holder's balance does not cover stay open as his debt: it is looked at every hour,
and somebody must look after a day. Money without an intent waits for a person.

A channel that says that it has an attempt which was proven absent contradicts
itself. The last attempt then goes on, and nothing is sent beside it (T5, T7 from
reserved). Of an attempt before the last it is a contradiction: it stands in the
log (T17, without postings), and from then on the payment is neither sent again
nor failed by a word about another attempt, but waits in review for a person, for
as long as it takes. When two people name the attempt that has executed, by evidence,
the payment has succeeded by that one (T7 from in_review), and another one's success
is a contradiction. After a resend (T9) a decline or a proof of absence counts
only when it is about the newest order.

## States

| State | Public status | Next step after, if nothing else is planned | Should be left after |
|---|---|---|---|
`

func documentStates(b *strings.Builder) {
	for s := Created; s < stateEnd; s++ {
		step, bound := "–", "never: final"
		if !s.Final() {
			step, bound = spell(timers[s].step), spell(timers[s].bound)
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", s, s.Status(), step, bound)
	}
}

// spell writes a duration in its largest whole unit.
func spell(d time.Duration) string {
	switch {
	case d%time.Hour == 0:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d%time.Minute == 0:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%d s", d/time.Second)
}

func titled(name string) string {
	return strings.ToUpper(name[:1]) + strings.ReplaceAll(name[1:], "_", " ")
}

func documentDiagram(b *strings.Builder, k Kind) {
	b.WriteString("```mermaid\nstateDiagram-v2\n")
	var ends [stateEnd]bool
	for _, r := range rulesOf(k) {
		for _, from := range r.from {
			name := from.String()
			if from == None {
				name = "[*]"
			}
			for _, to := range r.leadsTo(from) {
				fmt.Fprintf(b, "    %s --> %s: %s (T%d)\n", name, to, r.fact, r.t)
				ends[to] = to.Final()
			}
		}
	}
	for s, end := range ends {
		if end {
			fmt.Fprintf(b, "    %s --> [*]\n", State(s))
		}
	}
	b.WriteString("```\n\n")
}

func documentMoves(b *strings.Builder, k Kind) {
	b.WriteString("| T | From | Fact | To | Who | Postings | Attempt | Settlement | Makes |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range rulesOf(k) {
		from := make([]string, len(r.from))
		for i, s := range r.from {
			from[i] = s.String()
			if s == None {
				from[i] = "–"
			}
		}
		fmt.Fprintf(b, "| %d | %s | %s | %s | %s | %s | %s | %s | %s |\n",
			r.t, strings.Join(from, ", "), r.fact, toText(&r), r.who, legsText(r.legs), attemptText(&r), settlesText(&r), orDash(r.makes.String()))
	}
}

func (r *rule) leadsTo(from State) []State {
	to := r.to
	if to == None {
		to = from
	}
	if r.when == never {
		return []State{to}
	}
	return []State{to, r.instead}
}

func toText(r *rule) string {
	switch {
	case r.to == None:
		return "stays"
	case r.when == never:
		return r.to.String()
	}
	return fmt.Sprintf("%s; %s %s", r.to, conditionNames[r.when], r.instead)
}

func rulesOf(k Kind) (rules []rule) {
	for _, r := range table {
		if r.kind == k {
			rules = append(rules, r)
		}
	}
	return rules
}

func legsText(legs []leg) string {
	parts := make([]string, len(legs))
	for i, l := range legs {
		parts[i] = fmt.Sprintf("`%s → %s` %s", l.debit, l.credit, termNames[l.amount])
	}
	return orDash(strings.Join(parts, "; "))
}

func attemptText(r *rule) string {
	switch {
	case r.move == newAttempt:
		return "a new one, " + Intended.String()
	case r.move == markAttempt && r.attempt == Absent:
		return Absent.String() + " or " + NeverSent.String()
	case r.move == nameAttempt:
		return "the one named, " + r.attempt.String()
	case r.move == markAttempt:
		return r.attempt.String()
	}
	return "–"
}

func settlesText(r *rule) string {
	if r.settles == SettlementNone {
		return "–"
	}
	return r.settles.String()
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

// documentAnswers tabulates what Next answers to every fact in every state that
// the kind can reach, by asking it.
func documentAnswers(b *strings.Builder, k Kind) {
	b.WriteString("\nWhat every fact does in every state: a move (T and the state it leads to), `=` nothing new,\n" +
		"`!` a contradiction (nothing flips; a person is told), `…` too early (to be said again), `t` only the timer moves, `×` refused.\n\n| |")
	for f := Clear; f < factEnd; f++ {
		fmt.Fprintf(b, " %s |", f)
	}
	b.WriteString("\n|---" + strings.Repeat("|---", int(factEnd-Clear)) + "|\n")
	for _, s := range reachable(k) {
		fmt.Fprintf(b, "| **%s** |", s)
		for f := Clear; f < factEnd; f++ {
			fmt.Fprintf(b, " %s |", answer(typical(k, s), f))
		}
		b.WriteString("\n")
	}
}

func reachable(k Kind) (states []State) {
	var to [stateEnd]bool
	for _, r := range rulesOf(k) {
		for _, from := range r.from {
			for _, s := range r.leadsTo(from) {
				to[s] = true
			}
		}
	}
	for s, yes := range to {
		if yes {
			states = append(states, State(s))
		}
	}
	return states
}

// typical is a payment as it usually stands in a state.
func typical(k Kind, s State) Payment {
	p := Payment{ID: 1, Kind: k, State: s, Asset: "CZK", Amount: money.Int(100), Channel: "bank", NextAt: time.Unix(1, 0)}
	switch k {
	case Send, Payout, Deposit:
		p.Fee = money.Int(1)
	case Hold:
		p.ExpiresAt = time.Unix(1, 0)
	case Capture, Refund, LatePayout, LateDeposit, Return, Inbound, Assignment, Chargeback, Compensation, kindEnd:
	}
	if k == Deposit && s == Created {
		p.ExpiresAt = time.Unix(1, 0)
	}
	for _, r := range rulesOf(k) {
		if r.settles == SettlementExpected && (s == r.to || s == r.instead && r.when != never) {
			p.Settlement = SettlementExpected
		}
	}
	if !k.Leaves() {
		return p
	}
	tried := map[State]AttemptState{
		Dispatching: Intended, Processing: Acked, Unknown: AttemptUnknown, Succeeded: Confirmed, Failed: Declined,
	}
	if a, yes := tried[s]; yes {
		p.Attempt = Attempt{N: 1, State: a, Reference: Reference(p.ID, 1)}
	}
	return p
}

// answer is what the fact, about the newest attempt, does to p.
func answer(p Payment, k FactKind) string {
	at := time.Unix(1, 0)
	f := Fact{Kind: k, Payment: p.ID, At: at, Attempt: p.Attempt.N, Amount: p.Amount, Asset: p.Asset, ChannelID: "theirs"}
	switch k {
	case Intend:
		f.Attempt, f.SendBy = p.Attempt.N+1, at.Add(time.Second)
	case Take: // of a part, in time
		f.At, f.Amount = at.Add(-time.Second), money.Int(1)
	case GiveBack: // of the same
		f.Amount, p.Taken = money.Int(1), money.Int(1)
	case Recover:
		f.Covered = money.Int(1)
	case Resend:
		f.SendBy = at.Add(time.Second)
	case Accept, Clear, Ack, Doubt, Redirect, Confirm, Decline, ProveAbsent, GiveUp, Cancel, Settle, Checked, Expire, Returned, ChargedBack,
		WriteOff, Challenge, ActionDone, Review, ReviewOk, ReviewNo, Attest, factEnd:
	}
	c, err := Next(p, f)
	switch {
	case errors.Is(err, ErrContradiction):
		return "!"
	case errors.Is(err, ErrTooEarly):
		return "…"
	case err != nil:
		return "×"
	case c.T != 0 && c.From == c.To:
		return fmt.Sprintf("T%d", c.T)
	case c.T != 0:
		return fmt.Sprintf("T%d %s", c.T, c.To)
	case c.TimerChanged:
		return "t"
	}
	return "="
}
