package access

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/keyring"
)

// Bounds of a link's life, counted from the instant at which its payment is final: as
// long as that is open, its holder may look.
const (
	LinkDaysDefault = 30
	LinkDaysMax     = 400
)

// Link lets whoever has it see one payment as its holder does, and ask for a person
// about it; nothing else.
type Link struct {
	Tenant  int32
	Payment int64
	// Days is how long it works after the payment became final.
	Days uint16
	// MadeAt is when it was made, to the second.
	MadeAt time.Time
}

// Ends is when it ends: the zero time while the payment is open.
func (l *Link) Ends(finalAt time.Time) time.Time {
	if finalAt.IsZero() {
		return time.Time{}
	}
	if finalAt.Before(l.MadeAt) { // made afterwards, for somebody who asks late
		finalAt = l.MadeAt
	}
	return finalAt.Add(time.Duration(l.Days) * 24 * time.Hour)
}

// Links makes and reads the tokens of links. A token is the link sealed under the
// newest key of the ring (AES-256-GCM): it tells nobody anything, cannot be changed,
// and dies with its key, which is how all links are revoked at once. Nothing of it is
// stored. The comparison takes the same time for every wrong token.
type Links struct{ ring *keyring.Ring }

// NewLinks uses the ring; with nil no links can be made, and none is valid.
func NewLinks(ring *keyring.Ring) *Links { return &Links{ring} }

const (
	linkVersion = 1
	linkBytes   = 1 + 4 + 8 + 2 + 8
	// linkAbout binds the seal to its use: what else is sealed under the ring is no link.
	linkAbout = "payment_links/1"
)

// TokenMax bounds a token's length.
const TokenMax = 128

// Make returns the link's token. The error is fault.NotFound on a node without keys.
func (l *Links) Make(k Link) (string, error) {
	if l == nil || l.ring == nil {
		return "", fault.New(fault.NotFound, "this node has no key to seal links under; set secrets_key_file").WithOp("access.Links.Make")
	}
	plain := make([]byte, 0, linkBytes)
	plain = append(plain, linkVersion)
	plain = binary.BigEndian.AppendUint32(plain, uint32(k.Tenant))
	plain = binary.BigEndian.AppendUint64(plain, uint64(k.Payment))
	plain = binary.BigEndian.AppendUint16(plain, k.Days)
	plain = binary.BigEndian.AppendUint64(plain, uint64(k.MadeAt.Unix()))
	return base64.RawURLEncoding.EncodeToString(l.ring.Seal(plain, linkAbout)), nil
}

// errNoLink is the only answer to a token that is none, for whatever reason.
var errNoLink = errors.New("not a link of ours")

// Open reads a token. The error is fault.NotFound, the same for every wrong one.
func (l *Links) Open(token string) (Link, error) {
	var k Link
	plain, err := l.open(token)
	if err != nil {
		return k, fault.New(fault.NotFound, "this link is not valid, or not any more").WithOp("access.Links.Open")
	}
	k.Tenant = int32(binary.BigEndian.Uint32(plain[1:]))
	k.Payment = int64(binary.BigEndian.Uint64(plain[5:]))
	k.Days = binary.BigEndian.Uint16(plain[13:])
	k.MadeAt = time.Unix(int64(binary.BigEndian.Uint64(plain[15:])), 0).UTC()
	return k, nil
}

func (l *Links) open(token string) ([]byte, error) {
	if l == nil || l.ring == nil || len(token) > TokenMax {
		return nil, errNoLink
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil {
		return nil, errNoLink
	}
	plain, err := l.ring.Open(sealed, linkAbout)
	if err != nil || len(plain) != linkBytes || plain[0] != linkVersion {
		return nil, errNoLink
	}
	return plain, nil
}
