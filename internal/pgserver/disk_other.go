//go:build !linux

package pgserver

import "os"

// allocate writes zeros, because not every system can reserve blocks.
func allocate(f *os.File, size int64) error {
	zeros := make([]byte, mib)
	for ; size > 0; size -= int64(len(zeros)) {
		if _, err := f.Write(zeros[:min(size, int64(len(zeros)))]); err != nil {
			return err
		}
	}
	return f.Sync()
}
