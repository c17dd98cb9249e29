package sandbox

import (
	"fmt"
	"math"
	"time"

	"github.com/moneta-pay/moneta/money"
)

// Modes of execution at a bank.
const (
	// Async replies "accepted" and sends the outcome by callback.
	Async = "async"
	// Sync replies with the outcome and sends no callback for it.
	Sync = "sync"
)

// maxDelayMS bounds every delay in a behaviour: a day.
const maxDelayMS = 24 * 60 * 60 * 1000

// Chance is a probability from 0 to 1.
type Chance float64

// Delay is a wait in milliseconds, drawn evenly from Min to Max with the given
// probability, else none.
type Delay struct {
	Probability Chance `json:"probability"`
	Min         int64  `json:"min_ms"`
	Max         int64  `json:"max_ms"`
}

// Failure is an answer that tells nothing, given before or after execution.
type Failure struct {
	Probability Chance `json:"probability"`
	// Executed says whether the money moved although the answer is an error.
	Executed bool `json:"executed"`
	// Status is the HTTP status: 500 to 599, or 200 for HTML.
	Status int `json:"status"`
}

// Refusal is a decline.
type Refusal struct {
	Probability Chance `json:"probability"`
	Reason      string `json:"reason"`
	// Late accepts first and declines by callback; only in async mode.
	Late bool `json:"late"`
}

// Retry says how undelivered callbacks are repeated: Attempts in all, with a
// wait from Base, doubled each time, to Max.
type Retry struct {
	Attempts int   `json:"attempts"`
	Base     int64 `json:"base_ms"`
	Max      int64 `json:"max_ms"`
}

// Behaviour is how one bank treats us. It is switched at run time and forgotten
// at restart; what it did to past payments is in the books.
type Behaviour struct {
	Mode string `json:"mode"`
	// Dedup off executes the same reference again: it doubles.
	Dedup bool `json:"dedup"`
	// MagicAmounts lets the amounts of MagicAmounts() decide a payment's fate.
	MagicAmounts bool `json:"magic_amounts"`
	// Fee is charged on top of each executed payment out, in minor units.
	Fee money.Amount `json:"fee"`

	// Latency delays payments, instructions and queries before anything else.
	Latency Delay `json:"latency"`
	// ReplyDelay delays the reply after the effect, so that a callback can
	// overtake it.
	ReplyDelay Delay `json:"reply_delay"`
	// ExecuteDelay lies between acceptance and execution, in async mode.
	ExecuteDelay Delay `json:"execute_delay"`

	// LoseBefore drops the connection before execution, LoseReply after it,
	// both once Hold has passed.
	LoseBefore Chance  `json:"lose_before"`
	LoseReply  Chance  `json:"lose_reply"`
	Hold       Delay   `json:"hold"`
	Error500   Failure `json:"error_500"`
	ErrorHTML  Failure `json:"error_html"`
	Decline    Refusal `json:"decline"`

	// CallbackAccepted also tells of the acceptance, before the outcome;
	// CallbackOutOfOrder tells of it after the outcome.
	CallbackAccepted   Chance `json:"callback_accepted"`
	CallbackOutOfOrder Chance `json:"callback_out_of_order"`
	CallbackDelay      Delay  `json:"callback_delay"`
	CallbackDuplicate  Chance `json:"callback_duplicate"`
	CallbackLose       Chance `json:"callback_lose"`
	// CallbackForge first sends a copy with another amount and a wrong signature.
	CallbackForge Chance `json:"callback_forge"`
	CallbackRetry Retry  `json:"callback_retry"`

	// QueryLag is how long, in ms, a reference stays invisible to queries.
	QueryLag   int64  `json:"query_lag_ms"`
	QueryError Chance `json:"query_error"`

	StatementOmit        Chance `json:"statement_omit"`
	StatementDuplicate   Chance `json:"statement_duplicate"`
	StatementWrongAmount Chance `json:"statement_wrong_amount"`
}

// DefaultBehaviour is an honest bank: async, executes and calls back at once,
// de-duplicates by reference, honours the magic amounts.
func DefaultBehaviour() Behaviour {
	always := Delay{Probability: 1}
	return Behaviour{
		Mode: Async, Dedup: true, MagicAmounts: true,
		Latency: always, ReplyDelay: always, ExecuteDelay: always, Hold: always, CallbackDelay: always,
		Error500:      Failure{Status: 500},
		ErrorHTML:     Failure{Status: 502},
		Decline:       Refusal{Reason: "insufficient_funds"},
		CallbackRetry: Retry{Attempts: 10, Base: 200, Max: 30_000},
	}
}

