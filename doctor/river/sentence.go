package river

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// money is what the checks that run all the time say. That nothing is lost is their word
// or nobody's.
func (b *builder) money() Money {
	m := Money{CheckedS: b.checked}
	fresh := b.checked != nil && *b.checked <= checkedWithin.Seconds()
	switch {
	case b.off > 0:
		m.State = "off"
		n := int64(b.off)
		m.Says = textf("the books do not agree in %s; reconciliation lists what is open", "账目有 %s不一致,明细见对账", en(count(n, "place", "places")), zh(fmt.Sprintf("%d 处", n)))
	case fresh && b.counted && b.offTold > 0:
		m.State = "sound"
		m.Says = textf("no money is lost", "资金无丢失")
	case b.checked == nil:
		m.State = "unknown"
		m.Says = textf("whether the books agree was not checked, because the checks are not heard", "没有收到账目检查的结果,账目是否一致尚不清楚")
	case !b.counted:
		m.State = "unknown"
		m.Says = textf("whether the books agree is not known while the database is not heard", "数据库没有应答期间,账目是否一致尚不清楚")
	default:
		m.State = "unknown"
		d := time.Duration(*b.checked * float64(time.Second))
		m.Says = textf("whether the books agree was last checked %s ago", "账目最近一次检查在 %s前", age(d, "en"), age(d, "zh"))
	}
	return m
}

func join(a doctor.Text, sepEN, sepZH string, b doctor.Text) doctor.Text {
	return doctor.Text{EN: a.EN + sepEN + b.EN, ZH: a.ZH + sepZH + b.ZH}
}

// sentence is the one line on top.
func (b *builder) sentence(m *Map) doctor.Text {
	end := func(t doctor.Text) doctor.Text {
		t = join(t, "; ", ";", m.Money.Says)
		return doctor.Text{EN: upper(t.EN) + ".", ZH: t.ZH + "。"}
	}
	if t, ok := b.deaf(m); ok {
		return doctor.Text{EN: upper(t.EN) + ".", ZH: t.ZH + "。"}
	}
	if t, ok := b.gone(m); ok {
		return end(t)
	}
	if t, ok := b.dam(m); ok {
		return end(t)
	}
	if m.Incident != nil {
		return end(textf("the trouble of %s is over as far as can be seen; it stays open until everything was counted anew", "从目前情况看 %s 的故障已结束,重新核对全部账目后才会关闭", m.Incident.ID))
	}
	if h := firstOf(m.Hops, Waiting); h != nil {
		return end(b.waits(h))
	}
	if h := firstOf(m.Hops, Unknown); h != nil {
		return end(textf("what is heard is well, but nothing is heard of %s", "收到的信息一切正常,但没有收到%s的信息", en(doctor.Called(h.Name).EN), zh(doctor.Called(h.Name).ZH)))
	}
	return end(b.well(m))
}

// deaf is when nobody tells anything.
func (b *builder) deaf(m *Map) (doctor.Text, bool) {
	var last time.Time
	for i := range m.Hops {
		if h := &m.Hops[i]; h.HeardAt != nil && h.HeardAt.After(last) {
			last = *h.HeardAt
		}
	}
	switch {
	case last.IsZero():
		return textf("nothing has been heard from the wallet yet", "尚未收到钱包的任何信息"), true
	case b.in.Now.Sub(last) > heardWithin:
		return textf("nothing has been heard from the wallet since %s; nobody knows how it is now", "自 %s 起没有收到钱包的任何信息,目前状况不明", clockOf(last)), true
	}
	return doctor.Text{}, false
}

// gone is when the database does not answer: nothing is counted, and what was counted last
// is told with its time. That nothing comes in is the edge's word, or the node's: if only
// the doctor does not reach the database, the wallet may be well.
func (b *builder) gone(m *Map) (doctor.Text, bool) {
	if h := b.hops[doctor.HopPostgres]; b.counted || h == nil || !shut(h) {
		return doctor.Text{}, false
	}
	stands := slices.ContainsFunc(m.Hops, func(h Hop) bool {
		return h.State == Stalled && slices.Contains([]string{doctor.HopAPI, doctor.HopServe, doctor.HopDecider}, h.Name)
	})
	t := textf("the database does not answer the doctor: what waits cannot be counted", "数据库没有应答诊断系统:无法统计等待的支付")
	if stands {
		t = textf("the database does not answer: nothing new is taken in, and no payment moves on", "数据库没有应答:不受理新支付,也没有支付继续处理")
	}
	if b.in.Standing == nil {
		return t, true
	}
	p, at := b.open(), clockOf(b.in.Standing.At)
	if p.Items > 0 {
		verb := "were under way when they were"
		if p.Items == 1 {
			verb = "was under way when it was"
		}
		t = join(t, "; ", ";", textf("%s (%s) %s last counted, at %s", "最近一次统计(%[3]s)时有 %[1]s 笔在途(%[2]s)",
			en(count(p.Items, "payment", "payments")), zh(grouped(strconv.FormatInt(p.Items, 10))), worth(p), en(verb), at))
		if stands {
			t = join(t, ", and ", ",", textf("in the books their money is where it was then; what a bank was sent before may still happen", "账簿中这些资金仍在当时的位置;此前已发给银行的仍可能发生"))
		}
	}
	return t, true
}

// shut says that the door of the database does not open. One that lives and has no room
// for us is not shut.
func shut(h *Hop) bool { return has(h.Figures, string(doctor.Up)) && h.Figures[string(doctor.Up)] == 0 }

