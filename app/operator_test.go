package app

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/pay/commit"
)

// terminal is a person at one.
type terminal struct {
	Person
	out, err bytes.Buffer
}

func (b *bureau) terminal(url, keyFile, typed string) *terminal {
	t := &terminal{}
	t.Person = Person{URL: url, KeyFile: keyFile, Lang: "en", In: strings.NewReader(typed), Out: &t.out, Err: &t.err}
	return t
}

// serve stands the API before the bureau and returns its address.
func (b *bureau) serve() string {
	b.t.Helper()
	h, err := api.New(api.Config{
		Intake: b.in, Ledger: b.accounts, Payments: commit.NewReader(b.pool), Access: access.NewStore(b.pool), Approvals: b.desk,
	})
	require.NoError(b.t, err)
	s := httptest.NewServer(h)
	b.t.Cleanup(s.Close)
	return s.URL
}

// keep writes the key file of one of the bureau's people.
func (b *bureau) keep(name string) string {
	b.t.Helper()
	path := filepath.Join(b.t.TempDir(), name+".key")
	require.NoError(b.t, writeSecret(path, b.files[name]))
	return path
}

func TestAPersonIsAskedAndSeesWhatTheySign(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	ctx := t.Context()
	address, account := b.serve(), b.open()
	abe, cleo := b.keep("abe"), b.keep("cleo")
	p := b.terminal(address, abe, "")
	require.NoError(t, Propose(ctx, &p.Person, "set_floor", map[string]string{"account": account, "asset": "CZK", "floor": "-100"}, "two\nlines", time.Time{}))
	id := strings.TrimSpace(p.out.String())
	require.Contains(t, p.err.String(), "until its balance is -1.00 CZK")
	require.Contains(t, p.err.String(), "two\n  | lines", "a line of the reason cannot pass for one of ours")

	for _, no := range []string{"", "n\n", "yess\n"} {
		c := b.terminal(address, cleo, no)
		var exit *ExitError
		require.ErrorAs(t, ApproveDo(ctx, &c.Person, id, Approve, "", false), &exit)
		require.Contains(t, c.out.String(), "-1.00 CZK")
	}
	c := b.terminal(address, cleo, "y\n")
	c.Lang = "zh"
	require.NoError(t, ApproveDo(ctx, &c.Person, id, Approve, "", false))
	require.Contains(t, c.out.String(), "允许账户")
	require.Contains(t, c.err.String(), "确认批准以上操作")
	r := b.terminal(address, abe, "yes\n")
	require.NoError(t, ApproveDo(ctx, &r.Person, id, Execute, "", false))
	require.Equal(t, "-100", b.account(account).Floor.String())
	l := b.terminal(address, abe, "")
	require.NoError(t, ApproveList(ctx, &l.Person, "used"))
	require.Contains(t, l.out.String(), id)
	l = b.terminal(address, abe, "")
	l.JSON = true
	require.NoError(t, ApproveShow(ctx, &l.Person, id))
	require.True(t, json.Valid(l.out.Bytes()))
}

// A proposal whose answer was lost is sent again under the same key, and when nobody
// answers at all, the person is told by which one to repeat it.
func TestALostAnswerIsNoSecondProposal(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	ctx := t.Context()
	address, account := b.serve(), b.open()
	abe := b.keep("abe")
	to, err := url.Parse(address)
	require.NoError(t, err)
	lose, asked := 2, 0
	way := httputil.NewSingleHostReverseProxy(to)
	way.ModifyResponse = func(*http.Response) error {
		if asked++; asked <= lose {
			panic(http.ErrAbortHandler) // it was done, and nobody hears of it
		}
		return nil
	}
	lossy := httptest.NewServer(way)
	t.Cleanup(lossy.Close)
	propose := func(key string) (id string, err error) {
		p := b.terminal(lossy.URL, abe, "")
		p.Key = key
		err = Propose(ctx, &p.Person, "set_floor", map[string]string{"account": account, "asset": "CZK", "floor": "-100"}, "r", time.Time{})
		return strings.TrimSpace(p.out.String()), err
	}
	_, err = propose("")
	require.NoError(t, err)
	require.Equal(t, 3, asked)
	require.EqualValues(t, 1, b.count(`select count(*) from approvals`))

	lose, asked = 3, 0
	_, err = propose("")
	require.ErrorContains(t, err, "--key propose-")
	_, key, _ := strings.Cut(err.Error(), "--key ")
	key, _, _ = strings.Cut(key, " ")
	first, err := propose(key)
	require.NoError(t, err)
	again, err := propose(key)
	require.NoError(t, err)
	require.Equal(t, first, again)
	require.EqualValues(t, 2, b.count(`select count(*) from approvals`))
}

