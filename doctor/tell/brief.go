package tell

import (
	"strings"

	"github.com/moneta-pay/moneta/doctor"
)

// text is a template of what people are told, in both languages. In braces stands what a
// payment's own page has; {time}, {channel}, {from}, {until} are the incident's. None
// promises a time, a sum or a return that nobody has proved.
type text struct {
	id     string
	en, zh string
}

var texts = []text{
	{
		"B1", "Some payments are slower than usual. Each is followed until its result is certain. Please do not pay again; next update by {time}.",
		"部分付款到账变慢,每一笔都会跟踪到结果确定为止。请勿重复支付,我们会在 {time} 前更新。",
	},
	{
		"U1", "Your payment {id} ({amount}) is still being processed, expected by {eta}. The money is currently {where}. You do not need to do anything; please do not pay again.",
		"您的付款 {id}({amount})仍在处理,预计 {eta} 前完成。款项目前{where}。无需任何操作,请勿重复支付。",
	},
	{
		"U2", "We are confirming the result of {id} with {channel}. You will not be charged again for it. If their record shows that it was not carried out, {amount} becomes available again.",
		"我们正在向 {channel} 核实 {id} 的结果。核实前不会再次扣款。若对方记录证明未执行,{amount} 将恢复可用。",
	},
	{
		"U3", "The payment {id} was not carried out. {amount} is back in your balance ({time-back}). You can pay now.",
		"付款 {id} 未执行,{amount} 已退回您的余额({time-back})。现在可以付款。",
	},
	{
		"U4", "Payment {id} succeeded at {time-done}. {payee} has received it. Thank you for waiting, and sorry that it took so long.",
		"付款 {id} 已于 {time-done} 成功,{payee} 已收到。抱歉让您久等,感谢等待。",
	},
	{
		"S1", "I see payment {id}: {phase}, the money is {where}, it is checked every {interval}, and {deadline} is the latest at which the bank's own record decides. Please do not repeat it.",
		"已查到付款 {id}:当前 {phase},资金在 {where},系统每 {interval} 自动核实,最晚 {deadline} 由银行记录定论。请勿重新支付。",
	},
	{
		"P1", "Since {from} callbacks of {channel} may be late. Rely on the query API, and do not treat timeouts as failures. What is late is told in order afterwards.",
		"自 {from} 起 {channel} 的回调可能延迟。请以查询接口为准,勿以超时判失败。恢复后按序补发。",
	},
	{
		"C1", "To {channel}: the references in the attached, signed list have no final state. Please give the final state and your own id of each.",
		"致 {channel}:附件(签名清单)中的参考号没有终态,请逐笔提供最终状态与贵方流水号。",
	},
	{
		"E1", "The delay between {from} and {until} is over. Every payment of that time has its result in the app; nothing needs to be paid again.",
		"{from} 至 {until} 的延迟已恢复。该时段内每笔付款的结果均可在应用中查看,无需重复支付。",
	},
}

