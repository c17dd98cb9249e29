package api

import (
	"net/http"
	"reflect"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/event"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay/recon"
	"github.com/moneta-pay/moneta/pay/status"
)

// route is one operation: what the mux, the checks and the document need of it.
type route struct {
	method, path string
	id, summary  string
	about        string
	tag          string
	// scope that a key needs; empty for routes that no key may use.
	scope access.Scope
	// role that a person needs; empty for routes that no person may use. One that
	// only reads is every viewer's.
	role    access.Role
	params  []*huma.Param
	body    reflect.Type
	answers map[int]reflect.Type
	// media are the media types of a 200 that is not, or not only, JSON.
	media []string
	// upload says that the body is a file as it is.
	upload bool
	// stream says that the answer lasts until its reader has enough.
	stream bool
	// faults are codes of this route beyond those that every route may answer with.
	faults []fault.Code
	do     func(*call) error
	// class is what the key's limits count the route as.
	class  access.Class
	counts *routeCounts
}

func (rt *route) pattern() string { return rt.method + " " + rt.path }

func (rt *route) hasQuery(name string) bool {
	for _, p := range rt.params {
		if p.In == "query" && p.Name == name {
			return true
		}
	}
	return false
}

func of[T any]() reflect.Type { return reflect.TypeFor[T]() }

func param(in, name, about string, required bool, schema *huma.Schema) *huma.Param {
	return &huma.Param{Name: name, In: in, Description: about, Required: required, Schema: schema}
}

func text() *huma.Schema { return &huma.Schema{Type: huma.TypeString} }

func instantText() *huma.Schema { return &huma.Schema{Type: huma.TypeString, Format: "date-time"} }

func words(w ...any) *huma.Schema { return &huma.Schema{Type: huma.TypeString, Enum: w} }

func query(name, about string, schema *huma.Schema) *huma.Param {
	return param("query", name, about, false, schema)
}

func pathID(name, about string) *huma.Param { return param("path", name, about, true, text()) }

func keyHeader() *huma.Param {
	longest := 255
	return param("header", "Idempotency-Key", idempotencyText, true, &huma.Schema{Type: huma.TypeString, MaxLength: &longest})
}

const idempotencyText = "1 to 255 printable ASCII characters, bare or as a quoted structured-field string. One key is one intended payment, " +
	"for the life of the ledger, within a tenant and the holder's account. The same key with the same payload answers with the payment " +
	"as it is now (200, Idempotency-Replayed: true); with another payload 422 idempotency-key-reused, naming the resource. A duplicate " +
	"while the first is under way waits for it. A refusal by the ledger (insufficient-funds and the like) is kept with the key; a " +
	"request refused before it does not use the key up, and a 5xx is never kept."

func prefer() *huma.Param {
	return param("header", "Prefer", "wait=N: answer when the payment is final or N seconds have passed, at most 60.", false, text())
}

func paging(most string) []*huma.Param {
	lowest := 1.0
	return []*huma.Param{
		query("limit", "Most items of the page; at most "+most+".", &huma.Schema{Type: huma.TypeInteger, Minimum: &lowest}),
		query("after", "The next of the page before.", text()),
	}
}

// The faults that come from the ledger and its leader.
var ledgerFaults = []fault.Code{
	fault.NotLeader, fault.CommitUnknown, fault.DatabaseUnsafe, fault.ReadOnly, fault.PaymentQuarantined,
}

var payFaults = append([]fault.Code{
	fault.UnknownField, fault.IdempotencyKeyMissing, fault.IdempotencyKeyInvalid, fault.IdempotencyKeyReused, fault.IdempotencyInFlight,
	fault.BodyTooLarge, fault.UnsupportedMediaType, fault.InsufficientFunds, fault.AccountNotFound, fault.AccountFrozen, fault.AccountClosed,
	fault.IntakePaused, fault.AssetMismatch, fault.AssetUnknown, fault.AmountInvalid, fault.ChannelUnknown, fault.SameAccount, fault.HouseAccountForbidden,
	fault.NotFound, fault.AmountExceedsRemaining, fault.AlreadyFinal, fault.IllegalTransition,
}, ledgerFaults...)

