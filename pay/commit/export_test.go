package commit

import (
	"context"

	"github.com/moneta-pay/moneta/pay"
)

// Whole reads payments by the statement that looks for everything that may be linked.
func (r *Reader) Whole(ctx context.Context, ids []int64) ([]pay.Payment, error) {
	return r.payments(ctx, readPayment+` where p.id = any($1) order by p.id`, ids)
}
