package tell

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/moneta-pay/moneta/doctor"
)

// data decodes what an entry tells; the zero value when it is not that.
func data[T any](e *doctor.Entry) T {
	var v T
	if e != nil {
		_ = json.Unmarshal(e.Data, &v) // the journal took it, so it decodes
	}
	return v
}

// of are the entries that tell any of these.
func (s *Source) of(what ...string) []*doctor.Entry {
	var out []*doctor.Entry
	for i := range s.Entries {
		if slices.Contains(what, s.Entries[i].What) {
			out = append(out, &s.Entries[i])
		}
	}
	return out
}

func (s *Source) last(what ...string) *doctor.Entry {
	if all := s.of(what...); len(all) > 0 {
		return all[len(all)-1]
	}
	return nil
}

// began is where the journal says since when it was: an alarm's since, or the opening.
func (s *Source) began() (seq uint64, path string) {
	for _, e := range s.of(doctor.EntryOpened) {
		if data[doctor.Opening](e).Alarm.Since.Equal(s.Incident.Since) {
			return e.Seq, "data.alarm.since"
		}
	}
	for _, e := range s.of(doctor.EntryAlarm) {
		if data[doctor.Alarm](e).Since.Equal(s.Incident.Since) {
			return e.Seq, "data.since"
		}
	}
	return s.Entries[0].Seq, "at"
}

// after is the time from the beginning to an entry.
func (d *Doc) after(e *doctor.Entry) cell {
	seq, path := d.s.began()
	return d.f(e.Seq, fmt.Sprintf("at-e%d.%s|took", seq, path))
}

// heard is who was told what by an entry: a word to them, the act tell, or a banner.
// The path leads to the text, and is empty where none was recorded.
func (d *Doc) heard(e *doctor.Entry) (to, path string, ok bool) {
	if e.What == doctor.EntryTold {
		return data[doctor.Told](e).To, "data.text." + d.lang(), true
	}
	x := data[doctor.Done](e)
	if e.What != doctor.EntryDone || x.Change.Nothing {
		return "", "", false
	}
	with := func(keys ...string) string {
		for _, k := range keys {
			if x.Act.With[k] != "" {
				return "data.act.with." + k
			}
		}
		return ""
	}
	switch {
	case x.Act.Do == doctor.DoTell:
		if to = x.Act.With["to"]; to == "" {
			to = x.Act.Aim
		}
		return to, with(d.lang(), "en"), true
	case x.Act.Do == doctor.DoLever && x.Act.With["lever"] == "banner":
		if d.lang() == "zh" {
			return "holders", with("value_zh", "value"), true
		}
		return "holders", with("value"), true
	}
	return "", "", false
}

// toHolders are the entries by which holders were told something.
func (s *Source) toHolders() []*doctor.Entry {
	d := newDoc(s, "")
	var out []*doctor.Entry
	for _, e := range s.of(doctor.EntryTold, doctor.EntryDone) {
		if to, _, ok := d.heard(e); ok && to == "holders" {
			out = append(out, e)
		}
	}
	return out
}

// stage is the entry at which a stage was reached first, nil when it was not.
func (s *Source) stage(stage doctor.Stage) *doctor.Entry {
	at, ok := s.Incident.Stages[stage]
	if !ok {
		return nil
	}
	for _, e := range s.of(doctor.EntryOpened, doctor.EntryStage) {
		if e.At.Equal(at) && (e.What == doctor.EntryOpened) == (stage == doctor.Detected) && (stage == doctor.Detected || data[doctor.StageReached](e).Stage == stage) {
			return e
		}
	}
	return nil
}

