package channeltest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/channel"
)

// patience bounds every wait for something that must happen.
const patience = 10 * time.Second

func (r Rig) order(reference string, minor int64) channel.Order {
	return channel.Order{
		Reference: reference, Amount: money.Int(minor), Asset: r.Asset,
		Payee:  channel.Party{Account: "123456", Name: "Jana Nováková <&>"},
		SendBy: r.Clock.Now().Add(5 * time.Second), Remittance: "invoice 7 / 发票",
	}
}

func (r Rig) send(t *testing.T, order channel.Order) channel.Word {
	t.Helper()
	word := r.Channel.Send(t.Context(), order)
	require.Equal(t, order.Reference, word.Reference)
	require.Equal(t, channel.Out, word.Direction)
	return word
}

// moved returns the effects of one reference.
func (r Rig) moved(t *testing.T, reference string) []Effect {
	t.Helper()
	var found []Effect
	for _, effect := range r.Effects(t) {
		if effect.Reference == reference {
			found = append(found, effect)
		}
	}
	return found
}

func testContract(t *testing.T, h Harness) {
	t.Parallel()
	c := h.New(t).Channel
	caps := c.Capabilities()
	require.NotEmpty(t, c.Name())
	require.Positive(t, caps.ClientTimeout)
	require.Positive(t, caps.MaxInFlight)
	require.Positive(t, caps.SendWindow)
	require.LessOrEqual(t, caps.SendWindow, 5*time.Second, "an intent is valid for at most 5 s")
	require.Positive(t, caps.FinalBound)
	require.Equal(t, caps, c.Capabilities(), "constant")
	if caps.QueryByReference {
		require.NotEmpty(t, caps.QuerySchedule)
		caps.QuerySchedule[0] = -1
		require.Positive(t, c.Capabilities().QuerySchedule[0], "a caller cannot change the contract")
	}
}

func testSend(t *testing.T, h Harness) {
	t.Parallel()
	rig := h.New(t)
	order := rig.order("send-1", 70_000)
	word := rig.send(t, order)
	require.Contains(t, []channel.Verdict{channel.Acked, channel.Confirmed}, word.Verdict, word.Reason)
	require.Equal(t, order.Amount, word.Amount)
	require.Equal(t, order.Asset, word.Asset)
	require.NotEmpty(t, word.ChannelID)
	require.Positive(t, word.Latency)
	require.Equal(t, []Effect{{channel.Out, "send-1", order.Amount}}, rig.moved(t, "send-1"))

	t.Run("BadOrders", func(t *testing.T) {
		for name, spoil := range map[string]func(*channel.Order){
			"no reference":     func(o *channel.Order) { o.Reference = "" },
			"no amount":        func(o *channel.Order) { o.Amount = money.Amount{} },
			"negative amount":  func(o *channel.Order) { o.Amount = money.Int(-1) },
			"no payee":         func(o *channel.Order) { o.Payee.Account = "" },
			"endless remark":   func(o *channel.Order) { o.Remittance = fmt.Sprintf("%0141d", 1) },
			"control in ref":   func(o *channel.Order) { o.Reference = "a\r\nb" },
			"not UTF-8":        func(o *channel.Order) { o.Remittance = "\xff" },
			"path in the dots": func(o *channel.Order) { o.Reference = ".." },
		} {
			bad := rig.order("bad-1", 5)
			spoil(&bad)
			word := rig.send(t, bad)
			require.Equal(t, channel.NeverSent, word.Verdict, name)
			require.Equal(t, channel.ReasonBadOrder, word.Reason, name)
		}
		require.Empty(t, rig.moved(t, "bad-1"))
	})
	t.Run("CallerGone", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		word := rig.Channel.Send(ctx, rig.order("gone-1", 5))
		require.Equal(t, channel.NeverSent, word.Verdict)
		require.Empty(t, rig.moved(t, "gone-1"))
	})
	t.Run("HugeAmount", func(t *testing.T) {
		huge := rig.order("huge-1", 1)
		huge.Amount = money.MustParseMinor("123456789012345678901234567")
		require.NotEqual(t, channel.NeverSent, rig.send(t, huge).Verdict)
		require.Equal(t, []Effect{{channel.Out, "huge-1", huge.Amount}}, rig.moved(t, "huge-1"))
	})
}

// testFaults is the heart of the seam: whatever the rail does, the word claims
// no more than is known, and the books say what happened.
func testFaults(t *testing.T, h Harness) {
	for _, c := range []struct {
		name     string
		fault    Fault
		verdict  channel.Verdict
		executed int
	}{
		{"LoseRequest", LoseRequest, channel.Unknown, 0},
		{"LoseReply", LoseReply, channel.Unknown, 1},
		{"HoldReply", HoldReply, channel.Unknown, 1},
		{"ErrorBefore", ErrorBefore, channel.Unknown, 0},
		{"ErrorAfter", ErrorAfter, channel.Unknown, 1},
		{"HTMLBefore", HTMLBefore, channel.Unknown, 0},
		{"HTMLAfter", HTMLAfter, channel.Unknown, 1},
		{"Decline", Decline, channel.Declined, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			rig := h.New(t)
			// A warm connection first: faults on reused connections tempt clients to retry.
			require.NotEqual(t, channel.Unknown, rig.send(t, rig.order("warm", 1)).Verdict)
			rig.Script(t, c.fault)
			word := rig.send(t, rig.order("fault-1", 500))
			require.Equal(t, c.verdict, word.Verdict, word.Reason)
			require.NotEmpty(t, word.Reason)
			require.Len(t, rig.moved(t, "fault-1"), c.executed)

			rig.Script(t, Honest)
			found := rig.Channel.Query(t.Context(), "fault-1")
			switch {
			case c.verdict == channel.Declined:
				require.Equal(t, channel.Declined, found.Verdict)
			case c.executed == 1:
				require.Equal(t, channel.Confirmed, found.Verdict, found.Reason)
			default:
				require.Equal(t, channel.NotFound, found.Verdict, found.Reason)
			}
		})
	}
}

