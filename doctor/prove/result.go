package prove

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/moneta-pay/moneta/money"
)

// Format names the form of a Result; another form gets another name.
const Format = "moneta.proof/1"

// Verdict is the last word of a recount.
type Verdict string

// The verdicts.
const (
	// Clean: everything was counted, and nothing is off.
	Clean Verdict = "clean"
	// Incomplete: nothing is off in what was counted, and not everything was.
	Incomplete Verdict = "incomplete"
	// Faults: something is off.
	Faults Verdict = "faults"
)

// Result is what a recount saw. Amounts and ids are strings, amounts in the asset's
// smallest unit; times are RFC 3339 in UTC.
type Result struct {
	Format  string `json:"format"`
	Version string `json:"made_by"`
	// At is the snapshot's instant, by the database's clock.
	At      string  `json:"at"`
	TookMS  int64   `json:"took_ms"`
	Verdict Verdict `json:"verdict"`
	// FaultCount counts all, in the window or not; Findings lists those in the
	// window, at most 200 a check.
	FaultCount int64    `json:"fault_count"`
	Window     Window   `json:"window"`
	Database   Database `json:"database"`
	// SHA256 is over all that was counted: of the lines "table rows sha256", by table.
	SHA256  string     `json:"sha256"`
	Counted []Counted  `json:"counted"`
	Assets  []Asset    `json:"assets"`
	Checks  []Check    `json:"checks"`
	Rails   []Rail     `json:"rails"`
	Flight  []Flight   `json:"in_flight"`
	Breaks  []BreakSum `json:"open_breaks"`
	// NotProved says what could not be counted, and why.
	NotProved []string  `json:"not_proved"`
	Findings  []Finding `json:"findings"`
}

// Window is the part of time whose findings are listed; empty is open.
type Window struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// Database says of which database, at which point.
type Database struct {
	// System and Timeline are the cluster's identity, LSN how far it had written or,
	// a standby, replayed.
	System   string `json:"system"`
	Timeline string `json:"timeline"`
	LSN      string `json:"lsn"`
	Standby  bool   `json:"standby"`
	Schema   int64  `json:"schema"`
	// The newest ids in the snapshot.
	LastPayment    string `json:"last_payment"`
	LastTransfer   string `json:"last_transfer"`
	LastTransition string `json:"last_transition"`
}

// Counted is a table as it was read.
type Counted struct {
	Table string `json:"table"`
	Rows  int64  `json:"rows"`
	// SHA256 is over the rows in order of their primary key: see docs/prove.md.
	SHA256 string `json:"sha256"`
}

// Asset is one asset's books.
type Asset struct {
	Asset     string `json:"asset"`
	Accounts  int64  `json:"accounts"`
	Transfers int64  `json:"transfers"`
	Moved     string `json:"moved"`
	// Sum is over the newest balances of all books: zero.
	Sum string `json:"sum"`
	// Held is on the held books, Clearing on the way in and out.
	Held        string `json:"held"`
	ClearingOut string `json:"clearing_out"`
	ClearingIn  string `json:"clearing_in"`
}

// Check is one kind of question, how often it was asked, and what it found.
type Check struct {
	Name   string `json:"name"`
	Asked  int64  `json:"asked"`
	Faults int64  `json:"faults"`
	listed int64
}

// Rail is one channel's own books.
type Rail struct {
	Channel string `json:"channel"`
	// Source says where its books were read; empty when nobody named any.
	Source string `json:"source"`
	// Proved is true when they were read to their end and compared.
	Proved bool   `json:"proved"`
	Why    string `json:"why"`
	// Effects are movements in its books; Matched have their payment, Pending are
	// under way, Later happened after the snapshot.
	Effects int64 `json:"effects"`
	Matched int64 `json:"matched"`
	Pending int64 `json:"pending"`
	Later   int64 `json:"later"`
	// Unproved are executed payments of ours whose effect could not be looked for.
	Unproved int64 `json:"unproved"`
}

// Flight is work that was under way at the snapshot: not a fault.
type Flight struct {
	// What is a state of a payment, or clearing, webhook, webhook_given_up,
	// quarantine, outside.
	What    string `json:"what"`
	Hop     string `json:"hop"`
	Channel string `json:"channel"`
	Asset   string `json:"asset"`
	Count   int64  `json:"count"`
	Value   string `json:"value"`
	// OldestSeconds is the age of the oldest, Oldest names it, LateSeconds is how far
	// the latest one is past its deadline; 0 when none is.
	OldestSeconds int64  `json:"oldest_seconds"`
	Oldest        string `json:"oldest"`
	LateSeconds   int64  `json:"late_seconds"`
	value         money.Amount
}

