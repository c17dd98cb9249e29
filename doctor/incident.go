package doctor

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
)

// Stage is how far an incident has come.
type Stage string

// The five stages, each with the time at which it was reached.
const (
	Detected  Stage = "detected"
	Diagnosed Stage = "diagnosed"
	Contained Stage = "contained"
	Repaired  Stage = "repaired"
	Proved    Stage = "proved"
)

// Stages are all of them, in order.
func Stages() []Stage { return []Stage{Detected, Diagnosed, Contained, Repaired, Proved} }

// Entry is one line of the journal. The journal is the record of an incident:
// whatever is shown or told of one is a fold over its entries, and links to them.
type Entry struct {
	// Seq rises by one in a journal, without gaps.
	Seq uint64    `json:"seq"`
	At  time.Time `json:"at"`
	// Incident is empty for what belongs to none.
	Incident string `json:"incident,omitempty"`
	// What is one of the words below.
	What string `json:"what"`
	// Who did it: doctor, or a person.
	Who  string          `json:"who"`
	Data json.RawMessage `json:"data,omitempty"`
}

// What entries tell, and what their Data is.
const (
	EntryOpened    = "opened"    // Opening
	EntryAlarm     = "alarm"     // Alarm: a further one
	EntryQuiet     = "quiet"     // Alarm: it holds no more
	EntryEvidence  = "evidence"  // EvidenceKept: a file that --replay takes
	EntryAnswer    = "answer"    // Answer
	EntryStage     = "stage"     // StageReached
	EntryTried     = "tried"     // Done: a dry run
	EntryDone      = "done"      // Done
	EntryFailed    = "failed"    // Done, with Error
	EntrySkipped   = "skipped"   // Done, with Error as the reason
	EntryWaits     = "waits"     // Done: for approval
	EntryApproved  = "approved"  // Approval
	EntryTold      = "told"      // Told: who was told what
	EntryMoney     = "money"     // MoneyAtRisk: how much waits, over time
	EntryProof     = "proof"     // ProofKept
	EntryClosed    = "closed"    // Closing
	EntryNote      = "note"      // Note: by a person
	EntryFollowUp  = "follow_up" // FollowUp: whole, the newest of an id holds
	EntryCollector = "collector" // Note: one stopped or came back
	EntryStarted   = "started"   // Note: the watch itself
)

// What operators are told about what somebody's lever hides: that an incident is not
// repaired as far as anybody can see, and that it can be seen again.
const (
	HeldBack = "held-back"
	LetGo    = "let-go"
)

// Data of entries.
type (
	// Opening begins an incident.
	Opening struct {
		Alarm Alarm `json:"alarm"`
	}
	// EvidenceKept names the file that `moneta diagnose --replay` takes.
	EvidenceKept struct {
		File   string `json:"file"`
		SHA256 string `json:"sha256"`
	}
	// StageReached says that a stage was reached.
	StageReached struct {
		Stage Stage `json:"stage"`
	}
	// Done is an act with what became of it.
	Done struct {
		Act    Act    `json:"act"`
		Change Change `json:"change"`
		Error  string `json:"error,omitempty"`
	}
	// Approval is a person's agreement to one act, or its refusal.
	Approval struct {
		ActID  string `json:"act_id"`
		Agreed bool   `json:"agreed"`
		Reason string `json:"reason"`
	}
	// Told says who was told what.
	Told struct {
		To   string `json:"to"` // holders, support, partners, operators
		Text Text   `json:"text"`
		// About is HeldBack or LetGo, or empty.
		About string `json:"about,omitempty"`
	}
	// MoneyAtRisk is what waits, by asset in the smallest unit, and the oldest of it.
	MoneyAtRisk struct {
		Items   int               `json:"items"`
		Value   map[string]string `json:"value"`
		OldestS float64           `json:"oldest_s"`
	}
	// ProofKept names the signed recount.
	ProofKept struct {
		File  string   `json:"file"`
		Clean bool     `json:"clean"`
		Found []string `json:"found,omitempty"`
	}
	// Closing ends an incident: on a clean proof, or with listed breaks and their owners.
	Closing struct {
		Clean  bool     `json:"clean"`
		Breaks []string `json:"breaks,omitempty"`
		// Owners says whose each of Breaks is, by the same words.
		Owners map[string]string `json:"owners,omitempty"`
	}
	// Note is a sentence.
	Note struct {
		Text string `json:"text"`
	}
	// FollowUp is what is to be done because of an incident, also after it: one that the
	// post-mortem asks for, by its name there, or one that a person added.
	FollowUp struct {
		ID    string `json:"id"`
		Text  string `json:"text"`
		Owner string `json:"owner,omitempty"`
		// Due is a day, such as 2026-12-01, in UTC; empty is none.
		Due  string `json:"due,omitempty"`
		Done bool   `json:"done,omitempty"`
	}
)

