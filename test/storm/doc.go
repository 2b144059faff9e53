// Package storm holds what happens to a service behind two proxies that fails
// and comes back: real processes, real requests.
package storm
