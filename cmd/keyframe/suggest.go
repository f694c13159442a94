package main

import "fmt"

// unknownKey is the error for a name that nothing reads, with the nearest known one.
func unknownKey(where, name string, known []string) error {
	if best := nearest(name, known); best != "" {
		return fmt.Errorf("unknown setting %q %s: did you mean %q? (keyframe config print lists them all)", name, where, best)
	}
	return fmt.Errorf("unknown setting %q %s (keyframe config print lists them all)", name, where)
}

// nearest returns the known name within an edit distance of a third of its length, or "".
func nearest(name string, known []string) string {
	best, bestDistance := "", 1<<30
	for _, k := range known {
		if d := editDistance(name, k); d < bestDistance && d <= max(2, len(k)/3) {
			best, bestDistance = k, d
		}
	}
	return best
}

// editDistance is Levenshtein's, in bytes.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
