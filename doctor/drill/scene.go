package drill

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Scene is what an injection works with.
type Scene struct {
	World *World
	Load  *Load
	// Dice fall as the seed says.
	Dice *rand.Rand
	// Values are what the truth refers to, such as the pid of a session.
	Values map[string]string

	standby *standby
}

// healWithin bounds what undoes an injection.
const healWithin = 20 * time.Second

// chance is about the given share, up to a tenth more or less.
func (s *Scene) chance(about float64) float64 {
	return min(1, about*(0.9+0.2*s.Dice.Float64()))
}

// bank is one that the load uses, by the dice; it notes its channel.
func (s *Scene) bank() string {
	code := loadBanks[s.Dice.IntN(len(loadBanks))]
	s.Values["channel"] = "bank-" + code
	return code
}

// behave switches one bank; what heals it makes it honest again and lets it send what
// it still owes.
func (s *Scene) behave(ctx context.Context, code string, behaviour map[string]any) (func(context.Context) error, error) {
	heal := func(ctx context.Context) error {
		if err := s.World.bank(ctx, http.MethodPut, code, "behaviour", map[string]any{}); err != nil {
			return err
		}
		return s.World.bank(ctx, http.MethodPost, code, "callbacks/flush", nil)
	}
	return heal, s.World.bank(ctx, http.MethodPut, code, "behaviour", behaviour)
}

func (w *World) bank(ctx context.Context, method, code, path string, body any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var raw []byte
	if body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, w.Banks+"/banks/"+code+"/"+path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 2<<10))
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("bank %s: %s %s: %s", code, path, resp.Status, said)
	}
	return nil
}

// session opens a connection to the database as somebody else's program.
func (s *Scene) session(ctx context.Context, program string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(s.World.DSN)
	if err != nil {
		return nil, err
	}
	cfg.RuntimeParams["application_name"] = program
	cfg.RuntimeParams["idle_in_transaction_session_timeout"] = "0"
	cfg.ConnectTimeout = 3 * time.Second
	return pgx.ConnectConfig(ctx, cfg)
}

// hold opens a session, runs the statements in a transaction and leaves it open. It
// notes the pid under name.
func (s *Scene) hold(ctx context.Context, name, program string, statements ...string) (*pgx.Conn, error) {
	conn, err := s.session(ctx, program)
	if err != nil {
		return nil, err
	}
	s.Values[name] = strconv.FormatUint(uint64(conn.PgConn().PID()), 10)
	for _, sql := range append([]string{"begin"}, statements...) {
		if _, err := conn.Exec(ctx, sql); err != nil {
			_ = conn.Close(ctx)
			return nil, fmt.Errorf("%s: %w", sql, err)
		}
	}
	return conn, nil
}

// drop ends a session, whether or not the doctor did before.
func drop(conn *pgx.Conn) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_ = conn.Close(ctx) // it may be gone, which is the aim
		return nil
	}
}

// faults orders these of serve; nothing orders none.
func (w *World) faults(on map[string]any) error {
	if w.Faults == "" {
		return errors.New("this world's serve has no faults")
	}
	raw, err := json.Marshal(map[string]any{"at": time.Now(), "faults": on})
	if err != nil {
		return err
	}
	next := w.Faults + ".new"
	if err := os.WriteFile(next, raw, 0o600); err != nil {
		return err
	}
	return os.Rename(next, w.Faults)
}

// fault has serve have one fault.
func (s *Scene) fault(name string, spec map[string]any) (func(context.Context) error, error) {
	return func(context.Context) error { return s.World.faults(nil) }, s.World.faults(map[string]any{name: spec})
}

// slowCalls makes system calls of every process of the database slow, by strace; what
// they start later is slow too.
func (s *Scene) slowCalls(calls string, delay time.Duration) (func(context.Context) error, error) {
	path, err := exec.LookPath("strace")
	if err != nil {
		return nil, err
	}
	args := []string{"-f", "-qq", "-o", os.DevNull, "-e", "trace=" + calls, "-e", fmt.Sprintf("inject=%s:delay_enter=%d", calls, delay.Microseconds())}
	pids := family(s.World.Postgres())
	if len(pids) == 0 {
		return nil, errors.New("there is no Postgres to slow down")
	}
	for _, pid := range pids {
		args = append(args, "-p", strconv.Itoa(pid))
	}
	cmd := exec.Command(path, args...) //nolint:noctx // strace itself, which lets go only when it is asked to
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	gone := make(chan struct{})
	go func() { _ = cmd.Wait(); close(gone) }()
	heal := func(context.Context) error {
		_ = cmd.Process.Signal(syscall.SIGINT) // it lets go of whom it holds
		select {
		case <-gone:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-gone
		}
		return nil
	}
	for range 200 {
		if tracer(pids[0]) == cmd.Process.Pid {
			return heal, nil
		}
		select {
		case <-gone:
			return nil, errors.New("strace ended at once")
		case <-time.After(25 * time.Millisecond):
		}
	}
	_ = heal(context.Background())
	return nil, errors.New("strace does not get hold of the database")
}

// family is a process and those below it.
func family(root int) (out []int) {
	if root == 0 {
		return nil
	}
	out = []int{root}
	folders, _ := filepath.Glob("/proc/[0-9]*") // a constant pattern
	for _, f := range folders {
		raw, err := os.ReadFile(f + "/stat")
		if err != nil {
			continue
		}
		fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
		if len(fields) > 1 && fields[1] == strconv.Itoa(root) {
			if pid, err := strconv.Atoi(filepath.Base(f)); err == nil {
				out = append(out, pid)
			}
		}
	}
	return out
}

// tracer is who holds a process, 0 if nobody.
func tracer(pid int) int {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) // gone is held by nobody
	_, rest, _ := strings.Cut(string(raw), "TracerPid:")
	line, _, _ := strings.Cut(rest, "\n")
	n, _ := strconv.Atoi(strings.TrimSpace(line))
	return n
}

// forever repeats work until it is told to stop, which waits for its end.
func forever(work func(ctx context.Context) error) func(context.Context) error {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if work(ctx) != nil {
				_ = pause(ctx, 50*time.Millisecond)
			}
		}
	}()
	return func(context.Context) error {
		cancel()
		<-done
		return nil
	}
}

// both heals one after the other, both in any case.
func both(heals ...func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) (err error) {
		for _, heal := range heals {
			err = errors.Join(err, heal(ctx))
		}
		return err
	}
}
