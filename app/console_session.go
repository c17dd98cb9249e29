package app

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/money"
)

const (
	// sessionCookie begins the name of the cookie that holds the secret of a session,
	// csrfHeader takes the text that a page got with it: another site's page can neither
	// read nor send it.
	sessionCookie = "moneta_session"
	csrfHeader    = "Moneta-Csrf"
	// linkSays is what people are told of how long a link is good; package access holds it.
	linkSays = 15 * time.Minute
	// doorConns are the connections to the database for signing in.
	doorConns = 3
)

// visitor is who is signed in at the console.
type visitor struct {
	// Name of the operator; access.Local who came by a one-time link of this machine.
	Name string
	Role access.Role
	// Tenant whose operator it is; 0 for access.Local, who may read the data folder and
	// sees every tenant.
	Tenant int32
	// Bearer is what the API knows the visitor by; empty: the API is not for this visitor
	// now, because it could not look them up.
	Bearer string

	visit access.Visit
}

type visitorKey struct{}

// visitorOf is who asks. Below /api/ there is always one, but at /api/session.
func visitorOf(ctx context.Context) (visitor, bool) {
	v, ok := ctx.Value(visitorKey{}).(visitor)
	return v, ok
}

// sessions say who asks: the door of package access, as requests see it.
type sessions struct {
	door *access.Door
	// origin is the console's own address, by name.
	origin *url.URL
	// look finds whose token it is; present says that the person does something.
	look func(ctx context.Context, token string, present bool) (visitor, error)
	end  func()
}

// newSessions opens the door of a console at origin, such as http://localhost:7072.
func newSessions(ctx context.Context, cfg *WatchConfig, origin string, c clock.Clock, log *slog.Logger) (*sessions, error) {
	u, err := url.Parse(origin)
	if err != nil {
		return nil, fmt.Errorf("the console's address: %w", err)
	}
	keys, err := access.NewPasskeys(origin)
	if err != nil {
		return nil, err
	}
	pc, err := pgxpool.ParseConfig(cfg.DSN)
	if err != nil {
		return nil, err
	}
	pc.MaxConns, pc.ConnConfig.ConnectTimeout = doorConns, peopleAsk
	pool, err := pgxpool.NewWithConfig(ctx, pc) // connects when it is asked
	if err != nil {
		return nil, err
	}
	keyFile := keysPath(cfg.DataDir)
	s := &sessions{origin: u, door: access.NewDoor(access.NewStore(pool), keys, access.DoorConfig{
		File: filepath.Join(doctorFolder(cfg.DataDir), "roll.json"), Logger: log, Clock: c,
		LocalKey: func() string {
			k, err := ReadKeys(keyFile)
			if err != nil {
				return "" // there is no up here
			}
			return k.Admin
		},
	})}
	s.look = s.atDoor
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var done sync.WaitGroup
	done.Go(func() { s.door.Run(run) })
	s.end = func() { cancel(); done.Wait(); pool.Close() }
	return s, nil
}

func (s *sessions) atDoor(ctx context.Context, token string, present bool) (visitor, error) {
	v, err := s.door.Look(ctx, token, present)
	if err != nil {
		return visitor{}, err
	}
	return s.visitor(&v), nil
}

func (s *sessions) visitor(v *access.Visit) visitor {
	return visitor{Name: v.Operator, Role: v.Role, Tenant: v.Tenant, Bearer: s.door.Bearer(v), visit: *v}
}

// find is who asks, or an error. A browser sends what its page asks by itself like what
// its person does: only what changes something says that somebody is there.
func (s *sessions) find(r *http.Request) (visitor, error) {
	c, err := r.Cookie(s.cookieName())
	if err != nil || c.Value == "" {
		return visitor{}, fault.New(fault.Unauthenticated, "sign in; `moneta console link` prints a one-time link")
	}
	return s.look(r.Context(), c.Value, r.Method != http.MethodGet && r.Method != http.MethodHead)
}

// cookieName differs by port: cookies of localhost do not. With TLS no other host can
// set it (RFC 6265bis §4.1.3.2).
func (s *sessions) cookieName() string {
	if s.origin.Scheme == "https" {
		return "__Host-" + sessionCookie
	}
	return sessionCookie + "_" + s.origin.Port()
}

// cookie is for this host alone and never shown to a script.
func (s *sessions) cookie(secret string, seconds int) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // not Secure on localhost without TLS, where it could not be
		Name: s.cookieName(), Value: secret, Path: "/", MaxAge: seconds,
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: s.origin.Scheme == "https",
	}
}

