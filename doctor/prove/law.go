package prove

import (
	"fmt"
	"strings"

	"github.com/moneta-pay/moneta/money"
)

// Kinds of payments, as the column has them.
const (
	send = iota + 1
	payout
	deposit
	hold
	capture
	refund
	latePayout
	lateDeposit
	returned
	inbound
	assignment
	chargeback
	compensation
)

var kindNames = []string{
	"", "send", "payout", "deposit", "hold", "capture", "refund", "late_payout", "late_deposit", "return", "inbound", "assignment", "chargeback", "compensation",
}

// States of payments, as the column has them.
const (
	none = iota
	created
	reserved
	dispatching
	processing
	unknown
	succeeded
	failed
	cancelled
	expired
	requiresAction
	inReview
)

var stateNames = []string{
	"none", "created", "reserved", "dispatching", "processing", "unknown", "succeeded", "failed", "cancelled", "expired", "requires_action", "in_review",
}

// States of attempts.
const (
	intended = iota + 1
	acked
	attemptUnknown
	confirmed
	declined
	absent
	neverSent
)

var attemptNames = []string{"none", "intended", "acked", "unknown", "confirmed", "declined", "absent", "never_sent"}

func nameOf(names []string, n int64) string {
	if n < 0 || n >= int64(len(names)) {
		return fmt.Sprintf("number %d", n)
	}
	return names[n]
}

func final(state int64) bool { return state >= succeeded && state <= expired }

func live(attempt int64) bool { return attempt >= intended && attempt <= confirmed }

// law is the life cycle's table of legal moves (§6.3) with its postings, one move a
// line: kinds, transition, states before, state after, postings. A posting x>y lowers
// x and raises y by P the amount, F our fee, c what the channel keeps, x what only the
// moment knew, and their differences. A posting of zero is left out; moves with several
// possible postings have several lines.
const law = `
send          22 none > succeeded: from>to P, from>fee:rev F

payout         1 none > created
payout         2 created > requires_action
payout         2 created > in_review: from>held P+F
payout         3 created requires_action > reserved: from>held P+F
payout        11 created requires_action > cancelled
payout        26 requires_action > expired

payout,refund,capture  4 reserved > dispatching: held>clr:out P
payout,refund,capture  5 dispatching unknown > processing
payout,refund,capture  5 reserved > processing: held>clr:out P
payout,refund,capture  6 dispatching processing > unknown
payout,refund,capture  7 dispatching processing unknown > succeeded: held>fee:rev F
payout,refund,capture  7 reserved in_review > succeeded: held>clr:out P, held>fee:rev F
payout,refund          8 dispatching processing unknown > failed: clr:out>held P, held>from P+F
capture                8 dispatching processing unknown > failed: clr:out>held P
payout,refund,capture  9 unknown > dispatching
payout,refund,capture 10 dispatching processing unknown > reserved in_review: clr:out>held P
payout,refund,capture  3 in_review > reserved
payout,refund         11 reserved in_review > cancelled: held>from P+F
capture               11 reserved in_review > cancelled
payout,refund,capture 12 succeeded > succeeded: clr:out>nostro P, fee:cost>nostro c
payout,refund,capture 13 succeeded > succeeded
payout,refund,capture 13 failed > failed
payout,refund,capture 13 cancelled > cancelled

deposit        1 none > created
deposit        5 created > processing
deposit       14 created processing > succeeded: clr:in>to P
deposit        8 created processing > failed
deposit       26 created > expired
deposit       20 succeeded > succeeded
deposit       18 failed > failed
deposit       18 expired > expired
deposit,late_deposit 15 succeeded > succeeded: nostro>clr:in P-c, fee:cost>clr:in c
deposit,late_deposit 19 succeeded > succeeded

hold          24 none > reserved: from>held P
hold          25 reserved > reserved succeeded
hold          26 succeeded > succeeded: held>from x
hold          26 reserved > succeeded cancelled expired: held>from x

capture       25 none > succeeded: held>to P
capture       25 none > reserved

refund        19 none > created
refund         3 created > reserved: from>held P+F

late_payout   17 none > processing succeeded: recv:user>clr:out P, from>recv:user x
late_payout   17 processing > processing succeeded: from>recv:user x
late_payout   17 processing > succeeded: loss:ops>recv:user x
late_payout   12 processing > processing: clr:out>nostro P, fee:cost>nostro c
late_payout   12 succeeded > succeeded: clr:out>nostro P, fee:cost>nostro c
late_deposit  18 none > succeeded: clr:in>to P
late_deposit  20 succeeded > succeeded

return        13 none > succeeded: clr:in>to P, fee:rev>to F
return        13 succeeded > succeeded: nostro>clr:in P-c, fee:cost>clr:in c

inbound       16 none > in_review: nostro>susp:in P
inbound       16 none > in_review
inbound       16 in_review > in_review succeeded
inbound       16 succeeded > succeeded
assignment    16 none > succeeded: from>to P

chargeback    20 none > processing succeeded: from>clr:in x, recv:user>clr:in P-x
chargeback    20 processing > processing succeeded: from>recv:user x
chargeback    20 processing > succeeded: loss:ops>recv:user x
chargeback    20 processing > processing: clr:in>nostro P, fee:cost>nostro c
chargeback    20 succeeded > succeeded: clr:in>nostro P, fee:cost>nostro c

compensation  21 none > succeeded: comp:exp>to P
`

