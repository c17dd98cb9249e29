package pay_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// asIs is a payment that stands in a state the way it usually does.
func asIs(kind pay.Kind, state pay.State) pay.Payment {
	p := pay.Payment{
		ID: 77, Tenant: 1, Kind: kind, State: state, Asset: "CZK", Amount: money.Int(1000), Fee: money.Int(7),
		Seq: 5, EnteredAt: noon.Add(-time.Minute), Reason: "before",
	}
	if !state.Final() {
		p.NextAt, p.Deadline = noon.Add(time.Second), noon.Add(time.Minute)
	}
	if kind != pay.Send && kind != pay.Payout && kind != pay.Deposit && kind != pay.Return {
		p.Fee = money.Amount{}
	}
	if kind.Linked() {
		p.Original, p.Link = 76, "theirs"
	}
	switch kind {
	case pay.Hold:
		p.ExpiresAt = noon.Add(time.Hour)
	case pay.Deposit:
		p.To = 4
		if state == pay.Created {
			p.ExpiresAt = noon.Add(time.Hour)
			p.Deadline = noon.Add(time.Hour + time.Minute)
		}
	case pay.Capture:
		if state == pay.Succeeded || state == pay.None {
			p.To = 4
		} else {
			p.Channel = "bank"
		}
	case pay.Inbound:
		p.Link, p.Settlement = "theirs", pay.SettlementMatched
	}
	switch kind {
	case pay.Payout, pay.Deposit, pay.Refund, pay.LatePayout, pay.LateDeposit, pay.Return, pay.Chargeback:
		if state == pay.Succeeded || state == pay.Processing && !kind.Leaves() && kind != pay.Deposit {
			p.Settlement = pay.SettlementExpected
		}
	}
	if !kind.Leaves() || kind == pay.Capture && p.Channel == "" {
		return p
	}
	switch state {
	case pay.Dispatching:
		p.Attempt = pay.Attempt{N: 1, State: pay.Intended}
	case pay.Processing:
		p.Attempt = pay.Attempt{N: 1, State: pay.Acked}
	case pay.Unknown:
		p.Attempt = pay.Attempt{N: 1, State: pay.AttemptUnknown}
	case pay.Succeeded:
		p.Attempt = pay.Attempt{N: 1, State: pay.Confirmed}
	case pay.Failed:
		p.Attempt = pay.Attempt{N: 1, State: pay.Declined}
	case pay.None, pay.Created, pay.Reserved, pay.Cancelled, pay.Expired, pay.RequiresAction, pay.InReview:
	}
	return p
}

// about is a fact of the kind that fits p's newest attempt.
func about(p pay.Payment, kind pay.FactKind) pay.Fact {
	f := pay.Fact{
		Kind: kind, Payment: p.ID, At: noon, Attempt: p.Attempt.N, Amount: p.Amount, Asset: p.Asset,
		ChannelID: "theirs", Reason: "because", Source: "query",
	}
	switch kind {
	case pay.Intend:
		f.Attempt, f.SendBy = p.Attempt.N+1, noon.Add(5*time.Second)
	case pay.Resend:
		f.SendBy = noon.Add(5 * time.Second)
	case pay.Expire:
		f.At = p.ExpiresAt
		if p.ExpiresAt.IsZero() {
			f.At = p.NextAt
		}
	case pay.GiveBack:
		f.Amount = p.Taken
	case pay.Recover:
		f.Covered = money.Int(400)
	case pay.Accept:
		p.State, p.Seq, p.Attempt, p.Settlement = pay.None, 0, pay.Attempt{}, pay.SettlementNone
		f.New = &p
	}
	return f
}