// ownHost reports whether a request names this console, and not something that a
// stranger's name was made to mean (DNS rebinding).
func (s *sessions) ownHost(host string) bool {
	if strings.EqualFold(host, s.origin.Host) {
		return true
	}
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.Trim(host, "[]")
	}
	ip := net.ParseIP(name)
	return strings.EqualFold(name, "localhost") || ip != nil && ip.IsLoopback()
}

// consoleOrigin is the address of the console: the one that was configured, or this
// machine's by name, because passkeys belong to names.
func (c *WatchConfig) consoleOrigin(listening string) string {
	if c.ConsoleURL != "" {
		return strings.TrimRight(c.ConsoleURL, "/")
	}
	return byName(listening)
}

// sessionRoutes are signing in and out. Anybody may ask who they are.
func (w *watch) sessionRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/session", func(rw http.ResponseWriter, r *http.Request) {
		v, ok := visitorOf(r.Context())
		w.whoAmI(rw, v, ok)
	})
	mux.HandleFunc("POST /api/session", w.enterByLink)
	mux.HandleFunc("DELETE /api/session", func(rw http.ResponseWriter, r *http.Request) {
		if v, ok := visitorOf(r.Context()); ok && w.sessions.door != nil {
			if err := w.sessions.door.SignOut(r.Context(), &v.visit); err != nil {
				w.log.WarnContext(r.Context(), "a session could not be ended in the database; it ends there by itself", slog.Any("error", err))
			}
		}
		http.SetCookie(rw, w.sessions.cookie("", -1))
		w.whoAmI(rw, visitor{}, false)
	})
	w.enterRoutes(mux)
	w.peopleRoutes(mux)
}

// consoleWho is GET /api/session.
type consoleWho struct {
	SignedIn bool          `json:"signed_in"`
	Name     string        `json:"name,omitempty"`
	Role     access.Role   `json:"role,omitempty"`
	Tenant   int32         `json:"tenant,omitempty"`
	Method   access.Method `json:"method,omitempty"`
	// Csrf goes into the header Moneta-Csrf of everything but GET.
	Csrf string `json:"csrf,omitempty"`
	// Expires is when it ends if nothing is done.
	Expires time.Time `json:"expires,omitzero"`
	MadeAt  time.Time `json:"made_at,omitzero"`
	// Local came by a one-time link: reads everything, and changes nothing in the API.
	Local bool `json:"local"`
	// Offline: the database did not answer, and what concerns the pay plane waits.
	Offline bool `json:"offline"`
	// Origin is the console's address; passkeys are made and used there only.
	Origin string `json:"origin"`
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

func (w *watch) whoAmI(rw http.ResponseWriter, v visitor, in bool) {
	who := consoleWho{Sandbox: w.onlySandbox(), Version: Version, Scales: oddScales(), Origin: w.sessions.origin.String()}
	if in {
		x := &v.visit
		who.SignedIn, who.Name, who.Role, who.Tenant, who.Method = true, v.Name, v.Role, v.Tenant, x.Method
		who.Csrf, who.Expires, who.MadeAt, who.Local, who.Offline = x.CSRF(), x.EndsAt, x.MadeAt, v.Name == access.Local, x.Offline
	}
	answer(rw, who)
}

// take reads a body whose members are those of into.
func take(rw http.ResponseWriter, r *http.Request, into any) bool {
	d := json.NewDecoder(http.MaxBytesReader(rw, r.Body, askMax))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		refuse(rw, http.StatusBadRequest, string(fault.MalformedRequest), err.Error())
		return false
	}
	return true
}

// refuseFault answers with what package access said. A wrong secret is no session that
// has ended: the page must not take it for one.
func refuseFault(rw http.ResponseWriter, err error) {
	f := fault.From(err)
	if wait := fault.RetryAfterOf(f); wait > 0 {
		rw.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)))
	}
	refuse(rw, fault.HTTPStatus(f.Code), string(f.Code), f.Detail)
}

// entered gives the person their cookie: a new secret, whatever they brought along.
func (w *watch) entered(rw http.ResponseWriter, r *http.Request, v access.Visit, err error) {
	if err != nil {
		w.log.WarnContext(r.Context(), "a sign-in at the console was refused", slog.String("code", string(fault.CodeOf(err))), slog.String("path", r.URL.Path))
		refuseFault(rw, err)
		return
	}
	http.SetCookie(rw, w.sessions.cookie(v.Token, int(access.SessionMax/time.Second)))
	w.log.InfoContext(r.Context(), "somebody signed in at the console", slog.String("operator", v.Operator), slog.String("method", string(v.Method)), slog.Bool("offline", v.Offline))
	w.whoAmI(rw, w.sessions.visitor(&v), true)
}

