package recon

import (
	"slices"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/channel"
)

// The classes of breaks. A line has at most one, and so has a payment; the first
// that applies, in the order in which judge asks.
const (
	duplicateLine      = "duplicate_line"
	lineChanged        = "line_changed"
	doubled            = "double_execution"
	unmatchedInbound   = "unmatched_inbound"
	unmatchedOutbound  = "unmatched_outbound"
	unknownReference   = "unknown_reference"
	misdirected        = "misdirected"
	amountMismatch     = "amount_mismatch"
	wrongAsset         = "wrong_asset"
	feeUnexpected      = "fee_unexpected"
	lateOutcome        = "late_outcome"
	contradiction      = "contradiction"
	missingInStatement = "missing_in_statement"
	compensated        = "compensated_executed"
	// About a whole statement that came as a file.
	statementUnbalanced = "statement_unbalanced"
	balanceGap          = "balance_gap"
	// Opened by pay/invariant about our own rows.
	invariantBroken = "invariant"
)

// Severities of breaks.
const (
	// MoneyAtRisk: money may be lost, or paid twice.
	MoneyAtRisk = 1
	// MoneyMisplaced: it is somewhere, and not where it belongs.
	MoneyMisplaced = 2
	// Figures: a difference of figures or of time.
	Figures = 3
)

// Roles that own a class's breaks until a person takes one.
const (
	operations  = "operations"
	finance     = "finance"
	engineering = "engineering"
)

// Class is what one kind of break means.
type Class struct {
	Name     string
	Severity int16
	// Owner is the role that has to act.
	Owner string
	Title fault.Text
	// heals says what would heal it.
	heals fault.Text
	// action is the machine's word for it; see Suggestion.
	action string
	// transition of the life cycle whose fact or linked object would do it; 0 when
	// none moves money.
	transition int
	confidence string
}

