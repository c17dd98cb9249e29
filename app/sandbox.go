package app

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"

	"github.com/moneta-pay/moneta/sandbox"
)

// SandboxConfig is what `moneta sandbox` was asked for.
type SandboxConfig struct {
	Listen, CallbackURL, Secret, Dir string
	Seed                             uint64
}

// SandboxBanks are the codes of the banks that the sandbox plays.
func SandboxBanks() []string { return sandbox.DefaultBanks() }

// Sandbox plays the outside world until ctx ends.
func Sandbox(ctx context.Context, cfg SandboxConfig) error {
	s, err := sandbox.New(sandbox.Config{
		CallbackURL: cfg.CallbackURL, Secret: cfg.Secret, Dir: cfg.Dir, Seed: cfg.Seed,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return s.Serve(ctx, l)
}
