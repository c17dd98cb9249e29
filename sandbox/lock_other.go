//go:build !unix

package sandbox

import "os"

// lockFile does nothing where there is no advisory lock: two sandboxes on the
// same books are then the operator's mistake to avoid.
func lockFile(*os.File) error { return nil }
