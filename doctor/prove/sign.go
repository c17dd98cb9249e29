package prove

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// proofMax bounds a proof that is verified.
const proofMax = 64 << 20

// Signature is a proof's second line.
type Signature struct {
	Algorithm string `json:"algorithm"`
	// Key is the public key's 32 bytes, Signature the 64 of ed25519 over the first
	// line with its line feed; both in base 64.
	Key       string `json:"key"`
	Signature string `json:"signature"`
}

const algorithm = "ed25519"

// Canonical is the one way to write v: JSON without spaces, the members of an object
// in the order of their names, integers in digits, no other numbers, text in UTF-8
// with only what must be escaped. It is RFC 8785 for what a Result consists of.
func Canonical(v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	in := json.NewDecoder(bytes.NewReader(raw))
	in.UseNumber()
	var tree any
	if err := in.Decode(&tree); err != nil {
		return nil, err
	}
	return appendCanonical(nil, tree)
}

func appendCanonical(out []byte, v any) ([]byte, error) {
	var err error
	switch v := v.(type) {
	case nil:
		return append(out, "null"...), nil
	case bool:
		return fmt.Appendf(out, "%t", v), nil
	case json.Number:
		if n, err := v.Int64(); err != nil || n > 1<<53 || n < -1<<53 || v.String() != itoa(n) {
			return nil, fmt.Errorf("%s is not a number that every reader reads the same", v)
		}
		return append(out, v...), nil
	case string:
		return appendText(out, v), nil
	case []any:
		out = append(out, '[')
		for i, x := range v {
			if i > 0 {
				out = append(out, ',')
			}
			if out, err = appendCanonical(out, x); err != nil {
				return nil, err
			}
		}
		return append(out, ']'), nil
	case map[string]any:
		out = append(out, '{')
		for i, name := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				out = append(out, ',')
			}
			out = append(appendText(out, name), ':')
			if out, err = appendCanonical(out, v[name]); err != nil {
				return nil, err
			}
		}
		return append(out, '}'), nil
	}
	return nil, fmt.Errorf("%T has no canonical form", v)
}

func appendText(out []byte, s string) []byte {
	out = append(out, '"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			out = append(out, '\\', byte(c))
		case c == '\n':
			out = append(out, `\n`...)
		case c == '\r':
			out = append(out, `\r`...)
		case c == '\t':
			out = append(out, `\t`...)
		case c == '\b':
			out = append(out, `\b`...)
		case c == '\f':
			out = append(out, `\f`...)
		case c < ' ':
			out = fmt.Appendf(out, `\u%04x`, c)
		default:
			out = utf8.AppendRune(out, c)
		}
	}
	return append(out, '"')
}

// Sign returns the proof: the result's canonical line, and the signature's.
func Sign(r Result, key ed25519.PrivateKey) ([]byte, error) {
	body, err := Canonical(r)
	if err != nil {
		return nil, err
	}
	body = append(body, '\n')
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("the key has no public half")
	}
	tail, err := Canonical(Signature{algorithm, base64.StdEncoding.EncodeToString(public), base64.StdEncoding.EncodeToString(ed25519.Sign(key, body))})
	if err != nil {
		return nil, err
	}
	return append(append(body, tail...), '\n'), nil
}

// ErrForged is what Verify returns for anything that the key did not sign, byte for
// byte.
var ErrForged = errors.New("this is not what the key signed")

// Verify returns the result of a proof that public signed. Any other byte anywhere,
// a missing or an added one, is ErrForged.
func Verify(proof []byte, public ed25519.PublicKey) (r Result, err error) {
	no := func(why string) (Result, error) { return Result{}, fmt.Errorf("%w: %s", ErrForged, why) }
	cut := bytes.IndexByte(proof, '\n')
	if cut < 0 {
		return no("it has no second line")
	}
	body, tail := proof[:cut+1], proof[cut+1:]
	var s Signature
	if err := json.Unmarshal(tail, &s); err != nil {
		return no("its second line is not a signature")
	}
	if same, err := Canonical(s); err != nil || !bytes.Equal(append(same, '\n'), tail) {
		return no("its second line is not in the one form that it may have")
	}
	sig, err := base64.StdEncoding.Strict().DecodeString(s.Signature)
	if err != nil || s.Algorithm != algorithm || s.Key != base64.StdEncoding.EncodeToString(public) {
		return no("another key signed it, or in another way")
	}
	if !ed25519.Verify(public, body, sig) {
		return no("the signature does not fit the result")
	}
	in := json.NewDecoder(bytes.NewReader(body))
	in.DisallowUnknownFields()
	if err := in.Decode(&r); err != nil || r.Format != Format {
		return Result{}, fmt.Errorf("it is signed, and of another form (%q) than this program reads (%q)", r.Format, Format)
	}
	return r, nil
}

// VerifyFile verifies the proof in a file.
func VerifyFile(path string, public ed25519.PublicKey) (Result, error) {
	f, err := os.Open(path)
	if err != nil {
		return Result{}, err
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.LimitReader(f, proofMax+1))
	switch {
	case err != nil:
		return Result{}, err
	case len(raw) > proofMax:
		return Result{}, fmt.Errorf("%s has more than %d bytes: it is no proof", path, proofMax)
	}
	return Verify(raw, public)
}

// ReadPublic reads a public key: a PEM file, or 32 bytes in base 64.
func ReadPublic(text string) (ed25519.PublicKey, error) {
	if raw, err := base64.StdEncoding.Strict().DecodeString(text); err == nil && len(raw) == ed25519.PublicKeySize {
		return raw, nil
	}
	raw, err := os.ReadFile(text)
	if err != nil {
		return nil, fmt.Errorf("the public key is neither 32 bytes in base 64 nor a file: %w", err)
	}
	if literal, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(string(raw))); err == nil && len(literal) == ed25519.PublicKeySize {
		return literal, nil
	}
	block, _ := pem.Decode(raw)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, fmt.Errorf("%s has no public key in PEM", text)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", text, err)
	}
	public, ok := parsed.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%s is not an ed25519 key", text)
	}
	return public, nil
}

// Key opens the signing key in path, or makes it, once; made says which. The public
// half is beside it, as path with .pub. It refuses a key that others may read.
func Key(path string) (key ed25519.PrivateKey, made bool, err error) {
	if key, err = readKey(path); !errors.Is(err, os.ErrNotExist) {
		return key, false, err
	}
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, false, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, false, err
	}
	pub, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, false, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, false, err
	}
	if err := writeOnce(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); errors.Is(err, os.ErrExist) {
		key, err = readKey(path) // somebody else was first
		return key, false, err
	} else if err != nil {
		return nil, false, err
	}
	if err := os.WriteFile(path+".pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pub}), 0o644); err != nil { //nolint:gosec // it is public
		return nil, false, err
	}
	return key, true, nil
}

// writeOnce makes the file whole or not at all, and never over another.
func writeOnce(path string, content []byte, mode os.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	err = f.Chmod(mode)
	if err == nil {
		_, err = f.Write(content)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}

func readKey(path string) (ed25519.PrivateKey, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s may be read by others (%v): what it signs proves nothing; chmod 600 it, or make a new one", path, st.Mode().Perm())
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(raw)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("%s has no private key in PEM", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s is not an ed25519 key", path)
	}
	return key, nil
}
