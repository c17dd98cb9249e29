package app

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/doctor/attend"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/pay/receipt"
	"github.com/moneta-pay/moneta/pay/status"
)

// The page of one payment for the person whose payment it is, behind a link. serve
// judges the token and says what may be told; this process only shows it, so that the
// page is still there, with its age, while serve or the database is not.

const (
	// pageWithin bounds one question to serve.
	pageWithin = 5 * time.Second
	// pageFresh is for how long what serve said is shown to all who have the same link.
	pageFresh = time.Second
	// pagesMost and pagesFor bound what is kept for when serve is gone.
	pagesMost = 2_000
	pagesFor  = 24 * time.Hour
	// pageMax bounds an answer of serve, appealMax what a person writes, in bytes.
	pageMax   = 512 << 10
	appealMax = 16 << 10
	// pageDelayed is how old what is shown may be before the page says so.
	pageDelayed = 15 * time.Second
)

// visits is what one address may ask for in a minute. Whole offices share one.
var visits = access.Limit{Quota: 600, Window: time.Minute}

//go:embed pages
var pageFiles embed.FS

var payPageTemplate = template.Must(template.ParseFS(pageFiles, "pages/pay.html"))

// payPages shows the pages, and keeps what it last knew of each.
type payPages struct {
	url    string
	client *http.Client
	clock  clock.Clock
	limit  *access.Limiter
	doctor func() attend.Now

	mu   sync.Mutex
	kept map[[sha256.Size]byte]*keptPage
}

// keptPage is what serve last said of a link in one language.
type keptPage struct {
	view status.View
	at   time.Time
	used time.Time
}

