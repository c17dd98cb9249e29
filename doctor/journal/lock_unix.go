//go:build unix

package journal

import (
	"os"
	"syscall"
)

// lock holds the file for this process; the kernel lets it go when the process ends.
func lock(file *os.File) error {
	return syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

// unlock lets it go, whoever has copies of the descriptor.
func unlock(file *os.File) error { return syscall.Flock(int(file.Fd()), syscall.LOCK_UN) }
