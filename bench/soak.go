package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// soakSamples is how many samples a soak of any length takes, but at most one a
	// second.
	soakSamples = 600
	// soakSingles, soakPayouts and soakReads are the steady load, a second: far below
	// the peak, so that what grows grows with time and not with a queue.
	soakSingles, soakPayouts = 400, 100
	soakReaders              = 2
)

// Soak is what serve held while it worked steadily for long.
type Soak struct {
	Seconds  float64 `json:"seconds"`
	Payments int64   `json:"payments"`
	Samples  int     `json:"samples"`
	// RSS is resident memory in MB: medians of the second and of the last quarter,
	// the most, and the slope of the line through the last three quarters.
	RSSEarly float64 `json:"rss_early_mb"`
	RSSLate  float64 `json:"rss_late_mb"`
	RSSMost  float64 `json:"rss_most_mb"`
	RSSSlope float64 `json:"rss_mb_per_hour"`
	// Heap is what the garbage collector kept, in MB, of the same quarters: memory
	// that is resident and unused does not show in it.
	HeapEarly float64 `json:"heap_early_mb"`
	HeapLate  float64 `json:"heap_late_mb"`
	// Goroutines and open files, medians of the same quarters.
	GoroutinesEarly float64 `json:"goroutines_early"`
	GoroutinesLate  float64 `json:"goroutines_late"`
	FilesEarly      float64 `json:"open_files_early"`
	FilesLate       float64 `json:"open_files_late"`
	// P99Early and P99Late are ms of single sends, in the same quarters.
	P99Early float64 `json:"p99_early_ms"`
	P99Late  float64 `json:"p99_late_ms"`
}

// sample is serve at one moment.
type sample struct {
	at                           time.Duration
	rss, heap, goroutines, files float64
}

// soakPhases keeps serve under a steady load of sends, payouts and reads.
func (r *run) soakPhases(ctx context.Context) error {
	return r.withPlane(ctx, func(p *plane) error {
		if err := p.soak(ctx); err != nil {
			return err
		}
		if err := p.drain(ctx); err != nil {
			return err
		}
		if err := p.outsideBooks(ctx); err != nil {
			return err
		}
		return p.check(ctx, "soak", true)
	})
}

func (p *plane) soak(ctx context.Context) error {
	during := p.profile.soak
	p.say("soak: %d sends and %d payouts a second, and reads, for %s", soakSingles, soakPayouts, during)
	type answer struct {
		res loadResult
		err error
	}
	w := newWire(p.api, p.key)
	accounts, err := p.ids(ctx, w, "/v1/accounts?limit=50")
	w.close()
	if err != nil {
		return err
	}
	plans := []loadJob{
		{HTTP: &loadPlan{Connections: 16, Batch: 1, Rate: soakSingles, Windows: true}},
		{HTTP: &loadPlan{Connections: 16, Batch: 1, Rate: soakPayouts, Channels: lifeChannels()}},
		{Reads: &readsPlan{Address: p.api, Key: p.key, Connections: soakReaders, Follow: readFollow, Paths: soakPaths(accounts)}},
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan answer, len(plans))
	for i, job := range plans {
		if job.HTTP != nil {
			job.HTTP.For = during
			p.address(job.HTTP)
		} else {
			job.Reads.For = during
		}
		path, err := p.plan("load", job)
		if err != nil {
			return err
		}
		go func() {
			res, err := p.generatePlanned(ctx, path, during)
			if err == nil && job.HTTP != nil {
				p.keep("soak", *plans[i].HTTP, res)
			}
			answers <- answer{res, err}
		}()
	}
	s := &Soak{Seconds: during.Seconds()}
	samples, err := p.sampleServe(ctx, during)
	var errs []error
	for range plans {
		a := <-answers
		errs = append(errs, a.err)
		if len(a.res.Windows) > 0 {
			s.P99Early, s.P99Late = quartersP99(a.res.Windows)
		}
	}
	if err := errors.Join(append(errs, err)...); err != nil {
		return fmt.Errorf("soak: %w", err)
	}
	s.Payments = p.told.payments
	s.note(samples)
	p.report.Soak = s
	p.say("soak: resident %.0f MB, then %.0f MB, %+.1f MB an hour", s.RSSEarly, s.RSSLate, s.RSSSlope)
	return nil
}

func soakPaths(accounts []string) []string {
	paths := []string{"/v1/payments?limit=20"}
	for _, id := range accounts {
		paths = append(paths, "/v1/accounts/"+id+"/balances", "/v1/accounts/"+id+"/statement?limit=20")
	}
	return paths
}

