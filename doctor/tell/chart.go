package tell

import (
	"bytes"
	"fmt"
	"html"
	"strconv"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// chart draws an incident over time: how many payments waited, which alarms held, what
// was done, and when each stage was reached. Every point leads to its entry.
type chart struct {
	s           *Source
	from, until time.Time
	most        int
	peak        *doctor.Entry
}

const (
	chartW, chartLeft, chartRight = 960, 16, 16
	moneyTop, moneyH              = 34, 150
	laneH                         = 18
	lanesMax                      = 8
)

func newChart(d *Doc) *chart {
	s := d.s
	c := &chart{s: s, from: s.Incident.Since, until: s.Entries[len(s.Entries)-1].At}
	if !c.until.After(c.from) {
		return nil
	}
	for _, e := range s.of(doctor.EntryMoney) {
		if m := data[doctor.MoneyAtRisk](e); m.Items > c.most {
			c.most, c.peak = m.Items, e
		}
	}
	return c
}

func (c *chart) x(t time.Time) float64 {
	share := float64(t.Sub(c.from)) / float64(c.until.Sub(c.from))
	return chartLeft + min(1, max(0, share))*(chartW-chartLeft-chartRight)
}

func (c *chart) y(items int) float64 {
	return moneyTop + moneyH*(1-float64(items)/float64(max(1, c.most)))
}

// svg writes it; d.f marks the entries that its labels cite.
func (c *chart) svg(b *bytes.Buffer, d *Doc) {
	alarms := c.bars()
	base := moneyTop + moneyH
	height := base + 26 + laneH*(len(alarms)+1) + 26
	fmt.Fprintf(b, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">\n", chartW, height, html.EscapeString(word(d.Lang, "pm-over-time")))
	c.stages(b, d, base)
	c.money(b, d, base)
	y := base + 26
	for _, a := range alarms {
		fmt.Fprintf(b, "<a href=\"#%s\"><rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"10\" rx=\"3\" fill=\"#c0392b\" fill-opacity=\".75\"/></a>\n", anchorEntry(a.entry), c.x(a.from), y, max(3, c.x(a.until)-c.x(a.from)))
		fmt.Fprintf(b, "<text x=\"%.1f\" y=\"%d\">%s</text>\n", min(c.x(a.from)+4, chartW-220), y+9, html.EscapeString(a.label))
		d.cited[a.entry] = true
		y += laneH
	}
	for _, e := range c.s.of(doctor.EntryDone, doctor.EntryFailed) {
		color := "#2471a3"
		if e.What == doctor.EntryFailed {
			color = "#c0392b"
		}
		x := c.x(e.At)
		fmt.Fprintf(b, "<a href=\"#%s\"><path d=\"M%.1f %d l6 6 l-6 6 l-6 -6z\" fill=\"%s\"><title>%s</title></path></a>\n", anchorEntry(e.Seq), x, y, color, html.EscapeString(data[doctor.Done](e).Act.Do))
		d.cited[e.Seq] = true
	}
	last := c.s.Entries[len(c.s.Entries)-1].Seq
	seq, path := c.s.began()
	fmt.Fprintf(b, "<text x=\"%d\" y=\"%d\">%s</text>\n", chartLeft, height-8, d.f(seq, path+"|clock").html())
	fmt.Fprintf(b, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n</svg>\n", chartW-chartRight, height-8, d.f(last, "at|clock").html())
}

func (c *chart) stages(b *bytes.Buffer, d *Doc, base int) {
	end := -100.0
	level := 0
	for _, stage := range doctor.Stages() {
		e := c.s.stage(stage)
		if e == nil {
			continue
		}
		x := c.x(e.At)
		if level++; x-end > 90 {
			level = 0
		}
		end = x
		fmt.Fprintf(b, "<a href=\"#%s\"><path d=\"M%.1f %d V%d\" stroke=\"#8888\" stroke-dasharray=\"3 3\" stroke-width=\"2\"/></a>", anchorEntry(e.Seq), x, 6, base)
		anchor := "start"
		if x > chartW-100 {
			anchor = "end"
		}
		fmt.Fprintf(b, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"%s\">%s</text>\n", x, 14+12*(level%2), anchor, html.EscapeString(word(d.Lang, "stage-"+string(stage))))
		d.cited[e.Seq] = true
	}
}

func (c *chart) money(b *bytes.Buffer, d *Doc, base int) {
	fmt.Fprintf(b, "<path d=\"M%d %d H%d\" stroke=\"#888\"/>\n", chartLeft, base, chartW-chartRight)
	if c.peak == nil {
		return
	}
	var line, points bytes.Buffer
	for i, e := range c.s.of(doctor.EntryMoney) {
		x, y := c.x(e.At), c.y(data[doctor.MoneyAtRisk](e).Items)
		step := "L"
		if i == 0 {
			step = "M"
		}
		line.WriteString(step + strconv.FormatFloat(x, 'f', 1, 64) + " " + strconv.FormatFloat(y, 'f', 1, 64) + " ")
		fmt.Fprintf(&points, "<a href=\"#%s\"><circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"#b9770e\"/></a>", anchorEntry(e.Seq), x, y)
		d.cited[e.Seq] = true
	}
	fmt.Fprintf(b, "<path d=\"%s\" fill=\"none\" stroke=\"#b9770e\" stroke-width=\"2\"/>\n%s\n", line.String(), points.String())
	anchor, x := "start", c.x(c.peak.At)+6
	if x > chartW-220 {
		anchor, x = "end", x-12
	}
	fmt.Fprintf(b, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s %s</text>\n", x, c.y(c.most)+12, anchor, d.f(c.peak.Seq, "data.items|int").html(), html.EscapeString(word(d.Lang, "h-items")))
}

// bar is how long an alarm held.
type bar struct {
	entry       uint64
	from, until time.Time
	label       string
}

func (c *chart) bars() []bar {
	var out []bar
	open := map[string]int{}
	for _, e := range c.s.of(doctor.EntryOpened, doctor.EntryAlarm, doctor.EntryQuiet) {
		a := data[doctor.Alarm](e)
		if e.What == doctor.EntryOpened {
			a = data[doctor.Opening](e).Alarm
		}
		key := string(a.Rule) + "\x00" + a.Hop + "\x00" + string(a.Signal) + "\x00" + a.Statistic
		i, holds := open[key]
		switch {
		case e.What == doctor.EntryQuiet:
			if holds {
				out[i].until = e.At
				delete(open, key)
			}
		case !holds && len(out) < lanesMax:
			open[key] = len(out)
			from := a.Since
			if from.IsZero() || from.After(e.At) {
				from = e.At
			}
			out = append(out, bar{e.Seq, from, c.until, string(a.Rule) + " " + a.Hop})
		}
	}
	return out
}
