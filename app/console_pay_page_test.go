package app

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/attend"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/status"
)

// linkServe answers as serve does for one good token, over a real socket.
type linkServe struct {
	mu      sync.Mutex
	code    int // other than 0: what everything is answered with
	payment pay.Payment
	facts   status.Facts
	events  []status.Event
	asked   int
	appeals map[string]string // key to body
}

const goodToken = "AQtoken"

func (s *linkServe) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	rw.Header().Set("Content-Type", "application/json")
	switch {
	case s.code != 0:
		rw.WriteHeader(s.code)
	case r.URL.Path == "/v1/links/"+goodToken:
		_ = json.NewEncoder(rw).Encode(status.ViewOf(&s.payment, s.facts, s.events, r.URL.Query().Get("lang")))
	case r.URL.Path == "/v1/links/"+goodToken+"/receipt":
		_, _ = io.WriteString(rw, `{"object":"receipt","id":"evt_0000000000007","payment":"`+s.payment.ID.String()+`","jws":"head.body.signature"}`)
	case r.URL.Path == "/v1/links/"+goodToken+"/appeal" && r.Method == http.MethodPost:
		body, _ := io.ReadAll(r.Body)
		s.appeals[r.Header.Get("Idempotency-Key")] = string(body)
		s.facts.Case = &status.OpenCase{Number: "C-2026-000007", Deadline: s.facts.Now.Add(4 * time.Hour)}
		rw.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(rw, `{"number":"C-2026-000007","owner":"support","deadline":"2026-11-22T16:00:00Z"}`)
	default:
		rw.WriteHeader(http.StatusNotFound)
	}
}

