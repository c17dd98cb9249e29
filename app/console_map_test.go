package app

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/doctor/river"
)

func TestTheMapIsServed(t *testing.T) {
	t.Parallel()
	w := &watch{river: river.NewKeeper()}
	mux := http.NewServeMux()
	w.mapRoutes(mux)
	get := func(path, tag string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
		r.Header.Set("If-None-Match", tag)
		rw := httptest.NewRecorder()
		mux.ServeHTTP(rw, r)
		return rw
	}
	require.Equal(t, http.StatusServiceUnavailable, get("/api/look/map", "").Code)
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for i := range 3 {
		require.NoError(t, w.river.Put(river.Build(river.In{Now: noon.Add(time.Duration(i) * time.Second)})))
	}
	first := get("/api/look/map", "")
	require.Equal(t, http.StatusOK, first.Code)
	var m river.Map
	require.NoError(t, json.Unmarshal(first.Body.Bytes(), &m))
	require.Equal(t, noon.Add(2*time.Second), m.At)
	again := get("/api/look/map", first.Header().Get("ETag"))
	require.Equal(t, http.StatusNotModified, again.Code)
	require.Empty(t, again.Body.String())

	then := get("/api/look/map?at="+url.QueryEscape(noon.Add(1500*time.Millisecond).Format(time.RFC3339Nano)), "")
	require.NoError(t, json.Unmarshal(then.Body.Bytes(), &m))
	require.Equal(t, noon.Add(time.Second), m.At)
	require.Equal(t, http.StatusNotFound, get("/api/look/map?at=2026-11-22T11:00:00Z", "").Code)
	require.Equal(t, http.StatusBadRequest, get("/api/look/map?at=noon", "").Code)
	require.Equal(t, http.StatusNotFound, get("/api/look/map/ages?hop=dispatch", "").Code)
	var h river.History
	require.NoError(t, json.Unmarshal(get("/api/look/map/history", "").Body.Bytes(), &h))
	require.Len(t, h.At, 1)
}

// TestTheMapIsPushed: whoever looks at the page gets each new map, once.
func TestTheMapIsPushed(t *testing.T) {
	t.Parallel()
	b := openConsole(t, WatchConfig{})
	b.signIn(visitor{Name: "vera", Role: access.Viewer, Tenant: 1})
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	require.NoError(t, b.watch.river.Put(river.Build(river.In{Now: noon})))
	stream, stop := b.listen("")
	defer stop()
	next := func() (m river.Map) {
		for {
			if e := readEvent(t, stream); e.name == "map" {
				require.NoError(t, json.Unmarshal([]byte(e.data), &m))
				return m
			}
		}
	}
	require.Equal(t, noon, next().At)
	require.NoError(t, b.watch.river.Put(river.Build(river.In{Now: noon.Add(time.Second)})))
	require.Equal(t, noon.Add(time.Second), next().At, "the same one is not sent twice")
}
