package stream

// Caller is what has been found out about who sent a request, beyond the facts
// of its connection. Copies of a request share it.
type Caller struct {
	// Claims are those of the token that a filter has verified; nil: none has.
	Claims *Claims
}

// Identify notes whose request it is.
func (r *Request) Identify(claims *Claims) {
	r.Caller = &Caller{Claims: claims} // one small allocation for each request with a token
}
