// Package replay drives any bank's transaction file through the HTTP API and
// compares the result with two outside truths: the balances that the bank
// recorded in the file, and the effects in the channels' own books. A
// declarative mapping says what the file's columns mean. The package knows no
// particular bank, shares no code with the payment plane, and refuses to
// guess: a row that the mapping does not explain is reported with its line and
// reason, never skipped in silence.
package replay

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
