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

// maxDelayMS bounds every delay in a behaviour: a day. maxSkewMS bounds how wrong
// a clock is: three days.
const (
	maxDelayMS  = 24 * 60 * 60 * 1000
	maxSkewMS   = 3 * maxDelayMS
	minutesADay = 24 * 60
)

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

// Return says that executed payments come back: a payee's bank that cannot
// credit them sends the money back after a while, as a movement of its own.
type Return struct {
	Probability Chance `json:"probability"`
	Min         int64  `json:"min_ms"`
	Max         int64  `json:"max_ms"`
	// Reason is an ISO 20022 external return reason code, for example AC04.
	Reason string `json:"reason"`
}

func (r Return) delay() Delay {
	if r.Probability == 0 {
		return Delay{}
	}
	return Delay{Probability: r.Probability, Min: max(r.Min, 1), Max: max(r.Max, 1)}
}

// Budget allows so many requests in each window; more are answered 429 with
// Retry-After and do nothing. 0 requests set no limit.
type Budget struct {
	Requests int64 `json:"requests"`
	Window   int64 `json:"window_ms"`
}

// Maintenance is a window in which the bank answers 503 with Retry-After, executes
// nothing and calls nobody. From and Until are instants in RFC 3339, or, every
// day, times as "22:00" in UTC; both empty is no window.
type Maintenance struct {
	From  string `json:"from"`
	Until string `json:"until"`
}

// Behaviour is how one bank treats us. It is switched at run time and forgotten
// at restart; what it did to past payments is in the books.
type Behaviour struct {
	Mode string `json:"mode"`
	// Dedup off executes the same reference again: it doubles. So does a
	// DedupWindow, in ms, once it has passed; 0 remembers for ever.
	Dedup       bool  `json:"dedup"`
	DedupWindow int64 `json:"dedup_window_ms"`
	// DuplicateCheck, in ms, declines a second payment of the same amount to the
	// same account so soon, whatever its reference.
	DuplicateCheck int64 `json:"duplicate_check_ms"`
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
	// CallbackReplay sends it again with a signature that is an hour old,
	// CallbackReencode writes the body anew after signing it, CallbackSecret signs
	// with another secret, as after a rotation.
	CallbackReplay   Chance `json:"callback_replay"`
	CallbackReencode Chance `json:"callback_reencode"`
	CallbackSecret   string `json:"callback_secret"`

	// ReplyLies, QueryLies and CallbackLies say the opposite of the books: declined
	// for what is or will be executed, executed for what is declined.
	ReplyLies    Chance `json:"reply_lies"`
	QueryLies    Chance `json:"query_lies"`
	CallbackLies Chance `json:"callback_lies"`
	// CallbackContradict tells the truth and then, as another event, the opposite.
	CallbackContradict Chance `json:"callback_contradict"`
	// QueryOther answers about another payment under the reference asked for.
	QueryOther Chance `json:"query_other"`
	// Ghost drops the connection, shows nothing to anybody, and executes later.
	Ghost Delay `json:"ghost"`
	// CancelIgnored answers "cancelled" and executes.
	CancelIgnored Chance `json:"cancel_ignored"`
	// RefundRefused declines orders to an account that has paid us.
	RefundRefused Chance `json:"refund_refused"`
	// Conflict answers 409 to a reference that is known already.
	Conflict Chance `json:"conflict"`
	// NoBankID leaves the bank's own id out, WrongScale states amounts a hundred
	// times too high; the books know better.
	NoBankID   Chance `json:"no_bank_id"`
	WrongScale Chance `json:"wrong_scale"`
	Return     Return `json:"return"`

	// RateLimit counts payments and queries together, QueryBudget the queries of
	// one reference.
	RateLimit   Budget      `json:"rate_limit"`
	QueryBudget Budget      `json:"query_budget"`
	Maintenance Maintenance `json:"maintenance"`
	// ClockSkew, in ms, is how wrong the bank's clock is: its timestamps, its Date
	// header and its signatures.
	ClockSkew int64 `json:"clock_skew_ms"`

	// QueryLag is how long, in ms, a reference stays invisible to queries.
	QueryLag   int64  `json:"query_lag_ms"`
	QueryError Chance `json:"query_error"`

	StatementOmit        Chance `json:"statement_omit"`
	StatementDuplicate   Chance `json:"statement_duplicate"`
	StatementWrongAmount Chance `json:"statement_wrong_amount"`
	// StatementPhantom states what was declined, StatementNextDay books on the day
	// after, StatementFeeNetted hides the fee inside the amount.
	StatementPhantom   Chance `json:"statement_phantom"`
	StatementNextDay   Chance `json:"statement_next_day"`
	StatementFeeNetted bool   `json:"statement_fee_netted"`
	// StatementTruncate cuts a day's file off, StatementStale delivers that of the
	// day before in its place; each download is drawn anew. StatementDelay, in ms,
	// is how long after its day a file appears.
	StatementTruncate Chance `json:"statement_truncate"`
	StatementStale    Chance `json:"statement_stale"`
	StatementDelay    int64  `json:"statement_delay_ms"`
	// CutOff is the minute of the bank's day from which it books on the next, 0
	// none; TimeZone is how many minutes east of UTC that day begins.
	CutOff   int64 `json:"cut_off_minute"`
	TimeZone int64 `json:"time_zone_minutes"`
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
		Return:        Return{Min: 1000, Max: 1000, Reason: "AC04"},
	}
}

