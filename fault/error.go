// Package fault is the one error type of the product and the one table of its
// codes: what went wrong, what happened to the money, and what to do next.
//
// A station returns a fault; the HTTP edge, the webhooks, the metrics and the
// pages under docs/errors all read the same table, so that they cannot disagree.
// The package refuses to log, to know HTTP beyond a status number, and to let a
// code be guessed from text: an error without a code is Internal, which says
// that the fate of the money is not known yet.
//
// To ask what an error is, compare with a Code, which is itself an error:
//
//	if errors.Is(err, fault.InsufficientFunds) { … }
//
// To answer with an error, use CodeOf, MoneyStateOf, RetryOf and RetryAfterOf.
package fault

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"
)

// MoneyState says what a request did to money, as far as the answering side
// knows. It is the field a caller reads first.
type MoneyState string

const (
	// NotMoved promises that this request moved nothing and never will.
	NotMoved MoneyState = "not_moved"
	// Moved says that money moved although the request reports a failure.
	Moved MoneyState = "moved"
	// UnknownWillResolve says that it is not known yet and that the product
	// finds out by itself; the same request with the same key tells.
	UnknownWillResolve MoneyState = "unknown_will_resolve"
)

// Retry is the advice to the caller about sending the request again.
type Retry string

const (
	// SafeSameKey says: send the same request again with the same idempotency
	// key; however often, it is carried out at most once.
	SafeSameKey Retry = "safe_same_key"
	// After says: the same, but not before RetryAfter has passed or the named
	// condition has changed.
	After Retry = "after"
	// Never says: the same request will be refused again; change it first.
	Never Retry = "never"
)

// Error is a fault on its way to the caller. Build it with New, which fills the
// advice from the table; a field set by hand wins over the table. Detail and
// Resource are shown to the outside, Op and Err are for our own eyes.
type Error struct {
	Op         string        // our operation, such as "ledger.Hold"; empty when not told
	Code       Code          // what went wrong; empty means Internal
	Param      string        // JSON pointer to the offending member of the request, such as "/amount"
	Detail     string        // one sentence about this occurrence, safe to show to the caller
	Resource   string        // id of the resource concerned, such as "pay_…"; empty when none
	Retry      Retry         // advice; empty means the table's
	MoneyState MoneyState    // fate of the money; empty means the table's
	RetryAfter time.Duration // how long to wait before a retry; 0 means no statement
	Err        error         // cause, or nil
}

// New returns a fault of the code with the table's advice. The detail is one
// sentence about this occurrence that may be shown to the caller. The setters
// below change and return the same Error; use them before it is shared.
func New(code Code, detail string) *Error {
	entry := code.entry()
	return &Error{
		Code:       code,
		Detail:     detail,
		Retry:      entry.Retry,
		MoneyState: entry.MoneyState,
		RetryAfter: entry.RetryAfter,
	}
}

// WithOp names our operation, such as "ledger.Hold".
func (e *Error) WithOp(op string) *Error { e.Op = op; return e }

// WithParam names the offending member of the request by JSON pointer ("/amount").
func (e *Error) WithParam(pointer string) *Error { e.Param = pointer; return e }

// WithDetail replaces the sentence for the caller.
func (e *Error) WithDetail(detail string) *Error { e.Detail = detail; return e }

// WithResource names the resource concerned by its id.
func (e *Error) WithResource(id string) *Error { e.Resource = id; return e }

// WithRetry replaces the table's advice.
func (e *Error) WithRetry(advice Retry) *Error { e.Retry = advice; return e }

// WithMoneyState replaces the table's statement about the money.
func (e *Error) WithMoneyState(state MoneyState) *Error { e.MoneyState = state; return e }

// WithRetryAfter says how long to wait before a retry. It leaves the advice
// alone unless that was Never, which it turns into After.
func (e *Error) WithRetryAfter(d time.Duration) *Error {
	e.RetryAfter = d
	if e.Retry == Never {
		e.Retry = After
	}
	return e
}

