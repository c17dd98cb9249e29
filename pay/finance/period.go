package finance

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// Period is a closed period of one tenant's books in one asset: everything effective
// before Until.
type Period struct {
	Asset money.Asset `json:"asset"`
	// Through is the last day that is closed, UTC; Until the first instant that is open.
	Through  string    `json:"through"`
	Until    time.Time `json:"until"`
	ClosedAt time.Time `json:"closed_at"`
	ClosedBy string    `json:"closed_by"`
	// Hash is the SHA-256 of the trial balance by value date, in hexadecimal; empty
	// until it is sealed, moments after the close.
	Hash string `json:"trial_balance_sha256,omitempty"`

	tenant int32
	hash   []byte
}

const selectPeriods = `select tenant, asset, until, closed_at, closed_by, coalesce(hash, '') from periods `

func (r *Reader) periods(ctx context.Context, where string, args ...any) ([]Period, error) {
	rows, err := r.pool.Query(ctx, selectPeriods+where, args...)
	if err != nil {
		return nil, fmt.Errorf("read the closed periods: %w", err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p Period, err error) {
		err = row.Scan(&p.tenant, &p.Asset, &p.Until, &p.ClosedAt, &p.ClosedBy, &p.hash)
		p.Until, p.ClosedAt, p.Hash = p.Until.UTC(), p.ClosedAt.UTC(), hex.EncodeToString(p.hash)
		p.Through = p.Until.Add(-time.Microsecond).Format(time.DateOnly)
		return p, err
	})
	if err != nil {
		return nil, fmt.Errorf("read the closed periods: %w", err)
	}
	return out, nil
}

// Periods returns a tenant's closed periods, the newest first.
func (r *Reader) Periods(ctx context.Context, tenant int32) ([]Period, error) {
	return r.periods(ctx, `where tenant = $1 order by until desc, asset`, tenant)
}

// Seal stores the hash of the trial balance of every closed period that has none yet.
// Nothing effective in a closed period can be posted behind its close, so that it does
// not matter how much later this runs; a crash before it is made up for by the next.
func (r *Reader) Seal(ctx context.Context) error {
	open, err := r.periods(ctx, `where hash is null order by until`)
	if err != nil {
		return err
	}
	for i := range open {
		p := &open[i]
		hash, err := r.hashOf(ctx, p)
		if err != nil {
			return fmt.Errorf("seal %s through %s: %w", p.Asset, p.Through, err)
		}
		_, err = r.pool.Exec(ctx, `update periods set hash = $4, sealed_at = now() where tenant = $1 and asset = $2 and until = $3 and hash is null`,
			p.tenant, string(p.Asset), p.Until, hash)
		if err != nil {
			return fmt.Errorf("seal %s through %s: %w", p.Asset, p.Through, err)
		}
	}
	return nil
}

// Verify recounts every sealed period of the tenant and returns those whose trial
// balance is not what it was when it was sealed.
func (r *Reader) Verify(ctx context.Context, tenant int32) (changed []Period, err error) {
	all, err := r.periods(ctx, `where tenant = $1 and hash is not null order by until`, tenant)
	if err != nil {
		return nil, err
	}
	for i := range all {
		hash, err := r.hashOf(ctx, &all[i])
		if err != nil {
			return nil, fmt.Errorf("recount %s through %s: %w", all[i].Asset, all[i].Through, err)
		}
		if !bytes.Equal(hash, all[i].hash) {
			changed = append(changed, all[i])
		}
	}
	return changed, nil
}

// hashOf counts the period's trial balance: its lines in their order, each with its
// account, asset and the turnovers of both sides, which no later name change touches.
func (r *Reader) hashOf(ctx context.Context, p *Period) ([]byte, error) {
	tb, err := r.TrialBalance(ctx, Scope{Tenant: p.tenant, Asset: p.Asset, By: ledger.Effective, Until: p.Until})
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "moneta trial balance 1\n%d %s %s\n", p.tenant, p.Asset, p.Until.Format(time.RFC3339Nano))
	for _, l := range tb.Lines {
		fmt.Fprintf(sum, "%s %s %s %s\n", l.Account, l.Asset, l.DebitTurnover, l.CreditTurnover)
	}
	return sum.Sum(nil), nil
}