var openFaults = append([]fault.Code{
	fault.ApprovalRequired,
	fault.UnknownField, fault.IdempotencyKeyMissing, fault.IdempotencyKeyInvalid, fault.IdempotencyKeyReused,
	fault.BodyTooLarge, fault.UnsupportedMediaType, fault.AssetUnknown, fault.FloorInvalid, fault.HouseAccountForbidden,
}, ledgerFaults...)

func with(some []fault.Code, more ...fault.Code) []fault.Code { return append(more, some...) }

// routes is the whole API.
func routes() []*route {
	all := paymentRoutes()
	all = append(all, pageRoutes()...)
	all = append(all, receiptRoutes()...)
	all = append(all, eventRoutes()...)
	all = append(all, webhookRoutes()...)
	all = append(all, accountRoutes()...)
	all = append(all, keyRoutes()...)
	all = append(all, requestRoutes()...)
	all = append(all, reconRoutes()...)
	all = append(all, periodRoutes()...)
	all = append(all, bookRoutes()...)
	all = append(all, caseRoutes()...)
	all = append(all, operatorRoutes()...)
	all = append(all, resolveRoutes()...)
	all = append(all, peopleRoutes()...)
	all = append(all, leverRoutes()...)
	all = append(all, backlogRoutes()...)
	all = append(all, flightRoutes()...)
	for _, rt := range all {
		if rt.role == "" && rt.scope != "" && rt.method == http.MethodGet {
			rt.role = access.Viewer
		}
		if rt.mayBeRefused() && !slices.Contains(rt.faults, fault.ReadOnly) {
			rt.faults = append(slices.Clone(rt.faults), fault.ReadOnly)
		}
	}
	return all
}

