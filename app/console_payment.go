package app

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/desk"
	"github.com/moneta-pay/moneta/pay/status"
)

const (
	// triagesMost is how many payments are looked into at once: each takes a connection.
	triagesMost = 4
	// lookMax bounds what is pasted, in characters.
	lookMax = 255
)

// paymentRoutes are what the console asks about one payment beyond the API. Every viewer
// may ask, about payments that the API shows him.
//
//	GET /api/look/payments/{id}/triage   the twelve answers; ?lang=en|zh
//	GET /api/look/find                   ?q= anything pasted; what it is, also while serve is gone
func (w *watch) paymentRoutes(mux *http.ServeMux) {
	slots := make(chan struct{}, triagesMost)
	mux.HandleFunc("GET /api/look/payments/{id}/triage", func(rw http.ResponseWriter, r *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
			w.lookTriage(rw, r)
		default:
			rw.Header().Set("Retry-After", "1")
			refuse(rw, http.StatusServiceUnavailable, "overloaded", "several payments are being looked into; ask again in a second")
		}
	})
	mux.HandleFunc("GET /api/look/find", w.lookFind)
}

// lookTriage answers the twelve questions from the facts, so that it does not need serve.
func (w *watch) lookTriage(rw http.ResponseWriter, r *http.Request) {
	id, err := pay.ParseID(r.PathValue("id"))
	if err != nil {
		refuse(rw, http.StatusNotFound, "not-found", "a payment is named pay_ and 13 letters and digits")
		return
	}
	if !w.mayRead(rw, r, id) {
		return
	}
	t := triage{lang: langOf(r), out: Triage{Payment: id.String(), Verdict: "unknown", Watch: true, Answer: w.attendance.it.Now().Answer}}
	if err := t.read(r.Context(), Database{DSN: w.cfg.DSN}, id); err != nil {
		t.out.Notes = append(t.out.Notes, say(t.lang, "triage-no-facts", "the database does not answer"))
	}
	t.answer()
	answer(rw, &t.out)
}

// mayRead reports whether who asks may see the payment, and refuses when not. Its tenant
// is asked of the API as that person, or known from when he last saw it; who may read the
// data folder sees all.
func (w *watch) mayRead(rw http.ResponseWriter, r *http.Request, id pay.ID) bool {
	v, _ := visitorOf(r.Context())
	a, _, err := w.askAs(r, "/v1/payments/"+id.String())
	switch {
	case err == nil && a.status == http.StatusOK:
		return true
	case v.Tenant == 0 && (err != nil || a.status != http.StatusNotFound): // who may read the data folder sees all
		return true
	case err != nil || a.status >= http.StatusInternalServerError:
		refuse(rw, http.StatusServiceUnavailable, codeUnreachable, "the pay plane does not answer, and you did not look at this payment before: whose it is cannot be told")
	default:
		a.write(rw)
	}
	return false
}

// askAs asks the API as who is signed in. While it is gone, the answer that this person
// last got is as good, with its age.
func (w *watch) askAs(r *http.Request, path string) (*payAnswer, time.Duration, error) {
	v, _ := visitorOf(r.Context())
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, path, http.NoBody) //nolint:gosec // a path only: the proxy asks the one serve that it was started with
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Accept-Language", r.Header.Get("Accept-Language"))
	a, err := w.pay.ask(req, &v)
	name := keptName(&v, req)
	if err != nil || a.status >= http.StatusInternalServerError {
		if old, age, ok := w.pay.kept.get(name); ok {
			return old, age, nil
		}
		return a, 0, err
	}
	if a.status == http.StatusOK {
		w.pay.kept.put(name, a)
	}
	return a, 0, nil
}

// lookFound is one thing that a name may belong to.
type lookFound struct {
	Object string `json:"object"`
	ID     string `json:"id"`
	By     string `json:"by"`
	State  string `json:"state,omitempty"`
}

// lookFind says what a pasted name is: an incident of the journal, or what the API finds.
// While that is gone, what the form of the name alone tells.
func (w *watch) lookFind(rw http.ResponseWriter, r *http.Request) {
	q := strings.TrimSpace(r.URL.Query().Get("q"))
	if q == "" || utf8.RuneCountInString(q) > lookMax {
		refuse(rw, http.StatusBadRequest, "malformed-request", "paste one id, of at most 255 characters")
		return
	}
	var out struct {
		Found []lookFound `json:"found"`
		// Sure is false while the API does not answer: then only the form was looked at.
		Sure bool `json:"sure"`
		// Next looks further back than LookedBackTo; empty: all there is was looked through.
		Next         string     `json:"next,omitempty"`
		LookedBackTo *time.Time `json:"looked_back_to,omitempty"`
	}
	out.Found, out.Sure = []lookFound{}, true
	if in, ok := w.attendance.journal.Incident(q); ok {
		out.Found = append(out.Found, lookFound{"incident", in.ID, "id", stageOf(&in)})
		answer(rw, &out)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), pageWithin)
	defer cancel()
	path := "/v1/find?q=" + url.QueryEscape(q)
	if after := r.URL.Query().Get("after"); after != "" {
		path += "&after=" + url.QueryEscape(after)
	}
	a, age, err := w.askAs(r.WithContext(ctx), path)
	if err == nil && a.status == http.StatusOK {
		var list struct {
			Data         []lookFound `json:"data"`
			Next         string      `json:"next"`
			LookedBackTo *time.Time  `json:"looked_back_to"`
		}
		if err := json.Unmarshal(a.body, &list); err != nil {
			refuse(rw, http.StatusBadGateway, "internal", "the pay plane's answer cannot be read")
			return
		}
		out.Found, out.Sure, out.Next, out.LookedBackTo = append(out.Found, list.Data...), age == 0, list.Next, list.LookedBackTo
		answer(rw, &out)
		return
	}
	if err == nil && a.status < http.StatusInternalServerError {
		a.write(rw)
		return
	}
	out.Found, out.Sure = byForm(q), false
	answer(rw, &out)
}

func stageOf(in *doctor.Incident) string {
	if in.ClosedAt != nil {
		return "closed"
	}
	return "open"
}

// byForm is what the name itself says.
func byForm(q string) []lookFound {
	if id, err := pay.ParseID(q); err == nil {
		return []lookFound{{Object: "payment", ID: id.String(), By: "id"}}
	}
	if id, err := pay.ParseAccountID(q); err == nil {
		return []lookFound{{Object: "account", ID: id.String(), By: "id"}}
	}
	if n, ok := desk.ParseNumber(q); ok {
		return []lookFound{{Object: "case", ID: n.String(), By: "case"}}
	}
	if id, _, err := pay.ParseReference(strings.ToUpper(q)); err == nil {
		return []lookFound{{Object: "payment", ID: id.String(), By: "channel_reference"}}
	}
	if id, err := status.ParseReference(q); err == nil {
		return []lookFound{{Object: "payment", ID: id.String(), By: "reference"}}
	}
	return []lookFound{}
}
