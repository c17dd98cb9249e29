package prove

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/money"
)

// rail is one channel while its books are compared.
type rail struct {
	Rail
	books Books
	used  bool // the ledger has payments on it
}

// needed reports whether the recount has a hole without the rail's books.
func (r *rail) needed() bool {
	guess, ok := r.books.(*HTTPBooks)
	return r.used || !ok || !guess.Guessed
}

// stray is money in that quotes no payment that it could be of, or money that was
// booked as such.
type stray struct{ channel, reference, asset, amount string }

// strayCount is how often it is in the books of the rail, less how often it is in
// ours; Pending of the rail's were not told to us yet.
type strayCount struct {
	open, pending int64
	at            time.Time
	booked        int64 // newest payment that was booked for one
}

// readMargin is how long before the end of a run a movement may have happened and not
// be on what was read: the statement's last page is older than the run's end, and the
// rail's clock is not ours.
const readMargin = 30 * time.Second

// straysMax bounds how many differences of that kind are kept apart at once.
const straysMax = 500_000

// readRails reads the books of every rail, together, after the snapshot was taken:
// whatever is confirmed in it must be in them.
func (p *prover) readRails(ctx context.Context) (*spool, error) {
	err := p.rows(ctx, `select channel from payments where channel is not null and channel <> '' group by channel union
	  select channel from attempts group by channel`, nil, func(r *row) { p.rail(r.text(0)).used = true })
	if err != nil {
		return nil, err
	}
	for _, b := range p.cfg.Rails {
		r := p.rail(b.Channel())
		if r.books != nil {
			return nil, fmt.Errorf("the channel %s has two books: name one", b.Channel())
		}
		r.books, r.Source = b, b.Source()
	}
	books := newSpool(p.cfg.TempDir, spoolRun)
	// A rail that dribbles must not take the time of the rows.
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Within/2)
	defer cancel()
	var group sync.WaitGroup
	for _, r := range p.rails {
		if r.books == nil {
			r.Why = "nobody said where its own books are"
			continue
		}
		group.Go(func() { p.readRail(ctx, r, books) })
	}
	group.Wait()
	p.cfg.Progress("rails", int64(len(p.rails)), int64(len(p.rails)))
	return books, books.rewind()
}

func (p *prover) rail(channel string) *rail {
	r := p.rails[channel]
	if r == nil {
		r = &rail{Rail: Rail{Channel: channel}}
		p.rails[channel] = r
	}
	return r
}

// readRail runs beside its like; it touches nothing but r and the spool.
func (p *prover) readRail(ctx context.Context, r *rail, books *spool) {
	err := r.books.Effects(ctx, func(e Effect) error {
		if err := e.valid(); err != nil {
			return fmt.Errorf("movement %d: %w", r.Effects+1, err)
		}
		r.Effects++
		x := entry{Channel: r.Channel, Effect: e}
		x.Payment, x.Attempt, _ = readReference(e.Reference)
		return books.add(x)
	})
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		r.Why = "its books were not read to their end in time"
	case err != nil:
		r.Why = err.Error()
	default:
		r.Proved = true
	}
}

// compare puts each page's payments beside what the rails have of them.
func (p *prover) compare(g *page, books *spool) error {
	i := 0
	for {
		first, err := books.next(g.upTo)
		if err != nil || first == nil {
			for ; err == nil && i < len(g.all); i++ {
				p.outside(&g.all[i], nil)
			}
			return err
		}
		for ; i < len(g.all) && g.all[i].id < first.Payment; i++ {
			p.outside(&g.all[i], nil)
		}
		of := []entry{*first}
		for len(of) < effectsMax {
			e, err := books.next(first.Payment)
			if err != nil {
				return err
			}
			if e == nil {
				break
			}
			of = append(of, *e)
			if first.Payment == 0 { // they have nothing to do with each other
				break
			}
		}
		if i < len(g.all) && g.all[i].id == first.Payment {
			p.outside(&g.all[i], of)
			i++
			continue
		}
		for j := range of {
			p.stray(&of[j])
		}
	}
}

// effectsMax bounds the movements of one payment that are looked at together.
const effectsMax = 1_000

