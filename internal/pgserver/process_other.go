//go:build !linux

package pgserver

import "syscall"

// isPostmaster can only ask whether the process exists; the reader of the pid
// file connects before it believes.
func isPostmaster(pid int, _ string) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || err == syscall.EPERM
}

// orphans cannot be listed without /proc; PostgreSQL's own shared memory
// check still refuses to start beside them.
func orphans(string, int) []int { return nil }
