package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/finance"
	"github.com/moneta-pay/moneta/pay/invariant"
	"github.com/moneta-pay/moneta/pay/ledger"
	"github.com/moneta-pay/moneta/pay/recon"
)

// bookRoutes are what people who look after the books ask.
func bookRoutes() []*route {
	day := func() *huma.Schema { return &huma.Schema{Type: huma.TypeString, Format: "date"} }
	return []*route{
		{
			method: http.MethodGet, path: "/v1/transfers", id: "list-transfers", tag: "accounts", summary: "List transfers",
			about: "Every posting of the tenant's ledger with both its ends, newest first. Only so many are looked through for one page, so that a page may be " +
				"short and have more.",
			scope: access.AccountsRead, params: append(paging("99"),
				query("as_of", "Begin with the newest that was booked by this instant, RFC 3339.", instantText()), query("asset", "Only this asset.", text())),
			answers: map[int]reflect.Type{200: of[ListOf[Transfer]]()}, faults: []fault.Code{fault.UnknownField}, do: (*call).listTransfers,
		},
		{
			method: http.MethodGet, path: "/v1/transfers/{id}", id: "get-transfer", tag: "accounts", summary: "Look at a transfer",
			about: "What left one account and reached another, with both balances after it.", scope: access.AccountsRead,
			params: []*huma.Param{pathID("id", "Its place in the ledger")}, answers: map[int]reflect.Type{200: of[Transfer]()},
			faults: []fault.Code{fault.NotFound}, do: (*call).getTransfer,
		},
		{
			method: http.MethodGet, path: "/v1/accounts/{id}/curve", id: "get-curve", tag: "accounts", summary: "See how balances moved",
			about: "Both balances at so many instants, by booking, each found without walking over the postings.", scope: access.AccountsRead,
			params: []*huma.Param{
				pathID("id", "acct_…"), param("query", "from", "First instant, RFC 3339.", true, instantText()),
				param("query", "to", "Last instant, RFC 3339.", true, instantText()),
				query("points", "How many; 2 to 240, 60 when left out.", &huma.Schema{Type: huma.TypeInteger}),
			},
			answers: map[int]reflect.Type{200: of[ListOf[CurvePoint]]()}, faults: []fault.Code{fault.NotFound, fault.UnknownField}, do: (*call).curve,
		},
		{
			method: http.MethodGet, path: "/v1/trial-balance", id: "get-trial-balance", tag: "operator", summary: "Add up the books",
			about: "Every account's balance and turnovers at an instant, by asset, debits positive; all users are one line. It reads every transfer until then.",
			scope: access.Admin, params: []*huma.Param{
				query("as_of", "What counts until this instant, included, RFC 3339; everything when left out.", instantText()),
				query("by", "Which time counts; booking when left out.", words("booking", "effective")), query("asset", "Only this asset.", text()),
			},
			answers: map[int]reflect.Type{200: of[Trial]()}, faults: []fault.Code{fault.NotFound, fault.UnknownField, fault.AssetUnknown}, do: (*call).trialBalance,
		},
		{
			method: http.MethodGet, path: "/v1/invariants", id: "get-invariants", tag: "operator", summary: "What must hold of money, and since when it was asked",
			about: "Each invariant with what was found, how far both logs are checked, and the sum of all books by asset, which is zero.", scope: access.Installation,
			answers: map[int]reflect.Type{200: of[Invariants]()}, faults: []fault.Code{fault.NotFound}, do: (*call).invariants,
		},
		{
			method: http.MethodGet, path: "/v1/recon/picture", id: "get-recon-picture", tag: "operator", summary: "Ledger, channel and bank side by side",
			about: "By channel and business day: what succeeded in the ledger, for how much of that the channel gave its word, and what its statement shows; what " +
				"matches, what is awaited, and what nobody here knows of. At most 31 days.",
			scope: access.Installation, params: []*huma.Param{
				param("query", "from", "First business day.", true, day()), param("query", "to", "Last business day, included.", true, day()),
				query("channel", "Only this channel.", text()),
			},
			answers: map[int]reflect.Type{200: of[recon.Picture]()}, faults: []fault.Code{fault.NotFound, fault.UnknownField}, do: (*call).reconPicture,
		},
		{
			method: http.MethodGet, path: "/v1/recon/ages", id: "get-break-ages", tag: "operator", summary: "Count open breaks by class and age",
			about: "Each class with its owner, severity and value.", scope: access.Installation,
			answers: map[int]reflect.Type{200: of[ListOf[recon.BreakAge]]()}, faults: []fault.Code{fault.NotFound}, do: (*call).breakAges,
		},
	}
}

