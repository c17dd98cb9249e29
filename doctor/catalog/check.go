package catalog

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/lever"
)

// Bounds of a likelihood ratio: one sign never decides alone, for or against.
const (
	ratioMax = 60.0
	ratioMin = 1 / ratioMax
)

var (
	idForm       = regexp.MustCompile(`^[a-z]+(-[a-z0-9]+)+$`)
	wordForm     = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	alertForm    = regexp.MustCompile(`^[A-Z][A-Za-z0-9]+$`)
	contractForm = regexp.MustCompile(`^[A-Z]{3}-[0-9]{2}$`)
	// A condition asks for readings and alarms in the words of doctor.Step, so that whether
	// it can hold at all is known before it is needed.
	conditionTerm = `(last\((hop|channel|"[^"]+"), "[a-z0-9_]+"(, "[^"]*"(, [0-9]+\.[0-9]+)?)?\) (<|<=|>|>=) [0-9]+\.[0-9]+|!?alarm\((hop|channel|"[^"]+")?\))`
	conditionForm = regexp.MustCompile(`^` + conditionTerm + `( (&&|\|\|) ` + conditionTerm + `)*$`)
	conditionPart = regexp.MustCompile(`last\((hop|channel|"[^"]+"), "([a-z0-9_]+)"`)
	placeholder   = regexp.MustCompile(`\{[a-z_]+\}`)
	// What nobody can promise while the cause is unknown or the outcome is.
	promises = regexp.MustCompile(`(?i)\b(guarantee|we promise|at once refund|immediately refund|within (minutes|an hour)|nothing (is|was|will be) lost|your money is safe)|保证|承诺退款|立即退款|绝对安全|不会有任何损失`)
)

var (
	families = []string{"", "work", "failures", "flow", "wire", "calls"}
	// Acts that a step may name: those of the doctor's hands.
	acts = []string{
		doctor.DoLever, doctor.DoUndoLever, doctor.DoTerminateSession, doctor.DoCancelStatement, doctor.DoCreateIndex, doctor.DoAnalyze,
		doctor.DoQueryUnknowns, doctor.DoReplayCallbacks, doctor.DoRebuildProjection, doctor.DoRedispatch, doctor.DoTakeover,
		doctor.DoRestartProcess, doctor.DoRetryArchive, doctor.DoDropSlot, doctor.DoParkCallback, doctor.DoTell,
		doctor.DoProposeCompensation, doctor.DoCheck, doctor.DoWait,
	}
	// What an act needs beside its name.
	actNeeds = map[string][]string{
		doctor.DoLever: {"lever", "aim", "for", "reason"}, doctor.DoUndoLever: {"lever", "aim"}, doctor.DoTerminateSession: {"pid", "since"},
		doctor.DoCancelStatement: {"pid", "since"}, doctor.DoCreateIndex: {"definition"}, doctor.DoDropSlot: {"slot"}, doctor.DoTell: {"to"}, doctor.DoWait: {"for"},
	}
	audiences = []string{"holders", "support", "partners", "operators"}
	ofs       = []string{"", "last", "most", "during", "before", "rise", "times", "z"}
	levels    = []string{"page", "warn", "ticket"}
)

// checker collects what is wrong with one file.
type checker struct {
	file  string
	cause *doctor.Cause
	wrong []error
}

func (k *checker) refuse(field, format string, args ...any) {
	k.wrong = append(k.wrong, &Invalid{File: k.file, Field: field, Reason: fmt.Sprintf(format, args...)})
}

func (k *checker) need(ok bool, field, format string, args ...any) {
	if !ok {
		k.refuse(field, format, args...)
	}
}

// check returns all that is wrong with a cause.
func check(file string, c *doctor.Cause) []error {
	k := &checker{file: file, cause: c}
	k.names()
	k.share()
	k.signs()
	k.checks()
	k.alert()
	k.contain()
	k.repair()
	k.told()
	k.lists()
	return k.wrong
}

func (k *checker) names() {
	c := k.cause
	base := strings.TrimSuffix(strings.TrimPrefix(k.file, folder+"/"), ending)
	k.need(idForm.MatchString(c.ID) && c.ID == base, "id", "is %q; it must be the name of the file, %q", c.ID, base)
	k.need(slices.Contains(doctor.Kinds(), c.Kind), "kind", "is %q; the kinds are %v", c.Kind, doctor.Kinds())
	k.need(wordForm.MatchString(c.Mechanism) && c.ID == string(c.Kind)+"-"+c.Mechanism, "mechanism", "is %q; the id must be <kind>-<mechanism>", c.Mechanism)
	k.need(slices.Contains(families, c.Primary), "primary", "is %q; it is one of %q", c.Primary, families)
	k.text("name", c.Name)
	k.text("explains", c.Explains)
}

