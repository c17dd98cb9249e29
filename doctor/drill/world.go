package drill

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// World is an installation that was made to be broken.
type World struct {
	Kind Variant
	// API and Banks are base URLs; Banks is the outside world.
	API, Banks string
	// Tenant and Admin are keys of the API; Other is a key of another tenant.
	Tenant, Admin, Other string
	// DSN reaches the database as its owner, past everything that was put between serve
	// and it.
	DSN string
	// Folder is the data folder, Cluster the folder of Postgres.
	Folder, Cluster string
	// Faults is the file that serve obeys; empty when it does not.
	Faults string
	// Device is the network device between serve and its database, of Wired alone.
	Device string
	// Serve and Postgres are the processes of now, 0 between two of them.
	Serve, Postgres func() int
	// Watch is where the doctor tells what it sees; nil without one.
	Watch *Watcher
	// RestartWatch begins it anew.
	RestartWatch func(ctx context.Context) error
	// Recount counts everything from the raw rows and the banks' own books.
	Recount func(ctx context.Context) (Recount, error)
	// Close takes it down and removes it.
	Close func()
}

// Recount is what an independent count came to.
type Recount struct {
	Verdict  string   `json:"verdict"`
	Faults   []string `json:"faults,omitempty"`
	Unproved []string `json:"unproved,omitempty"`
	TookS    float64  `json:"took_s"`
}

// Maker makes a world and waits until it serves and its doctor watches.
type Maker func(ctx context.Context, kind Variant) (*World, error)

// Missing says what the machine lacks for it, or nothing.
func (d *Drill) Missing() string { return missing(d.Needs) }

// missing says what the machine lacks for these needs, or nothing.
func missing(needs []string) string {
	for _, need := range needs {
		if !has(need) {
			return need
		}
	}
	return ""
}

func has(need string) bool {
	switch need {
	case NeedRoot:
		return os.Geteuid() == 0
	case NeedStrace:
		return canTrace()
	case NeedMount:
		return os.Geteuid() == 0 && canMount()
	case NeedNet:
		return os.Geteuid() == 0 && canNetwork()
	}
	return false
}

// probeWithin bounds a look at what the machine allows.
const probeWithin = 10 * time.Second

// canTrace reports whether strace may look into a process that is not its child.
func canTrace() bool {
	path, err := exec.LookPath("strace")
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), probeWithin)
	defer cancel()
	victim := exec.CommandContext(ctx, "sleep", "10")
	if victim.Start() != nil {
		return false
	}
	defer func() { _ = victim.Process.Kill(); _ = victim.Wait() }()
	short, stop := context.WithTimeout(ctx, 300*time.Millisecond)
	defer stop()
	tracer := exec.CommandContext(short, path, "-qq", "-o", os.DevNull, "-p", fmt.Sprint(victim.Process.Pid))
	err = tracer.Run()
	return short.Err() != nil && err != nil // it held on until it was stopped
}

func canMount() bool {
	dir, err := os.MkdirTemp("", "moneta-mount-")
	if err != nil {
		return false
	}
	defer func() { _ = os.Remove(dir) }()
	if mountMemory(dir, 16) != nil {
		return false
	}
	return unmount(dir) == nil
}

// canNetwork reports whether namespaces, links and a queue that drops can be made.
func canNetwork() bool {
	ctx, cancel := context.WithTimeout(context.Background(), probeWithin)
	defer cancel()
	l, err := NewLink(ctx)
	if err != nil {
		return false
	}
	defer l.Close()
	return l.Drop(ctx) == nil
}
