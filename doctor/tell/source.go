// Package tell makes an incident's entries into what people read: the draft of a
// post-mortem, the brief for support, a checklist, the steps of a hot fix, a runbook and
// the live screen. Each is a pure function of entries, and every figure in it names the
// entry that it stands in, so that Check can hold a draft against the journal. It
// refuses to know more than the entries and the catalogue say: what nobody recorded is
// said to be missing.
package tell

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/money"
)

// Source is what a telling is made from. It is not for several goroutines.
type Source struct {
	Incident doctor.Incident
	// Entries are all of the incident, in their order.
	Entries []doctor.Entry
	// Cause looks into the catalogue of causes.
	Cause func(id string) (doctor.Cause, bool)
	// Say gives the sentence of a code, Mechanism the words of a mechanism.
	Say       func(lang, code string, args []string) string
	Mechanism func(lang, mechanism string) string
	// Lang is en or zh.
	Lang string
	Now  time.Time

	trees map[uint64]any // entries as figures walk into them
}

// Silence is the longest time without a word to holders while an incident is open.
const Silence = 15 * time.Minute

// errSource says that a figure's source leads nowhere.
var errSource = errors.New("the source is not in the journal")

// figure renders what a source names: an entry and, behind it,
//
//	PATH|FORMAT            what stands there, such as data.items|int
//	PATH-eN.PATH|took      the time between it and what stands in another entry
//	count:WHAT|int         how many entries of the incident tell that
//	explains|cause:ID      a text of the catalogue
//
// Whoever writes a figure and whoever checks it call this same function with the
// journal's entries, so a figure that was changed by hand is found.
func (s *Source) figure(seq uint64, source string) (string, error) {
	path, format, ok := strings.Cut(source, "|")
	if !ok {
		return "", fmt.Errorf("%w: %q has no format", errSource, source)
	}
	if id, ok := strings.CutPrefix(format, "cause:"); ok {
		return s.causeText(id, path)
	}
	if what, ok := strings.CutPrefix(path, "count:"); ok {
		n := 0
		for i := range s.Entries {
			if s.Entries[i].What == what {
				n++
			}
		}
		return strconv.Itoa(n), nil
	}
	path, other, between := strings.Cut(path, "-e")
	v, err := s.value(seq, path)
	if err != nil || !between {
		if err != nil {
			return "", err
		}
		return s.format(v, format)
	}
	n, rest, _ := strings.Cut(other, ".")
	from, err := strconv.ParseUint(n, 10, 64)
	if err != nil {
		return "", fmt.Errorf("%w: %q", errSource, source)
	}
	w, err := s.value(from, rest)
	if err != nil {
		return "", err
	}
	until, err1 := asTime(v)
	since, err2 := asTime(w)
	if err := errors.Join(err1, err2); err != nil {
		return "", err
	}
	return took(until.Sub(since)), nil
}

// value walks into an entry as the journal has it.
func (s *Source) value(seq uint64, path string) (any, error) {
	v, err := s.tree(seq)
	if err != nil {
		return nil, err
	}
	for step := range strings.SplitSeq(path, ".") {
		var ok bool
		switch at := v.(type) {
		case map[string]any:
			v, ok = at[step]
		case []any:
			i, err := strconv.Atoi(step)
			if ok = err == nil && i >= 0 && i < len(at); ok {
				v = at[i]
			}
		}
		if !ok {
			return nil, fmt.Errorf("%w: entry %d has no %s", errSource, seq, path)
		}
	}
	return v, nil
}

// tree is an entry as JSON has it.
func (s *Source) tree(seq uint64) (v any, err error) {
	if v, ok := s.trees[seq]; ok {
		return v, nil
	}
	e := s.entry(seq)
	if e == nil {
		return nil, fmt.Errorf("%w: entry %d", errSource, seq)
	}
	raw, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if s.trees == nil {
		s.trees = map[uint64]any{}
	}
	s.trees[seq] = v
	return v, nil
}

func (s *Source) entry(seq uint64) *doctor.Entry {
	i, ok := slices.BinarySearchFunc(s.Entries, seq, func(e doctor.Entry, seq uint64) int { return int(int64(e.Seq) - int64(seq)) })
	if !ok {
		return nil
	}
	return &s.Entries[i]
}

// format writes a value for people.
func (s *Source) format(v any, format string) (string, error) {
	switch format {
	case "text":
		t, ok := v.(string)
		if !ok {
			return "", fmt.Errorf("%w: %v is no text", errSource, v)
		}
		return oneLine(t), nil
	case "says":
		return s.says(v)
	case "clock", "instant", "next":
		t, err := asTime(v)
		if err != nil {
			return "", err
		}
		if format == "next" {
			t = t.Add(Silence)
		}
		if format == "clock" {
			return t.UTC().Format("15:04:05"), nil
		}
		return t.UTC().Format("2006-01-02 15:04:05 UTC"), nil
	case "worth":
		return worth(v)
	case "figure":
		m, _ := v.(map[string]any)
		x, err := asFloat(m["value"])
		unit, _ := m["unit"].(string)
		return inUnit(x, unit), err
	}
	x, err := asFloat(v)
	if err != nil {
		return "", err
	}
	switch format {
	case "int":
		return strconv.FormatFloat(math.Round(x), 'f', 0, 64), nil
	case "percent":
		return percent(x), nil
	case "times":
		return times(x), nil
	case "took":
		return took(time.Duration(x * float64(time.Second))), nil
	}
	return "", fmt.Errorf("%w: no format %q", errSource, format)
}