// matrix is written by hand from the life cycle, not drawn from the code: what
// each fact does in each state that a kind can reach. A number is the transition
// to the state after the slash, = is nothing new, ! a contradiction, t only the
// timer, x a refusal, o a refusal because it is over, w a word that comes too early.
const matrix = `
                accept        clear      intend        ack          doubt     confirm      decline  prove_absent give_up  cancel       settle        checked take         expire       resend        redirect    give_back returned     charged_back recover       write_off    challenge         action_done review      review_ok  review_no  attest
send
none            22/succeeded  x          x             x            x         x            x        x            x        x            x             x       x            x            x             x           x         x            x            x             x            x                 x           x           x          x          x
succeeded       x             =          x             =            =         =            !        !            !        x            x             =       x            =            x             x           x         !            !            x             x            x                 x           x           x          x          x
payout
none            1/created     x          x             x            x         x            x        x            x        x            x             x       x            x            x             x           x         x            x            x             x            x                 x           x           x          x          x
created         x             3/reserved x             x            x         x            x        x            x        11/cancelled x             t       x            x            x             x           x         x            x            x             x            2/requires_action x           2/in_review x          x          x
requires_action x             =          x             x            x         !            x        x            x        11/cancelled x             =       x            26/expired   x             x           x         x            x            x             x            =                 3/reserved  x           x          x          x
in_review       x             =          x             x            x         !            x        x            x        11/cancelled x             =       x            11/cancelled x             x           x         x            x            x             x            x                 x           =           3/reserved 11/cancelled x
reserved        x             =          4/dispatching x            x         !            x        =            =        11/cancelled x             t       x            x            x             =           x         x            x            x             x            x                 =           x           =          x          x
dispatching     x             =          x             5/processing 6/unknown 7/succeeded  8/failed 10/reserved  8/failed x            x             t       x            x            =             10/reserved x         w            x            x             x            x                 =           x           =          x          x
processing      x             =          x             =            6/unknown 7/succeeded  8/failed x            x        x            x             t       x            x            =             10/reserved x         w            x            x             x            x                 =           x           =          x          x
unknown         x             =          x             5/processing =         7/succeeded  8/failed 10/reserved  8/failed x            x             t       x            x            9/dispatching 10/reserved x         w            x            x             x            x                 =           x           =          x          x
succeeded       x             =          x             =            =         =            !        !            !        x            12/succeeded  =       x            =            =             !           x         13/succeeded !            x             x            x                 =           x           =          x          =
failed          x             =          x             =            =         17/failed    =        =            =        x            17/failed     =       x            =            =             =           x         !            !            x             x            x                 =           x           =          x          x
cancelled       x             =          x             =            =         !            x        x            x        =            x             =       x            =            x             x           x         !            !            x             x            x                 x           x           x          =          x
expired         x             =          x             =            =         !            x        x            x        x            x             =       x            =            x             x           x         !            !            x             x            x                 x           x           x          x          x
deposit
none            1/created     x          x             x            x         x            x        x            x        x            x             x       x            x            x             x           x         x            x            x             x            x                 x           x           x          x          x
created         x             x          x             5/processing x         14/succeeded 8/failed x            x        x            x             t       x            26/expired   x             x           x         x            w            x             x            x                 x           x           x          x          x
processing      x             =          x             =            x         14/succeeded 8/failed x            x        x            x             t       x            x            x             x           x         x            w            x             x            x                 x           x           x          x          x
succeeded       x             =          x             =            =         =            !        !            !        x            15/succeeded  =       19/succeeded =            x             x           x         !            20/succeeded x             x            x                 x           x           x          x          x
failed          x             =          x             =            =         18/failed    =        =            =        x            18/failed     =       o            =            x             x           x         !            !            x             x            x                 x           x           x          x          x
expired         x             =          x             =            =         18/expired   x        x            x        x            18/expired    =       o            =            x             x           x         !            !            x             x            x                 x           x           x          x          x
hold
none            24/reserved   x          x             x            x         x            x        x            x        x            x             x       x            x            x             x           x         x            x            x             x            x                 x           x           x          x          x
reserved        x             =          x             x            x         !            x        =            =        26/cancelled x             =       25/succeeded 26/expired   x             x           x         x            x            x             x            x                 x           x           x          x          x
succeeded       x             =          x             =            =         =            !        !            !        =            x             =       o            =            x             x           x         !            !            x             x            x                 x           x           x          x          x
cancelled       x             =          x             =            =         !            x        x            x        =            x             =       o            =            x             x           x         !            !            x             x            x                 x           x           x          x          x
expired         x             =          x             =            =         !            x        x            x        =            x             =       o            =            x             x           x         !            !            x             x            x                 x           x           x          x          x
capture
none            25/succeeded  x          x             x            x         x            x        x            x        x            x             x       x            x            x             x           x         x            x            x             x            x                 x           x           x          x          x
reserved        x             =          4/dispatching x            x         !            x        =            =        11/cancelled x             t       x            x            x             =           x         x            x            x             x            x                 x           x           x          x          x
dispatching     x             =          x             5/processing 6/unknown 7/succeeded  8/failed 10/reserved  8/failed x            x             t       x            x            =             10/reserved x         w            x            x             x            x                 x           x           x          x          x
processing      x             =          x             =            6/unknown 7/succeeded  8/failed x            x        x            x             t       x            x            =             10/reserved x         w            x            x             x            x                 x           x           x          x          x
unknown         x             =          x             5/processing =         7/succeeded  8/failed 10/reserved  8/failed x            x             t       x            x            9/dispatching 10/reserved x         w            x            x             x            x                 x           x           x          x          x
succeeded       x             =          x             =            =         =            !        !            !        x            x             =       x            =            x             !           x         !            !            x             x            x                 x           x           x          x          x
failed          x             =          x             =            =         17/failed    =        =            =        x            17/failed     =       x            =            =             =           x         !            !            x             x            x                 x           x           x          x          x
cancelled       x             =          x             =            =         !            x        x            x        =            x             =       x            =            x             x           x         !            !            x             x            x                 x           x           x          x          x
refund
none            19/created    x          x             x            x         x            x        x            x        x            x             x       x            x            x             x           x         x            x            x             x            x                 x           x           x          x          x
created         x             3/reserved x             x            x         x            x        x            x        x            x             t       x            x            x             x           x         x            x            x             x            x                 x           x           x          x          x
reserved        x             =          4/dispatching x            x         !            x        =            =        11/cancelled x             t       x            x            x             =           x         x            x            x             x            x                 x           x           x          x          x
dispatching     x             =          x             5/processing 6/unknown 7/succeeded  8/failed 10/reserved  8/failed x            x             t       x            x            =             10/reserved x         w            x            x             x            x                 x           x           x          x          x
processing      x             =          x             =            6/unknown 7/succeeded  8/failed x            x        x            x             t       x            x            =             10/reserved x         w            x            x             x            x                 x           x           x          x          x
unknown         x             =          x             5/processing =         7/succeeded  8/failed 10/reserved  8/failed x            x             t       x            x            9/dispatching 10/reserved x         w            x            x             x            x                 x           x           x          x          x
succeeded       x             =          x             =            =         =            !        !            !        x            12/succeeded  =       x            =            =             !           x         13/succeeded !            x             x            x                 x           x           x          x          =
failed          x             =          x             =            =         17/failed    =        =            =        x            17/failed     =       x            =            =             =           x         !            !            x             x            x                 x           x           x          x          x
cancelled       x             =          x             =            =         !            x        x            x        =            x             =       x            =            x             x           x         !            !            x             x            x                 x           x           x          x          x
late_payout
none            17/processing x          x             x            x         x            x        x            x        x            x             x       x            x            x             x           x         x            x            x             x            x                 x           x           x          x          x
processing      x             =          x             =            x         x            x        x            x        x            12/processing =       x            x            x             x           x         x            x            17/processing 17/succeeded x                 x           x           x          x          x
succeeded       x             =          x             =            =         =            !        !            !        x            12/succeeded  =       x            =            x             x           x         !            !            =             =            x                 x           x           x          x          x
late_deposit
none            18/succeeded  x          x             x            x         x            x        x            x        x            x             x       x            x            x             x           x         x            x            x             x            x                 x           x           x          x          x
succeeded       x             =          x             =            =         =            !        !            !        x            15/succeeded  =       19/succeeded =            x             x           x         !            20/succeeded x             x            x                 x           x           x          x          x
return
none            13/succeeded  x          x             x            x         x            x        x            x        x            x             x       x            x            x             x           x         x            x            x             x            x                 x           x           x          x          x
succeeded       x             =          x             =            =         =            !        !            !        x            13/succeeded  =       x            =            x             x           x         !            !            x             x            x                 x           x           x          x          x
inbound
none            16/in_review  x          x             x            x         x            x        x            x        x            x             x       x            x            x             x           x         x            x            x             x            x                 x           x           x          x          x
in_review       x             =          x             x            x         !            x        x            x        x            =             t       16/succeeded x            x             x           x         x            x            x             x            x                 x           x           x          x          x
succeeded       x             =          x             =            =         =            !        !            !        x            =             =       o            =            x             x           x         !            !            x             x            x                 x           x           x          x          x
assignment
none            16/succeeded  x          x             x            x         x            x        x            x        x            x             x       x            x            x             x           x         x            x            x             x            x                 x           x           x          x          x
succeeded       x             =          x             =            =         =            !        !            !        x            x             =       x            =            x             x           x         !            !            x             x            x                 x           x           x          x          x
chargeback
none            20/processing x          x             x            x         x            x        x            x        x            x             x       x            x            x             x           x         x            x            x             x            x                 x           x           x          x          x
processing      x             =          x             =            x         x            x        x            x        x            20/processing =       x            x            x             x           x         x            x            20/processing 20/succeeded x                 x           x           x          x          x
succeeded       x             =          x             =            =         =            !        !            !        x            20/succeeded  =       x            =            x             x           x         !            !            =             =            x                 x           x           x          x          x
compensation
none            21/succeeded  x          x             x            x         x            x        x            x        x            x             x       x            x            x             x           x         x            x            x             x            x                 x           x           x          x          x
succeeded       x             =          x             =            =         =            !        !            !        x            x             =       x            =            x             x           x         !            !            x             x            x                 x           x           x          x          x
`

