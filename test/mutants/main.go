// Command mutants plants one small mistake after another in source files and asks the
// tests of their package whether they see it: an operator turned, a condition denied, a
// statement or a row's field left out, a number off by one. What no test sees is printed,
// with its place. It refuses to touch the files: a mutant is compiled through an overlay.
//
//	go run ./test/mutants -seed 1 -sample 300 pay/next.go pay/table.go
//
// A mutant that does not compile counts for nothing; one whose tests do not end in time
// counts as killed.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// verdict is what became of a mutant.
type verdict int

const (
	killed verdict = iota
	survived
	notViable // it does not compile
	timedOut
)

// settings are the flags.
type settings struct {
	seed    uint64
	sample  int
	within  time.Duration
	timeout time.Duration
	run     string
	args    string
	least   int
}

func main() {
	var s settings
	flag.Uint64Var(&s.seed, "seed", 1, "which mutants are taken when there are more than -sample")
	flag.IntVar(&s.sample, "sample", 0, "at most this many mutants; 0 takes all")
	flag.DurationVar(&s.within, "within", time.Hour, "begin no mutant after this long; those left are counted as not tried")
	flag.DurationVar(&s.timeout, "timeout", time.Minute, "how long the tests of one mutant may take, without compiling it")
	flag.StringVar(&s.run, "run", "", "run the tests that match only, as go test -run does")
	flag.StringVar(&s.args, "args", "", "flags for the tests, with spaces between them: -rapid.nofailfile where rapid would keep what it found beside them")
	flag.IntVar(&s.least, "least", 0, "fail when fewer than this many of a hundred mutants that compile were killed")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	share, err := hunt(ctx, &s, flag.Args(), os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(2)
	}
	if share < s.least {
		fmt.Fprintf(os.Stderr, "mutants: %d %% were killed, and it must be %d: write the tests that see those above, or say why none can\n", share, s.least)
		os.Exit(1)
	}
}

// hunt tries the mutants of the files and returns how many of a hundred that compile
// were killed.
func hunt(ctx context.Context, s *settings, files []string, out io.Writer) (percent int, err error) {
	if len(files) == 0 {
		return 0, errors.New("name the source files to plant mistakes in, such as pay/next.go")
	}
	var all []mutant
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			return 0, err
		}
		found, err := mutantsOf(f, src)
		if err != nil {
			return 0, err
		}
		all = append(all, found...)
	}
	of := len(all)
	rnd := rand.New(rand.NewPCG(s.seed, 0)) //nolint:gosec // a sample, not a secret
	rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if s.sample > 0 && s.sample < len(all) {
		all = all[:s.sample]
	}
	if err := untouched(ctx, s, files); err != nil {
		return 0, err
	}
	counts := map[string]*[4]int{}
	tried := 0
	for began := time.Now(); tried < len(all) && time.Since(began) < s.within && ctx.Err() == nil; tried++ {
		m := &all[tried]
		v, err := try(ctx, s, m)
		if err != nil { // what is known by now is told
			return report(out, counts, tried, of), err
		}
		if counts[m.file] == nil {
			counts[m.file] = new([4]int)
		}
		counts[m.file][v]++
		if v == survived {
			_, _ = fmt.Fprintf(out, "survived  %s\n", m)
		}
	}
	return report(out, counts, tried, of), ctx.Err()
}

func report(out io.Writer, counts map[string]*[4]int, tried, of int) (percent int) {
	files := make([]string, 0, len(counts))
	for f := range counts {
		files = append(files, f)
	}
	slices.Sort(files)
	var sum [4]int
	for _, f := range files {
		for i, n := range counts[f] {
			sum[i] += n
		}
		_, _ = fmt.Fprintf(out, "%-28s %s\n", f, score(counts[f]))
	}
	_, _ = fmt.Fprintf(out, "%-28s %s\n%d of %d mutants were tried\n", "all", score(&sum), tried, of)
	dead := sum[killed] + sum[timedOut]
	return dead * 100 / max(1, dead+sum[survived])
}

func score(n *[4]int) string {
	dead := n[killed] + n[timedOut]
	share := "nothing to kill"
	if viable := dead + n[survived]; viable > 0 {
		share = fmt.Sprintf("%d.%d %%", dead*100/viable, dead*1000/viable%10)
	}
	return fmt.Sprintf("%4d killed (%d of them timed out), %d survived, %d do not compile: %s", dead, n[timedOut], n[survived], n[notViable], share)
}

// untouched makes sure that the tests pass without a mistake: otherwise they would kill
// whatever is planted.
func untouched(ctx context.Context, s *settings, files []string) error {
	var dirs []string
	for _, f := range files {
		dirs = append(dirs, filepath.Dir(f))
	}
	slices.Sort(dirs)
	for _, dir := range slices.Compact(dirs) {
		if b, err := goTest(ctx, s, dir, ""); err != nil {
			return fmt.Errorf("the tests of %s fail without a mistake: %w\n%s", dir, err, b)
		}
	}
	return nil
}

// try asks the tests about one mutant.
func try(ctx context.Context, s *settings, m *mutant) (verdict, error) {
	dir, err := os.MkdirTemp("", "mutant")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file, err := filepath.Abs(m.file)
	if err != nil {
		return 0, err
	}
	copied, list := filepath.Join(dir, "mutant.go"), filepath.Join(dir, "overlay.json")
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {file: copied}})
	if err == nil {
		err = errors.Join(os.WriteFile(copied, m.source(), 0o600), os.WriteFile(list, overlay, 0o600)) //nolint:gosec // in a folder made for it
	}
	if err != nil {
		return 0, err
	}
	said, err := goTest(ctx, s, filepath.Dir(m.file), list)
	switch {
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case err == nil:
		return survived, nil
	case bytes.Contains(said, []byte("[build failed]")), bytes.Contains(said, []byte("[setup failed]")):
		return notViable, nil
	case bytes.Contains(said, []byte("panic: test timed out")):
		return timedOut, nil
	}
	return killed, nil
}

// goTest runs the tests of a folder; an error means that they failed, or could not run.
func goTest(ctx context.Context, s *settings, dir, overlay string) ([]byte, error) {
	args := []string{"test", "-count=1", "-failfast", "-vet=off", "-timeout", s.timeout.String()}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	if s.run != "" {
		args = append(args, "-run", s.run)
	}
	args = append(args, "./"+strings.TrimPrefix(filepath.ToSlash(dir), "./"))
	if s.args != "" {
		args = append(append(args, "-args"), strings.Fields(s.args)...)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	return cmd.CombinedOutput()
}
