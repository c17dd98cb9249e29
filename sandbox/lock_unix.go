//go:build unix

package sandbox

import (
	"os"
	"syscall"
)

// lockFile refuses a second sandbox on the same books. The lock ends with the
// process, however it ends.
func lockFile(file *os.File) error {
	return syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
