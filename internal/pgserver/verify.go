package pgserver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// ErrUnsafe is wrapped by every refusal of VerifyDurability: this server may
// lose a commit that it acknowledged, or cannot take one.
var ErrUnsafe = errors.New("server is not safe for money")

// ErrReadOnly is wrapped, beside ErrUnsafe, when nothing else is wrong than that
// the server takes no writes from this role at the moment.
var ErrReadOnly = errors.New("transactions are read-only")

// Querier is the part of a pgx connection or pool that VerifyDurability uses.
type Querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// durability lists the settings that decide whether an acknowledged commit
// survives a crash, with the values that are accepted.
var durability = []struct {
	name   string
	accept []string
	why    string
}{
	{"fsync", []string{"on"}, "without it a power cut or kernel crash corrupts the cluster"},
	{"full_page_writes", []string{"on"}, "without it a torn page cannot be repaired after a crash"},
	{
		"synchronous_commit",
		[]string{"on", "remote_apply"},
		"off acknowledges commits that are not on disk; local and remote_write acknowledge commits that a standby may lose in a failover",
	},
}

func isDurability(name string) bool {
	for _, d := range durability {
		if strings.EqualFold(d.name, name) {
			return true
		}
	}
	return false
}

// VerifyDurability asks the server behind conn, as the role of conn sees it,
// whether a commit it acknowledges is a commit it keeps: fsync and
// full_page_writes on, synchronous_commit on or remote_apply, version 15 or
// later, a primary, not read-only. Any Postgres will do, not only ours. All
// that is wrong is reported at once, wrapped in ErrUnsafe.
func VerifyDurability(ctx context.Context, conn Querier) error {
	var version int
	var recovery bool
	var readOnly string
	values := make([]string, len(durability))
	err := conn.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, pg_is_in_recovery(),
		current_setting('transaction_read_only'), current_setting($1), current_setting($2), current_setting($3)`,
		durability[0].name, durability[1].name, durability[2].name).
		Scan(&version, &recovery, &readOnly, &values[0], &values[1], &values[2])
	if err != nil {
		return fmt.Errorf("pgserver: verify durability: %w", err)
	}
	var wrong []string
	var notNow error
	if version < MinMajor*10000 {
		wrong = append(wrong, fmt.Sprintf("server version is %d.%d, need %d or later", version/10000, version%10000, MinMajor))
	}
	switch {
	case recovery:
		wrong = append(wrong, "server is in recovery (a standby): connect to the primary")
	case readOnly == "on":
		notNow = fmt.Errorf("%w: is the disk full? else check default_transaction_read_only for this role and database", ErrReadOnly)
	}
	for i, d := range durability {
		if !slices.Contains(d.accept, values[i]) {
			wrong = append(wrong, fmt.Sprintf("%s is %s, need %s: %s", d.name, values[i], strings.Join(d.accept, " or "), d.why))
		}
	}
	switch {
	case notNow != nil && len(wrong) > 0:
		wrong = append(wrong, notNow.Error())
	case notNow != nil:
		return fmt.Errorf("pgserver: %w: %w", ErrUnsafe, notNow)
	case len(wrong) == 0:
		return nil
	}
	return fmt.Errorf("pgserver: %w: %s", ErrUnsafe, strings.Join(wrong, "; "))
}