func (k *checker) text(field string, t doctor.Text) {
	k.need(strings.TrimSpace(t.EN) != "", field+".en", "is empty")
	k.need(strings.TrimSpace(t.ZH) != "", field+".zh", "is empty")
	k.need(t.ZH == "" || t.ZH != t.EN, field+".zh", "is the English text")
}

func (k *checker) share() {
	k.need(len(k.cause.Share) > 0, "share", "is empty: how likely is it, for slow and for stale?")
	for _, class := range slices.Sorted(maps.Keys(k.cause.Share)) {
		v := k.cause.Share[class]
		k.need(class == doctor.Slow || class == doctor.Stale, "share", "%q is no class; they are slow and stale", class)
		k.need(v > 0 && v <= 1, "share."+string(class), "is %v; it is a share, above 0 and at most 1", v)
	}
}

func (k *checker) signs() {
	k.need(len(k.cause.Signs) >= 2, "signs", "are %d: without a sign for it and one that tells it from its look-alikes nobody finds it", len(k.cause.Signs))
	strong := false
	for i := range k.cause.Signs {
		s := &k.cause.Signs[i]
		k.sign(fmt.Sprintf("signs[%d]", i), s)
		strong = strong || s.Yes >= 5
	}
	k.need(strong, "signs", "hold none that speaks for it, with yes at 5 or more")
}

func (k *checker) sign(field string, s *doctor.Sign) {
	if _, ok := s.Signal.Info(); !ok {
		k.refuse(field+".signal", "%q is not a signal", s.Signal)
		return
	}
	kind, ok := k.kindAt(s.At)
	k.need(ok, field+".at", "%q is neither a kind of hop nor one of our own hops", s.At)
	k.need(!ok || tells(kind, s.Signal), field+".signal", "nobody tells %q of a hop of kind %s", s.Signal, kind)
	k.need(slices.Contains(ofs, s.Of), field+".of", "is %q; it is one of %q", s.Of, ofs)
	bounded := s.Above != nil || s.Below != nil
	k.need(bounded != s.Gone, field, "needs above, below or both, or else gone")
	k.need(s.Above == nil || s.Below == nil || *s.Above < *s.Below, field+".above", "is not below below")
	for _, r := range []struct {
		name  string
		value float64
	}{{"yes", s.Yes}, {"no", s.No}} {
		k.need(r.value >= ratioMin && r.value <= ratioMax, field+"."+r.name, "is %v; a likelihood ratio is 1/%v to %v, and 1 says nothing", r.value, ratioMax, ratioMax)
	}
	k.need((s.Yes-1)*(s.No-1) <= 0 && s.Yes != s.No, field+".yes", "is %v and no is %v: one must speak for it and the other against, or neither", s.Yes, s.No)
	k.need(s.Family == "" || wordForm.MatchString(s.Family), field+".family", "is %q: small letters, digits and dashes", s.Family)
	k.text(field+".met", s.Met)
	k.text(field+".unmet", s.Unmet)
}

// kindAt is the kind of the hop where a sign is looked for.
func (k *checker) kindAt(at string) (doctor.Kind, bool) {
	if at == "" {
		return k.cause.Kind, true
	}
	if slices.Contains(doctor.Kinds(), doctor.Kind(at)) {
		return doctor.Kind(at), true
	}
	hops, _ := doctor.Road()
	i := slices.IndexFunc(hops, func(h doctor.Hop) bool { return h.Name == at })
	if i < 0 {
		return "", false
	}
	return hops[i].Kind, true
}

func (k *checker) checks() {
	k.need(len(k.cause.Checks) > 0, "checks", "is empty: how does a person tell?")
	seen := map[string]bool{}
	for i, a := range k.cause.Checks {
		field := fmt.Sprintf("checks[%d]", i)
		k.need(wordForm.MatchString(a.ID) && !seen[a.ID], field+".id", "is %q; it is small letters and dashes, once", a.ID)
		seen[a.ID] = true
		k.text(field+".ask", a.Ask)
		k.text(field+".yes", a.Yes)
		k.text(field+".no", a.No)
		k.need(strings.TrimSpace(a.Run) != "", field+".run", "is empty: write the command or the statement")
		k.need(a.CostS > 0 && a.CostS <= 600, field+".cost_s", "is %d; it is seconds, 1 to 600", a.CostS)
	}
}

