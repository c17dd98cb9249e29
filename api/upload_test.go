package api_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/pay/channel"
	rail "github.com/moneta-pay/moneta/pay/channel/sandbox"
	"github.com/moneta-pay/moneta/pay/recon"
)

// withStatements is a crew whose edge imports statements of bank-ab, behind the real
// server's limits.
func withStatements(t *testing.T) *crew {
	t.Helper()
	pool := pgtest.Database(t)
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{LogOutput: io.Discard, SampleOneIn: telemetry.SampleOff})
	require.NoError(t, err)
	ch, err := rail.New(rail.Config{BaseURL: "http://127.0.0.1:1", Bank: "ab", Secrets: []string{"s"}, Capabilities: rail.DefaultCapabilities()})
	require.NoError(t, err)
	t.Cleanup(ch.Close)
	c := &crew{files: map[string]access.KeyFile{}}
	c.world = newWorld(t, func(cfg *api.Config) {
		cfg.Recon = recon.New(recon.Config{Pool: pool, Channels: []channel.Channel{ch}, Telemetry: tel})
	})
	c.serve(api.NewServer(c.server.Config.Handler, tel.Logger()))
	c.add("mara", access.Operate)
	return c
}

// statementFile is Moneta's own CSV of so many lines, each about 180 bytes.
func statementFile(lines int) []byte {
	var b bytes.Buffer
	b.WriteString("record,line_id,booking_date,booked_at,direction,reference,amount,fee,asset,remittance,return_reason,balance,lines\n")
	b.WriteString("open,,2026-01-05,,,,,,CZK,,,0.00,\n")
	remittance := strings.Repeat("r", 80)
	for i := range lines {
		fmt.Fprintf(&b, "line,L%d,2026-01-05,2026-01-05T09:00:00Z,in,M%015d,1.00,0.00,CZK,%s,,,\n", i, i, remittance)
	}
	fmt.Fprintf(&b, "close,,2026-01-05,,,,,,CZK,,,%d.00,%d\n", lines, lines)
	return b.Bytes()
}

// A person imports a file that is many times as long as any other body; no file is
// held in memory, and none is left behind.
func TestALargeStatementIsImportedWithASignature(t *testing.T) {
	spool := t.TempDir()
	t.Setenv("TMPDIR", spool)
	c := withStatements(t)
	lines := 60_000 // 9 MB
	if n, err := strconv.Atoi(os.Getenv("MONETA_STATEMENT_LINES")); err == nil {
		lines = n
	}
	body := statementFile(lines)
	t.Logf("%d lines, %d MB", lines, len(body)>>20)
	const path = "/v1/recon/statements?channel=bank-ab"
	post := func(sent, signed []byte) *answer {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.server.URL+path, bytes.NewReader(sent))
		require.NoError(t, err)
		f := c.files["mara"]
		require.NoError(t, f.Sign(req, signed, time.Now()))
		return c.send(req)
	}
	a := post(body, body)
	require.Equal(t, http.StatusCreated, a.StatusCode, string(a.body))
	require.InDelta(t, lines, a.json["data"].([]any)[0].(map[string]any)["lines"], 0)
	again := post(body, body)
	require.Equal(t, http.StatusOK, again.StatusCode, string(again.body))

	// One byte that was not signed, in the middle.
	changed := bytes.Clone(body)
	changed[len(changed)/2] ^= 1
	requireProblem(t, post(changed, body), fault.Unauthenticated)
	left, err := filepath.Glob(filepath.Join(spool, "moneta-upload-*"))
	require.NoError(t, err)
	require.Empty(t, left, "no file stays")
}

// A stranger's file takes no place on the disk: it is refused before it is read.
func TestAStrangersUploadIsNotRead(t *testing.T) {
	t.Parallel()
	c := withStatements(t)
	stranger, _, _, err := access.Enrol("stranger", access.Ed25519)
	require.NoError(t, err)
	c.server.Client().Transport.(*http.Transport).ExpectContinueTimeout = patience
	gate := &gated{after: []byte(strings.Repeat("x", 1<<20))}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.server.URL+"/v1/recon/statements?channel=bank-ab", gate)
	require.NoError(t, err)
	req.Header.Set("Expect", "100-continue")
	require.NoError(t, stranger.Sign(req, nil, time.Now()))
	requireProblem(t, c.send(req), fault.Unauthenticated)
	require.False(t, gate.read, "the body was not asked for")

	huge, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.server.URL+"/v1/recon/statements?channel=bank-ab", gate)
	require.NoError(t, err)
	huge.ContentLength = 65 << 20
	huge.Header.Set("Expect", "100-continue")
	f := c.files["mara"]
	require.NoError(t, f.Sign(huge, nil, time.Now()))
	requireProblem(t, c.send(huge), fault.BodyTooLarge)
}

// gated is a body that remembers whether anybody read it.
type gated struct {
	read  bool
	after []byte
}

func (g *gated) Read(b []byte) (int, error) {
	g.read = true
	n := copy(b, g.after)
	g.after = g.after[n:]
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}
