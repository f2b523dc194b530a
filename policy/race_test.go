//go:build race

package policy

// raceEnabled: pools drop things at random under the race detector.
const raceEnabled = true
