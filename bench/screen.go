package bench

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// words is the text of the screen in one language.
type words struct {
	title, onto, quiet, noisy                                                       string
	atLeast, atMost, ok, missed, aside, absent                                      string
	beside, same, cpu, cost, others, fsync                                          string
	forwarded, pgbench                                                              string
	recounted, problems, none                                                       string
	growth, period, relations, reads, scans, surge, recovered, late, soak, soakMore string
	names                                                                           map[string]string
}

var english = &words{
	title: "Moneta bench, profile %s, commit %s", onto: "%d cores (%s), %d MB, %s, PostgreSQL %s, everything durable and balance-checked",
	quiet:   "quiet machine (others used %.1f %%): the floors count",
	noisy:   "noisy machine (others used %.1f %%, cores %d): the ratio counts instead of the floors",
	atLeast: "at least %s", atMost: "at most %s", ok: "ok", missed: "MISSED", aside: "(not judged here)", absent: "not measured",
	beside:    "plain SQL, one transfer a transaction, %d connections, same run",
	pgbench:   "plain SQL by pgbench, one transfer a transaction; the ledger is %s times that",
	forwarded: "the same through a node that forwards to the leader",
	same:      "plain SQL that also keeps key, payment, balances and event; the ledger is %s times that",
	cpu:       "  By processor time alone, which noise changes little, the ledger is %s times plain SQL\n",
	cost:      "One payment of the ledger costs %s µs of Postgres, %s B of log, %s B of tables and indexes",
	fsync:     "The disk makes %s writes of 8 kB durable a second",
	others:    "Load average before: %s",
	growth:    "With %s payments stored (%s/s): %s sends a second; with none %s; %d accounts",
	period:    "  a checkpoint in each round of %s s; at this load the server's own settings make one every %s s",
	relations: "  %-24s %10s MB %8.1f B a payment",
	reads:     "  %-26s %8s requests  p50 %7s  p99 %7s  max %7s ms  %9s rows a request",
	scans:     ", %d SCANS OF A WHOLE TABLE",
	surge:     "Peak %s/s; offered %s/s for a while: %s/s accepted in time, %s/s told to come back, %s/s found no connection; p50 %s p99 %s ms",
	recovered: "As before %s s after the surge (p99 at half of the peak before it: %s ms)",
	late:      "Not seen to be as before after the surge (p99 at half of the peak before it: %s ms)",
	soak:      "Soak of %s s, %s payments: resident %s, then %s MB (most %s; %s MB an hour); heap %s, then %s MB",
	soakMore:  "  goroutines %s, then %s; open files %s, then %s; p99 of sends %s, then %s ms",
	recounted: "%s payments recounted from the rows: nothing lost, nothing doubled, all books agree",
	problems:  "What is wrong", none: "Everything that counts here holds.",
	names: map[string]string{
		"ledger_per_s": "internal sends through commit a second, 100,000 accounts", "ledger_hot_per_s": "the same, two accounts only",
		"api_single_per_s": "POST of one payment, 64 connections", "api_batch_per_s": "POST of 100 payments a request",
		"lifecycle_per_s": "payout accepted, sent, called back, succeeded", "accept_p99_ms": "ms, p99 at half of the single peak",
		"ledger_ratio":  "times plain SQL",
		"growth_ratio":  "sends a second with the payments stored to none stored, a checkpoint in each round",
		"reads_p99_ms":  "ms, the slowest kind of list or statement on the full ledger",
		"goodput_ratio": "accepted in time while ten times the peak is offered, to the peak",
		"recovery_s":    "s after that until every second is as before", "soak_rss_ratio": "resident memory of serve, last quarter to second",
	},
}

