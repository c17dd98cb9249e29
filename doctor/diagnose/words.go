package diagnose

import (
	"fmt"
	"strings"

	"github.com/moneta-pay/moneta/doctor"
)

// sentence is what a piece of evidence says, by its place in the catalogue: machines
// read the code, people the sentence in their language.
type sentence struct {
	code string
	args []string
}

func say(code string, args ...string) sentence { return sentence{code, args} }

func percent(share float64) string { return fmt.Sprintf("%.0f %%", 100*share) }

// words is the catalogue: English, Chinese.
var words = map[string][2]string{
	"symptom":            {"makes such a symptom less often than other mechanisms do", "比起其他机制,较少造成这种症状"},
	"own-work":           {"its own work explains %s of the excess", "其自身的额外工作解释了超出部分的 %s"},
	"work-of-others":     {"it is slower, and what it calls explains that, or its callers do not wait for it", "它变慢了,但原因在它所调用的环节,或调用方并不等待它"},
	"own-failures":       {"its own failures explain %s of the excess", "其自身的失败解释了超出部分的 %s"},
	"failures-of-others": {"it fails more often, and what it calls explains that", "它失败变多,但原因在它所调用的环节"},
	"never-asked":        {"nothing was asked of it, before or now", "之前和现在都没有对它的请求"},
	"idle":               {"it is idle: nothing comes to it any more", "它处于空闲:已没有请求到达"},
	"nothing-to-do":      {"it had nothing to do that could be slow or fail", "它没有可能变慢或失败的工作"},
	"never-told":         {"it is not measured, and %s of the excess may be hidden in it", "它没有被测量,超出部分的 %s 可能隐藏在其中"},
	"hidden":             {"it has stopped telling, and %s of the excess may be hidden in it", "它已不再上报,超出部分的 %s 可能隐藏在其中"},
	"starves":            {"it starves: less comes to it, and what comes is served", "它缺少输入:到达变少,而到达的都得到处理"},
	"flows":              {"work leaves it as fast as it comes", "工作进入多快就离开多快"},
	"stays":              {"%s of the work that comes stays, and what follows it starves or waits", "到达的工作有 %s 滞留,其后的环节缺少输入或在等待"},
	"unanswered":         {"it answers %s less, and its callers have an excess that nothing else explains", "它的应答减少了 %s,而其调用方的超出部分没有其他解释"},
	"wire":               {"the time between its callers and itself explains %s of the excess", "它与调用方之间的时间解释了超出部分的 %s"},
	"wire-hidden":        {"what its callers add, and could be the wire to it, is %s of the excess", "调用方增加的、可能属于到它的网络的部分,占超出部分的 %s"},
	"calls-as-before":    {"it calls as often for each request as before", "每个请求的调用次数与以前相同"},
	"calls-more":         {"for each request it calls %s %s times as often as before", "每个请求调用 %s 的次数是以前的 %s 倍"},
	"serves":             {"it serves as before", "它照常处理请求"},
	"more-load":          {"more is asked of it than usual", "对它的请求多于平时"},
	"usual-load":         {"no more is asked of it than usual", "对它的请求不多于平时"},
	"log-errors":         {"its log tells of errors as never before", "其日志出现了前所未有的错误"},
	"inside-odd":         {"its %s is %s usual spreads above its usual value", "其 %s 高出平时值 %s 个常态离散度"},
	"inside-usual":       {"its %s is as usual", "其 %s 与平时相同"},
	"inside-other":       {"something inside it is odd: its %s", "其内部有异常:%s"},
	"missing":            {"%s of its %s readings are missing or stale", "它的读数缺失或过期:%s 个,共 %s 个"},
	"alarms-left":        {"%s of the alarms that page cannot come from it", "有 %s 的呼叫告警不可能由它引起"},
	"alarms-lane":        {"%s of the alarms of lanes are of the lane to it", "通道告警中有 %s 指向它"},
	"alarms-one-lane":    {"only one lane has an alarm, and work flows through the %s others", "只有一条通道告警,其余 %s 条照常流动"},
	"apart":              {"the hop with the symptom does not wait for it", "出现症状的环节并不等待它"},
	"alarm-stuck":        {"%s: the oldest work has been there for %s and could have left; of late none stayed longer than %s", "%s:最老的工作已停留 %s,本可离开;近期最长停留 %s"},
	"alarm-standstill":   {"%s: nothing has left for %s while work waits; that is %s of its usual gaps", "%s:有工作等待,但已 %s 无任何离开;相当于平时间隔的 %s 倍"},
	"alarm-behind":       {"%s: payments of account %s have stayed, one after another, for %s: %s of them, while %s of others that came later left", "%s:账户 %s 的支付逐笔滞留已 %s:共 %s 笔,而他人后到的 %s 笔已离开"},
	"alarm-doubled":      {"%s: %s of the payments repeat another of a moment ago under a new key", "%s:%s 的支付换新键重复了刚才的一笔"},
	"alarm-unknown":      {"%s: of %s payments nobody knows the outcome, and more come than become known", "%s:%s 笔支付结果未知,且新增快于查明"},
	"alarm-orphans":      {"%s: %s open payments have neither a timer to come nor a case", "%s:%s 笔未完成支付既无后续定时器也无工单"},
	"alarm-overdue":      {"%s: %s payments are past their deadline", "%s:%s 笔支付已超过期限"},
	"alarm-imbalance":    {"%s: what came less what left is not what is there; off by %s", "%s:进入减去离开不等于现存;相差 %s"},
	"alarm-money":        {"%s: money figures that do not agree: %s", "%s:不一致的资金数据 %s 项"},
	"alarm-breaks":       {"%s: new differences that nobody has taken up: %s", "%s:新出现且无人处理的差异 %s 项"},
	"alarm-quarantine":   {"%s: %s facts could not be committed even alone", "%s:%s 个事实单独也无法提交"},
	"alarm-loop":         {"%s has had work for %s and made no progress", "%s 有工作却已 %s 无进展"},
	"alarm-canary":       {"%s: no canary payment has ended well for %s", "%s:已 %s 没有探测支付成功结束"},
	"alarm-down":         {"%s does not answer", "%s 无应答"},
	"alarm-probe":        {"%s: a call that always gets an answer gets none", "%s:一向有应答的调用没有应答"},
	"alarm-unready":      {"%s: it answers, and says that it is not ready (HTTP %s)", "%s:有应答,但自述未就绪(HTTP %s)"},
	"alarm-restarts":     {"%s has begun anew %s times of late", "%s 近期重新开始 %s 次"},
	"alarm-blocked":      {"%s: one session has kept others waiting, for %s", "%s:一个会话让其他会话等待,已 %s"},
	"alarm-no-writes":    {"%s takes no writes", "%s 不接受写入"},
	"alarm-fails":        {"%s: %s of the requests fail with an error of ours", "%s:%s 的请求因我方错误失败"},
	"alarm-slow":         {"%s: it takes %s on average, usual is %s", "%s:平均耗时 %s,平时为 %s"},
	"alarm-reader":       {"%s has not moved on in the event log for %s, and is %s events behind", "%s 在事件日志中已 %s 未前进,落后 %s 个事件"},
	"alarm-beat":         {"%s: its heart has not beaten for %s", "%s:心跳已停止 %s"},
	"alarm-unheard":      {"%s: the collector %s has had no answer for %s", "%s:采集器 %s 已 %s 未得到应答"},
	"alarm-busy":         {"%s: all of its places are taken, and more comes than leaves", "%s:容量已全部占用,进入多于离开"},
	"scope-uncounted":    {"nobody counted who is affected", "没有统计受影响者"},
	"scope-no-failures":  {"no more requests fail than usual", "失败的请求不多于平时"},
	"scope-share-fails":  {"a share of the requests fails; no dimension was counted that would say which", "部分请求失败;没有按维度统计,无法说明是哪些"},
	"scope-all-fail":     {"nearly every request fails", "几乎所有请求都失败"},
	"scope-too-few":      {"%s events are too few, %s are needed", "事件数 %s 过少,至少需要 %s"},
	"scope-no-quantile":  {"no quantile of the latency moved", "延迟的各分位数均无变化"},
	"scope-median":       {"the median moved: half of the requests or more are slower", "中位数变化:半数以上请求变慢"},
	"scope-tail":         {"only the higher quantiles moved; no dimension was counted that would say whose requests", "仅高分位数变化;没有按维度统计,无法说明是谁的请求"},
	"scope-nobody":       {"nobody is affected", "无人受影响"},
	"scope-one":          {"all that are affected have %s %s", "所有受影响者的 %s 均为 %s"},
	"scope-cohort":       {"%s %s is affected more than the rest", "%s 为 %s 的受影响程度高于其余"},
	"scope-canaries":     {"our own payment fails on every path", "我方的探测付款在所有路径上都失败"},
	"scope-canary-paths": {"our own payment fails on %s, and ends well on the other paths", "我方的探测付款在 %s 上失败,其他路径正常"},
	"scope-on-the-road":  {"every payment goes through %s", "每笔付款都经过 %s"},
	"no-before":          {"the watch began in the middle of it: what is usual is not known, and what only rose cannot be told", "监视始于故障之中:不知道平时如何,仅凭升高无法判断"},
	"scope-those-items":  {"all flows; it concerns those payments that the alarm counts, and no others", "其余照常;只涉及告警所计的那些支付"},
	"scope-its-channel":  {"those that go by %s", "经由 %s 的付款"},
	"scope-everyone":     {"no value of any dimension stands out", "没有任何维度的取值突出"},
	"ask-own-time":       {"take a sample of traces: does it spend the time itself?", "抽取一批链路样本:时间是否耗在它自身?"},
	"ask-runtime":        {"look into the process: do requests wait for a connection or a worker?", "查看进程内部:请求是否在等待连接或工作线程?"},
	"ask-garbage":        {"read the share of the time spent collecting garbage, and the memory in use: is it high?", "读取垃圾回收的时间占比与内存占用:是否偏高?"},
	"ask-error-log":      {"group its error lines by form: is there one that is new?", "把错误日志按样式归类:是否有新出现的?"},
	"ask-alive":          {"read its start time and health: has it stopped or started again?", "读取启动时间与健康状态:它是否停止或重启过?"},
	"ask-blockers":       {"read the tree of blocked sessions: does one of them hold up others?", "读取会话阻塞树:是否有会话挡住其他会话?"},
	"ask-statements":     {"compare the slowest statements with yesterday's: is one of them new or slower?", "把最慢的语句与昨天比较:是否有新的或变慢的?"},
	"ask-disk-time":      {"read the duration of log syncs and the I/O waits: are they up?", "读取日志刷盘时长与 I/O 等待:是否升高?"},
	"ask-connections":    {"count the connections by state: are all of them in use?", "按状态统计连接:是否已全部占用?"},
	"ask-oldest":         {"read the age of the oldest item and the last departure, by partition: does work wait without leaving?", "按分区读取最老项目的年龄与最近一次离开:是否有积压而不离开?"},
	"ask-dead-letters":   {"read the newest dead letters: is there an error that repeats?", "读取最新的死信:是否有重复出现的错误?"},
	"ask-synthetic":      {"make one harmless call and time DNS, TCP, TLS and first byte apart: is it the way there?", "发起一次无害调用,分别计时 DNS、TCP、TLS 与首字节:是否慢在途中?"},
	"ask-status-mix":     {"count its answers by status: does it refuse or fail?", "按状态统计它的应答:是否在拒绝或失败?"},
	"ask-load":           {"compare the requests with usual, by caller: is more asked of it?", "按调用方把请求量与平时比较:对它的请求是否变多?"},
	"ask-versions":       {"count failures by app version and network: is it the device's side?", "按应用版本与网络统计失败:是否在设备一侧?"},
}

