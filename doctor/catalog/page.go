package catalog

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/moneta-pay/moneta/doctor"
)

// titles are the headings of pages, in both languages.
var titles = map[string]doctor.Text{
	"signs":     {EN: "What speaks for it, and against", ZH: "支持与反对的迹象"},
	"checks":    {EN: "Check", ZH: "检查"},
	"contain":   {EN: "Keep it from hurting more", ZH: "遏制"},
	"repair":    {EN: "End it", ZH: "修复"},
	"hand":      {EN: "By hand", ZH: "手工处理"},
	"never":     {EN: "Never", ZH: "切勿"},
	"tell":      {EN: "Tell", ZH: "告知"},
	"practise":  {EN: "Practise", ZH: "演练"},
	"sign":      {EN: "sign", ZH: "迹象"},
	"when":      {EN: "counts when", ZH: "成立条件"},
	"met":       {EN: "if so ×", ZH: "成立 ×"},
	"unmet":     {EN: "if not ×", ZH: "不成立 ×"},
	"yes":       {EN: "Yes", ZH: "是"},
	"no":        {EN: "No", ZH: "否"},
	"seconds":   {EN: "s", ZH: " 秒"},
	"changes":   {EN: "writes", ZH: "会写入"},
	"users":     {EN: "Holders", ZH: "用户"},
	"support":   {EN: "Support", ZH: "客服"},
	"alert":     {EN: "Alert", ZH: "告警"},
	"drills":    {EN: "Drills", ZH: "演练"},
	"contract":  {EN: "Covers", ZH: "覆盖"},
	"sources":   {EN: "Sources", ZH: "来源"},
	"until":     {EN: "until", ZH: "直到"},
	"within":    {EN: "within", ZH: "时限"},
	"only-if":   {EN: "only if", ZH: "仅当"},
	"all":       {EN: "All causes", ZH: "全部原因"},
	"odds":      {EN: "Odds are multiplied by the strongest sign of each family; what was not measured says nothing.", ZH: "每族取最强的迹象,几率相乘;未测得的不作数。"},
	"by-itself": {EN: "The doctor does these as far as its policy lets it; each stands in the journal with its undo.", ZH: "医生在策略允许范围内自行执行;每步连同撤销记入日志。"},
	"proof":     {EN: "Then `moneta prove`: an incident ends on a clean recount, or on listed breaks with owners.", ZH: "然后运行 `moneta prove`:事件以重算无差异,或列明差异及责任人而结束。"},
}

func say(lang, title string) string { return titles[title].In(lang) }

// Page is what a person reads of a cause at three in the morning, in en or zh, as
// Markdown: the signs, what to check, how to keep it small, how to end it, what never
// to do and what to tell.
func Page(c *doctor.Cause, lang string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n`%s` · %s\n\n%s\n", c.Name.In(lang), c.ID, c.Kind, c.Explains.In(lang))
	pageSigns(&b, c, lang)
	pageChecks(&b, c, lang)
	pageContain(&b, c, lang)
	heading(&b, lang, "repair")
	fmt.Fprintf(&b, "%s\n\n", say(lang, "by-itself"))
	pageSteps(&b, c.Repair, lang)
	fmt.Fprintf(&b, "\n%s\n", say(lang, "proof"))
	heading(&b, lang, "hand")
	for i, t := range c.HotFix {
		fmt.Fprintf(&b, "%d. %s\n", i+1, t.In(lang))
	}
	heading(&b, lang, "never")
	for _, t := range c.Never {
		fmt.Fprintf(&b, "- %s\n", t.In(lang))
	}
	heading(&b, lang, "tell")
	fmt.Fprintf(&b, "**%s.** %s\n\n**%s.** %s\n", say(lang, "users"), c.Users.In(lang), say(lang, "support"), c.Support.In(lang))
	heading(&b, lang, "practise")
	fmt.Fprintf(&b, "%s: `%s` (%s, for %s)\n\n", say(lang, "alert"), c.Alert.Name, c.Alert.Level, c.Alert.For)
	fmt.Fprintf(&b, "%s: %s\n\n", say(lang, "drills"), coded(c.Drills))
	if len(c.Contract) > 0 {
		fmt.Fprintf(&b, "%s: %s\n\n", say(lang, "contract"), strings.Join(c.Contract, ", "))
	}
	fmt.Fprintf(&b, "%s: %s\n", say(lang, "sources"), strings.Join(c.Sources, "; "))
	return b.String()
}