// atTheCounter is how the bank treats its own customers: what goes wrong on the
// wire between the bank and us does not touch them.
func (b Behaviour) atTheCounter() Behaviour {
	b.LoseBefore, b.LoseReply, b.Error500.Probability, b.ErrorHTML.Probability = 0, 0, 0, 0
	return b
}

func (b Behaviour) declinesLate() bool { return b.Decline.Late && b.Mode == Async }

// rangeError names the field that is out of range.
type rangeError struct{ param, detail string }

func (e *rangeError) Error() string { return e.param + ": " + e.detail }

// Validate returns an error that names the first field out of range.
func (b Behaviour) Validate() error {
	if b.Mode != Async && b.Mode != Sync {
		return &rangeError{"mode", `must be "async" or "sync"`}
	}
	if b.Fee.Sign() < 0 {
		return &rangeError{"fee", "must not be negative"}
	}
	for _, c := range b.chances() {
		if math.IsNaN(float64(c.value)) || c.value < 0 || c.value > 1 {
			return &rangeError{c.param, "must be from 0 to 1"}
		}
	}
	for _, d := range b.delays() {
		if d.value.Min < 0 || d.value.Max < d.value.Min || d.value.Max > maxDelayMS {
			return &rangeError{d.param, fmt.Sprintf("needs 0 <= min_ms <= max_ms <= %d", maxDelayMS)}
		}
	}
	return b.validateRest()
}

func (b Behaviour) validateRest() error {
	html := b.ErrorHTML.Status
	switch {
	case b.Error500.Status < 500 || b.Error500.Status > 599:
		return &rangeError{"error_500.status", "must be from 500 to 599"}
	case html != 200 && (html < 500 || html > 599):
		return &rangeError{"error_html.status", "must be 200 or from 500 to 599"}
	case b.Decline.Reason == "" || len(b.Decline.Reason) > maxText:
		return &rangeError{"decline.reason", "needs 1 to 140 characters"}
	case b.QueryLag < 0 || b.QueryLag > maxDelayMS:
		return &rangeError{"query_lag_ms", fmt.Sprintf("must be from 0 to %d", maxDelayMS)}
	case b.CallbackRetry.Attempts < 1 || b.CallbackRetry.Attempts > 1000:
		return &rangeError{"callback_retry.attempts", "must be from 1 to 1000"}
	case b.CallbackRetry.Base < 1 || b.CallbackRetry.Max < b.CallbackRetry.Base || b.CallbackRetry.Max > maxDelayMS:
		return &rangeError{"callback_retry", fmt.Sprintf("needs 1 <= base_ms <= max_ms <= %d", maxDelayMS)}
	}
	return nil
}

type namedChance struct {
	param string
	value Chance
}

func (b Behaviour) chances() []namedChance {
	list := []namedChance{
		{"lose_before", b.LoseBefore},
		{"lose_reply", b.LoseReply},
		{"error_500.probability", b.Error500.Probability},
		{"error_html.probability", b.ErrorHTML.Probability},
		{"decline.probability", b.Decline.Probability},
		{"callback_accepted", b.CallbackAccepted},
		{"callback_out_of_order", b.CallbackOutOfOrder},
		{"callback_duplicate", b.CallbackDuplicate},
		{"callback_lose", b.CallbackLose},
		{"callback_forge", b.CallbackForge},
		{"query_error", b.QueryError},
		{"statement_omit", b.StatementOmit},
		{"statement_duplicate", b.StatementDuplicate},
		{"statement_wrong_amount", b.StatementWrongAmount},
	}
	for _, d := range b.delays() {
		list = append(list, namedChance{d.param + ".probability", d.value.Probability})
	}
	return list
}

type namedDelay struct {
	param string
	value Delay
}

func (b Behaviour) delays() []namedDelay {
	return []namedDelay{
		{"latency", b.Latency},
		{"reply_delay", b.ReplyDelay},
		{"execute_delay", b.ExecuteDelay},
		{"hold", b.Hold},
		{"callback_delay", b.CallbackDelay},
	}
}

// wait returns the pause after so many failed attempts, at least one.
func (r Retry) wait(failed int) time.Duration {
	ms := r.Base
	for i := 1; i < failed && ms < r.Max; i++ {
		ms *= 2
	}
	return time.Duration(min(ms, r.Max)) * time.Millisecond
}
