// Package record keeps the facts of every exchange: counters, histograms and
// the access line come from the same [stream.Exchange], written once, when the
// exchange is over.
//
// The path: [Recorder.Done] picks a shard by the number of the connection. A
// shard is a mutex, blocks of plain numbers and a buffer of finished lines, so
// that connections do not meet on one lock or cache line. One goroutine per
// output takes the full buffers, and all of them every second, and is the only
// one that waits for a disk or a pipe. Metrics are summed over the shards when
// they are scraped.
//
// A record must never break: every value that came from a peer is escaped, and
// what the document declares secret is replaced (package redact).
package record
