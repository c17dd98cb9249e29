// Package pgserver starts and supervises a private PostgreSQL cluster: one
// folder, one unix socket, settings fit for the machine, durability checked
// before anybody may write. It exists so that one command can bring up the
// record of money without an administrator.
//
// It refuses to run with fsync, synchronous_commit or full_page_writes off, to
// open a data folder of another major version, to share a folder with another
// supervisor, and to listen on TCP unless asked. It never downloads a server,
// never upgrades data, and never deletes a data folder that holds a cluster.
//
// PostgreSQL outlives a supervisor that was killed: the next Start adopts the
// running server rather than restarting it under its users.
package pgserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// Defaults of Config, each bounded so that nothing waits for ever.
const (
	// DefaultStartTimeout bounds one start, crash recovery included: replaying
	// a full max_wal_size on a slow disk takes minutes, and giving up in the
	// middle only means doing it again.
	DefaultStartTimeout = 5 * time.Minute
	// DefaultStopTimeout bounds the fast shutdown (which writes a checkpoint)
	// before the immediate one, which needs crash recovery at the next start.
	DefaultStopTimeout = 30 * time.Second
	// SuperUser is the role that owns the cluster.
	SuperUser = "moneta"
	// MinMajor is the oldest PostgreSQL major version that is accepted.
	MinMajor = 15

	defaultPort = 5432
)

// Footprint says how much of the machine the server may assume is its own.
type Footprint int

// Footprints.
const (
	// Machine sizes the server by the memory, cores and disk found.
	Machine Footprint = iota
	// Small sizes it for many short-lived databases beside other work: tests.
	Small
)

// Config says what cluster to run and where.
type Config struct {
	// DataDir is the folder that belongs to this cluster alone: data, socket,
	// logs, password and lock live in it. Created when missing.
	DataDir string
	// BinDir is the folder with the initdb and postgres binaries. Empty means
	// look for them; the environment variable MONETA_PG_BIN overrides both.
	BinDir string
	// Listen is host:port for TCP with password authentication. Empty means
	// no TCP at all.
	Listen string
	// Databases are created when missing.
	Databases []string
	// Footprint sizes the server; the zero value is Machine.
	Footprint Footprint
	// Extra are further server settings; the three durability settings in it
	// are an error.
	Extra map[string]string
	// OnEvent, when set, is called for each Event, in order, from the
	// supervising goroutine; it must not block.
	OnEvent func(Event)
	// Logger receives what the supervisor does; nil means slog.Default.
	Logger *slog.Logger
	// StartTimeout bounds each start; 0 means DefaultStartTimeout.
	StartTimeout time.Duration
	// StopTimeout bounds the fast shutdown; 0 means DefaultStopTimeout.
	StopTimeout time.Duration

	// GuardDisk watches for a full disk with a small footprint too.
	GuardDisk bool

	maxRestarts int // tests give up sooner
}

func (c Config) withDefaults() (Config, error) {
	if c.DataDir == "" {
		return c, errors.New("pgserver: DataDir is empty")
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.StartTimeout == 0 {
		c.StartTimeout = DefaultStartTimeout
	}
	if c.StopTimeout == 0 {
		c.StopTimeout = DefaultStopTimeout
	}
	if c.maxRestarts == 0 {
		c.maxRestarts = maxRestarts
	}
	for name := range c.Extra {
		if isDurability(name) {
			return c, fmt.Errorf("pgserver: setting %s may not be changed: money needs it on", name)
		}
	}
	if _, _, err := c.listen(); err != nil {
		return c, err
	}
	return c, nil
}

// listen returns the TCP host ("" for none) and the port, which also names
// the unix socket.
func (c Config) listen() (host string, port int, err error) {
	if c.Listen == "" {
		return "", defaultPort, nil
	}
	host, p, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return "", 0, fmt.Errorf("pgserver: listen address %q: want host:port: %w", c.Listen, err)
	}
	port, err = strconv.Atoi(p)
	if err != nil || port < 1 || port > 65535 {
		return "", 0, fmt.Errorf("pgserver: listen address %q: port must be 1 to 65535", c.Listen)
	}
	if host == "" {
		host = "*"
	}
	return host, port, nil
}

