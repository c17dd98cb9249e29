package api

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/intake"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// NewAccount is the body of POST /v1/accounts.
type NewAccount struct {
	Asset string `json:"asset" doc:"Code of the asset, upper case" example:"CZK"`
	Name  string `json:"name,omitempty" doc:"Yours to use" maxLength:"200"`
	Kind  string `json:"kind,omitempty" enum:"user,house" default:"user" doc:"A house account has no floor; it needs an admin key"`
	Floor string `json:"floor,omitempty" doc:"Lowest available balance in smallest units, zero or below" default:"0" example:"-534360"`
}

// NewFloor is the body of POST /v1/accounts/{id}/floor.
type NewFloor struct {
	Floor string `json:"floor" doc:"Lowest available balance in smallest units, zero or below" example:"-534360"`
}

// Account is an account as the API shows it.
type Account struct {
	ID        string    `json:"id" example:"acct_0000000000002"`
	Object    string    `json:"object" enum:"account"`
	Asset     string    `json:"asset"`
	Name      string    `json:"name"`
	Kind      string    `json:"kind" doc:"user, house or system"`
	Floor     string    `json:"floor,omitempty" doc:"Lowest available balance in smallest units; left out when there is none"`
	Status    string    `json:"status" doc:"active or frozen"`
	Frozen    *Frozen   `json:"frozen,omitempty" doc:"Left out while nothing is refused"`
	CreatedAt time.Time `json:"created_at"`
	Balances  *Stand    `json:"balances,omitempty" doc:"Only in lists that were asked for them"`
}

// Stand is what an account has, or had, by booking.
type Stand struct {
	Available string     `json:"available"`
	Held      string     `json:"held"`
	AsOf      *time.Time `json:"as_of,omitempty" doc:"Left out: now"`
}

func showAccount(a *ledger.Account) Account {
	out := Account{
		ID: pay.AccountID(a.ID).String(), Object: "account", Asset: string(a.Asset), Name: a.Name, Kind: a.Kind.String(),
		Status: "active", CreatedAt: a.CreatedAt.UTC(),
	}
	if !a.Unlimited {
		out.Floor = a.Floor.String()
	}
	if a.Frozen {
		out.Status, out.Frozen = "frozen", &Frozen{Refuses: refusesDebits, Reason: a.FreezeReason}
		if a.FrozenAll {
			out.Frozen.Refuses = refusesAll
		}
	}
	return out
}

// Frozen says what a frozen account refuses, and why.
type Frozen struct {
	Refuses string `json:"refuses" enum:"debits,all"`
	Reason  string `json:"reason"`
}

const (
	refusesDebits = "debits"
	refusesAll    = "all"
)

// NewFreeze is the body of POST /v1/accounts/{id}/freeze.
type NewFreeze struct {
	Refuses string `json:"refuses,omitempty" enum:"debits,all" default:"debits" doc:"debits: it goes on receiving and does not pay; all: it takes part in nothing new"`
	Reason  string `json:"reason" doc:"Why; kept with the change, and shown with the account" minLength:"1" maxLength:"500" example:"court order 12/2026"`
}

// Thaw is the body of POST /v1/accounts/{id}/thaw.
type Thaw struct {
	Reason string `json:"reason" doc:"Why; kept with the change" minLength:"1" maxLength:"500"`
}

func (c *call) openAccount() error {
	r := intake.OpenRequest{Tenant: pay.TenantID(c.who.Tenant), House: c.who.May(access.Admin)}
	var err error
	if r.Key, err = c.idempotencyKey(); err != nil {
		return err
	}
	body, err := c.body(bodyMax)
	if err != nil {
		return err
	}
	err = decodeObject(body, func(d *decoder, name []byte) error {
		switch string(name) {
		case "asset":
			return d.text("/asset", &r.Asset)
		case "name":
			return d.text("/name", &r.Name)
		case "kind":
			return d.text("/kind", &r.Kind)
		case "floor":
			return d.text("/floor", &r.Floor)
		}
		return unknownField(name)
	})
	if err != nil {
		return err
	}
	if strings.HasPrefix(r.Floor, "-") {
		if err := c.alone(c.who.Tenant, "set_floor, after opening it with no floor"); err != nil {
			return err
		}
	}
	res, err := c.s.Intake.OpenAccount(c.ctx, &r)
	if err != nil {
		return err
	}
	out := showAccount(&res.Account)
	c.w.Header()["Location"] = []string{"/v1/accounts/" + out.ID}
	if res.Replayed {
		c.w.Header()["Idempotency-Replayed"] = yes
		return c.reply(http.StatusOK, &out)
	}
	return c.reply(http.StatusCreated, &out)
}

