//go:build race

package grpcweb

// raceEnabled: pools drop things at random under the race detector.
const raceEnabled = true
