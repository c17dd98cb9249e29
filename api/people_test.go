package api_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/fault"
)

// crew is a world with people in it.
type crew struct {
	*world
	files map[string]access.KeyFile
	done  int // how often the kind "deed" was carried out
}

func newCrew(t *testing.T, people map[string]access.Role) *crew {
	t.Helper()
	c := &crew{files: map[string]access.KeyFile{}}
	c.world = newWorld(t, func(cfg *api.Config) {
		cfg.Approvals = access.NewApprovals(cfg.Access, slog.New(slog.DiscardHandler))
		cfg.Approvals.Register(access.Kind{
			Name: "deed", Members: []access.Member{{Name: "what"}, {Name: "why", Optional: true}},
			Describe: func(a *access.Action) fault.Text {
				return fault.Text{En: "Do " + a.Parameters["what"], Zh: "执行 " + a.Parameters["what"]}
			},
			Apply: func(context.Context, pgx.Tx, *access.Action) (string, error) {
				c.done++
				return "did it", nil
			},
		})
	})
	for name, role := range people {
		c.add(name, role)
	}
	return c
}

func (c *crew) add(name string, role access.Role) {
	c.t.Helper()
	file, credential, _, err := access.Enrol(name, access.Ed25519)
	require.NoError(c.t, err)
	_, err = c.access.AddLocally(c.t.Context(), c.tenant, name, role, credential)
	require.NoError(c.t, err)
	c.files[name] = file
}

// as sends a request that the person has signed.
func (c *crew) as(name, method, path, body string) *answer {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.server.URL+path, strings.NewReader(body))
	require.NoError(c.t, err)
	f := c.files[name]
	require.NoError(c.t, f.Sign(req, []byte(body), time.Now()))
	return c.send(req)
}

func (c *crew) send(req *http.Request) *answer {
	c.t.Helper()
	resp, err := c.server.Client().Do(req)
	require.NoError(c.t, err)
	defer resp.Body.Close()
	a := &answer{Response: resp}
	a.body, err = io.ReadAll(resp.Body)
	require.NoError(c.t, err)
	require.NoError(c.t, json.Unmarshal(a.body, &a.json), string(a.body))
	return a
}

func (c *crew) signature(name string, a *answer) string {
	c.t.Helper()
	id, err := access.ParseApprovalID(a.str("id"))
	require.NoError(c.t, err)
	expires, err := time.Parse(time.RFC3339, a.str("expires_at"))
	require.NoError(c.t, err)
	act := access.Action{
		ID: id, Tenant: c.tenant, Kind: a.str("kind"), Reason: a.str("reason"), Maker: a.str("maker"), ExpiresAt: expires, Parameters: access.Parameters{},
	}
	for k, v := range a.json["parameters"].(map[string]any) {
		act.Parameters[k] = v.(string)
	}
	require.Equal(c.t, a.str("hash"), access.HashText(act.Hash()), "anybody can hash what is shown")
	f := c.files[name]
	signature, err := f.Approve(&act)
	require.NoError(c.t, err)
	return base64.RawURLEncoding.EncodeToString(signature)
}

