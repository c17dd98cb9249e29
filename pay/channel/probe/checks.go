package probe

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/moneta-pay/moneta/internal/lifecycle"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/channel"
)

// swap turns a method into a check's function.
func swap(f func(*prober, context.Context) (string, error)) func(context.Context, *prober) (string, error) {
	return func(ctx context.Context, p *prober) (string, error) { return f(p, ctx) }
}

// resends is how often one reference is ordered at once, on top of the first time.
const resends = 8

// dedup orders one reference again and again: at once, all together, later, and with
// another amount.
func (p *prober) dedup(ctx context.Context) (string, error) {
	order := p.order("dedup", 1)
	first := p.t.Channel.Send(ctx, order)
	var group sync.WaitGroup
	for range resends {
		group.Go(func() { p.t.Channel.Send(ctx, order) })
	}
	group.Wait()
	if ok, err := p.moved(ctx, order.Reference); err != nil || !ok {
		return "", orNotShown(err, "the order was never executed: %s %s", first.Verdict, first.Reason)
	}
	for range 2 {
		if err := p.watch(ctx, 2); err != nil {
			return "", err
		}
		order.SendBy = p.t.Clock.Now().Add(p.caps.SendWindow)
		p.t.Channel.Send(ctx, order)
	}
	other := order
	other.Amount = money.Int(p.t.Amount + 2)
	if w := p.t.Channel.Send(ctx, other); taken(w) {
		return "", caught("a reference that was used before was taken with another amount: %s", w.Verdict)
	}
	if err := p.watch(ctx, 2); err != nil {
		return "", err
	}
	effects, err := p.effects(ctx, order.Reference)
	if err != nil {
		return "", err
	}
	if len(effects) > 1 {
		return "", caught("reference %s was ordered %d times and moved money %d times", order.Reference, resends+4, len(effects))
	}
	if len(effects) == 0 {
		return "", lies("reference %s moved money, and then it had not", order.Reference)
	}
	return fmt.Sprintf("ordered %d times, over %s, moved once", resends+4, p.t.Watch.Round(time.Millisecond)), nil
}

// query asks about two orders with different amounts, and about one never made.
func (p *prober) query(ctx context.Context) (string, error) {
	orders := []channel.Order{p.order("query-a", 3), p.order("query-b", 4)}
	for _, o := range orders {
		if w := p.t.Channel.Send(ctx, o); !taken(w) {
			return "", notShown("the order was not taken: %s %s", w.Verdict, w.Reason)
		}
	}
	if w := p.t.Channel.Query(ctx, p.reference("never")); w.Verdict != channel.NotFound {
		return "", lies("a reference that was never ordered is %s", w.Verdict)
	}
	for _, o := range orders {
		answered, err := p.until(ctx, p.patience(), func() (bool, error) {
			w := p.t.Channel.Query(ctx, o.Reference)
			switch {
			case !taken(w) && w.Verdict != channel.Declined:
				return false, nil
			case w.Amount != o.Amount || w.Direction != channel.Out || w.Asset != o.Asset:
				return false, caught("the query of %s, %s %s out, tells of %s %s %s", o.Reference, o.Amount, o.Asset, w.Amount, w.Asset, w.Direction)
			}
			return w.Verdict.Final(), nil
		})
		if err != nil {
			return "", err
		}
		if !answered {
			return "", lies("no query of %s brought a final answer in %s", o.Reference, p.patience())
		}
	}
	return "two orders told apart, one never made not found", nil
}

// visibility measures how long an executed order stays invisible.
func (p *prober) visibility(ctx context.Context) (string, error) {
	order := p.order("visible", 5)
	if w := p.t.Channel.Send(ctx, order); !taken(w) {
		return "", notShown("the order was not taken: %s %s", w.Verdict, w.Reason)
	}
	if ok, err := p.moved(ctx, order.Reference); err != nil || !ok {
		return "", orNotShown(err, "the order was never executed")
	}
	executed := p.t.Clock.Now()
	bound := p.caps.VisibilityDelay + time.Second // for the answer itself
	seen, err := p.until(ctx, bound, func() (bool, error) {
		w := p.t.Channel.Query(ctx, order.Reference)
		return taken(w) || w.Verdict == channel.Declined, nil
	})
	if err != nil {
		return "", err
	}
	if !seen {
		return "", lies("executed, and not found for more than %s", p.caps.VisibilityDelay)
	}
	return fmt.Sprintf("found %s after it was executed", p.t.Clock.Now().Sub(executed).Round(time.Millisecond)), nil
}

