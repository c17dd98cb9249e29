package postgres

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/doctor"
)

const (
	replicaQuery = `select coalesce(application_name, ''), coalesce(state, ''), coalesce(sync_state, ''),
       coalesce(extract(epoch from replay_lag), 0)::float8
  from pg_stat_replication order by application_name limit 100`
	namesQuery = `select current_setting('synchronous_standby_names')`
)

type replica struct {
	Name, State, Sync string
	Lag               float64 // seconds
}

// replicas tells of the standbys: how far the slowest is behind, and which synchronous
// ones are not there.
func (a *activity) replicas(ctx context.Context, conn *pgx.Conn, l *sight) error {
	rows, err := conn.Query(ctx, replicaQuery)
	if err != nil {
		return err
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[replica])
	if err != nil {
		return err
	}
	var names string
	if err := conn.QueryRow(ctx, namesQuery).Scan(&names); err != nil {
		return err
	}
	if a.seen == nil {
		a.seen = map[string]bool{}
	}
	var slowest *replica
	for i := range all {
		a.seen[all[i].Name] = true
		if slowest == nil || all[i].Lag > slowest.Lag {
			slowest = &all[i]
		}
	}
	if slowest != nil { // without one there is no lag, and its absence is told by its silence
		l.tell(doctor.PGReplicaLag, slowest.Lag, replicaQuery, map[string]string{"standby": slowest.Name, "state": slowest.State})
	}
	gone, lacks := missing(names, all)
	var detail map[string]string
	if len(gone) > 0 {
		detail = map[string]string{"standby": strings.Join(gone, ","), "short": strconv.Itoa(lacks)}
	}
	l.tell(doctor.PGSyncMissing, float64(len(gone)), namesQuery, detail)
	return nil
}

// missing returns the synchronous standbys that are named and not there, and by how many
// a commit is short: 0 while enough others are there.
func missing(names string, all []replica) (gone []string, lacks int) {
	need, named := parseNames(names)
	if need == 0 {
		return nil, 0
	}
	there, anyone := 0, slices.Contains(named, "*")
	streaming := func(name string) bool {
		return slices.ContainsFunc(all, func(r replica) bool {
			return r.State == "streaming" && (name == "*" || strings.EqualFold(r.Name, name))
		})
	}
	for _, r := range all {
		if r.State == "streaming" && (anyone || slices.ContainsFunc(named, func(n string) bool { return strings.EqualFold(n, r.Name) })) {
			there++
		}
	}
	for _, name := range named {
		if !streaming(name) {
			gone = append(gone, name)
		}
	}
	lacks = max(need-there, 0)
	for len(gone) < lacks && anyone { // "*": each that lacks has no name
		gone = append(gone, "*")
	}
	return gone, lacks
}

// parseNames reads synchronous_standby_names: a list, or FIRST n (list), or ANY n (list),
// or n (list). It returns how many a commit waits for.
func parseNames(setting string) (need int, named []string) {
	setting = strings.TrimSpace(setting)
	if setting == "" {
		return 0, nil
	}
	need = 1
	list := setting
	if open := strings.IndexByte(setting, '('); open >= 0 && strings.HasSuffix(setting, ")") {
		list = setting[open+1 : len(setting)-1]
		head := strings.Fields(setting[:open])
		if len(head) > 0 {
			if n, err := strconv.Atoi(head[len(head)-1]); err == nil {
				need = n
			}
		}
	}
	for _, name := range strings.Split(list, ",") {
		if name = strings.Trim(strings.TrimSpace(name), `"`); name != "" {
			named = append(named, name)
		}
	}
	return need, named
}
