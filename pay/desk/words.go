package desk

import (
	"time"

	"github.com/moneta-pay/moneta/pay"
)

// about is what a case is about, in a sentence: English, Chinese. They name no
// channel and blame nobody, as those of pay/status.
var about = map[Kind][2]string{
	Overdue:        {"The payment takes longer than its rail promises.", "付款用时超过渠道承诺的时限。"},
	UnknownTooLong: {"For two hours nobody could tell whether the payment was carried out.", "已有两小时无法确认付款是否执行。"},
	Orphan:         {"Nothing drives the payment any more.", "付款已无后续步骤推动。"},
	Review:         {"The payment waits for a person to let it pass.", "付款等待人工审核。"},
	Unplaced:       {"Money came in, and nobody knows yet whose it is.", "收到款项,尚未确认归属。"},
	Debt:           {"Money that was paid out, or taken back, is owed.", "已付出或被扣回的款项尚待收回。"},
	Poison:         {"A step of the payment fails each time and was set aside.", "付款的某一步反复失败,已被隔离。"},
	Contradiction:  {"The bank's record says otherwise than a result that was final here.", "银行记录与此处的最终结果不一致。"},
	Mismatch:       {"The bank's record has another amount than the payment.", "银行记录的金额与付款不一致。"},
	Break:          {"The bank's statement and our books differ.", "银行对账单与账簿存在差异。"},
	Appeal:         {"The holder asked for a person.", "持有人申请人工处理。"},
}

// About says in lang, en or zh, what a case of the kind is about.
func About(kind Kind, lang string) string {
	if lang == "zh" {
		return about[kind][1]
	}
	return about[kind][0]
}

// journeyWords answer the questions of a journey, by question and answer.
var journeyWords = map[string][2]string{
	"submitted yes":         {"The client submitted it: its key is here.", "客户端已提交:幂等键已登记。"},
	"received yes":          {"It was received and is durable.", "已受理并持久保存。"},
	"dispatched yes":        {"An order was sent to the channel.", "已发送至渠道。"},
	"dispatched no":         {"No order got to the channel.", "没有指令到达渠道。"},
	"dispatched unknown":    {"An order may have got to the channel; it is being asked. Do not pay again.", "指令可能已到达渠道,正在核实。请勿重复支付。"},
	"dispatched not_needed": {"No order leaves this ledger for it.", "此笔付款不需要向外发送指令。"},
	"answered yes":          {"The channel has answered.", "渠道已答复。"},
	"answered no":           {"The channel has not answered.", "渠道尚未答复。"},
	"answered unknown":      {"The channel wrote, and its letter has changed nothing yet: read its verdict.", "渠道有来信,但尚未产生效果:请查看其判定。"},
	"answered not_needed":   {"No channel takes part.", "无渠道参与。"},
	"duplicated yes":        {"Its money moved more than once. Freeze it, and tell finance.", "该笔资金重复变动。请冻结并通知财务。"},
	"duplicated no":         {"No equal payment of the holder is within a day of it.", "持有人一天之内没有相同的付款。"},
	"duplicated unknown":    {"The holder has an equal payment within a day, under another key. Ask whether both were meant.", "持有人一天之内另有相同付款(不同幂等键)。请确认两笔是否均为本意。"},
}

// outcomes are what the holder of an appeal reads when the payment has ended. Its
// status says where the money is.
var outcomes = map[pay.State][2]string{
	pay.Succeeded: {"The payment has succeeded", "付款已成功"},
	pay.Failed:    {"The payment was not completed", "付款未成功"},
	pay.Cancelled: {"The payment was cancelled", "付款已取消"},
	pay.Expired:   {"The payment has expired", "付款已超时"},
}

// outcome says it in both languages, since nobody knows yet which one is read.
func outcome(state pay.State, at time.Time) string {
	w := outcomes[state]
	when := at.UTC().Format("2006-01-02 15:04:05 UTC")
	return w[0] + " (" + when + "). / " + w[1] + "(" + when + ")。"
}
