package api_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
)

// TestTheDocumentIsWhole checks the OpenAPI document against itself and against
// the running edge: references resolve, ids are unique, every operation exists.
func TestTheDocumentIsWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	a := w.do(http.MethodGet, "/openapi.json", "", "")
	require.Equal(t, http.StatusOK, a.StatusCode)
	doc := a.json
	require.Equal(t, "3.1.0", doc["openapi"])
	require.Equal(t, "1.2.3", doc["info"].(map[string]any)["version"])

	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				node := any(doc)
				for step := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
					m, ok := node.(map[string]any)
					require.True(t, ok, "%s: %s", at, ref)
					node = m[step]
				}
				require.NotNil(t, node, "%s: %s leads nowhere", at, ref)
			}
			for k, x := range v {
				walk(at+"/"+k, x)
			}
		case []any:
			for _, x := range v {
				walk(at, x)
			}
		}
	}
	walk("#", doc)

	ids := map[string]bool{}
	operations := 0
	for path, item := range doc["paths"].(map[string]any) {
		for method, o := range item.(map[string]any) {
			operations++
			op := o.(map[string]any)
			id := op["operationId"].(string)
			require.False(t, ids[id], id)
			ids[id] = true
			require.NotEmpty(t, op["summary"], id)
			responses := op["responses"].(map[string]any)
			for _, segment := range strings.Split(path, "/") {
				if strings.HasPrefix(segment, "{") {
					require.True(t, hasParam(op, strings.Trim(segment, "{}"), "path"), id)
				}
			}
			answer := w.do(strings.ToUpper(method), anyID.ReplaceAllString(path, "x"), "", "")
			require.NotEqual(t, http.StatusMethodNotAllowed, answer.StatusCode, id)
			if strings.HasPrefix(path, "/v1/") {
				require.Contains(t, responses, "503", id)
				switch {
				case strings.Contains(path, "callbacks"):
				case strings.HasPrefix(path, "/v1/links/"):
					require.Empty(t, op["security"], "the link is the right: %s", id)
				case id == "get-receipt-keys":
					require.Empty(t, op["security"], "who verifies has no key of ours")
				default:
					require.NotEmpty(t, op["security"], id)
					requireProblem(t, answer, fault.Unauthenticated)
				}
			}
		}
	}
	require.GreaterOrEqual(t, operations, 58)
	require.True(t, hasParam(doc["paths"].(map[string]any)["/v1/payments"].(map[string]any)["post"].(map[string]any), "Idempotency-Key", "header"))
	schemas := doc["components"].(map[string]any)["schemas"].(map[string]any)
	require.Equal(t, false, schemas["NewPayment"].(map[string]any)["additionalProperties"])
	require.NotContains(t, schemas["Payment"].(map[string]any), "additionalProperties", "answers may grow")
}

// anyID is a path's parameter.
var anyID = regexp.MustCompile(`\{[a-z_]+\}`)

func hasParam(op map[string]any, name, in string) bool {
	params, _ := op["parameters"].([]any)
	for _, p := range params {
		if m := p.(map[string]any); m["name"] == name && m["in"] == in {
			return true
		}
	}
	return false
}

// TestAnswersFitTheirSchemas holds real answers against the document.
func TestAnswersFitTheirSchemas(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	doc := w.do(http.MethodGet, "/openapi.json", "", "").json
	from := w.funded("a", "5000")
	id := w.payout(from, "k1").String()
	for path, key := range map[string]string{
		"/v1/payments": w.user, "/v1/payments/{id}": w.user, "/v1/payments/{id}/timeline": w.user, "/v1/accounts": w.user,
		"/v1/accounts/{id}": w.user, "/v1/accounts/{id}/balances": w.user, "/v1/accounts/{id}/statement": w.user,
		"/v1/accounts/{id}/explanation": w.user, "/v1/keys": w.admin, "/v1/totals": w.admin, "/v1/events": w.user,
	} {
		resource := id
		if strings.Contains(path, "accounts") {
			resource = from
		}
		a := w.do(http.MethodGet, strings.Replace(path, "{id}", resource, 1), key, "")
		require.Equal(t, http.StatusOK, a.StatusCode, string(a.body))
		get := doc["paths"].(map[string]any)[path].(map[string]any)["get"].(map[string]any)
		schema := get["responses"].(map[string]any)["200"].(map[string]any)["content"].(map[string]any)["application/json"].(map[string]any)["schema"]
		fits(t, doc, schema.(map[string]any), a.json, path)
	}
	problem := w.get("/v1/payments/pay_1")
	fits(t, doc, doc["components"].(map[string]any)["schemas"].(map[string]any)["Problem"].(map[string]any), problem.json, "problem")
}

