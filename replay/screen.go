package replay

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/money"
)

// screenListMax is how many entries of a list the screen shows; the JSON report
// has them all.
const screenListMax = 10

// words is the text of the screen in one language.
type words struct {
	title, ok, notOK, more, unknown, none                                     string
	rows, outcome, outside, balances, server, speed                           string
	succeeded, failedN, openN, unsentN, badN                                  string
	lostN, doubledN, match, ledger, yes, no                                   string
	accounts, exact, within, largest, breaks, unknownResolved, dupCallbacks   string
	kills, unexplained, perSecond, accept, final, wall, retries               string
	cutShort, lost, doubled, wrong, stray, foreign, notZero, failed, open     string
	unsent, badRows, accountBreaks, unjudged, unanswered, keyReused, problems string

	stages                    map[Stage]string
	rate, left, repeats, fail string
}

var english = &words{
	title: "Replay of %s: %s payments on %s accounts", ok: "EVERYTHING FITS", notOK: "NOT EVERYTHING FITS",
	more: "… and %d more in the JSON report", unknown: "not told", none: "none",
	rows: "Payments", outcome: "Outcome", outside: "Outside books", balances: "Bank's balances", server: "Server", speed: "Speed",
	succeeded: "succeeded", failedN: "failed", openN: "open", unsentN: "held back", badN: "bad rows",
	lostN: "lost", doubledN: "doubled", match: "banks' books match the file", ledger: "ledger sums to zero", yes: "yes", no: "NO",
	accounts: "accounts", exact: "exact", within: "within %s", largest: "largest difference",
	breaks: "open breaks", unknownResolved: "unknown, resolved", dupCallbacks: "duplicate callbacks",
	kills: "server killed", unexplained: "longest unexplained (s)", perSecond: "payments per second",
	accept: "accepted in ms (p50 / p99)", final: "final in ms (p99)", wall: "whole run (s)", retries: "calls repeated",
	problems:      "What does not fit",
	cutShort:      "the run was cut short: %s",
	lost:          "%d rows should have moved money at a bank, and the bank's books hold nothing",
	doubled:       "%d rows moved money more than once in the banks' books",
	wrong:         "%d rows moved another amount, or the other way, or at another bank",
	stray:         "%d effects at banks belong to rows that should touch no bank",
	foreign:       "%d effects at banks belong to no row of the file",
	notZero:       "the ledger does not sum to zero",
	failed:        "%d payments failed or were refused",
	open:          "%d payments are still open",
	unsent:        "%d rows were held back behind an open payment of the same account",
	badRows:       "%d records of the file do not fit the mapping",
	accountBreaks: "%d accounts do not stand where the bank recorded them",
	unjudged:      "%d accounts have days without a recorded balance",
	unanswered:    "the server could not be asked: %s",
	keyReused:     "idempotency keys were already used for other payments: this server has replayed another version of the file; start with an empty one",
	stages: map[Stage]string{
		StagePlan: "reading the file", StageAccounts: "creating accounts", StagePayments: "sending payments",
		StageFinal: "waiting for final answers", StageBalances: "comparing balances", StageBooks: "comparing the banks' books",
	},
	rate: "%s/s", left: "%s left", repeats: "%s repeated", fail: "%s failed",
}

