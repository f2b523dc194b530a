//go:build race

package engine

// raceEnabled: the race detector allocates.
const raceEnabled = true