func paymentRoutes() []*route {
	id := pathID("id", "pay_…")
	return []*route{
		{
			method: http.MethodPost, path: "/v1/payments", id: "create-payment", tag: "payments", summary: "Pay",
			about: "Answers when the payment is durable: a send is then final, a payout is on its way, a deposit waits for the channel's word, and a hold for its holder. " +
				"A refund answers when the money is taken from the account that the deposit credited, and goes out like a payout; if that fails, the " +
				"money is back and can be refunded again. After a lost answer send the same request with the same key.",
			scope: access.PaymentsWrite, params: []*huma.Param{keyHeader(), prefer()}, body: of[NewPayment](),
			answers: map[int]reflect.Type{201: of[Payment](), 200: of[Payment]()}, faults: payFaults, do: (*call).pay,
		},
		{
			method: http.MethodPost, path: "/v1/payments/batch", id: "create-payments", tag: "payments", summary: "Pay many",
			about: "Up to 1000 payments, each with its own key and its own answer, in the order of the request. A body that cannot be read is refused as a whole.",
			scope: access.PaymentsWrite, body: of[Batch](), answers: map[int]reflect.Type{200: of[ListOf[BatchAnswer]]()},
			faults: []fault.Code{fault.UnknownField, fault.BodyTooLarge, fault.UnsupportedMediaType}, do: (*call).payBatch,
		},
		{
			method: http.MethodGet, path: "/v1/payments", id: "list-payments", tag: "payments", summary: "Find payments",
			about: "Newest first. With idempotency_key: did my payment go through? Only so many payments are looked through for one page; " +
				"has_more tells whether to go on.",
			scope: access.PaymentsRead,
			params: append(paging("100"),
				query("idempotency_key", "Payments that were made with this key.", text()),
				query("reference", "The payment with this reference: the short one of its status, as people type it, or the one at the channel. "+
					"Not together with other parameters.", text()),
				query("kind", "Only this kind.", words("send", "payout", "deposit", "hold", "capture", "refund", "late_payout", "late_deposit", "return", "inbound",
					"assignment", "chargeback", "compensation")),
				query("channel", "Only this channel.", text()),
				query("account", "Only payments from or to this account.", text()),
				query("state", "Only payments in this state now. Open states, failed, cancelled and expired are found at once; succeeded is looked for.", text()),
				query("status", "Only payments with this status now.", words("processing", "succeeded", "failed")),
				query("created_from", "Only payments accepted from this instant on, RFC 3339.", instantText()),
				query("created_to", "Only payments accepted before this instant, RFC 3339.", instantText())),
			answers: map[int]reflect.Type{200: of[ListOf[Payment]]()}, faults: []fault.Code{fault.UnknownField, fault.IdempotencyKeyInvalid},
			do: (*call).listPayments,
		},
		{
			method: http.MethodGet, path: "/v1/payments/{id}", id: "get-payment", tag: "payments", summary: "Look at a payment",
			scope: access.PaymentsRead, params: []*huma.Param{id, prefer()}, answers: map[int]reflect.Type{200: of[Payment]()},
			faults: []fault.Code{fault.NotFound}, do: (*call).getPayment,
		},
		{
			method: http.MethodGet, path: "/v1/payments/{id}/status", id: "get-status", tag: "payments", summary: "Tell the holder how a payment stands",
			about: "What to show the person whose payment it is: where the money is, whether that is proven, when to expect what, and the words for it. " +
				"Computed from one snapshot of the primary, on any node. The forecast comes from the last payments of the kind on the channel; eta.basis " +
				"says when there are too few of them and only the rail's own bound is known.",
			scope: access.PaymentsRead, params: []*huma.Param{
				id, query("lang", "Language of the texts; wins over Accept-Language.", words("en", "zh")),
				param("header", "Accept-Language", "en or zh; en when neither is asked for.", false, text()),
			},
			answers: map[int]reflect.Type{200: of[status.Status]()}, faults: []fault.Code{fault.NotFound, fault.UnknownField}, do: (*call).paymentStatus,
		},
		{
			method: http.MethodGet, path: "/v1/payments/{id}/timeline", id: "get-timeline", tag: "payments", summary: "Explain a payment",
			about: "Every transition with its postings, every attempt, from one snapshot.", scope: access.PaymentsRead,
			params: []*huma.Param{id}, answers: map[int]reflect.Type{200: of[Timeline]()}, faults: []fault.Code{fault.NotFound}, do: (*call).timeline,
		},
		{
			method: http.MethodPost, path: "/v1/payments/{id}/cancel", id: "cancel-payment", tag: "payments", summary: "Cancel a payment",
			about: "Possible until the first attempt is sent; a hold is released. It needs no key: a second cancel changes nothing and is answered like the first.",
			scope: access.PaymentsWrite, role: access.Operate, params: []*huma.Param{id}, answers: map[int]reflect.Type{200: of[Payment]()},
			faults: with(ledgerFaults, fault.NotFound, fault.NotCancellable, fault.AlreadyFinal), do: (*call).cancelPayment,
		},
		{
			method: http.MethodPost, path: "/v1/payments/{id}/capture", id: "capture-payment", tag: "payments", summary: "Take a part of a hold",
			about: "As often as something remains, until the hold expires. Each capture is a payment of its own, final at once, that names the hold as " +
				"its original; the hold shows what was captured and what remains, and has succeeded when nothing remains.",
			scope: access.PaymentsWrite, params: []*huma.Param{id, keyHeader()}, body: of[NewCapture](),
			answers: map[int]reflect.Type{201: of[Payment](), 200: of[Payment]()},
			faults:  payFaults, do: (*call).capturePayment,
		},
		{
			method: http.MethodPost, path: "/v1/payments/{id}/release", id: "release-payment", tag: "payments", summary: "Let go of a hold",
			about: "What was not captured goes back to the payer at once. The hold is cancelled, or has succeeded if a part was captured. It needs no " +
				"key: releasing what holds nothing any more changes nothing and is answered with the hold as it is.",
			scope: access.PaymentsWrite, params: []*huma.Param{id}, answers: map[int]reflect.Type{200: of[Payment]()},
			faults: with(ledgerFaults, fault.NotFound, fault.IllegalTransition), do: (*call).releasePayment,
		},
		{
			method: http.MethodPost, path: "/v1/channels/{name}/callbacks", id: "receive-callback", tag: "channels", summary: "Take a channel's word",
			about: "For channels, not for callers: the body is stored as it came and judged by the channel's own signature. 200 means stored. " +
				"So many that do not verify are stored too; beyond that they are refused with 401.",
			params: []*huma.Param{pathID("name", "The channel")}, answers: map[int]reflect.Type{200: of[Stored]()},
			faults: []fault.Code{fault.NotFound, fault.BodyTooLarge, fault.SignatureInvalid}, do: (*call).callback,
		},
	}
}

