package recon_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	rail "github.com/moneta-pay/moneta/pay/channel/sandbox"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/ledger"
	"github.com/moneta-pay/moneta/pay/recon"
)

// label is what somebody who knows the truth would say about one break: what it
// is, whose reference and which line it is about, and what became of it.
type label struct{ class, reference, line, state string }

// wireLine is a line as the bank's API writes it.
type wireLine struct {
	Seq        int64     `json:"seq"`
	LineID     string    `json:"line_id"`
	Direction  string    `json:"direction"`
	Reference  string    `json:"reference"`
	Amount     string    `json:"amount"`
	Fee        string    `json:"fee"`
	Asset      string    `json:"asset"`
	Remittance string    `json:"remittance"`
	BookedAt   time.Time `json:"booked_at"`
}

// truth plays a bank that lies on purpose and keeps a list of its lies. It plays
// over real HTTP; its statement comes in daily parts.
type truth struct {
	t      testing.TB
	dice   *rand.Rand
	clock  *clock.Manual
	node   *commit.Node
	flaky  *flaky
	recon  *recon.Recon
	pool   *pgxpool.Pool
	house  pay.AccountID
	user   pay.AccountID
	named  int
	labels map[label]bool

	mu   sync.Mutex
	told []wireLine // what the bank shows by now
	// days are the statements to come, published of them are told, and what
	// happens now is booked on the one of base.
	days      [][]wireLine
	published int
	base      int
}

func newTruth(tb testing.TB, seed uint64) *truth {
	tb.Helper()
	h := &truth{
		t: tb, dice: rand.New(rand.NewPCG(seed, seed)), labels: map[label]bool{}, days: make([][]wireLine, 3),
		clock: clock.NewManual(time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)), // Monday, ten in Prague
	}
	dsn := pgtest.DSN(tb)
	var err error
	h.pool, err = pgxpool.New(context.Background(), dsn)
	require.NoError(tb, err)
	tb.Cleanup(h.pool.Close)
	front := httptest.NewServer(http.HandlerFunc(h.statement))
	tb.Cleanup(front.Close)
	ch, err := rail.New(rail.Config{BaseURL: front.URL, Bank: "ab", Secrets: []string{"s"}})
	require.NoError(tb, err)
	tb.Cleanup(ch.Close)
	tel, err := telemetry.Setup(context.Background(), telemetry.Config{LogOutput: io.Discard})
	require.NoError(tb, err)
	ctx, cancel := context.WithCancel(context.Background())
	// The decider lives in the time of the story, a year of which counts as agreement.
	h.node = commit.New(commit.Config{DSN: dsn, Clock: h.clock, Guard: clock.NewGuard(clock.GuardConfig{Clock: h.clock, Max: 365 * 24 * time.Hour})})
	done := make(chan struct{})
	go func() { defer close(done); _ = h.node.Run(ctx) }()
	tb.Cleanup(func() { cancel(); <-done })
	h.flaky = &flaky{Submitter: h.node}
	h.recon = recon.New(recon.Config{
		Pool: h.pool, Submitter: h.flaky, Channels: []channel.Channel{ch}, Clock: h.clock, Telemetry: tel, PageMax: 97,
		Terms: map[channel.Name]recon.Terms{"bank-ab": {Calendar: bank(tb), Fees: map[money.Asset]money.Amount{"CZK": money.Int(2)}}},
	})
	require.Eventually(tb, h.node.Leading, patience, 2*time.Millisecond)
	w := &world{t: tb, node: h.node}
	h.house, h.user = w.account("house", ledger.House), w.account("user", ledger.User)
	return h
}

func (h *truth) statement(w http.ResponseWriter, r *http.Request) {
	after, _ := strconv.ParseInt(r.URL.Query().Get("after"), 10, 64)
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	h.mu.Lock()
	defer h.mu.Unlock()
	first := int(min(after, int64(len(h.told))))
	last := min(first+limit, len(h.told))
	_ = json.NewEncoder(w).Encode(map[string]any{
		"lines": append([]wireLine{}, h.told[first:last]...), "next": last, "has_more": last < len(h.told),
	})
}

