package app

import (
	"encoding/json"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/internal/pgtest"
)

// entering are the ways in that take a secret; each must refuse another site's page.
var entering = []string{
	"/api/session", "/api/session/enter/passkey/begin", "/api/session/enter/passkey", "/api/session/enter/code", "/api/session/enter/invitation",
	"/api/session/enter/invitation/passkey/begin", "/api/session/enter/invitation/passkey", "/api/session/enter/invitation/codes/begin", "/api/session/enter/invitation/codes",
}

// TestAnotherSitesPageActsForNobody: CSRF, at every way in and at everything behind it.
func TestAnotherSitesPageActsForNobody(t *testing.T) {
	t.Parallel()
	b := openConsole(t, WatchConfig{})
	for _, path := range entering {
		resp, raw := b.do("POST", path, `{}`, "Origin", "https://evil.example")
		require.Equal(t, 403, resp.StatusCode, "%s %s", path, raw)
		resp, _ = b.do("POST", path, `{}`, "Sec-Fetch-Site", "cross-site")
		require.Equal(t, 403, resp.StatusCode, path)
		require.Empty(t, resp.Cookies)
	}
	b.signIn(visitor{Name: "olga", Role: access.Chief, Tenant: 1})
	good := b.csrf
	for _, path := range []string{"/api/session/alive", "/api/session/passkeys/begin", "/api/session/invitations", "/api/look/approvals", "/api/watch/incidents/inc-1/notes", "/api/pay/v1/payments"} {
		for _, token := range []string{"", "wrong", "Zm9yZ2Vk"} {
			b.csrf = token
			resp, raw := b.do("POST", path, `{}`)
			require.Equal(t, 403, resp.StatusCode, "%s %s", path, raw)
			require.Contains(t, raw, csrfHeader)
		}
	}
	b.csrf = good
	resp, raw := b.do("POST", "/api/session/alive", `{}`)
	require.Equal(t, 200, resp.StatusCode, "the control: %s", raw)
}

// TestTheConsoleAnswersToItsOwnName: a stranger's name that was made to mean this machine
// (DNS rebinding) gets nothing, whatever it asks.
func TestTheConsoleAnswersToItsOwnName(t *testing.T) {
	t.Parallel()
	b := openConsole(t, WatchConfig{})
	ask := func(host, path string, header ...string) (status int, location string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.file.URL+path, nil)
		require.NoError(t, err)
		req.Host = host
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		resp, err := client.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode, resp.Header.Get("Location")
	}
	for _, host := range []string{"evil.example", "evil.example:7072", "localhost.evil.example", "127.0.0.1.evil.example:80", "10.0.0.1:7072"} {
		for _, path := range []string{"/", "/api/session", "/people", "/assets/x.js"} {
			status, _ := ask(host, path)
			require.Equal(t, http.StatusMisdirectedRequest, status, host+path)
		}
	}
	own, err := url.Parse(b.file.URL)
	require.NoError(t, err)
	for _, host := range []string{"localhost:" + own.Port(), own.Host, "[::1]:" + own.Port(), "LOCALHOST:" + own.Port()} {
		status, _ := ask(host, "/api/session")
		require.Equal(t, 200, status, host)
	}
	// A page opened by its address goes to the name, where passkeys work, and nowhere else.
	for _, path := range []string{"/people?x=1", "//evil.example/", "/%2f%2fevil.example", `/\evil.example`} {
		status, to := ask(own.Host, path, "Sec-Fetch-Mode", "navigate")
		require.Equal(t, http.StatusTemporaryRedirect, status)
		at, err := url.Parse(to)
		require.NoError(t, err)
		require.Equal(t, "localhost:"+own.Port(), at.Host, path)
	}
}

