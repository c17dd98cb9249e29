package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/doctor/signal/logs"
	"github.com/moneta-pay/moneta/doctor/signal/otlp"
	"github.com/moneta-pay/moneta/pay"
)

// otlpListen is where the watch takes spans unless a port is asked for: the one that
// exporters try by themselves. When it is taken, any free one is.
const otlpListen = "127.0.0.1:4318"

// TraceLook is what the watch knows of one trace.
type TraceLook struct {
	TraceID string `json:"trace_id,omitempty"`
	// Payments are those that the trace names.
	Payments []string `json:"payments"`
	// State is here, or why it is not: none_came, before_watch, forgotten, not_recorded,
	// unknown.
	State string `json:"state"`
	Says  string `json:"says"`
	// Waterfall is the trace; left out when it is not here.
	Waterfall *otlp.Waterfall `json:"waterfall,omitempty"`
	// JaegerURL opens it in a Jaeger outside; left out without --jaeger-url.
	JaegerURL string    `json:"jaeger_url,omitempty"`
	Held      otlp.Held `json:"held"`
	// Logs are the lines of serve's log that name the trace or its payments, oldest first;
	// left out where the watch sees no log. LogsSince is how far back they are kept.
	Logs      []logs.Line `json:"logs,omitempty"`
	LogsSince *time.Time  `json:"logs_since,omitempty"`
}

// receiveTraces takes in spans on a listener of its own, until the watch stops. Without a
// port it goes on without them: a doctor without traces is better than none.
func (w *watch) receiveTraces(ctx context.Context) error {
	w.traces = otlp.New(otlp.Config{Clock: w.clock})
	if w.cfg.OTLPListen == "off" {
		return nil
	}
	listener, err := w.cfg.listenOTLP(ctx)
	if err != nil {
		return err
	}
	if listener == nil {
		w.log.WarnContext(ctx, "no port for spans: no traces", slog.String("tried", otlpListen))
		return nil
	}
	w.tracesAt = "http://" + listener.Addr().String()
	server := &http.Server{
		Handler: w.traces.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			w.log.ErrorContext(ctx, "spans are not taken any more", slog.Any("error", err))
		}
	}()
	w.stops = append(w.stops, func(context.Context) error {
		err := server.Close()
		<-done
		return err
	})
	w.log.InfoContext(ctx, "taking spans", slog.String("url", w.tracesAt+otlp.Path))
	return nil
}

// listenOTLP opens the port that was asked for, or the usual one, or any.
func (c *WatchConfig) listenOTLP(ctx context.Context) (net.Listener, error) {
	var lc net.ListenConfig
	if c.OTLPListen != "" {
		if err := onlyLoopback("--otlp-listen", c.OTLPListen); err != nil {
			return nil, err
		}
		l, err := lc.Listen(ctx, "tcp", c.OTLPListen)
		if err != nil {
			return nil, fmt.Errorf("listen on %s for spans: %w; name another port with --otlp-listen, 0 for any free one, off for none", c.OTLPListen, err)
		}
		return l, nil
	}
	for _, at := range []string{otlpListen, "127.0.0.1:0"} {
		if l, err := lc.Listen(ctx, "tcp", at); err == nil {
			return l, nil
		}
	}
	return nil, nil
}

// onlyLoopback refuses an address that others than this machine reach.
func onlyLoopback(flag, address string) error {
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || (host != "localhost" && (ip == nil || !ip.IsLoopback())) {
		return fmt.Errorf("%s %s: the watch is reached from its own machine only; name a port of 127.0.0.1", flag, address)
	}
	return nil
}

// traceRoutes are for the console: a viewer may ask about payments that the API shows him.
//
//	GET /api/look/payments/{id}/trace   the waterfall of its trace, or why there is none; ?lang=en|zh
func (w *watch) traceRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/look/payments/{id}/trace", func(rw http.ResponseWriter, r *http.Request) {
		id, err := pay.ParseID(r.PathValue("id"))
		if err != nil {
			refuse(rw, http.StatusNotFound, "not-found", "a payment is named pay_ and 13 letters and digits")
			return
		}
		if w.mayRead(rw, r, id) {
			answer(rw, w.traceOfPayment(r.Context(), id, langOf(r)))
		}
	})
}

