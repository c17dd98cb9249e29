// Package probe shows what a channel can do instead of believing it: it runs the
// claims of a channel's Capabilities against the channel's test endpoint and looks at
// what really moved. It refuses to call a claim proven that it could not put to the
// test, and to be run where real money moves: that the endpoint is one for tests is
// for the caller to know.
package probe

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/lifecycle"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/channel"
)

// Capability names one claim of a channel's contract.
type Capability string

// The claims that can be put to the test.
const (
	// Dedup: the same reference moves money at most once, whenever it comes again.
	Dedup Capability = "dedup"
	// Query: a query by our reference tells of our order, and of nothing else.
	Query Capability = "query"
	// Visibility: what was executed can be queried within VisibilityDelay.
	Visibility Capability = "visibility"
	// NotFound: a not-found from NotFoundCounts on means never.
	NotFound Capability = "not_found"
	// Budget: QueryBudget queries of one reference are answered.
	Budget Capability = "budget"
	// Cancel: a cancelled reference never moves money.
	Cancel Capability = "cancel"
	// Statement: each movement is stated once and rightly within StatementWithin.
	Statement Capability = "statement"
	// Final: a confirmation or a decline is never contradicted by what happens.
	Final Capability = "final"
	// Refund: money that came in can be sent back to whoever sent it.
	Refund Capability = "refund"
)

// Status is what became of a claim.
type Status string

// The statuses of a claim.
const (
	// Proven: put to the test, and it held.
	Proven Status = "proven"
	// Failed: put to the test, and it did not hold. The channel lies.
	Failed Status = "failed"
	// NotClaimed: the contract does not say so, and nothing may rely on it.
	NotClaimed Status = "not_claimed"
	// NotShown: claimed, and it could not be put to the test here.
	NotShown Status = "not_shown"
)

// Effect is one movement that really happened.
type Effect struct {
	Direction channel.Direction
	Reference string
	Amount    money.Amount
}

// Target is a channel at its test endpoint.
type Target struct {
	Channel channel.Channel
	// Asset and Amount of the orders; Amount is in the smallest unit and a few more
	// are added to tell orders apart. Zero means 100.
	Asset  money.Asset
	Amount int64
	Payee  channel.Party
	// Run makes the references unique: 1 to 12 letters or digits, never used before.
	Run string
	// Truth is the rail's own record, for those who can see it; nil takes the
	// channel's statement for the truth.
	Truth func(ctx context.Context) ([]Effect, error)
	// Credit makes somebody at the rail pay us from an account; nil leaves the refund
	// not shown.
	Credit func(ctx context.Context, reference, account string, amount money.Amount) error
	// Watch is how long to look for effects that come late; zero is VisibilityDelay
	// and ClientTimeout together, at least 2 s.
	Watch time.Duration
	// Patience bounds every wait for something that must happen; zero means 30 s.
	Patience time.Duration
	// Clock stamps orders; nil means the system's.
	Clock clock.Clock
	// Progress hears of each finding when it is there; may be nil.
	Progress func(Finding)
}

// Finding is what became of one claim.
type Finding struct {
	Capability Capability `json:"capability"`
	Status     Status     `json:"status"`
	// Claim is what the contract says, Detail what was seen.
	Claim  string        `json:"claim"`
	Detail string        `json:"detail"`
	Took   time.Duration `json:"took_ns"`
}

// Report is one run.
type Report struct {
	Channel channel.Name `json:"channel"`
	Adapter string       `json:"adapter"`
	// Contract is a fingerprint of everything that the channel claims.
	Contract  string        `json:"contract"`
	Run       string        `json:"run"`
	StartedAt time.Time     `json:"started_at"`
	Took      time.Duration `json:"took_ns"`
	Findings  []Finding     `json:"findings"`
}

// Finding returns what became of one claim.
func (r *Report) Finding(c Capability) Finding {
	for _, f := range r.Findings {
		if f.Capability == c {
			return f
		}
	}
	return Finding{Capability: c, Status: NotShown}
}

// Failed lists the claims that did not hold.
func (r *Report) Failed() []Capability {
	var out []Capability
	for _, f := range r.Findings {
		if f.Status == Failed {
			out = append(out, f.Capability)
		}
	}
	return out
}

// Contract is a fingerprint of a channel's claims: a proof holds for these only.
func Contract(caps channel.Capabilities) string {
	raw, err := json.Marshal(caps)
	if err != nil {
		panic(fmt.Sprintf("probe: capabilities have no JSON: %v", err)) // plain figures always have
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8])
}

