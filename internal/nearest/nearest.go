// Package nearest finds the known word that somebody meant who wrote another one.
package nearest

import "strings"

// Word is the known word that somebody meant who wrote word, or "".
func Word(word string, known []string) string {
	best, bestAway := "", len(word)/3+2
	for _, k := range known {
		if k == word {
			continue
		}
		if away := distance(strings.ToLower(word), k, bestAway); away < bestAway {
			best, bestAway = k, away
		}
	}
	return best
}

// distance is the number of insertions, deletions, changes and swaps of
// neighbours between two words; it gives up at limit.
func distance(a, b string, limit int) int {
	if len(a) > 64 || len(b) > 64 || len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	var rows [3][65]int
	before, last, row := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(change, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
