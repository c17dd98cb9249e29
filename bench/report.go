package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"time"
)

// The phases, as the report names them.
const (
	PhaseBaseline  = "baseline_sql"
	PhaseSameRows  = "baseline_same_rows"
	PhaseLedger    = "ledger"
	PhaseHot       = "ledger_hot"
	PhaseForwarded = "ledger_forwarded"
	PhaseSingle    = "api_single"
	PhaseBatch     = "api_batch"
	PhaseLatency   = "accept_latency"
	PhaseLifecycle = "lifecycle"
)

// Floors that a release must hold on two quiet cores: those of the first release,
// raised by a fifth.
const (
	FloorLedger    = 24_000 // internal sends a second through the committer
	FloorSingle    = 6_000  // POST of one payment a second
	FloorBatch     = 18_000 // payments a second in batches of 100
	FloorLifecycle = 3_000  // payouts a second, accepted to succeeded
	CeilingAccept  = 20     // ms, p99 at half of the single peak
	FloorRatio     = 5      // ledger to plain SQL in the same run
	floorCores     = 2
	// quietShare is how much of the machine others may use before its absolute
	// figures stop being ours: a twentieth.
	quietShare = 0.05
)

// Setting is one setting of the database, as it answered.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Phase is the rounds of one kind of work.
type Phase struct {
	Name   string  `json:"name"`
	Rounds []Round `json:"rounds"`
}

// Floor is one judged figure.
type Floor struct {
	Name  string   `json:"name"`
	Value *float64 `json:"value"` // null: not measured
	// Floor that Value must reach; with AtMost, not exceed.
	Floor  float64 `json:"floor"`
	AtMost bool    `json:"at_most,omitempty"`
	// Counts tells whether it is judged on a machine such as this one.
	Counts bool `json:"counts"`
	OK     bool `json:"ok"`
}

// Report is what was measured. Rates are medians over the rounds, a second;
// null is a figure that was not measured.
type Report struct {
	Profile   string    `json:"profile"`
	Version   string    `json:"version"`
	Commit    string    `json:"commit"`
	StartedAt time.Time `json:"started_at"`
	TookS     float64   `json:"took_s"`
	Machine   Machine   `json:"machine"`

	LedgerPerS    *float64 `json:"ledger_per_s"`
	LedgerHotPerS *float64 `json:"ledger_hot_per_s"`
	// ForwardedPerS is ledger_per_s through a node that does not lead and sends
	// everything on to the one that does. It is shown, not judged.
	ForwardedPerS   *float64 `json:"ledger_forwarded_per_s"`
	APISinglePerS   *float64 `json:"api_single_per_s"`
	APIBatchPerS    *float64 `json:"api_batch_per_s"`
	LifecyclePerS   *float64 `json:"lifecycle_per_s"`
	AcceptP99       *float64 `json:"accept_p99_ms"`
	BaselineSQLPerS *float64 `json:"baseline_sql_per_s"`
	// LedgerRatio is ledger_per_s over baseline_sql_per_s: the median of the
	// rounds' own ratios, each of which met the same noise.
	LedgerRatio *float64 `json:"ledger_ratio"`

	// LedgerCPURatio is the processor time of one plain transfer over that of one
	// payment, generators included: what the ratio would be with both cores for
	// either. A busy machine shares its cores out by process, and plain SQL brings
	// dozens of them; this figure does not depend on that.
	LedgerCPURatio *float64 `json:"ledger_cpu_ratio"`
	// SameRowsPerS is plain SQL that keeps what the wallet keeps of a send: key,
	// payment, transfer with both balances, transition. It is shown, not judged.
	SameRowsPerS  *float64 `json:"baseline_same_rows_per_s"`
	SameRowsRatio *float64 `json:"ledger_ratio_same_rows"`

	FsyncPerS float64 `json:"fsync_per_s"`
	// The cost of one payment of the ledger phase.
	PgCPU  *float64 `json:"pg_cpu_us_per_payment"`
	WAL    *float64 `json:"wal_bytes_per_payment"`
	Stored *float64 `json:"table_index_bytes_per_payment"`
	// OthersCPUShare is the median over all rounds of what others used.
	OthersCPUShare float64 `json:"others_cpu_share"`
	// Noisy tells that the machine was not two quiet cores: the ratio counts
	// instead of the floors.
	Noisy bool `json:"noisy_machine"`

	// Lifecycle tells how long payouts took from accept to success, in ms.
	LifecycleLatency *Latency `json:"lifecycle_latency_ms,omitempty"`
	// AcceptRate is the fixed rate that accept_p99_ms was measured at, a second.
	AcceptRate float64 `json:"accept_rate_per_s,omitempty"`

	Generator           string    `json:"generator"`
	Baseline            string    `json:"baseline"`
	BaselineConnections int       `json:"baseline_connections"`
	Recounted           int64     `json:"payments_recounted"`
	Floors              []Floor   `json:"floors"`
	Phases              []Phase   `json:"phases"`
	Settings            []Setting `json:"settings"`
	// Faults are books that do not add up, lost or failed payments, and phases
	// that did not finish; they count on every machine.
	Faults []string `json:"faults"`
	// Missed are the floors that count and did not hold.
	Missed []string `json:"missed"`
}

