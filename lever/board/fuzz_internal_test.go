package board

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/lever"
)

// FuzzFile: a file on a node's machine pulls only a lever that files may pull, by
// somebody, and within what that lever takes; or it is broken and says so.
func FuzzFile(f *testing.F) {
	for _, s := range []string{
		`{"id":"lev_aaaaaaaaaaaaaaaaaaaaaaaaaa","lever":"read-only","aim":"everything","by":"ann","owner":"ann","reason":"x","at":"2026-01-01T00:00:00Z","expires":"2026-01-01T01:00:00Z"}`,
		`{"lever":"limit","aim":"everything","value":"1/1m"}`, `{"id":"lev_x"}`, `{"by":"ann","reason":"x","at":"2026-01-01T00:00:00Z"}`, `{}`, `null`, `[`, ``, `{"aim":"everything:x"}`,
	} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, raw []byte, pull bool) {
		path := filepath.Join(dir, "lever")
		require.NoError(t, os.WriteFile(path, raw, 0o600))
		all := files{undos: map[lever.ID]lever.Undo{}}
		if err := all.add(path, pull); err != nil {
			require.Empty(t, all.pulls)
			require.Empty(t, all.undos)
			return
		}
		for i := range all.pulls {
			p := &all.pulls[i]
			require.True(t, local(p.Lever))
			require.NotEmpty(t, p.By)
			require.NoError(t, p.Check())
			require.Equal(t, lever.ViaFile, p.Via)
		}
	})
}
