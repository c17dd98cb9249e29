package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/pgfence"
	"github.com/moneta-pay/moneta/internal/pgserver"
)

// DatabaseName is the database in a private cluster.
const DatabaseName = "moneta"

// defaultTenant is the tenant that up makes.
const defaultTenant = "default"

// Keys is the file that up writes for whoever may read the data folder.
type Keys struct {
	// Tenant may read and write accounts and payments.
	Tenant string `json:"tenant_key"`
	// Admin may also open house accounts, and runs the installation.
	Admin string `json:"admin_key"`
	// SandboxSecret signs the sandbox banks' callbacks.
	SandboxSecret string `json:"sandbox_secret"`
	// Canary is the key of the tenant whose payments the doctor makes, to see that they
	// still move.
	Canary string `json:"canary_key,omitempty"`
}

// canaryTenant owns the canary payments; whoever counts business leaves it out.
const canaryTenant = "canary"

func keysPath(dataDir string) string { return filepath.Join(dataDir, "keys.json") }

// ReadKeys reads the file that up wrote.
func ReadKeys(path string) (Keys, error) {
	var k Keys
	raw, err := os.ReadFile(path)
	if err != nil {
		return k, fmt.Errorf("read the keys: %w; `moneta up` writes them", err)
	}
	if err := json.Unmarshal(raw, &k); err != nil {
		return k, fmt.Errorf("the key file %s is broken: %w", path, err)
	}
	return k, nil
}

// ensureKeys reads the key file or makes the default tenant's keys.
func ensureKeys(ctx context.Context, dsn, dataDir string) (Keys, error) {
	k, err := ReadKeys(keysPath(dataDir))
	if err == nil && k.Canary != "" {
		return k, nil
	}
	known := err == nil
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return k, err
	}
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		return k, err
	}
	defer pool.Close()
	store := access.NewStore(pool)
	if !known { // a folder of an earlier version lacks only the last
		if err := makeKeys(ctx, store, &k); err != nil {
			return k, err
		}
	}
	tenant, err := store.CreateTenant(ctx, canaryTenant)
	if err != nil {
		return k, err
	}
	scopes := []access.Scope{access.PaymentsWrite, access.PaymentsRead, access.AccountsWrite, access.AccountsRead, access.Admin}
	if k.Canary, _, err = store.CreateKey(ctx, tenant, "made by up, for the doctor", scopes); err != nil {
		return k, err
	}
	raw, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return k, err
	}
	return k, writeFile(keysPath(dataDir), raw, 0o600)
}

// makeKeys makes the default tenant with its keys, and the sandbox banks' secret.
func makeKeys(ctx context.Context, store *access.Store, k *Keys) error {
	tenant, err := store.CreateTenant(ctx, defaultTenant)
	if err != nil {
		return err
	}
	plain := []access.Scope{access.PaymentsWrite, access.PaymentsRead, access.AccountsWrite, access.AccountsRead, access.WebhooksWrite, access.WebhooksRead}
	if k.Tenant, _, err = store.CreateKey(ctx, tenant, "made by up", plain); err != nil {
		return err
	}
	if k.Admin, _, err = store.CreateKey(ctx, tenant, "made by up, admin", append(plain, access.Admin, access.Installation)); err != nil {
		return err
	}
	secret := make([]byte, 24)
	if _, err := rand.Read(secret); err != nil {
		return err
	}
	k.SandboxSecret = hex.EncodeToString(secret)
	return nil
}

// Database says where a command finds the record of money.
type Database struct {
	DSN     string
	DataDir string
}

// dsn is the database's address: the one that was named, or the private cluster's.
func (d Database) dsn(ctx context.Context) (string, error) {
	if d.DSN != "" {
		return d.DSN, nil
	}
	place, _, err := pgserver.Place(ctx, pgFolder(d.DataDir))
	if err != nil {
		return "", err
	}
	dsn, err := pgserver.Locate(place, DatabaseName)
	if err != nil {
		return "", fmt.Errorf("%w; start `moneta up`, or name a database with --dsn", err)
	}
	return dsn, nil
}

func (d Database) pool(ctx context.Context) (*pgxpool.Pool, error) {
	dsn, err := d.dsn(ctx)
	if err != nil {
		return nil, err
	}
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	if err := newestOf(ctx, &cfg.ConnConfig.Config); err != nil {
		return nil, err
	}
	return pgxpool.NewWithConfig(ctx, cfg)
}

// newestOf has a command use the newest primary of those that its address names: what
// somebody does at an old one is lost.
func newestOf(ctx context.Context, cfg *pgconn.Config) error {
	fence, err := pgfence.New("", pgfence.History{}, slog.New(slog.DiscardHandler))
	if err == nil {
		err = fence.Look(ctx, cfg)
	}
	fence.Guard(cfg)
	return err
}