// pending reports whether nobody here can know of the movement yet: it happened after
// the snapshot, or after the channel's statement was last read to its end.
func (p *prover) pending(e *entry) bool {
	r := p.rail(e.Channel)
	if e.At.After(p.at) {
		r.Later++
		return true
	}
	if p.told(e) {
		return false
	}
	r.Pending++
	p.fly(flightKey{"outside", "recon", e.Channel, e.Asset}, e.Amount, e.At, time.Time{}, e.ID)
	return true
}

// told reports whether the channel's statement was read to its end since.
func (p *prover) told(e *entry) bool {
	run, ok := p.runs[e.Channel]
	return ok && e.At.Before(run.Add(-readMargin))
}

// place is where a movement stands, in words.
func (e *entry) place() string { return fmt.Sprintf("%s %s (%s)", e.Channel, e.Reference, e.ID) }

// outside compares one payment with what the rails did for it.
func (p *prover) outside(x *payment, of []entry) {
	if x.kind == inbound && x.original == 0 {
		p.bookStray(x)
	}
	switch {
	case x.leaves():
		p.outsideSent(x, of)
	case x.kind == deposit:
		p.outsideDeposit(x, of)
	default:
		for i := range of {
			p.stray(&of[i])
		}
	}
}

func (p *prover) outsideSent(x *payment, of []entry) {
	byAttempt := make([]int64, len(x.attempts))
	var backs []*entry
	total := int64(0)
	for i := range of {
		e := &of[i]
		switch {
		case e.Direction == "in" && e.Return:
			backs = append(backs, e)
			continue
		case e.Direction == "in":
			p.stray(e)
			continue
		case e.Attempt < 1 || e.Attempt > int64(len(x.attempts)):
			if e.Attempt == int64(len(x.attempts))+1 && !final(x.state) && e.At.After(p.at) {
				p.rail(e.Channel).Later++
			} else {
				p.find(checkStray, x.id, e.At, e.place(), fmt.Sprintf("%s %s left for attempt %d, which nobody made", e.Amount, e.Asset, e.Attempt))
			}
			continue
		}
		total++
		byAttempt[e.Attempt-1]++
		p.judgeEffect(x, e)
	}
	for n, times := range byAttempt {
		if times > 1 {
			p.find(checkDoubled, x.id, of[0].At, x.attempts[n].channel+" "+x.attempts[n].reference, fmt.Sprintf("executed %d times: %s %s too much left",
				times, mulInt(x.amount, times-1), x.asset))
		}
	}
	if distinct := countPositive(byAttempt); distinct > 1 {
		p.find(checkDoubled, x.id, of[0].At, paymentID(x.id), fmt.Sprintf("%d of its attempts were executed", distinct))
	}
	p.missing(x, byAttempt)
	p.judgeBacks(x, returned, p.placed(x, backs, byAttempt))
}

// placed leaves out what came back of a payment with a late outcome and is no return here.
// Where the debt was written off it is booked as money without an owner, which must then
// be there. Of another attempt than the late one neither leg is booked: that it left is
// told by itself, and coming back makes it no worse.
func (p *prover) placed(x *payment, backs []*entry, left []int64) []*entry {
	if x.state == succeeded {
		return backs
	}
	amounts := map[money.Amount]int{}
	late := false
	for _, c := range x.children {
		late = late || c.kind == latePayout
		if c.kind == returned {
			amounts[c.amount]++
		}
	}
	if !late {
		return backs
	}
	here := make([]*entry, 0, len(backs))
	for _, e := range backs {
		if !p.hasLate(x, e.Reference) && e.Attempt >= 1 && e.Attempt <= int64(len(left)) && left[e.Attempt-1] > 0 {
			continue
		}
		if amounts[e.Amount] > 0 {
			amounts[e.Amount]--
			here = append(here, e)
			continue
		}
		p.stray(e)
	}
	return here
}