func (k *checker) alert() {
	a := &k.cause.Alert
	k.need(alertForm.MatchString(a.Name), "alert.name", "is %q; write it LikeThis", a.Name)
	k.need(strings.TrimSpace(a.Expr) != "", "alert.expr", "is empty")
	d, err := time.ParseDuration(a.For)
	k.need(err == nil && d >= 0, "alert.for", "is %q; it is a duration such as 2m, or 0s", a.For)
	k.need(slices.Contains(levels, a.Level), "alert.level", "is %q; it is one of %v", a.Level, levels)
	fires := map[bool]bool{}
	for i, t := range a.Tests {
		field := fmt.Sprintf("alert.tests[%d]", i)
		fires[t.Fires] = true
		k.need(len(t.Series) > 0, field+".series", "is empty")
		for _, d := range []struct{ name, value string }{{"interval", t.Interval}, {"at", t.At}} {
			v, err := time.ParseDuration(d.value)
			k.need(err == nil && v >= 0, field+"."+d.name, "is %q; it is a duration such as 30s", d.value)
		}
	}
	k.need(fires[true] && fires[false], "alert.tests", "need one that fires and one that does not")
}

func (k *checker) contain() {
	c := k.cause
	if len(c.Contain) == 0 {
		k.text("contain_none", c.ContainNone)
		return
	}
	k.need(c.ContainNone == doctor.Text{}, "contain_none", "stands beside levers")
	k.steps("contain", c.Contain)
	for i, s := range c.Contain {
		k.need(s.Do == doctor.DoLever, fmt.Sprintf("contain[%d].do", i), "is %q; what contains is a lever", s.Do)
	}
}

func (k *checker) repair() {
	all := k.cause.Repair
	k.need(len(all) > 0, "repair", "is empty: what ends it?")
	k.steps("repair", all)
	if len(all) > 0 {
		last := all[len(all)-1]
		k.need(last.Do == doctor.DoCheck && last.Until != "", fmt.Sprintf("repair[%d].do", len(all)-1), "is %q; the last step checks, with until, that it is over", last.Do)
	}
}

func (k *checker) steps(list string, all []doctor.Step) {
	seen := map[string]bool{}
	for i := range all {
		s := &all[i]
		field := fmt.Sprintf("%s[%d]", list, i)
		k.need(wordForm.MatchString(s.ID) && !seen[s.ID], field+".id", "is %q; it is small letters and dashes, once", s.ID)
		seen[s.ID] = true
		k.need(slices.Contains(acts, s.Do), field+".do", "is %q; the acts are %v", s.Do, acts)
		for _, need := range actNeeds[s.Do] {
			k.need(s.With[need] != "", field+".with."+need, "is missing: %s needs it", s.Do)
		}
		k.text(field+".why", s.Why)
		k.condition(field+".if", s.If)
		k.condition(field+".until", s.Until)
		d, err := time.ParseDuration(s.Within)
		k.need(s.Until == "" && s.Within == "" || err == nil && d > 0 && s.Until != "", field+".within", "is %q; with until it is a duration, without it nothing", s.Within)
		k.act(field, s)
	}
}

func (k *checker) act(field string, s *doctor.Step) {
	switch s.Do {
	case doctor.DoLever:
		if err := pull(s); err != nil {
			k.refuse(field+".with", "%v", err)
		}
	case doctor.DoTell:
		k.need(slices.Contains(audiences, s.With["to"]), field+".with.to", "is %q; it is one of %v", s.With["to"], audiences)
	case doctor.DoWait:
		d, err := time.ParseDuration(s.With["for"])
		k.need(err == nil && d > 0 && d <= 10*time.Minute, field+".with.for", "is %q; it is a duration of at most 10m", s.With["for"])
	}
}

// pull lets the levers' own rules judge a step, with names put in for placeholders.
func pull(s *doctor.Step) error {
	aim, err := lever.ParseAim(placeholder.ReplaceAllString(s.With["aim"], "name"))
	if err != nil {
		return err
	}
	held, err := time.ParseDuration(s.With["for"])
	if err != nil {
		return fmt.Errorf("for: %w", err)
	}
	now := time.Unix(0, 0)
	p := lever.Pull{
		Lever: lever.Name(s.With["lever"]), Aim: aim, Value: s.With["value"], ValueZH: s.With["value_zh"],
		Owner: "doctor", Reason: s.With["reason"], At: now, Expires: now.Add(held),
	}
	return p.Check()
}

