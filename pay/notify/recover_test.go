package notify

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/event"
	"github.com/moneta-pay/moneta/fault"
)

// What was given up, what waits, and what has no row is told once more; what was
// delivered is not.
func TestAnEndpointThatDiedIsToldWhatItMissed(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	shop, other := newShop(t), newShop(t)
	e, _ := p.endpoint(shop)
	_, _, err := p.endpoints.Create(t.Context(), 2, other.URL, "")
	require.NoError(t, err)
	_, err = p.pool.Exec(t.Context(), `update webhook_endpoints set created_at = now() - interval '1 hour'`)
	require.NoError(t, err)
	stop := p.run(p.sender(nil))
	p.finals(1, 1, 6)
	p.eventually("told", func() bool { return len(shop.ids()) == 6 && p.pending() == 0 })
	stop()
	exec := func(sql string, args ...any) {
		_, err := p.pool.Exec(t.Context(), sql, args...)
		require.NoError(t, err)
	}
	exec(`update webhook_deliveries set state = 3, tries = 10 where event in (2, 3)`)
	exec(`update webhook_deliveries set state = 1, next_at = now() + interval '20 hours' where event = 4`)
	exec(`delete from webhook_deliveries where event = 5`)
	since := time.Now().Add(-time.Hour)

	would, err := p.endpoints.TellAgain(t.Context(), Recovery{Endpoint: e.ID, Since: since, Again: true, Dry: true})
	require.NoError(t, err)
	require.Equal(t, Recovered{Endpoints: 1, GivenUp: 2, Waiting: 1, Missing: 1}, would)
	_, err = p.endpoints.TellAgain(t.Context(), Recovery{Endpoint: e.ID, Tenant: 2, Since: since, Again: true})
	require.Equal(t, fault.NotFound, fault.CodeOf(err), "another tenant's")
	missing, err := p.endpoints.TellAgain(t.Context(), Recovery{Since: since, Dry: true})
	require.NoError(t, err)
	require.Equal(t, Recovered{Endpoints: 2, Missing: 1}, missing, "of all endpoints, what has no row")

	exec(`update webhook_endpoints set state = 2, state_reason = 'it failed for 76 hours' where id = $1`, e.ID)
	none, err := p.endpoints.TellAgain(t.Context(), Recovery{Since: since})
	require.NoError(t, err)
	require.Equal(t, 1, none.Endpoints, "who is disabled is not told unless somebody names it")
	done, err := p.endpoints.TellAgain(t.Context(), Recovery{Endpoint: e.ID, Since: since, Again: true})
	require.NoError(t, err)
	require.Equal(t, Recovered{Endpoints: 1, GivenUp: 2, Waiting: 1, Enabled: []EndpointID{e.ID}}, done)
	stop = p.run(p.sender(nil))
	want := map[string]int{}
	for i := int64(1); i <= 6; i++ {
		want[event.ID(i).String()] = 1
		if i >= 2 && i <= 5 {
			want[event.ID(i).String()] = 2
		}
	}
	p.eventually("told again", func() bool {
		ids := shop.ids()
		return ids[event.ID(5).String()] == 2 && p.pending() == 0 && len(shop.all()) == 10
	})
	require.Equal(t, want, shop.ids())
	require.Empty(t, other.all())
	list, err := p.endpoints.List(t.Context(), 1)
	require.NoError(t, err)
	p.eventually("it follows again", func() bool {
		list, err = p.endpoints.List(t.Context(), 1)
		return err == nil && list[0].State == Active && !list[0].CatchingUp
	})
	stop()
}

// A crash in the middle leaves an endpoint as it was.
func TestRecoveringIsWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	shop := newShop(t)
	shop.set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	e, _ := p.endpoint(shop)
	_, err := p.pool.Exec(t.Context(), `update webhook_endpoints set created_at = now() - interval '1 hour';
		insert into webhook_deliveries (endpoint, event, state, tries) select 1, i, 3, 10 from generate_series(1, 3) i;
		create function die() returns trigger language plpgsql as $$ begin raise 'the session ends'; end $$;
		create trigger dies before update of behind on webhook_endpoints for each row execute function die()`)
	require.NoError(t, err)
	p.finals(1, 1, 3)
	_, err = p.pool.Exec(t.Context(), `update webhook_cursor set position = 3`)
	require.NoError(t, err)
	given := func() (n int) {
		require.NoError(t, p.pool.QueryRow(t.Context(), `select count(*) from webhook_deliveries where state = 3`).Scan(&n))
		return n
	}
	_, err = p.endpoints.TellAgain(t.Context(), Recovery{Endpoint: e.ID, Since: time.Now().Add(-time.Hour), Again: true})
	require.Error(t, err)
	require.Equal(t, 3, given())
	_, err = p.pool.Exec(t.Context(), `drop trigger dies on webhook_endpoints`)
	require.NoError(t, err)
	done, err := p.endpoints.TellAgain(t.Context(), Recovery{Endpoint: e.ID, Since: time.Now().Add(-time.Hour), Again: true})
	require.NoError(t, err)
	require.Equal(t, 3, done.GivenUp)
	require.Zero(t, given())
}
