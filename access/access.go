// Package access says who may, and how much: tenants, the API keys that act for
// them, the people who operate them, and what two of those people must agree on. A
// credential is checked against the database at most one second ago, so that a
// revoked key or a disabled person stops within a second on every node, without a
// query a request. It refuses to keep a secret, to log one, to let an unknown
// credential cost more than a bounded number of queries, and to carry out an
// approved action that differs in one byte from what was approved.
package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/clock"
)

// Scope is one thing that a key may do.
type Scope string

// The scopes. Admin is the tenant's operator: it implies those before it, opens and
// pays from the tenant's house accounts, and freezes. Installation is whoever runs
// the whole of it: dispatch, reconciliation and the totals concern every tenant, so
// that no tenant's Admin implies it, and it implies none of theirs.
const (
	PaymentsWrite Scope = "payments:write"
	PaymentsRead  Scope = "payments:read"
	AccountsWrite Scope = "accounts:write"
	AccountsRead  Scope = "accounts:read"
	WebhooksWrite Scope = "webhooks:write"
	WebhooksRead  Scope = "webhooks:read"
	Admin         Scope = "admin"
	Installation  Scope = "installation"
)

// Scopes lists all scopes.
func Scopes() []Scope {
	return []Scope{PaymentsWrite, PaymentsRead, AccountsWrite, AccountsRead, WebhooksWrite, WebhooksRead, Admin, Installation}
}

// Principal is who a request acts for.
type Principal struct {
	Tenant int32
	Scopes []Scope
	// KeyPrefix names the key, without its secret, in logs and lists; empty for a
	// person.
	KeyPrefix string
	// Limits of the key; zero limits nothing.
	Limits Limits
	// Operator is the person's name; empty for a key.
	Operator string
	Role     Role
	Method   Method

	// session names the session, if the person has signed in; unseen is for how long
	// nothing was done in it, sessionAge how long ago they did.
	session            string
	unseen, sessionAge time.Duration
}

// May reports whether the principal has the scope; admin has all of its tenant's.
func (p *Principal) May(s Scope) bool {
	return slices.Contains(p.Scopes, s) || s != Installation && slices.Contains(p.Scopes, Admin)
}

// Key is what is known of an API key; its secret is not.
type Key struct {
	Prefix    string
	Tenant    int32
	Name      string
	Scopes    []Scope
	CreatedAt time.Time
	// RevokedAt is the zero time while the key is valid.
	RevokedAt time.Time
	Limits    Limits
}

const (
	keyHead      = "mk_live_"
	prefixDigits = 8
	secretDigits = 32 // 160 random bits
	keyLength    = len(keyHead) + prefixDigits + 1 + secretDigits
	nameMax      = 100
	listMax      = 1000
	createTries  = 20
	// lookupTimeout bounds one look-up of a key, whoever waits for it.
	lookupTimeout = 2 * time.Second
)

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// digest is what the database keeps of a key. A slow hash protects secrets that
// people choose; this one holds 160 random bits, which nobody can try out, so that
// SHA-256 is enough and a request costs a microsecond, not a tenth of a second.
func digest(key string) [sha256.Size]byte { return sha256.Sum256([]byte(key)) }

// split checks the form mk_live_<prefix>_<secret> and returns the prefix.
func split(key string) (prefix string, ok bool) { return splitAs(keyHead, key) }

// splitAs does so for another head of eight characters.
func splitAs(head, key string) (prefix string, ok bool) {
	if len(key) != keyLength || key[:len(keyHead)] != head || key[len(keyHead)+prefixDigits] != '_' {
		return "", false
	}
	for i := len(keyHead); i < len(key); i++ {
		c := key[i]
		if i != len(keyHead)+prefixDigits && (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return "", false
		}
	}
	return key[len(keyHead) : len(keyHead)+prefixDigits], true
}

