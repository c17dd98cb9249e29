package tell

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"slices"
	"strconv"
	"strings"

	"github.com/moneta-pay/moneta/doctor"
)

// Doc is a paper. It is written as Markdown or as HTML that needs nothing else.
type Doc struct {
	Lang   string
	Title  string
	blocks []block
	s      *Source
	// cited are the entries that figures name, causes those of the catalogue.
	cited  map[uint64]bool
	causes map[string]bool
	err    error
}

type blockKind int

const (
	blockHead blockKind = iota
	blockText
	blockList
	blockTable
	blockCode
	blockChart
)

type block struct {
	kind  blockKind
	level int
	rows  []row // one of a text, the points of a list, the rows of a table behind its head
	text  string
	chart *chart
}

type (
	row  []cell
	cell []span
)

// span is a piece of text; with a source it is a figure.
type span struct {
	text   string
	code   bool
	strong bool
	box    bool // a box to tick
	seq    uint64
	source string
}

func newDoc(s *Source, title string) *Doc {
	return &Doc{Lang: s.Lang, Title: title, s: s, cited: map[uint64]bool{}, causes: map[string]bool{}}
}

// f is a figure from an entry. What cannot be rendered is a mistake of this package, and
// is returned by whoever made the paper.
func (d *Doc) f(seq uint64, source string) cell {
	text, err := d.s.figure(seq, source)
	if err != nil {
		if d.err == nil {
			d.err = err
		}
		return plain("?")
	}
	if _, format, _ := strings.Cut(source, "|"); strings.HasPrefix(format, "cause:") {
		d.causes[strings.TrimPrefix(format, "cause:")] = true
	} else {
		d.cited[seq] = true
	}
	return cell{{text: text, seq: seq, source: source}}
}

// fromCause is a text of the catalogue.
func (d *Doc) fromCause(id, path string) cell { return d.f(0, path+"|cause:"+id) }

func plain(t string) cell { return cell{{text: t}} }

func code(t string) cell {
	if t == "" {
		return plain("–")
	}
	return cell{{text: oneLine(t), code: true}}
}

func strong(c cell) cell {
	out := slices.Clone(c)
	for i := range out {
		out[i].strong = true
	}
	return out
}

// w is a text of this package's catalogue, with cells where it has {0}, {1}, ….
func (d *Doc) w(key string, cells ...cell) cell {
	var out cell
	rest := word(d.Lang, key)
	for rest != "" {
		before, after, ok := strings.Cut(rest, "{")
		if before != "" {
			out = append(out, span{text: before})
		}
		if !ok {
			break
		}
		n, tail, _ := strings.Cut(after, "}")
		if i, err := strconv.Atoi(n); err == nil && i < len(cells) {
			out = append(out, cells[i]...)
		} else {
			out = append(out, span{text: "{" + n + "}"}) // for whoever sends the text to fill in
		}
		rest = tail
	}
	return out
}

func (d *Doc) head(level int, key string) {
	d.blocks = append(d.blocks, block{kind: blockHead, level: level, text: word(d.Lang, key)})
}

func (d *Doc) text(c cell) {
	d.blocks = append(d.blocks, block{kind: blockText, rows: []row{{c}}})
}

func (d *Doc) list(points []cell) {
	b := block{kind: blockList}
	for _, p := range points {
		b.rows = append(b.rows, row{p})
	}
	if len(points) > 0 {
		d.blocks = append(d.blocks, b)
	}
}

// table has words for its head.
func (d *Doc) table(head []string, rows []row) {
	first := row{}
	for _, key := range head {
		first = append(first, plain(word(d.Lang, key)))
	}
	d.blocks = append(d.blocks, block{kind: blockTable, rows: append([]row{first}, rows...)})
}

func (d *Doc) code(text string) {
	d.blocks = append(d.blocks, block{kind: blockCode, text: strings.TrimRight(text, "\n")})
}

// anchorEntry and anchorCause are where figures lead.
func anchorEntry(seq uint64) string { return "e" + strconv.FormatUint(seq, 10) }
func anchorCause(id string) string  { return "c-" + id }

