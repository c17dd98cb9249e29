package console

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func packed(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := io.WriteString(w, text)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func ask(h http.Handler, method, target string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestAssets(t *testing.T) {
	t.Parallel()
	const script = "console.log('built')"
	in := fstest.MapFS{
		"index.html":          {Data: []byte("<!doctype html>the page")},
		"assets/a-1f2e.js.gz": {Data: packed(t, script)},
		"favicon.svg":         {Data: []byte("<svg/>")},
		".keep":               {},
	}
	h := Strict(handler(in))

	r := ask(h, "GET", "/assets/a-1f2e.js", "Accept-Encoding", "br, gzip")
	require.Equal(t, "gzip", r.Header().Get("Content-Encoding"))
	require.Equal(t, "text/javascript; charset=utf-8", r.Header().Get("Content-Type"))
	require.Equal(t, "public, max-age=31536000, immutable", r.Header().Get("Cache-Control"))
	require.Equal(t, "nosniff", r.Header().Get("X-Content-Type-Options"))
	require.Equal(t, string(packed(t, script)), r.Body.String())

	for _, accept := range []string{"", "br", "gzip;q=0", "gzip; q=0.00"} {
		r = ask(h, "GET", "/assets/a-1f2e.js", "Accept-Encoding", accept)
		require.Empty(t, r.Header().Get("Content-Encoding"), accept)
		require.Equal(t, script, r.Body.String(), accept)
	}

	r = ask(h, "GET", "/favicon.svg")
	require.Equal(t, "image/svg+xml", r.Header().Get("Content-Type"))
	require.Equal(t, "no-cache", r.Header().Get("Cache-Control"))

	for _, path := range []string{"/", "/index.html", "/incidents/inc_1", "/payments?state=processing"} {
		r = ask(h, "GET", path, "Accept", "text/html,*/*")
		require.Equal(t, 200, r.Code, path)
		require.Equal(t, "no-store", r.Header().Get("Cache-Control"), path)
		require.Contains(t, r.Body.String(), "the page", path)
	}
	require.Contains(t, r.Header().Get("Content-Security-Policy"), "default-src 'self'")

	for _, path := range []string{"/assets/gone.js", "/.keep", "/assets/a-1f2e.js.gz", "/assets", "/../console.go"} {
		require.Equal(t, 404, ask(h, "GET", path, "Accept", "*/*").Code, path)
	}
	require.Equal(t, 405, ask(h, "POST", "/", "Accept", "text/html").Code)
	require.Empty(t, ask(h, "HEAD", "/", "Accept", "text/html").Body.String())
}

func TestPlaceholder(t *testing.T) {
	t.Parallel()
	in := fstest.MapFS{".keep": {}}
	require.False(t, built(in))
	r := ask(handler(in), "GET", "/incidents", "Accept", "text/html")
	require.Equal(t, http.StatusServiceUnavailable, r.Code)
	page := r.Body.String()
	require.Contains(t, page, "make build")
	require.Contains(t, page, "控制台")
}

// TestBuilt holds what this very binary has inside: on a build machine a console that is
// whole, whose parts are all there.
func TestBuilt(t *testing.T) {
	t.Parallel()
	if !Built() {
		require.NotEqual(t, "1", os.Getenv("CI"), "the console was not built: the build machine needs npm; see scripts/console.sh")
		t.Skip("the console was not built; make build does it")
	}
	page, err := fs.ReadFile(files(), index)
	require.NoError(t, err)
	require.Contains(t, string(page), "/assets/")
}
