package intake

import (
	"context"
	"strconv"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/commit"
)

// A payment whose channels contradict themselves waits in review: neither a channel nor
// a timer ends that. Two people do, when they have seen in a channel's statement or
// books which attempt has executed.

// names refuses evidence that is about something else than the attempt it is filed for,
// and evidence that names it by half: what the second person signs says it all.
func (e *Evidence) names(p *pay.Payment) error {
	no := func(param, why string) error {
		return fault.New(fault.IllegalTransition, why).WithParam(param).WithResource(p.ID.String())
	}
	if e.Executed && e.Reference+e.Channel+e.ChannelID+e.Amount != "" {
		for _, must := range e.full() {
			if must.is == "" {
				return no(must.param, "name the attempt by reference, channel and amount, as that channel's statement or books have it, or by none of them")
			}
		}
	}
	if e.Channel != "" && e.Attempt == p.Attempt.N && e.Channel != p.Channel {
		return no("/channel", elsewhere(e.Attempt, p.Channel))
	}
	if e.Reference != "" {
		id, n, err := pay.ParseReference(e.Reference)
		switch {
		case err != nil:
			return no("/reference", "this is no reference of ours: take it from the channel's statement, or from the payment's timeline")
		case id != p.ID:
			return no("/reference", "this is an attempt of "+id.String()+": file the evidence for that payment")
		case n != e.Attempt:
			return no("/reference", "this is attempt "+strconv.Itoa(int(n))+", and the evidence is filed for attempt "+strconv.Itoa(int(e.Attempt)))
		}
	}
	if e.Amount != "" {
		if stated, err := money.ParseMinor(e.Amount); err != nil || stated != p.Amount {
			return no("/amount", "the payment is of "+p.Amount.String()+" in smallest units: ask the channel to correct its books, or recall what it executed")
		}
	}
	return nil
}

// member is one by which evidence names an attempt.
type member struct{ param, is string }

func (e *Evidence) full() [3]member {
	return [...]member{{"/reference", e.Reference}, {"/channel", e.Channel}, {"/amount", e.Amount}}
}

func elsewhere(n int16, channel string) string {
	return "attempt " + strconv.Itoa(int(n)) + " went to " + channel + ": only that channel's books say what became of it"
}

// executed returns the attempt that the evidence may be believed about: the one that it
// names in full, on the channel that it went to, and of which that channel has said that
// it executed it. What a channel has proven never to have executed, and has said nothing
// else of since, its own next word can settle, and people's cannot.
func (in *Intake) executed(ctx context.Context, p *pay.Payment, e *Evidence) (*commit.AttemptRecord, error) {
	no := func(param, why string) error {
		return fault.New(fault.IllegalTransition, why).WithParam(param).WithResource(p.ID.String())
	}
	for _, must := range e.full() {
		if must.is == "" {
			return nil, no(must.param, "its channels contradict themselves: name the attempt that has executed by reference, channel and amount, as that channel's statement or books have it")
		}
	}
	line, err := in.originals.Timeline(ctx, e.Tenant, e.Payment)
	if err != nil {
		return nil, err
	}
	for i := range line.Attempts {
		a := &line.Attempts[i]
		if a.N != e.Attempt {
			continue
		}
		if a.Channel != e.Channel {
			return nil, no("/channel", elsewhere(a.N, a.Channel))
		}
		said := false
		if in.contradicted != nil {
			if said, err = in.contradicted(ctx, a.Channel, a.Reference); err != nil {
				return nil, err
			}
		}
		if !said {
			return nil, no("/attempt", "attempt "+strconv.Itoa(int(a.N))+" is "+a.State.String()+" by its channel's own word, and that channel has not said since that it executed it: "+
				"name the attempt that a break is about, or have the channel report this one, by callback or on its statement")
		}
		return a, nil
	}
	return nil, no("/attempt", "there is no such attempt")
}

// settleBy ends the review: the payment has succeeded by the attempt that is named. What
// any channel says of another attempt afterwards is a contradiction, and a break.
//
// Crash points: it is one Fact, and the approval is its reason. Before its commit the
// payment waits as before, and whoever takes over says it again; after it, whoever says
// it again finds a success by that attempt, and changes nothing. Somebody else's Fact in
// between, another attempt's or the end of the review, makes it a refusal.
func (in *Intake) settleBy(ctx context.Context, p *pay.Payment, e *Evidence) (commit.Result, error) {
	a, err := in.executed(ctx, p, e)
	if err != nil {
		return commit.Result{}, err
	}
	id := e.ChannelID
	if id == "" {
		id = a.ChannelID
	}
	return in.submit.Submit(ctx, commit.Fact{Payment: &pay.Fact{
		Kind: pay.Attest, Payment: p.ID, At: in.clock.Now().UTC(), Attempt: a.N, SendBy: a.SendBy, Channel: a.Channel, ChannelID: id,
		Amount: p.Amount, Asset: p.Asset, Source: pay.SourceOperators, Reason: e.reason(),
	}})
}
