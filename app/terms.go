package app

import (
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // a container without zones still knows where a bank is

	"github.com/moneta-pay/moneta/config"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/recon"
	"github.com/moneta-pay/moneta/pay/recon/statement"
)

// statementTerms reads what was agreed with each channel about its statement; the
// error names every setting that is wrong.
func statementTerms(channels []config.Channel) (map[channel.Name]recon.Terms, error) {
	out := make(map[channel.Name]recon.Terms, len(channels))
	var wrong []error
	for i := range channels {
		terms, err := termsOf(&channels[i].Statement)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("channels[%d].statement: %w", i, err))
		}
		out[channel.Name(channels[i].Name)] = terms
	}
	return out, errors.Join(wrong...)
}

func termsOf(s *config.Statement) (t recon.Terms, err error) {
	c := &t.Calendar
	if c.Zone, err = time.LoadLocation(s.TimeZone); err != nil {
		return t, fmt.Errorf("time_zone: %w; write one such as Europe/Prague", err)
	}
	if c.CutOff, err = timeOfDay(s.CutOff); err != nil {
		return t, fmt.Errorf("cut_off: %w", err)
	}
	if c.ArriveAt, err = timeOfDay(s.ArriveAt); err != nil {
		return t, fmt.Errorf("arrive_at: %w", err)
	}
	if c.Weekend, err = weekdays(s.Weekend); err != nil {
		return t, fmt.Errorf("weekend: %w", err)
	}
	c.Holidays = make(map[recon.Date]bool, len(s.Holidays))
	for _, text := range s.Holidays {
		day, err := recon.ParseDate(text)
		if err != nil {
			return t, fmt.Errorf("holidays: %w", err)
		}
		c.Holidays[day] = true
	}
	if s.Grace != "" {
		if c.Grace, err = time.ParseDuration(s.Grace); err != nil {
			return t, fmt.Errorf("grace: %w", err)
		}
	}
	c.Daily, c.ArriveDays = s.Daily, s.ArriveDays
	if t.Fees, err = agreedFees(s.Fees); err != nil {
		return t, fmt.Errorf("fees: %w", err)
	}
	t.Files = s.Files
	if len(s.CSV) > 0 {
		if t.Mapping, err = statement.ParseMapping(s.CSV); err != nil {
			return t, fmt.Errorf("csv: %w", err)
		}
	}
	return t, c.Validate()
}

// timeOfDay reads 17:00; empty is 0.
func timeOfDay(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	if s == "24:00" {
		return 24 * time.Hour, nil
	}
	t, err := time.Parse("15:04", s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a time of the day such as 17:00", s)
	}
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, nil
}

func weekdays(names []string) (out []time.Weekday, err error) {
	for _, name := range names {
		found := false
		for d := time.Sunday; d <= time.Saturday; d++ {
			if strings.EqualFold(d.String(), name) {
				out, found = append(out, d), true
			}
		}
		if !found {
			return nil, fmt.Errorf("%q is not a day of the week such as saturday", name)
		}
	}
	return out, nil
}

func agreedFees(fees map[string]string) (map[money.Asset]money.Amount, error) {
	out := make(map[money.Asset]money.Amount, len(fees))
	for asset, text := range fees {
		if _, ok := money.LookupAsset(asset); !ok {
			return nil, fmt.Errorf("%q is not an asset", asset)
		}
		fee, err := money.ParseMinor(text)
		if err != nil || fee.Sign() < 0 {
			return nil, fmt.Errorf("%s: %q is not an amount in the smallest unit, such as 250", asset, text)
		}
		out[money.Asset(asset)] = fee
	}
	return out, nil
}
