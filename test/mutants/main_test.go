package main

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What the tests see is killed, what they do not see is told with its place, what does
// not compile counts for nothing; and no file is changed.
func TestWhatNoTestSeesIsTold(t *testing.T) {
	t.Parallel()
	strong, weak := "testdata/limits/strong.go", "testdata/limits/weak.go"
	before, err := os.ReadFile(weak)
	require.NoError(t, err)
	var out bytes.Buffer
	percent, err := hunt(t.Context(), &settings{within: time.Hour, timeout: time.Minute}, []string{strong, weak}, &out)
	require.NoError(t, err, out.String())
	require.Equal(t, 50, percent)
	require.Contains(t, out.String(), `survived  testdata/limits/weak.go:4 < for <=: func Under(n, limit int) bool { return n < limit } => "<="`)
	require.Regexp(t, `strong.go +1 killed .*, 0 survived, 0 do not compile: 100.0 %`, out.String())
	require.Regexp(t, `all +1 killed .*, 1 survived, 0 do not compile: 50.0 %\n2 of 2 mutants were tried`, out.String())
	after, err := os.ReadFile(weak)
	require.NoError(t, err)
	require.Equal(t, before, after)

	broken := mutant{file: strong, src: before, from: 0, to: 7, instead: "nonsense"}
	v, err := try(t.Context(), &settings{timeout: time.Minute}, &broken)
	require.NoError(t, err)
	require.Equal(t, notViable, v)
	_, err = hunt(t.Context(), &settings{run: "TestOver", args: "-no-such-flag"}, []string{strong}, &out)
	require.ErrorContains(t, err, "fail without a mistake")
}

func TestMistakesThatArePlanted(t *testing.T) {
	t.Parallel()
	src := "package p\n\nconst c = 1\n\nfunc f(a, b int, l []int) (n int) {\n\tif a == b && a > 0 {\n\t\tn = a + 1\n\t}\n\tswitch {\n\tcase a < b:\n\t\treturn 2\n\t}\n" +
		"\tswitch a {\n\tcase 3, b:\n\t\tn++\n\t}\n\t_ = []int{a, b}\n\treturn n\n}\n"
	found, err := mutantsOf("p.go", []byte(src))
	require.NoError(t, err)
	var got []string
	for i := range found {
		m := &found[i]
		got = append(got, m.what+": "+string(m.src[m.from:m.to])+" => "+m.instead)
	}
	require.ElementsMatch(t, []string{
		"a condition denied: a == b && a > 0 => !(a == b && a > 0)",
		"&& for ||: && => ||", "== for !=: == => !=", "> for >=: > => >=", "a number off by one: 0 => (1+0)",
		"a statement left out: n = a + 1 => ", "+ for -: + => -", "a number off by one: 1 => (1+1)",
		"a case left out: a < b => false && (a < b)", "< for <=: < => <=", "a number off by one: 2 => (1+2)",
		"a case left out: 3,  => ", "a case left out: , b => ", "a number off by one: 3 => (1+3)", "a statement left out: n++ => ",
		"a statement left out: _ = []int{a, b} => ", "an element left out: a,  => ", "an element left out: , b => ",
	}, got)
	for i := range found {
		require.NotContains(t, found[i].text(), "const", "a constant proves nothing")
		require.Len(t, found[i].source(), len(src)-(found[i].to-found[i].from)+len(found[i].instead))
	}
	_, err = mutantsOf("p.go", []byte("no Go"))
	require.Error(t, err)
}