func newPayPages(serveURL string, c clock.Clock, doctor func() attend.Now) *payPages {
	transport := &http.Transport{
		DialContext: (&net.Dialer{Timeout: 2 * time.Second}).DialContext, MaxIdleConnsPerHost: 16, MaxConnsPerHost: 64, IdleConnTimeout: 30 * time.Second,
	}
	return &payPages{
		url: strings.TrimRight(serveURL, "/"), clock: c, doctor: doctor, limit: access.NewLimiter(c.Now), kept: map[[sha256.Size]byte]*keptPage{},
		client: &http.Client{Transport: transport, Timeout: pageWithin, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
}

// payPageRoutes are for anybody who has a link: no sign-in and no cookie.
//
//	GET  /public/pay/{token}          the page; ?lang=en|zh, else by Accept-Language
//	GET  /public/pay/{token}/receipt  what the record says of it, signed, as a file
//	POST /public/pay/{token}/appeal   a form with key and text; the page again, with the case
func (w *watch) payPageRoutes(mux *http.ServeMux) {
	p := newPayPages(w.cfg.ServeURL, w.clock, func() attend.Now { return w.attendance.it.Now() })
	mux.HandleFunc("GET /public/pay/{token}", p.show)
	mux.HandleFunc("GET /public/pay/{token}/receipt", p.receipt)
	mux.HandleFunc("POST /public/pay/{token}/appeal", p.appeal)
	mux.HandleFunc("GET /public/pay/{token}/appeal", func(rw http.ResponseWriter, r *http.Request) { // somebody loads the answer again
		http.Redirect(rw, r, "/public/pay/"+url.PathEscape(r.PathValue("token"))+"?lang="+langOf(r), http.StatusSeeOther)
	})
	for name, kind := range map[string]string{"pay.css": "text/css; charset=utf-8", "pay.js": "text/javascript; charset=utf-8"} {
		raw, err := pageFiles.ReadFile("pages/" + name)
		if err != nil {
			panic(err) // it is embedded
		}
		k := keep(kind, raw)
		mux.HandleFunc("GET /public/"+name, func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Cache-Control", "no-cache")
			rw.Header().Set("X-Content-Type-Options", "nosniff")
			answerTagged(rw, r, k.kind, k.tag, k.raw)
		})
	}
}

// payPage is what the template shows.
type payPage struct {
	Lang, OtherLang string
	Token, Key      string
	// View is nil when nothing can be shown; then Sorry and What say why.
	View        *status.View
	Sorry, What string
	// Stale says how old it is, Incident that there is a disturbance; empty is neither.
	Stale, Incident string
	// Asked and Problem are what came of an appeal.
	Asked, Problem string
	Tone           string
}

// Open reports whether the payment still moves.
func (p *payPage) Open() bool { return p.View != nil && p.View.FinalAt == nil }

// Unfinished reports whether not paying again has to be said loudly.
func (p *payPage) Unfinished() bool { return p.Open() || !p.View.Status.Safe }

// W is a word of the page's own.
func (p *payPage) W(key string) string { return payPageWord(p.Lang, key) }

// Time is a moment in full, with its zone.
func (*payPage) Time(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// ISO is a moment for machines.
func (*payPage) ISO(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// CaseText says who has it and until when.
func (p *payPage) CaseText() string {
	c := p.View.Status.Case
	return fmt.Sprintf(p.W("case"), c.Number, p.Time(c.Deadline))
}

func (s *payPages) show(rw http.ResponseWriter, r *http.Request) {
	p := &payPage{Lang: langOf(r), Token: r.PathValue("token")}
	s.render(rw, p, s.read(r, p))
}

// read fills the page with what serve says, or with what it said last, and returns the
// status that the page is answered with.
func (s *payPages) read(r *http.Request, p *payPage) int {
	now := s.clock.Now()
	name := sha256.Sum256([]byte(p.Lang + "\x00" + p.Token))
	if !s.admits(r) {
		p.Sorry, p.What = p.W("busy-h"), p.W("busy")
		return http.StatusTooManyRequests
	}
	if len(p.Token) > access.TokenMax {
		p.Sorry, p.What = p.W("gone-h"), p.W("gone")
		return http.StatusNotFound
	}
	old, ok := s.have(name, now)
	if ok && now.Sub(old.at) < pageFresh {
		s.fill(p, &old, now)
		return http.StatusOK
	}
	var v status.View
	code, err := s.ask(r.Context(), http.MethodGet, "/v1/links/"+url.PathEscape(p.Token)+"?lang="+p.Lang, "", nil, &v)
	switch {
	case err == nil && code == http.StatusOK:
		fresh := keptPage{view: v, at: now, used: now}
		s.keep(name, fresh)
		s.fill(p, &fresh, now)
		return http.StatusOK
	case err == nil && code == http.StatusNotFound:
		s.drop(name)
		p.Sorry, p.What = p.W("gone-h"), p.W("gone")
		return http.StatusNotFound
	case ok:
		s.fill(p, &old, now)
		return http.StatusOK
	case code == http.StatusTooManyRequests:
		p.Sorry, p.What = p.W("busy-h"), p.W("busy")
		return http.StatusTooManyRequests
	}
	p.Sorry, p.What = p.W("blind-h"), p.W("blind")
	return http.StatusServiceUnavailable
}

// fill puts a view on the page.
func (s *payPages) fill(p *payPage, k *keptPage, now time.Time) {
	v := k.view
	p.View, p.Tone = &v, "now"
	switch {
	case !v.Status.Safe, v.Status.Phase == status.Delayed, v.Status.Phase == "unknown":
		p.Tone = "wait"
	case v.FinalAt != nil && v.Status.Status == "succeeded":
		p.Tone = "ok"
	case v.FinalAt != nil:
		p.Tone = "stop"
	}
	if age := now.Sub(k.at); age > pageDelayed {
		p.Stale = fmt.Sprintf(p.W("stale"), p.Time(k.at), p.age(age))
		if v.FinalAt == nil { // what would be done while nobody can look is not claimed
			p.View.Status.CanCancel = false
		}
	}
	p.Incident = s.disturbance(p, now)
}

func (p *payPage) age(d time.Duration) string {
	if d < 2*time.Minute {
		return fmt.Sprintf(p.W("seconds"), int(d/time.Second))
	}
	return fmt.Sprintf(p.W("minutes"), int(d/time.Minute))
}

// disturbance tells of the incident that is open when the payment may be among what it
// delays: it is open and waits. An operator's own words to the holders come before.
func (s *payPages) disturbance(p *payPage, now time.Time) string {
	v := p.View
	waits := v.Status.Phase == status.Delayed || v.Status.Phase == "unknown" || v.Status.Phase == "reserved" && now.Sub(v.CreatedAt) > time.Minute
	if v.FinalAt != nil || v.Status.Notice != nil || s.doctor == nil || !waits {
		return ""
	}
	n := s.doctor()
	if n.Incident == "" || !paged(&n) {
		return ""
	}
	return fmt.Sprintf(p.W("incident"), n.Incident)
}

// paged reports whether the trouble is one that people are called for.
func paged(n *attend.Now) bool {
	for i := range n.Alarms {
		if n.Alarms[i].Page {
			return true
		}
	}
	return false
}

// appeal hands a person's wish to serve and shows the page with what came of it. The
// form has its key from the page, so that a second click is the same appeal.
func (s *payPages) appeal(rw http.ResponseWriter, r *http.Request) {
	p := &payPage{Lang: langOf(r), Token: r.PathValue("token")}
	r.Body = http.MaxBytesReader(rw, r.Body, appealMax)
	if err := r.ParseForm(); err != nil {
		http.Error(rw, "the text is too long", http.StatusRequestEntityTooLarge)
		return
	}
	key := r.PostForm.Get("key")
	if len(key) != 32 || strings.Trim(key, "0123456789abcdef") != "" {
		key = newKeyText()
	}
	var got struct {
		Number   string    `json:"number"`
		Owner    string    `json:"owner"`
		Deadline time.Time `json:"deadline"`
	}
	body := map[string]any{"client": map[string]string{"screen": "payment page", "language": p.Lang}}
	if text := strings.TrimSpace(strings.ReplaceAll(r.PostForm.Get("text"), "\x00", "")); text != "" {
		body["text"] = clipText(text, 2000)
	}
	code, err := s.ask(r.Context(), http.MethodPost, "/v1/links/"+url.PathEscape(p.Token)+"/appeal", key, body, &got)
	switch {
	case err == nil && (code == http.StatusCreated || code == http.StatusOK):
		s.drop(sha256.Sum256([]byte(p.Lang + "\x00" + p.Token))) // it shows the case now
		p.Asked = fmt.Sprintf(p.W("asked"), got.Number, p.team(got.Owner), p.Time(got.Deadline))
	case err == nil && code == http.StatusNotFound:
		p.Sorry, p.What = p.W("gone-h"), p.W("gone")
		s.render(rw, p, http.StatusNotFound)
		return
	case err == nil && code == http.StatusTooManyRequests:
		p.Problem = p.W("asked-often")
	default:
		p.Problem, p.Key = p.W("asked-lost"), key // the same wish, when it is sent again
	}
	s.render(rw, p, s.read(r, p))
}

// receipt hands on the receipt as a file. Only serve can sign one, and an old one could be
// taken for the newest: while serve does not answer there is none, and the page says so.
func (s *payPages) receipt(rw http.ResponseWriter, r *http.Request) {
	p := &payPage{Lang: langOf(r), Token: r.PathValue("token")}
	if !s.admits(r) {
		p.Sorry, p.What = p.W("busy-h"), p.W("busy")
		s.render(rw, p, http.StatusTooManyRequests)
		return
	}
	if len(p.Token) > access.TokenMax {
		p.Sorry, p.What = p.W("gone-h"), p.W("gone")
		s.render(rw, p, http.StatusNotFound)
		return
	}
	var got receipt.Receipt
	code, err := s.ask(r.Context(), http.MethodGet, "/v1/links/"+url.PathEscape(p.Token)+"/receipt", "", nil, &got)
	if err != nil || code != http.StatusOK || got.JWS == "" {
		p.Sorry, p.What = p.W("receipt-blind-h"), p.W("receipt-blind")
		answered := http.StatusServiceUnavailable
		if err == nil && code == http.StatusNotFound {
			p.Sorry, p.What, answered = p.W("gone-h"), p.W("gone"), http.StatusNotFound
		}
		s.render(rw, p, answered)
		return
	}
	h := rw.Header()
	h.Set("Content-Type", receipt.MediaType)
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": "receipt-" + got.Payment + "-" + got.ID + ".jws"}))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Robots-Tag", "noindex, nofollow")
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = io.WriteString(rw, got.JWS) // whoever asked has gone
}

// admits takes one look off what an address may ask for.
func (s *payPages) admits(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	_, err = s.limit.TakeFrom("page/"+host, visits, 1)
	return err == nil
}

// team is a team's name for people outside.
func (p *payPage) team(owner string) string {
	if owner == "support" {
		return p.W("team-support")
	}
	return owner
}

func clipText(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most])
	}
	return s
}

