package api_test

import (
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "add what is new in v1 to testdata/v1.txt")

// promised is what callers of version 1 rely on, a line each. A line may only be added.
const promised = "testdata/v1.txt"

// TestVersion1KeepsItsPromises holds the document against what it promised before: no
// operation, parameter, answer, member or word of an enumeration is ever taken away, and
// nothing that could be left out becomes required of a caller.
func TestVersion1KeepsItsPromises(t *testing.T) {
	t.Parallel()
	doc := newWorld(t, nil).do(http.MethodGet, "/openapi.json", "", "").json
	now := promises(doc)
	raw, err := os.ReadFile(promised)
	if !os.IsNotExist(err) || !*update {
		require.NoError(t, err)
	}
	before := slices.DeleteFunc(strings.Split(string(raw), "\n"), func(s string) bool { return s == "" })
	require.Empty(t, broken(before, now), "callers of version 1 would break")
	if *update {
		require.NoError(t, os.WriteFile(promised, []byte(strings.Join(now, "\n")+"\n"), 0o644))
		return
	}
	if more := len(now) - len(before); more > 0 {
		t.Logf("%d lines are new and not promised yet; `make generate` promises them", more)
	}

	// The controls: each kind of break is seen.
	require.GreaterOrEqual(t, len(now), 1000)
	for i, line := range now {
		if !strings.Contains(line, " requires ") {
			require.Equal(t, []string{"gone: " + line}, broken(now, slices.Delete(slices.Clone(now), i, i+1)))
			break
		}
	}
	require.Equal(t, []string{"new: NewPayment that is sent requires hat"}, broken(now, append(slices.Clone(now), "NewPayment that is sent requires hat")))
}

// broken says what of before does not hold now.
func broken(before, now []string) (out []string) {
	for _, line := range before {
		if !strings.Contains(line, " requires ") && !slices.Contains(now, line) {
			out = append(out, "gone: "+line)
		}
	}
	for _, line := range now {
		operation, _, _ := strings.Cut(line, " requires ")
		if strings.Contains(line, " requires ") && !slices.Contains(before, line) && slices.ContainsFunc(before, func(s string) bool { return strings.HasPrefix(s, operation) }) {
			out = append(out, "new: "+line)
		}
	}
	return out
}

// promises lists them.
func promises(doc map[string]any) []string {
	set := map[string]bool{}
	add := func(format string, args ...any) { set[fmt.Sprintf(format, args...)] = true }
	object := func(v any) map[string]any { m, _ := v.(map[string]any); return m }
	list := func(v any) []any { l, _ := v.([]any); return l }
	// A schema that has a name is told once; what callers send is told apart.
	var shape func(at string, v map[string]any, asks bool)
	told := map[string]bool{}
	shape = func(at string, v map[string]any, asks bool) {
		if ref, ok := v["$ref"].(string); ok {
			name := ref[strings.LastIndexByte(ref, '/')+1:]
			add("%s is a %s", at, name)
			if asks {
				name += " that is sent"
			}
			if told[name] {
				return
			}
			told[name] = true
			node := any(doc)
			for step := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
				node = object(node)[step]
			}
			at, v = name, object(node)
		}
		for _, word := range list(v["enum"]) {
			add("%s may be %v", at, word)
		}
		if asks {
			for _, name := range list(v["required"]) {
				add("%s requires %v", at, name)
			}
		}
		for name, member := range object(v["properties"]) {
			add("%s has %s", at, name)
			shape(at+"/"+name, object(member), asks)
		}
		if items := object(v["items"]); items != nil {
			shape(at+"/*", items, asks)
		}
	}
	for path, item := range object(doc["paths"]) {
		for method, o := range object(item) {
			op := object(o)
			id := op["operationId"]
			add("%v is %s %s", id, strings.ToUpper(method), path)
			for _, p := range list(op["parameters"]) {
				p := object(p)
				add("%v takes %v %v", id, p["in"], p["name"])
				if p["required"] == true {
					add("%v requires %v", id, p["name"])
				}
				shape(fmt.Sprintf("parameter %v of %v", p["name"], id), object(p["schema"]), true)
			}
			for media, c := range object(object(op["requestBody"])["content"]) {
				add("%v reads %s", id, media)
				shape(fmt.Sprintf("body of %v", id), object(object(c)["schema"]), true)
			}
			for status, r := range object(op["responses"]) {
				if status >= "400" {
					continue // codes are the table's, and problems have one shape
				}
				add("%v answers %s", id, status)
				for media, c := range object(object(r)["content"]) {
					add("%v answers %s as %s", id, status, media)
					shape(fmt.Sprintf("answer of %v", id), object(object(c)["schema"]), false)
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(set))
}
