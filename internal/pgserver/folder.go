package pgserver

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// ErrInUse means that another living process supervises the folder.
var ErrInUse = errors.New("another process supervises this data folder")

// maxSocketDir is the longest socket folder that leaves the socket's path
// under the 104 bytes that the smallest sun_path has.
const maxSocketDir = 99 - len("/.s.PGSQL.65535")

// layout is where things are inside (and, for a long path, beside) the folder.
type layout struct {
	root, data, socket, logs string
}

func newLayout(root string) layout {
	l := layout{
		root: root, data: filepath.Join(root, "data"),
		socket: filepath.Join(root, "run"), logs: filepath.Join(root, "log"),
	}
	if len(l.socket) > maxSocketDir || strings.ContainsAny(l.socket, `,"`) { // the setting is a list
		sum := sha256.Sum256([]byte(root))
		l.socket = filepath.Join("/tmp", "moneta-"+hex.EncodeToString(sum[:8]))
	}
	return l
}

// takeFolder makes the folder fit for the server's user and says who that is.
func takeFolder(ctx context.Context, dir string) (identity, layout, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return identity{}, layout{}, fmt.Errorf("pgserver: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(abs), 0o755); err != nil { //nolint:gosec // the server's user must pass through; the folder itself is closed
		return identity{}, layout{}, fmt.Errorf("pgserver: %w", err)
	}
	created := os.Mkdir(abs, 0o700) == nil
	real, err := filepath.EvalSymlinks(abs) // the server's working directory shows the real path
	if err != nil {
		return identity{}, layout{}, fmt.Errorf("pgserver: data folder: %w", err)
	}
	l := newLayout(real)
	if err := l.refuseForeign(); err != nil {
		return identity{}, layout{}, err
	}
	owner, _ := ownerOf(l.data) // 0 when there is no data yet
	who, err := serverIdentity(owner)
	if err != nil {
		return identity{}, layout{}, err
	}
	if err := l.prepare(ctx, who); err != nil {
		if created {
			_ = os.Remove(l.root) // only succeeds while empty
		}
		return identity{}, layout{}, err
	}
	return who, l, nil
}

// refuseForeign keeps us from chowning a folder that is not ours.
func (l layout) refuseForeign() error {
	entries, err := os.ReadDir(l.root)
	if err != nil {
		return fmt.Errorf("pgserver: data folder: %w", err)
	}
	ours := len(entries) == 0
	for _, e := range entries {
		switch e.Name() {
		case "PG_VERSION":
			return fmt.Errorf("pgserver: %s is a PostgreSQL data folder of somebody else's making: give a folder of its own", l.root)
		case "data", "supervisor.lock":
			ours = true
		}
	}
	if !ours {
		return fmt.Errorf("pgserver: %s is not empty and holds no cluster: give an empty or new folder", l.root)
	}
	return nil
}

// prepare makes folders and ownership right.
func (l layout) prepare(ctx context.Context, who identity) error {
	if err := l.ownAll(who); err != nil {
		return err
	}
	if err := who.canReach(ctx, l.root); err != nil {
		return fmt.Errorf("pgserver: data folder: %w. PostgreSQL does not run as root, so every parent must let that user in: "+
			"use a folder like %s, or open the parent with chmod o+x", err, homePlace(l.root))
	}
	if err := l.makeSocketDir(who); err != nil {
		return err
	}
	if err := os.Mkdir(l.logs, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("pgserver: %w", err)
	}
	return who.own(l.logs)
}

// ownAll gives the folder, and data that root copied in, to the server's user.
func (l layout) ownAll(who identity) error {
	if err := who.own(l.root); err != nil {
		return err
	}
	if err := os.Chmod(l.root, 0o700); err != nil { //nolint:gosec // a folder needs x
		return fmt.Errorf("pgserver: data folder belongs to somebody else: %w", err)
	}
	owner, err := ownerOf(l.data)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("pgserver: %w", err)
	}
	if !who.drop || owner == who.uid {
		return nil
	}
	return filepath.WalkDir(l.data, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("pgserver: %w", err)
		}
		return who.own(path)
	})
}

// makeSocketDir makes the socket folder, and refuses one in a shared place
// that somebody else made first.
func (l layout) makeSocketDir(who identity) error {
	err := os.Mkdir(l.socket, 0o700)
	if err == nil {
		return who.own(l.socket)
	}
	if !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("pgserver: socket folder: %w", err)
	}
	st, err := os.Lstat(l.socket)
	if err != nil {
		return fmt.Errorf("pgserver: socket folder: %w", err)
	}
	owner, err := ownerOf(l.socket)
	if err != nil {
		return fmt.Errorf("pgserver: socket folder: %w", err)
	}
	mine := owner == who.uid || owner == os.Geteuid()
	if !st.IsDir() || !mine || st.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("pgserver: socket folder %s is open to others (owner uid %d, mode %04o): remove it", l.socket, owner, st.Mode().Perm())
	}
	return who.own(l.socket)
}

func ownerOf(path string) (int, error) {
	st, err := os.Lstat(path)
	if err != nil {
		return 0, err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, fmt.Errorf("no owner known for %s", path)
	}
	return int(sys.Uid), nil
}

// lockFolder makes us the one supervisor. The kernel drops the lock when we
// die, so a killed supervisor leaves nothing behind.
func lockFolder(l layout) (*os.File, error) {
	path := filepath.Join(l.root, "supervisor.lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("pgserver: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder, _ := os.ReadFile(path) // only for the message
		_ = f.Close()
		return nil, fmt.Errorf("pgserver: %w: pid %s in %s", ErrInUse, strings.TrimSpace(string(holder)), l.root)
	}
	if err := errors.Join(f.Truncate(0), writeAt(f, strconv.Itoa(os.Getpid())+"\n")); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("pgserver: %w", err)
	}
	return f, nil
}

func writeAt(f *os.File, s string) error {
	_, err := f.WriteAt([]byte(s), 0)
	return err
}

// major returns the major version of the data folder, 0 when there is none.
func (l layout) major() (int, error) {
	raw, err := os.ReadFile(filepath.Join(l.data, "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(l.data); err == nil {
			return 0, fmt.Errorf("pgserver: %s exists without PG_VERSION: not a PostgreSQL data folder; move it away", l.data)
		}
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("pgserver: %w", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		return 0, fmt.Errorf("pgserver: PG_VERSION of %s: %w", l.data, err)
	}
	return n, nil
}

// ensurePassword returns the password for TCP, made once.
func (l layout) ensurePassword(who identity) (string, error) {
	path := filepath.Join(l.root, "password")
	raw, err := os.ReadFile(path)
	if err == nil {
		pw := strings.TrimSpace(string(raw))
		if _, err := hex.DecodeString(pw); err != nil || len(pw) < 32 {
			return "", fmt.Errorf("pgserver: %s does not hold a password of ours: remove it to make a new one", path)
		}
		return pw, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("pgserver: %w", err)
	}
	secret := make([]byte, 24)
	if _, err := rand.Read(secret); err != nil {
		return "", fmt.Errorf("pgserver: %w", err)
	}
	pw := hex.EncodeToString(secret)
	if err := writeOwned(path, pw+"\n", who); err != nil {
		return "", err
	}
	return pw, nil
}

// writeOwned replaces path at once, so that no reader sees half a file.
func writeOwned(path, text string, who identity) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return fmt.Errorf("pgserver: %w", err)
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = who.own(f.Name())
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("pgserver: write %s: %w", path, err)
	}
	return nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("pgserver: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}
