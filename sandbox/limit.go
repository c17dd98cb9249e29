package sandbox

import (
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// maxCounted bounds the references whose queries are counted; beyond it all
// counts begin anew, which errs on our side.
const maxCounted = 100_000

// limiter counts requests in fixed windows. It is asked only while a budget is set.
type limiter struct {
	mu      sync.Mutex
	all     count
	queries map[string]count
}

type count struct {
	began time.Time
	made  int64
}

// spend counts one request against the budget and returns how long the caller
// must wait when nothing is left.
func (c *count) spend(budget Budget, now time.Time) time.Duration {
	window := time.Duration(budget.Window) * time.Millisecond
	if c.made == 0 || now.Sub(c.began) >= window || now.Before(c.began) {
		*c = count{began: now}
	}
	if c.made >= budget.Requests {
		return max(c.began.Add(window).Sub(now), time.Millisecond)
	}
	c.made++
	return 0
}

func (l *limiter) request(budget Budget, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.spend(budget, now)
}

func (l *limiter) query(budget Budget, reference string, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.queries == nil || len(l.queries) >= maxCounted {
		l.queries = map[string]count{}
	}
	c := l.queries[reference]
	wait := c.spend(budget, now)
	l.queries[reference] = c
	return wait
}

// admit refuses a request that the bank has no budget or no time for: nothing is
// done, and the answer says when to come again. reference is empty unless it is
// a query.
func (b *bank) admit(how *Behaviour, reference string) error {
	if how.Maintenance == (Maintenance{}) && how.RateLimit.Requests == 0 && how.QueryBudget.Requests == 0 {
		return nil
	}
	now := b.clock.Now()
	if wait := how.Maintenance.left(now); wait > 0 {
		b.tally.limited.Add(1)
		return later(http.StatusServiceUnavailable, "maintenance", "the bank is being maintained; nothing was done", wait)
	}
	if how.RateLimit.Requests > 0 {
		if wait := b.limits.request(how.RateLimit, now); wait > 0 {
			b.tally.limited.Add(1)
			return later(http.StatusTooManyRequests, "rate_limited", "too many requests; nothing was done", wait)
		}
	}
	if reference != "" && how.QueryBudget.Requests > 0 {
		if wait := b.limits.query(how.QueryBudget, reference, now); wait > 0 {
			b.tally.limited.Add(1)
			return later(http.StatusTooManyRequests, "query_budget", "this reference was asked for too often", wait)
		}
	}
	return nil
}

// later is a refusal with the whole seconds to wait, rounded up.
func later(status int, code, detail string, wait time.Duration) *problem {
	return &problem{status: status, Code: code, Detail: detail, retryAfter: strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10)}
}

// span is a parsed maintenance window: instants, or times of every day.
type span struct {
	from, until time.Time
	daily       bool
	none        bool
}

func (m Maintenance) window() (span, error) {
	if m == (Maintenance{}) {
		return span{none: true}, nil
	}
	for _, layout := range []string{time.RFC3339, "15:04"} {
		from, err := time.Parse(layout, m.From)
		until, err2 := time.Parse(layout, m.Until)
		if err != nil || err2 != nil {
			continue
		}
		if !from.Before(until) && layout == time.RFC3339 || from.Equal(until) {
			return span{}, errors.New("from must lie before until")
		}
		return span{from: from, until: until, daily: layout == "15:04"}, nil
	}
	return span{}, errors.New("from and until must both be RFC 3339 instants, or both times of the day as 22:00")
}

// left is how much longer the window lasts: 0 outside of it.
func (m Maintenance) left(now time.Time) time.Duration {
	w, err := m.window()
	if err != nil || w.none {
		return 0
	}
	from, until := w.from, w.until
	if w.daily {
		day := now.UTC().Truncate(24 * time.Hour)
		from = day.Add(time.Duration(w.from.Hour())*time.Hour + time.Duration(w.from.Minute())*time.Minute)
		until = day.Add(time.Duration(w.until.Hour())*time.Hour + time.Duration(w.until.Minute())*time.Minute)
		switch { // a window over midnight began yesterday or ends tomorrow
		case until.Before(from) && now.Before(until):
			from = from.Add(-24 * time.Hour)
		case until.Before(from):
			until = until.Add(24 * time.Hour)
		}
	}
	if now.Before(from) || !now.Before(until) {
		return 0
	}
	return until.Sub(now)
}
