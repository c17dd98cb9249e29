package sandbox

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/channel"
)

// Headers of a callback.
const (
	headerEventID   = "Sandbox-Event-Id"
	headerSignature = "Sandbox-Signature"
)

// Bounds on a signature header: long enough for a rotation at the bank's side.
const (
	maxSignatureHeader = 512
	maxSignatures      = 4
)

// wireEvent is the body of a callback.
type wireEvent struct {
	EventID    string       `json:"event_id"`
	Type       string       `json:"type"`
	Bank       string       `json:"bank"`
	Reference  string       `json:"reference"`
	Direction  string       `json:"direction"`
	Amount     money.Amount `json:"amount"`
	Asset      money.Asset  `json:"asset"`
	BankID     string       `json:"bank_id"`
	Reason     string       `json:"reason"`
	Remittance string       `json:"remittance"`
	OccurredAt time.Time    `json:"occurred_at"`
}

// Callback verifies and reads a callback that has just arrived.
func (c *Channel) Callback(header http.Header, body []byte) (channel.Word, error) {
	return c.CallbackAt(c.clock.Now(), header, body)
}

// CallbackAt verifies and reads a callback that arrived at receivedAt. The
// body is parsed only after its signature verified.
func (c *Channel) CallbackAt(receivedAt time.Time, header http.Header, body []byte) (channel.Word, error) {
	if len(body) > channel.MaxBody {
		return channel.Word{}, fmt.Errorf("%w: longer than %d bytes", channel.ErrMalformed, channel.MaxBody)
	}
	signature, err := parseSignature(header.Get(headerSignature))
	if err != nil {
		return channel.Word{}, err
	}
	if !signature.matches(c.secrets, body) {
		return channel.Word{}, channel.ErrSignature
	}
	// Seconds, since that is all the signature carries.
	if age := receivedAt.Unix() - signature.unix; max(age, -age) > int64(channel.SignatureTolerance/time.Second) {
		return channel.Word{}, fmt.Errorf("%w: signed %d s before its arrival", channel.ErrStale, age)
	}
	return c.readEvent(header.Get(headerEventID), body)
}

// signature is a parsed Sandbox-Signature: "t=<unix>,v1=<hex>[,v1=<hex>…]".
type signature struct {
	time string // as signed, digit for digit
	unix int64
	macs [][]byte
}

func parseSignature(header string) (signature, error) {
	var sig signature
	if header == "" || len(header) > maxSignatureHeader {
		return sig, fmt.Errorf("%w: header absent or too long", channel.ErrSignature)
	}
	for part := range strings.SplitSeq(header, ",") {
		key, value, _ := strings.Cut(part, "=")
		switch key {
		case "t":
			unix, err := strconv.ParseInt(value, 10, 64)
			if err != nil || unix <= 0 || unix > 1<<40 || sig.time != "" {
				return sig, fmt.Errorf("%w: unreadable time", channel.ErrSignature)
			}
			sig.time, sig.unix = value, unix
		case "v1":
			mac, err := hex.DecodeString(value)
			if err != nil || len(mac) != sha256.Size || len(sig.macs) == maxSignatures {
				return sig, fmt.Errorf("%w: unreadable or too many v1", channel.ErrSignature)
			}
			sig.macs = append(sig.macs, mac)
		} // other schemes may stand beside v1; they prove nothing to us
	}
	if sig.time == "" || len(sig.macs) == 0 {
		return sig, fmt.Errorf("%w: time or v1 absent", channel.ErrSignature)
	}
	return sig, nil
}

// matches compares with every secret, in a time that does not depend on which
// one or how much of it was right.
func (s signature) matches(secrets [][]byte, body []byte) bool {
	matched := false
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(s.time))
		mac.Write([]byte{'.'})
		mac.Write(body)
		want := mac.Sum(nil)
		for _, got := range s.macs {
			if hmac.Equal(want, got) {
				matched = true
			}
		}
	}
	return matched
}

func (c *Channel) readEvent(eventID string, body []byte) (channel.Word, error) {
	var event wireEvent
	if err := json.Unmarshal(body, &event); err != nil {
		return channel.Word{}, fmt.Errorf("%w: %w", channel.ErrMalformed, err)
	}
	verdict, direction, ok := meaning(event.Type)
	switch {
	case !ok:
		return channel.Word{}, fmt.Errorf("%w: type %q", channel.ErrMalformed, clip(event.Type))
	case event.EventID == "" || len(event.EventID) > maxText || event.EventID != eventID:
		return channel.Word{}, fmt.Errorf("%w: event id absent, or not the header's", channel.ErrMalformed)
	case event.Bank != c.bank:
		// All banks may share a secret; a word of one must not pass for another's.
		return channel.Word{}, fmt.Errorf("%w: word of bank %q", channel.ErrMalformed, clip(event.Bank))
	case event.Direction != direction.String() || event.Reference == "" || len(event.Reference) > maxReference:
		return channel.Word{}, fmt.Errorf("%w: direction or reference", channel.ErrMalformed)
	case event.Amount.Sign() <= 0 || !goodName(string(event.Asset)) || event.OccurredAt.IsZero():
		return channel.Word{}, fmt.Errorf("%w: amount, asset or time", channel.ErrMalformed)
	}
	return channel.Word{
		Verdict: verdict, Reference: clip(event.Reference), ChannelID: clip(event.BankID), EventID: event.EventID,
		Reason: clip(event.Reason), Remittance: clip(event.Remittance), Direction: direction,
		Amount: event.Amount, Asset: event.Asset, OccurredAt: event.OccurredAt,
	}, nil
}

func meaning(eventType string) (channel.Verdict, channel.Direction, bool) {
	switch eventType {
	case "payment.accepted":
		return channel.Acked, channel.Out, true
	case "payment.executed":
		return channel.Confirmed, channel.Out, true
	case "payment.declined":
		return channel.Declined, channel.Out, true
	case "credit.executed":
		return channel.Confirmed, channel.In, true
	case "payment.returned":
		return channel.Returned, channel.In, true
	case "credit.charged_back":
		return channel.ChargedBack, channel.Out, true
	default:
		return channel.Unknown, 0, false
	}
}
