package recon

import (
	"encoding/json"
	"time"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/commit"
)

// suspenseTenant is the tenant in whose books money waits that nobody announced:
// nothing else says whose it is.
const suspenseTenant = 1

// reverses is what a line marked as a return says: a payout came back, a deposit was
// taken back; zero for any other line.
func reverses(kind pay.Kind, attempt int16, d channel.Direction) pay.FactKind {
	switch {
	case kind.Leaves() && attempt > 0 && d == channel.In:
		return pay.Returned
	case kind == pay.Deposit && attempt == 0 && d == channel.Out:
		return pay.ChargedBack
	}
	return 0
}

// reversal is the fact of such a line. The callback about it, if there was one, has
// the same name and is the same event.
func (it *item) reversal(name channel.Name, now time.Time) commit.Fact {
	makes := pay.Return
	if it.word == pay.ChargedBack {
		makes = pay.Chargeback
	}
	event := it.ChannelID
	if event == "" {
		event = it.ID
	}
	return commit.Fact{Payment: &pay.Fact{
		Kind: it.word, Payment: it.id, Attempt: it.attempt, At: now, Source: "statement", Amount: it.Amount, Asset: it.Asset,
		Channel: string(name), ChannelID: event, Key: pay.EventKey(0, string(name), makes, event), Settled: true, Cost: it.Fee,
	}}
}

// found books money that came without an intent, so that our account at the bank
// is what the bank says, and a person can look for its owner. A line is booked once.
func (it *item) found(name channel.Name, now time.Time) commit.Fact {
	p := &pay.Payment{
		Tenant: suspenseTenant, Kind: pay.Inbound, Asset: it.Asset, Amount: it.Amount, Channel: string(name), Remittance: it.Remittance,
		Link: it.ID, Key: strayKey(name, it.ID), Metadata: quoted(it.Reference),
		EffectiveAt: it.BookedAt.UTC().Truncate(time.Microsecond), CreatedAt: now,
	}
	return commit.Fact{Payment: &pay.Fact{
		Kind: pay.Accept, At: now, New: p, Fingerprint: pay.Fingerprint(p.Key), Source: "statement", Reason: "nobody announced it",
	}}
}

// quoted keeps what the payer wrote, as the payment's metadata.
func quoted(reference string) string {
	b, err := json.Marshal(map[string]string{"quoted": reference})
	if err != nil { // a map of texts always has a form
		return ""
	}
	return string(b)
}

// bookable reports whether a stray line is money that can be booked as such.
func (it *item) bookable() bool {
	_, known := money.LookupAsset(it.Asset)
	return it.outcome == unmatched && it.Direction == channel.In && it.ID != "" && it.Amount.Sign() > 0 && known
}
