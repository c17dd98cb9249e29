package replay

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moneta-pay/moneta/money"
)

// world is a tiny wallet and a tiny outside world over real sockets: just
// enough of a ledger to catch a driver that pays twice, pays too early, or
// forgets. It stands in for neither in tests of the product.
type world struct {
	mu          sync.Mutex
	accounts    map[string]*worldAccount
	accountKeys map[string]string        // id by idempotency key
	payments    map[string]*worldPayment // by id
	keys        map[string]*worldPayment // by idempotency key
	refs        map[string]*worldPayment // by reference
	effects     map[string][]effect      // by bank code
	orders      []string                 // row ids in the order of acceptance
	seen        map[string]int           // calls by row id
	url         string

	// Misbehaviour, set before the run.
	noIdempotency bool                              // keys are ignored
	dropAnswer    func(row string, nth int) bool    // do the work, then break the connection
	refuse        func(row string, nth int) *answer // answer this instead
	payouts       string                            // "" = settle at once, "slow" = at the second look, "fail"
	deposits      string                            // "" = credit when instructed, "never"
	bankAmount    money.Amount                      // added to each amount in the banks' books
	bookPage      int                               // effects a page
}

type answer struct {
	status int
	header http.Header
	body   string
}

type worldAccount struct {
	kind    string
	floor   money.Amount
	entries []worldEntry
}

type worldEntry struct {
	at     time.Time
	amount money.Amount
}