// giveTrace answers commands: of a payment, or of any trace.
func (w *watch) giveTrace(rw http.ResponseWriter, r *http.Request) {
	name, lang := r.PathValue("id"), langOf(r)
	if id, err := pay.ParseID(name); err == nil {
		answer(rw, w.traceOfPayment(r.Context(), id, lang))
		return
	}
	id, ok := otlp.ParseTraceID(name)
	if !ok {
		http.Error(rw, "name a payment, pay_…, or a trace by its 32 hexadecimal digits", http.StatusNotFound)
		return
	}
	answer(rw, w.traceLook(id, nil, lang))
}

// traceOfPayment looks by the payments that spans name, then by what the record of money
// says of it: a wallet that is not ours has no such record.
func (w *watch) traceOfPayment(ctx context.Context, id pay.ID, lang string) TraceLook {
	if t, ok := w.traces.OfPayment(id.String()); ok {
		return w.traceLook(t, nil, lang)
	}
	t, at, err := w.traceInBooks(ctx, id)
	if err != nil {
		out := TraceLook{Payments: []string{id.String()}, State: "unknown", Held: w.traces.Held()}
		out.Says = say(lang, "trace-unknown")
		return out
	}
	out := w.traceLook(t, &at, lang)
	if len(out.Payments) == 0 {
		out.Payments = []string{id.String()}
		w.logsOf(&out, out.TraceID)
	}
	return out
}

// traceInBooks is the payment's trace, and when it was made.
func (w *watch) traceInBooks(ctx context.Context, id pay.ID) (t otlp.TraceID, at time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, triageWithin)
	defer cancel()
	dsn, err := Database{DSN: w.cfg.DSN}.dsn(ctx)
	if err != nil {
		return t, at, err
	}
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return t, at, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	err = conn.QueryRow(ctx, `select trace_id, created_at from public.payments where id = $1`, int64(id)).Scan((*[16]byte)(&t), &at)
	return t, at.UTC(), err
}

// traceLook is one trace, or why it is not here; made is when its payment was, if known.
func (w *watch) traceLook(id otlp.TraceID, made *time.Time, lang string) TraceLook {
	out := TraceLook{TraceID: id.String(), Payments: w.traces.PaymentsOf(id), State: "here", Held: w.traces.Held()}
	if out.Payments == nil {
		out.Payments = []string{}
	}
	w.logsOf(&out, id.String())
	if w.cfg.JaegerURL != "" {
		out.JaegerURL = strings.TrimRight(w.cfg.JaegerURL, "/") + "/trace/" + id.String()
	}
	if t, ok := w.traces.Trace(id); ok {
		f := t.Waterfall()
		out.Waterfall, out.Says = &f, traceSays(&f, lang)
		return out
	}
	h := &out.Held
	age := func(s float64) string { return (time.Duration(s) * time.Second).String() }
	switch {
	case h.Newest == nil:
		out.State, out.Says = "none_came", say(lang, "trace-none_came", momentAt(h.Since), w.tracesAt)
	case made != nil && made.Before(h.Since):
		out.State, out.Says = "before_watch", say(lang, "trace-before_watch", momentAt(h.Since))
	case made == nil || w.clock.Now().Sub(*made).Seconds() > h.AgeS || h.Oldest != nil && made.Before(*h.Oldest) && h.Bytes > h.BytesMax/2:
		out.State, out.Says = "forgotten", say(lang, "trace-forgotten", age(h.AgeS), age(h.KeptAgeS), h.BytesMax>>20)
	default:
		out.State, out.Says = "not_recorded", say(lang, "trace-not_recorded")
	}
	return out
}

// logsMost is how many lines of the log are shown beside a trace.
const logsMost = 100

func (w *watch) logsOf(out *TraceLook, trace string) {
	if w.logs == nil {
		return
	}
	_, since, _ := w.logs.Kept()
	out.Logs, out.LogsSince = w.logs.Of(logsMost, append(slices.Clone(out.Payments), trace)...), &since
}

// traceSays is the waterfall in a sentence.
func traceSays(f *otlp.Waterfall, lang string) string {
	took := time.Duration(f.TookS * float64(time.Second)).Round(10 * time.Microsecond).String()
	switch {
	case f.Partial:
		return say(lang, "trace-partial", took)
	case f.Slow != nil:
		return say(lang, "trace-slow", hopSaid(lang, f.Slow.Hop), time.Duration(f.Slow.S*float64(time.Second)).Round(10*time.Microsecond).String(), 100*f.Slow.Share, took)
	}
	return say(lang, "trace-even", took)
}

