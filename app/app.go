// Package app wires everything: it turns settings into running stations, child
// processes and commands, in dependency order, and takes them down again in the
// reverse one. Nobody imports it but cmd. It refuses to decide anything about
// money: it only connects those who do.
package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/moneta-pay/moneta/console"
	"github.com/moneta-pay/moneta/schema"
)

// Version of the build; set by main.
var Version = "dev"

// ExitError ends the process with a code that means something: 1 something
// failed, 2 something is missing on this machine, 3 a money figure is off, 4 nothing
// is off in what was counted and not everything was.
type ExitError struct {
	Code    int
	Message string
}

// Error returns the message.
func (e *ExitError) Error() string { return e.Message }

// ExitMoney is the exit code when a money figure is off.
const ExitMoney = 3

// PrintVersion writes the build, the schema and the platform.
func PrintVersion(w io.Writer, asJSON bool) error {
	v := map[string]any{"version": Version, "schema": schema.Version(), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH, "console": consoleState()}
	if asJSON {
		return writeJSON(w, v)
	}
	_, err := fmt.Fprintf(w, "moneta %s (schema %d, %s, %s/%s)\nconsole: %s\n", Version, schema.Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH, consoleState())
	return err
}

// consoleState says whether this binary has the console inside.
func consoleState() string {
	if console.Built() {
		return "embedded"
	}
	return "placeholder"
}

// Migrate brings the database at dsn to this binary's schema.
func Migrate(ctx context.Context, dsn string, w io.Writer) error {
	var lookErr error
	err := schema.Migrate(ctx, dsn, func(cfg *pgconn.Config) { lookErr = newestOf(ctx, cfg) })
	if err := errors.Join(lookErr, err); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "the database is at schema %d\n", schema.Version())
	return err
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// writeFile writes a file whole or not at all.
func writeFile(path string, data []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, data, mode); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
