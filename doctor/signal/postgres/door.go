package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/moneta-pay/moneta/doctor"
)

// The server's codes that say why nobody comes in.
const (
	tooMany      = "53300" // too_many_connections
	diskFull     = "53100" // disk_full
	cannotNow    = "57P03" // cannot_connect_now: starting up, shutting down, in recovery
	adminEnd     = "57P01" // admin_shutdown
	crashEnd     = "57P02" // crash_shutdown
	badPassword  = "28P01"
	badLogin     = "28000"
	noDatabase   = "3D000"
	statementEnd = "57014" // query_canceled, by statement_timeout
)

// Why a connection was not had, as the detail "why" of Up says it.
const (
	WhyRefused  = "refused"          // nobody listens there
	WhyTimeout  = "timeout"          // no answer in time
	WhyTooMany  = "too_many_clients" // the server lives and has no room
	WhyStarting = "starting_up"      // it starts or recovers
	WhyStopping = "shutting_down"    // it ends
	WhyLogin    = "login"            // it lives and does not know us
	WhyLost     = "connection_lost"  // it began to talk and stopped
	WhyOther    = "other"
)

// why names the reason in one word.
func why(err error) string {
	switch codeOf(err) {
	case tooMany:
		return WhyTooMany
	case cannotNow:
		if strings.Contains(err.Error(), "shutting down") {
			return WhyStopping
		}
		return WhyStarting
	case adminEnd, crashEnd:
		return WhyStopping
	case badPassword, badLogin, noDatabase:
		return WhyLogin
	case statementEnd:
		return WhyTimeout
	}
	var network net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		return WhyRefused
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return WhyTimeout
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), strings.Contains(err.Error(), "EOF"):
		return WhyLost
	}
	return WhyOther
}

func codeOf(err error) string {
	var said *pgconn.PgError
	if errors.As(err, &said) {
		return said.Code
	}
	return ""
}

// door opens a fresh connection at each look: what a client without a pool meets.
type door struct{ source *Source }

// Name of the collector.
func (*door) Name() string { return "postgres door" }

// Every is DoorEvery.
func (*door) Every() time.Duration { return DoorEvery }

const doorQuery = `select clock_timestamp(), pg_is_in_recovery(), current_setting('default_transaction_read_only')::bool`

// Look connects, asks one question and leaves. That it may not come in because there is
// no room is no sign that the server is down: Up says so, and its detail why.
func (d *door) Look(ctx context.Context) (doctor.Look, error) {
	ctx, cancel := context.WithTimeout(ctx, connectMax)
	defer cancel()
	l := d.source.sight()
	now := d.source.cfg.Clock.Now
	began := now()
	var at time.Time
	var standby, readOnly bool
	conn, err := pgx.ConnectConfig(ctx, d.source.conf.Copy())
	if err == nil {
		defer func() { _ = conn.Close(ctx) }() // it is ours, and done with
		asked := now()
		if err = conn.QueryRow(ctx, doorQuery).Scan(&at, &standby, &readOnly); err == nil {
			answered := now()
			l.tell(doctor.Up, 1, doorQuery, nil)
			l.tell(doctor.PGConnect, answered.Sub(began).Seconds(), doorQuery, nil)
			middle := asked.Add(answered.Sub(asked) / 2)
			l.tell(doctor.ClockSkew, beyond(at.Sub(middle), answered.Sub(asked)/2).Seconds(), doorQuery, nil)
			l.tell(doctor.PGReadOnly, yes(standby || readOnly), doorQuery, readOnlyDetail(standby, readOnly))
			return l.Look, nil
		}
	}
	reason := why(err)
	lives := reason == WhyTooMany || reason == WhyLogin
	l.tell(doctor.Up, yes(lives), doorQuery, map[string]string{"why": reason})
	if reason == WhyTimeout { // at least so long; a refusal takes no time and is not fast
		l.tell(doctor.PGConnect, now().Sub(began).Seconds(), doorQuery, map[string]string{"why": reason})
	}
	d.source.remember(err)
	return l.Look, fmt.Errorf("a fresh connection: %s: %w", reason, err)
}

func readOnlyDetail(standby, setting bool) map[string]string {
	switch {
	case standby:
		return map[string]string{"why": "standby"}
	case setting:
		return map[string]string{"why": "default_transaction_read_only"}
	}
	return nil
}

// beyond is how far apart is, beyond what the round trip can explain.
func beyond(apart, slack time.Duration) time.Duration { return max(apart.Abs()-slack, 0) }