func eventRoutes() []*route {
	return []*route{
		{
			method: http.MethodGet, path: "/v1/payments/{id}/events", id: "stream-payment", stream: true, tag: "events", summary: "Follow a payment",
			about: "Server-sent events, one for each move of the payment: id is the event's id, event its type, data the envelope. It begins with the " +
				"payment's first event, or after Last-Event-ID, and ends after payment.final. A comment comes at least every 15 seconds. A stream that " +
				"breaks off, after half an hour at the latest, is taken up again with Last-Event-ID; 204 means that nothing follows any more.",
			scope: access.PaymentsRead,
			params: []*huma.Param{
				pathID("id", "pay_…"),
				param("header", "Last-Event-ID", "The last event that you have; a browser's EventSource sends it by itself.", false, text()),
			},
			answers: map[int]reflect.Type{200: of[string]()}, media: []string{"text/event-stream"}, faults: []fault.Code{fault.NotFound, fault.NotLeader},
			do: (*call).paymentEvents,
		},
		{
			method: http.MethodGet, path: "/v1/events", id: "list-events", stream: true, tag: "events", summary: "Read the event log",
			about: "All of the tenant's events, oldest first, each once and none left out: go on with next until has_more is false, keep next, and come " +
				"back with it. Only so many events are looked through for one page, so that a page may be short, even empty, and have more.",
			scope: access.PaymentsRead,
			params: append(paging("100"),
				query("type", "Only these types, separated by commas: payment.final, payment.settled, payment.updated, or payment. and an open state.", text()),
				query("wait", "When there is nothing yet, wait this many seconds for it; at most 60.", &huma.Schema{Type: huma.TypeInteger})),
			answers: map[int]reflect.Type{200: of[ListOf[event.Envelope]]()}, faults: []fault.Code{fault.UnknownField, fault.NotFound, fault.NotLeader},
			do: (*call).listEvents,
		},
	}
}

