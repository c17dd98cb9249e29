package ledger

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
)

// FuzzCursor: what a caller sends as the cursor of a statement is one that we gave out,
// or refused as his mistake.
func FuzzCursor(f *testing.F) {
	for _, s := range []string{"", "s", "s-", "s1a-2b", "s-zz", "s1y2p0ij32e8e7-1y2p0ij32e8e7", "s1y2p0ij32e8e8-", "s-1-", "1-2", "ss-", "s+1-2", "-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := parseCursor(s)
		if err != nil {
			require.Equal(t, fault.MalformedRequest, fault.CodeOf(err))
			return
		}
		require.GreaterOrEqual(t, b.debit, int64(0))
		require.GreaterOrEqual(t, b.credit, int64(0))
		again, err := parseCursor(b.String())
		require.NoError(t, err)
		require.Equal(t, b, again)
	})
}
