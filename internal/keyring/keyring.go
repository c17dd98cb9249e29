// Package keyring seals secrets that must lie in a database or a file with keys that
// lie elsewhere: AES-256-GCM, bound to what the secret is about, under the newest of
// a few keys; the others only open what was sealed before, so that keys can be
// changed without a moment in which something cannot be read. It refuses key files
// that others can read, keys of another length, and to open what was sealed for
// another place.
package keyring

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	// KeyBytes is the length of a key.
	KeyBytes = 32
	// keysMax bounds the keys of a ring, fileMax its file in bytes.
	keysMax = 16
	fileMax = 16 << 10

	version   = 1
	idBytes   = 8
	headBytes = 1 + idBytes
	// Overhead is how much longer a sealed text is: version, the key's id, nonce, tag.
	Overhead = headBytes + 12 + 16
)

// Errors of Open.
var (
	// ErrUnknownKey says that the text was sealed under a key that is not in the ring.
	ErrUnknownKey = errors.New("sealed under a key that is not here")
	// ErrBroken says that the text is not what was sealed, or not for this place.
	ErrBroken = errors.New("not what was sealed")
)

// Ring is a few keys. A nil Ring has none: it opens nothing, and nothing can be
// sealed with it. It is safe for concurrent use.
type Ring struct {
	newest [idBytes]byte
	keys   map[[idBytes]byte]cipher.AEAD
}

// Parse reads keys, the newest first: one a line, 32 bytes in base64, or separated
// by commas. Empty lines and those that begin with # are left out.
func Parse(text []byte) (*Ring, error) {
	r := &Ring{keys: make(map[[idBytes]byte]cipher.AEAD)}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		if strings.HasPrefix(strings.TrimSpace(lines.Text()), "#") {
			continue
		}
		for key := range strings.SplitSeq(lines.Text(), ",") {
			if key = strings.TrimSpace(key); key == "" {
				continue
			}
			if err := r.add(key); err != nil {
				return nil, err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the keys: %w", err)
	}
	if len(r.keys) == 0 {
		return nil, errors.New("there is no key; `head -c 32 /dev/urandom | base64` makes one")
	}
	return r, nil
}

func (r *Ring) add(key string) error {
	raw, err := base64.StdEncoding.Strict().DecodeString(key)
	if err != nil || len(raw) != KeyBytes { // neither shows the key
		return fmt.Errorf("key %d is not %d bytes in base64; `head -c 32 /dev/urandom | base64` makes one", len(r.keys)+1, KeyBytes)
	}
	if len(r.keys) == keysMax {
		return fmt.Errorf("there are more than %d keys; leave out those that nothing is sealed under any more", keysMax)
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return err
	}
	// The id names a key without telling anything of it.
	sum := sha256.Sum256(append([]byte("moneta key id/1\n"), raw...))
	id := [idBytes]byte(sum[:idBytes])
	if len(r.keys) == 0 {
		r.newest = id
	}
	r.keys[id] = aead
	return nil
}

// Load reads the key file at path. One that others than its owner can read is
// refused.
func Load(path string) (*Ring, error) {
	text, err := ReadFile(path, fileMax)
	if err != nil {
		return nil, err
	}
	r, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("the key file %s: %w", path, err)
	}
	return r, nil
}

// ReadFile reads a file of keys, whatever their form. One that others than its owner
// can read is refused, and so is one of more than most bytes.
func ReadFile(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the key file: %w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read the key file: %w", err)
	}
	switch {
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("others can read the key file %s: chmod 600 it, and change the key if somebody may have", path)
	case info.Size() > most:
		return nil, fmt.Errorf("the key file %s is too long to be one", path)
	}
	text := make([]byte, info.Size())
	if _, err := f.ReadAt(text, 0); err != nil {
		return nil, fmt.Errorf("read the key file: %w", err)
	}
	return text, nil
}

// Make writes a key file with one new key, for its owner's eyes, durably, and never
// over another one: then the error is os.ErrExist.
func Make(path string) error {
	raw := make([]byte, KeyBytes)
	_, _ = rand.Read(raw) // never fails: it ends the program instead
	return MakeFile(path, []byte("# Moneta: keys that seal secrets in the database, the newest first. Keep a copy elsewhere.\n"+base64.StdEncoding.EncodeToString(raw)+"\n"))
}

// MakeFile writes a file of keys, whatever their form, as Make does.
func MakeFile(path string, text []byte) error {
	// Whole under its name or not there: half a key file after a crash would be no key.
	temp, err := os.CreateTemp(filepath.Dir(path), ".key-*")
	if err != nil {
		return fmt.Errorf("write the key file: %w", err)
	}
	defer func() { _ = os.Remove(temp.Name()) }()
	_, err = temp.Write(text)
	if err = errors.Join(err, temp.Chmod(0o600), temp.Sync(), temp.Close()); err != nil {
		return fmt.Errorf("write the key file: %w", err)
	}
	if err := os.Link(temp.Name(), path); err != nil {
		return fmt.Errorf("write the key file: %w", err)
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("write the key file: %w", err)
	}
	if err := errors.Join(folder.Sync(), folder.Close()); err != nil {
		return fmt.Errorf("write the key file: %w", err)
	}
	return nil
}

// Seal encrypts a secret under the newest key. about is where the secret belongs;
// Open needs the same. It panics on a nil Ring: whoever has no key must not get here.
func (r *Ring) Seal(secret []byte, about string) []byte {
	out := make([]byte, headBytes+12, Overhead+len(secret))
	out[0] = version
	copy(out[1:], r.newest[:])
	nonce := out[headBytes:]
	_, _ = rand.Read(nonce) // as above
	return r.keys[r.newest].Seal(out, nonce, secret, bound(out[:headBytes], about))
}

// bound is what a seal covers besides the secret.
func bound(head []byte, about string) []byte { return append(bytes.Clone(head), about...) }

// Open decrypts what Seal made for the same place. The error wraps ErrUnknownKey or
// ErrBroken.
func (r *Ring) Open(sealed []byte, about string) ([]byte, error) {
	if len(sealed) < Overhead || sealed[0] != version {
		return nil, ErrBroken
	}
	id := [idBytes]byte(sealed[1:headBytes])
	var aead cipher.AEAD
	if r != nil {
		aead = r.keys[id]
	}
	if aead == nil {
		return nil, fmt.Errorf("%w: %s", ErrUnknownKey, hex.EncodeToString(id[:]))
	}
	secret, err := aead.Open(nil, sealed[headBytes:headBytes+12], sealed[headBytes+12:], bound(sealed[:headBytes], about))
	if err != nil {
		return nil, ErrBroken
	}
	return secret, nil
}

// Fresh reports whether the text is sealed under the newest key.
func (r *Ring) Fresh(sealed []byte) bool {
	return r != nil && len(sealed) >= Overhead && bytes.HasPrefix(sealed, r.Head())
}

// Head begins every text that is sealed under the newest key, and no other.
func (r *Ring) Head() []byte { return append([]byte{version}, r.newest[:]...) }

// Newest names the key that Seal uses, without telling anything of it.
func (r *Ring) Newest() string { return hex.EncodeToString(r.newest[:]) }