// atTheCounter is how the bank treats its own customers: what goes wrong on the
// wire between the bank and us does not touch them.
func (b *Behaviour) atTheCounter() *Behaviour {
	c := *b
	c.LoseBefore, c.LoseReply, c.Error500.Probability, c.ErrorHTML.Probability = 0, 0, 0, 0
	c.Ghost.Probability, c.ReplyLies, c.Conflict, c.DuplicateCheck = 0, 0, 0, 0
	return &c
}

func (b *Behaviour) declinesLate() bool { return b.Decline.Late && b.Mode == Async }

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
	if err := b.validateTimes(); err != nil {
		return err
	}
	return b.validateRest()
}

func (b Behaviour) validateTimes() error {
	for _, ms := range []struct {
		param string
		value int64
	}{
		{"query_lag_ms", b.QueryLag},
		{"dedup_window_ms", b.DedupWindow},
		{"duplicate_check_ms", b.DuplicateCheck},
		{"statement_delay_ms", b.StatementDelay},
	} {
		if ms.value < 0 || ms.value > maxDelayMS {
			return &rangeError{ms.param, fmt.Sprintf("must be from 0 to %d", maxDelayMS)}
		}
	}
	for _, budget := range []struct {
		param string
		value Budget
	}{{"rate_limit", b.RateLimit}, {"query_budget", b.QueryBudget}} {
		if budget.value.Requests < 0 || budget.value.Requests > 0 && (budget.value.Window < 1 || budget.value.Window > maxDelayMS) {
			return &rangeError{budget.param, fmt.Sprintf("needs requests from 0, and with them a window_ms from 1 to %d", maxDelayMS)}
		}
	}
	switch {
	case b.ClockSkew < -maxSkewMS || b.ClockSkew > maxSkewMS:
		return &rangeError{"clock_skew_ms", fmt.Sprintf("must be from %d to %d", -maxSkewMS, maxSkewMS)}
	case b.CutOff < 0 || b.CutOff >= minutesADay:
		return &rangeError{"cut_off_minute", "must be from 0 to 1439"}
	case b.TimeZone < -14*60 || b.TimeZone > 14*60:
		return &rangeError{"time_zone_minutes", "must be from -840 to 840"}
	}
	if _, err := b.Maintenance.window(); err != nil {
		return &rangeError{"maintenance", err.Error()}
	}
	return nil
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
	case len(b.Return.Reason) != 4:
		return &rangeError{"return.reason", "needs an ISO 20022 code of 4 characters, for example AC04"}
	case len(b.CallbackSecret) > maxText:
		return &rangeError{"callback_secret", "has at most 140 characters"}
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
		{"callback_replay", b.CallbackReplay},
		{"callback_reencode", b.CallbackReencode},
		{"reply_lies", b.ReplyLies},
		{"query_lies", b.QueryLies},
		{"callback_lies", b.CallbackLies},
		{"callback_contradict", b.CallbackContradict},
		{"query_other", b.QueryOther},
		{"cancel_ignored", b.CancelIgnored},
		{"conflict", b.Conflict},
		{"refund_refused", b.RefundRefused},
		{"no_bank_id", b.NoBankID},
		{"wrong_scale", b.WrongScale},
		{"statement_phantom", b.StatementPhantom},
		{"statement_next_day", b.StatementNextDay},
		{"statement_truncate", b.StatementTruncate},
		{"statement_stale", b.StatementStale},
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
		{"ghost", b.Ghost},
		{"return", Delay{b.Return.Probability, b.Return.Min, b.Return.Max}},
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