// Transfer is one balanced movement with both its ends.
type Transfer struct {
	ID          int64        `json:"id" doc:"Its place in the ledger"`
	Object      string       `json:"object" enum:"transfer"`
	Payment     string       `json:"payment"`
	Kind        string       `json:"kind,omitempty" doc:"The payment's kind"`
	Amount      string       `json:"amount" doc:"Smallest units; it left debit and reached credit"`
	Asset       string       `json:"asset"`
	Debit       TransferSide `json:"debit"`
	Credit      TransferSide `json:"credit"`
	Transition  string       `json:"transition" doc:"Row of the state table that caused it" example:"T22"`
	EffectiveAt time.Time    `json:"effective_at"`
	BookedAt    time.Time    `json:"booked_at"`
}

// TransferSide is one end of a transfer.
type TransferSide struct {
	Account string `json:"account"`
	Name    string `json:"name"`
	Kind    string `json:"kind" doc:"user, house or system"`
	Book    string `json:"book" enum:"available,held"`
	Balance string `json:"balance" doc:"Of the book, after it"`
}

func showTransfer(m *ledger.Movement) Transfer {
	side := func(s *ledger.Side) TransferSide {
		return TransferSide{
			Account: pay.AccountID(s.Book.Account()).String(), Name: s.Name, Kind: s.Kind.String(), Book: bookName(s.Book), Balance: s.Balance.String(),
		}
	}
	out := Transfer{
		ID: m.ID, Object: "transfer", Payment: pay.ID(m.Payment).String(), Amount: m.Amount.String(), Asset: string(m.Asset), Debit: side(&m.Debit),
		Credit: side(&m.Credit), Transition: transitionName(m.Transition), EffectiveAt: m.EffectiveAt, BookedAt: m.BookedAt,
	}
	if m.PaymentKind != 0 {
		out.Kind = pay.Kind(m.PaymentKind).String()
	}
	return out
}

func (c *call) listTransfers() error {
	q := c.r.URL.Query()
	at, _, err := asOf(q)
	if err != nil {
		return err
	}
	query := ledger.MovementsQuery{Asset: money.Asset(q.Get("asset")), Cursor: q.Get("after")}
	if !at.IsZero() {
		query.Until = included(at)
	}
	if query.Limit, err = limit(q, ledger.PageMax-1); err != nil {
		return err
	}
	found, next, err := c.s.Ledger.Movements(c.ctx, c.who.Tenant, query)
	if err != nil {
		return err
	}
	out := ListOf[Transfer]{Object: "list", Data: make([]Transfer, len(found)), HasMore: next != "", Next: next}
	for i := range found {
		out.Data[i] = showTransfer(&found[i])
	}
	if out.HasMore {
		c.linkNext(next)
	}
	return c.reply(http.StatusOK, &out)
}

// included is the first instant behind at; rows are kept to the microsecond.
func included(at time.Time) time.Time {
	return at.Truncate(time.Microsecond).Add(time.Microsecond)
}

func (c *call) getTransfer() error {
	id, err := strconv.ParseInt(c.r.PathValue("id"), 10, 64)
	if err != nil || id <= 0 {
		return fault.New(fault.NotFound, "a transfer's id is a number")
	}
	m, err := c.s.Ledger.Movement(c.ctx, c.who.Tenant, id)
	if err != nil {
		return err
	}
	out := showTransfer(&m)
	return c.reply(http.StatusOK, &out)
}

// CurvePoint is what both books had at an instant.
type CurvePoint struct {
	At        time.Time `json:"at"`
	Available string    `json:"available"`
	Held      string    `json:"held"`
}

func (c *call) curve() error {
	id, err := c.accountID()
	if err != nil {
		return err
	}
	q := c.r.URL.Query()
	from, to, err := timeRange(q, "from", "to")
	if err != nil {
		return err
	}
	if from.IsZero() || to.IsZero() {
		return malformed("give from and to, such as 2026-01-31T12:00:00Z").WithParam("from")
	}
	points := 60
	if s := q.Get("points"); s != "" {
		if points, err = strconv.Atoi(s); err != nil || points < 2 || points > ledger.CurveMax {
			return malformed("points is 2 to 240").WithParam("points")
		}
	}
	found, err := c.s.Ledger.Curve(c.ctx, c.who.Tenant, id, from, to, points)
	if err != nil {
		return err
	}
	out := ListOf[CurvePoint]{Object: "list", Data: make([]CurvePoint, len(found))}
	for i, p := range found {
		out.Data[i] = CurvePoint{p.At, p.Available.String(), p.Held.String()}
	}
	return c.reply(http.StatusOK, &out)
}

