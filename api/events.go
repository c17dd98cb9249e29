package api

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/event"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/outbox"
)

const (
	// heartbeat keeps proxies and browsers from closing a quiet stream.
	heartbeat = 10 * time.Second
	// stillMay is how often a stream's key is looked at again: a revoked key's
	// streams end within this and the second for which access believes a look-up.
	stillMay = time.Second
	// streamMax bounds one stream; the client connects again where it was.
	streamMax = 30 * time.Minute
	// streamWrite bounds one write to a client that does not read.
	streamWrite = 10 * time.Second
	// typesMax bounds the types of one filter.
	typesMax = 20
)

func (c *call) listEvents() error {
	if c.s.Events == nil {
		return fault.New(fault.NotFound, "this node tells no events")
	}
	q := outbox.Query{Tenant: pay.TenantID(c.who.Tenant)}
	values := c.r.URL.Query()
	var err error
	if q.Limit, err = limit(values, outbox.PageMax); err != nil {
		return err
	}
	if s := values.Get("after"); s != "" {
		if q.After, err = event.ParseID(s); err != nil {
			return malformed("the cursor is the id of an event, or the next of a page").WithParam("after")
		}
	}
	if s := values.Get("type"); s != "" {
		if q.Types = strings.Split(s, ","); len(q.Types) > typesMax {
			return malformed("fewer types, please").WithParam("type")
		}
	}
	var patience time.Duration
	if s := values.Get("wait"); s != "" {
		n, err := strconv.ParseUint(s, 10, 31)
		if err != nil {
			return malformed("wait is a number of seconds").WithParam("wait")
		}
		patience = min(time.Duration(n)*time.Second, WaitMax)
	}
	page, err := c.s.Events.List(c.ctx, q)
	if err != nil {
		return err
	}
	if len(page.Events) == 0 && !page.More && patience > 0 && c.s.Feed != nil {
		if page, err = c.awaitEvents(q, patience); err != nil {
			return err
		}
	}
	out := ListOf[event.Envelope]{Object: "list", Data: make([]event.Envelope, len(page.Events)), HasMore: page.More}
	for i := range page.Events {
		out.Data[i] = page.Events[i].Envelope()
	}
	if page.Next != 0 {
		out.Next = page.Next.String()
	}
	if out.HasMore {
		c.linkNext(out.Next)
	}
	return c.reply(http.StatusOK, &out)
}

// awaitEvents waits until there is something to answer with, or patience ends. It
// gives up the slot in flight: waiting is not work.
func (c *call) awaitEvents(q outbox.Query, patience time.Duration) (outbox.Page, error) {
	leave, err := c.s.streams.enter(c.who.Name())
	if err != nil {
		return outbox.Page{}, err
	}
	defer leave()
	sub, err := c.s.Feed.Subscribe(c.ctx, q.Tenant, 0)
	if err != nil {
		return outbox.Page{}, err
	}
	defer sub.Close()
	c.release()
	c.mayTake(patience)
	ctx, cancel := context.WithTimeout(c.r.Context(), patience)
	defer cancel()
	for {
		// A page that matched nothing has moved on: what came to nothing is not read again.
		page, err := c.s.Events.List(c.r.Context(), q)
		if err != nil || len(page.Events) > 0 || page.More {
			return page, err
		}
		q.After = page.Next
		select {
		case <-ctx.Done():
			return page, nil
		case _, ok := <-sub.Events:
			if !ok { // too many at once: the log has them
				return c.s.Events.List(c.r.Context(), q)
			}
			for len(sub.Events) > 0 {
				<-sub.Events
			}
		}
	}
}

// paymentEvents streams a payment's events until it is final.
func (c *call) paymentEvents() error {
	if c.s.Events == nil || c.s.Feed == nil {
		return fault.New(fault.NotFound, "this node tells no events")
	}
	p, err := c.payment()
	if err != nil {
		return err
	}
	after, err := lastEventID(c.r.Header)
	if err != nil {
		return err
	}
	leave, err := c.s.streams.enter(c.who.Name())
	if err != nil {
		return err
	}
	defer leave()
	sub, err := c.s.Feed.Subscribe(c.ctx, p.Tenant, p.ID)
	if err != nil {
		return err
	}
	defer sub.Close()
	past, err := c.s.Events.Of(c.ctx, p.Tenant, p.ID, after)
	if err != nil {
		return err
	}
	if len(past) == 0 && p.State.Final() {
		c.status = http.StatusNoContent // which tells an EventSource not to come back
		c.w.WriteHeader(c.status)
		return nil
	}
	c.release()
	s := newStream(c)
	s.begin()
	final := p.State.Final()
	for i := range past {
		s.send(&past[i])
		final = final || past[i].Payment.Final
	}
	if !final {
		s.follow(sub)
	}
	return nil // what went wrong on the way is the client's to notice: it connects again
}

