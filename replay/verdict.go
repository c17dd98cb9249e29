package replay

import (
	"time"

	"github.com/moneta-pay/moneta/money"
)

// The classes of AccountBreak.
const (
	BreakDiffers = "closing_differs"    // the bank recorded another closing balance
	BreakChain   = "chain_broken"       // the bank's recorded balances of a day form no chain
	BreakFile    = "sum_of_rows"        // our balance is not the sum of the file's rows
	BreakUnread  = "balance_unreadable" // our balance could not be read
)

// AccountBreak is one account that does not stand where the bank said, shown
// by its worst day.
type AccountBreak struct {
	Account    string       `json:"account"`
	Day        string       `json:"day"` // YYYY-MM-DD, the first day of the largest difference
	Class      string       `json:"class"`
	Ours       money.Amount `json:"ours"`       // smallest units
	Bank       money.Amount `json:"bank"`       // smallest units; 0 when unknown
	Difference money.Amount `json:"difference"` // ours - bank
	Days       int          `json:"days"`       // how many days of the account break
}

// accountVerdict is how one account compares, over all its days.
type accountVerdict struct {
	exact, within, unchecked bool
	worst                    money.Amount // largest difference, absolute
	brk                      *AccountBreak
}

// judgeAccount compares our closings, one a day and nil where unread, with the
// bank's and with the sum of the file's rows. The first is the oracle that
// nobody here wrote; the second allows no tolerance at all.
func judgeAccount(a *AccountPlan, ours []*money.Amount, within money.Amount) accountVerdict {
	v := accountVerdict{exact: true}
	for i, day := range a.Days {
		class, bank, diff := judgeDay(day, ours[i], within)
		if day.Bank.Kind == ClosingNone {
			v.unchecked, v.exact = true, false
		}
		if !diff.IsZero() {
			v.exact = false
		}
		size, _ := distance(diff, money.Amount{})
		if size.Cmp(v.worst) > 0 {
			v.worst = size
		}
		if class == "" {
			continue
		}
		v.exact = false
		v.addBreak(a.ID, day, class, ours[i], bank, diff)
	}
	v.within = v.brk == nil && !v.unchecked
	return v
}

func (v *accountVerdict) addBreak(account string, day *Day, class string, ours *money.Amount, bank, diff money.Amount) {
	days := 1
	if v.brk != nil {
		days += v.brk.Days
		old, _ := distance(v.brk.Difference, money.Amount{})
		if size, _ := distance(diff, money.Amount{}); size.Cmp(old) <= 0 {
			v.brk.Days = days
			return
		}
	}
	v.brk = &AccountBreak{Account: account, Day: day.Date.Format(time.DateOnly), Class: class, Bank: bank, Difference: diff, Days: days}
	if ours != nil {
		v.brk.Ours = *ours
	}
}

func judgeDay(day *Day, ours *money.Amount, within money.Amount) (class string, bank, diff money.Amount) {
	if ours == nil {
		return BreakUnread, day.Bank.Balance, money.Amount{}
	}
	if day.Bank.Found() {
		bank = day.Bank.Balance
		d, err := ours.Sub(bank)
		if err != nil || !near(*ours, bank, within) {
			return BreakDiffers, bank, d
		}
		diff = d
	}
	if *ours != day.Expected {
		d, _ := ours.Sub(day.Expected)
		return BreakFile, day.Expected, d
	}
	if day.Bank.Kind == ClosingBroken {
		return BreakChain, bank, diff
	}
	return "", bank, diff
}
