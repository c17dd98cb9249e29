package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/moneta-pay/moneta/money"
)

// Bounds of the banks' interface.
const (
	maxRequest   = 16 << 10 // bytes of a request body
	maxReference = 64       // bytes
	maxText      = 140      // characters
	maxLines     = 5000     // statement lines or effects a page
	maxPageBytes = 48 << 10 // of a statement page; a client may bound answers at 64 KiB
	defaultLimit = 500
)

// maxAmount is one unit more than the greatest amount of one movement: far
// beyond any real one, far below what would overflow a balance.
var maxAmount = money.MustParseMinor("1000000000000000000000000000")

// problem is an error as the banks write it.
type problem struct {
	status     int
	retryAfter string
	Code       string `json:"code"`
	Param      string `json:"param,omitempty"`
	Detail     string `json:"detail"`
}

func (p *problem) Error() string { return p.Code + ": " + p.Detail }

func outOfRange(param, detail string) *problem {
	return &problem{status: http.StatusBadRequest, Code: "out_of_range", Param: param, Detail: detail}
}

// Handler returns the banks' HTTP interface and an index page at "/".
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.index)
	mux.HandleFunc("GET /healthz", s.health)
	mux.HandleFunc("GET /banks", s.list)
	mux.HandleFunc("GET /stats", s.stats)
	mux.HandleFunc("GET /scenario", s.showScenario)
	mux.HandleFunc("POST /scenario", s.startScenario)
	mux.HandleFunc("DELETE /scenario", s.stopScenario)
	for prefix, at := range map[string]func(bankHandler) http.HandlerFunc{"": s.atBank, "/test": s.atTwin} {
		mux.HandleFunc("POST "+prefix+"/banks/{code}/payments", at(s.pay))
		mux.HandleFunc("GET "+prefix+"/banks/{code}/payments/{reference}", at(s.query))
		mux.HandleFunc("POST "+prefix+"/banks/{code}/payments/{reference}/cancel", at(cancel))
		mux.HandleFunc("POST "+prefix+"/banks/{code}/instructions", at(s.instruct))
		mux.HandleFunc("POST "+prefix+"/banks/{code}/reversals", at(s.reverse))
		mux.HandleFunc("GET "+prefix+"/banks/{code}/statement", at(statement))
		mux.HandleFunc("GET "+prefix+"/banks/{code}/statements", at(listFiles))
		mux.HandleFunc("GET "+prefix+"/banks/{code}/statements/{date}", at(dayFile))
		mux.HandleFunc("GET "+prefix+"/banks/{code}/books", at(showBooks))
	}
	mux.HandleFunc("GET /banks/{code}/behaviour", s.atBank(showBehaviour))
	mux.HandleFunc("PUT /banks/{code}/behaviour", s.atBank(putBehaviour))
	mux.HandleFunc("PATCH /banks/{code}/behaviour", s.atBank(patchBehaviour))
	mux.HandleFunc("POST /banks/{code}/callbacks/flush", s.atBank(flushNow))
	return mux
}

type bankHandler func(b *bank, w http.ResponseWriter, r *http.Request) error

// atBank finds the bank and writes the handler's error.
func (s *Server) atBank(handle bankHandler) http.HandlerFunc {
	return s.at(handle, func(b *bank) *bank { return b })
}

// atTwin does the same at the bank's test endpoint.
func (s *Server) atTwin(handle bankHandler) http.HandlerFunc {
	return s.at(handle, func(b *bank) *bank { return b.twin })
}

func (s *Server) at(handle bankHandler, which func(*bank) *bank) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		b := s.banks[strings.ToLower(r.PathValue("code"))]
		if b == nil {
			writeProblem(w, &problem{status: http.StatusNotFound, Code: "no_such_bank", Param: "code", Detail: "this sandbox does not play that bank; GET /banks lists them"})
			return
		}
		b = which(b)
		if b.behaviourNow().ClockSkew != 0 {
			w.Header().Set("Date", b.clockNow().UTC().Format(http.TimeFormat))
		}
		if err := handle(b, w, r); err != nil {
			s.refuse(b, w, err)
		}
	}
}

