package app

import "path/filepath"

// stateDir is what up gives to serve for its state on this machine.
func stateDir(dataDir string) string { return filepath.Join(dataDir, "state") }

// leverFolder is where levers are pulled while API and database are gone; empty
// without a state folder.
func leverFolder(state string) string {
	if state == "" {
		return ""
	}
	return filepath.Join(state, "levers")
}
