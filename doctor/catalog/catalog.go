// Package catalog holds everything that is known about each way of failing: one file
// a cause, embedded in the binary. Pages for people, rules for Prometheus, checklists
// and the list of drills are generated from these files, so that they cannot drift
// apart. It refuses to judge, to collect and to act: a file is data, and one that is
// not whole (a sign that nobody can see, an act that nobody can do, a promise to
// holders that may not be kept) is refused by name and field.
package catalog

import (
	"bytes"
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"github.com/moneta-pay/moneta/doctor"
)

//go:embed causes/*.yaml
var files embed.FS

const (
	folder  = "causes"
	ending  = ".yaml"
	fileMax = 64 << 10 // bytes; a cause fits on a few screens
)

var embedded = sync.OnceValue(func() []doctor.Cause {
	all, err := Load(files)
	if err != nil {
		panic(err) // a test loads the same bytes, so that no such binary is built
	}
	return all
})

// All returns every cause, sorted by id. What it returns is the caller's: changing it
// changes nothing for others.
func All() []doctor.Cause {
	out := slices.Clone(embedded())
	for i := range out {
		out[i] = clone(out[i])
	}
	return out
}

// ByID returns one cause, and whether there is such a one.
func ByID(id string) (doctor.Cause, bool) {
	i, ok := slices.BinarySearchFunc(embedded(), id, func(c doctor.Cause, id string) int { return cmp.Compare(c.ID, id) })
	if !ok {
		return doctor.Cause{}, false
	}
	return clone(embedded()[i]), true
}

// Drill is a way to bring causes about, by name, and the causes that it teaches.
type Drill struct {
	Name   string   `json:"name"`
	Causes []string `json:"causes"`
}

// Drills lists the drills that the causes name, sorted, each with its causes.
func Drills() []Drill {
	by := map[string][]string{}
	for i := range embedded() {
		c := &embedded()[i]
		for _, d := range c.Drills {
			by[d] = append(by[d], c.ID)
		}
	}
	out := make([]Drill, 0, len(by))
	for _, name := range slices.Sorted(maps.Keys(by)) {
		out = append(out, Drill{Name: name, Causes: by[name]})
	}
	return out
}

// Invalid says which file cannot be used, which of its fields is wrong, and why.
type Invalid struct{ File, Field, Reason string }

// Error names all three.
func (e *Invalid) Error() string {
	if e.Field == "" {
		return e.File + ": " + e.Reason
	}
	return e.File + ": " + e.Field + ": " + e.Reason
}

// Load reads and checks the files causes/<id>.yaml of a file system. The error joins an
// *Invalid for everything that is wrong, so that one look shows all of it.
func Load(from fs.FS) ([]doctor.Cause, error) {
	names, err := fs.Glob(from, path.Join(folder, "*"+ending))
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, &Invalid{File: folder, Reason: "holds no " + ending + " files"}
	}
	var all []doctor.Cause
	var wrong []error
	for _, name := range names {
		c, err := read(from, name)
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		wrong = append(wrong, check(name, &c)...)
		all = append(all, c)
	}
	wrong = append(wrong, checkTogether(all)...)
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b doctor.Cause) int { return cmp.Compare(a.ID, b.ID) })
	return all, nil
}

// read decodes one file: fields that a cause does not have are refused, because a
// misspelt one would silently be left out.
func read(from fs.FS, name string) (doctor.Cause, error) {
	var c doctor.Cause
	raw, err := fs.ReadFile(from, name)
	if err != nil {
		return c, err
	}
	if len(raw) > fileMax {
		return c, &Invalid{File: name, Reason: fmt.Sprintf("is larger than %d kB", fileMax>>10)}
	}
	d := yaml.NewDecoder(bytes.NewReader(raw))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil {
		return c, &Invalid{File: name, Reason: strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\n", ""), "yaml: ")}
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return c, &Invalid{File: name, Reason: "something follows the end of the cause"}
	}
	return c, fill(name, &c)
}

// fill puts in what files leave to the catalogue: texts by name, and the sentences of
// plain signs.
func fill(name string, c *doctor.Cause) error {
	texts := []struct {
		field string
		text  *doctor.Text
	}{{"users", &c.Users}, {"support", &c.Support}}
	for _, t := range texts {
		if err := named(t.text); err != nil {
			return &Invalid{File: name, Field: t.field, Reason: err.Error()}
		}
	}
	for i := range c.Contain {
		with := c.Contain[i].With
		text := doctor.Text{EN: with["value"], ZH: with["value_zh"]}
		if err := named(&text); err != nil {
			return &Invalid{File: name, Field: fmt.Sprintf("contain[%d].with.value", i), Reason: err.Error()}
		}
		if text.ZH != "" {
			with["value"], with["value_zh"] = text.EN, text.ZH
		}
	}
	for i := range c.Signs {
		sentences(&c.Signs[i])
	}
	return nil
}

// named replaces "=name" by the text of that name.
func named(t *doctor.Text) error {
	name, ok := strings.CutPrefix(t.EN, "=")
	if !ok {
		return nil
	}
	text, ok := texts[name]
	if !ok || t.ZH != "" {
		return fmt.Errorf("%q names no text, or stands beside another; there are %v", t.EN, slices.Sorted(maps.Keys(texts)))
	}
	*t = text
	return nil
}

// sentences gives a sign that says nothing of its own the words of its signal.
func sentences(s *doctor.Sign) {
	info, _ := s.Signal.Info()
	en, zh := info.Means+": {value}", signalZH[s.Signal]+":{value}"
	switch {
	case s.Gone:
		en, zh = "is not told any more: "+info.Means, "已不再上报:"+signalZH[s.Signal]
	case s.Of == "rise" || s.Of == "times" || s.Of == "z":
		en, zh = en+" (before: {before})", zh+"(此前:{before})"
	}
	if s.Met == (doctor.Text{}) {
		s.Met = doctor.Text{EN: en, ZH: zh}
	}
	if s.Gone {
		en, zh = "is told as before: "+info.Means, "仍照常上报:"+signalZH[s.Signal]
	}
	if s.Unmet == (doctor.Text{}) {
		s.Unmet = doctor.Text{EN: en, ZH: zh}
	}
}

func clone(c doctor.Cause) doctor.Cause {
	c.Share = maps.Clone(c.Share)
	c.Signs = slices.Clone(c.Signs)
	for i := range c.Signs {
		s := &c.Signs[i]
		s.Above, s.Below, s.Where = copied(s.Above), copied(s.Below), maps.Clone(s.Where)
	}
	c.Checks, c.Never, c.HotFix = slices.Clone(c.Checks), slices.Clone(c.Never), slices.Clone(c.HotFix)
	c.Contain, c.Repair = steps(c.Contain), steps(c.Repair)
	c.Drills, c.Contract, c.Sources = slices.Clone(c.Drills), slices.Clone(c.Contract), slices.Clone(c.Sources)
	c.Alert.Tests = slices.Clone(c.Alert.Tests)
	for i := range c.Alert.Tests {
		c.Alert.Tests[i].Series = maps.Clone(c.Alert.Tests[i].Series)
	}
	return c
}

func steps(in []doctor.Step) []doctor.Step {
	out := slices.Clone(in)
	for i := range out {
		out[i].With = maps.Clone(out[i].With)
	}
	return out
}

func copied(f *float64) *float64 {
	if f == nil {
		return nil
	}
	v := *f
	return &v
}
