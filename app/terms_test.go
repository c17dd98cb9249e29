package app

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/config"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/recon"
)

func TestStatementTermsAreReadAndWrongOnesNamed(t *testing.T) {
	t.Parallel()
	got, err := statementTerms([]config.Channel{{Name: "bank-ab"}, {Name: "bank-cd", Statement: config.Statement{
		TimeZone: "Europe/Prague", CutOff: "17:00", Weekend: []string{"saturday", "Sunday"}, Holidays: []string{"2026-12-24"},
		Daily: true, ArriveDays: 1, ArriveAt: "08:00", Grace: "1h", Fees: map[string]string{"CZK": "250"},
	}}})
	require.NoError(t, err)
	c := got["bank-cd"].Calendar
	require.Equal(t, 17*time.Hour, c.CutOff)
	require.False(t, c.Open(recon.Date{Year: 2026, Month: time.December, Day: 24}))
	require.False(t, c.Open(recon.Date{Year: 2026, Month: time.November, Day: 22}), "a Sunday")
	require.Equal(t, money.Int(250), got["bank-cd"].Fees["CZK"])
	require.Empty(t, got["bank-ab"].Fees)

	for name, s := range map[string]config.Statement{
		"time_zone": {TimeZone: "Nowhere"}, "cut_off": {CutOff: "5pm"}, "arrive_at": {ArriveAt: "8"}, "weekend": {Weekend: []string{"caturday"}},
		"holidays": {Holidays: []string{"Christmas"}}, "grace": {Grace: "soon"}, "fees": {Fees: map[string]string{"CZK": "2.50"}},
		"csv": {CSV: []byte(`{"columns":{"line_id":"x"}}`)}, "not an asset": {Fees: map[string]string{"XXQ": "1"}}, "all seven": {Weekend: []string{"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}},
	} {
		_, err := statementTerms([]config.Channel{{Statement: s}})
		require.ErrorContains(t, err, "channels[0].statement")
		require.ErrorContains(t, err, name)
	}
}
