package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/slogtest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The canaries: each must never be seen in an output. They are put together at
// run time, so that scanners of the source do not take them for real ones.
var canaries = map[string]string{
	"api key":     "mk_" + "live_9fK2canaryQz81",
	"test key":    "mk_" + "test_7canary3Xw",
	"bearer":      "canaryBearerA1b2C3d4",
	"password":    "canary-hunter2",
	"card":        "4111111111111111",
	"card spaced": "5500 0055 5555 5559",
	"amex":        "3782-822463-10005",
	"jwt":         "eyJ" + "hbGciOiJIUzI1.eyJjYW5hcnkiOiJ4.c2ln",
	"mac":         "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
}

type stringer struct{ text string }

// String shows the text.
func (s stringer) String() string { return s.text }

type nested struct {
	ID       string `json:"id"`
	Password string
	APIKey   string `json:"apiKey"`
	Inner    *nested
	List     []any
	ByName   map[string]string
	Card     int64
}

type valuer struct{ secret string }

// LogValue gives a group that holds the secret.
func (v valuer) LogValue() slog.Value {
	return slog.GroupValue(slog.String("session_token", v.secret), slog.String("who", "ann"))
}

type broken struct{}

// String fails, as a method on a nil receiver would.
func (*broken) String() string { panic("no") }

func handlers(buf *bytes.Buffer) map[string]slog.Handler {
	return map[string]slog.Handler{
		"json": NewHandler(slog.NewJSONHandler(buf, nil)),
		"text": NewHandler(slog.NewTextHandler(buf, nil)),
	}
}

func TestNoSecretLeavesInALogLine(t *testing.T) {
	t.Parallel()
	c := canaries
	dsn := "postgres://moneta:" + c["password"] + "@db:5432/moneta"
	places := map[string]func(*slog.Logger){
		"message":      func(l *slog.Logger) { l.Info("using " + c["api key"] + " for " + c["card"]) },
		"bearer text":  func(l *slog.Logger) { l.Info("sent Authorization: Bearer " + c["bearer"]) },
		"bearer attr":  func(l *slog.Logger) { l.Info("m", slog.String("header", "bearer "+c["bearer"])) },
		"key names":    func(l *slog.Logger) { l.Info("m", slog.String("db_password", c["password"])) },
		"camel key":    func(l *slog.Logger) { l.Info("m", slog.String("clientSecret", c["password"])) },
		"kebab key":    func(l *slog.Logger) { l.Info("m", slog.String("X-Api-Key", c["password"])) },
		"dsn key":      func(l *slog.Logger) { l.Info("m", slog.String("dsn", c["password"])) },
		"dsn value":    func(l *slog.Logger) { l.Info("m", slog.String("url", dsn)) },
		"dsn words":    func(l *slog.Logger) { l.Info("connect host=db user=m password=" + c["password"] + " sslmode=off") },
		"dsn quoted":   func(l *slog.Logger) { l.Info("connect password='" + c["password"] + " x " + c["password"] + "'") },
		"query":        func(l *slog.Logger) { l.Info("GET /x?token=" + c["password"] + "&a=1") },
		"json text":    func(l *slog.Logger) { l.Info(`body {"password":"` + c["password"] + `","a":1}`) },
		"json escaped": func(l *slog.Logger) { l.Info(`body {\"password\":\"` + c["password"] + `\"}`) },
		"with":         func(l *slog.Logger) { l.With(slog.String("k", c["test key"])).Info("m") },
		"group": func(l *slog.Logger) {
			l.WithGroup("g").With(slog.String("k", c["api key"])).Info("m", slog.String("token", c["bearer"]))
		},
		"group attr": func(l *slog.Logger) { l.Info("m", slog.Group("g", slog.Group("h", slog.String("pan", "x"+c["card"])))) },
		"error": func(l *slog.Logger) {
			l.Info("m", slog.Any("error", fmt.Errorf("dial %s: %w", dsn, errors.New(c["jwt"]))))
		},
		"joined error": func(l *slog.Logger) {
			l.Info("m", slog.Any("error", errors.Join(errors.New("a"), errors.New(c["card spaced"]))))
		},
		"stringer": func(l *slog.Logger) {
			l.Info("m", slog.Any("s", stringer{c["api key"]}), slog.Any("p", &stringer{c["amex"]}))
		},
		"valuer": func(l *slog.Logger) { l.Info("m", slog.Any("s", valuer{c["password"]})) },
		"number": func(l *slog.Logger) {
			l.Info("m", slog.Int64("n", 4111111111111111), slog.Uint64("u", 4111111111111111))
		},
		"bytes": func(l *slog.Logger) { l.Info("m", slog.Any("b", []byte(c["api key"]))) },
		"raw json": func(l *slog.Logger) {
			l.Info("m", slog.Any("b", json.RawMessage(`{"a":{"secret":"`+c["password"]+`"}}`)))
		},
		"headers": func(l *slog.Logger) {
			l.Info("m", slog.Any("h", http.Header{"Authorization": {c["password"]}, "X": {"Bearer " + c["bearer"]}}))
		},
		"signature": func(l *slog.Logger) { l.Info("bad callback t=1,v1=" + c["mac"]) },
		"userinfo": func(l *slog.Logger) {
			l.Info("m", slog.Any("u", &url.URL{Scheme: "https", User: url.UserPassword("u", c["password"]), Host: "h"}))
		},
		"embedded slice": func(l *slog.Logger) {
			l.Info("m", slog.Any("l", []any{c["card"], map[string]any{"otp": c["password"]}}))
		},
		"nested": func(l *slog.Logger) {
			l.Info("m", slog.Any("n", nested{
				ID: c["test key"], Password: c["password"], APIKey: c["password"], Card: 4111111111111111,
				Inner:  &nested{Password: c["password"], List: []any{c["card"], errors.New(c["jwt"])}},
				ByName: map[string]string{"refresh_token": c["password"], "note": c["amex"]},
			}))
		},
	}
	for name, write := range places {
		for format := range handlers(nil) {
			t.Run(name+"/"+format, func(t *testing.T) {
				t.Parallel()
				var buf bytes.Buffer
				write(slog.New(handlers(&buf)[format]))
				require.Contains(t, buf.String(), redacted)
				for what, secret := range c {
					require.NotContains(t, buf.String(), secret, what)
				}
			})
		}
	}
}

