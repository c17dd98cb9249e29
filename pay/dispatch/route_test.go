package dispatch_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/dispatch"
)

func TestRoutes(t *testing.T) {
	t.Parallel()
	routes := dispatch.Routes{
		{Asset: "EUR", Payee: "DE*", Channels: []channel.Name{"a", "b", "c"}, RetryOn: []string{"closed"}},
		{Channels: []channel.Name{"a", "d"}},
	}
	german := pay.Payment{Asset: "EUR", PayeeAccount: "DE12", Channel: "a"}
	require.Equal(t, channel.Name("b"), routes.Next(&german))
	require.True(t, routes.Redirects(&german, "closed"))
	require.False(t, routes.Redirects(&german, "insufficient_funds"))
	german.Channel = "c"
	require.Empty(t, routes.Next(&german), "the end of the route")
	require.False(t, routes.Redirects(&german, "closed"))
	french := pay.Payment{Asset: "EUR", PayeeAccount: "FR12", Channel: "a"}
	require.Equal(t, channel.Name("d"), routes.Next(&french), "the second route fits")
	require.False(t, routes.Redirects(&french, "closed"))
	french.Channel = "zz"
	require.Empty(t, routes.Next(&french))
	require.Empty(t, dispatch.Routes(nil).Next(&french), "no route by default")
}

// Declined for a reason that the route names: the same payment is sent at the next
// channel; for any other reason it fails. Both clearings are right afterwards.
func TestADeclineGoesOnToTheNextChannel(t *testing.T) {
	t.Parallel()
	w := build(t, options{routes: dispatch.Routes{{
		Channels: []channel.Name{"bank-ab", "bank-cd"}, RetryOn: []string{"bank_closed"},
	}}})
	w.behave("ab", `{"mode":"sync","decline":{"probability":1,"reason":"bank_closed","late":false}}`)
	w.behave("cd", `{"mode":"sync"}`)
	p := w.payout("p", "bank-ab", "1", 100)
	w.eventually("it succeeded elsewhere", func() bool { return w.state(p.ID) == pay.Succeeded })
	require.Equal(t, int64(2), w.number(`select count(*) from attempts where payment = $1`, int64(p.ID)))
	require.Equal(t, int64(1), w.number(`select count(*) from attempts where payment = $1 and n = 2 and channel = 'bank-cd' and reference = $2`,
		int64(p.ID), pay.Reference(p.ID, 2)))
	clearing := `select coalesce(sum(case when credit = a.id then amount else -amount end), 0)::bigint
		from transfers t join accounts a on a.id in (t.debit, t.credit) where a.name = $1`
	require.Zero(t, w.number(clearing, "clr:bank-ab:out"))
	require.Equal(t, int64(100), w.number(clearing, "clr:bank-cd:out"))
	require.Zero(t, w.number(`select count(*) from hop_counts where open <> 0`), "the hops' counts follow the payment to the other channel")

	w.behave("ab", `{"mode":"sync","decline":{"probability":1,"reason":"account_closed","late":false}}`)
	q := w.payout("q", "bank-ab", "1", 100)
	w.eventually("it failed", func() bool { return w.state(q.ID) == pay.Failed })
	require.Equal(t, int64(1), w.number(`select count(*) from attempts where payment = $1`, int64(q.ID)))
}

// An open breaker sends what has not been attempted elsewhere, and leaves alone what
// may have moved money.
func TestABreakerMovesOnlyWhatWasNeverSent(t *testing.T) {
	t.Parallel()
	w := build(t, options{breakerDelay: time.Hour, routes: dispatch.Routes{{
		Channels: []channel.Name{"bank-ab", "bank-cd"},
	}}})
	w.behave("ab", `{"lose_reply":1,"callback_lose":1}`)
	w.behave("cd", `{"mode":"sync"}`)
	for i := range 20 {
		w.payout(fmt.Sprint("p", i), "bank-ab", "1", 100)
	}
	w.eventually("each is unknown or has succeeded", func() bool {
		return w.number(`select count(*) from open_payments where state <> $1`, int16(pay.Unknown)) == 0
	})
	require.Equal(t, int64(20), w.number(`select count(*) from attempts`), "one attempt each")
	unknown := w.number(`select count(*) from open_payments`)
	require.GreaterOrEqual(t, unknown, int64(10), "what opened the breaker")
	require.Equal(t, unknown, w.number(`select count(*) from attempts where channel = 'bank-ab'`), "an unknown attempt never moves")
	fresh := w.payout("fresh", "bank-ab", "1", 100)
	w.eventually("the new one went elsewhere", func() bool { return w.state(fresh.ID) == pay.Succeeded })
	require.Equal(t, int64(1), w.number(`select count(*) from attempts where channel = 'bank-cd' and payment = $1`, int64(fresh.ID)))
}

// A breaker that opened is asked again after its delay, although everything new could
// go elsewhere: otherwise nothing would ever come back to a channel that is well again.
func TestAChannelThatIsWellAgainIsUsedAgain(t *testing.T) {
	t.Parallel()
	w := build(t, options{breakerDelay: 300 * time.Millisecond, routes: dispatch.Routes{{
		Channels: []channel.Name{"bank-ab", "bank-cd"},
	}}})
	w.behave("ab", `{"lose_reply":1,"callback_lose":1}`)
	w.behave("cd", `{"mode":"sync"}`)
	for i := range 20 {
		w.payout(fmt.Sprint("p", i), "bank-ab", "1", 100)
	}
	w.eventually("each is unknown or has succeeded", func() bool {
		return w.number(`select count(*) from open_payments where state <> $1`, int16(pay.Unknown)) == 0
	})
	w.behave("ab", `{"mode":"sync","lose_reply":0,"callback_lose":0}`)
	n := 0
	w.eventually("a new payment goes to its own channel", func() bool {
		n++
		p := w.payout(fmt.Sprint("fresh", n), "bank-ab", "1", 100)
		w.eventually("it ended", func() bool { return w.state(p.ID) == pay.Succeeded })
		return w.number(`select count(*) from attempts where channel = 'bank-ab' and payment = $1`, int64(p.ID)) == 1
	})
}
