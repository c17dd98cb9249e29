package console

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// receiptsScript runs the browser's verifier over the receipts that are pinned in
// pay/receipt, and over each of them changed at every place.
const receiptsScript = `
import { createRequire } from 'node:module';
import { readFileSync, writeFileSync } from 'node:fs';
import { webcrypto } from 'node:crypto';
globalThis.crypto ??= webcrypto;
const [web, file, key] = process.argv.slice(2);
const ts = createRequire(web + '/')('typescript');
const source = readFileSync(web + '/src/screens/payments/receipts.ts', 'utf8');
writeFileSync('receipts.mjs', ts.transpileModule(source, { compilerOptions: { target: 'ES2022', module: 'ESNext' } }).outputText);
const { verify, tokenOf, major } = await import(process.cwd() + '/receipts.mjs');
const tokens = readFileSync(file, 'utf8').trim().split('\n');
const kid = JSON.parse(Buffer.from(tokens[0].split('.')[0], 'base64url')).kid;
const keys = [{ kty: 'OKP', crv: 'Ed25519', kid, x: key }];
const out = { genuine: 0, took: [], refusals: {}, says: [] };
for (const t of tokens) {
  const v = await verify(t, keys);
  if (v.document) out.genuine++;
  if (v.document && out.says.length < 7) out.says.push([v.document.payment, v.document.state, v.document.disposition ?? '', major(v.document.amount, v.document)].join(' '));
}
const one = tokens[4];
const tries = [];
for (let i = 0; i < one.length; i++) {
  for (const c of 'AB.=\n') if (one[i] !== c) tries.push(one.slice(0, i) + c + one.slice(i + 1));
  tries.push(one.slice(0, i) + one.slice(i + 1));
}
const [h, b, s] = one.split('.');
const none = Buffer.from(JSON.stringify({ alg: 'none', kid, typ: 'moneta-receipt+jws' })).toString('base64url');
tries.push('', h, one + '.', one + 'A', [none, b, ''].join('.'), [none, b, s].join('.'), [b, h, s].join('.'));
for (const t of tries) {
  const v = await verify(t, keys);
  if (v.document) out.took.push(t);
  else out.refusals[v.refusal] = (out.refusals[v.refusal] ?? 0) + 1;
}
out.stranger = (await verify(one, [{ ...keys[0], kid: 'another' }])).refusal;
out.borrowed = (await verify(one, [{ ...keys[0], x: 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA' }])).refusal;
out.file = tokenOf(JSON.stringify({ jws: one }) + '\n') === one && tokenOf(one + '\n') === one;
process.stdout.write(JSON.stringify(out));
`

// TestTheBrowserVerifiesReceipts as strictly as the server does.
func TestTheBrowserVerifiesReceipts(t *testing.T) {
	t.Parallel()
	web, err := filepath.Abs("web")
	require.NoError(t, err)
	if _, err := exec.LookPath("node"); err != nil {
		require.NotEqual(t, "1", os.Getenv("CI"), "the build machine needs node; see scripts/setup.sh")
		t.Skip("NOT RUN: node is not installed, so the browser's verifier of receipts was not tried")
	}
	if _, err := os.Stat(filepath.Join(web, "node_modules", "typescript")); err != nil {
		require.NotEqual(t, "1", os.Getenv("CI"), "the console's libraries were not fetched; see scripts/console.sh")
		t.Skip("NOT RUN: the libraries of console/web are not here (make console fetches them)")
	}
	pinned, err := filepath.Abs("../pay/receipt/testdata/pinned.txt")
	require.NoError(t, err)
	raw, err := os.ReadFile(pinned)
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "try.mjs"), []byte(receiptsScript), 0o600))
	public, ok := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize)).Public().(ed25519.PublicKey)
	require.True(t, ok)

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "try.mjs", web, pinned, base64.RawURLEncoding.EncodeToString(public))
	cmd.Dir = dir
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	said, err := cmd.Output()
	require.NoError(t, err, complaint.String())
	var out struct {
		Genuine            int
		Took, Says         []string
		Refusals           map[string]int
		Stranger, Borrowed string
		File               bool
	}
	require.NoError(t, json.Unmarshal(said, &out))
	require.Equal(t, len(strings.Fields(string(raw))), out.Genuine)
	require.Empty(t, out.Took, "a receipt that was changed was taken for genuine")
	require.Greater(t, out.Refusals["forged"], 1_000)
	require.Greater(t, out.Refusals["form"], 1_000)
	require.Zero(t, out.Refusals["unable"])
	require.Equal(t, []string{"unknown_key", "forged"}, []string{out.Stranger, out.Borrowed})
	require.True(t, out.File)
	require.Equal(t, []string{"pay_0000000000007 succeeded  700.00 CZK", "pay_0000000000007 succeeded partly_returned 700.00 CZK", "pay_0000000000007 succeeded returned 700.00 CZK"}, out.Says[4:])
}
