package status

import (
	"strings"
	"time"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
)

// Texts are the words of one language. They name no channel, blame nobody, and
// carry every time in full with its zone.
type Texts struct {
	Lang     string `json:"lang" enum:"en,zh"`
	Headline string `json:"headline" doc:"What is happening now"`
	Money    string `json:"money" doc:"Where the money is"`
	Next     string `json:"next" doc:"When it will be done, or when there is news"`
	Advice   string `json:"advice" doc:"What to do; on every screen of an open payment, not to pay again"`
}

// Languages that Texts exist in; the first is the default.
var Languages = []string{"en", "zh"}

// catalogue is everything that people read: English, Chinese. In braces stand the
// values that fill fills in.
var catalogue = map[string][2]string{
	"head-created":         {"Received", "已受理"},
	"head-reserved":        {"Money reserved, about to be sent", "资金已锁定,排队发送"},
	"head-dispatching":     {"Sending", "正在发送"},
	"head-processing":      {"Being processed by the bank", "银行处理中"},
	"head-unknown":         {"Confirming with the bank", "正在向银行核实"},
	"head-requires_action": {"Needs your confirmation", "需要您确认"},
	"head-in_review":       {"Security check", "安全核实中"},
	"head-delayed":         {"Taking longer than usual", "处理时间比平时长"},
	"head-succeeded":       {"Succeeded", "成功"},
	"head-failed":          {"Not completed, money returned", "未成功,款项已退回"},
	"head-cancelled":       {"Cancelled", "已取消"},
	"head-expired":         {"Expired, not charged", "已超时,未扣款"},
	"head-review":          {"We are checking this payment", "正在核查这笔付款"},
	"head-deposit":         {"Waiting for your transfer", "等待您的转账"},
	"head-not-credited":    {"Not completed, nothing was credited", "未成功,没有入账"},

	"head-hold":          {"Reserved, not taken yet", "预授权中,尚未扣款"},
	"head-hold-partly":   {"Reserved, a part was taken", "预授权中,已扣取一部分"},
	"head-hold-taken":    {"Taken", "已扣款"},
	"head-hold-rest":     {"A part was taken, the rest is released", "已扣取一部分,其余已释放"},
	"head-hold-released": {"Released, nothing was taken", "已释放,未扣款"},

	"head-refunding":       {"Refund on its way", "退款处理中"},
	"head-partly_refunded": {"Partly refunded", "部分退款"},
	"head-refunded":        {"Refunded", "已退款"},
	"head-partly_returned": {"Partly returned", "部分退回"},
	"head-returned":        {"Returned", "已被退回"},
	"head-charged_back":    {"Taken back by the payer's bank", "已被付款方银行追回"},
	"head-late_success":    {"Carried out after all", "这笔付款其实已成功"},
	"head-late_deposit":    {"Credited late", "延迟入账"},
	"head-late_payout":     {"Settling a payment that was carried out after all", "结清一笔其实已成功的付款"},
	"head-chargeback":      {"Taken back by the payer's bank", "已被付款方银行追回"},
	"head-compensation":    {"Compensation", "补偿"},
	"head-assignment":      {"We found your deposit", "已找到您的入账"},
	"head-inbound":         {"Looking for the owner of this money", "正在查找这笔款项的归属"},

	"money-requires_action": {"Your {amount} is safe: in your available balance, nothing has been taken.", "您的 {amount} 安全:仍在可用余额中,尚未扣款。"},
	"money-in_review":       {"Your {amount} is safe: set aside while we check this payment.", "您的 {amount} 安全:核实期间已为此笔付款锁定。"},
	"money-refunding":       {"{back} of {amount} is on its way back to where it came from.", "{amount} 中的 {back} 正在原路退回。"},
	"money-partly_refunded": {"{back} of {amount} has gone back to where it came from.", "{amount} 中的 {back} 已原路退回。"},
	"money-refunded":        {"{back} has gone back to where it came from.", "{back} 已原路退回。"},
	"money-partly_returned": {"The recipient's bank sent {back} of {amount} back. It is in your available balance.", "收款银行退回了 {amount} 中的 {back},已入您的可用余额。"},
	"money-returned-back":   {"The recipient's bank sent {back} back. It is in your available balance.", "收款银行退回了 {back},已入您的可用余额。"},
	"money-charged_back":    {"The payer's bank has taken {back} back.", "付款方银行已追回 {back}。"},
	"money-late_success":    {"We told you that this had failed. That was wrong, and we are sorry: the bank has now proven that {amount} was paid out. What had gone back to your balance is taken from it again.", "我们曾告知您这笔付款失败,这是错误的,非常抱歉:银行现已证实 {amount} 已付出。此前退回余额的款项将重新扣除。"},
	"money-late_credit":     {"The money for this deposit came late. {amount} is in your available balance.", "这笔入账的款项晚到。{amount} 已入您的可用余额。"},
	"money-debt":            {"{amount} had gone back to your balance by mistake; {rest} of it is still to be taken.", "{amount} 曾误退回您的余额;其中 {rest} 尚待扣除。"},
	"money-debt-paid":       {"{amount} had gone back to your balance by mistake. This is settled.", "{amount} 曾误退回您的余额,现已结清。"},
	"money-chargeback":      {"The payer's bank has taken {amount} back; {rest} of it is still to be taken from your balance.", "付款方银行已追回 {amount};其中 {rest} 尚待从您的余额扣除。"},
	"money-chargeback-paid": {"The payer's bank has taken {amount} back. It was taken from your balance.", "付款方银行已追回 {amount},已从您的余额扣除。"},
	"money-unassigned":      {"{amount} has arrived, and nobody knows yet whose it is.", "{amount} 已到账,尚不清楚归属。"},
	"money-assigned":        {"{amount} has found its owner or gone back.", "{amount} 已归属或已退回。"},

	"money-hold":          {"Your {amount} is safe: set aside, and yours until it is taken.", "您的 {amount} 安全:已预留,扣取前仍归您所有。"},
	"money-hold-partly":   {"{back} of {amount} was taken. Your {rest} is safe: still set aside, and yours until it is taken.", "{amount} 中已扣取 {back}。您的 {rest} 安全:仍预留,扣取前仍归您所有。"},
	"money-hold-taken":    {"{amount} was taken from what was set aside.", "已从预留金额中扣取 {amount}。"},
	"money-hold-rest":     {"{back} of {amount} was taken. {rest} is in your available balance again.", "{amount} 中已扣取 {back},其余 {rest} 已恢复为可用余额。"},
	"money-hold-released": {"Nothing was taken. {amount} is in your available balance again.", "未扣款。{amount} 已恢复为可用余额。"},

	"money-available":     {"Your {amount} is safe: in your available balance, nothing has been taken.", "您的 {amount} 安全:仍在可用余额中,尚未扣款。"},
	"money-reserved":      {"Your {amount} is safe: reserved, not yet sent.", "您的 {amount} 安全:已从可用余额锁定,尚未离开。"},
	"money-dispatching":   {"Your {amount} is safe: set aside for this payment and being sent to the bank.", "您的 {amount} 安全:已为此笔付款锁定,正在发往银行。"},
	"money-processing":    {"Your {amount} is safe: sent to the bank, awaiting confirmation.", "您的 {amount} 安全:已发往银行,等待确认。"},
	"money-unknown":       {"Your {amount} is safe: set aside for this payment while we ask the bank whether it was carried out.", "您的 {amount} 安全:已为此笔付款锁定,我们正在向银行核实是否已执行。"},
	"money-paid":          {"The bank has confirmed that {amount} was paid out.", "银行已确认付出 {amount}。"},
	"money-sent":          {"{amount} is in the recipient's account.", "{amount} 已到对方账户。"},
	"money-returned":      {"It was not carried out. {amount} is back in your available balance.", "此笔付款未执行。{amount} 已退回您的可用余额。"},
	"money-cancelled":     {"It was not sent. {amount} is in your available balance.", "此笔付款未发送。{amount} 在您的可用余额中。"},
	"money-expired":       {"It was not charged. {amount} is in your available balance.", "未扣款。{amount} 在您的可用余额中。"},
	"money-awaited":       {"Nothing has been credited yet. We credit {amount} when the bank confirms that it has arrived.", "尚未入账。银行确认到账后,我们将为您入账 {amount}。"},
	"money-announced":     {"The bank has announced {amount}. It is not credited yet.", "银行已通知有 {amount} 汇入,尚未入账。"},
	"money-credited":      {"{amount} is in your available balance.", "{amount} 已入您的可用余额。"},
	"money-not-credited":  {"Nothing was credited here.", "没有入账。"},
	"money-review":        {"The records about this {amount} do not agree yet. We show where it is once that is proven.", "关于这 {amount} 的记录尚不一致。查明后,我们会显示资金所在位置。"},
	"next-history":        {"Expected by {p90} (90 % of such payments).", "预计 {p90} 前完成(90% 的同类付款)。"},
	"next-final":          {"The bank's final answer is due by {final}.", "最晚 {final} 银行应给出最终结果。"},
	"next-final-passed":   {"The bank's final answer was due by {final} and has not come; we keep asking.", "银行应在 {final} 前给出最终结果,目前仍未收到;我们会继续核实。"},
	"next-hold":           {"What has not been taken by {expires} is in your available balance again then.", "{expires} 前未扣取的部分,届时恢复为可用余额。"},
	"next-hold-over":      {"Its time ended at {expires}: nothing more is taken, and the rest is about to be in your available balance again.", "已于 {expires} 到期:不再扣取,其余即将恢复为可用余额。"},
	"next-if-not-done":    {"If it proves that the payment was not carried out, the money goes back to your balance at once.", "若证实未执行,款项立即退回您的余额。"},
	"next-before-sending": {"You will see an expected time here once it has been sent.", "发送后,此处会显示预计时间。"},
	"next-credit":         {"It is credited as soon as the bank confirms it.", "银行确认后立即入账。"},
	"next-checked":        {"We check with the bank; last check {checked}.", "我们会向银行核实;上次 {checked}。"},
	"next-step":           {"Next step by {step}.", "下一步不晚于 {step}。"},
	"next-over":           {"This is final.", "这是最终结果。"},
	"next-case":           {"A person is looking into it: case {case}, due by {due}.", "已转人工核实:工单 {case},处理期限 {due}。"},
	"next-case-late":      {"A person is looking into it: case {case} was due by {due}, is late, and has gone to somebody above.", "已转人工核实:工单 {case} 应在 {due} 前处理,现已逾期,已上报。"},
	"next-review":         {"This page changes when the records agree.", "记录一致后,本页面会更新。"},

	"do-confirm":      {"Please confirm by {step}; otherwise it is not carried out and nothing is charged.", "请于 {step} 前确认;否则不会执行,也不会扣款。"},
	"do-wait":         {"Please do not pay again. Nothing to do; you may close this page.", "请勿重复支付。无需操作,可关闭页面。"},
	"do-or-cancel":    {"Please do not pay again. Nothing to do; you may close this page. You can still cancel.", "请勿重复支付。无需操作,可关闭页面。现在仍可取消。"},
	"do-transfer":     {"Send the money once and quote {quote}. If you have sent it already, please do not pay again.", "请只转账一次,并注明 {quote}。如已转账,请勿重复支付。"},
	"do-nothing":      {"Nothing to do.", "无需操作。"},
	"do-new":          {"Nothing to do. You may pay again if you still want to; that is a new payment.", "无需操作。如仍需付款,可以重新支付,这将是一笔新的付款。"},
	"do-ask-own-bank": {"If money has left your account elsewhere, ask the bank that you sent it from.", "如果您的款项已从其他账户转出,请咨询您的转出银行。"},
	"do-not-again":    {"Please do not pay again before this is cleared up.", "查明之前,请勿重复支付。"},
}