// Store keeps tenants and keys in the database.
type Store struct {
	pool  *pgxpool.Pool
	now   func() time.Time
	cache *cache
	// People, by public key, by pass and by session.
	signers, passes, sessions *cache
}

// NewStore reads and writes through pool, which the caller keeps owning.
func NewStore(pool *pgxpool.Pool) *Store { return newStore(pool, clock.System) }

func newStore(pool *pgxpool.Pool, c clock.Clock) *Store {
	s := &Store{pool: pool, now: c.Now}
	s.cache = newCache(s.lookUp, c.Now)
	s.signers, s.passes, s.sessions = newCache(s.lookUpSigner, c.Now), newCache(s.lookUpPass, c.Now), newCache(s.lookUpSession, c.Now)
	return s
}

// forgetPeople drops what is known of all credentials of people.
func (s *Store) forgetPeople() {
	for _, c := range []*cache{s.signers, s.passes, s.sessions} {
		c.forgetAll()
	}
}

// Authenticate finds the principal of an API key, "mk_live_…". The error is
// fault.Unauthenticated, or fault.DatabaseUnavailable when nobody can tell.
func (s *Store) Authenticate(ctx context.Context, key string) (Principal, error) {
	prefix, ok := split(key)
	if !ok {
		return Principal{}, fault.New(fault.Unauthenticated, "")
	}
	return s.cache.authenticate(ctx, prefix, digest(key))
}

// lookUp reads one valid key; found is false for an unknown or revoked one.
func (s *Store) lookUp(ctx context.Context, prefix string) (p Principal, hash []byte, found bool, err error) {
	p.KeyPrefix = prefix
	var writes, writesS, reads, readsS int32
	err = s.pool.QueryRow(ctx, `select tenant, scopes, hash, writes_quota, writes_window_s, reads_quota, reads_window_s
		from api_keys where prefix = $1 and revoked_at is null`, prefix).
		Scan(&p.Tenant, &p.Scopes, &hash, &writes, &writesS, &reads, &readsS)
	p.Limits = Limits{limitOf(writes, writesS), limitOf(reads, readsS)}
	if errors.Is(err, pgx.ErrNoRows) {
		return p, nil, false, nil
	}
	return p, hash, err == nil, err
}

// CreateTenant makes a tenant, or returns the one that has the name already. The
// first one is the installation's: its people run the whole of it.
func (s *Store) CreateTenant(ctx context.Context, name string) (int32, error) {
	const op = "access.CreateTenant"
	if name == "" || len(name) > nameMax {
		return 0, fault.New(fault.MalformedRequest, "a name has 1 to 100 bytes").WithOp(op).WithParam("/name")
	}
	// Ids count up. Two who take the same one at once: one has it, the other looks
	// again; each round gives one of them a tenant.
	const createTenant = `with made as (
		insert into tenants (id, name, installation) select (select coalesce(max(id), 0) + 1 from tenants), $1::text, not exists (select from tenants)
		where not exists (select from tenants where name = $1::text) on conflict do nothing returning id)
		select id from made union all select id from tenants where name = $1::text limit 1`
	for range createTries {
		var id int32
		err := s.pool.QueryRow(ctx, createTenant, name).Scan(&id)
		if errors.Is(err, pgx.ErrNoRows) {
			continue
		}
		if err != nil {
			return 0, dbFault(op, err)
		}
		return id, nil
	}
	return 0, fault.New(fault.Overloaded, "too many tenants are being made at once").WithOp(op)
}

