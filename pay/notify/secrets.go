package notify

import (
	"context"
	"log/slog"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/internal/keyring"
)

// vault seals the secrets of endpoints with keys that are not in the database, if
// there are any (ADR 0024). One in clear is secretBytes long; a sealed one is longer.
type vault struct{ ring *keyring.Ring }

// about binds a sealed secret to its endpoint: copied to another one, it does not open.
func about(id EndpointID) string { return "webhook_endpoints/" + strconv.FormatInt(int64(id), 10) }

func (v vault) seal(id EndpointID, secret []byte) []byte {
	if v.ring == nil {
		return secret
	}
	return v.ring.Seal(secret, about(id))
}

func (v vault) open(id EndpointID, kept []byte) ([]byte, error) {
	if len(kept) == secretBytes {
		return kept, nil
	}
	return v.ring.Open(kept, about(id))
}

// live returns the secrets that sign now, the newest first. None when that one cannot
// be read: a message without its signature would be refused. An older one that cannot
// be read only shortens the time in which it signs too.
func (v vault) live(id EndpointID, kept, old []byte) [][]byte {
	secret, err := v.open(id, kept)
	if err != nil {
		return nil
	}
	out := [][]byte{secret}
	if old != nil {
		if before, err := v.open(id, old); err == nil {
			out = append(out, before)
		}
	}
	return out
}

const sealPage = 200

// What is in clear or under an older key, and replaced secrets that sign no more.
const staleSQL = `select id, secret, old_secret, coalesce(old_until <= now(), false), state = 3 from webhook_endpoints
  where id > $1 and (substr(secret, 1, $2) <> $3 or substr(old_secret, 1, $2) <> $3 or old_until <= now()) order by id limit $4 for update`

// keepSealed seals what is in clear, seals again what is under an older key, and
// counts what no key opens. Crash points: each page is a transaction; before its
// COMMIT all is as it was, after it all is sealed under the newest key.
func (s *Sender) keepSealed(ctx context.Context) error {
	v := s.endpoints.vault
	if v.ring == nil {
		return s.countUnreadable(ctx)
	}
	sealed, unreadable := 0, 0
	for after := EndpointID(0); ; {
		n, last := 0, after
		err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			rows, err := tx.Query(ctx, staleSQL, after, len(v.ring.Head()), v.ring.Head(), sealPage)
			if err != nil {
				return err
			}
			found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[kept])
			if err != nil {
				return err
			}
			for i := range found {
				k := &found[i]
				n, last = n+1, k.ID
				if !v.again(k) {
					if !k.Deleted {
						unreadable++
					}
					continue
				}
				if _, err := tx.Exec(ctx, `update webhook_endpoints set secret = $2, old_secret = $3, old_until = case when $3::bytea is not null then old_until end
					where id = $1`, k.ID, k.Secret, k.Old); err != nil {
					return err
				}
				sealed++
			}
			return nil
		})
		if err != nil {
			return err
		}
		if after = last; n < sealPage {
			break
		}
	}
	if sealed > 0 {
		s.logger.InfoContext(ctx, "webhook secrets were sealed under the newest key", slog.Int("endpoints", sealed), slog.String("key", v.ring.Newest()))
	}
	s.sayUnreadable(ctx, unreadable)
	return nil
}

// kept is what the database has of an endpoint's secrets.
type kept struct {
	ID          EndpointID
	Secret, Old []byte
	Over        bool // the old one signs no more
	Deleted     bool
}

// again seals both under the newest key, and drops an old one that signs no more or
// cannot be read. It reports whether the present one could be read.
func (v vault) again(k *kept) bool {
	secret, err := v.open(k.ID, k.Secret)
	if err != nil {
		return false
	}
	k.Secret = v.seal(k.ID, secret)
	if k.Old == nil {
		return true
	}
	if old, err := v.open(k.ID, k.Old); err == nil && !k.Over {
		k.Old = v.seal(k.ID, old)
	} else {
		k.Old = nil
	}
	return true
}

// countUnreadable is what a node without keys can say.
func (s *Sender) countUnreadable(ctx context.Context) error {
	var clear, unreadable int
	err := s.pool.QueryRow(ctx, `select count(*) filter (where octet_length(secret) = $1), count(*) filter (where octet_length(secret) <> $1)
		from webhook_endpoints where state <> $2`, secretBytes, deleted).Scan(&clear, &unreadable)
	if err != nil {
		return err
	}
	if clear > 0 && !s.saidClear {
		s.saidClear = true
		s.logger.WarnContext(ctx, "webhook secrets are in clear in the database: set secrets_key_file", slog.Int("endpoints", clear))
	}
	s.sayUnreadable(ctx, unreadable)
	return nil
}

func (s *Sender) sayUnreadable(ctx context.Context, n int) {
	s.unreadable.Set(float64(n)) //nolint:forbidigo // a metric
	if n > s.saidUnreadable {
		s.logger.ErrorContext(ctx, "webhook secrets cannot be read: the key that they are sealed under is not in secrets_key_file; "+
			"put it there, or let the tenants rotate their secrets; until then these endpoints are told nothing", slog.Int("endpoints", n))
	}
	s.saidUnreadable = n
}
