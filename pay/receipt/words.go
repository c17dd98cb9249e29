package receipt

import (
	"fmt"
	"slices"

	"github.com/moneta-pay/moneta/money"
)

// Languages are those that Outcome and Limit speak, the default first.
var Languages = []string{"en", "zh"}

// outcomes are what a receipt proves, in English and Chinese. A %s is what went back.
var outcomes = map[string][2]string{
	"open":            {"Not final: it was accepted, and not yet carried out. This proves no outcome; no money need have moved.", "尚未终结：已受理，尚未完成。本回执不证明任何结果，资金可能并未转移。"},
	"hold":            {"The hold is over. Captured of it: %s; the rest was released.", "预授权已结束。其中已扣款：%s，其余已释放。"},
	"debt":            {"The debt is closed: paid, or written off.", "欠款已了结：已偿还或已核销。"},
	"inbound":         {"The money that nobody could place has found its owner, or went back.", "无法归属的资金已找到归属，或已退回。"},
	"succeeded":       {"It was carried out. This state never changes; should a bank send the money back, a later receipt says so.", "已完成。此状态不会再变；若银行日后退回资金，会有更新的回执说明。"},
	"failed":          {"It was not carried out.", "未执行。"},
	"cancelled":       {"It was cancelled, and not carried out.", "已取消，未执行。"},
	"expired":         {"It was not carried out in its time, and never will be.", "已过期，未执行，也不会再执行。"},
	"refunding":       {"It was carried out, and a refund is on its way: %s.", "已完成，正在退款：%s。"},
	"partly_refunded": {"It was carried out, and refunded in part: %s.", "已完成，已部分退款：%s。"},
	"refunded":        {"It was carried out, and refunded: %s.", "已完成，随后已退款：%s。"},
	"partly_returned": {"It was carried out, and a part was sent back: %s.", "已完成，部分资金已被退回：%s。"},
	"returned":        {"It was carried out, and sent back: %s.", "已完成，随后资金被退回：%s。"},
	"charged_back":    {"It was carried out, and taken back: %s.", "已完成，随后被拒付撤回：%s。"},
	"late_success":    {"It was called not carried out at first, and was carried out all the same.", "起初记为未执行，但事后证明已执行。"},
}

var limit = [2]string{
	"Not proven: what happened since. Of two receipts of this payment the one with the later event holds (this one: %s). Ask for the newest before you rely on it.",
	"不证明此后发生的事。同一付款的两份回执，以事件号较大者为准（本回执：%s）。依赖之前请索取最新回执。",
}

// Outcome says in lang what a genuine receipt proves of the payment.
func (d *Document) Outcome(lang string) string {
	switch {
	case !d.Final:
		return outcomes["open"][column(lang)]
	case d.Kind == "hold":
		return fmt.Sprintf(outcomes["hold"][column(lang)], d.Money(d.Captured))
	case d.Kind == "late_payout", d.Kind == "chargeback":
		return outcomes["debt"][column(lang)]
	case d.Kind == "inbound":
		return outcomes["inbound"][column(lang)]
	case d.Disposition == "":
		return outcomes[d.State][column(lang)]
	case d.Back == nil:
		return outcomes[d.Disposition][column(lang)]
	}
	return fmt.Sprintf(outcomes[d.Disposition][column(lang)], d.Money(d.Back.of(d.Disposition)))
}

// Limit says in lang what it does not prove.
func (d *Document) Limit(lang string) string {
	return fmt.Sprintf(limit[column(lang)], d.RestsOn.Event)
}

func column(lang string) int { return max(0, slices.Index(Languages, lang)) }

// of is the amount that made the disposition.
func (b *Back) of(disposition string) string {
	switch disposition {
	case "refunding":
		return b.Refunding
	case "returned", "partly_returned":
		return b.Returned
	case "charged_back":
		return b.ChargedBack
	}
	return b.Refunded
}

// Money writes an amount of the receipt as people do, by the decimals that the receipt
// itself states.
func (d *Document) Money(amount string) string {
	a, err := money.ParseMinor(amount)
	if err != nil || a.Sign() < 0 {
		return amount + " / 10^" + fmt.Sprint(d.Decimals) + " " + d.Asset
	}
	digits := a.String()
	for len(digits) <= int(d.Decimals) {
		digits = "0" + digits
	}
	if whole := len(digits) - int(d.Decimals); whole < len(digits) {
		digits = digits[:whole] + "." + digits[whole:]
	}
	return digits + " " + d.Asset
}
