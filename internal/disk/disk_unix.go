//go:build unix

package disk

import (
	"fmt"
	"syscall"
)

// Of returns the usage of the disk under folder: what is free is what a process without
// privileges may take.
func Of(folder string) (Usage, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(folder, &st); err != nil {
		return Usage{}, fmt.Errorf("look at the disk under %s: %w", folder, err)
	}
	block := int64(st.Bsize)                                                                    //nolint:unconvert // its type is not the same on every system
	used := int64(st.Blocks) - int64(st.Bfree)                                                  //nolint:unconvert // as above
	return Usage{Free: int64(st.Bavail) * block, Total: (used + int64(st.Bavail)) * block}, nil //nolint:unconvert // as above
}
