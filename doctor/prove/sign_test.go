package prove

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func aKey(t testing.TB) (ed25519.PrivateKey, ed25519.PublicKey, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "beside", "data-prove.key")
	key, made, err := Key(path)
	require.NoError(t, err)
	require.True(t, made)
	public, err := ReadPublic(path + ".pub")
	require.NoError(t, err)
	return key, public, path
}

func aResult() Result {
	return Result{
		Format: Format, Version: "test", At: "2026-11-22T00:00:00Z", Verdict: Faults, FaultCount: 1,
		Findings: []Finding{{Check: checkLost, Payment: paymentID(7), Place: "bank-ab", Detail: "\"quoted\" \\ \t\n\x01 汉字 <&> \u2028", At: ""}},
	}
}

// Any change of a byte, anywhere, fails: so does every byte more or less.
func TestEveryByteIsSigned(t *testing.T) {
	t.Parallel()
	key, public, _ := aKey(t)
	proof, err := Sign(aResult(), key)
	require.NoError(t, err)
	r, err := Verify(proof, public)
	require.NoError(t, err)
	require.Equal(t, aResult().Findings, r.Findings)
	for i := range proof {
		for _, bit := range []byte{1, 0x20, 0x80} {
			forged := bytes.Clone(proof)
			forged[i] ^= bit
			_, err := Verify(forged, public)
			require.ErrorIs(t, err, ErrForged, "byte %d of %d", i, len(proof))
		}
		_, err := Verify(append(bytes.Clone(proof[:i]), proof[i+1:]...), public)
		require.ErrorIs(t, err, ErrForged, "without byte %d", i)
		for _, more := range []byte{' ', '\n', '0'} {
			_, err := Verify(append(append(bytes.Clone(proof[:i]), more), proof[i:]...), public)
			require.ErrorIs(t, err, ErrForged, "one more at %d", i)
		}
	}
	for _, tail := range []string{" ", "\n", "{}", "\x00"} {
		_, err := Verify(append(bytes.Clone(proof), tail...), public)
		require.ErrorIs(t, err, ErrForged)
	}
	_, other, _ := aKey(t)
	_, err = Verify(proof, other)
	require.ErrorIs(t, err, ErrForged, "a proof's own key proves nothing")
	for _, part := range [][]byte{nil, {}, []byte("\n"), proof[:len(proof)/2]} {
		_, err := Verify(part, public)
		require.ErrorIs(t, err, ErrForged)
	}
}

func FuzzVerifyNeverPanics(f *testing.F) {
	key, public, _ := aKey(f)
	proof, err := Sign(aResult(), key)
	require.NoError(f, err)
	f.Add(proof)
	f.Add([]byte("{}\n{}\n"))
	f.Add([]byte(`{"format":"moneta.proof/1"}` + "\n" + `{"algorithm":"ed25519","key":"","signature":""}` + "\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, err := Verify(raw, public); err == nil {
			require.Equal(t, proof, raw)
		}
	})
}

// The canonical form reads back as the same value, and has one form only.
func TestCanonicalIsOneForm(t *testing.T) {
	t.Parallel()
	text, err := Canonical(map[string]any{"b": 1, "a": "\u2028<é\"\\\n\x1f", "c": []any{nil, true, -5}})
	require.NoError(t, err)
	members := []string{`"a":"` + "\u2028" + `<é\"\\\n\u001f"`, `"b":1`, `"c":[null,true,-5]`}
	require.Equal(t, "{"+strings.Join(members, ",")+"}", string(text))
	for _, bad := range []any{1.5, 1e300, int64(1) << 60} {
		_, err := Canonical(bad)
		require.Error(t, err, "%v", bad)
	}
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.MapOf(rapid.StringN(0, 5, -1), rapid.OneOf(rapid.StringN(0, 20, -1).AsAny(), rapid.Int32().AsAny(), rapid.Bool().AsAny())).Draw(t, "value")
		one, err := Canonical(value)
		require.NoError(t, err)
		var back map[string]any
		require.NoError(t, json.Unmarshal(one, &back))
		two, err := Canonical(back)
		require.NoError(t, err)
		require.Equal(t, string(one), string(two))
	})
}

func TestTheKeyIsMadeOnceAndForOneOnly(t *testing.T) {
	t.Parallel()
	_, _, path := aKey(t)
	st, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), st.Mode().Perm())
	again, made, err := Key(path)
	require.NoError(t, err)
	require.False(t, made)
	public, err := ReadPublic(path + ".pub")
	require.NoError(t, err)
	require.Equal(t, public, again.Public())
	literal, err := ReadPublic(base64.StdEncoding.EncodeToString(public))
	require.NoError(t, err)
	require.Equal(t, public, literal)

	require.NoError(t, os.Chmod(path, 0o644))
	_, _, err = Key(path)
	require.ErrorContains(t, err, "chmod 600")
	require.NoError(t, os.Chmod(path, 0o600))
	require.NoError(t, os.WriteFile(path, []byte("no key"), 0o600))
	_, _, err = Key(path)
	require.Error(t, err, "a damaged key is not replaced")
	_, err = ReadPublic("not there")
	require.ErrorContains(t, err, "base 64")

	race := filepath.Join(t.TempDir(), "key")
	var group sync.WaitGroup
	keys := make([]ed25519.PrivateKey, 8)
	for i := range keys {
		group.Go(func() { keys[i], _, _ = Key(race) })
	}
	group.Wait()
	for _, k := range keys {
		require.Equal(t, keys[0], k, "whoever comes second takes the first one's")
	}
	left, err := filepath.Glob(race + ".*")
	require.NoError(t, err)
	require.Equal(t, []string{race + ".pub"}, left)
}

// docs/prove.md says how a stranger verifies: OpenSSL agrees, where it is installed.
func TestOpenSSLAgrees(t *testing.T) {
	t.Parallel()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	key, _, path := aKey(t)
	proof, err := Sign(aResult(), key)
	require.NoError(t, err)
	cut := bytes.IndexByte(proof, '\n') + 1
	var s Signature
	require.NoError(t, json.Unmarshal(proof[cut:], &s))
	sig, err := base64.StdEncoding.DecodeString(s.Signature)
	require.NoError(t, err)
	dir := t.TempDir()
	body, signature := filepath.Join(dir, "body"), filepath.Join(dir, "sig")
	require.NoError(t, os.WriteFile(signature, sig, 0o600))
	verify := func(content []byte) error {
		require.NoError(t, os.WriteFile(body, content, 0o600))
		return exec.CommandContext(context.Background(), openssl, "pkeyutl", "-verify", "-pubin", "-inkey", path+".pub", "-rawin", "-in", body, "-sigfile", signature).Run()
	}
	require.NoError(t, verify(proof[:cut]))
	forged := bytes.Clone(proof[:cut])
	forged[3] ^= 1
	require.Error(t, verify(forged))
	raw, err := os.ReadFile(path + ".pub")
	require.NoError(t, err)
	block, _ := pem.Decode(raw)
	require.Equal(t, "PUBLIC KEY", block.Type)
}