func accountRoutes() []*route {
	id := pathID("id", "acct_…")
	return []*route{
		{
			method: http.MethodPost, path: "/v1/accounts", id: "open-account", tag: "accounts", summary: "Open an account",
			scope: access.AccountsWrite, params: []*huma.Param{keyHeader()}, body: of[NewAccount](),
			answers: map[int]reflect.Type{201: of[Account](), 200: of[Account]()}, faults: openFaults, do: (*call).openAccount,
		},
		{
			method: http.MethodGet, path: "/v1/accounts", id: "list-accounts", tag: "accounts", summary: "List accounts",
			about: "By id, oldest first. With filters only so many accounts are looked through for one page, so that a page may be short, even empty, and have more.",
			scope: access.AccountsRead, params: append(paging("99"),
				query("kind", "user, house or system; users and houses when left out.", words("user", "house", "system")),
				query("asset", "Only this asset.", text()), query("name", "Only accounts whose name has this in it, in any case; at most 100 bytes.", text()),
				query("balances", "now: with what each has; or an instant, RFC 3339: with what each had, by booking.", text())),
			answers: map[int]reflect.Type{200: of[ListOf[Account]]()},
			faults:  []fault.Code{fault.UnknownField}, do: (*call).listAccounts,
		},
		{
			method: http.MethodGet, path: "/v1/accounts/{id}", id: "get-account", tag: "accounts", summary: "Look at an account",
			scope: access.AccountsRead, params: []*huma.Param{id}, answers: map[int]reflect.Type{200: of[Account]()},
			faults: []fault.Code{fault.NotFound}, do: (*call).getAccount,
		},
		{
			method: http.MethodGet, path: "/v1/accounts/{id}/balances", id: "get-balances", tag: "accounts", summary: "Look at balances",
			about: "Now, or as of an instant: by booking (what the books said then; never changes) or by value date.", scope: access.AccountsRead,
			params: []*huma.Param{
				id, query("as_of", "An instant, RFC 3339.", &huma.Schema{Type: huma.TypeString, Format: "date-time"}),
				query("by", "Which time counts; booking when left out.", words("booking", "effective")),
			},
			answers: map[int]reflect.Type{200: of[Balances]()}, faults: []fault.Code{fault.NotFound, fault.UnknownField}, do: (*call).balances,
		},
		{
			method: http.MethodGet, path: "/v1/accounts/{id}/statement", id: "get-statement", tag: "accounts", summary: "Read a statement",
			about: "Postings of one book, newest first, each with the balance after it. With filters only so many postings are looked through for one " +
				"page, so that a page may be short and have more. As CSV (format=csv, or Accept: text/csv) up to 100,000 rows come in one answer; its trailer " +
				"Statement-Next says where to go on, and Statement-Rows how many rows there are: a CSV without them was cut off.",
			scope: access.AccountsRead,
			params: append(paging("100; as CSV 100000"), id,
				query("book", "Which book; available when left out.", words("available", "held")),
				query("from", "Only postings from this instant on, RFC 3339.", instantText()),
				query("to", "Only postings before this instant, RFC 3339.", instantText()),
				query("by", "Which time from and to count by; booking when left out. By booking the range is found at once; by value date it is looked for.",
					words("booking", "effective")),
				query("direction", "Only what came in, or what went out.", words("in", "out")),
				query("kind", "Only payments of this kind.", text()),
				query("counterparty", "Only postings with this account at the other end.", text()),
				query("remittance", "Only payments whose remittance begins with this.", text()),
				query("format", "json or csv; wins over Accept.", words("json", "csv"))),
			answers: map[int]reflect.Type{200: of[ListOf[Entry]]()}, media: []string{"text/csv"}, faults: []fault.Code{fault.NotFound, fault.UnknownField},
			do: (*call).statement,
		},
		{
			method: http.MethodGet, path: "/v1/accounts/{id}/explanation", id: "explain-account", tag: "accounts", summary: "Count an account again",
			about: "The sum of all postings against the balance that the newest one carries.", scope: access.AccountsRead,
			params: []*huma.Param{id}, answers: map[int]reflect.Type{200: of[Explanation]()}, faults: []fault.Code{fault.NotFound}, do: (*call).explain,
		},
		{
			method: http.MethodPost, path: "/v1/accounts/{id}/freeze", id: "freeze-account", tag: "operator", summary: "Freeze an account",
			about: "New payments from it are refused with account-frozen, with refuses=all those to it as well. What has left for a channel settles, " +
				"and deposits that were announced before are credited. A second freeze replaces the first.",
			scope: access.Admin, role: access.Operate, params: []*huma.Param{id}, body: of[NewFreeze](), answers: map[int]reflect.Type{200: of[Account]()},
			faults: with(ledgerFaults, fault.NotFound, fault.UnknownField, fault.BodyTooLarge, fault.UnsupportedMediaType), do: (*call).freeze,
		},
		{
			method: http.MethodPost, path: "/v1/accounts/{id}/thaw", id: "thaw-account", tag: "operator", summary: "Let an account pay again",
			about: "With two people who may approve, by an approval of the kind thaw_account only.",
			scope: access.Admin, role: access.Chief, params: []*huma.Param{id}, body: of[Thaw](), answers: map[int]reflect.Type{200: of[Account]()},
			faults: with(ledgerFaults, fault.NotFound, fault.ApprovalRequired, fault.UnknownField, fault.BodyTooLarge, fault.UnsupportedMediaType), do: (*call).thaw,
		},
		{
			method: http.MethodPost, path: "/v1/accounts/{id}/floor", id: "set-floor", tag: "operator", summary: "Grant an overdraft limit, or take it back",
			about: "With two people who may approve, a floor below zero is set by an approval of the kind set_floor only.",
			scope: access.Admin, role: access.Chief, params: []*huma.Param{id}, body: of[NewFloor](), answers: map[int]reflect.Type{200: of[Account]()},
			faults: with(ledgerFaults, fault.NotFound, fault.ApprovalRequired, fault.FloorInvalid, fault.UnknownField, fault.BodyTooLarge, fault.UnsupportedMediaType),
			do:     (*call).setFloor,
		},
	}
}

