package app_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/app"
	"github.com/moneta-pay/moneta/pay/receipt"
)

// receiptsOfOld are the pinned receipts of pay/receipt and the keys that they are
// verified with; seed is the key's.
func receiptsOfOld(t *testing.T) (tokens []string, keys []byte) {
	t.Helper()
	raw, err := os.ReadFile("../pay/receipt/testdata/pinned.txt")
	require.NoError(t, err)
	return strings.Fields(string(raw)), keySet(t, 1)
}

func keySet(t *testing.T, seed byte) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)))
	require.NoError(t, err)
	s, err := receipt.ParseSigner(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	require.NoError(t, err)
	out, err := json.Marshal(s.KeySet())
	require.NoError(t, err)
	return out
}

// folder writes the files of one verification.
func folder(t *testing.T, token string, keys []byte) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "receipt.jws"), []byte(token), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "keys.json"), keys, 0o600))
	return dir
}

// tampered changes one character of each part in turn.
func tampered(token string) (all []string) {
	at := 0
	for part := range strings.SplitSeq(token, ".") {
		middle := at + len(part)/2
		other := byte('A')
		if token[middle] == other {
			other = 'B'
		}
		all = append(all, token[:middle]+string(other)+token[middle+1:])
		at += len(part) + 1
	}
	return all
}

func TestReceiptVerifySaysWhatIsProven(t *testing.T) {
	t.Parallel()
	tokens, keys := receiptsOfOld(t)
	open, succeeded, returned := tokens[3], tokens[4], tokens[6]
	const account = "CZ65 0800 0000 1920 0014 5399"
	for name, c := range map[string]struct {
		token, payee, lang string
		keys               []byte
		code               int
		reason, says       string
	}{
		"final":            {token: succeeded, keys: keys, says: "It was carried out."},
		"with a line end":  {token: succeeded + "\n", keys: keys, says: "Not proven: what happened since."},
		"the API's answer": {token: `{"object":"receipt","jws":"` + succeeded + `"}`, keys: keys, says: "700.00 CZK"},
		"its payee":        {token: succeeded, keys: keys, payee: account, says: account},
		"another payee":    {token: succeeded, keys: keys, payee: "CZ00", code: app.ExitMoney, reason: "other_payee", says: "Genuine"},
		"open":             {token: open, keys: keys, code: app.ExitOpen, reason: "not_final", says: "proves no outcome"},
		"returned, in zh":  {token: returned, keys: keys, lang: "zh", says: "已完成，随后资金被退回：700.00 CZK。"},
		"other keys":       {token: succeeded, keys: keySet(t, 2), code: app.ExitMoney, reason: "unknown_key"},
		"a header changed": {token: tampered(succeeded)[0], keys: keys, code: app.ExitMoney, reason: "unknown_key"},
		"a body changed":   {token: tampered(succeeded)[1], keys: keys, code: app.ExitMoney, reason: "forged"},
		"a signature":      {token: tampered(succeeded)[2], keys: keys, code: app.ExitMoney, reason: "forged"},
		"nothing":          {token: "", keys: keys, code: app.ExitMoney, reason: "not_a_receipt"},
	} {
		dir := folder(t, c.token, c.keys)
		of := app.ReceiptVerifyConfig{File: filepath.Join(dir, "receipt.jws"), Keys: filepath.Join(dir, "keys.json"), Payee: c.payee, Lang: c.lang}
		var said, machine bytes.Buffer
		of.Out = &said
		err := app.ReceiptVerify(t.Context(), of)
		of.Out, of.JSON = &machine, true
		require.Equal(t, err, app.ReceiptVerify(t.Context(), of), name)
		if c.code == 0 {
			require.NoError(t, err, name)
		} else {
			var exit *app.ExitError
			require.ErrorAs(t, err, &exit, name)
			require.Equal(t, c.code, exit.Code, name)
		}
		require.Contains(t, said.String(), c.says, name)
		var v struct {
			Genuine  bool
			Reason   string
			Document map[string]any
		}
		require.NoError(t, json.Unmarshal(machine.Bytes(), &v), name)
		require.Equal(t, c.reason, v.Reason, name)
		require.Equal(t, c.says != "", v.Genuine, name)
		require.Equal(t, v.Genuine, v.Document != nil, "nothing of what is not genuine is shown: %s", name)
		if !v.Genuine {
			require.Empty(t, said.String(), name)
		}
	}
}

