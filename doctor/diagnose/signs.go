package diagnose

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// sign is a sign of a cause held against the readings. What was not measured gives none.
type sign struct {
	*doctor.Sign
	family  family
	reading *doctor.Reading
	value   float64
	met     bool
	log     float64 // natural logarithm of its likelihood ratio, before explaining away
	// effect is set for what any fault further down would show as well.
	effect bool
}

// effects are the signals that a fault anywhere below makes rise: they tell that there
// is trouble, and little of where. All others are marks of what happens at their hop.
var effects = []doctor.Signal{
	doctor.Latency, doctor.Rate, doctor.Errors, doctor.Arrivals, doctor.Departures, doctor.Waiting, doctor.OldestAge,
	doctor.Overdue, doctor.OverdueAge, doctor.Standstill, doctor.StandstillGaps, doctor.Stuck, doctor.LeftBehind, doctor.LeftBehindOdds, doctor.Residence, doctor.Busy, doctor.Silence,
	doctor.UnknownItems, doctor.UnknownValue, doctor.TimerLate, doctor.CallbackBacklog, doctor.CallbackAge,
	doctor.PoolWait, doctor.PoolBusy, doctor.LoopSilence, doctor.Goroutines, doctor.Refused, doctor.ServerErrors, doctor.Aborted,
	doctor.CanaryAge, doctor.CanaryTime, doctor.PGCommits, doctor.PGActive, doctor.LogErrors, doctor.Memory, "residence", "stuck",
}

// flowing are what any system tells of any hop: with nothing else measured, a hop is
// judged by the generic mechanisms, and not by the signs of causes.
var flowing = []doctor.Signal{
	doctor.Latency, doctor.Rate, doctor.Errors, doctor.Arrivals, doctor.Departures, doctor.Waiting, doctor.OldestAge, doctor.Wire,
}

// catalogued turns causes into mechanisms by kind, with shares that sum to one.
func catalogued(causes []doctor.Cause, class doctor.Class) map[doctor.Kind][]mechanism {
	out := map[doctor.Kind][]mechanism{}
	sums := map[doctor.Kind]float64{}
	for i := range causes {
		c := &causes[i]
		m := mechanism{name: c.Mechanism, share: max(c.Share[class], shareLeast), primary: family(c.Primary), cause: c}
		out[c.Kind] = append(out[c.Kind], m)
		sums[c.Kind] += m.share
	}
	for kind, all := range out {
		slices.SortStableFunc(all, func(x, y mechanism) int { return cmp.Compare(x.name, y.name) })
		for i := range all {
			all[i].share /= sums[kind]
		}
	}
	return out
}

// shareLeast is the share of a cause that names none for the class: rare, not impossible.
const shareLeast = .01

// mechanismsOf are the ways in which this hop may fail.
func (p *physics) mechanismsOf(i int) []mechanism { return p.hops[i].mechanisms }

// chooseMechanisms gives each hop the causes of its kind where one of their signs was
// measured, and the generic mechanisms elsewhere.
func (p *physics) chooseMechanisms(causes []doctor.Cause) {
	byKind := catalogued(causes, p.e.Symptom.Class())
	p.signed = map[signedKey][]sign{}
	for i := range p.hops {
		p.hops[i].mechanisms = mechanisms[p.hops[i].Kind]
		told := false
		for _, m := range byKind[p.hops[i].Kind] {
			for j := range m.cause.Signs {
				s := &m.cause.Signs[j]
				held, ok := p.hold(i, s)
				told = told || p.tells(i, s)
				if ok {
					p.signed[signedKey{i, m.name}] = append(p.signed[signedKey{i, m.name}], held)
				}
			}
		}
		if told {
			p.hops[i].mechanisms, p.live = byKind[p.hops[i].Kind], true
		}
	}
	p.settleCauses()
	p.marks = make([]float64, len(p.hops))
	for i := range p.hops {
		for _, m := range p.mechanismsOf(i) {
			p.marks[i] = max(p.marks[i], p.marksOf(i, m))
		}
	}
}

// elsewhere is what is left of the prior of a cause at a hop where none of its own
// marks is told, while another hop of the kind tells them: a station in a process has no
// garbage collector of its own, and what is not measured at it is not hidden in it.
const elsewhere = .1