func (w *watch) enterByLink(rw http.ResponseWriter, r *http.Request) {
	var in struct {
		Link string `json:"link"`
	}
	if !take(rw, r, &in) {
		return
	}
	v, err := w.sessions.door.OpenLink(r.Context(), in.Link, r.UserAgent())
	if err != nil && fault.CodeOf(err) == fault.Unauthenticated {
		refuse(rw, http.StatusUnauthorized, codeLinkUsed, fault.From(err).Detail)
		return
	}
	w.entered(rw, r, v, err)
}

// consoleLink is POST /console/links of the watch, for who has its token.
type consoleLink struct {
	URL     string    `json:"url"`
	Expires time.Time `json:"expires"`
}

// linkAsked is its body: nothing for the person at this machine, or an operator's
// signature of access.LinkStatement.
type linkAsked struct {
	Key       string `json:"key,omitempty"`
	Signature string `json:"signature,omitempty"`
	At        string `json:"at,omitempty"`
}

// newLink makes a one-time link. The secret is behind #, which browsers tell no server
// and write into no log.
func (w *watch) newLink(ctx context.Context, in linkAsked) (consoleLink, error) {
	var secret string
	var err error
	if in.Key == "" {
		secret, err = w.sessions.door.LocalLink(ctx)
	} else {
		secret, err = w.sessions.door.SignedLink(ctx, w.sessions.origin.String(), in.Key, in.Signature, in.At)
	}
	if err != nil {
		return consoleLink{}, err
	}
	return consoleLink{URL: w.sessions.origin.String() + "/signin#link=" + secret, Expires: w.clock.Now().Add(linkSays).UTC()}, nil
}

// giveLink is POST /console/links.
func (w *watch) giveLink(rw http.ResponseWriter, r *http.Request) {
	var in linkAsked
	raw, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, askMax))
	if err == nil && len(raw) > 0 {
		err = json.Unmarshal(raw, &in)
	}
	if err != nil {
		refuse(rw, http.StatusBadRequest, string(fault.MalformedRequest), err.Error())
		return
	}
	link, err := w.newLink(r.Context(), in)
	if err != nil {
		refuseFault(rw, err)
		return
	}
	answer(rw, link)
}

// guard lets nobody below /api/ who has not signed in, and nobody change anything whose
// page did not come from here. What takes more than being an operator says so itself.
func (w *watch) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		// What is public has no session to steal, and may have a name of its own.
		if !isUnder(r.URL.Path, "/public") && !w.sessions.ownHost(r.Host) {
			refuse(rw, http.StatusMisdirectedRequest, string(fault.Forbidden), "this is Moneta's console at "+w.sessions.origin.String()+"; it answers to no other name")
			return
		}
		if toName, ok := w.byName(r); ok {
			http.Redirect(rw, r, toName, http.StatusTemporaryRedirect) //nolint:gosec // the host is the console's own; a test tries others
			return
		}
		if !isUnder(r.URL.Path, "/api") {
			next.ServeHTTP(rw, r)
			return
		}
		v, err := w.sessions.find(r)
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead
		own := isUnder(r.URL.Path, "/api/session")
		entering := r.URL.Path == "/api/session" && r.Method == http.MethodPost || isUnder(r.URL.Path, "/api/session/enter")
		switch {
		case err != nil && !own:
			refuseFault(rw, err)
			return
		case err == nil && !reads && !entering && subtle.ConstantTimeCompare([]byte(r.Header.Get(csrfHeader)), []byte(v.visit.CSRF())) != 1:
			refuse(rw, http.StatusForbidden, string(fault.Forbidden), "the header "+csrfHeader+" is not that of this session; load the page again")
			return
		case err == nil && !reads && !own && !v.Role.Covers(access.Operate):
			refuse(rw, http.StatusForbidden, string(fault.Forbidden), "a viewer reads; ask an operator")
			return
		}
		if err == nil {
			r = r.WithContext(context.WithValue(r.Context(), visitorKey{}, v))
		}
		next.ServeHTTP(rw, r)
	})
}

// byName is where a page is that somebody opened at an IP address: at the console's name,
// where passkeys work.
func (w *watch) byName(r *http.Request) (string, bool) {
	if r.Method != http.MethodGet || r.Header.Get("Sec-Fetch-Mode") != "navigate" || strings.EqualFold(r.Host, w.sessions.origin.Host) || isUnder(r.URL.Path, "/public") {
		return "", false
	}
	to := *w.sessions.origin
	to.Path, to.RawPath, to.RawQuery = r.URL.Path, r.URL.RawPath, r.URL.RawQuery
	return to.String(), true
}
