package app

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/moneta-pay/moneta/pay/status"
)

// Bounds of looking back: how often a node that does not lead reads how long
// payments took (the leader sees them end), and how long one reading may take.
const (
	lookBackEvery = time.Minute
	lookBackMax   = 10 * time.Second
)

// bounds is how long after sending each channel promises a final answer.
func (p *plane) bounds() map[string]time.Duration {
	bounds := make(map[string]time.Duration, len(p.channels))
	for _, ch := range p.channels {
		bounds[string(ch.Name())] = ch.Capabilities().FinalBound
	}
	return bounds
}

// newOutlook knows the channels' promises and counts whether its own held.
func (p *plane) newOutlook() *status.Outlook {
	judged := p.tel.CounterVec("moneta_eta_judged_total",
		"Payments that ended, by whether within the 90th percentile stated at their acceptance; 85 to 95 of 100 should.", "kind", "channel", "held")
	return status.NewOutlook(p.bounds(), func(kind, channel string, held bool) {
		judged.WithLabelValues(kind, channel, strconv.FormatBool(held)).Inc()
	})
}

// lookBack fills the outlook at the start, and again every minute while another
// node leads. What cannot be read costs forecasts, not payments.
func (p *plane) lookBack(ctx context.Context) {
	tick := time.NewTicker(lookBackEvery)
	defer tick.Stop()
	for read := true; ; read = !p.node.Leading() {
		if read {
			p.readDurations(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (p *plane) readDurations(ctx context.Context) {
	readCtx, cancel := context.WithTimeout(ctx, lookBackMax)
	defer cancel()
	past, err := p.payments.Durations(readCtx)
	if err != nil {
		if ctx.Err() == nil {
			p.log.WarnContext(ctx, "cannot read how long payments took; forecasts stay as they are", slog.Any("error", err))
		}
		return
	}
	p.outlook.Replace(past)
}
