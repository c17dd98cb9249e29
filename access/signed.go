package access

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/fault"
)

const (
	// skewMax is how far a signed request's time may be from ours, either way.
	skewMax    = time.Minute
	nonceBytes = 16
	// BodyMax is how long the body of a signed request may take to arrive.
	BodyMax = 2 * time.Minute
)

// SignatureScheme begins the Authorization header of a signed request.
const SignatureScheme = "Moneta-Signature"

var signatureForm = regexp.MustCompile(`^` + SignatureScheme +
	` key="([A-Za-z0-9_-]{43})", at="([1-9][0-9]{9})", nonce="([A-Za-z0-9_-]{22})", signature="([A-Za-z0-9_-]{86})"$`)

// statement is what a signature of a request covers: everything that decides what
// the request does, and where. docs/operators.md describes it.
func statement(method, host, uri, at, nonce string, sum [sha256.Size]byte) []byte {
	return []byte(strings.Join([]string{"moneta-request/1", method, strings.ToLower(host), uri, at, nonce, hex.EncodeToString(sum[:]), ""}, "\n"))
}

// Sign puts the operator's signature onto a request with this body.
func (k *KeyFile) Sign(r *http.Request, body []byte, now time.Time) error {
	private, err := k.private()
	if err != nil {
		return err
	}
	raw := make([]byte, nonceBytes)
	_, _ = rand.Read(raw) // never fails: it ends the program instead
	nonce, at := b64.EncodeToString(raw), strconv.FormatInt(now.Unix(), 10)
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	signature := ed25519.Sign(private, statement(r.Method, host, r.URL.RequestURI(), at, nonce, sha256.Sum256(body)))
	r.Header.Set("Authorization", fmt.Sprintf(`%s key="%s", at="%s", nonce="%s", signature="%s"`, SignatureScheme,
		b64.EncodeToString(private.Public().(ed25519.PublicKey)), at, nonce, b64.EncodeToString(signature)))
	return nil
}

// signature is what the header of a signed request says; nobody has verified it yet.
type signature struct {
	key, at, nonce string
	public, bytes  []byte
}

func unsigned(why string) error { return fault.New(fault.Unauthenticated, why) }

// signatureOf reads the header and compares its time with now.
func signatureOf(r *http.Request, now time.Time) (g signature, err error) {
	m := signatureForm.FindStringSubmatch(r.Header.Get("Authorization"))
	if m == nil {
		return g, unsigned("the signature header does not have its form; see docs/operators.md")
	}
	g = signature{key: m[1], at: m[2], nonce: m[3]}
	seconds, err := strconv.ParseInt(g.at, 10, 64)
	if err != nil {
		return g, unsigned("the time of the signature cannot be read")
	}
	if off := now.Sub(time.Unix(seconds, 0)); off > skewMax || off < -skewMax {
		return g, unsigned("the time of the signature is more than a minute from ours; set the clock and sign again")
	}
	var err2 error
	g.public, err = b64.DecodeString(g.key)
	if g.bytes, err2 = b64.DecodeString(m[4]); err != nil || err2 != nil {
		return g, unsigned("the signature does not fit the request")
	}
	return g, nil
}

// signer finds the active person who has the key.
func (s *Store) signer(ctx context.Context, g *signature) (Principal, error) {
	who, err := s.signers.authenticate(ctx, g.key, sha256.Sum256(g.public))
	if errors.Is(err, fault.Unauthenticated) {
		err = unsigned("no active operator has this key")
	}
	return who, err
}

// ExpectSigned checks what can be checked before a long body is there: that the
// request says it was signed now, by an active person. It proves nothing; with the
// body's hash and the time that it returns, AuthenticateSum does.
func (s *Store) ExpectSigned(ctx context.Context, r *http.Request) (time.Time, error) {
	now := s.now()
	g, err := signatureOf(r, now)
	if err != nil {
		return now, err
	}
	_, err = s.signer(ctx, &g)
	return now, err
}

// AuthenticateSigned finds the person who signed the request with this body. Each
// signature counts once, on all nodes together. The error is fault.Unauthenticated
// with what is wrong, or fault.DatabaseUnavailable when nobody can tell.
func (s *Store) AuthenticateSigned(ctx context.Context, r *http.Request, body []byte) (Principal, error) {
	return s.AuthenticateSum(ctx, r, sha256.Sum256(body), s.now())
}