// Server is one supervised cluster. Its methods are safe for concurrent use.
type Server struct {
	cfg      Config
	log      *slog.Logger
	bin      Binaries
	who      identity
	dir      layout
	lock     *os.File
	adopted  bool
	password string

	stopOnce sync.Once
	stopErr  error
	stopping chan struct{}
	done     chan struct{}

	diskMu sync.Mutex // one look at the disk at a time

	mu       sync.Mutex
	proc     *postmaster
	settings []Setting
	events   []Event
	err      error
}

// Start brings the cluster in cfg.DataDir from whatever state it is in to
// serving: it makes the cluster when there is none, adopts a server that
// still runs there, or starts it and waits for crash recovery. It returns
// only after VerifyDurability passed. ctx bounds Start, not the server.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.StartTimeout)
	defer cancel()
	began := time.Now()
	s, err := prepare(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := s.bringUp(ctx); err != nil {
		return nil, errors.Join(err, s.abandon())
	}
	go s.supervise()
	go s.guardDisk()
	s.log.InfoContext(ctx, "postgres serving", slog.Bool("adopted", s.adopted), slog.Int("pid", s.Pid()),
		slog.String("version", s.bin.Version), slog.String("folder", s.dir.root),
		slog.Duration("took", time.Since(began).Round(time.Millisecond)))
	return s, nil
}

// prepare takes the folder: identity, lock, binaries, cluster files.
func prepare(ctx context.Context, cfg Config) (*Server, error) {
	who, dir, err := takeFolder(ctx, cfg.DataDir)
	if err != nil {
		return nil, err
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, who: who, dir: dir, lock: lock,
		log:      cfg.Logger.With(slog.String("component", "pgserver")),
		stopping: make(chan struct{}), done: make(chan struct{}),
	}
	if err := s.prepareCluster(ctx); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return s, nil
}

func (s *Server) prepareCluster(ctx context.Context) error {
	major, err := s.dir.major()
	if err != nil {
		return err
	}
	if s.bin, err = FindBinaries(ctx, s.cfg.BinDir, major); err != nil {
		return err
	}
	if err := s.who.canReach(ctx, s.bin.Dir); err != nil {
		return fmt.Errorf("pgserver: PostgreSQL binaries: %w", err)
	}
	if major == 0 {
		if err := s.initdb(ctx); err != nil {
			return err
		}
	}
	s.password, err = s.dir.ensurePassword(s.who)
	return err
}

// bringUp leaves a verified, running server and its live settings.
func (s *Server) bringUp(ctx context.Context) error {
	if err := s.adoptOrLaunch(ctx); err != nil {
		return err
	}
	conn, err := s.connect(ctx, "postgres")
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if err := VerifyDurability(ctx, conn); err != nil {
		return err
	}
	if err := s.setPassword(ctx, conn); err != nil {
		return err
	}
	for _, name := range s.cfg.Databases {
		if err := ensureDatabase(ctx, conn, name); err != nil {
			return err
		}
	}
	return s.readSettings(ctx, conn)
}

// setPassword keeps the role's password equal to the file's, but only where
// TCP can use it.
func (s *Server) setPassword(ctx context.Context, conn *pgx.Conn) error {
	if s.cfg.Listen == "" {
		return nil
	}
	// ALTER ROLE takes no parameters; the password is our own hex string.
	if _, err := conn.Exec(ctx, "ALTER ROLE "+SuperUser+" PASSWORD '"+s.password+"'"); err != nil {
		return fmt.Errorf("pgserver: set password: %w", err)
	}
	return nil
}