func TestEveryFactInEveryState(t *testing.T) {
	t.Parallel()
	lines := strings.Split(strings.TrimSpace(matrix), "\n")
	facts := strings.Fields(lines[0])
	var kind pay.Kind
	cells := 0
	for _, line := range lines[1:] {
		words := strings.Fields(line)
		if k, ok := pay.ParseKind(words[0]); ok {
			kind = k
			continue
		}
		state := stateNamed(t, words[0])
		require.Len(t, words[1:], len(facts), line)
		for i, want := range words[1:] {
			cells++
			f := pay.FactKind(i + 1)
			require.Equal(t, facts[i], f.String())
			p := asIs(kind, state)
			if state == pay.None {
				p = pay.Payment{Kind: kind}
			}
			given := about(asIs(kind, state), f)
			c, err := pay.Next(p, given)
			require.Equal(t, want, said(c, err), "%s %s on %s: %v", kind, f, state, err)
			if err != nil && f != pay.Accept && state != pay.None {
				require.Equal(t, p, c.After, "what is refused changes nothing")
				require.Empty(t, c.Postings)
			}
		}
	}
	require.Equal(t, 59*len(facts), cells)
}

func stateNamed(t *testing.T, name string) pay.State {
	t.Helper()
	for s := pay.None; s <= pay.InReview; s++ {
		if s.String() == name {
			return s
		}
	}
	t.Fatalf("no state %q", name)
	return 0
}

