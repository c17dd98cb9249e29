package pay

// States lists the states in the order of a payment's life, without None.
func States() []State {
	out := make([]State, 0, stateEnd-1)
	for s := None + 1; s < stateEnd; s++ {
		out = append(out, s)
	}
	return out
}

// ParseState finds a state by its name in the API.
func ParseState(name string) (State, bool) {
	for _, s := range States() {
		if s.String() == name {
			return s, true
		}
	}
	return None, false
}