// judgeEffect judges one executed attempt.
func (p *prover) judgeEffect(x *payment, e *entry) {
	a := &x.attempts[e.Attempt-1]
	p.asked(checkStray, 1)
	if a.channel != e.Channel {
		p.find(checkStray, x.id, e.At, e.place(), fmt.Sprintf("the attempt went to %s", a.channel))
		return
	}
	p.sameAmount(x, e)
	switch {
	case a.state == confirmed:
		p.rail(e.Channel).Matched++
	case live(a.state): // executed, and its word is on the way: the open item has it
		p.rail(e.Channel).Pending++
	case p.hasLate(x, a.reference):
		p.rail(e.Channel).Matched++
	case p.pending(e):
	default:
		p.find(checkStray, x.id, e.At, e.place(), fmt.Sprintf("%s %s left %s ago, and the attempt is %s here: the holder has the money too",
			e.Amount, e.Asset, p.age(e.At), nameOf(attemptNames, a.state)))
	}
}

func (p *prover) hasLate(x *payment, reference string) bool {
	for _, c := range x.children {
		if (c.kind == latePayout || c.kind == lateDeposit) && c.link == reference {
			return true
		}
	}
	return false
}

func (p *prover) sameAmount(x *payment, e *entry) {
	p.asked(checkAmount, 1)
	if e.Amount != x.amount || e.Asset != x.asset {
		p.find(checkAmount, x.id, e.At, e.place(), fmt.Sprintf("%s %s moved outside, %s %s here", e.Amount, e.Asset, x.amount, x.asset))
		return
	}
	if x.settlement == 2 && e.Direction == "out" && e.Fee != x.cost {
		p.find(checkAmount, x.id, e.At, e.place(), fmt.Sprintf("the rail took a fee of %s, %s is booked", e.Fee, x.cost))
	}
}

// missing asks of what succeeded, or came late, whether it is in the rail's books.
func (p *prover) missing(x *payment, times []int64) {
	for n := range x.attempts {
		a := &x.attempts[n]
		if a.state != confirmed && !p.hasLate(x, a.reference) {
			continue
		}
		p.lostAt(x, a.channel, a.reference, times[n])
	}
}

func (p *prover) lostAt(x *payment, channel, ref string, times int64) {
	r := p.rail(channel)
	if !r.Proved {
		r.Unproved++
		return
	}
	p.asked(checkDoubled, 1)
	p.asked(checkLost, 1)
	if times == 0 {
		p.find(checkLost, x.id, micros(x.changed), channel+" "+ref, fmt.Sprintf("%s %s is booked as moved, and %s never moved it", x.amount, x.asset, channel))
	}
}

func (p *prover) outsideDeposit(x *payment, of []entry) {
	var backs []*entry
	var times int64
	ref := reference(x.id, 0)
	for i := range of {
		e := &of[i]
		switch {
		case e.Direction == "out" && e.Return && e.Channel == x.channel:
			backs = append(backs, e)
			continue
		case e.Direction == "out", e.Attempt != 0, e.Channel != x.channel:
			p.stray(e)
			continue
		}
		times++
		p.asked(checkStray, 1)
		switch {
		case x.state == succeeded, p.hasLate(x, ref):
			p.rail(e.Channel).Matched++
			p.sameAmount(x, e)
		case p.pending(e):
		case !final(x.state) && e.Amount == x.amount && e.Asset == x.asset:
			p.find(checkStray, x.id, e.At, e.place(), fmt.Sprintf("%s %s came %s ago, and the deposit still waits for it", e.Amount, e.Asset, p.age(e.At)))
		case !final(x.state):
			p.sameAmount(x, e)
		default:
			p.find(checkStray, x.id, e.At, e.place(), fmt.Sprintf("%s %s came %s ago, and the deposit is %s", e.Amount, e.Asset, p.age(e.At), nameOf(stateNames, x.state)))
		}
	}
	if times > 1 {
		p.find(checkDoubled, x.id, of[0].At, x.channel+" "+ref, fmt.Sprintf("paid in %d times", times))
	}
	if x.state == succeeded || p.hasLate(x, ref) {
		p.lostAt(x, x.channel, ref, times)
	}
	p.judgeBacks(x, chargeback, backs)
}

