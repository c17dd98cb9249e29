package commit

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// Path is where a Node takes Facts from its peers.
const Path = "/internal/submit"

// forwardMax bounds the body of one hop: BatchMax Facts of at most 8 KiB.
const forwardMax = BatchMax * 8 << 10

// withinHeader tells the leader for how many more milliseconds the caller waits. The
// leader answers a little before: that a first request with the key is under way can
// only be said by who sees both.
const withinHeader = "Moneta-Within"

// answerEarly is the part of what is left, and the least, in which the answer returns.
const (
	answerEarly      = 20
	answerEarlyLeast = 100 * time.Millisecond
)

// submitTimeout bounds a Submit whose caller brought no earlier deadline.
const submitTimeout = 20 * time.Second

// forwarder takes Facts to the node that leads: one authenticated hop, never two.
type forwarder struct {
	node       *Node
	client     *http.Client
	credential atomic.Pointer[string] // the header's value; nil until it was read
}

func newForwarder(n *Node) *forwarder {
	t := &http.Transport{MaxIdleConnsPerHost: 64, MaxConnsPerHost: 256, IdleConnTimeout: 30 * time.Second}
	return &forwarder{node: n, client: &http.Client{Transport: t}}
}

func (f *forwarder) readCredential(ctx context.Context, conn *pgx.Conn) error {
	var secret []byte
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := conn.QueryRow(ctx, `select credential from cluster`).Scan(&secret); err != nil {
		return fmt.Errorf("read the credential between nodes: %w", err)
	}
	header := "Moneta " + hex.EncodeToString(secret)
	f.credential.Store(&header)
	return nil
}

// Submit takes one Fact to the decider and returns its committed answer.
func (n *Node) Submit(ctx context.Context, f Fact) (Result, error) {
	ctx, end := telemetry.Child(ctx, "commit.submit")
	out := n.SubmitAll(ctx, []Fact{f})
	end(out[0].Err)
	return out[0].Result, out[0].Err
}

// SubmitAll takes Facts to the decider and returns their committed answers in
// the same order. Each stands alone: one refusal refuses that Fact only.
func (n *Node) SubmitAll(ctx context.Context, facts []Fact) []Outcome {
	ctx, cancel := context.WithTimeout(ctx, submitTimeout)
	defer cancel()
	defer context.AfterFunc(n.submits, cancel)()
	var way hop
	for ctx.Err() == nil {
		if out, led := n.local(ctx, facts); led {
			return doubted(out, way.doubt)
		}
		if seen := n.leader.Load(); way.leadsTo(seen, n.cfg.URL) {
			term, end := n.terms.within(ctx, seen.id)
			out, err := n.forward.send(term, seen.url, facts)
			end()
			switch {
			case err == nil:
				return doubted(out, way.doubt)
			case !errors.Is(err, errMaybeSent): // refused at the door: that was no send
				// Asked again after the pause: the successor of a node that left may not be
				// ready to decide yet, and nobody looks any more who leads.
				way.seen = nil
			case way.doubt || !repeatable(facts):
				return n.known(ctx, facts, failAll(facts, errCommitUnknown(), true))
			default:
				way.doubt, way.leader, way.since = true, seen.id, time.Now() //nolint:forbidigo // the monotonic clock, on purpose
			}
		}
		if err, atOnce := n.trouble.verdict(); atOnce {
			return n.known(ctx, facts, failAll(facts, err, way.doubt))
		}
		pause(ctx, watchEvery/2)
	}
	err, _ := n.trouble.verdict()
	return n.known(ctx, facts, failAll(facts, err, way.doubt))
}

// hop is what one call knows of its way to the leader. Facts are sent once. When
// they may have been taken and no answer came, they are sent once more: to the next
// leader, or to the same one if it has beaten since and so lives. Then the caller
// is told that nobody knows.
type hop struct {
	seen *leaderSeen // the last look that was acted upon
	// doubt is true when leader may have taken the Facts at since.
	doubt  bool
	leader [16]byte
	since  time.Time
}

// leadsTo reports whether seen tells of a leader that the Facts may go to now.
func (h *hop) leadsTo(seen *leaderSeen, own string) bool {
	if seen == nil || seen == h.seen || !seen.known || seen.url == "" || seen.url == own {
		return false
	}
	h.seen = seen
	return !h.doubt || seen.id != h.leader || seen.beatAt.After(h.since)
}

// repeatable reports whether Facts that may have been taken may be taken again: by
// their key or by the state that they move from. A floor or a freeze has neither:
// somebody may have set another one in between.
func repeatable(facts []Fact) bool {
	for i := range facts {
		if a := facts[i].Account; a != nil && a.Kind != ledger.Open {
			return false
		}
	}
	return true
}

// local hands facts to this node's decider while it leads.
func (n *Node) local(ctx context.Context, facts []Fact) ([]Outcome, bool) {
	if !n.leading.Load() {
		return nil, false
	}
	n.gate.RLock()
	if !n.leading.Load() {
		n.gate.RUnlock()
		return nil, false
	}
	wait := n.queue.put(ctx, facts)
	n.gate.RUnlock()
	return wait(), true
}

