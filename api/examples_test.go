package api_test

import (
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEveryDocumentedExampleRuns sends each request body of the OpenAPI document
// to an installation of its own, as a reader would who tries it.
func TestEveryDocumentedExampleRuns(t *testing.T) {
	t.Parallel()
	paths := newWorld(t, nil).do(http.MethodGet, "/openapi.json", "", "").json["paths"].(map[string]any)
	ran := 0
	for path, item := range paths {
		for method, o := range item.(map[string]any) {
			op := o.(map[string]any)
			body, ok := exampleOf(t, op)
			if !ok {
				continue
			}
			ran++
			t.Run(op["operationId"].(string), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, nil)
				account := w.open("first", "user")
				require.Equal(t, "acct_0000000000002", account)
				require.Equal(t, "acct_0000000000004", w.open("second", "user"))
				w.endow(account)
				resource := strings.NewReplacer("{prefix}", prefixOf(w.user))
				switch {
				case strings.HasPrefix(path, "/v1/accounts/"):
					resource = strings.NewReplacer("{id}", account)
				case strings.HasSuffix(path, "/capture"):
					hold := w.post("/v1/payments", w.user, `{"kind":"hold","from":"`+account+`","to":"acct_0000000000004","amount":"5000","asset":"CZK"}`, "hold")
					resource = strings.NewReplacer("{id}", hold.str("id"))
				}
				a := w.post(resource.Replace(path), w.admin, body, "example")
				require.Less(t, a.StatusCode, 300, string(a.body))
				require.NotContains(t, string(a.body), `"problem"`)
			})
			require.Equal(t, "post", method)
		}
	}
	require.GreaterOrEqual(t, ran, 10)
}

func exampleOf(t *testing.T, op map[string]any) (string, bool) {
	t.Helper()
	request, _ := op["requestBody"].(map[string]any)
	content, _ := request["content"].(map[string]any)
	media, _ := content["application/json"].(map[string]any)
	if media["example"] == nil {
		return "", false
	}
	b, err := json.Marshal(media["example"])
	require.NoError(t, err)
	return string(b), true
}

// curlCall is a curl command of a documentation page that calls the API.
var curlCall = regexp.MustCompile(`(?s)curl -sS? [^\n]*?(?:localhost|127\.0\.0\.1):\d+(/v1/[^\s'"]*)(.*?)\n(?:\n|` + "```" + `|[A-Z#])`)

// TestDocumentedCommandsRun sends what the pages tell readers to send with curl.
func TestDocumentedCommandsRun(t *testing.T) {
	t.Parallel()
	data := regexp.MustCompile(`(?s)-d '(\{.*?\})'`)
	for _, page := range []string{"../README.md", "../docs/keys.md", "../docs/webhooks.md"} {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		calls := curlCall.FindAllStringSubmatch(string(text), -1)
		require.NotEmpty(t, calls, page)
		for i, call := range calls {
			w := newWorld(t, nil)
			first, second := w.open("first", "user"), w.open("second", "user")
			w.endow(first)
			path, method, body := call[1], http.MethodGet, ""
			if d := data.FindStringSubmatch(call[2]); d != nil {
				method, body = http.MethodPost, strings.Replace(strings.Replace(d[1], "acct_…", first, 1), "acct_…", second, 1)
			}
			if strings.Contains(call[2], "idempotency_key=") {
				path += "?idempotency_key=invoice:2026-1187"
			}
			headers := []string{}
			if method == http.MethodPost {
				headers = append(headers, "Idempotency-Key", "documented")
			}
			a := w.do(method, path, w.admin, body, headers...)
			require.Less(t, a.StatusCode, 300, "%s, command %d: %s %s %s: %s", page, i+1, method, path, body, a.body)
		}
	}
}

// endow gives an account a million crowns.
func (w *world) endow(account string) {
	w.t.Helper()
	a := w.post("/v1/payments", w.admin, `{"kind":"send","from":"`+w.open("house", "house")+`","to":"`+account+`","amount":"100000000","asset":"CZK"}`, "endow")
	require.Equal(w.t, http.StatusCreated, a.StatusCode, string(a.body))
}
