package access

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
)

// FuzzKey: the prefix of a key is looked up only if the whole has a key's form.
func FuzzKey(f *testing.F) {
	for _, s := range []string{newKey(), "", "mk_live_", "mk_live_aaaaaaaa_", "mk_live__x", "mk_test_aaaaaaaa_bbbb", "mk_live_aaaaaaaa_\x00", "mk_live_AAAAAAAA_b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, key string) {
		prefix, ok := split(key)
		if !ok {
			return
		}
		require.NotEmpty(t, prefix)
		require.Contains(t, key, keyHead+prefix+"_")
		_, err := json.Marshal(prefix)
		require.NoError(t, err)
	})
}

// FuzzPasskeyAnswer: what a browser says that an authenticator said lets nobody in who
// has not signed, and never fells the door.
func FuzzPasskeyAnswer(f *testing.F) {
	for _, s := range []string{
		``, `{}`, `null`, `{"id":"AA","rawId":"AA","type":"public-key","response":{}}`,
		`{"id":"AAAA","rawId":"AAAA","type":"public-key","response":{"clientDataJSON":"e30","authenticatorData":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAFAAAAAA","signature":"AA","userHandle":"AA"}}`,
		`{"id":"AAAA","rawId":"AAAA","type":"public-key","response":{"clientDataJSON":"eyJ0eXBlIjoid2ViYXV0aG4uZ2V0IiwiY2hhbGxlbmdlIjoiQUEiLCJvcmlnaW4iOiJodHRwOi8vbG9jYWxob3N0In0","authenticatorData":"SZYN5YgOjGh0NBcPZHZgW4_krrmihjLHmVzzuoMdl2MFAAAAAA","signature":"AA"}}`,
		`{"id":"AAAA","rawId":"AAAA","type":"public-key","response":{"attestationObject":"o2NmbXRkbm9uZWdhdHRTdG10oGhhdXRoRGF0YUEA","clientDataJSON":"e30"}}`,
	} {
		f.Add([]byte(s))
	}
	p, err := NewPasskeys("http://localhost:7072")
	require.NoError(f, err)
	key := make([]byte, 77) // no key's form
	f.Fuzz(func(t *testing.T, answer []byte) {
		asked, err := p.ask()
		require.NoError(t, err)
		_, _, err = p.answered(&asked, answer, func(_, _ []byte) (*holder, error) { return &holder{name: "ann", handle: []byte("h")}, nil })
		require.Error(t, err)
		h := &holder{name: "ann", role: Viewer, handle: []byte("handle of ann")}
		offered, err := p.offer(h)
		require.NoError(t, err)
		_, err = p.made(&offered, h, answer, "a key")
		require.Error(t, err, "nobody made a passkey for a challenge that is a moment old")
		_, _, err = verifyPasskey(key, &passkeyProof{Origin: p.Origin(), Answer: answer}, []byte("yes"))
		require.Equal(t, fault.SignatureInvalid, fault.CodeOf(err))
	})
}

// FuzzRoll: the file of who is who, as a crash or a bad disk may have left it, is read or
// refused; whoever is on it can be looked up.
func FuzzRoll(f *testing.F) {
	for _, s := range []string{``, `{}`, `{"People":[{"Name":"ann"}]}`, `{"people":null}`, `[]`, `{"People":[{"Passkeys":[{"ID":"AA=="}]}]`} {
		f.Add([]byte(s))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, raw []byte) {
		path := filepath.Join(dir, "roll")
		require.NoError(t, os.WriteFile(path, raw, 0o600))
		r, err := readRoll(path)
		if err != nil {
			return
		}
		for i := range r.People {
			require.NotNil(t, r.named(r.People[i].Name))
		}
		_, _, err = r.passHere("pass", "000000", time.Unix(2_000_000_000, 0), func(string) error { return nil })
		require.Error(t, err)
	})
}
