package receipt

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// A receipt is a JWS in compact form (RFC 7515, RFC 8037): header, document and
// signature in base64url, with points between them.
const (
	algorithm = "EdDSA"
	curve     = "Ed25519"
	keyType   = "OKP"
	// mediaType separates receipts from whatever else a key may sign.
	mediaType = "moneta-receipt+jws"

	// MediaType is that of a receipt's file.
	MediaType = "application/jose"
	// TokenMax bounds a receipt, in bytes.
	TokenMax = 8 << 10
)

type header struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Type      string `json:"typ"`
}

// What Verify refuses a receipt for. Each says why; all are for good but ErrUnknownKey.
var (
	// ErrForm says that it is no receipt: cut off, or of another form.
	ErrForm = errors.New("this is not a receipt")
	// ErrUnknownKey says that none of the trusted keys has signed it.
	ErrUnknownKey = errors.New("none of the keys that you trust signed this")
	// ErrForged says that its signature does not hold.
	ErrForged = errors.New("this is not what the key signed")
	// ErrNewer says that it is genuine, and of a form that this program does not know.
	ErrNewer = errors.New("it is signed, and of a form that this program does not read")
)

// Sign returns the receipt.
func (s *Signer) Sign(d *Document) (string, error) {
	payload, err := canonical(d)
	if err != nil {
		return "", fmt.Errorf("write the document: %w", err)
	}
	signed := s.header + "." + base64.RawURLEncoding.EncodeToString(payload)
	return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(s.private, []byte(signed))), nil
}

// Verify returns what a receipt says, and the id of the trusted key that signed it. Any
// byte that was changed, added or taken away is an error, one of ErrForm,
// ErrUnknownKey, ErrForged and ErrNewer.
func Verify(token []byte, keys Keys) (Document, string, error) {
	no := func(err error, why string) (Document, string, error) {
		return Document{}, "", fmt.Errorf("%w: %s", err, why)
	}
	if len(token) > TokenMax {
		return no(ErrForm, "it is too long")
	}
	parts := strings.Split(string(token), ".")
	if len(parts) != 3 {
		return no(ErrForm, "it has not three parts with points between them")
	}
	var raw [3][]byte
	for i, part := range parts {
		var err error
		// The decoder passes over line ends; a receipt has none.
		if raw[i], err = base64.RawURLEncoding.Strict().DecodeString(part); err != nil || strings.ContainsAny(part, "\r\n") {
			return no(ErrForm, "a part of it is not base64url")
		}
	}
	var h header
	if err := json.Unmarshal(raw[0], &h); err != nil {
		return no(ErrForm, "its header cannot be read")
	}
	if same, err := canonical(h); err != nil || !bytes.Equal(same, raw[0]) || h.Algorithm != algorithm || h.Type != mediaType {
		return no(ErrForm, "its header is not a receipt's")
	}
	public, trusted := keys[h.KeyID]
	if !trusted {
		return no(ErrUnknownKey, fmt.Sprintf("it names the key %q", h.KeyID))
	}
	if !ed25519.Verify(public, token[:len(parts[0])+1+len(parts[1])], raw[2]) {
		return no(ErrForged, "the signature does not fit")
	}
	d, err := decode(raw[1])
	return d, h.KeyID, err
}

// decode reads a document that is genuine.
func decode(payload []byte) (d Document, err error) {
	var form struct {
		Format string `json:"format"`
	}
	if err := json.Unmarshal(payload, &form); err != nil || form.Format != Format {
		return d, fmt.Errorf("%w: it is %q, and this program reads %q", ErrNewer, form.Format, Format)
	}
	in := json.NewDecoder(bytes.NewReader(payload))
	in.DisallowUnknownFields()
	if err := in.Decode(&d); err != nil {
		return Document{}, fmt.Errorf("%w: %w", ErrNewer, err)
	}
	if same, err := canonical(&d); err != nil || !bytes.Equal(same, payload) {
		return Document{}, fmt.Errorf("%w: it is written in another way", ErrNewer)
	}
	return d, nil
}