func heading(b *strings.Builder, lang, title string) {
	fmt.Fprintf(b, "\n### %s\n\n", say(lang, title))
}

func pageSigns(b *strings.Builder, c *doctor.Cause, lang string) {
	heading(b, lang, "signs")
	fmt.Fprintf(b, "%s\n\n| %s | %s | %s | %s |\n|---|---|---|---|\n", say(lang, "odds"), say(lang, "sign"), say(lang, "when"), say(lang, "met"), say(lang, "unmet"))
	signs := slices.Clone(c.Signs)
	slices.SortStableFunc(signs, func(x, y doctor.Sign) int { return int(100*max(y.Yes, 1/y.No)) - int(100*max(x.Yes, 1/x.No)) })
	for i := range signs {
		s := &signs[i]
		info, _ := s.Signal.Info()
		words := doctor.Text{EN: info.Means, ZH: signalZH[s.Signal]}
		fmt.Fprintf(b, "| %s | `%s` | %s | %s |\n", words.In(lang), when(s), figure(s.Yes), figure(s.No))
	}
}

// when is the condition of a sign, as people would write it.
func when(s *doctor.Sign) string {
	text := string(s.Signal)
	if s.Statistic != "" {
		text += "." + s.Statistic
	}
	if s.At != "" {
		text = s.At + "/" + text
	}
	if s.Of != "" && s.Of != "last" {
		text += " (" + s.Of + ")"
	}
	if s.Gone {
		text += " gone"
	}
	if s.Above != nil {
		text += " > " + figure(*s.Above)
	}
	if s.Below != nil {
		text += " < " + figure(*s.Below)
	}
	for _, key := range slices.Sorted(mapKeys(s.Where)) {
		text += ", " + key + "=" + s.Where[key]
	}
	return text
}

func mapKeys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func figure(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

func pageChecks(b *strings.Builder, c *doctor.Cause, lang string) {
	heading(b, lang, "checks")
	for i, a := range c.Checks {
		note := fmt.Sprintf("%d%s", a.CostS, say(lang, "seconds"))
		if !a.ReadOnly {
			note += ", " + say(lang, "changes")
		}
		fmt.Fprintf(b, "%d. **%s** (%s)\n\n", i+1, a.Ask.In(lang), note)
		for _, line := range strings.Split(strings.TrimRight(a.Run, "\n"), "\n") {
			fmt.Fprintf(b, "       %s\n", line)
		}
		fmt.Fprintf(b, "\n   %s: %s\n\n   %s: %s\n\n", say(lang, "yes"), a.Yes.In(lang), say(lang, "no"), a.No.In(lang))
	}
}

func pageContain(b *strings.Builder, c *doctor.Cause, lang string) {
	heading(b, lang, "contain")
	if len(c.Contain) == 0 {
		fmt.Fprintf(b, "%s\n", c.ContainNone.In(lang))
		return
	}
	for i := range c.Contain {
		s := &c.Contain[i]
		fmt.Fprintf(b, "%d. %s", i+1, s.Why.In(lang))
		if s.If != "" {
			fmt.Fprintf(b, " (%s `%s`)", say(lang, "only-if"), s.If)
		}
		fmt.Fprintf(b, "\n\n       %s\n\n", leverCommand(s))
	}
}

// leverCommand is the step as a person pulls it.
func leverCommand(s *doctor.Step) string {
	aim := strings.ReplaceAll(s.With["aim"], "{channel}", "CHANNEL")
	cmd := fmt.Sprintf("moneta lever pull %s %s", s.With["lever"], aim)
	if v := s.With["value"]; v != "" {
		cmd += fmt.Sprintf(" --value %q", strings.ReplaceAll(v, "{channel}", "CHANNEL"))
	}
	if v := s.With["value_zh"]; v != "" {
		cmd += fmt.Sprintf(" --value-zh %q", strings.ReplaceAll(v, "{channel}", "CHANNEL"))
	}
	return cmd + fmt.Sprintf(" --for %s --owner ME --reason %q", s.With["for"], s.With["reason"])
}

func pageSteps(b *strings.Builder, steps []doctor.Step, lang string) {
	for i := range steps {
		s := &steps[i]
		fmt.Fprintf(b, "%d. `%s`", i+1, s.Do)
		if s.Aim != "" {
			fmt.Fprintf(b, " %s", s.Aim)
		}
		fmt.Fprintf(b, ": %s", s.Why.In(lang))
		if s.If != "" {
			fmt.Fprintf(b, " (%s `%s`)", say(lang, "only-if"), s.If)
		}
		if s.Until != "" {
			fmt.Fprintf(b, " (%s `%s`, %s %s)", say(lang, "until"), s.Until, say(lang, "within"), s.Within)
		}
		b.WriteString("\n")
	}
}

func coded(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = "`" + n + "`"
	}
	return strings.Join(out, ", ")
}