// Trial is the trial balance of the tenant's books.
type Trial struct {
	Object string          `json:"object" enum:"trial_balance"`
	By     string          `json:"by" enum:"booking,effective"`
	AsOf   *time.Time      `json:"as_of,omitempty"`
	Lines  []finance.Line  `json:"lines"`
	Totals []finance.Total `json:"totals"`
	Sound  bool            `json:"sound" doc:"Every asset's debits equal its credits, and every book is what its rows say"`
}

func (c *call) trialBalance() error {
	if c.s.Books == nil {
		return fault.New(fault.NotFound, "this node keeps no books")
	}
	q := c.r.URL.Query()
	at, by, err := asOf(q)
	if err != nil {
		return err
	}
	scope := finance.Scope{By: by, Tenant: c.who.Tenant, Asset: money.Asset(q.Get("asset"))}
	if scope.Asset != "" {
		if _, ok := money.LookupAsset(string(scope.Asset)); !ok {
			return fault.New(fault.AssetUnknown, "").WithParam("asset")
		}
	}
	out := Trial{Object: "trial_balance", By: by.String()}
	if !at.IsZero() {
		out.AsOf, scope.Until = &at, included(at)
	}
	found, err := c.s.Books.TrialBalance(c.ctx, scope)
	switch {
	case c.ctx.Err() != nil:
		return fault.New(fault.Timeout, "the ledger is too long to be added up within one request; use moneta export trial-balance").WithMoneyState(fault.NotMoved).WithCause(err)
	case errors.Is(err, finance.ErrBroken), errors.Is(err, finance.ErrShards):
		return fault.New(fault.Internal, err.Error()).WithMoneyState(fault.NotMoved)
	case err != nil:
		return fault.New(fault.DatabaseUnavailable, "").WithCause(err)
	}
	out.Lines, out.Totals, out.Sound = found.Lines, found.Totals, found.Sound()
	if out.Totals == nil {
		out.Totals = []finance.Total{}
	}
	return c.reply(http.StatusOK, &out)
}

// Standing tells what must hold of money and whether it does. *invariant.Reader is one.
type Standing interface {
	Standing(ctx context.Context) (invariant.Standing, error)
}

// Invariants are what must hold of money.
type Invariants struct {
	Object string `json:"object" enum:"invariants"`
	invariant.Standing
	// Sums are the sums of all books by asset.
	Sums []LedgerSum `json:"sums"`
}

func (c *call) invariants() error {
	if c.s.Invariants == nil {
		return fault.New(fault.NotFound, "this node checks no invariants")
	}
	found, err := c.s.Invariants.Standing(c.ctx)
	if c.ctx.Err() != nil {
		return fault.New(fault.Timeout, "").WithMoneyState(fault.NotMoved).WithCause(err)
	}
	if err != nil {
		return fault.New(fault.DatabaseUnavailable, "").WithCause(err)
	}
	sums, err := c.s.Payments.Sums(c.ctx)
	if err != nil {
		return err
	}
	out := Invariants{Object: "invariants", Standing: found, Sums: make([]LedgerSum, len(sums))}
	for i, s := range sums {
		out.Sums[i] = LedgerSum{Asset: string(s.Asset), Sum: s.Sum.String(), Accounts: s.Accounts}
	}
	return c.reply(http.StatusOK, &out)
}

// dates reads two days.
func dates(q url.Values) (days [2]recon.Date, err error) {
	for i, name := range []string{"from", "to"} {
		if days[i], err = recon.ParseDate(q.Get(name)); err != nil {
			return days, malformed(err.Error()).WithParam(name)
		}
	}
	return days, nil
}

func (c *call) reconPicture() error {
	if c.s.Recon == nil {
		return errNoRecon
	}
	q := c.r.URL.Query()
	days, err := dates(q)
	if err != nil {
		return err
	}
	found, err := c.s.Recon.Picture(c.ctx, channel.Name(strings.TrimSpace(q.Get("channel"))), days[0], days[1])
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, &found)
}

func (c *call) breakAges() error {
	if c.s.Recon == nil {
		return errNoRecon
	}
	found, err := c.s.Recon.BreakAges(c.ctx)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, &ListOf[recon.BreakAge]{Object: "list", Data: found})
}
