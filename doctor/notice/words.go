package notice

import "github.com/moneta-pay/moneta/doctor"

// words are all that the page can say.
var words = map[string]doctor.Text{
	"title":   {EN: "Service status", ZH: "服务状态"},
	"part-h":  {EN: "What people use", ZH: "各项服务"},
	"days-h":  {EN: "The last 90 days", ZH: "最近 90 天"},
	"past-h":  {EN: "What happened", ZH: "历史记录"},
	"now-h":   {EN: "What we know", ZH: "目前情况"},
	"since":   {EN: "Since", ZH: "开始时间"},
	"next":    {EN: "Next update by", ZH: "下次更新不晚于"},
	"made":    {EN: "As of", ZH: "更新于"},
	"refresh": {EN: "Load it again for the newest.", ZH: "重新加载可查看最新情况。"},
	"none":    {EN: "Nothing in the last 90 days.", ZH: "最近 90 天没有异常。"},
	"other":   {EN: "中文", ZH: "English"},
	"to":      {EN: "to", ZH: "至"},
	"minutes": {EN: "min with a disruption", ZH: "分钟异常"},
	"quiet":   {EN: "no disruption", ZH: "无异常"},
	"today":   {EN: "today", ZH: "今天"},
	"ago":     {EN: "90 days ago", ZH: "90 天前"},
	"private": {EN: "Where one payment is, its own page in the app tells.", ZH: "单笔付款的进度请在应用内查看。"},

	"part-transfers": {EN: "Transfers between wallets", ZH: "钱包间转账"},
	"part-payouts":   {EN: "Payments to banks", ZH: "付款到银行"},
	"part-deposits":  {EN: "Money coming in", ZH: "资金转入"},
	"part-app":       {EN: "App and interface for partners", ZH: "应用与商户接口"},
	"part-partners":  {EN: "Messages to partners", ZH: "商户通知"},

	"state-ok":          {EN: "Works", ZH: "正常"},
	"state-checking":    {EN: "Works again, being checked", ZH: "已恢复,核对中"},
	"state-unknown":     {EN: "Cannot be seen now", ZH: "暂时无法确认"},
	"state-delayed":     {EN: "Slower for some", ZH: "部分变慢"},
	"state-interrupted": {EN: "May not work now", ZH: "可能暂时不可用"},

	"page-ok":          {EN: "Everything works", ZH: "一切正常"},
	"page-checking":    {EN: "It works again; we are checking every payment", ZH: "服务已恢复,正在逐笔核对"},
	"page-unknown":     {EN: "We cannot see at this moment whether everything works", ZH: "目前无法确认服务是否正常"},
	"page-delayed":     {EN: "Some payments are slower than usual", ZH: "部分付款比平时慢"},
	"page-interrupted": {EN: "Payments may not work at this moment", ZH: "付款可能暂时不可用"},

	"advice-none":  {EN: "There is nothing you need to do.", ZH: "您无需任何操作。"},
	"advice-again": {EN: "Please do not pay a second time: each payment that was accepted is followed until its result is certain. There is nothing else you need to do.", ZH: "请勿重复支付:每一笔已受理的付款都会跟踪到结果确定为止。您无需其他操作。"},

	"who-all":     {EN: "Nearly all payments of these kinds are concerned.", ZH: "几乎所有此类付款受到影响。"},
	"who-half":    {EN: "About half of the payments of these kinds are concerned.", ZH: "约一半此类付款受到影响。"},
	"who-quarter": {EN: "About one in four payments of these kinds is concerned.", ZH: "约四分之一的此类付款受到影响。"},
	"who-few":     {EN: "A small part of the payments of these kinds is concerned.", ZH: "少部分此类付款受到影响。"},

	"stage-detected":  {EN: "We see that something does not work as usual, and are looking for the cause.", ZH: "我们发现服务出现异常,正在查找原因。"},
	"stage-diagnosed": {EN: "We see the likely cause and are working on it.", ZH: "已找到可能的原因,正在处理。"},
	"stage-contained": {EN: "We keep it from spreading. What waits is followed.", ZH: "已阻止影响扩大,等待中的付款持续跟踪。"},
	"stage-repaired":  {EN: "It works again. Before we call it over, every payment of that time is counted anew.", ZH: "服务已恢复。在宣布结束之前,我们会重新核对期间的每一笔付款。"},
	"stage-proved":    {EN: "Every payment of that time was counted anew and fits.", ZH: "期间的每一笔付款均已重新核对,结果一致。"},
	"still":           {EN: "It is still so. We go on.", ZH: "情况仍在持续,我们继续处理。"},
	"still-checking":  {EN: "It works. We are still counting anew.", ZH: "服务正常,仍在重新核对。"},

	"over-clean":  {EN: "It is over. Every payment of that time was counted anew and fits; nothing needs to be paid again.", ZH: "已结束。期间的每一笔付款均已重新核对且结果一致,无需重复支付。"},
	"over-listed": {EN: "It is over. A few payments of that time are still looked at one by one; whoever they belong to sees it in the app.", ZH: "已结束。期间仍有少量付款由人工逐笔核实,相关用户可在应用内查看。"},
}
