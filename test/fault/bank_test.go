package fault

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/sandbox"
)

const secret = "fault-secret"

// bank is the outside world: real banks over real sockets, with books of their own,
// and the door through which they call back whoever lives now.
type bank struct {
	world  *world
	server *sandbox.Server
	http   *httptest.Server
	door   *httptest.Server
	cancel context.CancelFunc
	run    sync.WaitGroup
	client *http.Client
}

func openBank(w *world) (*bank, error) {
	server, err := sandbox.New(sandbox.Config{Banks: []string{"AB"}, Secret: secret})
	if err != nil {
		return nil, err
	}
	b := &bank{world: w, server: server, http: httptest.NewServer(server.Handler()), client: &http.Client{Transport: &http.Transport{}}}
	b.door = httptest.NewServer(http.HandlerFunc(b.callback))
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	b.run.Go(func() { _ = server.Run(ctx) })
	return b, server.SetCallbackURL(b.door.URL + "/v1/channels/bank-{code}/callbacks")
}

func (b *bank) close() {
	b.cancel()
	b.run.Wait()
	b.client.CloseIdleConnections()
	b.door.CloseClientConnections()
	b.door.Close()
	_ = b.server.Close()
	b.http.CloseClientConnections()
	b.http.Close()
}

// callback is the bank's word on its way to the plane: a side effect of the bank's.
func (b *bank) callback(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, channel.MaxBody+1))
	l := b.world.live()
	if err != nil || l == nil {
		panic(http.ErrAbortHandler)
	}
	how := b.world.effects.next(l, "callback", true)
	if how.reaches() {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		err = l.inbox.Receive(ctx, "bank-ab", r.Header, body)
		cancel()
	}
	if how.crashes() {
		l.kill()
	}
	switch {
	case how == refused:
		http.Error(w, "on purpose", http.StatusServiceUnavailable)
	case how != "" || l.dead.Load():
		panic(http.ErrAbortHandler)
	case err != nil:
		http.Error(w, err.Error(), fault.HTTPStatus(fault.CodeOf(err)))
	}
}

// road stands between one life and the banks.
type road struct {
	life *life
	http *httptest.Server
}

func (b *bank) road(l *life) *road {
	r := &road{life: l}
	r.http = httptest.NewServer(r)
	return r
}

// ServeHTTP passes one exchange on, once.
func (r *road) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	bank := r.life.world.bank
	how := r.life.world.effects.next(r.life, "bank: "+q.Method+" "+strings.TrimPrefix(q.URL.Path, "/banks/ab"), false)
	var status int
	var answer []byte
	if how.reaches() {
		status, answer, err = bank.exchange(context.WithoutCancel(q.Context()), q.Method, q.URL.RequestURI(), q.Header, body)
	}
	if how.crashes() {
		r.life.kill()
	}
	switch {
	case how == refused:
		http.Error(w, `{"error":{"code":"on_purpose"}}`, http.StatusServiceUnavailable)
	case how != "" || err != nil || r.life.dead.Load():
		panic(http.ErrAbortHandler)
	default:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write(answer)
	}
}

func (b *bank) exchange(ctx context.Context, method, uri string, header http.Header, body []byte) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, b.http.URL+uri, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if header != nil {
		req.Header = header.Clone()
	}
	resp, err := b.client.Transport.RoundTrip(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// call speaks to the bank as its customers and its operator do: undamaged.
func (b *bank) call(method, path, body string, into any) error {
	status, answer, err := b.exchange(context.Background(), method, path, nil, []byte(body))
	if err != nil {
		return err
	}
	if status >= 300 {
		return fmt.Errorf("%s %s: %d %s", method, path, status, answer)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer, into)
}

// behave makes the bank honest but for the patch; it calls back again soon.
func (b *bank) behave(patch string) error {
	honest := `{"magic_amounts":false,"callback_retry":{"attempts":200,"base_ms":20,"max_ms":100}}`
	if err := b.call(http.MethodPut, "/banks/ab/behaviour", honest, nil); err != nil || patch == "" {
		return err
	}
	return b.call(http.MethodPatch, "/banks/ab/behaviour", patch, nil)
}

// moved is one line of the bank's own books.
type moved struct {
	Direction  string `json:"direction"`
	Reference  string `json:"reference"`
	Remittance string `json:"remittance"`
	Amount     string `json:"amount"`
}

// books are everything that the bank has executed.
func (b *bank) books() (all []moved, err error) {
	for after := int64(0); ; {
		var page struct {
			Effects []moved `json:"effects"`
			Next    int64   `json:"next"`
			HasMore bool    `json:"has_more"`
		}
		if err := b.call(http.MethodGet, fmt.Sprintf("/banks/ab/books?after=%d&limit=500", after), "", &page); err != nil {
			return nil, err
		}
		all = append(all, page.Effects...)
		if after = page.Next; !page.HasMore {
			return all, nil
		}
	}
}
