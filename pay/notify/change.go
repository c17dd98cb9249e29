package notify

import (
	"context"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
)

const (
	reasonMax = 200 // bytes
	// recoverMargin is added to the time that is asked for: the log is in the order of
	// commit, and two leaders' clocks may disagree by 5 s. What is told twice by it does
	// no harm, since it is only what the endpoint has not taken.
	recoverMargin = 10 * time.Second
	// RecoverMax is how far back an endpoint can be told again: as long as is known what
	// it took. Beyond, it would be told what it took long ago.
	RecoverMax = keepDays * 24 * time.Hour
)

// Change gives an endpoint another address or description; what is nil stays. What
// waits goes to the new address, under the same secret; that the old one failed is not
// held against the new one.
func (s *Endpoints) Change(ctx context.Context, tenant pay.TenantID, id EndpointID, url, description *string) (Endpoint, error) {
	if url != nil {
		if err := s.guard.check(ctx, *url); err != nil {
			return Endpoint{}, err
		}
	}
	if description != nil {
		if err := checkDescription(*description); err != nil {
			return Endpoint{}, err
		}
	}
	return s.one(ctx, "notify.Endpoints.Change", `update webhook_endpoints set url = coalesce($3, url), description = coalesce($4, description),
		failing_since = case when $3 is distinct from url and $3 is not null then null else failing_since end, changed_at = now()
		where tenant = $1 and id = $2 and state <> 3 returning `+endpointColumns, tenant, id, url, description)
}

func checkDescription(s string) error {
	if len(s) > descriptionMax || !utf8.ValidString(s) {
		return fault.New(fault.MalformedRequest, "a description has at most 200 bytes").WithParam("/description")
	}
	return nil
}

// Disable stops telling an endpoint until it is enabled, which then is told what it
// missed; one that is disabled already keeps its reason.
func (s *Endpoints) Disable(ctx context.Context, tenant pay.TenantID, id EndpointID, reason string) (Endpoint, error) {
	if len(reason) > reasonMax || !utf8.ValidString(reason) {
		return Endpoint{}, fault.New(fault.MalformedRequest, "a reason has at most 200 bytes").WithParam("/reason")
	}
	if _, err := s.Endpoint(ctx, tenant, id); err != nil { // of another tenant
		return Endpoint{}, err
	}
	if _, err := s.disable(ctx, id, reason); err != nil {
		return Endpoint{}, err
	}
	return s.Endpoint(ctx, tenant, id)
}

// Recover tells an endpoint again what became final since a time and what it has not
// taken: messages that were given up, and events that were never queued for it, such as
// those from before it was made. What it took is not repeated. It is queued window by
// window, as after an outage; Endpoint.CatchingUp says until when.
func (s *Endpoints) Recover(ctx context.Context, tenant pay.TenantID, id EndpointID, since time.Time) (Endpoint, error) {
	const op = "notify.Endpoints.Recover"
	if err := s.active(ctx, tenant, id); err != nil {
		return Endpoint{}, err
	}
	var out Endpoint
	err := s.locked(ctx, op, func(tx pgx.Tx) error {
		var young, past bool
		if err := tx.QueryRow(ctx, `select $1::timestamptz > now() - make_interval(days => $2), $1::timestamptz <= now()`, since, keepDays).Scan(&young, &past); err != nil {
			return err
		}
		if !young || !past {
			return fault.New(fault.MalformedRequest, fmt.Sprintf("since lies within the last %d days: what an endpoint took is known for as long", keepDays)).WithParam("/since")
		}
		rows, err := tx.Query(ctx, `update webhook_endpoints set changed_at = now(),
			behind = least(coalesce(behind, (select position from webhook_cursor)), facts.transitions_since($3) - 1)
			where tenant = $1 and id = $2 and state = $4 returning `+endpointColumns, tenant, id, since.Add(-recoverMargin), Active)
		if err != nil {
			return err
		}
		out, err = pgx.CollectExactlyOneRow(rows, scanEndpoint)
		return err
	})
	return out, err
}
