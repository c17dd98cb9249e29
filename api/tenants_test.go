package api_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/flight"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
	rail "github.com/moneta-pay/moneta/pay/channel/sandbox"
	"github.com/moneta-pay/moneta/pay/desk"
	"github.com/moneta-pay/moneta/pay/finance"
	"github.com/moneta-pay/moneta/pay/invariant"
	"github.com/moneta-pay/moneta/pay/recon"
)

// Stations that need the world's database, which is there only after the edge.
type (
	laterRecon    struct{ *recon.Recon }
	laterDispatch struct{ *recon.Gate }
	laterStanding struct{ *invariant.Reader }
)

// house is a world in which every route has something behind it, of the tenant that
// runs the installation, and another tenant with an admin key and a chief.
type house struct {
	*crew
	stranger int32
	// theirKey may everything that a tenant's key may.
	theirKey string
	// values stand for the parameters of paths, by path and name; bodies for bodies,
	// by operation.
	values, bodies, queries map[string]string
	// secrets are texts that the other tenant must never read.
	secrets []string
	// session and passkey are mara's newest.
	session, passkey string
}

const theirs = "theirs" // the other tenant's chief

func newHouse(t *testing.T) *house {
	t.Helper()
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{LogOutput: io.Discard, SampleOneIn: telemetry.SampleOff})
	require.NoError(t, err)
	ch, err := rail.New(rail.Config{BaseURL: "http://127.0.0.1:1", Bank: "ab", Secrets: []string{"s"}, Capabilities: rail.DefaultCapabilities()})
	require.NoError(t, err)
	t.Cleanup(ch.Close)
	var matching laterRecon
	var gate laterDispatch
	var cases laterDesk
	var books laterBooks
	standing := &laterStanding{}
	h := &house{crew: &crew{files: map[string]access.KeyFile{}}, values: map[string]string{}}
	h.world = newWorld(t, func(c *api.Config) {
		c.Recon, c.Dispatch, c.Desk, c.Books, c.Backlog, c.Flights = &matching, &gate, &cases, &books, &ahead{}, new(flight.Recorder)
		c.Invariants = standing
		c.Approvals = access.NewApprovals(c.Access, slog.New(slog.DiscardHandler))
	})
	matching.Recon = recon.New(recon.Config{Pool: h.pool, Submitter: h.node, Channels: []channel.Channel{ch}, Telemetry: tel})
	gate.Gate = recon.NewGate(h.pool, tel)
	cases.Desk = desk.New(desk.Config{Pool: h.pool, Telemetry: tel})
	books.Reader = finance.NewReader(h.pool)
	standing.Reader = invariant.NewReader(h.pool)
	require.NoError(t, gate.Load(t.Context()))
	h.unrecorded = true // files and signatures are not for the document's judge

	h.add("mara", access.Chief)
	h.stranger, err = h.access.CreateTenant(t.Context(), "stranger")
	require.NoError(t, err)
	scopes := slices.DeleteFunc(access.Scopes(), func(s access.Scope) bool { return s == access.Installation })
	h.theirKey, _, err = h.access.CreateKey(t.Context(), h.stranger, "", scopes)
	require.NoError(t, err)
	file, credential, _, err := access.Enrol(theirs, access.Ed25519)
	require.NoError(t, err)
	_, err = h.access.AddLocally(t.Context(), h.stranger, theirs, access.Chief, credential)
	require.NoError(t, err)
	h.files[theirs] = file
	h.live("one")
	return h
}