func ensureDatabase(ctx context.Context, conn *pgx.Conn, name string) error {
	var exists bool
	err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&exists)
	if err != nil {
		return fmt.Errorf("pgserver: look for database %s: %w", name, err)
	}
	if exists {
		return nil
	}
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()); err != nil {
		return fmt.Errorf("pgserver: create database %s: %w", name, err)
	}
	return nil
}

// abandon undoes a failed Start: a server that we launched is ended, one that
// we merely met is left to its users.
func (s *Server) abandon() error {
	var err error
	p := s.current()
	switch {
	case p == nil:
	case p.adopted:
		close(p.release)
	default:
		ctx, cancel := context.WithTimeout(context.Background(), s.cfg.StopTimeout)
		defer cancel()
		err = p.stop(ctx, s.cfg.StopTimeout/2)
	}
	return errors.Join(err, s.lock.Close())
}

// DSN returns a pgx keyword DSN for the database over the private socket.
func (s *Server) DSN(database string) string {
	return keywordDSN("host", s.dir.socket, "port", strconv.Itoa(s.port()), "user", SuperUser,
		"dbname", database, "sslmode", "disable")
}

// TCPDSN returns a pgx keyword DSN, password included, for the database over
// TCP, or an error when the server does not listen there. Never log it.
func (s *Server) TCPDSN(database string) (string, error) {
	host, port, err := s.cfg.listen()
	if err != nil {
		return "", err
	}
	if host == "" {
		return "", errors.New("pgserver: TCP was not asked for: set Listen")
	}
	if host == "*" || host == "0.0.0.0" || host == "::" {
		host = "localhost"
	}
	return keywordDSN("host", host, "port", strconv.Itoa(port), "user", SuperUser,
		"password", s.password, "dbname", database, "sslmode", "prefer"), nil
}

// keywordDSN quotes each value, so that a folder name with spaces works.
func keywordDSN(pairs ...string) string {
	quote := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		fmt.Fprintf(&b, "%s='%s' ", pairs[i], quote.Replace(pairs[i+1]))
	}
	return strings.TrimSpace(b.String())
}

// Pid returns the postmaster's process id, or 0 while there is none.
func (s *Server) Pid() int {
	if p := s.current(); p != nil && p.alive() {
		return p.pid
	}
	return 0
}

// Adopted reports whether Start found the server already running.
func (s *Server) Adopted() bool { return s.adopted }

// Version returns the PostgreSQL version, e.g. "15.18".
func (s *Server) Version() string { return s.bin.Version }

// SocketDir returns the folder with the private unix socket.
func (s *Server) SocketDir() string { return s.dir.socket }

// LogDir returns the folder with the server's log files.
func (s *Server) LogDir() string { return s.dir.logs }

// Settings returns the settings that the running server answered with at
// start, with why each was chosen.
func (s *Server) Settings() []Setting {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Setting(nil), s.settings...)
}

func (s *Server) current() *postmaster {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc
}

func (s *Server) port() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil && s.proc.port != 0 {
		return s.proc.port
	}
	_, port, _ := s.cfg.listen() // validated by withDefaults
	return port
}

// connect opens a session of the supervisor's, which may write on a full disk too.
func (s *Server) connect(ctx context.Context, database string) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, s.DSN(database)+" default_transaction_read_only=off")
	if err != nil {
		return nil, fmt.Errorf("pgserver: connect: %w", err)
	}
	return conn, nil
}

func (s *Server) readSettings(ctx context.Context, conn *pgx.Conn) error {
	want, err := s.wanted()
	if err != nil {
		return err
	}
	for i, w := range want {
		var live *string
		if err := conn.QueryRow(ctx, "SELECT current_setting($1, true)", w.Name).Scan(&live); err != nil {
			return fmt.Errorf("pgserver: read setting %s: %w", w.Name, err)
		}
		if live != nil {
			want[i].Value = *live
		}
	}
	s.mu.Lock()
	s.settings = want
	s.mu.Unlock()
	return nil
}
