package receipt

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moneta-pay/moneta/event"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
)

func privatePEM(t testing.TB, seed byte) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)))
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: privateBlock, Bytes: der})
}

func publicPEM(t testing.TB, seed byte, headers map[string]string) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)).Public())
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: publicBlock, Headers: headers, Bytes: der})
}

func signerOf(t testing.TB, file ...[]byte) *Signer {
	t.Helper()
	s, err := ParseSigner(bytes.Join(file, nil))
	require.NoError(t, err)
	return s
}

// keysOf is the signer's key set, as it travels.
func keysOf(t testing.TB, s *Signer) Keys {
	t.Helper()
	raw, err := json.Marshal(s.KeySet())
	require.NoError(t, err)
	keys, err := ParseKeys(raw)
	require.NoError(t, err)
	return keys
}

// subject is a payout of long ago.
func subject() pay.Payment {
	return pay.Payment{
		ID: 7, Kind: pay.Payout, Asset: "CZK", Amount: money.Int(70_000), Fee: money.Int(150), From: 2, PayeeAccount: "CZ6508000000192000145399",
		CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 6_000, time.UTC),
	}
}

// life is a payout that succeeds, and comes back in two parts.
func lifeOf() *history {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6_000, time.UTC)
	own := func(id int64, seq int32, t pay.Transition, from, to pay.State) move {
		return move{id: id, payment: 7, kind: pay.Payout, amount: money.Int(70_000), seq: seq, t: t, from: from, to: to, at: at.Add(time.Duration(id) * time.Second)}
	}
	back := func(id int64, payment pay.ID, amount int64) move {
		return move{
			id: id, payment: payment, kind: pay.Return, amount: money.Int(amount), original: 7, seq: 1, t: 13, from: pay.None, to: pay.Succeeded,
			at: at.Add(time.Duration(id) * time.Second),
		}
	}
	return &history{payment: subject(), moves: []move{
		own(40, 1, 1, pay.None, pay.Created), own(41, 2, 3, pay.Created, pay.Reserved), own(50, 3, 4, pay.Reserved, pay.Dispatching),
		own(61, 4, 6, pay.Dispatching, pay.Unknown), own(72, 5, 7, pay.Unknown, pay.Succeeded), back(90, 8, 30_000), back(95, 9, 40_000),
	}}
}

var pin = flag.Bool("pin", false, "write the receipts that are not in testdata/pinned.txt yet; those that are never change")

// TestPinned: the same transition gives the same bytes for ever, in every release.
func TestPinned(t *testing.T) {
	t.Parallel()
	signer := signerOf(t, privatePEM(t, 1))
	documents, err := lifeOf().documents()
	require.NoError(t, err)
	var now []string
	for i := range documents {
		token, err := signer.Sign(&documents[i])
		require.NoError(t, err)
		now = append(now, token)
	}
	// Every kind in every state that it can be in, and each disposition of it.
	for k := pay.Send; k <= pay.Compensation; k++ {
		for s := pay.Created; s <= pay.InReview; s++ {
			for n, back := range []pay.Back{{}, {Refunding: money.Int(1)}, {Refunded: money.Int(70_000)}, {Returned: money.Int(1)}, {ChargedBack: money.Int(2)}} {
				p := subject()
				p.Kind, p.State, p.Back, p.To = k, s, back, 4
				if n > 0 && s != pay.Succeeded {
					continue
				}
				if k == pay.Hold && s == pay.Succeeded {
					p.Taken = money.Int(100)
				}
				d, err := documentOf(&p, &move{id: 3, payment: p.ID, seq: 2, t: 7, to: s, at: p.CreatedAt})
				require.NoError(t, err)
				token, err := signer.Sign(&d)
				require.NoError(t, err)
				now = append(now, token)
			}
		}
	}
	const path = "testdata/pinned.txt"
	raw, err := os.ReadFile(path)
	if !os.IsNotExist(err) || !*pin {
		require.NoError(t, err)
	}
	before := strings.Fields(string(raw))
	if *pin {
		require.NoError(t, os.WriteFile(path, []byte(strings.Join(append(before, now[len(before):]...), "\n")+"\n"), 0o644))
		return
	}
	require.Len(t, now, len(before))
	for i := range now {
		if before[i] != now[i] {
			require.Equal(t, text(t, before[i]), text(t, now[i]), "a receipt of before would be signed differently now")
		}
		require.Equal(t, before[i], now[i])
	}
}

