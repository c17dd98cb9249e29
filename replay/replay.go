// Package replay drives any bank's transaction file through the HTTP API and
// compares the result with two outside truths: the balances that the bank
// recorded in the file, and the effects in the channels' own books. A
// declarative mapping says what the file's columns mean. The package knows no
// particular bank, shares no code with the payment plane, and refuses to
// guess: a row that the mapping does not explain is reported with its line and
// reason, never skipped in silence.
package replay

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/internal/clock"
)

// Defaults of Options. Each can be overridden by the caller.
const (
	// DefaultWorkers is how many accounts run at once. Enough to keep the
	// server's batches filled, few enough for one connection each.
	DefaultWorkers = 64
	// DefaultRetryFor bounds one call to the API including all its retries.
	// It must outlast a restart of the server with recovery.
	DefaultRetryFor = 2 * time.Minute
	// DefaultFinalWithin bounds the wait for one payment's final state.
	DefaultFinalWithin = 5 * time.Minute
	// DefaultProgressEvery is the pause between two progress reports.
	DefaultProgressEvery = 500 * time.Millisecond

	keyBytesMax = 255 // of an idempotency key
)

// Options says what to replay, against whom, and how hard.
type Options struct {
	Mapping *Mapping // required: what the columns mean
	Data    []string // required: CSV files, plain or gzip, read in this order

	API        string // required: base URL of the API, e.g. http://127.0.0.1:7070
	APIKey     string // required: bearer key that may create accounts and payments
	AdminKey   string // bearer key, same tenant, to open and pay from house accounts and to see totals; empty = APIKey
	SandboxURL string // base URL of the outside world; required when a row touches a bank

	Speed   int64 // rows per second over all accounts; 0 = as fast as answers come
	Workers int   // accounts in parallel; 0 = DefaultWorkers

	RetryFor    time.Duration // per call; 0 = DefaultRetryFor
	FinalWithin time.Duration // per payment; 0 = DefaultFinalWithin

	// Progress, if set, is called about every ProgressEvery and once at the
	// end of each stage, from one goroutine at a time. It must not block long.
	Progress      func(Progress)
	ProgressEvery time.Duration

	// Heal, if set, is called once when every row is sent and before anybody waits
	// for the last final answer: whoever broke something mends it there.
	Heal func(ctx context.Context) error
	// Settle, if set, is called once when nothing is open any more and before the
	// books are compared: it lets the server read the channels' statements.
	Settle func(ctx context.Context) error
	// Kills is how often the caller killed the server during the run. It is
	// asked once at the end, because the caller counts while the replay runs.
	Kills func() int64
	// AllowForeign tells that other traffic uses the same banks, so that
	// effects with an unknown remittance id are counted but are no mismatch.
	AllowForeign bool
	// Key makes the idempotency key of a row's nth attempt (from 0). Nil means
	// the row id on every attempt. Tests that switch idempotency off set it.
	Key func(rowID string, attempt int) string

	HTTPClient *http.Client // nil = a client with a pooled transport
	Clock      clock.Clock  // nil = the system's
}

// Stage names a part of the run, in the order in which they happen.
type Stage string

// The stages of a run.
const (
	StagePlan     Stage = "plan"     // reading the file
	StageAccounts Stage = "accounts" // creating accounts
	StagePayments Stage = "payments" // sending the rows
	StageFinal    Stage = "final"    // waiting until nothing is open
	StageBalances Stage = "balances" // comparing every account-day
	StageBooks    Stage = "books"    // comparing the outside books
)

// Progress is how far the current stage is.
type Progress struct {
	Stage     Stage
	Done      int64         // items of this stage done
	Total     int64         // items of this stage in all; 0 = not known
	PerSecond int64         // mean rate of this stage
	ETA       time.Duration // until this stage ends; 0 = not known
	Retries   int64         // calls that had to be repeated so far, all stages
	Failed    int64         // rows refused or failed so far
}

// Run replays the files and returns the report. Accounts and payments carry keys
// made from the mapping's name and the file's ids, so a replay that was cut
// short is completed by running it again on the same server.
//
// The error is non-nil when the run could not be carried out (a file that cannot
// be read, a mapping that does not fit, a server that never answered); a run
// that was carried out and found problems returns a report whose OK is false. A
// report may accompany an error when the run was cut short.
func Run(ctx context.Context, o Options) (*Report, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	started := o.Clock.Now()
	meter := startMeter(ctx, o)
	defer meter.stop()

	meter.stage(StagePlan, 0)
	plan, err := LoadPlan(o.Mapping, o.Data...)
	if err != nil {
		return nil, err
	}
	if len(plan.Accounts) == 0 {
		return nil, fmt.Errorf("replay: no row of %s fits the mapping %q; first reasons: %s",
			strings.Join(o.Data, ", "), o.Mapping.Name, plan.reasons(3))
	}
	if len(plan.Banks) > 0 && o.SandboxURL == "" {
		return nil, errors.New("replay: rows of this file touch banks, but no sandbox URL was given; pass the address of the outside world")
	}
	d := newDriver(o, plan, meter)
	return d.run(ctx, started)
}

func (o *Options) complete() error {
	if o.Mapping == nil {
		return errors.New("replay: no mapping; load one with LoadMapping")
	}
	if len(o.Data) == 0 {
		return errors.New("replay: no data file; give at least one CSV file")
	}
	for name, raw := range map[string]string{"API": o.API, "sandbox": o.SandboxURL} {
		if name == "sandbox" && raw == "" {
			continue
		}
		if u, err := url.Parse(raw); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			return fmt.Errorf("replay: %s address %q is not an http(s) URL", name, raw)
		}
	}
	if o.APIKey == "" {
		return errors.New("replay: no API key; create one with `moneta key create`")
	}
	if o.Speed < 0 || o.Workers < 0 {
		return errors.New("replay: speed and workers must not be negative")
	}
	o.API, o.SandboxURL = strings.TrimRight(o.API, "/"), strings.TrimRight(o.SandboxURL, "/")
	setDefault(&o.AdminKey, o.APIKey)
	setDefault(&o.Workers, DefaultWorkers)
	setDefault(&o.RetryFor, DefaultRetryFor)
	setDefault(&o.FinalWithin, DefaultFinalWithin)
	setDefault(&o.ProgressEvery, DefaultProgressEvery)
	if o.Clock == nil {
		o.Clock = clock.System
	}
	if o.Key == nil {
		o.Key = func(rowID string, _ int) string { return keyOf(rowID) }
	}
	if o.HTTPClient == nil {
		o.HTTPClient = pooledClient(o.Workers)
	}
	return nil
}

// keyOf makes an idempotency key of a text from the file: the text itself where
// a header can carry it, else its digest.
func keyOf(text string) string {
	plain := text != "" && text[0] != '"' && len(text) <= keyBytesMax
	for i := range len(text) {
		plain = plain && text[i] > ' ' && text[i] <= '~'
	}
	if plain {
		return text
	}
	return fmt.Sprintf("sha256-%x", sha256.Sum256([]byte(text)))
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
