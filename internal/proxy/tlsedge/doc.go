// Package tlsedge speaks TLS on both edges: [Server] ends it for clients,
// [Client] begins it towards endpoints.
//
// What decides whom to trust (mode and CA bundle of client certificates, the
// certificates) is compiled into one immutable state behind one pointer. A
// handshake takes the state of its moment; an Update swaps the pointer and
// touches no connection. Session tickets are sealed under keys derived from
// the trust part of the state, so a change of it voids every older ticket:
// resumption cannot carry a decision over to another policy (CVE-2025-68121,
// CVE-2025-23419).
package tlsedge
