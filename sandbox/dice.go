package sandbox

import (
	"hash/fnv"
	"time"
)

// purpose separates the draws for one event from each other, so that switching
// one behaviour does not change how another falls.
type purpose uint64

const (
	forLatency purpose = iota + 1
	forReplyDelay
	forHold
	forLoseBefore
	forLoseReply
	forError500
	forErrorHTML
	forDecline
	forExecuteDelay
	forCallbackAccepted
	forCallbackDelay
	forCallbackDuplicate
	forCallbackLose
	forCallbackForge
	forCallbackOrder
	forQueryError
	forStatementOmit
	forStatementDuplicate
	forStatementWrong
	forStatementPhantom
	forStatementNextDay
	forStatementTruncate
	forStatementStale
	forCallbackReplay
	forCallbackReencode
	forReplyLies
	forQueryLies
	forQueryOther
	forCallbackLies
	forCallbackContradict
	forGhost
	forCancelIgnored
	forConflict
	forRefundRefused
	forNoBankID
	forWrongScale
	forReturn
)

// dice draw from (seed, bank, event number, purpose) and hold no state: the
// same order of calls falls the same way, before and after a restart.
type dice struct{ seed uint64 }

func newDice(seed uint64, bank string) dice {
	h := fnv.New64a()
	_, _ = h.Write([]byte(bank)) // a hash takes everything
	return dice{seed: mix(seed ^ h.Sum64())}
}

// draw returns 64 even bits for event n and the purpose.
func (d dice) draw(n uint64, p purpose) uint64 {
	return mix(d.seed ^ mix(n<<8|uint64(p)))
}

// mix is the finaliser of splitmix64: every input bit reaches every output bit.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// falls reports whether the chance comes true for event n.
func (d dice) falls(c Chance, n uint64, p purpose) bool {
	return c > 0 && float64(d.draw(n, p)>>11)/(1<<53) < float64(c)
}

// delay draws a wait for event n.
func (d dice) delay(from Delay, n uint64, p purpose) time.Duration {
	if from.Max == 0 || !d.falls(from.Probability, n, p) {
		return 0
	}
	span := uint64(from.Max-from.Min) + 1
	ms := from.Min + int64(mix(d.draw(n, p))%span)
	return time.Duration(ms) * time.Millisecond
}
