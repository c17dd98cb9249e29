package app

import (
	"context"
	"errors"
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
	// Scenario is a file to play from the start; empty plays none.
	Scenario string
}

// SandboxBanks are the codes of the banks that the sandbox plays.
func SandboxBanks() []string { return sandbox.DefaultBanks() }

// Sandbox plays the outside world until ctx ends.
func Sandbox(ctx context.Context, cfg SandboxConfig) error {
	var scenario *sandbox.Scenario
	if cfg.Scenario != "" {
		raw, err := os.ReadFile(cfg.Scenario)
		if err != nil {
			return fmt.Errorf("read the scenario: %w", err)
		}
		played, err := sandbox.ReadScenario(raw)
		if err != nil {
			return fmt.Errorf("%s: %w", cfg.Scenario, err)
		}
		scenario = &played
	}
	s, err := sandbox.New(sandbox.Config{
		CallbackURL: cfg.CallbackURL, Secret: cfg.Secret, Dir: cfg.Dir, Seed: cfg.Seed,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	if scenario != nil {
		if err := s.StartScenario(*scenario); err != nil {
			return errors.Join(err, s.Close())
		}
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return s.Serve(ctx, l)
}