// leading is the hypothesis that the incident was about, and the entry of the answer that
// names it: the newest answer with the cause that was acted on last. While it is being put
// right, answers are about what is left of it; without an act it is the newest before it
// was repaired.
func (s *Source) leading() (*doctor.Entry, doctor.Hypothesis, bool) {
	acted := ""
	for _, e := range s.of(doctor.EntryDone) {
		if c := data[doctor.Done](e).Act.Cause; c != "" {
			acted = c
		}
	}
	repaired, over := s.Incident.Stages[doctor.Repaired]
	var newest, before, named *doctor.Entry
	for _, e := range s.of(doctor.EntryAnswer) {
		a := data[doctor.Answer](e)
		if a.Verdict != doctor.CauseFound || len(a.Ranked) == 0 {
			continue
		}
		newest = e
		if !over || e.At.Before(repaired) {
			before = e
		}
		if acted != "" && causeID(&a.Ranked[0]) == acted {
			named = e
		}
	}
	for _, e := range []*doctor.Entry{named, before, newest} {
		if e != nil {
			return e, data[doctor.Answer](e).Ranked[0], true
		}
	}
	return nil, doctor.Hypothesis{}, false
}

// Named is the answer that names what the incident was about, as far as one did.
func (s *Source) Named() (doctor.Answer, bool) {
	e, _, ok := s.leading()
	return data[doctor.Answer](e), ok
}

// causeID is the catalogue's id of a hypothesis.
func causeID(h *doctor.Hypothesis) string {
	if h.Cause == "" && h.Kind != "" {
		return string(h.Kind) + "-" + h.Mechanism
	}
	return h.Cause
}

// cause is the catalogue's of the leading hypothesis.
func (s *Source) cause() (doctor.Cause, bool) {
	_, h, ok := s.leading()
	if !ok {
		return doctor.Cause{}, false
	}
	return s.catalogued(&h)
}

func (s *Source) catalogued(h *doctor.Hypothesis) (doctor.Cause, bool) {
	if s.Cause == nil {
		return doctor.Cause{}, false
	}
	return s.Cause(causeID(h))
}

// hypothesis names one of the ranked ones of an answer: where, and what.
func (d *Doc) hypothesis(e *doctor.Entry, h *doctor.Hypothesis, path string) (hop, what cell) {
	hop = code(h.Node)
	if h.Name != nil && h.Name.In(d.Lang) != "" {
		lang := "en"
		if d.Lang == "zh" {
			lang = "zh"
		}
		return hop, d.f(e.Seq, path+".name."+lang+"|text")
	}
	if c, ok := d.s.catalogued(h); ok && c.Name.In(d.Lang) != "" {
		return hop, d.fromCause(c.ID, "name")
	}
	if d.s.Mechanism != nil {
		if t := d.s.Mechanism(d.Lang, h.Mechanism); t != "" {
			return hop, plain(t)
		}
	}
	return hop, code(h.Mechanism)
}

// kinds of the hops: our own by their names, others as the answers say.
func (s *Source) kinds() map[string]doctor.Kind {
	out := map[string]doctor.Kind{}
	hops, _ := doctor.Road()
	for _, h := range hops {
		out[h.Name] = h.Kind
	}
	for _, e := range s.of(doctor.EntryAnswer) {
		for _, h := range data[doctor.Answer](e).Ranked {
			if h.Kind != "" {
				out[h.Node] = h.Kind
			}
		}
	}
	return out
}

// fill puts what the incident is about into a text of the catalogue.
func (s *Source) fill(text string) string {
	_, h, ok := s.leading()
	if !ok {
		return text
	}
	pairs := []string{"{hop}", h.Node, "{channel}", h.Node, "CHANNEL", h.Node, "HH:MM", s.Incident.Since.UTC().Format("15:04")}
	for _, k := range sortedKeys(h.Details) {
		pairs = append(pairs, "{"+k+"}", h.Details[k])
	}
	if pid := h.Details["pid"]; pid != "" {
		pairs = append(pairs, "= PID ", "= "+pid+" ")
		if since := h.Details["since"]; since != "" {
			pairs = append(pairs, "'START'", "'"+since+"'")
		}
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

func sortedKeys(m map[string]string) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