// lastEventID reads where a client was: an event's id, or the bare number.
func lastEventID(h http.Header) (event.ID, error) {
	text := h.Get("Last-Event-Id")
	if text == "" {
		return 0, nil
	}
	if id, err := event.ParseID(text); err == nil {
		return id, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, malformed("Last-Event-ID is the id of an event").WithParam("Last-Event-ID")
	}
	return event.ID(n), nil
}

// stream writes server-sent events. After a write that failed it writes no more.
type stream struct {
	c    *call
	ctl  *http.ResponseController
	last event.ID
	err  error
}

func newStream(c *call) *stream { return &stream{c: c, ctl: http.NewResponseController(c.w)} }

func (s *stream) begin() {
	s.c.mayTake(streamMax)
	h := s.c.w.Header()
	h["Content-Type"] = []string{"text/event-stream"}
	h["X-Accel-Buffering"] = []string{"no"} // nginx would hold the events back
	s.c.status = http.StatusOK
	s.c.w.WriteHeader(http.StatusOK)
	s.write("retry: 1000\n\n")
}

func (s *stream) write(text string) {
	if s.err != nil {
		return
	}
	_ = s.ctl.SetWriteDeadline(time.Now().Add(streamWrite)) //nolint:forbidigo // a deadline of the connection
	if _, s.err = s.c.w.Write([]byte(text)); s.err == nil {
		s.err = s.ctl.Flush()
	}
}

// send tells an event once: the past and the subscription overlap.
func (s *stream) send(e *event.Event) {
	if e.ID <= s.last {
		return
	}
	body, err := e.JSON()
	if err != nil {
		s.err = err
		return
	}
	s.last = e.ID
	s.write("id: " + e.ID.String() + "\nevent: " + e.Type + "\ndata: " + string(body) + "\n\n")
}

// follow sends what comes until the payment is final, the key is revoked, the
// client leaves, or the stream is old.
func (s *stream) follow(sub *outbox.Subscription) {
	ctx, cancel := context.WithTimeout(s.c.r.Context(), streamMax)
	defer cancel()
	beat, may := time.NewTicker(heartbeat), time.NewTicker(stillMay)
	defer beat.Stop()
	defer may.Stop()
	for s.err == nil {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-sub.Events:
			if !ok {
				return
			}
			s.send(&e)
			if e.Payment.Final {
				return
			}
		case <-beat.C:
			s.write(": still here\n\n")
		case <-may.C:
			if !s.c.stillMay(ctx) {
				return
			}
		}
	}
}

// stillMay looks at the key again; a database that does not answer ends nothing.
func (c *call) stillMay(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, c.s.Timeout)
	defer cancel()
	if c.who.Operator != "" {
		active, err := c.s.Access.Active(ctx, &c.who)
		return err != nil || active
	}
	token, ok := bearer(c.r.Header)
	if !ok {
		return true // a signed request cannot be judged twice; the stream's own end bounds it
	}
	var who access.Principal
	var err error
	if access.IsSession(token) {
		who, err = c.s.Access.AuthenticateSession(ctx, token, false)
	} else {
		who, err = c.s.Access.Authenticate(ctx, token)
	}
	if err != nil {
		return fault.CodeOf(err) != fault.Unauthenticated
	}
	return who.Operator != "" && who.Role.Covers(c.route.role) || who.Operator == "" && who.May(c.route.scope)
}

// mayTake lets the connection live as long as an answer that waits: the server's
// own limits are for answers that come at once, and the one on reading, left
// alone, ends the request when it passes.
func (c *call) mayTake(d time.Duration) {
	ctl := http.NewResponseController(c.w)
	until := time.Now().Add(d + readTimeout) //nolint:forbidigo // a deadline of the connection
	_ = ctl.SetReadDeadline(until)           // not every writer has deadlines: tests
	_ = ctl.SetWriteDeadline(until)
}

// streams counts the streams and long polls of each key.
type streams struct {
	most int
	mu   sync.Mutex
	open map[string]int
}

func newStreams(most int) *streams { return &streams{most: most, open: make(map[string]int)} }

func (s *streams) enter(key string) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[key] >= s.most {
		return nil, fault.New(fault.RateLimited, "this key has "+strconv.Itoa(s.most)+" streams open on this node; close one, or follow GET /v1/events")
	}
	s.open[key]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.open[key]--; s.open[key] == 0 {
			delete(s.open, key)
		}
	}, nil
}