func (s *Server) refuse(b *bank, w http.ResponseWriter, err error) {
	var refused *problem
	switch {
	case errors.As(err, &refused):
		writeProblem(w, refused)
	case errors.Is(err, errInProgress):
		writeProblem(w, &problem{status: http.StatusConflict, Code: "in_progress", Param: "reference", Detail: err.Error(), retryAfter: "1"})
	case errors.Is(err, errTooLate):
		writeProblem(w, &problem{status: http.StatusConflict, Code: "too_late", Param: "reference", Detail: err.Error()})
	case errors.Is(err, errConflict):
		writeProblem(w, &problem{status: http.StatusConflict, Code: "reference_conflict", Param: "reference", Detail: err.Error()})
	default:
		b.log.Error("bank cannot answer", slog.Any("error", err))
		writeProblem(w, &problem{status: http.StatusServiceUnavailable, Code: "books_unavailable", Param: "", Detail: err.Error()})
	}
}

func writeProblem(w http.ResponseWriter, p *problem) {
	if p.retryAfter != "" {
		w.Header().Set("Retry-After", p.retryAfter)
	}
	writeJSON(w, p.status, struct {
		Error *problem `json:"error"`
	}{p})
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":{"code":"internal","detail":"answer cannot be written"}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client is gone; nobody is left to tell
}

// readJSON reads one JSON object into value; unknown fields are refused.
func readJSON(w http.ResponseWriter, r *http.Request, value any) error {
	in := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
	in.DisallowUnknownFields()
	err := in.Decode(value)
	if err == nil {
		if _, err = in.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		err = errors.New("more than one JSON value")
	}
	var kind *json.UnmarshalTypeError
	switch field, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); {
	case unknown:
		return &problem{status: http.StatusBadRequest, Code: "unknown_field", Param: strings.Trim(field, `"`), Detail: "this field is not in the contract"}
	case errors.As(err, &kind):
		return &problem{status: http.StatusBadRequest, Code: "wrong_type", Param: kind.Field, Detail: "cannot be a JSON " + kind.Value}
	default:
		return &problem{status: http.StatusBadRequest, Code: "unreadable_body", Param: "", Detail: err.Error()}
	}
}

// paymentRequest is the body of POST payments.
type paymentRequest struct {
	Reference  string       `json:"reference"`
	Amount     money.Amount `json:"amount"`
	Asset      money.Asset  `json:"asset"`
	Account    string       `json:"account"`
	Name       string       `json:"name"`
	Remittance string       `json:"remittance"`
}

// instructionRequest is the body of POST instructions.
type instructionRequest struct {
	Reference   string       `json:"reference"`
	Amount      money.Amount `json:"amount"`
	Asset       money.Asset  `json:"asset"`
	Remittance  string       `json:"remittance"`
	FromAccount string       `json:"from_account"`
}

func (m movement) validReference() error {
	if m.Reference == "" || len(m.Reference) > maxReference || strings.Trim(m.Reference, ".") == "" {
		return outOfRange("reference", "needs 1 to 64 printable ASCII characters, not dots alone")
	}
	for _, r := range m.Reference {
		if r <= ' ' || r > '~' {
			return outOfRange("reference", "needs 1 to 64 printable ASCII characters without spaces")
		}
	}
	return nil
}

func (m movement) validate() error {
	if err := m.validReference(); err != nil {
		return err
	}
	if m.Amount.Sign() <= 0 || m.Amount.Cmp(maxAmount) >= 0 {
		return outOfRange("amount", "must be above 0 and below 10^27 minor units")
	}
	if _, known := money.LookupAsset(m.Asset); !known {
		return outOfRange("asset", "is not a known asset code")
	}
	for _, text := range []struct{ param, value string }{{"account", m.Account}, {"name", m.Name}, {"remittance", m.Remittance}} {
		if utf8.RuneCountInString(text.value) > maxText {
			return outOfRange(text.param, "has at most 140 characters")
		}
	}
	return nil
}

// pay is POST payments: we pay out through the bank.
func (s *Server) pay(b *bank, w http.ResponseWriter, r *http.Request) error {
	var body paymentRequest
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	move := movement{
		Direction: out, Reference: body.Reference, Amount: body.Amount, Asset: body.Asset,
		Account: body.Account, Name: body.Name, Remittance: body.Remittance,
	}
	if move.Account == "" {
		return outOfRange("account", "is required")
	}
	return s.exchange(b, w, r, move)
}

