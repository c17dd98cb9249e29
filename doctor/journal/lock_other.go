//go:build !unix

package journal

import "os"

// lock does nothing where there is no flock; one writer is then the operator's care.
func lock(*os.File) error { return nil }

func unlock(*os.File) error { return nil }
