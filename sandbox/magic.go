package sandbox

import "github.com/moneta-pay/moneta/money"

// MagicAmount is an exact amount that decides a payment's fate, in any asset,
// while the bank's behaviour has magic_amounts on.
type MagicAmount struct {
	// Amount in minor units.
	Amount int64
	// Effect says what happens.
	Effect string
	// Lie says that the bank breaks its own contract: no wallet can end rightly by
	// the bank's word alone, only find the contradiction.
	Lie bool

	apply func(*Behaviour)
}

// magicDelayMS is the wait of the magic amounts that delay something.
const magicDelayMS = 5000

// MagicAmounts lists them: 1,000,000,001 minor units and up, chosen where real
// data does not reach. They hold for payments out.
func MagicAmounts() []MagicAmount { return append([]MagicAmount(nil), magicTable...) }

var magicTable = []MagicAmount{
	{1_000_000_001, "declined in the reply: insufficient_funds", false, func(b *Behaviour) {
		b.Decline = Refusal{Probability: 1, Reason: "insufficient_funds"}
	}},
	{1_000_000_002, "accepted, then declined by callback: account_closed", false, func(b *Behaviour) {
		b.Decline = Refusal{Probability: 1, Reason: "account_closed", Late: true}
	}},
	{1_000_000_003, "request lost: never executed, connection closed", false, func(b *Behaviour) { b.LoseBefore = 1 }},
	{1_000_000_004, "reply lost: executed, connection closed", false, func(b *Behaviour) { b.LoseReply = 1 }},
	{1_000_000_005, "500, not executed", false, func(b *Behaviour) { b.Error500 = Failure{1, false, 500} }},
	{1_000_000_006, "500, executed", false, func(b *Behaviour) { b.Error500 = Failure{1, true, 500} }},
	{1_000_000_007, "502 with an HTML page, not executed", false, func(b *Behaviour) { b.ErrorHTML = Failure{1, false, 502} }},
	{1_000_000_008, "200 with an HTML page, executed", false, func(b *Behaviour) { b.ErrorHTML = Failure{1, true, 200} }},
	{1_000_000_009, "executed, callback lost", false, func(b *Behaviour) { b.CallbackLose = 1 }},
	{1_000_000_010, "executed, callback sent twice", false, func(b *Behaviour) { b.CallbackDuplicate = 1 }},
	{1_000_000_011, "executed, callbacks out of order: executed before accepted", false, func(b *Behaviour) {
		b.CallbackOutOfOrder = 1
	}},
	{1_000_000_012, "executed, a forged callback comes first", false, func(b *Behaviour) { b.CallbackForge = 1 }},
	{1_000_000_013, "executed, callback 5 s late", false, func(b *Behaviour) {
		b.CallbackDelay = Delay{1, magicDelayMS, magicDelayMS}
	}},
	{1_000_000_014, "accepted, executed 5 s later", false, func(b *Behaviour) {
		b.ExecuteDelay = Delay{1, magicDelayMS, magicDelayMS}
	}},
	{1_000_000_015, "executed, the statement omits it", false, func(b *Behaviour) { b.StatementOmit = 1 }},
	{1_000_000_016, "executed, the statement repeats its line", false, func(b *Behaviour) { b.StatementDuplicate = 1 }},
	{1_000_000_017, "executed, the statement's amount is 1 too high", false, func(b *Behaviour) { b.StatementWrongAmount = 1 }},
	{1_000_000_018, "declined in the reply, and executed: the callback says so", true, func(b *Behaviour) { b.ReplyLies = 1 }},
	{1_000_000_019, "executed, a callback that says declined follows", true, func(b *Behaviour) { b.CallbackContradict = 1 }},
	{1_000_000_020, "executed, and returned 5 s later: AC04", false, func(b *Behaviour) {
		b.Return = Return{1, magicDelayMS, magicDelayMS, "AC04"}
	}},
	{1_000_000_021, "connection closed, invisible, executed 5 s later", true, func(b *Behaviour) {
		b.Ghost = Delay{1, magicDelayMS, magicDelayMS}
	}},
	{1_000_000_022, "accepted, executed 20 s later", false, func(b *Behaviour) {
		b.ExecuteDelay = Delay{1, 4 * magicDelayMS, 4 * magicDelayMS}
	}},
}

// faultless switches off every fault that a magic amount does not ask for, so
// that partners' tests do not depend on what a drill left switched on.
func (b *Behaviour) faultless() Behaviour {
	clean := DefaultBehaviour()
	clean.Dedup, clean.Fee, clean.Latency = b.Dedup, b.Fee, b.Latency
	clean.QueryLag, clean.CallbackRetry = b.QueryLag, b.CallbackRetry
	clean.ClockSkew, clean.CutOff, clean.TimeZone, clean.CallbackSecret = b.ClockSkew, b.CutOff, b.TimeZone, b.CallbackSecret
	return clean
}

// forAmount returns the behaviour towards a payment of this amount.
func (b *Behaviour) forAmount(amount money.Amount) *Behaviour {
	minor, fits := amount.Int64()
	if !b.MagicAmounts || !fits || minor <= 1_000_000_000 {
		return b
	}
	for _, magic := range magicTable {
		if magic.Amount == minor {
			clean := b.faultless()
			magic.apply(&clean)
			return &clean
		}
	}
	return b
}
