package app

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/event"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
)

const (
	documentMax    = 4 << 20 // bytes of serve's own description
	documentWithin = 5 * time.Second
)

// developerRoutes are what somebody who writes against the API looks up. Every viewer may
// ask; only operators make a bank of the sandbox misbehave.
//
//	GET  /api/look/developers/operations   what there is to ask, from serve's own document
//	GET  /api/look/developers/events       what is told, with an example
//	GET  /api/look/developers/errors       every code: why, and what to do
//	GET  /api/look/developers/sandbox      the banks and what they can be made to do
//	POST /api/look/developers/sandbox      {"bank","trigger"}
func (w *watch) developerRoutes(mux *http.ServeMux) {
	d := &developers{serve: strings.TrimRight(w.cfg.ServeURL, "/"), sandbox: strings.TrimRight(w.cfg.SandboxURL, "/"), now: w.clock.Now}
	if !w.onlySandbox() {
		d.sandbox = ""
	}
	const at = "/api/look/developers/"
	mux.HandleFunc("GET "+at+"operations", d.operations)
	mux.HandleFunc("GET "+at+"events", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, eventCatalogue()) })
	mux.HandleFunc("GET "+at+"errors", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, errorCatalogue()) })
	mux.HandleFunc("GET "+at+"sandbox", d.banks)
	mux.HandleFunc("POST "+at+"sandbox", d.trigger)
}

type developers struct {
	serve, sandbox string
	now            func() time.Time

	mu    sync.Mutex
	known []apiOperation // the last that serve described
	at    time.Time
}

// ask reads a bounded JSON answer.
func (d *developers) ask(ctx context.Context, method, url string, body []byte, into any) error {
	ctx, cancel := context.WithTimeout(ctx, documentWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, documentMax))
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s answered %s: %s", url, resp.Status, bytes.TrimSpace(raw[:min(len(raw), 300)]))
	}
	return json.Unmarshal(raw, into)
}

// apiOperation is one of the API.
type apiOperation struct {
	ID      string          `json:"id"`
	Method  string          `json:"method"`
	Path    string          `json:"path"`
	Tag     string          `json:"tag"`
	Summary string          `json:"summary"`
	About   string          `json:"about"`
	Keyed   bool            `json:"keyed"` // takes an Idempotency-Key
	Open    bool            `json:"open"`  // asks nobody who they are
	Example json.RawMessage `json:"example,omitempty"`
	Answers []string        `json:"answers"`
}

// document is what of an OpenAPI document is looked at.
type document struct {
	Paths map[string]map[string]struct {
		OperationID string `json:"operationId"`
		Summary     string
		Description string
		Tags        []string
		Parameters  []struct {
			Name, In string
		}
		RequestBody struct {
			Content map[string]struct {
				Example json.RawMessage
			}
		} `json:"requestBody"`
		Responses map[string]json.RawMessage
		Security  []map[string][]string
	}
}

func (d *developers) operations(rw http.ResponseWriter, r *http.Request) {
	var doc document
	err := errors.New("this watch was started without a node of the wallet")
	if d.serve != "" {
		err = d.ask(r.Context(), http.MethodGet, d.serve+"/openapi.json", nil, &doc)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		d.known, d.at = doc.operations(), d.now()
	} else if d.known == nil {
		refuse(rw, http.StatusServiceUnavailable, codeUnreachable, "the API's own document cannot be read now: "+err.Error())
		return
	} else {
		rw.Header().Set(ageHeader, strconv.Itoa(int(d.now().Sub(d.at)/time.Second)))
	}
	answer(rw, d.known)
}

func (doc *document) operations() (all []apiOperation) {
	for path, methods := range doc.Paths {
		for method, o := range methods {
			op := apiOperation{
				ID: o.OperationID, Method: strings.ToUpper(method), Path: path, Summary: o.Summary, About: o.Description,
				Open: len(o.Security) == 0, Example: o.RequestBody.Content["application/json"].Example,
			}
			if len(o.Tags) > 0 {
				op.Tag = o.Tags[0]
			}
			for _, p := range o.Parameters {
				op.Keyed = op.Keyed || p.Name == "Idempotency-Key"
			}
			for code := range o.Responses {
				op.Answers = append(op.Answers, code)
			}
			slices.Sort(op.Answers)
			all = append(all, op)
		}
	}
	slices.SortFunc(all, func(a, b apiOperation) int {
		return cmp.Or(cmp.Compare(a.Tag, b.Tag), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method))
	})
	return all
}

