package keyring

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func key(b byte) string {
	return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, KeyBytes))
}

func ring(t *testing.T, text string) *Ring {
	t.Helper()
	r, err := Parse([]byte(text))
	require.NoError(t, err)
	return r
}

func TestWhatIsSealedOpensInItsPlaceOnly(t *testing.T) {
	t.Parallel()
	r := ring(t, key(1))
	secret := []byte("a secret of 32 bytes, or another")
	sealed := r.Seal(secret, "row 7")
	require.Len(t, sealed, len(secret)+Overhead)
	require.NotContains(t, string(sealed), "secret")
	require.NotEqual(t, sealed, r.Seal(secret, "row 7"), "each has a nonce of its own")
	got, err := r.Open(sealed, "row 7")
	require.NoError(t, err)
	require.Equal(t, secret, got)
	_, err = r.Open(sealed, "row 8")
	require.ErrorIs(t, err, ErrBroken, "another row's")
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		_, err := r.Open(changed, "row 7")
		require.Error(t, err, "byte %d", i)
	}
	for n := range sealed {
		_, err := r.Open(sealed[:n], "row 7")
		require.Error(t, err)
	}
}

// Keys are changed in three steps, and at each of them everything opens.
func TestKeysAreChanged(t *testing.T) {
	t.Parallel()
	old := ring(t, key(1))
	under := old.Seal([]byte("s"), "x")
	learnt := ring(t, key(1)+"\n"+key(2)) // each node learns the new key
	changed := ring(t, "# newest first\n"+key(2)+"\n\n"+key(1)+"\n")
	anew := changed.Seal([]byte("s"), "x")
	require.True(t, old.Fresh(under))
	require.True(t, learnt.Fresh(under))
	require.False(t, changed.Fresh(under), "to be sealed again")
	require.True(t, changed.Fresh(anew))
	for _, r := range []*Ring{learnt, changed} {
		for _, sealed := range [][]byte{under, anew} {
			got, err := r.Open(sealed, "x")
			require.NoError(t, err)
			require.Equal(t, "s", string(got))
		}
	}
	_, err := ring(t, key(2)).Open(under, "x")
	require.ErrorIs(t, err, ErrUnknownKey)
	_, err = (*Ring)(nil).Open(under, "x")
	require.ErrorIs(t, err, ErrUnknownKey)
	require.False(t, (*Ring)(nil).Fresh(under))
	require.NotEqual(t, changed.Newest(), old.Newest())
}

func TestKeysThatAreNone(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "\n# only words\n", "short", base64.StdEncoding.EncodeToString(make([]byte, 31)), base64.StdEncoding.EncodeToString(make([]byte, 33)),
		key(1)[:43], key(1) + " " + key(2), strings.Repeat(key(1)[:42]+"B=\n", 1), strings.Repeat("x", 70_000),
	} {
		_, err := Parse([]byte(text))
		require.Error(t, err, "%.60q", text)
		require.NotContains(t, err.Error(), key(1)[:20], "no key in an error")
	}
	var many strings.Builder
	for i := range byte(keysMax + 1) {
		many.WriteString(key(i) + "\n")
	}
	_, err := Parse([]byte(many.String()))
	require.ErrorContains(t, err, "more than 16 keys")
	_, err = Parse([]byte(key(1) + "," + key(2)))
	require.NoError(t, err, "as in an environment variable")
}

func TestAKeyFileIsItsOwners(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secrets.key")
	require.NoError(t, Make(path))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	one, err := Load(path)
	require.NoError(t, err)
	require.ErrorIs(t, Make(path), os.ErrExist, "never over another one")
	two, err := Load(path)
	require.NoError(t, err)
	require.Equal(t, one.Newest(), two.Newest())
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".key-*"))
	require.NoError(t, err)
	require.Empty(t, left)

	require.NoError(t, os.Chmod(path, 0o640))
	_, err = Load(path)
	require.ErrorContains(t, err, "others can read")
	_, err = Load(path + ".not")
	require.ErrorIs(t, err, os.ErrNotExist)
	long := filepath.Join(t.TempDir(), "long")
	require.NoError(t, os.WriteFile(long, make([]byte, fileMax+1), 0o600))
	_, err = Load(long)
	require.ErrorContains(t, err, "too long")
}

func FuzzOpen(f *testing.F) {
	r, err := Parse([]byte(key(1)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{}, "x")
	f.Add(make([]byte, Overhead), "")
	f.Add([]byte("\x01sealed under nothing that is known at all"), "row")
	f.Fuzz(func(t *testing.T, sealed []byte, about string) {
		_, err := r.Open(sealed, about)
		require.Error(t, err, "nobody who has no key seals")
	})
}
