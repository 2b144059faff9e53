// Package engine assembles the data plane. It is the only package that knows
// all stages of the path of a request:
//
//	listener -> tlsedge -> http1 -> answer -> entry -> route -> chain
//	         -> (rewrite, split) -> cluster -> balance -> pool -> http1
//
// An Engine turns each snapshot into a generation: it builds what changed
// beside what runs, shares what did not, swaps, and lets what is gone drain. A
// connection never notices a change of anything that it does not use.
package engine
