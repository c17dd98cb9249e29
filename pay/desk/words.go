package desk

// about is what a case is about, in a sentence: English, Chinese. They name no
// channel and blame nobody, as those of pay/status.
var about = map[Kind][2]string{
	Overdue:        {"The payment takes longer than its rail promises.", "付款用时超过渠道承诺的时限。"},
	UnknownTooLong: {"For two hours nobody could tell whether the payment was carried out.", "已有两小时无法确认付款是否执行。"},
	Orphan:         {"Nothing drives the payment any more.", "付款已无后续步骤推动。"},
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
