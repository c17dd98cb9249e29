package fault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestNewFillsTheTablesAdvice(t *testing.T) {
	t.Parallel()
	for _, entry := range table {
		e := New(entry.Code, "because")
		require.Equal(t, entry.Retry, e.Retry)
		require.Equal(t, entry.MoneyState, e.MoneyState)
		require.Equal(t, entry.RetryAfter, e.RetryAfter)
		require.Equal(t, "because", e.Detail)
	}
}

func TestSetters(t *testing.T) {
	t.Parallel()
	e := New(InsufficientFunds, "").WithOp("ledger.Hold").WithParam("/amount").WithDetail("short by 5").
		WithResource("acct_1").WithMoneyState(Moved).WithRetry(SafeSameKey).WithRetryAfter(time.Minute).WithCause(io.EOF)
	require.Equal(t, &Error{
		Op: "ledger.Hold", Code: InsufficientFunds, Param: "/amount", Detail: "short by 5", Resource: "acct_1",
		Retry: SafeSameKey, MoneyState: Moved, RetryAfter: time.Minute, Err: io.EOF,
	}, e)
	require.Equal(t, After, New(InsufficientFunds, "").WithRetryAfter(time.Second).Retry, "a wait contradicts never")
}

func TestErrorsIsByCode(t *testing.T) {
	t.Parallel()
	var err error = New(InsufficientFunds, "short").WithCause(io.EOF)
	err = fmt.Errorf("batch 7: %w", Wrap("commit.Submit", fmt.Errorf("hold: %w", err)))
	require.ErrorIs(t, err, InsufficientFunds)
	require.ErrorIs(t, err, io.EOF)
	require.NotErrorIs(t, err, AccountFrozen)
	require.NotErrorIs(t, err, Internal)
	require.ErrorIs(t, fmt.Errorf("x: %w", NotFound), NotFound, "a bare code is an error too")
	require.ErrorIs(t, &Error{}, Internal, "no code is Internal")
	require.NotErrorIs(t, io.EOF, Internal, "only CodeOf turns foreign errors into Internal")
}

func TestCodeOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want Code
	}{
		{nil, ""},
		{io.EOF, Internal},
		{&Error{}, Internal},
		{NotFound, NotFound},
		{fmt.Errorf("x: %w", NotFound), NotFound},
		{New(ReadOnly, ""), ReadOnly},
		{fmt.Errorf("x: %w", New(ReadOnly, "")), ReadOnly},
		{New(ReadOnly, "").WithCause(New(NotFound, "")), ReadOnly},
		{errors.Join(io.EOF, New(NotFound, "")), NotFound},
		{context.DeadlineExceeded, Timeout},
		{fmt.Errorf("query: %w", context.Canceled), Timeout},
		{New(DatabaseUnavailable, "").WithCause(context.DeadlineExceeded), DatabaseUnavailable},
	} {
		require.Equal(t, c.want, CodeOf(c.err), "%v", c.err)
	}
}

func TestAdviceOf(t *testing.T) {
	t.Parallel()
	require.Equal(t, MoneyState(""), MoneyStateOf(nil))
	require.Equal(t, Retry(""), RetryOf(nil))
	require.Zero(t, RetryAfterOf(nil))

	foreign := fmt.Errorf("pg: %w", io.ErrUnexpectedEOF)
	require.Equal(t, UnknownWillResolve, MoneyStateOf(foreign), "nobody knows, so nothing is promised")
	require.Equal(t, SafeSameKey, RetryOf(foreign))
	require.Equal(t, 2*time.Second, RetryAfterOf(foreign))

	literal := &Error{Code: RateLimited, RetryAfter: 9 * time.Second}
	require.Equal(t, NotMoved, MoneyStateOf(literal))
	require.Equal(t, After, RetryOf(literal))
	require.Equal(t, 9*time.Second, RetryAfterOf(literal))

	own := fmt.Errorf("x: %w", New(NotFound, "").WithMoneyState(Moved).WithRetry(SafeSameKey))
	require.Equal(t, Moved, MoneyStateOf(own))
	require.Equal(t, SafeSameKey, RetryOf(own))
	require.Equal(t, time.Second, RetryAfterOf(NotLeader))
}

func TestWrapKeepsEverythingButTheOperation(t *testing.T) {
	t.Parallel()
	require.NoError(t, Wrap("x", nil))
	require.Nil(t, From(nil))

	inner := New(InsufficientFunds, "short by 5").WithOp("ledger.Hold").WithParam("/amount").WithResource("acct_1")
	outer := From(Wrap("commit.Submit", inner))
	require.Equal(t, "commit.Submit", outer.Op)
	require.Equal(t, inner.Detail, outer.Detail)
	require.Equal(t, inner.Param, outer.Param)
	require.Equal(t, inner.Resource, outer.Resource)
	require.ErrorIs(t, outer, inner)
	require.Equal(t, "ledger.Hold", inner.Op, "the inner fault is not changed")
	require.EqualError(t, outer, "commit.Submit: ledger.Hold: insufficient-funds: short by 5")

	foreign := From(Wrap("pg.Begin", io.EOF))
	require.Equal(t, Internal, foreign.Code)
	require.Empty(t, foreign.Detail, "inner text must not reach the caller")
	require.ErrorIs(t, foreign, io.EOF)
	require.EqualError(t, foreign, "pg.Begin: internal: EOF")
}

func TestFromIsACopy(t *testing.T) {
	t.Parallel()
	shared := &Error{Code: ReadOnly}
	mine := From(fmt.Errorf("x: %w", shared)).WithDetail("changed")
	require.Empty(t, shared.Detail)
	require.Equal(t, After, mine.Retry, "advice is filled in")
	require.Equal(t, NotMoved, mine.MoneyState)

	bare := From(NotFound)
	require.Equal(t, NotFound, bare.Code)
	require.Equal(t, Never, bare.Retry)
	require.EqualError(t, bare, "not-found")
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	require.EqualError(t, New(NotFound, ""), "not-found")
	require.EqualError(t, New(NotFound, "no pay_1").WithOp("api.Get").WithCause(io.EOF), "api.Get: not-found: no pay_1: EOF")
	require.EqualError(t, New(ReadOnly, "a").WithCause(New(ReadOnly, "b")), "read-only: a: read-only: b")
	require.EqualError(t, &Error{}, "internal")
	require.Equal(t, "not-found", NotFound.Error())
	require.Equal(t, "not-found", NotFound.String())
}

func TestLogValue(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	log.Error("refused", slog.Any("fault", New(AmountInvalid, "zero").WithOp("intake.Check").WithParam("/amount").WithCause(io.EOF)))
	for _, want := range []string{
		"fault.code=amount-invalid", "fault.money_state=not_moved", "fault.retry=never", "fault.op=intake.Check",
		"fault.param=/amount", "fault.detail=zero", "fault.cause=EOF",
	} {
		require.Contains(t, out.String(), want)
	}
	require.NotContains(t, out.String(), "resource")
	require.Equal(t, 1, strings.Count(out.String(), "\n"))
}
