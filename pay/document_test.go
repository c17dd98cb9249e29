package pay_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/pay"
)

var update = flag.Bool("update", false, "rewrite docs/states.md from the table")

func TestStatesDocumentIsDrawnFromTheTable(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "docs", "states.md")
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(pay.Document()), 0o644))
	}
	kept, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, pay.Document(), string(kept), "docs/states.md is stale: go test ./pay -run States -update")
}

func TestStatesDocumentNamesEverything(t *testing.T) {
	t.Parallel()
	text := pay.Document()
	for _, word := range []string{
		"T22", "T1)", "T3)", "T4)", "T5)", "T6)", "T7)", "T8)", "T10)", "T11)", "| 12 |", "| 14 |", "| 15 |",
		"`from:held → clr:out` P", "`clr:out → nostro` P", "`fee:cost → nostro` c", "`nostro → clr:in` P−c",
		"never_sent", "## Send", "## Payout", "## Deposit", "## Hold", "## Capture", "`from:held → from:av` rest", "reserved; if nothing is left succeeded", "[*] --> created: accept",
		"## Refund", "T19", "## Late payout", "`recv:user → clr:out` P", "| late_payout |", "## Chargeback", "## Compensation", "stays",
	} {
		require.Contains(t, text, word)
	}
	require.Equal(t, 13, strings.Count(text, "```mermaid"))
	require.NotContains(t, text, "%!", "a broken format")
}
