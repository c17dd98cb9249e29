package e2e_test

import "testing"

// Two people who may approve change what one alone may do, so that what they do together
// has a world of its own.
func TestTwoPeopleHealADifference(t *testing.T) {
	t.Parallel()
	watched(t, "two-people", (*world).trade)
}

// What stands still must be seen, named and healed where nothing stood still before: no
// other trouble hides it, and none of the other specs waits behind it.
func TestStallsAreSeenAndHealed(t *testing.T) {
	t.Parallel()
	watched(t, "stalls", (*world).fund)
}
