package pgfence_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgfence"
	"github.com/moneta-pay/moneta/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.VerifyTestMain(m) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// both is an address that names two servers, the first of which is tried first.
func both(t *testing.T, first, second string) *pgx.ConnConfig {
	t.Helper()
	one, err := pgx.ParseConfig(first)
	require.NoError(t, err)
	two, err := pgx.ParseConfig(second)
	require.NoError(t, err)
	cfg, err := pgx.ParseConfig(fmt.Sprintf("host=%s,%s port=%d,%d user=%s dbname=postgres sslmode=disable target_session_attrs=read-write",
		one.Host, two.Host, one.Port, two.Port, one.User))
	require.NoError(t, err)
	return cfg
}

// where says on which server a guarded connection ends.
func where(t *testing.T, f *pgfence.Fence, cfg *pgx.ConnConfig) (dir string, err error) {
	t.Helper()
	cfg = cfg.Copy()
	f.Guard(&cfg.Config)
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(t.Context()) }()
	require.NoError(t, conn.QueryRow(t.Context(), `show data_directory`).Scan(&dir))
	return dir, nil
}

// TestAnOldPrimaryIsLeftAlone: a standby is promoted while its primary lives, and both
// take writes. Who has seen the new one never goes back, not even after a restart.
func TestAnOldPrimaryIsLeftAlone(t *testing.T) {
	t.Parallel()
	primary := pgtest.Cluster(t)
	standby := pgtest.Standby(t, primary)
	here, there := primary.DSN("postgres"), standby.DSN("postgres")
	file := filepath.Join(t.TempDir(), "state", "history.json")
	f, err := pgfence.New(file, pgfence.History{}, quiet())
	require.NoError(t, err)
	told := 0
	f.OnNewer(func() { told++ })

	cfg := both(t, here, there)
	old, err := where(t, f, cfg)
	require.NoError(t, err)
	before := f.Known()
	require.NotZero(t, before)
	require.Zero(t, told, "the first history is no failover")

	standby.Promote()
	unguarded, err := where(t, nil, cfg)
	require.NoError(t, err)
	require.Equal(t, old, unguarded, "without a fence the old primary is used")
	again, err := where(t, f, cfg)
	require.NoError(t, err)
	require.Equal(t, old, again, "nobody has seen the new one yet")

	fresh, err := where(t, f, both(t, there, here))
	require.NoError(t, err)
	require.NotEqual(t, old, fresh)
	require.Equal(t, before.Timeline+1, f.Known().Timeline)
	require.Equal(t, 1, told)
	restarted, err := pgfence.New(file, pgfence.History{}, quiet())
	require.NoError(t, err)
	reborn, err := pgfence.New("", f.Known(), quiet())
	require.NoError(t, err)
	for _, fence := range []*pgfence.Fence{f, restarted, reborn} {
		now, err := where(t, fence, cfg)
		require.NoError(t, err)
		require.Equal(t, fresh, now, "the old primary is tried first, and left for the new one")
		alone, err := pgx.ParseConfig(here)
		require.NoError(t, err)
		_, err = where(t, fence, alone)
		require.ErrorIs(t, err, pgfence.ErrOld)
	}
	require.Equal(t, 1, told, "it is told once")
	ignorant, err := pgfence.New("", pgfence.History{}, quiet())
	require.NoError(t, err)
	require.NoError(t, ignorant.Look(t.Context(), &cfg.Config))
	now, err := where(t, ignorant, cfg)
	require.NoError(t, err)
	require.Equal(t, fresh, now, "who has seen nothing asks all of them first")
	require.NoError(t, os.Remove(file))
	anew, err := pgfence.New(file, f.Known(), quiet())
	require.NoError(t, err)
	require.Zero(t, anew.Known(), "whoever removes the file means it")
}

// TestAnotherClusterIsRefused: what a node remembers is about one cluster.
func TestAnotherClusterIsRefused(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "history.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"system":4711,"timeline":1}`), 0o600))
	f, err := pgfence.New(file, pgfence.History{}, quiet())
	require.NoError(t, err)
	cfg, err := pgx.ParseConfig(pgtest.Empty(t))
	require.NoError(t, err)
	_, err = where(t, f, cfg)
	require.ErrorIs(t, err, pgfence.ErrOther)
	require.ErrorContains(t, err, file, "it says what to do")
	require.Equal(t, int64(4711), f.Known().System)
	two := both(t, cfg.ConnString(), pgtest.Cluster(t).DSN("postgres"))
	ignorant, err := pgfence.New("", pgfence.History{}, quiet())
	require.NoError(t, err)
	require.ErrorIs(t, ignorant.Look(t.Context(), &two.Config), pgfence.ErrOther, "two clusters in one address")
}

// TestAFileThatSaysNothing is not taken for "nothing was seen".
func TestAFileThatSaysNothing(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "{}", `{"system":1}`, strings.Repeat("x", 100)} {
		file := filepath.Join(t.TempDir(), "history.json")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		_, err := pgfence.New(file, pgfence.History{}, quiet())
		require.ErrorContains(t, err, file, text)
	}
}
