package basebackup

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func segment(t *testing.T, dir string, n int, suffix string, written int) {
	t.Helper()
	raw := append(bytes.Repeat([]byte{1}, written), make([]byte, 100-written)...)
	require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("00000001%08X%08X%s", n/256, n%256, suffix)), raw, 0o600))
}

func TestAGapInTheLogIsRefused(t *testing.T) {
	t.Parallel()
	a := Archive{Dir: t.TempDir()}
	for n := 250; n < 260; n++ { // over the end of a log file's 256 segments
		segment(t, a.Dir, n, "", 100)
	}
	segment(t, a.Dir, 260, partial, 50)
	have := []string{"0000000100000000000000FC", "0000000100000000000000FD"} // 252 and 253
	names, err := a.after(have)
	require.NoError(t, err)
	require.Len(t, names, 9)
	require.Equal(t, "000000010000000100000004"+partial, names[8])

	require.NoError(t, os.Remove(filepath.Join(a.Dir, "000000010000000100000000")))
	_, err = a.after(have)
	require.ErrorIs(t, err, ErrGap)
	require.ErrorContains(t, err, "000000010000000100000000")
}

func TestTheCompleteSegmentWinsOverThePartialOne(t *testing.T) {
	t.Parallel()
	a := Archive{Dir: t.TempDir()}
	segment(t, a.Dir, 1, "", 100)
	segment(t, a.Dir, 1, partial, 50)
	names, err := a.after([]string{"000000010000000000000001"})
	require.NoError(t, err)
	require.Equal(t, []string{"000000010000000000000001"}, names)
}

func TestPruneKeepsTheNewestAndTheOneBeingWritten(t *testing.T) {
	t.Parallel()
	a := Archive{Dir: t.TempDir()}
	for n := range 5 {
		segment(t, a.Dir, n, "", 100)
	}
	segment(t, a.Dir, 5, partial, 50)
	removed, err := a.Prune(350)
	require.NoError(t, err)
	require.Equal(t, 3, removed)
	h, err := a.Holding()
	require.NoError(t, err)
	require.Equal(t, 3, h.Segments)
	require.EqualValues(t, 300, h.Bytes)
	removed, err = a.Prune(0)
	require.NoError(t, err)
	require.Equal(t, 2, removed, "the partial one stays whatever the bound")
}

func TestAnArchiveBelongsToOneCluster(t *testing.T) {
	t.Parallel()
	a := Archive{Dir: filepath.Join(t.TempDir(), "log")}
	require.NoError(t, a.Claim("/one"))
	require.NoError(t, a.Claim("/one"))
	require.ErrorContains(t, a.Claim("/two"), "/one")
	strange := t.TempDir()
	segment(t, strange, 1, "", 100)
	require.ErrorIs(t, Archive{Dir: strange}.Claim("/one"), ErrNotEmpty)
}

func TestTheFurtherSegmentWins(t *testing.T) {
	t.Parallel()
	archive, base := t.TempDir(), t.TempDir()
	name := "000000010000000000000001"
	for _, c := range []struct{ archived, based, want int }{{80, 50, 80}, {30, 50, 50}, {30, 0, 30}} {
		segment(t, archive, 1, "", c.archived)
		require.NoError(t, os.RemoveAll(filepath.Join(base, name)))
		if c.based > 0 {
			segment(t, base, 1, "", c.based)
		}
		require.NoError(t, addSegment(filepath.Join(archive, name), filepath.Join(base, name)))
		raw, err := os.ReadFile(filepath.Join(base, name))
		require.NoError(t, err)
		require.Len(t, bytes.TrimRight(raw, "\x00"), c.want)
	}
}
