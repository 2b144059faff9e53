package compile

import "slices"

// warnAboutEarlyData: early data needs the consent of both, the listener that
// takes it and the route that serves it.
func (c *compiler) warnAboutEarlyData() {
	if len(c.routes.refused) > 0 || c.lacksRoutes() {
		return
	}
	takes := func(listener string) bool {
		l := c.listeners.chosen[listener]
		return l != nil && l.Spec.HTTP3 != nil && l.Spec.HTTP3.EarlyData
	}
	served := map[string]bool{}
	for _, route := range c.routes.chosen {
		for _, listener := range route.Listeners {
			served[listener] = served[listener] || route.Spec.EarlyData
		}
	}
	for _, name := range c.listeners.fresh() {
		if takes(name) && !served[name] {
			c.listeners.report(c, name).Warnf("http3.early_data", "write early_data: true on a route, or remove it",
				"no route of listener %q takes early data: every request that comes so is answered with 425", name)
		}
	}
	for _, name := range c.routes.fresh() {
		route := c.routes.chosen[name]
		if route.Spec.EarlyData && !slices.ContainsFunc(route.Listeners, takes) {
			c.routes.report(c, name).Warnf("early_data", "write http3: {early_data: true} on a listener, or remove it",
				"early_data has no effect: no listener of route %q takes any", name)
		}
	}
}