// words returns a text of the catalogue. A key that is missing is a bug, which
// the test of every state finds.
func words(lang, key string) string {
	w, ok := catalogue[key]
	if !ok {
		panic("status: no words for " + key)
	}
	if lang == "zh" {
		return w[1]
	}
	return w[0]
}

// texts puts the words together, from what s already says.
func texts(p *pay.Payment, s *Status, f Facts, lang string) Texts {
	if lang != "zh" {
		lang = "en"
	}
	head, where, advice := keysOf(p, s)
	keys := []string{"next-review"}
	if s.Safe {
		keys = nextKeys(p, f)
	}
	switch {
	case s.Case == nil:
	case f.Now.After(s.Case.Deadline):
		keys = append(keys, "next-case-late")
	default:
		keys = append(keys, "next-case")
	}
	next := make([]string, len(keys))
	for i, k := range keys {
		next[i] = words(lang, k)
	}
	gap := " "
	if lang == "zh" {
		gap = ""
	}
	back, left := taken(p)
	var of OpenCase
	if s.Case != nil {
		of = *s.Case
	}
	fill := strings.NewReplacer(
		"{back}", money.Format(back, p.Asset)+" "+string(p.Asset), "{rest}", money.Format(left, p.Asset)+" "+string(p.Asset),
		"{amount}", money.Format(p.Amount, p.Asset)+" "+string(p.Asset), "{p90}", instant(f.Forecast.P90.Add(time.Second-1)),
		"{final}", instant(f.Forecast.FinalRecordAt), "{checked}", instant(p.LastCheckedAt), "{step}", instant(later(p.NextAt, f.Now)),
		"{expires}", instant(p.ExpiresAt), "{quote}", pay.Reference(p.ID, 0), "{case}", of.Number, "{due}", instant(of.Deadline),
	).Replace
	return Texts{
		Lang: lang, Headline: fill(words(lang, head)), Money: fill(words(lang, where)),
		Next: fill(strings.Join(next, gap)), Advice: fill(words(lang, advice)),
	}
}