func testQuery(t *testing.T, h Harness) {
	t.Parallel()
	rig := h.New(t)
	rig.send(t, rig.order("query-1", 900))
	word := rig.Channel.Query(t.Context(), "query-1")
	require.Equal(t, channel.Confirmed, word.Verdict, word.Reason)
	require.Equal(t, "query-1", word.Reference)
	require.Equal(t, channel.Out, word.Direction)
	require.Equal(t, money.Int(900), word.Amount)
	require.Equal(t, rig.Asset, word.Asset)
	require.False(t, word.OccurredAt.IsZero())

	absent := rig.Channel.Query(t.Context(), "never-ordered")
	require.Equal(t, channel.NotFound, absent.Verdict, absent.Reason)
	require.Equal(t, channel.Unknown, rig.Channel.Query(t.Context(), "").Verdict)

	rig.Credit(t, "dep-1", money.Int(1234))
	credit := rig.Channel.Query(t.Context(), "dep-1")
	require.Equal(t, channel.Confirmed, credit.Verdict)
	require.Equal(t, channel.In, credit.Direction)
	require.Equal(t, money.Int(1234), credit.Amount)

	// A payer may quote anything, one of our own references too.
	rig.Credit(t, "query-1", money.Int(1))
	require.Equal(t, channel.Out, rig.Channel.Query(t.Context(), "query-1").Direction)

	rig.Script(t, Invisible)
	require.Equal(t, channel.NotFound, rig.Channel.Query(t.Context(), "query-1").Verdict, "the rail may say so; it is no proof")
	rig.Script(t, QueryFails)
	failed := rig.Channel.Query(t.Context(), "query-1")
	require.Equal(t, channel.Unknown, failed.Verdict)
	require.NotEmpty(t, failed.Reason)
}

// testResend shows what the capability claims, at once and under concurrency.
func testResend(t *testing.T, h Harness) {
	t.Parallel()
	rig := h.New(t)
	if !rig.Channel.Capabilities().DedupByReference {
		t.Log("no de-duplication is claimed: nothing to show")
		return
	}
	rig.Script(t, LoseReply)
	require.Equal(t, channel.Unknown, rig.send(t, rig.order("again-1", 77)).Verdict)
	rig.Script(t, Honest)
	var group sync.WaitGroup
	words := make([]channel.Word, 16)
	for i := range words {
		group.Go(func() { words[i] = rig.Channel.Send(t.Context(), rig.order("again-1", 77)) })
	}
	group.Wait()
	for _, word := range words {
		require.Contains(t, []channel.Verdict{channel.Acked, channel.Confirmed}, word.Verdict, word.Reason)
	}
	require.Len(t, rig.moved(t, "again-1"), 1, "moved once however often ordered")

	other := rig.send(t, rig.order("again-1", 78))
	require.NotContains(t, []channel.Verdict{channel.Acked, channel.Confirmed}, other.Verdict,
		"a reference reused with another amount is never a success")
	require.Len(t, rig.moved(t, "again-1"), 1)
}

func testStatement(t *testing.T, h Harness) {
	t.Parallel()
	rig := h.New(t)
	empty, err := rig.Channel.Statement(t.Context(), 0, 10)
	require.NoError(t, err)
	require.Empty(t, empty.Lines)
	require.False(t, empty.HasMore)

	const movements = 23
	for i := range movements {
		rig.send(t, rig.order(fmt.Sprintf("line-%02d", i), int64(100+i)))
	}
	rig.Credit(t, "line-in", money.Int(9))
	var lines []channel.Line
	for after, pages := int64(0), 0; ; pages++ {
		require.Less(t, pages, movements, "paging must end")
		page, err := rig.Channel.Statement(t.Context(), after, 5)
		require.NoError(t, err)
		require.LessOrEqual(t, len(page.Lines), 5)
		lines = append(lines, page.Lines...)
		after = page.Next
		if !page.HasMore {
			break
		}
	}
	require.Len(t, lines, movements+1)
	for i, line := range lines[:movements] {
		require.Equal(t, fmt.Sprintf("line-%02d", i), line.Reference)
		require.Equal(t, money.Int(int64(100+i)), line.Amount)
		require.Equal(t, channel.Out, line.Direction)
		require.Equal(t, "invoice 7 / 发票", line.Remittance)
		require.NotEmpty(t, line.ID)
		require.False(t, line.BookedAt.IsZero())
	}
	require.Equal(t, channel.In, lines[movements].Direction)

	whole, err := rig.Channel.Statement(t.Context(), 0, 0)
	require.NoError(t, err)
	require.Equal(t, lines, whole.Lines, "the same lines in any page size")
	end, err := rig.Channel.Statement(t.Context(), whole.Next, 10)
	require.NoError(t, err)
	require.Equal(t, whole.Next, end.Next, "nothing new leaves the cursor")
}