// publish shows the next daily statement, its lines in any order.
func (h *truth) publish() {
	h.mu.Lock()
	defer h.mu.Unlock()
	lines := h.days[h.published]
	h.published++
	h.dice.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
	for _, l := range lines {
		l.Seq = int64(len(h.told)) + 1
		h.told = append(h.told, l)
	}
}

// next puts lines on the statement of the day, after on the one that follows.
func (h *truth) next(lines ...wireLine)  { h.days[h.base] = append(h.days[h.base], lines...) }
func (h *truth) after(lines ...wireLine) { h.days[h.base+1] = append(h.days[h.base+1], lines...) }

func (h *truth) name() string { h.named++; return fmt.Sprintf("N%d", h.named) }

// facts commits all or fails.
func (h *truth) facts(facts ...pay.Fact) []pay.Payment {
	h.t.Helper()
	var out []pay.Payment
	for chunk := range slices.Chunk(facts, 500) {
		wrapped := make([]commit.Fact, len(chunk))
		for i := range chunk {
			wrapped[i].Payment = &chunk[i]
		}
		for _, o := range h.node.SubmitAll(context.Background(), wrapped) {
			require.NoError(h.t, o.Err)
			out = append(out, o.Payment)
		}
	}
	return out
}

// accepted makes n payments, deposits and payouts by turns, the payouts on the wire.
func (h *truth) accepted(n int) []pay.Payment {
	h.t.Helper()
	facts := make([]pay.Fact, n)
	for i := range facts {
		p := &pay.Payment{Tenant: 1, Kind: pay.Deposit, Asset: "CZK", Amount: money.Int(1000 + h.dice.Int64N(1_000_000)), Channel: "bank-ab", Key: key(h.name())}
		if i%2 == 0 {
			p.To = h.user
		} else {
			p.Kind, p.From, p.PayeeAccount = pay.Payout, h.house, "1"
		}
		facts[i] = pay.Fact{Kind: pay.Accept, New: p, Fingerprint: pay.Fingerprint(p.Key)}
	}
	all := h.facts(facts...)
	var intents []pay.Fact
	for i := range all {
		if all[i].Kind == pay.Payout {
			intents = append(intents, pay.Fact{Kind: pay.Intend, Payment: all[i].ID, Attempt: 1, SendBy: h.clock.Now().Add(time.Minute)})
		}
	}
	sent := map[pay.ID]pay.Payment{}
	for _, p := range h.facts(intents...) {
		sent[p.ID] = p
	}
	for i := range all {
		if p, ok := sent[all[i].ID]; ok {
			all[i] = p
		}
	}
	return all
}

func (h *truth) confirm(p *pay.Payment) pay.Fact {
	return pay.Fact{Kind: pay.Confirm, Payment: p.ID, Attempt: p.Attempt.N, Amount: p.Amount, Asset: p.Asset, Source: "callback"}
}

func (h *truth) line(p *pay.Payment) wireLine {
	l := wireLine{LineID: h.name(), Direction: "out", Reference: pay.Reference(p.ID, p.Attempt.N), Amount: p.Amount.String(), Fee: "2", Asset: "CZK", BookedAt: h.clock.Now()}
	if p.Kind == pay.Deposit {
		l.Direction = "in"
	}
	return l
}

func (h *truth) breaks(class string, l wireLine) {
	h.labels[label{class, l.Reference, l.LineID, recon.Open}] = true
}

