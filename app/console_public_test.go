package app

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/internal/clock"
)

// TestAnybodyMaySeeTheStatus: without a token, and nothing else without one.
func TestAnybodyMaySeeTheStatus(t *testing.T) {
	t.Parallel()
	now := clock.NewManual(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))
	b := openConsole(t, WatchConfig{})
	b.watch.clock = now // nobody has asked yet
	j := b.watch.attendance.journal
	get := func(path, lang, tag string) (reply, string) {
		return b.do(http.MethodGet, path, "", "Accept-Language", lang, "If-None-Match", tag)
	}
	for _, path := range []string{"/now", "/public/../now", "/api/look/map", "/api/look/channels"} {
		r, _ := get(path, "", "")
		require.NotEqual(t, http.StatusOK, r.StatusCode, path)
	}
	page, text := get("/public/status", "zh-CN,zh;q=0.9", "")
	require.Equal(t, http.StatusOK, page.StatusCode)
	require.Contains(t, text, "目前无法确认服务是否正常", "nothing was heard yet")
	require.Contains(t, page.Header.Get("Content-Security-Policy"), "default-src 'none'")
	require.Empty(t, page.Cookies)
	_, text = get("/public/status?lang=en", "zh", "")
	require.Contains(t, text, "We cannot see at this moment")
	again, _ := get("/public/status", "zh", page.Header.Get("ETag"))
	require.Equal(t, http.StatusNotModified, again.StatusCode)

	raw, err := json.Marshal(doctor.Opening{Alarm: doctor.Alarm{Rule: doctor.Progress, Hop: "bank-st", Page: true, Since: now.Now()}})
	require.NoError(t, err)
	_, err = j.Append(context.WithoutCancel(t.Context()), doctor.Entry{At: now.Now(), Incident: "inc-20261122-120000", What: doctor.EntryOpened, Who: "doctor", Data: raw})
	require.NoError(t, err)
	_, text = get("/public/status", "en", "")
	require.NotContains(t, text, "second time", "a crowd costs one page each five seconds")
	now.Advance(6 * time.Second)
	_, text = get("/public/status", "en", "")
	require.Contains(t, text, "Please do not pay a second time")
	require.Contains(t, text, "2026-11-22 12:15 UTC", "when the next word comes")
	var out struct {
		State string `json:"state"`
		Now   struct {
			Next time.Time `json:"next_update_at"`
		} `json:"now"`
	}
	_, text = get("/public/status.json", "", "")
	require.NoError(t, json.Unmarshal([]byte(text), &out))
	require.Equal(t, "delayed", out.State)
	require.Equal(t, time.Date(2026, 11, 22, 12, 15, 0, 0, time.UTC), out.Now.Next)
}