func keyRoutes() []*route {
	prefix := pathID("prefix", "The key's prefix")
	return []*route{
		{
			method: http.MethodPost, path: "/v1/keys", id: "create-key", tag: "operator", summary: "Make an API key",
			about: "The key is shown once, in this answer, and kept nowhere.", scope: access.Admin, role: access.Chief, body: of[NewKey](),
			answers: map[int]reflect.Type{201: of[Key]()}, faults: []fault.Code{fault.UnknownField, fault.BodyTooLarge, fault.UnsupportedMediaType},
			do: (*call).createKey,
		},
		{
			method: http.MethodGet, path: "/v1/keys", id: "list-keys", tag: "operator", summary: "List API keys", scope: access.Admin,
			answers: map[int]reflect.Type{200: of[ListOf[Key]]()}, do: (*call).listKeys,
		},
		{
			method: http.MethodDelete, path: "/v1/keys/{prefix}", id: "revoke-key", tag: "operator", summary: "Revoke an API key",
			about: "It stops on every node within a second.", scope: access.Admin, role: access.Chief, params: []*huma.Param{prefix},
			answers: map[int]reflect.Type{200: of[Key]()}, faults: []fault.Code{fault.NotFound}, do: (*call).revokeKey,
		},
		{
			method: http.MethodPost, path: "/v1/keys/{prefix}/limits", id: "limit-key", tag: "operator", summary: "Limit an API key",
			about: "So many writes and so many reads in a window; what is left out is not limited. Writes are what moves or changes something, each payment " +
				"of a batch one. Effective on every node within a second; each node counts for itself, so that n nodes let n times the quota through. " +
				"Routes for the operator are never limited, so " +
				"that a limit can always be changed. What is left is told in RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers).",
			scope: access.Admin, role: access.Chief, params: []*huma.Param{prefix}, body: of[KeyLimits](), answers: map[int]reflect.Type{200: of[Key]()},
			faults: []fault.Code{fault.NotFound, fault.UnknownField, fault.BodyTooLarge, fault.UnsupportedMediaType}, do: (*call).limitKey,
		},
	}
}

func operatorRoutes() []*route {
	return []*route{
		{
			method: http.MethodGet, path: "/v1/totals", id: "get-totals", tag: "operator", summary: "Count the whole installation",
			about: "Every tenant, from one snapshot; the sum of each asset's books is zero.", scope: access.Installation,
			answers: map[int]reflect.Type{200: of[Totals]()}, do: (*call).totals,
		},
		{
			method: http.MethodGet, path: "/v1/dispatch", id: "get-dispatch", tag: "operator", summary: "Are payouts sent?",
			about: "After a restore they wait until the gap finder has asked every channel what the restored books do not know; " +
				"what it found is listed under breaks as restore_gap.",
			scope: access.Installation, answers: map[int]reflect.Type{200: of[recon.DispatchState]()}, faults: []fault.Code{fault.NotFound}, do: (*call).dispatch,
		},
		{
			method: http.MethodPost, path: "/v1/dispatch/resume", id: "resume-dispatch", tag: "operator", summary: "Let payouts go again",
			about: "Acknowledges the gaps that are left. A restored payout still waits until its channel was asked for it. " +
				"Without a pause it changes nothing. With two people who may approve, by an approval of the kind resume_dispatch only.",
			scope: access.Installation, role: access.Chief, body: of[Resumption](), answers: map[int]reflect.Type{200: of[recon.DispatchState]()},
			faults: []fault.Code{fault.ApprovalRequired, fault.NotFound, fault.UnknownField, fault.BodyTooLarge, fault.UnsupportedMediaType}, do: (*call).resumeDispatch,
		},
	}
}
