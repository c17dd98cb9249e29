package torture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"
)

const (
	linearClients  = 8
	linearOps      = 400
	linearAccounts = 5
	linearOpening  = 1_000
	linearCheckMax = 2 * time.Minute
	// linearAbreast is how many histories the whole torture makes at once: alone, eight
	// clients mostly wait for the disk.
	linearAbreast = 8
)

// asked is what a client asked of the bank: a send, or a balance (amount 0).
type asked struct{ from, to, amount int }

// told is what it was told.
type told struct {
	outcome outcome
	balance int
}

type outcome uint8

const (
	done outcome = iota
	refusedFloor
	// nobodyKnows is a send that was never answered: it may have an effect at any
	// time from its call on, or none.
	nobodyKnows
)

// balances is the state of the model: what a client may see of each account.
type balances [linearAccounts]int

// bank is the specification: sends are atomic, never go below zero, and a balance
// is the truth of one instant between question and answer.
var bank = porcupine.Model{
	Init: func() any {
		var b balances
		for i := range b {
			b[i] = linearOpening
		}
		return b
	},
	Step: func(state, input, output any) (bool, any) {
		b, in, out := state.(balances), input.(asked), output.(told) //nolint:forcetypeassert // ours
		if in.amount == 0 {
			return out.outcome == nobodyKnows || out.balance == b[in.from], b
		}
		enough := b[in.from] >= in.amount
		switch out.outcome {
		case refusedFloor:
			return !enough, b
		case nobodyKnows: // without effect is the same as behind everything else
		case done:
			if !enough {
				return false, b
			}
		}
		if enough {
			b[in.from] -= in.amount
			b[in.to] += in.amount
		}
		return true, b
	},
	Equal: func(a, b any) bool { return a == b },
	DescribeOperation: func(input, output any) string {
		return fmt.Sprintf("%+v -> %+v", input, output)
	},
}

// Balances and sends are linearizable on two nodes, one of which is killed in the
// middle of some histories: every answer fits one order of all operations that
// contradicts nobody's clock. A stale read, planted into each history, is found.
func TestLinearizable(t *testing.T) {
	together(t)
	p := newPair(t)
	histories, abreast := choose(10, percent(2_000)), choose(1, linearAbreast)
	var sum linearFigures
	for first := 0; first < histories; first += abreast {
		if !p.second.running() {
			p.startSecond()
		}
		kill := first/abreast%5 == 4
		for i, h := range p.histories(first, min(abreast, histories-first), kill) {
			p.judge(first+i, h, &sum)
		}
		if full && first/abreast%10 == 9 {
			t.Logf("%d of %d histories", first+abreast, histories)
		}
	}
	require.Positive(t, sum.refusals, "no send met the floor: the histories say nothing about it")
	figure(t, "linearizable histories", "%d of %d operations each, %d at a time, %d refusals, %d unknown; slowest check %s",
		histories, linearClients*linearOps, abreast, sum.refusals, sum.unknown, sum.slowest.Round(time.Millisecond))
}

// linearFigures are what the histories went through.
type linearFigures struct {
	unknown, refusals int
	slowest           time.Duration
}

// judge looks for an order that explains the history, and for none that explains it
// with a stale read in it.
func (p *pair) judge(n int, h []porcupine.Operation, sum *linearFigures) {
	p.t.Helper()
	began := time.Now()
	result, info := porcupine.CheckOperationsVerbose(bank, h, linearCheckMax)
	sum.slowest = max(sum.slowest, time.Since(began))
	if result != porcupine.Ok {
		name := fmt.Sprintf("%s/history-%d.html", p.dir, n)
		p.t.Logf("the history is in %s (keep it with MONETA_TORTURE_KEEP=1): %v", name, porcupine.VisualizePath(bank, info, name))
	}
	require.Equal(p.t, porcupine.Ok, result, "history %d", n)
	for i := range h {
		switch h[i].Output.(told).outcome { //nolint:forcetypeassert // ours
		case nobodyKnows:
			sum.unknown++
		case refusedFloor:
			sum.refusals++
		case done:
		}
	}
	require.Equal(p.t, porcupine.Illegal, porcupine.CheckOperationsTimeout(bank, stale(h), linearCheckMax),
		"history %d: a stale read was not found: the checker is blind", n)
}

// histories are so many at once, each by clients of its own on accounts of its own;
// with kill the node that leads dies when the first of them is half through.
func (p *pair) histories(first, abreast int, kill bool) [][]porcupine.Operation {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	accounts := make([][]string, abreast)
	for i := range accounts {
		accounts[i] = p.fund(ctx, first+i)
	}
	var half func()
	if kill {
		p.secondLeads()
		half = func() { killPid(p.t, p.second.pid) }
	}
	out := make([][]porcupine.Operation, abreast)
	var work sync.WaitGroup
	for i := range accounts {
		atHalf := half
		half = nil
		work.Go(func() { out[i] = p.history(ctx, first+i, accounts[i], atHalf) })
	}
	work.Wait()
	return out
}

