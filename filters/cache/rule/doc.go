// Package rule holds what RFC 9111 says of a shared cache, and what RFC 9110
// says of conditions and ranges, as functions without a clock, a lock or a
// store: what may be kept, for how long it is fresh, what a 304 changes, which
// part of it a client asks for. The filter decides with them and does the rest.
//
// Everything here reads text of clients and upstreams that may be hostile:
// numbers are bounded before they are added, lists are read once, and what is
// not understood never makes something storable or fresh.
package rule