const comment = "<!-- " + generated + " -->\n\n"

// Pages are the files of docs/causes, by name: a page a cause, the table of all, the
// printable checklists and the list of drills.
func Pages(all []doctor.Cause) map[string]string {
	out := map[string]string{
		"README.md": index(all), "drills.md": drillList(all),
		"checklist-en.md": Checklist(all, "en"), "checklist-zh.md": Checklist(all, "zh"),
	}
	for i := range all {
		c := &all[i]
		out[c.ID+".md"] = comment + "# " + c.ID + "\n\n[English](#" + anchor(c.Name.EN) + ") · [中文](#" + anchor(c.Name.ZH) + ") · [" +
			titles["all"].EN + " · " + titles["all"].ZH + "](README.md)\n\n" + Page(c, "en") + "\n" + Page(c, "zh")
	}
	return out
}

// anchor is the name that Markdown gives a heading.
func anchor(heading string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(heading) {
		switch {
		case r == ' ' || r == '-':
			b.WriteRune('-')
		case r > 0x2e7f || r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			if !strings.ContainsRune(",。;:!?()、", r) {
				b.WriteRune(r)
			}
		}
	}
	return b.String()
}

func index(all []doctor.Cause) string {
	var b strings.Builder
	b.WriteString(comment + "# Causes · 原因目录\n\n")
	b.WriteString("Everything that is known about each way of failing: one [file](../../doctor/catalog/causes) a cause, from which these pages, the [alert rules](../alerts/moneta.rules.yml), the checklists ([English](checklist-en.md), [中文](checklist-zh.md)) and the [list of drills](drills.md) are made. `moneta cause list` and `moneta cause show ID` show them where there is no browser.\n\n")
	b.WriteString("每种失效方式一个文件,页面、告警规则、检查表与演练清单都由其生成。没有浏览器时用 `moneta cause list` 与 `moneta cause show ID`。\n")
	for _, kind := range doctor.Kinds() {
		first := true
		for i := range all {
			c := &all[i]
			if c.Kind != kind {
				continue
			}
			if first {
				fmt.Fprintf(&b, "\n## %s\n\n| cause | what it is | 说明 | alert | level |\n|---|---|---|---|---|\n", kind)
				first = false
			}
			fmt.Fprintf(&b, "| [%s](%s.md) | %s | %s | `%s` | %s |\n", c.Mechanism, c.ID, c.Name.EN, c.Name.ZH, c.Alert.Name, c.Alert.Level)
		}
	}
	return b.String()
}

