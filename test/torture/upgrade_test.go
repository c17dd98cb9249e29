package torture

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgserver"
	"github.com/moneta-pay/moneta/schema"
	"github.com/moneta-pay/moneta/test/books"
)

// The folder holds a whole installation as an earlier release left it, killed with
// payments in every state: the database with its schema, as pg_dump wrote it, the
// banks' journals, and what its clients had ordered and been told.
const oldInstallation = "testdata/schema3"

// oldVersion is the schema of that release.
const oldVersion = 3

// ordered is one order of an earlier release's client.
type ordered struct {
	order
	Key string `json:"key"`
	// ID of the acknowledgement, or the status of the refusal.
	ID     string `json:"id"`
	Status int    `json:"status"`
	// Hold is the payment that a capture takes from.
	Hold string `json:"hold"`
	// ExpiresAt is the hold's.
	ExpiresAt string `json:"expires_at"`
}

// receipt is the order as the judge takes it.
func (o *ordered) receipt() receipt { return receipt{order: o.order, key: o.Key, id: o.ID} }

type oldClients struct {
	Accounts []string  `json:"accounts"`
	Orders   []ordered `json:"orders"`
}

// A database of an earlier release, with payments in every open state, meets three
// new nodes at once while clients already call and somebody reads. The migration
// steps back from a lock that it does not get; every payment of that time becomes
// final, once; nothing that was written then has changed, and every key of that time
// gets its first answer again.
func TestUpgradeUnderLoad(t *testing.T) {
	together(t)
	w, server := newParts(t)
	old := w.installOld(server)
	w.keys.Tenant, w.keys.Admin = w.oldKey(plainScopes), w.oldKey(plainScopes+",admin")
	before := w.fingerprints()
	var open int
	w.query(&open, `select count(distinct state) from open_payments`)
	require.GreaterOrEqual(t, open, 5, "the old release left payments in too few states to be worth it")

	listen := freePorts(t, 4)
	nodes := []string{"http://" + listen[0], "http://" + listen[1], "http://" + listen[2]}
	w.api = nodes[0]
	l := &load{
		w: w, name: "new", nodes: nodes, clients: 6, every: 40 * time.Millisecond, attempt: 4 * time.Second,
		accounts: old.Accounts, answers: make(map[string]int), stopping: make(chan struct{}),
	}
	l.run() // nobody is there yet
	w.banksAt(listen[3], nodes[0])

	// The control: the judge sees that the old payments are not done.
	judged := &verdict{}
	w.countInside(judged)
	w.countOutside(judged, old.receipts())
	require.Positive(t, judged.Open)
	require.Positive(t, judged.LostOutside)

	let := w.hold("payments")
	for i, at := range listen[:3] {
		w.nodeAt(fmt.Sprintf("node-%d", i), at, server.DSN("moneta"), w.banks)
	}
	w.stepsBack()
	let()
	began := time.Now()
	for _, node := range nodes {
		w.awaitReady(node)
	}
	figure(t, "upgrade: three nodes serve after", "%s, schema %d to %d", time.Since(began).Round(time.Millisecond), oldVersion, schema.Version())
	var steps, version int64
	w.query(&steps, `select count(*) from schema_migrations where version_id > $1`, oldVersion)
	w.query(&version, `select max(version_id) from schema_migrations`)
	require.Equal(t, schema.Version(), version)
	require.Equal(t, schema.Version()-oldVersion, steps, "a migration was applied twice, or not at all")
	l.awaitAcks(t, choose[int64](100, 1_000), time.Minute)
	w.payOldDeposits(old)
	w.repeatOld(l, old)
	receipts := append(l.stop(), old.receipts()...)

	w.settle(choose(90*time.Second, 2*time.Minute))
	v := count(t, w, l, receipts)
	var holds int
	w.query(&holds, `select count(*) from payments p join transitions t on t.payment = p.id where p.kind = 4 and t.from_state <> t.to_state and t.to_state = 9`)
	v.Failed -= holds // whoever waited for them has his money back
	for _, r := range receipts {
		if r.err != nil {
			t.Logf("without a good end: %s: %v", r.key, r.err)
		}
	}
	require.Empty(t, v.faults(), "%+v", v)
	require.Equal(t, before, w.fingerprints(), "what the old release wrote has changed")
	broken, err := books.Broken(t.Context(), w.db)
	require.NoError(t, err)
	require.Empty(t, broken)
	figure(t, "upgrade: payments of the old release, of the new", "%d, %d: all final, 0 lost, 0 doubled", len(old.Orders), v.Acknowledged-len(old.receipts()))
	w.controlOfUpgrade(server)
}

// receipts are those of money that moved or is to move; a hold's money comes back.
func (o *oldClients) receipts() (out []receipt) {
	for i := range o.Orders {
		if k := &o.Orders[i]; k.ID != "" && k.Kind != "hold" {
			out = append(out, k.receipt())
		}
	}
	return out
}

