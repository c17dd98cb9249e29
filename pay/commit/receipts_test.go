package commit_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/receipt"
	"github.com/moneta-pay/moneta/pay/status"
)

// receiptsCompared is how many of the newest payments of a walk are compared.
const receiptsCompared = 500

// receiptsSay holds the newest receipt of each payment, verified, against what the
// reader says of the payment, and the receipts among each other. It returns how many
// receipts rest on a move of a linked payment.
func receiptsSay(t *testing.T, db *pgxpool.Pool) (linked int) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize)))
	require.NoError(t, err)
	signer, err := receipt.ParseSigner(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	require.NoError(t, err)
	set, err := json.Marshal(signer.KeySet())
	require.NoError(t, err)
	keys, err := receipt.ParseKeys(set)
	require.NoError(t, err)
	issuer, reader := receipt.NewIssuer(db, signer), commit.NewReader(db)

	rows, err := db.Query(t.Context(), `select id, tenant from payments order by id desc limit $1`, receiptsCompared)
	require.NoError(t, err)
	type owned struct {
		ID     pay.ID
		Tenant pay.TenantID
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[owned])
	require.NoError(t, err)
	require.NotEmpty(t, found)
	for _, f := range found {
		p, err := reader.Payment(t.Context(), f.Tenant, f.ID)
		require.NoError(t, err)
		all, err := issuer.Of(t.Context(), f.Tenant, f.ID)
		require.NoError(t, err)
		require.NotEmpty(t, all)
		before := ""
		for i := range all {
			d, _, err := receipt.Verify([]byte(all[i].JWS), keys)
			require.NoError(t, err)
			require.Less(t, before, d.RestsOn.Event, "in the order of the log")
			before = d.RestsOn.Event
			if d.RestsOn.Linked != "" {
				linked++
			}
			if i < len(all)-1 {
				continue
			}
			word, place := status.Recorded(&p)
			require.Equal(t, []string{p.ID.String(), p.State.String(), word, place, string(p.Disposition()), p.Amount.String(), p.Fee.String()},
				[]string{d.Payment, d.State, d.Status, d.MoneyAt, d.Disposition, d.Amount, d.Fee})
			require.Equal(t, p.State.Final(), d.Final)
			if p.Kind == pay.Hold {
				require.Equal(t, p.Taken.String(), d.Captured, p.ID)
			}
			if (p.Back == pay.Back{}) {
				require.Nil(t, d.Back)
			} else {
				require.Equal(t, []string{some(p.Back.ChargedBack), some(p.Back.Refunded), some(p.Back.Refunding), some(p.Back.Returned)},
					[]string{d.Back.ChargedBack, d.Back.Refunded, d.Back.Refunding, d.Back.Returned}, p.ID)
			}
		}
	}
	return linked
}

func some(a interface {
	IsZero() bool
	String() string
},
) string {
	if a.IsZero() {
		return ""
	}
	return a.String()
}