func drillList(all []doctor.Cause) string {
	by := map[string][]string{}
	for i := range all {
		for _, d := range all[i].Drills {
			by[d] = append(by[d], "["+all[i].ID+"]("+all[i].ID+".md)")
		}
	}
	var b strings.Builder
	b.WriteString(comment + "# Drills · 演练\n\nWhich drill produces which cause, or one much like it. `moneta drill list` says which of them this build can run. 哪个演练产生哪种原因。\n\n| drill | causes |\n|---|---|\n")
	names := make([]string, 0, len(by))
	for name := range by {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "| `%s` | %s |\n", name, strings.Join(by[name], ", "))
	}
	return b.String()
}

// firstFive and lastOnes are the same in every incident, whatever its cause.
var (
	firstFive = []doctor.Text{
		{EN: "Whom does it hurt: one, a cohort (which?), everyone? Is the canary green?", ZH: "影响谁:一人、某个群体(哪个)、所有人?探针支付正常吗?"},
		{EN: "Five payments that are late: submitted? accepted? sent? answered? doubled?", ZH: "取五笔迟到的付款:提交了吗?受理了吗?发出了吗?有应答吗?有重复吗?"},
		{EN: "What changed in the half hour before: a deploy, a setting, a partner's notice, a job?", ZH: "之前半小时变更了什么:发布、设置、合作方通知、作业?"},
		{EN: "Unknown outcomes grow, or people pay twice: contain first, diagnose afterwards.", ZH: "未知结果在增加或有人重复付款:先遏制,后诊断。"},
		{EN: "Wrong results: stop posting first (read-only).", ZH: "结果有误:先停止记账(只读)。"},
		{EN: "Next word to holders within 15 minutes.", ZH: "15 分钟内再次告知用户。"},
	}
	lastOnes = []doctor.Text{
		{EN: "The canary is green three times.", ZH: "探针支付连续三次正常。"},
		{EN: "The oldest open payment is younger than its target.", ZH: "最老的未完成付款低于目标时长。"},
		{EN: "Each payment that was stuck is final, or has a case.", ZH: "每笔卡住的付款已终结或有工单。"},
		{EN: "`moneta prove` is clean, or each break has an owner.", ZH: "`moneta prove` 无差异,或每处差异有责任人。"},
		{EN: "Those who were told of it are told of its end.", ZH: "已告知者得知结束。"},
		{EN: "Levers are let go one by one, each watched for five minutes.", ZH: "逐个放开杠杆,每个观察五分钟。"},
		{EN: "The post-mortem has a draft.", ZH: "事后报告已有初稿。"},
	}
)

// Checklist is what is printed and ticked off: the first five minutes, the first check
// of each cause, and how every incident ends. lang is en or zh.
func Checklist(all []doctor.Cause, lang string) string {
	head := map[string][4]string{
		"en": {"Checklist", "The first five minutes", "Which is it?", "It is over when"},
		"zh": {"检查表", "最初五分钟", "是哪一种?", "何时算结束"},
	}[lang]
	var b strings.Builder
	fmt.Fprintf(&b, "%s# %s\n\n## %s\n\n", comment, head[0], head[1])
	for _, t := range firstFive {
		fmt.Fprintf(&b, "- [ ] %s\n", t.In(lang))
	}
	fmt.Fprintf(&b, "\n## %s\n", head[2])
	for _, kind := range doctor.Kinds() {
		first := true
		for i := range all {
			c := &all[i]
			if c.Kind != kind {
				continue
			}
			if first {
				fmt.Fprintf(&b, "\n### %s\n\n", kind)
				first = false
			}
			fmt.Fprintf(&b, "- [ ] %s → `%s`\n", c.Checks[0].Ask.In(lang), c.ID)
		}
	}
	fmt.Fprintf(&b, "\n## %s\n\n", head[3])
	for _, t := range lastOnes {
		fmt.Fprintf(&b, "- [ ] %s\n", t.In(lang))
	}
	return b.String()
}