// behind is what waits because of a hop: a channel's own work waits before it, at it and
// behind it; for all else it is the hop's, and for what everything stands on, all.
func (b *builder) behind(hop string) *Pile {
	p := &Pile{Value: map[string]string{}}
	if !b.counted {
		return p
	}
	own := slices.Contains([]string{doctor.HopDispatch, doctor.HopSettle}, hop)
	h := b.hops[hop]
	channel := h != nil && h.Kind == doctor.Channel
	for i := range b.in.Standing.Lanes {
		l := &b.in.Standing.Lanes[i]
		if channel && l.Hop != hop && (l.Channel != hop || l.Hop == doctor.HopDecider) || own && l.Hop != hop {
			continue
		}
		p.add(l)
	}
	return p
}

// dam names the hop that the water stands behind: where the answer sees the cause, if that
// is one of the stalled or all of them lie along it, else the stalled one with most behind it.
func (b *builder) dam(m *Map) (doctor.Text, bool) {
	var stalled []*Hop
	for i := range m.Hops {
		if m.Hops[i].State == Stalled {
			stalled = append(stalled, &m.Hops[i])
		}
	}
	if len(stalled) == 0 {
		return doctor.Text{}, false
	}
	at := stalled[0]
	pile := b.behind(at.Name)
	for _, h := range stalled[1:] {
		if p := b.behind(h.Name); p.Items > pile.Items {
			at, pile = h, p
		}
	}
	if m.Incident != nil && m.Incident.Hop != "" && b.hops[m.Incident.Hop] != nil {
		if p := b.behind(m.Incident.Hop); p.Items > 0 || at.Name == m.Incident.Hop {
			at, pile = b.hops[m.Incident.Hop], p
		}
	}
	if pile.Items == 0 {
		why := at.Why
		if why == nil {
			why = stalled[0].Why
		}
		return join(atHop(at.Name), ": ", ":", *why), true
	}
	what := pileAt(pile, doctor.Called(at.Name))
	if pile.Oldest != nil {
		d := b.in.Now.Sub(*pile.Oldest)
		what = join(what, "", "", textf(", the oldest for %s", ",最早一笔已等 %s", age(d, "en"), age(d, "zh")))
	}
	if n := b.elsewhere(stalled, at); n > 0 {
		what = join(what, "", "", textf("; %s elsewhere", ";另有 %d 处停滞", en(count(n, "more stall", "more stalls")), zh(n)))
	}
	return what, true
}

// elsewhere counts the stalled channels that what was said does not tell of.
func (b *builder) elsewhere(stalled []*Hop, at *Hop) (n int64) {
	for _, h := range stalled {
		if h.Kind == doctor.Channel && h.Name != at.Name && at.Kind == doctor.Channel {
			n++
		}
	}
	return n
}

func pileAt(p *Pile, at doctor.Text) doctor.Text {
	verb := "wait"
	if p.Items == 1 {
		verb = "waits"
	}
	return textf("%s (%s) %s behind %s", "%s 笔支付(%s)滞留在 %s",
		en(count(p.Items, "payment", "payments")), zh(grouped(strconv.FormatInt(p.Items, 10))), worth(p), en(verb), en(at.EN), zh(at.ZH))
}

// atHop begins a sentence: the name of a channel is written as it is.
func atHop(name string) doctor.Text {
	c := doctor.Called(name)
	return doctor.Text{EN: "at " + c.EN, ZH: c.ZH}
}

// waits is for a hop that is late, or held back, with nobody woken yet.
func (b *builder) waits(h *Hop) doctor.Text {
	t := join(atHop(h.Name), ": ", ":", *h.Why)
	if h.Pile != nil && h.Pile.Items > 0 {
		t = join(t, "", "", textf(" – %s (%s)", "——%s 笔(%s)", en(count(h.Pile.Items, "payment waits", "payments wait")), zh(grouped(strconv.FormatInt(h.Pile.Items, 10))), worth(h.Pile)))
	}
	return t
}

// well is for a good day.
func (b *builder) well(m *Map) doctor.Text {
	in, out := 0.0, 0.0
	for _, f := range m.Flows {
		if f.From == doctor.HopAPI {
			in += f.Per
		}
		if f.To == HopFinal {
			out += f.Per
		}
	}
	if in < 0.05 && out < 0.05 {
		if m.Open == nil || m.Open.Items == 0 {
			return textf("it is quiet: nothing comes in and nothing waits", "一切平静:没有新的支付,也没有支付在等待")
		}
		return textf("it is quiet: nothing new comes in, %s under way as usual", "一切平静:没有新的支付,%s 笔正常处理中", en(count(m.Open.Items, "payment is", "payments are")), zh(grouped(strconv.FormatInt(m.Open.Items, 10))))
	}
	return textf("all is well: %s payments a second come in and nothing waits longer than usual", "一切正常:每秒进入 %s 笔支付,没有支付等待超过平时", rate(in))
}

func rate(v float64) string {
	if v < 10 {
		return fmt.Sprintf("%.1f", v)
	}
	return grouped(fmt.Sprintf("%.0f", v))
}

func firstOf(hops []Hop, s State) *Hop {
	var found *Hop
	for i := range hops {
		h := &hops[i]
		if h.State == s && (found == nil || items(h) > items(found)) {
			found = h
		}
	}
	return found
}

func items(h *Hop) int64 {
	if h.Pile == nil {
		return 0
	}
	return h.Pile.Items
}

func upper(s string) string {
	if s != "" && s[0] >= 'a' && s[0] <= 'z' {
		return string(s[0]-'a'+'A') + s[1:]
	}
	return s
}