// classes is the whole catalogue; docs/recon.md has the same table.
var classes = []Class{
	{
		duplicateLine, Figures, operations,
		fault.Text{En: "The same line stated again", Zh: "同一条对账单明细重复出现"},
		fault.Text{En: "Nothing: it counts once.", Zh: "无需处理:只计一次。"},
		"none", 0, certain,
	},
	{
		lineChanged, MoneyAtRisk, operations,
		fault.Text{En: "A line restated with other content", Zh: "已出现过的明细内容被更改"},
		fault.Text{
			En: "Ask the channel which of the two is true. Nothing was posted for the second; post the difference only with its written answer.",
			Zh: "请渠道书面确认哪一条为准。第二条未记账;取得书面答复后再补记差额。",
		},
		"ask_channel", 0, person,
	},
	{
		doubled, MoneyAtRisk, operations,
		fault.Text{En: "The channel executed one order twice", Zh: "渠道重复执行同一笔指令"},
		fault.Text{
			En: "Recall the second execution from the channel; when it comes back, book it as a return. If it cannot be recalled, the loss is ours.",
			Zh: "向渠道追回第二笔;退回后按退款入账。无法追回则计入损失。",
		},
		"recall", 13, likely,
	},
	{
		unmatchedInbound, MoneyMisplaced, operations,
		fault.Text{En: "Money came in that nobody announced", Zh: "收到无法识别的入账"},
		fault.Text{
			En: "It waits in the suspense account. Find whose it is by payer and remittance, and credit that account, or send it back.",
			Zh: "已记入挂账科目。按付款人和附言查明归属后入账,或原路退回。",
		},
		"credit_owner", 16, likely,
	},
	{
		unmatchedOutbound, MoneyAtRisk, operations,
		fault.Text{En: "Money left that nobody ordered", Zh: "出现无指令的出账"},
		fault.Text{
			En: "Call the channel at once: this is fraud, an error of theirs, or an order of ours that we lost. Recall it.",
			Zh: "立即联系渠道:可能是欺诈、渠道差错或我方指令遗失。要求追回。",
		},
		"recall", 0, person,
	},
	{
		unknownReference, MoneyMisplaced, engineering,
		fault.Text{En: "It quotes a payment that does not exist", Zh: "引用了不存在的支付"},
		fault.Text{
			En: "The reference has our form and no payment: lost by a restore, or made up. Money in waits in suspense for its owner; money out must be explained first.",
			Zh: "参考号符合我方格式但无对应支付:可能因恢复丢失或被伪造。入账已挂账待归属;出账须先查明。",
		},
		"credit_owner", 16, person,
	},
	{
		misdirected, MoneyMisplaced, operations,
		fault.Text{En: "It quotes a payment of another channel or direction", Zh: "引用了其他渠道或方向的支付"},
		fault.Text{
			En: "Money in waits in suspense: ask the payer whose it is. Money out: ask the channel what it executed.",
			Zh: "入账已挂账:询问付款人归属。出账:请渠道说明执行内容。",
		},
		"credit_owner", 16, person,
	},
	{
		amountMismatch, MoneyAtRisk, operations,
		fault.Text{En: "Another amount than ours", Zh: "金额与我方不一致"},
		fault.Text{
			En: "Ask the channel to correct the line. If its amount is what moved, settle our amount and book the difference, linked to this break.",
			Zh: "请渠道更正明细。若实际金额以渠道为准,按我方金额结清并关联本差异补记差额。",
		},
		"correct_amount", 21, person,
	},
	{
		wrongAsset, MoneyAtRisk, operations,
		fault.Text{En: "Another asset than ours", Zh: "币种与我方不一致"},
		fault.Text{En: "Ask the channel to reverse the movement and to execute it in the payment's asset.", Zh: "要求渠道冲正并按支付币种重新执行。"},
		"ask_channel", 0, person,
	},
	{
		feeUnexpected, Figures, finance,
		fault.Text{En: "Another fee than agreed", Zh: "手续费与约定不符"},
		fault.Text{
			En: "The fee is booked as the statement says. Claim the difference from the channel, or change its agreed fee in the configuration.",
			Zh: "手续费已按对账单入账。向渠道索回差额,或在配置中更新约定费率。",
		},
		"claim_fee", 0, certain,
	},
	{
		lateOutcome, MoneyAtRisk, operations,
		fault.Text{En: "It happened after all, although final otherwise here", Zh: "我方已终结后渠道仍执行"},
		fault.Text{
			En: "The payment stays as it is. A payout: record the late outcome and recover the amount from the holder. A deposit: credit it late, or send it back.",
			Zh: "支付状态不变。付款:登记迟到结果并向持有人追回。充值:补记入账或原路退回。",
		},
		"record_late_outcome", 17, likely,
	},
	{
		contradiction, MoneyAtRisk, engineering,
		fault.Text{En: "It contradicts what we know of our attempts", Zh: "与我方发送记录相矛盾"},
		fault.Text{
			En: "A word about an attempt that was never made or was replaced, or that takes back what is final here. Nothing was posted for it. Compare the attempts with the channel's log; recall what was paid twice; a payment that waits in review is settled by the attempt that two people name.",
			Zh: "涉及从未发出或已被替换的发送,或撤回我方已终结的结果;未作任何记账。核对发送记录与渠道日志;追回重复付款;审核中的付款由两人认定已执行的发送后结清。",
		},
		"recall", 13, person,
	},
	{
		missingInStatement, MoneyAtRisk, operations,
		fault.Text{En: "The statement does not show it", Zh: "对账单缺少该笔"},
		fault.Text{
			En: "Ask the channel by reference. It closes by itself when the line comes. If the channel proves that nothing moved, compensate the holder.",
			Zh: "按参考号向渠道查询。明细出现后自动关闭。若渠道证明未发生,则补偿持有人。",
		},
		"ask_channel", 21, person,
	},
	{
		compensated, MoneyAtRisk, operations,
		fault.Text{En: "Compensated, and it executed after all", Zh: "已补偿，但款项实际已付出"},
		fault.Text{
			En: "The holder has had the amount twice: from us, and by the payment. Recover it from the holder, by agreement or as your terms allow, or have the channel recall the payment; what cannot be recovered is our loss. Until then nothing more is paid for this payment.",
			Zh: "持有人已重复受益：我方已补偿，原付款亦已执行。请依约定向持有人追回，或要求渠道追回原付款；无法追回的计入损失。在此之前不再就该付款支付任何款项。",
		},
		"recall", 0, likely,
	},
	{
		statementUnbalanced, MoneyAtRisk, finance,
		fault.Text{En: "A statement that does not add up", Zh: "对账单余额与明细不符"},
		fault.Text{
			En: "Ask the channel for the whole statement: a line is missing or wrong. The value is what its closing balance has beyond its lines.",
			Zh: "向渠道索取完整对账单:有明细缺失或错误。差额为期末余额与明细之差。",
		},
		"ask_channel", 0, person,
	},
	{
		balanceGap, MoneyAtRisk, finance,
		fault.Text{En: "A statement does not begin where the one before ended", Zh: "期初余额与上一份期末余额不衔接"},
		fault.Text{En: "A statement between the two is missing: import it. It closes by itself then.", Zh: "两份之间缺少对账单:导入后自动关闭。"},
		"ask_channel", 0, certain,
	},
	{
		restoreGap, MoneyAtRisk, engineering,
		fault.Text{En: "It happened in the time that a restore lost", Zh: "发生在恢复所丢失的时段"},
		fault.Text{
			En: "Open ones: post the movement again from the channel's books, linked to this break, before dispatch goes on. See docs/backup.md.",
			Zh: "未关闭的:恢复发送前,依渠道账簿关联本差异补记。参见 docs/backup.md。",
		},
		"post_again", 21, person,
	},
	{
		invariantBroken, MoneyAtRisk, engineering,
		fault.Text{En: "Our own rows contradict each other", Zh: "我方账簿记录自相矛盾"},
		fault.Text{
			En: "Stop what writes such rows and change none of them; freeze the accounts concerned, and put right what is owed by new transfers. See docs/invariants.md.",
			Zh: "停止产生此类记录的程序,不得修改任何记录;冻结相关账户,以新的转账更正。参见 docs/invariants.md。",
		},
		"investigate", 0, person,
	},
}

