package receipt

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/moneta-pay/moneta/event"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
)

// Receipt is one receipt with a summary of what it says. Only the JWS is signed.
type Receipt struct {
	Object      string    `json:"object" enum:"receipt"`
	ID          string    `json:"id" doc:"The event of the log that it rests on" example:"evt_0000000000007"`
	Payment     string    `json:"payment" example:"pay_0000000000002"`
	State       string    `json:"state"`
	Status      string    `json:"status" enum:"processing,succeeded,failed"`
	Final       bool      `json:"final" doc:"The state never changes again; its disposition may"`
	Disposition string    `json:"disposition,omitempty" enum:"refunding,partly_refunded,refunded,partly_returned,returned,charged_back,late_success" doc:"What linked payments had made of it by then"`
	RecordedAt  time.Time `json:"recorded_at"`
	Newest      bool      `json:"newest" doc:"Nothing later is on record, at the moment of this answer"`
	KeyID       string    `json:"kid" doc:"The key that signed it; GET /v1/receipt-keys has the public half"`
	JWS         string    `json:"jws" doc:"The receipt: save this text. Compact JWS (RFC 7515), EdDSA; docs/receipts.md verifies it with usual tools"`
}

// Issuer makes receipts of committed transitions. It is safe for concurrent use.
type Issuer struct {
	pool   *pgxpool.Pool
	signer *Signer // nil: the key file cannot be read

	asking  sync.Mutex // by one caller of Published at a time
	verdict atomic.Pointer[verdict]
}

// verdict is the last answer on whether this node may sign: why not, or empty.
type verdict struct{ no string }

// askedWithin bounds how long who wants the keys waits for the database.
const askedWithin = 2 * time.Second

const (
	unread  = "this node's receipts_key_file could not be read when it started; its log says why"
	unasked = "it is not known yet whether this node may sign receipts, because the database has not said"
)

// NewIssuer reads through pool, which the caller keeps owning. Without a signer it
// signs and publishes nothing, and says that the key file could not be read.
func NewIssuer(pool *pgxpool.Pool, s *Signer) *Issuer { return &Issuer{pool: pool, signer: s} }

// Published returns the public keys of this node's file, if this node may sign: the keys
// of a stray file would make genuine receipts look forged, and forged ones genuine, to
// who saved them. The last answer of the database counts while it does not answer.
// The error is fault.ReceiptsUnavailable.
func (i *Issuer) Published(ctx context.Context) (KeySet, error) {
	if i.asking.TryLock() { // who comes meanwhile takes the last answer
		ctx, cancel := context.WithTimeout(ctx, askedWithin)
		_ = i.Admit(ctx) // the verdict has it
		cancel()
		i.asking.Unlock()
	}
	if why := i.Trouble(); why != "" {
		return KeySet{}, fault.New(fault.ReceiptsUnavailable, why).WithOp("receipt.Published")
	}
	return i.signer.KeySet(), nil
}

// Trouble is why this node signs nothing, as far as it was last known; empty if it may.
func (i *Issuer) Trouble() string {
	if v := i.verdict.Load(); v != nil {
		return v.no
	}
	return unasked
}

// Of returns the payment's receipts, oldest first; fault.NotFound if the tenant has no
// such payment, fault.ReceiptsUnavailable where this node must not sign.
func (i *Issuer) Of(ctx context.Context, tenant pay.TenantID, id pay.ID) ([]Receipt, error) {
	const op = "receipt.Of"
	if err := i.Admit(ctx); err != nil {
		return nil, err
	}
	h, err := i.history(ctx, tenant, id)
	if err != nil {
		return nil, readFault(op, err)
	}
	documents, err := h.documents()
	if err != nil {
		return nil, readFault(op, err)
	}
	out := make([]Receipt, len(documents))
	for n := range documents {
		d := &documents[n]
		at, err := d.Recorded()
		if err != nil {
			return nil, readFault(op, err)
		}
		out[n] = Receipt{
			Object: "receipt", ID: d.RestsOn.Event, Payment: d.Payment, State: d.State, Status: d.Status, Final: d.Final, Disposition: d.Disposition,
			RecordedAt: at, Newest: n == len(documents)-1, KeyID: i.signer.kid,
		}
		if out[n].JWS, err = i.signer.Sign(d); err != nil {
			return nil, readFault(op, err)
		}
	}
	return out, nil
}

