// Package walk runs the walk-throughs of the documentation, word for word, with
// the real binary against a real database. It refuses to know what they should
// print: a command that ends with an error, or a "!" that does not, is what fails.
package walk

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/test/binary"
)

var shell = regexp.MustCompile("(?s)```sh\n(.*?)```")

func TestMain(m *testing.M) { os.Exit(binary.Run(m)) }

// script returns the commands of a page's section.
func script(t *testing.T, page, section string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", page))
	require.NoError(t, err)
	_, part, ok := strings.Cut(string(text), "\n## "+section+"\n")
	require.True(t, ok, "%s has no section %s", page, section)
	part, _, _ = strings.Cut(part, "\n## ")
	var lines strings.Builder
	for _, m := range shell.FindAllStringSubmatch(part, -1) {
		lines.WriteString(m[1])
	}
	return strict(lines.String())
}

// strict makes bash stop at the first line that fails, and at the first "!" that
// does not, which set -e lets pass.
func strict(text string) string {
	var b strings.Builder
	b.WriteString("set -euo pipefail\n")
	for line := range strings.SplitSeq(text, "\n") {
		if refused, ok := strings.CutPrefix(line, "! "); ok {
			line = "if " + refused + "; then echo this must be refused >&2; exit 1; fi"
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

// serve starts a node and returns its address, and the folder with the binary.
func serve(t *testing.T, dsn string) (url, bin string) {
	t.Helper()
	bin = t.TempDir()
	require.NoError(t, os.Symlink(binary.Moneta(), filepath.Join(bin, "moneta")))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	listen := l.Addr().String()
	require.NoError(t, l.Close())
	log, err := os.Create(filepath.Join(bin, "log"))
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "moneta"), "serve", "--dsn", dsn, "--listen", listen)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 15 * time.Second
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		_ = log.Close()
	})
	url = "http://" + listen
	require.Eventually(t, func() bool {
		resp, err := http.Get(url + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}, 30*time.Second, 20*time.Millisecond)
	return url, bin
}

func TestOperators(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"bash", "curl", "jq"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the walk-through uses %s, which is not installed", tool)
		}
	}
	dsn := pgtest.DSN(t)
	url, bin := serve(t, dsn)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	run := func(text string) (string, error) {
		cmd := exec.CommandContext(ctx, "bash", "-c", text)
		cmd.Dir = t.TempDir()
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "MONETA_DSN="+dsn, "MONETA_URL="+url)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	text := script(t, "operators.md", "Walk through")
	require.Greater(t, strings.Count(text, "moneta "), 20)
	out, err := run(text)
	require.NoError(t, err, out)
	for _, want := range []string{"approval-own", "approval-closed", "may approve already", "-500.00 CZK", "disabled", "seen her contract"} {
		require.Contains(t, out, want)
	}
	// The control: the test notices a command that fails, and a refusal that is none.
	for _, wrong := range []string{"moneta approve run apr_x --as none.key\ntrue", "! moneta version\ntrue"} {
		_, err := run(strict(wrong))
		require.Error(t, err, wrong)
	}
	t.Logf("\n%s", out)
}