func said(c pay.Change, err error) string {
	switch {
	case errors.Is(err, pay.ErrContradiction):
		return "!"
	case errors.Is(err, pay.ErrIllegal):
		return "x"
	case errors.Is(err, pay.ErrOver):
		return "o"
	case errors.Is(err, pay.ErrTooEarly):
		return "w"
	case err != nil:
		return err.Error()
	case c.T != 0:
		return fmt.Sprintf("%d/%s", c.T, c.To)
	case c.TimerChanged:
		return "t"
	case c.NoOp():
		return "="
	}
	return "?"
}

// TestPostingsOfEveryMove holds the ledger column of the life cycle's table.
func TestPostingsOfEveryMove(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind  pay.Kind
		state pay.State
		fact  pay.FactKind
		want  string
	}{
		{pay.Send, pay.None, pay.Accept, "from:av>to:av 1000, from:av>fee:rev 7"},
		{pay.Payout, pay.None, pay.Accept, ""},
		{pay.Payout, pay.Created, pay.Clear, "from:av>from:held 1007"},
		{pay.Payout, pay.Created, pay.Cancel, ""},
		{pay.Payout, pay.Reserved, pay.Intend, "from:held>clr:out 1000"},
		{pay.Payout, pay.Reserved, pay.Cancel, "from:held>from:av 1007"},
		{pay.Payout, pay.Dispatching, pay.Ack, ""},
		{pay.Payout, pay.Dispatching, pay.Doubt, ""},
		{pay.Payout, pay.Processing, pay.Doubt, ""},
		{pay.Payout, pay.Unknown, pay.Confirm, "from:held>fee:rev 7"},
		{pay.Payout, pay.Processing, pay.Decline, "clr:out>from:held 1000, from:held>from:av 1007"},
		{pay.Payout, pay.Unknown, pay.GiveUp, "clr:out>from:held 1000, from:held>from:av 1007"},
		{pay.Payout, pay.Unknown, pay.ProveAbsent, "clr:out>from:held 1000"},
		{pay.Payout, pay.Succeeded, pay.Settle, "clr:out>nostro 1000, fee:cost>nostro 3"},
		{pay.Deposit, pay.None, pay.Accept, ""},
		{pay.Deposit, pay.Created, pay.Confirm, "clr:in>to:av 1000"},
		{pay.Deposit, pay.Processing, pay.Decline, ""},
		{pay.Deposit, pay.Succeeded, pay.Settle, "nostro>clr:in 997, fee:cost>clr:in 3"},
		{pay.Hold, pay.None, pay.Accept, "from:av>from:held 1000"},
		{pay.Hold, pay.Reserved, pay.Take, ""},
		{pay.Hold, pay.Reserved, pay.Cancel, "from:held>from:av 1000"},
		{pay.Hold, pay.Reserved, pay.Expire, "from:held>from:av 1000"},
		{pay.Capture, pay.None, pay.Accept, "from:held>to:av 1000"},
		{pay.Capture, pay.Unknown, pay.Decline, "clr:out>from:held 1000"},
		{pay.Capture, pay.Reserved, pay.Cancel, ""},
		{pay.Payout, pay.Created, pay.Challenge, ""},
		{pay.Payout, pay.Created, pay.Review, "from:av>from:held 1007"},
		{pay.Payout, pay.RequiresAction, pay.ActionDone, "from:av>from:held 1007"},
		{pay.Payout, pay.RequiresAction, pay.Expire, ""},
		{pay.Payout, pay.InReview, pay.ReviewOk, ""},
		{pay.Payout, pay.InReview, pay.ReviewNo, "from:held>from:av 1007"},
		{pay.Payout, pay.InReview, pay.Expire, "from:held>from:av 1007"},
		{pay.Payout, pay.Succeeded, pay.Returned, ""},
		{pay.Payout, pay.Failed, pay.Confirm, ""},
		{pay.Deposit, pay.Created, pay.Expire, ""},
		{pay.Deposit, pay.Succeeded, pay.Take, ""},
		{pay.Deposit, pay.Expired, pay.Confirm, ""},
		{pay.Refund, pay.Created, pay.Clear, "from:av>from:held 1000"},
		{pay.Refund, pay.Unknown, pay.Decline, "clr:out>from:held 1000, from:held>from:av 1000"},
		{pay.Refund, pay.Succeeded, pay.Settle, "clr:out>nostro 1000, fee:cost>nostro 3"},
		{pay.LatePayout, pay.None, pay.Accept, "recv:user>clr:out 1000, from:av>recv:user 400"},
		{pay.LatePayout, pay.Processing, pay.Recover, "from:av>recv:user 400"},
		{pay.LatePayout, pay.Processing, pay.WriteOff, "loss:ops>recv:user 1000"},
		{pay.LatePayout, pay.Processing, pay.Settle, "clr:out>nostro 1000, fee:cost>nostro 3"},
		{pay.LateDeposit, pay.None, pay.Accept, "clr:in>to:av 1000"},
		{pay.LateDeposit, pay.Succeeded, pay.Settle, "nostro>clr:in 997, fee:cost>clr:in 3"},
		{pay.Return, pay.None, pay.Accept, "clr:in>to:av 1000, fee:rev>to:av 7"},
		{pay.Return, pay.Succeeded, pay.Settle, "nostro>clr:in 997, fee:cost>clr:in 3"},
		{pay.Inbound, pay.None, pay.Accept, "nostro>susp:in 1000"},
		{pay.Inbound, pay.InReview, pay.Take, ""},
		{pay.Assignment, pay.None, pay.Accept, "from:av>to:av 1000"},
		{pay.Chargeback, pay.None, pay.Accept, "from:av>clr:in 400, recv:user>clr:in 600"},
		{pay.Chargeback, pay.Processing, pay.Recover, "from:av>recv:user 400"},
		{pay.Chargeback, pay.Processing, pay.WriteOff, "loss:ops>recv:user 1000"},
		{pay.Chargeback, pay.Succeeded, pay.Settle, "clr:in>nostro 1000, fee:cost>nostro 3"},
		{pay.Compensation, pay.None, pay.Accept, "comp:exp>to:av 1000"},
	} {
		p := asIs(c.kind, c.state)
		f := about(p, c.fact)
		f.Cost, f.Covered = money.Int(3), money.Int(400)
		if c.state == pay.None {
			p = pay.Payment{Kind: c.kind}
		}
		change, err := pay.Next(p, f)
		require.NoError(t, err)
		var got []string
		for _, x := range change.Postings {
			got = append(got, fmt.Sprintf("%s>%s %s", x.Debit, x.Credit, x.Amount))
		}
		require.Equal(t, c.want, strings.Join(got, ", "), "%s %s on %s", c.kind, c.fact, c.state)
	}
}