// settleCauses puts each cause where it can show.
func (p *physics) settleCauses() {
	told := map[doctor.Kind]map[string]bool{}
	here := func(i int, m mechanism) bool {
		return slices.ContainsFunc(m.cause.Signs, func(s doctor.Sign) bool {
			return s.At == "" && s.Yes > 1 && !slices.Contains(effects, s.Signal) && len(p.readingsFor(i, &s)) > 0
		})
	}
	for i := range p.hops {
		for _, m := range p.hops[i].mechanisms {
			if m.cause != nil && here(i, m) {
				if told[p.hops[i].Kind] == nil {
					told[p.hops[i].Kind] = map[string]bool{}
				}
				told[p.hops[i].Kind][m.name] = true
			}
		}
	}
	for i := range p.hops {
		h := &p.hops[i]
		h.mechanisms = slices.Clone(h.mechanisms)
		for j := range h.mechanisms {
			if m := &h.mechanisms[j]; m.cause != nil && told[h.Kind][m.name] && !here(i, *m) {
				m.share *= elsewhere
			}
		}
	}
}

// signedKey is a hypothesis.
type signedKey struct {
	hop       int
	mechanism string
}

// tells reports whether the sign's signal was ever told, and is not one that any
// foreign system tells.
func (p *physics) tells(i int, s *doctor.Sign) bool {
	return !slices.Contains(flowing, s.Signal) && len(p.readingsFor(i, s)) > 0
}

// readingsFor are the readings that a sign is about.
func (p *physics) readingsFor(i int, s *doctor.Sign) []*doctor.Reading {
	var out []*doctor.Reading
	at := func(h int) {
		for _, r := range p.read[readKey{h, s.Signal}] {
			if s.Statistic == "" || s.Statistic == r.Statistic {
				out = append(out, r)
			}
		}
	}
	switch j, named := p.index[s.At]; {
	case s.At == "":
		at(i)
	case named:
		at(j)
	default:
		for h := range p.hops {
			if string(p.hops[h].Kind) == s.At {
				at(h)
			}
		}
	}
	return out
}

type readKey struct {
	hop    int
	signal doctor.Signal
}

// hold holds a sign against the readings, and returns the one that meets it, or else the
// one that speaks loudest; not ok when none can speak.
func (p *physics) hold(i int, s *doctor.Sign) (sign, bool) {
	var best sign
	found := false
	for _, r := range p.readingsFor(i, s) {
		h, ok := p.holdTo(s, r)
		if ok && (!found || h.met && !best.met || h.met == best.met && math.Abs(h.log) > math.Abs(best.log)) {
			best, found = h, true
		}
	}
	if !found {
		return sign{}, false
	}
	best.Sign, best.effect = s, slices.Contains(effects, s.Signal)
	best.family = family(cmp.Or(s.Family, string(s.Signal)))
	return best, true
}

func (p *physics) holdTo(s *doctor.Sign, r *doctor.Reading) (sign, bool) {
	presence := r.Presence(p.e.TakenAt)
	silent := presence == doctor.Missing || presence == doctor.Stopped
	out := sign{reading: r}
	switch {
	case presence == doctor.Absent, silent && !s.Gone, silent && p.idle(r):
		return out, false
	case s.Gone:
		out.met = silent
		out.log = logOf(s.No)
	default:
		value, ok := valueOf(s, r)
		if !ok {
			return out, false
		}
		out.value = value
		out.met = about(s, r) && (s.Above == nil || value > *s.Above) && (s.Below == nil || value < *s.Below)
		out.log = logOf(s.No) * (1 - nearly(s, value))
	}
	if out.met {
		out.log = logOf(s.Yes)
		if out.log > 0 && asUsual(s, r, out.value) {
			out.log = 0
		}
	}
	return out, true
}

// A share of time that was as large for usualFor before the trouble, when nothing was
// wrong, is as probable without the cause as with it: it is no evidence of what began
// since. How long is asked for is judgement.
const (
	usualFor    = time.Minute
	usualWithin = 1.1
)

// ofTime are the shares that say how busy something is. What fills up and is then full
// (sequences, connections, disks) is none of them: it was nearly so long before.
var ofTime = []doctor.Signal{doctor.Starved, doctor.Throttled, doctor.CPU, doctor.GC, doctor.IOWait}

// asUsual reports whether the sign would have been met just so before. Near the whole
// the share that is left is compared: from 91 to 99 % it grew.
func asUsual(s *doctor.Sign, r *doctor.Reading, value float64) bool {
	level := s.Of == "" || s.Of == "last" || s.Of == "during" || s.Of == "most"
	if !level || s.Above == nil || !slices.Contains(ofTime, s.Signal) || r.Before.N == 0 ||
		float64(r.Before.N)*r.StepS < usualFor.Seconds() || r.Before.Value <= *s.Above {
		return false
	}
	return value <= usualWithin*r.Before.Value && 1-value >= (1-r.Before.Value)/usualWithin-0.01
}