// accountID reads the path; nonsense, a book's number too, names no account.
func (c *call) accountID() (ledger.AccountID, error) {
	id, err := intake.ParseAccount(c.r.PathValue("id"))
	if err != nil {
		return 0, fault.New(fault.NotFound, "this is not the id of an account")
	}
	return id, nil
}

func (c *call) getAccount() error {
	id, err := c.accountID()
	if err != nil {
		return err
	}
	a, err := c.s.Ledger.Account(c.ctx, c.who.Tenant, id)
	if err != nil {
		return err
	}
	out := showAccount(&a)
	return c.reply(http.StatusOK, &out)
}

func (c *call) listAccounts() error {
	q := c.r.URL.Query()
	n, err := limit(q, ledger.PageMax-1)
	if err != nil {
		return err
	}
	var after ledger.AccountID
	if s := q.Get("after"); s != "" {
		if after, err = intake.ParseAccount(s); err != nil {
			return malformed("the cursor is not one that this list gave out").WithParam("after")
		}
	}
	query := ledger.AccountsQuery{After: after, Limit: n, Asset: money.Asset(q.Get("asset")), Name: strings.TrimSpace(q.Get("name"))}
	if len(query.Name) > 100 || !utf8.ValidString(query.Name) || strings.ContainsRune(query.Name, 0) {
		return malformed("give at most 100 bytes of the name").WithParam("name")
	}
	var ok bool
	if query.Kind, ok = accountKinds[q.Get("kind")]; !ok {
		return malformed("kind is user, house or system").WithParam("kind")
	}
	found, next, err := c.s.Ledger.FindAccounts(c.ctx, c.who.Tenant, query)
	if err != nil {
		return err
	}
	out := ListOf[Account]{Object: "list", HasMore: next != 0, Data: make([]Account, len(found))}
	for i := range found {
		out.Data[i] = showAccount(&found[i])
	}
	if s := q.Get("balances"); s != "" {
		if err := c.addStands(out.Data, found, s); err != nil {
			return err
		}
	}
	if out.HasMore {
		out.Next = pay.AccountID(next).String()
		c.linkNext(out.Next)
	}
	return c.reply(http.StatusOK, &out)
}

var accountKinds = map[string]ledger.Kind{"": 0, "user": ledger.User, "house": ledger.House, "system": ledger.System}

// addStands tells of each account what it has.
func (c *call) addStands(shown []Account, found []ledger.Account, when string) error {
	var at *time.Time
	var instant time.Time
	if when != "now" {
		var err error
		if instant, err = time.Parse(time.RFC3339, when); err != nil {
			return malformed("balances is now or a time such as 2026-01-31T12:00:00Z").WithParam("balances")
		}
		at = &instant
	}
	ids := make([]ledger.AccountID, len(found))
	for i := range found {
		ids[i] = found[i].ID
	}
	stands, err := c.s.Ledger.Stand(c.ctx, ids, instant)
	if err != nil {
		return err
	}
	for i := range shown {
		p := stands[found[i].ID]
		shown[i].Balances = &Stand{Available: p.Available.String(), Held: p.Held.String(), AsOf: at}
	}
	return nil
}

// Balances is where an account's money stands.
type Balances struct {
	Object    string    `json:"object" enum:"balances"`
	Account   string    `json:"account"`
	Asset     string    `json:"asset"`
	Available string    `json:"available" doc:"What the holder may spend, down to the floor"`
	Held      string    `json:"held" doc:"Reserved for payments that have not left"`
	OnTheWay  string    `json:"on_the_way" doc:"Payouts that have left for a channel and are not final"`
	AsOf      time.Time `json:"as_of"`
	By        string    `json:"by" enum:"booking,effective"`
}

func (c *call) balances() error {
	id, err := c.accountID()
	if err != nil {
		return err
	}
	asOf, by, err := asOf(c.r.URL.Query())
	if err != nil {
		return err
	}
	b, err := c.s.Ledger.Balances(c.ctx, c.who.Tenant, id, asOf, by)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, &Balances{
		Object: "balances", Account: pay.AccountID(b.Account).String(), Asset: string(b.Asset), Available: b.Available.String(),
		Held: b.Held.String(), OnTheWay: b.OnTheWay.String(), AsOf: b.AsOf, By: b.By.String(),
	})
}

