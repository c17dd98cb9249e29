package api_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/api"
	"github.com/moneta-pay/moneta/internal/pgtest"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
	"github.com/moneta-pay/moneta/pay/intake"
	"github.com/moneta-pay/moneta/pay/ledger"
)

// instant accepts everything at once: what is left is the edge.
type instant struct{ last atomic.Int64 }

func (s *instant) Submit(_ context.Context, f commit.Fact) (commit.Result, error) {
	p := *f.Payment.New
	p.ID, p.State, p.EnteredAt = pay.ID(s.last.Add(1)), pay.Succeeded, time.Now()
	return commit.Result{Payment: p}, nil
}

func (s *instant) SubmitAll(ctx context.Context, facts []commit.Fact) []commit.Outcome {
	out := make([]commit.Outcome, len(facts))
	for i := range facts {
		out[i].Result, out[i].Err = s.Submit(ctx, facts[i])
	}
	return out
}

type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (n *nowhere) WriteHeader(status int) {
	if status >= 400 {
		panic(status)
	}
}

func edge(b *testing.B) (http.Handler, string) {
	b.Helper()
	pool := pgtest.Database(b)
	store := access.NewStore(pool)
	tenant, err := store.CreateTenant(b.Context(), "bench")
	require.NoError(b, err)
	key, _, err := store.CreateKey(b.Context(), tenant, "", []access.Scope{access.Admin})
	require.NoError(b, err)
	accounts := ledger.NewReader(pool)
	in, err := intake.New(intake.Config{Submitter: new(instant), Accounts: accounts, Originals: commit.NewReader(nil)})
	require.NoError(b, err)
	h, err := api.New(api.Config{
		Intake: in, Ledger: accounts, Payments: commit.NewReader(pool), Access: store, Logger: slog.New(slog.DiscardHandler),
		Requests: access.NewRequestLog(pool, slog.New(slog.DiscardHandler), nil),
	})
	require.NoError(b, err)
	return h, key
}

// cpu is what this process has used; on a busy machine wall time measures the others.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

const benchPayment = `"kind":"send","from":"acct_0000000000002","to":"acct_0000000000004","amount":"70000","asset":"CZK","effective_at":"1993-01-05T00:00:03Z","remittance":"695247"}`

func BenchmarkPay(b *testing.B) {
	h, key := edge(b)
	body := "{" + benchPayment
	for name, run := range map[string]func(b *testing.B){
		"handler": func(b *testing.B) {
			w := &nowhere{http.Header{}}
			for i := 0; b.Loop(); i++ {
				r := httptest.NewRequest(http.MethodPost, "/v1/payments", strings.NewReader(body))
				r.Header = http.Header{
					"Authorization": {"Bearer " + key}, "Idempotency-Key": {"key-" + strconv.Itoa(i)}, "Content-Type": {"application/json"},
				}
				clear(w.header)
				h.ServeHTTP(w, r)
			}
		},
		"request alone": func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				r := httptest.NewRequest(http.MethodPost, "/v1/payments", strings.NewReader(body))
				r.Header = http.Header{
					"Authorization": {"Bearer " + key}, "Idempotency-Key": {"key-" + strconv.Itoa(i)}, "Content-Type": {"application/json"},
				}
			}
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			before := cpu(b)
			run(b)
			b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
}

func BenchmarkPayBatch(b *testing.B) {
	h, key := edge(b)
	items := make([]string, 1000)
	for i := range items {
		items[i] = `{"idempotency_key":"` + strconv.Itoa(i) + `",` + benchPayment
	}
	body := `{"payments":[` + strings.Join(items, ",") + `]}`
	w := &nowhere{http.Header{}}
	b.ReportAllocs()
	before := cpu(b)
	for b.Loop() {
		r := httptest.NewRequest(http.MethodPost, "/v1/payments/batch", strings.NewReader(body))
		r.Header = http.Header{"Authorization": {"Bearer " + key}, "Content-Type": {"application/json"}}
		clear(w.header)
		h.ServeHTTP(w, r)
	}
	b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/float64(b.N)/1000, "cpu-ns/payment")
}