// fits checks types, required members, enums, and that no member is undocumented.
func fits(t *testing.T, doc, schema map[string]any, v any, at string) {
	t.Helper()
	if ref, ok := schema["$ref"].(string); ok {
		schema = doc["components"].(map[string]any)["schemas"].(map[string]any)[ref[strings.LastIndexByte(ref, '/')+1:]].(map[string]any)
	}
	kinds, _ := schema["type"].([]any)
	if s, ok := schema["type"].(string); ok {
		kinds = []any{s}
	}
	if len(kinds) == 0 {
		return // anything
	}
	kind := map[bool]string{}
	switch v := v.(type) {
	case map[string]any:
		require.Contains(t, kinds, "object", at)
		props, _ := schema["properties"].(map[string]any)
		required, _ := schema["required"].([]any)
		for _, r := range required {
			require.Contains(t, v, r, at)
		}
		for k, x := range v {
			if p, ok := props[k].(map[string]any); ok {
				fits(t, doc, p, x, at+"/"+k)
				continue
			}
			more, ok := schema["additionalProperties"].(map[string]any)
			require.True(t, ok, "%s/%s is not documented", at, k)
			fits(t, doc, more, x, at+"/"+k)
		}
	case []any:
		require.Contains(t, kinds, "array", at)
		for _, x := range v {
			fits(t, doc, schema["items"].(map[string]any), x, at+"[]")
		}
	case string:
		require.Contains(t, kinds, "string", at)
		if enum, ok := schema["enum"].([]any); ok {
			require.Contains(t, enum, v, at)
		}
	case float64:
		kind[true] = "number"
		require.True(t, len(kinds) == 1 && (kinds[0] == "integer" || kinds[0] == "number"), at)
	case bool:
		require.Contains(t, kinds, "boolean", at)
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	docs := w.do(http.MethodGet, "/docs", "", "")
	require.Contains(t, string(docs.body), "/v1/payments/batch")
	for _, code := range fault.Codes() {
		e, _ := fault.Lookup(code)
		require.Contains(t, string(docs.body), "/errors/"+string(code))
		page := w.do(http.MethodGet, "/errors/"+string(code), "", "")
		require.Contains(t, page.Header.Get("Content-Type"), "text/html")
		require.Contains(t, string(page.body), e.Title.Zh)
		for _, md := range []*answer{
			w.do(http.MethodGet, "/errors/"+string(code)+".md", "", ""),
			w.do(http.MethodGet, "/errors/"+string(code), "", "", "Accept", "text/markdown"),
		} {
			require.Contains(t, md.Header.Get("Content-Type"), "text/markdown")
			require.Contains(t, string(md.body), e.Fix.En)
			require.Contains(t, string(md.body), e.Fix.Zh)
		}
	}
}

func TestProbesAndMetrics(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	require.Equal(t, "up", w.do(http.MethodGet, "/healthz", "", "").str("status"))
	require.Equal(t, "ready", w.do(http.MethodGet, "/readyz", "", "").str("status"))
	w.funded("a", "1")
	w.get("/v1/payments/pay_1")
	metrics := string(w.do(http.MethodGet, "/metrics", "", "").body)
	for _, line := range []string{
		"moneta_accept_duration_seconds_count 1", `moneta_http_requests_total{code="201",route="POST /v1/payments"} 1`,
		`moneta_http_problems_total{code="not-found"} 1`, `moneta_http_requests_total{code="404",route="GET /v1/payments/{id}"} 1`,
		"moneta_http_in_flight 0",
	} {
		require.Contains(t, metrics, line)
	}
	require.True(t, json.Valid(w.do(http.MethodGet, "/openapi.json", "", "").body))
}
