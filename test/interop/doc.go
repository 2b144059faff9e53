// Package interop holds weir to its promise that every downstream protocol goes
// with every upstream protocol, for real clients: one process carries each of
// five kinds of downstream to each of five kinds of upstream, well-behaved ones
// and ones that reset, stall and lie.
package interop
