package lifecycle

import "syscall"

// childAttr: SIGTERM rather than SIGKILL at the parent's death, so that the
// child can still finish its batch; ParentDone makes the end certain.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
