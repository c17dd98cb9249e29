package status_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/status"
)

const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

func drawID(t *rapid.T) pay.ID {
	return pay.ID(rapid.OneOf(rapid.Int64Range(1, 1<<35+9), rapid.Int64Range(1, 1<<63-1)).Draw(t, "id"))
}

func TestReferenceIsReadBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		id := drawID(t)
		ref := status.Reference(id)
		for _, typed := range []string{
			ref, strings.ToLower(ref), strings.ReplaceAll(ref, "-", ""), strings.ReplaceAll(ref, "-", " "),
			strings.NewReplacer("0", "O", "1", "l").Replace(ref),
		} {
			got, err := status.ParseReference(typed)
			require.NoError(t, err, typed)
			require.Equal(t, id, got)
		}
	})
	require.Equal(t, "ACJN-ZJTW", status.Reference(2), "what people have written down stays good")
	require.Len(t, status.Reference(1), 9)
	require.Len(t, status.Reference(1<<35-1), 9)
	require.Len(t, status.Reference(1<<35), 19)
}

// TestASlipIsFound tries every wrong digit and every swap of two neighbours.
func TestASlipIsFound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ref := strings.ReplaceAll(status.Reference(drawID(t)), "-", "")
		for i := range ref {
			for _, c := range []byte(crockford) {
				if c == ref[i] {
					continue
				}
				_, err := status.ParseReference(ref[:i] + string(c) + ref[i+1:])
				require.ErrorIs(t, err, status.ErrBadReference)
			}
			if i > 0 && ref[i] != ref[i-1] {
				_, err := status.ParseReference(ref[:i-1] + string(ref[i]) + string(ref[i-1]) + ref[i+1:])
				require.ErrorIs(t, err, status.ErrBadReference)
			}
		}
	})
}

func TestNeighboursLookUnlike(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for id := pay.ID(1); id <= 10_000; id++ {
		a, b := status.Reference(id), status.Reference(id+1)
		require.False(t, seen[a], a)
		seen[a] = true
		differ := 0
		for i := range a {
			if a[i] != b[i] {
				differ++
			}
		}
		require.GreaterOrEqual(t, differ, 3, "%s %s", a, b)
	}
}

func FuzzParseReference(f *testing.F) {
	for _, s := range []string{"", "ACJN-ZJTW", status.Reference(42), status.Reference(1 << 62), "ZZZZZZZZZZZZZZZZ", "付款-0001"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := status.ParseReference(s)
		if err != nil {
			require.ErrorIs(t, err, status.ErrBadReference)
			return
		}
		require.Positive(t, id)
		again, err := status.ParseReference(status.Reference(id))
		require.NoError(t, err)
		require.Equal(t, id, again)
	})
}
