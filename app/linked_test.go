package app

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay/desk"
	"github.com/moneta-pay/moneta/pay/recon"
)

// onlyOne knows break 12 and tenant 1's case 7 of 2026.
type onlyOne struct{ down bool }

func (o onlyOne) Break(_ context.Context, id int64) (recon.Break, error) {
	switch {
	case o.down:
		return recon.Break{}, fault.New(fault.DatabaseUnavailable, "")
	case id != 12:
		return recon.Break{}, fault.New(fault.NotFound, "")
	}
	return recon.Break{ID: id}, nil
}

func (onlyOne) Get(_ context.Context, reach desk.Reach, n desk.Number) (desk.Case, error) {
	if reach.Tenant != 1 || n != (desk.Number{Year: 2026, ID: 7}) {
		return desk.Case{}, fault.New(fault.NotFound, "")
	}
	return desk.Case{Number: n}, nil
}

func TestACompensationNamesWhatIsThere(t *testing.T) {
	t.Parallel()
	for link, want := range map[string]fault.Code{
		"break 12": "", "case C-2026-000007": "", "C-2026-000007": "", "pay_0000000000001": "", "incident 7": "", "inc_20261122T030000Z": "",
		"break 13": fault.MalformedRequest, "break ": fault.MalformedRequest, "break 0": fault.MalformedRequest, "break 012": fault.MalformedRequest, "break +12": fault.MalformedRequest, "break twelve": fault.MalformedRequest,
		"case 7": fault.MalformedRequest, "C-2026-000008": fault.MalformedRequest,
	} {
		err := linkedTo(onlyOne{}, onlyOne{})(t.Context(), 1, link)
		require.Equal(t, want, fault.CodeOf(err), link)
	}
	require.Equal(t, fault.MalformedRequest, fault.CodeOf(linkedTo(onlyOne{}, onlyOne{})(t.Context(), 2, "C-2026-000007")), "another tenant's")
	require.Equal(t, fault.DatabaseUnavailable, fault.CodeOf(linkedTo(onlyOne{down: true}, onlyOne{})(t.Context(), 1, "break 12")), "who cannot look does not say that it is not there")
}