func TestPeopleOverTheAPI(t *testing.T) {
	t.Parallel()
	c := newCrew(t, map[string]access.Role{"mara": access.Operate, "cleo": access.Approver, "vic": access.Viewer})
	kinds := c.as("vic", http.MethodGet, "/v1/approvals/kinds", "")
	require.Contains(t, string(kinds.body), `{"object":"approval_kind","name":"deed","role":"operator","parameters":["what"],"optional":["why"]}`)

	const body = `{"kind":"deed","parameters":{"what":"it \"twice\""},"reason":"case 7"}`
	requireProblem(t, c.do(http.MethodPost, "/v1/approvals", c.admin, body), fault.Forbidden) // a key is no person
	requireProblem(t, c.as("vic", http.MethodPost, "/v1/approvals", body), fault.Forbidden)
	requireProblem(t, c.as("mara", http.MethodPost, "/v1/approvals", `{"kind":"deed","parameters":{"wat":"x"},"reason":"r"}`), fault.UnknownField)
	requireProblem(t, c.as("mara", http.MethodPost, "/v1/approvals", `{"kind":"deed","parameters":{"what":"a\u202eb"},"reason":"r"}`), fault.MalformedRequest)
	requireProblem(t, c.as("mara", http.MethodPost, "/v1/approvals", `{"kind":"deed","parameters":{"what":"a"},"reason":""}`), fault.MalformedRequest)
	requireProblem(t, c.as("mara", http.MethodPost, "/v1/approvals", `{"kind":"nothing","parameters":{},"reason":"r"}`), fault.MalformedRequest)
	p := c.as("mara", http.MethodPost, "/v1/approvals", body)
	require.Equal(t, http.StatusCreated, p.StatusCode, string(p.body))
	at := "/v1/approvals/" + p.str("id")
	require.Equal(t, at, p.Header.Get("Location"))

	judged := `{"hash":"` + p.str("hash") + `"}`
	requireProblem(t, c.as("mara", http.MethodPost, at+"/execute", judged), fault.ApprovalClosed)
	requireProblem(t, c.as("cleo", http.MethodPost, at+"/approve", judged), fault.SignatureInvalid)
	requireProblem(t, c.as("cleo", http.MethodPost, at+"/approve", `{"hash":"`+strings.Repeat("0", 64)+`"}`), fault.ApprovalChanged)
	yes := c.as("cleo", http.MethodPost, at+"/approve", `{"hash":"`+p.str("hash")+`","signature":"`+c.signature("cleo", p)+`","note":"seen"}`)
	require.Equal(t, "approved", yes.str("state"), string(yes.body))
	done := c.as("mara", http.MethodPost, at+"/execute", judged)
	require.Equal(t, []string{"used", "done", "did it", "cleo"}, []string{done.str("state"), done.str("outcome"), done.str("result"), done.str("checker")})
	requireProblem(t, c.as("mara", http.MethodPost, at+"/execute", judged), fault.ApprovalClosed)
	require.Equal(t, 1, c.done)

	list := c.as("vic", http.MethodGet, "/v1/approvals?state=used", "")
	require.Contains(t, string(list.body), p.str("id"))
	requireProblem(t, c.as("vic", http.MethodGet, "/v1/approvals?state=odd", ""), fault.MalformedRequest)
	requireProblem(t, c.as("vic", http.MethodGet, "/v1/approvals/apr_x", ""), fault.NotFound)

	own := c.as("cleo", http.MethodPost, "/v1/approvals", body)
	requireProblem(t, c.as("cleo", http.MethodPost, "/v1/approvals/"+own.str("id")+"/approve",
		`{"hash":"`+own.str("hash")+`","signature":"`+c.signature("cleo", own)+`"}`), fault.ApprovalOwn)
	requireProblem(t, c.as("mara", http.MethodPost, "/v1/approvals/"+own.str("id")+"/withdraw", ""), fault.Forbidden)
	gone := c.as("cleo", http.MethodPost, "/v1/approvals/"+own.str("id")+"/withdraw", "")
	require.Equal(t, "withdrawn", gone.str("state"), string(gone.body))

	// What people asked for is on record, refusals too, by name and before it was done.
	deeds := c.as("vic", http.MethodGet, "/v1/operators/deeds?limit=500", "")
	for _, want := range []string{`"operator":"mara","action":"execute"`, `"operator":"cleo","action":"approve"`, `"operator":"vic","action":"propose"`, `"code":"approval-own"`} {
		if strings.Contains(want, "vic") { // vic was refused before anything began
			require.NotContains(t, string(deeds.body), want)
			continue
		}
		require.Contains(t, string(deeds.body), want)
	}
	require.NotContains(t, string(deeds.body), `"status":0`)
}

