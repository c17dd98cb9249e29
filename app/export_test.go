package app

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/pay/finance"
	"github.com/moneta-pay/moneta/pay/ledger"
)

func TestExportScope(t *testing.T) {
	t.Parallel()
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339Nano, s)
		require.NoError(t, err)
		return v
	}
	for _, c := range []struct {
		in   ExportConfig
		want finance.Scope
	}{
		{ExportConfig{}, finance.Scope{}},
		{ExportConfig{By: "effective", Asset: "CZK"}, finance.Scope{By: ledger.Effective, Asset: "CZK"}},
		{
			ExportConfig{From: "2026-01-31", To: "2026-01-31"},
			finance.Scope{From: at("2026-01-31T00:00:00Z"), Until: at("2026-02-01T00:00:00Z")},
		},
		{ExportConfig{AsOf: "2026-12-31"}, finance.Scope{Until: at("2027-01-01T00:00:00Z")}},
		{ExportConfig{AsOf: "2026-12-31T12:00:00Z"}, finance.Scope{Until: at("2026-12-31T12:00:00.000001Z")}},
	} {
		got, err := c.in.scope()
		require.NoError(t, err)
		require.Equal(t, c.want, got)
	}
	for _, bad := range []ExportConfig{
		{By: "value"},
		{Asset: "czk"},
		{From: "31.1.2026"},
		{To: "2026-02-30"},
		{From: "2026-02-02", To: "2026-02-01"},
		{AsOf: "yesterday"},
	} {
		_, err := bad.scope()
		require.Error(t, err, bad)
	}
}

func TestHalfAJournalIsNoFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.journal")
	cut := errors.New("the database went away")
	_, err := writeWhole(path, func(w io.Writer) (finance.Journal, error) {
		_, err := io.WriteString(w, "half")
		return finance.Journal{}, errors.Join(err, cut)
	})
	require.ErrorIs(t, err, cut)
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Empty(t, left)
	_, err = writeWhole(path, func(w io.Writer) (finance.Journal, error) {
		_, err := io.WriteString(w, "whole")
		return finance.Journal{}, err
	})
	require.NoError(t, err)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "whole", string(text))
}
