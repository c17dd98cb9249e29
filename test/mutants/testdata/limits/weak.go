package limits

// Under reports whether n is below the limit.
func Under(n, limit int) bool { return n < limit }
