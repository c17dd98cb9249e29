package catalog

import "github.com/moneta-pay/moneta/doctor"

// texts are what holders and support are told for most causes, so that the same
// trouble is told in the same words. Each says only what holds whatever the cause
// turns out to be: no date, no sum, no return of money without proof.
var texts = map[string]doctor.Text{
	"banner": {
		EN: "Some payments take longer than usual. Each one is followed until its result is certain. Please do not pay a second time.",
		ZH: "部分付款比平时慢。每一笔都会跟踪到结果确定为止。请勿重复支付。",
	},
	"banner-channel": {
		EN: "Payments through {channel} take longer than usual. Each one is followed until its result is certain. Please do not pay a second time.",
		ZH: "经 {channel} 的付款比平时慢。每一笔都会跟踪到结果确定为止。请勿重复支付。",
	},
	"slow": {
		EN: "Your payment takes longer than usual. It is recorded and is followed until its result is certain. There is nothing you need to do; please do not pay a second time.",
		ZH: "您的付款比平时慢。它已被记录,会跟踪到结果确定为止。您无需任何操作,请勿重复支付。",
	},
	"unknown": {
		EN: "We are asking {channel} for the result of your payment. Until it is certain the amount stays reserved, and this payment is not taken twice. If the bank's record shows that it was not carried out, the amount becomes available again.",
		ZH: "我们正在向 {channel} 核实您的付款结果。结果确定前金额保持锁定,同一笔付款不会扣两次。若银行记录证明未执行,金额将恢复可用。",
	},
	"refused": {
		EN: "New payments cannot be taken at the moment. A payment that was refused has moved no money. What was accepted before is kept and followed until its result is certain.",
		ZH: "目前无法受理新的付款。被拒绝的付款没有动用任何资金。此前已受理的付款仍在,会跟踪到结果确定为止。",
	},
	"waits": {
		EN: "Payments through {channel} wait at the moment. What was not sent yet has not left your account, and can still be cancelled; what was sent is followed until its result is certain. Please do not pay a second time.",
		ZH: "经 {channel} 的付款目前在等待。尚未发出的款项没有离开您的账户,仍可取消;已发出的会跟踪到结果确定为止。请勿重复支付。",
	},
	"display": {
		EN: "What you see may be older than what has happened. The books behind it are not touched by this. Please do not pay a second time because a payment does not show yet.",
		ZH: "您看到的可能晚于实际发生的情况,背后的账目不受影响。请勿因为某笔付款尚未显示而重复支付。",
	},
	"warned": {
		EN: "Nothing to tell holders: payments are carried out as usual while this is put right.",
		ZH: "无需告知用户:修复期间付款照常进行。",
	},
	"found-difference": {
		EN: "We found a difference in our own books and are looking at it. Your payments are recorded. If it concerns you, a person writes to you with what was found.",
		ZH: "我们在自己的账目中发现差异,正在核查。您的付款均有记录。若与您有关,我们会有专人告知核查结果。",
	},
	"support-slow": {
		EN: "Look up the payment by its number: the page says which step it is at, where the money is and when it is looked at next. Say exactly that. Promise no time that the page does not show, and never advise to pay a second time.",
		ZH: "按编号查询付款:页面显示当前步骤、资金位置和下次核实时间。照此转述;不要承诺页面上没有的时间,切勿建议重复支付。",
	},
	"support-unknown": {
		EN: "The outcome at {channel} is not known yet: it is neither failed nor done. The channel is asked by our reference until it, its callback or its statement answers. Say when it is asked next. Never call it failed, and never advise to pay a second time.",
		ZH: "{channel} 的结果尚不确定:既非失败也非成功。系统会按我方参考号持续查询,直到渠道、回调或对账单给出答案。告知下次查询时间;切勿称其失败,切勿建议重复支付。",
	},
	"support-refused": {
		EN: "A refusal with money_state not_moved has moved nothing; commit-unknown means that the same request with the same key tells. Existing payments can be looked up as usual where the page answers.",
		ZH: "拒绝且 money_state 为 not_moved 时没有动用资金;commit-unknown 表示用同一幂等键重发相同请求即可得知。已有付款可照常查询。",
	},
	"support-display": {
		EN: "Compare what the holder sees with the payment's own page, which reads the books. If only the display is old, say so, with the time it is from. If the page itself differs, open a case.",
		ZH: "把用户所见与付款详情页(直接读账)对照。若只是显示滞后,告知其时间点;若详情页本身不符,建立工单。",
	},
	"support-warned": {
		EN: "Nobody is affected yet. If somebody complains of a late payment, look it up by its number and open a case: it has another cause.",
		ZH: "目前无人受影响。若有人投诉付款延迟,按编号查询并建立工单:那是另外的原因。",
	},
}
