package e2e_test

import "testing"

// Two people who may approve change what one alone may do, so that what they do together
// has a world of its own.
func TestTwoPeopleHealADifference(t *testing.T) {
	w := start(t)
	w.trade()
	w.Specs = "two-people"
	w.browse(t)
}
