package river

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/money"
)

// en and zh mark an argument of textf that only one language takes.
type (
	enOnly struct{ v any }
	zhOnly struct{ v any }
)

func en(v any) enOnly { return enOnly{v} }
func zh(v any) zhOnly { return zhOnly{v} }

// textf fills both templates. An argument counts for both, or for the one that it names.
func textf(english, chinese string, args ...any) doctor.Text {
	var e, z []any
	for _, a := range args {
		switch v := a.(type) {
		case enOnly:
			e = append(e, v.v)
		case zhOnly:
			z = append(z, v.v)
		default:
			e, z = append(e, a), append(z, a)
		}
	}
	return doctor.Text{EN: fmt.Sprintf(english, e...), ZH: fmt.Sprintf(chinese, z...)}
}

func count(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return grouped(strconv.FormatInt(n, 10)) + " " + many
}

func clockOf(t time.Time) string { return t.UTC().Format("15:04:05 UTC") }

// age is a time span in words, to two figures that matter.
func age(d time.Duration, lang string) any {
	s := int64(d.Round(time.Second).Seconds())
	unit := func(n int64, e, z string) string {
		if lang == "zh" {
			return strconv.FormatInt(n, 10) + " " + z
		}
		return strconv.FormatInt(n, 10) + " " + e
	}
	pair := func(a, b string) string { return a + " " + b }
	var text string
	switch {
	case s < 120:
		text = unit(s, "s", "秒")
	case s < 3600:
		text = unit(s/60, "min", "分钟")
	case s < 86400:
		text = unit(s/3600, "h", "小时")
		if m := s % 3600 / 60; m > 0 {
			text = pair(text, unit(m, "min", "分钟"))
		}
	default:
		text = unit(s/86400, "d", "天")
		if h := s % 86400 / 3600; h > 0 {
			text = pair(text, unit(h, "h", "小时"))
		}
	}
	if lang == "zh" {
		return zh(text)
	}
	return en(text)
}

// grouped sets a comma after each three digits.
func grouped(digits string) string {
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return sign + b.String()
}

// amount writes smallest units as people read them. An asset that is not known is shown in
// its smallest unit, and says so by its name.
func amount(minor string, asset string) string {
	info, ok := money.LookupAsset(asset)
	scale := int(info.Scale)
	if !ok || scale == 0 {
		return grouped(minor) + " " + asset
	}
	if len(minor) <= scale {
		minor = strings.Repeat("0", scale-len(minor)+1) + minor
	}
	whole, rest := minor[:len(minor)-scale], minor[len(minor)-scale:]
	return grouped(whole) + "." + rest + " " + asset
}

// assetsMost are named in a sentence; a map shows all.
const assetsMost = 3

// worth is what a pile is worth, by asset.
func worth(p *Pile) string {
	var all []string
	for _, asset := range slices.Sorted(maps.Keys(p.Value)) {
		all = append(all, amount(p.Value[asset], asset))
	}
	if len(all) > assetsMost {
		all = append(all[:assetsMost], "…")
	}
	return strings.Join(all, " + ")
}
