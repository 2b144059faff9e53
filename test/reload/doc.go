// Package reload holds weir to its promise that no request fails because of a
// change of configuration: a process is loaded by keep-alive and by new
// connections, in the clear and over TLS, while its documents change in a loop.
package reload