// live does everything once that leaves something behind. The newest things stand
// for the parameters of paths.
func (h *house) live(name string) {
	t := h.t
	t.Helper()
	from := h.funded("secret-"+name, "50000")
	id := h.payout(from, "payout "+name)
	h.dispatched(id)
	h.fact(pay.Fact{Kind: pay.Doubt, Payment: id, Attempt: 1, Reason: "no answer"})
	created := func(a *answer) *answer {
		t.Helper()
		require.Less(t, a.StatusCode, 300, string(a.body))
		return a
	}
	appeal := created(h.post("/v1/payments/"+id.String()+"/appeal", h.user, `{"text":"secret-`+name+`"}`, "appeal "+name))
	hook := created(h.do(http.MethodPost, "/v1/webhooks", h.user, `{"url":"https://127.0.0.1/secret-`+name+`"}`))
	ping := created(h.do(http.MethodPost, "/v1/webhooks/"+hook.str("id")+"/ping", h.user, ""))
	key := created(h.do(http.MethodPost, "/v1/keys", h.admin, `{"name":"secret-`+name+`","scopes":["payments:read"]}`))
	proposal := created(h.as("mara", http.MethodPost, "/v1/approvals", `{"kind":"revoke_key","parameters":{"prefix":"`+key.str("prefix")+`"},"reason":"secret-`+name+`"}`))
	lever := created(h.pull(`{"lever":"breaker","aim":"channel:bank-ab","owner":"secret-` + name + `","reason":"secret-` + name + `","for_s":600}`))
	created(h.do(http.MethodPost, "/v1/periods", h.admin, fmt.Sprintf(`{"asset":"CZK","through":"2020-01-%02d"}`, len(name))))
	var brk int64
	require.NoError(t, h.pool.QueryRow(t.Context(), `insert into breaks (class, channel, reference, detail) values ('amount_mismatch', 'bank-ab', $1, $1) returning id`,
		"secret-"+name).Scan(&brk))
	_, err := h.pool.Exec(t.Context(), `insert into dispatch_pauses (reason, restored_to, last_payment, next_payment, resumed_at, resumed_by, resume_reason)
		values ($1, now(), 0, 0, now(), $1, $1)`, "secret-"+name)
	require.NoError(t, err)
	_, err = h.pool.Exec(t.Context(), `insert into cases (tenant, kind, owner, finding, opened_at, deadline) values (0, 'break', $1, '{}', now(), now())`, "secret-"+name)
	require.NoError(t, err)
	for path, value := range map[string]string{
		"/v1/payments/{id}": id.String(), "/v1/accounts/{id}": from, "/v1/webhooks/{id}": hook.str("id"), "/v1/webhooks/{delivery}": ping.str("id"),
		"/v1/keys/{prefix}": key.str("prefix"), "/v1/recon/{id}": fmt.Sprint(brk), "/v1/approvals/{id}": proposal.str("id"), "/v1/cases/{number}": appeal.str("number"),
		"/v1/operators/{name}": "mara", "/v1/channels/{name}": "bank-ab", "/v1/levers/{id}": lever.str("id"), "/v1/transfers/{id}": fmt.Sprint(h.newestTransfer()),
	} {
		h.values[path] = value
	}
	h.session, h.passkey = h.enters(name)
	h.values["/v1/sessions/{id}"], h.values["/v1/operators/{passkey}"] = h.session, h.passkey
	h.secrets = append(h.secrets, h.session, h.passkey, "secret-"+name, id.String(), from, hook.str("id"), key.str("prefix"), proposal.str("id"), appeal.str("number"), lever.str("id"), "mara")
	h.prepare(id.String(), from, proposal.str("hash"))
}

// enters gives mara a session and a passkey, as the console does.
func (h *house) enters(name string) (session, passkey string) {
	h.t.Helper()
	session = "sess-" + name
	_, err := h.pool.Exec(h.t.Context(), `insert into operator_sessions (prefix, hash, operator, method, client, expires_at)
		values ($1::text, sha256(convert_to($1::text, 'UTF8')), 'mara', 'passkey', $2, now() + interval '1 hour')`, session, "secret-"+name)
	require.NoError(h.t, err)
	_, err = h.pool.Exec(h.t.Context(), `insert into operator_passkeys (id, operator, public_key, sign_count, backup_eligible, origin, label)
		values ($1, 'mara', 'x', 0, false, 'http://localhost', $2)`, []byte("passkey-"+name), "secret-"+name)
	require.NoError(h.t, err)
	return session, access.PasskeyText([]byte("passkey-" + name))
}