var chinese = &words{
	title: "Moneta 基准测试,档位 %s,提交 %s", onto: "%d 核(%s),%d MB,%s,PostgreSQL %s;全部持久化并校验余额",
	quiet:   "机器安静(其他进程占用 %.1f %%):按下限判定",
	noisy:   "机器嘈杂(其他进程占用 %.1f %%,核数 %d):改按比值判定",
	atLeast: "不低于 %s", atMost: "不高于 %s", ok: "通过", missed: "未达标", aside: "(此机器不判定)", absent: "未测量",
	beside:    "普通 SQL,每事务一笔转账,%d 个连接,同次运行",
	pgbench:   "由 pgbench 运行的普通 SQL,每事务一笔转账;账本为其 %s 倍",
	forwarded: "同上,经由转发给主节点的节点",
	same:      "普通 SQL,另存幂等键、支付、余额与事件;账本为其 %s 倍",
	cpu:       "  仅按处理器时间计(受噪声影响较小),账本为普通 SQL 的 %s 倍\n",
	cost:      "账本每笔支付耗用 Postgres %s 微秒,日志 %s 字节,表与索引 %s 字节",
	fsync:     "磁盘每秒持久化 %s 次 8 kB 写入",
	others:    "运行前平均负载:%s",
	growth:    "已存 %s 笔支付(写入 %s/秒):每秒转账 %s;空账本 %s;%d 个账户",
	period:    "  每轮 %s 秒内有一次检查点;在此负载下,服务器按自身设置每 %s 秒一次",
	relations: "  %-24s %10s MB,每笔支付 %8.1f 字节",
	reads:     "  %-26s %8s 次请求  p50 %7s  p99 %7s  最大 %7s 毫秒  每次请求 %9s 行",
	scans:     ",整表扫描 %d 次",
	surge:     "峰值 %s/秒;持续施加 %s/秒:及时受理 %s/秒,请稍后再来 %s/秒,无空闲连接 %s/秒;p50 %s p99 %s 毫秒",
	recovered: "冲击后 %s 秒恢复如前(冲击前半峰值 p99:%s 毫秒)",
	late:      "冲击后未见恢复如前(冲击前半峰值 p99:%s 毫秒)",
	soak:      "持续 %s 秒,%s 笔支付:常驻内存先 %s 后 %s MB(最高 %s;每小时 %s MB);堆先 %s 后 %s MB",
	soakMore:  "  协程先 %s 后 %s;打开文件先 %s 后 %s;转账 p99 先 %s 后 %s 毫秒",
	recounted: "已从原始行重新清点 %s 笔支付:无丢失、无重复,账簿全部一致",
	problems:  "问题", none: "所有判定项均已达标。",
	names: map[string]string{
		"ledger_per_s": "每秒经 commit 的内部转账,十万账户", "ledger_hot_per_s": "同上,仅两个账户",
		"api_single_per_s": "每请求一笔,64 个连接", "api_batch_per_s": "每请求 100 笔",
		"lifecycle_per_s": "出款:受理、发送、回调、成功", "accept_p99_ms": "毫秒,单笔峰值一半时的 p99",
		"ledger_ratio":  "倍于普通 SQL",
		"growth_ratio":  "已存大量支付与空账本的每秒转账之比,每轮含一次检查点",
		"reads_p99_ms":  "毫秒,满账本上最慢一类列表或对账单的 p99",
		"goodput_ratio": "十倍峰值负载下及时受理量与峰值之比",
		"recovery_s":    "秒,此后每秒恢复如前所需时间", "soak_rss_ratio": "serve 常驻内存,末四分之一与第二个四分之一之比",
	},
}

// WriteScreen writes the report for people, in Chinese when lang begins with
// "zh", otherwise in English.
func (r *Report) WriteScreen(w io.Writer, lang string) error {
	t := english
	if strings.HasPrefix(strings.ToLower(lang), "zh") {
		t = chinese
	}
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line(t.title, r.Profile, orDash(r.Commit))
	line(t.onto, r.Machine.Cores, r.Machine.CPU, r.Machine.MemoryMB, r.Machine.Filesystem, r.Machine.Postgres)
	if r.Noisy {
		line(t.noisy, 100*r.OthersCPUShare, r.Machine.Cores)
	} else {
		line(t.quiet, 100*r.OthersCPUShare)
	}
	line(t.others+"\n", r.Machine.LoadBefore)
	for _, f := range r.Floors {
		line("%s", t.floorLine(f))
	}
	if r.BaselineSQLPerS != nil {
		r.compared(t, line)
	}
	r.sized(t, line)
	line(t.fsync, shown(r.FsyncPerS))
	if len(r.Faults) == 0 {
		line(t.recounted, shown(float64(r.Recounted)))
	}
	if problems := r.Problems(); len(problems) > 0 {
		line("\n%s", t.problems)
		for _, p := range problems {
			line("  - %s", p)
		}
	} else {
		line("\n%s", t.none)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("bench: write report: %w", err)
	}
	return nil
}