func TestWhatIsNoSecretStaysReadable(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"payment pay_01J8ZQ4N5W6R7T8Y9U0P1A2S3D accepted",
		"2026-11-22 2026-11-23 2026-11-24",
		"2026-11-22T01:20:29.123456789Z",
		"trace 4bf92f3577b34da6a3ce929d0e0e4736",
		"amount 70000 CZK, idempotency-key: order-42",
		"0190163d-8694-739b-aea5-966c26f8ad91",
		"1763774429123456789",     // a clock in nanoseconds
		"4111111111111112",        // wrong check digit
		"41111111111111114111111", // too long
		"http://127.0.0.1:4318/v1/traces",
		"disk_usage high, task_queue long, risk_score low",
		"basic checks passed", // a word, not a scheme with credentials
	} {
		require.Equal(t, s, redactString(s))
	}
	for _, key := range []string{"span_id", "idempotency_key", "design", "payment", "opinion", "company", "key_id"} {
		require.False(t, sensitiveKey(key), key)
	}
}

func TestEveryCardNumberIsFound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(cardDigitsMin, cardDigitsMax).Draw(t, "digits")
		digits := []byte{byte(rapid.IntRange('2', '9').Draw(t, "first"))}
		for len(digits) < n-1 {
			digits = append(digits, byte(rapid.IntRange('0', '9').Draw(t, "digit")))
		}
		for d := byte('0'); d <= '9'; d++ {
			if isCard(append(digits, d)) {
				digits = append(digits, d)
				break
			}
		}
		card := string(digits)
		around := rapid.SampledFrom([]string{"%s", "card %s.", "(%s)", "a:%s,b", "数%s"}).Draw(t, "around")
		require.Equal(t, fmt.Sprintf(around, redacted), redactString(fmt.Sprintf(around, card)))
		spaced := card[:4] + "-" + card[4:8] + "-" + card[8:]
		require.NotContains(t, redactString(spaced), card[8:])
	})
}