// note is the transition that writes a contradiction into the log: no money moves. Of
// what is final, of any kind, nothing else changes; of what is under way neither, but
// what was about to be sent once more waits for a person.
const note = 17

// notes reports whether a step is such a note.
func (x *payment) notes(s *step) bool {
	if s.transition != note {
		return false
	}
	tried := x.leaves() && s.attempt > 0
	return s.from == s.to && (final(s.from) || tried && s.from != reserved) || tried && s.from == reserved && s.to == inReview
}

// settling are the transitions that a statement line makes.
var settling = map[int64]bool{12: true, 13: true, 15: true, 16: true, 20: true}

type term uint8

const (
	principal term = iota + 1
	fee
	both
	free        // whatever it was
	principalFr // P less that
)

var terms = map[string]term{"P": principal, "F": fee, "P+F": both, "c": free, "x": free, "P-c": principalFr, "P-x": principalFr}

type leg struct {
	from, to string
	amount   term
}

type move struct{ kind, transition, from, to int64 }

// moves are the alternatives of legs for each legal move.
var moves = readLaw(law)

func readLaw(text string) map[move][][]leg {
	out := map[move][][]leg{}
	number := func(names []string, name string) int64 {
		for i, n := range names {
			if n == name {
				return int64(i)
			}
		}
		panic("prove: the law speaks of " + name)
	}
	for line := range strings.Lines(text) {
		head, tail, _ := strings.Cut(strings.TrimSpace(line), ": ")
		fields := strings.Fields(head)
		if len(fields) == 0 {
			continue
		}
		var t int64
		if _, err := fmt.Sscan(fields[1], &t); err != nil {
			panic("prove: the law has no transition in " + line)
		}
		var legs []leg
		for part := range strings.SplitSeq(tail, ", ") {
			if part == "" {
				continue
			}
			road, amount, _ := strings.Cut(part, " ")
			from, to, ok := strings.Cut(road, ">")
			if terms[amount] == 0 || !ok {
				panic("prove: the law posts " + part)
			}
			legs = append(legs, leg{from, to, terms[amount]})
		}
		arrow := 2
		for fields[arrow] != ">" {
			arrow++
		}
		for kind := range strings.SplitSeq(fields[0], ",") {
			for _, from := range fields[2:arrow] {
				for _, to := range fields[arrow+1:] {
					m := move{number(kindNames, kind), t, number(stateNames, from), number(stateNames, to)}
					out[m] = append(out[m], legs)
				}
			}
		}
	}
	return out
}

// paid is a transfer as its role in a payment's life.
type paid struct {
	id       int64
	from, to string
	amount   money.Amount
}

// fit compares a step's transfers with one alternative of legs. Cost is the amount
// that only the moment knew.
func fit(legs []leg, amount, feeAmount money.Amount, made []paid) (cost money.Amount, ok bool) {
	known := false
	for _, l := range legs {
		here := len(made) > 0 && made[0].from == l.from && made[0].to == l.to
		var want money.Amount
		var err error
		switch l.amount {
		case principal:
			want = amount
		case fee:
			want = feeAmount
		case both:
			want, err = amount.Add(feeAmount)
		case free:
			if !known && here {
				cost = made[0].amount
			}
			known, want = true, cost
		case principalFr:
			if !known {
				var has money.Amount
				if here {
					has = made[0].amount
				}
				cost, err = amount.Sub(has)
			}
			known = true
			if err == nil {
				want, err = amount.Sub(cost)
			}
		}
		if err != nil || want.Sign() < 0 || cost.Sign() < 0 {
			return cost, false
		}
		if want.IsZero() {
			continue
		}
		if !here || made[0].amount != want {
			return cost, false
		}
		made = made[1:]
	}
	return cost, len(made) == 0
}

// hopOf names who has a payment of the kind in the state.
func hopOf(kind, state int64) string {
	switch state {
	case created:
		if kind == deposit {
			return "channel"
		}
		return "intake"
	case reserved:
		if kind == hold {
			return "holder"
		}
		return "dispatch"
	case dispatching, processing:
		if kind == latePayout || kind == chargeback {
			return "holder"
		}
		return "channel"
	case unknown:
		return "settle"
	case requiresAction:
		return "holder"
	case inReview:
		return "operator"
	}
	return ""
}
