package hostile

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
)

// schema is what the generator reads of a JSON schema.
type schema struct {
	Ref        string             `json:"$ref"`
	Type       kind               `json:"type"`
	Enum       []any              `json:"enum"`
	Examples   []any              `json:"examples"`
	Properties map[string]*schema `json:"properties"`
	Required   []string           `json:"required"`
	Items      *schema            `json:"items"`
}

// kind is the first of the types that a schema permits: the others are null.
type kind string

func (k *kind) UnmarshalJSON(raw []byte) error {
	var several []string
	if json.Unmarshal(raw, &several) == nil && len(several) > 0 {
		*k = kind(several[0])
		return nil
	}
	return json.Unmarshal(raw, (*string)(k))
}

type parameter struct {
	Name, In string
	Schema   *schema
}

// operation is one method of a path as the document has it.
type operation struct {
	method, path string
	parameters   []parameter
	body         *schema // nil without one, or for a file
	file         bool
	answers      map[int]bool
}

// surface is everything that can be called.
type surface struct {
	operations []operation
	schemas    map[string]*schema
}

func readSurface(t *testing.T, base string) *surface {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/openapi.json", nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	var doc struct {
		Paths map[string]map[string]struct {
			Parameters  []parameter
			RequestBody *struct {
				Content map[string]struct{ Schema *schema }
			}
			Responses map[string]any
		}
		Components struct{ Schemas map[string]*schema }
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&doc))
	s := &surface{schemas: doc.Components.Schemas}
	for path, methods := range doc.Paths {
		for method, o := range methods {
			op := operation{method: strings.ToUpper(method), path: path, parameters: o.Parameters, answers: make(map[int]bool)}
			for status := range o.Responses {
				var n int
				_, err := fmt.Sscan(status, &n)
				require.NoError(t, err)
				op.answers[n] = true
			}
			if o.RequestBody != nil {
				content, ok := o.RequestBody.Content["application/json"]
				op.body, op.file = content.Schema, !ok
			}
			s.operations = append(s.operations, op)
		}
	}
	slices.SortFunc(s.operations, func(a, b operation) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	return s
}

// attack sends hostile requests and judges the answers.
type attack struct {
	*surface
	base string
	keys []string
	// person signs requests when set.
	person *access.KeyFile
	known  map[string][]string
	seed   uint64
}

type result struct {
	sent     int
	statuses map[int]int
	unable   map[string]int // the documented 503 and 504, by operation
	routes   map[string]int
	faults   []string
}

// faultsMax stops a run that has seen enough.
const faultsMax = 20

func (a *attack) run(t *testing.T, many int) result {
	t.Helper()
	r := result{statuses: make(map[int]int), unable: make(map[string]int), routes: make(map[string]int)}
	var mu sync.Mutex
	next := make(chan int)
	var all sync.WaitGroup
	client := &http.Client{
		Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: workers},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer client.CloseIdleConnections()
	for range workers {
		all.Go(func() {
			for i := range next {
				op, said, status, wrong := a.one(t.Context(), client, i)
				mu.Lock()
				r.sent++
				r.statuses[status]++
				r.routes[op.method+" "+op.path]++
				if status >= 500 {
					r.unable[fmt.Sprintf("%d %s %s", status, op.method, op.path)]++
				}
				if wrong != "" {
					r.faults = append(r.faults, fmt.Sprintf("request %d, %s: %s", i, said, wrong))
				}
				mu.Unlock()
			}
		})
	}
	for i := range many {
		mu.Lock()
		enough := len(r.faults) >= faultsMax
		mu.Unlock()
		if enough {
			break
		}
		next <- i
	}
	close(next)
	all.Wait()
	return r
}

// one sends the i-th request and tells what is wrong with the answer.
func (a *attack) one(ctx context.Context, client *http.Client, i int) (op *operation, said string, status int, wrong string) {
	g := random(a.seed, i)
	op = &a.operations[i%len(a.operations)]
	req := a.request(ctx, g, op)
	said = fmt.Sprintf("%s %.200s", req.Method, req.URL)
	if len(req.URL.Path) < 4096 && g.IntN(40) == 0 {
		status, wrong = a.broken(ctx, g, req)
		return op, said, status, wrong
	}
	var body []byte
	if req.Body != nil {
		body, _ = io.ReadAll(req.Body)
		req.Body = io.NopCloser(bytes.NewReader(body))
		said += fmt.Sprintf(" %.300q", body)
	}
	resp, err := client.Do(req)
	if err != nil {
		return op, said, 0, "no answer: " + err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return op, said, resp.StatusCode, "" // goes on for half an hour
	}
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return op, said, resp.StatusCode, "the answer broke off: " + err.Error()
	}
	return op, said, resp.StatusCode, judge(op, resp, answer)
}