// aborts are how long the caller of a send has patience, so that its outcome is
// unknown: before, while and after the rail reads it.
var aborts = []time.Duration{
	300 * time.Microsecond, time.Millisecond, 2 * time.Millisecond, 4 * time.Millisecond,
	8 * time.Millisecond, 16 * time.Millisecond, 50 * time.Millisecond, time.Second,
}

// notFound breaks sends off in the middle, waits until a not-found counts, and
// watches whether what was not found is executed after all.
func (p *prober) notFound(ctx context.Context) (string, error) {
	var mu sync.Mutex
	var unknown []channel.Order
	var group sync.WaitGroup
	for i, patience := range aborts {
		group.Go(func() {
			order := p.order(fmt.Sprintf("lost-%d", i), int64(10+i))
			order.SendBy = p.t.Clock.Now().Add(min(p.caps.SendWindow, time.Second))
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			if p.t.Channel.Send(ctx, order).Verdict == channel.Unknown {
				mu.Lock()
				unknown = append(unknown, order)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if len(unknown) == 0 {
		return "", notShown("no send could be broken off in the middle")
	}
	var absent []channel.Order
	for _, o := range unknown {
		if err := lifecycle.Pause(ctx, p.caps.NotFoundCounts(o.SendBy).Sub(p.t.Clock.Now())); err != nil {
			return "", err
		}
		if w := p.t.Channel.Query(ctx, o.Reference); w.Verdict == channel.NotFound {
			absent = append(absent, o)
		}
	}
	if err := p.watch(ctx, 1); err != nil {
		return "", err
	}
	for _, o := range absent {
		effects, err := p.effects(ctx, o.Reference)
		if err != nil {
			return "", err
		}
		if len(effects) > 0 {
			return "", caught("%s was not found when that should have meant never, and was executed afterwards", o.Reference)
		}
	}
	return fmt.Sprintf("%d sends broken off, %d of them not found and never executed", len(unknown), len(absent)), nil
}

// budgetMax bounds the queries of one run.
const budgetMax = 200

// budget asks as often as the contract allows.
func (p *prober) budget(ctx context.Context) (string, error) {
	n := min(p.caps.QueryBudget, budgetMax)
	for i := range n {
		w := p.t.Channel.Query(ctx, p.reference("budget"))
		if w.HTTPStatus == http.StatusTooManyRequests {
			return "", lies("query %d of one reference was refused; the contract allows %d in %s", i+1, p.caps.QueryBudget, p.caps.QueryWindow)
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
	}
	return fmt.Sprintf("%d queries of one reference were answered", n), nil
}

// cancel forbids a reference before it is used and cancels orders just made.
func (p *prober) cancel(ctx context.Context) (string, error) {
	c, ok := p.t.Channel.(channel.Canceller)
	if !ok {
		return "", lies("the contract says that it cancels, and the adapter cannot")
	}
	unused := p.order("forbidden", 6)
	if w := c.Cancel(ctx, unused.Reference); w.Verdict != channel.Declined {
		return "", lies("a reference that was never used cannot be cancelled: %s %s", w.Verdict, w.Reason)
	}
	p.t.Channel.Send(ctx, unused)
	cancelled := []string{unused.Reference}
	for i := range 3 {
		order := p.order(fmt.Sprintf("cancel-%d", i), 7)
		p.t.Channel.Send(ctx, order)
		if c.Cancel(ctx, order.Reference).Verdict == channel.Declined {
			cancelled = append(cancelled, order.Reference)
		}
	}
	if err := p.watch(ctx, 1); err != nil {
		return "", err
	}
	for _, reference := range cancelled {
		effects, err := p.effects(ctx, reference)
		if err != nil {
			return "", err
		}
		if len(effects) > 0 {
			return "", caught("%s was cancelled, and executed all the same", reference)
		}
	}
	return fmt.Sprintf("%d cancelled and never executed, %d too late", len(cancelled), 4-len(cancelled)), nil
}

// statement holds each executed order against the lines that tell of it.
func (p *prober) statement(ctx context.Context) (string, error) {
	orders := []channel.Order{p.order("stated-a", 20), p.order("stated-b", 21), p.order("stated-c", 22)}
	for _, o := range orders {
		if w := p.t.Channel.Send(ctx, o); !taken(w) {
			return "", notShown("the order was not taken: %s %s", w.Verdict, w.Reason)
		}
	}
	within := min(p.caps.StatementWithin+time.Second, p.t.Patience)
	for _, o := range orders {
		if err := p.stated(ctx, o, within); err != nil {
			return "", err
		}
	}
	if err := p.watch(ctx, 2); err != nil {
		return "", err
	}
	for _, o := range orders {
		if err := p.stated(ctx, o, 0); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d orders, each stated once", len(orders)), nil
}

// stated waits for the order's line and judges it.
func (p *prober) stated(ctx context.Context, o channel.Order, within time.Duration) error {
	var lines []channel.Line
	ok, err := p.until(ctx, within, func() (bool, error) {
		var err error
		lines, err = p.lines(ctx, o.Reference)
		return len(lines) > 0, err
	})
	if err != nil {
		return err
	}
	switch {
	case !ok:
		return lies("%s was executed and not stated within %s", o.Reference, within)
	case len(lines) > 1:
		return caught("%s is stated %d times", o.Reference, len(lines))
	case lines[0].Amount != o.Amount || lines[0].Direction != channel.Out:
		return caught("%s moved %s %s out and is stated as %s %s", o.Reference, o.Amount, o.Asset, lines[0].Amount, lines[0].Direction)
	}
	return nil
}

// final collects every final word about orders, and holds it against what happened.
func (p *prober) final(ctx context.Context) (string, error) {
	words := 0
	for i := range 3 {
		order := p.order(fmt.Sprintf("final-%d", i), int64(30+i))
		said := []channel.Word{p.t.Channel.Send(ctx, order)}
		_, err := p.until(ctx, p.patience(), func() (bool, error) {
			w := p.t.Channel.Query(ctx, order.Reference)
			said = append(said, w)
			return w.Verdict.Final() || !p.caps.QueryByReference, nil
		})
		if err != nil {
			return "", err
		}
		if err := p.watch(ctx, 4); err != nil {
			return "", err
		}
		effects, err := p.effects(ctx, order.Reference)
		if err != nil {
			return "", err
		}
		for _, w := range said {
			switch {
			case w.Verdict == channel.Declined && len(effects) > 0:
				return "", caught("%s was declined (%s), and executed", order.Reference, w.Reason)
			case w.Verdict == channel.Confirmed && len(effects) == 0:
				return "", lies("%s was confirmed, and not executed", order.Reference)
			case w.Verdict.Final():
				words++
			}
		}
	}
	if words == 0 {
		return "", notShown("no word was final")
	}
	return fmt.Sprintf("%d final words, all true", words), nil
}

// refund lets somebody pay us and sends the money back.
func (p *prober) refund(ctx context.Context) (string, error) {
	if p.t.Credit == nil {
		return "", notShown("nobody can be made to pay in at this endpoint")
	}
	account := "PROBE-" + p.t.Run
	if err := p.t.Credit(ctx, p.reference("credit"), account, money.Int(p.t.Amount)); err != nil {
		return "", err
	}
	if ok, err := p.moved(ctx, p.reference("credit")); err != nil || !ok {
		return "", orNotShown(err, "the payment in never came")
	}
	order := p.order("refund", 0)
	order.Payee.Account = account
	if w := p.t.Channel.Send(ctx, order); w.Verdict == channel.Declined {
		return "", lies("the way back is refused: %s", w.Reason)
	}
	ok, err := p.moved(ctx, order.Reference)
	if err != nil {
		return "", err
	}
	if !ok {
		return "", lies("the way back was never executed")
	}
	return "paid in and sent back", nil
}

func orNotShown(err error, format string, args ...any) error {
	if err != nil {
		return err
	}
	return notShown(format, args...)
}