type worldPayment struct {
	payment
	order order
	looks int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		accounts: map[string]*worldAccount{}, accountKeys: map[string]string{}, payments: map[string]*worldPayment{}, keys: map[string]*worldPayment{},
		refs: map[string]*worldPayment{}, effects: map[string][]effect{}, seen: map[string]int{}, bookPage: 3,
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/accounts", w.postAccount)
	mux.HandleFunc("POST /v1/payments", w.postPayment)
	mux.HandleFunc("GET /v1/payments/{id}", w.getPayment)
	mux.HandleFunc("GET /v1/accounts/{id}/balances", w.getBalances)
	mux.HandleFunc("GET /v1/totals", func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = rw.Write([]byte(`{"ledger":[{"asset":"CZK","sum":"0"}],"open":0,"unknown_resolved":3,"duplicate_callbacks":2,"unexplained_max_s":1.5}`))
	})
	mux.HandleFunc("GET /v1/recon/breaks", func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = rw.Write([]byte(`{"object":"list","data":[{"class":"late"},{"class":"late"}],"has_more":false}`))
	})
	mux.HandleFunc("POST /banks/{code}/instructions", w.postInstruction)
	mux.HandleFunc("GET /banks/{code}/books", w.getBooks)
	mux.HandleFunc("GET /banks", func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = rw.Write([]byte(`{"banks":[{"code":"zz"}]}`))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

func (w *world) postAccount(rw http.ResponseWriter, r *http.Request) {
	var body newAccount
	_ = json.NewDecoder(r.Body).Decode(&body)
	w.mu.Lock()
	defer w.mu.Unlock()
	if body.Kind == "house" && r.Header.Get("Authorization") != "Bearer admin" {
		writeProblem(rw, 403, "forbidden", "house accounts need the admin key")
		return
	}
	key := r.Header.Get("Idempotency-Key")
	id, again := w.accountKeys[key]
	if !again {
		id = fmt.Sprintf("acct_%d", len(w.accounts)+1)
		w.accountKeys[key] = id
		w.accounts[id] = &worldAccount{kind: body.Kind}
		if body.Floor != nil {
			w.accounts[id].floor = *body.Floor
		}
	}
	writeJSON(rw, 201, map[string]string{"id": id})
}

func (w *world) postPayment(rw http.ResponseWriter, r *http.Request) {
	var o order
	_ = json.NewDecoder(r.Body).Decode(&o)
	w.mu.Lock()
	defer w.mu.Unlock()
	nth := w.seen[o.Remittance]
	w.seen[o.Remittance]++
	if w.refuse != nil {
		if a := w.refuse(o.Remittance, nth); a != nil {
			for k, v := range a.header {
				rw.Header()[k] = v
			}
			rw.WriteHeader(a.status)
			_, _ = rw.Write([]byte(a.body))
			return
		}
	}
	if from := w.accounts[o.From]; from != nil && from.kind == "house" && r.Header.Get("Authorization") != "Bearer admin" {
		writeProblem(rw, 403, "forbidden", "house accounts pay for the admin only")
		return
	}
	p, status, code := w.accept(o, r.Header.Get("Idempotency-Key"))
	if w.dropAnswer != nil && w.dropAnswer(o.Remittance, nth) {
		panic(http.ErrAbortHandler) // like a kill between commit and answer
	}
	if code != "" {
		writeProblem(rw, status, code, "no")
		return
	}
	writeJSON(rw, status, p.payment)
}

func (w *world) accept(o order, key string) (*worldPayment, int, string) {
	if p := w.keys[key]; p != nil && !w.noIdempotency {
		return p, 200, ""
	}
	if from := w.accounts[o.From]; from != nil && from.kind == "user" {
		left, _ := from.balance(farFuture).Sub(o.Amount)
		if left.Cmp(from.floor) < 0 && !w.noFunds() {
			return nil, 422, "insufficient_funds"
		}
	}
	id := fmt.Sprintf("pay_%d", len(w.payments)+1)
	p := &worldPayment{order: o, payment: payment{ID: id, State: "processing", Status: "processing", CreatedAt: time.Now(), Reference: "ref_" + id}}
	w.payments[id], w.keys[key], w.refs[p.Reference] = p, p, p
	w.orders = append(w.orders, o.Remittance)
	w.post(o.From, o, true)
	switch {
	case o.Kind == "send":
		w.post(o.To, o, false)
		p.finish(statusSucceeded)
	case o.Kind == kindPayout && w.payouts == "":
		w.settlePayout(p)
	}
	return p, 201, ""
}

// noFunds tells whether the funds check is off: a doubled payment may exceed
// what the file left room for, and the test wants to see it go through.
func (w *world) noFunds() bool { return w.noIdempotency }

var farFuture = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

func (w *world) post(account string, o order, debit bool) {
	a := w.accounts[account]
	if a == nil {
		return
	}
	amount := o.Amount
	if debit {
		amount, _ = amount.Neg()
	}
	a.entries = append(a.entries, worldEntry{o.EffectiveAt, amount})
}

func (a *worldAccount) balance(asOf time.Time) money.Amount {
	var sum money.Amount
	for _, e := range a.entries {
		if !e.at.After(asOf) {
			sum, _ = sum.Add(e.amount)
		}
	}
	return sum
}

func (p *worldPayment) finish(status string) {
	now := time.Now()
	p.Status, p.State, p.FinalAt = status, status, &now
}

func (w *world) settlePayout(p *worldPayment) {
	w.effect(strings.TrimPrefix(p.order.Channel, "bank-"), "out", p.Reference, p.order.Remittance, p.order.Amount)
	p.finish(statusSucceeded)
}

func (w *world) effect(code, direction, reference, remittance string, amount money.Amount) {
	amount, _ = amount.Add(w.bankAmount)
	w.effects[code] = append(w.effects[code], effect{
		Seq: int64(len(w.effects[code]) + 1), Direction: direction,
		Reference: reference, Remittance: remittance, Amount: amount, Asset: "CZK",
	})
}

func (w *world) getPayment(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.payments[r.PathValue("id")]
	if p == nil {
		writeProblem(rw, 404, "not_found", "no such payment")
		return
	}
	p.looks++
	if p.order.Kind == kindPayout && !p.final() {
		switch {
		case w.payouts == "slow" && p.looks > 1:
			w.settlePayout(p)
		case w.payouts == "fail":
			p.finish(statusFailed)
		}
	}
	writeJSON(rw, 200, p.payment)
}

func (w *world) postInstruction(rw http.ResponseWriter, r *http.Request) {
	var body struct{ Reference, Remittance string }
	_ = json.NewDecoder(r.Body).Decode(&body)
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.refs[body.Reference]; p != nil && !p.final() && w.deposits == "" {
		w.effect(r.PathValue("code"), "in", p.Reference, body.Remittance, p.order.Amount)
		w.post(p.order.To, p.order, false)
		p.finish(statusSucceeded)
	}
	writeJSON(rw, 202, map[string]string{"status": "accepted"})
}

func (w *world) getBalances(rw http.ResponseWriter, r *http.Request) {
	at, err := time.Parse(time.RFC3339, r.URL.Query().Get("as_of"))
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.accounts[r.PathValue("id")]
	if err != nil || a == nil || r.URL.Query().Get("by") != "effective" {
		writeProblem(rw, 400, "invalid", "bad as_of, by or account")
		return
	}
	writeJSON(rw, 200, map[string]any{"available": a.balance(at)})
}

func (w *world) getBooks(rw http.ResponseWriter, r *http.Request) {
	after, _ := strconv.ParseInt(r.URL.Query().Get("after"), 10, 64)
	w.mu.Lock()
	defer w.mu.Unlock()
	page := []effect{}
	for _, e := range w.effects[r.PathValue("code")] {
		if e.Seq > after && len(page) < w.bookPage {
			page = append(page, e)
		}
	}
	writeJSON(rw, 200, map[string]any{"effects": page})
}

// position tells when a row was accepted, -1 if never.
func (w *world) position(row string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Index(w.orders, row)
}

func writeJSON(rw http.ResponseWriter, status int, body any) {
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(status)
	_ = json.NewEncoder(rw).Encode(body)
}

func writeProblem(rw http.ResponseWriter, status int, code, detail string) {
	writeJSON(rw, status, problem{Code: code, Detail: detail, Retry: "never"})
}