func (k *checker) condition(field, text string) {
	if text == "" {
		return
	}
	if !conditionForm.MatchString(text) {
		k.refuse(field, `is %q; write last("hop", "signal") < 1.0 or !alarm("hop"), joined by &&`, text)
		return
	}
	for _, part := range conditionPart.FindAllStringSubmatch(text, -1) {
		hop, signal := part[1], doctor.Signal(part[2])
		if _, ok := signal.Info(); !ok {
			k.refuse(field, "%q is not a signal", signal)
			continue
		}
		kind, ok := k.kindAt(strings.Trim(hop, `"`))
		switch hop {
		case "hop":
			kind, ok = k.cause.Kind, true
		case "channel":
			kind, ok = doctor.Channel, true
		}
		k.need(ok && tells(kind, signal), field, "nobody tells %q of %q", signal, part[1])
	}
}

// told checks what people are told: the levers' rule against harmful advice, and
// nothing that may turn out untrue.
func (k *checker) told() {
	c := k.cause
	k.text("users", c.Users)
	k.text("support", c.Support)
	now := time.Unix(0, 0)
	banner := lever.Pull{
		Lever: lever.Banner, Aim: lever.Aim{By: lever.Everything}, Value: c.Users.EN, ValueZH: c.Users.ZH,
		Owner: "doctor", Reason: "check", At: now, Expires: now.Add(time.Minute),
	}
	if err := banner.Check(); err != nil {
		k.refuse("users", "%v", err)
	}
	for _, t := range []struct {
		field string
		text  doctor.Text
	}{{"users", c.Users}, {"support", c.Support}} {
		if found := promises.FindString(t.text.EN + " " + t.text.ZH); found != "" {
			k.refuse(t.field, "promises what may turn out untrue: %q", found)
		}
	}
}

func (k *checker) lists() {
	c := k.cause
	k.need(len(c.Never) > 0, "never", "is empty: what makes it worse?")
	for i, t := range c.Never {
		k.text(fmt.Sprintf("never[%d]", i), t)
	}
	k.need(len(c.HotFix) > 0, "hot_fix", "is empty: what does a person do by hand?")
	for i, t := range c.HotFix {
		k.text(fmt.Sprintf("hot_fix[%d]", i), t)
	}
	k.need(len(c.Drills) > 0, "drills", "is empty: what produces it, or one much like it?")
	for i, d := range c.Drills {
		k.need(wordForm.MatchString(d), fmt.Sprintf("drills[%d]", i), "is %q: small letters, digits and dashes", d)
	}
	for i, id := range c.Contract {
		k.need(contractForm.MatchString(id), fmt.Sprintf("contract[%d]", i), "is %q; an item is named like CAU-05", id)
	}
	k.need(len(c.Sources) > 0, "sources", "is empty: who says so?")
}

// checkTogether looks at what only several causes can get wrong: two of one name, and
// two of one kind that no sign tells apart.
func checkTogether(all []doctor.Cause) []error {
	var wrong []error
	for i := range all {
		for j := range all[:i] {
			a, b := &all[j], &all[i]
			if a.Alert.Name == b.Alert.Name {
				wrong = append(wrong, &Invalid{File: folder + "/" + b.ID + ending, Field: "alert.name", Reason: fmt.Sprintf("is also that of %s", a.ID)})
			}
			if a.Kind == b.Kind && !slices.ContainsFunc(a.Signs, func(s doctor.Sign) bool { return !has(b, s) }) && !slices.ContainsFunc(b.Signs, func(s doctor.Sign) bool { return !has(a, s) }) {
				wrong = append(wrong, &Invalid{File: folder + "/" + b.ID + ending, Field: "signs", Reason: fmt.Sprintf("are those of %s: nothing tells them apart", a.ID)})
			}
		}
	}
	return wrong
}

func has(c *doctor.Cause, s doctor.Sign) bool {
	return slices.ContainsFunc(c.Signs, func(o doctor.Sign) bool { return same(o, s) })
}

// same is whether two signs say the same when met and when not.
func same(a, b doctor.Sign) bool {
	return a.Signal == b.Signal && a.Statistic == b.Statistic && a.At == b.At && a.Of == b.Of && a.Gone == b.Gone &&
		equal(a.Above, b.Above) && equal(a.Below, b.Below) && a.Yes == b.Yes && a.No == b.No
}

func equal(a, b *float64) bool { return a == nil && b == nil || a != nil && b != nil && *a == *b }
