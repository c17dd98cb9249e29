package finance

import (
	"fmt"
	"strings"

	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// firstTenant is the one whose accounts carry no tenant in their names.
const firstTenant = 1

// owner is an account as its name needs it.
type owner struct {
	tenant int32
	kind   ledger.Kind
	asset  string
	name   string
}

// title is the name of one book in the chart of accounts. It depends on nothing
// but the account, so that it never changes, and no two books share one: users'
// and houses' names end in the account's id, and (tenant, asset, name) is unique
// among system accounts. Names are ASCII: hledger without a UTF-8 locale refuses
// others.
func (o owner) title(b ledger.BookID) string {
	id := pay.AccountID(b.Account()).String()
	switch o.kind {
	case ledger.User:
		return o.under("liabilities", "users:"+id+side(b))
	case ledger.House:
		return o.under("equity", "house:"+readable(o.name)+":"+id+side(b))
	case ledger.System:
	}
	return o.systemTitle(b)
}

// summary is the line of a trial balance that the book belongs to: all users of a
// tenant are one, everything else is its own.
func (o owner) summary(b ledger.BookID) string {
	if o.kind == ledger.User {
		return o.under("liabilities", "users"+side(b))
	}
	return o.title(b)
}

func (o owner) systemTitle(b ledger.BookID) string {
	tail := ":" + o.asset
	if b.IsHeld() {
		tail += ":held"
	}
	if bank, ok := strings.CutPrefix(o.name, "nostro:"); ok {
		return o.under("assets", "nostro:"+exact(bank)+tail)
	}
	if road, ok := strings.CutPrefix(o.name, "clr:"); ok {
		if bank, ok := strings.CutSuffix(road, ":out"); ok {
			return o.under("assets", "clearing:"+exact(bank)+":out"+tail)
		}
		if bank, ok := strings.CutSuffix(road, ":in"); ok {
			return o.under("assets", "clearing:"+exact(bank)+":in"+tail)
		}
	}
	switch o.name {
	case "fee:rev":
		return o.under("income", "fees"+tail)
	case "fee:cost":
		return o.under("expenses", "channel-fees"+tail)
	case "susp:in":
		return o.under("liabilities", "suspense"+tail)
	case "recv:user":
		return o.under("assets", "receivables:users"+tail)
	case "loss:ops":
		return o.under("expenses", "losses"+tail)
	case "comp:exp":
		return o.under("expenses", "compensation"+tail)
	}
	return o.under("equity", "system:"+exact(o.name)+tail)
}

// under puts the tenant, unless it is the first, below the top of the chart.
func (o owner) under(top, rest string) string {
	if o.tenant == firstTenant {
		return top + ":" + rest
	}
	return fmt.Sprintf("%s:tenant-%d:%s", top, o.tenant, rest)
}

func side(b ledger.BookID) string {
	if b.IsHeld() {
		return ":held"
	}
	return ":available"
}

func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
}

// readable keeps what is plain of a name that people gave; an id beside it keeps
// it unique.
func readable(name string) string {
	const longest = 40
	var b strings.Builder
	gap := false
	for i := 0; i < len(name) && b.Len() < longest; i++ {
		switch {
		case !plain(name[i]):
			gap = b.Len() > 0
			continue
		case gap:
			b.WriteByte('-')
		}
		gap = false
		b.WriteByte(name[i])
	}
	if b.Len() == 0 {
		return "unnamed"
	}
	return b.String()
}

// exact writes a name so that two names never become one.
func exact(name string) string {
	var b strings.Builder
	for i := range len(name) {
		if plain(name[i]) {
			b.WriteByte(name[i])
		} else {
			fmt.Fprintf(&b, "~%02X", name[i])
		}
	}
	return b.String()
}
