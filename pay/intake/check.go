package intake

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// The bounds of a payment's texts.
const (
	remittanceMax   = 140 // characters; what SEPA and most rails carry
	payeeMax        = 140
	accountNameMax  = 200
	metadataKeysMax = 50
	metadataKeyMax  = 64   // characters of one key
	metadataMax     = 4096 // bytes of all of it as JSON
)

// futureMax is how far ahead a value date may lie. Moneta does not hold payments
// back: a date further ahead is a mistake, not an order for later.
const futureMax = 24 * time.Hour

// How long a hold may stand, and does when nobody says.
const (
	HoldDefault = 7 * 24 * time.Hour
	HoldMax     = 31 * 24 * time.Hour
	// DepositDefault is how long a deposit waits for its payer, at most as long as a hold.
	DepositDefault = 24 * time.Hour
)

// oldest is the earliest value date: old books are replayed, prehistory is a typing error.
var oldest = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)

// Problems is a request with several faults; the first one is its code.
type Problems []*fault.Error

// Error joins the faults.
func (p Problems) Error() string {
	texts := make([]string, len(p))
	for i, e := range p {
		texts[i] = e.Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap returns the faults in the order of the request's members.
func (p Problems) Unwrap() []error {
	out := make([]error, len(p))
	for i, e := range p {
		out[i] = e
	}
	return out
}

func (p *Problems) add(code fault.Code, param, detail string) {
	*p = append(*p, fault.New(code, detail).WithParam(param))
}

// as returns nil without a problem, the only one, or all of them.
func (p Problems) as() error {
	switch len(p) {
	case 0:
		return nil
	case 1:
		return p[0]
	}
	return p
}

// payment checks everything that needs no ledger and no other request.
func (in *Intake) payment(r *Request, now time.Time) (*pay.Payment, error) {
	raw, err := NormaliseKey(r.Key)
	if err != nil {
		return nil, err
	}
	kind, ok := pay.ParseKind(r.Kind)
	if !ok || kind.Linked() || kind == pay.Inbound {
		return nil, fault.New(fault.MalformedRequest, `kind is "send", "payout", "deposit", "hold" or "refund"`).WithParam("/kind")
	}
	if r.Original != "" {
		return nil, fault.New(fault.MalformedRequest, "only a refund names an original").WithParam("/original")
	}
	p := &pay.Payment{
		Tenant: r.Tenant, Kind: kind, Channel: r.Channel, PayeeAccount: r.PayeeAccount, PayeeName: r.PayeeName,
		Remittance: r.Remittance, TraceID: r.TraceID, EffectiveAt: r.EffectiveAt.UTC().Truncate(time.Microsecond), CreatedAt: now,
	}
	var bad Problems
	checkMoney(p, r, &bad)
	checkParties(p, r, &bad)
	in.checkRoad(p, &bad)
	checkTexts(p, r, &bad)
	in.checkExpiry(p, r, now, &bad)
	switch {
	case r.EffectiveAt.IsZero():
		p.EffectiveAt = now
	case p.EffectiveAt.Before(oldest) || p.EffectiveAt.After(now.Add(futureMax)):
		bad.add(fault.MalformedRequest, "/effective_at", "a value date lies between 1970 and one day from now; payments are not held back for later")
	}
	if err := bad.as(); err != nil {
		return nil, err
	}
	p.Key = NewKey(r.Tenant, p.Holder(), raw)
	return p, nil
}

func checkMoney(p *pay.Payment, r *Request, bad *Problems) {
	info, ok := money.LookupAsset(r.Asset)
	if !ok {
		bad.add(fault.AssetUnknown, "/asset", "")
	}
	p.Asset = info.Code
	p.Amount = parseAmount(r.Amount, bad)
}

func parseAmount(text string, bad *Problems) money.Amount {
	amount, err := money.ParseMinor(text)
	switch {
	case errors.Is(err, money.ErrOverflow):
		bad.add(fault.AmountInvalid, "/amount", "the amount does not fit in 128 bits")
	case err != nil:
		bad.add(fault.AmountInvalid, "/amount", "an amount is a whole number of the smallest unit, as a string of digits")
	case amount.Sign() <= 0:
		bad.add(fault.AmountInvalid, "/amount", "an amount is above zero")
	}
	return amount
}

// checkExpiry reads when a hold lets go, or a deposit stops waiting; nothing else has
// such an instant. Whether it has passed is the decider's to judge: the same request
// may be on its way again for what has expired meanwhile, and its key is still that
// payment's.
func (in *Intake) checkExpiry(p *pay.Payment, r *Request, now time.Time, bad *Problems) {
	at := r.ExpiresAt.UTC().Truncate(time.Microsecond)
	switch {
	case p.Kind != pay.Hold && p.Kind != pay.Deposit:
		if !r.ExpiresAt.IsZero() {
			bad.add(fault.MalformedRequest, "/expires_at", "only a hold and a deposit expire")
		}
		return
	case r.ExpiresAt.IsZero() && p.Kind == pay.Deposit:
		at = now.Add(in.depositFor)
	case r.ExpiresAt.IsZero():
		at = now.Add(HoldDefault)
	case at.After(now.Add(HoldMax)):
		bad.add(fault.MalformedRequest, "/expires_at", "a "+p.Kind.String()+" expires at most 31 days from now")
	}
	p.ExpiresAt = at
}

// checkParties reads the accounts that the kind has, and refuses those it has not.
func checkParties(p *pay.Payment, r *Request, bad *Problems) {
	if outward(p) && r.To != "" {
		bad.add(fault.MalformedRequest, "/channel", "a hold is for an account of this ledger or for somebody outside, not for both")
	}
	pays, receives := p.Kind != pay.Deposit, p.Kind != pay.Payout && (!outward(p) || r.To != "")
	p.From = party(r.From, "/from", p.Kind, pays, bad)
	p.To = party(r.To, "/to", p.Kind, receives, bad)
	if p.From != 0 && p.From == p.To {
		bad.add(fault.SameAccount, "/to", "")
	}
}

// outward reports whether a hold is for somebody outside: its captures leave through
// its channel.
func outward(p *pay.Payment) bool { return p.Kind == pay.Hold && p.Channel != "" }

func party(text, param string, kind pay.Kind, wanted bool, bad *Problems) pay.AccountID {
	switch {
	case !wanted && text == "":
		return 0
	case !wanted:
		bad.add(fault.MalformedRequest, param, "a "+kind.String()+" has no such account")
		return 0
	case text == "":
		bad.add(fault.MalformedRequest, param, "the account is missing")
		return 0
	}
	id, err := ParseAccount(text)
	if err != nil {
		bad.add(fault.AccountNotFound, param, "this is not the id of an account")
		return 0
	}
	return pay.AccountID(id)
}

// ParseAccount reads a public account id. Odd numbers are books inside an account
// and no account's id; they are pay.ErrBadID like any other nonsense.
func ParseAccount(text string) (ledger.AccountID, error) {
	id, err := pay.ParseAccountID(text)
	if err != nil {
		return 0, err
	}
	if id%2 != 0 {
		return 0, pay.ErrBadID
	}
	return ledger.AccountID(id), nil
}

// checkRoad checks channel and payee: both belong to payments that leave us.
func (in *Intake) checkRoad(p *pay.Payment, bad *Problems) {
	switch {
	case p.Kind == pay.Send, p.Kind == pay.Hold && !outward(p):
		if p.Channel != "" {
			bad.add(fault.MalformedRequest, "/channel", "a "+p.Kind.String()+" stays in this ledger and has no channel")
		}
	case p.Channel == "":
		bad.add(fault.ChannelUnknown, "/channel", "a "+p.Kind.String()+" needs a channel")
	case !in.channels[p.Channel]:
		bad.add(fault.ChannelUnknown, "/channel", "")
	}
	if p.Kind != pay.Payout && !outward(p) {
		if p.PayeeAccount != "" || p.PayeeName != "" {
			bad.add(fault.MalformedRequest, "/payee", "only what leaves through a channel has a payee")
		}
		return
	}
	if p.PayeeAccount == "" {
		bad.add(fault.MalformedRequest, "/payee/account", "a "+p.Kind.String()+" through a channel needs the payee's account")
	}
}

func checkTexts(p *pay.Payment, r *Request, bad *Problems) {
	for _, t := range []struct {
		text, param string
		max         int
	}{
		{p.Remittance, "/remittance", remittanceMax},
		{p.PayeeAccount, "/payee/account", payeeMax},
		{p.PayeeName, "/payee/name", payeeMax},
	} {
		if !plainText(t.text, t.max) {
			bad.add(fault.MalformedRequest, t.param, fmt.Sprintf("at most %d characters of valid UTF-8, none of them a control character", t.max))
		}
	}
	if len(r.Metadata) == 0 {
		return
	}
	if len(r.Metadata) > metadataKeysMax {
		bad.add(fault.MalformedRequest, "/metadata", fmt.Sprintf("at most %d keys", metadataKeysMax))
		return
	}
	for _, k := range slices.Sorted(maps.Keys(r.Metadata)) {
		if k == "" || !plainText(k, metadataKeyMax) || !storable(r.Metadata[k]) {
			bad.add(fault.MalformedRequest, "/metadata", fmt.Sprintf("keys have 1 to %d characters; keys and values are valid UTF-8 without NUL", metadataKeyMax))
			return
		}
	}
	b, err := json.Marshal(r.Metadata) // keys come out sorted: one spelling
	if err != nil || len(b) > metadataMax {
		bad.add(fault.MalformedRequest, "/metadata", fmt.Sprintf("at most %d bytes", metadataMax))
		return
	}
	p.Metadata = string(b)
}

// plainText reports whether s may travel on a rail: short, valid, one line.
func plainText(s string, charsMax int) bool {
	if len(s) > 4*charsMax || !utf8.ValidString(s) || utf8.RuneCountInString(s) > charsMax {
		return false
	}
	return strings.IndexFunc(s, unicode.IsControl) < 0
}

// storable reports whether Postgres takes s as text.
func storable(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }
