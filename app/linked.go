package app

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/desk"
	"github.com/moneta-pay/moneta/pay/recon"
)

type breakReader interface {
	Break(ctx context.Context, id int64) (recon.Break, error)
}

type caseReader interface {
	Get(ctx context.Context, reach desk.Reach, n desk.Number) (desk.Case, error)
}

// linkedTo refuses a compensation that names a break or a case that is not there: a slip
// of the hand would leave money of ours without its reason. Incidents are the doctor's,
// whose journal the pay plane does not read, so their names are taken as they come; a
// payment is looked up where it is compensated.
func linkedTo(breaks breakReader, cases caseReader) func(context.Context, pay.TenantID, string) error {
	return func(ctx context.Context, tenant pay.TenantID, link string) error {
		no := func(why string) error { return fault.New(fault.MalformedRequest, why).WithParam("/link") }
		if text, ok := strings.CutPrefix(link, "break "); ok {
			id, err := strconv.ParseInt(text, 10, 64)
			if err != nil || id <= 0 || strconv.FormatInt(id, 10) != text { // one way to write it: approvals are found by it
				return no("name a break by its number, such as break 12")
			}
			if _, err = breaks.Break(ctx, id); errors.Is(err, fault.NotFound) {
				return no("there is no break " + text)
			}
			return err
		}
		text, named := strings.CutPrefix(link, "case ")
		n, ok := desk.ParseNumber(text)
		switch {
		case named && !ok:
			return no("name a case by its number, such as case C-2026-000123")
		case !ok:
			return nil
		}
		_, err := cases.Get(ctx, desk.Reach{Tenant: tenant, Unclaimed: true}, n)
		if errors.Is(err, fault.NotFound) {
			return no("there is no case " + text)
		}
		return err
	}
}
