package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/moneta-pay/moneta/lever"
)

// The acts, by the names that steps and hands have for them.
const (
	DoLever               = "lever"
	DoUndoLever           = "undo-lever"
	DoTerminateSession    = "terminate-session"
	DoCancelStatement     = "cancel-statement"
	DoCreateIndex         = "create-index"
	DoAnalyze             = "analyze"
	DoQueryUnknowns       = "query-unknowns"
	DoReplayCallbacks     = "replay-callbacks"
	DoRebuildProjection   = "rebuild-projection"
	DoRedispatch          = "redispatch"
	DoTakeover            = "takeover"
	DoRestartProcess      = "restart-process"
	DoRetryArchive        = "retry-archive"
	DoDropSlot            = "drop-slot"
	DoParkCallback        = "park-callback"
	DoProposeCompensation = "propose-compensation"
	DoTell                = "tell"
	DoCheck               = "check"
	DoWait                = "wait"
)

// Mark is what the target of an act was found to be, as far as Never asks.
type Mark string

// The marks. A hand that looks at its target reports each that fits.
const (
	// MarkWaiter waits for a lock of another session.
	MarkWaiter Mark = "waiter"
	// MarkSyncWait waits for a synchronous standby: ended now, it would acknowledge what
	// is not replicated.
	MarkSyncWait Mark = "sync-wait"
	// MarkReplication sends the log to a standby or a reader.
	MarkReplication Mark = "replication"
	// MarkWraparound is the vacuum that keeps transaction ids from running out.
	MarkWraparound Mark = "wraparound"
	// MarkSystem belongs to the database itself.
	MarkSystem Mark = "system"
	// MarkDecider is the session of the one writer of money while it leads: its succession
	// has rules of its own.
	MarkDecider Mark = "decider"
	// MarkUnresolved is a payment with an attempt whose outcome is not proven.
	MarkUnresolved Mark = "unresolved"
	// MarkUnkept is a message that is nowhere else.
	MarkUnkept Mark = "unkept"
	// MarkReaders are readers of a log that still read it.
	MarkReaders Mark = "readers"
	// MarkPlanless is a slot whose reader could not be filled again.
	MarkPlanless Mark = "planless"
	// MarkForeign is a process that nobody starts again when it ends.
	MarkForeign Mark = "foreign"
)

// Forbidden is the refusal by the never-list: no role and no flag gets around it.
type Forbidden struct {
	// Rule is N1 to N12.
	Rule   string
	Reason string
}

// Error says which rule and why.
func (f *Forbidden) Error() string { return "never (" + f.Rule + "): " + f.Reason }

// byMark are the rules about what a target is, whatever is to be done to it.
var byMark = map[Mark]Forbidden{
	MarkWaiter:      {"N7", "it waits for others; the root of its blocking tree is to be ended, not those who wait"},
	MarkSyncWait:    {"N7", "it waits for a synchronous standby; ended now it would acknowledge what exists once only"},
	MarkReplication: {"N7", "it replicates the database"},
	MarkWraparound:  {"N7", "it is the vacuum that keeps transaction ids from running out"},
	MarkSystem:      {"N7", "it belongs to the database itself"},
	MarkDecider:     {"N7", "it is the one writer of money, and it leads; who succeeds it is decided by the takeover"},
	MarkUnresolved:  {"N1", "it has an attempt whose outcome is not proven; a second one could pay twice"},
	MarkUnkept:      {"N3", "it is kept nowhere else"},
	MarkReaders:     {"N4", "its readers are reading"},
	MarkPlanless:    {"N9", "there is no plan yet for how its reader is filled again"},
	MarkForeign:     {"N7", "nobody would start it again"},
}

