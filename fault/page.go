package fault

import (
	"fmt"
	"net/http"
	"strings"
)

// generated heads every page, so that nobody edits what the table overwrites.
const generated = "<!-- Generated from the table in fault/table.go by `go test ./fault -update`. Do not edit. -->\n\n"

// Markdown returns the documentation page of one code, in English and Chinese,
// and whether the code is in the table. The pages live in docs/errors, one
// "<code>.md" each, and are what a problem's `type` leads to.
func Markdown(code Code) (string, bool) {
	entry, ok := byCode[code]
	if !ok {
		return "", false
	}
	var b strings.Builder
	b.WriteString(generated)
	fmt.Fprintf(&b, "# %s\n\n**%s**\n\n", entry.Title.En, entry.Title.Zh)
	b.WriteString("| | |\n|---|---|\n")
	fmt.Fprintf(&b, "| `code` | `%s` |\n", entry.Code)
	fmt.Fprintf(&b, "| HTTP status | %d %s |\n", entry.Status, http.StatusText(entry.Status))
	fmt.Fprintf(&b, "| `money_state` | `%s`: %s |\n", entry.MoneyState, moneyWords[entry.MoneyState].En)
	fmt.Fprintf(&b, "| `retry` | `%s`: %s |\n", entry.Retry, retryWords[entry.Retry].En)
	if entry.RetryAfter > 0 {
		fmt.Fprintf(&b, "| `Retry-After` | %s unless the answer says otherwise |\n", entry.RetryAfter)
	}
	section(&b, "Why you see this", entry.Cause.En)
	section(&b, "What to do", entry.Fix.En)
	section(&b, "中文", "")
	fmt.Fprintf(&b, "- **资金状态**：%s\n- **重试**：%s\n- **原因**：%s\n- **处理**：%s\n",
		moneyWords[entry.MoneyState].Zh, retryWords[entry.Retry].Zh, entry.Cause.Zh, entry.Fix.Zh)
	b.WriteString("\n[All error codes · 全部错误码](README.md)\n")
	return b.String(), true
}

// MarkdownIndex returns the page that lists all codes, docs/errors/README.md.
func MarkdownIndex() string {
	var b strings.Builder
	b.WriteString(generated)
	b.WriteString("# Error codes · 错误码\n\n")
	b.WriteString("Every error is an RFC 9457 problem with a stable `code`. Read `money_state` first: it says what this request did to money. " +
		"Then follow `retry`. The values below are the defaults of each code; the answer itself decides. Codes are added, never changed.\n\n")
	b.WriteString("每个错误都是带有稳定 `code` 的 RFC 9457 problem。先看 `money_state`：它说明本次请求对资金做了什么；再按 `retry` 行事。" +
		"下表是各错误码的默认值，以实际响应为准。错误码只增不改。\n\n")
	b.WriteString("## `money_state`\n\n| value | meaning | 含义 |\n|---|---|---|\n")
	for _, state := range []MoneyState{NotMoved, Moved, UnknownWillResolve} {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", state, moneyWords[state].En, moneyWords[state].Zh)
	}
	b.WriteString("\n## `retry`\n\n| value | meaning | 含义 |\n|---|---|---|\n")
	for _, advice := range []Retry{SafeSameKey, After, Never} {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", advice, retryWords[advice].En, retryWords[advice].Zh)
	}
	b.WriteString("\n## Codes · 错误码一览\n\n| code | HTTP | `money_state` | `retry` | title | 标题 |\n|---|---|---|---|---|---|\n")
	for _, entry := range table {
		fmt.Fprintf(&b, "| [%s](%s.md) | %d | `%s` | `%s` | %s | %s |\n", entry.Code, entry.Code, entry.Status,
			entry.MoneyState, entry.Retry, entry.Title.En, entry.Title.Zh)
	}
	return b.String()
}

func section(b *strings.Builder, title, text string) {
	fmt.Fprintf(b, "\n## %s\n\n", title)
	if text != "" {
		b.WriteString(text + "\n")
	}
}

var moneyWords = map[MoneyState]Text{
	NotMoved:           {"this request moved no money and never will", "本次请求未动用资金，以后也不会"},
	Moved:              {"money moved, although the request reports an error", "资金已转移，尽管请求报告了错误"},
	UnknownWillResolve: {"not known yet; the service finds out by itself, and the same key tells", "尚不确定；系统会自行查明，用同一个键即可得知结果"},
}

var retryWords = map[Retry]Text{
	SafeSameKey: {"send the same request again with the same idempotency key; it is carried out at most once", "用同一个幂等键重发相同请求；最多只会执行一次"},
	After:       {"the same, but wait for `Retry-After` first", "同上，但须先等待 `Retry-After`"},
	Never:       {"the same request will be refused again; change something first", "原样重发仍会被拒绝；请先作修改"},
}
