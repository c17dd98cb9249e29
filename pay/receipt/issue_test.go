package receipt

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/pay"
)

func TestMain(m *testing.M) { pgtest.VerifyTestMain(m) }

const (
	logTenant = pay.TenantID(3)
	logSeen   = pay.ID(42) // a deposit, refunded by 43, which failed and executed all the same: 44
)

// logOf writes the rows that a decider would have left.
func logOf(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	noon := time.Date(2026, 1, 2, 12, 0, 0, 7_000, time.UTC)
	exec := func(sql string, args ...any) {
		t.Helper()
		_, err := pool.Exec(t.Context(), sql, args...)
		require.NoError(t, err)
	}
	payment := func(id, original pay.ID, kind pay.Kind, amount int) {
		t.Helper()
		exec(`insert into payments (id, tenant, kind, asset, amount, fee, from_account, to_account, channel, key, trace_id, effective_at, created_at, original)
			values ($1, $2, $3, 'CZK', $4, 0, 2, 4, 'bank-ab', gen_random_uuid(), gen_random_uuid(), $5, $5, nullif($6::bigint, 0))`,
			int64(id), int32(logTenant), int16(kind), amount, noon, int64(original))
	}
	id := 0
	move := func(of pay.ID, seq int, transition pay.Transition, from, to pay.State) {
		t.Helper()
		id++
		exec(`insert into transitions (id, payment, seq, transition, from_state, to_state, settlement, attempt, transfers, at) values ($1, $2, $3, $4, $5, $6, 0, 0, 0, $7)`,
			id, int64(of), seq, int16(transition), int16(from), int16(to), noon.Add(time.Duration(id)*time.Second))
	}
	payment(logSeen, 0, pay.Deposit, 1000)
	move(logSeen, 1, 1, pay.None, pay.Created)
	move(logSeen, 2, 14, pay.Created, pay.Succeeded)
	move(logSeen, 3, 15, pay.Succeeded, pay.Succeeded) // settled: no receipt
	payment(43, logSeen, pay.Refund, 400)
	move(43, 1, 19, pay.None, pay.Reserved)
	move(logSeen, 4, 19, pay.Succeeded, pay.Succeeded)
	move(43, 2, 4, pay.Reserved, pay.Dispatching)
	move(43, 3, 8, pay.Dispatching, pay.Failed)
	payment(44, 43, pay.LatePayout, 400)
	move(44, 1, 17, pay.None, pay.Processing)
}

// TestTheSameLogGivesTheSameReceipts in another database: after a restore, on another
// server, on another day.
func TestTheSameLogGivesTheSameReceipts(t *testing.T) {
	t.Parallel()
	first, restored := pgtest.Database(t), pgtest.Database(t)
	logOf(t, first)
	logOf(t, restored)
	signer := signerOf(t, privatePEM(t, 1))
	before, err := NewIssuer(first, signer).Of(t.Context(), logTenant, logSeen)
	require.NoError(t, err)
	var said []string
	for i := range before {
		said = append(said, before[i].State+" "+before[i].Disposition)
	}
	require.Equal(t, []string{"created ", "succeeded ", "succeeded refunding", "succeeded ", "succeeded partly_refunded"}, said)
	again, err := NewIssuer(restored, signer).Of(t.Context(), logTenant, logSeen)
	require.NoError(t, err)
	require.Equal(t, before, again)

	_, err = NewIssuer(first, signer).Of(t.Context(), logTenant+1, logSeen)
	require.ErrorIs(t, err, fault.NotFound, "another tenant has no such payment")
	_, err = NewIssuer(first, signer).Of(t.Context(), logTenant, 7)
	require.ErrorIs(t, err, fault.NotFound)

	// The key file was lost with the machine: a new key alone signs nothing, and with the
	// public halves that the database has it signs the same documents.
	_, err = NewIssuer(restored, signerOf(t, privatePEM(t, 2))).Of(t.Context(), logTenant, logSeen)
	require.ErrorIs(t, err, fault.ReceiptsUnavailable)
	used, err := UsedKeys(t.Context(), restored)
	require.NoError(t, err)
	fresh := signerOf(t, privatePEM(t, 2), used)
	after, err := NewIssuer(restored, fresh).Of(t.Context(), logTenant, logSeen)
	require.NoError(t, err)
	for i := range before {
		require.Equal(t, text(t, before[i].JWS), text(t, after[i].JWS))
		for _, jws := range []string{before[i].JWS, after[i].JWS} {
			_, _, err := Verify([]byte(jws), keysOf(t, fresh))
			require.NoError(t, err)
		}
	}
	raw, err := json.Marshal(after)
	require.NoError(t, err)
	require.NotContains(t, string(raw), "bank-ab")
}

// TestWhatCannotBeReadIsSaidToBe, and never left out.
func TestWhatCannotBeReadIsSaidToBe(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t)
	logOf(t, pool)
	issuer := NewIssuer(pool, signerOf(t, privatePEM(t, 1)))
	_, err := pool.Exec(t.Context(), `insert into payments (id, tenant, kind, asset, amount, fee, key, trace_id, effective_at, created_at)
		values (50, $1, 1, 'XXQ', 1, 0, gen_random_uuid(), gen_random_uuid(), now(), now())`, int32(logTenant))
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), `insert into transitions (id, payment, seq, transition, from_state, to_state, settlement, attempt, transfers, at) values (90, 50, 1, 22, 0, 6, 0, 0, 0, now())`)
	require.NoError(t, err)
	_, err = issuer.Of(t.Context(), logTenant, 50)
	require.ErrorIs(t, err, fault.Internal, "an asset without known decimals is not guessed")
	pool.Close()
	_, err = issuer.Of(t.Context(), logTenant, logSeen)
	require.ErrorIs(t, err, fault.DatabaseUnavailable)
}