// prepare writes a body for each operation that takes one: one that the tenant itself
// might send.
func (h *house) prepare(payment, account, hash string) {
	send := `{"kind":"send","from":"` + account + `","to":"` + account[:len(account)-1] + `1","amount":"1","asset":"CZK"}`
	file, credential, _, err := access.Enrol("anew", access.Ed25519)
	require.NoError(h.t, err)
	require.NotEmpty(h.t, file.PrivateKey)
	judged := `{"hash":"` + hash + `"}`
	h.bodies = map[string]string{
		"create-payment":    send,
		"create-payments":   `{"payments":[` + strings.Replace(send, `{`, `{"idempotency_key":"b1",`, 1) + `]}`,
		"capture-payment":   `{"amount":"1"}`,
		"open-account":      `{"asset":"CZK","name":"x","kind":"user"}`,
		"freeze-account":    `{"reason":"x"}`,
		"thaw-account":      `{"reason":"x"}`,
		"set-floor":         `{"floor":"0"}`,
		"create-key":        `{"scopes":["payments:read"]}`,
		"limit-key":         `{"writes":{"quota":1,"window_s":1}}`,
		"resume-dispatch":   `{"reason":"x"}`,
		"close-break":       `{"state":"explained","reason":"x"}`,
		"assign-break":      `{"owner":"x","reason":"x"}`,
		"import-statement":  string(statementFile(1)),
		"appeal-payment":    `{"text":"x"}`,
		"link-payment":      `{"days":7}`,
		"note-case":         `{"text":"x"}`,
		"assign-case":       `{"owner":"x"}`,
		"close-case":        `{"resolution":"x"}`,
		"sign-in":           `{"code":"123456"}`,
		"rotate-operator":   `{"credential":"` + credential + `"}`,
		"propose":           `{"kind":"disable_operator","parameters":{"operator":"mara"},"reason":"x"}`,
		"preview-approval":  `{"kind":"disable_operator","parameters":{"operator":"mara"},"reason":"x"}`,
		"approve":           judged,
		"reject":            judged,
		"execute":           judged,
		"close-period":      `{"asset":"CZK","through":"2020-06-30"}`,
		"review-payment":    `{"verdict":"pass","reason":"x"}`,
		"resolve-payment":   `{"outcome":"executed","evidence":"x"}`,
		"write-off-payment": `{"reason":"x"}`,
		"assign-payment":    `{"to":"` + account + `","amount":"1","reason":"x"}`,
		"compensate":        `{"to":"` + account + `","amount":"1","asset":"CZK","link":"` + payment + `"}`,
		"create-webhook":    `{"url":"https://127.0.0.1/x"}`,
		"change-webhook":    `{"url":"https://127.0.0.1/y"}`,
		"disable-webhook":   `{"reason":"x"}`,
		"recover-webhook":   `{"since":"` + time.Now().UTC().Add(-time.Hour).Format(time.RFC3339) + `"}`,
		"receive-callback":  `x`,
		"pull-lever":        `{"lever":"read-only","aim":"everything","owner":"x","reason":"x","for_s":60}`,
		"hasten-backlog":    `{"act":"query-unknowns"}`,
	}
	h.queries = map[string]string{
		"import-statement":  "?channel=bank-ab",
		"undo-lever":        "?reason=x",
		"record-flight":     "?seconds=1",
		"get-roll-forward":  "?channel=bank-ab&asset=CZK&from=2026-01-01&to=2026-01-02",
		"list-payments":     "?idempotency_key=payout+one",
		"get-recon-picture": "?from=2026-01-01&to=2026-01-02",
		"get-curve":         "?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z",
		"find":              "?q=" + payment,
	}
}

func (h *house) newestTransfer() (id int64) {
	h.t.Helper()
	require.NoError(h.t, h.pool.QueryRow(h.t.Context(), `select max(id) from transfers`).Scan(&id))
	return id
}

// operation is one of the document.
type operation struct {
	id, method, path string
	hasBody          bool
	security         []string
}

func (h *house) operations() (all []operation) {
	h.t.Helper()
	doc := h.do(http.MethodGet, "/openapi.json", "", "").json
	for path, item := range doc["paths"].(map[string]any) {
		for method, o := range item.(map[string]any) {
			op := o.(map[string]any)
			one := operation{id: op["operationId"].(string), method: strings.ToUpper(method), path: path, hasBody: op["requestBody"] != nil}
			for _, s := range op["security"].([]any) {
				for name := range s.(map[string]any) {
					one.security = append(one.security, name)
				}
			}
			all = append(all, one)
		}
	}
	order := []string{http.MethodGet, http.MethodPost, http.MethodDelete}
	slices.SortFunc(all, func(a, b operation) int {
		if c := slices.Index(order, a.method) - slices.Index(order, b.method); c != 0 {
			return c
		}
		return strings.Compare(a.path, b.path)
	})
	require.Greater(h.t, len(all), 60)
	return all
}