func (r *Report) add(phase string, round Round) {
	for i := range r.Phases {
		if r.Phases[i].Name == phase {
			r.Phases[i].Rounds = append(r.Phases[i].Rounds, round)
			return
		}
	}
	r.Phases = append(r.Phases, Phase{phase, []Round{round}})
}

func (r *Report) rounds(phase string) []Round {
	for _, p := range r.Phases {
		if p.Name == phase {
			return p.Rounds
		}
	}
	return nil
}

// medianOf is the median over a phase's rounds; nil without rounds.
func (r *Report) medianOf(phase string, figure func(Round) float64) *float64 {
	var all []float64
	for _, round := range r.rounds(phase) {
		all = append(all, figure(round))
	}
	return median(all)
}

func median(all []float64) *float64 {
	if len(all) == 0 {
		return nil
	}
	all = slices.Sorted(slices.Values(all))
	m := rounded((all[(len(all)-1)/2] + all[len(all)/2]) / 2)
	return &m
}

func perS(r Round) float64 { return r.PerS }

// finish computes the medians and judges them.
func (r *Report) finish(took time.Duration) {
	r.TookS = rounded(took.Seconds())
	r.BaselineSQLPerS = r.medianOf(PhaseBaseline, perS)
	r.LedgerPerS = r.medianOf(PhaseLedger, perS)
	r.LedgerHotPerS = r.medianOf(PhaseHot, perS)
	r.ForwardedPerS = r.medianOf(PhaseForwarded, perS)
	r.APISinglePerS = r.medianOf(PhaseSingle, perS)
	r.APIBatchPerS = r.medianOf(PhaseBatch, perS)
	r.LifecyclePerS = r.medianOf(PhaseLifecycle, perS)
	r.AcceptP99 = r.medianOf(PhaseLatency, func(v Round) float64 { return v.Latency.P99 })
	r.LifecycleLatency = r.medianLatency(PhaseLifecycle)
	r.PgCPU = r.medianOf(PhaseLedger, func(v Round) float64 { return v.PgCPU })
	r.WAL = r.medianOf(PhaseLedger, func(v Round) float64 { return v.WAL })
	r.Stored = r.medianOf(PhaseLedger, func(v Round) float64 { return v.Stored })
	r.LedgerRatio = r.ratio(PhaseBaseline, func(plain, led Round) float64 { return over(led.PerS, plain.PerS) })
	r.LedgerCPURatio = r.ratio(PhaseBaseline, func(plain, led Round) float64 { return over(plain.CPU, led.CPU) })
	r.SameRowsPerS = r.medianOf(PhaseSameRows, perS)
	r.SameRowsRatio = r.ratio(PhaseSameRows, func(plain, led Round) float64 { return over(led.PerS, plain.PerS) })
	var others []float64
	for _, p := range r.Phases {
		for _, round := range p.Rounds {
			others = append(others, round.Others)
		}
	}
	if m := median(others); m != nil {
		r.OthersCPUShare = *m
	}
	r.Noisy = r.OthersCPUShare > quietShare || r.Machine.Cores < floorCores
	r.judge()
}