// WithCause keeps the error that led here. It is for logs and errors.Is, and is
// never shown to the caller.
func (e *Error) WithCause(err error) *Error { e.Err = err; return e }

// Error joins operation, code, detail and cause with ": ", for logs. Code and
// detail that the cause repeats, as after Wrap, are written once. The text may
// hold inner details; the edge shows Detail instead.
func (e *Error) Error() string {
	parts := make([]string, 0, 4)
	if e.Op != "" {
		parts = append(parts, e.Op)
	}
	var inner *Error
	repeats := errors.As(e.Err, &inner) && inner.code() == e.code() && inner.Detail == e.Detail
	if !repeats {
		parts = append(parts, string(e.code()))
		if e.Detail != "" {
			parts = append(parts, e.Detail)
		}
	}
	if e.Err != nil && e.Err != error(e.code()) { //nolint:errorlint // the bare code is left out, not a cause that wraps it
		parts = append(parts, e.Err.Error())
	}
	return strings.Join(parts, ": ")
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is this fault's Code; errors.Is calls it.
func (e *Error) Is(target error) bool {
	code, ok := target.(Code)
	return ok && code == e.code()
}

// LogValue groups the fault's fields for slog.
func (e *Error) LogValue() slog.Value {
	attrs := []slog.Attr{
		slog.String("code", string(e.code())),
		slog.String("money_state", string(MoneyStateOf(e))),
		slog.String("retry", string(RetryOf(e))),
	}
	for _, a := range []slog.Attr{
		slog.String("op", e.Op), slog.String("param", e.Param),
		slog.String("detail", e.Detail), slog.String("resource", e.Resource),
	} {
		if a.Value.String() != "" {
			attrs = append(attrs, a)
		}
	}
	if e.Err != nil {
		attrs = append(attrs, slog.String("cause", e.Err.Error()))
	}
	return slog.GroupValue(attrs...)
}

func (e *Error) code() Code {
	if e.Code == "" {
		return Internal
	}
	return e.Code
}

// Wrap adds our operation to err and keeps its code, advice and texts; nil stays
// nil. An error without a code becomes what CodeOf says of it.
func Wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	outer := From(err)
	outer.Op, outer.Err = op, err
	return outer
}

// From returns err as a fault that its receiver may change: a copy of the
// outermost fault in its chain, or a new fault of the code that CodeOf gives,
// with err as its cause and no detail, so that no inner text leaks to the
// caller. From(nil) is nil.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	var found *Error
	if !errors.As(err, &found) {
		return New(CodeOf(err), "").WithCause(err)
	}
	e := *found
	e.Code, e.Retry, e.MoneyState = found.code(), RetryOf(found), MoneyStateOf(found)
	return &e
}

// CodeOf returns the code of the outermost fault in err's chain; the code itself
// when err wraps a bare Code; Timeout for an ended context, because whatever was
// under way may still happen; Internal for anything else. CodeOf(nil) is empty.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.code()
	}
	var c Code
	if errors.As(err, &c) {
		return c
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return Timeout
	}
	return Internal
}

// MoneyStateOf returns what err says about the money: of its outermost fault, or
// else the table's word for CodeOf(err). MoneyStateOf(nil) is empty.
func MoneyStateOf(err error) MoneyState {
	var e *Error
	if errors.As(err, &e) && e.MoneyState != "" {
		return e.MoneyState
	}
	if err == nil {
		return ""
	}
	return CodeOf(err).entry().MoneyState
}

// RetryOf returns err's advice: of its outermost fault, or else the table's word
// for CodeOf(err). RetryOf(nil) is empty.
func RetryOf(err error) Retry {
	var e *Error
	if errors.As(err, &e) && e.Retry != "" {
		return e.Retry
	}
	if err == nil {
		return ""
	}
	return CodeOf(err).entry().Retry
}

// RetryAfterOf returns how long to wait before a retry, 0 when err does not say.
func RetryAfterOf(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	if err == nil {
		return 0
	}
	return CodeOf(err).entry().RetryAfter
}
