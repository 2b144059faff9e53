// Package conformance runs the suites of others against weir as a process: the
// whole of h2spec, and the interoperability cases of gRPC.
package conformance