// TestReceiptKeysComeFromWhereNobodyCanReplaceThem on the way.
func TestReceiptKeysComeFromWhereNobodyCanReplaceThem(t *testing.T) {
	t.Parallel()
	tokens, keys := receiptsOfOld(t)
	var asked int
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		switch r.URL.Path {
		case "/v1/receipt-keys":
			_, _ = w.Write(keys)
		case "/moved":
			http.Redirect(w, r, "/v1/receipt-keys", http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	verify := func(keys string) error {
		return app.ReceiptVerify(t.Context(), app.ReceiptVerifyConfig{File: "-", Keys: keys, In: strings.NewReader(tokens[4]), Out: io.Discard})
	}
	require.NoError(t, verify(server.URL+"/v1/receipt-keys"))
	require.ErrorContains(t, verify(server.URL+"/moved"), "302", "keys are where they were said to be")
	require.ErrorContains(t, verify(server.URL+"/else"), "/v1/receipt-keys")
	require.ErrorContains(t, verify("http://pay.example/v1/receipt-keys"), "https")
	require.ErrorContains(t, verify("file:///etc/keys.json"), "https")
	require.ErrorContains(t, verify("missing.json"), "read the keys")
	require.Equal(t, 3, asked)
	var out bytes.Buffer
	require.NoError(t, app.ReceiptKeys(t.Context(), server.URL+"/", &out))
	require.Equal(t, string(keys), out.String())
}

// TestTheDocumentedHashOfThePayee is what a shell and Node compute.
func TestTheDocumentedHashOfThePayee(t *testing.T) {
	t.Parallel()
	tokens, keys := receiptsOfOld(t)
	trusted, err := receipt.ParseKeys(keys)
	require.NoError(t, err)
	d, _, err := receipt.Verify([]byte(tokens[4]), trusted)
	require.NoError(t, err)
	document, err := json.Marshal(&d)
	require.NoError(t, err)
	page, err := os.ReadFile("../docs/receipts.md")
	require.NoError(t, err)
	for _, need := range []string{"node", "openssl"} {
		if _, err := exec.LookPath(need); err != nil {
			t.Skipf("NOT RUN: %s is not installed, so the recipes of the payee's hash were not tried", need)
		}
	}
	text := func(from, to string) string {
		t.Helper()
		_, rest, found := strings.Cut(string(page), from)
		require.True(t, found, from)
		rest, _, found = strings.Cut(rest, to)
		require.True(t, found, to)
		return rest
	}
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	write("document.json", string(document))
	write("payee.sh", "account=$1\n"+text("may have written spaces: they are left out on both sides.\n\n```sh\n", "```"))
	write("payee.mjs", text("In Node the hash is\n\n```js\n", "```")+"console.log(payeeHash(process.argv[2], process.argv[3]))\n")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	run := func(name string, args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir = dir
		out, err := cmd.Output()
		return strings.TrimSpace(string(out)), err
	}
	for account, want := range map[string]bool{
		"CZ6508000000192000145399": true, "CZ65 0800 0000 1920 0014 5399": true, "CZ6508000000192000145390": false, "": false,
	} {
		require.Equal(t, want, d.Names(account))
		_, err := run("sh", "payee.sh", account)
		require.Equal(t, want, err == nil, "%q: %v", account, err)
		hash, err := run("node", "payee.mjs", d.Payment, account)
		require.NoError(t, err)
		require.Equal(t, want, hash == d.Payee.SHA256, account)
	}
}

// TestDocumentedRecipesVerify runs what docs/receipts.md tells readers to run: strangers'
// code, which shares nothing with ours.
func TestDocumentedRecipesVerify(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/receipts.md")
	require.NoError(t, err)
	recipe := func(kind, holding string) string {
		t.Helper()
		for _, block := range regexp.MustCompile("(?s)```"+kind+"\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
			if strings.Contains(block[1], holding) {
				return block[1]
			}
		}
		require.Fail(t, "there is no such recipe", kind)
		return ""
	}
	tokens, keys := receiptsOfOld(t)
	others := keySet(t, 2)
	program := filepath.Join(t.TempDir(), "verify")
	for _, r := range []struct {
		needs, file, text string
		run               []string
	}{
		{"node", "verify.mjs", recipe("js", "node:crypto"), []string{"node", "verify.mjs"}},
		{"openssl", "verify.sh", recipe("sh", "openssl pkeyutl"), []string{"sh", "verify.sh"}},
		{"go", "verify.go", recipe("go", "ed25519"), []string{program}},
	} {
		if _, err := exec.LookPath(r.needs); err != nil {
			t.Logf("NOT RUN: %s is not installed, so its recipe was not tried", r.needs)
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		try := func(token string, keys []byte) (string, error) {
			dir := folder(t, token, keys)
			require.NoError(t, os.WriteFile(filepath.Join(dir, r.file), []byte(r.text), 0o600))
			if r.needs == "go" {
				if _, err := os.Stat(program); err != nil {
					build := exec.CommandContext(ctx, "go", "build", "-o", program, r.file)
					build.Dir = dir
					out, err := build.CombinedOutput()
					require.NoError(t, err, string(out))
				}
			}
			cmd := exec.CommandContext(ctx, r.run[0], r.run[1:]...)
			cmd.Dir = dir
			out, err := cmd.Output()
			return string(out), err
		}
		said, err := try(tokens[4], keys)
		require.NoError(t, err, r.needs)
		var d receipt.Document
		require.NoError(t, json.Unmarshal([]byte(said), &d), r.needs)
		require.Equal(t, []any{"pay_0000000000007", "succeeded", true}, []any{d.Payment, d.State, d.Final}, r.needs)
		for _, token := range tampered(tokens[4]) {
			said, err := try(token, keys)
			require.Error(t, err, "%s took %s", r.needs, token)
			require.NotContains(t, said, "succeeded", r.needs)
		}
		_, err = try(tokens[4], others)
		require.Error(t, err, "%s took a stranger's key", r.needs)
	}
}