// render answers with the page. Nobody keeps it, nobody indexes it, and no link out of
// it says where it came from.
func (s *payPages) render(rw http.ResponseWriter, p *payPage, code int) {
	p.OtherLang = "zh"
	if p.Lang == "zh" {
		p.OtherLang = "en"
	}
	if p.Key == "" {
		p.Key = newKeyText()
	}
	var b bytes.Buffer
	if err := payPageTemplate.Execute(&b, p); err != nil {
		http.Error(rw, "the page cannot be made now", http.StatusInternalServerError)
		return
	}
	h := rw.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", p.Lang)
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Accept-Language")
	h.Set("X-Robots-Tag", "noindex, nofollow")
	h.Set("Referrer-Policy", "same-origin") // the form's Origin is this page's: without one it would be refused
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Content-Security-Policy",
		"default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	if code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable {
		h.Set("Retry-After", "10")
	}
	rw.WriteHeader(code)
	_, _ = rw.Write(b.Bytes()) // whoever asked has gone
}

func newKeyText() string {
	raw := make([]byte, 16)
	_, _ = rand.Read(raw) // never fails; see its documentation
	return hex.EncodeToString(raw)
}

var errNoServe = errors.New("no node of the wallet is named")

// ask sends one request to serve and reads its answer into out when it is good.
func (s *payPages) ask(ctx context.Context, method, path, key string, body, out any) (int, error) {
	if s.url == "" {
		return 0, errNoServe
	}
	var raw []byte
	if body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			return 0, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, bytes.NewReader(raw)) //nolint:gosec // the host is that of `--serve-url`; the token is escaped
	if err != nil {
		return 0, err
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := s.client.Do(req) //nolint:gosec // as above
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(io.LimitReader(res.Body, pageMax+1))
	if err != nil {
		return 0, err
	}
	if len(got) > pageMax {
		return 0, errors.New("the answer is longer than " + strconv.Itoa(pageMax) + " bytes")
	}
	if res.StatusCode >= http.StatusMultipleChoices {
		return res.StatusCode, nil
	}
	return res.StatusCode, json.Unmarshal(got, out)
}

// have is what is kept of a link, while it is worth showing.
func (s *payPages) have(name [sha256.Size]byte, now time.Time) (keptPage, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.kept[name]
	if k == nil || now.Sub(k.at) > pagesFor || k.view.ExpiresAt != nil && now.After(*k.view.ExpiresAt) {
		delete(s.kept, name)
		return keptPage{}, false
	}
	k.used = now
	return *k, true
}

func (s *payPages) keep(name [sha256.Size]byte, k keptPage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.kept[name]; !known && len(s.kept) >= pagesMost { // who has not come for longest makes room
		var oldest [sha256.Size]byte
		var used time.Time
		for n, other := range s.kept {
			if used.IsZero() || other.used.Before(used) {
				oldest, used = n, other.used
			}
		}
		delete(s.kept, oldest)
	}
	s.kept[name] = &k
}

func (s *payPages) drop(name [sha256.Size]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.kept, name)
}
