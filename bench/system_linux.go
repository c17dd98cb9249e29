package bench

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Numbers of linux/magic.h.
var fileSystems = map[int64]string{
	0x01021994: "tmpfs", 0x858458f6: "ramfs", 0xef53: "ext4", 0x58465342: "xfs", 0x9123683e: "btrfs",
	0x2fc12fc1: "zfs", 0x794c7630: "overlayfs", 0xf2f52010: "f2fs", 0x6969: "nfs",
}

func fileSystem(folder string) (name string, forgets bool, err error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(folder, &st); err != nil {
		return "", false, err
	}
	magic := int64(st.Type) & 0xffffffff //nolint:unconvert // the type differs by platform
	name, known := fileSystems[magic]
	if !known {
		name = fmt.Sprintf("type 0x%x", magic)
	}
	return name, name == "tmpfs" || name == "ramfs", nil
}

func dataSync(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }

// threadTime is the processor time that the calling thread has used.
func threadTime() (time.Duration, bool) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		return 0, false
	}
	return time.Duration(ts.Nano()), true
}