type flightKey struct{ what, hop, channel, asset string }

// BreakSum are open breaks of one class and owner.
type BreakSum struct {
	Class         string `json:"class"`
	Owner         string `json:"owner"`
	Severity      int64  `json:"severity"`
	Count         int64  `json:"count"`
	OldestSeconds int64  `json:"oldest_seconds"`
}

// Finding is something that is off.
type Finding struct {
	// Check is its kind; Texts has the words for it.
	Check string `json:"check"`
	// Payment is its public id; empty when it is about none.
	Payment string `json:"payment"`
	// Place is the row, book or reference where it was seen.
	Place  string `json:"place"`
	Detail string `json:"detail"`
	// At is when that happened; empty when no time says.
	At string `json:"at"`
	// Break names the break that knows of it already, with its owner; else empty.
	Break string `json:"break"`

	payment int64
}

// Text is a sentence in both languages.
type Text struct{ En, Zh string }

// The checks, in the order in which the screen has them. Names are part of the form.
const (
	checkReadable = "readable"
	checkSums     = "sums"
	checkBalances = "balances"
	checkSequence = "book_sequence"
	checkIDs      = "ids"
	checkOwner    = "transfer_owner"
	checkChain    = "chain"
	checkMoves    = "moves"
	checkPostings = "postings"
	checkTerminal = "terminal"
	checkSettled  = "one_settlement"
	checkAttempts = "attempts"
	checkHolds    = "holds"
	checkClearing = "clearing"
	checkLinked   = "linked"
	checkKeys     = "keys"
	checkOpen     = "open_items"
	checkCounts   = "hop_counts"
	checkViews    = "facts_views"
	checkExpect   = "expectations"
	checkWebhooks = "webhooks"
	checkDoubled  = "doubled"
	checkLost     = "lost"
	checkAmount   = "amount_differs"
	checkStray    = "effect_without_payment"
)

// Texts are what each check asks, by name.
var Texts = map[string]Text{
	checkReadable: {"every row can be read", "每行均可读取"},
	checkSums:     {"every asset sums to zero", "每种资产合计为零"},
	checkBalances: {"every balance is the sum of its postings", "每个余额等于其分录之和"},
	checkSequence: {"every book's rows are numbered without a gap", "每本账簿的行号连续无缺"},
	checkIDs:      {"no id is missing", "编号无缺"},
	checkOwner:    {"every transfer belongs to one step of its payment", "每笔转账属于其支付的一个步骤"},
	checkChain:    {"a payment's steps join end to start", "支付的各步骤首尾相接"},
	checkMoves:    {"every step is a legal move", "每个步骤均为合法变更"},
	checkPostings: {"every step moved exactly what it must", "每个步骤的分录准确无误"},
	checkTerminal: {"a final state never changes", "终态从不改变"},
	checkSettled:  {"a payment is settled once", "每笔支付只结算一次"},
	checkAttempts: {"one live attempt a payment, none doubled", "每笔支付至多一次有效发送"},
	checkHolds:    {"what is held is what open payments reserve", "冻结金额等于未结支付的占用"},
	checkClearing: {"what is in clearing is what is on its way", "清算余额等于在途金额"},
	checkLinked:   {"no more goes back than came", "退回不超过原金额"},
	checkKeys:     {"one key, one payment", "一个幂等键对应一笔支付"},
	checkOpen:     {"open items stand where the log says", "未结项与日志一致"},
	checkCounts:   {"counts at each hop are the open items", "各环节计数等于未结项"},
	checkViews:    {"the facts views tell what the rows tell", "事实视图与原始行一致"},
	checkExpect:   {"every unsettled payment is expected on a statement", "每笔未结算支付均在对账预期中"},
	checkWebhooks: {"every final payment was queued for its webhooks", "每笔终态支付均已排入通知"},
	checkDoubled:  {"nothing was executed twice outside", "外部没有重复执行"},
	checkLost:     {"what succeeded here moved outside", "此处成功的在外部均已执行"},
	checkAmount:   {"the outside moved the same amount", "外部金额一致"},
	checkStray:    {"nothing moved outside without a payment", "外部没有无对应支付的变动"},
}

