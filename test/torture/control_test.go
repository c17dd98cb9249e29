package torture

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The proof must see what it says that it looks for. Each control commits one
// crime on purpose.
func TestControls(t *testing.T) {
	together(t)
	w := newWorld(t)
	l := newLoad(t, w, "control", 12, 8, 20*time.Millisecond)
	l.newKeys = true
	l.run()
	l.awaitAcks(t, choose[int64](300, 2000), time.Minute)
	receipts := l.stop()
	w.settle(time.Minute)

	t.Run("clients that pay again under new keys", func(t *testing.T) {
		v := count(t, w, l, receipts)
		require.Positive(t, v.Doubled, "the banks executed twice and nobody saw it")
		require.Positive(t, v.DoubledInside, "the ledger paid twice and nobody saw it")
		figure(t, "control, new keys: doubled outside / inside", "%d / %d of %d orders", v.Doubled, v.DoubledInside, len(receipts)/2)
		require.Zero(t, v.LedgerSum+v.Gaps+v.BrokenBooks+v.Lost, "%+v", v)
	})
	clean := count(t, w, l, receipts)

	t.Run("a bank that does not know its own orders again", func(t *testing.T) {
		w.behave("gh", `{"magic_amounts": false, "dedup": false}`)
		var payout receipt
		for _, r := range receipts {
			if r.Kind == "payout" && r.Channel == "bank-gh" && r.id != "" {
				payout = r
			}
		}
		require.NotEmpty(t, payout.id, "no payout at that bank")
		c := &client{http: newHTTP(1), nodes: []string{w.api}, key: w.keys.Tenant, attempt: attemptWithin}
		ctx, cancel := context.WithTimeout(t.Context(), answerWithin)
		defer cancel()
		var p payment
		require.NoError(t, c.get(ctx, "/v1/payments/"+payout.id, &p))
		status, answer := w.bankCall(http.MethodPost, "/banks/gh/payments", fmt.Sprintf(
			`{"reference":%q,"amount":%q,"asset":%q,"account":"1","remittance":%q}`, p.Reference, payout.Amount, asset, payout.Remittance))
		require.Equal(t, http.StatusAccepted, status, answer)
		eventually(t, 30*time.Second, "one more double is seen", func() (bool, string) {
			v := &verdict{}
			w.countOutside(v, receipts)
			return v.Doubled == clean.Doubled+1, fmt.Sprintf("%d doubled, %d before", v.Doubled, clean.Doubled)
		})
	})

	t.Run("an acknowledgement of a payment that does not exist", func(t *testing.T) {
		forged := receipts[len(receipts)-1]
		forged.key, forged.id, forged.Kind = "never-sent", "pay_0000000000000", "payout"
		forged.Remittance = "never sent"
		v := &verdict{}
		w.countReadable(v, append(receipts[:len(receipts):len(receipts)], forged))
		require.Equal(t, 1, v.Lost)
		v = &verdict{}
		w.countOutside(v, append(receipts[:len(receipts):len(receipts)], forged))
		require.Equal(t, clean.LostOutside+1, v.LostOutside)
	})

	t.Run("a posting that vanished", func(t *testing.T) {
		_, err := w.db.Exec(t.Context(), `delete from transfers where id = (select max(id) / 2 from transfers)`)
		require.NoError(t, err)
		v := &verdict{}
		w.countLedger(v)
		require.Positive(t, v.Gaps)
		require.Positive(t, v.BrokenBooks)
	})
}
