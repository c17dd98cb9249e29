package pgserver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// ErrUnreachable means that the unprivileged user that PostgreSQL must run as
// cannot get at a folder.
var ErrUnreachable = errors.New("folder cannot be reached")

// identity is who the server runs as. PostgreSQL refuses to run as root, and
// needs a user with a passwd entry.
type identity struct {
	name     string
	uid, gid int
	drop     bool // we are root and become somebody else
}

// serverIdentity picks the user: ourselves, or as root the owner of existing
// data, else postgres, else nobody.
func serverIdentity(dataOwner int) (identity, error) {
	if os.Geteuid() != 0 {
		return identity{uid: os.Geteuid(), gid: os.Getegid(), name: strconv.Itoa(os.Geteuid())}, nil
	}
	if dataOwner > 0 {
		if u, err := user.LookupId(strconv.Itoa(dataOwner)); err == nil {
			return dropTo(u)
		}
		return identity{}, fmt.Errorf("pgserver: data belongs to uid %d, which has no passwd entry: PostgreSQL will not run as it; "+
			"chown the folder to postgres or nobody", dataOwner)
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil && u.Uid != "0" {
			return dropTo(u)
		}
	}
	return identity{}, errors.New("pgserver: running as root, and neither postgres nor nobody is in the passwd file: " +
		"add an unprivileged user `postgres`, or run as one")
}

func dropTo(u *user.User) (identity, error) {
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return identity{}, fmt.Errorf("pgserver: uid of %s: %w", u.Username, err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return identity{}, fmt.Errorf("pgserver: gid of %s: %w", u.Username, err)
	}
	return identity{name: u.Username, uid: uid, gid: gid, drop: true}, nil
}

// attr returns the process attributes that make a child run as w, in a
// session of its own, so that a Ctrl-C meant for us does not reach it.
func (w identity) attr() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setsid: true}
	if w.drop {
		a.Credential = &syscall.Credential{Uid: uint32(w.uid), Gid: uint32(w.gid)}
	}
	return a
}

// own gives path to the server's user.
func (w identity) own(path string) error {
	if !w.drop {
		return nil
	}
	if err := os.Lchown(path, w.uid, w.gid); err != nil {
		return fmt.Errorf("pgserver: give %s to %s: %w", path, w.name, err)
	}
	return nil
}

// canReach asks the kernel, as w, whether dir can be entered: mode bits alone
// do not tell (ACLs, mount options).
func (w identity) canReach(ctx context.Context, dir string) error {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", `cd "$0"`, dir)
	cmd.SysProcAttr = w.attr()
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %s as user %s (uid %d): %s%s", ErrUnreachable, dir, w.name, w.uid, bytes.TrimSpace(out), blockedBy(dir))
}

// blockedBy names the first parent that other users may not enter.
func blockedBy(dir string) string {
	for d := "/"; ; {
		if st, err := os.Stat(d); err == nil && st.Mode().Perm()&0o001 == 0 && d != dir {
			return fmt.Sprintf(" (%s has mode %04o)", d, st.Mode().Perm())
		}
		rel, err := filepath.Rel(d, dir)
		if err != nil || rel == "." {
			return ""
		}
		d = filepath.Join(d, firstPart(rel))
	}
}

func firstPart(rel string) string {
	for i := range len(rel) {
		if rel[i] == filepath.Separator {
			return rel[:i]
		}
	}
	return rel
}

// systemHome is where root's clusters go when the wished folder is closed to
// the server's user.
const systemHome = "/var/lib/moneta"

// Place returns the folder to use for a cluster wished at dir, and whether it
// had to differ: as root, a folder that the server's unprivileged user cannot
// enter (one under /root, say) becomes one under /var/lib/moneta, the same
// one each time. Callers must tell the user when it moved.
func Place(ctx context.Context, dir string) (place string, moved bool, err error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", false, fmt.Errorf("pgserver: %w", err)
	}
	if os.Geteuid() != 0 {
		return abs, false, nil
	}
	who, err := serverIdentity(0)
	if err != nil {
		return "", false, err
	}
	parent := abs
	for {
		if _, err := os.Stat(parent); err == nil || parent == "/" {
			break
		}
		parent = filepath.Dir(parent)
	}
	if parent == abs { // exists, perhaps closed to others by us: its parent decides
		parent = filepath.Dir(abs)
	}
	if err := who.canReach(ctx, parent); err == nil {
		return abs, false, nil
	} else if !errors.Is(err, ErrUnreachable) {
		return "", false, err
	}
	return homePlace(abs), true, nil
}

func homePlace(abs string) string {
	sum := sha256.Sum256([]byte(abs))
	return filepath.Join(systemHome, filepath.Base(abs)+"-"+hex.EncodeToString(sum[:4]))
}
