// Package lever is the controls that hold a wallet back on purpose and let it go
// again: a catalogue of them as data, a pulled lever with its owner, reason, bounded
// expiry and undo, and the pure question what holds now for an aim. Asking costs a
// look at a small slice that never changes, and nothing at all while no lever holds.
//
// It refuses a lever without owner, reason or end, one that would limit what must
// never be refused (a channel's callbacks, the operators' own way back), and a banner
// that tells people to pay again. It pulls nothing itself and knows no clock: whoever
// asks says what time it is.
package lever

import (
	"crypto/rand"
	"encoding/base32"
	"strings"
	"time"
)

// Name names a lever of the catalogue.
type Name string

// The levers.
const (
	Limit         Name = "limit"
	PauseDispatch Name = "pause-dispatch"
	PauseIntake   Name = "pause-intake"
	ReadOnly      Name = "read-only"
	SafeMode      Name = "safe-mode"
	Bulkhead      Name = "bulkhead"
	Breaker       Name = "breaker"
	Banner        Name = "banner"
)

// Class is the rung of the ladder of reversibility: what may be done alone, and by
// whom, follows from it.
type Class uint8

// The rungs that levers stand on. R0 only looks. R1 is undone at once. R2 is undone
// with some effort, and takes somebody who may approve.
const (
	R0 Class = iota
	R1
	R2
)

// String returns R0, R1 or R2.
func (c Class) String() string { return "R" + string('0'+rune(c)) }

// Text is one sentence in the product's two languages.
type Text struct{ En, Zh string }

// Entry is what the catalogue says of one lever.
type Entry struct {
	Name  Name
	Does  Text
	Class Class
	// Aims are the dimensions that it can be aimed at.
	Aims []Dimension
	// Value is how its value is written; empty when it has none.
	Value Text
	// Local says that it can be pulled by a file on the node's own machine, while API
	// and database are gone.
	Local bool
}

// Catalogue lists the levers, the mildest first. The caller must not change it.
func Catalogue() []Entry { return catalogue }

var catalogue = []Entry{
	{
		Name: Banner, Class: R1, Aims: []Dimension{Everything, Channel, Tenant, Kind}, Local: true,
		Does:  Text{"Shows a text to the holders of open payments, in their status", "在未完成支付的状态中向持有人显示一段文字"},
		Value: Text{"the text in English; value_zh is the Chinese one", "英文文字;value_zh 为中文"},
	},
	{
		Name: Limit, Class: R1, Aims: []Dimension{Everything, Channel, Tenant, Key, Route, Account},
		Does:  Text{"Lets only so many requests through in a window, on each node", "在时间窗内只放行限定数量的请求,按节点计"},
		Value: Text{"quota and window, such as 600/1m", "配额与窗口,例如 600/1m"},
	},
	{
		Name: Bulkhead, Class: R1, Aims: []Dimension{Channel},
		Does:  Text{"Keeps at most so many calls to the channel under way at once", "限制同时进行的渠道调用数"},
		Value: Text{"calls at once, 1 or more; never more than the channel allows", "同时调用数,至少为 1;不会超过渠道上限"},
	},
	{
		Name: Breaker, Class: R1, Aims: []Dimension{Channel}, Local: true,
		Does: Text{"Holds the channel's breaker open: nothing new is sent there, and what was never sent goes on to the next channel of its route", "保持渠道熔断:不再向其发送,从未发送过的支付走路由中的下一渠道"},
	},
	{
		Name: PauseDispatch, Class: R1, Aims: []Dimension{Everything, Channel}, Local: true,
		Does: Text{"Sends nothing new out; what is out is asked for, callbacks are stored and settled", "不再发出新的指令;已发出的继续查询,回调照常存储并入账"},
	},
	{
		Name: PauseIntake, Class: R1, Aims: []Dimension{Everything, Channel, Tenant, Kind},
		Does: Text{"Refuses new payments, and says why and until when; known idempotency keys are answered", "拒绝新支付并说明原因与截止时间;已知幂等键照常应答"},
	},
	{
		Name: ReadOnly, Class: R2, Aims: []Dimension{Everything}, Local: true,
		Does: Text{"Refuses every write of callers and sends nothing new out; reads and known idempotency keys are answered, callbacks are stored and settled", "拒绝调用方的一切写入,不再发出新指令;查询与已知幂等键照常应答,回调照常存储并入账"},
	},
	{
		Name: SafeMode, Class: R2, Aims: []Dimension{Everything}, Local: true,
		Does:  Text{"Sends nothing new out and refuses new payments; callbacks are stored and acknowledged, queries and reconciliation go on", "不再发出新指令并拒绝新支付;回调照常存储并确认,查询与对账继续"},
		Value: Text{"empty, or intake=open to go on accepting", "留空,或 intake=open 以继续受理"},
	},
}

