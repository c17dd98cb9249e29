package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/moneta-pay/moneta/fault"
)

// ApprovalID names an approval; it is random, so that no signature for one is good
// for another, on this installation or on any.
type ApprovalID [16]byte

const approvalHead = "apr_"

// String returns the id as people and the API write it.
func (id ApprovalID) String() string { return approvalHead + base32Lower.EncodeToString(id[:]) }

// ParseApprovalID reads what String wrote.
func ParseApprovalID(s string) (ApprovalID, error) {
	var id ApprovalID
	digits, ok := strings.CutPrefix(s, approvalHead)
	raw, err := base32Lower.DecodeString(digits)
	if !ok || err != nil || len(raw) != len(id) || base32Lower.EncodeToString(raw) != digits {
		return id, fault.New(fault.NotFound, "an approval's id is apr_ and 26 characters")
	}
	return ApprovalID(raw), nil
}

// UUIDValue writes the id to the database.
func (id ApprovalID) UUIDValue() (pgtype.UUID, error) {
	return pgtype.UUID{Bytes: id, Valid: true}, nil
}

// ScanUUID reads the id from the database.
func (id *ApprovalID) ScanUUID(v pgtype.UUID) error {
	*id = v.Bytes
	return nil
}

func newApprovalID() ApprovalID {
	var id ApprovalID
	_, _ = rand.Read(id[:]) // never fails: it ends the program instead
	return id
}

// Parameters of an action: a flat object of texts; amounts and times are texts too.
type Parameters map[string]string

// Bounds of what an action may say.
const (
	parametersMax = 16
	parameterMax  = 4 << 10 // bytes
	reasonMax     = 500     // bytes
)

// Action is what two people agree on, every part of it.
type Action struct {
	ID         ApprovalID
	Tenant     int32
	Kind       string
	Parameters Parameters
	Reason     string
	Maker      string
	// MadeAt is when it was proposed, by the database's clock, which keeps it as it is.
	// Its maker does not know it yet, so the hash does not cover it.
	MadeAt time.Time
	// ExpiresAt is in whole seconds: from then on nobody may approve or use it.
	ExpiresAt time.Time
}

// Canonical returns the one way to write the action: JSON as RFC 8785 has it,
// members sorted, no spaces.
func (a *Action) Canonical() []byte {
	b := append(make([]byte, 0, 512), `{"approval":`...)
	b = appendText(b, a.ID.String())
	b = appendText(append(b, `,"expires_at":`...), a.ExpiresAt.UTC().Format(time.RFC3339))
	b = appendText(append(b, `,"kind":`...), a.Kind)
	b = appendText(append(b, `,"maker":`...), a.Maker)
	b = a.Parameters.append(append(b, `,"parameters":`...))
	b = appendText(append(b, `,"reason":`...), a.Reason)
	b = strconv.AppendInt(append(b, `,"tenant":`...), int64(a.Tenant), 10)
	return append(b, `,"v":1}`...)
}

// Hash is SHA-256 of the canonical form: what the checker's signature binds.
func (a *Action) Hash() [sha256.Size]byte { return sha256.Sum256(a.Canonical()) }

// append writes the parameters canonically. Names are ASCII, so that their bytes
// sort as RFC 8785 wants.
func (p Parameters) append(b []byte) []byte {
	b = append(b, '{')
	for i, name := range p.Names() {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendText(b, name), ':')
		b = appendText(b, p[name])
	}
	return append(b, '}')
}

// Names returns the names, sorted.
func (p Parameters) Names() []string { return slices.Sorted(maps.Keys(p)) }

// Canonical returns the one way to write the parameters.
func (p Parameters) Canonical() string { return string(p.append(nil)) }

// parseParameters reads what Canonical wrote, and refuses the same in other bytes.
func parseParameters(text string) (Parameters, error) {
	var p Parameters
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return nil, fmt.Errorf("parameters: %w", err)
	}
	if p.Canonical() != text {
		return nil, fmt.Errorf("parameters are not in their canonical form")
	}
	return p, nil
}

