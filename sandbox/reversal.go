package sandbox

import (
	"net/http"

	"github.com/moneta-pay/moneta/money"
)

// reversalRequest is the body of POST reversals.
type reversalRequest struct {
	Reference string `json:"reference"`
	// Amount is how much comes back; all of it when left out.
	Amount money.Amount `json:"amount"`
	Reason string       `json:"reason"`
}

// reverse is POST reversals: what the bank has executed for a reference is undone
// by an order of its own, once. A payment out comes back (a return), a payment in
// is taken back by its payer (a chargeback). Both are in the statement and told by
// a callback.
func (s *Server) reverse(b *bank, w http.ResponseWriter, r *http.Request) error {
	var body reversalRequest
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	o, err := b.reverse(body)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusAccepted, o)
	return nil
}

func (b *bank) reverse(body reversalRequest) (view, error) {
	b.mu.Lock()
	o, direction := b.books.byRef[refKey{out, body.Reference}], in
	if o == nil {
		o, direction = b.books.byRef[refKey{in, body.Reference}], out
	}
	var no *problem
	switch {
	case o == nil:
		no = &problem{status: http.StatusNotFound, Code: "not_found", Param: "reference", Detail: "nothing was executed under this reference"}
	case o.status != executed || o.returned:
		no = &problem{status: http.StatusConflict, Code: "not_reversible", Param: "reference", Detail: "it is " + o.status + ", or was reversed already"}
	case body.Amount.Sign() < 0 || body.Amount.Cmp(o.Amount) > 0:
		no = outOfRange("amount", "is at most what was executed")
	}
	if no != nil {
		b.mu.Unlock()
		return view{}, no
	}
	back := movement{
		Direction: direction, Reference: o.Reference, Amount: body.Amount, Asset: o.Asset, Account: o.Account, Name: o.Name,
		Remittance: "REVERSAL " + body.Reason, ReturnOf: o.number,
	}
	if back.Amount.IsZero() {
		back.Amount = o.Amount
	}
	how := *b.behaviourNow().atTheCounter()
	how.ExecuteDelay, how.Return.Probability = Delay{}, 0
	made, err := b.accept(back, &how, 0)
	if err != nil {
		b.mu.Unlock()
		return view{}, err
	}
	seen := b.view(made)
	b.mu.Unlock()
	if err := b.journal.flush(); err != nil {
		return view{}, err
	}
	b.announce(made)
	return seen, nil
}