func text(t testing.TB, token string) string {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	require.NoError(t, err)
	return string(raw)
}

// TestWhatAReceiptSays reads one as text, so that nobody adds to it unseen.
func TestWhatAReceiptSays(t *testing.T) {
	t.Parallel()
	documents, err := lifeOf().documents()
	require.NoError(t, err)
	require.Len(t, documents, 7)
	signer := signerOf(t, privatePEM(t, 1))
	token, err := signer.Sign(&documents[6])
	require.NoError(t, err)
	require.Equal(t, `{"accepted_at":"2026-01-02T03:04:05.000006Z","amount":"70000","asset":"CZK","back":{"returned":"70000"},"decimals":2,"disposition":"returned",`+
		`"fee":"150","final":true,"format":"moneta-receipt/1","kind":"payout","money_at":"available",`+
		`"payee":{"ends_with":"5399","sha256":"`+PayeeHash("pay_0000000000007", "CZ6508000000192000145399")+`"},"payment":"pay_0000000000007",`+
		`"recorded_at":"2026-01-02T03:05:40.000006Z","reference":"`+documents[6].Reference+`",`+
		`"rests_on":{"event":"evt_000000000002Z","linked":"return","sequence":1,"transition":"T13"},"state":"succeeded","status":"succeeded"}`, text(t, token))
	require.Equal(t, "partly_returned", documents[5].Disposition)
	d, kid, err := Verify([]byte(token), keysOf(t, signer))
	require.NoError(t, err)
	require.Equal(t, signer.KeyID(), kid)
	require.Equal(t, documents[6], d)
	require.True(t, d.Names("CZ65 0800 0000 1920 0014 5399"), "as people write it")
	require.False(t, d.Names("CZ6508000000192000145390"))
	require.Less(t, len(token), TokenMax/4)
	_, err = documentOf(&pay.Payment{ID: 1, Asset: "XXQ"}, &move{})
	require.Error(t, err)
}

// TestAnyOtherByteIsNoReceipt, at every place of a receipt.
func TestAnyOtherByteIsNoReceipt(t *testing.T) {
	t.Parallel()
	signer := signerOf(t, privatePEM(t, 1))
	keys := keysOf(t, signer)
	documents, err := lifeOf().documents()
	require.NoError(t, err)
	token, err := signer.Sign(&documents[4])
	require.NoError(t, err)
	_, _, err = Verify([]byte(token), keys)
	require.NoError(t, err)
	refused := func(changed []byte, at int) {
		t.Helper()
		_, _, err := Verify(changed, keys)
		require.Error(t, err, "at %d: %s", at, changed)
		require.True(t, errors.Is(err, ErrForm) || errors.Is(err, ErrForged) || errors.Is(err, ErrUnknownKey), err)
	}
	for i := range len(token) {
		for _, b := range []byte{token[i] ^ 1, token[i] ^ 0x20, 'A', 'B', '\n', '=', '.', 0} {
			if b != token[i] {
				changed := []byte(token)
				changed[i] = b
				refused(changed, i)
			}
		}
		refused([]byte(token[:i]+token[i+1:]), i)
		refused([]byte(token[:i]+"A"+token[i:]), i)
		refused([]byte(token[:i]), i)
	}
	refused([]byte(token+"A"), len(token))
	refused([]byte(token+"\n"), len(token))
	refused(bytes.Repeat([]byte("A"), TokenMax+1), 0)
}

