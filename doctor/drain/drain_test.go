package drain_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/drain"
)

// yard is a pay plane: payments that wait, and a hand that offers them.
type yard struct {
	mu      sync.Mutex
	waiting map[string]bool
	final   map[string]bool
	offered []string
	stuck   bool // what is offered stays where it is
	fail    error
	kept    []drain.State
	told    []doctor.Done
	gate    chan struct{} // nil lets every batch through
}

func (y *yard) Does() string        { return doctor.DoRedispatch }
func (y *yard) Reach() doctor.Reach { return doctor.Undoable }

func (y *yard) Try(_ context.Context, a doctor.Act) (out doctor.Change, err error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	out.Worth = map[string]string{}
	for p := range strings.SplitSeq(a.With["payments"], ",") {
		if y.waiting[p] {
			out.Items++
		} else {
			out.Rows = append(out.Rows, p+" final")
		}
	}
	out.Worth["CZK"] = fmt.Sprint(100 * out.Items)
	return out, nil
}

func (y *yard) Act(ctx context.Context, a doctor.Act) (doctor.Change, error) {
	if y.gate != nil {
		select {
		case <-y.gate:
		case <-ctx.Done():
			return doctor.Change{}, ctx.Err()
		}
	}
	out, _ := y.Try(ctx, a)
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.fail != nil {
		return out, y.fail
	}
	for p := range strings.SplitSeq(a.With["payments"], ",") {
		y.offered = append(y.offered, p)
		if !y.stuck {
			delete(y.waiting, p)
			y.final[p] = true
		}
	}
	return out, nil
}

func (y *yard) follow(_ context.Context, o *drain.Order) (drain.Fate, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	f := drain.Fate{Value: map[string]string{}, Ended: map[string]int{}}
	for _, p := range o.Chosen() {
		if y.waiting[p] {
			f.Open++
		} else if y.final[p] {
			f.Ended["succeeded"]++
		}
	}
	f.Value["CZK"] = fmt.Sprint(100 * f.Open)
	return f, nil
}

func newYard(n int) (*yard, []string) {
	y := &yard{waiting: map[string]bool{}, final: map[string]bool{}}
	var all []string
	for i := range n {
		p := fmt.Sprintf("pay_%d", i)
		y.waiting[p] = true
		all = append(all, p)
	}
	return y, all
}

func (y *yard) bench(t *testing.T) *drain.Bench {
	t.Helper()
	b := drain.New(drain.Config{
		Hand: func(act string) (doctor.Hand, error) {
			if act != y.Does() {
				return nil, errors.New("nobody here does it")
			}
			return y, nil
		},
		Follow: y.follow,
		Prove: func(context.Context, string, time.Time) (doctor.ProofKept, error) {
			return doctor.ProofKept{File: "proofs/x.json", Clean: true}, nil
		},
		Keep: func(p *drain.Progress) error { y.kept = append(y.kept, p.State); return nil },
		Tell: func(d doctor.Done) { y.told = append(y.told, d) },
	})
	t.Cleanup(b.Stop)
	return b
}

func ended(t *testing.T, b *drain.Bench) (p drain.Progress) {
	t.Helper()
	require.Eventually(t, func() bool {
		p, _ = b.Now()
		return p.State != drain.Running && p.State != drain.Paused
	}, time.Minute, 5*time.Millisecond)
	return p
}

