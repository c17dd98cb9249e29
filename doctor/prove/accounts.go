package prove

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/money"
)

// Kinds of accounts, as the column has them.
const (
	userAccount   = 1
	systemAccount = 3
)

// accounts holds what the rows say of every account, side by side: about 120 bytes
// each. An account owns two books: its id is the available one, the next the held one.
type accounts struct {
	ids    []int64
	kind   []uint8
	asset  []uint16
	tenant []int32
	runs   []run
	names  map[int64]string // of system accounts
	assets []string
	byName map[string]uint16
	books  []book // two for each account
	totals []total
}

// run is a stretch of consecutive account ids: ids have hardly any gaps.
type run struct {
	first, last int64
	at          int
}

// book is how far one book was recounted.
type book struct {
	recorded, recounted money.Amount
	debits, credits     int64
}

// total is one asset's part.
type total struct {
	accounts, transfers         int64
	moved, sum, held, out, into money.Amount
}

// find returns an account's place.
func (a *accounts) find(id int64) (int, bool) {
	id &^= 1
	i, _ := slices.BinarySearchFunc(a.runs, id, func(r run, id int64) int {
		switch {
		case r.last < id:
			return -1
		case r.first > id:
			return 1
		}
		return 0
	})
	if i >= len(a.runs) || id < a.runs[i].first || id > a.runs[i].last {
		return 0, false
	}
	return a.runs[i].at + int(id-a.runs[i].first)/2, true
}

func (a *accounts) assetIndex(name string) uint16 {
	i, ok := a.byName[name]
	if !ok {
		i = uint16(len(a.assets))
		a.byName[name] = i
		a.assets = append(a.assets, name)
		a.totals = append(a.totals, total{})
	}
	return i
}

func (p *prover) readAccounts(ctx context.Context) error {
	a := &p.accounts
	a.names, a.byName = map[int64]string{}, map[string]uint16{}
	ids := p.newIDs("accounts", 2, true)
	for after := int64(0); ; {
		n := 0
		err := p.rows(ctx, `select id, tenant, kind, asset, name, floor, frozen, frozen_all, created_at from accounts where id > $1 order by id limit $2`,
			p.digest("accounts"), func(r *row) {
				n++
				after = r.int(0)
				ids.next(after, "")
				if k := len(a.runs) - 1; k >= 0 && a.runs[k].last+2 == after {
					a.runs[k].last = after
				} else {
					a.runs = append(a.runs, run{after, after, len(a.ids)})
				}
				asset := a.assetIndex(r.text(3))
				a.totals[asset].accounts++
				a.ids, a.tenant = append(a.ids, after), append(a.tenant, int32(r.int(1)))
				a.kind, a.asset = append(a.kind, uint8(r.int(2))), append(a.asset, asset)
				if r.int(2) == systemAccount {
					a.names[after] = r.text(4)
				}
			}, after, logPage)
		if err != nil {
			return fmt.Errorf("read the accounts: %w", err)
		}
		if n < logPage {
			break
		}
	}
	a.books = make([]book, 2*len(a.ids))
	return nil
}

// bookName is a book in words.
func (p *prover) bookName(id int64) string {
	what := "available"
	if id&1 == 1 {
		what = "held"
	}
	name := "acct_" + digits32(id&^1)
	if n := p.accounts.names[id&^1]; n != "" {
		name = n
	}
	return fmt.Sprintf("book %d (%s of %s)", id, what, name)
}

// closeBooks compares what each book says with what was added up, and the house's
// books with what the payments say that they hold.
func (p *prover) closeBooks(context.Context) error {
	a := &p.accounts
	system := map[bookKey]money.Amount{}
	for i, id := range a.ids {
		t := &a.totals[a.asset[i]]
		asset := a.assets[a.asset[i]]
		for side := range int64(2) {
			b := &a.books[2*i+int(side)]
			p.asked(checkBalances, 1)
			if b.recorded != b.recounted {
				p.find(checkBalances, 0, time.Time{}, p.bookName(id+side), fmt.Sprintf("its newest row says %s, its postings sum to %s", b.recorded, b.recounted))
			}
			t.sum = p.add(t.sum, b.recorded)
			if side == 1 {
				t.held = p.add(t.held, b.recorded)
			}
		}
		name := a.names[id]
		b := &a.books[2*i]
		switch {
		case strings.HasPrefix(name, "clr:") && strings.HasSuffix(name, ":out"):
			t.out = p.add(t.out, b.recorded)
		case strings.HasPrefix(name, "clr:") && strings.HasSuffix(name, ":in"):
			t.into = p.add(t.into, b.recorded)
		}
		if onItsWay(name) {
			system[bookKey{int64(a.tenant[i]), asset, name}] = b.recorded
		}
	}
	for i, name := range a.assets {
		t := &a.totals[i]
		p.asked(checkSums, 1)
		if !t.sum.IsZero() {
			p.find(checkSums, 0, time.Time{}, "asset "+name, "all books sum to "+t.sum.String())
		}
		p.asked(checkHolds, 1)
		if want := p.held[name]; want != t.held {
			p.find(checkHolds, 0, time.Time{}, "asset "+name, fmt.Sprintf("held books sum to %s, open payments reserve %s", t.held, want))
		}
		p.out.Assets = append(p.out.Assets, Asset{
			Asset: name, Accounts: t.accounts, Transfers: t.transfers, Moved: t.moved.String(), Sum: t.sum.String(),
			Held: t.held.String(), ClearingOut: t.out.String(), ClearingIn: t.into.String(),
		})
	}
	slices.SortFunc(p.out.Assets, func(a, b Asset) int { return strings.Compare(a.Asset, b.Asset) })
	p.out.Assets = append([]Asset{}, p.out.Assets...)
	for k, has := range system {
		p.asked(checkClearing, 1)
		if want := p.owed[k]; want != has {
			p.find(checkClearing, 0, time.Time{}, k.name+" in "+k.asset, fmt.Sprintf("it has %s, the open payments account for %s", has, want))
		}
		delete(p.owed, k)
	}
	for k, want := range p.owed {
		if !want.IsZero() {
			p.find(checkClearing, 0, time.Time{}, k.name+" in "+k.asset, fmt.Sprintf("there is no such account, and open payments account for %s", want))
		}
	}
	return nil
}

// onItsWay reports whether a house account must run to zero: what it has belongs to
// payments that are not done.
func onItsWay(name string) bool {
	return strings.HasPrefix(name, "clr:") || name == "recv:user" || name == "susp:in"
}
