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
)

// SignatureScheme begins the Authorization header of a signed request.
const SignatureScheme = "Moneta-Signature"

var signatureForm = regexp.MustCompile(`^` + SignatureScheme +
	` key="([A-Za-z0-9_-]{43})", at="([1-9][0-9]{9})", nonce="([A-Za-z0-9_-]{22})", signature="([A-Za-z0-9_-]{86})"$`)

// statement is what a signature of a request covers: everything that decides what
// the request does, and where. docs/operators.md describes it.
func statement(method, host, uri, at, nonce string, body []byte) []byte {
	sum := sha256.Sum256(body)
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
	signature := ed25519.Sign(private, statement(r.Method, host, r.URL.RequestURI(), at, nonce, body))
	r.Header.Set("Authorization", fmt.Sprintf(`%s key="%s", at="%s", nonce="%s", signature="%s"`, SignatureScheme,
		b64.EncodeToString(private.Public().(ed25519.PublicKey)), at, nonce, b64.EncodeToString(signature)))
	return nil
}

// AuthenticateSigned finds the person who signed the request with this body. Each
// signature counts once, on all nodes together. The error is fault.Unauthenticated
// with what is wrong, or fault.DatabaseUnavailable when nobody can tell.
func (s *Store) AuthenticateSigned(ctx context.Context, r *http.Request, body []byte) (Principal, error) {
	refuse := func(why string) (Principal, error) { return Principal{}, fault.New(fault.Unauthenticated, why) }
	m := signatureForm.FindStringSubmatch(r.Header.Get("Authorization"))
	if m == nil {
		return refuse("the signature header does not have its form; see docs/operators.md")
	}
	key, at, nonce := m[1], m[2], m[3]
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return refuse("the time of the signature cannot be read")
	}
	if off := s.now().Sub(time.Unix(seconds, 0)); off > skewMax || off < -skewMax {
		return refuse("the time of the signature is more than a minute from ours; set the clock and sign again")
	}
	public, err1 := b64.DecodeString(key)
	signature, err2 := b64.DecodeString(m[4])
	if err1 != nil || err2 != nil || !ed25519.Verify(public, statement(r.Method, r.Host, r.URL.RequestURI(), at, nonce, body), signature) {
		return refuse("the signature does not fit the request")
	}
	who, err := s.signers.authenticate(ctx, key, sha256.Sum256(public))
	if errors.Is(err, fault.Unauthenticated) {
		return refuse("no active operator has this key")
	}
	if err != nil {
		return Principal{}, err
	}
	// Only what a known person has signed takes a row.
	tag, err := s.pool.Exec(ctx, `insert into operator_nonces (operator, nonce) values ($1, $2) on conflict do nothing`, who.Operator, nonce)
	if err != nil {
		return Principal{}, faultOf("access.AuthenticateSigned", err)
	}
	if tag.RowsAffected() != 1 {
		return refuse("this request was received before; sign it again")
	}
	return who, nil
}

// readScopes is what every person may read.
var readScopes = []Scope{PaymentsRead, AccountsRead}

// lookUpSigner reads the person whose public key it is.
func (s *Store) lookUpSigner(ctx context.Context, key string) (p Principal, hash []byte, found bool, err error) {
	public, err := b64.DecodeString(key)
	if err != nil {
		return p, nil, false, nil //nolint:nilerr // not a key, so nobody's
	}
	p = Principal{Scopes: readScopes, Method: Ed25519}
	err = s.pool.QueryRow(ctx, `select name, tenant, role from operators where public_key = $1 and disabled_at is null`, public).
		Scan(&p.Operator, &p.Tenant, &p.Role)
	if errors.Is(err, pgx.ErrNoRows) {
		return p, nil, false, nil
	}
	sum := sha256.Sum256(public)
	return p, sum[:], err == nil, err
}

// IsSession reports whether a bearer's token is that of a session.
func IsSession(token string) bool { return strings.HasPrefix(token, sessionHead) }
