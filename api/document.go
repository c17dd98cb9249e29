package api

import (
	"context"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/moneta-pay/moneta/event"
	"github.com/moneta-pay/moneta/fault"
)

// everyFault is what any route with a key may answer with.
var everyFault = []fault.Code{
	fault.MalformedRequest, fault.RateLimited, fault.Overloaded, fault.DatabaseUnavailable, fault.Timeout, fault.Internal,
}

var keyFaults = []fault.Code{fault.Unauthenticated, fault.Forbidden}

const description = "Money moves here once or not at all, and nothing that was accepted is lost. " +
	"Amounts are strings of the asset's smallest unit, times are RFC 3339 in UTC, unknown members and parameters are refused. " +
	"Every error is a problem document (RFC 9457) whose money_state says what the request did to money."

// document makes the OpenAPI document of the routes.
func document(version string, routes []*route) ([]byte, error) {
	reg := huma.NewMapRegistry("#/components/schemas/", schemaName)
	doc := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title: "Moneta", Version: version, Description: description, License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
		},
		Servers:  []*huma.Server{{URL: "/", Description: "The server that answers with this document"}},
		Webhooks: map[string]*huma.PathItem{event.PaymentFinal: {Post: webhook(reg)}},
		Components: &huma.Components{
			Schemas: reg,
			SecuritySchemes: map[string]*huma.SecurityScheme{
				"key": {Type: "http", Scheme: "bearer", BearerFormat: "mk_live_<prefix>_<secret>", Description: "An API key."}, //nolint:gosec // the form of a key, not a key
				"session": {Type: "http", Scheme: "bearer", BearerFormat: "mo_sess_<prefix>_<secret>", //nolint:gosec // as above
					Description: "The session of an operator, a person: 15 minutes."},
				"signature": {
					Type: "apiKey", In: "header", Name: "Authorization",
					Description: "An operator's ed25519 signature of the request; docs/operators.md tells what it covers.",
				},
				"pass": {Type: "http", Scheme: "bearer", BearerFormat: "mo_pass_<prefix>_<secret>", Description: "An operator's pass, for signing in with a code."}, //nolint:gosec // as above
			},
		},
		Tags: []*huma.Tag{
			{Name: "payments", Description: "Moving money"},
			{Name: "links", Description: "For the holder of one payment, without a key"},
			{Name: "events", Description: "What happened, in order"},
			{Name: "webhooks", Description: "Being told"},
			{Name: "accounts", Description: "Where money stands"},
			{Name: "cases", Description: "For people who look into what stands still"},
			{Name: "channels", Description: "For the rails"},
			{Name: "operator", Description: "For the operator; needs an admin key"},
			{Name: "people", Description: "Operators by name, and what two of them agree on"},
			{Name: "probes", Description: "For machines that watch"},
		},
	}
	requests := map[string]bool{}
	for _, rt := range routes {
		if rt.body != nil {
			requests[schemaName(rt.body, "")] = true
		}
		doc.AddOperation(operation(reg, rt))
	}
	addProbes(doc)
	// A request's members are all there are; an answer may grow.
	for name, s := range reg.Map() {
		if !requests[name] && name != "BatchItem" && name != "Payee" && s.AdditionalProperties == false {
			s.AdditionalProperties = nil
		}
	}
	b, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("api: OpenAPI document: %w", err)
	}
	return b, nil
}

// webhook describes what an endpoint is sent.
func webhook(reg huma.Registry) *huma.Operation {
	header := func(name, about string) *huma.Param { return param("header", name, about, true, text()) }
	return &huma.Operation{
		OperationID: "payment-final", Tags: []string{"webhooks"}, Summary: "A payment became final",
		Description: "Sent at least once to each endpoint of the tenant, after Standard Webhooks.",
		Security:    []map[string][]string{},
		Parameters: []*huma.Param{
			header("webhook-id", "The event's id; a repetition has the same."), header("webhook-timestamp", "When this try was made, in seconds since 1970."),
			header("webhook-signature", "v1, and the base64 of HMAC-SHA256 over id.timestamp.body; two of them, separated by a space, while a secret is replaced."),
		},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			event.ContentType: {Schema: reg.Schema(of[event.Envelope](), true, "")},
		}},
		Responses: map[string]*huma.Response{
			"2XX": {Description: "Taken"}, "410": {Description: "The endpoint is gone, and is disabled"}, "default": {Description: "Tried again"},
		},
	}
}

