//go:build !linux

package bench

import "os"

// fileSystem cannot tell here.
func fileSystem(string) (name string, forgets bool, err error) { return "unknown", false, nil }

func dataSync(f *os.File) error { return f.Sync() }