func TestDrainOfWhatWasLookedAt(t *testing.T) {
	t.Parallel()
	y, all := newYard(120)
	b := y.bench(t)
	delete(y.waiting, "pay_3") // it is through before anybody looks
	o, err := b.Look(t.Context(), drain.Order{Act: doctor.DoRedispatch, Kind: "unsent", Payments: all, By: "ann"})
	require.NoError(t, err)
	require.Equal(t, 119, o.Items)
	require.Equal(t, []drain.Left{{Payment: "pay_3", Why: "final"}}, o.Left)
	require.Empty(t, y.offered, "looking moves nothing")
	_, err = b.Start(t.Context(), o.ID, "another", "ann")
	require.ErrorIs(t, err, drain.ErrStale)
	_, err = b.Start(t.Context(), o.ID, o.Hash, "ann")
	require.NoError(t, err)
	p := ended(t, b)
	require.Equal(t, drain.Done, p.State, p.Says)
	require.Equal(t, []int{119, 0, 3, 3}, []int{p.Brought, p.Open, p.Batches, p.Of})
	require.Equal(t, map[string]string{"CZK": "11900"}, p.ValueDone)
	require.Equal(t, 119, p.Ended["succeeded"])
	require.True(t, p.Proof.Clean)
	require.NotContains(t, y.offered, "pay_3")
	require.Len(t, y.told, 3)
	require.Equal(t, "ann", y.told[0].Act.By)
	_, err = b.Start(t.Context(), o.ID, o.Hash, "ann")
	require.ErrorIs(t, err, drain.ErrStale, "an order is carried out once")
}

// What does not move is not called through, and who stops it stops it.
func TestDrainIsStopped(t *testing.T) {
	t.Parallel()
	y, all := newYard(60)
	y.stuck = true
	b := y.bench(t)
	o, err := b.Look(t.Context(), drain.Order{Act: doctor.DoRedispatch, Kind: "unsent", Payments: all})
	require.NoError(t, err)
	_, err = b.Start(t.Context(), o.ID, o.Hash, "ann")
	require.NoError(t, err)
	require.Eventually(t, func() bool { p, _ := b.Now(); return p.Batches == 2 }, time.Minute, time.Millisecond)
	other, err := b.Look(t.Context(), drain.Order{Act: doctor.DoRedispatch, Kind: "unsent", Payments: all[:5]})
	require.NoError(t, err)
	_, err = b.Start(t.Context(), other.ID, other.Hash, "ben")
	require.ErrorIs(t, err, drain.ErrBusy)
	b.Stop()
	p := ended(t, b)
	require.Equal(t, drain.Stopped, p.State)
	require.Equal(t, 60, p.Open)
	require.Nil(t, p.EtaS)
	require.Equal(t, map[string]string{"CZK": "0"}, p.ValueDone)
	_, err = b.Pause(true)
	require.ErrorIs(t, err, drain.ErrNone)
}

func TestDrainIsPausedBetweenBatches(t *testing.T) {
	t.Parallel()
	y, all := newYard(150)
	y.gate = make(chan struct{})
	b := y.bench(t)
	o, err := b.Look(t.Context(), drain.Order{Act: doctor.DoRedispatch, Kind: "unsent", Payments: all})
	require.NoError(t, err)
	_, err = b.Start(t.Context(), o.ID, o.Hash, "ann")
	require.NoError(t, err)
	p, err := b.Pause(true)
	require.NoError(t, err)
	require.Equal(t, drain.Paused, p.State)
	select { // one batch may be under way already
	case y.gate <- struct{}{}:
	case <-time.After(time.Second):
	}
	p, _ = b.Now()
	require.LessOrEqual(t, p.Batches, 1)
	_, err = b.Pause(false)
	require.NoError(t, err)
	close(y.gate)
	require.Equal(t, drain.Done, ended(t, b).State)
	require.Len(t, y.offered, 150)
}

func TestDrainFailsAloud(t *testing.T) {
	t.Parallel()
	y, all := newYard(10)
	y.fail = errors.New("this node does not lead")
	b := y.bench(t)
	_, err := b.Look(t.Context(), drain.Order{Act: "purge"})
	require.Error(t, err)
	o, err := b.Look(t.Context(), drain.Order{Act: doctor.DoRedispatch, Payments: all})
	require.NoError(t, err)
	_, err = b.Start(t.Context(), o.ID, o.Hash, "ann")
	require.NoError(t, err)
	p := ended(t, b)
	require.Equal(t, drain.Failed, p.State)
	require.Contains(t, p.Says, "does not lead")
	require.Nil(t, p.Proof)
	require.Contains(t, y.told[0].Error, "does not lead")
}
