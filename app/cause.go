package app

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/catalog"
)

// CauseConfig says which causes to show.
type CauseConfig struct {
	// ID of one; empty is all of them.
	ID string
	// Kind of hop; empty is all kinds.
	Kind string
	JSON bool
	Lang string
	Out  io.Writer
}

// Causes lists what is known about ways of failing, or shows one whole: what a person
// reads at three in the morning, without a browser and without anything running.
func Causes(c CauseConfig) error {
	if c.ID != "" {
		return c.one()
	}
	all := catalog.All()
	if c.Kind != "" {
		kept := all[:0]
		for _, cause := range all {
			if string(cause.Kind) == c.Kind {
				kept = append(kept, cause)
			}
		}
		if all = kept; len(all) == 0 {
			return errors.New(say(c.Lang, "cause-kind", c.Kind, doctor.Kinds()))
		}
	}
	if c.JSON {
		return writeJSON(c.Out, all)
	}
	t := tabwriter.NewWriter(c.Out, 0, 4, 2, ' ', 0)
	fmt.Fprint(t, say(c.Lang, "cause-head"))
	for i := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\n", all[i].ID, all[i].Alert.Level, all[i].Name.In(c.Lang))
	}
	return t.Flush()
}

func (c *CauseConfig) one() error {
	cause, ok := catalog.ByID(c.ID)
	if !ok {
		return errors.New(say(c.Lang, "cause-none", c.ID, near(c.ID)))
	}
	if c.JSON {
		return writeJSON(c.Out, cause)
	}
	_, err := io.WriteString(c.Out, catalog.Page(&cause, c.Lang))
	return err
}

// nearMost bounds how many causes are offered instead of one that there is not.
const nearMost = 5

// near names the causes that begin as what was asked for, or else share a word with it.
func near(id string) string {
	var begin, share []string
	for _, cause := range catalog.All() {
		words := strings.Split(cause.ID, "-")
		switch {
		case strings.HasPrefix(cause.ID, id) || strings.HasPrefix(cause.Mechanism, id):
			begin = append(begin, cause.ID)
		case slices.ContainsFunc(strings.Split(id, "-"), func(w string) bool { return slices.Contains(words[1:], w) }):
			share = append(share, cause.ID)
		}
	}
	if out := append(begin, share...); len(out) > 0 {
		return strings.Join(out[:min(len(out), nearMost)], ", ")
	}
	return "moneta cause list"
}
