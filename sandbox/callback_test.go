package sandbox_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/sandbox"
)

func TestCallbackRetriesUntilTaken(t *testing.T) {
	t.Parallel()
	box := listen(t)
	box.refuseNext(4)
	w := start(t, sandbox.Config{CallbackURL: box.url})
	w.behave(`{"callback_retry":{"attempts":10,"base_ms":1,"max_ms":4}}`)
	w.pay("p-1", "5")
	require.Equal(t, "p-1", box.next(t).Reference)
	w.until("callbacks_delivered", 1)
	require.EqualValues(t, 4, w.stats()["callbacks_failed"])
	require.Zero(t, w.stats()["callbacks_pending"])
}

// Out of attempts, the bank gives up; flush sends what was given up and what
// was lost, once each.
func TestFlush(t *testing.T) {
	t.Parallel()
	box := listen(t)
	box.refuseNext(3)
	w := start(t, sandbox.Config{CallbackURL: box.url})
	w.behave(`{"callback_retry":{"attempts":3,"base_ms":1,"max_ms":1}}`)
	w.pay("given-up", "5")
	w.until("callbacks_given_up", 1)
	w.behave(`{"callback_lose":1}`)
	w.pay("lost", "5")
	w.until("callbacks_lost", 1)
	w.behave(`{"callback_delay":{"probability":1,"min_ms":3600000,"max_ms":3600000}}`)
	w.pay("delayed", "5")
	require.Empty(t, box.got)

	status, answer := w.call(http.MethodPost, "/banks/ab/callbacks/flush", "")
	require.Equal(t, http.StatusOK, status)
	require.JSONEq(t, `{"queued":3}`, answer)
	got := map[string]int{}
	for range 3 {
		got[box.next(t).Reference]++
	}
	require.Equal(t, map[string]int{"given-up": 1, "lost": 1, "delayed": 1}, got)
	w.until("callbacks_delivered", 3)
	_, answer = w.call(http.MethodPost, "/banks/ab/callbacks/flush", "")
	require.JSONEq(t, `{"queued":0}`, answer)
}

func TestCallbackMischief(t *testing.T) {
	t.Parallel()
	t.Run("duplicate", func(t *testing.T) {
		t.Parallel()
		box := listen(t)
		w := start(t, sandbox.Config{CallbackURL: box.url})
		w.behave(`{"callback_duplicate":1}`)
		w.pay("p-1", "5")
		first, second := box.next(t), box.next(t)
		require.Equal(t, first, second)
		w.until("callbacks_duplicate", 1)
	})
	t.Run("forged", func(t *testing.T) {
		t.Parallel()
		box := listen(t)
		w := start(t, sandbox.Config{CallbackURL: box.url})
		w.behave(`{"callback_forge":1}`)
		w.pay("p-1", "5")
		forged, genuine := box.next(t), box.next(t)
		require.False(t, forged.genuine)
		require.Equal(t, "50", forged.Amount)
		require.True(t, genuine.genuine)
		require.Equal(t, "5", genuine.Amount)
		require.Equal(t, forged.EventID, genuine.EventID, "it tries to take the true event's place")
	})
	t.Run("accepted first", func(t *testing.T) {
		t.Parallel()
		box := listen(t)
		w := start(t, sandbox.Config{CallbackURL: box.url})
		w.behave(`{"callback_accepted":1}`)
		w.pay("p-1", "5")
		require.Equal(t, "payment.accepted", box.next(t).Type)
		require.Equal(t, "payment.executed", box.next(t).Type)
	})
	t.Run("out of order", func(t *testing.T) {
		t.Parallel()
		box := listen(t)
		w := start(t, sandbox.Config{CallbackURL: box.url})
		w.behave(`{"callback_out_of_order":1}`)
		w.pay("p-1", "5")
		require.Equal(t, "payment.executed", box.next(t).Type)
		require.Equal(t, "payment.accepted", box.next(t).Type)
	})
	t.Run("late decline", func(t *testing.T) {
		t.Parallel()
		box := listen(t)
		w := start(t, sandbox.Config{CallbackURL: box.url})
		w.behave(`{"decline":{"probability":1,"reason":"account_closed","late":true},"execute_delay":{"probability":1,"min_ms":2,"max_ms":5}}`)
		w.pay("p-1", "5")
		told := box.next(t)
		require.Equal(t, "payment.declined", told.Type)
		require.Equal(t, "account_closed", told.Reason)
		require.Zero(t, w.moved("p-1"))
	})
	t.Run("sync says it in the reply", func(t *testing.T) {
		t.Parallel()
		box := listen(t)
		w := start(t, sandbox.Config{CallbackURL: box.url})
		w.behave(`{"mode":"sync"}`)
		w.pay("p-1", "5")
		w.behave(`{}`)
		w.pay("p-2", "5")
		require.Equal(t, "p-2", box.next(t).Reference)
	})
	t.Run("overtakes the reply", func(t *testing.T) {
		t.Parallel()
		box := listen(t)
		w := start(t, sandbox.Config{CallbackURL: box.url})
		w.behave(`{"reply_delay":{"probability":1,"min_ms":3600000,"max_ms":3600000}}`)
		replied := make(chan struct{})
		go func() {
			defer close(replied)
			w.pay("p-1", "5")
		}()
		require.Equal(t, "p-1", box.next(t).Reference)
		select {
		case <-replied:
			require.Fail(t, "the reply came first")
		default:
		}
		require.NoError(t, w.server.Close(), "closing lets held requests go")
		<-replied
	})
}