// installOld puts the old release's database and its banks' books in place.
func (w *world) installOld(server *pgserver.Server) (old oldClients) {
	w.t.Helper()
	w.loadOld(server.DSN("moneta"))
	w.connect()
	sandbox := filepath.Join(w.dir, "sandbox")
	require.NoError(w.t, os.Mkdir(sandbox, 0o755))
	journals, err := filepath.Glob(filepath.Join(oldInstallation, "*.journal"))
	require.NoError(w.t, err)
	require.NotEmpty(w.t, journals)
	for _, from := range journals {
		raw, err := os.ReadFile(from)
		require.NoError(w.t, err)
		require.NoError(w.t, os.WriteFile(filepath.Join(sandbox, filepath.Base(from)), raw, 0o600))
	}
	raw, err := os.ReadFile(filepath.Join(oldInstallation, "orders.json"))
	require.NoError(w.t, err)
	require.NoError(w.t, json.Unmarshal(raw, &old))
	return old
}

// oldKey makes a key as the old release kept it: those of that time must go on.
func (w *world) oldKey(scopes string) string {
	w.t.Helper()
	prefix, secret := strings.ToLower(rand.Text()[:8]), strings.ToLower(rand.Text() + rand.Text())[:32]
	key := "mk_live_" + prefix + "_" + secret
	hash := sha256.Sum256([]byte(key))
	_, err := w.db.Exec(w.t.Context(), `insert into api_keys (prefix, tenant, hash, name, scopes) values ($1, 1, $2, 'old', $3)`,
		prefix, hash[:], strings.Split(scopes, ","))
	require.NoError(w.t, err)
	return key
}

// loadOld fills an empty database.
func (w *world) loadOld(dsn string) {
	w.t.Helper()
	raw, err := os.ReadFile(filepath.Join(oldInstallation, "dump.sql"))
	require.NoError(w.t, err)
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	require.NoError(w.t, err)
	defer func() { require.NoError(w.t, conn.Close(ctx)) }()
	_, err = conn.Exec(ctx, `do $$ begin
	  create role moneta_pay nologin; create role moneta_facts nologin;
	  execute format('grant moneta_pay, moneta_facts to %I', current_user);
	exception when duplicate_object then null; end $$`)
	require.NoError(w.t, err)
	_, err = conn.PgConn().Exec(ctx, string(raw)).ReadAll()
	require.NoError(w.t, err)
}

// fingerprints are those of every row that the old release appended, in the columns
// that it knew, by table.
func (w *world) fingerprints() map[string]string {
	w.t.Helper()
	out := map[string]string{}
	for table, rows := range map[string]string{
		"payments":    `select id, tenant, kind, asset, amount, fee, from_account, to_account, channel, payee_account, payee_name, remittance, metadata, key, trace_id, effective_at, created_at, original, expires_at from payments where id <= %d`,
		"transfers":   `select id, payment, debit, credit, amount, debit_seq, credit_seq, debit_balance, credit_balance, transition, effective_at, booked_at from transfers where id <= %d`,
		"transitions": `select id, payment, seq, transition, from_state, to_state, settlement, attempt, first_transfer, transfers, source, reason, at from transitions where id <= %d`,
		"keys":        `select key, fingerprint, kind, subject, refusal, detail, param, resource, at from keys where at <= to_timestamp(%d)`,
	} {
		var sum string
		w.query(&sum, `select count(*) || ' ' || md5(coalesce(string_agg(r::text, '|' order by r::text), '')) from (`+fmt.Sprintf(rows, w.lastOld(table))+`) r`)
		out[table] = sum
	}
	return out
}

// lastOld is where the old release's rows of a table end: asked once, before others
// come.
func (w *world) lastOld(table string) (last int64) {
	w.t.Helper()
	if w.oldEnds == nil {
		w.oldEnds = map[string]int64{}
	}
	if end, known := w.oldEnds[table]; known {
		return end
	}
	column := "max(id)"
	if table == "keys" {
		column = "extract(epoch from max(at))::bigint + 1"
	}
	w.query(&last, `select `+column+` from `+table)
	require.Positive(w.t, last, table)
	w.oldEnds[table] = last
	return last
}

// hold reads a table, as a report does, and does not end its transaction until it is
// let go.
func (w *world) hold(table string) (let func()) {
	w.t.Helper()
	conn, err := pgx.Connect(context.Background(), w.dsn())
	require.NoError(w.t, err)
	_, err = conn.Exec(context.Background(), `set idle_in_transaction_session_timeout = 0`)
	require.NoError(w.t, err)
	tx, err := conn.Begin(context.Background())
	require.NoError(w.t, err)
	var n int
	require.NoError(w.t, tx.QueryRow(context.Background(), `select count(*) from `+table).Scan(&n))
	return func() {
		require.NoError(w.t, tx.Rollback(context.Background()))
		require.NoError(w.t, conn.Close(context.Background()))
	}
}