var parameter = regexp.MustCompile(`\{[a-z]+\}`)

// address is the operation's path with what this tenant has in it.
func (h *house) address(op *operation) string {
	h.t.Helper()
	parts := strings.SplitN(op.path, "/", 4)
	path := parameter.ReplaceAllStringFunc(op.path, func(name string) string {
		value := h.values["/"+parts[1]+"/"+parts[2]+"/"+name]
		require.NotEmpty(h.t, value, "%s: the test has nothing for %s; let live() make it", op.id, name)
		return value
	})
	return path + h.queries[op.id]
}

func (h *house) body(op *operation) string {
	h.t.Helper()
	body, ok := h.bodies[op.id]
	require.Equal(h.t, op.hasBody, ok, "%s: a body is missing here, or there is one too many", op.id)
	return body
}

// byKey and byPerson send an operation for who the name or the key is.
func (h *house) byKey(op *operation, key string) *answer {
	return h.do(op.method, h.address(op), key, h.body(op), "Idempotency-Key", "isolation "+op.id)
}

func (h *house) byPerson(op *operation, name string) *answer {
	h.t.Helper()
	body := h.body(op)
	req, err := http.NewRequestWithContext(h.t.Context(), op.method, h.server.URL+h.address(op), strings.NewReader(body))
	require.NoError(h.t, err)
	req.Header.Set("Idempotency-Key", "isolation "+op.id)
	f := h.files[name]
	require.NoError(h.t, f.Sign(req, []byte(body), time.Now()))
	resp, err := h.server.Client().Do(req)
	require.NoError(h.t, err)
	defer resp.Body.Close()
	a := &answer{Response: resp}
	a.body, err = io.ReadAll(resp.Body)
	require.NoError(h.t, err)
	return a
}

// public are the operations that ask nobody who they are; what they tell concerns the
// installation, and stands at another door than the tenants' (docs/operators.md).
var public = []string{"health", "ready", "metrics", "receive-callback", "sign-in", "open-link", "appeal-link", "link-receipt", "get-receipt-keys"}

// own are those that answer another tenant, about what is its own.
var own = []string{
	"create-payments", "open-account", "list-accounts", "list-payments", "list-events", "create-key", "list-keys", "close-period", "list-periods", "list-cases",
	"create-webhook", "list-webhooks", "list-operators", "list-deeds", "list-approvals", "list-approval-kinds", "sign-out", "list-transfers", "get-trial-balance",
	"find", // among their own
	"list-requests",
	"list-sessions",
	"preview-approval",
	"propose", // an approval of their own, which is carried out in their tenant
}

// TestNoTenantReachesAnother tries every operation of the document, with what the
// one tenant has, as the other tenant: with an admin key that may everything a
// tenant's key may, and as its chief. A new route without a place here fails.
func TestNoTenantReachesAnother(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	operations := h.operations()
	before := h.digest()
	for i := range operations {
		op := &operations[i]
		if slices.Contains(public, op.id) {
			continue
		}
		for who, a := range map[string]*answer{"key": h.byKey(op, h.theirKey), "person": h.byPerson(op, theirs)} {
			for _, secret := range h.secrets {
				if !strings.Contains(h.address(op)+h.body(op), secret) { // what they sent is no news to them
					require.NotContains(t, string(a.body), secret, "%s by %s", op.id, who)
				}
			}
			switch {
			case a.StatusCode == http.StatusForbidden, a.StatusCode == http.StatusNotFound:
			case strings.Contains(string(a.body), string(fault.AccountNotFound)):
			default:
				require.Contains(t, own, op.id, "%s by %s: %d %s", op.id, who, a.StatusCode, a.body)
			}
		}
	}
	require.Equal(t, before, h.digest(), "nothing of the tenant changed")

	// The control: the same requests reach something when the tenant's own people make them.
	for i := range operations {
		op := &operations[i]
		if op.method != http.MethodGet || slices.Contains(public, op.id) || op.id == "stream-payment" {
			continue
		}
		a := h.byKey(op, h.admin)
		require.Equal(t, http.StatusOK, a.StatusCode, "%s: %s", op.id, a.body)
	}
}

