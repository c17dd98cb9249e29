package recon

import (
	"errors"
	"fmt"
	"time"
)

// Date is a calendar day, without a place or a time.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// ParseDate reads 2006-01-02.
func ParseDate(s string) (Date, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return Date{}, fmt.Errorf("a day is written like 2026-01-31, not %q", s)
	}
	return dateOf(t), nil
}

// String returns the day as 2006-01-02.
func (d Date) String() string { return d.in(time.UTC).Format(time.DateOnly) }

// MarshalText writes the day as 2006-01-02.
func (d Date) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

func (d Date) in(zone *time.Location) time.Time {
	return time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, zone)
}

// at is the instant of a local time of the day, daylight saving included: 17:00 is
// what the clock on the wall shows, not seventeen hours after midnight.
func (d Date) at(ofDay time.Duration, zone *time.Location) time.Time {
	return time.Date(d.Year, d.Month, d.Day, 0, int(ofDay/time.Minute), 0, 0, zone)
}

func (d Date) add(days int) Date { return dateOf(d.in(time.UTC).AddDate(0, 0, days)) }

func dateOf(t time.Time) Date {
	y, m, d := t.Date()
	return Date{y, m, d}
}

// wholeDay is the cut-off of a channel whose day ends at midnight.
const wholeDay = 24 * time.Hour

// closedRun bounds how many closed days may follow each other before a calendar is
// taken for one that is never open.
const closedRun = 60

// Calendar is when a channel works and when its statement comes. The zero Calendar
// is a rail that never closes, by UTC, whose statement follows at once.
type Calendar struct {
	// Zone of the cut-off and of the days; nil is UTC.
	Zone *time.Location
	// CutOff is the local time, in whole minutes from midnight, at which the
	// channel's business day ends; zero and 24 h are midnight.
	CutOff time.Duration
	// Weekend are the days of the week on which it does not book.
	Weekend []time.Weekday
	// Holidays are further days on which it does not book.
	Holidays map[Date]bool
	// Daily says that one statement covers one business day and comes on a later
	// one; else lines appear as they are booked.
	Daily bool
	// ArriveDays is how many business days after its own the daily statement comes,
	// ArriveAt the local time, from midnight, by which it is there.
	ArriveDays int
	ArriveAt   time.Duration
	// Grace is added to every due time; zero is DefaultMissingAfter.
	Grace time.Duration
}

// Validate reports a calendar that nothing could ever come due by.
func (c *Calendar) Validate() error {
	switch {
	case c.CutOff < 0 || c.CutOff > wholeDay || c.CutOff%time.Minute != 0:
		return fmt.Errorf("the cut-off %s is not a time of the day in whole minutes", c.CutOff)
	case c.ArriveAt < 0 || c.ArriveAt > wholeDay || c.ArriveAt%time.Minute != 0:
		return fmt.Errorf("the arrival %s is not a time of the day in whole minutes", c.ArriveAt)
	case c.ArriveDays < 0 || c.ArriveDays > closedRun:
		return fmt.Errorf("the statement comes %d business days later; write 0 to %d", c.ArriveDays, closedRun)
	case c.Grace < 0:
		return fmt.Errorf("the grace %s is below zero", c.Grace)
	}
	open := 7
	for d := time.Sunday; d <= time.Saturday; d++ {
		if c.closedOn(d) {
			open--
		}
	}
	if open == 0 {
		return errors.New("all seven days are weekend")
	}
	if len(c.Holidays) > 20*366 {
		return fmt.Errorf("%d holidays are more than 20 years", len(c.Holidays))
	}
	return nil
}

func (c *Calendar) zone() *time.Location {
	if c.Zone == nil {
		return time.UTC
	}
	return c.Zone
}

func (c *Calendar) cutOff() time.Duration {
	if c.CutOff == 0 {
		return wholeDay
	}
	return c.CutOff
}

func (c *Calendar) grace() time.Duration {
	if c.Grace == 0 {
		return DefaultMissingAfter
	}
	return c.Grace
}

func (c *Calendar) closedOn(d time.Weekday) bool {
	for _, w := range c.Weekend {
		if w == d {
			return true
		}
	}
	return false
}

// Open reports whether the channel books on the day.
func (c *Calendar) Open(d Date) bool {
	return !c.closedOn(d.in(time.UTC).Weekday()) && !c.Holidays[d]
}

// following is the first business day from d on.
func (c *Calendar) following(d Date) Date {
	for range closedRun {
		if c.Open(d) {
			return d
		}
		d = d.add(1)
	}
	return d // closed for two months: the day as good as any
}

func (c *Calendar) before(d Date) Date {
	for range closedRun {
		if d = d.add(-1); c.Open(d) {
			return d
		}
	}
	return d
}

// Day is the business day on which the channel books what happens at t: after the
// cut-off, on a weekend or a holiday, the next.
func (c *Calendar) Day(t time.Time) Date {
	local := t.In(c.zone())
	d := dateOf(local)
	if !t.Before(d.at(c.cutOff(), c.zone())) {
		d = d.add(1)
	}
	return c.following(d)
}

// Span is what the business day covers: from the end of the one before, included,
// to its own cut-off, not included.
func (c *Calendar) Span(d Date) (from, until time.Time) {
	return c.before(d).at(c.cutOff(), c.zone()), d.at(c.cutOff(), c.zone())
}

// Due is when the statement should show what the channel did at t.
func (c *Calendar) Due(t time.Time) time.Time {
	if c.Daily {
		return c.arrival(c.Day(t)).Add(c.grace())
	}
	if d := dateOf(t.In(c.zone())); !c.Open(d) {
		t = c.following(d).in(c.zone())
	}
	return t.Add(c.grace())
}

// arrival is when the daily statement of a business day should be there.
func (c *Calendar) arrival(d Date) time.Time {
	for range c.ArriveDays {
		d = c.following(d.add(1))
	}
	return d.at(c.ArriveAt, c.zone())
}
