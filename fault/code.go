package fault

import (
	"slices"
	"time"
)

// Code is the stable slug of one kind of fault. It travels to callers, webhooks
// and metrics, so codes are only ever added: none is renamed, reused or removed.
// A Code is an error, so that errors.Is(err, fault.NotFound) reads as it should
// and a station may return a bare Code when there is nothing more to say.
type Code string

// Error returns the slug.
func (c Code) Error() string { return string(c) }

// The codes, in the order of the table, which tells what each of them means.
const (
	MalformedRequest       Code = "malformed-request"
	UnknownField           Code = "unknown-field"
	IdempotencyKeyMissing  Code = "idempotency-key-missing"
	IdempotencyKeyInvalid  Code = "idempotency-key-invalid"
	IdempotencyKeyReused   Code = "idempotency-key-reused"
	IdempotencyInFlight    Code = "idempotency-in-flight"
	Unauthenticated        Code = "unauthenticated"
	Forbidden              Code = "forbidden"
	NotFound               Code = "not-found"
	MethodNotAllowed       Code = "method-not-allowed"
	BodyTooLarge           Code = "body-too-large"
	UnsupportedMediaType   Code = "unsupported-media-type"
	InsufficientFunds      Code = "insufficient-funds"
	AccountNotFound        Code = "account-not-found"
	AccountFrozen          Code = "account-frozen"
	AccountClosed          Code = "account-closed"
	AssetMismatch          Code = "asset-mismatch"
	AssetUnknown           Code = "asset-unknown"
	AmountInvalid          Code = "amount-invalid"
	ChannelUnknown         Code = "channel-unknown"
	SameAccount            Code = "same-account"
	FloorInvalid           Code = "floor-invalid"
	HouseAccountForbidden  Code = "house-account-forbidden"
	IllegalTransition      Code = "illegal-transition"
	NotCancellable         Code = "not-cancellable"
	AmountExceedsRemaining Code = "amount-exceeds-remaining"
	AlreadyFinal           Code = "already-final"
	PaymentQuarantined     Code = "payment-quarantined"
	CaseClosed             Code = "case-closed"
	CaseFull               Code = "case-full"
	RateLimited            Code = "rate-limited"
	Overloaded             Code = "overloaded"
	NotLeader              Code = "not-leader"
	CommitUnknown          Code = "commit-unknown"
	DatabaseUnavailable    Code = "database-unavailable"
	DatabaseUnsafe         Code = "database-unsafe"
	ReadOnly               Code = "read-only"
	IntakePaused           Code = "intake-paused"
	ChannelUnavailable     Code = "channel-unavailable"
	SignatureInvalid       Code = "signature-invalid"
	ReferenceUnknown       Code = "reference-unknown"
	ReceiptsUnavailable    Code = "receipts-unavailable"
	ApprovalRequired       Code = "approval-required"
	ApprovalOwn            Code = "approval-own"
	ApprovalChanged        Code = "approval-changed"
	ApprovalClosed         Code = "approval-closed"
	StatementRefused       Code = "statement-refused"
	StatementChanged       Code = "statement-changed"
	PeriodClosed           Code = "period-closed"
	Timeout                Code = "timeout"
	Internal               Code = "internal"
)

// String returns the slug.
func (c Code) String() string { return string(c) }

// Text is one text in the product's two languages.
type Text struct {
	En string // English
	Zh string // Simplified Chinese
}

// In returns the text for a language tag: Chinese for "zh" and its variants,
// English for everything else.
func (t Text) In(lang string) string {
	if len(lang) >= 2 && (lang[:2] == "zh" || lang[:2] == "ZH") && (len(lang) == 2 || lang[2] == '-' || lang[2] == '_') {
		return t.Zh
	}
	return t.En
}

// Entry is what the table holds about one code.
type Entry struct {
	Code       Code
	Status     int           // HTTP status
	Retry      Retry         // default advice
	MoneyState MoneyState    // default fate of the money
	RetryAfter time.Duration // default wait before a retry; 0 means no statement
	Title      Text          // short, the same for every occurrence
	Cause      Text          // why a caller sees this
	Fix        Text          // what the caller does next
}

var byCode = func() map[Code]Entry {
	index := make(map[Code]Entry, len(table))
	for _, entry := range table {
		if _, twice := index[entry.Code]; twice {
			panic("fault: code in the table twice: " + string(entry.Code))
		}
		index[entry.Code] = entry
	}
	return index
}()

// Lookup returns the table's entry of the code, and whether there is one.
func Lookup(code Code) (Entry, bool) {
	entry, ok := byCode[code]
	return entry, ok
}

// Codes returns all codes in the order of the table.
func Codes() []Code {
	codes := make([]Code, 0, len(table))
	for _, entry := range table {
		codes = append(codes, entry.Code)
	}
	return slices.Clip(codes)
}

// HTTPStatus returns the code's HTTP status; 500 for a code not in the table.
func HTTPStatus(code Code) int { return code.entry().Status }

// Title returns the code's title in a language ("en", "zh"); the title of
// Internal for a code not in the table.
func Title(code Code, lang string) string { return code.entry().Title.In(lang) }

// entry returns the table's entry, or Internal's for a code that is not in it: a
// code that nobody described must not promise anything about the money.
func (c Code) entry() Entry {
	if entry, ok := byCode[c]; ok {
		return entry
	}
	return byCode[Internal]
}
