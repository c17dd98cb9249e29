package pgtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/moneta-pay/moneta/internal/lifecycle"
	"github.com/moneta-pay/moneta/internal/pgserver"
)

const (
	// envKeeper makes a test binary the keeper of the cluster in that folder.
	envKeeper = "MONETA_PGTEST_KEEPER"
	// envIdle overrides idleStop, a Go duration: for the package's own tests.
	envIdle = "MONETA_PGTEST_IDLE"
	// idleStop is how long after the last test binary the cluster ends.
	idleStop = time.Minute
	poll     = 20 * time.Millisecond
	// keeperPoll is how often the keeper looks for users.
	keeperPoll = time.Second
	// format changes when the settings below do.
	format = "1"
)

// init turns a re-executed test binary into the keeper: the detached process
// that supervises the cluster and ends it when nobody uses it. A process of
// its own, because any test binary may be killed, and the last one cannot
// know that it is the last.
func init() {
	if base := os.Getenv(envKeeper); base != "" {
		if err := keep(base); err != nil {
			slog.Error("pgtest keeper ends", slog.Any("error", err))
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// root is a place that the server's unprivileged user can get at.
func root() string {
	dir := os.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
	defer cancel()
	if _, moved, err := pgserver.Place(ctx, filepath.Join(dir, "x")); err != nil || moved {
		return "/tmp"
	}
	return dir
}

var (
	joinOnce sync.Once
	joined   *shared
	joinErr  error
)

// join makes this process a user of the common cluster, until it exits.
func join(ctx context.Context) (*shared, error) {
	joinOnce.Do(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), setupTimeout)
		defer cancel()
		joined, joinErr = joinCluster(ctx)
	})
	return joined, joinErr
}

func joinCluster(ctx context.Context) (*shared, error) {
	bin, err := pgserver.FindBinaries(ctx, "", 0)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{format, bin.Version, bin.Dir}, "\n")))
	base := filepath.Join(root(), fmt.Sprintf("moneta-pgtest-%d-%s", os.Geteuid(), hex.EncodeToString(sum[:4])))
	if err := makeBase(base); err != nil {
		return nil, err
	}
	// Held until the process ends, however it ends. It must stay referenced:
	// the garbage collector closes a forgotten file, and so unlocks it.
	use, err := lockFile(ctx, filepath.Join(base, "users.lock"), syscall.LOCK_SH)
	if err != nil {
		return nil, err
	}
	if err := ensureKeeper(ctx, base, bin.Dir); err != nil {
		return nil, err
	}
	dsn := func(database string) string {
		dsn, err := pgserver.Locate(filepath.Join(base, "pg"), database)
		if err != nil { // it is being restarted: the socket stays where it was
			return fmt.Sprintf("host='%s' user=%s dbname=%s sslmode=disable", filepath.Join(base, "pg", "run"), pgserver.SuperUser, database)
		}
		return dsn
	}
	cfg, err := pgxpool.ParseConfig(dsn("postgres"))
	if err != nil {
		return nil, err
	}
	cfg.MaxConns = 2
	admin, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &shared{use: use, dsn: dsn, admin: admin}, nil
}

// makeBase makes the common folder, and refuses one that another user put
// into the shared place first.
func makeBase(base string) error {
	if err := os.Mkdir(base, 0o755); err != nil && !errors.Is(err, os.ErrExist) { //nolint:gosec // the cluster's folder inside is closed
		return err
	}
	st, err := os.Lstat(base)
	if err != nil {
		return err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok || !st.IsDir() || int(sys.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to somebody else: remove it or set TMPDIR", base)
	}
	return os.Chmod(base, 0o755) //nolint:gosec // whatever the umask says
}

// lockFile takes the lock, asking again until ctx ends.
func lockFile(ctx context.Context, path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // our own lock files
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		if err := lifecycle.Pause(ctx, poll); err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
	}
}

func tryLock(path string) (*os.File, bool) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // our own lock files
	if err != nil {
		return nil, false
	}
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		_ = f.Close()
		return nil, false
	}
	return f, true
}

