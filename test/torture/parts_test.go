package torture

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/lifecycle"
	"github.com/moneta-pay/moneta/internal/pgserver"
	"github.com/moneta-pay/moneta/test/binary"
)

// newParts is an installation that a test puts together by hand, so that it can
// stand between any two of its parts: a Postgres that also listens on TCP, and an
// empty database. What up would start beside it, banksAt and nodeAt start.
func newParts(t *testing.T) (w *world, server *pgserver.Server) {
	t.Helper()
	w = &world{t: t, dir: folder(t)}
	place, moved, err := pgserver.Place(t.Context(), filepath.Join(w.dir, "pg"))
	require.NoError(t, err)
	require.False(t, moved, "the folder must be one that the database's user can enter")
	w.place = place
	ctx, cancel := context.WithTimeout(t.Context(), readyWithin)
	defer cancel()
	server, err = pgserver.Start(ctx, pgserver.Config{
		DataDir: place, Listen: freePorts(t, 1)[0], Databases: []string{"moneta"}, Footprint: pgserver.Small,
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), readyWithin)
		defer cancel()
		require.NoError(t, server.Stop(ctx))
	})
	w.keys.Secret = "parts"
	return w, server
}

// through is the connection string of the database for those who reach it at
// another address.
func through(t *testing.T, server *pgserver.Server, address string) string {
	t.Helper()
	dsn, err := server.TCPDSN("moneta")
	require.NoError(t, err)
	cfg, err := pgx.ParseConfig(dsn)
	require.NoError(t, err)
	host, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	return "host=" + host + " port=" + port + " user=" + cfg.User + " password=" + cfg.Password + " dbname=moneta sslmode=disable"
}

// tcpAddress is where the server listens.
func tcpAddress(t *testing.T, server *pgserver.Server) string {
	t.Helper()
	dsn, err := server.TCPDSN("moneta")
	require.NoError(t, err)
	cfg, err := pgx.ParseConfig(dsn)
	require.NoError(t, err)
	return net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port)))
}

// makeKeys brings the database to the newest schema and makes the keys of a payer
// and of an admin.
func (w *world) makeKeys() {
	w.t.Helper()
	w.run("migrate", "--dsn", w.dsn())
	w.keys.Tenant = w.makeKey(plainScopes)
	w.keys.Admin = w.makeKey(plainScopes + ",admin,installation")
}

const plainScopes = "payments:write,payments:read,accounts:write,accounts:read"

func (w *world) makeKey(scopes string) string {
	w.t.Helper()
	var made struct {
		Key string `json:"key"`
	}
	out := w.run("key", "create", "--dsn", w.dsn(), "--name", "torture", "--scopes", scopes, "--json")
	require.NoError(w.t, json.Unmarshal(out, &made), "%s", out)
	require.NotEmpty(w.t, made.Key)
	return made.Key
}

// run runs one command of the binary to its end.
func (w *world) run(args ...string) []byte {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary.Moneta(), args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	require.NoError(w.t, err, "%v: %s%s", args, out, &said)
	return out
}

// banksAt starts the banks, whose callbacks go to the URL given.
func (w *world) banksAt(listen, callbacks string) {
	w.t.Helper()
	w.banks = "http://" + listen
	w.keep("sandbox", nil, "sandbox", "--listen", listen, "--callback-url", callbacks, "--secret", w.keys.Secret,
		"--dir", filepath.Join(w.dir, "sandbox"))
	eventually(w.t, readyWithin, "the sandbox serves", func() (bool, string) { return answersOK(w.banks + "/healthz") })
	for _, bank := range bankCodes {
		w.behave(bank, `{"magic_amounts": false}`)
	}
}

// nodeAt starts a node that reaches its database and its banks at the addresses
// given, and starts it again when it ends. It does not wait until it serves.
func (w *world) nodeAt(name, listen, dsn, banks string) *lifecycle.Child {
	w.t.Helper()
	return w.keep(name, []string{"MONETA_DSN=" + dsn, "MONETA_SANDBOX_SECRET=" + w.keys.Secret},
		"serve", "--listen", listen, "--node-url", "http://"+listen, "--sandbox-url", banks)
}

// keep runs the binary, and runs it again whenever it ends, until the test does.
func (w *world) keep(name string, env []string, args ...string) *lifecycle.Child {
	w.t.Helper()
	log, err := os.OpenFile(filepath.Join(w.dir, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	require.NoError(w.t, err)
	child := lifecycle.NewChild(lifecycle.ChildConfig{
		Name: name, Path: binary.Moneta(), Args: args, Env: append(os.Environ(), env...), Stdout: log, Stderr: log,
		Logger:  slog.New(slog.DiscardHandler),
		Backoff: lifecycle.Backoff{First: 50 * time.Millisecond, Max: time.Second, Healthy: 5 * time.Second},
	})
	require.NoError(w.t, child.Start(w.t.Context()))
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 45*time.Second)
		defer cancel()
		require.NoError(w.t, child.Stop(ctx))
		require.NoError(w.t, log.Close())
		if w.t.Failed() {
			w.t.Logf("the end of %s:\n%s", log.Name(), tail(log.Name()))
		}
	})
	return child
}