// bilingual is a text for people.
type bilingual struct {
	En string `json:"en"`
	Zh string `json:"zh"`
}

// toldEvent is a type of event.
type toldEvent struct {
	Type string    `json:"type"`
	When bilingual `json:"when"`
	// Sent says that webhooks are sent it; all but the ping are in GET /v1/events.
	Sent bool `json:"sent"`
}

// eventList has the types, and one of them whole.
type eventList struct {
	Types   []toldEvent     `json:"types"`
	Example json.RawMessage `json:"example"`
}

func eventCatalogue() eventList {
	out := eventList{Types: []toldEvent{
		{event.PaymentFinal, bilingual{"A payment entered its final state; once per payment", "支付进入最终状态;每笔支付一次"}, true},
		{event.PaymentSettled, bilingual{"A statement of the channel matched it", "渠道对账单与之匹配"}, false},
		{event.PaymentUpdated, bilingual{"Something else moved, such as a part of a hold that was captured", "其他变动,例如预授权的部分扣款"}, false},
	}}
	for _, s := range pay.States() {
		if !s.Final() {
			out.Types = append(out.Types, toldEvent{event.Entered(s.String()), bilingual{"A payment became " + s.String(), "支付进入状态 " + s.String()}, false})
		}
	}
	out.Types = append(out.Types, toldEvent{event.WebhookPing, bilingual{"Somebody tests an endpoint", "有人测试端点"}, true})
	e := event.Event{
		ID: 7, Type: event.PaymentFinal, Tenant: 1, Time: time.Date(2026, 11, 22, 10, 42, 5, 0, time.UTC),
		Payment: event.PaymentMove{
			Object: "payment", ID: "pay_0000000000001", Version: 4, Kind: "payout", State: "succeeded", FromState: "sent", Status: "succeeded", Final: true,
			Settlement: "none", Amount: "70000", Asset: "CZK", From: "acct_0000000000002", Channel: "bank-ab", Attempt: 1, Source: "callback", Transition: "T7",
		},
	}
	if raw, err := json.Marshal(e.Envelope()); err == nil {
		out.Example = raw
	}
	return out
}

// knownError is a code of the error table.
type knownError struct {
	Code       string    `json:"code"`
	Status     int       `json:"status"`
	Retry      string    `json:"retry"`
	MoneyState string    `json:"money_state"`
	Title      bilingual `json:"title"`
	Cause      bilingual `json:"cause"`
	Fix        bilingual `json:"fix"`
}

func errorCatalogue() []knownError {
	var out []knownError
	for _, code := range fault.Codes() {
		e, _ := fault.Lookup(code)
		out = append(out, knownError{string(code), e.Status, string(e.Retry), string(e.MoneyState), bilingual(e.Title), bilingual(e.Cause), bilingual(e.Fix)})
	}
	return out
}

// trigger is something that a bank of the sandbox can be made to do.
type trigger struct {
	ID   string          `json:"id"`
	Does bilingual       `json:"does"`
	Sets json.RawMessage `json:"sets"`
}

// honest is how a bank is when nothing is set.
const honest = "honest"