func TestWordsMustNameOurAmountAndAsset(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind  pay.Kind
		state pay.State
		fact  pay.FactKind
	}{
		{pay.Payout, pay.Processing, pay.Confirm},
		{pay.Payout, pay.Succeeded, pay.Settle},
		{pay.Deposit, pay.Created, pay.Confirm},
		{pay.Deposit, pay.Succeeded, pay.Settle},
	} {
		p := asIs(c.kind, c.state)
		other := about(p, c.fact)
		other.Amount = money.Int(1001)
		_, err := pay.Next(p, other)
		require.ErrorIs(t, err, pay.ErrMismatch)
		foreign := about(p, c.fact)
		foreign.Asset = "EUR"
		change, err := pay.Next(p, foreign)
		require.ErrorIs(t, err, pay.ErrMismatch)
		require.Equal(t, p, change.After)
	}
}

func TestFactsAboutOtherAttempts(t *testing.T) {
	t.Parallel()
	p := asIs(pay.Payout, pay.Dispatching)
	p.Attempt = pay.Attempt{N: 2, State: pay.Intended}
	for k := pay.Ack; k <= pay.Settle; k++ {
		if k == pay.Cancel {
			continue
		}
		old, future := about(p, k), about(p, k)
		old.Attempt, future.Attempt = 1, 3
		_, err := pay.Next(p, future)
		require.ErrorIs(t, err, pay.ErrIllegal, "%s of an attempt that nobody made", k)
		c, err := pay.Next(p, old)
		if k == pay.Confirm || k == pay.Settle {
			require.ErrorIs(t, err, pay.ErrContradiction, "%s: the first attempt has executed after all", k)
			continue
		}
		require.NoError(t, err)
		require.True(t, c.NoOp(), "%s of the first attempt is stale", k)
	}
	again := about(p, pay.Intend)
	again.Attempt = 2
	c, err := pay.Next(p, again)
	require.NoError(t, err)
	require.True(t, c.NoOp(), "the same intent twice")
}