func (r *Report) medianLatency(phase string) *Latency {
	if rounds := r.rounds(phase); len(rounds) == 0 || rounds[0].Latency == nil {
		return nil
	}
	pick := func(f func(*Latency) float64) float64 {
		return *r.medianOf(phase, func(v Round) float64 { return f(v.Latency) })
	}
	return &Latency{
		P50: pick(func(l *Latency) float64 { return l.P50 }), P90: pick(func(l *Latency) float64 { return l.P90 }),
		P99: pick(func(l *Latency) float64 { return l.P99 }), Max: pick(func(l *Latency) float64 { return l.Max }),
	}
}

// ratio is the median of the ratios of the rounds, each of the ledger's over that
// of a baseline in the same round.
func (r *Report) ratio(baseline string, of func(plain, led Round) float64) *float64 {
	plain, led := r.rounds(baseline), r.rounds(PhaseLedger)
	var all []float64
	for i := range min(len(plain), len(led)) {
		all = append(all, of(plain[i], led[i]))
	}
	return median(all)
}

func over(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// judge holds the figures against the floors.
func (r *Report) judge() {
	hot := Floor{Name: "ledger_hot_per_s", Value: r.LedgerHotPerS}
	if r.LedgerPerS != nil {
		hot.Floor = *r.LedgerPerS
	}
	r.Floors = []Floor{
		{Name: "ledger_per_s", Value: r.LedgerPerS, Floor: FloorLedger},
		hot,
		{Name: "api_single_per_s", Value: r.APISinglePerS, Floor: FloorSingle},
		{Name: "api_batch_per_s", Value: r.APIBatchPerS, Floor: FloorBatch},
		{Name: "lifecycle_per_s", Value: r.LifecyclePerS, Floor: FloorLifecycle},
		{Name: "accept_p99_ms", Value: r.AcceptP99, Floor: CeilingAccept, AtMost: true},
		{Name: "ledger_ratio", Value: r.LedgerRatio, Floor: FloorRatio},
	}
	r.Missed = []string{}
	for i := range r.Floors {
		f := &r.Floors[i]
		f.Counts = r.Noisy == (f.Name == "ledger_ratio") && r.Profile != smoke
		f.OK = f.holds()
		if f.Counts && !f.OK {
			r.Missed = append(r.Missed, f.sentence())
		}
	}
	if r.Faults == nil {
		r.Faults = []string{}
	}
}

func (f *Floor) holds() bool {
	switch {
	case f.Value == nil:
		return false
	case f.AtMost:
		return *f.Value <= f.Floor
	}
	return *f.Value >= f.Floor
}

func (f *Floor) sentence() string {
	bound := "at least"
	if f.AtMost {
		bound = "at most"
	}
	if f.Value == nil {
		return fmt.Sprintf("%s was not measured; it must be %s %s", f.Name, bound, shown(f.Floor))
	}
	return fmt.Sprintf("%s is %s; it must be %s %s", f.Name, shown(*f.Value), bound, shown(f.Floor))
}

// Problems returns what is wrong, worst first; empty when the run passed.
func (r *Report) Problems() []string { return slices.Concat(r.Faults, r.Missed) }

// WriteJSON writes the report for machines.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(r); err != nil {
		return fmt.Errorf("bench: write report: %w", err)
	}
	return nil
}

// rounded keeps three places: more would be noise.
func rounded(v float64) float64 { return math.Round(v*1000) / 1000 }