// keys opens the store of keys and finds the tenant, or makes it. Call done when
// finished with the store.
func (d Database) keys(ctx context.Context, tenant string) (store *access.Store, id int32, done func(), err error) {
	pool, err := d.pool(ctx)
	if err != nil {
		return nil, 0, nil, err
	}
	store = access.NewStore(pool)
	if id, err = store.CreateTenant(ctx, tenant); err != nil {
		pool.Close()
		return nil, 0, nil, err
	}
	return store, id, pool.Close, nil
}

// KeyCreate makes an API key and shows it, this once.
func KeyCreate(ctx context.Context, d Database, tenant, name string, scopes []string, asJSON bool, w io.Writer) error {
	store, id, done, err := d.keys(ctx, tenant)
	if err != nil {
		return err
	}
	defer done()
	wanted := make([]access.Scope, len(scopes))
	for i, s := range scopes {
		wanted[i] = access.Scope(s)
	}
	secret, key, err := store.CreateKey(ctx, id, name, wanted)
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(w, map[string]any{"key": secret, "prefix": key.Prefix, "tenant": tenant, "scopes": scopes})
	}
	_, err = fmt.Fprintf(w, "%s\nIt is not stored and not shown again.\n", secret)
	return err
}

// KeyList shows a tenant's keys without their secrets.
func KeyList(ctx context.Context, d Database, tenant string, asJSON bool, w io.Writer) error {
	store, id, done, err := d.keys(ctx, tenant)
	if err != nil {
		return err
	}
	defer done()
	keys, err := store.List(ctx, id)
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(w, keys)
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "PREFIX\tNAME\tSCOPES\tWRITES\tREADS\tSTATE")
	for _, k := range keys {
		state := "active"
		if !k.RevokedAt.IsZero() {
			state = "revoked " + k.RevokedAt.UTC().Format("2006-01-02 15:04:05Z")
		}
		fmt.Fprintf(t, "%s\t%s\t%v\t%s\t%s\t%s\n", k.Prefix, k.Name, k.Scopes, showLimit(k.Limits.Writes), showLimit(k.Limits.Reads), state)
	}
	return t.Flush()
}

// KeyLimit gives a key its limits, each a quota and a window such as 600/1m, or off;
// every node follows within a second.
func KeyLimit(ctx context.Context, d Database, tenant, prefix, writes, reads string, w io.Writer) error {
	var l access.Limits
	var err error
	if l.Writes, err = parseLimit(writes); err != nil {
		return fmt.Errorf("--writes: %w", err)
	}
	if l.Reads, err = parseLimit(reads); err != nil {
		return fmt.Errorf("--reads: %w", err)
	}
	store, id, done, err := d.keys(ctx, tenant)
	if err != nil {
		return err
	}
	defer done()
	k, err := store.SetLimits(ctx, id, prefix, l)
	if errors.Is(err, fault.NotFound) {
		return fmt.Errorf("the tenant %s has no valid key %s; `moneta key list` shows those it has", tenant, prefix)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s: writes %s, reads %s, on each node\n", prefix, showLimit(k.Limits.Writes), showLimit(k.Limits.Reads))
	return err
}

const limitOff = "off"

func parseLimit(text string) (access.Limit, error) {
	if text == limitOff {
		return access.Limit{}, nil
	}
	quota, window, ok := strings.Cut(text, "/")
	n, err := strconv.ParseInt(quota, 10, 32)
	d, err2 := time.ParseDuration(window)
	if !ok || err != nil || err2 != nil || n <= 0 {
		return access.Limit{}, fmt.Errorf("%q is not a limit; write a quota and a window such as 600/1m, or off", text)
	}
	return access.Limit{Quota: int32(n), Window: d}, nil
}

func showLimit(l access.Limit) string {
	if l == (access.Limit{}) {
		return limitOff
	}
	return fmt.Sprintf("%d/%s", l.Quota, l.Window)
}

// KeyRevoke ends a key; every node notices within a second.
func KeyRevoke(ctx context.Context, d Database, tenant, prefix string, w io.Writer) error {
	store, id, done, err := d.keys(ctx, tenant)
	if err != nil {
		return err
	}
	defer done()
	if _, err := store.Revoke(ctx, id, prefix); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s is revoked\n", prefix)
	return err
}

// KeyRequests prints what the API answered to a tenant's keys, grouped by error.
func KeyRequests(ctx context.Context, d CaseDesk, days int, prefix string, all bool) error {
	q := url.Values{"days": {strconv.Itoa(days)}, "key": {prefix}}
	if all {
		q.Set("show", "all")
	}
	return d.ask(ctx, &question{
		path: "/v1/requests", query: q, head: "requests-head", none: "requests-none",
		cells: []string{"count", "status", "code", "method", "path", "key", "first_at@", "last_at@", "trace_id"},
	})
}