// Brief is for support while it lasts: what happened, who is affected, what to say, what
// not to say, and when there is news.
func Brief(s *Source) (*Doc, error) {
	if len(s.Entries) == 0 {
		return nil, errEmpty
	}
	d := newDoc(s, word(s.Lang, "b-title"))
	last := s.Entries[len(s.Entries)-1].Seq
	d.text(d.w("b-head", code(s.Incident.ID), d.f(last, "at|instant")))
	cause, known := s.cause()

	d.head(2, "b-what")
	if known {
		d.text(d.fromCause(cause.ID, "explains"))
	} else {
		d.text(d.w("b-what-none"))
	}
	d.head(2, "b-since")
	seq, path := s.began()
	if closed := s.last(doctor.EntryClosed); s.Incident.ClosedAt != nil && closed != nil {
		d.text(d.w("b-since-over", d.f(seq, path+"|instant"), d.f(closed.Seq, "at|instant")))
	} else {
		d.text(d.w("b-since-open", d.f(seq, path+"|instant")))
	}
	d.head(2, "b-who")
	d.text(d.clients())
	if e := s.last(doctor.EntryMoney); e != nil && s.Incident.ClosedAt == nil && len(data[doctor.MoneyAtRisk](e).Value) > 0 {
		d.text(d.w("b-waits", d.f(e.Seq, "data.items|int"), d.f(e.Seq, "data.oldest_s|took"), d.f(e.Seq, "data.value|worth")))
	}
	d.head(2, "b-say")
	say := []cell{d.w("b-say-any")}
	if known {
		say = append(say, plain(s.fill(oneLine(cause.Support.In(d.Lang)))))
		for _, t := range []string{cause.Users.EN, cause.Users.ZH} {
			if t != "" {
				say = append(say, plain("“"+s.fill(oneLine(t))+"”"))
			}
		}
	}
	d.list(say)
	d.head(2, "b-not")
	d.list([]cell{d.w("b-not-again"), d.w("b-not-failed"), d.w("b-not-time"), d.w("b-not-return"), d.w("b-not-keys")})
	d.head(2, "b-next")
	d.next()
	d.head(2, "b-texts")
	d.text(d.w("b-texts-why"))
	var rows []row
	for _, t := range texts {
		if !s.fits(t) {
			continue
		}
		en, zh := s.fillText(t)
		rows = append(rows, row{code(t.id), plain(word(d.Lang, "case-"+t.id)), plain(zh), plain(en)})
	}
	d.table([]string{"h-id", "h-case", "h-zh", "h-en"}, rows)
	return d, d.err
}

// next is until when holders must hear again: from the last word to them on, else from
// the opening on.
func (d *Doc) next() {
	e := d.s.spoke()
	switch {
	case d.s.Incident.ClosedAt != nil:
		d.text(d.w("b-next-over"))
	case d.s.Now.After(e.At.Add(Silence)):
		d.text(strong(d.w("b-next-late", d.f(e.Seq, "at|next"))))
	default:
		d.text(strong(d.w("b-next-at", d.f(e.Seq, "at|next"))))
	}
}

// spoke is the entry from which the silence counts.
func (s *Source) spoke() *doctor.Entry {
	if all := s.toHolders(); len(all) > 0 {
		return all[len(all)-1]
	}
	return &s.Entries[0]
}

// Told is one text of the incident, ready to be sent, in both languages.
type Told struct {
	ID   string      `json:"id"`
	Text doctor.Text `json:"text"`
}

// Texts are the templates with what the incident knows filled in; what is a payment's own
// stays in braces. The one that tells the end is there once a clean proof has closed it.
func Texts(s *Source) []Told {
	var out []Told
	for _, t := range texts {
		if !s.fits(t) {
			continue
		}
		en, zh := s.fillText(t)
		out = append(out, Told{t.id, doctor.Text{EN: en, ZH: zh}})
	}
	return out
}

// fits says whether a text can be sent now: the end is told on a clean proof only, and
// what promises an update while it lasts is not sent any more.
func (s *Source) fits(t text) bool {
	c := s.Incident.Closing
	switch t.id {
	case "E1":
		return c != nil && c.Clean
	case "B1", "P1":
		return c == nil
	}
	return true
}

func (s *Source) fillText(t text) (en, zh string) {
	next := s.Now
	if len(s.Entries) > 0 {
		next = s.spoke().At.Add(Silence)
	}
	const clock = "15:04 UTC"
	until := "{until}"
	if s.Incident.ClosedAt != nil {
		until = s.Incident.ClosedAt.UTC().Format(clock)
	}
	channel := [2]string{"the bank", "银行"}
	if _, h, ok := s.leading(); ok && h.Kind == doctor.Channel {
		channel = [2]string{h.Node, h.Node}
	}
	fill := func(text string, i int) string {
		return strings.NewReplacer("{time}", next.UTC().Format(clock), "{from}", s.Incident.Since.UTC().Format(clock), "{until}", until, "{channel}", channel[i]).Replace(text)
	}
	return fill(t.en, 0), fill(t.zh, 1)
}