// keysOf chooses headline, place and advice.
func keysOf(p *pay.Payment, s *Status) (head, where, advice string) {
	if !s.Safe {
		return "head-review", "money-review", "do-not-again"
	}
	head, where, advice = "head-"+p.State.String(), "money-"+p.State.String(), "do-wait"
	switch p.State {
	case pay.Succeeded:
		where, advice = "money-paid", "do-nothing"
		if p.Kind == pay.Send {
			where = "money-sent"
		}
	case pay.Failed:
		where, advice = "money-returned", "do-new"
	case pay.Cancelled, pay.Expired:
		advice = "do-new"
	case pay.Created:
		where = "money-available"
	case pay.RequiresAction:
		return head, where, "do-confirm"
	case pay.None, pay.Reserved, pay.Dispatching, pay.Processing, pay.Unknown, pay.InReview:
	}
	if s.CanCancel {
		advice = "do-or-cancel"
	}
	if p.Kind == pay.Deposit {
		head, where, advice = depositKeys(p, head, where, advice)
	}
	if p.Kind == pay.Hold {
		return holdKeys(p, advice)
	}
	if h, w, ok := linkedKeys(p); ok {
		return h, w, "do-nothing"
	}
	if s.Phase == Delayed {
		head = "head-delayed"
	}
	return head, where, advice
}