// AuthenticateSum is AuthenticateSigned for a body of which only the hash is at
// hand, and which began to arrive at began, at most BodyMax ago.
func (s *Store) AuthenticateSum(ctx context.Context, r *http.Request, sum [sha256.Size]byte, began time.Time) (Principal, error) {
	g, err := signatureOf(r, began)
	if err != nil {
		return Principal{}, err
	}
	if s.now().Sub(began) > BodyMax {
		return Principal{}, unsigned("the body took too long to arrive; sign the request again")
	}
	if !ed25519.Verify(g.public, statement(r.Method, r.Host, r.URL.RequestURI(), g.at, g.nonce, sum), g.bytes) {
		return Principal{}, unsigned("the signature does not fit the request")
	}
	who, err := s.signer(ctx, &g)
	if err != nil {
		return Principal{}, err
	}
	// Only what a known person has signed takes a row.
	tag, err := s.pool.Exec(ctx, `insert into operator_nonces (operator, nonce) values ($1, $2) on conflict do nothing`, who.Operator, g.nonce)
	if err != nil {
		return Principal{}, faultOf("access.AuthenticateSigned", err)
	}
	if tag.RowsAffected() != 1 {
		return Principal{}, unsigned("this request was received before; sign it again")
	}
	return who, nil
}

// What every person may read; what those of the installation's tenant also reach,
// each within their role.
var (
	readScopes         = []Scope{PaymentsRead, AccountsRead}
	installationScopes = []Scope{PaymentsRead, AccountsRead, Installation}
)

// scopesOf are a person's.
func scopesOf(installation bool) []Scope {
	if installation {
		return installationScopes
	}
	return readScopes
}

// lookUpSigner reads the person whose public key it is.
func (s *Store) lookUpSigner(ctx context.Context, key string) (p Principal, hash []byte, found bool, err error) {
	public, err := b64.DecodeString(key)
	if err != nil {
		return p, nil, false, nil //nolint:nilerr // not a key, so nobody's
	}
	p = Principal{Method: Ed25519}
	var installation bool
	err = s.pool.QueryRow(ctx, `select o.name, o.tenant, o.role, t.installation from operators o join tenants t on t.id = o.tenant
		where o.public_key = $1 and o.disabled_at is null`, public).Scan(&p.Operator, &p.Tenant, &p.Role, &installation)
	p.Scopes = scopesOf(installation)
	if errors.Is(err, pgx.ErrNoRows) {
		return p, nil, false, nil
	}
	sum := sha256.Sum256(public)
	return p, sum[:], err == nil, err
}

// IsSession reports whether a bearer's token is that of a session.
func IsSession(token string) bool { return strings.HasPrefix(token, sessionHead) }

// SignText signs a text that a verb of ours defines, and returns the public key and the
// signature, both base64url. It is for people's words outside of requests: what the
// doctor asks them for while no node may answer.
func (k *KeyFile) SignText(text []byte) (public, signature string, err error) {
	private, err := k.private()
	if err != nil {
		return "", "", err
	}
	return b64.EncodeToString(private.Public().(ed25519.PublicKey)), b64.EncodeToString(ed25519.Sign(private, text)), nil
}

// VerifyText reports whether the public key's owner signed exactly this text.
func VerifyText(public, signature string, text []byte) bool {
	key, err := b64.DecodeString(public)
	sig, err2 := b64.DecodeString(signature)
	return err == nil && err2 == nil && len(key) == ed25519.PublicKeySize && !weak(key) && ed25519.Verify(key, text, sig)
}

// Signer is a person who may approve, with the public key that he signs with.
type Signer struct {
	Name string `json:"name"`
	// Key is base64url; empty for people with codes, who sign nothing.
	Key string `json:"key"`
}

// Signers are the active people of the installation's tenant who may approve.
func (s *Store) Signers(ctx context.Context) ([]Signer, error) {
	rows, err := s.pool.Query(ctx, `select o.name, o.public_key from operators o join tenants t on t.id = o.tenant
		where t.installation and o.disabled_at is null and o.role in ('approver', 'admin') order by o.name`)
	if err != nil {
		return nil, faultOf("access.Signers", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (Signer, error) {
		var p Signer
		var key []byte
		err := row.Scan(&p.Name, &key)
		p.Key = b64.EncodeToString(key)
		return p, err
	})
}