// fates is what may happen to a payment between us and the bank, and what somebody
// who knows it would call it. The first five are no breaks at all.
var fates = []func(h *truth, p *pay.Payment){
	func(h *truth, p *pay.Payment) { h.facts(h.confirm(p)); h.next(h.line(p)) }, // the plain case
	func(h *truth, p *pay.Payment) { h.next(h.line(p)) },                        // the statement is the first to say so
	func(h *truth, p *pay.Payment) { // doubtful until the statement comes
		if p.Kind == pay.Payout {
			h.facts(pay.Fact{Kind: pay.Doubt, Payment: p.ID, Attempt: 1})
		}
		h.next(h.line(p))
	},
	func(*truth, *pay.Payment) {}, // nothing has happened yet
	func(h *truth, p *pay.Payment) { // told on two pages
		l := h.line(p)
		h.facts(h.confirm(p))
		h.next(l)
		h.after(l)
		h.labels[label{"duplicate_line", l.Reference, l.LineID, recon.Resolved}] = true
	},
	func(h *truth, p *pay.Payment) { // a day late: a break that heals
		h.facts(h.confirm(p))
		h.after(h.line(p))
		h.labels[label{"missing_in_statement", pay.Reference(p.ID, p.Attempt.N), "", recon.Resolved}] = true
	},
	func(h *truth, p *pay.Payment) { // never told
		h.facts(h.confirm(p))
		h.labels[label{"missing_in_statement", pay.Reference(p.ID, p.Attempt.N), "", recon.Open}] = true
	},
	func(h *truth, p *pay.Payment) { // another amount
		l := h.line(p)
		h.facts(h.confirm(p))
		l.Amount = strconv.FormatInt(1+h.dice.Int64N(999), 10)
		h.next(l)
		h.breaks("amount_mismatch", l)
	},
	func(h *truth, p *pay.Payment) { // another amount, put right by a further line
		wrong, right := h.line(p), h.line(p)
		wrong.Amount = "1"
		h.next(wrong)
		h.after(right)
		h.labels[label{"amount_mismatch", wrong.Reference, wrong.LineID, recon.Resolved}] = true
	},
	func(h *truth, p *pay.Payment) {
		l := h.line(p)
		h.facts(h.confirm(p))
		l.Asset = "EUR"
		h.next(l)
		h.breaks("wrong_asset", l)
	},
	func(h *truth, p *pay.Payment) { // executed twice
		first, second := h.line(p), h.line(p)
		h.next(first)
		h.after(second)
		h.breaks("double_execution", second)
	},
	func(h *truth, p *pay.Payment) { // the same line, told otherwise the next day
		l := h.line(p)
		changed := l
		changed.Amount = "7"
		h.next(l)
		h.after(changed)
		h.breaks("line_changed", l)
	},
	func(h *truth, p *pay.Payment) {
		l := h.line(p)
		l.Fee = strconv.FormatInt(3+h.dice.Int64N(900), 10)
		h.next(l)
		h.breaks("fee_unexpected", l)
	},
	func(h *truth, p *pay.Payment) { // declined, and executed all the same: a linked payment stands for it
		h.facts(pay.Fact{Kind: pay.Decline, Payment: p.ID, Attempt: p.Attempt.N})
		l := h.line(p)
		h.next(l)
		h.labels[label{"late_outcome", l.Reference, l.LineID, recon.Resolved}] = true
	},
	func(h *truth, p *pay.Payment) { // the first attempt, after the second succeeded
		if p.Kind != pay.Payout {
			return
		}
		l := h.line(p)
		h.facts(pay.Fact{Kind: pay.ProveAbsent, Payment: p.ID, Attempt: 1, AttemptState: pay.Absent})
		second := h.facts(pay.Fact{Kind: pay.Intend, Payment: p.ID, Attempt: 2, SendBy: h.clock.Now().Add(time.Minute)})[0]
		h.facts(h.confirm(&second))
		h.next(l, h.line(&second))
		h.breaks("contradiction", l)
	},
	func(h *truth, _ *pay.Payment) { // several strangers, who may write the same words
		for range 2 {
			l := wireLine{LineID: h.name(), Direction: "in", Reference: []string{"RENT", "", "gift"}[h.dice.IntN(3)], Amount: "100", Fee: "0", Asset: "CZK", BookedAt: h.clock.Now()}
			h.next(l)
			h.breaks("unmatched_inbound", l)
		}
	},
	func(h *truth, _ *pay.Payment) {
		l := wireLine{LineID: h.name(), Direction: "out", Reference: "OTHER PEOPLE", Amount: "100", Fee: "2", Asset: "CZK", BookedAt: h.clock.Now()}
		h.next(l)
		h.breaks("unmatched_outbound", l)
	},
	func(h *truth, p *pay.Payment) {
		l := h.line(p)
		l.Reference = pay.Reference(p.ID+1_000_000, p.Attempt.N)
		h.next(l)
		h.breaks("unknown_reference", l)
	},
	func(h *truth, p *pay.Payment) { // somebody quotes what is not his
		l := h.line(p)
		if l.Direction = "in"; p.Kind == pay.Deposit {
			l.Direction = "out"
		}
		h.next(l)
		h.breaks("misdirected", l)
	},
}

