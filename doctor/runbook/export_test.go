package runbook

// OnLine has f called after each line that is on the disk.
func (r *Runner) OnLine(f func()) { r.kept = f }

// FileOf returns the file of a run in a folder, without its end.
func FileOf(run string) string { return fileName(run) }
