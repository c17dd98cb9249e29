package app

import (
	"fmt"

	"github.com/moneta-pay/moneta/config"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/intake"
)

// guardOf reads the limits of payouts; an error names the field.
func guardOf(cfg config.Guard) (intake.Guard, error) {
	limits := make(map[money.Asset]intake.Limit, len(cfg))
	for code, l := range cfg {
		info, ok := money.LookupAsset(money.Asset(code))
		if !ok {
			return nil, fmt.Errorf("guard: %q is no asset; write a code such as CZK", code)
		}
		var limit intake.Limit
		for _, f := range []struct {
			name, text string
			to         *money.Amount
		}{{"confirm_above", l.ConfirmAbove, &limit.Confirm}, {"review_above", l.ReviewAbove, &limit.Review}} {
			if f.text == "" {
				continue
			}
			amount, err := money.ParseMinor(f.text)
			if err != nil || amount.Sign() <= 0 {
				return nil, fmt.Errorf("guard.%s.%s: %q; write a whole number above zero, in the asset's smallest unit", code, f.name, f.text)
			}
			*f.to = amount
		}
		limits[info.Code] = limit
	}
	return intake.Limits(limits), nil
}
