package main

// leaveRemoved tells WebSockets to go away whose route or upstream the configuration in force does not have.
// It runs some time after each change.
func (g *gateway) leaveRemoved() {
	applied := g.applied.Load()
	// Names are looked up only where there is a tunnel: there may be very many routes.
	routes, upstreams := map[string]bool{}, map[string]bool{}
	g.engine.LeaveTunnels(func(route, upstream string) bool {
		routes[route], upstreams[upstream] = false, upstream == ""
		return false
	})
	if len(routes) == 0 {
		return
	}
	for _, r := range applied.Snapshot.Routes {
		if _, used := routes[r.Name]; used {
			routes[r.Name] = true
		}
	}
	for _, u := range applied.Upstreams {
		upstreams[u.Name()] = true
	}
	g.engine.LeaveTunnels(func(route, upstream string) bool {
		// What is not known has come just now, and is not gone.
		routeThere, routeKnown := routes[route]
		upstreamThere, upstreamKnown := upstreams[upstream]
		return routeKnown && !routeThere || upstreamKnown && !upstreamThere
	})
}
