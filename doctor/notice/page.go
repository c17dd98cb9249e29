package notice

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

//go:embed page.html
var pageHTML string

var page = template.Must(template.New("page").Parse(pageHTML))

// view is what the template asks.
type view struct {
	*Page
	Lang string
}

// W is a word of the page.
func (v view) W(key string) string { return words[key].In(v.Lang) }

// In is a text in the page's language.
func (v view) In(t doctor.Text) string { return t.In(v.Lang) }

// Time is absolute, with its zone.
func (v view) Time(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// ISO is for machines.
func (v view) ISO(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Tip tells of one day.
func (v view) Tip(d Day) string {
	if d.Minutes == 0 {
		return d.Date + ": " + v.W("quiet")
	}
	return fmt.Sprintf("%s: %d %s", d.Date, d.Minutes, v.W("minutes"))
}

// Bars tells the ninety days to who cannot see them.
func (v view) Bars() string {
	n := 0
	for _, d := range v.Days {
		if d.Minutes > 0 {
			n++
		}
	}
	if v.Lang == "zh" {
		return fmt.Sprintf("最近 %d 天中有 %d 天出现异常", len(v.Days), n)
	}
	return fmt.Sprintf("a disruption on %d of the last %d days", n, len(v.Days))
}

// HTML renders the page; lang is en or zh. It needs no script.
func (p *Page) HTML(lang string) ([]byte, error) {
	var b bytes.Buffer
	if err := page.Execute(&b, view{p, lang}); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
