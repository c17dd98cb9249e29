package pgserver

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// initdb makes the cluster beside its place and moves it in whole, so that a
// crash half way leaves nothing that looks like a cluster. initdb itself
// syncs every file at its end; nothing here turns that off.
func (s *Server) initdb(ctx context.Context) error {
	stale, _ := filepath.Glob(filepath.Join(s.dir.root, "data.init-*")) // constant pattern
	for _, dir := range stale {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("pgserver: %w", err)
		}
	}
	fresh, err := os.MkdirTemp(s.dir.root, "data.init-")
	if err != nil {
		return fmt.Errorf("pgserver: %w", err)
	}
	if err := s.who.own(fresh); err != nil {
		return err
	}
	s.log.InfoContext(ctx, "making a new cluster", slog.String("folder", s.dir.data),
		slog.String("version", s.bin.Version), slog.String("user", s.who.name))
	cmd := s.command(ctx, "initdb", "-D", fresh, "-U", SuperUser, "--encoding=UTF8", "--locale=C",
		"--data-checksums", "--auth=trust", "--no-instructions")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pgserver: initdb: %w: %s", err, bytes.TrimSpace(out))
	}
	if err := os.Rename(fresh, s.dir.data); err != nil {
		return fmt.Errorf("pgserver: %w", err)
	}
	return syncDir(s.dir.root)
}

// command prepares a server binary as the server's user, with an environment
// of our own: a PGDATA or PGPORT left in ours must not decide anything.
func (s *Server) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin.Dir, name), args...) //nolint:gosec // a server binary from where the operator keeps them
	cmd.SysProcAttr = s.who.attr()
	cmd.Dir = s.dir.root
	cmd.Env = []string{"PATH=" + s.bin.Dir + ":/usr/bin:/bin", "LC_ALL=C", "HOME=" + s.dir.root}
	for _, keep := range []string{"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR"} {
		if v, ok := os.LookupEnv(keep); ok {
			cmd.Env = append(cmd.Env, keep+"="+v)
		}
	}
	return cmd
}

// writeConfig replaces postgresql.conf and pg_hba.conf with ours. A
// custom.conf beside them is read last and may add to it; the durability
// settings are on the command line, which no file overrides.
func (s *Server) writeConfig() error {
	want, err := s.wanted()
	if err != nil {
		return err
	}
	var conf strings.Builder
	conf.WriteString("# Written by moneta at every start: changes are lost. Put yours in custom.conf beside this file.\n")
	quote := strings.NewReplacer(`'`, `''`, `\`, `\\`)
	for _, w := range want {
		fmt.Fprintf(&conf, "%s = '%s'", w.Name, quote.Replace(w.Value))
		if w.Why != "" {
			fmt.Fprintf(&conf, "  # %s", w.Why)
		}
		conf.WriteByte('\n')
	}
	conf.WriteString("include_if_exists = 'custom.conf'\ninclude_if_exists = '../disk_full.conf'\n")
	if err := writeOwned(filepath.Join(s.dir.data, "postgresql.conf"), conf.String(), s.who); err != nil {
		return err
	}
	hba := "# Written by moneta at every start.\n# The socket's folder is closed to other users (0700).\n" +
		"local all all trust\nlocal replication all trust\n"
	if s.cfg.Listen != "" {
		hba += "host all all all scram-sha-256\n"
	}
	return writeOwned(filepath.Join(s.dir.data, "pg_hba.conf"), hba, s.who)
}