// TestTheConsoleIsInNoFrame: clickjacking.
func TestTheConsoleIsInNoFrame(t *testing.T) {
	t.Parallel()
	b := openConsole(t, WatchConfig{})
	for _, path := range []string{"/", "/signin", "/api/session", "/people"} {
		resp, _ := b.do("GET", path, "", "Accept", "text/html")
		require.Contains(t, resp.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'", path)
		require.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"), path)
	}
}

// TestASessionKnownBeforehandIsNone: what a browser brings along when it signs in is not
// what it goes on with.
func TestASessionKnownBeforehandIsNone(t *testing.T) {
	t.Parallel()
	b := openConsole(t, WatchConfig{})
	planted := "mo_sess_aaaaaaaa_" + strings.Repeat("a", 32)
	name := b.watch.sessions.cookieName()
	link, err := b.file.link(t.Context(), linkAsked{})
	require.NoError(t, err)
	_, secret, _ := strings.Cut(link.URL, "#link=")
	resp, raw := b.do("POST", "/api/session", `{"link":"`+secret+`"}`, "Cookie", name+"="+planted)
	require.Equal(t, 200, resp.StatusCode, raw)
	c := resp.Cookies[0]
	require.NotEqual(t, planted, c.Value)
	require.Equal(t, []any{true, http.SameSiteStrictMode, "/", ""}, []any{c.HttpOnly, c.SameSite, c.Path, c.Domain})
	resp, _ = b.do("GET", "/api/watch/now", "", "Cookie", name+"="+planted)
	require.NotEqual(t, 200, resp.StatusCode)
	resp, _ = b.do("GET", "/api/watch/now", "", "Cookie", name+"="+c.Value)
	require.Equal(t, 200, resp.StatusCode, "the control")
}

// TestTheConsolesNameIsAsConfigured: behind a proxy with TLS the cookie is Secure and no
// other host can set it.
func TestTheConsolesNameIsAsConfigured(t *testing.T) {
	t.Parallel()
	c := WatchConfig{ConsoleURL: "https://moneta.example/"}
	require.Equal(t, "https://moneta.example", c.consoleOrigin("http://127.0.0.1:7072"))
	c.ConsoleURL = ""
	require.Equal(t, "http://localhost:7072", c.consoleOrigin("http://127.0.0.1:7072"))
	u, err := url.Parse("https://moneta.example")
	require.NoError(t, err)
	s := &sessions{origin: u}
	require.Equal(t, "__Host-"+sessionCookie, s.cookieName())
	require.True(t, s.cookie("x", 1).Secure)
	require.True(t, s.ownHost("moneta.example"))
	require.False(t, s.ownHost("moneta.example.evil.example"))
}

// TestPeopleComeInThroughTheConsole: the first person invites, somebody makes pass and
// codes and signs in, lists and ends sessions; the API takes the same session.
func TestPeopleComeInThroughTheConsole(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	pool, err := pgxpool.New(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	store := access.NewStore(pool)
	_, err = store.CreateTenant(t.Context(), "default")
	require.NoError(t, err)
	b := openConsole(t, WatchConfig{DSN: dsn})
	link, err := b.file.link(t.Context(), linkAsked{})
	require.NoError(t, err)
	_, secret, _ := strings.Cut(link.URL, "#link=")
	into := func(method, path, body string, out any) {
		t.Helper()
		resp, raw := b.do(method, path, body)
		require.Equal(t, 200, resp.StatusCode, "%s: %s", path, raw)
		require.NoError(t, json.Unmarshal([]byte(raw), out))
	}
	var who consoleWho
	into("POST", "/api/session", `{"link":"`+secret+`"}`, &who)
	require.True(t, who.Local)
	b.csrf = who.Csrf
	var in invitation
	into("POST", "/api/session/invitations", `{"name":"ann","role":"admin"}`, &in)
	require.True(t, in.Added)
	_, token, ok := strings.Cut(in.Link, "/enrol#token=")
	require.True(t, ok, in.Link)
	require.NotContains(t, in.Credential, token)

	var codes newCodes
	into("POST", "/api/session/enter/invitation/codes/begin", `{"token":"`+token+`"}`, &codes)
	require.True(t, strings.HasPrefix(codes.QR, "<svg "), codes.QR)
	require.Contains(t, codes.Address, "otpauth://totp/")
	code, err := totp.GenerateCode(codes.Secret, time.Now())
	require.NoError(t, err)
	into("POST", "/api/session/enter/invitation/codes", `{"token":"`+token+`","id":"`+codes.ID+`","code":"`+code+`"}`, &who)
	require.Equal(t, []any{"ann", access.TOTP, false}, []any{who.Name, who.Method, who.Offline})
	b.csrf = who.Csrf
	own, err := url.Parse(b.file.URL)
	require.NoError(t, err)
	var held string
	for _, c := range b.jar.Jar.Cookies(own) {
		if c.Name == b.watch.sessions.cookieName() {
			held = c.Value
		}
	}
	p, err := store.AuthenticateSession(t.Context(), held, true)
	require.NoError(t, err, "what the proxy tells the API")
	require.Equal(t, "ann", p.Operator)

	// Another sign-in with the next code, and the first session ends by the second's hand.
	next, err := totp.GenerateCode(codes.Secret, time.Now().Add(30*time.Second))
	require.NoError(t, err)
	into("POST", "/api/session/enter/code", `{"name":"ann","pass":"`+codes.Pass+`","code":"`+next+`"}`, &who)
	b.csrf = who.Csrf
	var open []openSession
	into("GET", "/api/session/list", "", &open)
	require.Len(t, open, 2)
	for _, s := range open {
		if !s.Current {
			var done map[string]string
			into("DELETE", "/api/session/list/"+s.ID, "", &done)
		}
	}
	resp, _ := b.do("GET", "/api/watch/now", "", "Cookie", b.watch.sessions.cookieName()+"="+held)
	require.Equal(t, 401, resp.StatusCode)
	var keys []ownPasskey
	into("GET", "/api/session/passkeys", "", &keys)
	require.Empty(t, keys)

	// Wrong ones are refused alike, and tell nothing.
	for _, body := range []string{
		`{"name":"ann","pass":"` + codes.Pass + `","code":"000000"}`,
		`{"name":"ann","pass":"mo_pass_aaaaaaaa_` + strings.Repeat("a", 32) + `","code":"000000"}`,
		`{"name":"eve","pass":"` + codes.Pass + `","code":"` + next + `"}`,
	} {
		resp, raw := b.do("POST", "/api/session/enter/code", body)
		require.Equal(t, 401, resp.StatusCode, raw)
		require.NotContains(t, raw, codes.Pass)
	}
	require.FileExists(t, filepath.Join(doctorFolder(b.watch.cfg.DataDir), "roll.json"))
}

// TestASessionAloneApprovesNothing: who has stolen the cookie has not the person.
func TestASessionAloneApprovesNothing(t *testing.T) {
	t.Parallel()
	b := openConsole(t, WatchConfig{})
	b.signIn(visitor{Name: "olga", Role: access.Chief, Tenant: 1})
	for _, proof := range []string{``, `,"code":"123456"`, `,"assertion":"{}"`} {
		resp, raw := b.do("POST", "/api/look/approvals", `{"act_id":"a","hash":"h","agreed":true,"reason":"r"`+proof+`}`)
		require.Contains(t, []int{400, 401}, resp.StatusCode, raw)
	}
}
