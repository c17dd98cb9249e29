package fault

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

// published is the contract with callers, written down a second time: slug and
// status of every code. A line may be added here; none may change or go.
const published = `
malformed-request 400
unknown-field 400
idempotency-key-missing 400
idempotency-key-invalid 400
idempotency-key-reused 422
idempotency-in-flight 409
unauthenticated 401
forbidden 403
not-found 404
method-not-allowed 405
body-too-large 413
unsupported-media-type 415
insufficient-funds 422
account-not-found 422
account-frozen 422
account-closed 422
asset-mismatch 422
asset-unknown 422
amount-invalid 422
channel-unknown 422
same-account 422
floor-invalid 422
house-account-forbidden 403
illegal-transition 409
not-cancellable 409
amount-exceeds-remaining 422
already-final 409
payment-quarantined 409
case-closed 409
case-full 409
rate-limited 429
overloaded 503
not-leader 503
commit-unknown 503
database-unavailable 503
database-unsafe 503
read-only 423
intake-paused 503
channel-unavailable 503
signature-invalid 401
reference-unknown 404
receipts-unavailable 503
statement-refused 422
statement-changed 409
period-closed 422
approval-required 403
approval-own 403
approval-changed 409
approval-closed 409
timeout 504
internal 500
`

func TestPublishedCodesStay(t *testing.T) {
	t.Parallel()
	var have []string
	for _, code := range Codes() {
		have = append(have, string(code)+" "+strconv.Itoa(HTTPStatus(code)))
	}
	require.Equal(t, strings.Fields(strings.TrimSpace(published)), strings.Fields(strings.Join(have, " ")))
}

func TestUncertainFatesAreNamed(t *testing.T) {
	t.Parallel()
	uncertain := map[Code]bool{IdempotencyInFlight: true, PaymentQuarantined: true, CommitUnknown: true, Timeout: true, Internal: true}
	for _, entry := range table {
		want := NotMoved
		if uncertain[entry.Code] {
			want = UnknownWillResolve
		}
		require.Equal(t, want, entry.MoneyState, entry.Code)
	}
	for _, code := range []Code{CommitUnknown, Timeout, Internal} {
		require.Equal(t, SafeSameKey, RetryOf(code), code)
	}
}

// slug is the only form of a code; title and sentence keep the texts in one voice.
var (
	slug     = regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	title    = regexp.MustCompile(`^[A-Z].*[^.!。！]$`)
	sentence = regexp.MustCompile(`(?s)^\S.*\.$`)
	zhEnd    = regexp.MustCompile(`。$`)
)

func TestEveryEntryIsWhole(t *testing.T) {
	t.Parallel()
	for _, e := range table {
		require.Regexp(t, slug, string(e.Code))
		require.Regexp(t, title, e.Title.En, e.Code)
		require.Regexp(t, sentence, e.Cause.En, e.Code)
		require.Regexp(t, sentence, e.Fix.En, e.Code)
		require.Regexp(t, zhEnd, e.Cause.Zh, e.Code)
		require.Regexp(t, zhEnd, e.Fix.Zh, e.Code)
		for _, text := range []Text{e.Title, e.Cause, e.Fix} {
			require.False(t, hasHan(text.En), "%s: Chinese in the English text", e.Code)
			require.True(t, hasHan(text.Zh), "%s: no Chinese in %q", e.Code, text.Zh)
			require.NotContains(t, text.En+text.Zh, "|", "would break the table on its page")
		}
		// A caller told to wait must be told how long; one told never, nothing.
		require.Equal(t, e.Retry != Never, e.RetryAfter > 0, e.Code)
		// 5xx is never a final answer and 4xx on content never cures itself.
		require.False(t, e.Status >= 500 && e.Retry == Never, e.Code)
		require.False(t, (e.Status == 400 || e.Status == 422) && e.Retry != Never, e.Code)
	}
}

func hasHan(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return unicode.Is(unicode.Han, r) })
}

// A constant without an entry would answer as Internal, so the source is read.
func TestEveryConstantIsInTheTable(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "code.go", nil, 0)
	require.NoError(t, err)
	constants := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if id, ok := spec.Type.(*ast.Ident); !ok || id.Name != "Code" {
			return true
		}
		value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		require.NoError(t, err)
		_, known := Lookup(Code(value))
		require.True(t, known, "%s has no entry", spec.Names[0].Name)
		constants++
		return true
	})
	require.Equal(t, len(table), constants)
}

func TestUnknownCodePromisesNothing(t *testing.T) {
	t.Parallel()
	_, ok := Lookup("made-up")
	require.False(t, ok)
	require.Equal(t, 500, HTTPStatus("made-up"))
	require.Equal(t, UnknownWillResolve, MoneyStateOf(Code("made-up")))
	require.Equal(t, UnknownWillResolve, New("made-up", "").MoneyState)
	require.Equal(t, Title(Internal, "zh"), Title("made-up", "zh"))
}

func TestTextIn(t *testing.T) {
	t.Parallel()
	text := Text{"en", "zh"}
	for lang, want := range map[string]string{
		"": "en", "en": "en", "en-GB": "en", "de": "en", "z": "en", "zha": "en",
		"zh": "zh", "zh-CN": "zh", "zh_CN.UTF-8": "zh", "ZH": "zh",
	} {
		require.Equal(t, want, text.In(lang), lang)
	}
}
