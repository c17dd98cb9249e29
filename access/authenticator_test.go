package access

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/stretchr/testify/require"
)

// authenticator is a passkey on a person's device: what it says, a browser would pass on.
type authenticator struct {
	t              *testing.T
	origin, rp     string
	id, handle     []byte
	key            *ecdsa.PrivateKey
	count          uint32
	unverified     bool // the person did not prove who they are
	originPretends string
}

func newAuthenticator(t *testing.T, origin string) *authenticator {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	a := &authenticator{t: t, origin: origin, rp: "localhost", id: make([]byte, 32), key: key}
	_, _ = rand.Read(a.id)
	return a
}

func (a *authenticator) clientData(kind, challenge string) []byte {
	origin := a.origin
	if a.originPretends != "" {
		origin = a.originPretends
	}
	raw, err := json.Marshal(map[string]any{"type": kind, "challenge": challenge, "origin": origin, "crossOrigin": false})
	require.NoError(a.t, err)
	return raw
}

func (a *authenticator) data(flags byte) []byte {
	sum := sha256.Sum256([]byte(a.rp))
	flags |= 1
	if !a.unverified {
		flags |= 4
	}
	return binary.BigEndian.AppendUint32(append(sum[:], flags), a.count)
}

// makes answers the options for a new passkey.
func (a *authenticator) makes(options []byte) []byte {
	a.t.Helper()
	var o struct {
		Challenge string
		User      struct{ ID string }
	}
	require.NoError(a.t, json.Unmarshal(options, &o))
	var err error
	a.handle, err = b64.DecodeString(o.User.ID)
	require.NoError(a.t, err)
	public, err := a.key.PublicKey.Bytes()
	require.NoError(a.t, err)
	cose, err := cbor.Marshal(map[int]any{1: 2, 3: -7, -1: 1, -2: public[1:33], -3: public[33:]})
	require.NoError(a.t, err)
	data := append(a.data(0x40), make([]byte, 16)...)
	data = append(binary.BigEndian.AppendUint16(data, uint16(len(a.id))), a.id...)
	object, err := cbor.Marshal(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": append(data, cose...)})
	require.NoError(a.t, err)
	return a.answer(map[string]any{"clientDataJSON": b64.EncodeToString(a.clientData("webauthn.create", o.Challenge)), "attestationObject": b64.EncodeToString(object)})
}

// says answers the options for a sign-in.
func (a *authenticator) says(options []byte) []byte {
	a.t.Helper()
	var o struct{ Challenge string }
	require.NoError(a.t, json.Unmarshal(options, &o))
	return a.signs(o.Challenge)
}

func (a *authenticator) signs(challenge string) []byte {
	a.t.Helper()
	client, data := a.clientData("webauthn.get", challenge), a.data(0)
	sum := sha256.Sum256(client)
	sum = sha256.Sum256(append(data[:len(data):len(data)], sum[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, a.key, sum[:])
	require.NoError(a.t, err)
	return a.answer(map[string]any{
		"clientDataJSON": b64.EncodeToString(client), "authenticatorData": b64.EncodeToString(data),
		"signature": b64.EncodeToString(signature), "userHandle": b64.EncodeToString(a.handle),
	})
}

func (a *authenticator) answer(response map[string]any) []byte {
	id := b64.EncodeToString(a.id)
	raw, err := json.Marshal(map[string]any{"id": id, "rawId": id, "type": "public-key", "response": response, "clientExtensionResults": map[string]any{}})
	require.NoError(a.t, err)
	return raw
}