// TestForgeries are receipts that an attacker would make.
func TestForgeries(t *testing.T) {
	t.Parallel()
	ours, theirs := signerOf(t, privatePEM(t, 1)), signerOf(t, privatePEM(t, 2))
	keys := keysOf(t, ours)
	documents, err := lifeOf().documents()
	require.NoError(t, err)
	open, succeeded := &documents[3], &documents[4]
	openToken, err := ours.Sign(open)
	require.NoError(t, err)
	goodToken, err := ours.Sign(succeeded)
	require.NoError(t, err)
	parts, good := strings.Split(openToken, "."), strings.Split(goodToken, ".")
	b64 := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

	stranger, err := theirs.Sign(succeeded)
	require.NoError(t, err)
	borrowed := strings.Join([]string{good[0], strings.Split(stranger, ".")[1], strings.Split(stranger, ".")[2]}, ".")
	for name, c := range map[string]struct {
		token string
		want  error
	}{
		"a stranger's key":              {stranger, ErrUnknownKey},
		"a stranger's under our name":   {borrowed, ErrForged},
		"another's document":            {parts[0] + "." + good[1] + "." + parts[2], ErrForged},
		"no algorithm":                  {b64(`{"alg":"none","kid":"`+ours.KeyID()+`","typ":"moneta-receipt+jws"}`) + "." + good[1] + ".", ErrForm},
		"a secret instead of a key":     {b64(`{"alg":"HS256","kid":"`+ours.KeyID()+`","typ":"moneta-receipt+jws"}`) + "." + good[1] + "." + good[2], ErrForm},
		"a key in the header":           {b64(`{"alg":"EdDSA","jwk":{},"kid":"`+ours.KeyID()+`","typ":"moneta-receipt+jws"}`) + "." + good[1] + "." + good[2], ErrForm},
		"a header that is twice":        {b64(`{"alg":"none","alg":"EdDSA","kid":"`+ours.KeyID()+`","typ":"moneta-receipt+jws"}`) + "." + good[1] + "." + good[2], ErrForm},
		"signed for another use":        {signedFor(t, ours, "other+jws", text(t, goodToken)), ErrForm},
		"a later form":                  {signedFor(t, ours, mediaType, `{"format":"moneta-receipt/2"}`), ErrNewer},
		"a member too many":             {signedFor(t, ours, mediaType, strings.Replace(text(t, goodToken), `"asset"`, `"approved":true,"asset"`, 1)), ErrNewer},
		"members in another order":      {signedFor(t, ours, mediaType, strings.Replace(text(t, goodToken), `"amount":"70000","asset":"CZK"`, `"asset":"CZK","amount":"70000"`, 1)), ErrNewer},
		"a member that is twice":        {signedFor(t, ours, mediaType, strings.Replace(text(t, goodToken), `"asset":"CZK"`, `"asset":"EUR","asset":"CZK"`, 1)), ErrNewer},
		"nothing":                       {"", ErrForm},
		"JSON instead of a compact one": {`{"payload":"` + good[1] + `"}`, ErrForm},
	} {
		d, kid, err := Verify([]byte(c.token), keys)
		require.ErrorIs(t, err, c.want, name)
		require.Equal(t, Document{}, d, name)
		if c.want != ErrNewer { //nolint:errorlint // the table's own value
			require.Empty(t, kid, name)
		}
	}
}

// signedFor signs any text under any type with our key: what a program that uses the
// same key for something else would make.
func signedFor(t *testing.T, s *Signer, typ, payload string) string {
	t.Helper()
	h, err := canonical(header{algorithm, s.kid, typ})
	require.NoError(t, err)
	signed := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(s.private, []byte(signed)))
}