// benign fates are met far more often than the others.
const benignFates = 4

// day lets n payments meet their fates, and goes on to the morning after.
func (h *truth) day(n int) {
	h.t.Helper()
	for i, p := range h.accepted(n) {
		fate := h.dice.IntN(benignFates)
		if i < 3*len(fates) || h.dice.IntN(6) == 0 {
			fate = i % len(fates)
		}
		fates[fate](h, &p)
	}
}

// found reads what recon says, in the words of the labels.
func (h *truth) found() map[label]bool {
	h.t.Helper()
	out := map[label]bool{}
	for f := (recon.BreakFilter{State: "all", Limit: 100}); ; {
		page, more, err := h.recon.Breaks(context.Background(), f)
		require.NoError(h.t, err)
		for _, b := range page {
			out[label{b.Class, b.Reference, b.Line, b.State}] = true
			require.NotEmpty(h.t, b.Owner)
			require.NotEmpty(h.t, b.Suggestion.Zh)
			require.Positive(h.t, b.Severity)
			f.After = b.ID
		}
		if !more {
			return out
		}
	}
}

// differences are the labels that only one of the two has.
func differences(truth, found map[label]bool) (missed, invented []label) {
	for l := range truth {
		if !found[l] {
			missed = append(missed, l)
		}
	}
	for l := range found {
		if !truth[l] {
			invented = append(invented, l)
		}
	}
	return missed, invented
}

// Thousands of payments, a bank that errs in every way that has a name, and noise
// that is no error: what recon finds is what was planted, no more, no less.
func TestEveryPlantedBreakIsFoundAndNothingElse(t *testing.T) {
	t.Parallel()
	for _, seed := range []uint64{1, 2} {
		h := newTruth(t, seed)
		h.day(900)
		h.clock.Advance(8 * time.Hour) // six in the evening: the cut-off makes it the next day's
		h.base = 1
		h.day(600)

		h.clock.Advance(15*time.Hour + 30*time.Minute) // half past nine: the statement is due at eight, with an hour of grace
		for range h.days {
			h.publish()
			require.NoError(t, h.recon.Run(t.Context()))
			h.clock.Advance(24 * time.Hour)
		}
		require.NoError(t, h.recon.Run(t.Context()))

		missed, invented := differences(h.labels, h.found())
		require.Empty(t, missed, "seed %d: recall", seed)
		require.Empty(t, invented, "seed %d: precision", seed)
		classes := map[string]int{}
		for l := range h.labels {
			classes[l.class]++
		}
		t.Logf("seed %d: %d payments and lines, labelled %v", seed, h.named, classes)
		require.GreaterOrEqual(t, len(classes), 13)
		for _, class := range slices.Sorted(maps.Keys(classes)) {
			require.GreaterOrEqual(t, classes[class], 2, class)
		}
	}
}

// A judge that is never wrong convinces nobody: a lie that the bank keeps off its
// list is found and shows as invented, one that it only claims shows as missed.
func TestTheLabelsBite(t *testing.T) {
	t.Parallel()
	h := newTruth(t, 3)
	p := h.accepted(2)
	l := h.line(&p[0])
	l.Amount = "1"
	h.next(l, h.line(&p[1]))
	h.breaks("double_execution", h.line(&p[1]))
	h.publish()
	require.NoError(t, h.recon.Run(t.Context()))
	missed, invented := differences(h.labels, h.found())
	require.Len(t, missed, 1)
	require.Equal(t, []label{{"amount_mismatch", l.Reference, l.LineID, recon.Open}}, invented)
}