// holdKeys: a hold sends nothing. What was taken of it are payments of their own, and
// one that is over may have been given back what a capture could not send.
func holdKeys(p *pay.Payment, advice string) (head, where, do string) {
	part := ""
	switch {
	case p.Open() && p.Taken.IsZero():
	case p.Open():
		part = "-partly"
	case p.Taken.IsZero():
		part = "-released"
	case p.Taken == p.Amount:
		part = "-taken"
	default:
		part = "-rest"
	}
	return "head-hold" + part, "money-hold" + part, advice
}

// linkedKeys are the words of linked payments, and of what they made of an original.
func linkedKeys(p *pay.Payment) (head, where string, ok bool) {
	paid := "-paid"
	if p.Open() {
		paid = ""
	}
	switch p.Kind {
	case pay.Return:
		return "head-returned", "money-returned-back", true
	case pay.LateDeposit:
		return "head-late_deposit", "money-late_credit", true
	case pay.Compensation:
		return "head-compensation", "money-credited", true
	case pay.Assignment:
		return "head-assignment", "money-credited", true
	case pay.LatePayout:
		return "head-late_payout", "money-debt" + paid, true
	case pay.Chargeback:
		return "head-chargeback", "money-chargeback" + paid, true
	case pay.Inbound:
		if p.Open() {
			return "head-inbound", "money-unassigned", true
		}
		return "head-inbound", "money-assigned", true
	case pay.Refund:
		if p.State == pay.Succeeded && p.Disposition() == pay.NoDisposition {
			return "head-refunded", "money-refunded", true
		}
	case pay.Send, pay.Payout, pay.Deposit, pay.Hold, pay.Capture:
	}
	switch d := p.Disposition(); d {
	case pay.NoDisposition:
		return "", "", false
	case pay.ReturnedBack:
		return "head-returned", "money-returned-back", true
	case pay.LateSuccess:
		if p.Kind == pay.Deposit {
			return "head-late_deposit", "money-late_credit", true
		}
		return "head-late_success", "money-late_success", true
	case pay.Refunding, pay.PartlyRefunded, pay.Refunded, pay.PartlyReturned, pay.ChargedBackDone:
		return "head-" + string(d), "money-" + string(d), true
	}
	return "", "", false
}

