package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/moneta-pay/moneta/bench"
)

// BenchConfig is what `moneta bench` was asked for.
type BenchConfig struct {
	Profile, Report, DataDir, Lang string
	JSON                           bool
	// PGBench is the path of Postgres' own client; empty leaves it out.
	PGBench string
	// Stored and Soak replace the profile's, when above 0.
	Stored        int64
	Soak          time.Duration
	Out, Progress io.Writer
}

// Bench measures this binary and shows the figures beside their floors. It
// returns an ExitError when a floor that counts on this machine is missed or the
// books do not add up.
func Bench(ctx context.Context, cfg BenchConfig) error {
	report, err := BenchRun(ctx, cfg)
	if report == nil {
		return err
	}
	raw, e := json.MarshalIndent(report, "", "  ")
	if e != nil {
		return e
	}
	if cfg.Report != "" {
		if e := writeFile(cfg.Report, append(raw, '\n'), 0o644); e != nil {
			return fmt.Errorf("write the report: %w", e)
		}
	}
	if cfg.JSON {
		_, e = cfg.Out.Write(append(raw, '\n'))
	} else {
		e = report.WriteScreen(cfg.Out, cfg.Lang)
	}
	if err != nil || e != nil {
		return fmt.Errorf("bench: %w", errors.Join(err, e))
	}
	if problems := report.Problems(); len(problems) > 0 {
		return &ExitError{1, fmt.Sprint(problems)}
	}
	return nil
}

// BenchLoad is the load generator: a process of its own.
func BenchLoad(ctx context.Context, args []string, out io.Writer) error {
	return bench.Load(ctx, args, out)
}

// BenchLedger is the committer under test: a process of its own.
func BenchLedger(ctx context.Context, args []string) error {
	return bench.ServeLedger(ctx, args, openBenchLedger)
}
