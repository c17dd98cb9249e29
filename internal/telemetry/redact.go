package telemetry

import (
	"encoding"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const redacted = "[redacted]"

// Bounds of one logged value: a line is for reading, and a mistake must not
// write a file into the log.
const (
	valueBytesMax = 8 << 10
	scanBytesMax  = 64 << 10
	depthMax      = 8
	nodesMax      = 512
)

// secretWords make a key sensitive wherever they stand in it: clientsecret,
// X-Auth-Token, dbPassword.
var secretWords = []string{
	"authorization", "password", "passwd", "passphrase", "secret", "token", "apikey", "api_key",
	"private_key", "privatekey", "signing_key", "encryption_key", "access_key", "signature", "credential", "cookie",
}

// secretSegments make a key sensitive only as a whole word of it, for they are
// also parts of honest words (span, spin, design).
var secretSegments = map[string]bool{
	"pwd": true, "dsn": true, "sig": true, "otp": true, "pin": true, "pan": true, "cvv": true, "cvc": true, "bearer": true,
}

// sensitiveKey reports whether a value under this name must not be shown.
func sensitiveKey(key string) bool {
	snake := toSnake(key)
	for _, w := range secretWords {
		if strings.Contains(snake, w) {
			return true
		}
	}
	for seg := range strings.SplitSeq(snake, "_") {
		if secretSegments[seg] {
			return true
		}
	}
	return false
}

// toSnake writes camelCase, kebab-case and dotted names with underscores, in lower case.
func toSnake(s string) string {
	var b strings.Builder
	b.Grow(len(s) + 4)
	var prevLower bool
	for _, r := range s {
		switch {
		case unicode.IsLetter(r) || unicode.IsDigit(r):
			if unicode.IsUpper(r) && prevLower {
				b.WriteByte('_')
			}
			b.WriteRune(unicode.ToLower(r))
		default:
			b.WriteByte('_')
		}
		prevLower = unicode.IsLower(r) || unicode.IsDigit(r)
	}
	return b.String()
}

func redactAttr(a slog.Attr) slog.Attr {
	if sensitiveKey(a.Key) {
		return slog.String(a.Key, redacted)
	}
	a.Value = redactValue(a.Value)
	return a
}

func redactValue(v slog.Value) slog.Value {
	v = v.Resolve()
	switch v.Kind() {
	case slog.KindString:
		return slog.StringValue(redactString(v.String()))
	case slog.KindInt64:
		if looksLikeCard(v.Int64()) {
			return slog.StringValue(redacted)
		}
	case slog.KindUint64:
		if looksLikeCard(v.Uint64()) {
			return slog.StringValue(redacted)
		}
	case slog.KindGroup:
		in := v.Group()
		out := make([]slog.Attr, len(in))
		for i, a := range in {
			out[i] = redactAttr(a)
		}
		return slog.GroupValue(out...)
	case slog.KindAny:
		w := walker{left: nodesMax}
		return slog.AnyValue(w.walk(reflect.ValueOf(v.Any()), 0))
	case slog.KindBool, slog.KindDuration, slog.KindFloat64, slog.KindTime, slog.KindLogValuer:
		// Nothing can hide in these; the last was resolved above.
	}
	return v
}

func looksLikeCard[T int64 | uint64](n T) bool {
	return n >= 1_000_000_000_000 && isCard([]byte(strconv.FormatUint(uint64(n), 10)))
}

// walker turns any value into plain maps, slices and strings without secrets.
// Only exported fields are shown. left bounds the work on one value.
type walker struct{ left int }

func (w *walker) walk(v reflect.Value, depth int) any {
	if !v.IsValid() {
		return nil
	}
	w.left--
	if w.left < 0 || depth > depthMax {
		return "[too large]"
	}
	if v.CanInterface() {
		if said, ok := speak(v); ok {
			return said
		}
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return w.walk(v.Elem(), depth+1)
	case reflect.Struct:
		return w.walkStruct(v, depth)
	case reflect.Map:
		return w.walkMap(v, depth)
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return redactString(fmt.Sprintf("%s", v))
		}
		out := make([]any, 0, min(v.Len(), max(w.left, 0)))
		for i := 0; i < v.Len() && w.left >= 0; i++ {
			out = append(out, w.walk(v.Index(i), depth+1))
		}
		return out
	case reflect.String:
		return redactString(v.String())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if looksLikeCard(v.Int()) {
			return redacted
		}
		return v.Int()
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		if looksLikeCard(v.Uint()) {
			return redacted
		}
		return v.Uint()
	case reflect.Bool:
		return v.Bool()
	case reflect.Float32, reflect.Float64:
		return v.Float()
	case reflect.Invalid, reflect.Complex64, reflect.Complex128, reflect.Chan, reflect.Func, reflect.UnsafePointer:
	}
	return "[" + v.Type().String() + "]" // such as channels and functions, which say nothing useful
}