func asOf(q url.Values) (at time.Time, by ledger.By, err error) {
	by, ok := ledger.ParseBy(q.Get("by"))
	if !ok {
		return at, by, malformed("by is booking or effective").WithParam("by")
	}
	if s := q.Get("as_of"); s != "" {
		if at, err = time.Parse(time.RFC3339, s); err != nil {
			return at, by, malformed("a time looks like 2026-01-31T12:00:00Z").WithParam("as_of")
		}
	}
	return at, by, nil
}

// Explanation holds each book's balance against the sum of its postings.
type Explanation struct {
	Object    string            `json:"object" enum:"explanation"`
	Account   string            `json:"account"`
	Books     []BookExplanation `json:"books"`
	Explained bool              `json:"explained" doc:"Every balance is the sum of its postings"`
}

// BookExplanation is one book counted again.
type BookExplanation struct {
	Book     string `json:"book" enum:"available,held"`
	Postings int64  `json:"postings"`
	Sum      string `json:"sum" doc:"Of all postings, counted now"`
	Balance  string `json:"balance" doc:"Carried by the newest posting"`
}

func (c *call) explain() error {
	id, err := c.accountID()
	if err != nil {
		return err
	}
	if _, err := c.s.Ledger.Account(c.ctx, c.who.Tenant, id); err != nil {
		return err
	}
	books, err := c.s.Ledger.Explain(c.ctx, id)
	if err != nil {
		return err
	}
	out := Explanation{Object: "explanation", Account: pay.AccountID(id).String(), Explained: true}
	for i, name := range [...]string{"available", "held"} {
		e := books[i]
		out.Explained = out.Explained && e.Explained()
		out.Books = append(out.Books, BookExplanation{Book: name, Postings: e.Postings, Sum: e.Sum.String(), Balance: e.Balance.String()})
	}
	return c.reply(http.StatusOK, &out)
}

func (c *call) freeze() error { return c.setFrozen(true) }
func (c *call) thaw() error   { return c.setFrozen(false) }

func (c *call) setFrozen(frozen bool) error {
	id, err := c.accountID()
	if err != nil {
		return err
	}
	if !frozen {
		if err := c.alone(c.who.Tenant, "thaw_account"); err != nil {
			return err
		}
	}
	body, err := c.body(bodyMax)
	if err != nil {
		return err
	}
	f := intake.Freeze{Debits: frozen, By: c.who.Name()}
	var refuses string
	err = decodeObject(body, func(d *decoder, name []byte) error {
		switch {
		case string(name) == "reason":
			return d.text("/reason", &f.Reason)
		case string(name) == "refuses" && frozen:
			return d.text("/refuses", &refuses)
		}
		return unknownField(name)
	})
	if err != nil {
		return err
	}
	switch refuses {
	case "", refusesDebits:
	case refusesAll:
		f.All = true
	default:
		return malformed("refuses is debits or all").WithParam("/refuses")
	}
	res, err := c.s.Intake.Freeze(c.ctx, pay.TenantID(c.who.Tenant), id, f, pay.Key{})
	return c.replyAccount(&res, err)
}

func (c *call) setFloor() error {
	id, err := c.accountID()
	if err != nil {
		return err
	}
	body, err := c.body(bodyMax)
	if err != nil {
		return err
	}
	var floor string
	err = decodeObject(body, func(d *decoder, name []byte) error {
		if string(name) != "floor" {
			return unknownField(name)
		}
		return d.text("/floor", &floor)
	})
	if err != nil {
		return err
	}
	if floor == "" {
		return malformed("the floor is missing").WithParam("/floor")
	}
	if strings.HasPrefix(floor, "-") { // credit; what is no floor at all is refused below
		if err := c.alone(c.who.Tenant, "set_floor"); err != nil {
			return err
		}
	}
	res, err := c.s.Intake.SetFloor(c.ctx, pay.TenantID(c.who.Tenant), id, floor, c.who.Name(), pay.Key{})
	return c.replyAccount(&res, err)
}

// replyAccount answers for an account named in the path: one that does not exist
// is a path that leads nowhere.
func (c *call) replyAccount(res *commit.Result, err error) error {
	if errors.Is(err, fault.AccountNotFound) {
		return fault.New(fault.NotFound, "").WithResource(c.r.PathValue("id")).WithCause(err)
	}
	if err != nil {
		return err
	}
	out := showAccount(&res.Account)
	return c.reply(http.StatusOK, &out)
}
