package postgres

import "strings"

// queryMax is how much of a statement is shown, in bytes.
const queryMax = 200

// Mask returns the beginning of a statement without its literals and comments, on one
// line: what it does and to what, and nothing of whom. What it does not understand it
// takes for a literal.
func Mask(query string) string {
	var b strings.Builder
	space, word := false, false
	put := func(s string) {
		if space && b.Len() > 0 {
			b.WriteByte(' ')
		}
		space = false
		b.WriteString(s)
	}
	for i := 0; i < len(query) && b.Len() < queryMax; {
		c := query[i]
		wasWord := word
		word = false
		switch {
		case c == '\'':
			escaped := i > 0 && (query[i-1] == 'E' || query[i-1] == 'e') && (i == 1 || !wordByte(query[i-2]))
			i = afterQuoted(query, i, '\'', escaped)
			put("?")
		case c == '"':
			end := afterQuoted(query, i, '"', false)
			put(clean(query[i:end]))
			i, word = end, true
		case strings.HasPrefix(query[i:], "--"):
			i = afterLine(query, i)
			space = true
		case strings.HasPrefix(query[i:], "/*"):
			i = afterComment(query, i)
			space = true
		case c == '$' && !wasWord:
			end, literal := dollar(query, i)
			if literal {
				put("?")
			} else {
				put(query[i:end])
			}
			i = end
		case digit(c) && !wasWord:
			i = afterNumber(query, i)
			put("?")
		case c <= ' ' || c == 0x7f:
			space = true
			i++
		default:
			end := i + 1
			for end < len(query) && wordByte(query[i]) && wordByte(query[end]) {
				end++
			}
			word = wordByte(c)
			put(clean(query[i:end]))
			i = end
		}
	}
	out := b.String()
	if len(out) > queryMax {
		out = strings.ToValidUTF8(out[:queryMax], "")
	}
	return out
}

// clean keeps one line of valid text.
func clean(s string) string {
	return strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s), "")
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

func wordByte(c byte) bool {
	return c == '_' || c >= 0x80 || digit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// afterQuoted returns the end of what begins with a quote at i; a text that was cut off
// has none, and ends there.
func afterQuoted(s string, i int, quote byte, escaped bool) int {
	for i++; i < len(s); i++ {
		switch {
		case escaped && s[i] == '\\':
			i++
		case s[i] != quote:
		case i+1 < len(s) && s[i+1] == quote:
			i++
		default:
			return i + 1
		}
	}
	return len(s)
}

func afterLine(s string, i int) int {
	if n := strings.IndexByte(s[i:], '\n'); n >= 0 {
		return i + n + 1
	}
	return len(s)
}

// afterComment returns the end of a comment; they nest.
func afterComment(s string, i int) int {
	for depth := 0; i < len(s); {
		switch {
		case strings.HasPrefix(s[i:], "/*"):
			depth, i = depth+1, i+2
		case strings.HasPrefix(s[i:], "*/"):
			if depth, i = depth-1, i+2; depth == 0 {
				return i
			}
		default:
			i++
		}
	}
	return len(s)
}

// dollar returns the end of a parameter or a dollar-quoted text, and whether it is one.
func dollar(s string, i int) (end int, literal bool) {
	end = i + 1
	for end < len(s) && digit(s[end]) {
		end++
	}
	if end > i+1 {
		return end, false
	}
	for end < len(s) && wordByte(s[end]) {
		end++
	}
	if end >= len(s) || s[end] != '$' {
		return end, true
	}
	tag := s[i : end+1]
	if n := strings.Index(s[end+1:], tag); n >= 0 {
		return end + 1 + n + len(tag), true
	}
	return len(s), true
}

func afterNumber(s string, i int) int {
	for i < len(s) && (wordByte(s[i]) || s[i] == '.') {
		i++
	}
	return i
}
