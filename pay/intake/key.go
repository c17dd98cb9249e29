package intake

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// keyMax is the longest raw idempotency key, in characters.
const keyMax = 255

// NormaliseKey returns the bare idempotency key: a structured-field string
// ("…", RFC 8941) and the token in it are the same key. An empty header is
// fault.IdempotencyKeyMissing, a bad one fault.IdempotencyKeyInvalid.
func NormaliseKey(raw string) (string, error) {
	raw = strings.Trim(raw, " \t")
	if raw == "" {
		return "", fault.New(fault.IdempotencyKeyMissing, "")
	}
	if raw[0] == '"' {
		bare, ok := unquote(raw)
		if !ok {
			return "", fault.New(fault.IdempotencyKeyInvalid, "the key opens with a quote but is not a quoted string")
		}
		raw = bare
	}
	if raw == "" || len(raw) > keyMax {
		return "", fault.New(fault.IdempotencyKeyInvalid, "a key has 1 to 255 characters")
	}
	for i := range len(raw) {
		if raw[i] < ' ' || raw[i] > '~' {
			return "", fault.New(fault.IdempotencyKeyInvalid, "a key has printable ASCII characters only")
		}
	}
	return raw, nil
}

// unquote reads a structured-field string: only \" and \\ are escapes.
func unquote(s string) (string, bool) {
	if len(s) < 2 || s[len(s)-1] != '"' {
		return "", false
	}
	inner := s[1 : len(s)-1]
	if !strings.ContainsAny(inner, `"\`) {
		return inner, true
	}
	out := make([]byte, 0, len(inner))
	for i := 0; i < len(inner); i++ {
		c := inner[i]
		if c == '"' {
			return "", false
		}
		if c == '\\' {
			i++
			if i == len(inner) || (inner[i] != '"' && inner[i] != '\\') {
				return "", false
			}
			c = inner[i]
		}
		out = append(out, c)
	}
	return string(out), true
}

// NewKey scopes a normalised key: 8 bytes of a hash of tenant and key, so that one
// range finds its use by every holder, then 8 bytes of a hash of tenant, holder
// and key. Holder 0 is for requests that no account asks for yet.
func NewKey(tenant pay.TenantID, holder pay.AccountID, raw string) pay.Key {
	var buf [8 + 12 + keyMax]byte
	var key pay.Key
	b := append(buf[:0], "key/1\x00"...)
	b = binary.BigEndian.AppendUint32(b, uint32(tenant))
	sum := sha256.Sum256(append(b, raw...))
	copy(key[:8], sum[:])
	b = append(buf[:0], "key/2\x00"...)
	b = binary.BigEndian.AppendUint32(b, uint32(tenant))
	b = binary.BigEndian.AppendUint64(b, uint64(holder))
	sum = sha256.Sum256(append(b, raw...))
	copy(key[8:], sum[:])
	return key
}

func scopedKey(tenant pay.TenantID, holder pay.AccountID, raw string) (pay.Key, error) {
	bare, err := NormaliseKey(raw)
	if err != nil {
		return pay.Key{}, err
	}
	return NewKey(tenant, holder, bare), nil
}

// canonical collects the members of a payload, each with its length before it, so
// that no two payloads have the same bytes.
type canonical struct{ b []byte }

func (c *canonical) text(s string) {
	c.b = binary.AppendUvarint(c.b, uint64(len(s)))
	c.b = append(c.b, s...)
}

func (c *canonical) number(n int64) { c.b = binary.BigEndian.AppendUint64(c.b, uint64(n)) }

func (c *canonical) sum() (f pay.Fingerprint) {
	sum := sha256.Sum256(c.b)
	copy(f[:], sum[:])
	return f
}

// paymentFingerprint covers everything that the caller chose. The value date and
// a hold's expiry count as they were given: a default of "now" differs from try to
// try.
func paymentFingerprint(p *pay.Payment, effectiveAt, expiresAt time.Time) pay.Fingerprint {
	c := canonical{make([]byte, 0, 512)}
	c.text("payment/1")
	c.text(p.Kind.String())
	c.number(int64(p.From))
	c.number(int64(p.To))
	hi, lo := p.Amount.Parts()
	c.number(hi)
	c.number(int64(lo))
	c.text(string(p.Asset))
	c.text(p.Channel)
	c.text(p.PayeeAccount)
	c.text(p.PayeeName)
	c.text(p.Remittance)
	c.text(p.Metadata)
	if !effectiveAt.IsZero() {
		c.number(effectiveAt.UnixMicro())
	}
	if !expiresAt.IsZero() {
		c.text("expires")
		c.number(expiresAt.UnixMicro())
	}
	return c.sum()
}

// linkedFingerprint covers what the caller chose of a linked payment; payee as he
// gave it.
func linkedFingerprint(p *pay.Payment, payee string) pay.Fingerprint {
	c := canonical{make([]byte, 0, 256)}
	c.text("linked/1")
	c.text(p.Kind.String())
	c.number(int64(p.Original))
	c.number(int64(p.To))
	hi, lo := p.Amount.Parts()
	c.number(hi)
	c.number(int64(lo))
	for _, text := range []string{payee, p.PayeeName, p.Remittance, p.Metadata, p.Link} {
		c.text(text)
	}
	return c.sum()
}

func captureFingerprint(p *pay.Payment) pay.Fingerprint {
	c := canonical{make([]byte, 0, 128)}
	c.text("capture/1")
	c.number(int64(p.Original))
	hi, lo := p.Amount.Parts()
	c.number(hi)
	c.number(int64(lo))
	return c.sum()
}

func settingFingerprint(f *ledger.AccountFact) pay.Fingerprint {
	c := canonical{make([]byte, 0, 64)}
	c.text("setting/1")
	c.number(int64(f.Kind))
	c.number(int64(f.ID))
	c.text(f.Floor.String())
	c.text(strconv.FormatBool(f.Frozen))
	c.text(strconv.FormatBool(f.FrozenAll))
	return c.sum()
}

func accountFingerprint(a *ledger.Account) pay.Fingerprint {
	c := canonical{make([]byte, 0, 256)}
	c.text("account/1")
	c.text(a.Kind.String())
	c.text(string(a.Asset))
	c.text(a.Name)
	c.text(a.Floor.String())
	return c.sum()
}