// order of the checks in a result.
var order = []string{
	checkReadable, checkSums, checkBalances, checkSequence, checkIDs, checkOwner, checkChain, checkMoves, checkPostings, checkTerminal,
	checkSettled, checkAttempts, checkHolds, checkClearing, checkLinked, checkKeys, checkOpen, checkCounts, checkViews, checkExpect,
	checkWebhooks, checkDoubled, checkLost, checkAmount, checkStray,
}

func (p *prover) check(name string) *Check {
	c := p.checks[name]
	if c == nil {
		c = &Check{Name: name}
		p.checks[name] = c
	}
	return c
}

// asked counts questions.
func (p *prover) asked(name string, n int64) { p.check(name).Asked += n }

// find counts a fault, and lists it if it lies in the window and there is room.
func (p *prover) find(name string, payment int64, at time.Time, place, detail string) {
	c := p.check(name)
	c.Faults++
	p.out.FaultCount++
	if c.listed >= listMax || !at.IsZero() && (!p.cfg.From.IsZero() && at.Before(p.cfg.From) || !p.cfg.To.IsZero() && !at.Before(p.cfg.To)) {
		return
	}
	c.listed++
	f := Finding{Check: name, Place: place, Detail: detail, At: stamp(at), payment: payment}
	if payment != 0 {
		f.Payment = paymentID(payment)
	}
	p.out.Findings = append(p.out.Findings, f)
}

// stamp is a time as the result has it.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// fly counts something that is under way.
func (p *prover) fly(k flightKey, value money.Amount, since, deadline time.Time, who string) {
	f := p.inFlight[k]
	if f == nil {
		f = &Flight{What: k.what, Hop: k.hop, Channel: k.channel, Asset: k.asset, OldestSeconds: -1}
		p.inFlight[k] = f
	}
	f.Count++
	f.value = p.add(f.value, value)
	if age := max(int64(p.at.Sub(since)/time.Second), 0); age > f.OldestSeconds {
		f.OldestSeconds, f.Oldest = age, who
	}
	if !deadline.IsZero() {
		f.LateSeconds = max(f.LateSeconds, int64(p.at.Sub(deadline)/time.Second))
	}
}

// add is a sum; one that does not fit is a fault of the rows, and left out.
func (p *prover) add(a, b money.Amount) money.Amount {
	sum, err := a.Add(b)
	if err != nil {
		p.find(checkReadable, 0, time.Time{}, "a sum", "amounts are too large to be added")
		return a
	}
	return sum
}

func neg(a money.Amount) money.Amount {
	b, err := a.Neg()
	if err != nil {
		return a
	}
	return b
}

// conclude puts the result in its final order and gives the verdict.
func (p *prover) conclude(took time.Duration) {
	r := &p.out
	r.Format, r.Version, r.TookMS, r.At = Format, p.cfg.Version, took.Milliseconds(), stamp(p.at)
	r.Window = Window{stamp(p.cfg.From), stamp(p.cfg.To)}
	r.Checks = make([]Check, 0, len(order))
	for _, name := range order {
		r.Checks = append(r.Checks, *p.check(name))
	}
	r.Flight = []Flight{}
	for _, f := range p.inFlight {
		f.Value = f.value.String()
		r.Flight = append(r.Flight, *f)
	}
	slices.SortFunc(r.Flight, func(a, b Flight) int {
		return cmp.Or(cmp.Compare(b.OldestSeconds, a.OldestSeconds), cmp.Compare(a.What, b.What), cmp.Compare(a.Hop, b.Hop),
			cmp.Compare(a.Channel, b.Channel), cmp.Compare(a.Asset, b.Asset))
	})
	r.Rails = []Rail{}
	for _, x := range p.rails {
		if x.Proved || x.needed() {
			r.Rails = append(r.Rails, x.Rail)
		}
		if !x.Proved && x.needed() {
			r.NotProved = append(r.NotProved, "channel "+x.Channel+": "+x.Why)
		}
	}
	slices.SortFunc(r.Rails, func(a, b Rail) int { return cmp.Compare(a.Channel, b.Channel) })
	slices.Sort(r.NotProved)
	r.NotProved = append([]string{}, r.NotProved...)
	r.Findings = append([]Finding{}, r.Findings...)
	rank := map[string]int{}
	for i, name := range order {
		rank[name] = i
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return cmp.Compare(rank[a.Check], rank[b.Check]) })
	r.Counted, r.SHA256 = p.counted()
	switch {
	case r.FaultCount > 0:
		r.Verdict = Faults
	case len(r.NotProved) > 0:
		r.Verdict = Incomplete
	default:
		r.Verdict = Clean
	}
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
