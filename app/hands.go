package app

import (
	"context"
	"errors"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/contain"
	"github.com/moneta-pay/moneta/doctor/repair"
	"github.com/moneta-pay/moneta/internal/clock"
)

// HandsConfig is what the doctor's hands need to know. What is empty is a hand less:
// a step that needs it is skipped, and says so.
type HandsConfig struct {
	// DSN of the primary, as a login that may signal sessions; see docs/runbooks.md.
	DSN string
	// URL of a node of serve, and Key, the key with the scope installation.
	URL string
	Key func() (string, error)
	// Levers is the folder in which the node on this machine reads levers.
	Levers string
	// Supervisor is the process of `up` whose children may be started again; 0 is none.
	Supervisor int
	// Tell says something to holders, support, partners or operators; required.
	Tell func(ctx context.Context, a doctor.Act) error
	// Clock is the system's when nil.
	Clock clock.Clock
}

// hands makes them. Whoever runs them puts each behind the never-list, as the runbook
// does.
func hands(cfg HandsConfig) ([]doctor.Hand, error) {
	if cfg.Tell == nil {
		return nil, errors.New("the doctor's hands need somebody to tell")
	}
	all := repair.Steps(cfg.Tell)
	if cfg.URL != "" && cfg.Key != nil {
		all = append(all, contain.Hands(contain.Config{URL: cfg.URL, Key: cfg.Key, Folder: cfg.Levers, Clock: cfg.Clock})...)
		all = append(all, repair.Backlog(repair.API{URL: cfg.URL, Key: cfg.Key})...)
	}
	if cfg.DSN != "" {
		db := repair.Database{DSN: cfg.DSN}
		all = append(all, repair.Sessions(db)...)
		all = append(all, repair.Tables(db)...)
		all = append(all, repair.Logs(db)...)
		all = append(all, repair.Takeover(db))
	}
	return append(all, repair.Restart(repair.Processes{Supervisor: cfg.Supervisor, Names: processes})), nil
}

// processes are the children of up by the hops that live in them. Postgres is none of
// them: whoever ends it hides who held the locks, and hurts everybody.
var processes = map[string]string{
	doctor.HopServe: "serve", doctor.HopAPI: "serve", doctor.HopDecider: "serve", doctor.HopDispatch: "serve", doctor.HopTimer: "serve",
	doctor.HopCallbacks: "serve", doctor.HopSettle: "serve", doctor.HopRecon: "serve", doctor.HopWebhooks: "serve",
}