// CreateKey makes an API key and returns its text, which is shown this once and
// kept nowhere.
func (s *Store) CreateKey(ctx context.Context, tenant int32, name string, scopes []Scope) (string, Key, error) {
	const op = "access.CreateKey"
	if len(name) > nameMax {
		return "", Key{}, fault.New(fault.MalformedRequest, "a name has at most 100 bytes").WithOp(op).WithParam("/name")
	}
	if len(scopes) == 0 {
		return "", Key{}, fault.New(fault.MalformedRequest, "a key needs at least one scope").WithOp(op).WithParam("/scopes")
	}
	for i, sc := range scopes {
		if !slices.Contains(Scopes(), sc) {
			return "", Key{}, fault.New(fault.MalformedRequest, "no such scope").WithOp(op).WithParam(fmt.Sprintf("/scopes/%d", i))
		}
	}
	text := newKey()
	prefix, _ := split(text)
	hash := digest(text)
	k := Key{Prefix: prefix, Tenant: tenant, Name: name, Scopes: scopes}
	err := s.pool.QueryRow(ctx, `insert into api_keys (prefix, tenant, hash, name, scopes) values ($1, $2, $3, $4, $5) returning created_at`,
		prefix, tenant, hash[:], name, scopes).Scan(&k.CreatedAt)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "23503" {
		return "", Key{}, fault.New(fault.NotFound, "there is no such tenant").WithOp(op)
	}
	if err != nil {
		return "", Key{}, dbFault(op, err)
	}
	k.CreatedAt = k.CreatedAt.UTC()
	return text, k, nil
}

func newKey() string { return newSecret(keyHead) }

// newSecret makes a text of the form of a key with another head.
func newSecret(head string) string {
	var raw [(prefixDigits + secretDigits) * 5 / 8]byte
	_, _ = rand.Read(raw[:]) // never fails: it ends the program instead
	digits := base32Lower.EncodeToString(raw[:])
	return strings.Join([]string{head + digits[:prefixDigits], digits[prefixDigits:]}, "_")
}

// Revoke ends a key: at once on this node, within a second on the others. A key
// that the tenant does not have is fault.NotFound; one revoked before stays so.
func (s *Store) Revoke(ctx context.Context, tenant int32, prefix string) (Key, error) {
	k, err := revoke(ctx, s.pool, tenant, prefix)
	if err != nil {
		return Key{}, dbFault("access.Revoke", err)
	}
	s.cache.forget(prefix)
	return k, nil
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func revoke(ctx context.Context, db querier, tenant int32, prefix string) (Key, error) {
	rows, err := db.Query(ctx, `update api_keys set revoked_at = coalesce(revoked_at, now())
		where tenant = $1 and prefix = $2 returning `+keyColumns, tenant, prefix)
	if err != nil {
		return Key{}, err
	}
	return pgx.CollectExactlyOneRow(rows, scanKey)
}

// List returns the tenant's keys, newest first, revoked ones too.
func (s *Store) List(ctx context.Context, tenant int32) ([]Key, error) {
	rows, err := s.pool.Query(ctx, `select `+keyColumns+` from api_keys
		where tenant = $1 order by created_at desc, prefix limit $2`, tenant, listMax)
	if err != nil {
		return nil, dbFault("access.List", err)
	}
	list, err := pgx.CollectRows(rows, scanKey)
	if err != nil {
		return nil, dbFault("access.List", err)
	}
	return list, nil
}

const keyColumns = `prefix, tenant, name, scopes, created_at, revoked_at, writes_quota, writes_window_s, reads_quota, reads_window_s`

func scanKey(row pgx.CollectableRow) (Key, error) {
	var k Key
	var revoked *time.Time
	var writes, writesS, reads, readsS int32
	err := row.Scan(&k.Prefix, &k.Tenant, &k.Name, &k.Scopes, &k.CreatedAt, &revoked, &writes, &writesS, &reads, &readsS)
	k.Limits = Limits{limitOf(writes, writesS), limitOf(reads, readsS)}
	k.CreatedAt = k.CreatedAt.UTC()
	if revoked != nil {
		k.RevokedAt = revoked.UTC()
	}
	return k, err
}

func dbFault(op string, err error) error {
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fault.New(fault.NotFound, "").WithOp(op)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return fault.New(fault.Timeout, "").WithOp(op).WithMoneyState(fault.NotMoved).WithCause(err)
	}
	return fault.New(fault.DatabaseUnavailable, "").WithOp(op).WithCause(err)
}
