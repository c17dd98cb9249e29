package keys

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type memory map[string]string

func (m memory) Get(name string) (string, bool) { v, ok := m[name]; return v, ok }
func (m memory) Set(name, value string)         { m[name] = value }
func (m memory) Delete(name string)             { delete(m, name) }

// ledgerOf is a transaction's table of processed events.
type ledgerOf map[string]bool

func (l ledgerOf) Exec(_ string, args ...any) (int64, error) {
	event, _ := args[0].(string)
	if l[event] {
		return 0, nil
	}
	l[event] = true
	return 1, nil
}

// vector is a call and what it must give, in both languages.
type vector struct {
	Call string
	Args []string
	Want string
}

func vectors(t *testing.T) []vector {
	t.Helper()
	b, err := os.ReadFile("testdata/vectors.json")
	require.NoError(t, err)
	var out []vector
	require.NoError(t, json.Unmarshal(b, &out))
	require.GreaterOrEqual(t, len(out), 8)
	return out
}

func TestRecipesGiveWhatTheyPromise(t *testing.T) {
	t.Parallel()
	for _, v := range vectors(t) {
		var got string
		a := v.Args
		switch v.Call {
		case "guard":
			got = Guard([]byte(a[0]), a[1], a[2], a[3], a[4], time.Unix(number(t, a[5]), 0))
		case "batchKey":
			got = BatchKey(a[0], int(number(t, a[1])))
		case "businessKey":
			got = BusinessKey(a...)
		case "reference":
			var err error
			got, err = Reference(a[0], int(number(t, a[1])))
			require.NoError(t, err)
		case "webhookKey":
			got = WebhookKey(a[0], []byte(a[1]))
		case "chainKey":
			got = ChainKey(uint64(number(t, a[0])), a[1], uint64(number(t, a[2])))
		default:
			t.Fatalf("no recipe %s", v.Call)
		}
		require.Equal(t, v.Want, got, "%s%v", v.Call, a)
	}
	_, err := Reference("order 7", 1)
	require.Error(t, err)
}

func number(t *testing.T, s string) int64 {
	t.Helper()
	var n int64
	require.NoError(t, json.Unmarshal([]byte(s), &n))
	return n
}

func TestAPurchaseKeepsItsKey(t *testing.T) {
	t.Parallel()
	s, minted := memory{}, 0
	mint := func() string { minted++; return strings.Repeat("k", minted) }
	d := Draft{"ann", "bob", "100", "CZK", "balance"}
	first := PurchaseKey(s, d, mint)
	require.Equal(t, first, PurchaseKey(s, d, mint), "a second tap")
	Concluded(s, d, "processing")
	require.Equal(t, first, PurchaseKey(s, d, mint), "a timeout changes nothing")
	other := d
	other.Amount, other.Payee = "00", "bob1" // runs together the same
	require.NotEqual(t, first, PurchaseKey(s, other, mint))
	Concluded(s, d, "succeeded")
	require.NotEqual(t, first, PurchaseKey(s, d, mint), "a new wish is a new key")
}

func TestAnEventIsWorkedOnOnce(t *testing.T) {
	t.Parallel()
	tx, n := ledgerOf{}, 0
	work := func(Tx) error { n++; return nil }
	for range 3 {
		require.NoError(t, Once(tx, "evt_1", work))
	}
	require.Equal(t, 1, n)
	broken := errors.New("broken")
	require.ErrorIs(t, Once(tx, "evt_2", func(Tx) error { return broken }), broken)
}

// types are what TypeScript has and JavaScript has not, as keys.ts uses it; a test
// on a Node that knows TypeScript would not need this.
var types = []struct {
	re   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`(?ms)^export interface \w+ \{.*?\}$`), ""},
	{regexp.MustCompile(`(\w|\)): (?:\(\w*(?:: \w+)?\) => )?(?:Promise<\w+>|string\[\]|[A-Za-z0-9]+)(?: \| undefined)?([,)]| \{| =>)`), "$1$2"},
}

// TestTheSameInTypeScript runs keys.ts in Node over the same vectors.
func TestTheSameInTypeScript(t *testing.T) {
	t.Parallel()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed")
	}
	source, err := os.ReadFile("keys.ts")
	require.NoError(t, err)
	code := string(source)
	for _, strip := range types {
		for before := ""; before != code; {
			before, code = code, strip.re.ReplaceAllString(code, strip.with)
		}
	}
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	all, err := json.Marshal(vectors(t))
	require.NoError(t, err)
	write("keys.mjs", code)
	write("run.mjs", `import * as keys from "./keys.mjs";
import assert from "node:assert";
const bytes = (s) => new TextEncoder().encode(s);
const calls = {
  guard: (a) => keys.guard(bytes(a[0]), a[1], a[2], a[3], a[4], Number(a[5])),
  batchKey: (a) => keys.batchKey(a[0], Number(a[1])),
  businessKey: (a) => keys.businessKey(...a),
  reference: (a) => keys.reference(a[0], Number(a[1])),
  webhookKey: (a) => keys.webhookKey(a[0], bytes(a[1])),
  chainKey: (a) => keys.chainKey(BigInt(a[0]), a[1], BigInt(a[2])),
};
for (const v of `+string(all)+`) assert.strictEqual(calls[v.Call](v.Args), v.Want);
const m = new Map(), d = { user: "ann", payee: "bob", amount: "100", asset: "CZK", method: "balance" };
let n = 0;
const mint = () => "k" + ++n;
const first = keys.purchaseKey(m, d, mint);
keys.concluded(m, d, "processing");
assert.strictEqual(keys.purchaseKey(m, d, mint), first);
assert.notStrictEqual(keys.purchaseKey(m, { ...d, payee: "bob1", amount: "00" }, mint), first);
keys.concluded(m, d, "failed");
assert.notStrictEqual(keys.purchaseKey(m, d, mint), first);
const seen = new Set();
const tx = { exec: async (_, [e]) => (seen.has(e) ? 0 : (seen.add(e), 1)) };
let worked = 0;
for (let i = 0; i < 3; i++) await keys.once(tx, "evt_1", async () => { worked++; });
assert.strictEqual(worked, 1);
assert.throws(() => keys.reference("order 7", 1));
console.log("ok");
`)
	out, err := exec.CommandContext(t.Context(), node, filepath.Join(dir, "run.mjs")).CombinedOutput()
	require.NoError(t, err, "%s\n%s", out, code)
	require.Equal(t, "ok\n", string(out))
}

// TestThePageShowsTheCode: what docs/keys.md shows is what runs here.
func TestThePageShowsTheCode(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/keys.md")
	require.NoError(t, err)
	recipe := regexp.MustCompile(`(?s)// recipe: (\w+)\n(.*?)\n*// recipe: `)
	for _, name := range []string{"keys.go", "keys.ts"} {
		source, err := os.ReadFile(name)
		require.NoError(t, err)
		shown := 0
		for rest := string(source); ; {
			m := recipe.FindStringSubmatchIndex(rest)
			if m == nil {
				break
			}
			require.Contains(t, string(page), strings.TrimSpace(rest[m[4]:m[5]]), "%s: the recipe %s", name, rest[m[2]:m[3]])
			shown++
			rest = rest[m[5]:]
		}
		require.Equal(t, 7, shown, name)
	}
}
