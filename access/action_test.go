package access

import (
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moneta-pay/moneta/fault"
)

// The vector holds the form: if it changes, every signature that exists is void.
func TestCanonicalVector(t *testing.T) {
	t.Parallel()
	a := Action{
		ID: ApprovalID{1, 2, 3}, Tenant: 7, Kind: "set_floor", Reason: "line\nbreak \"quoted\" 理由", Maker: "ann",
		Parameters: Parameters{"floor": "-5", "account": "acct_1"}, ExpiresAt: time.Date(2026, 11, 22, 5, 0, 0, 0, time.UTC),
	}
	want := `{"approval":"apr_aebagaaaaaaaaaaaaaaaaaaaaa","expires_at":"2026-11-22T05:00:00Z","kind":"set_floor","maker":"ann",` +
		`"parameters":{"account":"acct_1","floor":"-5"},"reason":"line\nbreak \"quoted\" 理由","tenant":7,"v":1}`
	require.Equal(t, []byte(want), a.Canonical())
	require.Equal(t, "7d374b56b6691182b1fe45195a32fd9703d1177d88a8f0606224b3ef2f508ded", HashText(a.Hash()))
}

func TestCanonicalFormIsOneAndWhole(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		p := Parameters(rapid.MapOfN(rapid.StringMatching(`[a-z_]{1,8}`), rapid.String(), 0, 8).Draw(r, "parameters"))
		for k, v := range p {
			p[k] = strings.ToValidUTF8(v, "?")
		}
		text := p.Canonical()
		back, err := parseParameters(text)
		if err != nil || !maps.Equal(back, p) {
			r.Fatalf("%q became %q: %v", p, back, err)
		}
		// encoding/json sorts too; without its extra escapes it must agree on the value.
		var std map[string]string
		if err := json.Unmarshal([]byte(text), &std); err != nil || !maps.Equal(std, p) {
			r.Fatalf("%q is not JSON: %v", text, err)
		}
	})
}

// TestEveryPartOfAnActionIsBound changes one thing at a time.
func TestEveryPartOfAnActionIsBound(t *testing.T) {
	t.Parallel()
	made := func() Action {
		return Action{ID: ApprovalID{1}, Tenant: 1, Kind: "k", Parameters: Parameters{"a": "1", "b": "2"}, Reason: "r", Maker: "m", ExpiresAt: time.Unix(1000, 0)}
	}
	original := made()
	seen := map[string]bool{HashText(original.Hash()): true}
	for name, change := range map[string]func(a *Action){
		"id": func(a *Action) { a.ID[15] = 1 }, "tenant": func(a *Action) { a.Tenant = 2 }, "kind": func(a *Action) { a.Kind = "l" },
		"value": func(a *Action) { a.Parameters["a"] = "11" }, "swapped": func(a *Action) { a.Parameters["a"], a.Parameters["b"] = "2", "1" },
		"missing": func(a *Action) { delete(a.Parameters, "b") }, "more": func(a *Action) { a.Parameters["c"] = "" },
		"one value like two":                    func(a *Action) { a.Parameters = Parameters{"a": `1","b":"2`} },
		"reason":                                func(a *Action) { a.Reason = "s" },
		"maker":                                 func(a *Action) { a.Maker = "n" },
		"expiry":                                func(a *Action) { a.ExpiresAt = a.ExpiresAt.Add(time.Second) },
		"a member moved into the one before it": func(a *Action) { a.Kind = `k","maker":"m` },
	} {
		a := made()
		change(&a)
		h := HashText(a.Hash())
		require.False(t, seen[h], name)
		seen[h] = true
	}
}

func TestWhatPeopleCannotSeeIsRefused(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"", "plain", "中文，标点", "two\nlines", "emoji 🙂"} {
		require.True(t, readable(good), good)
	}
	for _, bad := range []string{"\x00", "a\tb", "a\rb", "\u202egnp", "a\u200bb", "\u2066x", "\x1b[2J", "\xff", "a\u2028b", "\ufeff"} {
		require.False(t, readable(bad), "%q", bad)
	}
}

func TestApprovalIDs(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		var id ApprovalID
		copy(id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(r, "id"))
		back, err := ParseApprovalID(id.String())
		if err != nil || back != id {
			r.Fatalf("%v became %v: %v", id, back, err)
		}
	})
	good := ApprovalID{1}.String()
	for _, bad := range []string{"", "apr_", good + "a", good[:len(good)-1], strings.ToUpper(good), good[:len(good)-1] + "b", "pay_" + good[4:]} {
		_, err := ParseApprovalID(bad)
		require.ErrorIs(t, err, fault.NotFound, bad)
	}
}

func TestKindsThatAreNotWholePanic(t *testing.T) {
	t.Parallel()
	a := &Approvals{kinds: map[string]*Kind{}}
	whole := (&deed{}).kind()
	a.Register(whole)
	for name, change := range map[string]func(k *Kind){
		"twice": func(*Kind) {}, "no name": func(k *Kind) { k.Name = "" }, "no words": func(k *Kind) { k.Name, k.Describe = "x", nil },
		"no act": func(k *Kind) { k.Name, k.Perform = "x", nil },
	} {
		k := whole
		change(&k)
		require.Panics(t, func() { a.Register(k) }, name)
	}
}

// FuzzParameters: what is stored is read in one form only.
func FuzzParameters(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":"b"}`, `{"a":"\u0001\n\"\\"}`, `{ }`, `{"b":"","a":""}`, `{"a":1}`, `null`, `{"a":"b","a":"c"}`, "{\"a\":\"\xff\"}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parseParameters(text)
		if err == nil && p.Canonical() != text {
			t.Fatalf("%q was read, but is written %q", text, p.Canonical())
		}
	})
}

// FuzzCredential: outside text becomes a credential or a refusal.
func FuzzCredential(f *testing.F) {
	for _, m := range []Method{Ed25519, TOTP} {
		_, c, _, err := Enrol("fuzz", m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(c)
	}
	f.Add("totp:..")
	f.Add("ed25519:" + strings.Repeat("A", 43))
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseCredential(text)
		if err == nil && (len(c.publicKey) == 32) == (len(c.passHash) == 32) {
			t.Fatalf("%q is neither or both", text)
		}
	})
}

// FuzzSignatureHeader: no header that was not signed gets through, and none panics.
func FuzzSignatureHeader(f *testing.F) {
	k, _, _, err := Enrol("fuzz", Ed25519)
	if err != nil {
		f.Fatal(err)
	}
	r, err := http.NewRequest(http.MethodGet, "http://moneta.test/v1", nil)
	if err != nil {
		f.Fatal(err)
	}
	if err := k.Sign(r, nil, time.Unix(2_000_000_000, 0)); err != nil {
		f.Fatal(err)
	}
	f.Add(r.Header.Get("Authorization"))
	f.Add(SignatureScheme + ` key="", at="", nonce="", signature=""`)
	s := &Store{now: time.Now}
	f.Fuzz(func(t *testing.T, header string) {
		r.Header.Set("Authorization", header)
		if _, err := s.AuthenticateSigned(t.Context(), r, nil); err == nil {
			t.Fatal("let in")
		}
	})
}
