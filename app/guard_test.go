package app

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/config"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
)

func TestTheGuardOfTheConfiguration(t *testing.T) {
	t.Parallel()
	judge, err := guardOf(config.Guard{"CZK": {ConfirmAbove: "100", ReviewAbove: "1000"}, "EUR": {ReviewAbove: "5"}})
	require.NoError(t, err)
	for _, c := range []struct {
		asset  money.Asset
		amount int64
		want   pay.FactKind
	}{
		{"CZK", 100, pay.Clear},
		{"CZK", 101, pay.Challenge},
		{"CZK", 1000, pay.Challenge},
		{"CZK", 1001, pay.Review},
		{"EUR", 5, pay.Clear},
		{"EUR", 6, pay.Review},
		{"USD", 1 << 40, pay.Clear},
	} {
		got, err := judge(t.Context(), &pay.Payment{Asset: c.asset, Amount: money.Int(c.amount)})
		require.NoError(t, err)
		require.Equal(t, c.want, got, "%s %d", c.asset, c.amount)
	}
	for _, bad := range []config.Guard{{"XXY": {}}, {"CZK": {ConfirmAbove: "1.5"}}, {"CZK": {ReviewAbove: "0"}}} {
		_, err := guardOf(bad)
		require.ErrorContains(t, err, "guard")
	}
}
