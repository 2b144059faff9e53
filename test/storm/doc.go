// Package storm holds what happens to a service behind three proxies that fails
// and comes back: real processes, real requests.
package storm