// triggers are the failures that partners meet first; the sandbox has many more
// (sandbox/README.md).
var triggers = []trigger{
	{"lose_reply", bilingual{"executes, and loses the reply", "执行付款但丢失应答"}, json.RawMessage(`{"lose_reply":1}`)},
	{"lose_before", bilingual{"loses the order before it is seen", "订单在送达前丢失"}, json.RawMessage(`{"lose_before":1}`)},
	{"slow", bilingual{"answers after 5 to 8 seconds", "5 至 8 秒后才应答"}, json.RawMessage(`{"latency":{"probability":1,"min_ms":5000,"max_ms":8000}}`)},
	{"decline", bilingual{"declines: insufficient funds", "拒绝:余额不足"}, json.RawMessage(`{"decline":{"probability":1,"reason":"insufficient_funds","late":false}}`)},
	{"error_500", bilingual{"answers 503 and does nothing", "返回 503 且不执行"}, json.RawMessage(`{"error_500":{"probability":1,"executed":false,"status":503}}`)},
	{"callback_late", bilingual{"calls back a minute late", "回调延迟一分钟"}, json.RawMessage(`{"callback_delay":{"probability":1,"min_ms":60000,"max_ms":60000}}`)},
	{"callback_twice", bilingual{"sends every callback twice", "每个回调发送两次"}, json.RawMessage(`{"callback_duplicate":1}`)},
	{"callback_forged", bilingual{"forged callbacks come first", "先收到伪造的回调"}, json.RawMessage(`{"callback_forge":1}`)},
	{"query_error", bilingual{"answers no query", "查询一律出错"}, json.RawMessage(`{"query_error":1}`)},
}

// sandboxBank is one, with the trigger that it is under, if it is one of ours.
type sandboxBank struct {
	Code    string `json:"code"`
	Trigger string `json:"trigger"`
}

func (d *developers) banks(rw http.ResponseWriter, r *http.Request) {
	if d.sandbox == "" {
		refuse(rw, http.StatusNotFound, string(fault.NotFound), "there is no sandbox here: what the banks do is up to them")
		return
	}
	var all struct {
		Banks []struct {
			Code      string
			Behaviour map[string]any
		}
	}
	if err := d.ask(r.Context(), http.MethodGet, d.sandbox+"/banks", nil, &all); err != nil {
		refuse(rw, http.StatusServiceUnavailable, codeUnreachable, "the sandbox does not answer: "+err.Error())
		return
	}
	out := struct {
		Banks    []sandboxBank `json:"banks"`
		Triggers []trigger     `json:"triggers"`
	}{[]sandboxBank{}, triggers}
	for _, b := range all.Banks {
		out.Banks = append(out.Banks, sandboxBank{b.Code, underWhich(b.Behaviour)})
	}
	answer(rw, out)
}

// underWhich finds the trigger whose settings a bank has.
func underWhich(behaviour map[string]any) string {
	for _, t := range triggers {
		var sets map[string]any
		if json.Unmarshal(t.Sets, &sets) != nil {
			continue // never: a test looks at them
		}
		all := true
		for name, value := range sets {
			all = all && reflect.DeepEqual(behaviour[name], value)
		}
		if all {
			return t.ID
		}
	}
	return honest
}

func (d *developers) trigger(rw http.ResponseWriter, r *http.Request) {
	v, ok := visitorOf(r.Context())
	if !ok || !v.Role.Covers(access.Operate) {
		refuse(rw, http.StatusForbidden, string(fault.Forbidden), "this needs the role operator")
		return
	}
	var in struct{ Bank, Trigger string }
	if !take(rw, r, &in) {
		return
	}
	sets := []byte(`{}`)
	i := slices.IndexFunc(triggers, func(t trigger) bool { return t.ID == in.Trigger })
	if i >= 0 {
		sets = triggers[i].Sets
	}
	switch {
	case d.sandbox == "":
		refuse(rw, http.StatusNotFound, string(fault.NotFound), "there is no sandbox here: what the banks do is up to them")
	case i < 0 && in.Trigger != honest:
		refuse(rw, http.StatusBadRequest, string(fault.MalformedRequest), "there is no such trigger")
	case !bankCode(in.Bank):
		refuse(rw, http.StatusBadRequest, string(fault.MalformedRequest), "a bank has a code of 2 to 8 letters and digits")
	default:
		var now map[string]any
		if err := d.ask(r.Context(), http.MethodPut, d.sandbox+"/banks/"+in.Bank+"/behaviour", sets, &now); err != nil {
			refuse(rw, http.StatusServiceUnavailable, codeUnreachable, err.Error())
			return
		}
		answer(rw, sandboxBank{in.Bank, underWhich(now)})
	}
}

func bankCode(s string) bool {
	return len(s) >= 2 && len(s) <= 8 && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}
