package notify

import (
	"context"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/keyring"
	"github.com/moneta-pay/moneta/pay"
)

const (
	// EndpointsMax bounds the endpoints of one tenant.
	EndpointsMax = 16
	// PageMax bounds one page of deliveries.
	PageMax = 100
	// OldSecretFor is how long a replaced secret goes on signing.
	OldSecretFor   = 24 * time.Hour
	descriptionMax = 200
)

// Endpoints keeps where tenants want to be told, and what was.
type Endpoints struct {
	pool  *pgxpool.Pool
	guard guard
	vault vault
}

// NewEndpoints reads and writes through pool, which the caller keeps owning. inside
// are the networks that may be called although they are not public, ring the keys that
// seal secrets; without one they are kept in clear.
func NewEndpoints(pool *pgxpool.Pool, inside []netip.Prefix, ring *keyring.Ring) *Endpoints {
	return &Endpoints{pool: pool, guard: guard{inside: inside}, vault: vault{ring}}
}

const endpointColumns = `id, tenant, url, description, state, state_reason, failing_since,
	case when old_until > now() then old_until end, behind is not null, created_at`

func scanEndpoint(row pgx.CollectableRow) (Endpoint, error) {
	var e Endpoint
	var failing, old *time.Time
	err := row.Scan(&e.ID, &e.Tenant, &e.URL, &e.Description, &e.State, &e.Reason, &failing, &old, &e.CatchingUp, &e.CreatedAt)
	e.FailingSince, e.OldSecretUntil, e.CreatedAt = utc(failing), utc(old), e.CreatedAt.UTC()
	return e, err
}

func utc(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

// Create adds an endpoint, which is told what becomes final from now on, and
// returns its secret, which is shown this once and when it is replaced.
func (s *Endpoints) Create(ctx context.Context, tenant pay.TenantID, url, description string) (Endpoint, string, error) {
	const op = "notify.Endpoints.Create"
	if err := s.guard.check(ctx, url); err != nil {
		return Endpoint{}, "", err
	}
	if err := checkDescription(description); err != nil {
		return Endpoint{}, "", err
	}
	var out Endpoint
	secret := newSecret()
	err := s.locked(ctx, op, func(tx pgx.Tx) error {
		var n int
		if err := tx.QueryRow(ctx, `select count(*) from webhook_endpoints where tenant = $1 and state <> $2`, tenant, deleted).Scan(&n); err != nil {
			return err
		}
		if n >= EndpointsMax {
			return fault.New(fault.MalformedRequest, "a tenant has at most 16 endpoints; delete one first")
		}
		if err := follow(ctx, tx); err != nil {
			return err
		}
		var id EndpointID // first, because the sealed secret is bound to it
		if err := tx.QueryRow(ctx, `select nextval(pg_get_serial_sequence('webhook_endpoints', 'id'))`).Scan(&id); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `insert into webhook_endpoints (id, tenant, url, description, secret) overriding system value
			values ($1, $2, $3, $4, $5) returning `+endpointColumns, id, tenant, url, description, s.vault.seal(id, secret))
		if err != nil {
			return err
		}
		out, err = pgx.CollectExactlyOneRow(rows, scanEndpoint)
		return err
	})
	if err != nil {
		return Endpoint{}, "", err
	}
	return out, showSecret(secret), nil
}

