//go:build race

package upstream

// raceEnabled: the race detector allocates.
const raceEnabled = true
