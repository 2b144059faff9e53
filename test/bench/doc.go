// Command bench measures proxies side by side on one machine: the proxy alone
// on one core, the load generator and a canned upstream in one epoll loop on
// another, so that it is the proxy that saturates. It prints, per case and
// proxy, requests per second, CPU time of the proxy per request, latency and
// memory, and the ratio to the first proxy. See docs/benchmark.md.
//
//	go run ./test/bench -rounds 3 -time 3s
package main