// locked runs do in a transaction that holds the cursor: no event is queued while
// it changes who is told.
func (s *Endpoints) locked(ctx context.Context, op string, do func(pgx.Tx) error) error {
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select from webhook_cursor for update`); err != nil {
			return err
		}
		return do(tx)
	})
	if err == nil {
		return nil
	}
	if f := fault.From(err); f.Code != fault.Internal {
		return f
	}
	return dbFault(op, err)
}

// follow lets the cursor leap to the log's end when nobody is told anything: it
// stands still then, and whoever comes now is not to be told what was before.
func follow(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `update webhook_cursor set position = greatest(position, (select coalesce(max(id), 0) from transitions))
		where not exists (select from webhook_endpoints where state = $1)`, Active)
	return err
}

// List returns the tenant's endpoints by id.
func (s *Endpoints) List(ctx context.Context, tenant pay.TenantID) ([]Endpoint, error) {
	rows, err := s.pool.Query(ctx, `select `+endpointColumns+` from webhook_endpoints where tenant = $1 and state <> $2 order by id limit $3`,
		tenant, deleted, EndpointsMax)
	if err != nil {
		return nil, dbFault("notify.Endpoints.List", err)
	}
	list, err := pgx.CollectRows(rows, scanEndpoint)
	if err != nil {
		return nil, dbFault("notify.Endpoints.List", err)
	}
	return list, nil
}

// Endpoint returns one of the tenant's endpoints, or fault.NotFound.
func (s *Endpoints) Endpoint(ctx context.Context, tenant pay.TenantID, id EndpointID) (Endpoint, error) {
	return s.one(ctx, "notify.Endpoints.Endpoint", `select `+endpointColumns+` from webhook_endpoints where tenant = $1 and id = $2 and state <> 3`, tenant, id)
}

func (s *Endpoints) one(ctx context.Context, op, sql string, args ...any) (Endpoint, error) {
	rows, err := s.pool.Query(ctx, sql, args...)
	if err != nil {
		return Endpoint{}, dbFault(op, err)
	}
	e, err := pgx.CollectExactlyOneRow(rows, scanEndpoint)
	if err != nil {
		return Endpoint{}, dbFault(op, err)
	}
	return e, nil
}

// Delete ends an endpoint: nothing more is sent to it.
func (s *Endpoints) Delete(ctx context.Context, tenant pay.TenantID, id EndpointID) (Endpoint, error) {
	return s.one(ctx, "notify.Endpoints.Delete", `update webhook_endpoints set state = 3, changed_at = now()
		where tenant = $1 and id = $2 and state <> 3 returning `+endpointColumns, tenant, id)
}

// Rotate replaces the secret and returns the new one. The old one signs beside it
// for OldSecretFor; the one before that no longer.
func (s *Endpoints) Rotate(ctx context.Context, tenant pay.TenantID, id EndpointID) (Endpoint, string, error) {
	secret := newSecret()
	e, err := s.one(ctx, "notify.Endpoints.Rotate", `update webhook_endpoints set old_secret = secret, old_until = now() + $4, secret = $3, changed_at = now()
		where tenant = $1 and id = $2 and state <> 3 returning `+endpointColumns, tenant, id, s.vault.seal(id, secret), OldSecretFor)
	if err != nil {
		return e, "", err
	}
	return e, showSecret(secret), nil
}

// Enable lets a disabled endpoint be told again: what waits is due at once, and
// what it missed is queued from the log.
func (s *Endpoints) Enable(ctx context.Context, tenant pay.TenantID, id EndpointID) (Endpoint, error) {
	const op = "notify.Endpoints.Enable"
	var out Endpoint
	err := s.locked(ctx, op, func(tx pgx.Tx) error {
		if err := follow(ctx, tx); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `update webhook_endpoints set state = $3, state_reason = '', failing_since = null, changed_at = now()
			where tenant = $1 and id = $2 and state <> $4 returning `+endpointColumns, tenant, id, Active, deleted)
		if err != nil {
			return err
		}
		if out, err = pgx.CollectExactlyOneRow(rows, scanEndpoint); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `update webhook_deliveries set next_at = now() where endpoint = $1 and state = $2 and next_at > now()`, id, Pending)
		return err
	})
	return out, err
}

// disable stops telling an endpoint, and remembers where it stopped.
func (s *Endpoints) disable(ctx context.Context, id EndpointID, reason string) (done bool, err error) {
	err = s.locked(ctx, "notify.disable", func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `update webhook_endpoints set state = $2, state_reason = $3, changed_at = now(),
			behind = coalesce(behind, (select position from webhook_cursor)) where id = $1 and state = $4`, id, Disabled, reason, Active)
		done = tag.RowsAffected() == 1
		return err
	})
	return done, err
}

const deliveryColumns = `d.id, d.endpoint, coalesce(d.event, 0), d.state, d.tries, d.next_at, d.last_at, coalesce(d.last_status, 0), coalesce(d.last_error, ''), d.created_at`

func scanDelivery(row pgx.CollectableRow) (Delivery, error) {
	var d Delivery
	var last *time.Time
	err := row.Scan(&d.ID, &d.Endpoint, &d.Event, &d.State, &d.Tries, &d.NextAt, &last, &d.LastStatus, &d.LastError, &d.CreatedAt)
	d.NextAt, d.LastAt, d.CreatedAt = d.NextAt.UTC(), utc(last), d.CreatedAt.UTC()
	return d, err
}

// Deliveries lists what an endpoint was told, newest first, below before (zero:
// from the newest), at most PageMax.
func (s *Endpoints) Deliveries(ctx context.Context, tenant pay.TenantID, id EndpointID, before DeliveryID, limit int) ([]Delivery, error) {
	const op = "notify.Endpoints.Deliveries"
	if _, err := s.Endpoint(ctx, tenant, id); err != nil {
		return nil, err
	}
	if before == 0 {
		before = 1<<63 - 1
	}
	if limit <= 0 || limit > PageMax+1 {
		limit = PageMax + 1
	}
	rows, err := s.pool.Query(ctx, `select `+deliveryColumns+` from webhook_deliveries d where d.endpoint = $1 and d.id < $2 order by d.id desc limit $3`, id, before, limit)
	if err != nil {
		return nil, dbFault(op, err)
	}
	list, err := pgx.CollectRows(rows, scanDelivery)
	if err != nil {
		return nil, dbFault(op, err)
	}
	return list, nil
}

// Delivery returns one message, or fault.NotFound.
func (s *Endpoints) Delivery(ctx context.Context, tenant pay.TenantID, id EndpointID, delivery DeliveryID) (Delivery, error) {
	return s.message(ctx, "notify.Endpoints.Delivery", `select `+deliveryColumns+` from webhook_deliveries d join webhook_endpoints e on e.id = d.endpoint
		where d.id = $3 and e.id = $2 and e.tenant = $1 and e.state <> 3`, tenant, id, delivery)
}

func (s *Endpoints) message(ctx context.Context, op, sql string, args ...any) (Delivery, error) {
	rows, err := s.pool.Query(ctx, sql, args...)
	if err != nil {
		return Delivery{}, dbFault(op, err)
	}
	d, err := pgx.CollectExactlyOneRow(rows, scanDelivery)
	if err != nil {
		return Delivery{}, dbFault(op, err)
	}
	return d, nil
}

// active refuses what would wait for nobody.
func (s *Endpoints) active(ctx context.Context, tenant pay.TenantID, id EndpointID) error {
	e, err := s.Endpoint(ctx, tenant, id)
	if err == nil && e.State != Active {
		err = fault.New(fault.IllegalTransition, "the endpoint is disabled; enable it first").WithResource(id.String())
	}
	return err
}

// Redeliver sends a message again, whatever became of it, under the same
// webhook-id and with a whole schedule of tries.
func (s *Endpoints) Redeliver(ctx context.Context, tenant pay.TenantID, id EndpointID, delivery DeliveryID) (Delivery, error) {
	if err := s.active(ctx, tenant, id); err != nil {
		return Delivery{}, err
	}
	return s.message(ctx, "notify.Endpoints.Redeliver", `update webhook_deliveries d set state = $3, tries = 0, next_at = now()
		where d.id = $2 and d.endpoint = $1 returning `+deliveryColumns, id, delivery, Pending)
}

// Ping queues a test message, which is sent at once.
func (s *Endpoints) Ping(ctx context.Context, tenant pay.TenantID, id EndpointID) (Delivery, error) {
	if err := s.active(ctx, tenant, id); err != nil {
		return Delivery{}, err
	}
	return s.message(ctx, "notify.Endpoints.Ping", `insert into webhook_deliveries as d (endpoint) values ($1) returning `+deliveryColumns, id)
}