var chinese = &words{
	title: "回放 %s:%s 笔支付,%s 个账户", ok: "全部吻合", notOK: "存在不符",
	more: "……另有 %d 条,见 JSON 报告", unknown: "未提供", none: "无",
	rows: "支付", outcome: "结果", outside: "外部账簿", balances: "银行余额", server: "服务端", speed: "速度",
	succeeded: "成功", failedN: "失败", openN: "未完成", unsentN: "暂缓", badN: "无法识别的行",
	lostN: "丢失", doubledN: "重复", match: "银行账簿与文件一致", ledger: "总账合计为零", yes: "是", no: "否",
	accounts: "账户", exact: "完全一致", within: "差额不超过 %s", largest: "最大差额",
	breaks: "未结对账差异", unknownResolved: "未知状态已查清", dupCallbacks: "重复回调",
	kills: "服务被强制终止次数", unexplained: "最长无解释时间(秒)", perSecond: "每秒支付数",
	accept: "受理耗时毫秒(p50 / p99)", final: "终态耗时毫秒(p99)", wall: "总用时(秒)", retries: "重试调用",
	problems:      "不符之处",
	cutShort:      "回放中断:%s",
	lost:          "%d 行本应在银行动账,但银行账簿中没有记录",
	doubled:       "%d 行在银行账簿中动账超过一次",
	wrong:         "%d 行的金额、方向或银行与文件不符",
	stray:         "%d 笔银行动账对应的行本不应涉及银行",
	foreign:       "%d 笔银行动账不属于文件中的任何一行",
	notZero:       "总账合计不为零",
	failed:        "%d 笔支付失败或被拒绝",
	open:          "%d 笔支付尚未完成",
	unsent:        "%d 行因同一账户前面的支付未完成而暂缓",
	badRows:       "文件中有 %d 条记录不符合映射",
	accountBreaks: "%d 个账户与银行记录的余额不符",
	unjudged:      "%d 个账户有未记录余额的日期",
	unanswered:    "无法向服务端查询:%s",
	keyReused:     "幂等键已用于其他支付:该服务端曾回放过此文件的另一版本,请使用全新的服务端",
	stages: map[Stage]string{
		StagePlan: "读取文件", StageAccounts: "创建账户", StagePayments: "发送支付",
		StageFinal: "等待终态", StageBalances: "核对余额", StageBooks: "核对银行账簿",
	},
	rate: "%s/秒", left: "剩余 %s", repeats: "重试 %s", fail: "失败 %s",
}

func wordsOf(lang string) *words {
	if strings.HasPrefix(strings.ToLower(lang), "zh") {
		return chinese
	}
	return english
}

// WriteScreen writes the report for people, in Chinese when lang begins with
// "zh", otherwise in English.
func (r *Report) WriteScreen(w io.Writer, lang string) error {
	t := wordsOf(lang)
	s := &screen{words: t}
	s.line(t.title, r.Mapping, group(r.Payments), group(r.Accounts))
	s.outcome(r)
	s.books(r)
	s.server(r)
	s.speed(r)
	s.verdict(r)
	if _, err := w.Write(s.out.Bytes()); err != nil {
		return fmt.Errorf("replay: write report: %w", err)
	}
	return nil
}

type screen struct {
	*words
	out bytes.Buffer
}

func (s *screen) line(format string, args ...any) { fmt.Fprintf(&s.out, format+"\n", args...) }
func (s *screen) head(title string)               { s.line("\n%s", title) }

// field writes a label and a value, the labels padded to one width; a Chinese
// character takes two columns of a terminal.
func (s *screen) field(label, value string) {
	const labelColumns = 30
	width := 0
	for _, c := range label {
		width++
		if c >= 0x2e80 {
			width++
		}
	}
	s.line("  %s%s %s", label, strings.Repeat(" ", max(labelColumns-width, 0)), value)
}

func (s *screen) outcome(r *Report) {
	s.head(s.rows)
	s.field(s.succeeded, group(r.Succeeded))
	s.field(s.failedN, group(r.Failed))
	s.field(s.openN, group(r.Open))
	if r.Unsent > 0 {
		s.field(s.unsentN, group(r.Unsent))
	}
	if r.BadRows > 0 {
		s.field(s.badN, group(r.BadRows))
	}
}

func (s *screen) books(r *Report) {
	s.head(s.outside)
	s.field(s.lostN, group(r.Lost))
	s.field(s.doubledN, group(r.Doubled))
	s.field(s.match, s.yesNo(&r.OutsideBooksOK))
	s.head(s.balances)
	amount := func(a money.Amount) string { return money.Format(a, money.Asset(r.Asset)) + " " + r.Asset }
	s.field(s.accounts, group(r.Accounts))
	s.field(s.exact, group(r.AccountsExact))
	s.field(fmt.Sprintf(s.within, amount(r.Within)), group(r.AccountsWithin))
	s.field(s.largest, amount(r.LargestDifference))
}

