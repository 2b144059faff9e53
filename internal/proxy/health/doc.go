// Package health asks the endpoints of a cluster, at intervals, whether they
// are fit, and tells each endpoint the verdict.
//
// A cluster has one goroutine, which owns the schedule and the memory of every
// endpoint; checks run beside it, a bounded number at once, and send their
// results back. Nothing here has a lock. The engine brings the connection (TLS
// included), and for gRPC the exchange, as functions and is told of every
// change.
package health