// judge tells what is wrong with an answer; "" is nothing.
func judge(op *operation, resp *http.Response, answer []byte) string {
	status, media := resp.StatusCode, resp.Header.Get("Content-Type")
	switch {
	case status >= 500 && (!op.answers[status] || !excused(status, answer)):
		return fmt.Sprintf("answered %d: %.600s", status, answer)
	case status >= 400:
		var p struct {
			Status                         int
			Code, Title, Retry, MoneyState string
			TraceID                        string `json:"trace_id"`
		}
		if media != "application/problem+json" || json.Unmarshal(answer, &p) != nil || p.Status != status || p.Code == "" || p.Title == "" || p.Retry == "" || p.TraceID == "" {
			return fmt.Sprintf("the refusal (%d, %s) is no problem: %.300s", status, media, answer)
		}
		// A path that the generator has bent may be nobody's, or another's.
		if !op.answers[status] && status != http.StatusNotFound && status != http.StatusMethodNotAllowed {
			return fmt.Sprintf("%d is not documented for %s %s: %.300s", status, op.method, op.path, answer)
		}
	case strings.HasPrefix(media, "application/json") && !json.Valid(answer):
		return fmt.Sprintf("the answer (%d) is not JSON: %.300s", status, answer)
	}
	return ""
}

// excused are the answers of 503 and 504 that a good installation gives. All of
// this one's parts are there: whoever says that the database is not blames it for
// what the request did.
func excused(status int, answer []byte) bool {
	switch status {
	case http.StatusServiceUnavailable:
		return !bytes.Contains(answer, []byte(`"code":"database-unavailable"`)) && !bytes.Contains(answer, []byte(`"code":"commit-unknown"`))
	case http.StatusGatewayTimeout:
		return true
	}
	return false
}

// broken sends what no HTTP client would, and only wants the server to live on.
func (a *attack) broken(ctx context.Context, g *rand.Rand, req *http.Request) (status int, wrong string) {
	d := net.Dialer{Timeout: 5 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", strings.TrimPrefix(a.base, "http://"))
	if err != nil {
		return 0, "no answer: " + err.Error()
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	head := req.Method + " " + req.URL.RequestURI() + " HTTP/1.1\r\nHost: x\r\nAuthorization: " + req.Header.Get("Authorization") + "\r\nIdempotency-Key: raw\r\n"
	switch g.IntN(6) {
	case 0: // promises more than it sends
		head += "Content-Length: 500\r\n\r\n{\"kind\":"
	case 1:
		head += "Transfer-Encoding: chunked\r\n\r\nffffffffff\r\n{"
	case 2: // both, as request smuggling does
		head += "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
	case 3:
		head += "Content-Length: -1\r\n\r\n"
	case 4:
		head += "X: " + strings.Repeat("a", 40<<10) + "\r\n\r\n"
	case 5:
		head = string(bits(g, 200)) + "\r\n\r\n"
	}
	if _, err := io.WriteString(conn, head); err != nil {
		return 0, "" // refused before it was read: the server's right
	}
	if c, ok := conn.(*net.TCPConn); ok {
		_ = c.CloseWrite()
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, "" // hung up on: the server's right
	}
	defer func() { _ = resp.Body.Close() }()
	switch resp.StatusCode { // 504 to who hung up first is heard by nobody else
	case http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return resp.StatusCode, ""
	}
	if resp.StatusCode >= 500 {
		return resp.StatusCode, fmt.Sprintf("answered %d to %.200q", resp.StatusCode, head)
	}
	return resp.StatusCode, ""
}

// request makes one: of good parts, at least one of them bent.
func (a *attack) request(ctx context.Context, g *rand.Rand, op *operation) *http.Request {
	bend := g.IntN(4) // 0 path, 1 query, 2 headers, 3 body
	u := &url.URL{Path: op.path, RawPath: op.path}
	query := make(url.Values)
	header := make(http.Header)
	for _, p := range op.parameters {
		switch p.In {
		case "path":
			v := a.place(g, op.path)
			if bend == 0 || g.IntN(8) == 0 {
				v = hostileText(g)
			}
			u.Path = strings.ReplaceAll(u.Path, "{"+p.Name+"}", v)
			u.RawPath = strings.ReplaceAll(u.RawPath, "{"+p.Name+"}", url.PathEscape(v))
		case "query":
			if bend == 1 || g.IntN(3) == 0 {
				query.Set(p.Name, a.queryValue(g, p))
			}
		case "header":
			header.Set(p.Name, headerText(g, p.Name, bend == 2))
		}
	}
	if bend == 1 && g.IntN(4) == 0 {
		query.Set(hostileText(g), hostileText(g))
	}
	if p := query.Get("wait"); p != "" && strings.Trim(p, "0123456789") == "" {
		query.Set("wait", "0") // patience is not what is tested
	}
	u.RawQuery = query.Encode()
	if bend == 1 && g.IntN(6) == 0 {
		u.RawQuery += "&%zz&a;b=%"
	}
	var body []byte
	switch {
	case op.file:
		body = file(g)
	case op.body != nil:
		body = a.document(g, op.body, bend == 3)
	case bend == 3:
		body = bits(g, 100)
	}
	base, _ := url.Parse(a.base) // the test's own address
	u.Scheme, u.Host = base.Scheme, base.Host
	req := (&http.Request{Method: op.method, URL: u, Host: u.Host, Header: header, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}).WithContext(ctx)
	if body != nil {
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		if bend == 2 && g.IntN(3) == 0 {
			header.Set("Content-Type", pick(g, "text/xml", "application/json; charset=utf-16", ";", "multipart/form-data; boundary=x"))
		} else if !op.file {
			header.Set("Content-Type", "application/json")
		}
		if g.IntN(10) == 0 {
			req.ContentLength = -1 // chunked
		}
	}
	if key := a.keys[g.IntN(len(a.keys))]; key != "" {
		header.Set("Authorization", "Bearer "+key)
	}
	if a.person != nil && g.IntN(4) == 0 {
		_ = a.person.Sign(req, body, time.Now()) // unsigned is refused, which is an answer too
	}
	if bend == 2 && g.IntN(4) == 0 {
		header.Set("Authorization", pick(g, "Bearer", "Basic eA==", "Bearer mk_live_", "Moneta-Signature key=\"\"", "Bearer ms_"+strings.Repeat("a", 300)))
		header.Set("Traceparent", pick(g, "00-0-0-0", "ff-", strings.Repeat("0", 500)))
	}
	return req
}

func pick[T any](g *rand.Rand, some ...T) T { return some[g.IntN(len(some))] }

// place is the name of something that exists where the path wants one.
func (a *attack) place(g *rand.Rand, path string) string {
	for prefix, names := range a.known {
		if strings.HasPrefix(path, prefix) {
			return pick(g, names...)
		}
	}
	return "1"
}

func (a *attack) queryValue(g *rand.Rand, p parameter) string {
	if names := a.known[p.Name]; len(names) > 0 && g.IntN(2) == 0 {
		return pick(g, names...)
	}
	if p.Schema != nil && len(p.Schema.Enum) > 0 && g.IntN(2) == 0 {
		return fmt.Sprint(pick(g, p.Schema.Enum...))
	}
	return hostileText(g)
}

// headerText is what a header may hold on the wire; Go's client refuses the rest.
func headerText(g *rand.Rand, name string, bent bool) string {
	if bent {
		return strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f {
				return -1
			}
			return r
		}, hostileText(g))
	}
	switch name {
	case "Idempotency-Key":
		return fmt.Sprintf("k-%d", g.IntN(2000)) // some twice
	case "Prefer":
		return pick(g, "wait=0", "wait", "respond-async")
	}
	return pick(g, "en", "zh", "1")
}