// compared tells of plain SQL, and what a payment costs.
func (r *Report) compared(t *words, line func(format string, args ...any)) {
	line("  %-18s %10s  "+t.beside, "baseline_sql_per_s", number(r.BaselineSQLPerS), r.BaselineConnections)
	if r.PGBenchPerS != nil {
		line("  %-18s %10s  "+t.pgbench, "pgbench_per_s", number(r.PGBenchPerS), number(r.PGBenchRatio))
	}
	line("  %-18s %10s  "+t.same, "same_rows_per_s", number(r.SameRowsPerS), number(r.SameRowsRatio))
	line("  %-18s %10s  "+t.forwarded, "forwarded_per_s", number(r.ForwardedPerS))
	line(t.cpu, number(r.LedgerCPURatio))
	line(t.cost, number(r.PgCPU), number(r.WAL), number(r.Stored))
}

// sized tells of a ledger with much in it, of a surge and of a soak.
func (r *Report) sized(t *words, line func(format string, args ...any)) {
	if g := r.Growth; g != nil {
		line("\n"+t.growth, shown(float64(g.Stored)), shown(g.SeedPerS), number(g.FullPerS), number(g.EmptyPerS), g.Accounts)
		line(t.period, shown(g.RoundS), number(g.CheckpointS))
		for _, v := range g.Relations[:min(len(g.Relations), relationsShown)] {
			line(t.relations, v.Name, shown(float64(v.Bytes)/1e6), v.Each)
		}
	}
	if len(r.Reads) > 0 {
		line("")
	}
	for _, f := range r.Reads {
		text := fmt.Sprintf(t.reads, f.Name, shown(float64(f.Requests)), shown(f.Latency.P50), shown(f.Latency.P99), shown(f.Latency.Max), shown(f.Rows))
		if f.Scans > 0 {
			text += fmt.Sprintf(t.scans, f.Scans)
		}
		line("%s", text)
	}
	if s := r.Surge; s != nil {
		line("\n"+t.surge, shown(s.PeakPerS), shown(s.OfferedPerS), shown(s.GoodputPerS), shown(s.ShedPerS), shown(s.TurnedAwayPerS),
			shown(s.Latency.P50), shown(s.Latency.P99))
		if s.RecoveryS != nil {
			line(t.recovered, shown(*s.RecoveryS), shown(s.CalmP99))
		} else {
			line(t.late, shown(s.CalmP99))
		}
	}
	if s := r.Soak; s != nil {
		line("\n"+t.soak, shown(s.Seconds), shown(float64(s.Payments)), shown(s.RSSEarly), shown(s.RSSLate), shown(s.RSSMost),
			strconv.FormatFloat(s.RSSSlope, 'f', 1, 64), shown(s.HeapEarly), shown(s.HeapLate))
		line(t.soakMore, shown(s.GoroutinesEarly), shown(s.GoroutinesLate), shown(s.FilesEarly), shown(s.FilesLate), shown(s.P99Early), shown(s.P99Late))
	}
	line("")
}

// relationsShown is how many tables and indexes the screen has room for.
const relationsShown = 8

func (t *words) floorLine(f Floor) string {
	mark, bound := t.missed, fmt.Sprintf(t.atLeast, shown(f.Floor))
	if f.AtMost {
		bound = fmt.Sprintf(t.atMost, shown(f.Floor))
	}
	switch {
	case f.Value == nil:
		mark = t.absent
	case f.OK:
		mark = t.ok
	}
	if !f.Counts {
		mark += " " + t.aside
	}
	return fmt.Sprintf("  %-18s %10s  %s, %s: %s", f.Name, number(f.Value), bound, mark, t.names[f.Name])
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func number(v *float64) string {
	if v == nil {
		return "-"
	}
	return shown(*v)
}

// shown writes small figures with places and large ones in groups of three.
func shown(v float64) string {
	switch {
	case v == float64(int64(v)):
	case v < 2:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 100:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	text := strconv.FormatInt(int64(v+0.5), 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