func TestIntendNeedsTheNextNumberAndALastInstant(t *testing.T) {
	t.Parallel()
	p := asIs(pay.Payout, pay.Reserved)
	for name, spoil := range map[string]func(*pay.Fact, *pay.Payment){
		"no send_by":       func(f *pay.Fact, _ *pay.Payment) { f.SendBy = time.Time{} },
		"a number skipped": func(f *pay.Fact, _ *pay.Payment) { f.Attempt = 2 },
		"no number":        func(f *pay.Fact, _ *pay.Payment) { f.Attempt = 0 },
		"one alive": func(f *pay.Fact, p *pay.Payment) {
			p.Attempt = pay.Attempt{N: 1, State: pay.AttemptUnknown}
			f.Attempt = 2
		},
	} {
		f, q := about(p, pay.Intend), p
		spoil(&f, &q)
		_, err := pay.Next(q, f)
		require.ErrorIs(t, err, pay.ErrIllegal, name)
	}
	c, err := pay.Next(p, about(p, pay.Intend))
	require.NoError(t, err)
	require.Equal(t, pay.Attempt{N: 1, State: pay.Intended, Reference: pay.Reference(p.ID, 1), SendBy: noon.Add(5 * time.Second)}, c.After.Attempt)
	require.Equal(t, noon.Add(5*time.Second), c.After.NextAt, "look again when it may no longer be sent")
}

// A fact waits for the ledger while its database stands still; what was to follow half a
// second later is then due, and not half a minute later.
func TestStepWhoseTimePassedWhileItsFactWaitedIsDueAtOnce(t *testing.T) {
	t.Parallel()
	for _, k := range []pay.FactKind{pay.ProveAbsent, pay.Ack, pay.Doubt, pay.Checked} {
		f := about(asIs(pay.Payout, pay.Dispatching), k)
		f.NextAt = f.At.Add(-5 * time.Second)
		c, err := pay.Next(asIs(pay.Payout, pay.Dispatching), f)
		require.NoError(t, err, k)
		require.True(t, c.After.NextAt.After(f.At), "%s: every step lies ahead (P8)", k)
		require.LessOrEqual(t, c.After.NextAt.Sub(f.At), time.Second, "%s: nobody waits the state's default for it", k)
	}
}

func TestAbsenceRemembersWhetherItWasSent(t *testing.T) {
	t.Parallel()
	p := asIs(pay.Payout, pay.Dispatching)
	for _, k := range []pay.FactKind{pay.ProveAbsent, pay.GiveUp} {
		for _, as := range []pay.AttemptState{pay.Absent, pay.NeverSent} {
			f := about(p, k)
			f.AttemptState = as
			c, err := pay.Next(p, f)
			require.NoError(t, err)
			require.True(t, c.AttemptChanged)
			require.Equal(t, as, c.After.Attempt.State)
			require.Equal(t, "because", c.After.Attempt.Reason)
		}
	}
}

