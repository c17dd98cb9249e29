package app

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/doctor/notice"
	"github.com/moneta-pay/moneta/doctor/river"
)

// publicFor is for how long the status page is the same for all who ask: a crowd costs
// one page.
const publicFor = 5 * time.Second

// publicStatus is the page, made at most once each publicFor.
type publicStatus struct {
	mu   sync.Mutex
	made time.Time
	kept map[string]kept // by form: en, zh, json
}

type kept struct {
	kind, tag string
	raw       []byte
}

// publicRoutes are what anybody may see: no sign-in, no cookie, no script.
//
//	GET /public/status        the status page; ?lang=en|zh, else by Accept-Language
//	GET /public/status.json   the same for machines
func (w *watch) publicRoutes(mux *http.ServeMux) {
	w.payPageRoutes(mux)
	mux.HandleFunc("GET /public/status", func(rw http.ResponseWriter, r *http.Request) { w.statusPage(rw, r, langOf(r)) })
	mux.HandleFunc("GET /public/status.json", func(rw http.ResponseWriter, r *http.Request) { w.statusPage(rw, r, "json") })
}

// langOf is the language that a browser asks for.
func langOf(r *http.Request) string {
	asked := r.URL.Query().Get("lang")
	if asked == "" {
		asked = r.Header.Get("Accept-Language")
	}
	if strings.HasPrefix(strings.ToLower(strings.TrimSpace(asked)), "zh") {
		return "zh"
	}
	return "en"
}

func (w *watch) statusPage(rw http.ResponseWriter, r *http.Request, form string) {
	k, err := w.public.page(w.clock.Now(), form, func(now time.Time) *notice.Page {
		return notice.Build(now, w.attendance.journal.Incidents(), w.blind(now))
	})
	if err != nil {
		http.Error(rw, "the page cannot be made now", http.StatusInternalServerError)
		return
	}
	h := rw.Header()
	h.Set("Cache-Control", "public, max-age=5")
	h.Set("Vary", "Accept-Language")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	answerTagged(rw, r, k.kind, k.tag, k.raw)
}

// blind says that nothing is heard of the wallet, or that the map is not drawn any more.
func (w *watch) blind(now time.Time) bool {
	var m struct {
		At   time.Time `json:"at"`
		Hops []struct {
			State river.State `json:"state"`
		} `json:"hops"`
	}
	raw := w.river.Newest()
	if raw == nil || json.Unmarshal(raw, &m) != nil || now.Sub(m.At) > time.Minute {
		return true
	}
	for _, h := range m.Hops {
		if h.State != river.Unknown {
			return false
		}
	}
	return true
}

func (p *publicStatus) page(now time.Time, form string, build func(time.Time) *notice.Page) (kept, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k, ok := p.kept[form]; ok && now.Sub(p.made) < publicFor && !now.Before(p.made) {
		return k, nil
	}
	page := build(now)
	all := map[string]kept{}
	for _, lang := range []string{"en", "zh"} {
		raw, err := page.HTML(lang)
		if err != nil {
			return kept{}, err
		}
		all[lang] = keep("text/html; charset=utf-8", raw)
	}
	raw, err := json.Marshal(page)
	if err != nil {
		return kept{}, err
	}
	all["json"] = keep("application/json", raw)
	p.made, p.kept = now, all
	return all[form], nil
}

func keep(kind string, raw []byte) kept {
	sum := sha256.Sum256(raw)
	return kept{kind, `"` + hex.EncodeToString(sum[:12]) + `"`, raw}
}
