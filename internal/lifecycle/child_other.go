//go:build !linux

package lifecycle

import "syscall"

// childAttr: there is no parent-death signal here; ParentDone does the work.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