// says is the sentence of an alarm, a line of evidence or a scope, in the language.
func (s *Source) says(v any) (string, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return "", fmt.Errorf("%w: %v says nothing", errSource, v)
	}
	text := func(key string) string { t, _ := m[key].(string); return t }
	english := text("says")
	if english == "" {
		english = text("why")
	}
	if zh := text("says_zh"); s.Lang == "zh" && zh != "" {
		return oneLine(zh), nil
	}
	if code := text("code"); code != "" && s.Say != nil && (s.Lang == "zh" || english == "") {
		var args []string
		list, _ := m["args"].([]any)
		for _, a := range list {
			t, _ := a.(string)
			args = append(args, t)
		}
		if t := s.Say(s.Lang, code, args); t != "" && t != code {
			return oneLine(t), nil
		}
	}
	if english == "" {
		return "", fmt.Errorf("%w: it says nothing", errSource)
	}
	return oneLine(english), nil
}

func (s *Source) causeText(id, path string) (string, error) {
	var c doctor.Cause
	ok := false
	if s.Cause != nil {
		c, ok = s.Cause(id)
	}
	if !ok {
		return "", fmt.Errorf("%w: the catalogue has no cause %q", errSource, id)
	}
	raw, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return "", err
	}
	for step := range strings.SplitSeq(path, ".") {
		switch at := v.(type) {
		case map[string]any:
			v = at[step]
		case []any:
			if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(at) {
				v = at[i]
			}
		}
	}
	m, _ := v.(map[string]any)
	lang := "en"
	if s.Lang == "zh" {
		lang = "zh"
	}
	if t, ok := m[lang].(string); ok && t != "" {
		return oneLine(t), nil
	}
	return "", fmt.Errorf("%w: %s of cause %s", errSource, path, id)
}

func oneLine(t string) string { return strings.Join(strings.Fields(t), " ") }

func asTime(v any) (time.Time, error) {
	t, _ := v.(string)
	at, err := time.Parse(time.RFC3339Nano, t)
	if err != nil {
		return at, fmt.Errorf("%w: %v is no time", errSource, v)
	}
	return at, nil
}

func asFloat(v any) (float64, error) {
	switch n := v.(type) {
	case json.Number:
		return n.Float64()
	case float64:
		return n, nil
	}
	return 0, fmt.Errorf("%w: %v is no number", errSource, v)
}

// worth writes amounts by asset.
func worth(v any) (string, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return "", fmt.Errorf("%w: %v is no worth", errSource, v)
	}
	var parts []string
	for _, asset := range slices.Sorted(maps.Keys(m)) {
		minor, _ := m[asset].(string)
		a, err := money.ParseMinor(minor)
		if err != nil {
			return "", fmt.Errorf("%w: %q of %s is no amount", errSource, minor, asset)
		}
		parts = append(parts, money.Format(a, money.Asset(asset))+" "+asset)
	}
	return strings.Join(parts, " + "), nil
}

// percent is a share of 1 in percent, with a decimal where it would round to an extreme.
func percent(x float64) string {
	if p := 100 * x; (p > 0 && p < 1) || (p > 99 && p < 100) {
		return strconv.FormatFloat(p, 'f', 1, 64) + " %"
	}
	return strconv.FormatFloat(100*x, 'f', 0, 64) + " %"
}

func times(x float64) string {
	if x >= 10 {
		return "×" + strconv.FormatFloat(x, 'f', 0, 64)
	}
	return "×" + strconv.FormatFloat(x, 'g', 2, 64)
}

// took is a time in the largest units that say it.
func took(d time.Duration) string {
	sign := ""
	if d < 0 {
		sign, d = "−", -d
	}
	switch {
	case d < 10*time.Second:
		return sign + strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	case d < 2*time.Minute:
		return sign + strconv.FormatFloat(d.Seconds(), 'f', 0, 64) + " s"
	case d < 2*time.Hour:
		return sign + strconv.Itoa(int(d.Minutes())) + " min"
	case d < 48*time.Hour:
		return sign + strconv.Itoa(int(d.Hours())) + " h"
	}
	return sign + strconv.Itoa(int(d.Hours()/24)) + " d"
}

func inUnit(x float64, unit string) string {
	switch unit {
	case "share":
		return percent(x)
	case "s":
		return took(time.Duration(x * float64(time.Second)))
	}
	precision := -1
	if x != math.Trunc(x) || math.Abs(x) >= 1e6 {
		precision = 3
	}
	t := strconv.FormatFloat(x, 'g', precision, 64)
	if math.Abs(x) < 1e6 && precision == 3 && math.Abs(x) >= 1000 {
		t = strconv.FormatFloat(x, 'f', 0, 64)
	}
	return strings.TrimSpace(t + " " + unit)
}
