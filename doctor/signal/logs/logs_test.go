package logs_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
	"github.com/moneta-pay/moneta/doctor/signal/logs"
	"github.com/moneta-pay/moneta/internal/clock"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func line(at time.Time, level, rest string) string {
	return fmt.Sprintf("time=%s level=%s msg=%s\n", at.Format(time.RFC3339Nano), level, rest)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	require.NoError(t, err)
	_, err = f.WriteString(text)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func rate(t *testing.T, tail *logs.Tail) float64 {
	t.Helper()
	l, err := tail.Look(t.Context())
	require.NoError(t, err)
	require.Len(t, l.Points, 1)
	require.Equal(t, doctor.LogErrors, l.Points[0].Signal)
	return l.Points[0].Value
}

func TestLinesAreFoundByTraceAndPayment(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "serve.log")
	c := clock.NewManual(noon)
	tail := logs.New(logs.Config{File: file, Hop: doctor.HopServe, Clock: c})
	_, err := tail.Look(t.Context())
	require.ErrorContains(t, err, "the log", "it is not there yet")

	write(t, file, line(noon, "INFO", `serving listen=127.0.0.1:7070`)+
		line(noon, "WARN", `"attempt was not intended" payment=pay_1 trace_id=aa error="no \"route\" = none"`)+
		line(noon, "ERROR", `"request failed" trace_id=bb`)+"panic: not a line of the log\n"+line(noon, "ERROR", "half")[:20])
	require.InDelta(t, .1, rate(t, tail), 1e-9, "one in ten seconds: half a line is none yet")
	got := tail.Of(10, "pay_1")
	require.Len(t, got, 1)
	require.Equal(t, logs.Line{At: noon, Level: "WARN", Message: "attempt was not intended", TraceID: "aa", Payment: "pay_1", Attrs: map[string]string{"error": `no "route" = none`}},
		logs.Line{At: got[0].At, Level: got[0].Level, Message: got[0].Message, TraceID: got[0].TraceID, Payment: got[0].Payment, Attrs: got[0].Attrs})
	require.Len(t, tail.Of(10, "aa", "bb"), 2)
	require.Empty(t, tail.Of(10, ""), "no name is nobody's")

	write(t, file, line(noon, "ERROR", "half")[20:])
	require.InDelta(t, .2, rate(t, tail), 1e-9)
	c.Advance(11 * time.Second)
	require.Zero(t, rate(t, tail), "errors of a while ago are none of now")
}

func TestALogThatIsCutOrReplacedIsFollowed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "serve.log")
	tail := logs.New(logs.Config{File: file, Hop: doctor.HopServe, Clock: clock.NewManual(noon)})
	write(t, file, line(noon, "INFO", "one trace_id=aa"))
	rate(t, tail)
	require.NoError(t, os.Truncate(file, 0))
	rate(t, tail)
	write(t, file, line(noon, "INFO", "two trace_id=aa"))
	rate(t, tail)
	require.NoError(t, os.Rename(file, file+".1"))
	write(t, file, line(noon, "INFO", "three trace_id=aa"))
	rate(t, tail)
	var said []string
	for _, l := range tail.Of(10, "aa") {
		said = append(said, l.Message)
	}
	require.Equal(t, []string{"one", "two", "three"}, said)
}

func TestALongLogIsReadFromNearItsEndAndKeptWithinBounds(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "serve.log")
	tail := logs.New(logs.Config{File: file, Hop: doctor.HopServe, Clock: clock.NewManual(noon)})
	var text bytes.Buffer
	for n := range 30_000 {
		text.WriteString(line(noon, "INFO", fmt.Sprintf("step n=%d trace_id=t%d", n, n)))
	}
	write(t, file, text.String())
	rate(t, tail)
	n, _, _ := tail.Kept()
	require.Equal(t, 5_000, n)
	require.Len(t, tail.Of(1, "t29999"), 1)
	require.Empty(t, tail.Of(1, "t100"))
	write(t, file, text.String()) // 2 MB at once
	write(t, file, text.String())
	rate(t, tail)
	_, _, skipped := tail.Kept()
	require.Positive(t, skipped, "what came faster is skipped and counted")
}

func TestBothFormsOfSlogAreRead(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"json": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			slog.New(handler(&b)).Error("it = \"failed\"\n twice", slog.String("trace_id", "aa"), slog.Int("n", 3), slog.Any("error", os.ErrNotExist))
			l, ok := logs.Parse(b.Bytes())
			require.True(t, ok, b.String())
			require.Equal(t, "it = \"failed\"\n twice", l.Message)
			require.Equal(t, "aa", l.TraceID)
			require.Equal(t, map[string]string{"n": "3", "error": "file does not exist"}, l.Attrs)
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"time":"2026-03-01T12:00:00Z","level":"INFO","msg":"x","n":{"a":[1]}}`))
	f.Add([]byte(`time=2026-03-01T12:00:00Z level=INFO msg="x \" y" k=`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if l, ok := logs.Parse(raw); ok {
			require.NotEmpty(t, l.Level)
		}
	})
}
