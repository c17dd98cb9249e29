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
	title, onto, quiet, noisy                  string
	atLeast, atMost, ok, missed, aside, absent string
	beside, same, cpu, cost, others, fsync     string
	forwarded                                  string
	recounted, problems, none                  string
	names                                      map[string]string
}

var english = &words{
	title: "Moneta bench, profile %s, commit %s", onto: "%d cores (%s), %d MB, %s, PostgreSQL %s, everything durable and balance-checked",
	quiet:   "quiet machine (others used %.1f %%): the floors count",
	noisy:   "noisy machine (others used %.1f %%, cores %d): the ratio counts instead of the floors",
	atLeast: "at least %s", atMost: "at most %s", ok: "ok", missed: "MISSED", aside: "(not judged here)", absent: "not measured",
	beside:    "plain SQL, one transfer a transaction, %d connections, same run",
	forwarded: "the same through a node that forwards to the leader",
	same:      "plain SQL that also keeps key, payment, balances and event; the ledger is %s times that",
	cpu:       "  By processor time alone, which noise changes little, the ledger is %s times plain SQL\n",
	cost:      "One payment of the ledger costs %s µs of Postgres, %s B of log, %s B of tables and indexes",
	fsync:     "The disk makes %s writes of 8 kB durable a second",
	others:    "Load average before: %s",
	recounted: "%s payments recounted from the rows: nothing lost, nothing doubled, all books agree",
	problems:  "What is wrong", none: "Everything that counts here holds.",
	names: map[string]string{
		"ledger_per_s": "internal sends through commit a second, 100,000 accounts", "ledger_hot_per_s": "the same, two accounts only",
		"api_single_per_s": "POST of one payment, 64 connections", "api_batch_per_s": "POST of 100 payments a request",
		"lifecycle_per_s": "payout accepted, sent, called back, succeeded", "accept_p99_ms": "ms, p99 at half of the single peak",
		"ledger_ratio": "times plain SQL",
	},
}

var chinese = &words{
	title: "Moneta 基准测试,档位 %s,提交 %s", onto: "%d 核(%s),%d MB,%s,PostgreSQL %s;全部持久化并校验余额",
	quiet:   "机器安静(其他进程占用 %.1f %%):按下限判定",
	noisy:   "机器嘈杂(其他进程占用 %.1f %%,核数 %d):改按比值判定",
	atLeast: "不低于 %s", atMost: "不高于 %s", ok: "通过", missed: "未达标", aside: "(此机器不判定)", absent: "未测量",
	beside:    "普通 SQL,每事务一笔转账,%d 个连接,同次运行",
	forwarded: "同上,经由转发给主节点的节点",
	same:      "普通 SQL,另存幂等键、支付、余额与事件;账本为其 %s 倍",
	cpu:       "  仅按处理器时间计(受噪声影响较小),账本为普通 SQL 的 %s 倍\n",
	cost:      "账本每笔支付耗用 Postgres %s 微秒,日志 %s 字节,表与索引 %s 字节",
	fsync:     "磁盘每秒持久化 %s 次 8 kB 写入",
	others:    "运行前平均负载:%s",
	recounted: "已从原始行重新清点 %s 笔支付:无丢失、无重复,账簿全部一致",
	problems:  "问题", none: "所有判定项均已达标。",
	names: map[string]string{
		"ledger_per_s": "每秒经 commit 的内部转账,十万账户", "ledger_hot_per_s": "同上,仅两个账户",
		"api_single_per_s": "每请求一笔,64 个连接", "api_batch_per_s": "每请求 100 笔",
		"lifecycle_per_s": "出款:受理、发送、回调、成功", "accept_p99_ms": "毫秒,单笔峰值一半时的 p99",
		"ledger_ratio": "倍于普通 SQL",
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
	line("  %-18s %10s  "+t.beside, "baseline_sql_per_s", number(r.BaselineSQLPerS), r.BaselineConnections)
	line("  %-18s %10s  "+t.same, "same_rows_per_s", number(r.SameRowsPerS), number(r.SameRowsRatio))
	line("  %-18s %10s  "+t.forwarded, "forwarded_per_s", number(r.ForwardedPerS))
	line(t.cpu, number(r.LedgerCPURatio))
	line(t.cost, number(r.PgCPU), number(r.WAL), number(r.Stored))
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

// shown writes small figures with a place and large ones in groups of three.
func shown(v float64) string {
	if v < 100 && v != float64(int64(v)) {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	text := strconv.FormatInt(int64(v+0.5), 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
