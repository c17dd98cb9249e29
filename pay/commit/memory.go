package commit

import (
	"time"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// How much the decider remembers beyond what is open. Each generation must hold
// more than two batches touch (2 × BatchMax facts, each with two accounts).
const (
	accountsRemembered = 250_000
	paymentsRemembered = 20_000
	keysRemembered     = 60_000
)

// ids are the last ids given out; they are stored with every batch.
type ids struct {
	account, payment, transfer, transition int64
}

// keyKind says what a key was used for.
type keyKind int16

const (
	keyPayment keyKind = iota + 1
	keyAccount
	keyRefusal
)

// keyEntry is how a key was answered the first time.
type keyEntry struct {
	fingerprint [16]byte
	kind        keyKind
	subject     int64
	refusal     *refusal // with keyRefusal
}

// refusal is the ledger's no as its caller saw it, to be repeated word for word.
type refusal struct {
	code                    fault.Code
	detail, param, resource string
}

func (r *refusal) fault() *fault.Error {
	return fault.New(r.code, r.detail).WithParam(r.param).WithResource(r.resource)
}

// systemKey finds a system account without building its name.
type systemKey struct {
	tenant  int32
	asset   money.Asset
	role    pay.Role
	channel string
}

// memory is the state of the shard as of the last batch decided. It is dropped
// whole whenever a batch fails: nothing may rest on what was not committed.
type memory struct {
	accounts *cache[ledger.AccountID, *ledger.Books]
	system   map[systemKey]*ledger.Books
	// systemByID finds the same accounts where a payment names one.
	systemByID map[ledger.AccountID]*ledger.Books
	open       map[pay.ID]*pay.Payment
	recent     *cache[pay.ID, *pay.Payment]
	keys       *cache[[16]byte, keyEntry]
	last       ids
	// closed is until when books are closed.
	closed map[bookKey]time.Time
}

func newMemory() *memory {
	return &memory{
		accounts:   newCache[ledger.AccountID, *ledger.Books](accountsRemembered),
		system:     make(map[systemKey]*ledger.Books),
		systemByID: make(map[ledger.AccountID]*ledger.Books),
		open:       make(map[pay.ID]*pay.Payment),
		recent:     newCache[pay.ID, *pay.Payment](paymentsRemembered),
		keys:       newCache[[16]byte, keyEntry](keysRemembered),
		closed:     make(map[bookKey]time.Time),
	}
}

func (m *memory) payment(id pay.ID) (*pay.Payment, bool) {
	if p, ok := m.open[id]; ok {
		return p, true
	}
	return m.recent.get(id)
}

// keep stores p where its state belongs.
func (m *memory) keep(p *pay.Payment) {
	if p.Open() {
		m.open[p.ID] = p
		return
	}
	delete(m.open, p.ID)
	m.recent.put(p.ID, p)
}

func (m *memory) keepSystem(k systemKey, b *ledger.Books) {
	m.system[k] = b
	m.systemByID[b.ID] = b
}

// systemNames are the roles that system accounts play, with the name of those
// that no channel has of its own. Names are the specification's, §6.3.
var systemNames = map[pay.Role]string{
	pay.ClearingOut: "", pay.ClearingIn: "", pay.Nostro: "",
	pay.FeeRevenue: "fee:rev", pay.FeeCost: "fee:cost", pay.Suspense: "susp:in", pay.Receivable: "recv:user",
	pay.Loss: "loss:ops", pay.CompensationExpense: "comp:exp",
}

func systemName(k systemKey) string {
	switch k.role {
	case pay.ClearingOut:
		return "clr:" + k.channel + ":out"
	case pay.ClearingIn:
		return "clr:" + k.channel + ":in"
	case pay.Nostro:
		return "nostro:" + k.channel
	case pay.FromAvailable, pay.FromHeld, pay.ToAvailable, pay.FeeRevenue, pay.FeeCost, pay.Suspense, pay.Receivable, pay.Loss, pay.CompensationExpense:
	}
	if name := systemNames[k.role]; name != "" {
		return name
	}
	panic("commit: no system account plays " + k.role.String())
}

// systemRole reads what systemName wrote.
func systemRole(name string) (pay.Role, string) {
	switch {
	case len(name) > 7 && name[:7] == "nostro:":
		return pay.Nostro, name[7:]
	case len(name) > 8 && name[:4] == "clr:" && name[len(name)-4:] == ":out":
		return pay.ClearingOut, name[4 : len(name)-4]
	case len(name) > 7 && name[:4] == "clr:" && name[len(name)-3:] == ":in":
		return pay.ClearingIn, name[4 : len(name)-3]
	}
	for role, n := range systemNames {
		if n == name {
			return role, ""
		}
	}
	return 0, ""
}
