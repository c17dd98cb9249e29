// Package receipt makes receipts: signed statements of what the record says of a
// payment, which anybody can verify later without asking anybody. One stands for each
// state of record, that is for each committed transition that changed the payment's
// state, or changed what linked payments made of it (refunded, returned, charged back,
// executed after all). It is made on demand from the append-only log, so that the same
// transition gives the same document for ever, and under one key the same bytes.
//
// It refuses to say anything that is not committed, to carry free text that its payer
// or a bank wrote, or an account's number in clear, and to sign on a node whose key
// file lacks a key that this installation has signed with. Verifying is strict: a
// receipt has one form, and any other byte anywhere is no receipt. What a receipt
// proves, and what not, is in docs/receipts.md.
package receipt

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/moneta-pay/moneta/event"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/status"
)

// Format names the form of the document. What it has and means never changes; another
// form gets another name.
const Format = "moneta-receipt/1"

// Document is what is signed: JSON without spaces, its members in the order of their
// names, as declared here. Amounts are in the asset's smallest unit.
type Document struct {
	AcceptedAt  string  `json:"accepted_at"`
	Amount      string  `json:"amount"`
	Asset       string  `json:"asset"`
	Back        *Back   `json:"back,omitempty"`
	Captured    string  `json:"captured,omitempty"` // of a hold, what captures took or are taking: its amount alone moved nothing
	Decimals    uint8   `json:"decimals"`           // of the asset, so that nobody needs a table to read the amounts
	Disposition string  `json:"disposition,omitempty"`
	Fee         string  `json:"fee"`
	Final       bool    `json:"final"` // the state never changes again; the disposition may
	Format      string  `json:"format"`
	Kind        string  `json:"kind"`
	MoneyAt     string  `json:"money_at,omitempty"` // as in the status object
	Original    string  `json:"original,omitempty"` // the payment that this one is linked to
	Payee       *Payee  `json:"payee,omitempty"`
	Payment     string  `json:"payment"`
	RecordedAt  string  `json:"recorded_at"`
	Reference   string  `json:"reference"` // short, for people
	RestsOn     RestsOn `json:"rests_on"`
	State       string  `json:"state"`
	Status      string  `json:"status"` // processing, succeeded or failed, as in the status object
}

// Back is how much linked payments have brought, or are bringing, to where it came from.
type Back struct {
	ChargedBack string `json:"charged_back,omitempty"`
	Refunded    string `json:"refunded,omitempty"`
	Refunding   string `json:"refunding,omitempty"`
	Returned    string `json:"returned,omitempty"`
}

// Payee is who receives, for those who know the account already: its end, and a hash of
// the payment's id and the whole account, see PayeeHash. The hash does not keep the
// account secret from who can try all accounts; it spares paper and screens from it.
type Payee struct {
	EndsWith string `json:"ends_with"`
	SHA256   string `json:"sha256"`
}

// RestsOn is the one committed transition that the receipt stands for.
type RestsOn struct {
	Event      string `json:"event"`            // its place in the log; of two receipts of a payment the later event holds
	Linked     string `json:"linked,omitempty"` // the kind of the linked payment whose transition it is; left out for the payment's own
	Sequence   int32  `json:"sequence"`         // among the moves of the payment whose it is
	Transition string `json:"transition"`       // row of the state table
}

// timeForm is RFC 3339 in UTC with the microseconds that the database keeps, always all
// of them.
const timeForm = "2006-01-02T15:04:05.000000Z"

const payeeAbout = "moneta-receipt-payee/1\n"

// PayeeHash is Payee.SHA256 of a payment to account: SHA-256 over
// "moneta-receipt-payee/1", the payment's id and the account without its white space,
// separated by line feeds, in base64url without padding.
func PayeeHash(payment, account string) string {
	sum := sha256.Sum256([]byte(payeeAbout + payment + "\n" + joined(account)))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// joined is the account without the white space that people group it with: who orders
// and who verifies need not write it in one way.
func joined(account string) string { return strings.Join(strings.Fields(account), "") }

// endMax is how many of an account's last characters are shown, and never more than
// half of it.
const endMax = 4

func payeeOf(p *pay.Payment) *Payee {
	account := joined(p.PayeeAccount)
	if account == "" && p.To != 0 {
		account = p.To.String()
	}
	if account == "" {
		return nil
	}
	n := utf8.RuneCountInString(account)
	end := []rune(account)[n-min(endMax, n/2):]
	return &Payee{EndsWith: string(end), SHA256: PayeeHash(p.ID.String(), account)}
}

// documentOf is p as it stood after the transition.
func documentOf(p *pay.Payment, m *move) (Document, error) {
	info, known := money.LookupAsset(p.Asset)
	if !known {
		return Document{}, fmt.Errorf("%w: %s", money.ErrUnknownAsset, p.Asset)
	}
	d := Document{
		AcceptedAt: p.CreatedAt.UTC().Format(timeForm), Amount: p.Amount.String(), Asset: string(p.Asset), Back: backOf(&p.Back), Decimals: info.Scale,
		Disposition: string(p.Disposition()), Fee: p.Fee.String(), Final: p.State.Final(), Format: Format, Kind: p.Kind.String(),
		Payee: payeeOf(p), Payment: p.ID.String(), RecordedAt: m.at.UTC().Format(timeForm), Reference: status.Reference(p.ID), State: p.State.String(),
		RestsOn: RestsOn{Event: event.ID(m.id).String(), Sequence: m.seq, Transition: fmt.Sprintf("T%d", m.t)},
	}
	if p.Kind == pay.Hold {
		d.Captured = p.Taken.String()
	}
	if m.payment != p.ID {
		d.RestsOn.Linked = m.kind.String()
	}
	if p.Original != 0 {
		d.Original = p.Original.String()
	}
	d.Status, d.MoneyAt = status.Recorded(p)
	return d, nil
}

func backOf(b *pay.Back) *Back {
	if *b == (pay.Back{}) {
		return nil
	}
	some := func(a money.Amount) string {
		if a.IsZero() {
			return ""
		}
		return a.String()
	}
	return &Back{ChargedBack: some(b.ChargedBack), Refunded: some(b.Refunded), Refunding: some(b.Refunding), Returned: some(b.Returned)}
}

// canonical is the one way to write v.
func canonical(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Recorded is when the record has said this since.
func (d *Document) Recorded() (time.Time, error) { return time.Parse(timeForm, d.RecordedAt) }

// Names reports whether account is the payee's; white space does not count.
func (d *Document) Names(account string) bool {
	return d.Payee != nil && PayeeHash(d.Payment, account) == d.Payee.SHA256
}
