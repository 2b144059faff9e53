package http2

// failure is what a peer did wrong, without a byte of it: stream 0 is the whole
// connection, which ends with GOAWAY; else that stream ends with RST_STREAM.
// For the author of either half: a nil *failure is no failure.
type failure struct {
	code   errCode
	stream uint32
	reason string
}

func (f *failure) Error() string { return f.code.String() + ": " + f.reason }

func broken(code errCode, reason string) *failure { return &failure{code: code, reason: reason} }

func brokenStream(id uint32, code errCode, reason string) *failure {
	return &failure{code: code, stream: id, reason: reason}
}