// doubted takes back what an answer says about the money when an earlier try of
// the same Facts may have been taken: who did not look at a Fact knows nothing.
func doubted(out []Outcome, sent bool) []Outcome {
	for i := range out {
		switch code := fault.CodeOf(out[i].Err); {
		case !sent:
		case code == fault.Overloaded, code == fault.NotLeader, code == fault.Timeout, code == fault.ReadOnly, code == fault.DatabaseUnavailable:
			out[i].Err = errCommitUnknown()
		}
	}
	return out
}

func failAll(facts []Fact, err error, sent bool) []Outcome {
	out := make([]Outcome, len(facts))
	for i := range out {
		out[i].Err = err
	}
	return doubted(out, sent)
}

// wireOutcome is an Outcome between nodes.
type wireOutcome struct {
	Result Result       `json:"result"`
	Fault  *fault.Error `json:"fault,omitempty"`
}

var errMaybeSent = errors.New("the leader may have taken it")

func (f *forwarder) send(ctx context.Context, url string, facts []Fact) ([]Outcome, error) {
	body, err := json.Marshal(facts)
	if err != nil {
		return nil, fmt.Errorf("encode facts: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+Path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if until, bounded := ctx.Deadline(); bounded {
		left := -time.Since(until) //nolint:forbidigo // the monotonic clock, as for the deadline itself
		left -= max(left/answerEarly, answerEarlyLeast)
		req.Header.Set(withinHeader, strconv.FormatInt(max(left.Milliseconds(), 0), 10))
	}
	if header := f.credential.Load(); header != nil {
		req.Header.Set("Authorization", *header)
	}
	var connected atomic.Bool
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	}))
	resp, err := f.client.Do(req)
	switch {
	case err != nil && !connected.Load(): // a byte needs a connection
		return nil, fmt.Errorf("reach the node at %s: %w", url, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errMaybeSent, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the node at %s answers %s", url, resp.Status)
	}
	var wired []wireOutcome
	if err := json.NewDecoder(io.LimitReader(resp.Body, 4*forwardMax)).Decode(&wired); err != nil || len(wired) != len(facts) {
		return nil, fmt.Errorf("%w: unreadable answer: %w", errMaybeSent, err)
	}
	out := make([]Outcome, len(wired))
	for i, w := range wired {
		out[i].Result = w.Result
		if w.Fault != nil {
			out[i].Err = w.Fault
		}
	}
	return out, nil
}

// Flights knows the keys that are being decided. *intake.Flights is one.
type Flights interface {
	// Begin says that a request with the key goes to the decider, and whether another
	// one with it is under way already; End is told how it ended, and tells a duplicate
	// that was not answered in time that it is one.
	Begin(key pay.Key) (duplicate bool)
	End(key pay.Key, duplicate bool, err error) error
}

// forwarded decides Facts of another node's callers, for as long as they wait.
func (n *Node) forwarded(r *http.Request, facts []Fact) (out []Outcome, led bool) {
	ctx := r.Context()
	if ms, err := strconv.ParseInt(r.Header.Get(withinHeader), 10, 32); err == nil && ms >= 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond)
		defer cancel()
	}
	if n.cfg.Flights == nil || !n.leading.Load() {
		return n.local(ctx, facts)
	}
	duplicates := make([]bool, len(facts))
	for i := range facts {
		if p := facts[i].Payment; p != nil && p.New != nil {
			duplicates[i] = n.cfg.Flights.Begin(p.New.Key)
		}
	}
	out, led = n.local(ctx, facts)
	for i := range facts {
		if p := facts[i].Payment; p != nil && p.New != nil {
			var err error
			if led {
				err = out[i].Err
			}
			if err = n.cfg.Flights.End(p.New.Key, duplicates[i], err); led {
				out[i].Err = err
			}
		}
	}
	return out, led
}

// Handler takes Facts from other nodes. A node that does not lead refuses: there
// is never a second hop.
func (n *Node) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got := r.Header.Get("Authorization")
		want := n.forward.credential.Load()
		if want == nil || subtle.ConstantTimeCompare([]byte(got), []byte(*want)) != 1 {
			http.Error(w, "not one of our nodes", http.StatusUnauthorized)
			return
		}
		var facts []Fact
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, forwardMax)).Decode(&facts); err != nil || len(facts) > BatchMax {
			http.Error(w, "unreadable facts", http.StatusBadRequest)
			return
		}
		out, led := n.forwarded(r, facts)
		if !led {
			http.Error(w, "not the leader", http.StatusMisdirectedRequest)
			return
		}
		wired := make([]wireOutcome, len(out))
		for i, o := range out {
			wired[i].Result = o.Result
			if o.Err != nil {
				wired[i].Fault = fault.From(o.Err)
				wired[i].Fault.Err = nil
			}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(wired) // the caller retries with the same keys
	})
}
