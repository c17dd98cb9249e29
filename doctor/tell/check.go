package tell

import (
	"encoding/json"
	"fmt"
	"html"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Wrong is a figure of a draft that does not stand in the journal.
type Wrong struct {
	// Line of the draft, from 1.
	Line  int    `json:"line"`
	Shown string `json:"shown"`
	// Why it is wrong: what the journal has, or that it names no entry.
	Why string `json:"why"`
}

// String is one line for people.
func (w Wrong) String() string { return fmt.Sprintf("line %d: %q: %s", w.Line, w.Shown, w.Why) }

var (
	mdFigure   = regexp.MustCompile(`\[((?:[^\[\]\\]|\\.)*)\]\(#([ec][^ )]*) "([^"]*)"\)`)
	htmlFigure = regexp.MustCompile(`<a class="f" href="#([ec][^"]*)" title="([^"]*)">([^<]*)</a>`)
	mdCode     = regexp.MustCompile("``.+?``|`[^`]+`")
	htmlCode   = regexp.MustCompile(`<code>([^<]*)</code>`)
	htmlTag    = regexp.MustCompile(`<[^>]*>`)
	htmlHidden = regexp.MustCompile(`(?s)<style>.*?</style>`)
	anchorLine = regexp.MustCompile(`^<a id="e(\d+)"></a>$|^<pre id="e(\d+)">(.*)</pre>$`)
	escaped    = regexp.MustCompile(`\\(.)`)
	isFigure   = regexp.MustCompile(`^\s*[+−-]?\d`)
)

// Check holds every figure of a draft, Markdown or HTML, against the journal: each must
// be a link to an entry and be what the entry says, a number that is no link is wrong,
// and so is an entry at the end of the draft that is not the journal's. It returns what
// is wrong, and how many figures were held against their entries.
func (s *Source) Check(draft []byte) ([]Wrong, int) {
	text := string(draft)
	page := strings.HasPrefix(strings.TrimSpace(text), "<")
	if page {
		text = htmlHidden.ReplaceAllStringFunc(text, func(m string) string { return strings.Repeat("\n", strings.Count(m, "\n")) })
	}
	c := checker{s: s, page: page, have: map[string]bool{}}
	c.anchors(text)
	for i, line := range strings.Split(text, "\n") {
		c.line(i+1, line)
	}
	return c.wrong, c.figures
}

// LangOf is the language that a draft is in, by the words that every draft has; otherwise
// where it has none of them.
func LangOf(draft []byte, otherwise string) string {
	text := string(draft)
	for i, lang := range []string{"en", "zh"} {
		for _, key := range []string{"pm-title", "b-title", "c-title", "x-title", "r-title", "entries-why"} {
			if strings.Contains(text, words[key][i]) && !strings.Contains(text, words[key][1-i]) {
				return lang
			}
		}
	}
	return otherwise
}

type checker struct {
	s       *Source
	page    bool
	have    map[string]bool // anchors of the draft
	fenced  bool
	entry   uint64 // whose copy comes in the next fence
	wrong   []Wrong
	figures int
}

func (c *checker) say(line int, shown, format string, args ...any) {
	c.wrong = append(c.wrong, Wrong{Line: line, Shown: shown, Why: fmt.Sprintf(format, args...)})
}

var anchorAny = regexp.MustCompile(`(?:<a|<pre|<p) id="([^"]+)"`)

func (c *checker) anchors(text string) {
	for _, m := range anchorAny.FindAllStringSubmatch(text, -1) {
		c.have[m[1]] = true
	}
}

func (c *checker) line(n int, text string) {
	if m := anchorLine.FindStringSubmatch(strings.TrimSpace(text)); m != nil {
		c.entry, _ = strconv.ParseUint(m[1]+m[2], 10, 64)
		if c.page && m[2] != "" {
			c.stored(n, html.UnescapeString(m[3]))
		}
		return
	}
	if !c.page && strings.HasPrefix(text, "```") {
		c.fenced = !c.fenced
		return
	}
	if c.fenced {
		if c.page && strings.Contains(text, "</pre>") {
			c.fenced = false
		}
		if c.entry > 0 {
			c.stored(n, text)
		}
		return
	}
	if c.page && strings.HasPrefix(text, "<pre>") { // commands; what follows on other lines stays in it
		c.fenced = !strings.Contains(text, "</pre>")
		return
	}
	c.prose(n, text)
}

// stored holds the copy of an entry against the journal.
func (c *checker) stored(n int, copied string) {
	seq := c.entry
	c.entry = 0
	e := c.s.entry(seq)
	if e == nil {
		c.say(n, anchorEntry(seq), "the journal has no such entry of this incident")
		return
	}
	if raw, _ := json.Marshal(e); string(raw) != copied {
		c.say(n, anchorEntry(seq), "this is not what the journal has")
	}
}

// prose takes the figures out of a line, and looks for numbers in what is left.
func (c *checker) prose(n int, text string) {
	if c.page {
		for _, m := range htmlFigure.FindAllStringSubmatch(text, -1) {
			c.figure(n, html.UnescapeString(m[3]), m[1], html.UnescapeString(m[2]))
		}
		text = htmlFigure.ReplaceAllString(text, " ")
		text = htmlCode.ReplaceAllStringFunc(text, func(m string) string { return codeLeft(htmlTag.ReplaceAllString(m, "")) })
		text = html.UnescapeString(htmlTag.ReplaceAllString(text, " "))
	} else {
		for _, m := range mdFigure.FindAllStringSubmatch(text, -1) {
			c.figure(n, escaped.ReplaceAllString(m[1], "$1"), m[2], m[3])
		}
		text = mdFigure.ReplaceAllString(text, " ")
		text = mdCode.ReplaceAllStringFunc(text, func(m string) string { return codeLeft(strings.Trim(m, "`")) })
	}
	for _, number := range numbers(text) {
		c.say(n, number, "a number without an entry: link it, or say it in words")
	}
}

// codeLeft leaves a piece of code in the text when it is a figure, not a name or a command.
func codeLeft(code string) string {
	if isFigure.MatchString(code) {
		return code
	}
	return " "
}

func (c *checker) figure(n int, shown, anchor, title string) {
	c.figures++
	if !c.have[anchor] {
		c.say(n, shown, "the entry that it links to is not in the draft")
	}
	seq, _ := strconv.ParseUint(strings.TrimPrefix(anchor, "e"), 10, 64)
	source := strings.Replace(title, " as ", "|", 1)
	if id, ok := strings.CutPrefix(anchor, "c-"); ok != strings.HasSuffix(source, "|cause:"+id) {
		c.say(n, shown, "it links to one thing and names another")
		return
	}
	want, err := c.s.figure(seq, source)
	switch {
	case err != nil:
		c.say(n, shown, "%v", err)
	case want != shown:
		c.say(n, shown, "the journal has %q", want)
	}
}

// numbers are the figures in a text: digits that are not part of a name such as X2.
func numbers(text string) []string {
	var out []string
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case unicode.IsDigit(r):
			j := i
			for j < len(text) && (text[j] >= '0' && text[j] <= '9' || (strings.ContainsRune(".,:", rune(text[j])) && j+1 < len(text) && text[j+1] >= '0' && text[j+1] <= '9')) {
				j++
			}
			if j == i {
				j += size
			}
			out = append(out, text[i:j])
			i = j
		case unicode.IsLetter(r) && r < 0x2e80: // a name: its digits belong to it
			j := i
			for j < len(text) {
				r, size := utf8.DecodeRuneInString(text[j:])
				joined := r == '-' && j+1 < len(text) && text[j+1] >= '0' && text[j+1] <= '9'
				if !joined && !unicode.IsDigit(r) && (!unicode.IsLetter(r) || r >= 0x2e80) {
					break
				}
				j += size
			}
			i = j
		default:
			i += size
		}
	}
	return out
}
