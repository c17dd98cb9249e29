package api

import (
	"net/http"
	"reflect"
	"time"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/finance"
)

// PeriodClosing is the body of POST /v1/periods.
type PeriodClosing struct {
	Asset   string `json:"asset" doc:"The asset whose books are closed"`
	Through string `json:"through" format:"date" doc:"The last day that is closed, UTC; it must be over"`
}

func periodRoutes() []*route {
	return []*route{
		{
			method: http.MethodPost, path: "/v1/periods", id: "close-period", role: access.Approver, tag: "operator", summary: "Close the books",
			about: "From then on nothing of the tenant in this asset may have a value date on or before the day: what says so is refused with period-closed, " +
				"what was under way is posted in the open period. The trial balance by value date is sealed with its hash. The same again answers the same; nothing opens a period again.",
			scope: access.Admin, body: of[PeriodClosing](), answers: map[int]reflect.Type{200: of[finance.Period]()},
			faults: with(ledgerFaults, fault.NotFound, fault.PeriodClosed, fault.AssetUnknown, fault.UnknownField, fault.BodyTooLarge, fault.UnsupportedMediaType),
			do:     (*call).closePeriod,
		},
		{
			method: http.MethodGet, path: "/v1/periods", id: "list-periods", tag: "operator", summary: "List closed periods", about: "The newest first.",
			scope: access.Admin, answers: map[int]reflect.Type{200: of[ListOf[finance.Period]]()}, faults: []fault.Code{fault.NotFound}, do: (*call).periods,
		},
	}
}

func (c *call) closePeriod() error {
	if c.s.Books == nil {
		return fault.New(fault.NotFound, "this node closes no books")
	}
	body, err := c.body(bodyMax)
	if err != nil {
		return err
	}
	var asset, through string
	err = decodeObject(body, func(d *decoder, name []byte) error {
		switch string(name) {
		case "asset":
			return d.text("/asset", &asset)
		case "through":
			return d.text("/through", &through)
		}
		return unknownField(name)
	})
	if err != nil {
		return err
	}
	day, err := time.Parse(time.DateOnly, through)
	if err != nil {
		return malformed("a day is written like 2026-01-31").WithParam("/through")
	}
	done, err := c.s.Intake.ClosePeriod(c.ctx, pay.TenantID(c.who.Tenant), asset, day.AddDate(0, 0, 1), c.actor())
	if err != nil {
		return err
	}
	// It is closed by now. The seal can wait: the leader makes up for it.
	if err := c.s.Books.Seal(c.ctx); err != nil {
		c.s.Logger.WarnContext(c.ctx, "a closed period is not sealed yet", slogError(err))
	}
	all, err := c.s.Books.Periods(c.ctx, c.who.Tenant)
	if err != nil {
		return fault.New(fault.DatabaseUnavailable, "the period is closed; its record cannot be read at the moment").WithCause(err).WithMoneyState(fault.NotMoved)
	}
	for i := range all {
		if all[i].Asset == done.Period.Asset && all[i].Until.Equal(done.Period.Until) {
			return c.reply(http.StatusOK, &all[i])
		}
	}
	return fault.New(fault.Internal, "").WithOp("api.closePeriod")
}

func (c *call) periods() error {
	if c.s.Books == nil {
		return fault.New(fault.NotFound, "this node closes no books")
	}
	all, err := c.s.Books.Periods(c.ctx, c.who.Tenant)
	if c.ctx.Err() != nil {
		return fault.New(fault.Timeout, "").WithMoneyState(fault.NotMoved).WithCause(err)
	}
	if err != nil {
		return fault.New(fault.DatabaseUnavailable, "").WithCause(err)
	}
	return c.reply(http.StatusOK, &ListOf[finance.Period]{Object: "list", Data: append([]finance.Period{}, all...)})
}