// fund opens the accounts of one history.
func (p *pair) fund(ctx context.Context, n int) []string {
	p.t.Helper()
	admin := &client{http: newHTTP(2), nodes: []string{p.api}, key: p.keys.Admin, attempt: attemptWithin}
	house, err := admin.open(ctx, fmt.Sprintf("linear-%d-house", n), "house")
	require.NoError(p.t, err)
	accounts := make([]string, linearAccounts)
	for i := range accounts {
		accounts[i], err = admin.open(ctx, fmt.Sprintf("linear-%d-%d", n, i), "user")
		require.NoError(p.t, err)
		key := fmt.Sprintf("linear-opening-%d-%d", n, i)
		_, _, err = admin.pay(ctx, order{Kind: "send", From: house, To: accounts[i], Amount: strconv.Itoa(linearOpening), Asset: asset, Remittance: key}, key)
		require.NoError(p.t, err)
	}
	return accounts
}

// history is what the clients of one history asked and were told; atHalf, when there
// is one, is called by one of them when half of its operations are done.
func (p *pair) history(ctx context.Context, n int, accounts []string, atHalf func()) []porcupine.Operation {
	began := time.Now()
	all := make([][]porcupine.Operation, linearClients)
	var work sync.WaitGroup
	pool := newHTTP(linearClients)
	for c := range linearClients {
		work.Go(func() {
			cl := &client{http: pool, nodes: []string{p.api, p.url}, at: c, key: p.keys.Tenant, attempt: 4 * time.Second}
			dice := rand.New(rand.NewPCG(uint64(n), uint64(c)))
			for op := range linearOps {
				if c == 0 && op == linearOps/2 && atHalf != nil {
					atHalf()
				}
				all[c] = append(all[c], cl.operate(ctx, accounts, dice, began, fmt.Sprintf("linear-%d-%d-%d", n, c, op), c))
			}
		})
	}
	work.Wait()
	return slices.Concat(all...)
}

// operate asks once, repeating under the same key until it is answered.
func (c *client) operate(ctx context.Context, accounts []string, dice *rand.Rand, began time.Time, key string, id int) porcupine.Operation {
	from := dice.IntN(len(accounts))
	in := asked{from: from, to: (from + 1 + dice.IntN(len(accounts)-1)) % len(accounts)}
	if dice.IntN(10) < 6 {
		in.amount = 1 + dice.IntN(linearOpening/2)
	}
	op := porcupine.Operation{ClientId: id, Input: in, Call: time.Since(began).Nanoseconds()}
	op.Output, op.Return = c.answer(ctx, accounts, in, key), time.Since(began).Nanoseconds()
	if op.Output.(told).outcome == nobodyKnows { //nolint:forcetypeassert // ours
		op.Return = math.MaxInt64
	}
	return op
}

func (c *client) answer(ctx context.Context, accounts []string, in asked, key string) told {
	if in.amount == 0 {
		var b struct {
			Available string `json:"available"`
		}
		if err := c.get(ctx, "/v1/accounts/"+accounts[in.from]+"/balances", &b); err != nil {
			return told{outcome: nobodyKnows, balance: -1}
		}
		n, err := strconv.Atoi(b.Available)
		if err != nil {
			return told{outcome: nobodyKnows, balance: -1}
		}
		return told{balance: n}
	}
	_, _, err := c.pay(ctx, order{Kind: "send", From: accounts[in.from], To: accounts[in.to], Amount: strconv.Itoa(in.amount), Asset: asset, Remittance: key}, key)
	var no *refused
	switch {
	case err == nil:
		return told{outcome: done}
	case errors.As(err, &no) && no.status == http.StatusUnprocessableEntity && json.Valid([]byte(no.answer)):
		return told{outcome: refusedFloor}
	}
	return told{outcome: nobodyKnows}
}

// stale is the history as one client would have told it who reads a cache: each
// balance is the one that it read before.
func stale(h []porcupine.Operation) []porcupine.Operation {
	out := make([]porcupine.Operation, len(h))
	copy(out, h)
	last := map[int]told{}
	for i := range out {
		in, seen := out[i].Input.(asked), out[i].Output.(told) //nolint:forcetypeassert // ours
		if out[i].ClientId != 0 || in.amount != 0 || seen.outcome != done {
			continue
		}
		if was, ok := last[in.from]; ok {
			out[i].Output = was
		}
		last[in.from] = seen
	}
	return out
}