// logOf a likelihood ratio; one that was left out says nothing.
func logOf(ratio float64) float64 {
	if ratio <= 0 {
		return 0
	}
	return clamp(math.Log(ratio), -clip, clip)
}

// nearly is how close a value that misses its bound is to it: 1 at the bound, 0 at
// half of it or at twice. Bounds are judgement; what nearly meets one is not evidence
// against.
func nearly(s *doctor.Sign, value float64) float64 {
	near := 0.0
	if s.Above != nil && *s.Above > 0 && value <= *s.Above {
		near = clamp(2*value / *s.Above - 1, 0, 1)
	}
	if s.Below != nil && *s.Below > 0 && value >= *s.Below {
		near = max(near, clamp(2 - value / *s.Below, 0, 1))
	}
	return near
}

// about reports whether the reading has the details that the sign asks for. A value
// that begins with ! must not be there, one that ends with * is a beginning.
func about(s *doctor.Sign, r *doctor.Reading) bool {
	for key, want := range s.Where {
		want, not := strings.CutPrefix(want, "!")
		is := r.Detail[key] == want
		if head, open := strings.CutSuffix(want, "*"); open {
			is = strings.HasPrefix(r.Detail[key], head)
		}
		if is == not {
			return false
		}
	}
	return true
}

// timesMost is how many times more than nothing something is.
const timesMost = 999

// valueOf is what of the reading the sign compares; not ok when it was not measured.
func valueOf(s *doctor.Sign, r *doctor.Reading) (float64, bool) {
	last := r.Last
	if r.Newest == nil {
		last = r.During.Value // a collector that names no newest point sums up only
	}
	switch s.Of {
	case "", "last":
		return last, r.During.N > 0
	case "during":
		return r.During.Value, r.During.N > 0
	case "most":
		w := r.Lately
		if w.N == 0 {
			w = r.During
		}
		return max(last, w.Most), w.N > 0
	case "before":
		return r.Before.Value, r.Before.N > 0
	}
	if r.During.N == 0 || r.Before.N == 0 {
		return 0, false
	}
	switch s.Of {
	case "rise":
		if s.Signal.Counts() && r.Newest != nil { // how often since, and not on average
			return r.Last - r.Before.Value, true
		}
		return r.During.Value - r.Before.Value, true
	case "times":
		switch before := usualOf(s, r); {
		case before > 0:
			return min(timesMost, r.During.Value/before), true
		case r.During.Value > 0:
			return timesMost, true
		}
		return 1, true
	case "z":
		return deviation(r), true
	}
	return 0, false
}

// usualOf is what a reading was before, to be compared with how much more there is. The
// median of few events a step is below their mean by up to ln 2 of an event (Choi, Proc.
// AMS 121, 1994): where one comes in two seconds it is none, and any would be a flood.
func usualOf(s *doctor.Sign, r *doctor.Reading) float64 {
	if info, _ := s.Signal.Info(); info.Unit == "1/s" && s.Above != nil && r.StepS > 0 {
		return r.Before.Value + math.Ln2/r.StepS
	}
	return r.Before.Value
}

// marksOf is what the marks of a hypothesis say together, for and against, without the
// effects that any trouble makes; an effect that rules it out is no such one.
func (p *physics) marksOf(i int, m mechanism) float64 {
	strongest := map[family]float64{}
	for _, s := range p.signed[signedKey{i, m.name}] {
		if rulesOut := s.met && s.log < 0; (!s.effect || rulesOut) && math.Abs(s.log) > math.Abs(strongest[s.family]) {
			strongest[s.family] = s.log
		}
	}
	sum := 0.0
	for _, f := range sorted(strongest) {
		sum += strongest[f]
	}
	return sum
}

// sorted keys: sums of floats depend on their order.
func sorted(of map[family]float64) []family {
	var out []family
	for f := range of {
		out = append(out, f)
	}
	slices.Sort(out)
	return out
}

// bySigns are the findings from the signs of a cause, one a family.
func (p *physics) bySigns(i int, m mechanism) []finding {
	var out []finding
	own := p.marksOf(i, m)
	for _, s := range p.signed[signedKey{i, m.name}] {
		f := finding{family: s.family, log: s.log, reading: s.reading, sign: &s}
		if s.effect && f.log > 0 {
			f.log *= 1 - p.explainedAway(i, p.index[s.reading.Hop], own)
		}
		at := slices.IndexFunc(out, func(o finding) bool { return o.family == f.family })
		switch {
		case f.log == 0:
		case at < 0:
			out = append(out, f)
		case math.Abs(f.log) > math.Abs(out[at].log):
			out[at] = f
		}
	}
	return out
}

