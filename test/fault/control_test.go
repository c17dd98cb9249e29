package fault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/intake"
)

// restless sends once more when the channel's word is no answer, under a reference
// that nobody will ask for: the mistake that doubles payouts.
type restless struct{ channel.Channel }

// Send sends twice.
func (r restless) Send(ctx context.Context, o channel.Order) channel.Word {
	word := r.Channel.Send(ctx, o)
	if word.Verdict != channel.Unknown {
		return word
	}
	o.Reference, o.SendBy = o.Reference+"X", time.Time{}
	return r.Channel.Send(ctx, o)
}

// hasty acknowledges before anything is committed.
type hasty struct {
	commit.Submitter
	world *world
}

// Submit answers what will probably be.
func (h hasty) Submit(ctx context.Context, f commit.Fact) (commit.Result, error) {
	if f.Payment == nil || h.world.acked == nil || f.Payment.New.Remittance != "hasty 1" {
		return h.Submitter.Submit(ctx, f)
	}
	var last int64
	if err := h.world.db.QueryRow(ctx, `select coalesce(max(id), 0) from payments`).Scan(&last); err != nil {
		return commit.Result{}, err
	}
	p := *f.Payment.New
	p.ID, p.State = pay.ID(last+1), pay.Succeeded
	go func() { // a crash before the caller has the answer would take that back
		for began := time.Now(); time.Since(began) < patience && !h.world.heard(p.ID); pause() {
		}
		_, _ = h.Submitter.Submit(context.WithoutCancel(ctx), f)
	}()
	return commit.Result{Payment: p}, nil
}

// heard reports whether the caller has been told of p.
func (w *world) heard(p pay.ID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.acked[p]
	return ok
}

// named finds a flow.
func named(t *testing.T, name string) flow {
	t.Helper()
	for _, f := range flows {
		if f.name == name {
			return f
		}
	}
	t.Fatalf("no flow %s", name)
	return flow{}
}

// find runs a flow with one damage after the other until something is reported, and
// returns the report.
func find(t *testing.T, f flow, how damage, change func(*world)) string {
	t.Helper()
	w, err := newWorld(t, change)
	require.NoError(t, err)
	var g figures
	for n := 1; n < most; n++ {
		if !g.once(w, f, "", shot{n, how}) {
			return strings.Join(g.problems, "\n")
		}
		if g.last == 0 {
			break
		}
	}
	return ""
}

// TestPlantedFaultsAreFound breaks what keeps money safe, one thing at a time, and
// wants it to be reported: a harness that cannot fail proves nothing.
func TestPlantedFaultsAreFound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, flow string
		how        damage
		change     func(*world)
		want       string
	}{
		{
			"an adapter that sends again under a new reference", "payout", replyLost,
			func(w *world) { w.adapter = func(ch channel.Channel) channel.Channel { return restless{ch} } }, "doubled: the bank moved",
		},
		{
			"a client with another key at every try", "send", crashAfter,
			func(w *world) { w.freshKeys = true }, "doubled: several payments",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, find(t, named(t, c.flow), c.how, c.change), c.want)
		})
	}
	t.Run("a bank that executes a reference twice", func(t *testing.T) {
		t.Parallel()
		f := flow{name: "resend", run: func(s *story) error {
			if err := s.w.bank.behave(`{"dedup":false,"lose_reply":1,"callback_lose":1,"query_lag_ms":1500}`); err != nil {
				return err
			}
			_, err := s.payout("", 55, pay.Succeeded)
			return err
		}}
		require.Contains(t, find(t, f, replyLost, func(w *world) { w.caps.NotFoundMeansNever = false }), "doubled: the bank moved")
	})
	t.Run("an answer before the commit", func(t *testing.T) {
		t.Parallel()
		f := flow{name: "hasty", run: func(s *story) error {
			_, err := s.w.ask("hasty", func(ctx context.Context, l *life, _ int) (commit.Result, error) {
				return l.intake.Accept(ctx, &intake.Request{
					Tenant: tenant, Key: "hasty", Kind: "send", From: s.w.accounts["alice"], To: s.w.accounts["bob"], Amount: "5",
					Asset: "CZK", Remittance: s.tag,
				})
			})
			if err != nil {
				return err
			}
			for began := time.Now(); time.Since(began) < patience; pause() {
				if s.w.effects.fires() > 0 {
					return nil
				}
			}
			return errors.New("nothing crashed")
		}}
		found := find(t, f, crashBefore, func(w *world) {
			w.submitter = func(s commit.Submitter) commit.Submitter { return hasty{s, w} }
		})
		require.Contains(t, found, "lost: hasty was acknowledged")
	})
	t.Run("a payment that nobody moves", func(t *testing.T) {
		t.Parallel()
		f := flow{name: "stuck", run: func(s *story) error {
			s.w.paused.Store(true)
			s.leaves("", 0)
			_, err := s.accept("", intake.Request{
				Kind: "payout", From: s.w.accounts["alice"], Amount: "5", Channel: "bank-ab", PayeeAccount: "1",
			})
			return err
		}}
		require.Contains(t, find(t, f, refused, func(w *world) { w.patience = time.Second }), "stuck: 1 payments open")
	})
}

// TestADamagedRowIsFound plants what a broken decider could leave behind.
func TestADamagedRowIsFound(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"is the sum of the book": `update transfers set amount = amount + 1 where id = 1`,
		"flipped from":           `update transitions set to_state = 7 where payment = 1 and to_state = 6`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, err := newWorld(t, nil)
			require.NoError(t, err)
			w.check("before")
			require.Empty(t, w.report())
			_, err = w.db.Exec(t.Context(), sql)
			require.NoError(t, err)
			w.check("after")
			require.Contains(t, fmt.Sprint(w.report()), name)
		})
	}
}