// Followed is a follow-up as it stands, with the number of the newest line about it.
type Followed struct {
	FollowUp
	Seq uint64 `json:"seq"`
}

// FollowUpsMost bounds the follow-ups of one incident.
const FollowUpsMost = 100

var followUpID = regexp.MustCompile(`^[a-z][a-z0-9-]{0,39}$`)

// Check says why a follow-up may not be written down.
func (f *FollowUp) Check() error {
	switch {
	case !followUpID.MatchString(f.ID):
		return errors.New("the id of a follow-up is a lower-case letter and at most 39 more, digits or hyphens")
	case strings.TrimSpace(f.Text) == "" || len(f.Text) > 2000:
		return errors.New("a follow-up says in 1 to 2000 bytes what is to be done")
	case len(f.Owner) > 200:
		return errors.New("the owner of a follow-up is one line of at most 200 bytes")
	case strings.ContainsFunc(f.Text+f.Owner, unicode.IsControl):
		return errors.New("a follow-up and its owner are one line each, without control characters")
	}
	if f.Due == "" {
		return nil
	}
	if _, err := time.Parse(time.DateOnly, f.Due); err != nil {
		return fmt.Errorf("the day by which it is due is written 2006-01-02, not %q", f.Due)
	}
	return nil
}

// Overdue reports whether its day has passed and it is not done.
func (f *FollowUp) Overdue(now time.Time) bool {
	return !f.Done && f.Due != "" && f.Due < now.UTC().Format(time.DateOnly)
}

// Open is how many of them nobody has done.
func (in *Incident) Open() (n int) {
	for i := range in.FollowUps {
		if !in.FollowUps[i].Done {
			n++
		}
	}
	return n
}

// Listed says why a closing without a clean proof may not stand: an incident ends on
// listed breaks only, each with its owner (SOP-15).
func (c *Closing) Listed() error {
	if len(c.Breaks) == 0 {
		return errors.New("an incident closes on a clean proof, or on listed breaks: neither is there")
	}
	for _, b := range c.Breaks {
		if b == "" || c.Owners[b] == "" {
			return fmt.Errorf("break %q has no owner: Owners names one for each of Breaks", b)
		}
	}
	return nil
}

// Sight is whether somebody's lever hides an incident, HeldBack or LetGo, since when, and
// the newest words about it.
type Sight struct {
	About string    `json:"about"`
	Since time.Time `json:"since"`
	Text  Text      `json:"text"`
}

// Incident is what the journal says of one, folded.
type Incident struct {
	ID       string    `json:"id"`
	OpenedAt time.Time `json:"opened_at"`
	// Since is when the trouble began, before it was detected.
	Since    time.Time           `json:"since"`
	ClosedAt *time.Time          `json:"closed_at,omitempty"`
	Stages   map[Stage]time.Time `json:"stages"`
	// Alarms that hold now, and whether any ever paged.
	Alarms []Alarm `json:"alarms"`
	Paged  bool    `json:"paged"`
	// Hops are those with an alarm that paged, Blamed those whose fault was acted on, each in
	// the order in which they came: also after they went quiet.
	Hops   []string `json:"hops,omitempty"`
	Blamed []string `json:"blamed,omitempty"`
	// Sight is what operators were told last of what hides it; nil while nothing ever did.
	Sight *Sight `json:"sight,omitempty"`
	// Answer is the newest, FirstAnswer the first that named a cause.
	Answer      *Answer      `json:"answer,omitempty"`
	FirstAnswer *Answer      `json:"first_answer,omitempty"`
	Acts        []Done       `json:"acts"`
	Waiting     []Done       `json:"waiting"`
	Money       *MoneyAtRisk `json:"money,omitempty"`
	MoneyMost   *MoneyAtRisk `json:"money_most,omitempty"`
	Proof       *ProofKept   `json:"proof,omitempty"`
	Closing     *Closing     `json:"closing,omitempty"`
	// FollowUps are those that people wrote down, in the order in which they came.
	FollowUps []Followed `json:"follow_ups,omitempty"`
	// Entries are the numbers of its first line in the journal and of the last one before it
	// was closed or in closing it, Later those of the lines after that, the newest 256.
	Entries [2]uint64 `json:"entries"`
	Later   []uint64  `json:"later,omitempty"`
}
