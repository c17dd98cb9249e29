package replay

import (
	"fmt"
	"strings"

	"github.com/moneta-pay/moneta/money"
)

// scaleMax bounds the decimals of an asset (18 is wei).
const scaleMax = 18

// digitsMax bounds the digits of one amount; 128 bits hold 38 of them.
const digitsMax = 38

// parseDecimal reads a bank's decimal such as "-1 234,50" exactly, as a number
// of smallest units. More decimals than the asset has are accepted only when
// they are zeros, because rounding someone's money is not ours to do.
func parseDecimal(text string, scale int, decimal, thousands string) (money.Amount, error) {
	digits := strings.TrimSpace(text)
	if thousands != "" {
		digits = strings.ReplaceAll(digits, thousands, "")
	}
	sign := ""
	if digits != "" && (digits[0] == '-' || digits[0] == '+') {
		if digits[0] == '-' {
			sign = "-"
		}
		digits = digits[1:]
	}
	whole, fraction, hasPoint := strings.Cut(digits, decimal)
	if whole == "" || (hasPoint && fraction == "") || !allDigits(whole) || !allDigits(fraction) {
		return money.Amount{}, fmt.Errorf("%q is not a decimal amount", text)
	}
	if extra := len(fraction) - scale; extra > 0 {
		if strings.Trim(fraction[scale:], "0") != "" {
			return money.Amount{}, fmt.Errorf("%q has more than %d decimals", text, scale)
		}
		fraction = fraction[:scale]
	}
	minor := strings.TrimLeft(whole+fraction+strings.Repeat("0", scale-len(fraction)), "0")
	if len(minor) > digitsMax {
		return money.Amount{}, fmt.Errorf("%.60q has more than %d digits", text, digitsMax)
	}
	if minor == "" {
		return money.Amount{}, nil
	}
	a, err := money.ParseMinor(sign + minor)
	if err != nil {
		return money.Amount{}, fmt.Errorf("amount %q: %w", text, err)
	}
	return a, nil
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
