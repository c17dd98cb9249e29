package runbook

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/moneta-pay/moneta/doctor"
)

const (
	// expressionMax and costMax bound a condition: its length in bytes, and what it may
	// cost, in CEL's own units. A condition has a few comparisons.
	expressionMax = 1000
	costMax       = 10_000
	// knownMax bounds how many are kept compiled.
	knownMax = 1000
	// freshSteps is how many steps of its collector a reading may be old, and freshLeast
	// how old at least: one look is under way, one may be late.
	freshSteps = 3
	freshLeast = 3 * time.Second
)

// words are what conditions are written in; see doctor.Step.If. An expression is
// compiled once. One is evaluated at a time: they are short, and their cost is bounded.
type words struct {
	env *cel.Env

	mu    sync.Mutex
	known map[string]cel.Program
	scene *scene // that is looked at now
}

// scene is what a condition looks at.
type scene struct {
	evidence *doctor.Evidence
	hop      string
	// after leaves out what was read before, so that no act is verified by how things
	// were before it; zero leaves out nothing.
	after time.Time
}

func newWords() (*words, error) {
	w := &words{known: make(map[string]cel.Program)}
	text, number, truth := cel.StringType, cel.DoubleType, cel.BoolType
	word := func(name string, result *cel.Type, do func(...ref.Val) ref.Val, all ...[]*cel.Type) cel.EnvOption {
		opts := []cel.FunctionOpt{cel.SingletonFunctionBinding(do)}
		for i, args := range all {
			opts = append(opts, cel.Overload(fmt.Sprintf("%s_%d", name, i), args, result))
		}
		return cel.Function(name, opts...)
	}
	var err error
	w.env, err = cel.NewEnv(
		cel.CrossTypeNumericComparisons(true), // last("…") < 1 is what people write
		cel.Variable("hop", text), cel.Variable("channel", text), cel.Variable("cause", text),
		cel.Variable("detail", cel.MapType(text, text)),
		word("last", number, w.last, []*cel.Type{text}, []*cel.Type{text, text}, []*cel.Type{text, text, text}, []*cel.Type{text, text, text, number}),
		word("now", number, w.last, []*cel.Type{text, text}, []*cel.Type{text, text, text}),
		word("known", truth, w.isKnown, []*cel.Type{text}, []*cel.Type{text, text}, []*cel.Type{text, text, text}),
		word("alarm", truth, w.alarm, []*cel.Type{}, []*cel.Type{text}),
	)
	return w, err
}

// compile checks an expression: its types, and that its signals exist. The caller
// holds the lock.
func (w *words) compile(expression string) (cel.Program, error) {
	if p, ok := w.known[expression]; ok {
		return p, nil
	}
	if len(w.known) >= knownMax {
		clear(w.known) // conditions with blanks differ by what fills them
	}
	if len(expression) > expressionMax {
		return nil, fmt.Errorf("a condition has at most %d bytes", expressionMax)
	}
	a, issues := w.env.Compile(expression)
	if err := issues.Err(); err != nil {
		return nil, fmt.Errorf("the condition %q: %w", expression, err)
	}
	if !a.OutputType().IsExactType(cel.BoolType) {
		return nil, fmt.Errorf("the condition %q is of the type %s; it must be true or false", expression, a.OutputType())
	}
	if err := signals(a); err != nil {
		return nil, fmt.Errorf("the condition %q: %w", expression, err)
	}
	p, err := w.env.Program(a, cel.CostLimit(costMax))
	if err != nil {
		return nil, fmt.Errorf("the condition %q: %w", expression, err)
	}
	w.known[expression] = p
	return p, nil
}

// check refuses an expression that cannot be used.
func (w *words) check(expression string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := w.compile(expression)
	return err
}

