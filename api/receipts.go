package api

import (
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/receipt"
)

// Receipts: what the record said of a payment, signed, for whoever wants to prove it
// later without asking.

// receiptsMax bounds a page of receipts.
const receiptsMax = 100

var (
	typeJOSE = []string{receipt.MediaType}
	// Keys change rarely, and a new one is published before it signs: a verifier that
	// meets an unknown key asks again.
	keysFor = []string{"public, max-age=300"}
)

// receiptsOf returns all of a payment, oldest first.
func (c *call) receiptsOf(tenant pay.TenantID, id pay.ID) ([]receipt.Receipt, error) {
	if c.s.Receipts == nil {
		return nil, fault.New(fault.NotFound, "this installation signs no receipts; set receipts_key_file").WithOp("api.receiptsOf")
	}
	return c.s.Receipts.Of(c.ctx, tenant, id)
}

// listReceipts answers with a page, the newest first.
func (c *call) listReceipts() error {
	id, err := c.paymentID()
	if err != nil {
		return err
	}
	q := c.r.URL.Query()
	n, err := limit(q, receiptsMax)
	if err != nil {
		return err
	}
	all, err := c.receiptsOf(pay.TenantID(c.who.Tenant), id)
	if err != nil {
		return err
	}
	slices.Reverse(all)
	if after := q.Get("after"); after != "" {
		at := slices.IndexFunc(all, func(r receipt.Receipt) bool { return r.ID == after })
		if at < 0 {
			return malformed("after is the next of the page before").WithParam("after")
		}
		all = all[at+1:]
	}
	out := ListOf[receipt.Receipt]{Object: "list", Data: all[:min(n, len(all))], HasMore: len(all) > n}
	if out.HasMore {
		out.Next = out.Data[n-1].ID
		c.linkNext(out.Next)
	}
	return c.reply(http.StatusOK, &out)
}

// getReceipt answers with one, the newest if none is named.
func (c *call) getReceipt() error {
	id, err := c.paymentID()
	if err != nil {
		return err
	}
	return c.receipt(pay.TenantID(c.who.Tenant), id)
}

// linkReceipt is the same for whoever has a link to the payment's page.
func (c *call) linkReceipt() error {
	k, err := c.link(linkReads, "reads")
	if err != nil {
		return err
	}
	p, err := c.s.Payments.Payment(c.ctx, pay.TenantID(k.Tenant), pay.ID(k.Payment))
	if err != nil {
		return err
	}
	if _, err := c.ends(&p); err != nil {
		return err
	}
	c.w.Header().Set("X-Robots-Tag", "noindex, nofollow")
	return c.receipt(p.Tenant, p.ID)
}

func (c *call) receipt(tenant pay.TenantID, id pay.ID) error {
	q := c.r.URL.Query()
	bare, err := c.wantsJWS(q)
	if err != nil {
		return err
	}
	all, err := c.receiptsOf(tenant, id)
	if err != nil {
		return err
	}
	r, err := receipt.Find(all, q.Get("event"))
	if err != nil {
		return err
	}
	if !bare {
		return c.reply(http.StatusOK, &r)
	}
	c.buf.Reset()
	c.buf.WriteString(r.JWS)
	c.w.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="receipt-%s-%s.jws"`, r.Payment, r.ID))
	c.write(http.StatusOK, typeJOSE)
	return nil
}

// wantsJWS reads the parameter format, or else Accept.
func (c *call) wantsJWS(q url.Values) (bool, error) {
	switch q.Get("format") {
	case "jws":
		return true, nil
	case "json":
		return false, nil
	case "":
		return strings.HasPrefix(c.r.Header.Get("Accept"), receipt.MediaType), nil
	}
	return false, malformed("format is json or jws").WithParam("format")
}

// receiptKeys publishes the keys of a node that may sign; it needs no key, and once it
// was admitted no database.
func (c *call) receiptKeys() error {
	if c.s.Receipts == nil {
		return fault.New(fault.NotFound, "this installation signs no receipts; set receipts_key_file").WithOp("api.receiptKeys")
	}
	set, err := c.s.Receipts.Published(c.ctx)
	if err != nil {
		return err
	}
	c.w.Header()["Cache-Control"] = keysFor
	c.w.Header()["Access-Control-Allow-Origin"] = []string{"*"} // a page of anybody's may verify
	return c.reply(http.StatusOK, &set)
}

func receiptRoutes() []*route {
	id := pathID("id", "pay_…")
	one := []*huma.Param{
		query("event", "The receipt that rests on this event; the newest one when it is left out.", text()),
		query("format", "json, or jws: the receipt alone, as a file to keep; wins over Accept.", words("json", "jws")),
	}
	const about = "What the record says of the payment, signed: of two receipts of a payment, the one with the later event holds. It proves that Moneta said this at that time, " +
		"to anybody who has the public key, and needs nobody's answer any more. The same transition gives the same document for ever."
	return []*route{
		{
			method: http.MethodGet, path: "/v1/payments/{id}/receipts", id: "list-receipts", tag: "payments", summary: "List a payment's receipts",
			about: "Newest first: one for each committed transition that changed the payment's state, or what linked payments made of it (refunded, returned, charged back, " +
				"executed after all).",
			scope: access.PaymentsRead, params: append(paging("100"), id), answers: map[int]reflect.Type{200: of[ListOf[receipt.Receipt]]()},
			faults: []fault.Code{fault.NotFound, fault.UnknownField, fault.ReceiptsUnavailable}, do: (*call).listReceipts,
		},
		{
			method: http.MethodGet, path: "/v1/payments/{id}/receipt", id: "get-receipt", tag: "payments", summary: "Get a payment's receipt", about: about,
			scope: access.PaymentsRead, params: append([]*huma.Param{id}, one...), answers: map[int]reflect.Type{200: of[receipt.Receipt]()}, media: []string{receipt.MediaType},
			faults: []fault.Code{fault.NotFound, fault.UnknownField, fault.ReceiptsUnavailable}, do: (*call).getReceipt,
		},
		{
			method: http.MethodGet, path: "/v1/links/{token}/receipt", id: "link-receipt", tag: "links", summary: "Get the receipt, by a link",
			about:  "As with a key, for the holder of the link.",
			params: append([]*huma.Param{pathID("token", "The link's token")}, one...), answers: map[int]reflect.Type{200: of[receipt.Receipt]()}, media: []string{receipt.MediaType},
			faults: []fault.Code{fault.NotFound, fault.UnknownField, fault.ReceiptsUnavailable}, do: (*call).linkReceipt,
		},
		{
			method: http.MethodGet, path: "/v1/receipt-keys", id: "get-receipt-keys", tag: "payments", summary: "Get the keys that receipts are verified with",
			about: "A JWK set (RFC 7517), the key that signs now first, then those that signed before. No key is needed. Save it before you need it: who verifies with " +
				"keys that came with the receipt has proven nothing.",
			answers: map[int]reflect.Type{200: of[receipt.KeySet]()}, faults: []fault.Code{fault.NotFound, fault.ReceiptsUnavailable}, do: (*call).receiptKeys,
		},
	}
}