// TestPowerNeedsTwoPeople: with two who may approve, nobody and no key does alone
// what gives power or credit away; with fewer, the admin key does as before.
func TestPowerNeedsTwoPeople(t *testing.T) {
	t.Parallel()
	c := newCrew(t, map[string]access.Role{"abe": access.Chief})
	account := c.open("a", "user")
	floor := func() *answer {
		return c.do(http.MethodPost, "/v1/accounts/"+account+"/floor", c.admin, `{"floor":"-5"}`)
	}
	require.Equal(t, http.StatusOK, floor().StatusCode)
	require.Equal(t, http.StatusOK, c.as("abe", http.MethodPost, "/v1/accounts/"+account+"/thaw", `{"reason":"x"}`).StatusCode, "a lone admin")

	c.add("cleo", access.Approver)
	requireProblem(t, floor(), fault.ApprovalRequired)
	requireProblem(t, c.as("abe", http.MethodPost, "/v1/accounts/"+account+"/floor", `{"floor":"-5"}`), fault.ApprovalRequired)
	requireProblem(t, c.do(http.MethodPost, "/v1/accounts/"+account+"/thaw", c.admin, `{"reason":"x"}`), fault.ApprovalRequired)
	requireProblem(t, c.do(http.MethodPost, "/v1/keys", c.admin, `{"scopes":["admin"]}`), fault.Forbidden)
	requireProblem(t, c.post("/v1/accounts", c.user, `{"asset":"CZK","floor":"-1"}`, "k"), fault.ApprovalRequired)
	// Taking away, and containing, is anybody's whose role it is.
	require.Equal(t, http.StatusOK, c.do(http.MethodPost, "/v1/accounts/"+account+"/floor", c.admin, `{"floor":"0"}`).StatusCode)
	require.Equal(t, http.StatusOK, c.do(http.MethodPost, "/v1/accounts/"+account+"/freeze", c.admin, `{"reason":"x"}`).StatusCode)
	require.Equal(t, http.StatusOK, c.as("cleo", http.MethodPost, "/v1/accounts/"+account+"/freeze", `{"reason":"x"}`).StatusCode)
	require.Equal(t, http.StatusCreated, c.do(http.MethodPost, "/v1/keys", c.admin, `{"scopes":["payments:read"]}`).StatusCode)

	requireProblem(t, c.as("cleo", http.MethodPost, "/v1/operators/abe/disable", ""), fault.Forbidden)
	require.Equal(t, http.StatusOK, c.as("cleo", http.MethodPost, "/v1/operators/cleo/disable", "").StatusCode, "everybody may leave")
	requireProblem(t, c.as("cleo", http.MethodGet, "/v1/operators", ""), fault.Unauthenticated)
	requireProblem(t, floor(), fault.ApprovalRequired) // nobody gets alone by disabling the others
}

// TestWhatPeopleMay asks every route as every role; the expected cell follows from
// the document.
func TestWhatPeopleMay(t *testing.T) {
	t.Parallel()
	people := map[string]access.Role{"vic": access.Viewer, "mara": access.Operate, "cleo": access.Approver, "abe": access.Chief}
	c := newCrew(t, people)
	doc := c.do(http.MethodGet, "/openapi.json", "", "").json
	least := regexp.MustCompile(`Role: ([a-z]+)\.`)
	asked := 0
	for path, item := range doc["paths"].(map[string]any) {
		for method, o := range item.(map[string]any) {
			op := o.(map[string]any)
			if !strings.HasPrefix(path, "/v1/") || op["operationId"] == "sign-in" || strings.HasSuffix(path, "/events") || op["operationId"] == "receive-callback" ||
				op["operationId"] == "get-receipt-keys" || // who verifies has no key of ours
				strings.HasPrefix(path, "/v1/links/") { // the link is the right
				continue
			}
			about, _ := op["description"].(string)
			need := access.Role("")
			if m := least.FindStringSubmatch(about); m != nil {
				need = access.Role(m[1])
			}
			target := strings.NewReplacer("{id}", "x", "{name}", "nobody", "{prefix}", "x", "{number}", "x").Replace(path)
			for name, role := range people {
				asked++
				a := c.as(name, strings.ToUpper(method), target, "")
				if need == "" || !role.Covers(need) {
					requireProblem(t, a, fault.Forbidden)
					continue
				}
				require.NotEqual(t, http.StatusUnauthorized, a.StatusCode, "%s %s as %s: %s", method, path, name, a.body)
				if a.str("code") == string(fault.Forbidden) { // judged by the handler, for a reason of its own
					require.Contains(t, []any{"disable-operator", "withdraw"}, op["operationId"], string(a.body))
				}
			}
		}
	}
	require.Greater(t, asked, 150)
}

func TestASignatureCountsOnce(t *testing.T) {
	t.Parallel()
	c := newCrew(t, map[string]access.Role{"mara": access.Operate})
	body := []byte(`{"kind":"deed","parameters":{"what":"it"},"reason":"r"}`)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.server.URL+"/v1/approvals", bytes.NewReader(body))
	require.NoError(t, err)
	f := c.files["mara"]
	require.NoError(t, f.Sign(req, body, time.Now()))
	header := req.Header.Get("Authorization")
	require.Equal(t, http.StatusCreated, c.send(req).StatusCode)
	again, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.server.URL+"/v1/approvals", bytes.NewReader(body))
	require.NoError(t, err)
	again.Header.Set("Authorization", header)
	requireProblem(t, c.send(again), fault.Unauthenticated)
	other, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.server.URL+"/v1/approvals", strings.NewReader(`{"kind":"deed","parameters":{"what":"more"},"reason":"r"}`))
	require.NoError(t, err)
	other.Header.Set("Authorization", header)
	requireProblem(t, c.send(other), fault.Unauthenticated)
}