func TestCostCannotEatMoreThanTheDeposit(t *testing.T) {
	t.Parallel()
	p := asIs(pay.Deposit, pay.Succeeded)
	f := about(p, pay.Settle)
	f.Cost = money.Int(1001)
	_, err := pay.Next(p, f)
	require.ErrorIs(t, err, pay.ErrIllegal)
	f.Cost = money.Int(-1)
	_, err = pay.Next(p, f)
	require.ErrorIs(t, err, pay.ErrIllegal)
	f.Cost = money.Int(1000)
	c, err := pay.Next(p, f)
	require.NoError(t, err)
	require.Len(t, c.Postings, 1, "a posting of zero is left out")
}

func TestAcceptTakesOnlyNewPaymentsWithMoney(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*pay.Fact){
		"nothing":         func(f *pay.Fact) { f.New = nil },
		"another kind":    func(f *pay.Fact) { f.New.Kind = pay.Deposit },
		"no amount":       func(f *pay.Fact) { f.New.Amount = money.Int(0) },
		"below zero":      func(f *pay.Fact) { f.New.Amount = money.Int(-1) },
		"a negative fee":  func(f *pay.Fact) { f.New.Fee = money.Int(-1) },
		"kind of no kind": func(f *pay.Fact) { f.Kind = 200 },
	} {
		f := about(asIs(pay.Payout, pay.None), pay.Accept)
		spoil(&f)
		_, err := pay.Next(pay.Payment{Kind: pay.Payout}, f)
		require.ErrorIs(t, err, pay.ErrIllegal, name)
	}
	f := about(asIs(pay.Payout, pay.None), pay.Accept)
	_, err := pay.Next(pay.Payment{Kind: pay.Payout, State: pay.Created}, f)
	require.ErrorIs(t, err, pay.ErrIllegal, "it exists")
	f.New.Amount, f.New.Fee = money.Max, money.Int(1)
	_, err = pay.Next(pay.Payment{Kind: pay.Payout}, f)
	require.NoError(t, err)
	full := *f.New
	full.State = pay.Created
	_, err = pay.Next(full, pay.Fact{Kind: pay.Clear, At: noon})
	require.ErrorIs(t, err, pay.ErrIllegal, "amount and fee do not fit in 128 bits")
}

func TestNextIsTotal(t *testing.T) {
	t.Parallel()
	edges := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 127, 128, 255}
	for _, k := range edges {
		for _, s := range edges {
			for _, f := range edges {
				p := pay.Payment{Kind: pay.Kind(k), State: pay.State(s), Amount: money.Int(1), Asset: "CZK"}
				c, err := pay.Next(p, pay.Fact{Kind: pay.FactKind(f), At: noon, Amount: p.Amount, Asset: p.Asset, New: &p})
				if err == nil {
					require.True(t, k >= 1 && k <= int(pay.Compensation) && s <= int(pay.InReview) && f >= 1 && f <= int(pay.Attest))
					require.LessOrEqual(t, c.To, pay.InReview)
				}
			}
		}
	}
}

func TestNamesAndPublicWords(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		pay.Created.Status(): "processing", pay.Unknown.Status(): "processing", pay.Succeeded.Status(): "succeeded",
		pay.Failed.Status(): "failed", pay.Cancelled.Status(): "failed", pay.Expired.Status(): "failed",
	} {
		require.Equal(t, want, name)
	}
	_, ok := pay.ParseKind("")
	require.False(t, ok)
	require.Equal(t, []string{"none", "expected", "matched"},
		[]string{pay.SettlementNone.String(), pay.SettlementExpected.String(), pay.SettlementMatched.String()})
	hops := map[pay.State]string{
		pay.Created: "intake", pay.Reserved: "dispatch", pay.Dispatching: "channel", pay.Processing: "channel", pay.Unknown: "settle",
		pay.RequiresAction: "holder", pay.InReview: "operator",
	}
	for s := pay.None; s <= pay.InReview; s++ {
		p := pay.Payment{Kind: pay.Payout, State: s, From: 2, To: 4}
		require.Equal(t, hops[s], p.Hop(), s)
		require.Equal(t, p.Open(), p.Hop() != "", "what is open is at a hop")
		require.Equal(t, pay.AccountID(2), p.Holder())
	}
	h := pay.Payment{Kind: pay.Hold, State: pay.Reserved, From: 2, To: 4}
	require.Equal(t, "holder", h.Hop(), "a hold waits for who made it")
	d := pay.Payment{Kind: pay.Deposit, State: pay.Created, To: 4}
	require.Equal(t, "channel", d.Hop(), "a deposit waits for the outside")
	require.Equal(t, pay.AccountID(4), d.Holder())
}

