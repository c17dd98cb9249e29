package otlp

import (
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// Path is where OTLP over HTTP takes spans.
const Path = "/v1/traces"

const (
	// bodyMax bounds a request, packed and unpacked: an exporter's batch is some 100 kB.
	bodyMax = 4 << 20
	// atOnceMax bounds the requests that are read at once.
	atOnceMax = 4
	// timeMax is where a time in nanoseconds since 1970 is still one.
	timeMax = 1 << 62
)

// Handler takes spans: POST /v1/traces, application/x-protobuf or application/json,
// plain or gzip (https://opentelemetry.io/docs/specs/otlp/#otlphttp). It answers 413 to
// what is too large, 429 while too many come at once, and how many spans of a request it
// did not take.
func (s *Store) Handler() http.Handler {
	slots := make(chan struct{}, atOnceMax)
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+Path, func(rw http.ResponseWriter, r *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
			s.receive(rw, r)
		default:
			rw.Header().Set("Retry-After", "1")
			http.Error(rw, "too many requests at once; send again in a second", http.StatusTooManyRequests)
		}
	})
	mux.HandleFunc("/", func(rw http.ResponseWriter, _ *http.Request) {
		http.Error(rw, "spans are taken at POST "+Path+" (OTLP over HTTP, protobuf or JSON)", http.StatusNotFound)
	})
	return mux
}

func (s *Store) receive(rw http.ResponseWriter, r *http.Request) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-protobuf" && kind != "application/json" {
		http.Error(rw, "send application/x-protobuf or application/json", http.StatusUnsupportedMediaType)
		return
	}
	body, status, err := bodyOf(rw, r)
	if err != nil {
		http.Error(rw, err.Error(), status)
		return
	}
	spans, err := decode(kind, body)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	answer := &collector.ExportTraceServiceResponse{}
	if refused := s.take(spans); refused > 0 {
		answer.PartialSuccess = &collector.ExportTracePartialSuccess{
			RejectedSpans: int64(refused), ErrorMessage: strconv.Itoa(refused) + " spans were dropped: too many a second, too many of one trace, or not whole",
		}
	}
	write := proto.Marshal
	if kind == "application/json" {
		write = protojson.Marshal
	}
	raw, err := write(answer)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	rw.Header().Set("Content-Type", kind)
	_, _ = rw.Write(raw) // who sent it has gone
}

// bodyOf reads the request, and says with which status it is refused.
func bodyOf(rw http.ResponseWriter, r *http.Request) ([]byte, int, error) {
	in := io.Reader(http.MaxBytesReader(rw, r.Body, bodyMax))
	switch packed := r.Header.Get("Content-Encoding"); packed {
	case "", "identity":
	case "gzip":
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, http.StatusBadRequest, fmt.Errorf("not gzip: %w", err)
		}
		in = z
	default:
		return nil, http.StatusUnsupportedMediaType, fmt.Errorf("content encoding %.20q: send gzip or nothing", packed)
	}
	body, err := io.ReadAll(io.LimitReader(in, bodyMax+1))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large), len(body) > bodyMax:
		return nil, http.StatusRequestEntityTooLarge, fmt.Errorf("longer than %d MB: send smaller batches", bodyMax>>20)
	case err != nil:
		return nil, http.StatusBadRequest, fmt.Errorf("broke off: %w", err)
	}
	return body, 0, nil
}

// decode reads a request of the exporter.
func decode(kind string, body []byte) ([]one, error) {
	var in collector.ExportTraceServiceRequest
	if kind == "application/json" {
		if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(body, &in); err != nil {
			return nil, fmt.Errorf("not OTLP in JSON: %w", err)
		}
	} else if err := proto.Unmarshal(body, &in); err != nil {
		return nil, fmt.Errorf("not OTLP in protobuf: %w", err)
	}
	json := kind == "application/json"
	var out []one
	for _, rs := range in.GetResourceSpans() {
		service := clip(textOf(rs.GetResource().GetAttributes(), "service.name"))
		for _, scope := range rs.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				out = append(out, kept(span, service, json))
			}
		}
	}
	return out, nil
}

func kept(in *tracepb.Span, service string, json bool) one {
	o := one{span: Span{
		Service: service, Name: clip(in.GetName()), Start: instant(in.GetStartTimeUnixNano()), End: instant(in.GetEndTimeUnixNano()),
	}}
	id(o.trace[:], in.GetTraceId(), json)
	id(o.span.ID[:], in.GetSpanId(), json)
	id(o.span.Parent[:], in.GetParentSpanId(), json)
	if in.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR {
		o.span.Failed, o.span.Error = true, clip(in.GetStatus().GetMessage())
	}
	for _, a := range in.GetAttributes() {
		if !slices.Contains(attrsKept, a.GetKey()) {
			continue
		}
		if o.span.Attrs == nil {
			o.span.Attrs = make(map[string]string)
		}
		o.span.Attrs[clip(a.GetKey())] = clip(valueOf(a.GetValue()))
	}
	return o
}

// id copies an id. In JSON ids are hexadecimal, where protobuf's own JSON has base64:
// what was read as that is written as that again, and read as what it is.
func id(to, from []byte, json bool) {
	if json {
		from, _ = hex.DecodeString(base64.StdEncoding.EncodeToString(from)) // what is none stays zero, and is refused
	}
	if len(from) == len(to) {
		copy(to, from)
	}
}

// instant reads nanoseconds since 1970; what is none is the year 1.
func instant(ns uint64) time.Time {
	if ns == 0 || ns > timeMax {
		return time.Time{}
	}
	return time.Unix(0, int64(ns)).UTC()
}

func textOf(attrs []*common.KeyValue, key string) string {
	for _, a := range attrs {
		if a.GetKey() == key {
			return valueOf(a.GetValue())
		}
	}
	return ""
}

func valueOf(v *common.AnyValue) string {
	switch x := v.GetValue().(type) {
	case *common.AnyValue_StringValue:
		return x.StringValue
	case *common.AnyValue_BoolValue:
		return strconv.FormatBool(x.BoolValue)
	case *common.AnyValue_IntValue:
		return strconv.FormatInt(x.IntValue, 10)
	case *common.AnyValue_DoubleValue:
		return strconv.FormatFloat(x.DoubleValue, 'g', -1, 64)
	}
	return ""
}

// ParseTraceID reads 32 hexadecimal digits, or a UUID.
func ParseTraceID(text string) (TraceID, bool) {
	var t TraceID
	raw := make([]byte, 0, 32)
	for i := range len(text) {
		if text[i] != '-' {
			raw = append(raw, text[i])
		}
	}
	if len(raw) != 32 {
		return t, false
	}
	_, err := hex.Decode(t[:], raw)
	return t, err == nil && t != (TraceID{})
}

// String is the id as 32 hexadecimal digits.
func (t TraceID) String() string { return hex.EncodeToString(t[:]) }