// schemaName names a type in the document; ListOf[api.Entry] is EntryList.
func schemaName(t reflect.Type, hint string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if inner, ok := strings.CutPrefix(t.Name(), "ListOf["); ok {
		inner = strings.TrimSuffix(inner, "]")
		return inner[strings.LastIndexByte(inner, '.')+1:] + "List"
	}
	return huma.DefaultSchemaNamer(t, hint)
}

// bodyless are operations whose body may be left out.
var bodyless = []string{"appeal-payment", "appeal-link", "link-payment"}

func operation(reg huma.Registry, rt *route) *huma.Operation {
	op := &huma.Operation{
		Method: rt.method, Path: rt.path, OperationID: rt.id, Summary: rt.summary, Description: rt.about,
		Tags: []string{rt.tag}, Parameters: rt.params, Responses: map[string]*huma.Response{},
		Security: []map[string][]string{},
	}
	if rt.scope != "" {
		op.Security = append(op.Security, map[string][]string{"key": {}})
		op.Description = strings.TrimSpace(op.Description + " Scope: " + string(rt.scope) + ".")
	}
	if rt.role != "" {
		op.Security = append(op.Security, map[string][]string{"signature": {}}, map[string][]string{"session": {}})
		op.Description = strings.TrimSpace(op.Description + " Role: " + string(rt.role) + ".")
	}
	if rt.id == "sign-in" {
		op.Security = []map[string][]string{{"pass": {}}}
	}
	if rt.body != nil {
		media := &huma.MediaType{Schema: reg.Schema(rt.body, true, "")}
		if example, ok := examples[rt.id]; ok {
			media.Example = example
		}
		op.RequestBody = &huma.RequestBody{Required: !slices.Contains(bodyless, rt.id), Content: map[string]*huma.MediaType{"application/json": media}}
	}
	if rt.id == "receive-callback" || rt.upload {
		op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"*/*": {Schema: &huma.Schema{}}}}
	}
	if rt.id == "stream-payment" {
		op.Responses["204"] = &huma.Response{Description: "The payment is final, and you have its last event"}
	}
	for status, t := range rt.answers {
		op.Responses[strconv.Itoa(status)] = answer(reg, rt, status, t)
	}
	addFaults(op, reg, rt)
	return op
}

func answer(reg huma.Registry, rt *route, status int, t reflect.Type) *huma.Response {
	about := http.StatusText(status)
	headers := map[string]*huma.Param{
		traceHeader: {Description: "Name of this request in logs and traces", Schema: text()},
	}
	_, creates := rt.answers[http.StatusCreated]
	switch {
	case status == http.StatusCreated && (rt.scope != "" && rt.id != "create-key" && rt.tag != "webhooks" || rt.id == "propose"):
		headers["Location"] = &huma.Param{Description: "The resource", Schema: text()}
	case status == http.StatusOK && creates:
		about = "The key was used before with this payload: the resource as it is now"
		headers["Idempotency-Replayed"] = &huma.Param{Description: "true", Schema: words("true")}
	}
	content := map[string]*huma.MediaType{}
	for _, media := range rt.media {
		content[media] = &huma.MediaType{Schema: text()}
	}
	if len(content) == 0 || t.Kind() != reflect.String {
		content["application/json"] = &huma.MediaType{Schema: reg.Schema(t, true, "")}
	}
	return &huma.Response{Description: about, Headers: headers, Content: content}
}

// addFaults describes each status by the codes that it may carry.
func addFaults(op *huma.Operation, reg huma.Registry, rt *route) {
	codes := append([]fault.Code(nil), everyFault...)
	if rt.scope != "" || rt.role != "" {
		codes = append(codes, keyFaults...)
	}
	codes = append(codes, rt.faults...)
	byStatus := map[int][]string{}
	for _, c := range codes {
		byStatus[fault.HTTPStatus(c)] = append(byStatus[fault.HTTPStatus(c)], string(c))
	}
	for status, names := range byStatus {
		sort.Strings(names)
		op.Responses[strconv.Itoa(status)] = &huma.Response{
			Description: strings.Join(names, ", "),
			Content:     map[string]*huma.MediaType{"application/problem+json": {Schema: reg.Schema(of[Problem](), true, "")}},
		}
	}
}

