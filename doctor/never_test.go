package doctor_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moneta-pay/moneta/doctor"
)

var marks = []doctor.Mark{
	doctor.MarkWaiter, doctor.MarkSyncWait, doctor.MarkReplication, doctor.MarkWraparound, doctor.MarkSystem, doctor.MarkDecider,
	doctor.MarkUnresolved, doctor.MarkUnkept, doctor.MarkReaders, doctor.MarkPlanless, doctor.MarkForeign, "made-up",
}

var harmless = []string{
	doctor.DoUndoLever, doctor.DoCreateIndex, doctor.DoAnalyze, doctor.DoQueryUnknowns, doctor.DoReplayCallbacks, doctor.DoRebuildProjection,
	doctor.DoRedispatch, doctor.DoTakeover, doctor.DoRestartProcess, doctor.DoRetryArchive, doctor.DoParkCallback,
	doctor.DoProposeCompensation, doctor.DoCheck, doctor.DoWait,
}

// hand counts what it does, and finds its target to be whatever the test says.
type hand struct {
	does  string
	reach doctor.Reach
	marks []doctor.Mark
	acted int
}

func (h *hand) Does() string        { return h.does }
func (h *hand) Reach() doctor.Reach { return h.reach }

func (h *hand) Try(context.Context, doctor.Act) (doctor.Change, error) {
	return doctor.Change{Reach: h.reach, Items: 1, Marks: h.marks}, nil
}

func (h *hand) Act(context.Context, doctor.Act) (doctor.Change, error) {
	h.acted++
	return doctor.Change{Reach: h.reach, Items: 1}, nil
}

func anybody(t *rapid.T) doctor.Act {
	return doctor.Act{
		ID: rapid.String().Draw(t, "id"), Cause: rapid.String().Draw(t, "cause"), Why: rapid.String().Draw(t, "why"),
		By:       rapid.SampledFrom([]string{"doctor", "admin", "root", "ann"}).Draw(t, "by"),
		Approved: rapid.SliceOfN(rapid.SampledFrom([]string{"ann", "ben", "cleo", "admin"}), 0, 5).Draw(t, "approved"),
		With:     map[string]string{"pid": "1", "since": "2026-01-01T00:00:00Z", "plan": "p", "force": "true"},
	}
}

// Whoever asks, approves or gives the doctor a hand: what is on the list is not done.
func TestNothingGetsAroundTheNeverList(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := anybody(t)
		h := &hand{
			does: rapid.SampledFrom(append([]string{doctor.DoTerminateSession, doctor.DoDropSlot}, harmless...)).Draw(t, "does"), reach: doctor.Reach(rapid.IntRange(0, 4).Draw(t, "reach")),
			marks: rapid.SliceOfN(rapid.SampledFrom(marks), 1, 3).Draw(t, "marks"),
		}
		a.Do = rapid.SampledFrom([]string{h.does, doctor.DoCheck, ""}).Draw(t, "called")
		guarded := doctor.Guarded(doctor.Guarded(h))
		for _, f := range []func(context.Context, doctor.Act) (doctor.Change, error){guarded.Try, guarded.Act} {
			_, err := f(context.Background(), a)
			var never *doctor.Forbidden
			require.ErrorAs(t, err, &never)
			require.Regexp(t, `^N([1-9]|1[0-2])$`, never.Rule)
			require.NotEmpty(t, never.Reason)
		}
		require.Zero(t, h.acted)
	})
}

// The control: without a mark the same acts are done.
func TestWhatIsNotOnTheListIsDone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := anybody(t)
		h := &hand{does: rapid.SampledFrom(append([]string{doctor.DoTerminateSession, doctor.DoDropSlot}, harmless...)).Draw(t, "does")}
		_, err := doctor.Guarded(h).Act(context.Background(), a)
		require.NoError(t, err)
		require.Equal(t, 1, h.acted)
	})
}

func TestActsThatMustNotExist(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rule string
		act  doctor.Act
	}{
		{"N1", doctor.Act{Do: "resend-payment"}},
		{"N2", doctor.Act{Do: "fail-payments"}},
		{"N2", doctor.Act{Do: "mark-failed"}},
		{"N3", doctor.Act{Do: "purge-topic"}},
		{"N3", doctor.Act{Do: " Skip-Offset"}},
		{"N4", doctor.Act{Do: "reset-offsets"}},
		{"N5", doctor.Act{Do: "flushall"}},
		{"N6", doctor.Act{Do: "update-balance"}},
		{"N7", doctor.Act{Do: "kill-waiters"}},
		{"N7", doctor.Act{Do: doctor.DoTerminateSession, With: map[string]string{"pid": "7"}}},
		{"N7", doctor.Act{Do: doctor.DoCancelStatement, With: map[string]string{"since": "x"}}},
		{"N8", doctor.Act{Do: "raise-pool"}},
		{"N9", doctor.Act{Do: doctor.DoDropSlot, With: map[string]string{"slot": "s", "plan": " "}}},
		{"N10", doctor.Act{Do: "replace-transaction"}},
		{"N11", doctor.Act{Do: doctor.DoLever, With: map[string]string{"lever": "limit", "aim": "route:receive-callback", "value": "1/1s"}}},
		{"N11", doctor.Act{Do: doctor.DoLever, Aim: "route:receive-callback"}},
		{"N12", doctor.Act{Do: doctor.DoLever, With: map[string]string{"lever": "banner", "value": "Please pay again."}}},
		{"N12", doctor.Act{Do: doctor.DoTell, With: map[string]string{"zh": "请重新支付"}}},
	} {
		var never *doctor.Forbidden
		require.ErrorAs(t, doctor.Never(c.act), &never, "%+v", c.act)
		require.Equal(t, c.rule, never.Rule, "%+v", c.act)
	}
	for _, a := range []doctor.Act{
		{Do: doctor.DoTell, With: map[string]string{"en": "Your money is safe. Please do not pay again.", "zh": "资金安全。请勿重复支付。"}},
		{Do: doctor.DoLever, With: map[string]string{"lever": "pause-dispatch", "aim": "channel:bank-ab", "reason": "a retry storm"}},
	} {
		require.NoError(t, doctor.Never(a))
	}
}
