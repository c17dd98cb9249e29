package trail

// LookBack has a reader search so many payments at once.
func LookBack(r *Reader, n int) { r.back = n }
