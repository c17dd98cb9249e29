package settle

import (
	"time"

	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
)

// When an attempt that the channel does not know is sent once more (life cycle T9),
// and how often at most. The counts are kept in memory: a new leader begins to count
// anew, which only makes it wait longer.
const (
	resendCount = 3
	resendAfter = 2 * time.Minute
	resendMax   = 5
	absencesMax = 20_000
)

// absences are the not-founds in a row for one attempt.
type absences struct {
	attempt int16
	n       int
	first   time.Time
	resent  int
}

// again counts what the channel does not know, and asks for the attempt to be sent
// once more when it has said so often and long enough. Any other word ends the row.
func (a *Asker) again(p *pay.Payment, w *channel.Word, f *pay.Fact, asked time.Time) {
	if a.cfg.Resend == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	c, known := a.absent[p.ID]
	if w.Verdict != channel.NotFound || f.Kind != pay.Checked || !p.Kind.Leaves() || p.State != pay.Unknown || p.Attempt.ChannelID != "" {
		if known {
			delete(a.absent, p.ID)
		}
		return
	}
	if c.attempt != p.Attempt.N || c.n == 0 {
		if len(a.absent) >= absencesMax {
			clear(a.absent) // those counts begin anew
		}
		resent := c.resent
		if c.attempt != p.Attempt.N {
			resent = 0
		}
		c = absences{attempt: p.Attempt.N, first: asked, resent: resent}
	}
	c.n++
	if c.n >= a.cfg.ResendCount && asked.Sub(c.first) >= a.cfg.ResendAfter && c.resent < resendMax && a.cfg.Resend(*p) {
		c.n, c.resent = 0, c.resent+1
	}
	a.absent[p.ID] = c
}