// texts are values with a history: of parsers, databases, shells and sheets.
var texts = []string{
	"", " ", "0", "-1", "1", "00", "+1", "1e9", "1.0", "NaN", "Infinity", "null", "true", "[]", "{}",
	"2147483648", "-2147483649", "9223372036854775807", "9223372036854775808", "18446744073709551616",
	"170141183460469231731687303715884105727", "170141183460469231731687303715884105728", strings.Repeat("9", 400),
	"\x00", "a\x00b", "\u202e", "\ufeff", "\ufffd", "\xff\xfe", "\xed\xa0\x80", "💸", "e\u0301", strings.Repeat("\u0301", 300),
	"' or '1'='1", "';drop table payments;--", "$1", "%s%n%x", "${jndi:ldap://x}", "{{7*7}}", "=cmd|'/c calc'!A1", "<script>", "../../../etc/passwd", "..", ".", "/", "//", "\\",
	"acct_0000000000000", "acct_zzzzzzzzzzzzz", "acct_", "pay_0000000000001", "pay_zzzzzzzzzzzzz", "PAY_1", "evt_zzzzzzzzzzzzz.99999", "evt_", "apr_1", "wh_1",
	"0000-00-00", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999999999+23:59", "2026-02-30", "2026-13-01T00:00:00Z", "-0001-01-01T00:00:00Z", "292277026596-12-04T15:30:08Z",
	"http://127.0.0.1:1/", "http://[::1]/", "http://169.254.169.254/latest/meta-data", "https://user:pass@example.com/", "https://xn--/", "https://" + strings.Repeat("a", 300) + ".com/", "file:///etc/passwd", "https://[fe80::1%25eth0]/", "https://0x7f000001/", "https://example.com:99999/",
	"CZK", "czk", "XXX", "C\x00K", strings.Repeat("Z", 5000), "bank-ab", "bank-ab\n", "send", "deposit", "succeeded", "processing", "wait=99999999999999999999", "wait=-1",
}

func hostileText(g *rand.Rand) string {
	switch g.IntN(12) {
	case 0:
		return string(bits(g, 1+g.IntN(60)))
	case 1:
		return strings.Repeat(pick(g, texts...), 1+g.IntN(20))[:0] + pick(g, texts...) + pick(g, texts...)
	}
	return pick(g, texts...)
}

func bits(g *rand.Rand, n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(g.IntN(256))
	}
	return out
}
