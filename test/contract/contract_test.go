// Package contract holds what the API's own tests recorded against the OpenAPI
// document, with a judge that nobody here wrote: kin-openapi. It is a module of its
// own, so that the judge's dependencies do not touch the product. It refuses to
// pass without a recording: `make openapi` makes one.
package contract

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// exchange is one request with its answer, as api/world_test.go records it.
type exchange struct {
	Method, Path string
	Header       http.Header
	Body         string
	Status       int
	AnswerHeader http.Header
	Answer       string
}

func recording(t *testing.T) (*openapi3.T, routers.Router, []exchange) {
	t.Helper()
	dir := os.Getenv("MONETA_RECORD")
	if dir == "" {
		t.Skip("no recording: run `make openapi`")
	}
	doc, err := openapi3.NewLoader().LoadFromFile(filepath.Join(dir, "openapi.json"))
	if err != nil {
		t.Fatal(err)
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, "exchanges.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []exchange
	lines := bufio.NewReader(f)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e exchange
			if err := json.Unmarshal(line, &e); err != nil {
				t.Fatal(err)
			}
			out = append(out, e)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return doc, router, out
}

func TestTheDocumentIsValid(t *testing.T) {
	doc, _, _ := recording(t)
	if err := doc.Validate(context.Background(), openapi3.EnableExamplesValidation(), openapi3.EnableSchemaPatternValidation()); err != nil {
		t.Fatal(err)
	}
}

func input(e *exchange, router routers.Router) (*openapi3filter.ResponseValidationInput, error) {
	req, err := http.NewRequest(e.Method, e.Path, strings.NewReader(e.Body))
	if err != nil {
		return nil, err
	}
	req.Header = e.Header
	route, params, err := router.FindRoute(req)
	if err != nil {
		return nil, err
	}
	options := &openapi3filter.Options{IncludeResponseStatus: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc}
	in := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route, Options: options},
		Status:                 e.Status, Header: e.AnswerHeader, Options: options,
	}
	in.SetBodyBytes([]byte(e.Answer))
	return in, nil
}

// TestEveryAnswerFits: each answer has a status, a media type and a body that the
// document knows; and each request that was accepted is one that it allows.
func TestEveryAnswerFits(t *testing.T) {
	_, router, all := recording(t)
	covered, judged := map[string]bool{}, 0
	for i := range all {
		e := &all[i]
		if !strings.HasPrefix(e.Path, "/v1/") {
			continue
		}
		in, err := input(e, router)
		if err != nil {
			continue // tests ask for paths that are nowhere, too
		}
		if strings.Contains(e.AnswerHeader.Get("Content-Type"), "text/") || e.Status == http.StatusNoContent {
			in.Options.ExcludeResponseBody = true
		}
		judged++
		covered[in.RequestValidationInput.Route.Operation.OperationID] = true
		if err := openapi3filter.ValidateResponse(context.Background(), in); err != nil {
			t.Errorf("%s %s: %d: %v\n%s", e.Method, e.Path, e.Status, err, e.Answer)
		}
		switch in.RequestValidationInput.Route.Operation.OperationID {
		case "create-payments": // an item that is refused does not make the batch one that is
			continue
		case "receive-callback": // a channel's body is whatever the channel sends
			continue
		}
		if e.Status < 300 {
			if err := openapi3filter.ValidateRequest(context.Background(), in.RequestValidationInput); err != nil {
				t.Errorf("%s %s was accepted, and the document does not allow it: %v\n%s", e.Method, e.Path, err, e.Body)
			}
		}
	}
	t.Logf("%d answers of %d operations fit", judged, len(covered))
	if len(covered) < 40 {
		t.Errorf("only %d operations were recorded", len(covered))
	}
}

// TestTheJudgeBites: answers that are wrong on purpose are found.
func TestTheJudgeBites(t *testing.T) {
	_, router, all := recording(t)
	for i := range all {
		e := all[i]
		if e.Method != http.MethodGet || !strings.HasPrefix(e.Path, "/v1/payments/pay_") || e.Status != http.StatusOK || !strings.Contains(e.Answer, `"object":"payment"`) {
			continue
		}
		for name, spoil := range map[string]func(*exchange){
			"another status":   func(e *exchange) { e.Status = 418 },
			"a number":         func(e *exchange) { e.Answer = strings.Replace(e.Answer, `"amount":"`, `"amount":7,"x":"`, 1) },
			"a member is gone": func(e *exchange) { e.Answer = strings.Replace(e.Answer, `"asset":`, `"asst":`, 1) },
			"another object":   func(e *exchange) { e.Answer = strings.Replace(e.Answer, `"object":"payment"`, `"object":"pay"`, 1) },
			"another media":    func(e *exchange) { e.AnswerHeader = http.Header{"Content-Type": {"application/xml"}} },
		} {
			wrong := e
			spoil(&wrong)
			in, err := input(&wrong, router)
			if err != nil {
				t.Fatal(err)
			}
			if openapi3filter.ValidateResponse(context.Background(), in) == nil {
				t.Errorf("%s was not found", name)
			}
		}
		return
	}
	t.Fatal("no payment was recorded")
}
