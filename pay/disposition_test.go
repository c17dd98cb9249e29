package pay_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
)

// The gravest of what linked objects made of a payment is told.
func TestDisposition(t *testing.T) {
	t.Parallel()
	all, part := money.Int(100), money.Int(1)
	for _, c := range []struct {
		want pay.Disposition
		back pay.Back
		late pay.ID
	}{
		{pay.NoDisposition, pay.Back{}, 0},
		{pay.PartlyRefunded, pay.Back{Refunded: part}, 0},
		{pay.Refunded, pay.Back{Refunded: all}, 0},
		{pay.Refunding, pay.Back{Refunded: part, Refunding: part}, 0},
		{pay.PartlyReturned, pay.Back{Returned: part, Refunding: part}, 0},
		{pay.ReturnedBack, pay.Back{Returned: all, Refunding: part}, 0},
		{pay.ChargedBackDone, pay.Back{ChargedBack: part, Refunded: all}, 0},
		{pay.LateSuccess, pay.Back{}, 9},
		{pay.PartlyReturned, pay.Back{Returned: part}, 9},
		{pay.ReturnedBack, pay.Back{Returned: all}, 9},
	} {
		p := pay.Payment{Amount: all, Back: c.back, Late: c.late}
		require.Equal(t, c.want, p.Disposition(), "%+v", c)
	}
}