// signals refuses a name that no signal has: a slip of the hand would never be known,
// and so never hold.
func signals(a *cel.Ast) error {
	calls := ast.MatchDescendants(ast.NavigateAST(a.NativeRep()), func(e ast.NavigableExpr) bool {
		return e.Kind() == ast.CallKind && slices.Contains([]string{"last", "now", "known"}, e.AsCall().FunctionName())
	})
	for _, c := range calls {
		args := c.AsCall().Args()
		at := args[min(1, len(args)-1)]
		if at.Kind() != ast.LiteralKind {
			return errors.New("name the signal itself")
		}
		name, _ := at.AsLiteral().Value().(string)
		if _, ok := doctor.Signal(name).Info(); !ok {
			return fmt.Errorf("there is no signal %q", name)
		}
	}
	return nil
}

// holds evaluates an expression; an error says why it cannot be told.
func (w *words) holds(expression string, s scene, req *Request) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	expression, err := req.condition(expression)
	if err != nil {
		return false, err
	}
	program, err := w.compile(expression)
	if err != nil {
		return false, err
	}
	detail := req.Detail
	if detail == nil {
		detail = map[string]string{}
	}
	w.scene = &s
	defer func() { w.scene = nil }()
	out, _, err := program.Eval(map[string]any{"hop": req.Hop, "channel": req.fill()["channel"], "cause": req.Cause, "detail": detail})
	if err != nil {
		return false, fmt.Errorf("%s: %w", expression, err)
	}
	held, ok := out.Value().(bool)
	if !ok {
		return false, fmt.Errorf("%s: it is neither true nor false", expression)
	}
	return held, nil
}

func (w *words) last(args ...ref.Val) ref.Val {
	hop, signal, statistic := w.scene.named(args)
	v, err := w.scene.last(hop, signal, statistic)
	switch {
	case err == nil:
		return types.Double(v)
	case len(args) == 4 && w.scene.speaks(hop): // somebody told of the hop, and not of this
		return args[3]
	}
	return types.NewErr("%v", err)
}

func (w *words) isKnown(args ...ref.Val) ref.Val {
	_, err := w.scene.last(w.scene.named(args))
	return types.Bool(err == nil)
}

func (w *words) alarm(args ...ref.Val) ref.Val {
	return types.Bool(slices.ContainsFunc(w.scene.evidence.Alarms, func(a doctor.Alarm) bool {
		return len(args) == 0 || a.Hop == text(args[0])
	}))
}

func text(v ref.Val) string {
	s, _ := v.Value().(string)
	return s
}

// named reads (signal), (hop, signal) or (hop, signal, statistic).
func (s *scene) named(args []ref.Val) (hop string, signal doctor.Signal, statistic string) {
	switch len(args) {
	case 1:
		return s.hop, doctor.Signal(text(args[0])), ""
	case 2:
		return text(args[0]), doctor.Signal(text(args[1])), ""
	}
	return text(args[0]), doctor.Signal(text(args[1])), text(args[2])
}

// last returns the newest value of a signal at a hop, unless it is missing or old.
func (s *scene) last(hop string, signal doctor.Signal, statistic string) (float64, error) {
	for i := range s.evidence.Readings {
		r := &s.evidence.Readings[i]
		if r.Hop != hop || r.Peer != "" || r.Signal != signal || r.Statistic != statistic {
			continue
		}
		if !s.fresh(r) {
			return 0, fmt.Errorf("%s of %s is old", signal, hop)
		}
		return r.Last, nil
	}
	return 0, fmt.Errorf("%s of %s is not known", signal, hop)
}

// speaks reports whether anything fresh is known of a hop.
func (s *scene) speaks(hop string) bool {
	return slices.ContainsFunc(s.evidence.Readings, func(r doctor.Reading) bool { return r.Hop == hop && s.fresh(&r) })
}

func (s *scene) fresh(r *doctor.Reading) bool {
	if r.Newest == nil || r.Newest.Before(s.after) {
		return false
	}
	most := max(freshLeast, time.Duration(freshSteps*r.StepS*float64(time.Second)))
	return s.evidence.TakenAt.Sub(*r.Newest) <= most
}
