package app

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/config"
	"github.com/moneta-pay/moneta/internal/keyring"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/pay/receipt"
)

// TestTheNextLifeKeepsTheSecretsKeys, as it keeps those of receipts: while the database
// fails over, a file that somebody is changing must not keep the node from beginning.
func TestTheNextLifeKeepsTheSecretsKeys(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	cfg.DSN, cfg.SecretsKeyFile = pgtest.DSN(t), filepath.Join(t.TempDir(), "secrets.key")
	require.NoError(t, keyring.Make(cfg.SecretsKeyFile))
	first, err := newPlane(t.Context(), cfg, nil, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, first.end()) })
	require.NoError(t, os.Truncate(cfg.SecretsKeyFile, 20))
	next, err := newPlane(t.Context(), cfg, nil, first)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, next.end()) })
	require.Same(t, first.ring, next.ring)
	_, err = newPlane(t.Context(), cfg, nil, nil)
	require.ErrorContains(t, err, "secrets_key_file", "without them a process does not begin: what they sealed could not be used")
}

// TestTheKeyFileOfReceiptsStopsNoMoney: a life that begins while the database fails over
// does not meet a file that somebody is changing, and a process that cannot read its own
// serves without receipts, and says so.
func TestTheKeyFileOfReceiptsStopsNoMoney(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	cfg.DSN, cfg.ReceiptsKeyFile = pgtest.DSN(t), filepath.Join(t.TempDir(), "receipts.key")
	require.NoError(t, receipt.MakeKey(cfg.ReceiptsKeyFile))
	begin := func(former *plane) *plane {
		p, err := newPlane(t.Context(), cfg, nil, former)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, p.end()) })
		return p
	}
	unsigned := func(p *plane) (v float64) {
		all, err := p.tel.Registry().Gather()
		require.NoError(t, err)
		v = -1
		for _, f := range all {
			if f.GetName() == "moneta_receipts_unsigned" {
				v = f.GetMetric()[0].GetGauge().GetValue()
			}
		}
		return v
	}
	first := begin(nil)
	require.NotContains(t, first.Warnings(), "receipts")
	require.Zero(t, unsigned(first))
	want, err := first.receipts.Published(t.Context())
	require.NoError(t, err)

	for _, spoil := range []func() error{
		func() error { return os.Chmod(cfg.ReceiptsKeyFile, 0o644) },
		func() error { return os.Truncate(cfg.ReceiptsKeyFile, 120) },
		func() error { return os.Remove(cfg.ReceiptsKeyFile) },
	} {
		require.NoError(t, spoil())
		next := begin(first)
		require.NotContains(t, next.Warnings(), "receipts")
		same, err := next.receipts.Published(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, same)
	}
	fresh := begin(nil)
	require.Contains(t, fresh.Warnings()["receipts"], "receipts_key_file")
	require.InDelta(t, 1, unsigned(fresh), 0, "an alert tells of it, and not a customer")
	_, err = fresh.receipts.Published(t.Context())
	require.Error(t, err)
}
