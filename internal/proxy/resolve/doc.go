// Package resolve turns the names of endpoints into addresses and keeps
// watching them: A, AAAA and SRV records, the hosts file, and the rules of
// resolv.conf.
//
// It fails static. Whatever a name server does (no answer, an error, a name
// that is suddenly gone), the last good addresses stay in use, the failure is
// counted, and the question is asked again with growing waits. Of an answer it
// believes only what was asked for, within bounds: see query.go.
package resolve
