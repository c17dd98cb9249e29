package status

import (
	"strings"
	"time"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
)

// What a step of the road is: behind the payment, where it is, still ahead, or where
// it ended without having arrived.
const (
	StepDone    = "done"
	StepNow     = "now"
	StepAhead   = "ahead"
	StepStopped = "stopped"
)

// What a check of the guide found, from the records alone.
const (
	CheckFine = "fine" // the cause is not here
	CheckInfo = "info" // worth knowing
	CheckAct  = "act"  // the holder has the next step
)

// View is the whole page of one payment for the person whose payment it is, in one
// language. It holds nothing but what the holder may know: no channel, no code of
// one, no name of anybody who works on it, and no other payment's id.
type View struct {
	Object string `json:"object" enum:"payment_view"`
	// Title is the kind in words.
	Title     string      `json:"title" example:"Payment"`
	Amount    string      `json:"amount" doc:"With its asset, as people write it" example:"700.00 CZK"`
	CreatedAt time.Time   `json:"created_at"`
	FinalAt   *time.Time  `json:"final_at,omitempty"`
	Status    Status      `json:"status"`
	Steps     []RoadStep  `json:"steps" doc:"The road of the payment, each step a real event"`
	Story     []StoryLine `json:"story" doc:"What has happened, oldest first; support sees the same, with the details"`
	Guide     Guide       `json:"guide" doc:"What to check oneself, judged from our own records"`
	Questions []Question  `json:"questions" doc:"What people ask, answered with how this payment stands"`
	// ExpiresAt is the end of the link that led here.
	ExpiresAt *time.Time `json:"expires_at,omitempty" doc:"When the link ends; left out while the payment is open, and without a link"`
}

// RoadStep is one step of the road.
type RoadStep struct {
	Code  string     `json:"code" doc:"accepted, confirm, check, reserved, sent, bank, delivered, awaited, announced, credited, captured, over, review, done; more may come"`
	Label string     `json:"label"`
	State string     `json:"state" enum:"done,now,ahead,stopped"`
	At    *time.Time `json:"at,omitempty" doc:"When it was reached"`
}

// StoryLine is one event in words.
type StoryLine struct {
	At   time.Time `json:"at"`
	Text string    `json:"text"`
}

// Guide is the self-check.
type Guide struct {
	Verdict string       `json:"verdict" doc:"Where the cause is, in one sentence"`
	Checks  []GuideCheck `json:"checks"`
}

// GuideCheck is one thing to look at.
type GuideCheck struct {
	Code    string `json:"code" doc:"network, restart, cache, notice, reference; more may come"`
	Title   string `json:"title"`
	Verdict string `json:"verdict" enum:"fine,info,act"`
	Text    string `json:"text"`
}

// Question is one of what people ask, and its answer.
type Question struct {
	Code   string `json:"code" doc:"lost, do, again, long, safety, developers; more may come"`
	Asks   string `json:"question"`
	Answer string `json:"answer"`
}

// Event is one move of the payment, or a word to its holder.
type Event struct {
	At         time.Time
	From, To   pay.State
	Settlement pay.Settlement
	// Linked is the kind of the payment that came of it; zero for its own moves.
	Linked pay.Kind
	// Said is what somebody of the desk wrote to the holder.
	Said string
	// Case is the number of a case that was opened.
	Case string
}

// aside reports whether the event is no move of the payment itself.
func (e *Event) aside() bool { return e.Linked != 0 || e.Said != "" || e.Case != "" }

// ViewOf is the page of p. The events are of the same snapshot, oldest first.
func ViewOf(p *pay.Payment, f Facts, events []Event, lang string) View {
	s := Of(p, f, lang)
	w := pageWords{lang: s.Texts.Lang}
	v := View{
		Object: "payment_view", Title: w.say("kind-" + p.Kind.String()), Amount: money.Format(p.Amount, p.Asset) + " " + string(p.Asset),
		CreatedAt: p.CreatedAt.UTC(), Status: s, Story: w.story(p, &s, events),
	}
	if p.State.Final() {
		v.FinalAt = moment(p.EnteredAt)
	}
	v.Steps = w.steps(p, &s, events)
	v.Guide, v.Questions = w.guide(p, &s), w.questions(p, &s)
	return v
}

// pageWords chooses words in one language.
type pageWords struct{ lang string }