// errNotShown says that a claim could not be put to the test, and why.
var errNotShown = errors.New("not shown")

func notShown(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errNotShown, fmt.Sprintf(format, args...))
}

// lie says that a claim did not hold.
type lie struct {
	what string
	// caught: by what happened, not by what did not. Breaking a run off cannot look like it.
	caught bool
}

func (l *lie) Error() string { return l.what }

func lies(format string, args ...any) error { return &lie{what: fmt.Sprintf(format, args...)} }

func caught(format string, args ...any) error { return &lie{fmt.Sprintf(format, args...), true} }

// check is one claim and the way to put it to the test.
type check struct {
	capability Capability
	claimed    func(channel.Capabilities) bool
	claim      string
	run        func(context.Context, *prober) (seen string, err error)
}

var always = func(channel.Capabilities) bool { return true }

var checks = []check{
	{Dedup, func(c channel.Capabilities) bool { return c.DedupByReference }, "the same reference moves money at most once", swap((*prober).dedup)},
	{Query, func(c channel.Capabilities) bool { return c.QueryByReference }, "a query tells of our order", swap((*prober).query)},
	{Visibility, func(c channel.Capabilities) bool { return c.QueryByReference }, "what was executed is found in time", swap((*prober).visibility)},
	{NotFound, func(c channel.Capabilities) bool { return c.NotFoundMeansNever }, "a late not-found means never", swap((*prober).notFound)},
	{Budget, func(c channel.Capabilities) bool { return c.QueryBudget > 0 }, "as many queries as stated are answered", swap((*prober).budget)},
	{Cancel, func(c channel.Capabilities) bool { return c.Cancel }, "what is cancelled never moves money", swap((*prober).cancel)},
	{Statement, func(c channel.Capabilities) bool { return c.StatementWithin > 0 }, "each movement is stated once and rightly", swap((*prober).statement)},
	{Final, always, "a final word stays true", swap((*prober).final)},
	{Refund, func(c channel.Capabilities) bool { return c.Refund }, "money can be sent back", swap((*prober).refund)},
}

// Capabilities are the claims that Run puts to the test, in the order of its findings.
func Capabilities() []Capability {
	out := make([]Capability, len(checks))
	for i := range checks {
		out[i] = checks[i].capability
	}
	return out
}

// prober is one run.
type prober struct {
	t    Target
	caps channel.Capabilities

	mu    sync.Mutex
	start int64 // the statement's cursor before the first order
}

// Broken is what counts of a run that did not come to its end: the claims that were seen
// to be false until then. A lie is not undone by looking away; of the others it says nothing.
func (r *Report) Broken() Report {
	out := *r
	out.Findings = slices.DeleteFunc(slices.Clone(r.Findings), func(f Finding) bool { return f.Status != Failed })
	return out
}

// Run puts every claim to the test, several at a time, and returns what was seen. An
// error means that the run itself could not be made, or not to its end: what it showed is
// Broken then.
func Run(ctx context.Context, t Target) (Report, error) {
	t.complete()
	p := &prober{t: t, caps: t.Channel.Capabilities()}
	r := Report{
		Channel: t.Channel.Name(), Adapter: p.caps.Adapter, Contract: Contract(p.caps), Run: t.Run,
		StartedAt: t.Clock.Now().UTC(), Findings: make([]Finding, len(checks)),
	}
	if t.Run == "" || len(t.Run) > 12 {
		return r, errors.New("probe: Run needs 1 to 12 letters or digits")
	}
	if err := p.begin(ctx); err != nil {
		return r, fmt.Errorf("probe %s: %w", r.Channel, err)
	}
	began := p.t.Clock.Now()
	var g errgroup.Group
	for i := range checks {
		g.Go(func() error {
			r.Findings[i] = p.examine(ctx, &checks[i])
			if t.Progress != nil {
				p.mu.Lock()
				defer p.mu.Unlock()
				t.Progress(r.Findings[i])
			}
			return nil
		})
	}
	_ = g.Wait() // no check returns an error of its own
	r.Took = p.t.Clock.Now().Sub(began)
	return r, ctx.Err()
}

func (t *Target) complete() {
	if t.Amount <= 0 {
		t.Amount = 100
	}
	if t.Clock == nil {
		t.Clock = clock.System
	}
	if t.Patience <= 0 {
		t.Patience = 30 * time.Second
	}
	if t.Watch <= 0 {
		caps := t.Channel.Capabilities()
		t.Watch = max(caps.VisibilityDelay+caps.ClientTimeout, 2*time.Second)
	}
}