// varies matches what differs between two answers about the same.
var varies = regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z|"(trace_id|instance|next)":"[^"]*"`)

// TestWhatATenantReadsDoesNotDependOnAnother reads everything as one tenant, lets
// the other one do more of everything, and reads again: not a byte differs. Numbers
// that count the whole installation would.
func TestWhatATenantReadsDoesNotDependOnAnother(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	operations := slices.DeleteFunc(h.operations(), func(op operation) bool { return op.method != http.MethodGet || slices.Contains(public, op.id) })
	addresses := make([]string, len(operations))
	for i := range operations {
		addresses[i] = h.address(&operations[i])
	}
	read := func() map[string]string {
		told := map[string]string{}
		for i, op := range operations {
			a := h.do(op.method, addresses[i], h.theirKey, "")
			told[op.id] = varies.ReplaceAllString(fmt.Sprint(a.StatusCode, " ", string(a.body)), "")
		}
		return told
	}
	before := read()
	h.live("again")
	for id, told := range read() {
		require.Equal(t, before[id], told, id)
	}
}

// Only who runs the installation gives that away, by a key or a person.
func TestOnlyTheInstallationGivesTheInstallationAway(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const wants = `{"scopes":["admin","installation"]}`
	requireProblem(t, h.do(http.MethodPost, "/v1/keys", h.theirKey, wants), fault.Forbidden)
	requireProblem(t, h.as(theirs, http.MethodPost, "/v1/keys", wants), fault.Forbidden)
	plain := h.key(access.Admin)
	requireProblem(t, h.do(http.MethodPost, "/v1/keys", plain, wants), fault.Forbidden)
	requireProblem(t, h.do(http.MethodGet, "/v1/totals", plain, ""), fault.Forbidden)
	made := h.do(http.MethodPost, "/v1/keys", h.admin, wants)
	require.Equal(t, http.StatusCreated, made.StatusCode, string(made.body))
	require.Equal(t, http.StatusOK, h.do(http.MethodGet, "/v1/totals", made.str("key"), "").StatusCode)
	only := h.key(access.Installation)
	require.Equal(t, http.StatusOK, h.do(http.MethodGet, "/v1/totals", only, "").StatusCode)
	requireProblem(t, h.do(http.MethodGet, "/v1/accounts", only, ""), fault.Forbidden)
}

// digest is the state of the tenant, and of what is nobody's.
func (h *house) digest() map[string]string {
	h.t.Helper()
	rows, err := h.pool.Query(h.t.Context(), `select c.table_name, bool_or(c.column_name = 'tenant') from information_schema.columns c
		join information_schema.tables t using (table_schema, table_name)
		where c.table_schema = 'public' and t.table_type = 'BASE TABLE' group by 1`)
	require.NoError(h.t, err)
	tables := map[string]bool{}
	for rows.Next() {
		var name string
		var has bool
		require.NoError(h.t, rows.Scan(&name, &has))
		tables[name] = has
	}
	require.NoError(h.t, rows.Err())
	out := map[string]string{}
	for name, has := range tables {
		where := "true"
		switch {
		case has:
			where = fmt.Sprintf("tenant <> %d", h.stranger)
		case !slices.Contains(nobodys, name):
			continue
		}
		var sum string
		require.NoError(h.t, h.pool.QueryRow(h.t.Context(), `select coalesce(md5(string_agg(t::text, '|' order by t::text)), '') from `+name+` t where `+where).Scan(&sum))
		out[name] = sum
	}
	require.Greater(h.t, len(out), 10)
	return out
}

// nobodys are tables without a tenant that only the installation changes.
var nobodys = []string{"breaks", "break_events", "statements", "statement_imports", "statement_lines", "dispatch_pauses", "channel_proofs", "channel_contracts", "quarantine", "operator_sessions", "operator_passkeys"}
