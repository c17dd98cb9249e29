package app

// payPageWords are the page's own words around what serve says: English, Chinese.
var payPageWords = map[string][2]string{
	"title":        {"Your payment", "您的付款"},
	"other":        {"中文", "English"},
	"reference":    {"Reference", "编号"},
	"copy":         {"Copy", "复制"},
	"copied":       {"Copied", "已复制"},
	"step-done":    {"done", "已完成"},
	"step-now":     {"now", "进行中"},
	"step-ahead":   {"not yet", "未到"},
	"step-stopped": {"ended here", "到此结束"},

	"person-h":     {"Ask for a person", "人工申诉"},
	"person":       {"One click. You get a case number, who has it and until when, at once.", "一键提交,立即获得工单号、负责人和处理期限。"},
	"case":         {"A person has it: case %s, due by %s. What is written to you appears below.", "已转人工处理:工单 %s,处理期限 %s。给您的回复会显示在下方。"},
	"say":          {"Add a few words (not needed)", "补充说明(可不填)"},
	"say-label":    {"What should we know?", "您想告诉我们什么?"},
	"say-never":    {"Never write a password, a code, seed words or a key here.", "请勿填写密码、验证码、助记词或私钥。"},
	"ask":          {"Ask for a person", "一键申诉"},
	"add":          {"Send this to the case", "补充到工单"},
	"asked":        {"Your case is %s. It is with %s, who answer by %s.", "您的工单号:%s。由%s处理,答复期限 %s。"},
	"asked-often":  {"You have asked several times within a minute. Your case is kept; please wait a little before you add to it.", "您在一分钟内多次提交。工单已保留,请稍后再补充。"},
	"asked-lost":   {"We could not take this in just now. Nothing is lost: please press the button again in a minute.", "暂时无法受理。没有任何损失,请一分钟后再按一次按钮。"},
	"team-support": {"our support team", "客服团队"},

	"receipt-h":       {"Receipt", "回执"},
	"receipt":         {"What our record says of this payment now, signed. With it you can prove it to anybody, without this page. While the payment is open it proves that it was accepted, and no outcome.", "我们的记录对这笔付款当前状态的签名证明。凭此文件,您无需本页面即可向任何人证明。付款未终结时,它只证明已受理,不证明任何结果。"},
	"receipt-get":     {"Save the receipt", "保存回执"},
	"receipt-blind-h": {"The receipt cannot be signed right now", "暂时无法签发回执"},
	"receipt-blind":   {"The system that signs it does not answer. Receipts that you saved before stay valid, and your payment does not depend on this. Please try again in a minute.", "签发系统暂时没有响应。您之前保存的回执依然有效,您的付款也不受影响。请一分钟后再试。"},

	"story-h":    {"What has happened", "处理经过"},
	"check-h":    {"Check it yourself", "自助检查"},
	"check-fine": {"fine", "正常"},
	"check-info": {"good to know", "提示"},
	"check-act":  {"your turn", "需要您操作"},
	"notices":    {"All notices", "查看公告"},
	"faq-h":      {"Questions and answers", "常见问题"},
	"as-of":      {"As of", "截至"},
	"itself":     {"This page follows the payment by itself.", "本页面会自动更新。"},
	"ends":       {"This link works until", "本链接有效期至"},
	"private":    {"Whoever has this link sees this page. Share it with people you trust only.", "持有此链接的人都能看到本页面,请只分享给您信任的人。"},

	"stale":    {"We cannot look up the newest state right now. This is what we knew at %s, %s ago. The payment itself goes on or is safely stored; please do not pay again.", "暂时无法查询最新状态。以下是 %s(%s前)的信息。付款仍在处理或已安全保存,请勿重复支付。"},
	"seconds":  {"%d seconds", "%d 秒"},
	"minutes":  {"%d minutes", "%d 分钟"},
	"incident": {"There is a disturbance at the moment (%s). It may be why this payment takes longer.", "目前有一项服务异常(%s),这笔付款可能因此变慢。"},

	"gone-h":  {"This link is not valid, or not any more", "此链接无效或已过期"},
	"gone":    {"Please open the payment in your app, or ask support for a new link. Your payment does not depend on this link.", "请在应用内查看这笔付款,或向客服索取新链接。您的付款不受链接影响。"},
	"busy-h":  {"Too many looks at once", "访问过于频繁"},
	"busy":    {"Please load the page again in a minute. Your payment does not depend on this page.", "请一分钟后刷新页面。您的付款不受本页面影响。"},
	"blind-h": {"We cannot show your payment right now", "暂时无法显示您的付款"},
	"blind":   {"The system behind this page does not answer. What was accepted is stored and is not lost. Please do not pay again; load this page again in a minute.", "系统暂时没有响应。已受理的付款已保存,不会丢失。请勿重复支付,一分钟后刷新本页面。"},

	"safety-h": {"Please be careful", "安全提示"},
	"safety":   {"Support never asks for your password, a code, seed words or a key. Do not clear the app's data and do not delete the app to mend a payment.", "客服绝不会索要密码、验证码、助记词或私钥。请勿为处理付款而清除应用数据或卸载应用。"},
}

// payPageWord is one of them; a key that is missing is a bug, which the test of the
// page finds.
func payPageWord(lang, key string) string {
	w, ok := payPageWords[key]
	if !ok {
		panic("app: no words for " + key)
	}
	if lang == "zh" {
		return w[1]
	}
	return w[0]
}
