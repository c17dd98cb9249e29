//go:build !linux

package drill

import "errors"

var errNoMount = errors.New("mounting needs Linux")

func mountMemory(string, int) error { return errNoMount }
func unmount(string) error          { return errNoMount }

// MountSmall mounts a small disk.
func MountSmall(string) error { return errNoMount }

// Unmount takes a disk away.
func Unmount(string) error { return errNoMount }