// TraceConfig is what `moneta trace` was asked for.
type TraceConfig struct {
	DataDir string
	// ID is a payment or a trace.
	ID   string
	JSON bool
	Lang string
	Out  io.Writer
}

// Trace shows one trace; one that is not here is ExitUnclear, with the reason.
func Trace(ctx context.Context, c TraceConfig) error {
	look, raw, err := findTrace(ctx, c.DataDir, c.ID, c.Lang)
	if errors.Is(err, errNoWatch) {
		return &ExitError{Code: ExitUnclear, Message: say(c.Lang, "diag-no-watch", err)}
	}
	if err != nil {
		return err
	}
	if c.JSON {
		_, err = c.Out.Write(raw)
	} else {
		err = look.print(c.Out, c.Lang)
	}
	if err == nil && look.State != "here" {
		return &ExitError{Code: ExitUnclear}
	}
	return err
}

func findTrace(ctx context.Context, dataDir, id, lang string) (*TraceLook, []byte, error) {
	w, err := findWatch(dataDir)
	if err != nil {
		return nil, nil, err
	}
	raw, err := w.get(ctx, "/traces/"+url.PathEscape(id)+"?lang="+lang)
	if err != nil {
		return nil, nil, err
	}
	var look TraceLook
	if err := json.Unmarshal(raw, &look); err != nil {
		return nil, nil, fmt.Errorf("the watch at %s answered something else: %w", w.URL, err)
	}
	return &look, raw, nil
}

// barWide is how wide the picture of a waterfall is, in characters.
const barWide = 40

// print shows the waterfall as text: where on the line of time each stretch lies.
func (l *TraceLook) print(out io.Writer, lang string) error {
	fmt.Fprintln(out, l.Says)
	if f := l.Waterfall; f != nil {
		t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		for i := range f.Rows {
			r := &f.Rows[i]
			mark := ""
			if r.Slow {
				mark = say(lang, "trace-mark")
			}
			if r.Failed {
				mark += " " + r.Error
			}
			fmt.Fprintf(t, "%s%s\t%s\t%s\t|%s|\t%s\n", strings.Repeat("  ", r.Depth), r.Hop, r.Name,
				time.Duration(r.TookS*float64(time.Second)).Round(10*time.Microsecond), bar(r, f.TookS), strings.TrimSpace(mark))
		}
		if err := t.Flush(); err != nil {
			return err
		}
		for _, p := range f.Hops {
			fmt.Fprintf(out, "%5.1f %%  %s\n", 100*p.Share, p.Hop)
		}
	}
	for i := range l.Logs {
		g := &l.Logs[i]
		fmt.Fprintf(out, "%s %-5s %s %s\n", momentAt(g.At), g.Level, g.Message, pairs(g.Attrs))
	}
	if l.JaegerURL != "" {
		fmt.Fprintln(out, l.JaegerURL)
	}
	return nil
}

// pairs are what a line of the log says besides its message.
func pairs(attrs map[string]string) string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(attrs)) {
		all = append(all, k+"="+attrs[k])
	}
	return strings.Join(all, " ")
}

func bar(r *otlp.Row, all float64) string {
	if all <= 0 {
		return strings.Repeat(" ", barWide)
	}
	from := min(int(r.FromS/all*barWide), barWide-1)
	wide := max(1, min(int(r.TookS/all*barWide+.5), barWide-from))
	fill := "█"
	if r.Gap || r.Waits {
		fill = "░"
	}
	return strings.Repeat(" ", from) + strings.Repeat(fill, wide) + strings.Repeat(" ", barWide-from-wide)
}

// otlpFor chooses where the watch of an up takes spans, and where its serve sends them:
// there, and to the collector that the environment names.
func otlpFor(ctx context.Context) (listen, endpoints string) {
	var lc net.ListenConfig
	for _, at := range []string{otlpListen, "127.0.0.1:0"} {
		l, err := lc.Listen(ctx, "tcp", at)
		if err != nil {
			continue
		}
		listen = l.Addr().String()
		_ = l.Close()
		break
	}
	outside := os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT")
	switch {
	case listen == "":
		return "off", outside
	case outside != "":
		return listen, "http://" + listen + "," + outside
	}
	return listen, "http://" + listen
}