// Marks below explainsFrom, in natural logarithms, explain nothing away; half of what a
// hypothesis has of its own stands against them.
const (
	explainsFrom = 1.5
	ownHolds     = .5
)

// explainedAway is how much of an effect at a hop another hop accounts for, of which
// the marks tell that it is in trouble and on which the effect's hop stands: a lock in
// the database explains why the decider stands still, and then the standstill says
// nothing of the decider any more.
func (p *physics) explainedAway(i, at int, own float64) float64 {
	most := 0.0
	for g := range p.hops {
		if g == i || !p.stands(at, g) {
			continue
		}
		if p.hops[g].excluded {
			return 1
		}
		most = max(most, 1-math.Exp(-max(0, p.marks[g]-explainsFrom-ownHolds*max(0, own))))
	}
	return most
}

// words fills in a sign's sentence.
func (s *sign) words(text string, hop string) string {
	info, _ := s.Signal.Info()
	pairs := []string{
		"{value}", amount(s.value, unitOf(s.Of, info.Unit)),
		"{before}", amount(s.reading.Before.Value, info.Unit), "{hop}", s.reading.Hop, "{node}", hop,
	}
	for _, key := range slices.Sorted(mapKeys(s.reading.Detail)) {
		pairs = append(pairs, "{"+key+"}", s.reading.Detail[key])
	}
	return unfilled.ReplaceAllString(strings.NewReplacer(pairs...).Replace(text), "–")
}

// unfilled are the details that this reading does not have.
var unfilled = regexp.MustCompile(`\{[a-z_]+\}`)

func mapKeys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// unitOf what a sign compares.
func unitOf(of, unit string) string {
	switch of {
	case "times":
		return "times"
	case "z":
		return ""
	}
	return unit
}

// amount writes a value for people.
func amount(v float64, unit string) string {
	switch unit {
	case "share":
		return strconv.FormatFloat(100*v, 'f', digits(100*v), 64) + " %"
	case "bytes", "bytes/s":
		for _, u := range []struct {
			of   float64
			name string
		}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
			if v >= u.of {
				return fmt.Sprintf("%.1f %s", v/u.of, u.name+strings.TrimPrefix(unit, "bytes"))
			}
		}
	case "s":
		if v > 0 && v < 1 {
			return strconv.FormatFloat(1000*v, 'f', digits(1000*v), 64) + " ms"
		}
	case "times":
		return "×" + strconv.FormatFloat(v, 'f', digits(v), 64)
	case "count", "yes", "items", "":
		return strconv.FormatFloat(v, 'f', digits(v), 64)
	}
	return strconv.FormatFloat(v, 'f', digits(v), 64) + " " + unit
}

// digits behind the point: small figures have one.
func digits(v float64) int {
	if v == math.Trunc(v) || math.Abs(v) >= 10 {
		return 0
	}
	return 1
}

// mechanism by its name.
func (p *physics) mechanism(i int, name string) mechanism {
	all := p.mechanismsOf(i)
	return all[slices.IndexFunc(all, func(m mechanism) bool { return m.name == name })]
}

// channelOf is the channel that a cause is about: the hop itself, or the one at which the
// strongest of its signs that channels tell is met.
func (p *physics) channelOf(i int, met []sign) string {
	if p.hops[i].Kind == doctor.Channel {
		return p.hops[i].Name
	}
	for _, s := range met {
		if at := &p.hops[p.index[s.reading.Hop]]; at.Kind == doctor.Channel {
			return at.Name
		}
	}
	return ""
}

// catalogue puts on a hypothesis what the catalogue knows of its leading mechanism, and
// the details of the signs that were met: the strongest first, since acts rest on them.
func (p *physics) catalogue(h *doctor.Hypothesis, i int) {
	m := p.mechanism(i, h.Mechanism)
	if m.cause == nil {
		return
	}
	h.Cause = m.cause.ID
	if m.cause.Name != (doctor.Text{}) {
		h.Name = &m.cause.Name
	}
	share, any := p.accounts(i, m)
	if any && p.marksOf(i, m) > 0 {
		h.Explains = max(h.Explains, share)
	}
	met := slices.DeleteFunc(slices.Clone(p.signed[signedKey{i, m.name}]), func(s sign) bool { return !s.met || s.log <= 0 })
	slices.SortStableFunc(met, func(x, y sign) int { return cmp.Compare(y.log, x.log) })
	details := map[string]string{}
	for _, s := range met {
		for key, value := range s.reading.Detail {
			if _, taken := details[key]; !taken {
				details[key] = value
			}
		}
	}
	if named := p.channelOf(i, met); named != "" {
		details["channel"] = named
	}
	if len(details) > 0 {
		h.Details = details
	}
}