func TestLongAndBrokenValuesAreBounded(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	l := slog.New(handlers(&buf)["json"])
	type loop struct{ Next *loop }
	round := &loop{}
	round.Next = round
	l.Info(strings.Repeat("界", scanBytesMax), slog.Any("round", round), slog.Any("big", make([]int, 1<<20)),
		slog.Any("nil", (*nested)(nil)), slog.Any("broken", &broken{}), slog.Any("ch", make(chan int)))
	require.Less(t, buf.Len(), 2*valueBytesMax)
	require.True(t, json.Valid(buf.Bytes()))
	require.Contains(t, buf.String(), "panicked while being logged")
}

func TestIDsOfTheContextAreOnEveryLine(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	l := slog.New(handlers(&buf)["json"])
	ctx := WithAttempt(WithPayment(WithTraceID(context.Background(), "4bf92f3577b34da6a3ce929d0e0e4736"), "pay_1"), "pay_1-2")
	l.With(slog.Int("a", 1)).WithGroup("g").With(slog.Int("b", 2)).WithGroup("h").InfoContext(ctx, "m", slog.Duration("c", time.Second))

	var line map[string]any
	require.NoError(t, json.Unmarshal(buf.Bytes(), &line))
	require.Equal(t, "4bf92f3577b34da6a3ce929d0e0e4736", line[KeyTraceID])
	require.Equal(t, "pay_1", line[KeyPayment])
	require.Equal(t, "pay_1-2", line[KeyAttempt])
	require.InDelta(t, 1, line["a"], 0)
	require.Equal(t, map[string]any{"b": float64(2), "h": map[string]any{"c": float64(time.Second)}}, line["g"])

	buf.Reset()
	l.InfoContext(ctx, "m", slog.String(KeyPayment, "pay_other"))
	require.Equal(t, 1, strings.Count(buf.String(), `"payment"`), "the caller's own word stands once")
	require.Contains(t, buf.String(), "pay_other")
}

func FuzzRedactString(f *testing.F) {
	for _, s := range canaries {
		f.Add(s)
		f.Add("password=" + s + " Bearer " + s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once := redactString(s)
		if len(once) > valueBytesMax+len("…[cut]") {
			t.Fatalf("%d bytes out", len(once))
		}
		for _, secret := range canaries {
			if strings.Contains(redactString(s+" "+secret+" "), secret) && len(s) < scanBytesMax/2 && isSelfEvident(secret) {
				t.Fatalf("%q survives after %q", secret, s)
			}
		}
	})
}

// isSelfEvident is true for secrets whose shape alone gives them away.
func isSelfEvident(s string) bool {
	return strings.HasPrefix(s, "mk_") || strings.HasPrefix(s, "eyJ")
}

func BenchmarkLogLine(b *testing.B) {
	l := slog.New(NewHandler(slog.NewJSONHandler(discard{}, nil)))
	ctx := WithPayment(WithTraceID(context.Background(), "4bf92f3577b34da6a3ce929d0e0e4736"), "pay_01J8ZQ4N5W6R7T8Y9U0P1A2S3D")
	b.ReportAllocs()
	for b.Loop() {
		l.InfoContext(ctx, "attempt sent", slog.String("channel", "bank-ab"), slog.Int("try", 2), slog.Duration("took", time.Second))
	}
}

type discard struct{}

// Write takes everything.
func (discard) Write(b []byte) (int, error) { return len(b), nil }

// TestHandlerKeepsSlogsContract runs the standard library's own suite.
func TestHandlerKeepsSlogsContract(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	slogtest.Run(t, func(*testing.T) slog.Handler {
		buf.Reset()
		return handlers(&buf)["json"]
	}, func(t *testing.T) map[string]any {
		t.Helper()
		var line map[string]any
		require.NoError(t, json.Unmarshal(buf.Bytes(), &line))
		return line
	})
}