// TestRotation: what an older key signed stays provable as long as it is published, and
// what is revoked is not.
func TestRotation(t *testing.T) {
	t.Parallel()
	documents, err := lifeOf().documents()
	require.NoError(t, err)
	first := signerOf(t, privatePEM(t, 1))
	old, err := first.Sign(&documents[4])
	require.NoError(t, err)

	second := signerOf(t, privatePEM(t, 2), publicPEM(t, 1, nil))
	require.NotEqual(t, first.KeyID(), second.KeyID())
	require.Equal(t, []string{second.KeyID(), first.KeyID()}, []string{second.KeySet().Keys[0].KeyID, second.KeySet().Keys[1].KeyID}, "the newest first")
	fresh, err := second.Sign(&documents[4])
	require.NoError(t, err)
	require.Equal(t, text(t, old), text(t, fresh), "only the signature is another")
	for _, token := range []string{old, fresh} {
		_, _, err := Verify([]byte(token), keysOf(t, second))
		require.NoError(t, err)
	}
	_, _, err = Verify([]byte(fresh), keysOf(t, first))
	require.ErrorIs(t, err, ErrUnknownKey, "a saved set is older than the key")

	revoked := signerOf(t, privatePEM(t, 2), publicPEM(t, 1, map[string]string{revokedHeader: "2026-11-22 somebody may have read it"}))
	require.Len(t, revoked.KeySet().Keys, 1)
	require.True(t, revoked.known[first.KeyID()], "nodes still agree on which keys there were")
	_, _, err = Verify([]byte(old), keysOf(t, revoked))
	require.ErrorIs(t, err, ErrUnknownKey)

	// An older private key may stay.
	require.Equal(t, second.KeySet(), signerOf(t, privatePEM(t, 2), privatePEM(t, 1)).KeySet())
}

func TestKeyFilesThatAreRefused(t *testing.T) {
	t.Parallel()
	one := string(privatePEM(t, 1))
	for name, c := range map[string]struct{ text, want string }{
		"nothing":                  {"", "no private key"},
		"only public":              {string(publicPEM(t, 1, nil)), "the first one signs"},
		"public first":             {string(publicPEM(t, 1, nil)) + string(privatePEM(t, 2)), "the first one signs"},
		"the same twice":           {one + string(publicPEM(t, 1, nil)), "twice"},
		"cut off":                  {one + string(publicPEM(t, 2, nil))[:60], "key 2 cannot be read"},
		"another kind of block":    {one + string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{1}})), "not an ed25519 key"},
		"a key of another kind":    {string(pem.EncodeToMemory(&pem.Block{Type: privateBlock, Bytes: []byte{1}})), "openssl genpkey"},
		"twice, many times":        {one + strings.Repeat(one, keysMax+1), "twice"},
		"a revoked one that signs": {strings.Replace(one, "-----\n", "-----\nRevoked: yes\n\n", 1), "not revoked"},
	} {
		_, err := ParseSigner([]byte(c.text))
		require.ErrorContains(t, err, c.want, name)
		require.NotContains(t, err.Error(), "MC4CAQ", name)
	}
	// A new key that was pasted wrongly before the one that leaked: the old one must not
	// go on signing without a word.
	leaked := string(privatePEM(t, 2))
	for name, damaged := range map[string]string{
		"cut off":                      one[:60] + "\n",
		"cut off in its first line":    one[:20] + "\n",
		"bad base64":                   strings.Replace(one, "MC4CAQ", "MC4*AQ", 1),
		"a header that is none":        strings.Replace(one, "-----\n", "-----\nRevoked\n", 1),
		"no last line":                 one[:strings.Index(one, "-----END")],
		"no first line":                one[strings.Index(one, "\n")+1:],
		"a dash lost at the beginning": one[1:],
		"a dash lost before its end":   strings.Replace(one, "-----END", "----END", 1),
		"lines that were joined":       strings.ReplaceAll(one, "\n", " "),
	} {
		s, err := ParseSigner([]byte(damaged + leaked))
		require.Error(t, err, name)
		require.Nil(t, s, name)
		require.NotContains(t, err.Error(), "MC4", name)
		_, err = ParseSigner([]byte(leaked + damaged))
		require.Error(t, err, "%s, and behind", name)
	}

	path := filepath.Join(t.TempDir(), "receipts.key")
	require.NoError(t, MakeKey(path))
	require.ErrorIs(t, MakeKey(path), os.ErrExist)
	a, err := LoadSigner(path)
	require.NoError(t, err)
	b, err := LoadSigner(path)
	require.NoError(t, err)
	require.Equal(t, a.KeySet(), b.KeySet())
	require.NoError(t, os.Chmod(path, 0o640))
	_, err = LoadSigner(path)
	require.ErrorContains(t, err, "chmod 600")
}