// appendText writes a JSON string as RFC 8785 §3.2.2.2 has it.
func appendText(b []byte, s string) []byte {
	const hexDigits = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= ' ':
			b = append(b, c)
		case c == '\b':
			b = append(b, `\b`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\f':
			b = append(b, `\f`...)
		case c == '\r':
			b = append(b, `\r`...)
		default:
			b = append(b, `\u00`...)
			b = append(b, hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(b, '"')
}

// readable reports whether people see all of a text: no control characters but the
// line feed, and none of the invisible ones that can turn a line around.
func readable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r != '\n' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			return false
		}
	}
	return true
}

// CheckStatement is what a checker signs: the decision about this approval with
// exactly this action.
func CheckStatement(id ApprovalID, hash [sha256.Size]byte) []byte {
	return []byte("moneta-approve/1\n" + id.String() + "\n" + hex.EncodeToString(hash[:]) + "\n")
}

// Kind is one sort of action that two people can agree on. Exactly one of Apply
// and Perform is set.
type Kind struct {
	Name string
	// Members are the parameters, in the order in which people read them.
	Members []Member
	// Least is the role that may propose it; Operate when empty.
	Least Role
	// Installation says that it concerns every tenant: only the people of the
	// installation's tenant agree on it.
	Installation bool
	// Service says that only a machine proposes it, and that two people agree then.
	Service bool
	// Check refuses parameters that can never be carried out; nil when the members
	// say it all. It is asked at the proposal and once more before the act.
	Check func(ctx context.Context, a *Action) error
	// Describe says in plain words what will happen.
	Describe func(a *Action) fault.Text
	// Moves says what it would post as things are now, and refuses what would be refused
	// now; nil when it moves no money, or when only the deed can tell.
	Moves func(ctx context.Context, a *Action) ([]Movement, error)
	// Apply changes our own tables within the transaction that uses the approval up.
	Apply func(ctx context.Context, tx pgx.Tx, a *Action) (result string, err error)
	// Perform acts through the decider, with key as the Fact's idempotency key: after
	// a crash it is called again with the same key and must then find what it did.
	// An error that promises fault.NotMoved and no use in a retry is the final
	// answer; one that promises it and asks to wait leaves the action approved, for
	// people to repeat; after any other one it is called again.
	Perform func(ctx context.Context, a *Action, key [16]byte) (result string, err error)
}

// Movement is one posting that an action would make: amount, in smallest units, leaves
// Debit and reaches Credit. A side has the account's id where it is a holder's.
type Movement struct {
	Debit, Credit Side
	Amount, Asset string
}

// Side is one end of a Movement: its role as the books name it.
type Side struct{ Role, Account string }

// Member is one parameter of a kind.
type Member struct {
	Name     string
	Optional bool
	// Max bounds its bytes; 200 when zero.
	Max int
}

const memberMax = 200

// check holds the parameters against the kind's members.
func (k *Kind) check(p Parameters) error {
	if len(p) > parametersMax {
		return fault.New(fault.MalformedRequest, "too many parameters").WithParam("/parameters")
	}
	for name := range p {
		if !slices.ContainsFunc(k.Members, func(m Member) bool { return m.Name == name }) {
			return fault.New(fault.UnknownField, k.Name+" has no such parameter; it has "+k.names()).WithParam("/parameters/" + clip(name))
		}
	}
	for _, m := range k.Members {
		v, given := p[m.Name]
		most := min(m.Max, parameterMax)
		if most == 0 {
			most = memberMax
		}
		switch at := "/parameters/" + m.Name; {
		case !given && m.Optional:
		case v == "":
			return fault.New(fault.MalformedRequest, "this parameter is missing").WithParam(at)
		case len(v) > most:
			return fault.New(fault.MalformedRequest, fmt.Sprintf("at most %d bytes", most)).WithParam(at)
		case !readable(v):
			return fault.New(fault.MalformedRequest, "characters that people cannot see are refused").WithParam(at)
		}
	}
	return nil
}

func (k *Kind) names() string {
	var names []string
	for _, m := range k.Members {
		names = append(names, m.Name)
	}
	return strings.Join(names, ", ")
}