// ensureKeeper returns when a keeper lives and its server answers.
func ensureKeeper(ctx context.Context, base, binDir string) error {
	start, err := lockFile(ctx, filepath.Join(base, "start.lock"), syscall.LOCK_EX)
	if err != nil {
		return err
	}
	defer func() { _ = start.Close() }()
	ended := make(chan error, 1)
	spawned := false
	for {
		// Asked each time: the keeper that we met may be on its way out.
		if !spawned && !keeperHeld(base) {
			if err := spawnKeeper(base, binDir, ended); err != nil {
				return err
			}
			spawned = true
		}
		if dsn, err := pgserver.Locate(filepath.Join(base, "pg"), "postgres"); err == nil {
			conn, err := pgx.Connect(ctx, dsn)
			if err == nil {
				return conn.Close(ctx)
			}
		}
		select {
		case err := <-ended:
			if err != nil {
				return err
			}
			spawned = false // it met another keeper
		case <-ctx.Done():
			return fmt.Errorf("wait for the test cluster (log in %s): %w", base, ctx.Err())
		case <-time.After(poll):
		}
	}
}

// keeperHeld reports whether a keeper lives.
func keeperHeld(base string) bool {
	free, ok := tryLock(filepath.Join(base, "keeper.lock"))
	if ok {
		_ = free.Close()
	}
	return !ok
}

// spawnKeeper starts ourselves as keeper: detached, so that it outlives us,
// and with no pipe of ours, because go test waits for those to close.
func spawnKeeper(base, binDir string, ended chan<- error) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(base, "keeper.log"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(exe) //nolint:noctx // it outlives us on purpose
	// From its folder it would not find a server that setup put into the project's.
	cmd.Env = append(os.Environ(), envKeeper+"="+base, pgserver.EnvBinDir+"="+binDir)
	cmd.Dir = base
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { // ends with the keeper, or with us
		err := cmd.Wait()
		if err != nil {
			said, _ := os.ReadFile(log.Name()) // for the message
			err = fmt.Errorf("the keeper of the test cluster ended: %w: %s", err, said)
		}
		ended <- err
	}()
	return nil
}

// keep runs the cluster in base until nobody has used it for idleStop.
func keep(base string) error {
	asked, cancel := context.WithTimeout(context.Background(), keeperPoll)
	defer cancel()
	lock, err := lockFile(asked, filepath.Join(base, "keeper.lock"), syscall.LOCK_EX)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil // there is one already
	}
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	limit := idleStop
	if d, err := time.ParseDuration(os.Getenv(envIdle)); err == nil {
		limit = d
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	server, err := pgserver.Start(ctx, pgserver.Config{
		DataDir: filepath.Join(base, "pg"), Footprint: pgserver.Small,
		Extra: map[string]string{"autovacuum_naptime": "60s", "log_checkpoints": "off", "checkpoint_timeout": "30min"},
	})
	if err != nil {
		return err
	}
	users, err := untilIdle(ctx, server, filepath.Join(base, "users.lock"), limit)
	if users != nil {
		defer func() { _ = users.Close() }()
	}
	end, cancel := context.WithTimeout(context.Background(), setupTimeout)
	defer cancel()
	if users != nil {
		err = errors.Join(err, sweepServer(end, server))
	}
	return errors.Join(err, server.Stop(end))
}

// untilIdle returns the lock that keeps new users out once there have been
// none for limit, or no lock when told to end or the server is lost.
func untilIdle(ctx context.Context, server *pgserver.Server, path string, limit time.Duration) (*os.File, error) {
	used := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil, nil
		case <-server.Done():
			return nil, server.Wait(ctx)
		case <-time.After(min(keeperPoll, limit/4+time.Millisecond)):
		}
		lock, idle := tryLock(path)
		switch {
		case !idle:
			used = time.Now()
		case time.Since(used) >= limit:
			return lock, nil
		default:
			_ = lock.Close()
		}
	}
}

func sweepServer(ctx context.Context, server *pgserver.Server) error {
	conn, err := pgx.Connect(ctx, server.DSN("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	return sweep(ctx, conn)
}
