package access

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/clock"
)

// Method is how a person proves who they are.
type Method string

// The methods: a signing key (the default), a pass with codes from an authenticator,
// or a passkey. Invited is who has none of them yet, None a machine's.
const (
	Ed25519 Method = "ed25519"
	TOTP    Method = "totp"
	Passkey Method = "passkey"
	Invited Method = "invited"
	None    Method = "none"
)

// KeyFile is the secret half of a credential. It stays with its operator, in a
// file that only they can read.
type KeyFile struct {
	Operator string `json:"operator"`
	Method   Method `json:"method"`
	// PrivateKey is the seed of the signing key, base64url.
	PrivateKey string `json:"private_key,omitempty"`
	// Pass opens a session, together with a code.
	Pass string `json:"pass,omitempty"`
}

const (
	signingHead = "ed25519:"
	codesHead   = "totp:"
	inviteHead  = "invite:"
	passHead    = "mo_pass_"
	sessionHead = "mo_sess_"
	tokenHead   = "mo_invt_"
	totpSecret  = 20 // bytes, as RFC 4226 §4 recommends
	issuer      = "Moneta"
)

// b64 refuses texts that decode to the same bytes as another one.
var b64 = base64.RawURLEncoding.Strict()

// Enrol makes a credential: the secret half for its operator, the public half for
// whoever adds the operator, and for codes the address that an authenticator
// reads. The public half is no secret: the secret of the codes is sealed in it
// under the pass.
func Enrol(operator string, m Method) (secret KeyFile, credential, address string, err error) {
	if !operatorName.MatchString(operator) {
		return secret, "", "", checkOperator(operator, Viewer)
	}
	secret = KeyFile{Operator: operator, Method: m}
	switch m {
	case None, Passkey, Invited: // made in the console, or not at all
	case Ed25519:
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return KeyFile{}, "", "", err
		}
		secret.PrivateKey = b64.EncodeToString(private.Seed())
		return secret, signingHead + b64.EncodeToString(public), "", nil
	case TOTP:
		secret.Pass = newSecret(passHead)
		key, err := totp.Generate(totp.GenerateOpts{Issuer: issuer, AccountName: operator, SecretSize: totpSecret})
		if err != nil {
			return KeyFile{}, "", "", err
		}
		prefix, _ := splitAs(passHead, secret.Pass)
		hash := digest(secret.Pass)
		sealed := seal(secret.Pass, prefix, key.Secret())
		return secret, codesHead + prefix + "." + b64.EncodeToString(hash[:]) + "." + b64.EncodeToString(sealed), key.URL(), nil
	}
	return secret, "", "", fault.New(fault.MalformedRequest, "a method is ed25519 or totp")
}