// How sure a suggestion is: certain needs no judgement, likely is right unless
// somebody knows better, person needs one who knows more than the books.
const (
	certain = "certain"
	likely  = "likely"
	person  = "needs_person"
)

// Owing is the class of the breaks that can say by themselves to whom how much is owed.
const Owing = missingInStatement

// Classes returns the catalogue of breaks.
func Classes() []Class { return slices.Clone(classes) }

// classOf describes a class; one that nobody described is treated as the worst.
func classOf(name string) Class {
	for i := range classes {
		if classes[i].Name == name {
			return classes[i]
		}
	}
	return Class{
		Name: name, Severity: MoneyAtRisk, Owner: operations, Title: fault.Text{En: name, Zh: name},
		heals: fault.Text{En: "Find out what happened.", Zh: "查明原因。"}, action: "investigate", confidence: person,
	}
}

// Leg is one transfer of a suggestion, in the words of docs/states.md: it lowers
// Debit and raises Credit.
type Leg struct {
	Debit  string       `json:"debit"`
	Credit string       `json:"credit"`
	Amount money.Amount `json:"amount"`
	Asset  money.Asset  `json:"asset"`
}

// Suggestion says what would heal a break. Nothing executes it by itself.
type Suggestion struct {
	// Action is none, ask_channel, recall, book_suspense, credit_owner, correct_amount, claim_fee,
	// record_late_outcome, post_again or investigate.
	Action string `json:"action" enum:"none,ask_channel,recall,book_suspense,credit_owner,correct_amount,claim_fee,record_late_outcome,post_again,investigate"`
	// Transition of the life cycle that would do it, such as T16; empty when
	// nothing is to be posted yet.
	Transition string `json:"transition,omitempty"`
	// Legs are the transfers that it would post; empty where they depend on what is
	// found out.
	Legs []Leg `json:"legs,omitempty"`
	// Confidence is certain, likely or needs_person.
	Confidence string `json:"confidence" enum:"certain,likely,needs_person"`
	En         string `json:"en"`
	Zh         string `json:"zh"`
}

// suggest says what would heal the break.
func (b *Break) suggest() Suggestion {
	c := classOf(b.Class)
	s := Suggestion{Action: c.action, Confidence: c.confidence, En: c.heals.En, Zh: c.heals.Zh}
	in := b.Direction == channel.In.String()
	transition := c.transition
	switch {
	case transition == 16 && !in: // money out never came in: there is nothing to book yet
		s.Action, transition = "ask_channel", 0
	case transition == 16: // recon has booked it to suspense
		s.Legs = []Leg{b.leg("susp:in", "to:av")}
	case b.Class == lateOutcome && in:
		transition = 18
		s.Legs = []Leg{b.leg("clr:"+string(b.Channel)+":in", "to:av")}
	case b.Class == lateOutcome:
		s.Legs = []Leg{b.leg("recv:user", "clr:"+string(b.Channel)+":out")}
	case b.Class == missingInStatement && in: // the holder has the money; it is the channel that owes
		transition = 0
	case b.Class == missingInStatement && b.Direction == channel.Out.String():
		s.Legs = []Leg{b.leg("comp:exp", "to:av")}
	case b.Class == doubled && in: // somebody paid twice: it is the payer's
		s.Action, transition = "book_suspense", 16
		s.Legs = []Leg{b.leg("nostro:"+string(b.Channel), "susp:in")}
	}
	if transition != 0 {
		s.Transition = "T" + digits(transition)
	}
	return s
}

func (b *Break) leg(debit, credit string) Leg {
	return Leg{Debit: debit, Credit: credit, Amount: b.Amount, Asset: b.Asset}
}
