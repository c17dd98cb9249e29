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
	PhasePGBench   = "baseline_pgbench"
	PhaseSameRows  = "baseline_same_rows"
	PhaseLedger    = "ledger"
	PhaseHot       = "ledger_hot"
	PhaseForwarded = "ledger_forwarded"
	PhaseSingle    = "api_single"
	PhaseBatch     = "api_batch"
	PhaseLatency   = "accept_latency"
	PhaseLifecycle = "lifecycle"
	PhaseEmpty     = "ledger_empty"
	PhaseFull      = "ledger_full"
)

// Floors that a release must hold on two quiet cores: those of the first release,
// raised by a fifth.
const (
	FloorLedger    = 24_000 // internal sends a second through the committer
	FloorSingle    = 6_000  // POST of one payment a second
	FloorBatch     = 18_000 // payments a second in batches of 100
	FloorLifecycle = 3_000  // payouts a second, accepted to succeeded
	CeilingAccept  = 20     // ms, p99 at half of the single peak
	FloorGrowth    = 0.9    // ledger_per_s with millions stored to none stored
	CeilingReads   = 50     // ms, p99 of the slowest kind of list or statement
	FloorGoodput   = 0.9    // accepted in time under ten times the load, to the peak
	CeilingRecover = 60     // s after a surge
	CeilingSoak    = 1.1    // resident memory late to early in a soak
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
	// PGBenchPerS is plain SQL by Postgres' own client, where one was named, and
	// PGBenchRatio the ledger's multiple of it. They are shown, not judged.
	PGBenchPerS  *float64 `json:"baseline_pgbench_per_s"`
	PGBenchRatio *float64 `json:"ledger_ratio_pgbench"`
	// SameRowsPerS is plain SQL that keeps what the wallet keeps of a send: key,
	// payment, transfer with both balances, transition. It is shown, not judged.
	SameRowsPerS  *float64 `json:"baseline_same_rows_per_s"`
	SameRowsRatio *float64 `json:"ledger_ratio_same_rows"`

	// Growth, Reads and Surge are what the profile "size" measures, Soak what "soak"
	// does; null where not measured. GrowthRatio is the median of the rounds' own
	// ratios, ReadsP99 that of the slowest kind, in ms, and GoodputRatio goodput over
	// the peak.
	GrowthRatio  *float64     `json:"growth_ratio"`
	ReadsP99     *float64     `json:"reads_p99_ms"`
	GoodputRatio *float64     `json:"goodput_ratio"`
	RecoveryS    *float64     `json:"recovery_s"`
	SoakRSSRatio *float64     `json:"soak_rss_ratio"`
	Growth       *Growth      `json:"growth,omitempty"`
	Reads        []ReadFigure `json:"reads,omitempty"`
	Surge        *Surge       `json:"surge,omitempty"`
	Soak         *Soak        `json:"soak,omitempty"`

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
	// Unserved is what a load was refused, or saw no end of in time. These are faults
	// too, but in the profile smoke: it runs wherever, and judges no speed.
	Unserved []string `json:"unserved"`
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
	r.LedgerRatio = r.ratio(PhaseBaseline, PhaseLedger, func(plain, led Round) float64 { return over(led.PerS, plain.PerS) })
	r.LedgerCPURatio = r.ratio(PhaseBaseline, PhaseLedger, func(plain, led Round) float64 { return over(plain.CPU, led.CPU) })
	r.PGBenchPerS = r.medianOf(PhasePGBench, perS)
	r.PGBenchRatio = r.ratio(PhasePGBench, PhaseLedger, func(plain, led Round) float64 { return over(led.PerS, plain.PerS) })
	r.SameRowsPerS = r.medianOf(PhaseSameRows, perS)
	r.SameRowsRatio = r.ratio(PhaseSameRows, PhaseLedger, func(plain, led Round) float64 { return over(led.PerS, plain.PerS) })
	r.finishSize()
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

// finishSize computes the figures of the profiles "size" and "soak".
func (r *Report) finishSize() {
	if r.Growth != nil {
		r.Growth.EmptyPerS, r.Growth.FullPerS = r.medianOf(PhaseEmpty, perS), r.medianOf(PhaseFull, perS)
		r.GrowthRatio = r.ratio(PhaseEmpty, PhaseFull, func(empty, full Round) float64 { return over(full.PerS, empty.PerS) })
	}
	for _, f := range r.Reads {
		if r.ReadsP99 == nil || f.Latency.P99 > *r.ReadsP99 {
			r.ReadsP99 = &f.Latency.P99
		}
	}
	if s := r.Surge; s != nil {
		v := rounded(over(s.GoodputPerS, s.PeakPerS))
		r.GoodputRatio, r.RecoveryS = &v, s.RecoveryS
	}
	if s := r.Soak; s != nil {
		v := s.growth()
		r.SoakRSSRatio = &v
		if r.Profile != smoke {
			r.Faults = append(r.Faults, s.leaks()...)
		}
	}
}

// ratio is the median of the ratios of the rounds, each of one phase's over that
// of another in the same round, which met the same noise.
func (r *Report) ratio(base, phase string, of func(base, phase Round) float64) *float64 {
	plain, led := r.rounds(base), r.rounds(phase)
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
		{Name: ledgerRatio, Value: r.LedgerRatio, Floor: FloorRatio},
	}
	size := []Floor{
		{Name: "growth_ratio", Value: r.GrowthRatio, Floor: FloorGrowth},
		{Name: "reads_p99_ms", Value: r.ReadsP99, Floor: CeilingReads, AtMost: true},
		{Name: "goodput_ratio", Value: r.GoodputRatio, Floor: FloorGoodput},
		{Name: "recovery_s", Value: r.RecoveryS, Floor: CeilingRecover, AtMost: true},
	}
	soak := Floor{Name: "soak_rss_ratio", Value: r.SoakRSSRatio, Floor: CeilingSoak, AtMost: true}
	switch r.Profile {
	case "size":
		r.Floors = size
	case "compare":
		r.Floors = []Floor{r.Floors[0], r.Floors[1], r.Floors[6]}
	case "soak":
		r.Floors = nil
	case smoke:
		r.Floors = append(r.Floors, size...)
	}
	if r.Profile == "soak" || r.Soak != nil {
		r.Floors = append(r.Floors, soak)
	}
	r.Missed = []string{}
	for i := range r.Floors {
		f := &r.Floors[i]
		f.Counts = r.counts(f.Name) && r.Profile != smoke
		f.OK = f.holds()
		if f.Counts && !f.OK {
			r.Missed = append(r.Missed, f.sentence())
		}
	}
	if r.Profile != smoke {
		r.Faults = append(r.Faults, r.Unserved...)
	}
	if r.Faults == nil {
		r.Faults = []string{}
	}
}

const ledgerRatio = "ledger_ratio"

// counts tells whether a figure means something on this machine. What compares two
// things that met the same noise does on any; how fast something is, on a quiet
// one; and the ledger's ratio stands in for the speeds on a noisy one.
func (r *Report) counts(figure string) bool {
	switch figure {
	case "growth_ratio", "goodput_ratio", "recovery_s", "soak_rss_ratio":
		return true
	}
	return r.Noisy == (figure == ledgerRatio)
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
