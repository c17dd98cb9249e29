package app

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/journal"
	"github.com/moneta-pay/moneta/doctor/river"
	"github.com/moneta-pay/moneta/internal/clock"
)

// TestAnybodyMaySeeTheStatus: without a token, and nothing else without one.
func TestAnybodyMaySeeTheStatus(t *testing.T) {
	t.Parallel()
	now := clock.NewManual(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))
	j, err := journal.OpenWith(t.TempDir(), journal.Options{Clock: now})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, j.Close()) })
	w := &watch{river: river.NewKeeper(), clock: now, attendance: &attendance{journal: j}}
	h := w.routes(&watching{Token: "token"})
	get := func(path, lang, tag string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
		r.Header.Set("Accept-Language", lang)
		r.Header.Set("If-None-Match", tag)
		rw := httptest.NewRecorder()
		h.ServeHTTP(rw, r)
		return rw
	}
	require.Equal(t, http.StatusUnauthorized, get("/now", "", "").Code)
	require.Equal(t, http.StatusNotFound, get("/public", "", "").Code)
	require.NotEqual(t, http.StatusOK, get("/public/../now", "", "").Code)

	page := get("/public/status", "zh-CN,zh;q=0.9", "")
	require.Equal(t, http.StatusOK, page.Code)
	require.Contains(t, page.Body.String(), "目前无法确认服务是否正常", "nothing was heard yet")
	require.Contains(t, page.Header().Get("Content-Security-Policy"), "default-src 'none'")
	require.Empty(t, page.Header().Get("Set-Cookie"))
	require.Contains(t, get("/public/status?lang=en", "zh", "").Body.String(), "We cannot see at this moment")
	require.Equal(t, http.StatusNotModified, get("/public/status", "zh", page.Header().Get("ETag")).Code)

	raw, err := json.Marshal(doctor.Opening{Alarm: doctor.Alarm{Rule: doctor.Progress, Hop: "bank-st", Page: true, Since: now.Now()}})
	require.NoError(t, err)
	_, err = j.Append(context.WithoutCancel(t.Context()), doctor.Entry{At: now.Now(), Incident: "inc-20261122-120000", What: doctor.EntryOpened, Who: "doctor", Data: raw})
	require.NoError(t, err)
	require.NotContains(t, get("/public/status", "en", "").Body.String(), "second time", "a crowd costs one page each five seconds")
	now.Advance(6 * time.Second)
	page = get("/public/status", "en", "")
	require.Contains(t, page.Body.String(), "Please do not pay a second time")
	require.Contains(t, page.Body.String(), "2026-11-22 12:15 UTC", "when the next word comes")
	var out struct {
		State string `json:"state"`
		Now   struct {
			Next time.Time `json:"next_update_at"`
		} `json:"now"`
	}
	require.NoError(t, json.Unmarshal(get("/public/status.json", "", "").Body.Bytes(), &out))
	require.Equal(t, "delayed", out.State)
	require.Equal(t, time.Date(2026, 11, 22, 12, 15, 0, 0, time.UTC), out.Now.Next)
}