// Lookup returns the catalogue's entry.
func Lookup(n Name) (Entry, bool) {
	for _, e := range catalogue {
		if e.Name == n {
			return e, true
		}
	}
	return Entry{}, false
}

// ID names one pull of a lever; it is random, so that a pull by a file on one
// machine and its copy in the table are the same.
type ID [16]byte

const (
	idHead   = "lev_"
	idDigits = 26
)

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewID makes a fresh one.
func NewID() ID {
	var id ID
	_, _ = rand.Read(id[:]) // never fails: it ends the program instead
	return id
}

// String returns the id as people and the API write it.
func (id ID) String() string { return idHead + base32Lower.EncodeToString(id[:]) }

// MarshalText writes what String returns.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what String wrote.
func (id *ID) UnmarshalText(text []byte) error {
	got, err := ParseID(string(text))
	*id = got
	return err
}

// ParseID reads what String wrote; anything else is a *Refusal.
func ParseID(s string) (ID, error) {
	var id ID
	digits, ok := strings.CutPrefix(s, idHead)
	if !ok || len(digits) != idDigits {
		return id, refuse("id", "a lever's id is lev_ and 26 characters")
	}
	raw, err := base32Lower.DecodeString(digits)
	if err != nil || len(raw) != len(id) || base32Lower.EncodeToString(raw) != digits {
		return id, refuse("id", "a lever's id is lev_ and 26 characters")
	}
	return ID(raw), nil
}

// Via is how a pull or an undo came in.
type Via string

// The ways: through the API, or by a file on the machine of a node.
const (
	ViaAPI  Via = "api"
	ViaFile Via = "file"
)

// Pull is a lever that somebody pulled.
type Pull struct {
	ID    ID   `json:"id"`
	Lever Name `json:"lever"`
	Aim   Aim  `json:"aim"`
	// Value as the catalogue says; ValueZH is the Chinese text of a banner.
	Value   string `json:"value,omitempty"`
	ValueZH string `json:"value_zh,omitempty"`
	// Owner is who must see to it that it ends; Reason is shown to those whom it
	// refuses.
	Owner  string `json:"owner"`
	Reason string `json:"reason"`
	// By is who pulled it: a person, a key, or a user of the node's machine.
	By  string `json:"by"`
	Via Via    `json:"via"`
	// At is when it was pulled, Expires when it ends by itself.
	At      time.Time `json:"at"`
	Expires time.Time `json:"expires_at"`
	// UndoneAt is zero unless somebody ended it before.
	UndoneAt   time.Time `json:"undone_at,omitzero"`
	UndoneBy   string    `json:"undone_by,omitempty"`
	UndoReason string    `json:"undo_reason,omitempty"`
}

// Undo ends a pull before its time.
type Undo struct {
	ID     ID        `json:"id"`
	By     string    `json:"by"`
	Via    Via       `json:"via"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// Holds reports whether the pull holds at now. It ends by itself, whatever else is
// broken: an expiry asks nobody.
func (p *Pull) Holds(now time.Time) bool { return p.UndoneAt.IsZero() && now.Before(p.Expires) }

// Left is how long it still holds at now; 0 when it does not.
func (p *Pull) Left(now time.Time) time.Duration {
	if !p.Holds(now) {
		return 0
	}
	return p.Expires.Sub(now)
}

// Radius is what a lever would hold back if it were pulled now. Nil is not counted.
type Radius struct {
	// Open payments that would wait.
	Open *int64 `json:"open_payments"`
	// PerMinute is how many requests or payments a minute it would concern, by the last
	// minute.
	PerMinute *int64 `json:"per_minute"`
}

// Refusal says to those whom the pull holds back what holds, until when, and why.
func (p *Pull) Refusal() string {
	return string(p.Lever) + " (" + p.Aim.String() + ") until " + p.Expires.UTC().Format(time.RFC3339) + ": " + p.Reason
}
