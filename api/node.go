package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/flight"
)

// Flights records what this process does. *flight.Recorder is one.
type Flights interface {
	Record(ctx context.Context, d time.Duration) ([]byte, error)
	// Stacks writes where each goroutine stands.
	Stacks(w io.Writer) error
}

var errNoFlights = fault.New(fault.NotFound, "this node records no flights")

func (c *call) stacks() error {
	if c.s.Flights == nil {
		return errNoFlights
	}
	c.status = http.StatusOK
	c.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_ = c.s.Flights.Stacks(c.w) // a caller that has left needs none
	return nil
}

func (c *call) recordFlight() error {
	if c.s.Flights == nil {
		return errNoFlights
	}
	d := flight.Usual
	if text := c.r.URL.Query().Get("seconds"); text != "" {
		n, err := strconv.Atoi(text)
		if d = time.Duration(n) * time.Second; err != nil || flight.Check(d) != nil {
			return fault.New(fault.MalformedRequest, "seconds is a whole number from 1 to "+strconv.Itoa(int(flight.Most/time.Second))).WithParam("seconds")
		}
	}
	raw, err := c.s.Flights.Record(c.ctx, d)
	if errors.Is(err, flight.ErrBusy) {
		return fault.New(fault.Overloaded, flight.ErrBusy.Error())
	}
	if err != nil {
		return fault.New(fault.Internal, "no recording was made").WithCause(err)
	}
	c.status = http.StatusOK
	c.w.Header().Set("Content-Type", "application/octet-stream")
	c.w.Header().Set("Content-Disposition", `attachment; filename="flight.trace"`)
	_, _ = c.w.Write(raw) // a caller that has left needs none
	return nil
}

func flightRoutes() []*route {
	return []*route{{
		method: http.MethodPost, path: "/v1/node/flight", id: "record-flight", tag: "operator", summary: "Record what this node does",
		about: "For some seconds from now: which goroutine ran where, and what it waited for, as `go tool trace` reads it, some megabytes at most. " +
			"It holds names of functions and times, and nothing of any payment. One at a time; it costs nothing when nobody asks.",
		scope: access.Installation, role: access.Operate,
		params:  []*huma.Param{query("seconds", "For how long; 5 when left out, at most 30.", text())},
		answers: map[int]reflect.Type{200: of[string]()}, media: []string{"application/octet-stream"},
		faults: []fault.Code{fault.NotFound, fault.Overloaded}, do: (*call).recordFlight,
	}, {
		method: http.MethodGet, path: "/v1/node/stacks", id: "get-stacks", tag: "operator", summary: "Where each goroutine of this node stands",
		about: "Names of functions and lines, those at one place together with their number; no values.", scope: access.Installation, role: access.Operate,
		answers: map[int]reflect.Type{200: of[string]()}, media: []string{"text/plain"}, faults: []fault.Code{fault.NotFound}, do: (*call).stacks,
	}}
}