// speak lets a value describe itself, the way a reader of the log would see it.
func speak(v reflect.Value) (said any, ok bool) {
	defer func() {
		if p := recover(); p != nil {
			// A nil receiver, as a rule. The line is worth more than the value.
			said, ok = "[panicked while being logged: "+v.Type().String()+"]", true
		}
	}()
	switch x := v.Interface().(type) {
	case slog.LogValuer:
		if r := x.LogValue().Resolve(); r.Kind() != slog.KindAny {
			return redactValue(r).String(), true
		}
	case error:
		return redactString(x.Error()), true
	case time.Time:
		return x, true
	case json.RawMessage:
		return redactJSON(x), true
	case encoding.TextMarshaler:
		if b, err := x.MarshalText(); err == nil {
			return redactString(string(b)), true
		}
	case fmt.Stringer:
		return redactString(x.String()), true
	case json.Marshaler:
		if b, err := x.MarshalJSON(); err == nil {
			return redactJSON(b), true
		}
	}
	return nil, false
}

// redactJSON judges a document's members by their names; what is not a JSON
// document is judged as text.
func redactJSON(b []byte) any {
	var doc any
	if len(b) > scanBytesMax || json.Unmarshal(b, &doc) != nil {
		return redactString(string(b))
	}
	w := walker{left: nodesMax}
	return w.walk(reflect.ValueOf(doc), 0)
}

func (w *walker) walkStruct(v reflect.Value, depth int) any {
	out := make(map[string]any, v.NumField())
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		if sensitiveKey(name) || sensitiveKey(f.Name) {
			out[name] = redacted
			continue
		}
		out[name] = w.walk(v.Field(i), depth+1)
	}
	return out
}

func (w *walker) walkMap(v reflect.Value, depth int) any {
	out := make(map[string]any, min(v.Len(), max(w.left, 0)))
	for it := v.MapRange(); it.Next() && w.left >= 0; {
		name := fmt.Sprint(w.walk(it.Key(), depth+1))
		if sensitiveKey(name) {
			out[name] = redacted
			continue
		}
		out[name] = w.walk(it.Value(), depth+1)
	}
	return out
}

// Shapes that are secret wherever they stand. Each has a cheap test in
// redactString, so that an ordinary line runs no regular expression.
var (
	reBearer  = regexp.MustCompile(`(?i)\b(bearer)(?:\s+|%20|\+)[a-z0-9._~+/=-]{6,}`)
	reBasic   = regexp.MustCompile(`(?i)\b(basic)(?:\s+|%20|\+)[a-z0-9+/=]{12,}`) // longer than a word: "basic checks"
	reOurKey  = regexp.MustCompile(`((?:[msr]k_(?:live|test)|whsec)_)[A-Za-z0-9_\-+/=]{4,}`)
	reURLPass = regexp.MustCompile(`(://[^\s:/?#@]*):[^\s/?#]+@`)
	rePair    = regexp.MustCompile(`(?i)((?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|private[_-]?key|signature|authorization|cookie)[a-z0-9_-]*\\?["']?\s*[:=]\s*)((?:bearer|basic)\s+\S+|\\?"(?:[^"\\]|\\.)*\\?"|'(?:[^'\\]|\\.)*'|[^\s&,;)}\]]+)`)
	reMAC     = regexp.MustCompile(`\bv1a?[=,][A-Za-z0-9+/=]{16,}`)
	reJWT     = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*`)
	rePEM     = regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\z)`)

	pairWords = []string{"passw", "passphrase", "pwd", "secret", "token", "key", "signature", "authorization", "cookie"}
)

