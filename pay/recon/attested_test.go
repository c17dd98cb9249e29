package recon_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/recon"
)

// disputed is a payout whose two attempts were proven absent, and which waits in review:
// the bank says that it executed the first.
func (h *truth) disputed() (first pay.Payment) {
	h.t.Helper()
	first = h.accepted(2)[1] // the other is a deposit
	absent := func(n int16) pay.Fact {
		return pay.Fact{Kind: pay.ProveAbsent, Payment: first.ID, Attempt: n, AttemptState: pay.Absent, SendBy: h.clock.Now().Add(time.Minute)}
	}
	h.facts(absent(1), pay.Fact{Kind: pay.Intend, Payment: first.ID, Attempt: 2, SendBy: h.clock.Now().Add(time.Minute)})
	word := h.confirm(&first)
	_, err := h.node.Submit(h.t.Context(), commit.Fact{Payment: &word})
	require.ErrorIs(h.t, err, fault.AlreadyFinal)
	require.Equal(h.t, pay.InReview, h.facts(absent(2))[0].State)
	return first
}

// attest is what two people say of the first attempt.
func (h *truth) attest(p *pay.Payment) {
	h.t.Helper()
	got := h.facts(pay.Fact{
		Kind: pay.Attest, Payment: p.ID, Attempt: 1, SendBy: p.Attempt.SendBy, Channel: "bank-ab", At: h.clock.Now(),
		Amount: p.Amount, Asset: p.Asset, Source: pay.SourceOperators, Reason: "evidence of apr_1",
	})[0]
	require.Equal(h.t, pay.Succeeded, got.State)
}

// tells shows lines at once, and recon reads them.
func (h *truth) tells(lines ...wireLine) {
	h.t.Helper()
	h.mu.Lock()
	for _, l := range lines {
		l.Seq = int64(len(h.told)) + 1
		h.told = append(h.told, l)
	}
	h.mu.Unlock()
	require.NoError(h.t, h.recon.Run(h.t.Context()))
}

func (h *truth) number(sql string, args ...any) (n int64) {
	h.t.Helper()
	require.NoError(h.t, h.pool.QueryRow(h.t.Context(), sql, args...).Scan(&n))
	return n
}

// close is what people do with a break once they have acted on it.
func (h *truth) close(line string) {
	h.t.Helper()
	id := h.number(`select id from breaks where line = $1 and closed_at is null`, line)
	_, err := h.recon.Close(h.t.Context(), id, recon.Closing{State: recon.Resolved, Code: "other", Who: "ann", Why: "we have named the attempt"})
	require.NoError(h.t, err)
}

// home asserts what must hold once the line has settled what people named: one line did,
// nothing is awaited, clearing is empty, and the lines in more are open breaks of money
// that moved twice.
func (h *truth) home(p *pay.Payment, more ...wireLine) {
	h.t.Helper()
	require.EqualValues(h.t, 1, h.number(`select count(*) from transitions where payment = $1 and settlement = 2`, int64(p.ID)))
	require.EqualValues(h.t, 1, h.number(`select count(*) from statement_lines where payment = $1 and outcome = 'matched'`, int64(p.ID)))
	require.Zero(h.t, h.number(`select count(*) from expectations`))
	require.Zero(h.t, h.number(`select coalesce(sum(p.amount), 0)::bigint from facts.postings p join accounts a on a.id = p.account where a.name = 'clr:bank-ab:out'`))
	open, _, err := h.recon.Breaks(h.t.Context(), recon.BreakFilter{State: "open"})
	require.NoError(h.t, err)
	require.Len(h.t, open, len(more))
	for i, l := range more {
		require.Equal(h.t, []string{"double_execution", l.Reference, l.LineID, l.Amount}, []string{open[i].Class, open[i].Reference, open[i].Line, open[i].Amount.String()})
	}
	require.EqualValues(h.t, len(more), h.number(`select count(*) from statement_lines where outcome = 'double_execution'`))
}

// The bank executes the attempt that people name twice, and states it twice: one line
// settles the payment, through a crash as well, and the other stays a break, whichever
// came when and whatever was closed in between.
func TestOneLineSettlesWhatPeopleHaveNamed(t *testing.T) {
	t.Parallel()
	for name, story := range map[string]func(h *truth, p *pay.Payment, one, two wireLine){
		"both before": func(h *truth, p *pay.Payment, one, two wireLine) {
			h.tells(one)
			h.tells(two)
			h.attest(p)
		},
		"both before, through a crash": func(h *truth, p *pay.Payment, one, two wireLine) {
			h.tells(one)
			h.tells(two)
			h.attest(p)
			h.flaky.fails, h.flaky.after = 1, true
			require.Error(h.t, h.recon.Run(h.t.Context()))
			require.EqualValues(h.t, 2, h.number(`select count(*) from statement_lines where outcome = 'wrong_state'`))
		},
		"both before, their breaks closed": func(h *truth, p *pay.Payment, one, two wireLine) {
			h.tells(one)
			h.tells(two)
			h.close(one.LineID)
			h.close(two.LineID)
			h.attest(p)
		},
		"the second in the run after": func(h *truth, p *pay.Payment, one, two wireLine) {
			h.tells(two) // its own line settles it then, and the one from before is the other
			h.close(two.LineID)
			h.attest(p)
			h.tells(one)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newTruth(t, 1)
			p := h.disputed()
			one, two := h.line(&p), h.line(&p)
			story(h, &p, one, two)
			h.tells()
			h.home(&p, two)
			h.tells()
			h.home(&p, two)
		})
	}
}