// say fills a text of the page's catalogue; a key that is missing is a bug, which
// the test of every state finds.
func (w pageWords) say(key string, pairs ...string) string {
	t, ok := pageCatalogue[key]
	if !ok {
		panic("status: no words for " + key)
	}
	text := t[0]
	if w.lang == "zh" {
		text = t[1]
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// gap stands between two sentences.
func (w pageWords) gap() string {
	if w.lang == "zh" {
		return ""
	}
	return " "
}

func (w pageWords) join(sentences ...string) string {
	var some []string
	for _, s := range sentences {
		if s != "" {
			some = append(some, s)
		}
	}
	return strings.Join(some, w.gap())
}

// reached is when the payment first came into one of the states, after the last time
// that it was taken back to being reserved: what is sent again has not been sent yet.
func reached(events []Event, states ...pay.State) *time.Time {
	var at *time.Time
	for i := range events {
		e := &events[i]
		if e.aside() || e.From == e.To {
			continue
		}
		if e.To == pay.Reserved && states[0] != pay.Reserved {
			at = nil
		}
		for _, s := range states {
			if e.To == s && at == nil {
				at = moment(e.At)
			}
		}
	}
	return at
}

// road is the codes of a kind's steps and which of them p is at; past the end means
// that all are done.
func road(p *pay.Payment) (codes []string, at int) {
	switch p.Kind {
	case pay.Payout, pay.Refund:
		return []string{"reserved", "sent", "bank", "delivered"}, sentAt(p)
	case pay.Capture:
		if p.Channel != "" {
			return []string{"reserved", "sent", "bank", "delivered"}, sentAt(p)
		}
	case pay.Deposit:
		codes = []string{"awaited", "announced", "credited"}
		switch p.State {
		case pay.Processing:
			return codes, 2
		case pay.Succeeded:
			return codes, 3
		case pay.Failed, pay.Cancelled, pay.Expired:
			return codes, 1
		case pay.None, pay.Created, pay.Reserved, pay.Dispatching, pay.Unknown, pay.RequiresAction, pay.InReview:
		}
		return codes, 0
	case pay.Hold:
		codes = []string{"reserved", "captured"}
		switch {
		case p.State == pay.Succeeded:
			return codes, 2
		case p.State == pay.Reserved || p.State.Final():
			return codes, 1
		}
		return codes, 0
	case pay.Send:
	case pay.LatePayout, pay.LateDeposit, pay.Return, pay.Inbound, pay.Assignment, pay.Chargeback, pay.Compensation:
		if p.Open() {
			return []string{"accepted", "done"}, 1
		}
		return []string{"accepted", "done"}, 2
	}
	if p.State == pay.Succeeded {
		return []string{"accepted", "delivered"}, 2
	}
	return []string{"accepted", "delivered"}, 0
}

// sentAt is where a payment through a channel is. That an unknown one was sent is not
// known: it is there when the bank has named it.
func sentAt(p *pay.Payment) int {
	switch p.State {
	case pay.Reserved, pay.Dispatching:
		return 1
	case pay.Processing:
		return 2
	case pay.Unknown:
		if p.Attempt.ChannelID != "" {
			return 2
		}
		return 1
	case pay.Succeeded:
		return 4
	case pay.Failed, pay.Cancelled, pay.Expired:
		if p.Attempt.N > 0 {
			return 2
		}
		return 1
	case pay.None, pay.Created, pay.RequiresAction, pay.InReview:
	}
	return 0
}

// stateOf are the states in which a step was reached.
var stateOf = map[string][]pay.State{
	"accepted": {pay.Created, pay.Reserved, pay.Succeeded, pay.InReview, pay.RequiresAction, pay.Processing}, "awaited": {pay.Created},
	"reserved": {pay.Reserved}, "sent": {pay.Dispatching}, "bank": {pay.Processing}, "announced": {pay.Processing},
	"delivered": {pay.Succeeded}, "credited": {pay.Succeeded}, "captured": {pay.Succeeded}, "done": {pay.Succeeded},
}

func (w pageWords) steps(p *pay.Payment, s *Status, events []Event) []RoadStep {
	step := func(code, state string, at *time.Time) RoadStep {
		return RoadStep{Code: code, Label: w.say("step-" + code), State: state, At: at}
	}
	if !s.Safe { // nothing is claimed of where it is
		return []RoadStep{step("accepted", StepDone, moment(p.CreatedAt)), step("review", StepNow, nil)}
	}
	var out []RoadStep
	switch p.State {
	case pay.RequiresAction:
		out = append(out, step("confirm", StepNow, reached(events, pay.RequiresAction)))
	case pay.InReview:
		out = append(out, step("check", StepNow, reached(events, pay.InReview)))
	case pay.None, pay.Created, pay.Reserved, pay.Dispatching, pay.Processing, pay.Unknown, pay.Succeeded, pay.Failed, pay.Cancelled, pay.Expired:
	}
	codes, here := road(p)
	ended := p.State.Final() && p.State != pay.Succeeded && p.Late == 0
	if p.Late != 0 {
		here = len(codes)
	}
	for i, code := range codes {
		switch {
		case i < here:
			at := reached(events, stateOf[code]...)
			out = append(out, step(code, StepDone, at))
		case ended:
			over := step("over", StepStopped, reached(events, p.State))
			over.Label = w.say("step-over-" + p.State.String())
			return append(out, over)
		case i == here && len(out) == i:
			out = append(out, step(code, StepNow, reached(events, stateOf[code]...)))
		default:
			out = append(out, step(code, StepAhead, nil))
		}
	}
	return out
}

func (w pageWords) story(p *pay.Payment, s *Status, events []Event) []StoryLine {
	lines := []StoryLine{}
	for i := range events {
		e := &events[i]
		text := ""
		switch {
		case e.Said != "":
			text = w.say("story-said", "{text}", e.Said)
		case e.Case != "":
			text = w.say("story-case", "{case}", e.Case)
		case e.Linked != 0:
			if key := "story-linked-" + e.Linked.String(); pageCatalogue[key] != [2]string{} {
				text = w.say(key)
			}
		case i > 0 && e.From == e.To:
			if e.Settlement == pay.SettlementMatched && !settledBefore(events[:i]) {
				text = w.say("story-settled")
			}
		default:
			text = w.moved(p, e)
		}
		if text != "" && (len(lines) == 0 || lines[len(lines)-1].Text != text) {
			lines = append(lines, StoryLine{e.At.UTC(), text})
		}
	}
	if !s.Safe {
		lines = append(lines, StoryLine{s.AsOf, w.say("story-review")})
	}
	return lines
}

func settledBefore(events []Event) bool {
	for i := range events {
		if !events[i].aside() && events[i].Settlement == pay.SettlementMatched {
			return true
		}
	}
	return false
}

// moved is a change of state in words.
func (w pageWords) moved(p *pay.Payment, e *Event) string {
	key := "story-" + e.To.String()
	switch {
	case e.To == pay.Reserved && (e.From == pay.Dispatching || e.From == pay.Unknown || e.From == pay.Processing):
		key = "story-again"
	case p.Kind == pay.Deposit:
		key = "story-deposit-" + e.To.String()
	case e.To == pay.Succeeded && p.Kind == pay.Hold && p.Taken != p.Amount:
		key = "story-captured-part"
	case e.To == pay.Succeeded && p.Kind == pay.Hold:
		key = "story-captured"
	case e.To == pay.Succeeded && (p.Kind == pay.Payout || p.Kind == pay.Refund || p.Channel != ""):
		key = "story-paid"
	case e.To == pay.Cancelled && p.Kind == pay.Hold:
		key = "story-released"
	}
	return w.say(key)
}

func (w pageWords) guide(p *pay.Payment, s *Status) Guide {
	g := Guide{Verdict: w.say("guide-ours")}
	restart := GuideCheck{"restart", "", CheckFine, w.say("check-restart", "{at}", instant(p.CreatedAt))}
	switch {
	case p.State == pay.RequiresAction:
		g.Verdict, restart.Verdict = w.say("guide-confirm"), CheckAct
		restart.Text = w.join(restart.Text, s.Texts.Advice)
	case p.Kind == pay.Deposit && p.State == pay.Created:
		g.Verdict = w.say("guide-transfer")
	case !s.Safe:
		g.Verdict = w.say("guide-review")
	case !p.Open():
		g.Verdict = w.say("guide-over")
	}
	notice := GuideCheck{"notice", "", CheckFine, w.say("check-notice-none")}
	if s.Notice != nil {
		notice.Verdict, notice.Text = CheckInfo, w.say("check-notice", "{text}", s.Notice.Text)
	}
	g.Checks = []GuideCheck{
		{"network", "", CheckFine, w.say("check-network", "{at}", instant(s.AsOf))},
		restart,
		{"cache", "", CheckInfo, w.say("check-cache")},
		notice,
		{"reference", "", CheckInfo, w.say("check-reference", "{reference}", s.Reference)},
	}
	for i := range g.Checks {
		g.Checks[i].Title = w.say("check-title-" + g.Checks[i].Code)
	}
	return g
}

func (w pageWords) questions(p *pay.Payment, s *Status) []Question {
	lead := "lost-open"
	switch {
	case !s.Safe:
		lead = "lost-review"
	case s.Status == failed:
		lead = "lost-no"
	case !p.Open():
		lead = "lost-over"
	}
	again := "again-no"
	if !s.DoNotRetry {
		again = "again-yes"
	}
	long := "long-over"
	if p.Open() {
		long = "long-" + p.State.String()
		if p.Kind == pay.Deposit && p.State == pay.Created {
			long = "long-deposit"
		}
	}
	if !s.Safe {
		long = "long-review"
	}
	one := func(code, answer string) Question {
		return Question{Code: code, Asks: w.say("ask-" + code), Answer: answer}
	}
	return []Question{
		one("lost", w.join(w.say(lead), w.say("is", "{reference}", s.Reference, "{head}", s.Texts.Headline), s.Texts.Money, s.Texts.Next)),
		one("again", w.say(again)),
		one("long", w.say(long)),
		one("do", w.say("do", "{reference}", s.Reference)),
		one("safety", w.say("safety")),
		one("developers", w.say("developers")),
	}
}
