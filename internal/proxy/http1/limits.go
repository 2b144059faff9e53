package http1

// Limits bound what one message may take. They count alike in both halves, in
// heads, trailers and interim responses.
type Limits struct {
	MaxHeaderCount int   // fields of a message, trailers and interim responses included
	MaxHeaderBytes int64 // bytes of those fields on the wire
	MaxURIBytes    int64 // bytes of the request target as sent
	MaxBodyBytes   int64 // bytes of content; 0: no limit
}