// instruct is POST instructions: a customer of the bank pays us.
func (s *Server) instruct(b *bank, w http.ResponseWriter, r *http.Request) error {
	var body instructionRequest
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	return s.exchange(b, w, r, movement{
		Direction: in, Reference: body.Reference, Amount: body.Amount, Asset: body.Asset,
		Account: body.FromAccount, Remittance: body.Remittance,
	})
}

// exchange receives a movement with every fault of the bank's behaviour around
// it. A client that has gone away changes nothing: the bank has the request.
func (s *Server) exchange(b *bank, w http.ResponseWriter, r *http.Request, move movement) error {
	if err := move.validate(); err != nil {
		return err
	}
	n := b.requests.Add(1)
	received := b.tally.received.Add(1)
	if m := b.script.Load(); m != nil && received >= m.at {
		s.scenario.reached(b)
	}
	how := b.behaviourNow()
	if err := b.admit(how, ""); err != nil {
		return err
	}
	if move.Direction == out {
		how = how.forAmount(move.Amount)
	} else {
		how = how.atTheCounter()
	}
	d := b.dice
	s.wait(d.delay(how.Latency, n, forLatency))
	if d.falls(how.LoseBefore, n, forLoseBefore) {
		b.tally.requestsLost.Add(1)
		s.hangUp(r, d.delay(how.Hold, n, forHold))
	}
	if later := d.delay(how.Ghost, n, forGhost); later > 0 {
		return s.ghost(b, r, move, how, n, later)
	}
	failure, html := b.failure(how, n)
	if failure != nil && !failure.Executed {
		b.tally.errorsBefore.Add(1)
		writeFailure(w, failure.Status, html)
		return nil
	}
	seen, err := b.receive(move, how, 0)
	if err != nil {
		return err
	}
	s.wait(d.delay(how.ReplyDelay, n, forReplyDelay))
	switch {
	case d.falls(how.LoseReply, n, forLoseReply):
		b.tally.repliesLost.Add(1)
		s.hangUp(r, d.delay(how.Hold, n, forHold))
	case failure != nil:
		b.tally.errorsAfter.Add(1)
		writeFailure(w, failure.Status, html)
	default:
		if d.falls(how.ReplyLies, n, forReplyLies) {
			b.tally.lies.Add(1)
			seen = seen.contradict()
		}
		writeJSON(w, http.StatusAccepted, seen)
	}
	return nil
}

// ghost takes the order where nobody can see it, and drops the connection.
func (s *Server) ghost(b *bank, r *http.Request, move movement, how *Behaviour, n uint64, later time.Duration) error {
	if _, err := b.receive(move, how, later); err != nil {
		return err
	}
	b.tally.ghosts.Add(1)
	s.hangUp(r, b.dice.delay(how.Hold, n, forHold))
	return nil
}

// cancel is POST payments/{reference}/cancel.
func cancel(b *bank, w http.ResponseWriter, r *http.Request) error {
	if err := b.admit(b.behaviourNow(), ""); err != nil {
		return err
	}
	reference := r.PathValue("reference")
	if err := (movement{Reference: reference}).validReference(); err != nil {
		return err
	}
	status, err := b.cancel(reference)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": status, "reference": reference})
	return nil
}

// failure draws the error answer for request n, if any.
func (b *bank) failure(how *Behaviour, n uint64) (f *Failure, html bool) {
	if b.dice.falls(how.Error500.Probability, n, forError500) {
		return &how.Error500, false
	}
	if b.dice.falls(how.ErrorHTML.Probability, n, forErrorHTML) {
		return &how.ErrorHTML, true
	}
	return nil, false
}

func writeFailure(w http.ResponseWriter, status int, html bool) {
	if !html {
		writeProblem(w, &problem{status: status, Code: "internal", Param: "", Detail: "the bank has a problem of its own"})
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<html><head><title>%d %s</title></head><body><h1>Please try again later</h1></body></html>\n",
		status, http.StatusText(status))
}

// wait pauses for d, or until the server closes.
func (s *Server) wait(d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.closing:
	}
}