func (s *span) anchor() string {
	if _, format, _ := strings.Cut(s.source, "|"); strings.HasPrefix(format, "cause:") {
		return anchorCause(strings.TrimPrefix(format, "cause:"))
	}
	return anchorEntry(s.seq)
}

var mdEscape = strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "<", `\<`, ">", `\>`, "|", `\|`, "#", `\#`)

func (s *span) markdown() string {
	t := mdEscape.Replace(s.text)
	switch {
	case s.box:
		return s.text
	case s.source != "":
		t = "[" + t + "](#" + s.anchor() + ` "` + strings.ReplaceAll(s.source, "|", " as ") + `")`
	case s.code:
		fence := "`"
		if strings.Contains(s.text, "`") {
			fence = "``"
		}
		t = fence + strings.ReplaceAll(s.text, "|", `\|`) + fence
	}
	return t
}

func (s *span) html() string {
	t := html.EscapeString(s.text)
	switch {
	case s.box:
		return strings.NewReplacer("[ ]", "☐", "[x]", "☑").Replace(s.text)
	case s.source != "":
		t = `<a class="f" href="#` + s.anchor() + `" title="` + html.EscapeString(strings.ReplaceAll(s.source, "|", " as ")) + `">` + t + "</a>"
	case s.code:
		t = "<code>" + t + "</code>"
	}
	return t
}

func (c cell) markdown() string { return c.write((*span).markdown, "**", "**") }

func (c cell) html() string { return c.write((*span).html, "<strong>", "</strong>") }

// write puts its spans behind each other, with marks around those that are strong.
func (c cell) write(one func(*span) string, on, off string) string {
	var b strings.Builder
	for i := range c {
		if c[i].strong && (i == 0 || !c[i-1].strong) {
			b.WriteString(on)
		}
		b.WriteString(one(&c[i]))
		if c[i].strong && (i == len(c)-1 || !c[i+1].strong) {
			b.WriteString(off)
		}
	}
	return b.String()
}

// Markdown writes the paper with the entries that it names.
func (d *Doc) Markdown() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s\n", mdEscape.Replace(d.Title))
	for i := range d.blocks {
		x := &d.blocks[i]
		if x.kind == blockChart { // its figures stand in the table beside it
			continue
		}
		b.WriteByte('\n')
		switch x.kind {
		case blockHead:
			fmt.Fprintf(&b, "%s %s\n", strings.Repeat("#", x.level), mdEscape.Replace(x.text))
		case blockText:
			fmt.Fprintf(&b, "%s\n", x.rows[0][0].markdown())
		case blockList:
			for _, p := range x.rows {
				fmt.Fprintf(&b, "- %s\n", p[0].markdown())
			}
		case blockTable:
			mdTable(&b, x.rows)
		case blockCode:
			fmt.Fprintf(&b, "```\n%s\n```\n", x.text)
		case blockChart:
		}
	}
	d.mdAppendix(&b)
	return b.Bytes()
}

func mdTable(b *bytes.Buffer, rows []row) {
	for i, r := range rows {
		for _, c := range r {
			b.WriteString("| " + c.markdown() + " ")
		}
		b.WriteString("|\n")
		if i == 0 {
			b.WriteString(strings.Repeat("|---", len(r)) + "|\n")
		}
	}
}