// Say gives the sentence of a code in lang, en or zh; an unknown code is its own
// sentence, so that an answer of a newer build can be shown by an older one.
func Say(lang, code string, args []string) string {
	w, ok := words[code]
	if !ok {
		return code
	}
	text := w[0]
	if lang == "zh" {
		text = w[1]
	}
	in := make([]any, len(args))
	for i := range args {
		in[i] = args[i]
	}
	if lang == "zh" && strings.HasPrefix(code, "alarm-") && len(args) > 0 {
		// The hop comes first, with its lane behind it.
		hop, lane, _ := strings.Cut(args[0], " ")
		in[0] = strings.TrimSpace(doctor.Called(hop).ZH + " " + lane)
	}
	return fmt.Sprintf(text, in...)
}

// LineSays gives the sentence of a line of evidence in lang: a catalogue's as it stands,
// the engine's by its code.
func LineSays(lang string, l *doctor.Line) string {
	if _, ok := words[l.Code]; ok {
		return Say(lang, l.Code, l.Args)
	}
	if lang == "zh" && l.SaysZH != "" {
		return l.SaysZH
	}
	return l.Says
}

// CheckAsks gives the question of a check in lang.
func CheckAsks(lang string, c *doctor.Check) string {
	if _, ok := words["ask-"+c.ID]; ok && c.AskZH == "" {
		return Say(lang, "ask-"+c.ID, nil)
	}
	if lang == "zh" && c.AskZH != "" {
		return c.AskZH
	}
	return c.Ask
}

// AlarmSays gives the sentence of an alarm in lang.
func AlarmSays(lang string, a *doctor.Alarm) string {
	if _, ok := words[a.Code]; ok {
		return Say(lang, a.Code, a.Args)
	}
	return a.Says
}
