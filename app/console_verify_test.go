package app

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/config"
	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/pay/channel/probe"
	"github.com/moneta-pay/moneta/pay/dispatch"
)

// verifying is a console with two channels, one of them without a test endpoint, whose
// tests end as the test of the room says.
func verifying(t *testing.T) (b *browser, findings chan probe.Finding, ends chan error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "serve.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"channels":[
		{"name":"bank-ab","adapter":"sandbox","base_url":"http://127.0.0.1:1","test_url":"http://127.0.0.1:1/test","bank":"ab","secrets":["s"]},
		{"name":"bank-live","adapter":"sandbox","base_url":"http://127.0.0.1:1","bank":"live","secrets":["s"]}]}`), 0o600))
	b = openConsole(t, WatchConfig{Config: file})
	findings, ends = make(chan probe.Finding), make(chan error)
	room := newVerifyRoom(clock.System)
	room.probe = func(ctx context.Context, _ *ChannelConfig, c *config.Channel, progress func(probe.Finding)) (r probe.Report, err error) {
		r.Channel = "bank-ab"
		require.NotEmpty(t, c.TestURL)
		for {
			select {
			case f := <-findings:
				r.Findings = append(r.Findings, f)
				progress(f)
			case err := <-ends:
				return r, err
			case <-ctx.Done():
				return r, ctx.Err()
			}
		}
	}
	room.keep = func(context.Context, *ChannelConfig, probe.Report, string) error { return nil }
	b.watch.verify = room
	t.Cleanup(func() { require.NoError(t, room.stop(context.Background())) })
	return b, findings, ends
}

type verifyAnswer struct {
	Run  *verifyRun `json:"run"`
	Busy string     `json:"busy"`
}

const verifyPath = "/api/look/channels/bank-ab/verify"

func (b *browser) untilVerified(state string) (got verifyAnswer) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		b.get(verifyPath, &got)
		return got.Run != nil && got.Run.State == state
	}, 30*time.Second, 5*time.Millisecond, "%s", state)
	return got
}

func TestAChannelIsVerifiedFromItsScreen(t *testing.T) {
	t.Parallel()
	b, findings, ends := verifying(t)
	b.signIn(visitor{Name: "olga", Role: access.Operate, Tenant: 1})
	resp, _ := b.do(http.MethodPost, verifyPath, `{}`)
	require.Equal(t, 403, resp.StatusCode, "what is shown lets unknown orders out again")
	b.signIn(visitor{Name: "anna", Role: access.Approver, Tenant: 1})
	var got verifyAnswer
	b.get(verifyPath, &got)
	require.Nil(t, got.Run)
	for path, want := range map[string]int{"bank-none": 404, "bank-live": 409} {
		resp, raw := b.do(http.MethodPost, "/api/look/channels/"+path+"/verify", `{}`)
		require.Equal(t, want, resp.StatusCode, raw)
	}
	for _, bad := range []string{`{"asset":"XXXX"}`, `{"amount":"0"}`, `{"amount":"1000001"}`, `{"account":"1"}`, `{`} {
		resp, _ := b.do(http.MethodPost, verifyPath, bad)
		require.Equal(t, 400, resp.StatusCode, bad)
	}
	resp, raw := b.do(http.MethodPost, verifyPath, `{"asset":"CNY","amount":"5"}`)
	require.Equal(t, 202, resp.StatusCode, raw)
	require.NoError(t, json.Unmarshal([]byte(raw), &got))
	require.Equal(t, []any{"running", "CNY", int64(5), "anna"}, []any{got.Run.State, got.Run.Asset, got.Run.Amount, got.Run.By})
	require.Equal(t, probe.Capabilities(), got.Run.Claims)
	resp, raw = b.do(http.MethodPost, verifyPath, `{}`)
	require.Equal(t, 409, resp.StatusCode, "one at a time")
	require.Contains(t, raw, "is being tested")

	findings <- probe.Finding{Capability: probe.Query, Status: probe.Proven}
	require.Eventually(t, func() bool { b.get(verifyPath, &got); return len(got.Run.Findings) == 1 }, 30*time.Second, 5*time.Millisecond)
	require.Equal(t, "bank-ab", got.Busy)
	findings <- probe.Finding{Capability: probe.Dedup, Status: probe.Failed, Detail: "moved money 2 times"}
	ends <- nil
	got = b.untilVerified("lies")
	require.Equal(t, []probe.Capability{probe.Dedup}, got.Run.Lies)
	require.True(t, got.Run.Kept)
	require.Empty(t, got.Busy)
	require.Eventually(t, func() bool { return len(b.notes(t)) == 2 }, 30*time.Second, 5*time.Millisecond)
	require.Equal(t, []string{"anna: tests what bank-ab claims, at http://127.0.0.1:1/test", "anna: bank-ab does not keep its contract: dedup"}, b.notes(t))
}

func TestATestOfAChannelThatEndsOtherwise(t *testing.T) {
	t.Parallel()
	b, findings, ends := verifying(t)
	b.signIn(visitor{Name: "anna", Role: access.Approver, Tenant: 1})
	start := func() {
		resp, raw := b.do(http.MethodPost, verifyPath, `{}`)
		require.Equal(t, 202, resp.StatusCode, raw)
	}
	resp, _ := b.do(http.MethodDelete, verifyPath, "")
	require.Equal(t, 404, resp.StatusCode)
	start()
	resp, _ = b.do(http.MethodDelete, verifyPath, "")
	require.Equal(t, 200, resp.StatusCode)
	require.False(t, b.untilVerified("cancelled").Run.Kept)
	require.Eventually(t, func() bool { return len(b.notes(t)) == 2 }, 30*time.Second, 5*time.Millisecond)
	require.Equal(t, "anna: the test of bank-ab was broken off, nothing is kept", b.notes(t)[1])

	b.watch.verify.keep = func(context.Context, *ChannelConfig, probe.Report, string) error {
		return errors.New("permission denied")
	}
	start()
	findings <- probe.Finding{Capability: probe.Dedup, Status: probe.Proven}
	ends <- nil
	got := b.untilVerified("holds")
	require.False(t, got.Run.Kept)
	require.Equal(t, "permission denied", got.Run.Why, "what was seen is shown, and that no node knows it")

	start()
	ends <- errors.New("probe bank-ab: no connection")
	require.Equal(t, "probe bank-ab: no connection", b.untilVerified("failed").Run.Why)
}

// A lie that was seen before somebody broke the test off is kept: what was proven before
// does not let an order whose outcome is unknown out again.
func TestALieOutlivesTheTestThatSawIt(t *testing.T) {
	t.Parallel()
	b, findings, _ := verifying(t)
	db := Database{DSN: pgtest.DSN(t)}
	file, err := config.Load(b.watch.cfg.Config)
	require.NoError(t, err)
	asked := &ChannelConfig{Database: db, Channels: file.Channels[:1]}
	resends := func() bool {
		t.Helper()
		all, err := asked.claims(t.Context())
		require.NoError(t, err)
		return all[0].MayResend
	}
	ch, err := connect(file.Channels[0], file.Channels[0].TestURL)
	require.NoError(t, err)
	keep := func(ctx context.Context, _ *ChannelConfig, r probe.Report, endpoint string) error {
		r.Adapter, r.Contract, r.StartedAt = ch.Capabilities().Adapter, probe.Contract(ch.Capabilities()), time.Now()
		return asked.record(ctx, r, endpoint)
	}
	ch.(interface{ Close() }).Close()
	b.watch.verify.keep = keep
	require.NoError(t, keep(t.Context(), nil, probe.Report{Channel: "bank-ab", Findings: []probe.Finding{{Capability: probe.Dedup, Status: probe.Proven}, {Capability: probe.Query, Status: probe.Proven}}}, ""))
	require.True(t, resends())

	b.signIn(visitor{Name: "anna", Role: access.Approver, Tenant: 1})
	resp, raw := b.do(http.MethodPost, verifyPath, `{}`)
	require.Equal(t, 202, resp.StatusCode, raw)
	findings <- probe.Finding{Capability: probe.Dedup, Status: probe.Failed, Detail: "moved money 2 times"}
	findings <- probe.Finding{Capability: probe.Query, Status: probe.NotShown}
	b.signIn(visitor{Name: "petr", Role: access.Approver, Tenant: 1})
	resp, raw = b.do(http.MethodDelete, verifyPath, "")
	require.Equal(t, 200, resp.StatusCode, raw)
	run := b.untilVerified("lies").Run
	require.True(t, run.Kept)
	require.Equal(t, []string{"anna", "petr"}, []string{run.By, run.StoppedBy})
	require.False(t, resends(), "twice is twice, also of a test that was broken off")
	proofs, err := asked.claims(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[probe.Capability]probe.Status{probe.Dedup: probe.Failed, probe.Query: probe.Proven}, statuses(proofs[0].Proofs), "of what was not seen it says nothing")
	require.Eventually(t, func() bool { return len(b.notes(t)) == 2 }, 30*time.Second, 5*time.Millisecond)
	require.Equal(t, "petr: bank-ab does not keep its contract: dedup; the test was broken off before it had shown the rest", b.notes(t)[1])
}

func statuses(all []dispatch.Proof) map[probe.Capability]probe.Status {
	out := map[probe.Capability]probe.Status{}
	for i := range all {
		out[all[i].Capability] = all[i].Status
	}
	return out
}

// The journal knows of a test before the first order, or none is made; and what is over is
// not broken off.
func TestATestOfAChannelIsToldFirst(t *testing.T) {
	t.Parallel()
	b, _, ends := verifying(t)
	b.signIn(visitor{Name: "anna", Role: access.Approver, Tenant: 1})
	kept := make(chan struct{})
	b.watch.verify.keep = func(context.Context, *ChannelConfig, probe.Report, string) error { <-kept; return nil }
	probes := b.watch.verify.probe
	b.watch.verify.probe = func(ctx context.Context, c *ChannelConfig, cfg *config.Channel, progress func(probe.Finding)) (probe.Report, error) {
		require.Equal(t, []string{"anna: tests what bank-ab claims, at http://127.0.0.1:1/test"}, b.notes(t))
		r, err := probes(ctx, c, cfg, progress)
		r.Findings = []probe.Finding{{Capability: probe.Query, Status: probe.Proven}}
		return r, err
	}
	resp, raw := b.do(http.MethodPost, verifyPath, `{}`)
	require.Equal(t, 202, resp.StatusCode, raw)
	ends <- nil
	require.Eventually(t, func() bool {
		b.watch.verify.mu.Lock()
		defer b.watch.verify.mu.Unlock()
		return b.watch.verify.cancel == nil
	}, 30*time.Second, time.Millisecond)
	resp, raw = b.do(http.MethodDelete, verifyPath, "")
	require.Equal(t, 409, resp.StatusCode, raw)
	close(kept)
	require.True(t, b.untilVerified("holds").Run.Kept)

	room := b.watch.verify
	room.probe = func(context.Context, *ChannelConfig, *config.Channel, func(probe.Finding)) (probe.Report, error) {
		t.Error("orders that no journal knows of")
		return probe.Report{}, nil
	}
	require.Eventually(t, func() bool { _, busy := room.of("bank-ab"); return busy == "" }, 30*time.Second, time.Millisecond)
	_, err := room.start(&ChannelConfig{}, &config.Channel{Name: "bank-ab"}, "anna", func(*verifyRun) error { return errors.New("the disk is full") }, func(*verifyRun) {})
	require.ErrorIs(t, err, errUntold)
	run, busy := room.of("bank-ab")
	require.Equal(t, []string{"", verifyHolds}, []string{busy, run.State}, "as if nobody had asked")
}

// notes are the sentences in the journal of this console's doctor.
func (b *browser) notes(t *testing.T) (out []string) {
	t.Helper()
	all, err := b.watch.attendance.journal.Since(0, 100)
	require.NoError(t, err)
	for i := range all {
		var n doctor.Note
		if all[i].What == doctor.EntryNote && json.Unmarshal(all[i].Data, &n) == nil {
			out = append(out, all[i].Who+": "+n.Text)
		}
	}
	return out
}

// A test endpoint at which some channel's real money moves is refused, also of settings
// that nobody has validated.
func TestNoChannelIsTestedWhereMoneyMoves(t *testing.T) {
	t.Parallel()
	all := []config.Channel{{Name: "a", BaseURL: "https://bank.example/live", TestURL: "https://other.example/live/", Bank: "a"}, {Name: "b", BaseURL: "https://other.example/live"}}
	c := ChannelConfig{Channels: all, Name: "a", Lang: "en"}
	_, err := c.probe(t.Context(), &all[0], nil)
	require.ErrorContains(t, err, "is the base_url of b")
}
