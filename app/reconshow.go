package app

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/recon"
)

// ReconShow prints one break: what both sides say, what would heal it, and its history.
func ReconShow(ctx context.Context, c ReconConfig, id int64) error {
	r, _, done, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	b, err := r.Break(ctx, id)
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(c.Out, b)
	}
	_, err = io.WriteString(c.Out, breakText(&b, c.Lang))
	return err
}

func breakText(b *recon.Break, lang string) string {
	var out strings.Builder
	line := func(label, text string) {
		if text != "" {
			fmt.Fprintf(&out, "  %s  %s\n", say(lang, label), plain(text))
		}
	}
	title, heals := b.Title.En, b.Suggestion.En
	if lang == "zh" {
		title, heals = b.Title.Zh, b.Suggestion.Zh
	}
	fmt.Fprintf(&out, "%d  %s  %s  %s\n", b.ID, b.Class, b.State, title)
	line("break-amount", worth(b.Amount, b.Asset)+" "+b.Direction)
	line("break-channel", string(b.Channel))
	line("break-payment", b.Payment)
	line("break-reference", b.Reference)
	line("break-line", b.Line)
	line("break-severity", fmt.Sprint(b.Severity))
	line("break-owner", b.Owner)
	line("break-opened", stamp(b.OpenedAt)+" ("+age(b.AgeSeconds)+")")
	line("break-detail", b.Detail)
	if b.Sides != nil {
		sidesText(&out, b.Sides, lang)
	}
	out.WriteString(say(lang, "break-heals", strings.TrimSpace(b.Suggestion.Action+" "+b.Suggestion.Transition), b.Suggestion.Confidence, heals))
	for _, l := range b.Suggestion.Legs {
		fmt.Fprintf(&out, "    %s -> %s  %s\n", l.Debit, l.Credit, worth(l.Amount, l.Asset))
	}
	out.WriteString(say(lang, "break-history"))
	for _, e := range b.History {
		fmt.Fprintf(&out, "    %s  %s  %s  %s\n", stamp(e.At), e.What, plain(e.Who), plain(e.Note))
	}
	return out.String()
}

func worth(a money.Amount, asset money.Asset) string {
	if asset == "" {
		return a.String()
	}
	return money.Format(a, asset) + " " + string(asset)
}

// sidesText prints the evidence: ours, and the statement's.
func sidesText(out *strings.Builder, s *recon.Sides, lang string) {
	out.WriteString(say(lang, "break-ours"))
	if o := s.Ours; o != nil {
		fmt.Fprintf(out, "    %s  %s  %s  %s  %s\n", o.Payment, o.Kind, worth(o.Amount, o.Asset), o.State, o.Settlement)
		for i := range o.Attempts {
			a := &o.Attempts[i]
			fmt.Fprintf(out, "    #%d %s  %s  %s  %s\n", a.N, a.Channel, a.Reference, a.State, plain(strings.TrimSpace(a.ChannelID+" "+a.Reason)))
		}
	} else {
		out.WriteString(say(lang, "break-nothing"))
	}
	out.WriteString(say(lang, "break-theirs"))
	for i := range s.Lines {
		l := &s.Lines[i]
		fmt.Fprintf(out, "    %s  %s  %s  %s  %s  %s\n", l.Line, stamp(l.BookedAt), l.Direction, worth(l.Amount, l.Asset), l.Outcome, plain(l.Remittance))
	}
	if len(s.Lines) == 0 {
		out.WriteString(say(lang, "break-nothing"))
	}
}

// ReconAges prints how many breaks are open, by class and age.
func ReconAges(ctx context.Context, c ReconConfig) error {
	r, _, done, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	found, err := r.BreakAges(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(c.Out, found)
	}
	if len(found) == 0 {
		_, err := io.WriteString(c.Out, say(c.Lang, "break-none"))
		return err
	}
	t := tabwriter.NewWriter(c.Out, 0, 4, 2, ' ', 0)
	fmt.Fprint(t, say(c.Lang, "ages-head"))
	for i := range found {
		a := &found[i]
		title := a.Title.En
		if c.Lang == "zh" {
			title = a.Title.Zh
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", a.Class, a.Severity, a.Channel, a.Owner, a.Under, a.Count, worth(a.Value, a.Asset), stamp(a.Oldest), title)
	}
	return t.Flush()
}

// ReconPicture prints the ledger, the channels' word and their statements side by side.
func ReconPicture(ctx context.Context, c ReconConfig) error {
	today := time.Now().UTC().Format(time.DateOnly)
	if c.To == "" {
		c.To = today
	}
	if c.From == "" {
		c.From = c.To
	}
	var days [2]recon.Date
	var err error
	for i, text := range []string{c.From, c.To} {
		if days[i], err = recon.ParseDate(text); err != nil {
			return err
		}
	}
	r, _, done, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	found, err := r.Picture(ctx, c.Filter.Channel, days[0], days[1])
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(c.Out, found)
	}
	t := tabwriter.NewWriter(c.Out, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, say(c.Lang, "picture-head"))
	for i := range found.Channels {
		ch := &found.Channels[i]
		for k := range ch.Days {
			d := &ch.Days[k]
			fmt.Fprintf(t, "%s\t%s\t%s\t%s", ch.Channel, d.Day, d.Asset, d.Direction)
			for _, col := range []recon.Column{d.Ledger, d.Said, d.Stated, d.Matched, d.Surplus, d.Awaited, d.Overdue} {
				fmt.Fprintf(t, "\t%s (%d)", money.Format(col.Value, d.Asset), col.Count)
			}
			fmt.Fprintf(t, "\t%s\t\n", money.Format(d.Fees, d.Asset))
		}
		if len(ch.Days) == 0 {
			fmt.Fprintf(t, "%s\t-\t\n", ch.Channel)
		}
	}
	return t.Flush()
}
