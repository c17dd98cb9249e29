package notify

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/event"
	"github.com/moneta-pay/moneta/fault"
)

// An endpoint is told again what it has not taken since a time, and nothing twice: what
// was given up, and what was never queued because it did not exist yet.
func TestAnEndpointIsToldAgainSinceATime(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.finals(1, 1, 10)
	p.finals(1, 6_101, 6_120) // a gap in the log, and more than one window
	_, err := p.pool.Exec(t.Context(), `update transitions set at = case when id <= 5 then now() - interval '3 hours' else now() - interval '1 hour' end`)
	require.NoError(t, err)
	s := newShop(t)
	e, _ := p.endpoint(s)
	s.set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	p.run(p.sender(nil))
	p.finals(1, 7_001, 7_001)
	p.eventually("it failed", func() bool { d := p.deliveries(e.ID); return len(d) == 1 && d[0].Tries == 1 })
	_, err = p.pool.Exec(t.Context(), `update webhook_deliveries set state = 3, tries = 10`)
	require.NoError(t, err)
	s.set(nil)
	p.finals(1, 7_002, 7_002)
	p.eventually("the next one arrives", func() bool { return s.ids()[event.ID(7_002).String()] == 1 && p.deliveries(e.ID)[0].State == Delivered })

	now := time.Now()
	for _, bad := range []time.Time{now.Add(-RecoverMax - time.Hour), now.Add(time.Hour)} {
		_, err = p.endpoints.Recover(t.Context(), 1, e.ID, bad)
		require.ErrorIs(t, err, fault.MalformedRequest)
	}
	_, err = p.endpoints.Recover(t.Context(), 2, e.ID, now.Add(-2*time.Hour))
	require.ErrorIs(t, err, fault.NotFound, "somebody else's endpoint")
	before := s.ids()[event.ID(7_001).String()]
	look, err := p.endpoints.Recover(t.Context(), 1, e.ID, now.Add(-2*time.Hour))
	require.NoError(t, err)
	require.True(t, look.CatchingUp)
	const missed = 5 + 20 // of the first ten those within two hours, and those after the gap
	p.eventually("all that it had not taken", func() bool { return len(s.ids()) == missed+2 && p.pending() == 0 })
	require.Zero(t, s.ids()[event.ID(5).String()], "before the time")
	require.Equal(t, 1, s.ids()[event.ID(6).String()])
	require.Equal(t, before+1, s.ids()[event.ID(7_001).String()], "what was given up")
	require.Equal(t, 1, s.ids()[event.ID(7_002).String()], "what it took is not repeated")
	p.eventually("it follows again", func() bool {
		look, err := p.endpoints.Endpoint(t.Context(), 1, e.ID)
		return err == nil && !look.CatchingUp
	})
}

func TestAnEndpointIsChangedAndDisabled(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	from, to := newShop(t), newShop(t)
	e, secret := p.endpoint(from)
	moved, name := to.URL+"/moved", "till"
	_, err := p.endpoints.Change(t.Context(), 2, e.ID, &moved, nil)
	require.ErrorIs(t, err, fault.NotFound, "somebody else's endpoint")
	inside := "https://10.0.0.1/"
	_, err = p.endpoints.Change(t.Context(), 1, e.ID, &inside, nil)
	require.ErrorIs(t, err, fault.MalformedRequest)
	_, err = p.pool.Exec(t.Context(), `update webhook_endpoints set failing_since = now()`)
	require.NoError(t, err)
	look, err := p.endpoints.Change(t.Context(), 1, e.ID, nil, &name)
	require.NoError(t, err)
	require.Equal(t, from.URL+"/hook", look.URL)
	require.False(t, look.FailingSince.IsZero())
	look, err = p.endpoints.Change(t.Context(), 1, e.ID, &moved, nil)
	require.NoError(t, err)
	require.Equal(t, []string{moved, name}, []string{look.URL, look.Description})
	require.True(t, look.FailingSince.IsZero(), "the new address has not failed")

	p.run(p.sender(nil))
	p.finals(1, 1, 1)
	p.eventually("the new address is told", func() bool { return len(to.all()) == 1 })
	require.True(t, verify(t, &to.all()[0], secret), "under the same secret")
	_, err = p.endpoints.Disable(t.Context(), 2, e.ID, "")
	require.ErrorIs(t, err, fault.NotFound)
	look, err = p.endpoints.Disable(t.Context(), 1, e.ID, "their release")
	require.NoError(t, err)
	require.Equal(t, Disabled, look.State)
	require.Equal(t, "their release", look.Reason)
	_, err = p.endpoints.Recover(t.Context(), 1, e.ID, time.Now().Add(-time.Hour))
	require.ErrorIs(t, err, fault.IllegalTransition, "it would wait for nobody")
	p.finals(1, 2, 2)
	_, err = p.endpoints.Enable(t.Context(), 1, e.ID)
	require.NoError(t, err)
	p.eventually("what it missed", func() bool { return len(to.ids()) == 2 })
	require.Empty(t, from.all())
}