// redactString returns s without bearer tokens, API keys, passwords, signatures,
// private keys and card numbers, and not longer than valueBytesMax.
func redactString(s string) string {
	if len(s) < 6 {
		return s
	}
	if len(s) > scanBytesMax {
		s = s[:scanBytesMax]
	}
	if strings.Contains(s, "-----BEGIN") {
		s = rePEM.ReplaceAllLiteralString(s, redacted)
	}
	if strings.Contains(s, "://") && strings.Contains(s, "@") {
		s = reURLPass.ReplaceAllString(s, "$1:"+redacted+"@")
	}
	if strings.ContainsAny(s, ":=") && containsAnyFold(s, pairWords) {
		s = rePair.ReplaceAllString(s, "${1}"+redacted)
	}
	if containsFold(s, "bearer") {
		s = reBearer.ReplaceAllString(s, "$1 "+redacted)
	}
	if containsFold(s, "basic") {
		s = reBasic.ReplaceAllString(s, "$1 "+redacted)
	}
	if strings.Contains(s, "k_") || strings.Contains(s, "whsec_") {
		s = reOurKey.ReplaceAllString(s, "${1}"+redacted)
	}
	if strings.Contains(s, "v1") {
		s = reMAC.ReplaceAllLiteralString(s, "v1="+redacted)
	}
	if strings.Contains(s, "eyJ") {
		s = reJWT.ReplaceAllLiteralString(s, redacted)
	}
	s = redactCards(s)
	if len(s) > valueBytesMax {
		cut := valueBytesMax
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…[cut]"
	}
	return s
}

func containsAnyFold(s string, words []string) bool {
	for _, w := range words {
		if containsFold(s, w) {
			return true
		}
	}
	return false
}

// containsFold is strings.Contains for a lower-case ASCII word, ignoring case and allocating nothing.
func containsFold(s, word string) bool {
	first := word[0]
	for i := 0; i+len(word) <= len(s); i++ {
		if s[i]|0x20 == first && strings.EqualFold(s[i:i+len(word)], word) {
			return true
		}
	}
	return false
}

const (
	cardDigitsMin = 13
	cardDigitsMax = 19
)

// redactCards replaces card numbers: 13 to 19 digits with a valid check digit,
// plain or in groups of three or more parted by single spaces or dashes (so
// dates are not numbers), standing free of other letters and digits.
func redactCards(s string) string {
	digits := 0
	for i := 0; i < len(s); i++ {
		if isDigit(s[i]) {
			digits++
		}
	}
	if digits < cardDigitsMin {
		return s
	}
	var out strings.Builder
	done := 0
	for i := 0; i < len(s); {
		if !isDigit(s[i]) || (i > 0 && isAlnum(s[i-1])) {
			i++
			continue
		}
		end := cardAt(s, i)
		if end == 0 {
			for i < len(s) && isDigit(s[i]) {
				i++
			}
			continue
		}
		out.WriteString(s[done:i])
		out.WriteString(redacted)
		i, done = end, end
	}
	if done == 0 {
		return s
	}
	out.WriteString(s[done:])
	return out.String()
}

// cardAt returns the end of the longest card number that starts at i, or 0.
func cardAt(s string, i int) int {
	var num [cardDigitsMax]byte
	n, run, end := 0, 0, 0
	for j := i; j < len(s); j++ {
		switch {
		case isDigit(s[j]):
			if n == cardDigitsMax {
				return end
			}
			num[n] = s[j]
			n, run = n+1, run+1
			free := j+1 == len(s) || !isAlnum(s[j+1])
			if free && run >= 3 && n >= cardDigitsMin && isCard(num[:n]) {
				end = j + 1
			}
		case (s[j] == ' ' || s[j] == '-') && run >= 3:
			run = 0
		default:
			return end
		}
	}
	return end
}

// isCard reports whether the digits could be a card number: 13 to 19 of them, not
// starting with 0 or 1 (no card scheme we meet does, but every clock reading in
// milliseconds or nanoseconds starts with 1), with a valid Luhn check digit.
func isCard(digits []byte) bool {
	n := len(digits)
	if n < cardDigitsMin || n > cardDigitsMax || digits[0] <= '1' {
		return false
	}
	sum := 0
	for i, c := range digits {
		d := int(c - '0')
		if (n-i)%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isAlnum(c byte) bool { return isDigit(c) || (c|0x20 >= 'a' && c|0x20 <= 'z') }
