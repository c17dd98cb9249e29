package drill

import (
	"fmt"
	"syscall"
)

// mountMemory mounts a disk of memory, in megabytes.
func mountMemory(dir string, megabytes int) error {
	return syscall.Mount("none", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=755", megabytes))
}

func unmount(dir string) error { return syscall.Unmount(dir, syscall.MNT_DETACH) }

// MountSmall mounts a small disk; Unmount takes it away.
func MountSmall(dir string) error { return mountMemory(dir, smallMegabytes) }

// Unmount takes a disk away, whoever still uses it.
func Unmount(dir string) error { return unmount(dir) }
