// Package console holds the web console that was built into this binary, and hands it
// to browsers: the page, its hashed assets, the headers that keep strangers out. It
// knows nothing of payments or incidents; whoever serves it mounts the interfaces that
// the page asks beside it. A binary that was built without npm has no console: then a
// page says how to build one, and nothing pretends to work.
package console

import (
	"compress/gzip"
	"embed"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
)

//go:embed all:dist
var dist embed.FS

//go:embed placeholder.html
var placeholder []byte

// index is the page; every path of the console is drawn by it.
const index = "index.html"

// Built reports whether this binary holds the console.
func Built() bool { return built(files()) }

func files() fs.FS {
	sub, err := fs.Sub(dist, "dist")
	if err != nil {
		return dist // never: the name is a constant
	}
	return sub
}

func built(in fs.FS) bool {
	_, err := fs.Stat(in, index)
	return err == nil
}

// policy is what a page of the console may load: what comes from here, styles that its
// components write, and pictures drawn on the spot.
const policy = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"

// Strict sets the headers that every answer to a browser carries.
func Strict(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}

// Handler serves the console. Any path that is no file is the page itself for who asks
// for a page, because the page draws it, and 404 for who asks for anything else.
func Handler() http.Handler { return handler(files()) }

func handler(in fs.FS) http.Handler {
	whole := built(in)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET here", http.StatusMethodNotAllowed)
			return
		}
		name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
		switch {
		case whole && name != "" && name != index && sendAsset(w, r, in, name):
		case !strings.Contains(r.Header.Get("Accept"), "text/html"):
			http.Error(w, "there is nothing at this address", http.StatusNotFound)
		case !whole:
			page(w, r, placeholder, http.StatusServiceUnavailable)
		default:
			text, err := fs.ReadFile(in, index)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			page(w, r, text, http.StatusOK)
		}
	})
}

// page is never kept: the next build has other assets.
func page(w http.ResponseWriter, r *http.Request, text []byte, status int) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if r.Method == http.MethodGet {
		_, _ = w.Write(text) // whoever asked has gone
	}
}

// sendAsset sends a file if there is one. The build leaves of what compresses well the
// compressed form alone; a browser that does not take it gets it unpacked.
func sendAsset(w http.ResponseWriter, r *http.Request, in fs.FS, name string) bool {
	if strings.HasPrefix(path.Base(name), ".") || strings.HasSuffix(name, ".gz") {
		return false
	}
	packed := true
	f, err := in.Open(name + ".gz")
	if err != nil {
		packed = false
		if f, err = in.Open(name); err != nil {
			return false
		}
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || info.IsDir() {
		return false
	}
	var from io.Reader = f
	h := w.Header()
	h.Set("Vary", "Accept-Encoding")
	switch {
	case packed && takesGzip(r.Header.Get("Accept-Encoding")):
		h.Set("Content-Encoding", "gzip")
	case packed:
		unpacked, err := gzip.NewReader(f)
		if err != nil {
			return false
		}
		from = unpacked
	}
	h.Set("Content-Type", kind(name))
	h.Set("Cache-Control", keep(name))
	if r.Method == http.MethodGet {
		_, _ = io.Copy(w, from) // whoever asked has gone
	}
	return true
}

// takesGzip reads Accept-Encoding (RFC 9110 §12.5.3) as far as one encoding needs.
func takesGzip(accept string) bool {
	for _, one := range strings.Split(accept, ",") {
		coding, weight, _ := strings.Cut(strings.TrimSpace(one), ";")
		if c := strings.TrimSpace(coding); c != "gzip" && c != "*" {
			continue
		}
		q := strings.TrimPrefix(strings.ReplaceAll(weight, " ", ""), "q=")
		return strings.Trim(q, "0.") != "" || q == ""
	}
	return false
}

// kind does not ask the system's table, which differs from machine to machine.
func kind(name string) string {
	switch ext := path.Ext(name); ext {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".json", ".webmanifest":
		return "application/json"
	default:
		if t := mime.TypeByExtension(ext); t != "" {
			return t
		}
		return "application/octet-stream"
	}
}

// keep: the name of what is in assets changes with its content.
func keep(name string) string {
	if strings.HasPrefix(name, "assets/") {
		return "public, max-age=31536000, immutable"
	}
	return "no-cache"
}