// sampleServe looks at serve while the load runs.
func (p *plane) sampleServe(ctx context.Context, during time.Duration) ([]sample, error) {
	every := max(during/soakSamples, min(time.Second, during/20))
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	w := newWire(p.api, p.key)
	defer w.close()
	var all []sample
	said := time.Now()
	for began := time.Now(); time.Since(began) < during; {
		select {
		case <-ctx.Done():
			return all, ctx.Err()
		case <-ticker.C:
		}
		v, err := p.look(ctx, w)
		if err != nil {
			return all, err
		}
		v.at = time.Since(began)
		all = append(all, v)
		if time.Since(said) > time.Minute {
			said = time.Now()
			p.say("soak: %.0f of %.0f s, resident %.0f MB, heap %.0f MB, %.0f goroutines, %.0f files",
				v.at.Seconds(), during.Seconds(), v.rss, v.heap, v.goroutines, v.files)
		}
	}
	return all, nil
}

// look takes one sample: what the kernel says about the process, and what the
// process says about itself.
func (p *plane) look(ctx context.Context, w *wire) (v sample, err error) {
	pid := strconv.Itoa(p.serve.Pid())
	kb, _, _ := strings.Cut(valueIn("/proc/"+pid+"/status", "VmRSS"), " ")
	if v.rss, err = strconv.ParseFloat(kb, 64); err != nil {
		return v, fmt.Errorf("read the memory of process %s: %w", pid, err)
	}
	v.rss = rounded(v.rss / 1024)
	files, err := os.ReadDir("/proc/" + pid + "/fd")
	if err != nil {
		return v, fmt.Errorf("count open files: %w", err)
	}
	v.files = float64(len(files))
	status, answer, err := w.request(ctx, "GET", "/metrics", "", nil)
	if err != nil || status != 200 {
		return v, fmt.Errorf("read the metrics: %d %w", status, err)
	}
	v.goroutines = metricIn(answer, "go_goroutines")
	v.heap = rounded(metricIn(answer, "go_memstats_heap_alloc_bytes") / (1 << 20))
	return v, nil
}

// metricIn finds the value of a metric without labels; 0 when there is none.
func metricIn(text []byte, name string) float64 {
	for line := range bytes.Lines(text) {
		rest, found := bytes.CutPrefix(line, []byte(name+" "))
		if !found {
			continue
		}
		if v, err := strconv.ParseFloat(string(bytes.TrimSpace(rest)), 64); err == nil {
			return v
		}
	}
	return 0
}

func (s *Soak) note(samples []sample) {
	s.Samples = len(samples)
	early, late := quarters(samples)
	mid := func(of func(sample) float64) (float64, float64) { return medianBy(early, of), medianBy(late, of) }
	rss := func(v sample) float64 { return v.rss }
	s.RSSEarly, s.RSSLate = mid(rss)
	s.HeapEarly, s.HeapLate = mid(func(v sample) float64 { return v.heap })
	s.GoroutinesEarly, s.GoroutinesLate = mid(func(v sample) float64 { return v.goroutines })
	s.FilesEarly, s.FilesLate = mid(func(v sample) float64 { return v.files })
	for _, v := range samples {
		s.RSSMost = max(s.RSSMost, v.rss)
	}
	s.RSSSlope = rounded(slope(samples[len(samples)/4:], rss))
}

// quarters are the second and the last: the first warms up.
func quarters[T any](all []T) (early, late []T) {
	return all[len(all)/4 : len(all)/2], all[len(all)*3/4:]
}

func medianBy[T any](all []T, of func(T) float64) float64 {
	var values []float64
	for _, v := range all {
		values = append(values, of(v))
	}
	if m := median(values); m != nil {
		return *m
	}
	return 0
}

func quartersP99(windows []window) (early, late float64) {
	a, b := quarters(windows)
	p99 := func(w window) float64 { return w.P99 }
	return medianBy(a, p99), medianBy(b, p99)
}

// slope is that of the least-squares line through the samples, an hour.
func slope(samples []sample, of func(sample) float64) float64 {
	n := float64(len(samples))
	var x, y, xx, xy float64
	for _, v := range samples {
		h := v.at.Hours()
		x, y, xx, xy = x+h, y+of(v), xx+h*h, xy+h*of(v)
	}
	return over(n*xy-x*y, n*xx-x*x)
}

// growth of resident memory from the second to the last quarter, as a factor.
func (s *Soak) growth() float64 { return rounded(over(s.RSSLate, s.RSSEarly)) }

// leaks says what else grew: goroutines and files, beyond a tenth and a few.
func (s *Soak) leaks() []string {
	const few = 20
	var found []string
	for _, v := range []struct {
		name        string
		early, late float64
	}{{"goroutines", s.GoroutinesEarly, s.GoroutinesLate}, {"open files", s.FilesEarly, s.FilesLate}} {
		if v.late > 1.1*v.early+few {
			found = append(found, fmt.Sprintf("soak: %s grew from %.0f to %.0f", v.name, v.early, v.late))
		}
	}
	return found
}

func lifeChannels() []string {
	var names []string
	for _, bank := range lifeBanks {
		names = append(names, "bank-"+bank)
	}
	return slices.Clip(names)
}
