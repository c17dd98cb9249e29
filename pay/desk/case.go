// Package desk keeps cases: what a person must look at, with an owner, a deadline,
// what was known when it was opened, and an append-only log of who did what. Cases
// are opened for payments past what their rail allows or that no timer drives, for
// breaks, for Facts that could not be committed, and by the holder's appeal.
//
// It refuses to move money or change a payment, to open a second case for what has
// an open one, to lose one (all but appeals are derived again from durable rows,
// and an appeal is answered only when it is durable), and to show a holder what
// colleagues noted among themselves.
package desk

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/status"
)

// Kind is why a case exists.
type Kind string

// The kinds of cases.
const (
	// Overdue: the payment is past what its rail or its state allows.
	Overdue Kind = "overdue"
	// UnknownTooLong: nobody could tell for two hours whether it was executed.
	UnknownTooLong Kind = "unknown_too_long"
	// Orphan: no timer drives the payment; a bug of ours.
	Orphan Kind = "orphan"
	// Review: the payment waits for a person to let it pass.
	Review Kind = "review"
	// Unplaced: money came in, and nobody knows whose it is.
	Unplaced Kind = "unplaced"
	// Debt: a holder owes us, by a late outcome or a chargeback.
	Debt Kind = "debt"
	// Poison: a Fact could not be committed even alone.
	Poison Kind = "poison"
	// Contradiction: an outside record says otherwise than a final state of ours.
	Contradiction Kind = "contradiction"
	// Mismatch: an outside record has another amount or asset.
	Mismatch Kind = "mismatch"
	// Break: any other difference between a statement and the ledger.
	Break Kind = "break"
	// Appeal: the holder asked for a person.
	Appeal Kind = "appeal"
)

// Kinds lists all kinds.
func Kinds() []Kind {
	return []Kind{Overdue, UnknownTooLong, Orphan, Review, Unplaced, Debt, Poison, Contradiction, Mismatch, Break, Appeal}
}

// Kinds about an open payment. The payment's end is the end of those in stuck; any
// of tasks satisfies P8: a person is at it.
var (
	stuck = []string{string(Overdue), string(UnknownTooLong), string(Orphan), string(Review), string(Unplaced), string(Debt)}
	tasks = append([]string{string(Poison)}, stuck...)
)

// The states of a case.
const (
	// Open: the owner has until the deadline.
	Open = "open"
	// Answered: the holder has an answer; no deadline runs.
	Answered = "answered"
	// Closed: nothing is left to do. It never opens again; a new one would.
	Closed = "closed"
)

// States lists all states.
func States() []string { return []string{Open, Answered, Closed} }

// What a note records.
const (
	opened    = "opened"
	again     = "again"
	noted     = "noted"
	answered  = "answered"
	assigned  = "assigned"
	escalated = "escalated"
	closed    = "closed"
)

// Machine is who acts when nobody does.
const Machine = "moneta"

// Bounds of a case, in bytes unless they say otherwise.
const (
	TextMax    = 2_000 // characters of a note, a resolution, an appeal
	OwnerMax   = 80    // characters
	URLMax     = 1_000
	NotesMax   = 500 // notes of people a case
	appealsMax = 20  // repeated appeals that are noted; more only answer
	detailMax  = 1_000
)

// Number names a case for people: the year it was opened, and its place.
type Number struct {
	Year int
	ID   int64
}

// String writes C-2026-000123.
func (n Number) String() string { return fmt.Sprintf("C-%04d-%06d", n.Year, n.ID) }

// ParseNumber reads what String wrote, as people type it: in any case, with spaces
// around, without leading zeros.
func ParseNumber(s string) (Number, bool) {
	parts := strings.Split(strings.ToUpper(strings.TrimSpace(s)), "-")
	if len(parts) != 3 || parts[0] != "C" || len(parts[1]) != 4 {
		return Number{}, false
	}
	year, err := strconv.ParseUint(parts[1], 10, 14)
	id, err2 := strconv.ParseUint(parts[2], 10, 63)
	if err != nil || err2 != nil || id == 0 {
		return Number{}, false
	}
	return Number{Year: int(year), ID: int64(id)}, true
}