func (s *linkServe) change(f func(*linkServe)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

// pageWorld is the pages before a serve of that kind, on a clock of their own.
type pageWorld struct {
	t      *testing.T
	serve  *linkServe
	server *httptest.Server
	now    *clock.Manual
	doctor attend.Now
	mux    *http.ServeMux
}

func newPageWorld(t *testing.T) *pageWorld {
	t.Helper()
	start := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	w := &pageWorld{t: t, now: clock.NewManual(start), mux: http.NewServeMux(), serve: &linkServe{appeals: map[string]string{}}}
	p := &w.serve.payment
	*p = pay.Payment{
		ID: 42, Kind: pay.Payout, Asset: "CZK", Amount: money.Int(50000), From: 2, Channel: "bank-ab", State: pay.Unknown,
		CreatedAt: start.Add(-time.Minute), EnteredAt: start.Add(-30 * time.Second), NextAt: start.Add(5 * time.Second), LastCheckedAt: start.Add(-10 * time.Second),
		Attempt: pay.Attempt{N: 1, State: pay.AttemptUnknown, Reference: pay.Reference(42, 1)},
	}
	less, err := p.Amount.Neg()
	require.NoError(t, err)
	w.serve.facts = status.Facts{Now: start, Books: status.Books{Available: less}, AppealURL: "/v1/links/" + goodToken + "/appeal"}
	w.serve.events = []status.Event{
		{At: p.CreatedAt, To: pay.Reserved},
		{At: p.CreatedAt.Add(time.Second), From: pay.Reserved, To: pay.Dispatching},
		{At: p.EnteredAt, From: pay.Dispatching, To: pay.Unknown},
		{At: p.EnteredAt, Said: `<script>alert("x")</script>`},
	}
	w.server = httptest.NewServer(w.serve)
	t.Cleanup(w.server.Close)
	pages := newPayPages(w.server.URL, w.now, func() attend.Now { return w.doctor })
	w.mux.HandleFunc("GET /public/pay/{token}", pages.show)
	w.mux.HandleFunc("GET /public/pay/{token}/receipt", pages.receipt)
	w.mux.HandleFunc("POST /public/pay/{token}/appeal", pages.appeal)
	return w
}

func (w *pageWorld) get(path string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(w.t.Context(), http.MethodGet, path, http.NoBody)
	rw := httptest.NewRecorder()
	w.mux.ServeHTTP(rw, r)
	return rw
}

func (w *pageWorld) post(path string, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(w.t.Context(), http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	rw := httptest.NewRecorder()
	w.mux.ServeHTTP(rw, r)
	return rw
}

const goodPage = "/public/pay/" + goodToken

// TestThePageTellsItsHolder in both languages, without a script, and nobody else.
func TestThePageTellsItsHolder(t *testing.T) {
	t.Parallel()
	w := newPageWorld(t)
	page := w.get(goodPage + "?lang=en")
	require.Equal(t, http.StatusOK, page.Code)
	body := page.Body.String()
	for _, want := range []string{
		"Confirming with the bank", "500.00 CZK", "Your 500.00 CZK is safe", "Please do not pay again", status.Reference(42),
		"last check 2026-11-22 11:59:50 UTC", `action="/public/pay/AQtoken/appeal?lang=en"`, "Reserved", "Delivered", "Can my money be lost?",
		"Do not clear the app&#39;s data", "&lt;script&gt;alert", `http-equiv="refresh"`,
	} {
		require.Contains(t, body, want)
	}
	for _, never := range []string{"<script>alert", "bank-ab", pay.Reference(42, 1), "0001-01-01", "ZgotmplZ"} {
		require.NotContains(t, body, never)
	}
	require.Contains(t, w.get(goodPage+"?lang=zh").Body.String(), "正在向银行核实")
	h := page.Header()
	require.Equal(t, "no-store", h.Get("Cache-Control"))
	require.Equal(t, "same-origin", h.Get("Referrer-Policy"))
	require.Contains(t, h.Get("X-Robots-Tag"), "noindex")
	require.Contains(t, h.Get("Content-Security-Policy"), "default-src 'none'")
	require.Empty(t, h.Get("Set-Cookie"))

	wrong := w.get("/public/pay/other?lang=en")
	require.Equal(t, http.StatusNotFound, wrong.Code)
	require.Contains(t, wrong.Body.String(), "not valid")
	require.NotContains(t, wrong.Body.String(), "500.00")
	require.Equal(t, http.StatusNotFound, w.get("/public/pay/"+strings.Repeat("A", 500)).Code)
}

// TestAFinalPageIsCalm: nothing to wait for, nothing to be loud about.
func TestAFinalPageIsCalm(t *testing.T) {
	t.Parallel()
	w := newPageWorld(t)
	w.serve.change(func(s *linkServe) {
		s.payment.State, s.payment.Attempt.State = pay.Succeeded, pay.Confirmed
		s.events = append(s.events, status.Event{At: s.facts.Now, From: pay.Unknown, To: pay.Succeeded})
	})
	body := w.get(goodPage + "?lang=en").Body.String()
	require.Contains(t, body, "The bank has confirmed that 500.00 CZK was paid out.")
	require.Contains(t, body, `class="card top ok"`)
	require.NotContains(t, body, `http-equiv="refresh"`)
	require.NotContains(t, body, "band again")
}

// TestThePageOutlivesServe: it shows what was known and how old that is; without
// anything known it says so, and never that all is well.
func TestThePageOutlivesServe(t *testing.T) {
	t.Parallel()
	w := newPageWorld(t)
	require.Equal(t, http.StatusOK, w.get(goodPage+"?lang=en").Code)
	for _, code := range []int{http.StatusServiceUnavailable, http.StatusInternalServerError, http.StatusTooManyRequests} {
		w.serve.change(func(s *linkServe) { s.code = code })
		w.now.Advance(10 * time.Minute)
		page := w.get(goodPage + "?lang=en")
		require.Equal(t, http.StatusOK, page.Code)
		require.Contains(t, page.Body.String(), "This is what we knew at 2026-11-22 12:00:00 UTC")
	}
	require.Contains(t, w.get(goodPage+"?lang=en").Body.String(), "30 minutes ago")
	cold := w.get(goodPage + "?lang=zh")
	require.Equal(t, http.StatusTooManyRequests, cold.Code)
	w.serve.change(func(s *linkServe) { s.code = http.StatusBadGateway })
	cold = w.get(goodPage + "?lang=zh")
	require.Equal(t, http.StatusServiceUnavailable, cold.Code, "nothing is known in this language")
	require.Contains(t, cold.Body.String(), "请勿重复支付")

	w.server.Close()
	require.Contains(t, w.get(goodPage+"?lang=en").Body.String(), "This is what we knew at")
	w.now.Advance(pagesFor)
	require.Equal(t, http.StatusServiceUnavailable, w.get(goodPage+"?lang=en").Code, "what is older than a day is not shown")
}

// TestALinkThatEndedIsForgotten: what was kept of it goes with it.
func TestALinkThatEndedIsForgotten(t *testing.T) {
	t.Parallel()
	w := newPageWorld(t)
	require.Equal(t, http.StatusOK, w.get(goodPage).Code)
	w.now.Advance(time.Minute)
	w.serve.change(func(s *linkServe) { s.code = http.StatusNotFound })
	require.Equal(t, http.StatusNotFound, w.get(goodPage).Code)
	w.serve.change(func(s *linkServe) { s.code = http.StatusServiceUnavailable })
	require.Equal(t, http.StatusServiceUnavailable, w.get(goodPage).Code)
}

// TestACrowdCostsOneQuestion each second, and one address so many pages a minute.
func TestACrowdCostsOneQuestion(t *testing.T) {
	t.Parallel()
	w := newPageWorld(t)
	limited := 0
	for range visits.Quota + 10 {
		if w.get(goodPage).Code == http.StatusTooManyRequests {
			limited++
		}
	}
	require.Equal(t, 10, limited)
	require.Equal(t, 1, w.serve.asked)
}

var keyField = regexp.MustCompile(`name="key" value="([0-9a-f]{32})"`)

// TestOneClickAsksForAPerson: the case at once, and a second click is the same appeal.
func TestOneClickAsksForAPerson(t *testing.T) {
	t.Parallel()
	w := newPageWorld(t)
	key := keyField.FindStringSubmatch(w.get(goodPage + "?lang=en").Body.String())[1]
	form := url.Values{"key": {key}, "text": {" where is it? "}}
	for range 2 {
		page := w.post(goodPage+"/appeal?lang=en", form)
		require.Equal(t, http.StatusOK, page.Code)
		require.Contains(t, page.Body.String(), "Your case is C-2026-000007. It is with our support team, who answer by 2026-11-22 16:00:00 UTC.")
		require.Contains(t, page.Body.String(), "case C-2026-000007, due by")
	}
	require.Len(t, w.serve.appeals, 1)
	require.JSONEq(t, `{"text":"where is it?","client":{"screen":"payment page","language":"en"}}`, w.serve.appeals[key])

	// While serve is gone the wish keeps its key: sent again, it is the same.
	w.serve.change(func(s *linkServe) { s.code = http.StatusServiceUnavailable })
	page := w.post(goodPage+"/appeal?lang=en", form)
	require.Contains(t, page.Body.String(), "press the button again")
	require.Equal(t, key, keyField.FindStringSubmatch(page.Body.String())[1])

	w.serve.change(func(s *linkServe) { s.code = 0 })
	require.Equal(t, http.StatusNotFound, w.post("/public/pay/other/appeal", form).Code)
	require.Equal(t, http.StatusRequestEntityTooLarge, w.post(goodPage+"/appeal", url.Values{"text": {strings.Repeat("x", appealMax)}}).Code)
	w.post(goodPage+"/appeal", url.Values{"key": {"not one of ours"}})
	require.NotContains(t, w.serve.appeals, "not one of ours")
}

// TestAnIncidentIsToldToWhoWaits, and to nobody else.
func TestAnIncidentIsToldToWhoWaits(t *testing.T) {
	t.Parallel()
	w := newPageWorld(t)
	const words = "There is a disturbance at the moment"
	require.NotContains(t, w.get(goodPage+"?lang=en").Body.String(), words)
	w.doctor = attend.Now{Incident: "inc-20261122-115900", Alarms: []doctor.Alarm{{Page: true}}}
	require.Contains(t, w.get(goodPage+"?lang=en").Body.String(), words+" (inc-20261122-115900)")
	w.doctor.Alarms[0].Page = false
	require.NotContains(t, w.get(goodPage+"?lang=en").Body.String(), words)
	w.doctor.Alarms[0].Page = true
	w.serve.change(func(s *linkServe) { s.payment.State, s.payment.Attempt.State = pay.Succeeded, pay.Confirmed })
	w.now.Advance(time.Minute)
	require.NotContains(t, w.get(goodPage+"?lang=en").Body.String(), words)
}

// TestThePagesWordsAreWhole: each in two languages, and each is used.
func TestThePagesWordsAreWhole(t *testing.T) {
	t.Parallel()
	html, err := pageFiles.ReadFile("pages/pay.html")
	require.NoError(t, err)
	used := string(html)
	for key, w := range payPageWords {
		require.NotEmpty(t, w[0], key)
		require.NotEmpty(t, w[1], key)
		require.Equal(t, strings.Count(w[0], "%"), strings.Count(w[1], "%"), key)
		base, _, _ := strings.Cut(key, "-")
		if base != "step" && base != "check" && !strings.Contains(used, `"`+key+`"`) {
			require.Contains(t, pageSource(t), `W("`+key+`")`, "nobody says %s", key)
		}
	}
}

func pageSource(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("console_pay_page.go")
	require.NoError(t, err)
	return string(raw)
}

// TestTheHolderSavesTheReceipt, which only serve can sign: while it does not answer the
// page says so, and hands out no older one.
func TestTheHolderSavesTheReceipt(t *testing.T) {
	t.Parallel()
	w := newPageWorld(t)
	require.NotContains(t, w.get(goodPage).Body.String(), "/receipt", "no link to what is not signed here")
	w.now.Advance(time.Minute)
	w.serve.change(func(s *linkServe) { s.facts.ReceiptURL = "/v1/links/" + goodToken + "/receipt" })
	page := w.get(goodPage + "?lang=zh").Body.String()
	require.Contains(t, page, `href="/public/pay/`+goodToken+`/receipt?lang=zh"`)
	require.Contains(t, page, "保存回执")

	got := w.get(goodPage + "/receipt")
	require.Equal(t, []any{http.StatusOK, "head.body.signature", "application/jose"}, []any{got.Code, got.Body.String(), got.Header().Get("Content-Type")})
	require.Equal(t, `attachment; filename=receipt-`+w.serve.payment.ID.String()+`-evt_0000000000007.jws`, got.Header().Get("Content-Disposition"))
	require.Equal(t, "no-store", got.Header().Get("Cache-Control"))

	require.Equal(t, http.StatusNotFound, w.get("/public/pay/other/receipt").Code)
	require.Equal(t, http.StatusNotFound, w.get("/public/pay/"+strings.Repeat("x", 200)+"/receipt").Code)
	w.serve.change(func(s *linkServe) { s.code = http.StatusServiceUnavailable })
	gone := w.get(goodPage + "/receipt?lang=en")
	require.Equal(t, http.StatusServiceUnavailable, gone.Code)
	require.Contains(t, gone.Body.String(), "Receipts that you saved before stay valid")
	require.NotContains(t, gone.Body.String(), "head.body")
	w.server.Close()
	require.Equal(t, http.StatusServiceUnavailable, w.get(goodPage+"/receipt").Code)
}