// byWord are the rules about acts that must not exist at all, by the beginning of
// their names, whoever would give the doctor a hand for them.
var byWord = map[string]Forbidden{
	"resend":           {"N1", "an attempt that may have executed is asked for, not sent again"},
	"reroute":          {"N1", "a payment that is under way does not change its channel"},
	"fail-":            {"N2", "no answer is not a failure"},
	"mark-":            {"N2", "an outcome is proven, not set"},
	"purge":            {"N3", "what carries money is kept"},
	"skip":             {"N3", "what carries money is kept"},
	"delete":           {"N3", "what carries money is kept"},
	"truncate":         {"N3", "what carries money is kept"},
	"reset-offset":     {"N4", "positions of readers are moved by people, with an export"},
	"flush":            {"N5", "it would take away what everybody reads, at once"},
	"keys":             {"N5", "it stops the server that is ill already"},
	"monitor":          {"N5", "it stops the server that is ill already"},
	"update-balance":   {"N6", "a balance is the sum of its entries"},
	"set-balance":      {"N6", "a balance is the sum of its entries"},
	"post-":            {"N6", "entries are proposed, and made by the ledger"},
	"kill":             {"N7", "a session is ended by its own number and start, as the root of what waits"},
	"restart-database": {"N7", "it would hide who held the locks, and hurt everybody"},
	"raise-":           {"N8", "more retries, places or time make an overload worse"},
	"increase-":        {"N8", "more retries, places or time make an overload worse"},
	"replace-":         {"N10", "what was signed is sent again as it is, or not at all"},
	"reject-callback":  {"N11", "a callback may be the only proof that money moved"},
	"refuse-callback":  {"N11", "a callback may be the only proof that money moved"},
}

// Never refuses what must not be done, whoever asks, whoever approved and whatever
// the policy: *Forbidden, or nil. It looks at the act and at what its target was found
// to be, and at nothing else. Every act passes here right before it is done.
func Never(a Act, found ...Mark) error {
	if len(found) > 0 {
		rule, known := byMark[found[0]]
		if !known {
			rule = Forbidden{"N7", fmt.Sprintf("what %q means is not known here", found[0])}
		}
		return &rule
	}
	do := strings.ToLower(strings.TrimSpace(a.Do))
	for _, word := range slices.Sorted(maps.Keys(byWord)) {
		if strings.HasPrefix(do, word) {
			rule := byWord[word]
			return &rule
		}
	}
	return neverSo(do, a)
}

// neverSo are the rules about how an act that may exist is done.
func neverSo(do string, a Act) error {
	switch do {
	case DoTerminateSession, DoCancelStatement:
		if a.With["pid"] == "" || a.With["since"] == "" {
			return &Forbidden{"N7", "a session is named by its number and its start: numbers are used again"}
		}
	case DoDropSlot:
		if strings.TrimSpace(a.With["plan"]) == "" {
			return &Forbidden{"N9", "say in plan how the slot's reader is filled again"}
		}
	case DoLever:
		if a.With["aim"] == "route:"+lever.Callbacks || a.Aim == "route:"+lever.Callbacks {
			return &Forbidden{"N11", "a callback may be the only proof that money moved"}
		}
		return neverTell(a.With["value"], a.With["value_zh"])
	case DoTell:
		for _, k := range slices.Sorted(maps.Keys(a.With)) {
			if err := neverTell(a.With[k]); err != nil {
				return err
			}
		}
	}
	return nil
}

func neverTell(texts ...string) error {
	for _, t := range texts {
		if found := lever.Harmful(t); found != "" {
			return &Forbidden{"N12", fmt.Sprintf("people are never told to pay again, to clear the app or to hand out keys (%q)", found)}
		}
	}
	return nil
}

// Guarded puts a hand behind Never: it looks at the target before each act, and does
// nothing that is forbidden. What the hand's own Act checks in the same statement as
// the deed comes on top of it.
func Guarded(h Hand) Hand {
	if g, is := h.(guarded); is {
		return g
	}
	return guarded{h}
}

type guarded struct{ Hand }

// Try says what it would change, or what forbids it.
func (g guarded) Try(ctx context.Context, a Act) (Change, error) {
	a.Do = g.Does() // the hand does what it does, whatever the act is called
	if err := Never(a); err != nil {
		return Change{Reach: g.Reach()}, err
	}
	c, err := g.Hand.Try(ctx, a)
	if err != nil {
		return c, err
	}
	return c, Never(a, c.Marks...)
}

// Act looks first.
func (g guarded) Act(ctx context.Context, a Act) (Change, error) {
	c, err := g.Try(ctx, a)
	if err != nil || c.Nothing {
		return c, err
	}
	a.Do = g.Does()
	return g.Hand.Act(ctx, a)
}