// private returns the signing key of the file.
func (k *KeyFile) private() (ed25519.PrivateKey, error) {
	seed, err := b64.DecodeString(k.PrivateKey)
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("the key file of %s holds no signing key; make one with `moneta operator enrol`", k.Operator)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// credential is the public half as the database keeps it.
type credential struct {
	publicKey  []byte
	passPrefix string
	passHash   []byte
	sealed     []byte

	invitePrefix string
	inviteHash   []byte
	inviteUntil  *time.Time
}

const credentialMax = 400 // bytes

func parseCredential(text string) (c credential, err error) {
	bad := fault.New(fault.MalformedRequest, "this is not a credential; `moneta operator enrol` prints one").WithParam("/credential")
	if len(text) > credentialMax {
		return c, bad
	}
	if key, ok := strings.CutPrefix(text, signingHead); ok {
		if c.publicKey, err = b64.DecodeString(key); err != nil || len(c.publicKey) != ed25519.PublicKeySize {
			return credential{}, bad
		}
		if weak(c.publicKey) {
			return credential{}, fault.New(fault.MalformedRequest, "anybody can sign for this public key").WithParam("/credential")
		}
		return c, nil
	}
	if text, ok := strings.CutPrefix(text, inviteHead); ok {
		return parseInvitation(text, bad)
	}
	parts := strings.Split(strings.TrimPrefix(text, codesHead), ".")
	if !strings.HasPrefix(text, codesHead) || len(parts) != 3 {
		return c, bad
	}
	if _, ok := splitAs(passHead, passHead+parts[0]+"_"+strings.Repeat("a", secretDigits)); !ok {
		return c, bad
	}
	hash, err1 := b64.DecodeString(parts[1])
	sealed, err2 := b64.DecodeString(parts[2])
	if err1 != nil || err2 != nil || len(hash) != sha256.Size || len(sealed) < sealedMin {
		return c, bad
	}
	return credential{passPrefix: parts[0], passHash: hash, sealed: sealed}, nil
}

// InvitationMax is how long an invitation may stand.
const InvitationMax = 72 * time.Hour

// Invite makes an invitation: the token for whoever is to come, and the credential for
// whoever adds them. The token makes a credential of its holder's choice, once, until
// the time given.
func Invite(until time.Time) (token, credential string) {
	token = newSecret(tokenHead)
	prefix, _ := splitAs(tokenHead, token)
	hash := digest(token)
	return token, inviteHead + prefix + "." + b64.EncodeToString(hash[:]) + "." + strconv.FormatInt(until.Unix(), 10)
}

func parseInvitation(text string, bad error) (c credential, err error) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return c, bad
	}
	if _, ok := splitAs(tokenHead, tokenHead+parts[0]+"_"+strings.Repeat("a", secretDigits)); !ok {
		return c, bad
	}
	hash, err := b64.DecodeString(parts[1])
	seconds, err2 := strconv.ParseInt(parts[2], 10, 64)
	if err != nil || err2 != nil || len(hash) != sha256.Size || strconv.FormatInt(seconds, 10) != parts[2] {
		return c, bad
	}
	until := time.Unix(seconds, 0).UTC()
	if left := until.Sub(clock.System.Now()); left <= 0 || left > InvitationMax+time.Minute {
		return c, fault.New(fault.MalformedRequest, "an invitation stands for 72 hours at most, and this one does not").WithParam("/credential")
	}
	return credential{invitePrefix: parts[0], inviteHash: hash, inviteUntil: &until}, nil
}

// weak reports whether the public key has so small an order that a signature can
// be made for it without a private key: then the all-neutral one, R = 1 and S = 0,
// verifies for at least every eighth message. A key that nobody has broken does so
// for none.
func weak(public []byte) bool {
	var neutral [ed25519.SignatureSize]byte
	neutral[0] = 1
	for i := range byte(64) {
		if ed25519.Verify(public, []byte{i}, neutral[:]) {
			return true
		}
	}
	return false
}

// Sealing: AES-256-GCM under a key that only the holder of the text can derive.

const (
	sealNonce = 12
	sealedMin = sealNonce + 16
)

func sealer(text string) cipher.AEAD {
	key, err := hkdf.Key(sha256.New, []byte(text), nil, "moneta-totp/1", 32)
	if err != nil {
		panic(err) // the length is a constant that the function allows
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // as above
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // as above
	}
	return aead
}

func seal(text, name, secret string) []byte {
	nonce := make([]byte, sealNonce)
	_, _ = rand.Read(nonce) // never fails: it ends the program instead
	return sealer(text).Seal(nonce, nonce, []byte(secret), []byte(name))
}

func unseal(text, name string, sealed []byte) (string, error) {
	if len(sealed) < sealedMin {
		return "", fault.New(fault.Unauthenticated, "")
	}
	secret, err := sealer(text).Open(nil, sealed[:sealNonce], sealed[sealNonce:], []byte(name))
	if err != nil {
		return "", fault.New(fault.Unauthenticated, "").WithCause(err)
	}
	return string(secret), nil
}

// totpOpts are those that every authenticator knows.
var totpOpts = totp.ValidateOpts{Period: uint(stepSeconds), Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1}

// Approve signs the approval of exactly this action.
func (k *KeyFile) Approve(a *Action) ([]byte, error) {
	private, err := k.private()
	if err != nil {
		return nil, err
	}
	return ed25519.Sign(private, CheckStatement(a.ID, a.Hash())), nil
}