// stepsBack waits until the migration has queued for a lock, has left the queue
// without it, and has come again; whoever reads meanwhile waits no longer than that.
func (w *world) stepsBack() {
	w.t.Helper()
	ctx, stop := context.WithCancel(w.t.Context())
	longest := make(chan time.Duration, 1)
	go func() {
		var worst time.Duration
		for ctx.Err() == nil {
			began := time.Now()
			var n int
			if err := w.db.QueryRow(ctx, `select count(*) from payments`).Scan(&n); err == nil {
				worst = max(worst, time.Since(began))
			}
			during(ctx, 20*time.Millisecond)
		}
		longest <- worst
	}()
	queued := func() bool {
		var n int
		w.query(&n, `select count(*) from pg_locks l join pg_stat_activity a using (pid) where not l.granted and a.application_name = 'moneta migrate' and l.locktype = 'relation'`)
		return n > 0
	}
	within := schema.LockTimeout + 3*time.Second
	eventually(w.t, time.Minute, "the migration queues for the lock", func() (bool, string) { return queued(), "not yet" })
	eventually(w.t, within, "it steps back", func() (bool, string) { return !queued(), "it waits" })
	eventually(w.t, within, "it comes again", func() (bool, string) { return queued(), "not yet" })
	stop()
	worst := <-longest
	figure(w.t, "upgrade: a reader behind the migration's lock waited", "%s at the most", worst.Round(time.Millisecond))
	require.Less(w.t, worst, schema.LockTimeout+time.Second)
}

// payOldDeposits lets the deposits be paid that the old release announced.
func (w *world) payOldDeposits(old oldClients) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	c := &client{http: newHTTP(2), nodes: []string{w.api}, key: w.keys.Tenant, attempt: attemptWithin}
	paid := 0
	for i := range old.Orders {
		o := &old.Orders[i]
		if o.Kind != "deposit" || o.Channel != "bank-ab" || !strings.HasPrefix(o.Remittance, "old-late-") {
			continue
		}
		var p payment
		require.NoError(w.t, c.get(ctx, "/v1/payments/"+o.ID, &p))
		status, answer := w.bankCall(http.MethodPost, "/banks/ab/instructions", fmt.Sprintf(
			`{"reference":%q,"amount":%q,"asset":%q,"remittance":%q,"from_account":"99"}`, p.Reference, o.Amount, asset, o.Remittance))
		require.Equal(w.t, http.StatusAccepted, status, answer)
		paid++
	}
	require.Positive(w.t, paid)
}

// repeatOld asks every key of the old release again, and wants its first answer.
func (w *world) repeatOld(l *load, old oldClients) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	repeated, refusedAgain := 0, 0
	for i := range old.Orders {
		o := &old.Orders[i]
		key := w.keys.Tenant
		if strings.HasPrefix(o.Key, "old-opening-") {
			key = w.keys.Admin
		}
		c := &client{http: newHTTP(2), nodes: l.nodes, at: i, key: key, attempt: attemptWithin}
		path, body := o.request(w.t)
		status, answer, _, err := c.until(ctx, http.MethodPost, path, o.Key, body)
		require.NoError(w.t, err)
		if o.Status != 0 {
			require.Equal(w.t, o.Status, status, "%s was refused: %s", o.Key, answer)
			refusedAgain++
			continue
		}
		require.Equal(w.t, http.StatusOK, status, "%s: %s", o.Key, answer)
		var p payment
		require.NoError(w.t, json.Unmarshal(answer, &p))
		require.Equal(w.t, o.ID, p.ID, o.Key)
		repeated++
	}
	figure(w.t, "upgrade: keys of the old release asked again", "%d payments, %d refusals", repeated, refusedAgain)
	require.Positive(w.t, refusedAgain)
}

// request is the order as it was sent.
func (o *ordered) request(t *testing.T) (path, body string) {
	t.Helper()
	if o.Kind == "capture" {
		return "/v1/payments/" + o.Hold + "/capture", fmt.Sprintf(`{"amount":%q}`, o.Amount)
	}
	raw, err := json.Marshal(struct {
		order
		ExpiresAt string `json:"expires_at,omitempty"`
	}{o.order, o.ExpiresAt})
	require.NoError(t, err)
	return "/v1/payments", string(raw)
}

// controlOfUpgrade plants what a careless migration does: it forgets that a payment
// is open. The judge of the rows must see it.
func (w *world) controlOfUpgrade(server *pgserver.Server) {
	w.t.Helper()
	w.exec(`create database careless`)
	dsn := server.DSN("careless")
	w.loadOld(dsn)
	w.run("migrate", "--dsn", dsn)
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	require.NoError(w.t, err)
	defer func() { require.NoError(w.t, conn.Close(ctx)) }()
	broken, err := books.Broken(ctx, conn)
	require.NoError(w.t, err)
	require.Empty(w.t, broken, "the migration broke something")
	_, err = conn.Exec(ctx, `delete from open_payments where payment = (select max(payment) from open_payments)`)
	require.NoError(w.t, err)
	broken, err = books.Broken(ctx, conn)
	require.NoError(w.t, err)
	require.NotEmpty(w.t, broken, "a forgotten payment was not seen")
}
