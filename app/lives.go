package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/config"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/pgfence"
	"github.com/moneta-pay/moneta/internal/telemetry"
	"github.com/moneta-pay/moneta/pay/commit"
)

// rebirthEvery separates the tries to begin the next life.
const rebirthEvery = 500 * time.Millisecond

// Serve runs the pay plane until ctx ends, or until this node cannot take part any
// more: then the process must exit, and whoever supervises it starts it again.
//
// A database that is gone or takes no writes does not end the process, because
// that would silence the API: the process has one listener and, one after the
// other, any number of lives. A node that lost the leadership never leads again,
// and neither do the stations that it started, so that nothing of an old
// leadership acts in a new one; but the edge of the last life goes on answering
// what needs only reading, and says why it cannot write, until the next life is
// ready. Only the first life ends the process when it cannot begin: then the
// configuration is more likely wrong than the database ill.
func Serve(ctx context.Context, cfg config.Config) error {
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	tuneGC()
	broken, err := newFaults(ctx, &cfg)
	if err != nil {
		return err
	}
	defer broken.close()
	p, err := newPlane(ctx, cfg, broken, nil)
	if err != nil {
		return err
	}
	f, err := listen(ctx, cfg.Listen, p)
	if err != nil {
		return errors.Join(err, p.end())
	}
	var former sync.WaitGroup // lives that end while the next one begins
	defer former.Wait()
	for {
		err = p.run(f.serving)
		if f.serving.Err() != nil || !p.databaseIll(f.serving) {
			return errors.Join(err, f.close(p), p.end())
		}
		p.log.ErrorContext(ctx, "the database keeps this node from taking part: the process answers reads, and begins anew when it can", slog.Any("error", err))
		next := rebirth(f.serving, cfg, p)
		if next == nil {
			return errors.Join(f.close(p), p.end())
		}
		f.use(next)
		last := p
		former.Go(func() {
			if err := last.end(); err != nil {
				last.log.WarnContext(ctx, "the former life ended with an error", slog.Any("error", err))
			}
		})
		p = next
	}
}

// databaseIll looks whether the database is why this node cannot take part: it does
// not answer, or takes no writes. A leader that lost the shard to another finds it
// well, whatever became of its own sessions.
func (p *plane) databaseIll(ctx context.Context) bool {
	if fault.CodeOf(p.node.Trouble()) == fault.ReadOnly {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var readOnly bool
	err := p.reads.QueryRow(ctx, `select current_setting('transaction_read_only')::bool`).Scan(&readOnly)
	return err != nil || readOnly
}

// makesPayments chooses the requests whose way is looked for later: those of callers who
// want something done. What a channel tells belongs to the payment's own trace.
func makesPayments(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/v1/payments")
}

// newPlane prepares one life after the former, which is nil for the first.
func newPlane(ctx context.Context, cfg config.Config, broken *faults, former *plane) (*plane, error) {
	tel, err := telemetry.Setup(ctx, telemetry.Config{
		Service: "moneta-serve", Version: Version, OTLPEndpoint: cfg.OTLPEndpoint, SampleOneIn: cfg.TraceOneIn, LogFormat: telemetry.Format(cfg.LogFormat), Follow: makesPayments,
	})
	if err != nil {
		return nil, err
	}
	p := &plane{cfg: cfg, faults: broken, tel: tel, log: tel.Logger()}
	var seen pgfence.History
	if former == nil {
		p.signing = receiptsSigning(ctx, &cfg, p.log)
		p.ring, err = secretsRing(&cfg)
	} else { // a key file that somebody is changing must not keep a life from beginning
		seen, p.signing, p.ring = former.fence.Known(), former.signing, former.ring
	}
	if err != nil {
		p.close()
		return nil, err
	}
	if err := p.prepare(ctx, seen); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// rebirth tries until the next life is ready, or ctx ends (nil). It never tries
// at once: a life that cannot last must not turn into a spin.
func rebirth(ctx context.Context, cfg config.Config, last *plane) *plane {
	tick := time.NewTicker(rebirthEvery)
	defer tick.Stop()
	for said := ""; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		p, err := newPlane(ctx, cfg, last.faults, last)
		if err == nil {
			return p
		}
		if err.Error() != said && ctx.Err() == nil { // once a reason
			said = err.Error()
			last.log.WarnContext(ctx, "cannot begin anew yet", slog.Any("error", err))
		}
	}
}

// front is the listener of the process and whichever edge stands behind it.
type front struct {
	edge    atomic.Pointer[http.Handler]
	server  *http.Server
	serving context.Context // ends with the process's context, or with the listener
	ended   chan error
}

// listen opens the process's address with p behind it.
func listen(ctx context.Context, address string, p *plane) (*front, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	f := &front{ended: make(chan error, 1)}
	f.use(p)
	f.server = api.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*f.edge.Load()).ServeHTTP(w, r) }), p.log)
	serving, stop := context.WithCancel(ctx)
	f.serving = serving
	go func() {
		defer stop()
		err := f.server.Serve(listener)
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
		f.ended <- err
	}()
	p.log.InfoContext(ctx, "serving", slog.String("listen", address), slog.Int("channels", len(p.channels)))
	return f, nil
}

// use puts p's edge behind the listener; requests under way end on the former.
func (f *front) use(p *plane) { f.edge.Store(&p.handler) }

// close ends the listener and waits, boundedly, for the requests under way. It
// comes after the leadership, because the other nodes forward to a leader through
// it, and because what it still holds then goes to the successor.
func (f *front) close(p *plane) error {
	ctx, cancel := context.WithTimeout(context.Background(), commit.HandOverTimeout)
	defer cancel()
	if err := f.server.Shutdown(ctx); err != nil {
		p.log.Warn("requests were cut off", slog.Any("error", err))
		_ = f.server.Close()
	}
	if err := <-f.ended; err != nil {
		return fmt.Errorf("http: %w", err)
	}
	return nil
}
