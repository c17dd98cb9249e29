package attend

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// leftTo is what a lever hides for longer than an incident waits, and whose that is.
type leftTo struct {
	text  string
	owner string
	told  doctor.Text
}

// hidden reports whether to wait, because somebody's lever keeps the trouble from being
// seen: where nothing is sent nothing fails, and an ill bank looks like a well one. It is
// said once, with who can end it. Once the lever is gone it must be quiet for seenAgain
// without it. After heldPatience it is returned to be left to the owner of the lever.
func (a *Attendant) hidden(ctx context.Context, e *doctor.Evidence, now time.Time) (left *leftTo, wait bool, err error) {
	i := a.open
	hop, by := i.hiddenBy(e)
	switch {
	case by != nil:
		i.seenFrom = time.Time{}
		if text := heldBack(hop, by, isChannel(e, hop)); i.hidden != text.EN {
			if err := a.write(ctx, i.id, doctor.EntryTold, doctor.Told{To: "operators", Text: text, About: doctor.HeldBack}); err != nil {
				return nil, true, err
			}
			if i.hidden == "" {
				i.hiddenAt = now
			}
			i.hidden = text.EN
		}
		if now.Sub(i.hiddenAt) < heldPatience {
			return nil, true, nil
		}
		return leaves(hop, by), false, nil
	case i.hidden != "":
		text := doctor.Text{
			EN: "Nobody's lever hides it any more. It counts as repaired once it has stayed quiet without one for half a minute.",
			ZH: "已没有人为控制遮挡。在没有控制的情况下保持平静半分钟后,才视为已修复。",
		}
		if err := a.write(ctx, i.id, doctor.EntryTold, doctor.Told{To: "operators", Text: text, About: doctor.LetGo}); err != nil {
			return nil, true, err
		}
		i.hidden, i.seenFrom = "", now
		return nil, true, nil
	}
	return nil, !i.seenFrom.IsZero() && now.Sub(i.seenFrom) < seenAgain, nil
}

// leaveTo closes on what is hidden, listed with its owner: it is no health, and nobody's
// secret. Whatever the count found is listed with it.
func (a *Attendant) leaveTo(ctx context.Context, left *leftTo, found []string, owned map[string]string) {
	if a.write(ctx, a.open.id, doctor.EntryTold, doctor.Told{To: "operators", Text: left.told}) != nil {
		return
	}
	owners := map[string]string{left.text: left.owner}
	maps.Copy(owners, owned)
	a.close(ctx, doctor.Closing{Breaks: append(slices.Clone(found), left.text), Owners: owners})
}

// about remembers the hops that the incident is about: where its alarms paged, and whose
// fault was acted on.
func (i *incident) about(paged bool, names ...string) {
	if i.hops == nil {
		i.hops = map[string]bool{}
	}
	for _, n := range names {
		if n != "" {
			i.hops[n] = i.hops[n] || paged
		}
	}
}

// self owns the levers that the doctor pulls.
const self = "doctor"

// hiddenBy is the hop of the incident that a lever hides, and what is known of the lever;
// nil when all can be seen. The doctor's own were let go before this is asked. What held
// before the incident began hides only what was seen to be ill nevertheless: who is blamed
// although nothing was sent there is blamed for what came before.
func (i *incident) hiddenBy(e *doctor.Evidence) (hop string, by map[string]string) {
	for k := range e.Readings {
		r := &e.Readings[k]
		if r.Signal != doctor.Paused || r.Last <= 0 || r.Peer != "" || r.Detail["owner"] == self {
			continue // ours are let go by now, and only not seen to be yet
		}
		if p := r.Presence(e.TakenAt); p != doctor.Present && p != doctor.New {
			continue
		}
		for _, h := range i.names() {
			if (i.hops[h] || r.Before.N == 0) && hides(e, r, h) {
				return h, r.Detail
			}
		}
	}
	return "", nil
}

// names are the hops in the order of their names, and what the answer blames that stands
// now: the same evidence says the same.
func (i *incident) names() (out []string) {
	for n := range i.hops {
		out = append(out, n)
	}
	if n := i.answer.Blames(); n != "" && !slices.Contains(out, n) {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// hides reports whether a lever takes away the traffic by which alone a hop shows that it
// is ill. What is looked at by itself, such as a database, is seen in any case.
func hides(e *doctor.Evidence, r *doctor.Reading, hop string) bool {
	channel := isChannel(e, hop)
	callers := hop == doctor.HopAPI || hop == doctor.HopClient
	aim := r.Statistic
	if r.Hop == doctor.HopAPI { // new payments are refused
		name, one := strings.CutPrefix(aim, "channel:")
		return aim == "everything" && (channel || callers || hop == doctor.HopDispatch) || one && channel && name == hop
	}
	if aim != "" {
		return channel && aim == hop
	}
	refuses := r.Detail["by"] == "read-only" || r.Detail["by"] == "safe-mode"
	return channel || hop == doctor.HopDispatch || callers && refuses
}

func isChannel(e *doctor.Evidence, hop string) bool {
	return slices.ContainsFunc(e.Hops, func(h doctor.Hop) bool { return h.Name == hop && h.Kind == doctor.Channel })
}

// heldBack says what hides it, until when, and what to do next.
func heldBack(hop string, by map[string]string, channel bool) doctor.Text {
	en, zh := by["by"]+" "+by["aim"], by["by"]+" "+by["aim"]
	if who := by["owner"]; who != "" {
		en, zh = who+" ("+en+")", who+"("+zh+")"
	}
	until, bis := "somebody lets it go", "有人解除"
	if u := by["until"]; u != "" {
		until, bis = u, u
	}
	if why := by["reason"]; why != "" {
		en, zh = en+", because \""+why+"\"", zh+",理由“"+why+"”"
	}
	try, probe := "", ""
	if channel {
		try, probe = "try it at its test endpoint (moneta channel test "+hop+"), or ", "在其测试端点试探(moneta channel test "+hop+"),或"
	}
	return doctor.Text{
		EN: hop + " is held back by " + en + ", until " + until + ". While nothing is sent, whether it is well cannot be seen: this does not count as repaired. After ten minutes it is left to whoever holds it, and closed as held back, not as well. " +
			"Next: " + try + "let it go and watch (moneta lever list; moneta lever undo).",
		ZH: hop + " 被 " + zh + " 暂停,直至 " + bis + "。没有发送时无法判断其是否正常:不视为已修复。十分钟后交由控制方负责,事件以“暂停中、未证实恢复”关闭。" +
			"下一步:" + probe + "解除后观察(moneta lever list;moneta lever undo)。",
	}
}

// leaves lists what stays hidden, for the owner of the lever.
func leaves(hop string, by map[string]string) *leftTo {
	owner := cmp.Or(by["owner"], "operators")
	lever := strings.TrimSpace(by["by"] + " " + by["aim"])
	text := hop + " is held back (" + lever + "), so that nobody has seen whether it is well"
	return &leftTo{text: text, owner: owner, told: doctor.Text{
		EN: "This closes as held back, not as well: " + text + ". It is left to " + owner + ", who tries it and lets it go. If it is still ill then, that opens an incident of its own.",
		ZH: "事件以“暂停中、未证实恢复”关闭:" + hop + " 仍被暂停(" + lever + "),无法判断其是否正常。由 " + owner + " 负责试探并解除;届时若仍异常,将另开事件。",
	}}
}
