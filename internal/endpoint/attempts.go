package endpoint

// Attempts is how many attempts at the endpoint ever began.
func (e *Endpoint) Attempts() int64 { return e.requests.Load() }
