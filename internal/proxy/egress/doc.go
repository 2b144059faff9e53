// Package egress is the one dialer for connections that go where somebody else
// says: the target of a CONNECT, or an address in a document fetched from
// elsewhere. It resolves the name, judges every address that it resolved to,
// and connects to exactly those that passed: there is no second look-up in which
// a name could become another address.
//
// It never follows a redirect and never sends a byte. Who may ask for what name
// and port is the caller's to decide.
package egress