// judgeBacks compares what came back, or was taken back, with the linked payments
// that stand for it.
func (p *prover) judgeBacks(x *payment, kind int64, backs []*entry) {
	var here, there, waiting money.Amount
	var channel string
	for _, c := range x.children {
		if c.kind == kind {
			here = p.add(here, c.amount)
			channel = x.channelAt(x.attempt)
		}
	}
	for _, e := range backs {
		p.asked(checkStray, 1)
		there = p.add(there, e.Amount)
		channel = e.Channel
	}
	if here == there {
		if len(backs) > 0 {
			p.rail(channel).Matched += int64(len(backs))
		}
		return
	}
	for i := len(backs) - 1; i >= 0 && p.add(here, waiting).Cmp(there) < 0; i-- {
		if p.pending(backs[i]) {
			waiting = p.add(waiting, backs[i].Amount)
		}
	}
	here = p.add(here, waiting)
	at := micros(x.changed)
	if len(backs) > 0 {
		at = backs[0].At
	}
	switch c := here.Cmp(there); {
	case c < 0:
		p.find(checkStray, x.id, at, channel+" "+backs[0].Reference, fmt.Sprintf("%s went back outside, linked payments stand for %s", there, here))
	case c > 0 && p.rail(channel).Proved:
		p.find(checkLost, x.id, at, channel+" "+paymentID(x.id), fmt.Sprintf("linked payments say that %s went back, %s did outside", here, there))
	case c > 0:
		p.rail(channel).Unproved++
	}
}

// stray takes a movement that belongs to no payment. Money in may have been booked
// as money without an owner; money out may not be.
func (p *prover) stray(e *entry) {
	p.asked(checkStray, 1)
	if e.Direction == "out" {
		if e.At.After(p.at) && (e.Payment == 0 || e.Payment > p.last.payment) {
			p.rail(e.Channel).Later++
			return
		}
		p.find(checkStray, 0, e.At, e.place(), fmt.Sprintf("%s %s left, and nobody ordered it", e.Amount, e.Asset))
		return
	}
	c := p.strayOf(stray{e.Channel, e.Reference, e.Asset, e.Amount.String()})
	if c == nil {
		return
	}
	c.open++
	c.at = e.At
	if !p.told(e) || e.At.After(p.at) {
		c.pending++
	}
}

// strayOf returns the count, nil when there are too many to be kept apart.
func (p *prover) strayOf(k stray) *strayCount {
	c := p.strays[k]
	if c == nil {
		if len(p.strays) >= straysMax {
			p.crowded = true
			return nil
		}
		c = &strayCount{}
		p.strays[k] = c
	}
	return c
}

// bookStray takes money that was booked without an owner.
func (p *prover) bookStray(x *payment) {
	var said struct {
		Quoted string `json:"quoted"`
	}
	if err := json.Unmarshal([]byte(x.metadata), &said); err != nil {
		said.Quoted = ""
	}
	if c := p.strayOf(stray{x.channel, said.Quoted, x.asset, x.amount.String()}); c != nil {
		c.open--
		c.booked = x.id
	}
}

// closeStrays tells of the money in that is on one side only.
func (p *prover) closeStrays(context.Context) error {
	if p.crowded {
		p.out.NotProved = append(p.out.NotProved, fmt.Sprintf("money in without a payment: more than %d different movements", straysMax))
	}
	for k, c := range p.strays {
		place := k.channel + " " + k.reference
		r := p.rail(k.channel)
		switch known := c.open - c.pending; {
		case known > 0:
			p.find(checkStray, 0, c.at, place, fmt.Sprintf("%s %s came %d times more than it is booked, the last %s ago", k.amount, k.asset, known, p.age(c.at)))
		case c.open < 0 && !r.Proved:
			r.Unproved -= c.open
		case c.open < 0:
			p.find(checkLost, c.booked, time.Time{}, place, fmt.Sprintf("%s %s is booked as money without an owner, and never came", k.amount, k.asset))
		case c.open > 0:
			r.Pending += c.open
			amount, err := money.ParseMinor(k.amount)
			if err != nil {
				return err
			}
			p.fly(flightKey{"outside", "recon", k.channel, k.asset}, amount, c.at, time.Time{}, place)
		default:
			r.Matched++
		}
	}
	return nil
}

func countPositive(of []int64) (n int) {
	for _, x := range of {
		if x > 0 {
			n++
		}
	}
	return n
}

func mulInt(a money.Amount, n int64) money.Amount {
	out, err := a.MulInt(n)
	if err != nil {
		return a
	}
	return out
}