// hangUp holds the connection for d, then drops it without a reply. It does
// not return.
func (s *Server) hangUp(r *http.Request, d time.Duration) {
	if d > 0 {
		ctx, cancel := context.WithTimeout(r.Context(), d)
		defer cancel()
		select {
		case <-ctx.Done():
		case <-s.closing:
		}
	}
	panic(http.ErrAbortHandler)
}

// query is GET payments/{reference}.
func (s *Server) query(b *bank, w http.ResponseWriter, r *http.Request) error {
	n := b.asked.Add(1)
	b.tally.queries.Add(1)
	how := b.behaviourNow()
	reference := r.PathValue("reference")
	if err := b.admit(how, reference); err != nil {
		return err
	}
	s.wait(b.dice.delay(how.Latency, mix(n), forLatency))
	if b.dice.falls(how.QueryError, n, forQueryError) {
		b.tally.queryErrors.Add(1)
		writeFailure(w, http.StatusInternalServerError, false)
		return nil
	}
	seen, found, err := b.find(reference, how, n)
	if err != nil {
		return err
	}
	if !found {
		b.tally.notFound.Add(1)
		writeJSON(w, http.StatusNotFound, map[string]string{"status": "not_found", "reference": reference})
		return nil
	}
	writeJSON(w, http.StatusOK, seen)
	return nil
}

// window reads after and limit.
func window(r *http.Request) (after int64, limit int, err error) {
	limit = defaultLimit
	if raw := r.URL.Query().Get("after"); raw != "" {
		if after, err = strconv.ParseInt(raw, 10, 64); err != nil || after < 0 {
			return 0, 0, outOfRange("after", "must be a whole number from 0")
		}
	}
	if raw := r.URL.Query().Get("limit"); raw != "" {
		if limit, err = strconv.Atoi(raw); err != nil || limit < 1 || limit > maxLines {
			return 0, 0, outOfRange("limit", fmt.Sprintf("must be from 1 to %d", maxLines))
		}
	}
	return after, limit, nil
}

// page returns the rows after a cursor, as many as limit and, unless maxBytes
// is 0, as fit in so many bytes of JSON.
func page[T any](b *bank, total func() int, row func(int64) T, after int64, limit, maxBytes int) (rows []json.RawMessage, next int64, more bool, err error) {
	rows, next = []json.RawMessage{}, after
	b.mu.Lock()
	end := int64(total())
	for size := 0; next < end && len(rows) < limit; next++ {
		raw, err := json.Marshal(row(next + 1))
		if err != nil {
			b.mu.Unlock()
			return nil, after, false, err
		}
		if size += len(raw) + 1; maxBytes > 0 && size > maxBytes && len(rows) > 0 {
			break
		}
		rows = append(rows, raw)
	}
	b.mu.Unlock()
	return rows, next, next < end, b.journal.flush()
}

// showBooks is the outside truth.
func showBooks(b *bank, w http.ResponseWriter, r *http.Request) error {
	after, limit, err := window(r)
	if err != nil {
		return err
	}
	rows, next, more, err := page(b, func() int { return len(b.books.effects) }, b.books.effect, after, limit, 0)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]any{"effects": rows, "next": next, "has_more": more})
	return nil
}

func showBehaviour(b *bank, w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, b.behaviourNow())
	return nil
}

// putBehaviour replaces the behaviour: what the body leaves out is honest.
func putBehaviour(b *bank, w http.ResponseWriter, r *http.Request) error {
	return changeBehaviour(b, w, r, DefaultBehaviour())
}

// patchBehaviour changes only what the body names.
func patchBehaviour(b *bank, w http.ResponseWriter, r *http.Request) error {
	return changeBehaviour(b, w, r, *b.behaviourNow())
}

func changeBehaviour(b *bank, w http.ResponseWriter, r *http.Request, next Behaviour) error {
	if err := readJSON(w, r, &next); err != nil {
		return err
	}
	if err := next.Validate(); err != nil {
		var named *rangeError
		if errors.As(err, &named) {
			return outOfRange(named.param, named.detail)
		}
		return err
	}
	b.behave(next)
	b.log.InfoContext(r.Context(), "behaviour switched")
	writeJSON(w, http.StatusOK, next)
	return nil
}

func flushNow(b *bank, w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, map[string]int{"queued": b.flushCallbacks()})
	return nil
}
