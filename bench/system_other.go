//go:build !linux

package bench

import (
	"os"
	"time"
)

// fileSystem cannot tell here.
func fileSystem(string) (name string, forgets bool, err error) { return "unknown", false, nil }

func dataSync(f *os.File) error { return f.Sync() }

// threadTime cannot be told here.
func threadTime() (time.Duration, bool) { return 0, false }