// Admit makes sure that this node may sign: every key that ever signed for this
// installation is in its file, so that all nodes publish what any of them signed with,
// and a node with a stray file signs nothing. The key of this node is written down
// before it signs for the first time; of several nodes that come with different keys,
// the first wins. The error is fault.ReceiptsUnavailable, or the database's.
func (i *Issuer) Admit(ctx context.Context) error {
	err := i.admit(ctx)
	var no *fault.Error
	switch {
	case err == nil:
		i.verdict.Store(&verdict{})
	case errors.As(err, &no) && no.Code == fault.ReceiptsUnavailable: // a database that is gone changes no answer of before
		i.verdict.Store(&verdict{no.Detail})
	}
	return err
}

func (i *Issuer) admit(ctx context.Context) error {
	const op = "receipt.Admit"
	if i.signer == nil {
		return fault.New(fault.ReceiptsUnavailable, unread).WithOp(op)
	}
	admitted, err := i.admitted(ctx, i.pool)
	if err == nil && !admitted {
		err = pgx.BeginFunc(ctx, i.pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtextextended('receipt_keys', 0))`); err != nil {
				return err
			}
			if _, err := i.admitted(ctx, tx); err != nil { // somebody else may have been first
				return err
			}
			_, err := tx.Exec(ctx, `insert into receipt_keys (kid, public_key) values ($1, $2) on conflict do nothing`, i.signer.kid, []byte(i.signer.private[32:]))
			return err
		})
	}
	if err != nil {
		return readFault(op, err)
	}
	return nil
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// registryMax bounds the keys that are looked at: no more can have signed, because each
// had to be in the file of the node that signed with the last one.
const registryMax = keysMax

// admitted reports whether this node's key is written down; an error if one that is
// written down is not in its file.
func (i *Issuer) admitted(ctx context.Context, q querier) (bool, error) {
	rows, err := q.Query(ctx, `select kid from receipt_keys order by first_used_at, kid limit $1`, registryMax)
	if err != nil {
		return false, err
	}
	kids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return false, err
	}
	found := false
	for _, kid := range kids {
		if !i.signer.known[kid] {
			return false, fault.New(fault.ReceiptsUnavailable, fmt.Sprintf("receipts of this installation were signed with the key %s, which is not in receipts_key_file of this node; "+
				"give every node the same file, and keep the public half of every key in it", kid)).WithOp("receipt.Admit")
		}
		found = found || kid == i.signer.kid
	}
	return found, nil
}

// Find returns the receipt of the event, or the newest one for "".
func Find(all []Receipt, id string) (Receipt, error) {
	if id == "" && len(all) > 0 {
		return all[len(all)-1], nil
	}
	if _, err := event.ParseID(id); err != nil {
		return Receipt{}, fault.New(fault.MalformedRequest, "event is the id of a receipt, evt_…").WithParam("event")
	}
	for n := range all {
		if all[n].ID == id {
			return all[n], nil
		}
	}
	return Receipt{}, fault.New(fault.NotFound, "the payment has no receipt that rests on this event").WithOp("receipt.Find")
}

// readFault gives a failed read its code; a read moves nothing.
func readFault(op string, err error) error {
	var known *fault.Error
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, pgx.ErrNoRows):
		return fault.New(fault.NotFound, "").WithOp(op)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return fault.New(fault.Timeout, "").WithOp(op).WithMoneyState(fault.NotMoved).WithCause(err)
	case errors.Is(err, errRecord):
		return fault.New(fault.Internal, "").WithOp(op).WithMoneyState(fault.NotMoved).WithCause(err)
	}
	return fault.New(fault.DatabaseUnavailable, "").WithOp(op).WithCause(err)
}

// UsedKeys returns the public keys that ever signed in this database, the newest first,
// as blocks for a key file. The database vouches for them, and nobody else: they belong
// into a file only if they are known from elsewhere, or nobody can have written here.
func UsedKeys(ctx context.Context, q querier) ([]byte, error) {
	const op = "receipt.UsedKeys"
	rows, err := q.Query(ctx, `select public_key from receipt_keys order by first_used_at desc, kid limit $1`, registryMax)
	if err != nil {
		return nil, readFault(op, err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil {
		return nil, readFault(op, err)
	}
	var out []byte
	for _, key := range keys {
		der, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(key))
		if err != nil {
			return nil, readFault(op, err)
		}
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: publicBlock, Bytes: der})...)
	}
	return out, nil
}