// TestAFileAndASetHoldWhatRotationsLeave: keys are never taken out, and a node signs only
// with all of them in its file.
func TestAFileAndASetHoldWhatRotationsLeave(t *testing.T) {
	t.Parallel()
	revoked := map[string]string{revokedHeader: "2026-11-22 somebody may have read it on the machine that is gone"}
	file := privatePEM(t, 0)
	for n := 1; n < keysMax; n++ {
		file = append(file, publicPEM(t, byte(n), revoked)...)
	}
	path := filepath.Join(t.TempDir(), "receipts.key")
	require.NoError(t, os.WriteFile(path, file, 0o600))
	_, err := LoadSigner(path)
	require.NoError(t, err)
	s, err := ParseSigner(bytes.ReplaceAll(file, []byte(revokedHeader+":"), []byte("Note:")))
	require.NoError(t, err)
	require.Len(t, keysOf(t, s), keysMax)
	require.Equal(t, keysMax, registryMax, "what the registry demands fits into a file")
	require.GreaterOrEqual(t, keysMax, 100)
	_, err = ParseSigner(append(file, publicPEM(t, keysMax, nil)...))
	require.ErrorContains(t, err, "more than")
}

// TestSpacesOfAnAccountDoNotCount, whichever side wrote them.
func TestSpacesOfAnAccountDoNotCount(t *testing.T) {
	t.Parallel()
	p := subject()
	plain := payeeOf(&p)
	for _, ordered := range []string{"CZ65 0800 0000 1920 0014 5399", " CZ6508000000192000145399\t", "CZ65\u00a00800000019200014539 9"} {
		p.PayeeAccount = ordered
		require.Equal(t, plain, payeeOf(&p), ordered)
		d, err := documentOf(&p, &move{payment: p.ID})
		require.NoError(t, err)
		for _, asked := range []string{ordered, "CZ6508000000192000145399", "CZ65 0800 0000 1920 0014 5399", "CZ 6508000000192000145399"} {
			require.True(t, d.Names(asked), "%q, %q", ordered, asked)
		}
		require.False(t, d.Names("CZ65 0800 0000 1920 0014 5390"))
	}
}

