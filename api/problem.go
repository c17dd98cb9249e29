package api

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay/intake"
)

// Problem is the one body of every error (RFC 9457).
type Problem struct {
	Type       string        `json:"type" format:"uri" doc:"Page with cause and fix, absolute: below the configured docs_url, or else below the address that was called" example:"https://moneta.example/errors/insufficient-funds"`
	Title      string        `json:"title" doc:"Short English title, the same for every occurrence"`
	Status     int           `json:"status" doc:"HTTP status"`
	Detail     string        `json:"detail,omitempty" doc:"One sentence about this occurrence"`
	Instance   string        `json:"instance" doc:"Name of this occurrence"`
	Code       string        `json:"code" doc:"Stable slug; compare this, never a text"`
	Param      string        `json:"param,omitempty" doc:"JSON pointer to the member, or name of the parameter"`
	Errors     []ProblemItem `json:"errors,omitempty" doc:"All faults, when the request has several"`
	Retry      string        `json:"retry" enum:"safe_same_key,after,never" doc:"May the same request be sent again"`
	MoneyState string        `json:"money_state" enum:"not_moved,moved,unknown_will_resolve" doc:"What this request did to money"`
	TraceID    string        `json:"trace_id" doc:"W3C trace id of the request"`
	Resource   string        `json:"resource,omitempty" doc:"Id of the resource concerned"`
	MessageZH  string        `json:"message_zh" doc:"Title in Chinese"`

	retryAfter int // seconds
}

// ProblemItem is one of several faults of a request.
type ProblemItem struct {
	Code   string `json:"code"`
	Param  string `json:"param,omitempty"`
	Detail string `json:"detail"`
}

// problem describes err to the caller.
func (c *call) problem(err error) *Problem {
	p := newProblem(err, c.traceHex)
	p.Type = c.s.pages(c.r) + "/errors/" + p.Code
	return p
}

// pages is where the pages of errors are: docs_url, or the address that the caller
// used. What a proxy says about that address is not believed; set docs_url behind
// one.
func (s *server) pages(r *http.Request) string {
	switch {
	case s.DocsURL != "":
		return s.DocsURL
	case r.TLS != nil:
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

func newProblem(err error, traceHex string) *Problem {
	f := fault.From(err)
	p := &Problem{
		Title: fault.Title(f.Code, "en"), Status: fault.HTTPStatus(f.Code), Detail: f.Detail,
		Instance: "urn:moneta:request:" + traceHex, Code: string(f.Code), Param: f.Param,
		Retry: string(fault.RetryOf(f)), MoneyState: string(fault.MoneyStateOf(f)),
		TraceID: traceHex, Resource: f.Resource, MessageZH: fault.Title(f.Code, "zh"),
	}
	if wait := fault.RetryAfterOf(f); wait > 0 {
		p.retryAfter = int((wait + time.Second - 1) / time.Second)
	}
	var several intake.Problems
	if errors.As(err, &several) {
		for _, e := range several {
			detail := e.Detail
			if detail == "" {
				detail = fault.Title(e.Code, "en")
			}
			p.Errors = append(p.Errors, ProblemItem{Code: string(e.Code), Param: e.Param, Detail: detail})
		}
	}
	return p
}

// nowhere answers for paths and methods that no route has.
func (s *server) nowhere(w http.ResponseWriter, r *http.Request) {
	c := &call{s: s, route: nowhereRoute, w: w, r: r, started: time.Now(), buf: new(bytes.Buffer)} //nolint:forbidigo // for the log gate
	c.traced()
	allow := s.allowed(r)
	if allow == "" || strings.Contains(allow, r.Method) { // a route that found nothing comes here too
		c.refuse(fault.New(fault.NotFound, ""))
		return
	}
	w.Header().Set("Allow", allow)
	c.refuse(fault.New(fault.MethodNotAllowed, ""))
}

var nowhereRoute = &route{method: "*", path: "/"}

// allowed asks the mux which methods the path has.
func (s *server) allowed(r *http.Request) string {
	allow := ""
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
		other := &http.Request{Method: m, URL: r.URL, Host: r.Host}
		if _, pattern := s.mux.Handler(other); pattern != "" && pattern != "/" {
			if allow != "" {
				allow += ", "
			}
			allow += m
		}
	}
	return allow
}