func (s *screen) server(r *Report) {
	s.head(s.words.server)
	s.field(s.ledger, s.yesNo(r.LedgerSumZero))
	s.field(s.breaks, s.classes(r.Breaks))
	s.field(s.unknownResolved, s.number(r.UnknownResolved))
	s.field(s.dupCallbacks, s.number(r.DuplicateCallbacks))
	s.field(s.kills, group(r.Kills))
	longest := s.unknown
	if r.UnexplainedMaxS != nil {
		longest = r.UnexplainedMaxS.String()
	}
	s.field(s.unexplained, longest)
}

func (s *screen) speed(r *Report) {
	s.head(s.words.speed)
	s.field(s.perSecond, r.PerSecond.String())
	s.field(s.accept, r.AcceptP50.String()+" / "+r.AcceptP99.String())
	s.field(s.final, r.TimeFinalP99.String())
	s.field(s.wall, r.Wall.String())
	s.field(s.retries, group(r.Retries))
}

func (s *screen) verdict(r *Report) {
	problems := r.problems(s.words)
	if len(problems) == 0 {
		s.line("\n%s", s.ok)
		return
	}
	s.head(s.problems)
	for _, p := range problems {
		s.line("  - %s", p)
	}
	show(s, r.AccountBreaks, func(b AccountBreak) string {
		return fmt.Sprintf("%s %s %s: %s / %s (%s)", b.Account, b.Day, b.Class, b.Ours, b.Bank, b.Difference)
	})
	show(s, r.Outside.Mismatches, func(m Mismatch) string { return m.RowID + " " + m.Class + ": " + m.Says })
	show(s, r.RowFaults, func(f RowFault) string {
		return fmt.Sprintf("%s:%d %s %s: %s", f.File, f.Line, f.RowID, f.Fate, f.Reason)
	})
	show(s, r.Bad, BadRow.String)
	s.line("\n%s", s.notOK)
}

// Line renders the progress as one line of text without a line break, in
// Chinese when lang begins with "zh", otherwise in English.
func (p Progress) Line(lang string) string {
	const columns = 24
	w := wordsOf(lang)
	parts := []string{w.stages[p.Stage]}
	if p.Total > 0 {
		full := int(min(p.Done, p.Total) * columns / p.Total)
		parts = append(parts, "["+strings.Repeat("#", full)+strings.Repeat(".", columns-full)+"]", group(p.Done)+"/"+group(p.Total))
	}
	if p.PerSecond > 0 {
		parts = append(parts, fmt.Sprintf(w.rate, group(p.PerSecond)))
	}
	if p.ETA > 0 {
		parts = append(parts, fmt.Sprintf(w.left, p.ETA.Round(time.Second)))
	}
	if p.Retries > 0 {
		parts = append(parts, fmt.Sprintf(w.repeats, group(p.Retries)))
	}
	if p.Failed > 0 {
		parts = append(parts, fmt.Sprintf(w.fail, group(p.Failed)))
	}
	return strings.Join(parts, "  ")
}

func show[T any](s *screen, list []T, text func(T) string) {
	for _, e := range list[:min(len(list), screenListMax)] {
		s.line("    %s", text(e))
	}
	if rest := len(list) - screenListMax; rest > 0 {
		s.line("    "+s.more, rest)
	}
}

func (s *screen) yesNo(b *bool) string {
	switch {
	case b == nil:
		return s.unknown
	case *b:
		return s.yes
	}
	return s.no
}

func (s *screen) number(n *int64) string {
	if n == nil {
		return s.unknown
	}
	return group(*n)
}

func (s *screen) classes(counts map[string]int64) string {
	var parts []string
	for class, n := range counts {
		parts = append(parts, class+" "+group(n))
	}
	if len(parts) == 0 {
		return s.none
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// group writes 28205 as 28,205.
func group(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
