package app

import "fmt"

// words is the catalogue of what this package says to people: English, Chinese.
var words = map[string][2]string{
	"up-after":          {"up after %.1f s: Postgres, the pay plane on %s, 13 banks on %s", "%.1f 秒后就绪:Postgres、支付平面 %s、13 家银行 %s"},
	"misbehave":         {"bank %s executes payouts and loses its replies; bank %s sends every callback twice, 2 to 3 s late", "银行 %s 执行付款但丢失应答;银行 %s 的回调全部重复发送并延迟 2 至 3 秒"},
	"killed":            {"killed serve (pid %d) with -9 while %d attempts were on the wire", "以 -9 终止 serve(进程 %d),当时有 %d 笔发送正在途中"},
	"healed":            {"healed; waiting until nothing is open", "故障已排除;等待所有支付到达终态"},
	"look":              {"\nWhere to look", "\n查看入口"},
	"look-api":          {"  API       %s/docs   document %s/openapi.json\n", "  接口      %s/docs   文档 %s/openapi.json\n"},
	"look-banks":        {"  banks     %s        their own books and behaviours\n", "  银行      %s        各自的账簿与行为设置\n"},
	"look-metrics":      {"  metrics   %s/metrics\n", "  指标      %s/metrics\n"},
	"look-logs":         {"  logs      %s\n", "  日志      %s\n"},
	"took":              {"Everything, from nothing to this proof, took %.0f s.\n", "从零到此证明共用时 %.0f 秒。\n"},
	"keep":              {"Everything keeps running; Ctrl-C stops it.", "全部保持运行;按 Ctrl-C 停止。"},
	"keep-hint":         {"moneta demo --keep leaves everything running, to look around: the API, the banks' own books, metrics.", "moneta demo --keep 会保持全部运行,便于查看接口、银行账簿与指标。"},
	"kept":              {"The data is kept in %s.\n", "数据保留在 %s。\n"},
	"too-few-kills":     {"the server was killed %d times, not %d: nothing was in flight when it should have been", "服务器被终止 %d 次,而非 %d 次:应有在途发送时却没有"},
	"money-off":         {"a money figure is off: %v", "资金数据不符:%v"},
	"is-up":             {"\nMoneta is up after %.1f s%s\n", "\nMoneta 已就绪,用时 %.1f 秒%s\n"},
	"adopted":           {" (adopted the running Postgres)", "(接管了正在运行的 Postgres)"},
	"settings":          {"PostgreSQL %s, settings fit for this machine:\n", "PostgreSQL %s,适合本机的设置:\n"},
	"up-api":            {"  API      %s/docs   document %s/openapi.json\n", "  接口     %s/docs   文档 %s/openapi.json\n"},
	"up-sandbox":        {"  sandbox  %s        13 banks with books of their own\n", "  沙箱     %s        13 家银行,各有账簿\n"},
	"up-files":          {"  keys     %s\n  logs     %s\n", "  密钥     %s\n  日志     %s\n"},
	"up-archive":        {"  archive  %s   %d segments, %d MB, from %s to %s\n", "  归档     %s   %d 个日志段,%d MB,从 %s 到 %s\n"},
	"backed-up":         {"Backup verified: %s, %d MB, at %s (log position %s)\n", "备份已校验:%s,%d MB,时间 %s(日志位置 %s)\n"},
	"backup-asset":      {"  %-6s %d accounts, %d transfers, hash %s\n", "  %-6s %d 个账户,%d 笔转账,哈希 %s\n"},
	"no-archive":        {"The log is not archived: this backup restores to its own moment only. Start up with --archive for any second.\n", "日志未归档:此备份只能恢复到其自身时刻。使用 up --archive 可恢复到任意一秒。\n"},
	"restored":          {"Restored up to %s into %s: %d payments, %d transfers, %d accounts\n", "已恢复至 %s,位于 %s:%d 笔支付、%d 笔转账、%d 个账户\n"},
	"recounted":         {"Recounted: every asset sums to zero, every book's newest row is the sum of its postings, no id is missing, and all that the backup had is here.\n", "已重新核算:每种资产合计为零,每本账簿的最新一行等于其分录之和,编号无缺,备份中的全部内容均在。\n"},
	"stays-paused":      {"Payouts wait: start `moneta up --data %s`. They go again when the gap finder is clean, or after POST /v1/dispatch/resume.\n", "付款暂停:请运行 `moneta up --data %s`。缺口检查无误后,或调用 POST /v1/dispatch/resume 后恢复。\n"},
	"restore-off":       {"the restored ledger does not add up: %s", "恢复的账本不符:%s"},
	"case-none":         {"No such case.\n", "没有符合条件的工单。\n"},
	"case-head":         {"NUMBER\tKIND\tOWNER\tDUE\tPAYMENT\tWHERE IT STOOD\n", "编号\t类型\t负责人\t期限\t付款\t建立时所在位置\n"},
	"case-more":         {"There are more: --after %s\n", "还有更多:--after %s\n"},
	"case-late":         {"%s LATE", "%s 逾期"},
	"case-owner":        {"owner     ", "负责人  "},
	"case-due":          {"due       ", "期限    "},
	"case-payment":      {"payment   ", "付款    "},
	"case-found":        {"found     ", "发现    "},
	"case-since":        {"since     ", "自      "},
	"case-checked":      {"asked at  ", "上次询问"},
	"case-cause":        {"cause     ", "原因    "},
	"case-origin":       {"origin    ", "来源    "},
	"case-previous":     {"before    ", "前一工单"},
	"case-told":         {"told      ", "已告知  "},
	"case-client":       {"device    ", "设备    "},
	"case-resolution":   {"resolution", "结论    "},
	"case-to-holder":    {"(to the holder) ", "(致持有人)"},
	"channel-head":      {"CHANNEL\tADAPTER\tDEDUP\tMAY RESEND\tTESTED\n", "渠道\t适配器\t去重\t可重发\t测试时间\n"},
	"channel-one":       {"%s   adapter %s   %s   test endpoint %s\n", "%s   适配器 %s   %s   测试端点 %s\n"},
	"channel-untested":  {"Nothing is proven yet: moneta channel test --channel %s\n", "尚无任何证明:moneta channel test --channel %s\n"},
	"channel-proofs":    {"\n  TESTED\tRESULT\tON\tUNTIL\tSEEN\n", "\n  测试项\t结果\t日期\t有效至\t所见\n"},
	"channel-resend":    {"\n  An unknown attempt may be sent again under its reference: %s\n", "\n  结果未知的发送可用同一参考号重发:%s\n"},
	"channel-testing":   {"Testing %s at %s; orders are made there\n", "正在测试 %s,端点 %s;将在该端点下单\n"},
	"channel-no-test":   {"channel %s has no test_url: the test makes orders and must not run where real money moves", "渠道 %s 没有 test_url:测试会下单,不得在真实资金端点运行"},
	"channel-holds":     {"%s keeps what it claims; an unknown attempt may be sent again under its reference.\n", "%s 信守其声明;结果未知的发送可用同一参考号重发。\n"},
	"channel-no-resend": {"%s keeps what it claims; de-duplication is not proven, so nothing is sent again.\n", "%s 信守其声明;去重未获证明,因此不会重发。\n"},
	"channel-lies":      {"%s does not keep its contract: %s", "%s 未信守合约:%s"},
	"proof-proven":      {"proven", "已证明"},
	"proof-failed":      {"FAILED", "失败"},
	"proof-not_claimed": {"not claimed", "未声明"},
	"proof-not_shown":   {"not shown", "未能验证"},
	"proof-claimed":     {"claimed", "仅声明"},
	"yes":               {"yes", "是"},
	"no":                {"no", "否"},
	"never":             {"never", "从未"},
	"up-stop":           {"Ctrl-C stops everything cleanly.\n", "按 Ctrl-C 可干净地停止全部。\n"},
	"stopping":          {"\nstopping: what is queued is answered first\n", "\n正在停止:先答复已排队的请求\n"},
	"postgres-moved":    {"Postgres runs as an unprivileged user that cannot reach %s: its data is in %s\n", "Postgres 以非特权用户运行,无法访问 %s:数据位于 %s\n"},

	// People and approvals.
	"enrolled":          {"That line is for whoever adds %s. The secret half is in %s, for you alone.\n", "以上一行请交给添加 %s 的人。私密部分已存入 %s,仅供您本人。\n"},
	"enrolled-codes":    {"\nGive this to your authenticator, now; it is not shown again:\n\n%s\n", "\n请立即录入验证器;以下内容不再显示:\n\n%s\n"},
	"operator-added":    {"%s is an operator with the role %s\n", "%s 已成为运营人员,角色 %s\n"},
	"operator-disabled": {"%s is disabled, on every node within a second\n", "%s 已停用,一秒内在所有节点生效\n"},
	"rotated":           {"%s has a new key, in %s; the old one has stopped\n", "%s 已更换密钥,存于 %s;旧密钥已失效\n"},
	"signed-in":         {"%s is signed in until %s\n", "%s 已登录,有效至 %s\n"},
	"proposed-now":      {"\nNothing has happened yet. Another person approves it: moneta approve yes %s\n", "\n尚未执行任何操作。请另一人批准:moneta approve yes %s\n"},
	"approved-now":      {"\nApproved; nothing has happened yet. To carry it out, once: moneta approve run %s\n", "\n已批准;尚未执行。执行(仅一次):moneta approve run %s\n"},
	"ask-approve":       {"\nApprove exactly this? [y/N] ", "\n确认批准以上操作?[y/N] "},
	"ask-reject":        {"\nReject this, for good? [y/N] ", "\n确认永久驳回?[y/N] "},
	"ask-withdraw":      {"\nTake this back? [y/N] ", "\n确认撤回?[y/N] "},
	"ask-execute":       {"\nCarry out exactly this, now? [y/N] ", "\n确认立即执行以上操作?[y/N] "},
	"left-alone":        {"left as it is", "未作更改"},
	"appr-id":           {"approval", "审批"},
	"appr-kind":         {"kind", "类型"},
	"appr-reason":       {"reason", "理由"},
	"appr-maker":        {"proposed by", "提出人"},
	"appr-expires":      {"expires", "到期"},
	"appr-hash":         {"hash", "哈希"},
	"appr-state":        {"state", "状态"},
	"appr-checker":      {"decided by", "审批人"},
	"appr-note":         {"note", "备注"},
	"appr-used":         {"carried out by", "执行人"},
	"appr-outcome":      {"outcome", "结果"},
}

// say fills in the text of a key in lang, en or zh.
func say(lang, key string, args ...any) string {
	w, ok := words[key]
	if !ok {
		panic("app: no words for " + key)
	}
	text := w[0]
	if lang == "zh" {
		text = w[1]
	}
	return fmt.Sprintf(text, args...)
}
