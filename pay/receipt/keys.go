package receipt

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/moneta-pay/moneta/internal/keyring"
)

const (
	// keysMax bounds the keys of one file, of one key set, and so of all that may ever
	// have signed: a node signs only with all of them in its file.
	keysMax    = 128
	keySetMax  = 64 << 10 // bytes
	keyFileMax = 64 << 10 // bytes: with a word on each that is revoked

	privateBlock = "PRIVATE KEY"
	publicBlock  = "PUBLIC KEY"
	// revokedHeader on a key's block takes it out of the key set: what it signed shall
	// not be believed any more.
	revokedHeader = "Revoked"
)

// JWK is one public key as RFC 8037 writes it. KeyID is its thumbprint (RFC 7638).
type JWK struct {
	Algorithm string `json:"alg" enum:"EdDSA"`
	Curve     string `json:"crv" enum:"Ed25519"`
	KeyID     string `json:"kid" doc:"The key's thumbprint (RFC 7638)"`
	Type      string `json:"kty" enum:"OKP"`
	Use       string `json:"use" enum:"sig"`
	X         string `json:"x" doc:"The key's 32 bytes, in base64url"`
}

// KeySet is a JWK set (RFC 7517).
type KeySet struct {
	Keys []JWK `json:"keys" doc:"The key that signs now comes first"`
}

// Thumbprint is a public key's name: SHA-256 over its JWK in the one form of RFC 7638,
// in base64url.
func Thumbprint(public ed25519.PublicKey) string {
	sum := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + base64.RawURLEncoding.EncodeToString(public) + `"}`))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Signer signs receipts with the first key of a file and publishes the others. It is
// safe for concurrent use.
type Signer struct {
	private ed25519.PrivateKey
	kid     string
	header  string
	set     KeySet
	// known has every key of the file, also those that are revoked.
	known map[string]bool
}

// KeyID names the key that signs.
func (s *Signer) KeyID() string { return s.kid }

// KeySet returns the public keys, the signing one first; without what is revoked.
func (s *Signer) KeySet() KeySet { return s.set }

// MakeKey writes a key file with one new key, for its owner's eyes, durably, and never
// over another one: then the error is os.ErrExist.
func MakeKey(path string) error {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	text := "Moneta: the first key signs receipts, the others only verify older ones. Keep a copy elsewhere.\n"
	return keyring.MakeFile(path, append([]byte(text), pem.EncodeToMemory(&pem.Block{Type: privateBlock, Bytes: der})...))
}

// LoadSigner reads a key file: PEM, a private key first (PKCS 8, ed25519), then the
// keys that signed before, private or public. One that others than its owner can read
// is refused.
func LoadSigner(path string) (*Signer, error) {
	text, err := keyring.ReadFile(path, keyFileMax)
	if err != nil {
		return nil, err
	}
	s, err := ParseSigner(text)
	if err != nil {
		return nil, fmt.Errorf("the key file %s: %w", path, err)
	}
	return s, nil
}

// Every PEM block has four times five dashes, and nothing else in a key file has them.
const (
	marks         = "-----"
	marksPerBlock = 4
)

// ParseSigner reads what is in a key file.
func ParseSigner(text []byte) (*Signer, error) {
	s := &Signer{known: map[string]bool{}}
	there := bytes.Count(text, []byte(marks))
	for n := 1; ; n++ {
		var block *pem.Block
		rest := text
		if block, text = pem.Decode(rest); block == nil {
			if bytes.Contains(rest, []byte("-----BEGIN")) { // a key that is cut off must not vanish from the set
				return nil, fmt.Errorf("key %d cannot be read as PEM", n)
			}
			// The decoder passes over a damaged block: a new key that was pasted wrongly
			// would leave the old one, which may have leaked, to sign.
			if read := n - 1; there != read*marksPerBlock {
				return nil, fmt.Errorf("%d keys can be read, and more is there: a block is damaged or cut off (each has a line -----BEGIN …-----, its whole base64, "+
					"and a line -----END …-----)", read)
			}
			break
		}
		if n > keysMax {
			return nil, fmt.Errorf("there are more than %d keys", keysMax)
		}
		if err := s.add(block); err != nil {
			return nil, fmt.Errorf("key %d: %w", n, err)
		}
	}
	if s.private == nil {
		return nil, errors.New("there is no private key; `openssl genpkey -algorithm ed25519` makes one")
	}
	return s, nil
}

func (s *Signer) add(block *pem.Block) error {
	public, private, err := keyOf(block)
	if err != nil {
		return err
	}
	_, revoked := block.Headers[revokedHeader]
	kid := Thumbprint(public)
	switch {
	case s.known[kid]:
		return errors.New("it is there twice")
	case s.private == nil && (private == nil || revoked):
		return errors.New("the first one signs: it must be a private key that is not revoked")
	case s.private == nil:
		s.private, s.kid = private, kid
		header, err := canonical(header{algorithm, kid, mediaType})
		if err != nil {
			return err
		}
		s.header = base64.RawURLEncoding.EncodeToString(header)
	}
	s.known[kid] = true
	if !revoked {
		s.set.Keys = append(s.set.Keys, JWK{algorithm, curve, kid, keyType, "sig", base64.RawURLEncoding.EncodeToString(public)})
	}
	return nil
}

func keyOf(block *pem.Block) (ed25519.PublicKey, ed25519.PrivateKey, error) {
	no := errors.New("it is not an ed25519 key in PKCS 8 or PKIX form; `openssl genpkey -algorithm ed25519` makes one")
	switch block.Type {
	case privateBlock:
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		private, ok := parsed.(ed25519.PrivateKey)
		if err != nil || !ok {
			return nil, nil, no // nothing of the key is shown
		}
		public, ok := private.Public().(ed25519.PublicKey)
		if !ok {
			return nil, nil, no
		}
		return public, private, nil
	case publicBlock:
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		public, ok := parsed.(ed25519.PublicKey)
		if err != nil || !ok {
			return nil, nil, no
		}
		return public, nil, nil
	}
	return nil, nil, no
}

// Keys are public keys by their ids: whom a verifier trusts.
type Keys map[string]ed25519.PublicKey

// ParseKeys reads a JWK set. Keys of other kinds are passed over, as the standard
// wants; one whose id is not its thumbprint is refused, and so is a set without a key.
func ParseKeys(text []byte) (Keys, error) {
	if len(text) > keySetMax {
		return nil, fmt.Errorf("a key set has at most %d bytes", keySetMax)
	}
	var set struct {
		Keys []struct {
			Curve string `json:"crv"`
			KeyID string `json:"kid"`
			Type  string `json:"kty"`
			X     string `json:"x"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("this is not a JWK set: %w", err)
	}
	out := Keys{}
	for _, k := range set.Keys {
		if k.Type != keyType || k.Curve != curve {
			continue
		}
		raw, err := base64.RawURLEncoding.Strict().DecodeString(k.X)
		if err != nil || len(raw) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("key %q is not %d bytes in base64url", k.KeyID, ed25519.PublicKeySize)
		}
		if k.KeyID != Thumbprint(raw) {
			return nil, fmt.Errorf("key %q has another id than its thumbprint (RFC 7638)", k.KeyID)
		}
		out[k.KeyID] = raw
	}
	if len(out) == 0 || len(out) > keysMax {
		return nil, fmt.Errorf("there are %d ed25519 keys; a set of receipts' keys has 1 to %d", len(out), keysMax)
	}
	return out, nil
}
