// Package binary builds what tests start as processes of their own: the moneta under
// test, once for a test package, and tools that have a module of their own. It
// refuses to take a binary that happens to lie around: what is tested is the tree as
// it stands, or what MONETA_BINARY names.
package binary

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Env names a binary to test instead of building one, by its absolute path.
const Env = "MONETA_BINARY"

const (
	command = "github.com/moneta-pay/moneta/cmd/moneta"
	// buildWithin is what a build from nothing may take on a small machine.
	buildWithin = 5 * time.Minute
	// fetchWithin bounds the look for a tool's modules.
	fetchWithin = time.Minute
)

// ErrNoModules means that a tool cannot be built, because its modules are neither
// here nor to be had.
var ErrNoModules = errors.New("the tool's Go modules are not here")

var moneta string

// Run builds moneta, runs the tests of a package and removes what was built. It
// returns the exit code, for TestMain.
func Run(m *testing.M) int {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func run(m *testing.M) (code int, err error) {
	if moneta = os.Getenv(Env); moneta != "" {
		if !filepath.IsAbs(moneta) {
			return 0, fmt.Errorf("%s=%s: name the binary by its absolute path, since each package is tested in its own folder", Env, moneta)
		}
		return m.Run(), nil
	}
	dir, err := os.MkdirTemp("", "moneta-binary-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	moneta = filepath.Join(dir, "moneta")
	if err := build("", moneta, command); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// Moneta is the path of the binary under test, in a file called moneta unless
// MONETA_BINARY calls it otherwise. Only packages whose TestMain calls Run have one.
func Moneta() string {
	if moneta == "" {
		panic("binary: TestMain must call binary.Run")
	}
	return moneta
}

// Tool builds the command in a folder that is a module of its own and returns its
// path. Its file lives as long as the test. ErrNoModules, wrapped, is the only
// failure that says nothing about the tree.
func Tool(tb testing.TB, folder string) (string, error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), fetchWithin)
	defer cancel()
	fetch := exec.CommandContext(ctx, "go", "mod", "download")
	fetch.Dir = folder
	if out, err := fetch.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: go mod download in %s: %w: %s", ErrNoModules, folder, err, out)
	}
	path := filepath.Join(tb.TempDir(), filepath.Base(folder))
	return path, build(folder, path, ".")
}

func build(folder, path, what string) error {
	ctx, cancel := context.WithTimeout(context.Background(), buildWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, what)
	cmd.Dir = folder
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", what, err, out)
	}
	return nil
}
