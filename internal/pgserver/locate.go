package pgserver

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
)

// ErrNotRunning means that no server runs in the folder.
var ErrNotRunning = errors.New("no postgres runs in this folder")

// Locate returns the DSN of a database on the server that somebody else
// supervises in dataDir, or ErrNotRunning. It starts and locks nothing, so
// that a second command can talk to the cluster of a running one.
func Locate(dataDir, database string) (string, error) {
	abs, err := filepath.Abs(dataDir)
	if err != nil {
		return "", fmt.Errorf("pgserver: %w", err)
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		abs = real
	}
	l := newLayout(abs)
	pf, ok := l.readPidFile()
	if !ok || pf.status != "ready" || !isPostmaster(pf.pid, l.data) {
		return "", fmt.Errorf("pgserver: %w: %s", ErrNotRunning, abs)
	}
	return keywordDSN("host", pf.socket, "port", strconv.Itoa(pf.port), "user", SuperUser,
		"dbname", database, "sslmode", "disable"), nil
}
