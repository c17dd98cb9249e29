package lever

import (
	"strconv"
	"strings"
)

// Dimension is what a lever is aimed by.
type Dimension string

// The dimensions. Everything needs no name.
const (
	Everything Dimension = "everything"
	Channel    Dimension = "channel"
	Tenant     Dimension = "tenant"
	Key        Dimension = "key"
	Route      Dimension = "route"
	Account    Dimension = "account"
	Kind       Dimension = "kind"
)

// Aim is what a lever holds back: everything, or the one of a dimension.
type Aim struct {
	By Dimension
	// Of is the name: a channel's, a tenant's number, a key's prefix, the id of an
	// operation, the account of a holder, a kind of payments.
	Of string
}

// Kinds of payments that callers ask for, and that intake can refuse.
var Kinds = []string{"send", "payout", "deposit", "hold", "capture", "refund"}

const aimMax = 100 // bytes of a name

// ParseAim reads everything, or dimension:name.
func ParseAim(s string) (Aim, error) {
	if s == string(Everything) {
		return Aim{By: Everything}, nil
	}
	by, of, ok := strings.Cut(s, ":")
	a := Aim{Dimension(by), of}
	switch a.By {
	case Channel, Tenant, Key, Route, Account, Kind:
	case Everything:
		ok = false
	default:
		ok = false
	}
	if !ok || of == "" || len(of) > aimMax || !visible(of) {
		return Aim{}, refuse("aim", "aim at everything, or at channel:, tenant:, key:, route:, account: or kind: and a name")
	}
	return a, nil
}

// String writes what ParseAim reads.
func (a Aim) String() string {
	if a.By == Everything {
		return string(Everything)
	}
	return string(a.By) + ":" + a.Of
}

// MarshalText writes what String returns.
func (a Aim) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what String wrote.
func (a *Aim) UnmarshalText(text []byte) error {
	got, err := ParseAim(string(text))
	*a = got
	return err
}

// Subject is what a lever may hold back: a request or a payment, as far as it is
// known. What is empty fits no aim at it.
type Subject struct {
	Tenant  int32
	Key     string
	Route   string
	Account string // of the holder who pays, or of a deposit who receives
	Kind    string
	Channel string
}

// covers reports whether the aim takes in the subject.
func (a Aim) covers(s *Subject) bool {
	switch a.By {
	case Everything:
		return true
	case Channel:
		return s.Channel != "" && s.Channel == a.Of
	case Tenant:
		return s.Tenant != 0 && strconv.Itoa(int(s.Tenant)) == a.Of
	case Key:
		return s.Key != "" && s.Key == a.Of
	case Route:
		return s.Route != "" && s.Route == a.Of
	case Account:
		return s.Account != "" && s.Account == a.Of
	case Kind:
		return s.Kind != "" && s.Kind == a.Of
	}
	return false
}
