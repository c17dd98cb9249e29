package app

import (
	"context"
	"io"
)

// BenchConfig is what `moneta bench` was asked for.
type BenchConfig struct {
	Profile, Report, DataDir string
	JSON                     bool
	Out, Progress            io.Writer
}

// Bench measures.
func Bench(ctx context.Context, cfg BenchConfig) error { return nil }

// BenchLoad generates load.
func BenchLoad(ctx context.Context, args []string, out io.Writer) error { return nil }