func (p *prober) examine(ctx context.Context, c *check) Finding {
	f := Finding{Capability: c.capability, Claim: c.claim}
	if !c.claimed(p.caps) {
		f.Status = NotClaimed
		return f
	}
	began := p.t.Clock.Now()
	seen, err := c.run(ctx, p)
	f.Took = p.t.Clock.Now().Sub(began)
	var lie *lie
	is := errors.As(err, &lie)
	switch {
	case ctx.Err() != nil && (!is || !lie.caught):
		// A send or a query that was cut short looks like a channel that does not answer.
		f.Status, f.Detail = NotShown, ctx.Err().Error()
	case err == nil:
		f.Status, f.Detail = Proven, seen
	case is:
		f.Status, f.Detail = Failed, lie.what
	default:
		f.Status, f.Detail = NotShown, err.Error()
	}
	return f
}

// pagesMax bounds how far a statement is read.
const pagesMax = 10_000

// begin finds the end of the statement, so that only this run's lines are read.
func (p *prober) begin(ctx context.Context) error {
	for range pagesMax {
		page, err := p.t.Channel.Statement(ctx, p.start, 0)
		if err != nil {
			return err
		}
		p.start = page.Next
		if !page.HasMore {
			return nil
		}
	}
	return errors.New("the statement has no end")
}

// lines are the statement's lines of one reference in this run.
func (p *prober) lines(ctx context.Context, reference string) ([]channel.Line, error) {
	var found []channel.Line
	after := p.start
	for range pagesMax {
		page, err := p.t.Channel.Statement(ctx, after, 0)
		if err != nil {
			return nil, err
		}
		for _, l := range page.Lines {
			if l.Reference == reference && !l.Return {
				found = append(found, l)
			}
		}
		after = page.Next
		if !page.HasMore {
			return found, nil
		}
	}
	return nil, errors.New("the statement has no end")
}

// effects are the movements of one reference, by the rail's own record or, without
// one, by its statement.
func (p *prober) effects(ctx context.Context, reference string) ([]Effect, error) {
	var found []Effect
	if p.t.Truth == nil {
		lines, err := p.lines(ctx, reference)
		for _, l := range lines {
			found = append(found, Effect{l.Direction, l.Reference, l.Amount})
		}
		return found, err
	}
	all, err := p.t.Truth(ctx)
	for _, e := range all {
		if e.Reference == reference {
			found = append(found, e)
		}
	}
	return found, err
}

// reference is unique to this run; at most 35 characters.
func (p *prober) reference(name string) string { return "PROBE-" + p.t.Run + "-" + name }

func (p *prober) order(name string, more int64) channel.Order {
	payee := p.t.Payee
	if payee.Account == "" {
		payee.Account = "PROBE"
	}
	return channel.Order{
		Reference: p.reference(name), Amount: money.Int(p.t.Amount + more), Asset: p.t.Asset, Payee: payee,
		Remittance: "capability test " + p.t.Run, SendBy: p.t.Clock.Now().Add(p.caps.SendWindow),
	}
}

// taken reports whether the channel said that it has the order.
func taken(w channel.Word) bool { return w.Verdict == channel.Acked || w.Verdict == channel.Confirmed }

// until asks again and again, boundedly; false means that it did not come true.
func (p *prober) until(ctx context.Context, within time.Duration, holds func() (bool, error)) (bool, error) {
	deadline := p.t.Clock.Now().Add(within)
	for {
		ok, err := holds()
		if ok || err != nil {
			return ok, err
		}
		if !p.t.Clock.Now().Before(deadline) {
			return false, nil
		}
		if err := lifecycle.Pause(ctx, 50*time.Millisecond); err != nil {
			return false, err
		}
	}
}

// moved waits until the reference has an effect.
func (p *prober) moved(ctx context.Context, reference string) (bool, error) {
	return p.until(ctx, p.patience(), func() (bool, error) {
		e, err := p.effects(ctx, reference)
		return len(e) > 0, err
	})
}

func (p *prober) patience() time.Duration {
	if p.caps.FinalBound > 0 {
		return min(p.caps.FinalBound, p.t.Patience)
	}
	return p.t.Patience
}

func (p *prober) watch(ctx context.Context, part time.Duration) error {
	return lifecycle.Pause(ctx, p.t.Watch/part)
}
