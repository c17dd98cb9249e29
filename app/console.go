package app

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/moneta-pay/moneta/console"
	"github.com/moneta-pay/moneta/fault"
)

// consoleListen is where the console is unless a port is asked for: one that people
// remember. When it is taken, any free one is.
const consoleListen = "127.0.0.1:7072"

// browsers is everything that the console asks, and the console itself: a line for each
// topic. Below /api/ the guard lets in who is signed in, below /public/ everybody.
func (w *watch) browsers(doctor http.Handler) http.Handler {
	mux := http.NewServeMux()
	w.sessionRoutes(mux)
	w.streamRoutes(mux)
	w.payRoutes(mux)
	w.incidentRoutes(mux)
	w.drillRoutes(mux)
	w.repairRoutes(mux)
	w.booksRoutes(mux)
	w.channelRoutes(mux)
	w.verifyRoutes(mux)
	w.developerRoutes(mux)
	w.mapRoutes(mux)
	w.paymentRoutes(mux)
	w.traceRoutes(mux)
	w.latencyRoutes(mux)
	w.sloRoutes(mux)
	w.publicRoutes(mux)
	mux.Handle("/api/watch/", http.StripPrefix("/api/watch", doctor))
	mux.HandleFunc("/api/", func(rw http.ResponseWriter, r *http.Request) {
		refuse(rw, http.StatusNotFound, "not-found", "there is nothing at "+r.URL.Path)
	})
	mux.Handle("/", console.Handler())
	return console.Strict(http.NewCrossOriginProtection().Handler(w.guard(mux)))
}

// isUnder reports whether a path is one or below it.
func isUnder(path, root string) bool { return path == root || strings.HasPrefix(path, root+"/") }

// consoleProblem is what a browser gets instead of an answer (RFC 9457), in the form that
// the API's problems have.
type consoleProblem struct {
	Type       string `json:"type"`
	Title      string `json:"title"`
	Status     int    `json:"status"`
	Detail     string `json:"detail,omitempty"`
	Code       string `json:"code"`
	Retry      string `json:"retry"`
	MoneyState string `json:"money_state"`
	MessageZH  string `json:"message_zh,omitempty"`
}

// consoleTitles are those of the codes that only the console has, in English and Chinese.
var consoleTitles = map[string][2]string{
	codeLinkUsed:    {"This link does not let anybody in any more", "此登录链接已失效"},
	codeUnreachable: {"The pay plane does not answer", "支付平面没有应答"},
}

const (
	codeLinkUsed    = "link-used"
	codeUnreachable = "serve-unreachable"
)

// refuse answers with a problem. Code is one of package fault where one fits.
func refuse(rw http.ResponseWriter, status int, code, detail string) {
	title, own := consoleTitles[code]
	if !own {
		title = [2]string{fault.Title(fault.Code(code), "en"), fault.Title(fault.Code(code), "zh")}
	}
	p := consoleProblem{
		Type: "about:blank", Title: title[0], Status: status, Detail: detail, Code: code,
		Retry: "never", MoneyState: "not_moved", MessageZH: title[1],
	}
	if code == string(fault.Timeout) {
		p.Retry, p.MoneyState = "safe_same_key", "unknown_will_resolve"
	} else if status >= http.StatusInternalServerError || status == http.StatusTooManyRequests {
		p.Retry = "after"
	}
	rw.Header().Set("Content-Type", "application/problem+json")
	rw.Header().Set("Cache-Control", "no-store")
	rw.WriteHeader(status)
	_ = json.NewEncoder(rw).Encode(p) // whoever asked has gone
}

// onlySandbox reports whether no channel of this wallet moves real money. Unknown is no:
// nobody shall take a live wallet for a toy.
func (w *watch) onlySandbox() bool {
	if w.cfg.Config == "" {
		return w.cfg.SandboxURL != ""
	}
	channels, err := ChannelsOf(w.cfg.Config, w.cfg.SandboxURL, w.cfg.DataDir)
	if err != nil || len(channels) == 0 {
		return false
	}
	for _, c := range channels {
		if c.Adapter != "sandbox" {
			return false
		}
	}
	return true
}
