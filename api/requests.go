package api

import (
	"encoding/hex"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
)

// RequestGroup is how often a key got the same answer from the same operation.
type RequestGroup struct {
	Object  string    `json:"object" enum:"request_group"`
	Key     string    `json:"key,omitempty" doc:"Prefix of the API key; left out for people who have signed in"`
	Method  string    `json:"method" doc:"* for those that were too many to be told apart" example:"POST"`
	Path    string    `json:"path" doc:"Template of the path, such as /v1/payments/{id}; * for those that were too many to be told apart"`
	Status  int       `json:"status" doc:"HTTP status"`
	Type    string    `json:"type,omitempty" format:"uri" doc:"Of the problem: a page with cause and fix"`
	Code    string    `json:"code,omitempty" doc:"Of the problem; left out for what was not refused"`
	Title   string    `json:"title,omitempty" doc:"Of the problem, English"`
	TitleZH string    `json:"title_zh,omitempty" doc:"Of the problem, Chinese"`
	Count   int64     `json:"count" doc:"How many answers"`
	FirstAt time.Time `json:"first_at"`
	LastAt  time.Time `json:"last_at"`
	TraceID string    `json:"trace_id,omitempty" doc:"Of the newest refusal: an example, as its problem named it"`
}

// countRequest counts the answer for whoever has the key. Who has none belongs to nobody.
func (c *call) countRequest(took time.Duration) {
	if c.s.Requests == nil || c.who.KeyPrefix == "" && c.who.Operator == "" || c.status == 0 {
		return
	}
	c.s.Requests.Note(access.Asked{Tenant: c.who.Tenant, Key: c.who.KeyPrefix, Route: c.route.counts.route, Status: c.status, Code: c.code}, c.trace, c.started.Add(took))
}

func (c *call) listRequests() error {
	if c.s.Requests == nil {
		return fault.New(fault.NotFound, "this node counts no requests")
	}
	q := c.r.URL.Query()
	f := access.AskedFilter{Tenant: c.who.Tenant, Days: 7, Key: q.Get("key"), Refused: true}
	if text := q.Get("days"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > access.RequestsKept {
			return malformed("days is a number from 1 to " + strconv.Itoa(access.RequestsKept)).WithParam("days")
		}
		f.Days = n
	}
	switch q.Get("show") {
	case "", "refused":
	case "all":
		f.Refused = false
	default:
		return malformed("show is refused or all").WithParam("show")
	}
	found, more, err := c.s.Requests.List(c.ctx, &f)
	if err != nil {
		return err
	}
	out := ListOf[RequestGroup]{Object: "list", HasMore: more, Data: []RequestGroup{}}
	for i := range found {
		out.Data = append(out.Data, c.showGroup(&found[i]))
	}
	return c.reply(http.StatusOK, &out)
}

func (c *call) showGroup(g *access.AskedGroup) RequestGroup {
	method, path, ok := strings.Cut(g.Route, " ")
	if !ok {
		path = method
	}
	out := RequestGroup{
		Object: "request_group", Key: g.Key, Method: method, Path: path, Status: g.Status, Code: g.Code, Count: g.Count,
		FirstAt: g.FirstAt.UTC(), LastAt: g.LastAt.UTC(),
	}
	if g.Code != "" {
		out.Type, out.TraceID = c.s.pages(c.r)+"/errors/"+g.Code, hex.EncodeToString(g.Trace[:])
		out.Title, out.TitleZH = fault.Title(fault.Code(g.Code), "en"), fault.Title(fault.Code(g.Code), "zh")
	}
	return out
}

func requestRoutes() []*route {
	lowest, highest := 1.0, float64(access.RequestsKept)
	return []*route{{
		method: http.MethodGet, path: "/v1/requests", id: "list-requests", tag: "payments", summary: "What the API answered",
		about: "The tenant's requests of the last days, counted: a group for each key, operation, status and problem, the newest first, at most 500. Nothing that was " +
			"sent is kept. What was answered in the last five seconds may not be counted yet, and what a node had not written when it died never is; a request without a valid " +
			"key belongs to nobody.",
		scope: access.PaymentsRead,
		params: []*huma.Param{
			query("days", "Days of UTC back from today, today included; 7 if left out, 14 are kept.", &huma.Schema{Type: huma.TypeInteger, Minimum: &lowest, Maximum: &highest}),
			query("key", "Only this key, by its prefix.", text()),
			query("show", "refused, or all: what was not refused too; refused if left out.", words("refused", "all")),
		},
		answers: map[int]reflect.Type{200: of[ListOf[RequestGroup]]()}, faults: []fault.Code{fault.UnknownField}, do: (*call).listRequests,
	}}
}