func TestKeySetsThatAreRefused(t *testing.T) {
	t.Parallel()
	set := signerOf(t, privatePEM(t, 1)).KeySet()
	raw, err := json.Marshal(set)
	require.NoError(t, err)
	for name, c := range map[string]struct{ text, want string }{
		"nothing":         {"", "JWK set"},
		"no key":          {`{"keys":[]}`, "0 ed25519 keys"},
		"other kinds":     {`{"keys":[{"kty":"RSA","kid":"x"}]}`, "0 ed25519 keys"},
		"another id":      {strings.Replace(string(raw), set.Keys[0].KeyID, "mine", 1), "thumbprint"},
		"a short key":     {`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA"}]}`, "32 bytes"},
		"far too long":    {strings.Repeat(" ", keySetMax+1), "at most"},
		"a key exchanged": {strings.Replace(string(raw), set.Keys[0].X, signerOf(t, privatePEM(t, 2)).KeySet().Keys[0].X, 1), "thumbprint"},
	} {
		_, err := ParseKeys([]byte(c.text))
		require.ErrorContains(t, err, c.want, name)
	}
	// The thumbprint is RFC 7638's, by the example of RFC 8037, A.3.
	public, err := base64.RawURLEncoding.DecodeString("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
	require.NoError(t, err)
	require.Equal(t, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", Thumbprint(public))
}

// TestReceiptsFollowTheLog: whatever happens to a payment, receipts are in the order of
// the log, the state in them never leaves a final one, and what is later adds.
func TestReceiptsFollowTheLog(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h := lifeOf()
		cut := rapid.IntRange(1, len(h.moves)).Draw(t, "cut")
		whole, err := h.documents()
		require.NoError(t, err)
		h.moves = h.moves[:cut]
		some, err := h.documents()
		require.NoError(t, err)
		require.Equal(t, whole[:cut], some, "what comes later changes nothing that was said")
		for i := range some {
			_, err := event.ParseID(some[i].RestsOn.Event)
			require.NoError(t, err)
			require.True(t, i == 0 || some[i-1].RestsOn.Event < some[i].RestsOn.Event)
			require.True(t, i == 0 || !some[i-1].Final || some[i].State == some[i-1].State)
		}
	})
}

func FuzzVerify(f *testing.F) {
	signer := signerOf(f, privatePEM(f, 1))
	keys := keysOf(f, signer)
	documents, err := lifeOf().documents()
	require.NoError(f, err)
	for i := range documents {
		token, err := signer.Sign(&documents[i])
		require.NoError(f, err)
		f.Add([]byte(token))
	}
	f.Add([]byte("a.b.c"))
	f.Fuzz(func(t *testing.T, token []byte) {
		d, _, err := Verify(token, keys)
		if err != nil {
			require.Equal(t, Document{}, d)
			return
		}
		again, err := signer.Sign(&d)
		require.NoError(t, err)
		require.Equal(t, string(token), again, "a receipt has one form")
	})
}

func FuzzParseKeys(f *testing.F) {
	raw, err := json.Marshal(signerOf(f, privatePEM(f, 1), publicPEM(f, 2, nil)).KeySet())
	require.NoError(f, err)
	f.Add(raw)
	f.Add([]byte(`{"keys":[{"kty":"OKP"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := ParseKeys(text)
		if err != nil {
			require.Nil(t, keys)
			return
		}
		for kid, public := range keys {
			require.Equal(t, kid, Thumbprint(public))
		}
	})
}

// TestWordsForEveryReceipt: what is pinned has words in both languages, and no receipt
// of an open payment sounds like one of an outcome.
func TestWordsForEveryReceipt(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("testdata/pinned.txt")
	require.NoError(t, err)
	keys := keysOf(t, signerOf(t, privatePEM(t, 1)))
	said := map[string]bool{}
	for _, token := range strings.Fields(string(raw)) {
		d, _, err := Verify([]byte(token), keys)
		require.NoError(t, err)
		en, zh := d.Outcome("en"), d.Outcome("zh")
		require.NotEmpty(t, en)
		require.NotEqual(t, en, zh)
		require.NotContains(t, en+zh, "%!", text(t, token))
		require.Equal(t, d.Final, !strings.HasPrefix(en, "Not final"))
		require.Contains(t, d.Limit("zh"), d.RestsOn.Event)
		said[en] = true
	}
	require.GreaterOrEqual(t, len(said), 9)
	d := Document{Asset: "CZK", Decimals: 2}
	require.Equal(t, []string{"700.00 CZK", "0.05 CZK", "1.00 CZK"}, []string{d.Money("70000"), d.Money("5"), d.Money("100")})
	d = Document{Asset: "JPY"}
	require.Equal(t, []string{"5 JPY", "x / 10^0 JPY"}, []string{d.Money("5"), d.Money("x")})
}
