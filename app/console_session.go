package app

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/money"
)

const (
	// linkFor is how long a one-time link is good, linksMost how many at once.
	linkFor   = 15 * time.Minute
	linksMost = 20
	// sessionFor is how long somebody stays signed in, sessionsMost how many do.
	sessionFor   = 12 * time.Hour
	sessionsMost = 200
	// sessionCookie holds the secret of a session, csrfHeader the text that a page got
	// with it: another site's page can neither read nor send it.
	sessionCookie = "moneta_session"
	csrfHeader    = "Moneta-Csrf"
)

// visitor is who is signed in at the console.
type visitor struct {
	// Name of the operator; access.Local who came by a one-time link.
	Name string
	Role access.Role
	// Tenant whose operator it is; 0 for access.Local, who may read the data folder and
	// sees every tenant.
	Tenant int32
	// Bearer is what the API knows the visitor by; empty: the API is not for this visitor.
	Bearer string
}

type visitorKey struct{}

// visitorOf is who asks. Below /api/ there is always one, but at /api/session.
func visitorOf(ctx context.Context) (visitor, bool) {
	v, ok := ctx.Value(visitorKey{}).(visitor)
	return v, ok
}

// digestOf is what is kept of a secret.
type digestOf [sha256.Size]byte

// consoleSession is one sign-in.
type consoleSession struct {
	who     visitor
	csrf    string
	since   time.Time
	expires time.Time
}

// sessions are kept in memory: they must work while the database is the patient, and a
// watch that starts again asks everybody who they are.
type sessions struct {
	clock clock.Clock

	mu    sync.Mutex
	links map[digestOf]time.Time // until when
	open  map[digestOf]*consoleSession
}

func newSessions(c clock.Clock) *sessions {
	return &sessions{clock: c, links: map[digestOf]time.Time{}, open: map[digestOf]*consoleSession{}}
}

// newSecret is a text of 256 bits that nobody guesses.
func newSecret() string {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails; see its documentation
	return hex.EncodeToString(raw)
}

// link makes a text that lets one person in, once.
func (s *sessions) link() (secret string, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	if len(s.links) >= linksMost { // the next to end makes room
		var oldest digestOf
		var ends time.Time
		for d, t := range s.links {
			if ends.IsZero() || t.Before(ends) {
				oldest, ends = d, t
			}
		}
		delete(s.links, oldest)
	}
	secret, until = newSecret(), s.clock.Now().Add(linkFor)
	s.links[sha256.Sum256([]byte(secret))] = until
	return secret, until
}

var errLink = errors.New("the link is used up or too old")

// enter uses a link up. All are compared, in constant time.
func (s *sessions) enter(secret string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	given := digestOf(sha256.Sum256([]byte(secret)))
	var found *digestOf
	for d := range s.links {
		if subtle.ConstantTimeCompare(d[:], given[:]) == 1 {
			found = &d
		}
	}
	if found == nil {
		return errLink
	}
	delete(s.links, *found)
	return nil
}

// begin signs somebody in and returns the secret for the cookie.
func (s *sessions) begin(who visitor) (string, *consoleSession) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	if len(s.open) >= sessionsMost {
		var oldest digestOf
		var since time.Time
		for d, x := range s.open {
			if since.IsZero() || x.since.Before(since) {
				oldest, since = d, x.since
			}
		}
		delete(s.open, oldest)
	}
	secret, now := newSecret(), s.clock.Now()
	x := &consoleSession{who: who, csrf: newSecret(), since: now, expires: now.Add(sessionFor)}
	s.open[sha256.Sum256([]byte(secret))] = x
	return secret, x
}

// find is the session of a request, or nil.
func (s *sessions) find(r *http.Request) *consoleSession {
	c, err := r.Cookie(sessionCookie)
	if err != nil || c.Value == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.open[sha256.Sum256([]byte(c.Value))]
	if x == nil || !s.clock.Now().Before(x.expires) {
		return nil
	}
	return x
}

// finish ends the session of a request.
func (s *sessions) finish(r *http.Request) {
	if c, err := r.Cookie(sessionCookie); err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.open, sha256.Sum256([]byte(c.Value)))
	}
}

// forget drops what has ended.
func (s *sessions) forget() {
	now := s.clock.Now()
	for d, until := range s.links {
		if !now.Before(until) {
			delete(s.links, d)
		}
	}
	for d, x := range s.open {
		if !now.Before(x.expires) {
			delete(s.open, d)
		}
	}
}

// local is who came by a one-time link: the same person that may read keys.json.
func (w *watch) local() visitor {
	v := visitor{Name: access.Local, Role: access.Operate}
	if keys, err := ReadKeys(keysPath(w.cfg.DataDir)); err == nil {
		v.Bearer = keys.Admin
	}
	return v
}