// A receiver that takes nothing, and far more callbacks than the queue holds:
// they wait in the books, and all come once it recovers, each once.
func TestSlowReceiverParks(t *testing.T) {
	t.Parallel()
	box := listen(t)
	w := start(t, sandbox.Config{CallbackQueue: 10, CallbackWorkers: 4}) // no URL: held back
	const payments = 500
	for i := range payments {
		w.pay(fmt.Sprintf("p-%d", i), "5")
	}
	require.EqualValues(t, payments, w.stats()["callbacks_pending"])
	w.behave(`{"callback_retry":{"attempts":1000,"base_ms":1,"max_ms":1}}`)
	box.refuseNext(payments / 2) // refused ones go back into a queue that is often full
	require.NoError(t, w.server.SetCallbackURL(box.url))
	got := map[string]int{}
	for range payments {
		got[box.next(t).Reference]++
	}
	require.Len(t, got, payments)
	w.until("callbacks_delivered", payments)
	require.Zero(t, w.stats()["callbacks_pending"])
	require.Empty(t, box.got)
}

// A restart forgets no callback that nobody took, nor an order that waits for
// its execution, and repeats none that was taken before an orderly stop.
func TestCallbacksSurviveRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	box := listen(t)
	w := start(t, sandbox.Config{Dir: dir, CallbackURL: box.url})
	w.pay("taken", "5")
	require.Equal(t, "taken", box.next(t).Reference)
	w.until("callbacks_delivered", 1)
	require.NoError(t, w.server.SetCallbackURL(""))
	w.pay("waiting", "5")
	w.behave(`{"execute_delay":{"probability":1,"min_ms":100,"max_ms":100}}`)
	w.pay("unexecuted", "5")
	w.stop()

	journal, err := os.ReadFile(filepath.Join(dir, "ab.journal"))
	require.NoError(t, err)
	require.NotEmpty(t, journal)
	w = start(t, sandbox.Config{Dir: dir, CallbackURL: box.url})
	got := map[string]string{}
	for range 2 {
		c := box.next(t)
		got[c.Reference] = c.Type
	}
	require.Equal(t, map[string]string{"waiting": "payment.executed", "unexecuted": "payment.executed"}, got)
	require.Equal(t, 1, w.moved("unexecuted"))
	w.until("callbacks_delivered", 3)
	require.Empty(t, box.got)
}
