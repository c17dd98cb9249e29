// Package limits is for the tests of the tool: one file whose tests see every mistake,
// and one whose tests do not.
package limits

// Over reports whether n is above the limit.
func Over(n, limit int) bool { return n > limit }
