// Package route is the fifth step of a request: which route takes it. It also
// has the actions that need no upstream of their own: redirect, direct
// response, rewrite, and the split over clusters.
//
// # What matches
//
// All conditions of a route must hold (config.Match). Host and path are
// compared as strings, since both sides are canonical (stream.Target). A
// wildcard host "*.example.com" takes one or more labels, not example.com
// itself; a prefix takes whole segments; a template segment {name} takes one
// segment that is not empty, {name...} the rest, at least the slash before it;
// a regex must match the whole path. Methods are compared as they are: a route
// for GET does not take HEAD, as in the Gateway API and Envoy; name both.
// OPTIONS * has no path: only routes without a condition on the path take it,
// and so it is with CONNECT, TCP connections and UDP sessions.
//
// A route is for one kind of traffic: HTTP requests, CONNECT (connect), TCP
// connections or UDP sessions (protocol). The host of a CONNECT is the one that
// it names, the host of a connection the server name of its TLS hello. A
// condition on gRPC holds for gRPC-Web too. A condition on ALPN holds when the
// client offered one of the protocols in a hello that is passed on, or has agreed
// on one of them.
//
// # Which route wins
//
// The first difference decides; the order of the document never does:
//
//  1. the higher priority
//  2. an exact host, then the longer wildcard, then any host
//  3. an exact path; a template (segment by segment: literal, {name},
//     {name...}); a regex (the longer text); the longer prefix. No condition
//     on the path is prefix "/".
//  4. a condition on the method, or on gRPC
//  5. more conditions on headers, cookies and clients (clients, geo, gRPC,
//     ALPN and ports count as one each)
//  6. more conditions on the query
//  7. the name that sorts first
//
// A route of a less specific host takes what the more specific hosts leave: the
// search goes on until a route holds.
//
// # The index and what a search costs
//
// Hosts are hashed, and so are wildcards by what follows "*.". Each host has
// its paths apart by kind. A search makes
//
//   - one probe for the exact host, one for each number of labels that any
//     wildcard of the table has, and none for "any host";
//   - at each host that is there: one probe for the exact path, one step per
//     segment in the tree of templates (a step tries the literal and then
//     {name}), one regex after the other, and one probe for each number of
//     segments that a prefix of this host has;
//   - at each path that is there: the remaining conditions of the routes that
//     tie there, one after the other, the first to win first.
//
// It stops at the first route that holds, unless a route with a higher priority
// stands at this host or, further on, in the table: then it goes on, past hosts
// that have none of higher priority, and regards only such routes. So the
// number of routes does not count, but regexes of one host (Table.Size tells
// how many) and routes that differ in nothing but headers, methods, query or
// clients are linear.
//
// Probes go to hash array mapped tries with 64-way nodes: three nodes deep at
// 100,000 keys. With copies the nodes on the way to what changed and shares
// the rest.
package route