// Who approves sees what else is open on the same payment.
func TestWhoApprovesSeesWhatElseIsOpen(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	ctx := t.Context()
	address := b.serve()
	deposit, _ := b.movedIn()
	abe, cleo := b.keep("abe"), b.keep("cleo")
	propose := func(amount string) string {
		p := b.terminal(address, abe, "")
		require.NoError(t, Propose(ctx, &p.Person, "refund", map[string]string{"payment": deposit.String(), "asset": "CZK", "amount": amount}, "r", time.Time{}))
		return strings.TrimSpace(p.out.String())
	}
	approve := func(id, typed string) string {
		c := b.terminal(address, cleo, typed)
		if err := ApproveDo(ctx, &c.Person, id, Approve, "", false); typed == "y\n" {
			require.NoError(t, err)
		}
		return c.out.String()
	}
	one := propose("100")
	require.NotContains(t, approve(one, "n\n"), "Also open", "nothing else is")
	two := propose("200")
	shown := approve(one, "y\n")
	require.Contains(t, shown, "Also open on "+deposit.String())
	require.Contains(t, shown, two+"  proposed  abe: ")
	require.Contains(t, approve(two, "n\n"), one+"  approved  abe: ", "what is agreed on and not done is open too")
	w := b.terminal(address, abe, "y\n")
	require.NoError(t, ApproveDo(ctx, &w.Person, one, Withdraw, "", false))
	require.NotContains(t, approve(two, "n\n"), "Also open")
}

// TestAServerThatLiesGetsNoSignature: what is signed is what is shown, and what
// does not hash to what the server says is not shown at all.
func TestAServerThatLiesGetsNoSignature(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	ctx := t.Context()
	address, account := b.serve(), b.open()
	abe, cleo := b.keep("abe"), b.keep("cleo")
	p := b.terminal(address, abe, "")
	require.NoError(t, Propose(ctx, &p.Person, "set_floor", map[string]string{"account": account, "asset": "CZK", "floor": "-900"}, "r", time.Time{}))
	id := strings.TrimSpace(p.out.String())
	for name, lie := range map[string]func(string) string{
		"a smaller limit":  func(s string) string { return strings.ReplaceAll(s, `"-900"`, `"-1"`) },
		"another hash":     func(s string) string { return strings.Replace(s, `"hash":"`, `"hash":"0`, 1) },
		"another reason":   func(s string) string { return strings.Replace(s, `"reason":"r"`, `"reason":"s"`, 1) },
		"the whole truth":  func(s string) string { return s },
		"another proposer": func(s string) string { return strings.Replace(s, `"maker":"abe"`, `"maker":"eve"`, 1) },
	} {
		posted := 0
		v, err := b.desk.One(ctx, b.tenant, idOf(t, id))
		require.NoError(t, err)
		raw, err := json.Marshal(map[string]any{
			"id": id, "tenant": v.Tenant, "kind": v.Kind, "parameters": v.Parameters, "reason": v.Reason, "maker": v.Maker,
			"expires_at": v.ExpiresAt, "hash": access.HashText(v.Hash), "state": v.State,
		})
		require.NoError(t, err)
		liar := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				posted++
				http.Error(w, "{}", http.StatusTeapot)
				return
			}
			_, _ = io.WriteString(w, lie(string(raw)))
		}))
		c := b.terminal(liar.URL, cleo, "y\n")
		require.Error(t, ApproveDo(ctx, &c.Person, id, Approve, "", false), name)
		liar.Close()
		require.Equal(t, name == "the whole truth", posted == 1, name)
	}
}

func idOf(t *testing.T, s string) access.ApprovalID {
	t.Helper()
	id, err := access.ParseApprovalID(s)
	require.NoError(t, err)
	return id
}

func TestAPersonWithCodes(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	ctx := t.Context()
	address := b.serve()
	path := filepath.Join(t.TempDir(), "keys", "tina.key")
	e := b.terminal(address, path, "")
	e.JSON = true
	require.NoError(t, OperatorEnrol(&e.Person, "tina", true))
	var enrolled struct{ Credential, Authenticator string }
	require.NoError(t, json.Unmarshal(e.out.Bytes(), &enrolled))
	require.Error(t, OperatorEnrol(&e.Person, "tina", true), "a key file is not written over")
	_, err := access.NewStore(b.pool).AddLocally(ctx, b.tenant, "tina", access.Operate, enrolled.Credential)
	require.NoError(t, err)
	u, err := url.Parse(enrolled.Authenticator)
	require.NoError(t, err)
	step := time.Duration(0) // this step, then the next one, which counts already
	code := func() string {
		c, err := totp.GenerateCode(u.Query().Get("secret"), time.Now().Add(step*30*time.Second))
		require.NoError(t, err)
		step++
		return c
	}
	p := b.terminal(address, path, "")
	require.ErrorContains(t, ApproveList(ctx, &p.Person, ""), "sign in first")
	p.Code = code()
	require.NoError(t, OperatorLogin(ctx, &p.Person))
	require.Error(t, OperatorLogin(ctx, &p.Person), "a code counts once")
	require.NoError(t, ApproveList(ctx, &p.Person, ""))
	p.Code = code()
	require.NoError(t, OperatorRotate(ctx, &p.Person))
	require.Error(t, ApproveList(ctx, &p.Person, ""), "sessions end with the old credential")
	k := b.terminal(address, b.keep("abe"), "")
	require.ErrorContains(t, OperatorLogin(ctx, &k.Person), "needs no session")

	require.NoError(t, os.Chmod(path, 0o644))
	require.ErrorContains(t, ApproveList(ctx, &p.Person, ""), "others can read")
	require.ErrorContains(t, ApproveList(ctx, &b.terminal(address, "", "").Person, ""), "say who you are")
}