// taken is what went back of p, and what is left to take.
func taken(p *pay.Payment) (back, left money.Amount) {
	if p.Kind == pay.Hold {
		if left, err := p.Amount.Sub(p.Taken); err == nil {
			return p.Taken, left
		}
		return p.Taken, p.Remaining()
	}
	switch p.Disposition() {
	case pay.Refunding:
		back = p.Back.Refunding
	case pay.PartlyRefunded, pay.Refunded:
		back = p.Back.Refunded
	case pay.PartlyReturned, pay.ReturnedBack:
		back = p.Back.Returned
	case pay.ChargedBackDone:
		back = p.Back.ChargedBack
	case pay.NoDisposition, pay.LateSuccess:
		back = p.Amount
	}
	return back, p.Remaining()
}

// depositKeys: money that comes from outside is not ours to call safe.
func depositKeys(p *pay.Payment, head, where, advice string) (string, string, string) {
	switch p.State {
	case pay.Created:
		return "head-deposit", "money-awaited", "do-transfer"
	case pay.Processing:
		return head, "money-announced", advice
	case pay.Succeeded:
		return head, "money-credited", advice
	case pay.Failed, pay.Cancelled, pay.Expired:
		if p.State == pay.Failed {
			head = "head-not-credited"
		}
		return head, "money-not-credited", "do-ask-own-bank"
	case pay.None, pay.Reserved, pay.Dispatching, pay.Unknown, pay.RequiresAction, pay.InReview:
	}
	return head, where, advice
}

// nextKeys says what happens next. A time that has passed is not promised, and
// money back only for the case that its proof comes.
func nextKeys(p *pay.Payment, f Facts) (keys []string) {
	if !p.Open() {
		return []string{"next-over"}
	}
	if p.Kind == pay.Hold { // no bank has it, and nobody checks
		if f.Now.Before(p.ExpiresAt) {
			return []string{"next-hold"}
		}
		return []string{"next-hold-over"}
	}
	fc := f.Forecast
	if fc.Basis == ByHistory {
		keys = append(keys, "next-history")
	}
	switch {
	case p.State == pay.InReview, p.State == pay.RequiresAction, p.Kind == pay.LatePayout, p.Kind == pay.Chargeback:
	case p.Kind == pay.Deposit:
		keys = append(keys, "next-credit")
	case !p.Attempt.State.Live():
		if fc.Basis != ByHistory {
			keys = append(keys, "next-before-sending")
		}
	case !fc.FinalRecordAt.IsZero() && !f.Now.Before(fc.FinalRecordAt):
		keys = append(keys, "next-final-passed", "next-if-not-done")
	case !fc.FinalRecordAt.IsZero() && fc.FinalRecordAt.After(fc.P90):
		keys = append(keys, "next-final", "next-if-not-done")
	default:
		keys = append(keys, "next-if-not-done")
	}
	if !p.LastCheckedAt.IsZero() {
		keys = append(keys, "next-checked")
	}
	if p.Kind != pay.Deposit || p.State != pay.Created { // until then the payer has the next step
		keys = append(keys, "next-step")
	}
	return keys
}

// instant writes a time in full; people far away read the same page.
func instant(t time.Time) string {
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}