// sessionRoutes are signing in and out. Anybody may ask who they are.
func (w *watch) sessionRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/session", func(rw http.ResponseWriter, r *http.Request) { w.whoAmI(rw, w.sessions.find(r)) })
	mux.HandleFunc("POST /api/session", w.signIn)
	mux.HandleFunc("DELETE /api/session", func(rw http.ResponseWriter, r *http.Request) {
		w.sessions.finish(r)
		http.SetCookie(rw, cookieOf(r, "", -1))
		w.whoAmI(rw, nil)
	})
}

// consoleWho is GET /api/session.
type consoleWho struct {
	SignedIn bool        `json:"signed_in"`
	Name     string      `json:"name,omitempty"`
	Role     access.Role `json:"role,omitempty"`
	Tenant   int32       `json:"tenant,omitempty"`
	// Csrf goes into the header Moneta-Csrf of everything but GET.
	Csrf    string    `json:"csrf,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
	// Local came by a one-time link: reads everything, and changes nothing in the API.
	Local bool `json:"local"`
	// Sandbox: no channel of this wallet moves real money.
	Sandbox bool   `json:"sandbox"`
	Version string `json:"version"`
	// Scales are the decimals of the assets that have not 2.
	Scales map[money.Asset]uint8 `json:"scales"`
}

var oddScales = sync.OnceValue(func() map[money.Asset]uint8 {
	odd := map[money.Asset]uint8{}
	for _, a := range money.Assets() {
		if a.Scale != 2 {
			odd[a.Code] = a.Scale
		}
	}
	return odd
})

func (w *watch) whoAmI(rw http.ResponseWriter, x *consoleSession) {
	who := consoleWho{Sandbox: w.onlySandbox(), Version: Version, Scales: oddScales()}
	if x != nil {
		who.SignedIn, who.Name, who.Role, who.Tenant = true, x.who.Name, x.who.Role, x.who.Tenant
		who.Csrf, who.Expires, who.Local = x.csrf, x.expires.UTC(), x.who.Name == access.Local
	}
	answer(rw, who)
}

func (w *watch) signIn(rw http.ResponseWriter, r *http.Request) {
	var in struct {
		Link string `json:"link"`
	}
	d := json.NewDecoder(http.MaxBytesReader(rw, r.Body, askMax))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil || in.Link == "" {
		refuse(rw, http.StatusBadRequest, "malformed-request", `send {"link":"…"}, the end of a one-time link`)
		return
	}
	if err := w.sessions.enter(in.Link); err != nil {
		refuse(rw, http.StatusUnauthorized, codeLinkUsed, "the link is used up or older than 15 minutes; `moneta console link` makes another")
		return
	}
	secret, x := w.sessions.begin(w.local())
	http.SetCookie(rw, cookieOf(r, secret, int(sessionFor/time.Second)))
	w.log.InfoContext(r.Context(), "somebody signed in at the console by a one-time link")
	w.whoAmI(rw, x)
}

// cookieOf is for this host alone and never shown to a script. It is Secure where the
// page came by TLS; on loopback there is none.
func cookieOf(r *http.Request, secret string, seconds int) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // G124: a Secure cookie would never come back over loopback, which has no TLS
		Name: sessionCookie, Value: secret, Path: "/", MaxAge: seconds,
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil,
	}
}

// guard lets nobody below /api/ who has not signed in, and nobody change anything whose
// page did not come from here. What takes more than being an operator says so itself.
func (w *watch) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		x := w.sessions.find(r)
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead
		entering := r.URL.Path == "/api/session" && r.Method == http.MethodPost || isUnder(r.URL.Path, "/api/session/enter")
		switch {
		case !isUnder(r.URL.Path, "/api"):
		case x == nil && !isUnder(r.URL.Path, "/api/session"):
			refuse(rw, http.StatusUnauthorized, "unauthenticated", "sign in; `moneta console link` prints a one-time link")
			return
		case x != nil && !reads && !entering && subtle.ConstantTimeCompare([]byte(r.Header.Get(csrfHeader)), []byte(x.csrf)) != 1:
			refuse(rw, http.StatusForbidden, "forbidden", "the header "+csrfHeader+" is not that of this session; load the page again")
			return
		case x != nil && !reads && !isUnder(r.URL.Path, "/api/session") && !x.who.Role.Covers(access.Operate):
			refuse(rw, http.StatusForbidden, "forbidden", "a viewer reads; ask an operator")
			return
		}
		if x != nil {
			r = r.WithContext(context.WithValue(r.Context(), visitorKey{}, x.who))
		}
		next.ServeHTTP(rw, r)
	})
}
