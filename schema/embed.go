// Package schema holds the numbered SQL migrations and brings a database to
// the version that this binary was built with. It refuses to run against a
// database that is newer than the binary, to wait in a lock queue longer than
// two seconds at a time, and to migrate from two places at once. It knows how
// to apply migrations, not what the tables mean.
package schema

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

//go:embed migrations/*.sql
var files embed.FS

// Migrations returns the SQL files, named NNNNN_name.sql.
func Migrations() fs.FS {
	sub, err := fs.Sub(files, "migrations")
	if err != nil {
		panic(err) // the folder is part of the binary
	}
	return sub
}

// Version is the number of the newest migration in this binary.
func Version() int64 {
	v, err := newest(Migrations())
	if err != nil {
		panic(err) // a file without a number cannot pass the package's tests
	}
	return v
}

// Hash identifies the set of migrations: it changes with any byte of any file.
func Hash() string {
	sum := sha256.New()
	names, _ := fs.Glob(Migrations(), "*.sql") // constant pattern
	for _, name := range names {
		raw, err := fs.ReadFile(Migrations(), name)
		if err != nil {
			panic(err) // embedded
		}
		fmt.Fprintf(sum, "%s %d\n%s", name, len(raw), raw)
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

func newest(migrations fs.FS) (int64, error) {
	names, err := fs.Glob(migrations, "*.sql")
	if err != nil {
		return 0, fmt.Errorf("schema: list migrations: %w", err)
	}
	var versions []int64
	for _, name := range names {
		number, _, _ := strings.Cut(path.Base(name), "_")
		v, err := strconv.ParseInt(number, 10, 64)
		if err != nil || v < 1 {
			return 0, fmt.Errorf("schema: migration %s does not start with its number", name)
		}
		versions = append(versions, v)
	}
	if len(versions) == 0 {
		return 0, nil
	}
	return slices.Max(versions), nil
}