// cause texts that were used, in order.
func (d *Doc) usedCauses() []string {
	var out []string
	for id := range d.causes {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

func (d *Doc) usedEntries() []*doctor.Entry {
	var out []*doctor.Entry
	for i := range d.s.Entries {
		if d.cited[d.s.Entries[i].Seq] {
			out = append(out, &d.s.Entries[i])
		}
	}
	return out
}

func (d *Doc) mdAppendix(b *bytes.Buffer) {
	if len(d.cited)+len(d.causes) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## %s\n\n%s\n", word(d.Lang, "entries"), word(d.Lang, "entries-why"))
	for _, e := range d.usedEntries() {
		raw, _ := json.Marshal(e)
		fmt.Fprintf(b, "\n<a id=\"%s\"></a>\n\n```json\n%s\n```\n", anchorEntry(e.Seq), raw)
	}
	for _, id := range d.usedCauses() {
		fmt.Fprintf(b, "\n<a id=\"%s\"></a>\n\n%s `%s`\n", anchorCause(id), word(d.Lang, "catalogue"), id)
	}
}

const style = `:root{color-scheme:light dark;--line:#8884;--soft:#8881;--ink:CanvasText}
body{font:16px/1.55 system-ui,"Noto Sans","Noto Sans CJK SC",sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:var(--ink)}
h1{font-size:1.6rem;line-height:1.25}h2{font-size:1.2rem;margin-top:2rem;border-bottom:1px solid var(--line)}h3{font-size:1rem}
table{border-collapse:collapse;width:100%;font-size:.92rem}th,td{text-align:left;vertical-align:top;padding:.3rem .5rem;border-bottom:1px solid var(--line)}
code{background:var(--soft);padding:.1em .3em;border-radius:3px;overflow-wrap:anywhere}pre{background:var(--soft);padding:.6rem;border-radius:4px;white-space:pre-wrap;overflow-wrap:anywhere;font-size:.85rem}
a.f{color:inherit;text-decoration:underline dotted;text-underline-offset:3px}:target{outline:2px solid Highlight}
svg{width:100%;height:auto;border:1px solid var(--line);border-radius:4px;margin:1rem 0}svg text{fill:var(--ink);font-size:12px}
@media print{body{max-width:none;margin:0}details{display:none}}`

// HTML writes the paper as one file that loads nothing.
func (d *Doc) HTML() []byte {
	var b bytes.Buffer
	lang := "en"
	if d.Lang == "zh" {
		lang = "zh-CN"
	}
	fmt.Fprintf(&b, "<!doctype html>\n<html lang=\"%s\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\n<title>%s</title>\n<style>%s</style></head><body>\n<h1>%s</h1>\n",
		lang, html.EscapeString(d.Title), style, html.EscapeString(d.Title))
	for i := range d.blocks {
		x := &d.blocks[i]
		switch x.kind {
		case blockHead:
			fmt.Fprintf(&b, "<h%d>%s</h%d>\n", x.level, html.EscapeString(x.text), x.level)
		case blockText:
			fmt.Fprintf(&b, "<p>%s</p>\n", x.rows[0][0].html())
		case blockList:
			b.WriteString("<ul>\n")
			for _, p := range x.rows {
				fmt.Fprintf(&b, "<li>%s</li>\n", p[0].html())
			}
			b.WriteString("</ul>\n")
		case blockTable:
			htmlTable(&b, x.rows)
		case blockCode:
			fmt.Fprintf(&b, "<pre>%s</pre>\n", html.EscapeString(x.text))
		case blockChart:
			x.chart.svg(&b, d)
		}
	}
	d.htmlAppendix(&b)
	b.WriteString("</body></html>\n")
	return b.Bytes()
}

func htmlTable(b *bytes.Buffer, rows []row) {
	b.WriteString("<table>\n")
	for i, r := range rows {
		tag := "td"
		if i == 0 {
			tag = "th"
		}
		b.WriteString("<tr>")
		for _, c := range r {
			fmt.Fprintf(b, "<%s>%s</%s>", tag, c.html(), tag)
		}
		b.WriteString("</tr>\n")
	}
	b.WriteString("</table>\n")
}

func (d *Doc) htmlAppendix(b *bytes.Buffer) {
	if len(d.cited)+len(d.causes) == 0 {
		return
	}
	fmt.Fprintf(b, "<h2>%s</h2><p>%s</p>\n", word(d.Lang, "entries"), word(d.Lang, "entries-why"))
	for _, e := range d.usedEntries() {
		raw, _ := json.Marshal(e)
		fmt.Fprintf(b, "<pre id=\"%s\">%s</pre>\n", anchorEntry(e.Seq), html.EscapeString(string(raw)))
	}
	for _, id := range d.usedCauses() {
		fmt.Fprintf(b, "<p id=\"%s\">%s <code>%s</code></p>\n", anchorCause(id), word(d.Lang, "catalogue"), html.EscapeString(id))
	}
}
