package settle

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay/channel"
)

// Anybody can call the door of a channel. What does not verify is kept as evidence,
// of a wrong secret or of an attack, within a quota in an hour for each channel and
// node; the rest is refused before it costs a row. What verifies knows no quota.
const (
	// DefaultUnverifiedRows and DefaultUnverifiedBytes are the quota.
	DefaultUnverifiedRows  = 1_000
	DefaultUnverifiedBytes = 4 << 20
	quotaWindow            = time.Hour
	// quotaLogEvery bounds what a flood writes to the log, for each channel.
	quotaLogEvery = time.Minute
)

// unverified reports whether nobody has shown that the channel sent it now: not
// signed with its secret, or signed long ago and perhaps replayed.
func unverified(err error) bool {
	return errors.Is(err, channel.ErrSignature) || errors.Is(err, channel.ErrStale)
}

// allowance is a quota that may be used at once and comes back evenly over the
// window (the generic cell rate algorithm, ITU-T I.371): full is when all of it is
// there again.
type allowance struct {
	quota int64
	full  time.Time
}

// after is full once n units more are used.
func (a *allowance) after(now time.Time, n int64) time.Time {
	full := a.full
	if full.Before(now) {
		full = now
	}
	return full.Add(time.Duration(n) * (quotaWindow / time.Duration(a.quota)))
}

// doubt is the quota of one channel's unverified callbacks.
type doubt struct {
	mu          sync.Mutex
	rows, bytes allowance
	refused     int64 // since it was last said
	saidAt      time.Time
}

func newDoubts(cfg *InboxConfig) map[channel.Name]*doubt {
	m := make(map[channel.Name]*doubt, len(cfg.Channels))
	for _, ch := range cfg.Channels {
		m[ch.Name()] = &doubt{
			rows:  allowance{quota: int64(cfg.UnverifiedRows)},
			bytes: allowance{quota: int64(cfg.UnverifiedBytes)},
		}
	}
	return m
}

// take uses the quota for one callback of so many bytes. say is how many were
// refused when it is time to log that again.
func (d *doubt) take(now time.Time, bytes int64) (ok bool, say int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	rows, size := d.rows.after(now, 1), d.bytes.after(now, bytes)
	if rows.Sub(now) <= quotaWindow && size.Sub(now) <= quotaWindow {
		d.rows.full, d.bytes.full = rows, size
		return true, 0
	}
	d.refused++
	if now.Sub(d.saidAt) >= quotaLogEvery {
		say, d.refused, d.saidAt = d.refused, 0, now
	}
	return false, say
}

// admitUnverified lets a callback that does not verify pass while its channel's
// quota lasts. The refusal says why; whoever is the channel indeed repeats it.
func (b *Inbox) admitUnverified(ctx context.Context, p *put) error {
	ok, say := b.doubts[p.channel].take(p.receivedAt, int64(len(p.body)+len(p.headers)))
	if ok {
		return nil
	}
	b.metrics.overQuota.WithLabelValues(string(p.channel)).Inc()
	if say > 0 {
		b.log.LogAttrs(ctx, slog.LevelError, "callbacks whose signature does not verify are refused: the quota of what is kept of them is used up; "+
			"somebody invents them, or the channel's secret is not the one configured here",
			slog.String("channel", string(p.channel)), slog.Int64("refused", say), slog.Any("error", p.wrong))
	}
	return fault.New(fault.SignatureInvalid, "it is not stored: too many of this channel's callbacks do not verify").
		WithOp("settle.Receive").WithRetry(fault.After).WithRetryAfter(quotaLogEvery).WithCause(p.wrong)
}
