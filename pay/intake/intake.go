// Package intake takes requests about money in, once each: it checks what can be
// checked without the ledger, gives the request its key and fingerprint, and hands
// a Fact to the decider. It answers only what the decider has committed. It
// refuses to look at a balance, to store anything itself, and to guess what an
// unclear request may have meant.
package intake

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/clock"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// Request is a payment that somebody asks for, as text where it came as text.
type Request struct {
	Tenant pay.TenantID
	// Key is the raw idempotency key, bare or as a quoted structured-field string.
	Key  string
	Kind string
	// From and To are public account ids; a payout has no To, a deposit no From.
	From, To string
	// Amount in the asset's smallest unit.
	Amount       string
	Asset        string
	Channel      string
	PayeeAccount string
	PayeeName    string
	Remittance   string
	// Original is the payment that a refund gives back.
	Original string
	// Direct is a refund's key in place of Key where an approval stands for it.
	Direct   pay.Key
	Metadata map[string]string
	// EffectiveAt is the value date; zero is the moment of acceptance.
	EffectiveAt time.Time
	// ExpiresAt is when a hold lets go of the rest; zero is HoldDefault from now.
	ExpiresAt time.Time
	TraceID   pay.TraceID
	// House allows paying from a house account, which has no floor, and what only an
	// admin may do: to send back money that nobody could place.
	House bool
}

// OpenRequest is an account that somebody asks for.
type OpenRequest struct {
	Tenant pay.TenantID
	Key    string
	Asset  string
	Name   string
	// Kind is "user" or "house"; empty is "user".
	Kind string
	// Floor is zero or below, empty is zero; a house account has none.
	Floor string
	// House allows opening a house account.
	House bool
}

// Accounts tells what never changes of an account: whose it is and of what kind.
// *ledger.Reader is one. Balances and freezes are the decider's to look at.
type Accounts interface {
	Account(ctx context.Context, tenant int32, id ledger.AccountID) (ledger.Account, error)
}

// Originals finds the payment that a linked one names. *commit.Reader is one. What
// remains of it is the decider's to judge.
type Originals interface {
	Payment(ctx context.Context, tenant pay.TenantID, id pay.ID) (pay.Payment, error)
	Timeline(ctx context.Context, tenant pay.TenantID, id pay.ID) (commit.Timeline, error)
}

// Config says what an Intake works with.
type Config struct {
	// Submitter reaches the decider.
	Submitter commit.Submitter
	// Accounts is asked once per paying account whether it is a house account.
	Accounts Accounts
	// Originals is asked for the payment that a refund gives back.
	Originals Originals
	// Channels are the names of the configured rails.
	Channels []string
	// Guard judges new payouts; nil lets all of them pass.
	Guard Guard
	// DepositFor is how long a deposit waits for its payer; 0 means DepositDefault.
	DepositFor time.Duration
	// Flights knows the keys under way; nil makes its own, which knows nothing of other
	// nodes' callers.
	Flights *Flights
	// Linked refuses what a compensation names as its break or its case and what is not
	// there; nil asks nobody.
	Linked func(ctx context.Context, tenant pay.TenantID, link string) error
	// Contradicted reports whether the channel has said, against its own word or our
	// proof, that it executed the attempt of this reference; nil means that none ever has.
	Contradicted func(ctx context.Context, channel, reference string) (bool, error)
	// Clock is clock.System when nil.
	Clock clock.Clock
}

// Intake accepts requests. It is safe for concurrent use.
type Intake struct {
	submit    commit.Submitter
	originals Originals
	houses    *houses
	channels  map[string]bool
	guard     Guard
	// depositFor is how long a deposit waits for its payer.
	depositFor time.Duration
	clock      clock.Clock
	flights    *Flights
	linked     func(ctx context.Context, tenant pay.TenantID, link string) error
	// contradicted is Config.Contradicted.
	contradicted func(ctx context.Context, channel, reference string) (bool, error)
}