// The line settles the payment whatever became of its break: people close it when they
// have named the attempt, and in a pause after a failover it is a gap.
func TestALineSettlesWhateverBecameOfItsBreak(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(h *truth, line string){
		"closed": func(h *truth, line string) { h.close(line) },
		"a gap": func(h *truth, line string) {
			_, err := h.pool.Exec(h.t.Context(), `update breaks set class = 'restore_gap' where line = $1`, line)
			require.NoError(h.t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newTruth(t, 1)
			p := h.disputed()
			line := h.line(&p)
			h.tells(line)
			require.EqualValues(t, 1, h.number(`select count(*) from statement_lines where outcome = 'wrong_state'`))
			spoil(h, line.LineID)
			h.attest(&p)
			h.tells()
			h.home(&p)
		})
	}
}

// A line of another amount, or of the attempt that was not named, settles nothing, and
// its break stays.
func TestOtherLinesSettleNothing(t *testing.T) {
	t.Parallel()
	h := newTruth(t, 1)
	p := h.disputed()
	line, other := h.line(&p), h.line(&p)
	line.Amount = "7"
	other.Reference = pay.Reference(p.ID, 2)
	h.tells(line, other)
	h.attest(&p)
	h.tells()
	require.Zero(t, h.number(`select count(*) from transitions where payment = $1 and settlement = 2`, int64(p.ID)))
	require.EqualValues(t, 1, h.number(`select count(*) from expectations`))
	require.EqualValues(t, 2, h.number(`select count(*) from breaks where closed_at is null`))
}

// What people may name is an attempt of which its channel has said that it executed it,
// in a break of that word or in a line; nothing else that is written about it will do.
func TestOnlyAWordOfExecutionIsOne(t *testing.T) {
	t.Parallel()
	h := newTruth(t, 1)
	const brk = `insert into breaks (channel, reference, class, executed) values ('bank-ab', $1, `
	const line = `insert into statement_lines (channel, seq, line_id, direction, reference, amount, fee, asset, remittance, booked_at, outcome)
	  select 'bank-ab', 1 + count(*), count(*)::text, `
	for name, c := range map[string]struct {
		sql string
		yes bool
	}{
		"said, and refused":                  {brk + `'contradiction', true)`, true},
		"said where nothing may move":        {brk + `'late_outcome', true)`, true},
		"stated, and refused":                {line + `1, $1, 1, 0, 'CZK', '', now(), 'wrong_state' from statement_lines`, true},
		"taken":                              {brk + `'contradiction', false)`, false},
		"taken over from a lost time":        {brk + `'restore_gap', false)`, false},
		"of another amount":                  {brk + `'amount_mismatch', true)`, false},
		"stated that it came back":           {line + `2, $1, 1, 0, 'CZK', '', now(), 'wrong_state' from statement_lines`, false},
		"stated at a channel that is not it": {line + `1, $1, 1, 0, 'CZK', '', now(), 'unmatched' from statement_lines`, false},
	} {
		_, err := h.pool.Exec(t.Context(), c.sql, name)
		require.NoError(t, err, name)
		yes, err := h.recon.Contradicted(t.Context(), "bank-ab", name)
		require.NoError(t, err)
		require.Equal(t, c.yes, yes, name)
		yes, err = h.recon.Contradicted(t.Context(), "bank-cd", name)
		require.NoError(t, err)
		require.False(t, yes, "another channel's word: %s", name)
	}
}

// Both attempts of a payout that failed have executed: the first line is the late outcome
// that a linked payment stands for. The second is no late outcome, whose advice is to
// recover the money from the holder, who has had it taken once: money has left twice.
func TestTheSecondAttemptThatExecutedIsAContradiction(t *testing.T) {
	t.Parallel()
	h := newTruth(t, 1)
	p := h.accepted(2)[1]
	h.facts(
		pay.Fact{Kind: pay.ProveAbsent, Payment: p.ID, Attempt: 1, AttemptState: pay.Absent, SendBy: h.clock.Now().Add(time.Minute)},
		pay.Fact{Kind: pay.Intend, Payment: p.ID, Attempt: 2, SendBy: h.clock.Now().Add(time.Minute)},
	)
	require.Equal(t, pay.Failed, h.facts(pay.Fact{Kind: pay.Decline, Payment: p.ID, Attempt: 2})[0].State)
	first, second := h.line(&p), h.line(&p)
	second.Reference = pay.Reference(p.ID, 2)
	h.tells(first)
	h.tells(second)
	open, _, err := h.recon.Breaks(t.Context(), recon.BreakFilter{State: "all"})
	require.NoError(t, err)
	require.Len(t, open, 2)
	require.Equal(t, []string{"contradiction", "open", second.LineID}, []string{open[0].Class, open[0].State, open[0].Line})
	require.Equal(t, "recall", open[0].Suggestion.Action)
	require.Equal(t, []string{"late_outcome", "resolved", first.LineID}, []string{open[1].Class, open[1].State, open[1].Line})
}

// A break that people have closed is over: the line that comes later is a break of its
// own, which somebody looks at.
func TestALineDoesNotJoinAClosedBreak(t *testing.T) {
	t.Parallel()
	h := newTruth(t, 1)
	p := h.disputed()
	_, err := h.pool.Exec(t.Context(), `insert into breaks (channel, payment, reference, class, executed) values ('bank-ab', $1, $2, 'contradiction', true)`,
		int64(p.ID), pay.Reference(p.ID, 1))
	require.NoError(t, err)
	h.close("")
	line := h.line(&p)
	h.tells(line)
	require.EqualValues(t, 1, h.number(`select count(*) from breaks where closed_at is null and class = 'contradiction' and line = $1`, line.LineID))
	require.EqualValues(t, 1, h.number(`select count(*) from breaks where closed_by = 'ann' and line = ''`))
}