func addProbes(doc *huma.OpenAPI) {
	for _, p := range []struct{ path, id, summary string }{
		{"/healthz", "health", "The process is up"},
		{"/readyz", "ready", "The process makes progress; 503 with a reason when it does not"},
		{"/metrics", "metrics", "Prometheus metrics"},
	} {
		op := &huma.Operation{
			Method: http.MethodGet, Path: p.path, OperationID: p.id, Summary: p.summary, Tags: []string{"probes"},
			Security:  []map[string][]string{},
			Responses: map[string]*huma.Response{"200": {Description: "OK"}, "503": {Description: "Service Unavailable"}},
		}
		doc.AddOperation(op)
	}
}

// within runs a check with the request's context and a deadline.
func within(r *http.Request, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	return check(ctx)
}

func (s *server) openAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header()["Content-Type"] = typeJSON
	_, _ = w.Write(s.document) // a reader that has left is no news
}

var pages = template.Must(template.New("").Parse(`{{define "top"}}<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>{{.}}</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}code{background:#eee;padding:0 .2em}
td,th{text-align:left;padding:.2rem .8rem .2rem 0;vertical-align:top}</style>{{end}}
{{define "docs"}}{{template "top" "Moneta API"}}<h1>Moneta API</h1>
<p>The whole of it, for machines: <a href="/openapi.json">/openapi.json</a> (OpenAPI 3.1).</p>
<table><tr><th>Operation<th>What it does<th>Scope of a key<th>Role of a person</tr>
{{range .Routes}}<tr><td><code>{{.Method}} {{.Path}}</code><td>{{.Summary}}<td>{{.Scope}}<td>{{.Role}}</tr>
{{end}}</table><h2>Errors / 错误</h2><table><tr><th>Status<th>Code<th>Title<th>标题</tr>
{{range .Errors}}<tr><td>{{.Status}}<td><a href="/errors/{{.Code}}">{{.Code}}</a><td>{{.Title.En}}<td lang="zh">{{.Title.Zh}}</tr>
{{end}}</table></html>{{end}}
{{define "error"}}{{template "top" .Title.En}}<h1>{{.Title.En}}</h1><p><code>{{.Code}}</code> · HTTP {{.Status}} ·
retry <code>{{.Retry}}</code> · money_state <code>{{.MoneyState}}</code></p>
<h2>Cause</h2><p>{{.Cause.En}}<h2>What to do</h2><p>{{.Fix.En}}
<section lang="zh"><h1>{{.Title.Zh}}</h1><h2>原因</h2><p>{{.Cause.Zh}}<h2>处理方法</h2><p>{{.Fix.Zh}}</section>
<p><a href="/docs">All errors / 全部错误</a></html>{{end}}`))

const pagePolicy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"

func (s *server) docs(w http.ResponseWriter, _ *http.Request) {
	type line struct{ Method, Path, Summary, Scope, Role string }
	var view struct {
		Routes []line
		Errors []fault.Entry
	}
	for _, rt := range s.routes {
		view.Routes = append(view.Routes, line{rt.method, rt.path, rt.summary, string(rt.scope), string(rt.role)})
	}
	for _, c := range fault.Codes() {
		e, _ := fault.Lookup(c)
		view.Errors = append(view.Errors, e)
	}
	s.page(w, "docs", view)
}

// errorPage is what a problem's type leads to.
func (s *server) errorPage(w http.ResponseWriter, r *http.Request) {
	name, markdown := strings.CutSuffix(r.PathValue("code"), ".md")
	e, ok := fault.Lookup(fault.Code(name))
	if !ok {
		s.nowhere(w, r)
		return
	}
	if markdown || strings.Contains(r.Header.Get("Accept"), "text/markdown") {
		w.Header().Set("Content-Type", "text/markdown; charset=utf-8")
		_, _ = fmt.Fprintf(w, "# %s\n\n`%s` · HTTP %d · retry `%s` · money_state `%s`\n\n## Cause\n\n%s\n\n## What to do\n\n%s\n\n"+
			"# %s\n\n## 原因\n\n%s\n\n## 处理方法\n\n%s\n",
			e.Title.En, e.Code, e.Status, e.Retry, e.MoneyState, e.Cause.En, e.Fix.En, e.Title.Zh, e.Cause.Zh, e.Fix.Zh)
		return
	}
	s.page(w, "error", e)
}

func (s *server) page(w http.ResponseWriter, name string, view any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", pagePolicy)
	w.Header()["X-Content-Type-Options"] = noSniff
	if err := pages.ExecuteTemplate(w, name, view); err != nil {
		s.Logger.Warn("page not sent", slogError(err))
	}
}