// New makes an Intake; an error names the setting that is missing.
func New(cfg Config) (*Intake, error) {
	if cfg.Submitter == nil || cfg.Accounts == nil || cfg.Originals == nil {
		return nil, errors.New("intake: Submitter, Accounts and Originals are needed")
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	in := &Intake{
		submit: cfg.Submitter, originals: cfg.Originals, houses: newHouses(cfg.Accounts), channels: make(map[string]bool),
		clock: cfg.Clock, flights: cfg.Flights, guard: cfg.Guard, depositFor: cfg.DepositFor, linked: cfg.Linked, contradicted: cfg.Contradicted,
	}
	if in.flights == nil {
		in.flights = NewFlights(cfg.Clock.Now)
	}
	if in.depositFor <= 0 {
		in.depositFor = DepositDefault
	}
	for _, name := range cfg.Channels {
		in.channels[name] = true
	}
	return in, nil
}

// HasChannel reports whether payments may name the channel.
func (in *Intake) HasChannel(name string) bool { return in.channels[name] }

// Accept takes one payment. The same key and payload again give the payment as it
// is now (Replayed); with another payload fault.IdempotencyKeyReused. A request
// that is refused here has not used its key; one that the ledger refused has.
func (in *Intake) Accept(ctx context.Context, r *Request) (commit.Result, error) {
	f, err := in.fact(ctx, r)
	if err != nil {
		return commit.Result{}, err
	}
	return in.once(ctx, f)
}

// once submits a payment under its key, and tells a duplicate that waited in vain
// that it is one: fault.IdempotencyInFlight.
func (in *Intake) once(ctx context.Context, f commit.Fact) (commit.Result, error) {
	key := f.Payment.New.Key
	duplicate := in.flights.Begin(key)
	res, err := in.submit.Submit(ctx, f)
	return res, in.flights.End(key, duplicate, err)
}

// AcceptAll takes several payments, each for itself, and answers in their order.
func (in *Intake) AcceptAll(ctx context.Context, requests []Request) []commit.Outcome {
	out := make([]commit.Outcome, len(requests))
	facts := make([]commit.Fact, 0, len(requests))
	places := make([]int, 0, len(requests))
	for i := range requests {
		f, err := in.fact(ctx, &requests[i])
		if err != nil {
			out[i].Err = err
			continue
		}
		facts, places = append(facts, f), append(places, i)
	}
	if len(facts) == 0 {
		return out
	}
	duplicates := make([]bool, len(facts))
	for i := range facts {
		duplicates[i] = in.flights.Begin(facts[i].Payment.New.Key)
	}
	for i, o := range in.submit.SubmitAll(ctx, facts) {
		o.Err = in.flights.End(facts[i].Payment.New.Key, duplicates[i], o.Err)
		out[places[i]] = o
	}
	return out
}

func (in *Intake) fact(ctx context.Context, r *Request) (commit.Fact, error) {
	now := in.clock.Now().UTC().Truncate(time.Microsecond)
	if r.Kind == pay.Refund.String() {
		return in.refund(ctx, r, now)
	}
	p, err := in.payment(r, now)
	if err != nil {
		return commit.Fact{}, err
	}
	if err := in.mayPay(ctx, p, r.House); err != nil {
		return commit.Fact{}, err
	}
	f := &pay.Fact{Kind: pay.Accept, At: now, New: p, Fingerprint: paymentFingerprint(p, r.EffectiveAt, r.ExpiresAt), Source: source}
	if in.guard != nil && p.Kind == pay.Payout {
		if f.Verdict, err = in.guard(ctx, p); err != nil {
			return commit.Fact{}, err
		}
	}
	return commit.Fact{Payment: f}, nil
}

// CaptureRequest is a part of a hold that somebody takes, or all of it.
type CaptureRequest struct {
	// Hold as the caller may see it: his tenant's.
	Hold pay.Payment
	// Key is the raw idempotency key; it is scoped to the hold's payer.
	Key string
	// Direct is used instead of Key where an approval stands for it.
	Direct pay.Key
	// Amount in the asset's smallest unit.
	Amount  string
	TraceID pay.TraceID
	// House allows capturing from a house account.
	House bool
}

// Capture takes a part of a hold. Like Accept, once per key.
func (in *Intake) Capture(ctx context.Context, r *CaptureRequest) (commit.Result, error) {
	f, err := in.capture(ctx, r)
	if err != nil {
		return commit.Result{}, err
	}
	return in.once(ctx, f)
}

func (in *Intake) capture(ctx context.Context, r *CaptureRequest) (commit.Fact, error) {
	key, by := r.Direct, pay.SourceOperators
	if r.Direct == (pay.Key{}) {
		var err error
		if key, err = scopedKey(r.Hold.Tenant, r.Hold.From, r.Key); err != nil {
			return commit.Fact{}, err
		}
		by = source
	}
	if r.Hold.Kind != pay.Hold {
		return commit.Fact{}, fault.New(fault.IllegalTransition, "a "+r.Hold.Kind.String()+" holds nothing that could be captured").
			WithResource(r.Hold.ID.String())
	}
	var bad Problems
	now := in.clock.Now().UTC().Truncate(time.Microsecond)
	p := &pay.Payment{
		Tenant: r.Hold.Tenant, Kind: pay.Capture, Original: r.Hold.ID, From: r.Hold.From, To: r.Hold.To, Asset: r.Hold.Asset,
		Amount: parseAmount(r.Amount, &bad), Remittance: r.Hold.Remittance, Key: key,
		Channel: r.Hold.Channel, PayeeAccount: r.Hold.PayeeAccount, PayeeName: r.Hold.PayeeName, TraceID: r.TraceID, EffectiveAt: now, CreatedAt: now,
	}
	if err := bad.as(); err != nil {
		return commit.Fact{}, err
	}
	if err := in.mayPay(ctx, p, r.House); err != nil {
		return commit.Fact{}, err
	}
	return commit.Fact{Payment: &pay.Fact{Kind: pay.Accept, At: now, New: p, Fingerprint: captureFingerprint(p), Source: by}}, nil
}

// mayPay refuses a house account to a key that may not pay from it.
func (in *Intake) mayPay(ctx context.Context, p *pay.Payment, allowed bool) error {
	if p.From == 0 || allowed {
		return nil
	}
	house, err := in.houses.is(ctx, p.Tenant, p.From)
	if err == nil && house {
		err = fault.New(fault.HouseAccountForbidden, "this key may not pay from a house account").
			WithParam("/from").WithResource(p.From.String())
	}
	return err
}

// source is what the event log says about facts from here.
const source = "api"

// Cancel withdraws a payment that was not sent yet, or lets go of what a hold
// still holds. The caller has made sure that
// the payment is the tenant's. A second cancel is answered like the first.
func (in *Intake) Cancel(ctx context.Context, id pay.ID, reason string) (commit.Result, error) {
	return in.submit.Submit(ctx, commit.Fact{Payment: &pay.Fact{
		Kind: pay.Cancel, Payment: id, At: in.clock.Now().UTC(), Source: source, Reason: reason,
	}})
}

// OpenAccount opens an account, once per key.
func (in *Intake) OpenAccount(ctx context.Context, r *OpenRequest) (commit.Result, error) {
	f, err := in.openFact(r)
	if err != nil {
		return commit.Result{}, err
	}
	return in.submit.Submit(ctx, commit.Fact{Account: f})
}

func (in *Intake) openFact(r *OpenRequest) (*ledger.AccountFact, error) {
	key, err := scopedKey(r.Tenant, 0, r.Key)
	if err != nil {
		return nil, err
	}
	a := ledger.Account{Tenant: int32(r.Tenant), Name: r.Name, Kind: ledger.User}
	info, ok := money.LookupAsset(r.Asset)
	if !ok {
		return nil, fault.New(fault.AssetUnknown, "").WithParam("/asset")
	}
	a.Asset = info.Code
	if !plainText(r.Name, accountNameMax) {
		return nil, fault.New(fault.MalformedRequest, "a name has at most 200 characters, none of them a control character").WithParam("/name")
	}
	switch r.Kind {
	case "", "user":
	case "house":
		if !r.House {
			return nil, fault.New(fault.HouseAccountForbidden, "").WithParam("/kind")
		}
		a.Kind, a.Unlimited = ledger.House, true
	default:
		return nil, fault.New(fault.MalformedRequest, `kind is "user" or "house"`).WithParam("/kind")
	}
	if a.Floor, err = parseFloor(r.Floor); err != nil {
		return nil, err
	}
	if a.Unlimited && !a.Floor.IsZero() {
		return nil, fault.New(fault.FloorInvalid, "a house account has no floor").WithParam("/floor")
	}
	return &ledger.AccountFact{
		Kind: ledger.Open, At: in.clock.Now().UTC(), New: a, Key: key, Fingerprint: accountFingerprint(&a),
	}, nil
}

// SetFloor grants an account a floor, zero or below, or takes it back, in the name
// of by. With a key it does so once: the same key again changes nothing. The zero
// key sets nothing aside.
func (in *Intake) SetFloor(ctx context.Context, tenant pay.TenantID, id ledger.AccountID, floor, by string, key pay.Key) (commit.Result, error) {
	amount, err := parseFloor(floor)
	if err != nil {
		return commit.Result{}, err
	}
	return in.set(ctx, &ledger.AccountFact{Kind: ledger.SetFloor, ID: id, Tenant: int32(tenant), Floor: amount, By: by}, key)
}

// Freeze is how an account is to be frozen from now on, who wants it, and why.
type Freeze struct {
	// Debits refuses what the account would pay; All also what it would receive.
	Debits, All bool
	Reason, By  string
}

// reasonMax bounds the reason of a freeze, in characters.
const reasonMax = 500

// Freeze stops an account from paying, or from everything new, or lets it go
// again. What has left already settles, and deposits that were announced are
// credited. It needs a reason. The key is as for SetFloor.
func (in *Intake) Freeze(ctx context.Context, tenant pay.TenantID, id ledger.AccountID, f Freeze, key pay.Key) (commit.Result, error) {
	if strings.TrimSpace(f.Reason) == "" || !plainText(f.Reason, reasonMax) {
		return commit.Result{}, fault.New(fault.MalformedRequest, "give a reason of 1 to 500 characters, none of them a control character").WithParam("/reason")
	}
	return in.set(ctx, &ledger.AccountFact{
		Kind: ledger.SetFrozen, ID: id, Tenant: int32(tenant), Frozen: f.Debits || f.All, FrozenAll: f.All, Reason: f.Reason, By: f.By,
	}, key)
}

// ClosePeriod closes a tenant's books in one asset before until, in the name of by. The
// same again changes nothing; nothing opens them again.
func (in *Intake) ClosePeriod(ctx context.Context, tenant pay.TenantID, asset string, until time.Time, by string) (commit.Result, error) {
	return in.submit.Submit(ctx, commit.Fact{Period: &ledger.PeriodFact{Tenant: int32(tenant), Asset: money.Asset(asset), Until: until, By: by}})
}

func (in *Intake) set(ctx context.Context, f *ledger.AccountFact, key pay.Key) (commit.Result, error) {
	f.At = in.clock.Now().UTC()
	if key != (pay.Key{}) {
		f.Key, f.Fingerprint = key, settingFingerprint(f)
	}
	return in.submit.Submit(ctx, commit.Fact{Account: f})
}

func parseFloor(text string) (money.Amount, error) {
	if text == "" {
		return money.Amount{}, nil
	}
	floor, err := money.ParseMinor(text)
	if err != nil || floor.Sign() > 0 {
		return money.Amount{}, fault.New(fault.FloorInvalid, "").WithParam("/floor").WithCause(err)
	}
	return floor, nil
}
