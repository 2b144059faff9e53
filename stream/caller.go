package stream

import "sync/atomic"

// Caller is what has been found out about who sent a request, beyond the facts
// of its connection. Copies of a request share it.
type Caller struct {
	// Claims are those of the token that a filter has verified; nil: none has.
	Claims *Claims

	// place is where Request.Client is, once somebody has asked. It is atomic
	// because attempts at the same time share the Caller, and both may ask.
	place atomic.Pointer[Place]
}

// Identify notes whose request it is.
func (r *Request) Identify(claims *Claims) {
	known := &Caller{Claims: claims} // one small allocation for each request with a token
	if r.Caller != nil {
		known.place.Store(r.Caller.place.Load())
	}
	r.Caller = known
}
