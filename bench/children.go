package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/moneta-pay/moneta/internal/lifecycle"
)

// generate runs the load generator as a process of its own; it has so long for
// its load and a bounded time for what comes before and after.
func (r *run) generate(ctx context.Context, job loadJob, during time.Duration) (loadResult, error) {
	path, err := r.plan("load", job)
	if err != nil {
		return loadResult{}, err
	}
	return r.generatePlanned(ctx, path, during)
}

// generatePlanned is generate with the plan written.
func (r *run) generatePlanned(ctx context.Context, path string, during time.Duration) (loadResult, error) {
	var res loadResult
	ctx, cancel := context.WithTimeout(ctx, during+2*answerMax)
	defer cancel()
	cmd := exec.CommandContext(ctx, r.cfg.Moneta, "bench-load", path) //nolint:gosec // the binary that we are
	out, err := cmd.Output()
	switch {
	case ctx.Err() != nil:
		return res, fmt.Errorf("load generator: stopped: %w", ctx.Err())
	case err != nil:
		return res, fmt.Errorf("load generator: %w: %s", err, stderrOf(err))
	}
	if err := json.Unmarshal(out, &res); err != nil {
		return res, fmt.Errorf("load generator: %w", err)
	}
	return res, nil
}

// plan writes the plan of a child into a file of its own and returns its path.
func (r *run) plan(kind string, plan any) (string, error) {
	r.loads++
	raw, err := json.Marshal(plan)
	if err != nil {
		return "", err
	}
	path := filepath.Join(r.dir, fmt.Sprintf("%s-%d.json", kind, r.loads))
	return path, os.WriteFile(path, raw, 0o600) // it may hold a key
}

func stderrOf(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return string(bytes.TrimSpace(exit.Stderr))
	}
	return ""
}

// process starts one of the binary's commands; one that ends unasked is a fault.
func (r *run) process(ctx context.Context, name string, env []string, args ...string) (*lifecycle.Child, error) {
	log, err := os.Create(r.logPath(name))
	if err != nil {
		return nil, err
	}
	c := lifecycle.NewChild(lifecycle.ChildConfig{
		Name: name, Path: r.cfg.Moneta, Args: args, Env: env,
		Stdout: log, Stderr: log, Logger: r.cfg.Logger, Grace: stopMax / 2,
		OnEvent: func(e lifecycle.ChildEvent) {
			if e.Kind != lifecycle.ChildExited {
				return
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			r.died = append(r.died, fmt.Sprintf("%s ended unasked: %v: %s", name, e.Err, lastLine(r.logPath(name))))
		},
	})
	if err := c.Start(ctx); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return c, log.Close() // the child has its own descriptor
}

func (r *run) logPath(name string) string { return filepath.Join(r.dir, name+".log") }

// lastLine is the end of a child's log, for the fault that names it.
func lastLine(path string) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	raw = bytes.TrimSpace(raw)
	raw = raw[bytes.LastIndexByte(raw, '\n')+1:]
	return string(raw[:min(len(raw), 500)])
}
