package journal

import (
	"os"
	"syscall"
)

// keepSize is FALLOC_FL_KEEP_SIZE: the room is the file's, its length stays.
const keepSize = 1

// reserve takes the room of a segment from the disk at once, so that the doctor can go
// on writing for a while after somebody else has filled it. A file system that cannot
// is as good as before.
func reserve(f *os.File, size int64) { _ = syscall.Fallocate(int(f.Fd()), keepSize, 0, size) }
