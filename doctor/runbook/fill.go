package runbook

import (
	"fmt"
	"maps"
	"regexp"
	"strconv"

	"github.com/moneta-pay/moneta/doctor"
)

var blank = regexp.MustCompile(`\{([a-z][a-z0-9_-]*)\}`)

// fillMax bounds a filled-in value in bytes: details are short.
const fillMax = 4000

// name of the run: one incident, cause, phase and round.
func (q *Request) name() string {
	name := q.Incident + "/" + q.Cause + "/" + string(q.Phase)
	if q.Round > 0 {
		name += "/" + strconv.Itoa(q.Round)
	}
	return name
}

// fill is what blanks may be filled with.
func (q *Request) fill() map[string]string {
	m := maps.Clone(q.Detail)
	if m == nil {
		m = make(map[string]string)
	}
	m["hop"], m["cause"], m["incident"] = q.Hop, q.Cause, q.Incident
	if m["channel"] == "" && q.Kind == doctor.Channel {
		m["channel"] = q.Hop
	}
	return m
}

// plain is what may be filled into a condition: a name, which cannot end a text of CEL.
var plain = regexp.MustCompile(`^[A-Za-z0-9_.:/@-]*$`)

// condition fills the blanks of one.
func (q *Request) condition(expression string) (string, error) {
	with := q.fill()
	var wrong error
	out := blank.ReplaceAllStringFunc(expression, func(b string) string {
		v := with[b[1:len(b)-1]]
		if (v == "" || !plain.MatchString(v)) && wrong == nil {
			wrong = fmt.Errorf("no sign told %s, or not as a name", b)
		}
		return v
	})
	return out, wrong
}

// act is the step with its blanks filled in; an error says what is not known.
func (q *Request) act(s *doctor.Step) (doctor.Act, error) {
	with := q.fill()
	a := doctor.Act{
		ID: q.name() + "/" + s.ID, Incident: q.Incident, Cause: q.Cause, Step: s.ID,
		Do: s.Do, Why: s.Why.EN, By: q.Who,
	}
	var missing error
	put := func(text string) string {
		out := blank.ReplaceAllStringFunc(text, func(b string) string {
			name := b[1 : len(b)-1]
			v, ok := with[name]
			if (!ok || v == "") && missing == nil {
				missing = fmt.Errorf("no sign told %s", b)
			}
			return v
		})
		if len(out) > fillMax && missing == nil {
			missing = fmt.Errorf("longer than %d bytes when filled in", fillMax)
		}
		return out
	}
	a.Aim = put(s.Aim)
	for k, v := range s.With {
		if a.With == nil {
			a.With = make(map[string]string, len(s.With))
		}
		a.With[k] = put(v)
	}
	return a, missing
}