// Case is one case.
type Case struct {
	Number  Number
	Tenant  pay.TenantID // 0 when nobody knows whose money it is
	Payment pay.ID       // 0 when it is about none
	Kind    Kind
	State   string
	Owner   string
	Finding Finding
	// OpenedAt and Deadline; the others are the zero time until they happen.
	OpenedAt, Deadline                time.Time
	EscalatedAt, AnsweredAt, ClosedAt time.Time
	ClosedBy, Resolution              string
	// Notes in the order they were made; only where one case was asked for.
	Notes []Note
}

// Overdue reports whether somebody should have acted by now.
func (c *Case) Overdue(now time.Time) bool { return c.State == Open && now.After(c.Deadline) }

// Note is one line of a case's log.
type Note struct {
	At     time.Time `json:"at"`
	By     string    `json:"by" doc:"An API key, an operator, or moneta itself"`
	Action string    `json:"action" enum:"opened,again,noted,answered,assigned,escalated,closed"`
	Text   string    `json:"text,omitempty"`
	// ToHolder: the holder of the payment may read it.
	ToHolder bool   `json:"to_holder" doc:"The holder of the payment may read it"`
	URL      string `json:"url,omitempty" doc:"Evidence: where it is kept"`
	SHA256   string `json:"sha256,omitempty" doc:"Evidence: its hash, 64 hexadecimal digits"`
}

// Finding is what was known when a case was opened; it never changes.
type Finding struct {
	State     string     `json:"state,omitempty" doc:"Of the payment, at the opening"`
	Hop       string     `json:"hop,omitempty" doc:"Who had the payment then"`
	Channel   string     `json:"channel,omitempty"`
	Since     *time.Time `json:"since,omitempty" doc:"In that state since"`
	Deadline  *time.Time `json:"deadline,omitempty" doc:"When the payment should have left it"`
	NextAt    *time.Time `json:"next_at,omitempty" doc:"When its next automatic step was due"`
	CheckedAt *time.Time `json:"last_checked_at,omitempty" doc:"When the channel was last asked"`
	Checks    int32      `json:"checks,omitempty" doc:"How often the channel was asked in that state"`
	Reference string     `json:"reference,omitempty" doc:"Our reference at the channel"`
	// Cause is what is known of it, for colleagues.
	Cause string `json:"cause,omitempty" doc:"What is known of the cause; internal"`
	// Class and Origin name the row that it came from.
	Class  string `json:"class,omitempty" doc:"Class of the break"`
	Origin string `json:"origin,omitempty" doc:"The break or quarantined Fact" example:"break 12"`
	// Previous is the number of a closed case about the same.
	Previous string `json:"previous,omitempty" doc:"A case about the same that was closed while it still held"`
	// Urgent is why an appeal goes ahead of others.
	Urgent string `json:"urgent,omitempty" enum:"late,value" doc:"Why an appeal goes ahead of others: its payment is past its bound, or it is about much money"`
	// Told is the status that the holder saw, in each language.
	Told []status.Status `json:"told,omitempty" doc:"The payment's status at an appeal, in each language"`
	// Client is what the holder's device said of itself.
	Client map[string]string `json:"client,omitempty" doc:"What the holder's device said of itself at an appeal"`
}

// findingOf tells what p itself says.
func findingOf(p *pay.Payment) Finding {
	return Finding{
		State: p.State.String(), Hop: p.Hop(), Channel: p.Channel, Since: moment(p.EnteredAt), Deadline: moment(p.Deadline),
		NextAt: moment(p.NextAt), CheckedAt: moment(p.LastCheckedAt), Checks: p.Checks, Reference: p.Attempt.Reference,
		Cause: clip(p.Reason, detailMax),
	}
}

// moment returns nil for the zero time.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// clip shortens s to most bytes, and to what Postgres takes as text.
func clip(s string, most int) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s[:min(len(s), most)], ""), "\x00", "")
}