// BenchmarkNext measures the decision alone, of a move without postings and of
// the accept of a send with two.
func BenchmarkNext(b *testing.B) {
	b.Run("doubt", func(b *testing.B) {
		p := asIs(pay.Payout, pay.Dispatching)
		benchNext(b, p, about(p, pay.Doubt))
	})
	b.Run("accept", func(b *testing.B) {
		benchNext(b, pay.Payment{Kind: pay.Send}, about(asIs(pay.Send, pay.None), pay.Accept))
	})
}

func benchNext(b *testing.B, p pay.Payment, f pay.Fact) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := pay.Next(p, f); err != nil {
			b.Fatal(err)
		}
	}
}

func TestNextAllocatesOnlyPostingsAndReferences(t *testing.T) {
	for kind, most := range map[pay.FactKind]int{pay.Doubt: 0, pay.Confirm: 1, pay.Decline: 1} {
		p := asIs(pay.Payout, pay.Dispatching)
		f := about(p, kind)
		got := testing.AllocsPerRun(100, func() { _, _ = pay.Next(p, f) })
		require.LessOrEqual(t, int(got), most, kind.String())
	}
}

// A word that quotes no attempt may be anybody's: M…A0 is a deposit's reference.
func TestAWordAboutAPayoutNamesItsAttempt(t *testing.T) {
	t.Parallel()
	p := asIs(pay.Payout, pay.Processing)
	for _, kind := range []pay.FactKind{pay.Ack, pay.Doubt, pay.Confirm, pay.Decline, pay.ProveAbsent, pay.GiveUp, pay.Settle} {
		f := about(p, kind)
		f.Attempt = 0
		c, err := pay.Next(p, f)
		require.ErrorIs(t, err, pay.ErrIllegal, kind)
		require.Equal(t, p, c.After)
	}
}

// What was proven absent and is confirmed all the same has succeeded: nothing is
// sent again, and the postings are those of T4 and T7.
func TestConfirmedAfterProofOfAbsence(t *testing.T) {
	t.Parallel()
	p := asIs(pay.Payout, pay.Unknown)
	p.Attempt = pay.Attempt{N: 1, State: pay.AttemptUnknown}
	absent, err := pay.Next(p, about(p, pay.ProveAbsent))
	require.NoError(t, err)
	require.Equal(t, pay.Reserved, absent.To)
	c, err := pay.Next(absent.After, about(absent.After, pay.Confirm))
	require.NoError(t, err)
	require.Equal(t, pay.Succeeded, c.To)
	require.Equal(t, pay.Confirmed, c.After.Attempt.State)
	require.Equal(t, pay.ReasonLate, c.After.Reason)
	require.Equal(t, pay.FromHeld, c.Postings[0].Debit)
	require.Equal(t, pay.ClearingOut, c.Postings[0].Credit)
	again := about(c.After, pay.Intend)
	_, err = pay.Next(c.After, again)
	require.ErrorIs(t, err, pay.ErrIllegal)
}

// Whatever refuses a fact, the change says that the payment stands as it was.
func TestARefusalSaysWhereItStands(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		p     pay.Payment
		f     pay.FactKind
		spoil func(f *pay.Fact)
		err   error
	}{
		"another amount":   {asIs(pay.Payout, pay.Unknown), pay.Confirm, func(f *pay.Fact) { f.Amount = money.Int(1) }, pay.ErrMismatch},
		"more than is":     {asIs(pay.Deposit, pay.Succeeded), pay.Take, func(f *pay.Fact) { f.Amount = money.Int(1_000_000) }, pay.ErrExceeds},
		"a fee above all":  {asIs(pay.Deposit, pay.Succeeded), pay.Settle, func(f *pay.Fact) { f.Cost = money.Int(1_000_000) }, pay.ErrIllegal},
		"the wrong number": {asIs(pay.Payout, pay.Reserved), pay.Intend, func(f *pay.Fact) { f.Attempt += 3 }, pay.ErrIllegal},
		"an old attempt":   {asIs(pay.Payout, pay.Unknown), pay.Confirm, func(f *pay.Fact) { f.Attempt = 9 }, pay.ErrIllegal},
	} {
		given := about(c.p, c.f)
		c.spoil(&given)
		got, err := pay.Next(c.p, given)
		require.ErrorIs(t, err, c.err, name)
		require.Equal(t, pay.Change{From: c.p.State, To: c.p.State, After: c.p}, got, name)
	}
}
