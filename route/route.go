// Package route is the matcher of the gateway: host → path → method → the rest →
// the index of a rule.
package route
